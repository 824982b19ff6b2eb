"""Sample ratio mismatch: do the arms have the shares that the rules imply?

A mismatch says that people are missing from one arm, and whoever is missing makes every comparison
suspect. The chi-square and the exact test keep their level at one look; the two e-processes at every look.

References
----------
Fabijan et al. (2019), doi:10.1145/3292500.3330722; Lindon & Malek (2022), arXiv:2011.03567.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from canarykit.counting import counted
from canarykit.errors import DataError
from canarykit.stats.any_look.event_process import EventMixture
from canarykit.stats.checks import require_count, require_counts, require_number, require_numbers
from canarykit.stats.estimate import HypothesisTest, SequentialTest
from canarykit.stats.one_look.binomial import two_sided_p_value

SRM_MIXTURE = EventMixture(side="two", sd=0.1, low=0.005, high=0.4, points=40, wide=0.1)
"""Tilts of the odds by up to exp(0.4), both ways: the sizes that lost exposures usually have. One tenth of
the weight is for larger ones, which costs the others log(10 / 9)."""

_NULL = "arms have the shares that the rules imply"
_SOURCE = "Lindon & Malek (2022), arXiv:2011.03567"


def srm_chi_square(counts: ArrayLike, shares: ArrayLike) -> HypothesisTest | None:
    """Pearson's chi-square test of the arm counts; for one planned look.

    Parameters
    ----------
    counts
        Units per arm.
    shares
        Expected shares or weights, in the same order; they need not sum to one. Arms with a weight of
        zero are left out.

    Returns
    -------
    HypothesisTest or None
        None when nobody was assigned. Products that look daily use 0.001 as the level because of it.

    Examples
    --------
    >>> test = srm_chi_square([910, 1090], [0.5, 0.5])
    >>> round(test.statistic, 2), f"{test.p_value:.5e}"
    (16.2, '5.69941e-05')
    """
    observed, expected, notes = _arms(counts, shares)
    total = float(observed.sum())
    if total == 0:
        return None
    from scipy.special import chdtrc

    statistic = float(((observed - total * expected) ** 2 / (total * expected)).sum())
    freedom = observed.size - 1
    smallest = float(total * expected.min())
    if smallest < 5:
        notes = (*notes, f"smallest expected count is {smallest:.2g}: the chi-square is rough below 5")
    return HypothesisTest(
        statistic=statistic,
        p_value=float(chdtrc(freedom, statistic)),
        null=_NULL,
        method="chi-square",
        degrees_of_freedom=freedom,
        n=int(total),
        source="Pearson (1900)",
        notes=notes,
    )


def srm_exact(canary: int, control: int, *, share: float = 0.5) -> HypothesisTest | None:
    """Exact two-sided binomial test of the canary's share; for one planned look, any size.

    Parameters
    ----------
    canary, control
        Units in each arm.
    share
        Expected share of the canary among both arms, strictly between 0 and 1.

    Returns
    -------
    HypothesisTest or None
        None when nobody was assigned.

    Examples
    --------
    >>> round(srm_exact(2023, 1977).p_value, 7)
    0.4767713
    """
    x, y = require_count("canary", canary), require_count("control", control)
    expected = require_number("share", share, above=0.0)
    if not expected < 1:
        raise DataError(f"share is {share!r}; expected 0 < share < 1")
    if x + y == 0:
        return None
    return HypothesisTest(
        statistic=x / (x + y),
        p_value=two_sided_p_value(x, x + y, expected),
        null=_NULL,
        method="exact binomial",
        n=x + y,
        source="Clopper & Pearson (1934); two-sided by the method of small p-values",
    )


def sequential_srm(
    counts: ArrayLike,
    shares: ArrayLike,
    *,
    concentration: float = 100.0,
    prior: ArrayLike | None = None,
) -> SequentialTest | None:
    """Multinomial e-process of the arm counts: looked at after every interval, with shares that stay.

    Parameters
    ----------
    counts
        New units per interval and arm: (..., looks, arms).
    shares
        Expected shares or weights of the arms.
    concentration
        Weight of the Dirichlet prior around the shares, in units. 100 finds gross mismatches soon,
        10,000 is the choice of Optimizely's `ssrm-test`.
    prior
        Dirichlet parameters themselves, instead of `concentration * shares`.

    Returns
    -------
    SequentialTest or None
        None when there was no look. For a ramp, whose shares change, use `sequential_srm_tilt`.

    Examples
    --------
    >>> days = [[500, 500], [480, 540], [470, 560], [450, 580]]
    >>> sequential_srm(days, [0.5, 0.5]).log_e.round(4).tolist()
    [-1.2012, -0.6798, 1.8465, 7.5184]
    """
    observed, expected, _ = _arms(counts, shares)
    if observed.ndim < 2:
        raise DataError(f"counts has shape {observed.shape}; expected (looks, arms), one row an interval")
    weight = require_number("concentration", concentration, above=0.0)
    a = weight * expected if prior is None else require_numbers("prior", prior)
    if a.shape != expected.shape or not bool(np.all(a > 0)):
        raise DataError(f"prior is {prior!r}; expected {expected.size} numbers above 0, one an arm")
    if observed.shape[-2] == 0:
        return None
    from scipy.special import gammaln

    so_far = np.cumsum(observed, axis=-2)
    units = so_far.sum(axis=-1)
    # log B(a + n) - log B(a) - sum n log p0
    log_e = (gammaln(a + so_far) - gammaln(a) - so_far * np.log(expected)).sum(axis=-1)
    log_e += gammaln(a.sum()) - gammaln(a.sum() + units)
    return SequentialTest(
        log_e=log_e,
        null=_NULL,
        method="Dirichlet-multinomial e-process",
        n=int(observed.sum()),
        source=_SOURCE,
    )


def sequential_srm_tilt(
    counts: ArrayLike, shares: ArrayLike, *, mixture: EventMixture = SRM_MIXTURE
) -> SequentialTest | None:
    """E-process of the arm counts for shares that may change from interval to interval, as on a ramp.

    Parameters
    ----------
    counts
        New units per interval and arm: (..., looks, arms).
    shares
        Expected shares or weights: one row for all intervals, or (looks, arms).
    mixture
        Tilts of the odds that are looked for.

    Returns
    -------
    SequentialTest or None
        None when there was no look. With more than two arms, the average over each arm against the rest.

    Examples
    --------
    >>> days = [[500, 500], [480, 540], [470, 560], [450, 580]]
    >>> sequential_srm_tilt(days, [0.5, 0.5]).log_e.round(4).tolist()
    [-0.7302, -0.2597, 2.0857, 7.4779]
    """
    observed = require_counts("counts", counts)
    weights = require_numbers("shares", shares, at_least=0.0)
    if observed.ndim < 2 or weights.shape[-1:] != observed.shape[-1:] or observed.shape[-1] < 2:
        shapes = f"counts has shape {observed.shape}, shares {weights.shape}"
        raise DataError(f"{shapes}; expected (looks, arms) with at least two arms, in the same order")
    if observed.shape[-2] == 0:
        return None
    weights = np.broadcast_to(weights, np.broadcast_shapes(weights.shape, observed.shape[-2:]))
    if bool(np.any((observed > 0) & (weights <= 0))):
        raise DataError("units were counted in an arm whose expected share is 0 in that interval")
    arms = (0,) if observed.shape[-1] == 2 else tuple(range(observed.shape[-1]))
    total, weight = observed.sum(axis=-1), weights.sum(axis=-1)
    each = []
    for arm in arms:
        rest = weight - weights[..., arm]
        both = (weights[..., arm] > 0) & (rest > 0)  # with one arm only there is nothing to compare
        x = np.where(both, observed[..., arm], 0.0)
        each.append(mixture.log_e(x, np.where(both, total, 0.0), weights[..., arm], rest))
    return SequentialTest(
        log_e=np.logaddexp.reduce(np.stack(each), axis=0) - np.log(len(arms)),
        null=_NULL,
        method="tilted binomial mixture e-process",
        n=int(observed.sum()),
        source=_SOURCE,
    )


def _arms(counts: ArrayLike, shares: ArrayLike) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Counts and normalised shares of the arms that should get anybody."""
    observed, weights = require_counts("counts", counts), require_numbers("shares", shares, at_least=0.0)
    if weights.ndim != 1 or observed.shape[-1:] != weights.shape:
        raise DataError(
            f"counts has shape {observed.shape}, shares {weights.shape}; expected one share an arm"
        )
    used = weights > 0
    if used.sum() < 2:
        raise DataError(f"shares is {weights.tolist()}; expected at least two arms with a share above 0")
    dropped = int(observed[..., ~used].sum())
    notes = (f"{counted(dropped, 'units')} in arms with an expected share of 0 left out",) if dropped else ()
    return observed[..., used], weights[used] / weights[used].sum(), notes
