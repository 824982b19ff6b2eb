"""Score statistics of two proportions under a difference that is not zero.

The variance is taken at the proportions that fit best *if the difference were d* (the restricted maximum
likelihood, one root of a cubic), so the interval exists for 0 of 10 against 0 of 20, never leaves [-1, 1],
and agrees with the test of the same margin: U < m exactly when "at least m" is rejected.

References
----------
Miettinen & Nurminen (1985), doi:10.1002/sim.4780040211; Farrington & Manning (1990),
doi:10.1002/sim.4780091208; Mee (1984), doi:10.2307/2531174.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_TINY = 1e-150


def restricted_proportions(
    x_canary: int, n_canary: int, x_control: int, n_control: int, difference: float
) -> tuple[float, float]:
    """The proportions (canary, control) that fit best among those `difference` apart.

    `x_canary`, `n_canary`, `x_control`, `n_control`: counts of both arms; neither arm may be empty.
    `difference`: canary minus control, in [-1, 1].

    Examples
    --------
    >>> canary, control = restricted_proportions(56, 70, 48, 80, 0.0)
    >>> round(canary, 6), round(control, 6)  # no difference: the pooled share
    (0.693333, 0.693333)
    """
    total, successes = n_canary + n_control, x_canary + x_control
    # Miettinen & Nurminen (1985), appendix: L3 p^3 + L2 p^2 + L1 p + L0 = 0 for the control's share
    l3 = float(total)
    l2 = (n_canary + 2 * n_control) * difference - total - successes
    l1 = (n_control * difference - total - 2 * x_control) * difference + successes
    l0 = x_control * difference * (1 - difference)
    shift = l2 / (3 * l3)
    q = shift**3 - l1 * l2 / (6 * l3**2) + l0 / (2 * l3)
    p = math.copysign(math.sqrt(max(shift**2 - l1 / (3 * l3), 0.0)), q)
    if p == 0.0:
        control = -shift
    else:
        angle = (math.pi + math.acos(min(max(q / p**3, -1.0), 1.0))) / 3
        control = 2 * p * math.cos(angle) - shift
    control = _polished(x_canary, n_canary, x_control, n_control, difference, control)
    return min(max(control + difference, 0.0), 1.0), control


def _polished(x1: int, n1: int, x0: int, n0: int, difference: float, control: float) -> float:
    """The cubic's root made exact: it loses half its digits where shares are tiny.

    The log likelihood is concave in the control's share, so its slope has one root between the edges, or
    none, and then the best share is an edge.
    """

    y1, y0 = n1 - x1, n0 - x0

    def slope(p: float) -> tuple[float, float]:
        first = second = 0.0
        q = p + difference
        for count, at, sign in ((x0, p, 1), (y0, 1 - p, -1), (x1, q, 1), (y1, 1 - q, -1)):
            if count:
                share = max(at, _TINY)
                first, second = first + sign * count / share, second - count / share**2
        return first, second

    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    if high - low < 1e-15:
        return low
    # an edge can be best only when nobody has the outcome that is impossible there
    if (x0 == 0 or difference < 0) and (x1 == 0 or difference > 0) and slope(low)[0] <= 0:
        return low
    if (y0 == 0 or difference > 0) and (y1 == 0 or difference < 0) and slope(high)[0] >= 0:
        return high
    at = control if low < control < high else (low + high) / 2
    for _ in range(100):
        first, second = slope(at)
        low, high = (at, high) if first > 0 else (low, at)
        step = at - first / second
        after = step if low < step < high else (low + high) / 2
        if abs(after - at) <= 1e-12 * min(after, 1 - after) or after in (low, high):
            return after
        at = after
    return at


def score_statistic(
    x_canary: int,
    n_canary: int,
    x_control: int,
    n_control: int,
    difference: float,
    *,
    unbiased: bool = True,
) -> float:
    """Distance of the observed difference from `difference`, in its standard errors.

    `unbiased` takes the variance times N / (N - 1), Miettinen & Nurminen; without it, it is Farrington &
    Manning's (the same as Mee's). Zero when nothing was observed that differs from `difference`; infinite
    when the observation is impossible under it.

    Examples
    --------
    >>> round(score_statistic(120, 5000, 100, 5000, 0.01), 4)
    -2.0175
    """
    canary, control = restricted_proportions(x_canary, n_canary, x_control, n_control, difference)
    variance = canary * (1 - canary) / n_canary + control * (1 - control) / n_control
    total = n_canary + n_control
    if unbiased:
        variance *= total / (total - 1)
    distance = x_canary / n_canary - x_control / n_control - difference
    if variance <= 0:
        return 0.0 if abs(distance) < 1e-12 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def score_interval(
    x_canary: int, n_canary: int, x_control: int, n_control: int, z: float, *, unbiased: bool = True
) -> tuple[float, float]:
    """Every difference whose score statistic lies within -z and z."""

    def statistic(difference: float) -> float:
        return score_statistic(x_canary, n_canary, x_control, n_control, difference, unbiased=unbiased)

    observed = x_canary / n_canary - x_control / n_control
    low = last_true(lambda d: statistic(d) <= z, observed, -1.0)
    high = last_true(lambda d: statistic(d) >= -z, observed, 1.0)
    return low, high


def last_true(holds: Callable[[float], bool], inside: float, edge: float) -> float:
    """The point between `inside`, where `holds` is true, and `edge` at which it stops being true."""
    if inside == edge or holds(edge):
        return edge
    for _ in range(200):
        middle = (inside + edge) / 2
        if middle in (inside, edge):
            break
        if holds(middle):
            inside = middle
        else:
            edge = middle
    return inside
