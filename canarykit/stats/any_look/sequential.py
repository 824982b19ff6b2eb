"""One boundary for everything that is roughly normal and looked at often.

An estimate with variance V is tested against a mixture of effects with variance tau^2; only k = tau^2 / V
matters. The mixture's likelihood ratio E passes 1 / a with probability at most a, ever, when there is no
effect. Mixture SPRT, asymptotic confidence sequences and the sequential intervals of several products are
this boundary with different choices of k. Two-sided mixtures are normal, one-sided ones half-normal.

References
----------
Robbins (1970), doi:10.1214/aoms/1177696786; Johari, Koomen, Pekelis & Walsh (2022),
doi:10.1287/opre.2021.2135; Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), doi:10.1214/24-AOS2408.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from canarykit.errors import DataError
from canarykit.stats.checks import lowest, require_choice, require_number, require_numbers, require_share
from canarykit.stats.estimate import ConfidenceSequence, SequentialTest, Sided

MixtureSide = Literal["one", "two"]
K_AT_GATE = 6.3
"""k at the first planned gate: near where the one-sided boundary at 5 % is lowest (`best_k`)."""
_SOURCE = "Waudby-Smith et al. (2024), doi:10.1214/24-AOS2408; Robbins (1970)"


def mixture_log_e(z: ArrayLike, k: ArrayLike, sided: MixtureSide = "one") -> np.ndarray:
    """Log E of a z statistic.

    Parameters
    ----------
    z
        Estimate over its standard error. One-sided evidence grows with positive z: flip its sign to ask
        for the other direction.
    k
        Mixture variance over the variance of the estimate; it grows as data comes in.
    sided
        "one" (half-normal mixture) or "two" (normal mixture).

    Returns
    -------
    numpy.ndarray
        In the shape of `z` and `k` together.

    Examples
    --------
    >>> round(float(mixture_log_e(2.766071, 6.328860)), 4)  # log 20
    2.9957
    """
    from scipy.special import log_ndtr

    require_choice("sided", sided, ("one", "two"))
    z, k = require_numbers("z", z), require_numbers("k", k, at_least=0.0)
    shrink = k / (1 + k)
    log_e = z**2 * shrink / 2 - np.log1p(k) / 2
    return log_e if sided == "two" else log_e + math.log(2) + log_ndtr(z * np.sqrt(shrink))


def mixture_boundary(
    k: ArrayLike, alpha: float = 0.05, sided: MixtureSide = "one", *, closed_form: bool = False
) -> np.ndarray:
    """The z at which E reaches 1 / alpha.

    Parameters
    ----------
    k
        Mixture variance over the variance of the estimate; at 0 the boundary is infinite.
    alpha
        Chance of ever crossing without an effect.
    sided
        "one" or "two".
    closed_form
        For "one": the slightly larger boundary that can be written down, instead of the root.

    Returns
    -------
    numpy.ndarray
        In the shape of `k`.

    Examples
    --------
    >>> float(mixture_boundary(7.936155, sided="two").round(6)), float(mixture_boundary(6.328860).round(6))
    (3.035209, 2.766071)
    """
    require_choice("sided", sided, ("one", "two"))
    alpha = require_share("alpha", alpha)
    k = require_numbers("k", k, at_least=0.0)
    with np.errstate(divide="ignore"):
        widen = (1 + k) / k
    if sided == "two":
        return np.sqrt(widen * (np.log1p(k) - 2 * math.log(alpha)))
    closed = np.sqrt(2 * widen * np.log1p(np.sqrt(1 + k) / (2 * alpha)))
    if closed_form:
        return closed
    low, high = np.zeros_like(closed), np.where(np.isfinite(closed), closed, 1.0)
    for _ in range(60):
        middle = (low + high) / 2
        crossed = mixture_log_e(middle, k, "one") >= -math.log(alpha)
        low, high = np.where(crossed, low, middle), np.where(crossed, middle, high)
    return np.where(np.isfinite(closed), high, np.inf)


def best_k(alpha: float = 0.05, sided: MixtureSide = "one") -> float:
    """The k at which the boundary is lowest: where a decision is wanted, k should be near it.

    Parameters
    ----------
    alpha
        Chance of ever crossing without an effect.
    sided
        "one" or "two".

    Returns
    -------
    float

    Examples
    --------
    >>> round(best_k(0.05, "two"), 2), round(best_k(0.05, "one"), 2)
    (8.21, 6.69)
    """
    return math.exp(lowest(lambda log_k: float(mixture_boundary(math.exp(log_k), alpha, sided)), -7.0, 9.0))


def tune_k(
    variance: ArrayLike,
    *,
    gate_variance: float,
    k_at_gate: float = K_AT_GATE,
) -> np.ndarray:
    """k at each look, tuned so that the evidence is sharpest at the first planned gate.

    Parameters
    ----------
    variance
        Variance of the estimate at each look.
    gate_variance
        Variance expected at the first planned gate, from the plan and not from the data being judged.
    k_at_gate
        The default is near the best for a one-sided 5 % level; see `best_k` for others.

    Returns
    -------
    numpy.ndarray
        In the shape of `variance`.

    Examples
    --------
    >>> tune_k([4.0, 1.0, 0.5], gate_variance=1.0).tolist()
    [1.575, 6.3, 12.6]
    """
    variance = require_numbers("variance", variance, at_least=0.0)
    gate = require_number("gate_variance", gate_variance, above=0.0)
    require_number("k_at_gate", k_at_gate, above=0.0)
    if not bool(np.all(variance > 0)):
        raise DataError("variance is 0 at some look: without spread there is no evidence either way")
    return k_at_gate * gate / variance


def confidence_sequence(
    estimate: ArrayLike,
    variance: ArrayLike,
    *,
    k: ArrayLike | None = None,
    tau2: float | None = None,
    confidence: float = 0.95,
    sided: Sided = "two",
    closed_form: bool = False,
    running: bool = False,
    unit: str = "points",
    n: int | None = None,
) -> ConfidenceSequence:
    """Asymptotic confidence sequence of an effect: an interval at every look, all valid together.

    Parameters
    ----------
    estimate, variance
        Effect and its variance at each look, cumulative over the looks; time on the last axis.
    k, tau2
        Exactly one of them: k at each look (see `tune_k`), or the mixture variance tau^2, which is the
        square of the effects one expects (then k = tau2 / variance).
    confidence
        Chance that all intervals hold.
    sided
        "two", or only the "lower" (harm) or "upper" (safety) limits.
    closed_form
        The conservative one-sided boundary that needs no root.
    running
        Intersect with all earlier intervals. Off by default: the normal approximation is at its worst
        in the first looks, and an intersection would keep their errors.
    unit
        Unit of the answer for display, such as "ms" or "EUR"; it changes no number.
    n
        People behind it, for display; None leaves it out.

    Returns
    -------
    ConfidenceSequence or None
        None when there was no look.

    Examples
    --------
    >>> sequence = confidence_sequence([0.02], [1e-4], tau2=0.02**2)
    >>> round(sequence.last.low, 6), round(sequence.last.high, 6)
    (-0.010824, 0.050824)
    """
    alpha = 1 - require_share("confidence", confidence)
    require_choice("sided", sided, ("two", "lower", "upper"))
    value = np.atleast_1d(require_numbers("estimate", estimate))
    variance = np.atleast_1d(require_numbers("variance", variance, at_least=0.0))
    ratio = _mixture_ratio(variance, k, tau2)
    error = np.sqrt(variance)
    z = mixture_boundary(ratio, alpha, "two" if sided == "two" else "one", closed_form=closed_form)
    with np.errstate(invalid="ignore"):
        half = np.where(error > 0, z * error, np.inf)  # no variance is no information, not certainty
    low = value - half if sided != "upper" else np.full(half.shape, -np.inf)
    high = value + half if sided != "lower" else np.full(half.shape, np.inf)
    if running:
        low, high = np.maximum.accumulate(low, axis=-1), np.minimum.accumulate(high, axis=-1)
    return ConfidenceSequence(
        value=np.broadcast_to(value, half.shape),
        low=low,
        high=high,
        confidence=confidence,
        method="normal mixture confidence sequence",
        sided=sided,
        unit=unit,
        n=n,
        source=_SOURCE,
        standard_error=np.broadcast_to(error, half.shape),
    )


def mixture_test(
    estimate: ArrayLike,
    variance: ArrayLike,
    *,
    k: ArrayLike | None = None,
    tau2: float | None = None,
    null: float = 0.0,
    side: Literal["harm", "safe", "two"] = "harm",
    n: int | None = None,
) -> SequentialTest | None:
    """Evidence at every look that an effect is above, below, or not equal to `null`.

    Parameters
    ----------
    estimate, variance, k, tau2
        As in `confidence_sequence`; time on the last axis. A variance of zero gives no evidence.
    null
        The effect under the null; a margin together with `side="safe"` asks for non-inferiority.
    side
        "harm": above `null`; "safe": below it; "two": either.
    n
        People behind it, for display; None leaves it out.

    Returns
    -------
    SequentialTest or None
        None when there was no look.

    Examples
    --------
    >>> round(mixture_test([0.03], [1e-4], tau2=0.02**2).e_value, 4)
    32.6151
    """
    require_choice("side", side, ("harm", "safe", "two"))
    value = np.atleast_1d(require_numbers("estimate", estimate)) - require_number("null", null)
    variance = np.atleast_1d(require_numbers("variance", variance, at_least=0.0))
    ratio = _mixture_ratio(variance, k, tau2)
    if value.size == 0:
        return None
    informative = variance > 0
    z = np.where(informative, value / np.sqrt(np.where(informative, variance, 1.0)), 0.0)
    log_e = mixture_log_e(-z if side == "safe" else z, ratio, "two" if side == "two" else "one")
    relation = {"harm": "at most", "safe": "at least", "two": "equal to"}[side]
    return SequentialTest(
        log_e=np.where(informative, log_e, 0.0),
        null=f"effect {relation} {null:g}",
        method="normal mixture e-process (asymptotic)",
        n=n,
        source=_SOURCE,
    )


def _mixture_ratio(variance: np.ndarray, k: ArrayLike | None, tau2: float | None) -> np.ndarray:
    if (k is None) == (tau2 is None):
        raise DataError("give exactly one of k and tau2: k = tau2 / variance")
    if k is not None:
        return np.atleast_1d(require_numbers("k", k, at_least=0.0))
    spread = require_number("tau2", tau2, above=0.0)
    return np.where(variance > 0, spread / np.where(variance > 0, variance, 1.0), 0.0)
