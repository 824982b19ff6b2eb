"""Share metrics: of each person, whether something happened after the exposure.

One first event per person, which the event engine judges within entry cohorts at every look; people exposed
a moment ago count for the moment they were observed. Where a metric says `cuped`, cohorts are of people with
the same past.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, Self

from canarykit.arguments import names_of
from canarykit.errors import PlanError
from canarykit.metrics.direction import Direction, has_harm_word
from canarykit.times import DAY, duration

Filters = tuple[tuple[str, str], ...]
"""Exact matches on event properties, (name, text) pairs; built from a mapping or from pairs."""


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold; True and False are not numbers.

    Examples
    --------
    >>> is_number(0.5), is_number(True), is_number(10**400), is_number("1")
    (True, False, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool) and not abs(value) > 1e300  # type: ignore


@dataclass(frozen=True)
class MetricSpec:
    """What every metric says of itself; built from the fields a subclass has."""

    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if hasattr(self, "where"):
            object.__setattr__(self, "where", self._pairs(self.where))
        for name in ("event", "survey", "property_name", "name"):
            value = getattr(self, name, "left out")
            may_be_empty = name in ("name", "property_name")
            if value is None and name == "property_name":
                continue
            if not isinstance(value, str) or not (value or may_be_empty):
                raise PlanError(f"the {name} of a {self.kind} metric is {value!r}; expected a text")
        for name in ("day", "slower_than", "cap_quantile"):
            value = getattr(self, name, None)
            if value is not None and not is_number(value):
                raise PlanError(f"the {name} of a {self.kind} metric is {value!r}; expected a number")
        if getattr(self, "within", None) is not None:
            duration(self.within, name="within")  # type: ignore[attr-defined]
        if getattr(self, "cuped", None) is not None:
            duration(self.cuped, name="cuped")  # type: ignore[attr-defined]

    def _pairs(self, where: Any) -> Filters:
        """Exact matches as sorted pairs of texts."""
        pairs = list(where.items()) if isinstance(where, Mapping) else where
        try:
            return tuple(sorted((str(key), _text(value)) for key, value in pairs))
        except (TypeError, ValueError):
            raise PlanError(
                f"where of a {self.kind} metric is {where!r}; expected a mapping of properties to values"
            ) from None

    @property
    def label(self) -> str:
        """How people call it."""
        words = self._words() + "".join(f" ({key} = {value})" for key, value in self.filters)
        return getattr(self, "name", "") or words

    def _words(self) -> str:
        raise TypeError(f"{type(self).__name__} must define _words()")

    @property
    def harmful_direction(self) -> Direction | None:
        """The direction that is harm, "higher" or "lower"; None where the metric alone does not tell."""
        return None

    @property
    def filters(self) -> Filters:
        """Exact matches that an event must pass to count."""
        return getattr(self, "where", ())

    @property
    def events(self) -> tuple[str, ...]:
        """Event names that must be read."""
        return (self.event,)  # type: ignore[attr-defined]

    @property
    def properties(self) -> tuple[str, ...]:
        """Event properties that must be read."""
        number = getattr(self, "property_name", None)
        return (*((number,) if number else ()), *(key for key, _ in self.filters))

    @property
    def window(self) -> tuple[float, float]:
        """Seconds after the exposure, half-open, within which an event counts."""
        within = getattr(self, "within", None)
        return 0.0, math.inf if within is None else duration(within, name="within")

    def unlimited(self) -> Self:
        """The same metric over whatever time it is given: what is read from before the exposure."""
        plain = {"within": None, "cuped": None}
        mine = {spec.name for spec in dataclasses.fields(self)}
        return dataclasses.replace(self, **{key: value for key, value in plain.items() if key in mine})

    def ratio_of(self, level: float, other: float) -> float:
        """What a margin compares: the canary's level over the control's.

        Parameters
        ----------
        level, other
            The control's and the canary's: a fraction of people, or the metric's unit.

        Returns
        -------
        float
        """
        return other / level

    def level_at(self, level: float, ratio: float) -> float:
        """The canary's level where it has this ratio to the control's: `ratio_of` the other way round.

        Parameters
        ----------
        level
            The control's: a fraction of people, or the metric's unit.
        ratio
            Canary over control.

        Returns
        -------
        float
        """
        return level * ratio

    def to_dict(self) -> dict[str, Any]:
        """Plain values that `metric_from_dict` reads back."""
        content: dict[str, Any] = {"metric": self.kind}
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if value == spec.default:
                continue
            if isinstance(value, MetricSpec):
                value = value.to_dict()
            elif spec.name == "where":
                value = dict(value)
            content[spec.name] = list(value) if isinstance(value, tuple) else value
        return content


@dataclass(frozen=True)
class SurveyAnswers(MetricSpec):
    """What every metric of a survey reads: the answers to it."""

    survey: str

    @property
    def label(self) -> str:
        """How people call it."""
        return getattr(self, "name", "") or self._words()

    @property
    def filters(self) -> Filters:
        """The survey's id."""
        return (("$survey_id", self.survey),)

    @property
    def events(self) -> tuple[str, ...]:
        """PostHog's event of an answer."""
        return ("survey sent",)


