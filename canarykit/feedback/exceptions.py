"""Exception groups by flag variant: what is new in the canary comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from canarykit.arguments import checked
from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table
from canarykit.documents import read_json
from canarykit.events.log import as_log
from canarykit.exposure.compared import Compared, listened_units
from canarykit.feedback.exception_segments import SEGMENT_COLUMNS, exceptions_by_segment, stands_out
from canarykit.flags.given import key_of
from canarykit.plan.given import as_plan

if TYPE_CHECKING:
    from canarykit.events import EventLog
    from canarykit.flags import Flag
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Filters, Frame, Time

_PROPERTIES = (
    "$exception_fingerprint",
    "$exception_list",
    "$exception_types",
    "$exception_values",
    "$exception_type",
    "$exception_message",
)
_COLUMNS = (
    Column("exception", "exception"),
    Column("canary_people", "canary people", "count"),
    Column("control_people", "control people", "count"),
    Column("canary_share", "canary share", "share"),
    Column("control_share", "control share", "share"),
    Column("ratio", "ratio", "ratio"),
    Column("first_seen", "first seen", "time"),
    Column("what", "what it looks like"),
    Column("apart_canary", "set apart: with the canary then", "count"),
    Column("apart_control", "set apart: with the control then", "count"),
)


@dataclass(frozen=True, repr=False, eq=False)
class ExceptionsByFlag(Result):
    """Exception groups with the people of each arm who met them, new in the canary first.

    Parameters
    ----------
    flag, control, canary
        Flag and arms.
    groups
        One row per group: exception, canary_people, control_people, canary_share, control_share, ratio,
        first_seen, what; apart_canary and apart_control: people set apart because they saw several
        variants, by the arm they had when they met it.
    events
        One row per exception after the exposure: person_id, variant, timestamp, session_id, exception; with
        `by` that property too.
    n_canary, n_control
        Exposed people per arm.
    unit
        What was assigned and is counted: "people", or the groups' name for a flag of groups.
    by
        The property by which people were told apart; None for none.
    segments
        With `by`, one row per group and segment (of the ten largest), the surest rise first: exception,
        segment, canary_people, canary_of, control_people, control_of (people of the segment in each arm),
        ratio of the two shares, low, high. All intervals hold together with 95 % (Bonferroni).
    """

    flag: str
    control: str
    canary: str
    groups: pd.DataFrame
    events: pd.DataFrame
    n_canary: int
    n_control: int
    notes: tuple[Note, ...] = ()
    unit: str = "people"
    by: str | None = None
    segments: pd.DataFrame | None = None

    @property
    def new_in_canary(self) -> pd.DataFrame:
        """Groups met with the canary and never with the control, by the arm known at the time.

        People whom the ramp moved count here too: what they met before they had the canary is not new, what
        they first met with it is.
        """
        return self.groups[_is_new(self.groups)]

    def people(self, exception: str) -> pd.DataFrame:
        """People who met an exception, with the session to watch, earliest first."""
        from canarykit.errors import DataError, did_you_mean

        rows = self.events[self.events["exception"] == exception]
        if rows.empty:
            names = self.groups["exception"].tolist()
            raise DataError(f"no exception group {exception!r}; {did_you_mean(exception, names)}")
        return rows.drop_duplicates("person_id").reset_index(drop=True)

    def _headline(self) -> str:
        if self.groups.empty:
            return f"No exceptions after the exposure to {self.flag}"
        new = len(self.new_in_canary)
        words = "1 is" if new == 1 else f"{new} are"
        head = counted(len(self.groups), f"exception groups, of which {words} new in the canary")
        if self.by is None or self.segments is None:
            return head
        return f"{head}; {stands_out(self.segments, self.by)}"

    def _table(self) -> Table:
        if self.by is not None and self.segments is not None:
            labels = {"canary_people": f"canary {self.unit}", "control_people": f"control {self.unit}"}
            named = {**labels, "segment": self.by}
            columns = [replace(item, label=named.get(item.key, item.label)) for item in SEGMENT_COLUMNS]
            return Table.of(columns, list(self.segments.itertuples(index=False, name=None)))
        columns = [replace(column, label=column.label.replace("people", self.unit)) for column in _COLUMNS]
        return Table.of(columns, list(self.groups.itertuples(index=False, name=None)))


@checked
def exceptions_by_flag(
    log: EventLog | Frame,
    flag: str | Flag,
    *,
    plan: RolloutPlan | None = None,
    stage: str | None = None,
    as_of: Time | None = None,
    people: Filters = None,
    event: str = "$exception",
    by: str | None = None,
) -> ExceptionsByFlag:
    """Group exceptions after the exposure and count the people of each arm who met them.

    Exceptions are grouped by their fingerprint; without one, by type and message of the outermost error.
    Server exceptions carry no flag value: people are told by their exposure.

    Parameters
    ----------
    log
        `EventLog` over any engine, or a table of events with its default columns.
    flag
        Key of the flag, or the flag itself.
    plan, stage
        Only people exposed within a stage of this plan, and what they met within it. Of a percentage
        stage whoever has the flag by choice (owner, team, beta, enrolled) is set apart, with a note. With
        a plan and no stage, what each person met in a stage counts for the arm of that stage. Without a
        plan people who saw several variants are set apart and counted in a note.
    as_of
        Later events are not looked at.
    people
        Only these people: a filter of their properties (`{"plan": "pro"}`, or mappings in PostHog's words),
        or a list of ids.
    event
        The event that is an exception.
    by
        A property of events (or of persons, where no event has it) such as "$os", by which people are told
        apart: the table is then of groups by segment, with the ratio and its interval. None: all together.

    Returns
    -------
    ExceptionsByFlag
        Groups met with the canary and never with the control come first, then by how much more often the
        canary meets them. Shares are of all exposed people of the arm. Many groups are looked at: a ratio
        here is a hint where to look, not a test. With `by` the intervals of the ratios hold together over all
        rows, at one look.

    Raises
    ------
    DataError
        If nobody has the property `by`.

    References
    ----------
    Miettinen & Nurminen (1985), doi:10.1002/sim.4780040211, for the ratio's interval.

    Examples
    --------
    >>> import pandas as pd
    >>> from canarykit.events import EventLog
    >>> called = {"event": "$feature_flag_called", "timestamp": "2026-09-07T09:00:00Z", "$feature_flag": "f"}
    >>> rows = [
    ...     {**called, "distinct_id": "ada", "$feature_flag_response": "true"},
    ...     {**called, "distinct_id": "bob", "$feature_flag_response": "false"},
    ...     {"event": "$exception", "timestamp": "2026-09-07T09:05:00Z", "distinct_id": "ada",
    ...      "$exception_type": "TypeError", "$exception_message": "x is undefined"},
    ... ]
    >>> found = exceptions_by_flag(EventLog(pd.DataFrame(rows)), "f")
    >>> found.new_in_canary["exception"].tolist()
    ['TypeError: x is undefined']
    """
    log, flag, plan = as_log(log), key_of(flag), None if plan is None else as_plan(plan)
    exposed = listened_units(log, flag, plan=plan, stage=stage, as_of=as_of, people=people)
    selected = log.select(
        list(dict.fromkeys(["person_id", exposed.unit_column, "timestamp", "session_id", *_PROPERTIES])),
        events=[event],
        since=exposed.since,
        until=exposed.until,
    )
    events = pd.concat(
        [exposed.after(selected).assign(is_apart=False), _set_apart(log, exposed, selected)],
        ignore_index=True,
    )
    issues = _issues(events)
    events = events.assign(exception=issues["exception"], what=issues["what"])[
        ["unit", "person_id", "variant", "timestamp", "session_id", "exception", "what", "is_apart"]
    ]
    n_canary, n_control = exposed.count(exposed.canary), exposed.count(exposed.control)
    rows = []
    for name, part in events.groupby("exception", sort=True):
        people_of = part.groupby(["is_apart", "variant"])["unit"].nunique().to_dict()
        canary, control = (people_of.get((False, arm), 0) for arm in (exposed.canary, exposed.control))
        share_t = canary / n_canary if n_canary else None
        share_c = control / n_control if n_control else None
        rows.append(
            {
                "exception": name,
                "canary_people": canary,
                "control_people": control,
                "canary_share": share_t,
                "control_share": share_c,
                "ratio": share_t / share_c if share_t is not None and share_c else None,
                "first_seen": part["timestamp"].min(),
                "what": part["what"].iloc[0],
                "apart_canary": people_of.get((True, exposed.canary), 0),
                "apart_control": people_of.get((True, exposed.control), 0),
            }
        )
    rows.sort(key=_order)
    groups = pd.DataFrame(rows, columns=[column.key for column in _COLUMNS])
    events = events.loc[~events["is_apart"]].drop(columns="is_apart").reset_index(drop=True)
    segments = None
    if by is not None:
        segments, segment_of = exceptions_by_segment(log, exposed, events, by)
        events = events.assign(**{by: events["unit"].map(segment_of)})
    events = events.drop(columns="unit")
    notes = (*log.notes, *exposed.notes)
    return ExceptionsByFlag(
        flag, exposed.control, exposed.canary, groups, events, n_canary, n_control, notes, exposed.words,
        by, segments,
    )  # fmt: skip


def _set_apart(log: Any, exposed: Compared, events: pd.DataFrame) -> pd.DataFrame:
    """Exceptions of units set apart, with the variant each had at the time."""
    from canarykit.exposure.over_time import variants_at

    column, people = exposed.unit_column, exposed.exposures.people
    several = people.loc[people["n_variants"] > 1, exposed.exposures.unit_column].astype(str)
    apart = set(several) - set(exposed.units["person_id"])
    mine = events[events[column].astype(str).isin(apart)] if exposed.set_apart else events[:0]
    if mine.empty:
        return mine.assign(unit="", variant="", is_apart=True)
    mine = mine.assign(unit=mine[column].astype(str), is_apart=True)
    variant = variants_at(
        log, exposed.exposures, mine["unit"], mine["timestamp"], column=column, until=exposed.until
    )
    return mine.assign(variant=variant)[variant.notna().to_numpy(bool)]


def _is_new(groups: Any) -> Any:
    """Whether a group (a row, or a frame of them) was met with the canary and never with the control."""
    with_canary = groups["canary_people"] + groups["apart_canary"] > 0
    return with_canary & (groups["control_people"] + groups["apart_control"] == 0)


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    new = bool(_is_new(row))
    return (not new, -(row["ratio"] or 0.0), -row["canary_people"], row["exception"])


def _issues(events: pd.DataFrame) -> pd.DataFrame:
    """Name of the issue that each exception belongs to, and what the error looks like.

    An issue is one whole fingerprint; without one, one whole type and message. It is called by the type of
    its first event and the beginning of the fingerprint or message, or by all of it where two would be
    called alike.
    """
    rows = events[list(_PROPERTIES)].to_dict("records")
    described = [_outermost(row) for row in rows]
    whats = [f"{kind}: {message}" if message else kind for kind, message in described]
    prints = [row.get("$exception_fingerprint") for row in rows]
    keys = [
        (True, mark) if isinstance(mark, str) and mark else (False, what)
        for mark, what in zip(prints, whats, strict=True)
    ]
    first: dict[tuple[bool, str], int] = {}
    for at in sorted(range(len(keys)), key=lambda at: (events["timestamp"].iloc[at], whats[at])):
        first.setdefault(keys[at], at)
    short = {
        key: f"{described[at][0]} {key[1][:8]}" if key[0] else whats[at][:80] for key, at in first.items()
    }
    uses = Counter(short.values())
    names = {
        key: name if uses[name] == 1 else f"{described[first[key]][0]} {key[1]}" if key[0] else key[1]
        for key, name in short.items()
    }
    return pd.DataFrame({"exception": [names[key] for key in keys], "what": whats}, index=events.index)


def _outermost(row: Mapping[Any, Any]) -> tuple[str, str]:
    listed = _parsed(row.get("$exception_list"))
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        return str(listed[0].get("type") or "Error"), str(listed[0].get("value") or "")
    kinds, values = _parsed(row.get("$exception_types")), _parsed(row.get("$exception_values"))
    if isinstance(kinds, list) and kinds:
        return str(kinds[0]), str(values[0]) if isinstance(values, list) and values else ""
    kind, message = row.get("$exception_type"), row.get("$exception_message")
    return (
        kind if isinstance(kind, str) and kind else "unnamed exception",
        message if isinstance(message, str) else "",
    )


def _parsed(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(("[", "{")):
        return None
    try:
        return read_json(value)
    except ValueError:
        return None
