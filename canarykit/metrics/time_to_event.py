"""How soon it happens: the first event of each person on the clock that starts with their exposure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from canarykit.metrics.direction import Direction, event_direction, has_harm_word
from canarykit.metrics.share import Filters, ShareMetric

NEARLY_ALL = 1 - 1e-9
"""Share of people that stands for everybody, whose hazard would have no end."""


@dataclass(frozen=True)
class TimeToEvent(ShareMetric):
    """Time from the exposure in a stage to an event: who becomes slower, which errors come sooner.

    People are compared with those who came in with them and have been there as long without the event, so
    everybody counts for the time they were observed and nobody for what they have not had time to do.

    Parameters
    ----------
    event
        What is waited for.
    within
        Time in which the event counts, such as "1h". Who is only slower catches up in the end: choose the
        time in which it should have happened. None counts to the stage's end.
    where
        Exact matches on event properties, such as `{"$browser": "Safari"}`.
    name
        Text on reports instead of the label made from the fields; empty: that label.
    cuped
        Compare people with those who had the event as well, or as little, in the time before exposure, such
        as "14d": entry cohorts are then of one kind each. None turns it off.

    Notes
    -----
    A guardrail's `margin_ratio` is a hazard ratio: how often the event comes among those it has not happened
    to yet, canary over control, at the same time since the exposure. 0.8 tolerates that people who are
    still without it have it a fifth less often. `margin_pp=2` tolerates two points fewer people who have it
    within the time, and is read as the hazard ratio that leads there. The estimate is that of Cox
    regression stratified by entry cohort; the evidence is valid at every look, whatever the hazards. An event
    counts once the last person of its cohort has been there as long: with 20 people or more in a look that
    is the same look or the next one.

    References
    ----------
    Cox (1975), doi:10.1093/biomet/62.2.269; ter Schure, Perez-Ortiz, Ly & Grunwald (2020), arXiv:2011.06931;
    Kaplan & Meier (1958), doi:10.1080/01621459.1958.10501452, for the times that are told.

    Examples
    --------
    >>> TimeToEvent("paid", within="1h").label
    'time to paid within 1h'
    >>> TimeToEvent("paid").harmful_direction, TimeToEvent("$exception").harmful_direction
    ('lower', 'higher')
    """

    kind: ClassVar[str] = "time to event"
    event: str
    within: str | None = None
    where: Mapping[str, Any] | Filters = ()
    name: str = ""
    cuped: str | None = field(default=None, kw_only=True)

    def _words(self) -> str:
        return f"time to {self.event}" + (f" within {self.within}" if self.within else "")

    @property
    def harmful_direction(self) -> Direction | None:
        """Slower is harm, sooner for errors; of other events that speak of harm it must be given."""
        if event_direction(self.event) == "higher":
            return "higher"
        return None if has_harm_word(self.event) else "lower"

    @property
    def by_age(self) -> bool:
        """People are compared at the same time since their exposure."""
        return True

    def ratio_of(self, level: float, other: float) -> float:
        """The ratio of hazards that leads from one share of people to another, by the same time.

        Parameters
        ----------
        level, other
            Fractions of people with the event, the control's (above 0) and the canary's.

        Returns
        -------
        float
            Canary over control; for a share of 1 or more that of nearly everybody.

        Examples
        --------
        >>> round(TimeToEvent("paid").ratio_of(0.5, 0.75), 6)
        2.0
        """
        return math.log1p(-min(other, NEARLY_ALL)) / math.log1p(-min(level, NEARLY_ALL))

    def level_at(self, level: float, ratio: float) -> float:
        """The canary's share of people with the event where the hazards have this ratio.

        Parameters
        ----------
        level
            The control's share by the same time.
        ratio
            Of the hazards, canary over control.

        Returns
        -------
        float
            A fraction of people.

        Examples
        --------
        >>> round(TimeToEvent("paid").level_at(0.5, 2.0), 6)
        0.75
        """
        return -math.expm1(ratio * math.log1p(-min(level, NEARLY_ALL)))
