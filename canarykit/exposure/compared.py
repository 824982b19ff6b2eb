"""Who counts, in which arm, from when and until when: decided here, once, for every question about a flag.

Funnels, trends, dashboards, sessions, exceptions, surveys, lists of people and the judgement of a stage all
ask `compared_units` and `followed_whole`, so that one question has one answer:

- A unit belongs to the variant of its first exposure within the stage (intent to treat), and what it does
  counts from that exposure until the stage's end.
- Of a percentage stage only those count whom the randomisation put into their arm: the owner, the team, the
  beta and who enrolled are set apart; so are returning people where the log shows them only when their
  answer changed.
- Who saw several variants within a stage stays with the first, or is set apart where that is asked for.
- Without a stage there is no one arm for people whom the ramp moved from control to canary: they are set
  apart; with a plan each stage's part of a person counts in the arm of that stage.
- A share of those who had `within` counts people whose whole time lies before the end, once there are any
  in both arms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.display import Note
from canarykit.errors import PlanError
from canarykit.exposure.chosen import chosen_people
from canarykit.exposure.crossers import CAUSES, CrosserRule, causes_of, require_rule
from canarykit.exposure.find import exposures
from canarykit.times import to_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from canarykit.exposure.result import Exposures
    from canarykit.funnels.question.people import PeopleFilter
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Filters

_RETOLD = {"several_variants", "changed_variant"}


@dataclass(frozen=True, eq=False)
class Compared:
    """The units that count."""

    exposures: Exposures  # what was found of the flag
    # one row per unit (and stage, where several stages are counted): `person_id` (the id of the assigned
    # unit, as text), `variant`, `exposed_at` and `leaves_at` (UTC, half-open; events between them count;
    # missing is open), `stage`, `several` (saw another variant later in the stage), `cause` (of that:
    # "login", "ramp" or "flicker"), `changed_at`, `returning` (seen in an earlier stage), `crossed` (in
    # another arm in an earlier stage)
    units: pd.DataFrame
    unit_column: str  # column of the events that names the unit
    # names of the two arms
    control: str
    canary: str
    # where events must be read: from the stage's start until its end or `as_of` (UTC; None is open)
    since: Any
    until: Any
    set_apart: int = 0  # number of units left out because they saw several variants
    # units of the stage that do not count, with `reason`: "chosen" (somebody chose them for the canary),
    # "returning" (see `units_of_stage`) or "several" (saw several variants)
    left_out: pd.DataFrame | None = None
    notes: tuple[Note, ...] = ()  # what the reader must know of who counts

    @property
    def words(self) -> str:
        """What the units are called."""
        return "people" if self.exposures.unit == "person" else f"{self.exposures.unit} groups"

    @property
    def variants(self) -> tuple[str, ...]:
        """Variants seen: the control, the canary, then the others by name."""
        seen = set(self.units["variant"].astype(str))
        others = sorted(seen - {self.control, self.canary})
        return (*(name for name in (self.control, self.canary) if name in seen), *others)

    def count(self, variant: str) -> int:
        """Number of units of a variant, each once."""
        return int(self.units.loc[self.units["variant"] == variant, "person_id"].nunique())

    def after(self, events: pd.DataFrame) -> pd.DataFrame:
        """Events of the units while they count, with `unit`, `variant` and `stage`; in order of time.

        `events` have the column that names the unit (`unit_column`), and `person_id` whoever did it.
        """
        named = events[events[self.unit_column].notna()]
        units = self.units[["person_id", "variant", "stage", "exposed_at", "leaves_at"]]
        joined = named.assign(unit=named[self.unit_column].astype(str)).merge(
            units.rename(columns={"person_id": "unit"}), on="unit"
        )
        inside = joined["timestamp"] >= joined["exposed_at"]
        inside &= joined["leaves_at"].isna() | (joined["timestamp"] < joined["leaves_at"])
        return joined[inside].sort_values(["timestamp", "person_id"], kind="stable", ignore_index=True)


def compared_units(
    log: Any,
    flag: str,
    *,
    plan: RolloutPlan | None = None,
    stage: str | None = None,
    as_of: Any = None,
    people: Filters | PeopleFilter = None,
    group_type_index: int | None = None,
    crossers: CrosserRule = "first exposure",
    properties: Sequence[str] = (),
) -> Compared:
    """Who counts in a question about a flag; arguments as in `exposures`.

    `stage=None` takes all exposures, without those who saw several variants. Units that saw several within
    the stage stay in the arm of their "first exposure" (intent to treat), or are "set apart". `PlanError` if
    a stage is named without a plan, or the plan is another flag's.
    """
    require_rule(crossers)
    if stage is not None and plan is None:
        raise PlanError(f"stage {stage!r} needs plan=: it needs the plan to know when its stages were")
    exposed = exposures(
        log,
        flag,
        plan=plan,
        as_of=as_of,
        group_type_index=group_type_index,
        people=people,
        properties=properties,
    )
    until = None if as_of is None else to_utc(as_of, name="as_of")
    if stage is not None:
        assert plan is not None
        return units_of_stage(log, plan, stage, exposed, until=until, crossers=crossers)
    control, canary = arms_of(exposed, plan)
    several = exposed.people["n_variants"].to_numpy() > 1
    units = _plain_units(exposed, exposed.people[~several], until)
    notes = [note for note in exposed.notes if note.code not in _RETOLD]
    words = "people" if exposed.unit == "person" else f"{exposed.unit} groups"
    if several.any():
        text = f"{words} exposed to several variants over time: set apart; within a single stage= they stay"
        notes.append(Note("several_variants", text, int(several.sum())))
    column = _unit_column(log, exposed)
    return Compared(
        exposed, units, column, control, canary, None, until, int(several.sum()), notes=tuple(notes)
    )


def units_of_stage(
    log: Any,
    plan: RolloutPlan,
    stage: str,
    exposed: Exposures,
    *,
    until: Any = None,
    crossers: CrosserRule = "first exposure",
) -> Compared:
    """Who counts in one stage, of exposures that are already known; until `until`, or the stage's end."""
    start, end = plan.window(stage)
    stop = end if until is None else until if end is None else min(end, until)
    rows = exposed.of_stage(stage)
    if stop is not None:
        rows = rows[rows["exposed_at"] < stop].reset_index(drop=True)
    units = _plain_units(exposed, rows, stop)
    by_stage = exposed.by_stage.assign(person_id=exposed.by_stage[exposed.unit_column].astype(str))
    before = rows["previous_variant"]
    units = units.assign(
        returning=before.notna().to_numpy(bool),
        crossed=(before.notna() & (before != rows["variant"])).to_numpy(bool),
    )
    units = _with_causes(units, exposed, stage, plan.control, plan.canary, stop)
    notes = [note for note in exposed.notes if note.code not in {*_RETOLD, "outside_stages"}]
    words = "people" if exposed.unit == "person" else f"{exposed.unit} groups"
    reason = np.full(len(units), "", dtype=object)
    if plan.stage(stage).kind == "percentage":
        reason, more = _not_randomised(log, plan, stage, by_stage, units, words)
        notes += more
    several = units["several"].to_numpy(bool) & (reason == "")
    if several.any():
        notes.append(_crosser_note(units[several], stage, words, crossers))
        if crossers == "set apart":
            reason[several] = "several"
    counts = reason == ""
    return Compared(
        exposed,
        units[counts].reset_index(drop=True),
        _unit_column(log, exposed),
        plan.control,
        plan.canary,
        start,
        stop,
        int((reason == "several").sum()),
        units.assign(reason=reason)[~counts].reset_index(drop=True),
        tuple(notes),
    )


