"""A quantile of one arm against that of the other, at every look, where people have several values each.

Take any point. If the first arm's quantile lies at or below it, no more than a share `1 - p` of that arm's
values lie above it; if the second arm's lies at or above it, no less of that arm's do. Each person adds to a
sum that drifts nowhere then: their values beyond the point, less `1 - p` of all their values. Two such sums
of independent people give two e-processes, and so does their product. Under the null of a common point
between both quantiles, which nobody knows, the smallest product over all points is no larger than the one
at that point: it exceeds 1 / alpha with a chance of at most alpha, at all looks together. No density has to
be estimated, and however alike the values of one person are, they are one step of the sum.

The sums are taken for normal (asymptotic in the number of people). Their variance is what was seen, or that
of independent values times the seen clustering, whichever is larger, so that few values beyond a point prove
little. Between two points of the grid each e-process is replaced by its smaller end.

References
----------
Howard & Ramdas (2022), Sequential estimation of quantiles, section 4, doi:10.3150/21-BEJ1388, for the product
and its smallest value over the points; Robbins (1970), doi:10.1214/aoms/1177696786, for the mixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from canarykit.stats.any_look.sequential import K_AT_GATE, mixture_log_e

Floats = npt.NDArray[np.float64]
FEWEST_BEYOND = 5.0
"""Values that an arm must be expected to have on either side of its quantile before it is judged."""


@dataclass(frozen=True, eq=False)
class ArmValues:
    """The values of one arm, and the people they belong to."""

    person: npt.NDArray[np.int64]  # of each value, the position of its person in `look`
    value: Floats  # the values
    look: npt.NDArray[np.int64]  # of each person, the look from which on they count


@dataclass(frozen=True, eq=False)
class QuantileCurve:
    """Evidence of one arm against every point, at every look."""

    points: Floats  # increasing, from minus infinity to infinity
    # log E of "the quantile lies above (below) the point", a row a point and a column a look. The first never
    # rises with the point, the second never falls
    lies_above: Floats
    lies_below: Floats
    quantile: Floats  # the quantile at each look; NaN before there are values
    # how many are behind each look
    people: Floats
    values: Floats


def quantile_curves(
    canary: ArmValues,
    control: ArmValues,
    probability: float,
    *,
    n_looks: int,
    gate: int,
    progress: float = 1.0,
    at_least: int = 25,
) -> tuple[QuantileCurve, QuantileCurve]:
    """Evidence of both arms against every point, at every look.

    The evidence on the quantile at `probability`, in (0, 1), is sharpest at the look `gate`, of the way to
    which `progress` lies behind the last look where it is still to come. Before an arm has `at_least` people
    its evidence is NaN.

    Examples
    --------
    >>> arm = ArmValues(np.arange(1000), np.arange(1000.0), np.zeros(1000, int))
    >>> slower = ArmValues(arm.person, arm.value + 100, arm.look)
    >>> curves = quantile_curves(slower, arm, 0.5, n_looks=1, gate=0)
    >>> bool(log_e_above(*curves, lambda point: point)[0] > np.log(20))  # the canary's median is higher
    True
    """
    sums = [_Sums(arm, probability, n_looks) for arm in (canary, control)]
    spread = sum(arm.clustered for arm in sums) / max(sum(arm.independent for arm in sums), 1e-300)
    clustering = max(1.0, spread)
    curves = [arm.curve(clustering, gate, progress, at_least) for arm in sums]
    return curves[0], curves[1]


def log_e_above(
    first: QuantileCurve, second: QuantileCurve, moved_back: Callable[[Floats], Floats]
) -> Floats:
    """Log E of "the first arm's quantile lies above the second's, moved", at each look.

    Parameters
    ----------
    first, second
        Curves of the arms.
    moved_back
        From a point to the one whose move it is: `lambda point: point / 1.25` asks whether the first
        quantile is more than 1.25 times the second, `lambda point: point - 200` whether it is 200 higher.
    """
    starts, n_looks = first.points[:-1], first.lies_above.shape[1]
    back = np.broadcast_to(moved_back(starts[:, None]), (len(starts), n_looks))
    at = np.clip(np.searchsorted(second.points, back, side="right") - 1, 0, None)
    total = first.lies_above[1:] + np.take_along_axis(second.lies_below, at, axis=0)
    return np.asarray(total.min(axis=0))


def shift_limit(
    first: QuantileCurve, second: QuantileCurve, threshold: float, move: Callable[[Floats], Callable]
) -> Floats:
    """The largest amount, per look, by which the first quantile is shown to exceed the second.

    Parameters
    ----------
    first, second
        Curves of the arms.
    threshold
        Log E from which on it is shown.
    move
        From an amount per look in [-1, 1], where more is further, to the `moved_back` of `log_e_above`.

    Returns
    -------
    array
        The amounts; minus infinity where not even -1 is shown.
    """
    n_looks = first.lies_above.shape[1]
    shown, not_shown = np.full(n_looks, -1.0), np.full(n_looks, 1.0)
    least = log_e_above(first, second, move(shown)) >= threshold
    for _ in range(40):
        middle = (shown + not_shown) / 2
        is_shown = log_e_above(first, second, move(middle)) >= threshold
        shown, not_shown = np.where(is_shown, middle, shown), np.where(is_shown, not_shown, middle)
    return np.where(least, shown, -np.inf)


class _Sums:
    """Values beyond each point of a grid, summed over people and looks."""

    def __init__(self, arm: ArmValues, probability: float, n_looks: int) -> None:
        self.p, self.n_looks, self.look = probability, n_looks, arm.look
        self.order = np.argsort(arm.value, kind="stable")
        self.value, self.person = arm.value[self.order], arm.person[self.order]
        self.each = np.bincount(self.person, minlength=len(arm.look)).astype(float)
        self.values = self._up_to(self.each)
        self.people = self._up_to((self.each > 0).astype(float))
        at_quantile = self._steps(self._beyond(self._quantile(), side="right"))
        self.clustered = float((at_quantile**2).sum())
        self.independent = probability * (1 - probability) * float(self.each.sum())

    def _quantile(self) -> float:
        return float(np.quantile(self.value, self.p)) if len(self.value) else math.nan

    def _up_to(self, weights: Floats) -> Floats:
        return np.cumsum(np.bincount(self.look, weights, minlength=self.n_looks + 1)[: self.n_looks])

    def _beyond(self, point: float, side: str) -> Floats:
        """Each person's values above a point (`side="right"`), or at least as large (`"left"`)."""
        start = int(np.searchsorted(self.value, point, side=side))  # type: ignore[call-overload]
        return np.bincount(self.person[start:], minlength=len(self.each)).astype(float)

    def _steps(self, beyond: Floats) -> Floats:
        return beyond - (1 - self.p) * self.each

    def _grid(self, clustering: float) -> Floats:
        """Points close together, by the error of the last look, where the quantile is, and wider outside."""
        n = len(self.value)
        if n == 0:
            return np.array([-np.inf, np.inf])
        error = math.sqrt(clustering * self.p * (1 - self.p) / n)
        steps = np.concatenate([np.arange(0.0, 3.0, 0.15), 3.0 * 1.06 ** np.arange(200)])
        levels = np.unique(np.clip(np.concatenate([self.p - steps * error, self.p + steps * error]), 0, 1))
        return np.concatenate([[-np.inf], np.unique(np.quantile(self.value, levels)), [np.inf]])

    def curve(self, clustering: float, gate: int, progress: float, at_least: int) -> QuantileCurve:
        points = self._grid(clustering)
        null_variance = clustering * self.p * (1 - self.p) * self.values
        enough = (self.people >= at_least) & (self.values * min(self.p, 1 - self.p) >= FEWEST_BEYOND - 1e-9)
        sharpest = null_variance[min(gate, self.n_looks - 1)] or 1.0
        k = K_AT_GATE * min(progress, 1.0) * null_variance / sharpest
        total, squares = self._beyond_each(points, side="right")
        above = self._log_e(total, squares, null_variance, k, enough)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = total / self.values + (1 - self.p)
        total, squares = self._beyond_each(points, side="left")
        below = self._log_e(-total, squares, null_variance, k, enough)
        above[:, ~enough] = below[:, ~enough] = np.nan
        above = np.minimum.accumulate(above, axis=0)
        below = np.minimum.accumulate(below[::-1], axis=0)[::-1]
        return QuantileCurve(points, above, below, self._by_look(points, share), self.people, self.values)

    def _beyond_each(self, points: Floats, side: str) -> tuple[Floats, Floats]:
        """Sums of the people's steps, and of their squares, a row a point and a column a look.

        From one point to the next lower one a few values come in. Each adds one to the count `b` of its
        person, who has `m` values: `2 b + 1` to the sum of `b b`, and `m` to that of `b m`.
        """
        places = np.arange(len(self.value))
        starts = np.searchsorted(self.value, points, side=side)  # type: ignore[call-overload]
        row = np.searchsorted(starts, places, side="right")  # the value is beyond this many points
        look = np.minimum(self.look[self.person], self.n_looks)
        by_person = np.argsort(self.person, kind="stable")
        ends = np.cumsum(np.bincount(self.person, minlength=len(self.each)))
        higher = np.empty(len(places))
        higher[by_person] = ends[self.person[by_person]] - 1 - places
        sums = []
        for weights in (None, 2 * higher + 1, self.each[self.person]):
            size = (len(points) + 1) * (self.n_looks + 1)
            cells = np.bincount(row * (self.n_looks + 1) + look, weights, minlength=size)
            table = cells.reshape(len(points) + 1, self.n_looks + 1)[1:, : self.n_looks]
            sums.append(np.cumsum(np.cumsum(table[::-1], axis=0)[::-1], axis=1).astype(float))
        beyond, both, mixed = sums
        rest = 1 - self.p
        squares = both - 2 * rest * mixed + rest**2 * self._up_to(self.each**2)
        return beyond - rest * self.values, squares

    def _log_e(
        self, total: Floats, squares: Floats, null_variance: Floats, k: Floats, enough: npt.NDArray[np.bool_]
    ) -> Floats:
        spread = np.sqrt(np.maximum(np.maximum(squares, null_variance), 1e-300))
        return mixture_log_e(np.where(enough, total / spread, 0.0), np.where(enough, k, 0.0), "one")

    def _by_look(self, points: Floats, share: Floats) -> Floats:
        """The quantile at each look: the first point below no more than `1 - p`; exact at the last look."""
        quantiles = np.where(self.values > 0, points[np.argmax(share <= 1 - self.p + 1e-12, axis=0)], np.nan)
        if len(self.value) and self.values[-1] == len(self.value):
            quantiles[-1] = self._quantile()
        return quantiles
