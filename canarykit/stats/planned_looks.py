"""A few planned looks: error spending, futility, and conditional power by recursive integration.

Brownian motion B(t) at information fractions t is integrated look by look over the region in which the
trial goes on. For comparison with the always-valid rules, and for teams that can keep to planned looks.
On a ramp most information arrives last, so a boundary of the O'Brien-Fleming kind cannot act in the first
stages at all: use Pocock's, or Kim and DeMets with power 1.

References
----------
Armitage, McPherson & Rowe (1969), doi:10.2307/2343787; Lan & DeMets (1983), doi:10.1093/biomet/70.3.659;
Kim & DeMets (1987), doi:10.1093/biomet/74.1.149; Hwang, Shih & De Cani (1990), doi:10.1002/sim.4780091207;
Jennison & Turnbull (2000), chapter 19.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import Literal

import numpy as np

from canarykit.errors import DataError
from canarykit.stats.checks import require_choice, require_inside, require_number, require_share

Spending = Literal["obrien-fleming", "pocock", "kim-demets", "hwang-shih-decani"]
_NORMAL = NormalDist()
_FAR = 8.0  # boundaries and integration end eight standard deviations out


@dataclass(frozen=True)
class GroupSequentialPlan:
    """Boundaries of planned looks, as z statistics.

    Parameters
    ----------
    information
        Information fractions of the looks, the last one 1.
    upper
        Cross above: harm is shown (for two-sided plans also below the negative).
    alpha, sided
        Level, and on which side it is spent.
    method, source
        What it was computed by, and where that is published.
    lower
        Cross below: give up, no harm will be shown; None without futility. Not binding: ignoring it
        keeps the level.
    drift, inflation
        With futility: the standardised effect at which the power holds, and how much larger the sample
        must be than that of a single look.
    """

    information: tuple[float, ...]
    upper: tuple[float, ...]
    alpha: float
    sided: Literal["one", "two"]
    method: str
    lower: tuple[float, ...] | None = None
    drift: float | None = None
    inflation: float | None = None
    source: str = "Lan & DeMets (1983), doi:10.1093/biomet/70.3.659"


def spending(kind: Spending, information: float, alpha: float, *, parameter: float | None = None) -> float:
    """Error that may be spent up to an information fraction.

    Parameters
    ----------
    kind
        "obrien-fleming", "pocock", "kim-demets" (`parameter`: the power, 2 by default) or
        "hwang-shih-decani" (`parameter`: gamma, -4 by default).
    information, alpha
        Fraction in (0, 1], and the whole error to spend.
    parameter
        Of the kinds that have one; None is its default.

    Returns
    -------
    float

    Examples
    --------
    >>> round(spending("obrien-fleming", 0.5, 0.025), 6), spending("pocock", 1.0, 0.05)
    (0.001525, 0.05)
    """
    alpha = require_share("alpha", alpha)
    t = require_number("information", information, above=0.0)
    if t > 1:
        raise DataError(f"information is {information!r}; expected a fraction up to 1")
    require_choice("kind", kind, ("obrien-fleming", "pocock", "kim-demets", "hwang-shih-decani"))
    if t == 1.0:
        return alpha
    if kind == "obrien-fleming":
        return 2 * (1 - _NORMAL.cdf(_NORMAL.inv_cdf(1 - alpha / 2) / math.sqrt(t)))
    if kind == "pocock":
        return alpha * math.log(1 + (math.e - 1) * t)
    if kind == "kim-demets":
        return alpha * t ** require_number("parameter", 2.0 if parameter is None else parameter, above=0.0)
    gamma = require_number("parameter", -4.0 if parameter is None else parameter)
    return alpha * (t if gamma == 0 else math.expm1(-gamma * t) / math.expm1(-gamma))


def spending_boundary(
    information: Sequence[float],
    *,
    alpha: float = 0.05,
    sided: Literal["one", "two"] = "one",
    kind: Spending = "pocock",
    parameter: float | None = None,
) -> GroupSequentialPlan:
    """Boundary that spends the error as planned, for looks at any information fractions.

    Parameters
    ----------
    information
        Information fractions of the looks, growing, the last one 1 when all error is to be spent.
    alpha, sided
        Level; "two" spends half of it on each side.
    kind, parameter
        See `spending`.

    Returns
    -------
    GroupSequentialPlan

    Examples
    --------
    >>> plan = spending_boundary([0.5, 1.0], alpha=0.05, sided="two", kind="obrien-fleming")
    >>> [round(z, 3) for z in plan.upper]
    [2.963, 1.969]
    """
    times = _fractions(information)
    require_choice("sided", sided, ("one", "two"))
    error = alpha / 2 if sided == "two" else alpha
    spent = [spending(kind, t, error, parameter=parameter) for t in times]
    upper: list[float] = []
    state = _start()
    for t, total, before in zip(times, spent, [0.0, *spent[:-1]], strict=True):
        tail = state.moved_to(t)
        z = _solve(lambda z, tail=tail: tail.above(z), total - before)  # type: ignore[misc]
        upper.append(z)
        state = tail.between(-z if sided == "two" else -_FAR, z)
    name = kind if parameter is None else f"{kind} ({parameter:g})"
    return GroupSequentialPlan(tuple(times), tuple(upper), alpha, sided, f"error spending, {name}")


def classical_boundary(
    looks: int,
    *,
    alpha: float = 0.05,
    sided: Literal["one", "two"] = "two",
    kind: Literal["pocock", "obrien-fleming"] = "pocock",
) -> GroupSequentialPlan:
    """The original boundaries for equally spaced looks: constant in z, or constant in the sum.

    Parameters
    ----------
    looks
        Number of equally spaced looks.
    alpha
        Level over all looks.
    sided
        "two" spends half of it on each side.
    kind
        "pocock" is constant in z, "obrien-fleming" in the sum.

    Returns
    -------
    GroupSequentialPlan

    Examples
    --------
    >>> round(classical_boundary(5, kind="pocock").upper[-1], 3)
    2.413
    """
    require_choice("kind", kind, ("pocock", "obrien-fleming"))
    if looks != int(looks) or looks < 1:
        raise DataError(f"looks is {looks!r}; expected a whole number of at least 1")
    times = [(look + 1) / looks for look in range(int(looks))]
    error = require_share("alpha", alpha) / (2 if sided == "two" else 1)

    def heights(constant: float) -> list[float]:
        return [constant if kind == "pocock" else constant / math.sqrt(t) for t in times]

    def total(constant: float) -> float:
        upper = heights(constant)
        lower = [-z for z in upper] if sided == "two" else None
        return sum(crossing_probabilities(times, upper, lower=lower)[0])

    upper = heights(_solve(total, error))
    return GroupSequentialPlan(tuple(times), tuple(upper), alpha, sided, f"{kind}, equal looks")


def futility_plan(
    information: Sequence[float],
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    kind: Spending = "obrien-fleming",
    parameter: float | None = None,
    futility_kind: Spending | None = None,
    futility_parameter: float | None = None,
) -> GroupSequentialPlan:
    """One-sided boundary with a non-binding futility boundary that meets it at the last look.

    Parameters
    ----------
    information
        Information fractions of the looks, growing, the last one 1.
    alpha
        One-sided level.
    power
        Chance of crossing the upper boundary at the drift that the plan is made for; its complement is
        spent on futility.
    kind, parameter
        Spending of the upper error; see `spending`.
    futility_kind, futility_parameter
        Spending of the futility error; the same as the upper one by default.

    Returns
    -------
    GroupSequentialPlan

    Examples
    --------
    >>> thirds = [1 / 3, 2 / 3, 1]
    >>> plan = futility_plan(thirds, alpha=0.025, power=0.9, kind="hwang-shih-decani", parameter=-4,
    ...                      futility_kind="hwang-shih-decani", futility_parameter=-2)
    >>> [round(z, 4) for z in plan.lower], round(plan.inflation, 5)
    ([-0.2387, 0.9411, 1.9992], 1.06988)
    """
    base = spending_boundary(information, alpha=alpha, kind=kind, parameter=parameter)
    beta = 1 - require_share("power", power)
    other = kind if futility_kind is None else futility_kind
    setting = parameter if futility_kind is None else futility_parameter
    spent = [spending(other, t, beta, parameter=setting) for t in base.information]

    def lower_of(drift: float) -> list[float]:
        lower, state = [], _start()
        looks = zip(base.information, base.upper, spent, [0.0, *spent[:-1]], strict=True)
        for t, upper, total, before in looks:
            tail = state.moved_to(t, drift)
            z = _solve(lambda z, tail=tail: tail.below(z), total - before, falling=False)  # type: ignore[misc]
            lower.append(z)
            if z >= upper:
                return [*lower, *([math.inf] * (len(spent) - len(lower)))]
            state = tail.between(z, upper)
        return lower

    fixed = _NORMAL.inv_cdf(1 - alpha) + _NORMAL.inv_cdf(power)
    low, high = fixed * 0.5, fixed * 3
    for _ in range(60):  # a larger drift leaves less below, so the last lower bound rises with it
        middle = (low + high) / 2
        low, high = (low, middle) if lower_of(middle)[-1] >= base.upper[-1] else (middle, high)
    lower = (*lower_of(low)[:-1], base.upper[-1])
    return GroupSequentialPlan(
        base.information,
        base.upper,
        alpha,
        "one",
        f"{base.method}, non-binding futility",
        lower=lower,
        drift=low,
        inflation=(low / fixed) ** 2,
    )


def crossing_probabilities(
    information: Sequence[float],
    upper: Sequence[float],
    *,
    lower: Sequence[float] | None = None,
    drift: float = 0.0,
) -> tuple[list[float], list[float]]:
    """Chance of first crossing above, and below, at each look.

    Parameters
    ----------
    information, upper, lower
        Fractions and z boundaries; without `lower` nothing stops below.
    drift
        Expected z statistic at information 1.

    Returns
    -------
    tuple of list of float
        By look: above, and below.

    Examples
    --------
    >>> above, below = crossing_probabilities([0.5, 1.0], [1.96, 1.96], lower=[-1.96, -1.96])
    >>> round(sum(above) + sum(below), 4)  # two looks at p < .05
    0.0831
    """
    times = _fractions(information)
    if len(upper) != len(times) or (lower is not None and len(lower) != len(times)):
        raise DataError(f"information has {len(times)} looks; expected as many boundaries")
    above, below, state = [], [], _start()
    bottoms = [-_FAR - 4] * len(times) if lower is None else lower
    for t, top, bottom in zip(times, upper, bottoms, strict=True):
        tail = state.moved_to(t, drift)
        above.append(tail.above(top))
        below.append(tail.below(bottom) if lower is not None else 0.0)
        state = tail.between(bottom, top)
    return above, below


class CrossingChance:
    """Chance of crossing a boundary above at any of the looks, for any drift, from one integration.

    The density of the process with a drift is the one without it times `exp(drift b - drift^2 t / 2)`, also
    over the paths that have not crossed so far (Girsanov), so the integration without a drift serves all.

    Examples
    --------
    >>> chance = CrossingChance([0.5, 1.0], [1.96, 1.96])
    >>> round(chance(0.0), 4), round(chance(2.8), 4)
    (0.0416, 0.8206)
    """

    def __init__(self, information: Sequence[float], upper: Sequence[float]) -> None:
        times = _fractions(information)
        if len(upper) != len(times):
            raise DataError(f"information has {len(times)} looks; expected as many boundaries")
        columns: list[tuple[np.ndarray, ...]] = []
        state = _start()
        for t, top in zip(times, upper, strict=True):
            here = np.ones_like(state.points)
            columns.append((state.points, state.weights, here * state.time, here * t, here * top))
            state = state.moved_to(t).between(-_FAR - 4, top)
        points, weights, before, after, tops = (
            np.concatenate(column) for column in zip(*columns, strict=True)
        )
        self._points, self._weights, self._before, self._step = points, weights, before, after - before
        self._short = tops * np.sqrt(after) - points

    def __call__(self, drift: float) -> float:
        """Chance with this expected z statistic at information 1."""
        from scipy.special import ndtr

        tilt = np.exp(drift * self._points - drift**2 * self._before / 2)
        beyond = ndtr((drift * self._step - self._short) / np.sqrt(self._step))
        return min(float((self._weights * tilt) @ beyond), 1.0)


def conditional_power(
    z: float, information: float, *, drift: float | None = None, z_final: float = 1.6448536269514722
) -> float:
    """Chance of ending above `z_final`, given z now.

    Parameters
    ----------
    z, information
        Statistic now, at this fraction of the information.
    drift
        Expected z at the end; None takes the present trend, z / sqrt(information).
    z_final
        The z to end above.

    Returns
    -------
    float

    Examples
    --------
    >>> round(conditional_power(1.0, 0.5, z_final=1.96), 6)
    0.220099
    """
    z, t = require_number("z", z), require_inside("information", information, 0.0, 1.0)
    trend = z / math.sqrt(t) if drift is None else require_number("drift", drift)
    short = (require_number("z_final", z_final) - z * math.sqrt(t) - trend * (1 - t)) / math.sqrt(1 - t)
    return 0.5 * math.erfc(short / math.sqrt(2))


class _State:
    """Density of B(t) over the region in which the plan goes on, at Gauss-Legendre points."""

    def __init__(self, time: float, points: np.ndarray, weights: np.ndarray) -> None:
        self.time, self.points, self.weights = time, points, weights

    def moved_to(self, time: float, drift: float = 0.0) -> _Tail:
        return _Tail(self, time, drift)


def _start() -> _State:
    return _State(0.0, np.zeros(1), np.ones(1))


class _Tail:
    """Where the process is at the next look, before the boundary there is applied."""

    def __init__(self, state: _State, time: float, drift: float) -> None:
        self.time, self.drift, self.state = time, drift, state
        self.spread = math.sqrt(time - state.time)
        self.centre = state.points + drift * (time - state.time)

    def above(self, z: float) -> float:
        from scipy.special import ndtr

        return float(self.state.weights @ ndtr((self.centre - z * math.sqrt(self.time)) / self.spread))

    def below(self, z: float) -> float:
        from scipy.special import ndtr

        return float(self.state.weights @ ndtr((z * math.sqrt(self.time) - self.centre) / self.spread))

    def between(self, lower: float, upper: float) -> _State:
        root, mean = math.sqrt(self.time), self.drift * self.time
        low = max(lower * root, mean - _FAR * root)
        high = min(upper * root, mean + _FAR * root)
        if high <= low:
            return _State(self.time, np.zeros(1), np.zeros(1))
        count = int(min(max(48, 4 * (high - low) / self.spread), 1500))
        nodes, weights = _legendre(48 * -(-count // 48))
        points = low + (high - low) * (nodes + 1) / 2
        steps = (points[:, None] - self.centre[None, :]) / self.spread
        density = np.exp(-(steps**2) / 2) @ self.state.weights / (self.spread * math.sqrt(2 * math.pi))
        return _State(self.time, points, density * weights * (high - low) / 2)


@lru_cache(maxsize=32)
def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes, weights


def _solve(probability: Callable[[float], float], target: float, *, falling: bool = True) -> float:
    """The z at which a tail probability is `target`, cut off eight standard deviations out."""
    low, high = -_FAR, _FAR
    if falling and probability(high) >= target:
        return high
    if not falling and probability(low) >= target:
        return low
    for _ in range(70):
        middle = (low + high) / 2
        enough = probability(middle) >= target
        low, high = (middle, high) if enough == falling else (low, middle)
    return (low + high) / 2


def _fractions(information: Sequence[float]) -> list[float]:
    times = [require_number("information", t, above=0.0) for t in information]
    if not times or times[-1] > 1 + 1e-12 or any(b <= a for a, b in pairwise(times)):
        raise DataError(f"information is {list(information)}; expected growing fractions up to 1")
    return [min(t, 1.0) for t in times]
