"""The plan and the scenario compiled for one block of people: who gets what when, and how it changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.errors import PlanError, did_you_mean
from canarykit.simulate.log.streams import Streams
from canarykit.simulate.people.population import People
from canarykit.simulate.people.scenario import Effect, Fault, Scenario
from canarykit.times import duration, micros

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan

DAY_US = 86_400_000_000
WEEK_US = 7 * DAY_US
ALWAYS = np.iinfo(np.int64).max
MONDAY_US = 4 * DAY_US  # 1970-01-05 was a Monday


class Clock:
    """When the log begins and ends, and the plan's stages within it; microseconds since 1970."""

    def __init__(self, plan: RolloutPlan, scenario: Scenario, until: Any) -> None:
        windows = plan.windows()
        if not windows:
            raise PlanError(
                f"the plan of {plan.flag!r} has no times; give it starts_at= or use with_windows()"
            )
        self.stages: tuple[str, ...] = tuple(windows)
        self.starts: np.ndarray = np.array([micros(start) for start, _ in windows.values()])
        self.ends: np.ndarray = np.array(
            [ALWAYS if end is None else micros(end) for _, end in windows.values()]
        )
        lead = duration(scenario.lead_in, name="lead_in") if scenario.lead_in else 0.0
        self.begin: int = int(self.starts[0] - lead * 1_000_000)
        if until is not None:
            self.end: int = micros(until, name="until")
        elif self.ends[-1] != ALWAYS:
            self.end = int(self.ends[-1])
        else:
            self.end = int(self.starts[-1] + 3 * DAY_US)
        if not self.begin < self.end:
            raise PlanError(f"the log would end before it begins; until is {until!r}")
        self.origin: int = (self.begin - MONDAY_US) // WEEK_US * WEEK_US + MONDAY_US
        self.weeks: int = -(-(self.end - self.origin) // WEEK_US)

    def window(self, stage: str) -> tuple[int, int]:
        """Start and end of a stage that has times."""
        if stage not in self.stages:
            raise PlanError(f"the plan has no stage {stage!r} with times; {did_you_mean(stage, self.stages)}")
        row = self.stages.index(stage)
        return int(self.starts[row]), int(self.ends[row])

    def stage_rows(self, time: np.ndarray) -> np.ndarray:
        """Row of the stage in force: between and after windows the last one that started; -1 before all."""
        return np.searchsorted(self.starts, time, side="right") - 1


class Rules:
    """Everything `draw_week` asks about one block of people.

    Parameters
    ----------
    values, anonymous_values
        Flag value codes, one row a stage and one column a person, under the known and the anonymous id.
    """

    def __init__(
        self,
        people: People,
        scenario: Scenario,
        clock: Clock,
        plan: RolloutPlan,
        names: tuple[str, ...],
        values: np.ndarray,
        anonymous_values: np.ndarray | None,
    ) -> None:
        self.scenario: Scenario = scenario
        self.people: People = people
        self.clock: Clock = clock
        self.names = names
        self.canary: int = names.index(plan.canary)
        self.control: int = names.index(plan.control)
        self.off: int = names.index("false")
        self.values: np.ndarray = values
        self.anonymous_values: np.ndarray | None = anonymous_values
        self.asks_anonymous: bool = anonymous_values is not None
        arrival = clock.begin + (people.arrives * WEEK_US).astype(np.int64)
        self.begins_at: np.ndarray = np.where(people.arrives > 0, arrival, clock.begin)
        wait = (people.identifies * WEEK_US).astype(np.int64)
        self.known_from: np.ndarray = np.where(people.identifies > 0, self.begins_at + wait, 0)
        enrolling = [
            micros(plan.window(s.name)[0]) for s in plan.stages if s.enrollment and s.name in clock.stages
        ]
        self.enrolment_from: int = min(enrolling, default=ALWAYS)
        self.rhythm: np.ndarray
        self.rhythm_us: np.ndarray
        self.rhythm, self.rhythm_us = _rhythm(people)
        self._effects: dict[str, list[_Compiled]] = {}
        for effect in scenario.effects:
            self._effects.setdefault(effect.quantity, []).append(_Compiled(effect, people, clock, names))
        self.most_sessions: float = max(
            1.0, float(np.prod([max(e.ratio, 1.0) for e in self._effects.get("sessions", [])]))
        )
        self._faults: dict[str, list[tuple[Fault, int, int]]] = {}
        for fault in scenario.faults:
            if fault.variant is not None and fault.variant not in names:
                hint = did_you_mean(fault.variant, names)
                raise PlanError(f"fault {fault.kind!r} is for variant {fault.variant!r}; {hint}")
            since, until = _times(fault.since, fault.until)
            self._faults.setdefault(fault.kind, []).append((fault, since, until))
        self._switched_off = [_times(since, until) for since, until in scenario.switched_off]

    def week_start(self, week: int) -> int:
        """Monday midnight UTC of a week of the log."""
        return self.clock.origin + week * WEEK_US

    def has(self, quantity: str) -> bool:
        """Whether any effect touches a quantity."""
        return quantity in self._effects

    def value_at(self, person: np.ndarray, time: np.ndarray, is_known: np.ndarray) -> np.ndarray:
        """Flag value codes at these times; -1 before the plan begins."""
        row = self.clock.stage_rows(time)
        value = self.values[row, person]
        if self.anonymous_values is not None:
            value = np.where(is_known, value, self.anonymous_values[row, person])
        value = np.where(row >= 0, value, np.int8(-1))
        stuck = "stuck on" in self._faults
        for since, until in self._switched_off:
            off = (time >= since) & (time < until) & (value >= 0)
            if stuck:
                off &= value != self.canary
            value = np.where(off, np.int8(self.off), value)
        return value

    def ratio(
        self, quantity: str, person: np.ndarray, time: np.ndarray, value: np.ndarray, canary_since: np.ndarray
    ) -> Any:
        """What a quantity is multiplied by in each session: a number, or one a session."""
        factor: Any = 1.0
        for effect in self._effects.get(quantity, ()):
            factor = factor * effect.factor(person, time, value, canary_since)
        return factor

    def unknown(self, draw: Streams, person: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Sessions in which the flag's answer is null."""
        hit = np.zeros(len(person), bool)
        for fault, since, until in self._faults.get("unknown values", ()):
            hit |= (draw("unknown").random(len(person)) < fault.share) & (time >= since) & (time < until)
        return hit

    def lost(self, draw: Streams, time: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Sessions whose flag call never arrives."""
        hit = np.zeros(len(time), bool)
        for fault, since, until in self._faults.get("lost exposures", ()):
            gone = (draw("lost").random(len(time)) < fault.share) & (time >= since) & (time < until)
            if fault.variant is not None:
                gone &= value == self.names.index(fault.variant)
            hit |= gone
        return hit

    def arrives(self, time: np.ndarray) -> np.ndarray:
        """Events inside the log's time that no outage swallows."""
        keep = (time >= self.clock.begin) & (time < self.clock.end)
        for _, since, until in self._faults.get("outage", ()):
            keep &= (time < since) | (time >= until)
        return keep


class _Compiled:
    """One effect, its people and times looked up."""

    def __init__(self, effect: Effect, people: People, clock: Clock, names: tuple[str, ...]) -> None:
        self.effect, self.ratio = effect, effect.ratio
        self.people = people.matches(effect.where) if effect.where else None
        self.since, self.until = _times(effect.since, effect.until)
        if effect.stage is not None:
            start, end = clock.window(effect.stage)
            self.since, self.until = max(self.since, start), min(self.until, end)
        if effect.variant is not None and effect.variant not in names:
            raise PlanError(f"no variant {effect.variant!r}; {did_you_mean(effect.variant, names)}")
        self.variant = None if effect.variant is None else names.index(effect.variant)

    def factor(
        self, person: np.ndarray, time: np.ndarray, value: np.ndarray, canary_since: np.ndarray
    ) -> np.ndarray:
        applies = np.ones(len(person), bool) if self.variant is None else value == self.variant
        if self.people is not None:
            applies &= self.people[person]
        if self.since > 0 or self.until < ALWAYS:
            applies &= (time >= self.since) & (time < self.until)
        strength: Any = self.ratio - 1.0
        fades, grows = self.effect.fades_after, self.effect.grows_over
        if fades is not None or grows is not None:
            days = np.maximum(time - canary_since[person], 0) / DAY_US
            share = np.exp(-days / fades) if fades is not None else -np.expm1(-days / grows)
            strength = strength * share
        return np.where(applies, 1.0 + strength, 1.0)


def _rhythm(people: People) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative shares of a week's sessions at the hours' edges, and those edges in microseconds."""
    weights = np.outer(people.population.weekly, people.population.daily).ravel().astype(float)
    shares = np.concatenate([[0.0], np.cumsum(weights / weights.sum())])
    return shares, np.arange(169) * (WEEK_US / 168)


def _times(since: str | None, until: str | None) -> tuple[int, int]:
    return 0 if since is None else micros(since), ALWAYS if until is None else micros(until)
