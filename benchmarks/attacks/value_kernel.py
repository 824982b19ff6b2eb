"""Value guardrails of many releases, called at many moments: `value_series` and `value_evidence`, compiled.

Every call sees the people so far, caps them anew at the control's quantile, and weighs all looks up to then.
"""

import math

import numpy as np

from canarykit.compiler import njit
from canarykit.health.evidence.value_series import COMMON_SPREAD_UNITS, MIN_PEOPLE
from canarykit.stats.any_look.sequential import K_AT_GATE

__all__ = ["value_crossed"]

_ROUNDING = 1e-12
_LARGEST = 512
"""Largest values of the control that are kept in order: enough for a quantile of 0.995 of 100,000 people."""


@njit()
def value_crossed(
    edges: np.ndarray,
    entered: np.ndarray,
    canary: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    calls: np.ndarray,
    step: float,
    gate: float,
    cap: float,
    most: float,
    factor: float,
    sign: float,
    needed: float,
    grows: float,
) -> np.ndarray:
    """Whether any call of a release sees any look whose log evidence reaches `needed`.

    Parameters
    ----------
    edges
        Where each release's people, ordered by when they come in, begin in the columns.
    entered, canary, x, y
        Hours, arm, the sum, and the denominator (1 for a mean over people).
    calls, step, gate
        Hours of the calls, hours between looks, and hours until the first gate.
    cap, most
        Quantile of the control at which both arms are capped (0: none), and most per denominator.
    factor, sign, needed
        The canary is compared with so many times the control; 1 asks whether it is above, -1 below.
    grows
        Hours over which a person's sum grows to `x`; 0 for at once.
    """
    runs = edges.size - 1
    found = np.zeros(runs, np.bool_)
    longest = int(calls[-1] / step) + 2
    sums = np.zeros((2, 6, longest))
    evidence, spreads = np.zeros(longest), np.zeros(longest)
    top = np.zeros(_LARGEST)
    for run in range(runs):
        begin, end = edges[run], edges[run + 1]
        seen, controls, kept = begin, 0, 0
        for call in calls:
            looks = math.ceil(call / step - 1e-9)
            while seen < end and entered[seen] < call:
                if not canary[seen]:
                    controls += 1
                    kept = _keep(top, kept, x[seen] / y[seen])
                seen += 1
            limit = most
            if cap > 0 and controls > 0:
                if grows > 0:
                    kept = controls = 0
                    for i in range(begin, seen):
                        if not canary[i]:
                            controls += 1
                            kept = _keep(top, kept, x[i] / y[i] * min(1.0, (call - entered[i]) / grows))
                from_top = (controls - 1) * (1 - cap)
                above = int(from_top)
                rest = from_top - above
                level = top[above] + (rest * (top[above + 1] - top[above]) if rest > 0 else 0.0)
                if level > 0:
                    limit = min(limit, level)
            sums[:, :, :looks] = 0.0
            for i in range(begin, seen):
                arm, look = (0 if canary[i] else 1), min(int(entered[i] / step), looks - 1)
                value = x[i] if grows == 0 else x[i] * min(1.0, (call - entered[i]) / grows)
                value = min(value, limit * y[i])
                sums[arm, 0, look] += 1
                sums[arm, 1, look] += value
                sums[arm, 2, look] += y[i]
                sums[arm, 3, look] += value * value
                sums[arm, 4, look] += value * y[i]
                sums[arm, 5, look] += y[i] * y[i]
            skew = _squared_skewness(
                sums[:, :3, :looks], begin, seen, entered, canary, x, y, call, grows, limit
            )
            if _any_look(
                skew, sums, looks, step, gate, min(call / gate, 1.0), factor, sign, needed, evidence, spreads
            ):
                found[run] = True
                break
    return found


@njit()
def _keep(top: np.ndarray, kept: int, value: float) -> int:
    """Put a value into its place among the largest, in falling order."""
    if kept == top.size and value <= top[kept - 1]:
        return kept
    at = min(kept, top.size - 1)
    while at > 0 and top[at - 1] < value:
        top[at] = top[at - 1]
        at -= 1
    top[at] = value
    return min(kept + 1, top.size)


@njit()
def _any_look(
    skew: float,
    sums: np.ndarray,
    looks: int,
    step: float,
    gate: float,
    progress: float,
    factor: float,
    sign: float,
    needed: float,
    z: np.ndarray,
    spreads: np.ndarray,
) -> bool:
    for arm in range(2):
        for kind in range(6):
            for look in range(1, looks):
                sums[arm, kind, look] += sums[arm, kind, look - 1]
    at_gate, good, last, by_gate = -1, 0, -1, 0
    for look in range(looks):
        z[look] = -np.inf
        n, m = sums[0, 0, look], sums[1, 0, look]
        if n < MIN_PEOPLE or m < MIN_PEOPLE or sums[0, 2, look] == 0 or sums[1, 2, look] == 0:
            continue
        ours, own = _ratio(sums[0, :, look])
        theirs, other = _ratio(sums[1, :, look])
        pooled = ((n - 1) * n * own + (m - 1) * m * other) / (n + m - 2) * (1 / n + factor**2 / m)
        separate, units = own + factor**2 * other, min(n, m) / (1 + skew)
        widest = max(separate, pooled)
        spread = (units * separate + COMMON_SPREAD_UNITS * widest) / (units + COMMON_SPREAD_UNITS)
        if not spread > 0:
            continue
        z[look], spreads[look] = sign * (ours - factor * theirs) / math.sqrt(spread), spread
        good, last = good + 1, look
        if look <= int(gate // step):
            by_gate, at_gate = by_gate + 1, look
    if good == 0:
        return False
    reference = spreads[at_gate if by_gate else last] * progress
    for look in range(looks):
        if z[look] > 0:
            k = K_AT_GATE * reference / spreads[look]
            shrink = k / (1 + k)
            most = z[look] ** 2 * shrink / 2 - math.log1p(k) / 2 + math.log(2.0)
            if (
                most >= needed
                and most + math.log(0.5 * math.erfc(-z[look] * math.sqrt(shrink / 2))) >= needed
            ):
                return True
    return False


@njit()
def _squared_skewness(
    sums: np.ndarray,
    begin: int,
    seen: int,
    entered: np.ndarray,
    canary: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    call: float,
    grows: float,
    limit: float,
) -> float:
    """Squared skewness of the values around their arm's ratio, at the last look of a call."""
    n, top, bottom = sums[:, 0].sum(axis=1), sums[:, 1].sum(axis=1), sums[:, 2].sum(axis=1)
    if bottom[0] == 0 or bottom[1] == 0:
        return 0.0
    second = third = scale = 0.0
    for i in range(begin, seen):
        arm = 0 if canary[i] else 1
        value = x[i] if grows == 0 else x[i] * min(1.0, (call - entered[i]) / grows)
        value = min(value, limit * y[i])
        weight = n[arm] / bottom[arm]
        left = (value - top[arm] / bottom[arm] * y[i]) * weight
        second += left * left
        third += left * left * left
        scale += (value * weight) ** 2
    return (third / second) ** 2 * (seen - begin) / second if second > _ROUNDING * scale else 0.0


@njit()
def _ratio(sums: np.ndarray) -> tuple[float, float]:
    """Ratio of sums and its variance, of units as rows."""
    n, x, y, xx, xy, yy = sums
    ratio = x / y
    spread = (xx - 2 * ratio * xy + ratio**2 * yy) / (n - 1)
    scale = (xx + ratio**2 * yy) / (n - 1)
    return ratio, (spread * n / y**2 if spread > _ROUNDING * scale else 0.0)
