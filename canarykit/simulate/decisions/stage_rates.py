"""The truth of every stage as numbers: rates per guardrail, interval and arm, and the margins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from canarykit.errors import PlanError
from canarykit.health.evidence.settle import stage_margin_ratio
from canarykit.simulate.decisions.delayed import events_by_look
from canarykit.simulate.decisions.late_data import LateArm, LateLooks, late_looks
from canarykit.simulate.decisions.logins import Arms, Changed, Logins
from canarykit.simulate.decisions.schedule import HOUR_US, StageLooks
from canarykit.simulate.decisions.truth import Ages, Truth
from canarykit.simulate.people.population import Population
from canarykit.simulate.people.scenario import Scenario


@dataclass(frozen=True)
class StageRates:
    """One stage and the truth in it."""

    looks: StageLooks  # the stage's looks
    # (guardrails, looks): rates, or means of value guardrails, before each look. Of events that come later:
    # the share of those who came in before the look that has it ever
    control: np.ndarray
    canary: np.ndarray
    margins: tuple[float, ...]  # tolerated ratio of each guardrail at this stage
    # of each guardrail whose events come later, the shares of the control and of the canary by the look
    # before which people came in and the look before which they have it; None where all come at once
    later: tuple[tuple[np.ndarray, np.ndarray] | None, ...] = ()
    # people who log in and change variant, and what they do after that; None where nobody does
    changed: Changed | None = None
    # what each look sees where one arm's data are late; None where a look sees everything
    late: LateLooks | None = None
    spreads: tuple[np.ndarray, ...] = ()  # standard deviation of each value in the canary; 0 of shares

    def canary_so_far(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of a value in the canary, over all who came in before each look."""
        people = np.maximum(self.looks.canary_people, 1e-9)
        mean, square = (
            np.cumsum(people * each) / np.cumsum(people)
            for each in (self.canary[place], self.spreads[place] ** 2)
        )
        return mean, np.sqrt(square)

    @property
    def verdict_hours(self) -> np.ndarray:
        """When each verdict is given, in hours since the stage began."""
        return self.looks.hours if self.late is None else self.late.hours


def stage_rates(
    stages: Sequence[StageLooks],
    truths: Sequence[Truth],
    scenario: Scenario,
    population: Population,
    arms: tuple[str, str],
    *,
    drift: Sequence[float] | None = None,
    harm_budget: float | None = None,
    logins: Logins | None = None,
    late: LateArm | None = None,
) -> tuple[StageRates, ...]:
    """Rates and margins of every stage; `arms` are the names of the control and the canary."""
    rates = []
    begun = int(stages[0].times_us[0])
    behind = late_looks(stages, late)
    for number, stage in enumerate(stages):
        following = stages[number + 1] if number + 1 < len(stages) else None
        factor = np.ones(len(stage.people))
        if drift is not None:
            hours = (stage.times_us - begun) // HOUR_US
            factor = np.asarray(drift, float)[hours % len(drift)]
        where = (scenario, population, stage.name, stage.times_us)
        control, canary = (
            np.array([truth.base * factor * truth.ratios(*where, arm) for truth in truths]) for arm in arms
        )
        later: list[tuple[np.ndarray, np.ndarray] | None] = []
        after: list[Arms | None] = []
        for g, truth in enumerate(truths):
            later.append(None)
            after.append(None)
            if not truth.delay:
                continue
            ages = truth.ages(*where, arms[0]), truth.ages(*where, arms[1])
            if logins is not None:
                of_canary, of_control = logins.chances(stage)
                moved = logins.after(ages[0], of_canary), logins.after(ages[1], of_control)
                of_canary_then, of_control_then = (_by_look(truth, factor, stage, each)[0] for each in moved)
                after[g] = (of_canary_then, of_control_then)
                ages = logins.mixed(*ages, of_control), logins.mixed(*ages[::-1], of_canary)
            (low, control[g]), (high, canary[g]) = (_by_look(truth, factor, stage, each) for each in ages)
            later[g] = (low, high)
        for truth, low, high, cells in zip(truths, control, canary, later, strict=True):
            good = (low > 0) & (low < 1) & (high >= 0) & (high <= 1)
            if cells is not None:  # a person has one event, before the looks where there are fewer too
                good &= np.maximum(*cells).sum(axis=1) <= 1
            if truth.is_share and not bool(np.all(good)):
                raise PlanError(
                    f"{truth.guardrail.label}: rates between {min(low.min(), high.min()):.3g} and "
                    f"{max(low.max(), high.max()):.3g} in stage {stage.name!r}; expected between 0 and 1"
                )
        margins = tuple(_margin(truth, following, harm_budget) for truth in truths)
        changed = None
        if logins is not None:
            edges = np.concatenate([[0.0], stage.hours])
            moved_people = [logins.changed(edges, chance) for chance in logins.chances(stage)]
            changed = Changed((moved_people[0], moved_people[1]), tuple(after))
        spreads = tuple(
            truth.spread_under(*where, arms[1]) if truth.spread else np.zeros(len(stage.people))
            for truth in truths
        )
        rates.append(
            StageRates(stage, control, canary, margins, tuple(later), changed, behind[number], spreads)
        )
    return tuple(rates)


def _by_look(
    truth: Truth, factor: np.ndarray, stage: StageLooks, ages: Ages
) -> tuple[np.ndarray, np.ndarray]:
    """When an arm's events come, by the look before which people came in, and the share that has it ever."""
    metric = truth.guardrail.metric
    return events_by_look(
        np.concatenate([[0.0], stage.hours]),
        truth.base * factor,
        ages,
        truth.delay,
        within=metric.window[1] / 3600,
        by_age=getattr(metric, "by_age", False),
    )


def _margin(truth: Truth, following: StageLooks | None, harm_budget: float | None) -> float:
    """The guardrail's own margin, or the wider one that the next stage's harm budget allows."""
    tolerated = truth.margin_ratio
    if harm_budget is None or following is None or not truth.is_share:
        return tolerated
    first = int(np.argmax(following.dwell_met)) + 1
    people = float(following.canary_people[:first].sum())
    worse = truth.guardrail.worse
    budget = stage_margin_ratio(
        harm_budget=harm_budget, people_next=people, control_share=truth.base, worse=worse
    )
    if budget is None:
        return tolerated
    return max(tolerated, budget) if worse == "higher" else min(tolerated, budget)
