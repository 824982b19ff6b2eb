"""Power of the evidence that a stage gathers from events: the boundary of its own mixture, look by look.

Events of a look are compared within entry cohorts, and each takes somebody out. What counts is therefore not
the variance of a share but the number of events, the canary's part of them, and the part it would have at the
null. In a small cohort of whom most have the event little can be told: once nearly everybody had it, both
arms have lost all they had. So the moments are those of a cohort of its size. Between looks the sum is taken
as normal; where the mixture's evidence suffices is solved exactly.

References
----------
Golub & Welsch (1969), doi:10.1090/S0025-5718-69-99647-1, for the sums over Poisson numbers of people;
Armitage, McPherson & Rowe (1969), doi:10.2307/2343787, for crossing probabilities look by look; Lindon &
Malek (2022), arXiv:2011.03567, for the evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from canarykit.errors import DataError
from canarykit.health.evidence.event_evidence import event_mixtures
from canarykit.metrics.risk import FEWEST, MOST, PART
from canarykit.simulate.decisions.delayed import RARE, parts_in_cohort
from canarykit.simulate.decisions.truth import Truth
from canarykit.stats.any_look.event_process import EventMixture
from canarykit.stats.planned_looks import crossing_probabilities

_OUT_OF_REACH = 30.0
"""A z that nothing crosses: stands at looks whose events cannot suffice, whoever has them."""
_MOST_PEOPLE = 1e12
_LARGE = 1e6
"""People of a cohort from which on it is as good as endless."""
_NODES = 7


@dataclass(frozen=True)
class Moments:
    """What an event tells of the arm whose events are harm."""

    true: float  # part of the events in that arm
    null: float  # part expected at the null, among those who are left
    variance: float  # of the difference between both, for each event


@dataclass(frozen=True)
class EventQuestion:
    """Harm or safety of a share guardrail, asked of the events at several looks."""

    truth: Truth  # the guardrail and the control's share
    ratio: float  # the canary's share over the control's, in truth
    goal: Literal["safe", "harm"]  # "safe" within the margin, or "harm" beyond the line of rollback
    canary_share: float  # canary's part of the people of both arms
    # level, and the number of equally spaced looks
    alpha: float
    looks: int

    @cached_property
    def mixture(self) -> EventMixture:
        """What `evaluate_stage` measures the evidence against, oriented so that more is harm."""
        tolerated = self.truth.margin_ratio
        line = self.truth.guardrail.roll_back_beyond(tolerated)
        sign = -1 if self._swapped else 1
        return event_mixtures(tolerated**sign, line**sign)[self.goal == "safe"]

    @property
    def events_per_person(self) -> float:
        """Events of both arms for each of their people."""
        share, rate = self.canary_share, self.truth.base
        return share * rate * self.ratio + (1 - share) * rate

    def moments(self, people: float) -> Moments:
        """What an event tells when so many people come in over all looks."""
        arms = (self.canary_share, self.truth.base * self.ratio), (1 - self.canary_share, self.truth.base)
        first, second = arms[::-1] if self._swapped else arms
        size = self._cohorts(people)[0]
        return _moments(*first, *second, self.mixture.null_ratio, round(size, 6))

    def drift(self, people: float) -> float:
        """Expected z of all events of these people, in the direction of the goal."""
        found = self.moments(people)
        towards = found.true - found.null if self.goal == "harm" else found.null - found.true
        return towards * math.sqrt(self._events(people)[-1] / found.variance)

    def chance(self, people: float) -> float:
        """Chance that the evidence suffices at any of the looks."""
        events = self._events(people)
        times, boundary = events / events[-1], self.boundary(people)
        drift = self.drift(people)
        return min(sum(crossing_probabilities(times.tolist(), boundary.tolist(), drift=drift)[0]), 1.0)

    def boundary(self, people: float) -> np.ndarray:
        """The z from which the evidence suffices, at each look at which a cohort is complete."""
        found, events = self.moments(people), self._events(people)
        null = found.null
        canary, control = null / self.mixture.null_ratio, 1 - null
        grid = self.mixture.grid
        fixed = np.log((control + canary * self.mixture.null_ratio) / (control + canary * grid.ratios))
        needed = -math.log(self.alpha)

        def suffices(count: np.ndarray) -> np.ndarray:
            terms = count[:, None] * grid.log_ratios + events[:, None] * fixed + grid.log_weights
            return np.asarray(np.logaddexp.reduce(terms, axis=1) >= needed)

        short = events * null  # here the evidence is below 1; at the far end it is greatest
        far = events if self.goal == "harm" else np.zeros_like(events)
        reachable = suffices(far)
        for _ in range(45):
            middle = (short + far) / 2
            enough = suffices(middle)
            short, far = np.where(enough, short, middle), np.where(enough, middle, far)
        z = np.abs(far - events * null) / np.sqrt(events * found.variance)
        return np.where(reachable, z, _OUT_OF_REACH)

    def _cohorts(self, people: float) -> tuple[float, float]:
        """People of an entry cohort, and how many looks it takes until it is complete, on average."""
        a_look = people / self.looks
        if self.truth.base <= RARE:
            return math.inf, 1.0
        size = max(a_look, min(max(people / 2 / PART, FEWEST), MOST))
        return size, size / a_look

    def _events(self, people: float) -> np.ndarray:
        """Events that count by each look; those of the newest cohort wait until it is complete."""
        waiting = (min(self._cohorts(people)[1], self.looks) - 1) / 2
        looks = np.arange(1, self.looks + 1) - waiting
        return np.asarray(people * self.events_per_person * looks[looks > 0] / self.looks)

    @property
    def _swapped(self) -> bool:
        return self.truth.guardrail.worse == "lower"


@lru_cache(maxsize=1024)
def _moments(canary: float, rate: float, control: float, other: float, null: float, size: float) -> Moments:
    """Moments of a cohort of two arms with these parts of its people, of whom these shares have the event.

    The number of each arm with the event and without are four independent Poisson numbers, over which it is
    summed at the nodes of their own orthogonal polynomials: exact for polynomials, and smooth in the size.
    """
    size = min(size, _LARGE)
    means = size * np.array([canary * rate, canary * (1 - rate), control * other, control * (1 - other)])
    nodes, weights = zip(*(_poisson(mean) for mean in means), strict=True)
    ours, ours_left, theirs, theirs_left = np.meshgrid(*nodes, indexing="ij", sparse=True)
    weight = weights[0][:, None, None, None] * weights[1][:, None, None]
    weight = weight * weights[2][:, None] * weights[3]
    part, spread = parts_in_cohort(ours, theirs, ours + ours_left, theirs + theirs_left)
    events = ours + theirs
    expected = null * part / (null * part + 1 - part)
    slope = null / (null * part + 1 - part) ** 2
    difference = ours - events * expected
    total = float(np.sum(weight * events))
    mean = float(np.sum(weight * difference))
    variance = float(np.sum(weight * ((difference - mean) ** 2 + (events * slope * spread) ** 2)))
    at_null = float(np.sum(weight * events * expected)) / total
    return Moments(at_null + mean / total, at_null, variance / total)


def _poisson(mean: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights that sum polynomials over a Poisson number exactly (Charlier; Golub & Welsch)."""
    order = np.arange(_NODES)
    off = np.sqrt(order[1:] * mean)
    nodes, vectors = np.linalg.eigh(np.diag(order + mean) + np.diag(off, 1) + np.diag(off, -1))
    return np.maximum(nodes, 0.0), vectors[0] ** 2


