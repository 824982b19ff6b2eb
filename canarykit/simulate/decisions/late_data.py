"""Data that arrive late: how long a report waits for them, and what it sees where one arm alone is late.

As `evaluate_stage` has it: where more than 5 % of all events are late, it judges the hours that are complete,
and every verdict comes as much later. Where those of one arm are late and fewer than 5 % of all, its people
are looked at up to the present, without those of whom nothing has arrived; safety is then shown by complete
hours alone, and so is harm that the missing events themselves would make. Before the delay has passed once,
nothing tells that anything is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from canarykit.health.data.delays import DELAYS
from canarykit.health.data.pulse import LATE_FROM
from canarykit.health.evidence.event_evidence import LOST
from canarykit.simulate.decisions.binomial_counts import binomial
from canarykit.simulate.decisions.schedule import StageLooks
from canarykit.simulate.log.streams import Streams
from canarykit.simulate.people.scenario import Fault, Scenario
from canarykit.times import duration

SEEN_LATE = 0.05
"""Part of the events from which on a report waits for those that come late."""
MOST_LATE = 0.5
"""Part of the events from which on nothing is late any more: an hour is over when half of it is there."""

Paths = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Evidence of harm and of safety, (guardrails, runs, looks), and of a split that is off, (runs, looks)."""


@dataclass(frozen=True)
class LateArm:
    """Events of one arm, of which a share arrives so many hours late, and how long they are waited for."""

    is_canary: bool
    share: float
    hours: float
    waited: float


@dataclass(frozen=True, eq=False)
class LateLooks:
    """The looks of a stage whose one arm is late: what each sees."""

    arm: LateArm  # whose events are late
    hours: np.ndarray  # when each look is, in hours since the stage began
    # how many of the stage's intervals count as complete at each look, of how many all has arrived, and of
    # how many something has
    complete: np.ndarray
    whole: np.ndarray
    open: np.ndarray

    def people(self, came: np.ndarray, arrived: np.ndarray) -> np.ndarray:
        """People of an arm at each look, from those who came in and those of them who arrived at once."""
        whole, some = (
            np.concatenate([np.zeros((len(each), 1)), np.cumsum(each, axis=1)], axis=1)
            for each in (came, arrived)
        )
        return np.asarray(whole[:, self.whole] + some[:, self.open] - some[:, self.whole])


def late_arm(scenario: Scenario, canary: str, control: str) -> LateArm | None:
    """The one arm that is always late in this scenario; None where there is none, or more is amiss.

    Examples
    --------
    >>> slow = Scenario(faults=[Fault("late data", share=0.3, delay="6h", variant="true")])
    >>> late_arm(slow, "true", "false")
    LateArm(is_canary=True, share=0.3, hours=6.0, waited=6.0)
    """
    late = [fault for fault in scenario.faults if fault.kind == "late data"]
    if len(late) != 1 or late[0].variant not in (canary, control) or not _always(late[0]):
        return None
    waited = _hours_waited(late[0])
    if waited is None or late[0].share <= SEEN_LATE:
        return None
    hours = duration(late[0].delay, name="delay") / 3600
    return LateArm(late[0].variant == canary, late[0].share, hours, waited)


def hours_late(scenario: Scenario) -> float:
    """Hours that a report is behind the clock, because it waits for events that come late to both arms.

    Examples
    --------
    >>> hours_late(Scenario(faults=[Fault("late data", share=0.3, delay="6h")]))
    6.0
    """
    waits = [_hours_waited(fault) or 0.0 for fault in scenario.faults if _is_waited_for(fault)]
    return max(waits, default=0.0)


def left_out(scenario: Scenario, arm: LateArm | None) -> list[str]:
    """Kinds of the faults that are not in simulated counts."""
    faults = [fault for fault in scenario.faults if not _is_waited_for(fault)]
    return [fault.kind for fault in faults if arm is None or fault.kind != "late data"]


def _always(fault: Fault) -> bool:
    return fault.since is None and fault.until is None


