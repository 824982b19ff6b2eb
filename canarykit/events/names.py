"""Names that a question asks for, held against what the log has: a slip is refused, an absence is noted.

An event may rightly never have been recorded (no exception so far, nobody has paid yet). So a name that the
log lacks is an error only where it looks like a misspelling of one that it has; otherwise it is a note.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher, get_close_matches
from typing import TYPE_CHECKING

from canarykit.display import Note
from canarykit.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from canarykit.events.log import EventLog

CALLED = "$feature_flag_called"
EXPOSED = "$experiment_exposure"
"""The event to which PostHog's experiments move, beside or instead of the older one."""

STANDARD_NAMES = frozenset({
    "$autocapture", "$copy_autocapture", "$create_alias", "$csp_violation", "$dead_click", "$exception",
    "$feature_flag_called", "$groupidentify", "$identify", "$opt_in", "$pageleave", "$pageview",
    "$rageclick", "$screen", "$set", "$web_vitals", "$browser", "$browser_version", "$current_url",
    "$device_type", "$geoip_country_code", "$host", "$lib", "$os", "$os_version", "$pathname",
    "$referring_domain", "$session_id", "$survey_id", "$survey_response",
})  # fmt: skip
"""Names that PostHog's own libraries write: where a log lacks one, it was not recorded, not misspelt."""

CLOSE_NAME = 0.85
_OPPOSITES = ("un", "re", "de", "dis", "in", "non")


