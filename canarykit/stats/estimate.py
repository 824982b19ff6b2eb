"""What every statistic returns: a number with its interval, its level, its method and its source.

Four shapes of answer, all frozen: `Estimate` (a value with an interval) and `HypothesisTest` (a p-value)
for one planned look, `ConfidenceSequence` and `SequentialTest` for as many looks as one likes.
Effects are signed so that more than zero, or a ratio above one, is *harm* when the metric is one where
higher is worse: the canary minus the control, the canary over the control.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from canarykit.display import Kind, format_value

Sided = Literal["two", "lower", "upper"]
"""`two`: both limits at `confidence` together; `lower` / `upper`: only that limit, at `confidence` alone."""

_KIND_OF_UNIT: dict[str, Kind] = {
    "share": "share",
    "points": "points",
    "ratio": "ratio",
    "odds ratio": "ratio",
    "relative": "share",
    "seconds": "seconds",
}


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Parameters
    ----------
    value, low, high
        In `unit`; fractions, never percentages. A one-sided interval is unbounded on its other side,
        or ends where the quantity ends (a share at 0 or 1).
    confidence
        Coverage of the interval, strictly between 0 and 1.
    method, source
        The name of the procedure, and where it is published.
    sided
        Which limits carry the confidence.
    unit
        "share" (a fraction of people), "points" (a difference of fractions), "ratio", "odds ratio",
        "relative" (a change as a fraction of the control), or the unit of the metric.
    n
        Units behind the value, both arms together.
    standard_error, statistic, p_value, null
        Where the method has them: `p_value` is that of `value = null`, one-sided when `sided` is, and
        of "at least the margin" when a margin was given.
    degrees_of_freedom
        Of a t interval; None means normal.
    always_valid
        True when the interval may be looked at any number of times.
    notes
        What the reader must know: a variance of zero, a correction that was added.

    Examples
    --------
    >>> print(Estimate(0.02, 0.016, 0.025, method="Wilson", n=4000))
    2.00 % (95 % interval 1.60 % to 2.50 %; Wilson, n = 4,000)
    """

    value: float
    low: float
    high: float
    confidence: float = 0.95
    method: str = ""
    sided: Sided = "two"
    unit: str = "share"
    n: int | None = None
    source: str = ""
    standard_error: float | None = None
    statistic: float | None = None
    p_value: float | None = None
    null: float | None = None
    degrees_of_freedom: float | None = None
    always_valid: bool = False
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        kind = _KIND_OF_UNIT.get(self.unit, "number")
        low, high = format_value(self.low, kind), format_value(self.high, kind)
        level = f"{self.confidence * 100:g} %"
        span = {
            "two": f"{level} interval {low} to {high}",
            "lower": f"{level} lower limit {low}",
            "upper": f"{level} upper limit {high}",
        }[self.sided]
        counted = "" if self.n is None else f", n = {self.n:,}"
        how = f"; {self.method}{counted}" if self.method else ""
        return f"{format_value(self.value, kind)} ({span}{how})"

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside the interval.

        Parameters
        ----------
        value
            A number in the unit of the estimate.

        Returns
        -------
        bool
        """
        return not self.low <= value <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Every field by name; infinite limits stay infinite."""
        return asdict(self)


@dataclass(frozen=True)
class HypothesisTest:
    """A test that keeps its level at one planned look.

    Parameters
    ----------
    statistic, p_value
        The test statistic and its p-value under `null`.
    null
        What is tested, in words.
    method, source
        The name of the procedure, and where it is published.
    sided
        "two", or the side whose evidence is measured: "greater" (harm), "less".
    degrees_of_freedom, n
        Where the method has them.
    notes
        What the reader must know.
    """

    statistic: float
    p_value: float
    null: str
    method: str
    sided: Literal["two", "greater", "less"] = "two"
    degrees_of_freedom: float | None = None
    n: int | None = None
    source: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ConfidenceSequence:
    """Intervals at every look that hold together: watch them as often as wanted.

    Parameters
    ----------
    value, low, high
        After each look; time on the last axis, any leading axes. `value` is NaN while there is no data.
    confidence, sided, unit, method, source
        As in `Estimate`; `confidence` is the chance that every interval of the sequence holds.
    n
        Units (or events) behind the last look, over the leading axes.
    standard_error
        Of the value at each look, where the method has one.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    confidence: float
    method: str
    sided: Sided = "two"
    unit: str = "share"
    n: np.ndarray | int | None = None
    source: str = ""
    standard_error: np.ndarray | None = None

    @property
    def last(self) -> Estimate | None:
        """The last look of a single series; None when there is no look or nothing was seen yet."""
        if self.value.ndim != 1 or self.value.size == 0 or math.isnan(self.value[-1]):
            return None
        low, high = float(self.low[-1]), float(self.high[-1])
        note = "the limits of earlier looks contradict later ones: the effect changed over time"
        return Estimate(
            value=float(self.value[-1]),
            low=low,
            high=high,
            confidence=self.confidence,
            method=self.method,
            sided=self.sided,
            unit=self.unit,
            n=None if self.n is None else int(np.asarray(self.n)),
            source=self.source,
            standard_error=None if self.standard_error is None else float(self.standard_error[-1]),
            always_valid=True,
            notes=(note,) if low > high else (),
        )


@dataclass(frozen=True, eq=False)
class SequentialTest:
    """Evidence that may be looked at any number of times.

    Parameters
    ----------
    log_e
        Natural log of the e-value after each look, oldest first. An e-value of 20 is evidence that a
        true null reaches at any look, ever, with probability at most 1 / 20.
    null, method, source
        What is tested, how, and where that is published.
    n
        Units behind the last look.
    """

    log_e: np.ndarray
    null: str
    method: str
    n: int | None = None
    source: str = ""

    @property
    def p_values(self) -> np.ndarray:
        """Always-valid p-value after each look: the smallest 1 / E so far, at most 1."""
        return np.exp(-np.maximum.accumulate(np.maximum(self.log_e, 0.0), axis=-1))

    @property
    def p_value(self) -> float:
        """Always-valid p-value at the last look."""
        return float(self.p_values[..., -1]) if self.log_e.size else 1.0

    @property
    def e_value(self) -> float:
        """The largest e-value so far: what the decision reads."""
        return math.exp(min(float(np.max(self.log_e)), 700.0)) if self.log_e.size else 1.0

    def first_look(self, threshold: float) -> int | None:
        """Position of the first look at which the e-value reached `threshold`, or None.

        Parameters
        ----------
        threshold
            An e-value, such as 20 for a level of 5 %.

        Returns
        -------
        int or None
            Counting from 0.
        """
        reached = np.flatnonzero(np.asarray(self.log_e) >= math.log(threshold))
        return int(reached[0]) if reached.size else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SequentialTest):
            return NotImplemented
        words = (self.null, self.method, self.n, self.source)
        theirs = (other.null, other.method, other.n, other.source)
        return words == theirs and np.array_equal(self.log_e, other.log_e)

    def __hash__(self) -> int:
        return hash((self.null, self.method, self.n, self.log_e.tobytes()))
