"""A guardrail: a metric, the direction that is harm, and how much harm is tolerated."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from canarykit.display import Noun
from canarykit.errors import PlanError, did_you_mean, require_kind
from canarykit.metrics.direction import Direction, event_direction
from canarykit.metrics.share import ErrorShare, MetricSpec, ShareMetric, is_number
from canarykit.metrics.values import Metric, ValueMetric, metric_from_dict

LARGEST_STEP = 1.25
"""How far the line of rollback may lie within the tolerance, as a ratio."""
ANY_LOSS = 0.01
"""Margin as a ratio where any loss is tolerated: a ratio of 0 has no logarithm."""


@dataclass(frozen=True, repr=False)
class Guardrail(Noun):
    """A metric that must not get worse by more than a margin.

    Parameters
    ----------
    metric
        A spec of `canarykit.metrics`; the name of an event means "share of people with that event".
    worse
        Which direction is harm. Metrics know their own: "lower" for conversions, funnels, retention,
        money and survey scores, "higher" for errors and waiting times. Where it cannot be known (the bare
        name of an event that is not an error, a mean of any property) it must be given.
    margin_ratio
        Largest tolerated ratio of the canary to the control: 1.25 tolerates a quarter more errors, 0.95
        a loss of a twentieth of the conversions. Default: 1.25 when higher is worse, 0.95 when lower is.
        For share metrics it is compared with how often the first event comes among people it has not
        happened to yet, within the same time (a hazard ratio). What is proven of promotions is about
        *shares*: a release of which this many times as many people have the event is promoted with a
        chance of at most `alpha_promote`. It is not a promise about hazards of events that most people have
        at once: those of 1.25 times make 97.6 % of 95 %, a share well within the margin, and such a
        release is usually promoted (`docs/proofs/event_evidence.md`, "A ratio other than 1").
    roll_back_ratio
        The line of rollback: the canary is rolled back when it is surely beyond this ratio and not surely
        within the margin. From 1 (no change) up to the margin. Default: a quarter within the margin, and no
        further than 1, so that margins up to 1.25 (or down to 0.8) roll back any proven loss.
    margin_pp
        The margin in percentage points of people instead, for share metrics; positive. Of a time to event:
        of people who have it within its time.
    margin
        The margin in the metric's own unit instead, for value metrics; positive.
    limit
        Absolute level that the canary must keep (a service level objective): a fraction for share
        metrics, the metric's unit for value metrics. It judges stages that have no control.
    critical
        Critical guardrails share one half of the rollback error, the others the second half. A critical
        metric whose event the export does not have at all rolls a stage back that after the grace period
        still has no fresh data or too few people in an arm; a stage that has enough of both it holds.
    weight
        Own part of the rollback error instead, in (0, 1]; then give one to every guardrail.
    name
        How reports call it; the metric's label by default.

    Examples
    --------
    >>> Guardrail("$exception", margin_ratio=1.5).label
    'people with $exception'
    >>> from canarykit.metrics import Conversion
    >>> paid = Guardrail(Conversion("paid"))
    >>> paid.worse, paid.tolerated_ratio
    ('lower', 0.95)
    """

    metric: Metric
    worse: Direction = field(default=None, kw_only=True)  # type: ignore  # None: the metric's own
    margin_ratio: float | None = field(default=None, kw_only=True)
    margin_pp: float | None = field(default=None, kw_only=True)
    margin: float | None = field(default=None, kw_only=True)
    roll_back_ratio: float | None = field(default=None, kw_only=True)
    limit: float | None = field(default=None, kw_only=True)
    critical: bool = field(default=False, kw_only=True)
    weight: float | None = field(default=None, kw_only=True)
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        direction: Direction | None = None
        if isinstance(self.metric, str):
            direction = event_direction(self.metric)
            object.__setattr__(self, "metric", ErrorShare(self.metric))
        elif isinstance(self.metric, MetricSpec):
            direction = self.metric.harmful_direction
        if not isinstance(self.metric, ShareMetric | ValueMetric):
            raise PlanError(
                f"a guardrail's metric is {type(self.metric).__name__}; expected a spec such as "
                "metrics.ErrorShare() or the name of an event"
            )
        if self.worse is None:
            if direction is None:
                raise PlanError(_which_direction(self))
            object.__setattr__(self, "worse", direction)
        if not isinstance(self.name, str):
            raise PlanError(f"a guardrail's name is {self.name!r}; expected a text")
        if not isinstance(self.critical, bool):
            raise PlanError(f"{self.label}: critical is {self.critical!r}; expected True or False")
        for name in ("margin_ratio", "margin_pp", "margin", "roll_back_ratio", "limit", "weight"):
            value = getattr(self, name)
            if value is not None and not is_number(value):
                raise PlanError(f"{self.label}: {name} is {value!r}; expected a number")
        if self.worse not in ("higher", "lower"):
            raise PlanError(f"{self.label}: worse is {self.worse!r}; expected 'higher' or 'lower'")
        given = [name for name in ("margin_ratio", "margin_pp", "margin") if getattr(self, name) is not None]
        if len(given) > 1:
            raise PlanError(f"{self.label}: give one margin, not {' and '.join(given)}")
        problem = self._margin_problem()
        if problem:
            raise PlanError(f"{self.label}: {problem}")
        line = self.roll_back_ratio
        if line is not None and not min(1.0, self.tolerated_ratio) <= line <= max(1.0, self.tolerated_ratio):
            raise PlanError(
                f"{self.label}: roll_back_ratio is {line}; expected between 1 (no change) and the tolerated "
                f"ratio of {self.tolerated_ratio:g}"
            )
        if line is not None and (self.margin_pp is not None or self.margin is not None):
            raise PlanError(f"{self.label}: roll_back_ratio needs margin_ratio, not another margin")
        if self.weight is not None and not 0 < self.weight <= 1:
            raise PlanError(f"{self.label}: weight is {self.weight}; expected a part in (0, 1]")
        if self.limit is not None and not math.isfinite(self.limit):
            raise PlanError(f"{self.label}: limit is {self.limit}; expected a finite level")
        if self.limit is not None and isinstance(self.metric, ShareMetric) and not 0 <= self.limit <= 1:
            raise PlanError(f"{self.label}: limit is {self.limit}; expected a fraction of people in [0, 1]")

    def _margin_problem(self) -> str | None:
        is_share = isinstance(self.metric, ShareMetric)
        ratio = self.margin_ratio
        if ratio is not None and self.worse == "higher" and not 1 < ratio < math.inf:
            return f"margin_ratio is {ratio}; expected above 1, since higher is worse (worse='higher')"
        if ratio is not None and self.worse == "lower" and not 0 < ratio < 1:
            return f"margin_ratio is {ratio}; expected between 0 and 1, since lower is worse (worse='lower')"
        if self.margin_pp is not None and not is_share:
            return "margin_pp is for shares of people; use margin= or margin_ratio="
        if self.margin_pp is not None and not 0 < self.margin_pp < 100:
            return f"margin_pp is {self.margin_pp}; expected percentage points between 0 and 100"
        if isinstance(self.metric, ShareMetric) and self.metric.by_age:
            if self.margin_pp is not None and math.isinf(self.metric.window[1]):
                return "margin_pp needs a time within which people have it; give the metric within="
            if self.limit is not None:
                return "a time to event has no limit; use Conversion or ErrorShare with within= for a limit"
        if self.margin is not None and is_share:
            return "margin is for values per person; use margin_pp= or margin_ratio="
        if self.margin is not None and not 0 < self.margin < math.inf:
            return f"margin is {self.margin}; expected a positive number"
        return None

    def _headline(self) -> str:
        return f"Guardrail on {self.label}"

    @property
    def label(self) -> str:
        """How reports call it."""
        return self.name or (self.metric.label if hasattr(self.metric, "label") else "guardrail")

    @property
    def tolerated_ratio(self) -> float:
        """The margin as canary over control, when it was given as a ratio or left out."""
        if self.margin_ratio is not None:
            return self.margin_ratio
        return 1.25 if self.worse == "higher" else 0.95

    def margin_at(self, level: float) -> float:
        """The margin as canary over control, where the control has this level.

        Parameters
        ----------
        level
            The control's share of people with the event, or its mean; only margins in points or units
            depend on it.

        Returns
        -------
        float
            Points or units beyond the level tolerate any loss.

        Examples
        --------
        >>> Guardrail("$exception", margin_pp=0.5).margin_at(0.02)
        1.25
        """
        points = self.margin_pp / 100 if self.margin_pp is not None else self.margin
        if points is None:
            return self.tolerated_ratio
        if self.worse == "higher":
            return self.metric.ratio_of(level, level + points)
        return max(self.metric.ratio_of(level, max(level - points, 0.0)), ANY_LOSS)

    def roll_back_beyond(self, tolerated_ratio: float | None = None) -> float:
        """The line of rollback as canary over control, where the margin stands for this ratio.

        Parameters
        ----------
        tolerated_ratio
            The ratio for which a margin in points or units stands, at the control's level; None
            for a margin that is a ratio itself.

        Returns
        -------
        float
            Canary over control beyond which harm rolls back.
        """
        if self.roll_back_ratio is not None:
            return self.roll_back_ratio
        return roll_back_line(self.tolerated_ratio if tolerated_ratio is None else tolerated_ratio)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that `Guardrail.from_dict` reads back."""
        content: dict[str, Any] = {"metric": self.metric.to_dict()}
        for spec in dataclasses.fields(self)[1:]:
            value = getattr(self, spec.name)
            if value != spec.default:
                content[spec.name] = value
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | str) -> Guardrail:
        """A guardrail from its plain form; a text is the name of an event, as in `Guardrail(text)`.

        Parameters
        ----------
        content
            The plain form, as `to_dict` writes it, or the name of an event.

        Examples
        --------
        >>> Guardrail.from_dict({"metric": {"metric": "error share"}, "critical": True}).critical
        True
        """
        if isinstance(content, str):
            content = {"metric": content}
        if not isinstance(content, Mapping):
            raise PlanError(
                f"a guardrail is {content!r}; expected the name of an event, or an object with a 'metric'"
            )
        fields = dict(content)
        settings = [spec.name for spec in dataclasses.fields(cls)]
        for key in fields:
            if key not in settings:
                raise PlanError(f"a guardrail has no {key!r}; {did_you_mean(key, settings)}")
        if "metric" not in fields:
            raise PlanError(f"a guardrail needs a 'metric'; {did_you_mean('metric', fields)}")
        metric = fields.pop("metric")
        # a name is made a metric by the guardrail itself, which then knows that only a name was given
        return cls(metric if isinstance(metric, str) else metric_from_dict(metric), **fields)  # type: ignore