def _is_waited_for(fault: Fault) -> bool:
    """Whether a fault is only that all events come late, which moves every verdict and changes none."""
    waited = fault.kind == "late data" and fault.variant is None and _always(fault)
    return waited and SEEN_LATE < fault.share < MOST_LATE and _hours_waited(fault) is not None


def _hours_waited(fault: Fault) -> float | None:
    """Hours that a report waits: delays are told apart by the hour, then coarser; None if none is seen."""
    hours = int(np.ceil(duration(fault.delay, name="delay") / 3600))
    return float(DELAYS[np.searchsorted(DELAYS, hours - 1)] + 1) if 1 < hours <= DELAYS[-1] + 1 else None


def late_looks(stages: Sequence[StageLooks], arm: LateArm | None) -> tuple[LateLooks | None, ...]:
    """What each look of each stage sees; None for all where half of the events of a stage are late.

    Which part of all events is late is that since the ramp began, as of the middle of each stage.
    """
    if arm is None:
        return (None,) * len(stages)
    found: list[LateLooks] = []
    late = everybody = 0.0
    for stage in stages:
        theirs = stage.share if arm.is_canary else stage.control_share
        people = float(stage.people.sum())
        part = (late + theirs * people / 2) / max(everybody + people / 2, 1e-300) * arm.share
        late, everybody = late + theirs * people, everybody + people
        if theirs * arm.share >= MOST_LATE:
            return (None,) * len(stages)
        found.append(_looks_of(stage, arm, waits=part > SEEN_LATE))
    return tuple(found)


def _looks_of(stage: StageLooks, arm: LateArm, *, waits: bool) -> LateLooks:
    """The looks at the hours of the stage, and those after it until everything has arrived."""
    hours, there = stage.hours, np.arange(1, len(stage.hours) + 1)
    later = hours + arm.waited
    first = hours <= arm.waited + 1e-9 if waits else np.ones(len(hours), bool)
    shifted = np.ones(len(hours), bool) if waits else later > hours[-1] + 1e-9
    at = hours[first] + 1e-9
    return LateLooks(
        arm,
        hours=np.concatenate([hours[first], later[shifted]]),
        complete=np.concatenate([np.searchsorted(later, at), there[shifted]]),
        whole=np.concatenate([np.searchsorted(hours + arm.hours, at), there[shifted]]),
        open=np.concatenate([there[first], there[shifted] if waits else np.full(shifted.sum(), len(hours))]),
    )


