"""Power of the evidence that a stage gathers from events: the boundary of its own mixture, look by look.

Events of a look are compared within entry cohorts, and each takes somebody out. What counts is therefore not
the variance of a share but the number of events, the canary's part of them, and the part it would have at the
null. Between looks the sum is taken as normal; where the mixture's evidence suffices is solved exactly.

References
----------
Armitage, McPherson & Rowe (1969), doi:10.2307/2343787, for crossing probabilities look by look; Lindon &
Malek (2022), arXiv:2011.03567, for the evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from canarykit.errors import DataError
from canarykit.health.evidence.event_evidence import event_mixtures
from canarykit.simulate.decisions.truth import Truth
from canarykit.stats.any_look.event_process import EventMixture
from canarykit.stats.planned_looks import crossing_probabilities

__all__ = ["EventQuestion", "chance_of_showing", "people_for"]

_OUT_OF_REACH = 30.0
"""A z that nothing crosses: stands at looks whose events cannot suffice, whoever has them."""
_MOST_PEOPLE = 1e12


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

    @cached_property
    def parts(self) -> tuple[float, float]:
        """Part of the events in the arm whose events are harm: in truth, and expected at the null."""
        rates = self.truth.base * self.ratio, self.truth.base
        people = self.canary_share, 1 - self.canary_share
        if self._swapped:
            rates, people = rates[::-1], people[::-1]
        first, second = (-math.log1p(-rate) for rate in rates)  # cumulative hazards
        moment = (np.arange(200) + 0.5) / 200  # as events come, those who are left change
        left, others = people[0] * np.exp(-first * moment), people[1] * np.exp(-second * moment)
        events = first * left + second * others
        null = self.mixture.null_ratio
        expected = float(np.average(null * left / (null * left + others), weights=events))
        return people[0] * rates[0] / self.events_per_person, expected

    def drift(self, people: float) -> float:
        """Expected z of all events of these people, in the direction of the goal."""
        true, null = self.parts
        towards = true - null if self.goal == "harm" else null - true
        return towards * math.sqrt(people * self.events_per_person / (true * (1 - true)))

    def boundary(self, people: float) -> np.ndarray:
        """The z at each look from which the evidence suffices."""
        true, null = self.parts
        events = people * self.events_per_person * np.arange(1, self.looks + 1) / self.looks
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
        z = np.abs(far - events * null) / np.sqrt(events * true * (1 - true))
        return np.where(reachable, z, _OUT_OF_REACH)

    @property
    def _swapped(self) -> bool:
        return self.truth.guardrail.worse == "lower"


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
    times = [(look + 1) / question.looks for look in range(question.looks)]
    boundary = question.boundary(people).tolist()
    return min(sum(crossing_probabilities(times, boundary, drift=question.drift(people))[0]), 1.0)


def people_for(question: EventQuestion, chance: float) -> float:
    """People of both arms with whom the evidence suffices at any of the looks with this chance.

    Raises
    ------
    DataError
        If the truth is not on the side of the null that is to be shown.
    """
    from scipy.optimize import brentq

    if not question.drift(1.0) > 1e-9:
        raise DataError(
            f"{question.truth.guardrail.label}: with a ratio of {question.ratio:g} in truth, evidence of "
            f"{question.goal!r} does not grow; no number of people shows it"
        )
    high = (3 / question.drift(1.0)) ** 2
    while chance_of_showing(question, high) < chance:
        high *= 2
        if high > _MOST_PEOPLE:
            raise DataError(f"{question.truth.guardrail.label}: more than {_MOST_PEOPLE:g} people are needed")
    low = high / 2
    while chance_of_showing(question, low) >= chance:
        low /= 2
    return float(brentq(lambda people: chance_of_showing(question, people) - chance, low, high, rtol=1e-5))
