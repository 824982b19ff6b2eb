"""What a metric is at present, and what so many people can tell of it: by the judge's own rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from canarykit.health.evidence.event_evidence import event_mixtures
from canarykit.metrics.guardrail import roll_back_line
from canarykit.metrics.risk import MOST
from canarykit.metrics.share import ShareMetric
from canarykit.metrics.unit_outcomes import Outcomes
from canarykit.metrics.values import Metric, Quantile
from canarykit.stats.any_look.sequential import K_AT_GATE, mixture_boundary
from canarykit.stats.planning.events_needed import event_power


@dataclass(frozen=True)
class Measured:
    """What a metric is at present."""

    # share, mean or quantile, and the standard deviation of one person's part in it
    value: float
    spread: float
    # people measured, and the part of all people that have such a number
    people: int
    part: float = 1.0

    @classmethod
    def of(cls, reduced: Outcomes, i: int) -> Measured:
        """Metric `i` over all units."""
        from canarykit.stats.one_look.quantiles import quantile

        metric, first, sums, n = reduced.metrics[i], reduced.first[i], reduced.sums[i], len(reduced.units)
        if first is not None:
            share = float((first >= 0).mean())
            return cls(share, float(np.sqrt(share * (1 - share))), n)
        assert sums is not None
        if not isinstance(metric, Quantile):
            capped = np.minimum(sums, np.quantile(sums, 0.995)) if sums.max(initial=0) > 0 else sums
            return cls(float(capped.mean()), float(capped.std()), n)
        numbers = reduced.numbers[i]
        assert numbers is not None
        people = len(np.unique(numbers.unit))
        estimate = quantile(numbers.value, metric.q, clusters=numbers.unit) if people else None
        if estimate is None or estimate.standard_error is None:
            return cls(np.nan, np.nan, people, people / n)
        return cls(estimate.value, estimate.standard_error * np.sqrt(people), people, people / n)


def _known_before(level: float) -> float:
    """Part of the evidence that is lost in entry cohorts, the more the fewer of their people are left.

    Of r people who are left the next event tells 1 - 1 / r of what it would tell among many, and as much
    again is lost to the mean over a look (`docs/proofs/event_evidence.md`). Cohorts of `MOST` people.

    Examples
    --------
    >>> [round(_known_before(level), 3) for level in (0.01, 0.5, 0.95)]
    [0.04, 0.055, 0.126]
    """
    return 2 * min(-math.log1p(-min(level, 1 - 1 / MOST)), math.log(MOST)) / (MOST * level)


@dataclass(frozen=True)
class Planned:
    """What people of both arms can tell of a metric: the chances of the judge's own rules, approximate."""

    metric: Metric
    base: Measured
    canary: int
    control: int
    count: int

    def shown_safe(self, margin: float) -> float:
        """Chance that a harmless release is shown to be within the margin."""
        if isinstance(self.metric, ShareMetric):
            return self._by_events(1.0, margin, "safe", 0.05)
        return self._by_mean(margin, margin, 0.05)

    def seen(self, ratio: float, margin: float) -> float:
        """Chance that a release with this ratio is seen to be beyond the line of rollback."""
        if isinstance(self.metric, ShareMetric):
            return self._by_events(ratio, margin, "harm", 0.05 / self.count)
        line = roll_back_line(margin)
        return self._by_mean(1 + ratio - line, line, 0.05 / self.count)

    def harm_seen(self, margin: float, power: float) -> float | None:
        """The smallest harm, as a ratio, that is seen with this chance; None where none up to 20 times is."""
        line = roll_back_line(margin)
        nearest, furthest = math.log(line), math.log(20) if margin > 1 else math.log(0.05)
        if self.seen(math.exp(furthest), margin) < power:
            return None
        for _ in range(8):
            middle = (nearest + furthest) / 2
            if self.seen(math.exp(middle), margin) >= power:
                furthest = middle
            else:
                nearest = middle
        return math.exp(furthest)

    def _by_events(self, ratio: float, margin: float, side: str, alpha: float) -> float:
        level = self.base.value
        events = self.canary * self.metric.level_at(level, ratio) + self.control * level
        events *= 1 - _known_before(level)
        exposure = self.canary / self.control
        if margin < 1:  # as the judge does: the arms changed over, so that more is harm
            ratio, margin, exposure = 1 / ratio, 1 / margin, 1 / exposure
        harm, safe = event_mixtures(margin)
        mixture = safe if side == "safe" else harm
        planned = event_power(
            ratio, max(round(events), 1), mixture=mixture, exposure_ratio=exposure, alpha=alpha
        )
        return float(planned.power[-1])

    def _by_mean(self, ratio: float, factor: float, alpha: float) -> float:
        """Chance that the last look is beyond the limits of all looks, for a mean that far from its null."""
        error = self.base.spread * math.sqrt(1 / self.canary + factor**2 / self.control)
        distance = abs(self.base.value * (ratio - 1)) / max(error, 1e-12)
        return NormalDist().cdf(distance - float(mixture_boundary(K_AT_GATE, alpha)))
