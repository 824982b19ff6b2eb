"""When a plan's percentage stages look at their numbers, and how many people come in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from canarykit.errors import PlanError, wrong_kind
from canarykit.simulate.people.population import Population
from canarykit.stats.checks import require_numbers
from canarykit.times import duration, micros

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Time

MOST_AN_HOUR = 1e9
"""People an hour beyond which nothing is simulated: there are not that many."""

Control = Literal["rest", "equal"]
Traffic = float | Sequence[float] | np.ndarray | Population
HOUR_US = 3_600_000_000
STEPS = {"hourly": "1h", "daily": "1d"}


@dataclass(frozen=True)
class StageLooks:
    """The looks of one stage."""

    # the stage, and its place among the percentage stages
    name: str
    position: int
    # parts of the people in the canary, and in the control it is compared with
    share: float
    control_share: float
    times_us: np.ndarray  # start of the interval before each look, microseconds since 1970
    hours: np.ndarray  # end of the interval, in hours since the stage began
    # people who are exposed for the first time in each interval, both arms and the rest together
    people: np.ndarray
    dwell_met: np.ndarray  # whether the stage may be promoted at the look

    @property
    def canary_people(self) -> np.ndarray:
        """Expected canary people in each interval."""
        return self.people * self.share

    @property
    def control_people(self) -> np.ndarray:
        """Expected control people in each interval."""
        return self.people * self.control_share


def shares_of(plan: RolloutPlan, stage: str, control: Control) -> tuple[float, float]:
    """Parts of all people in the canary and in the control it is compared with."""
    shares = plan.shares(stage)
    canary, rest = shares.get(plan.canary, 0.0), shares.get(plan.control, 0.0)
    return canary, min(canary, rest) if control == "equal" else rest


def schedule(
    plan: RolloutPlan,
    *,
    traffic: Traffic,
    looks: str | Sequence[Time] = "hourly",
    control: Control = "rest",
    min_dwell: str | None = None,
    cap: str | None = None,
) -> tuple[StageLooks, ...]:
    """The looks of every percentage stage of a plan.

    `min_dwell` is how long a stage lasts at least, `cap` at most; both are its planned length if left out.
    """
    stages: list[StageLooks] = []
    begun = None
    for stage in plan.stages:
        if stage.kind != "percentage":
            continue
        start, end = plan.window(stage.name)
        if end is None and cap is None:
            raise PlanError(f"stage {stage.name!r} has no end; give the plan a dwell, or cap=")
        planned = None if end is None else (end - start).total_seconds()
        longest = planned if cap is None else duration(cap, name="cap")
        assert longest is not None
        least = longest if min_dwell is None else min(duration(min_dwell, name="min_dwell"), longest)
        begin = micros(start)
        begun = begin if begun is None else begun
        edges = _edges(looks, begin, longest)
        share, control_share = shares_of(plan, stage.name, control)
        hours = (edges[1:] - begin) / HOUR_US
        stages.append(
            StageLooks(
                name=stage.name,
                position=len(stages),
                share=share,
                control_share=control_share,
                times_us=edges[:-1],
                hours=hours,
                people=_people(traffic, edges, begun, begin),
                dwell_met=hours * 3600 >= least - 1e-6,
            )
        )
    if not stages:
        raise PlanError(f"the plan of {plan.flag!r} has no percentage stage: nothing is randomised")
    return tuple(stages)


def _edges(looks: str | Sequence[Time], begin: int, seconds: float) -> np.ndarray:
    end = begin + round(seconds * 1_000_000)
    if isinstance(looks, str):
        step = round(duration(STEPS.get(looks, looks), name="looks") * 1_000_000)
        inner = np.arange(begin + step, end, step)
    else:
        inner = np.array(sorted(micros(look) for look in looks), dtype=np.int64)
        inner = inner[(inner > begin) & (inner < end)]
    return np.concatenate([[begin], inner, [end]]).astype(np.int64)


def _people(traffic: Traffic, edges: np.ndarray, begun: int, begin: int) -> np.ndarray:
    """Newly exposed people in each interval: a rate an hour, a series by hour, or a population's returns."""
    if isinstance(traffic, Population):
        weeks = (edges - begin) / (7 * 24 * HOUR_US)
        seen = 1 - (1 + traffic.sessions_per_week * weeks / traffic.activity_shape) ** -traffic.activity_shape
        return traffic.n * np.diff(seen)
    if isinstance(traffic, int | float | np.number):
        if not 0 < float(traffic) <= MOST_AN_HOUR:
            raise PlanError(
                f"traffic is {traffic}; expected people an hour, more than none and at most {MOST_AN_HOUR:g}"
            )
        return float(traffic) * np.diff(edges) / HOUR_US
    if isinstance(traffic, str | Mapping) or not isinstance(traffic, Iterable):
        raise wrong_kind("traffic", traffic, "people an hour, a list of them by hour, or a Population")
    series = require_numbers("traffic", traffic)
    if series.ndim != 1 or not len(series) or not bool(np.all(series >= 0)):
        raise PlanError("traffic by hour must be a list of people an hour, none negative")
    total = np.concatenate([[0.0], np.cumsum(series)])
    hours = (edges - begun) / HOUR_US
    rounds, inside = np.divmod(hours, len(series))  # a series that ends starts again
    return np.diff(rounds * total[-1] + np.interp(inside, np.arange(len(total)), total))
