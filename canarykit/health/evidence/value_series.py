"""Cumulative moments of a value metric at each look, in the order in which units came in.

A mean is a ratio whose denominator is 1 for everybody; averages and ratios are sums over sums, with the
assigned unit as the row: people, or whole groups when groups were assigned. The spread over people is that
of the residual x - ratio * y (delta method); over groups, of which some hold most of the people, it is how
the ratio changes when each is left out.

What the same units did before they were ever exposed can be taken out (CUPED): the earlier ratio has
residuals of its own, and both kinds of residuals vary together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from canarykit.metrics.unit_outcomes import Outcomes
from canarykit.metrics.values import PerPerson, ValueMetric
from canarykit.periods import column_micros
from canarykit.stats.one_look.clusters import leave_one_out
from canarykit.stats.one_look.moments import PairMoments

Floats = npt.NDArray[np.float64]
MIN_PEOPLE = 25
"""People below which the moments of an arm are not used."""
COMMON_SPREAD_UNITS = 10.0
"""Units, of values without skew, for which the common spread of both arms counts."""
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Adjustment:
    """What both arms were like before exposure, at each look, and how that goes with the metric (CUPED)."""

    window: str  # length of the time before exposure, such as "14d"
    # the metric before exposure, in each arm
    canary: Floats
    control: Floats
    # variance of each
    canary_variance: Floats
    control_variance: Floats
    # covariance of each with the arm's metric after exposure
    canary_covariance: Floats
    control_covariance: Floats
    # change of the metric per unit of the earlier one, within the arms and pooled over them; 0 where nothing
    # varied before exposure
    slope: Floats
    correlation: Floats  # of both within the arms, pooled over them; NaN where one does not vary
    without: int  # units, of those behind the last look, without any such event before exposure
    skewness: float = 0.0  # of what is left of the metric within the arms, at the last look


@dataclass(frozen=True, eq=False)
class ValueSeries:
    """Mean (or ratio) of both arms and its variance after each look; NaN while it does not exist."""

    # the metric in each arm, as it was seen
    canary: Floats
    control: Floats
    # variance of each
    canary_variance: Floats
    control_variance: Floats
    # units behind each
    n_canary: Floats
    n_control: Floats
    cap: float | None  # value at which both arms were capped, or None
    # moments of numerator and denominator at the last look, of the canary and of the control
    last: tuple[PairMoments, PairMoments]
    at_least: int = MIN_PEOPLE  # units each arm needs before its moments are used
    adjustment: Adjustment | None = None  # what is taken out of the comparison, or None
    capped: int = 0  # units that had more than the metric's fixed cap
    skewness: float = 0.0  # of the metric within the arms, pooled over them, at the last look

    def contrast(self, factor: float, *, adjusted: bool = True) -> tuple[Floats, Floats]:
        """Canary minus `factor` times control, and its variance, at each look; NaN below the minimum.

        A small arm in which nobody has paid yet has a spread of nearly zero, and would make chance look
        like proof. So the variance is a weighted mean of two: the one that the arms' own spreads give, and
        the larger one, if that is larger, of two arms with the spread of all units together. The first counts
        for the units of the smaller arm over 1 + skewness² (the rarer the large values are, the later an arm
        has its part of them), the second for `COMMON_SPREAD_UNITS`. An arm below the minimum says nothing.

        Both arms are moved to what their common past predicts: the difference of the pasts is taken out
        times the slope, and times the mean of 1 and `factor`, weighted by how far each arm is moved.
        """
        value, separate, widest = self._spreads(factor, adjusted)
        before = self.adjustment
        skewness = before.skewness if before is not None and adjusted else self.skewness
        units = np.minimum(self.n_canary, self.n_control) / (1 + skewness**2)
        spread = (units * separate + COMMON_SPREAD_UNITS * widest) / (units + COMMON_SPREAD_UNITS)
        return value, np.maximum(spread, 0.0)

    def widest_variance(self) -> Floats:
        """Variance of the difference at each look, never below that of two arms with a common spread."""
        return self._spreads(1.0, True)[2]

    def _spreads(self, factor: float, adjusted: bool) -> tuple[Floats, Floats, Floats]:
        """The contrast, its variance from the arms' own spreads, and the largest if the common one counts."""
        n, m = self.n_canary, self.n_control
        value = self.canary - factor * self.control
        canary, other = self.canary_variance, self.control_variance
        separate = canary + factor**2 * other
        past: Floats | float = 0.0
        before = self.adjustment
        with np.errstate(invalid="ignore", divide="ignore"):
            if before is not None and adjusted:
                slope = before.slope
                moved = slope * (m + factor * n) / (n + m)
                value = value - moved * (before.canary - before.control)
                separate = (
                    separate
                    - 2 * moved * (before.canary_covariance + factor * before.control_covariance)
                    + moved**2 * (before.canary_variance + before.control_variance)
                )
                canary = _residual(canary, before.canary_covariance, before.canary_variance, slope)
                other = _residual(other, before.control_covariance, before.control_variance, slope)
                spread = (n - 1) * n * before.canary_variance + (m - 1) * m * before.control_variance
                past = (slope * (1 - factor)) ** 2 * spread / (n + m - 2) / (n + m)
            spread = (n - 1) * n * canary + (m - 1) * m * other
            pooled = spread / (n + m - 2) * (1 / n + factor**2 / m) + past
        enough = (n >= self.at_least) & (m >= self.at_least)
        separate = np.where(enough, separate, np.nan)
        return value, separate, np.maximum(np.maximum(separate, pooled), 0.0)

    def units(self, factor: float = 1.0) -> Floats:
        """Units behind a comparison: the variance of `contrast` falls as one over this."""
        with np.errstate(divide="ignore"):
            return 1 / (1 / self.n_canary + factor**2 / self.n_control)


