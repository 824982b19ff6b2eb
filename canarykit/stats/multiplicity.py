"""Several metrics at once.

Shipping asks that *all* guardrails are safe: an intersection-union test, each at its full level, without
a correction. Rolling back asks whether *any* guardrail is harmed: a union, so the evidence is weighted.
Segments and exploratory metrics take Holm's or Benjamini and Hochberg's correction.

References
----------
Berger (1982), doi:10.1080/00401706.1982.10487790; Vovk & Wang (2021), doi:10.1214/20-AOS2020; Schultzberg,
Ankargren & Franberg (2024), arXiv:2402.11609.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from canarykit.errors import DataError, part
from canarykit.stats.checks import require_choice, require_numbers, require_share

Correction = Literal["holm", "benjamini-hochberg", "benjamini-yekutieli", "hommel", "bonferroni"]

_NAMES = ("holm", "benjamini-hochberg", "benjamini-yekutieli", "hommel", "bonferroni")


def adjust_p_values(p_values: ArrayLike, *, method: Correction = "holm") -> np.ndarray:
    """P-values that may be compared with the level although several were looked at.

    Parameters
    ----------
    p_values
        One a question.
    method
        "holm", "hommel", "bonferroni" (chance of any false finding), "benjamini-hochberg",
        "benjamini-yekutieli" (share of false findings).

    Returns
    -------
    numpy.ndarray
        In the order of the input.

    Examples
    --------
    >>> adjust_p_values([0.001, 0.008, 0.012, 0.039]).round(3).tolist()
    [0.004, 0.024, 0.024, 0.039]
    """
    require_choice("method", method, _NAMES)
    p = require_numbers("p_values", p_values, at_least=0.0).ravel()
    if not bool(np.all(p <= 1)):
        raise DataError(f"p_values holds {p.max():g}; expected numbers from 0 to 1")
    if p.size == 0:
        return p
    if method == "hommel":
        multitest = part("statsmodels.stats.multitest", what="this statistic", install="statsmodels")
        return np.asarray(multitest.multipletests(p, method=method)[1])
    order = np.argsort(p, kind="stable")
    tests = p.size
    rank = np.arange(1, tests + 1)
    if method in {"holm", "bonferroni"}:  # step down: no p-value is below one that is smaller than it
        factor = tests - rank + 1 if method == "holm" else np.full(tests, tests)
        adjusted = np.maximum.accumulate(p[order] * factor)
    else:  # step up: no p-value is above one that is larger than it
        spread = 1.0 if method == "benjamini-hochberg" else float(np.sum(1 / rank))
        adjusted = np.minimum.accumulate((p[order] * tests * spread / rank)[::-1])[::-1]
    answer = np.empty(tests)
    answer[order] = np.minimum(adjusted, 1)
    return answer


def weighted_harm(
    log_e: ArrayLike, weights: Sequence[float] | None = None, *, alpha: float = 0.05
) -> np.ndarray:
    """Which guardrails show harm, with at most `alpha` for any of them ever being wrong.

    Guardrail i shows harm once w_i E_i >= 1 / alpha, at any look and under any dependence between them.

    Parameters
    ----------
    log_e
        Log E of the guardrails on the last axis.
    weights
        Shares of the error budget, adding up to at most 1; equal by default.
    alpha
        Chance of any false finding, over all looks and guardrails.

    Returns
    -------
    numpy.ndarray
        Of bool, one a guardrail.

    Examples
    --------
    >>> weighted_harm([3.1, 4.0], [0.5, 0.5]).tolist()  # log 20 = 3.0 is not enough for one of two
    [False, True]
    """
    evidence = np.asarray(log_e, dtype=float)
    if bool(np.any(np.isnan(evidence))):
        raise DataError("log_e holds NaN; a guardrail without data has log E = 0")
    if evidence.ndim == 0 or evidence.shape[-1] == 0:
        return np.zeros(evidence.shape, dtype=bool)
    share = _weights(weights, evidence.shape[-1])
    with np.errstate(divide="ignore"):
        return np.asarray(evidence + np.log(share) >= -math.log(require_share("alpha", alpha)))


def mean_log_e(log_e: ArrayLike, weights: Sequence[float] | None = None) -> np.ndarray:
    """Log of the weighted mean of e-values on the last axis: evidence that *some* null is false.

    Parameters
    ----------
    log_e
        Log E on the last axis.
    weights
        Of the e-values, adding up to 1; equal by default.

    Returns
    -------
    numpy.ndarray
        One axis less.

    Examples
    --------
    >>> round(float(mean_log_e([0.0, 4.0])), 4)
    3.325
    """
    evidence = np.asarray(log_e, dtype=float)
    if evidence.ndim == 0 or evidence.shape[-1] == 0 or bool(np.any(np.isnan(evidence))):
        raise DataError("log_e must hold at least one number, and no NaN, on its last axis")
    share = _weights(weights, evidence.shape[-1])
    with np.errstate(divide="ignore"):
        return np.asarray(np.logaddexp.reduce(evidence + np.log(share), axis=-1))


def _weights(weights: Sequence[float] | None, count: int) -> np.ndarray:
    if weights is None:
        return np.full(count, 1 / count)
    share = require_numbers("weights", weights, at_least=0.0)
    if share.shape != (count,) or share.sum() > 1 + 1e-9:
        raise DataError(f"weights is {list(weights)}; expected {count} shares adding up to at most 1")
    return share