def misspelling_of(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that was meant, where `name` looks like a misspelling of it; else None.

    Misspelt are names that differ in case or punctuation alone, and those of which every word is the same
    or close. Numbers must agree ("step 1" is not "step 2"), and a prefix that turns a word round is
    no slip ("subscribed", "unsubscribed").

    Examples
    --------
    >>> misspelling_of("payed", ["$pageview", "paid"]), misspelling_of("Sign-Up", ["sign up"])
    ('paid', 'sign up')
    >>> misspelling_of("payment failed", ["payment made"]) is None
    True
    """
    if name in STANDARD_NAMES:
        return None
    scored = [(_likeness(name, other), other) for other in names]
    best = max(scored, default=(0.0, ""), key=lambda pair: pair[0])
    return best[1] if best[0] > 0 else None


def check_events(log: EventLog, names: Iterable[str | None]) -> tuple[Note, ...]:
    """Hold event names against the log: one note per name that was never recorded.

    `DataError` for a name that looks like a misspelling of an event the log has.
    """
    asked = dict.fromkeys(name for name in names if name is not None)
    counts = log.event_names() if asked else {}
    if not counts:
        return ()
    notes = []
    for name in asked:
        if name in counts:
            continue
        _refuse_misspelling("the log has no event", name, counts)
        notes.append(Note("never_recorded", f"no event {name!r} was recorded{_nearest(name, counts)}"))
    return tuple(notes)


def check_properties(log: EventLog, names: Iterable[str]) -> tuple[Note, ...]:
    """Hold property names (`plan`, `person.plan`) against the log: one note per property nothing has.

    `DataError` for a name that looks like a misspelling of a property the log has.
    """
    notes = []
    for name in dict.fromkeys(names):
        room, _, short = name.partition(".")
        if room == "person" and short:
            present = () if log.persons is None else tuple(map(str, log.persons.columns))
            what, missing = "the persons have no property", bool(present) and short not in present
        elif re.fullmatch(r"group\d+", room) and short:
            present = () if log.groups is None else tuple(map(str, log.groups.columns))
            what, missing = "the groups have no property", bool(present) and short not in present
        else:
            short, present = name, _event_properties(log)
            what, missing = "no event has the property", name not in present and not is_carried(log, name)
        if missing:
            _refuse_misspelling(what, short, present)
            notes.append(Note("no_property", f"{what} {short!r}{_nearest(short, present)}"))
    return tuple(notes)


def check_flag(log: EventLog, key: str) -> None:
    """Refuse a flag that no event of a log with events knows, and name those there are."""
    if not log.event_names():
        return
    keys = flag_keys(log)
    if key not in keys and not is_carried(log, f"$feature/{key}"):
        raise DataError(f"no event carries flag {key!r}; of flags {did_you_mean(key, keys)}")


def check_variants(flag: str, planned: Iterable[str], observed: Collection[str]) -> None:
    """Refuse a plan none of whose variants was observed, or one that nobody has and a value like it.

    The `DataError` has the values that were probably meant.
    """
    names = list(dict.fromkeys(planned))
    strange = sorted(value for value in observed if value not in names)
    others = [value for value in strange if value != "false" and not value.startswith("holdout-")]
    if others and not any(name in observed for name in names):
        arms = f"control={others[0]!r}, canary={others[1]!r}" if len(others) == 2 else "control=, canary="
        raise DataError(
            f"the values of {flag!r} in the log are {', '.join(others)}; the plan compares "
            f"{' and '.join(names)}. Name them in the plan: {arms} where everybody has one of two, "
            "variants= where the flag has a split of its own"
        )
    for name in names:
        if name not in observed and strange:
            _refuse_misspelling("nobody has the planned variant", name, strange)


def check_survey(log: EventLog, survey: str) -> None:
    """Refuse a survey's id or name that looks like a misspelling of one that the log has, and name that."""
    columns = ["$survey_id", "$survey_name"]
    events = log.select(columns, events=["survey shown", "survey sent", "survey dismissed"])
    surveys = {str(value) for column in columns for value in events[column].dropna()}
    if survey not in surveys:
        _refuse_misspelling("no event belongs to the survey", survey, sorted(surveys))


def call_events(log: EventLog) -> list[str]:
    """Names of the events that are written when a flag is asked for, as far as the log has them."""
    return [CALLED, EXPOSED] if EXPOSED in log.event_names() else [CALLED]


def flag_keys(log: EventLog) -> list[str]:
    """Keys of the flags that were called, or whose values events carry."""
    called = log.select(["$feature_flag"], events=call_events(log))["$feature_flag"].dropna().unique()
    prefix = "$feature/"
    carried = [name.removeprefix(prefix) for name in log.property_names() if name.startswith(prefix)]
    return sorted({*map(str, called), *carried})


def _refuse_misspelling(what: str, name: str, names: Iterable[str]) -> None:
    meant = misspelling_of(name, names)
    if meant is not None:
        near = get_close_matches(name, list(names), n=8, cutoff=0.3) or [meant]
        listed = list(dict.fromkeys([meant, *near]))
        raise DataError(f"{what} {name!r}; like it there is {listed}. Did you mean {meant!r}?")


def _nearest(name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; the nearest is {near[0]!r}" if near else ""


def _event_properties(log: EventLog) -> tuple[str, ...]:
    return (*log.property_names(), *log.columns, *log.mapping)


def is_carried(log: EventLog, name: str) -> bool:
    """Whether any event has a property: names are known from some events, so this one is looked for."""
    from canarykit.events.fields import PRESENT

    if name.startswith("$group_"):
        return True
    return any(log.reduce([name], len, where={name: PRESENT}))


def _likeness(name: str, other: str) -> float:
    """How surely `name` is a slip for `other`: 0 where it is not."""
    words, others = _words(name), _words(other)
    if words == others or "".join(words) == "".join(others):
        return 1.0
    if re.findall(r"\d+", name) != re.findall(r"\d+", other):
        return 0.0
    if len(words) != len(others):
        ratio = SequenceMatcher(None, "".join(words), "".join(others)).ratio()
        return ratio if ratio >= CLOSE_NAME else 0.0
    ratios = [_word_likeness(a, b) for a, b in zip(words, others, strict=True)]
    return sum(ratios) / len(ratios) if ratios and min(ratios) > 0 else 0.0


def _word_likeness(word: str, other: str) -> float:
    if word == other:
        return 1.0
    short, long = sorted((word, other), key=len)
    if len(short) < 3 and not (len(short) == 2 and len(long) == 3 and set(short) == set(long)):
        return 0.0
    if any(long == prefix + short for prefix in _OPPOSITES):
        return 0.0
    if word[0] != other[0] and sorted(word) != sorted(other):
        return 0.0
    edits = _edits(word, other)
    return 1 - edits / len(long) if edits <= (2 if len(long) > 4 else 1) else 0.0


def _edits(word: str, other: str) -> int:
    """Letters left out, added, changed or swapped with their neighbour (optimal string alignment)."""
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(word, start=1):
        row = [i]
        for k, wanted in enumerate(other, start=1):
            cost = min(rows[-1][k] + 1, row[-1] + 1, rows[-1][k - 1] + (letter != wanted))
            if i > 1 and k > 1 and letter == other[k - 2] and word[i - 2] == wanted:
                cost = min(cost, rows[-2][k - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


def _words(name: str) -> list[str]:
    parts = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return [word for word in re.split(r"[\W_]+", parts.casefold()) if word]