def listened_units(
    log: Any, flag: str, *, plan: RolloutPlan | None, stage: str | None, as_of: Any, people: Any
) -> Compared:
    """Who is listened to (sessions, exceptions, surveys): one stage, or each stage's part of a whole plan."""
    if plan is not None and stage is None and plan.has_windows:
        if plan.flag != flag:
            raise PlanError(f"the plan is for flag {plan.flag!r}, not for {flag!r}")
        return units_by_stage(log, plan, as_of=as_of, people=people)
    return compared_units(log, flag, plan=plan, stage=stage, as_of=as_of, people=people)


def units_by_stage(log: Any, plan: RolloutPlan, *, as_of: Any = None, people: Any = None) -> Compared:
    """Who counts over a whole plan: each stage's part of a unit in the arm it had in that stage."""
    import pandas as pd

    exposed = exposures(log, plan.flag, plan=plan, as_of=as_of, people=people)
    until = None if as_of is None else to_utc(as_of, name="as_of")
    parts: list[Compared] = []
    for name, (start, _) in plan.windows().items():
        if until is None or start < until:
            parts.append(units_of_stage(log, plan, name, exposed, until=until))
    if not parts:
        raise PlanError(
            f"no stage of the plan for {plan.flag!r} has begun; give it windows, or leave plan= out"
        )
    units = pd.concat([part.units for part in parts], ignore_index=True)
    merged: dict[tuple[str, str], int | None] = {}
    for part in parts:
        for note in part.notes:
            key = (note.code, note.text)
            counted = note.code in ("several_variants", "chosen", "returning_left_out")
            earlier = merged.get(key)
            merged[key] = (earlier or 0) + (note.count or 0) if counted and key in merged else note.count
    notes = [Note(code, text, count) for (code, text), count in merged.items()]
    moved = units.groupby("person_id")["variant"].nunique()
    if (moved > 1).any():
        text = "units had another variant in another stage: each stage counts by the arm it had there"
        notes.append(Note("changed_variant", text, int((moved > 1).sum())))
    ends = [part.until for part in parts]
    last = None if any(end is None for end in ends) else max(ends)
    first = parts[0]
    return Compared(
        exposed,
        units,
        first.unit_column,
        plan.control,
        plan.canary,
        first.since,
        last,
        sum(part.set_apart for part in parts),
        notes=tuple(notes),
    )


