"""Evidence from rare events that may be looked at every hour: the conditional-binomial mixture e-process.

Within an interval, given how many events both arms had together, the canary's part is binomial with a
share that only the exposures and the rate ratio decide: whatever the hour, the day or the incident did to
both arms cancels. The likelihood ratio of "the ratio is d" against "the ratio is d0", averaged over a grid
of d and multiplied over intervals, is a number E that a true null pushes past 1 / a at any look, ever,
with probability at most a. Exposures may change from one interval to the next, so a growing ramp biases
nothing. Each unit may count once: events of one chatty person are one event.

All that holds if everybody behind the exposures of an interval has the same chance of the event, but for
the arm. Where newcomers have it at once and others never, exposures must come from within entry cohorts:
`canarykit.metrics.risk.risk_sets` makes such exposures, and then no such assumption is needed.

References
----------
Lindon & Malek (2022), Anytime-valid inference for multinomial count data, section 4, arXiv:2011.03567;
Ville (1939); Hoeffding (1963), section 6, for units drawn without replacement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from canarykit.compiler import can_compile
from canarykit.errors import DataError
from canarykit.stats.checks import require_choice, require_counts, require_number, require_numbers
from canarykit.stats.estimate import SequentialTest

_COMPILED_FROM = 20_000_000
"""Looks times grid points from which the compiled form is worth its import."""

_WIDE = np.exp(np.linspace(math.log(0.15), math.log(1.9), 24))
"""Log effects of the wide part: at the decision about half of them, in the logarithm, share the evidence."""

_SOURCE = "Lindon & Malek (2022), arXiv:2011.03567; Ville (1939)"


@dataclass(frozen=True)
class Grid:
    """The alternatives of a mixture: rate ratios, their logs over the null, and log weights."""

    ratios: np.ndarray
    log_ratios: np.ndarray
    log_weights: np.ndarray


@dataclass(frozen=True)
class EventMixture:
    """What the evidence is measured against: a null ratio and a spread of alternatives.

    Parameters
    ----------
    side
        "harm" gathers evidence that the rate ratio is above `null_ratio`, "safe" that it is below (with
        `null_ratio` the margin: non-inferiority), "two" both, half the weight each.
    null_ratio
        Rate of the canary over rate of the control under the null.
    sd, low, high, points
        Alternatives are `null_ratio * exp(+-g)`, `g` evenly spaced from `low` to `high`, weighted as
        exp(-g^2 / (2 sd^2)). Validity does not depend on them, power does: 0.4 suits rare errors, 0.1
        small changes of common events.
    wide
        Part of the weight, in [0, 1), that lies evenly on the logarithm of effects from 1.16 to 6.7 times
        `null_ratio` instead: a large effect is then found soon, whatever `sd` expects. One half delays what
        `sd` expects by no more than a factor of two in the evidence.

    Examples
    --------
    >>> harm = EventMixture().log_e([12], [72], [10_000], [90_000])
    >>> round(float(harm[-1]), 6)
    1.016505
    """

    side: str = "harm"
    null_ratio: float = 1.0
    sd: float = 0.4
    low: float = 0.005
    high: float = 1.2
    points: int = 60
    wide: float = 0.0

    def __post_init__(self) -> None:
        require_choice("side", self.side, ("harm", "safe", "two"))
        require_number("null_ratio", self.null_ratio, above=0.0)
        require_number("sd", self.sd, above=0.0)
        require_number("low", self.low, above=0.0)
        require_number("high", self.high, above=self.low)
        if self.points != int(self.points) or self.points < 2:
            raise DataError(f"points is {self.points!r}; expected a whole number of at least 2")
        if not 0 <= self.wide < 1:
            raise DataError(f"wide is {self.wide!r}; expected a part of the weight in [0, 1)")

    @property
    def grid(self) -> Grid:
        """Alternatives and weights as arrays (read-only)."""
        return _grid(self)

    def log_e(
        self, x: ArrayLike, n: ArrayLike, exposure_canary: ArrayLike, exposure_control: ArrayLike
    ) -> np.ndarray:
        """Running log E after each interval.

        Parameters
        ----------
        x, n
            Events of the canary, and of both arms together, in each interval; time on the last axis, any
            leading axes (runs, guardrails).
        exposure_canary, exposure_control
            Units at risk, or time at risk, of each arm in each interval; only their ratio matters.
            Broadcast against `x`, so exposures shared by all runs are given once.

        Returns
        -------
        numpy.ndarray
            Same shape as `x` broadcast; intervals without events leave it where it was.

        Raises
        ------
        DataError
            On NaN, infinite or negative input, more canary events than events, or events in an arm
            that had no exposure.
        """
        x, n, canary, control = event_intervals(x, n, exposure_canary, exposure_control)
        if x.size * self.points >= _COMPILED_FROM and can_compile():
            from canarykit.stats.any_look.event_kernels import running_log_e

            return running_log_e(self, x, n, canary, control)
        grid = self.grid
        log_null = np.log(control + canary * self.null_ratio)
        total = np.full(np.broadcast_shapes(x.shape, canary.shape), -np.inf)
        for ratio, log_ratio, log_weight in zip(grid.ratios, grid.log_ratios, grid.log_weights, strict=True):
            likelihood = x * log_ratio + n * (log_null - np.log(control + canary * ratio))
            total = np.logaddexp(total, np.cumsum(likelihood, axis=-1) + log_weight)
        return total


def event_test(
    x: ArrayLike,
    n: ArrayLike,
    exposure_canary: ArrayLike,
    exposure_control: ArrayLike,
    *,
    mixture: EventMixture | None = None,
) -> SequentialTest | None:
    """Sequential test of one series of event counts; the arguments are those of `EventMixture.log_e`.

    Parameters
    ----------
    x
        Events of the canary in each interval.
    n
        Events of both arms together in each interval.
    exposure_canary, exposure_control
        Units, or time, at risk in each interval.
    mixture
        What is shown: harm above 1 where it is None.

    Returns
    -------
    SequentialTest or None
        None when there is no interval at all.

    Examples
    --------
    >>> test = event_test([4, 8], [10, 20], [1000, 9000], [3000, 9000])
    >>> test.log_e.round(6).tolist()
    [0.325357, -0.471852]
    """
    mixture = mixture or EventMixture()
    log_e = mixture.log_e(x, n, exposure_canary, exposure_control)
    if log_e.size == 0:
        return None
    relation = {"harm": "at most", "safe": "at least", "two": "equal to"}[mixture.side]
    return SequentialTest(
        log_e=log_e,
        null=f"event rate ratio {relation} {mixture.null_ratio:g}",
        method="conditional-binomial mixture e-process",
        n=int(np.sum(np.asarray(n))),
        source=_SOURCE,
    )


def event_intervals(
    x: ArrayLike, n: ArrayLike, exposure_canary: ArrayLike, exposure_control: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Checked arrays, ready for logarithms: intervals without events get exposures of one."""
    x = np.atleast_1d(require_counts("x", x))
    n = np.atleast_1d(require_counts("n", n))
    canary = np.atleast_1d(require_numbers("exposure_canary", exposure_canary, at_least=0.0))
    control = np.atleast_1d(require_numbers("exposure_control", exposure_control, at_least=0.0))
    try:
        x, n = np.broadcast_arrays(x, n)
        canary, control = np.broadcast_arrays(canary, control)
        np.broadcast_shapes(x.shape, canary.shape)
    except ValueError:
        shapes = [a.shape for a in (x, n, canary, control)]
        raise DataError(
            f"x, n and the exposures have shapes {shapes}; time is the last axis of each"
        ) from None
    if not bool(np.all(x <= n)):
        at = int(np.argmax(x.ravel() > n.ravel()))
        raise DataError(f"x is {x.flat[at]:g} where n is {n.flat[at]:g}; n counts the events of both arms")
    for name, exposure, events in (
        ("exposure_canary", canary, x),
        ("exposure_control", control, n - x),
    ):
        if bool(np.any((exposure <= 0) & (events > 0))):
            raise DataError(f"{name} is 0 in an interval in which that arm had events")
    idle = (canary <= 0) & (control <= 0)
    if bool(np.any(idle)):
        canary, control = np.where(idle, 1.0, canary), np.where(idle, 1.0, control)
    return x, n, canary, control


@lru_cache(maxsize=256)
def _grid(mixture: EventMixture) -> Grid:
    steps = np.linspace(mixture.low, mixture.high, mixture.points)
    log_weights = -(steps**2) / (2 * mixture.sd**2)
    log_weights -= np.log(np.sum(np.exp(log_weights)))
    if mixture.wide:
        steps = np.concatenate([steps, _WIDE])
        each = np.full(_WIDE.size, math.log(mixture.wide / _WIDE.size))
        log_weights = np.concatenate([log_weights + math.log1p(-mixture.wide), each])
    if mixture.side == "safe":
        steps = -steps
    elif mixture.side == "two":
        steps = np.concatenate([-steps[::-1], steps])
        log_weights = np.concatenate([log_weights[::-1], log_weights]) - math.log(2)
    grid = Grid(mixture.null_ratio * np.exp(steps), steps, log_weights)
    for array in (grid.ratios, grid.log_ratios, grid.log_weights):
        array.flags.writeable = False
    return grid
