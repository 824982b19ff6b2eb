"""Value metrics: a number per person, judged through moments; and reading any metric from plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from canarykit.errors import PlanError, did_you_mean
from canarykit.metrics.direction import Direction, event_direction, has_harm_word, number_direction
from canarykit.metrics.share import (
    Conversion,
    ErrorShare,
    Filters,
    FunnelShare,
    MetricSpec,
    Retention,
    ShareMetric,
    SlowShare,
    SurveyAnswers,
    SurveyResponse,
    is_number,
)
from canarykit.metrics.time_to_event import TimeToEvent


@dataclass(frozen=True)
class ValueMetric(MetricSpec):
    """A number per person from the events after the exposure."""

    @property
    def cap(self) -> float | None:
        """Quantile of the control's values at which both arms are capped, or None."""
        return getattr(self, "cap_quantile", None)

    @property
    def fixed_cap(self) -> float | None:
        """Most that one person counts with (per unit of the denominator); None for no cap."""
        return getattr(self, "cap_at", None)


@dataclass(frozen=True)
class PerPerson(ValueMetric):
    """A sum over everybody exposed; people without any such event count as 0."""


@dataclass(frozen=True)
class Total(PerPerson):
    """Sum of a property per exposed person (or the number of events); people without any count as 0.

    Parameters
    ----------
    event, property_name
        What is summed; without a property, events are counted.
    within
        Only events this soon after the exposure count, such as "1d"; None counts to the stage's
        end.
    where
        Exact matches on event properties, such as `{"$browser": "Safari"}`, or filters; empty takes
        all events.
    cap_quantile
        Both arms are capped at this quantile of the control's people (0.995), which tames a few huge
        values; None turns it off.
    name
        Text on reports instead of the label made from the fields; empty: that label.
    cuped
        Take out what the same people did by this metric in the time before exposure, such as "14d" (CUPED):
        a narrower interval the more the past tells of the present. None turns it off.

    References
    ----------
    Deng, Xu, Kohavi & Walker (2013), doi:10.1145/2433396.2433413, for `cuped`.

    Examples
    --------
    >>> Total("paid", "amount", cuped="14d").label
    'sum of amount per person'
    """

    kind: ClassVar[str] = "total"
    event: str
    property_name: str | None = None
    within: str | None = None
    where: Mapping[str, Any] | Filters = ()
    cap_quantile: float | None = 0.995
    name: str = ""
    cuped: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cap_quantile is not None and not 0.5 < self.cap_quantile < 1:
            raise PlanError(f"cap_quantile is {self.cap_quantile}; expected between 0.5 and 1, or None")

    def _words(self) -> str:
        what = f"sum of {self.property_name}" if self.property_name else f"{self.event} events"
        return f"{what} per person"

    @property
    def harmful_direction(self) -> Direction | None:
        """Less money and more errors are harm; of other sums and counts it must be given."""
        return number_direction(self.event, self.property_name)


@dataclass(frozen=True)
class Count(PerPerson):
    """Events per exposed person, such as rage clicks or errors; people without any count as 0.

    Counts of people scatter more than chance alone makes them (a few click a hundred times): the spread over
    people is measured, never taken from a Poisson distribution, and each counts with at most `cap_at` events.

    Parameters
    ----------
    event
        What is counted.
    within
        Only events this soon after the exposure count, such as "1d"; people who have not had the whole time
        are left out. None counts to the stage's end.
    where
        Exact matches on event properties, such as `{"$browser": "Safari"}`.
    cap_at
        Most events of one person that count; the report tells how many people had more. None: no cap.
    name
        Text on reports instead of the label made from the fields; empty: that label.
    cuped
        Take out how often the same people did it in the time before exposure, such as "14d" (CUPED). None
        turns it off.

    References
    ----------
    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), doi:10.1214/24-AOS2408, for means at every look;
    Deng, Xu, Kohavi & Walker (2013), doi:10.1145/2433396.2433413, for `cuped`.

    Examples
    --------
    >>> Count("$rageclick", within="1d").label
    '$rageclick events per person within 1d'
    >>> Count("$rageclick").harmful_direction
    'higher'
    """

    kind: ClassVar[str] = "count"
    event: str
    within: str | None = None
    where: Mapping[str, Any] | Filters = ()
    cap_at: float | None = 50
    name: str = ""
    cuped: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_cap(self)

    def _words(self) -> str:
        return f"{self.event} events per person" + (f" within {self.within}" if self.within else "")

    @property
    def harmful_direction(self) -> Direction | None:
        """More errors are harm; of other events it must be given."""
        return event_direction(self.event)


