"""People who log in after they saw the flag, and are drawn anew: what of each arm the other one may hide.

Their flag was asked by an anonymous id before. They count in the arm of their first exposure, as in
`evaluate_stage`, and what they do after the login they do under the variant they were drawn into then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from canarykit.errors import PlanError
from canarykit.simulate.decisions.binomial_counts import binomial
from canarykit.simulate.decisions.delayed import events_by_look
from canarykit.simulate.decisions.schedule import StageLooks
from canarykit.simulate.log.streams import Streams
from canarykit.times import duration

if TYPE_CHECKING:
    from canarykit.simulate.decisions.truth import Ages

Arms = tuple[np.ndarray, np.ndarray]
"""Of the canary and of the control."""


@dataclass(frozen=True)
class Logins:
    """How many people log in after their first exposure, and how soon."""

    share: float  # part of the people
    hours: float  # mean hours until then (exponential)

    def chances(self, stage: StageLooks) -> tuple[float, float]:
        """Chance of a person of the canary, and of the control, to be in the other arm in the end."""
        return self.share * stage.control_share, self.share * stage.share

    def after(self, other: Ages, chance: float) -> Ages:
        """The part of an arm's rate that comes after the change, under the other variant."""
        return [
            term
            for factor, fading in other
            for term in ((factor * chance, fading), (-factor * chance, fading + 1 / self.hours))
        ]

    def mixed(self, own: Ages, other: Ages, chance: float) -> Ages:
        """An arm's rate, of which a part comes under the other variant."""
        stayed = [
            term
            for factor, fading in own
            for term in ((factor * (1 - chance), fading), (factor * chance, fading + 1 / self.hours))
        ]
        return [*stayed, *self.after(other, chance)]

    def changed(self, edges: np.ndarray, chance: float) -> np.ndarray:
        """Parts of the people who came in before one look and changed variant before another."""
        looks = len(edges) - 1
        always = [(np.ones(looks), 0.0)]
        whole = np.full(looks, chance)
        return events_by_look(edges, whole, always, self.hours, within=np.inf, by_age=False)[0]


@dataclass(frozen=True)
class Changed:
    """What of a stage is hidden, by the look before which people came in and that of the change or event."""

    people: Arms  # parts of each arm's people who change variant
    # by guardrail, parts of each arm's people who have their event after that; None where events come at the
    # exposure
    after: tuple[Arms | None, ...]


def read_logins(given: object) -> Logins | None:
    """What was given as logins.

    Examples
    --------
    >>> read_logins((0.05, "2h"))
    Logins(share=0.05, hours=2.0)
    """
    if given is None:
        return None
    example = 'a share of the people and a mean time such as (0.05, "2h")'
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise PlanError(f"logins is {given!r}; expected {example}")
    share, time = given
    if isinstance(share, str | bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise PlanError(f"the share of logins is {share!r}; expected a fraction between 0 and 1")
    return Logins(float(share), duration(time, name="the time of logins") / 3600)


def hidden_parts(
    changed: Changed,
    arms: Arms,
    events: tuple[Arms, ...],
    later: tuple[Arms | None, ...],
    draw: Streams,
) -> tuple[Arms, ...]:
    """By guardrail, the part of each arm that people who changed may hide at each look, (runs, looks).

    As `hidden_part` has it: the part of the people, or that of the events after their change, if larger. Arms
    are the canary and the control, as drawn; `later` has by guardrail the chances of the control and of the
    canary behind the events that come later.
    """
    stream, after_of = draw("logins"), draw("after")
    of_people = tuple(
        np.cumsum(stream.poisson(arm @ part), axis=1) / np.maximum(np.cumsum(arm, axis=1), 1)
        for arm, part in zip(arms, changed.people, strict=True)
    )
    found: list[Arms] = []
    for counts, after, chances in zip(events, changed.after, later or (None,) * len(events), strict=True):
        parts = []
        for place in range(2):
            hidden = of_people[place]
            if after is not None and chances is not None:
                expected = arms[place] @ chances[1 - place]  # the chances of the control stand first
                share = np.clip(arms[place] @ after[place] / np.maximum(expected, 1e-300), 0.0, 1.0)
                late = np.cumsum(binomial(after_of, counts[place], share), axis=1)
                hidden = np.maximum(hidden, late / np.maximum(np.cumsum(counts[place], axis=1), 1))
            parts.append(np.minimum(hidden, 1.0))
        found.append((parts[0], parts[1]))
    return tuple(found)
