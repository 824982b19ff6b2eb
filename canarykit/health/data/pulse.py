"""The pulse of a log around a stage: who was seen when, in which arm, how late it arrived; in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from canarykit.compiler import can_compile
from canarykit.events.clock import as_micros
from canarykit.events.names import call_events
from canarykit.events.text import codes_of
from canarykit.health.data.delays import COMPILED_FROM, HOUR, Arrivals, Delays, delays_of
from canarykit.health.data.silences import (
    QUARTER,
    Silence,
    find_silences,
    one_sided_runs,
    silence_bar,
)
from canarykit.periods import moment

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.health.question import Question

BUSY_FROM = 1000
"""Events within a stage from which a person looks like a bot."""
LATE_FROM = 3
"""Late events of a guardrail from which they are taken for its habit."""
_BEFORE = pd.Timedelta(days=14)
_MOST_CHECKED = 5
_GAP = 2  # quarters of an hour: whoever comes later begins another visit

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ArmSilence:
    """A time in which nobody of one arm was seen, while people of the other were."""

    arm: str
    silence: Silence
    others: int


@dataclass(frozen=True)
class OwnCompleteness:
    """Moments (microseconds UTC) from which on events of one guardrail are still to come; None: all there."""

    until: int | None  # of everybody or of either arm, whichever is earliest
    # of the people of one arm, from their exposure on
    canary: int | None
    control: int | None


@dataclass(frozen=True, eq=False)
class Pulse:
    """What one pass over the events around a stage tells of the data themselves."""

    newest: pd.Timestamp | None  # time of the newest event before the end of the evaluation; None without any
    # times without any event, and without any call of a flag, that the other days do not explain
    silences: tuple[Silence, ...]
    calls: tuple[Silence, ...]
    arms: tuple[ArmSilence, ...]  # times in which one arm alone was silent
    delays: Delays | None  # how late events arrive; None where the log does not know
    busy: dict[str, int]  # events within the stage of everybody with so many that they look like machines
    # per guardrail, until when its own events are there; empty where the log does not know
    own_complete: tuple[OwnCompleteness, ...] = ()

    @property
    def gaps(self) -> tuple[Silence, ...]:
        """Times without data in the whole log: without any event, or without any call of a flag."""
        return (*self.silences, *self.calls)

    @property
    def complete_until(self) -> int | None:
        """Moment (microseconds UTC) from which on events are still to come; None where none are."""
        return None if self.delays is None else self.delays.complete_until


@dataclass(frozen=True, eq=False)
class _Part:
    """What one shard of actors adds: counts per quarter hour, arrivals, and the busiest."""

    people: Counts
    visits: Counts
    calls: Counts
    call_visits: Counts
    arms: tuple[Counts, Counts]
    arrivals: Arrivals
    first: int | None
    newest: int | None
    last_arrival: int | None
    busy: tuple[tuple[str, int], ...]
    own: tuple[Arrivals, ...] = ()


def read_pulse(question: Question, units: pd.DataFrame | None) -> Pulse:
    """Read the pulse of the log from two weeks before the stage until its evaluation.

    `units` are the people of both arms, where there are two: person_id, canary, entered_at.
    """
    start, stop = question.origin, int(question.stop.value // 1000)
    origin = int((question.start - _BEFORE).value // 1000) // QUARTER * QUARTER
    n_bins = -(-(stop - origin) // QUARTER)
    has_arrival = "created_at" in question.log.columns
    columns = [question.actor, "event", "timestamp", *(["created_at"] if has_arrival else [])]
    parts = question.log.reduce(
        columns,
        partial(
            _reduce,
            actor=question.actor,
            origin=origin,
            n_bins=n_bins,
            start=start,
            units=_arms_table(units),
            kinds=tuple(guardrail.metric.events for guardrail in question.guardrails),
            call_names=tuple(call_events(question.log)),
        ),
        since=moment(origin),
        until=question.stop,
        actor=question.actor,
    )
    people, visits, calls, call_visits = (
        np.sum([getattr(part, name) for part in parts], axis=0)
        for name in ("people", "visits", "calls", "call_visits")
    )
    newest = max((part.newest for part in parts if part.newest is not None), default=None)
    if newest is None:
        return Pulse(None, (), (), (), None, {})
    first = min(part.first for part in parts if part.first is not None)
    arrivals = [part.last_arrival for part in parts if part.last_arrival is not None]
    of_all = None
    own_complete: tuple[OwnCompleteness, ...] = ()
    if arrivals:
        last = max(*arrivals, int(question.log.time_range[1].value // 1000))
        whole = Arrivals.joined([part.arrivals for part in parts])
        delays = partial(
            delays_of, origin=origin, last_arrival=last, n_hours=-(-(stop - origin) // HOUR), whole=whole
        )
        of_all = delays(whole)
        kinds = [Arrivals.joined(list(some)) for some in zip(*(p.own for p in parts if p.own), strict=True)]
        own_complete = tuple(
            _own_completeness([delays(kind) for kind in kinds[k : k + 3]]) for k in range(0, len(kinds), 3)
        )
    silences = find_silences(people, visits, origin=origin, since=start, covered=(first, newest))
    called = np.flatnonzero(calls)
    silent_calls: tuple[Silence, ...] = ()
    if len(called):
        covered = origin + int(called[0]) * QUARTER, newest
        silent_calls = tuple(
            silence
            for silence in find_silences(calls, call_visits, origin=origin, since=start, covered=covered)
            if not any(silence.since < other.until and other.since < silence.until for other in silences)
        )
    arms = () if units is None else _arm_silences(question, units, parts, origin, newest)
    busy: dict[str, int] = {}
    for part in parts:
        busy |= {who: busy.get(who, 0) + count for who, count in part.busy}
    return Pulse(moment(newest), silences, silent_calls, arms, of_all, busy, own_complete)


def _own_completeness(by_arm: list[Delays | None]) -> OwnCompleteness:
    """Until when a guardrail's events are there, from the delays of all, the canary's and the control's."""
    ends = [item.complete_until if item is not None and item.late >= LATE_FROM else None for item in by_arm]
    return OwnCompleteness(min((at for at in ends if at is not None), default=None), ends[1], ends[2])