def value_series(
    reduced: Outcomes,
    i: int,
    looks: npt.NDArray[np.int64],
    stop: int,
    *,
    at_least: int = MIN_PEOPLE,
    by_group: bool = False,
) -> ValueSeries:
    """Moments of value metric `i` over the units that had come in by each look.

    A `Total` with a window counts only units that have had all of it. `looks` end, and the evaluation stops,
    at microseconds UTC; each arm needs `at_least` units. `by_group`: the units are groups, and the weights of
    a `Total` their people.
    """
    spec = reduced.metrics[i]
    assert isinstance(spec, ValueMetric)
    is_total = isinstance(spec, PerPerson)
    x, y = (_numbers(column[i]) for column in (reduced.sums, reduced.weights))
    before = reduced.before[i] if reduced.before else None
    had = None if before is None else before.weights > 0
    u, v = (None, None) if before is None else (before.sums, before.weights)
    if is_total and not by_group:  # everybody counts once, whether they did it or not
        y, v = np.ones_like(x), None if u is None else np.ones_like(x)
    entered, canary = column_micros(reduced.units["entered_at"]), reduced.canary
    window = spec.window[1]
    keep = (entered + (0 if np.isinf(window) else round(window * 1e6)) <= stop) & (y > 0)
    x, y, canary, entered = x[keep], y[keep], canary[keep], entered[keep]
    cap = None
    if is_total and spec.cap is not None and bool(np.any(~canary)):
        x, cap = _capped(x, y, float(np.quantile((x / y)[~canary], spec.cap)))
    capped = 0
    if spec.fixed_cap is not None:
        capped = int((x > spec.fixed_cap * y).sum())
        x = np.minimum(x, spec.fixed_cap * y)
    pairs = [x, y]
    if u is not None and v is not None:
        u, v = u[keep], v[keep]
        if is_total and spec.cap is not None and bool(np.any(v > 0)):
            u, _ = _capped(u, v, float(np.quantile(u[v > 0] / v[v > 0], spec.cap)))
        if spec.fixed_cap is not None:
            u = np.minimum(u, spec.fixed_cap * v)
        pairs += [u, v]
    look = np.searchsorted(looks, entered, side="right")
    kind = _Groups if by_group else _Sums
    arms = [kind.of(look[arm], [column[arm] for column in pairs], len(looks)) for arm in (canary, ~canary)]
    (mean_t, variance_t), (mean_c, variance_c) = (arm.ratio() for arm in arms)
    adjustment, seen = None, look < len(looks)
    columns = [[column[arm & seen] for column in pairs] for arm in (canary, ~canary)]
    skewness = _skewness([_residuals(*two[:2]) for two in columns])
    if u is not None and had is not None:
        adjustment = _adjustment(str(getattr(spec, "cuped", "")), arms, int((~had[keep])[seen].sum()))
        slope = float(adjustment.slope[-1])
        left = [_residuals(*two[:2]) - slope * _residuals(*two[2:]) for two in columns]
        adjustment = replace(adjustment, skewness=_skewness(left))
    n_t, n_c = (arm.n for arm in arms)
    last = arms[0].last(), arms[1].last()
    return ValueSeries(
        mean_t, mean_c, variance_t, variance_c, n_t, n_c, cap, last, at_least, adjustment, capped, skewness
    )