@dataclass(frozen=True)
class ShareMetric(MetricSpec):
    """A share of people: those to whom something happened after the exposure."""

    @property
    def threshold(self) -> tuple[str, float] | None:
        """(property, limit) when only events whose property is above the limit count."""
        return None

    @property
    def by_age(self) -> bool:
        """Whether people are compared at the same time since their exposure, instead of the same moment."""
        return False


@dataclass(frozen=True)
class ErrorShare(ShareMetric):
    """Share of people with at least one error after the exposure.

    What a promotion promises is about this share, in people, and not about how soon they have the event
    (see `margin_ratio` of `Guardrail`).

    Parameters
    ----------
    event
        The event that is an error.
    within
        Only errors this soon after the exposure count, such as "1d"; None counts to the stage's end.
    where
        Exact matches on event properties, such as `{"$browser": "Safari"}`.
    name
        Text on reports instead of the label made from the fields; empty: that label.
    cuped
        Compare people with those who had the event as well, or as little, in the time before exposure, such
        as "14d": entry cohorts are then of one kind each. Harm is found the sooner the more the past tells of
        the present; worth it for conversions that many people have had before. None turns it off.

    Examples
    --------
    >>> ErrorShare().label
    'people with $exception'
    """

    kind: ClassVar[str] = "error share"
    event: str = "$exception"
    within: str | None = None
    where: Mapping[str, Any] | Filters = ()
    name: str = ""
    cuped: str | None = field(default=None, kw_only=True)

    def _words(self) -> str:
        limit = f" within {self.within}" if self.within else ""
        return f"people with {self.event}{limit}"

    @property
    def harmful_direction(self) -> Direction:
        """More people with an error are harm."""
        return "higher"


@dataclass(frozen=True)
class Conversion(ShareMetric):
    """Share of people who did `event` within a time after the exposure.

    What a promotion promises is about this share, in people, and not about how soon they have the event
    (see `margin_ratio` of `Guardrail`).

    Parameters
    ----------
    event
        The event that is the conversion.
    within
        Time each person has, such as "7d"; somebody exposed an hour ago is judged by that hour.
    where
        Exact matches on event properties.
    name
        Text on reports instead of the label made from the fields; empty: that label.
    cuped
        Compare people with those who had the event as well, or as little, in the time before exposure, such
        as "14d": entry cohorts are then of one kind each. Harm is found the sooner the more the past tells of
        the present; worth it for conversions that many people have had before. None turns it off.

    Examples
    --------
    >>> Conversion("paid", within="3d").label
    'paid within 3d'
    """

    kind: ClassVar[str] = "conversion"
    event: str
    within: str | None = "7d"
    where: Mapping[str, Any] | Filters = ()
    name: str = ""
    cuped: str | None = field(default=None, kw_only=True)

    def _words(self) -> str:
        return f"{self.event} within {self.within}" if self.within else self.event

    @property
    def harmful_direction(self) -> Direction | None:
        """Fewer conversions are harm, unless the event itself speaks of harm (an error, a refund)."""
        return None if has_harm_word(self.event) else "lower"