def arrived(
    arm: LateArm,
    looks: StageLooks,
    people: np.ndarray,
    events: Sequence[np.ndarray],
    later: Sequence[tuple[np.ndarray, np.ndarray] | None],
    draw: Streams,
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """How many of the late arm's people, and of their events, have arrived before the delay is over.

    Both by guardrail, the people drawn together with those of them who have its event; people and events
    given are those of the arm, (runs, looks). `later` is when a guardrail's events come, as in `StageRates`.
    """
    there = 1 - arm.share
    some, seen = [], []
    for place, (counts, chances) in enumerate(zip(events, later, strict=True)):
        stream = draw(f"late {place}")
        if chances is None:
            hit = binomial(stream, counts, there)
            some.append(hit + binomial(stream, people - counts, there))
            seen.append(binomial(stream, hit, there))
        else:
            fresh = _fresh(looks, chances[arm.is_canary], arm)
            some.append(binomial(stream, people, there))
            seen.append(binomial(stream, counts, there * (1 - arm.share * fresh)))
    return tuple(some), tuple(seen)


def _fresh(looks: StageLooks, chances: np.ndarray, arm: LateArm) -> np.ndarray:
    """Part of the events before each look of people who came in just before, and may not be there either."""
    people = looks.canary_people if arm.is_canary else looks.control_people
    events = people[:, None] * chances
    recent = looks.hours[:, None] > looks.hours[None, :] - arm.hours + 1e-9
    total = events.sum(axis=0)
    return np.where(total > 0, (events * recent).sum(axis=0) / np.maximum(total, 1e-300), 1.0)


def fewer(exposure: np.ndarray, arm: LateArm) -> np.ndarray:
    """Exposures (..., canary and control) of whom only those who have arrived are left."""
    factor = np.array([1 - arm.share, 1.0] if arm.is_canary else [1.0, 1 - arm.share])
    return np.asarray(exposure * np.maximum(factor, 1e-12))


def parts_left(part: np.ndarray, looks: StageLooks, chances: np.ndarray, arm: LateArm) -> np.ndarray:
    """The canary's part of those who could have an event that comes later, among those who have arrived.

    Of the late arm people who came in just before may be missing, and people whose event is missing seem to
    be left. `chances` are the arm's, by the looks of people and events.
    """
    people = looks.canary_people if arm.is_canary else looks.control_people
    events, hours = people[:, None] * chances, looks.hours
    gone = np.cumsum(chances, axis=1)
    arrived_by = np.searchsorted(hours, hours - arm.hours + 1e-9)  # looks of which all events have arrived
    old = np.where(arrived_by > 0, gone[:, np.maximum(arrived_by - 1, 0)], 0.0)
    before = gone - chances / 2
    recent = hours[:, None] > hours[None, :] - arm.hours + 1e-9
    seem_left = 1 + arm.share * np.maximum(before - old, 0.0) / np.maximum(1 - before, 1e-6)
    factor = (1 - arm.share * recent) * seem_left
    total = events.sum(axis=0)
    factor = np.where(total > 0, (events * factor).sum(axis=0) / np.maximum(total, 1e-300), 1.0)
    canary, control = (part * factor, 1 - part) if arm.is_canary else (part, (1 - part) * factor)
    return np.asarray(canary / (canary + control))


def late_evidence(
    late: LateLooks,
    whole: Paths,
    more: Callable[[int, int], Paths],
    events: np.ndarray,
    lower: np.ndarray,
    roll_back: float,
) -> Paths:
    """Evidence as it stands at each look: of what is complete, and of what has arrived since.

    Once some of a guardrail's events were seen to be late, safety is that of its complete looks, and so is
    harm where missing events look like it. `whole` is the evidence at each of the stage's looks as if all had
    arrived; `more` that of what has arrived between two looks, after all before the first, in its last
    columns. `events` of the late arm are shaped as the evidence; `lower` is whether lower is worse, by
    guardrail; from the log evidence `roll_back` on harm is shown.
    """
    told = late.arm.share * np.cumsum(events, axis=-1) >= LATE_FROM
    as_harm = (lower == late.arm.is_canary)[:, None]
    counts = late.complete, late.whole, late.open
    so_far = [np.maximum.accumulate(path, axis=-1) for path in whole]
    best_paths = so_far[0], so_far[1], whole[1], so_far[2]
    found = []
    for done, whole_until, until in zip(*(each.tolist() for each in counts), strict=True):
        harm, best, now, split, known = _at(whole_until, *best_paths, told)
        if until > whole_until:
            after = [path[..., whole_until - until :] for path in more(whole_until, until)]
            harm = np.maximum(harm, after[0].max(axis=-1))
            best, now = np.maximum(best, after[1].max(axis=-1)), after[1][..., -1]
            split = np.maximum(split, after[2].max(axis=-1))
        if until > done:
            frozen = _at(done, *best_paths[:3])
            harm = np.where(known & as_harm, frozen[0], harm)
            best, now = (np.where(known, *pair) for pair in zip(frozen[1:], (best, now), strict=True))
        stands = np.where(harm >= roll_back, now, best)
        found.append((harm, np.where(best - now > LOST, np.minimum(now, 0.0), stands), split))
    harm, safe, split = (np.stack(paths, axis=-1) for paths in zip(*found, strict=True))
    return harm, safe, split


def _at(looks: int, *paths: np.ndarray) -> tuple[np.ndarray, ...]:
    """What stands after so many looks; none at all before the first."""
    return tuple(path[..., looks - 1] if looks else np.zeros(path.shape[:-1], path.dtype) for path in paths)