@dataclass(frozen=True, eq=False)
class _Sums:
    """Units, sums and sums of products of the quantities of one arm, up to each look."""

    n: Floats
    sums: list[Floats]
    products: dict[tuple[int, int], Floats]

    @classmethod
    def of(cls, look: npt.NDArray[np.intp], columns: list[Floats], n_looks: int) -> _Sums:
        def up_to(weights: Floats | None) -> Floats:
            binned = np.bincount(look, weights, minlength=n_looks + 1)[:n_looks]
            return np.cumsum(binned).astype(float)

        pairs = [(a, b) for a in range(len(columns)) for b in range(a, len(columns))]
        products = {(a, b): up_to(columns[a] * columns[b]) for a, b in pairs}
        return cls(up_to(None), [up_to(column) for column in columns], products)

    def together(self, a: int, b: int) -> Floats:
        """Covariance of the ratios that start at columns `a` and `b` (a variance when they are the same)."""
        x, y, u, v = a, a + 1, b, b + 1
        with np.errstate(invalid="ignore", divide="ignore"):
            one, other = self.sums[x] / self.sums[y], self.sums[u] / self.sums[v]
            spread = (
                self._product(x, u)
                - other * self._product(x, v)
                - one * self._product(y, u)
                + one * other * self._product(y, v)
            ) / (self.n - 1)
            if a == b:  # values that are all the same leave a remainder of rounding, which is no spread
                scale = (self._product(x, x) + one**2 * self._product(y, y)) / (self.n - 1)
                spread = np.where(spread > _ROUNDING * scale, spread, 0.0)
            covariance = spread * self.n / self.sums[y] / self.sums[v]
        good = (self.n >= 2) & (self.sums[y] != 0) & (self.sums[v] != 0)
        return np.where(good, covariance, np.nan)

    def ratio(self, a: int = 0) -> tuple[Floats, Floats]:
        """Ratio of sums and its variance; a plain mean when every denominator is 1."""
        x, y = self.sums[a], self.sums[a + 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(y != 0, x / y, np.nan), self.together(a, a)

    def last(self) -> PairMoments:
        """Moments of the first two columns at the last look."""
        x, y = (float(column[-1]) for column in self.sums[:2])
        products = (float(self._product(a, b)[-1]) for a, b in ((0, 0), (1, 1), (0, 1)))
        return PairMoments.of_sums(int(self.n[-1]), x, y, *products)

    def _product(self, a: int, b: int) -> Floats:
        return self.products[min(a, b), max(a, b)]


@dataclass(frozen=True, eq=False)
class _Groups(_Sums):
    """The same for groups, each left out in turn at each look at which one came in."""

    changes: dict[tuple[int, int], Floats]

    @classmethod
    def of(cls, interval: npt.NDArray[np.intp], columns: list[Floats], n_looks: int) -> _Groups:
        plain = _Sums.of(interval, columns, n_looks)
        starts = range(0, len(columns), 2)
        pairs = [(a, b) for a in starts for b in starts if a <= b]
        changes = {pair: np.full(n_looks, np.nan) for pair in pairs}
        for look in np.unique(interval[interval < n_looks]):
            seen = interval <= look
            n = int(seen.sum())
            moved = {
                a: leave_one_out(columns[a][seen], columns[a + 1][seen])
                for a in starts
                if n > 1 and columns[a + 1][seen].sum() > 0
            }
            with np.errstate(invalid="ignore"):
                for a, b in pairs:
                    if a in moved and b in moved:
                        changes[a, b][look:] = (moved[a] * moved[b]).sum() * (1 - 1 / n)
        return cls(plain.n, plain.sums, plain.products, changes)

    def together(self, a: int, b: int) -> Floats:
        """Covariance of the ratios that start at columns `a` and `b`; NaN when one group holds an arm."""
        covariance = self.changes[a, b]
        if a == b:
            spread = super().together(a, a)
            covariance = np.where(spread == 0, 0.0, covariance)
        return np.where(np.isfinite(covariance), covariance, np.nan)


def _adjustment(window: str, arms: list[_Sums], without: int) -> Adjustment:
    """The slope is pooled within the arms, as `stats.cuped_difference` does."""
    (past_t, variance_t), (past_c, variance_c) = (arm.ratio(2) for arm in arms)
    covariance_t, covariance_c = (arm.together(0, 2) for arm in arms)
    is_finite = np.isfinite(variance_t) & np.isfinite(variance_c)
    past_t, past_c, variance_t, variance_c, covariance_t, covariance_c = (
        np.where(is_finite, column, 0.0)
        for column in (past_t, past_c, variance_t, variance_c, covariance_t, covariance_c)
    )
    weights = [(arm.n - 1) * arm.n for arm in arms]
    variance = sum(w * arm.together(0, 0) for w, arm in zip(weights, arms, strict=True))
    before = weights[0] * variance_t + weights[1] * variance_c
    both = weights[0] * covariance_t + weights[1] * covariance_c
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where((before > 0) & (variance > 0), both / before, 0.0)
        correlation = both / np.sqrt(before * variance)
    return Adjustment(
        window,
        past_t,
        past_c,
        variance_t,
        variance_c,
        covariance_t,
        covariance_c,
        slope,
        correlation,
        without,
    )


def _residuals(x: Floats, y: Floats) -> Floats:
    """How far each unit is from its arm's ratio; zeros where only rounding keeps them apart."""
    total = y.sum()
    if not total > 0:
        return np.zeros_like(x)
    left: Floats = (x - x.sum() / total * y) * (len(y) / total)
    scale = np.square(x * (len(y) / total)).sum()
    return left if np.square(left).sum() > _ROUNDING * scale else np.zeros_like(x)


def _skewness(arms: list[Floats]) -> float:
    """Skewness of residuals around the arms' own means, pooled; 0 where nothing varies."""
    left = np.concatenate(arms)
    scale = float(np.abs(left).max(initial=0.0))
    if not scale > 0:
        return 0.0
    left = left / scale
    return float((left**3).sum() * np.sqrt(len(left)) / np.square(left).sum() ** 1.5)


def _residual(variance: Floats, covariance: Floats, before: Floats, slope: Floats) -> Floats:
    return np.maximum(variance - 2 * slope * covariance + slope**2 * before, 0.0)


def _capped(x: Floats, y: Floats, cap: float) -> tuple[Floats, float | None]:
    """Values per unit of the denominator of at most `cap`; a cap of nothing would erase everything."""
    return (np.minimum(x, cap * y), cap) if cap > 0 else (x, None)


def _numbers(values: Floats | None) -> Floats:
    assert values is not None
    return values
