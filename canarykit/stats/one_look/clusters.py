"""Clusters of very different sizes: how much hangs on any one of them.

The usual cluster-robust variance takes each cluster's residual as it is. But a cluster that is half of its
arm pulls the arm's mean towards itself, so its residual is half of what it should be. Leaving each cluster
out in turn undoes that: cheap, exact for this purpose, and nearly the same where sizes are alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from canarykit.errors import DataError
from canarykit.stats.checks import require_numbers
from canarykit.stats.estimate import Estimate, Sided
from canarykit.stats.one_look.means import t_estimate

_SOURCE = "MacKinnon, Nielsen & Webb (2023), doi:10.1016/j.jeconom.2022.04.001"


def leave_one_out(sums: ArrayLike, sizes: ArrayLike) -> np.ndarray:
    """Change of `sum(sums) / sum(sizes)` when each cluster is left out in turn.

    The variance of the ratio is the sum of their squares times (K - 1) / K. Infinite for a cluster
    without which nobody is left.

    Parameters
    ----------
    sums
        Sum of the metric in each cluster.
    sizes
        People (or the denominator) of each cluster.

    Returns
    -------
    numpy.ndarray
        One a cluster.

    Examples
    --------
    >>> leave_one_out([2, 4, 12], [1, 1, 2]).round(4).tolist()
    [0.8333, 0.1667, -1.5]
    """
    x, y = require_numbers("sums", sums).ravel(), require_numbers("sizes", sizes, at_least=0.0).ravel()
    if x.shape != y.shape:
        raise DataError(f"sums has {x.size} clusters, sizes {y.size}; expected one of each a cluster")
    total = y.sum()
    if not total > 0:
        raise DataError(f"the sizes of {y.size} clusters add up to {total:g}; expected somebody in them")
    rest = total - y
    with np.errstate(divide="ignore"):
        return np.where(rest > 0, (x.sum() / total * y - x) / np.where(rest > 0, rest, 1.0), np.inf)


def cluster_jackknife(
    canary_sums: ArrayLike,
    canary_sizes: ArrayLike,
    control_sums: ArrayLike,
    control_sizes: ArrayLike,
    *,
    confidence: float = 0.95,
    sided: Sided = "two",
    margin: float | None = None,
    unit: str = "number",
) -> Estimate | None:
    """Difference of two means over people when clusters of very different sizes were assigned.

    `cluster_difference` keeps its level where clusters are about alike; where a few of them hold most of
    the people, as organisations do, it finds too much. This form does not.

    Parameters
    ----------
    canary_sums, canary_sizes, control_sums, control_sizes
        One number a cluster: the sum of the metric within it, and its people (or any denominator).
    confidence, sided, margin, unit
        As in `cluster_difference`.

    Returns
    -------
    Estimate or None
        With t limits at K - 2 degrees of freedom, K clusters in both arms together. None when an arm has
        fewer than two clusters or nobody in them; unbounded when one cluster holds a whole arm.

    References
    ----------
    Cameron & Miller (2015), doi:10.3368/jhr.50.2.317; MacKinnon, Nielsen & Webb (2023),
    doi:10.1016/j.jeconom.2022.04.001.

    Examples
    --------
    >>> difference = cluster_jackknife([12, 30, 8], [3, 6, 2], [10, 18, 9], [3, 5, 3])
    >>> round(difference.value, 3), round(difference.standard_error, 3)
    (1.182, 0.524)
    """
    arms = []
    for sums, sizes in ((canary_sums, canary_sizes), (control_sums, control_sizes)):
        x, y = require_numbers("sums", sums).ravel(), require_numbers("sizes", sizes).ravel()
        if x.size < 2 or not y.sum() > 0:
            return None
        changes = leave_one_out(x, y)
        arms.append((float(x.sum() / y.sum()), float((changes**2).sum() * (1 - 1 / x.size)), x.size))
    (value, error, n), (base, other, m) = arms
    notes = []
    if min(n, m) < 20:
        notes.append(f"only {n} and {m} clusters: below 20 an arm the level is not reliable")
    if not np.isfinite(error + other):
        notes.append("one cluster holds everybody of an arm: its spread is unknown")
    return t_estimate(
        value - base,
        (error, other),
        (n, m),
        confidence=confidence,
        sided=sided,
        margin=margin,
        unit=unit,
        method="cluster jackknife",
        source=_SOURCE,
        degrees=float(n + m - 2),
        notes=tuple(notes),
    )