@dataclass(frozen=True)
class SlowShare(ShareMetric):
    """Share of people who met an event whose property exceeds a limit, such as a page slower than 2.5 s.

    Parameters
    ----------
    event, property_name
        Where the number stands, such as `"$web_vitals"` and `"$web_vitals_LCP_value"`.
    within
        Only events this soon after the exposure count, such as "1d"; None counts to the stage's
        end.
    where
        Exact matches on event properties, such as `{"$browser": "Safari"}`, or filters; empty takes
        all events.
    name
        Text on reports instead of the label made from the fields; empty: that label.
    slower_than
        The limit in the property's own unit; only larger values count.

    Examples
    --------
    >>> SlowShare("$web_vitals", "$web_vitals_LCP_value", slower_than=2500).label
    'people with $web_vitals_LCP_value > 2,500'
    """

    kind: ClassVar[str] = "slow share"
    event: str
    property_name: str
    slower_than: float = field(kw_only=True)
    within: str | None = None
    where: Mapping[str, Any] | Filters = ()
    name: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_number(self.slower_than) and math.isfinite(self.slower_than)):
            raise PlanError(f"slower_than is {self.slower_than!r}; expected a finite number")

    def _words(self) -> str:
        return f"people with {self.property_name} > {self.slower_than:,g}"

    @property
    def harmful_direction(self) -> Direction:
        """More people who wait are harm."""
        return "higher"

    @property
    def threshold(self) -> tuple[str, float]:
        """The property and the limit it must exceed."""
        return self.property_name, float(self.slower_than)


@dataclass(frozen=True)
class Retention(ShareMetric):
    """Share of people seen again on day N after their exposure (the 24 hours that start N days after it).

    Parameters
    ----------
    day
        Days after the exposure on which the person must come back.
    event
        The event that counts.
    where
        Exact matches on event properties, such as `{"$browser": "Safari"}`, or filters; empty takes
        all events.
    name
        Text on reports instead of the label made from the fields; empty: that label.

    Examples
    --------
    >>> Retention(7).window
    (604800.0, 691200.0)
    """

    kind: ClassVar[str] = "retention"
    day: int
    event: str = "$pageview"
    where: Mapping[str, Any] | Filters = ()
    name: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.day >= 1:
            raise PlanError(f"day is {self.day}; expected 1 or more days after the exposure")

    def _words(self) -> str:
        return f"back on day {self.day} ({self.event})"

    @property
    def harmful_direction(self) -> Direction:
        """Fewer people who come back are harm."""
        return "lower"

    @property
    def window(self) -> tuple[float, float]:
        """The 24 hours that count."""
        return self.day * DAY, (self.day + 1) * DAY


@dataclass(frozen=True)
class SurveyResponse(SurveyAnswers, ShareMetric):
    """Share of the exposed who answered a survey: compare it before any score.

    Parameters
    ----------
    survey
        Id or name of the survey.
    name
        Text on reports instead of the label made from the fields; empty: that label.

    Examples
    --------
    >>> SurveyResponse("018f-checkout").label
    'answered survey 018f-checkout'
    """

    kind: ClassVar[str] = "survey response"
    name: str = ""

    def _words(self) -> str:
        return f"answered survey {self.survey}"

    @property
    def harmful_direction(self) -> Direction:
        """Fewer people who answer are harm."""
        return "lower"


@dataclass(frozen=True)
class FunnelShare(ShareMetric):
    """Share of the exposed who did all steps in order, the last within a time after the exposure.

    Judging "exposed to last step" for everybody exposed keeps the comparison randomised; shares from
    step to step are conditional on what happened after the exposure, and for display only.

    Parameters
    ----------
    steps
        Events, in order.
    within
        Only events this soon after the exposure count, such as "1d"; None counts to the stage's
        end.
    name
        Text on reports instead of the label made from the fields; empty: that label.

    Examples
    --------
    >>> FunnelShare(("signup", "paid"), within="3d").label
    'signup > paid within 3d'
    """

    kind: ClassVar[str] = "funnel"
    steps: tuple[str, ...]
    within: str | None = "14d"
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", names_of(self.steps, "the steps of a funnel metric"))
        super().__post_init__()
        if not self.steps or len(set(self.steps)) < len(self.steps):
            raise PlanError(f"the steps of a funnel metric are {list(self.steps)}; expected distinct events")

    def _words(self) -> str:
        return " > ".join(self.steps) + (f" within {self.within}" if self.within else "")

    @property
    def harmful_direction(self) -> Direction | None:
        """Fewer people at the last step are harm, unless that step itself speaks of harm."""
        return None if has_harm_word(self.steps[-1]) else "lower"

    @property
    def events(self) -> tuple[str, ...]:
        """The steps."""
        return self.steps


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