def _require_cap(spec: Any) -> None:
    if spec.cap_at is not None and (not is_number(spec.cap_at) or not 0 < spec.cap_at < float("inf")):
        raise PlanError(
            f"cap_at of a {spec.kind} metric is {spec.cap_at!r}; expected a number above 0, or None"
        )


@dataclass(frozen=True)
class Average(ValueMetric):
    """Mean of a property over events, with the person as the unit (a ratio of two sums).

    Parameters
    ----------
    event, property_name
        Whose mean is taken.
    within, where
        Only events this soon after the exposure, and with these properties.
    name
        Text on reports instead of the label made from the fields; empty: that label.
    cuped
        Take out what the same people did by this metric in the time before exposure, such as "14d" (CUPED):
        a narrower interval the more the past tells of the present. None turns it off.

    Examples
    --------
    >>> Average("$web_vitals", "$web_vitals_LCP_value").label
    'mean $web_vitals_LCP_value'
    """

    kind: ClassVar[str] = "average"
    event: str
    property_name: str
    within: str | None = None
    where: Mapping[str, Any] | Filters = ()
    name: str = ""
    cuped: str | None = field(default=None, kw_only=True)

    def _words(self) -> str:
        return f"mean {self.property_name}"

    @property
    def harmful_direction(self) -> Direction | None:
        """Longer times and less money are harm; of other means it must be given."""
        return number_direction(self.event, self.property_name)


@dataclass(frozen=True)
class Quantile(ValueMetric):
    """Quantile of a property over all events of an arm; the events of one person are not independent.

    Parameters
    ----------
    event, property_name
        Where the number stands, such as `"$web_vitals"` and `"$web_vitals_LCP_value"`. Events without a
        number are left out and counted.
    within
        Only events this soon after the exposure count, such as "1d"; None counts to the stage's end.
    where
        Exact matches on event properties, such as `{"$browser": "Safari"}`.
    name
        Text on reports instead of the label made from the fields; empty: that label.
    q
        Which quantile, between 0 and 1: 0.95 is the value that one event in twenty exceeds.

    Notes
    -----
    A guardrail's `margin_ratio` is the ratio of the canary's quantile to the control's, its `margin` is in
    the property's own unit: `Guardrail(metric, margin=200)` tolerates 200 ms of a property in milliseconds.
    The evidence is valid at every look and asymptotic in the number of people, whatever the distribution:
    no density is estimated. An arm needs 25 people and 5 values expected beyond its quantile (100 values for
    the 95th percentile).

    References
    ----------
    Howard & Ramdas (2022), doi:10.3150/21-BEJ1388; Deng, Knoblich & Lu (2018), doi:10.1145/3219819.3219919,
    for values that come in people.

    Examples
    --------
    >>> Quantile("$web_vitals", "$web_vitals_LCP_value").label
    '95 % quantile of $web_vitals_LCP_value'
    """

    kind: ClassVar[str] = "quantile"
    event: str
    property_name: str
    q: float = field(default=0.95, kw_only=True)
    within: str | None = None
    where: Mapping[str, Any] | Filters = ()
    name: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_number(self.q) or not 0 < self.q < 1:
            raise PlanError(f"q of a quantile metric is {self.q!r}; expected between 0 and 1, such as 0.95")

    def _words(self) -> str:
        return f"{100 * self.q:g} % quantile of {self.property_name}"

    @property
    def harmful_direction(self) -> Direction | None:
        """Longer times and less money are harm; of other numbers it must be given."""
        return number_direction(self.event, self.property_name)


@dataclass(frozen=True)
class SurveyScore(SurveyAnswers, ValueMetric):
    """Mean score of a survey's answers.

    Only people who chose to answer are in it: compare the response first (`SurveyResponse`).

    Parameters
    ----------
    survey
        Id or name of the survey.
    property_name
        Property of the answer that holds the score.
    name
        Text on reports instead of the label made from the fields; empty: that label.

    Examples
    --------
    >>> SurveyScore("018f-checkout").label
    'mean score of survey 018f-checkout'
    """

    kind: ClassVar[str] = "survey score"
    property_name: str = "$survey_response"
    name: str = ""

    def _words(self) -> str:
        return f"mean score of survey {self.survey}"

    @property
    def harmful_direction(self) -> Direction:
        """A lower score is harm."""
        return "lower"