def _which_direction(guardrail: Guardrail) -> str:
    """What to write where the metric does not tell its harmful direction."""
    return (
        f"{guardrail.label}: whether more or less of it is harm cannot be known from its name; say "
        "worse='lower' (harm when it falls, as payments) or worse='higher' (harm when it rises, as errors); "
        '"worse": "lower" or "worse": "higher" in JSON'
    )


def roll_back_line(tolerated_ratio: float) -> float:
    """From which ratio on proven harm rolls back, where nothing else was said.

    A quarter within what is tolerated, in either direction, and no further than no change at all: what
    is well within a wide margin is not rolled back, and tight margins lose no time.

    Examples
    --------
    >>> roll_back_line(1.25), roll_back_line(0.95), roll_back_line(3.0), roll_back_line(0.5)
    (1.0, 1.0, 2.4, 0.625)
    """
    if tolerated_ratio >= 1:
        return max(1.0, tolerated_ratio / LARGEST_STEP)
    return min(1.0, tolerated_ratio * LARGEST_STEP)


def read_guardrails(guardrails: Sequence[Guardrail] | Guardrail | None) -> tuple[Guardrail, ...]:
    """The guardrails that were given; the share of people with `$exception` where none were.

    `PlanError` if they are empty, of another kind, or two have one name.

    Examples
    --------
    >>> [item.label for item in read_guardrails(None)]
    ['people with $exception']
    """
    if guardrails is None:
        return (Guardrail(ErrorShare(), critical=True),)
    if isinstance(guardrails, str | Mapping | MetricSpec) or not isinstance(guardrails, Iterable | Guardrail):
        require_kind("guardrails", guardrails, Guardrail, "Guardrail(metric, ...), or a list of them")
    chosen = (guardrails,) if isinstance(guardrails, Guardrail) else tuple(guardrails)
    if not chosen:
        raise PlanError("guardrails is empty; leave it out to watch the share of people with $exception")
    for item in chosen:
        require_kind("one of the guardrails", item, Guardrail, "Guardrail(metric, ...)")
    labels = [item.label for item in chosen]
    if len(set(labels)) < len(labels):
        raise PlanError(f"guardrails need different names; there is {labels}")
    return chosen


