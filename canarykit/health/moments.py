"""Cumulative moments of a value metric at each look, in the order in which people came in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from canarykit.metrics.reduction import Outcomes
from canarykit.metrics.values import Total, ValueMetric

__all__ = ["ValueSeries", "value_series"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ValueSeries:
    """Mean (or ratio) of both arms and its variance after each look; NaN while it does not exist.

    Parameters
    ----------
    canary, control
        The metric in each arm.
    canary_variance, control_variance
        Variance of each.
    n_canary, n_control
        People behind each.
    cap
        Value at which both arms were capped, or None.
    at_least
        People each arm needs before its moments are used.
    """

    canary: Floats
    control: Floats
    canary_variance: Floats
    control_variance: Floats
    n_canary: Floats
    n_control: Floats
    cap: float | None
    at_least: int = 25

    def contrast(self, factor: float) -> tuple[Floats, Floats]:
        """Canary minus `factor` times control, and its variance, at each look; NaN below the minimum.

        A small arm in which nobody has paid yet has a spread of nearly zero, and would make chance look
        like proof. So the variance is never less than it would be if both arms had the spread of all people
        together, and an arm below the minimum says nothing.
        """
        separate = self.canary_variance + factor**2 * self.control_variance
        n, m = self.n_canary, self.n_control
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = (n - 1) * n * self.canary_variance + (m - 1) * m * self.control_variance
            pooled = spread / (n + m - 2) * (1 / n + factor**2 / m)
        enough = (n >= self.at_least) & (m >= self.at_least)
        return self.canary - factor * self.control, np.where(enough, np.maximum(separate, pooled), np.nan)


def value_series(
    found: Outcomes, i: int, looks: npt.NDArray[np.int64], stop: int, *, at_least: int = 25
) -> ValueSeries:
    """Moments of value metric `i` over the people who had come in by each look.

    A `Total` with a window counts only people who have had all of it. Averages and ratios are sums over
    sums with the person as the unit, their variance by the delta method.
    """
    spec = found.metrics[i]
    assert isinstance(spec, ValueMetric)
    entered = found.units["entered_at"].dt.as_unit("us").astype("int64").to_numpy()
    x, y, canary = _numbers(found.sums[i]), _numbers(found.weights[i]), found.canary
    window = spec.window[1]
    keep = entered + (0 if np.isinf(window) else round(window * 1e6)) <= stop
    if not isinstance(spec, Total):
        keep &= y > 0
    x, y, canary, entered = x[keep], y[keep], canary[keep], entered[keep]
    cap = None
    if isinstance(spec, Total):
        y = np.ones_like(x)
        if spec.cap is not None and bool(np.any(~canary)):
            cap = float(np.quantile(x[~canary], spec.cap))
            x = np.minimum(x, cap) if cap > 0 else x
            cap = cap if cap > 0 else None
    place = np.searchsorted(looks, entered, side="right")
    arms = [_cumulative(place[arm], x[arm], y[arm], len(looks)) for arm in (canary, ~canary)]
    (n_t, mean_t, variance_t), (n_c, mean_c, variance_c) = arms
    return ValueSeries(mean_t, mean_c, variance_t, variance_c, n_t, n_c, cap, at_least)


def _cumulative(
    place: npt.NDArray[np.intp], x: Floats, y: Floats, n_looks: int
) -> tuple[Floats, Floats, Floats]:
    columns = (np.ones(len(x)), x, y, x**2, y**2, x * y)
    binned = (np.bincount(place, column, minlength=n_looks + 1)[:n_looks] for column in columns)
    sums = [np.cumsum(column).astype(float) for column in binned]
    return sums[0], *_ratio(*sums)


def _ratio(n: Floats, x: Floats, y: Floats, xx: Floats, yy: Floats, xy: Floats) -> tuple[Floats, Floats]:
    """Ratio of sums and the delta-method variance of it; a plain mean when every y is 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = x / y
        spread = np.maximum(xx - 2 * ratio * xy + ratio**2 * yy, 0.0) / (n - 1)
        variance = spread * n / y**2
    good = (n >= 2) & (y != 0)
    return np.where(y != 0, ratio, np.nan), np.where(good, variance, np.nan)


def _numbers(values: Floats | None) -> Floats:
    assert values is not None
    return values