def _arm_silences(
    question: Question, units: pd.DataFrame, parts: list[_Part], origin: int, newest: int
) -> tuple[ArmSilence, ...]:
    """Silences of one arm: found from people per quarter, settled by the distinct people of the other."""
    begin = -(-(question.origin - origin) // QUARTER)
    end = (newest - origin) // QUARTER
    if end <= begin:
        return ()
    edge = origin + begin * QUARTER
    entered = units["entered_at"].dt.as_unit("us").astype("int64").to_numpy()
    quarter = np.clip((entered - edge) // QUARTER + 1, 0, end - begin)
    is_canary = units["canary"].to_numpy(bool)
    came = [
        np.cumsum(np.bincount(quarter[arm], minlength=end - begin + 1))[:-1]
        for arm in (is_canary, ~is_canary)
    ]
    both = came[0] + came[1]
    seen = [np.sum([part.arms[k] for part in parts], axis=0)[begin:end] for k in (0, 1)]
    silences = []
    for k, name in enumerate(("canary", "control")):
        share = np.divide(came[k], both, out=np.zeros(len(both)), where=both > 0)
        for run in one_sided_runs(seen[k], seen[1 - k], share, origin=edge)[:_MOST_CHECKED]:
            others = _people_between(question, units, run, canary=k == 1)
            at = (run.since - edge) // QUARTER
            part = float(np.mean(share[at : (run.until - edge) // QUARTER]))
            evidence = -others * float(np.log1p(-min(part, 1 - 1e-9)))
            if evidence >= silence_bar(end - begin):
                expected = others * part / max(1 - part, 1e-9)
                silences.append(ArmSilence(name, Silence(run.since, run.until, expected, evidence), others))
    return tuple(sorted(silences, key=lambda item: item.silence.since))


def _people_between(question: Question, units: pd.DataFrame, run: Silence, *, canary: bool) -> int:
    """Distinct people of an arm who were seen within a time, after they had come in."""
    rows = question.log.select(
        [question.actor, "timestamp"],
        since=moment(run.since),
        until=moment(run.until),
    )
    mine = units[units["canary"].to_numpy(bool) == canary]
    entered = dict(zip(mine["person_id"].astype(str), mine["entered_at"], strict=True))
    who = rows[question.actor].astype(str)
    came = who.map(entered)
    return int(who[came.notna() & (rows["timestamp"] >= came)].nunique())


def _arms_table(units: pd.DataFrame | None) -> pa.Table | None:
    if units is None:
        return None
    import pyarrow as pa

    return pa.table(
        {
            "who": pa.array(units["person_id"].astype(str).to_numpy(object), pa.string()),
            "canary": pa.array(units["canary"].to_numpy(bool)),
            "entered": pa.array(units["entered_at"].dt.as_unit("us").astype("int64").to_numpy()),
        }
    )


def _reduce(
    table: pa.Table,
    *,
    actor: str,
    origin: int,
    n_bins: int,
    start: int,
    units: pa.Table | None,
    kinds: tuple[tuple[str, ...], ...],
    call_names: tuple[str, ...],
) -> _Part:
    """One shard's events a quarter of an hour: all, flag calls, by arm, and how late they arrived."""
    import pyarrow.compute as pc

    nothing = np.zeros(n_bins, dtype=np.int64)
    arrivals = Arrivals.of(nothing[:0], nothing[:0])
    if not table.num_rows:
        return _Part(nothing, nothing, nothing, nothing, (nothing, nothing), arrivals, None, None, None, ())
    names, codes = codes_of(table.column(actor), missing=None)
    at = as_micros(table.column("timestamp")).to_numpy()
    bins = (at - origin) // QUARTER
    event_names, event = codes_of(table.column("event"), missing=None)
    calls = np.flatnonzero(_named(event_names, call_names)[event])
    arms = nothing, nothing
    entered, in_canary = np.full(len(names) + 1, np.iinfo(np.int64).max), np.zeros(len(names) + 1, bool)
    if units is not None:
        position = pc.index_in(names, value_set=units.column("who").combine_chunks())
        known, row = np.flatnonzero(pc.is_valid(position)), position.drop_null()
        entered[known] = units.column("entered").take(row).to_numpy()
        in_canary[known] = units.column("canary").take(row).to_numpy(zero_copy_only=False)
        inside = np.flatnonzero(at >= entered[codes])
        of_canary = in_canary[codes[inside]]
        of_arms = inside[of_canary], inside[~of_canary]
        canary, control = (_per_quarter(codes[rows], bins[rows], n_bins)[0] for rows in of_arms)
        arms = canary, control
    last_arrival = None
    own_arrivals: list[Arrivals] = []
    if "created_at" in table.column_names:
        created = table.column("created_at")
        there = slice(None) if not created.null_count else np.flatnonzero(pc.is_valid(created))
        if created.null_count < len(created):
            created, happened = as_micros(created.drop_null()).to_numpy(), at[there]
            last_arrival = int(created.max())
            arrivals = Arrivals.at(happened, created, origin)
            for kind in kinds:
                rows = np.flatnonzero(_named(event_names, kind)[event[there]])
                who = codes[there][rows]
                of_both, of_canary = happened[rows] >= entered[who], in_canary[who]
                for some in (rows, rows[of_both & of_canary], rows[of_both & ~of_canary]):
                    own_arrivals.append(Arrivals.at(happened[some], created[some], origin))
    late = at >= start
    counts = np.bincount(codes if late.all() else codes[late], minlength=len(names) + 1)[: len(names)]
    many = np.flatnonzero(counts >= BUSY_FROM)
    busy = tuple((str(names[int(k)]), int(counts[k])) for k in many)
    return _Part(
        *_per_quarter(codes, bins, n_bins),
        *_per_quarter(codes[calls], bins[calls], n_bins, again=True),
        arms,
        arrivals,
        int(at.min()),
        int(at.max()),
        last_arrival,
        busy,
        tuple(own_arrivals),
    )


def _per_quarter(codes: Counts, bins: Counts, n_bins: int, *, again: bool = False) -> tuple[Counts, Counts]:
    """Distinct people per quarter hour, and visits begun in it: half an hour or more after the last.

    `again` counts visits of people who were there before: many clients report a flag's answer to a person
    once, so that first calls run dry by themselves.
    """
    pairs = codes * n_bins
    pairs += bins
    pairs.sort()
    if len(pairs) >= COMPILED_FROM and can_compile():
        from canarykit.health.data.hour_kernels import count_visits

        people, begun = np.zeros(n_bins, np.int64), np.zeros(n_bins, np.int64)
        count_visits(pairs, n_bins, _GAP, again, people, begun)
        return people, begun
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]  # np.unique would hash them first
    who, quarter = np.divmod(pairs, n_bins)
    new = np.diff(who, prepend=-1) != 0
    later = ~new & (np.diff(quarter, prepend=0) > _GAP)
    begins = quarter[later if again else later | new]
    return np.bincount(quarter, minlength=n_bins), np.bincount(begins, minlength=n_bins)


def _named(names: pa.Array, wanted: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Whether each name is wanted; the last place, of rows without one, is not."""
    return np.array([*(name in wanted for name in names.to_pylist()), False])