def chance_of_showing(question: EventQuestion, people: float) -> float:
    """Chance that the evidence suffices at any of the looks, with these people of both arms.

    Examples
    --------
    >>> from canarykit.metrics import Guardrail
    >>> truth = Truth(Guardrail("$exception", margin_ratio=1.25), 0.02, ())
    >>> question = EventQuestion(truth, 1.0, "safe", canary_share=0.5, alpha=0.05, looks=14)
    >>> 0.5 < chance_of_showing(question, 50_000) < chance_of_showing(question, 100_000) < 1
    True
    """
    return question.chance(people)


def people_for(question: EventQuestion, chance: float) -> float:
    """People of both arms with whom the evidence suffices at any of the looks with this chance.

    `DataError` if the truth is not on the side of the null that is to be shown.
    """
    from scipy.optimize import brentq

    a_person = question.drift(_MOST_PEOPLE) / math.sqrt(_MOST_PEOPLE)
    if not a_person > 1e-9:
        raise DataError(
            f"{question.truth.guardrail.label}: with a ratio of {question.ratio:g} in truth, evidence of "
            f"{question.goal!r} does not grow; no number of people shows it"
        )
    high = (3 / a_person) ** 2
    while chance_of_showing(question, high) < chance:
        high *= 2
        if high > _MOST_PEOPLE:
            raise DataError(f"{question.truth.guardrail.label}: more than {_MOST_PEOPLE:g} people are needed")
    low = high / 2
    while chance_of_showing(question, low) >= chance:
        low /= 2
    return float(brentq(lambda people: chance_of_showing(question, people) - chance, low, high, rtol=1e-5))