def guardrail_weights(guardrails: Sequence[Guardrail]) -> tuple[float, ...]:
    """Part of the rollback error that each guardrail may spend; the parts add up to at most 1.

    Weights given by hand are taken as they are. Otherwise the critical guardrails share one half and the
    others the second half; if there is only one kind, it has everything.

    Parameters
    ----------
    guardrails
        Of one stage.

    Returns
    -------
    tuple of float
        In the same order.

    Raises
    ------
    PlanError
        If only some guardrails have a weight, or the weights add up to more than 1.

    Examples
    --------
    >>> crash, rage = Guardrail("crash", critical=True), Guardrail("$rageclick")
    >>> guardrail_weights([crash, rage, Guardrail("$exception")])
    (0.5, 0.25, 0.25)
    """
    given = [g.weight for g in guardrails if g.weight is not None]
    if given:
        if len(given) < len(guardrails):
            raise PlanError(f"{len(given)} of {len(guardrails)} guardrails have a weight; give all or none")
        if sum(given) > 1 + 1e-9:
            raise PlanError(f"the guardrails' weights add up to {sum(given):g}; expected at most 1")
        return tuple(given)
    n_critical = sum(g.critical for g in guardrails)
    n_other = len(guardrails) - n_critical
    if not n_critical or not n_other:
        return tuple(1 / len(guardrails) for _ in guardrails)
    return tuple(0.5 / n_critical if g.critical else 0.5 / n_other for g in guardrails)