@dataclass(frozen=True)
class Ratio(ValueMetric):
    """Sum of one thing over the sum of another, with the person as the unit (delta method).

    Parameters
    ----------
    numerator, denominator
        Two `Total` or `Count` metrics; their caps are not used.
    name
        Text on reports instead of the label made from the fields; empty: that label.
    cuped
        Take out what the same people did by this metric in the time before exposure, such as "14d" (CUPED):
        a narrower interval the more the past tells of the present. None turns it off.
    cap_at
        Largest ratio of one person that counts, so that no script with a thousand errors in one session
        decides; the report tells how many people had more. None: no cap.

    Examples
    --------
    >>> Ratio(Total("paid", "amount"), Total("$session_start")).label
    'sum of amount / $session_start events'
    """

    kind: ClassVar[str] = "ratio"
    numerator: Total | Count
    denominator: Total | Count
    name: str = ""
    cuped: str | None = field(default=None, kw_only=True)
    cap_at: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_cap(self)
        for part in (self.numerator, self.denominator):
            if not isinstance(part, PerPerson):
                raise PlanError(f"a ratio is built from two Total metrics, not {type(part).__name__}")
            if part.cuped is not None:
                raise PlanError(f"cuped={part.cuped!r} is set on a part of a ratio; set it on the ratio")

    def unlimited(self) -> Self:
        """The same ratio over whatever time it is given."""
        parts = self.numerator.unlimited(), self.denominator.unlimited()
        return dataclasses.replace(self, numerator=parts[0], denominator=parts[1], cuped=None)

    def _words(self) -> str:
        return " / ".join(t.label.removesuffix(" per person") for t in (self.numerator, self.denominator))

    @property
    def harmful_direction(self) -> Direction | None:
        """That of the numerator, unless the denominator speaks of harm as well."""
        below = self.denominator
        if below.harmful_direction == "higher" or has_harm_word(below.event):
            return None
        return self.numerator.harmful_direction

    @property
    def events(self) -> tuple[str, ...]:
        """Events of both parts."""
        return tuple(dict.fromkeys(self.numerator.events + self.denominator.events))

    @property
    def properties(self) -> tuple[str, ...]:
        """Properties of both parts."""
        return tuple(dict.fromkeys(self.numerator.properties + self.denominator.properties))


Metric = ShareMetric | ValueMetric

_KINDS: dict[str, type[MetricSpec]] = {
    spec.kind: spec
    for spec in (
        ErrorShare,
        Conversion,
        SlowShare,
        Retention,
        SurveyResponse,
        FunnelShare,
        TimeToEvent,
        Total,
        Count,
        Average,
        Quantile,
        SurveyScore,
        Ratio,
    )
}


def metric_kinds() -> dict[str, tuple[str, ...]]:
    """Name in JSON of every metric, with its fields.

    Examples
    --------
    >>> metric_kinds()["retention"]
    ('day', 'event', 'where', 'name')
    """
    return {kind: tuple(f.name for f in dataclasses.fields(spec)) for kind, spec in _KINDS.items()}


def metric_from_dict(content: Mapping[str, Any]) -> Metric:
    """A metric from its plain form (`metric.to_dict()`).

    Parameters
    ----------
    content
        The plain form, as `to_dict` writes it.

    Returns
    -------
    Metric

    Raises
    ------
    PlanError
        For an unknown kind or field, with the one that was probably meant.

    Examples
    --------
    >>> metric_from_dict({"metric": "conversion", "event": "paid", "within": "3d"})
    Conversion(event='paid', within='3d', where=(), name='', cuped=None)
    """
    if not isinstance(content, Mapping):
        raise PlanError(f"a metric is {content!r}; expected an object such as {{'metric': 'error share'}}")
    fields = dict(content)
    kind = str(fields.pop("metric", ""))
    if kind not in _KINDS:
        raise PlanError(f"metric is {kind!r}; {did_you_mean(kind, _KINDS)}")
    settings = [f.name for f in dataclasses.fields(_KINDS[kind])]
    for key, value in fields.items():
        if key not in settings:
            raise PlanError(f"a {kind} metric has no {key!r}; {did_you_mean(key, settings)}")
        if isinstance(value, Mapping) and key in ("numerator", "denominator"):
            fields[key] = metric_from_dict(value)
    try:
        return _KINDS[kind](**fields)  # type: ignore[return-value]
    except (TypeError, AttributeError) as problem:
        raise PlanError(f"a {kind} metric cannot be built from {fields}: {problem}") from None