def followed_whole(entered: npt.ArrayLike, leaves: npt.ArrayLike, seconds: float) -> npt.NDArray[np.bool_]:
    """Which units were followed for a whole time after their exposure, before they stopped counting.

    `entered`, `leaves`: first exposure, and when the unit stops to count, in microseconds. `seconds`: the
    time each one has; infinite: everybody is followed as long as there is.

    Examples
    --------
    >>> followed_whole([0, 5_000_000], [9_000_000, 9_000_000], 6).tolist()
    [True, False]
    """
    start, stop = np.asarray(entered, dtype=np.int64), np.asarray(leaves, dtype=np.int64)
    if not np.isfinite(seconds):
        return np.ones(start.shape, dtype=bool)
    return np.asarray(start + round(seconds * 1e6) <= stop)


def whole_or_all(whole: npt.NDArray[np.bool_], *arms: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whom a share counts: those followed for their whole time, or all while an arm has none of them yet.

    Examples
    --------
    >>> canary = np.array([True, False, False])
    >>> whole_or_all(np.array([False, True, True]), canary, ~canary).tolist()
    [True, True, True]
    """
    if all((whole & arm).any() for arm in arms if arm.any()):
        return whole
    return np.ones_like(whole)


def arms_of(exposed: Exposures, plan: RolloutPlan | None) -> tuple[str, str]:
    """Control and canary: the plan's, or by the names of the variants that were seen."""
    if plan is not None:
        return plan.control, plan.canary
    from canarykit.flags import Variant
    from canarykit.plan.rules import arms

    seen = {value for value in exposed.variants if not value.startswith("holdout-")}
    keys = sorted(seen - {"true", "false"})
    if "true" in seen or not keys:
        return "false", "true"
    return arms([Variant(key, 0) for key in keys], "", "")


def _plain_units(exposed: Exposures, rows: pd.DataFrame, stop: Any) -> pd.DataFrame:
    """The rows with the unit's id as text, and empty answers to what only a stage knows."""
    import pandas as pd

    moments = pd.Series(pd.NaT if stop is None else stop, index=rows.index, dtype="datetime64[us, UTC]")
    return rows.assign(
        person_id=rows[exposed.unit_column].astype(str),
        leaves_at=moments,
        several=False,
        cause=None,
        returning=False,
        crossed=False,
    ).drop_duplicates(["person_id"], ignore_index=True)


def _with_causes(
    units: pd.DataFrame, exposed: Exposures, stage: str, control: str, canary: str, stop: Any
) -> pd.DataFrame:
    """Marks of the units that saw several variants within the stage before `stop`, and why."""
    import pandas as pd

    from canarykit.events.text import places_among

    changes = exposed.changes[exposed.changes["stage"] == stage]
    if stop is not None:
        changes = changes[changes["changed_at"] < stop]
    changes = changes.reset_index(drop=True)
    why = causes_of(changes, units, control=control, canary=canary)
    place = places_among(units["person_id"], changes[exposed.unit_column].astype(str))
    changed = changes["changed_at"].astype("datetime64[us, UTC]").array
    return units.assign(
        several=place >= 0,
        cause=np.array([*why, None], dtype=object)[place],
        changed_at=pd.Series(changed.take(place, allow_fill=True), index=units.index),
    )


def _not_randomised(
    log: Any,
    plan: RolloutPlan,
    stage: str,
    by_stage: pd.DataFrame,
    units: pd.DataFrame,
    words: str,
) -> tuple[npt.NDArray[Any], list[Note]]:
    """Why units of a percentage stage do not count; empty for those whom the randomisation placed."""
    from canarykit.events.text import among

    chosen, notes = chosen_people(log, plan, stage, by_stage)
    holdout = units["variant"].astype("string").str.startswith("holdout-").fillna(False).to_numpy(bool)
    by_rule = among(units["person_id"], chosen) & ~holdout
    reason = np.where(by_rule, "chosen", "").astype(object)
    more = list(notes)
    if by_rule.any():
        text = f"{words} have it by choice (owner, team, beta, enrolled), not by randomisation: set apart"
        more.append(Note("chosen", text, int(by_rule.sum())))
    drawn = units[~by_rule]
    returning, note = _returning_left_out(drawn, plan, plan.share(stage), words)
    if note is not None:
        more.append(note)
        reason[np.flatnonzero(~by_rule)[returning]] = "returning"
    return reason, more


def _returning_left_out(
    units: pd.DataFrame, plan: RolloutPlan, share: float | None, words: str
) -> tuple[npt.NDArray[np.bool_], Note | None]:
    """Who is left out where the log shows returning units only when their variant changed.

    Clients that report each answer once stay silent about people whose answer did not change when the
    ramp grew. Then the returning people who are seen are mostly those who crossed, a selection.
    """
    from canarykit.stats.one_look.srm import srm_exact

    returning = units["returning"].to_numpy(bool)
    canary = int((returning & (units["variant"] == plan.canary).to_numpy(bool)).sum())
    control = int((returning & (units["variant"] == plan.control).to_numpy(bool)).sum())
    if not canary + control or share is None or not 0 < share < 1:
        return returning, None
    test = srm_exact(canary, control, share=share)
    if test is None or test.p_value >= 0.001:
        return returning, None
    text = (
        f"{words} seen in an earlier stage are left out of the comparison: of those seen again "
        f"{canary / (canary + control):.1%} have the canary where {share:.1%} should, which is what a client "
        "leaves behind that reports an answer only when it changes"
    )
    return returning, Note("returning_left_out", text, int(returning.sum()))


def _crosser_note(units: pd.DataFrame, stage: str, words: str, rule: CrosserRule) -> Note:
    counts = units["cause"].value_counts()
    why = ", ".join(f"{int(counts[cause]):,} {said}" for cause, said in CAUSES.items() if cause in counts)
    done = "set apart" if rule == "set apart" else "they stay in the arm of their first exposure"
    return Note("several_variants", f"{words} saw several variants in {stage} ({why}): {done}", len(units))


def _unit_column(log: Any, exposed: Exposures) -> str:
    if exposed.unit == "person":
        return "person_id"
    return f"$group_{log.group_types.get(exposed.unit, exposed.unit.removeprefix('group '))}"
