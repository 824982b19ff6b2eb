"""How two things go together, in all people or stratum by stratum: descriptive, never causal.

Feature use and satisfaction, errors and tickets: people choose to use a feature, so an odds ratio here says
who they are as much as what the feature did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from canarykit.errors import DataError, part
from canarykit.stats.checks import require_counts, require_share
from canarykit.stats.estimate import Estimate, HypothesisTest


def odds_ratio(table: ArrayLike, *, confidence: float = 0.95) -> Estimate | None:
    """Odds ratio of a two by two table, with Woolf's interval.

    Parameters
    ----------
    table
        [[with both, with the first only], [with the second only, with neither]], as counts of people.
    confidence
        Coverage, strictly between 0 and 1.

    Returns
    -------
    Estimate or None
        None without people. An empty cell counts as one half, with a note.

    Examples
    --------
    >>> ratio = odds_ratio([[30, 70], [18, 82]])
    >>> round(ratio.value, 6), round(ratio.low, 6), round(ratio.high, 6)
    (1.952381, 1.003331, 3.799135)
    """
    cells = _table(table)
    level = require_share("confidence", confidence)
    total = int(cells.sum())
    if total == 0:
        return None
    empty = bool(np.any(cells == 0))
    used = np.where(cells == 0, 0.5, cells)
    tables = part("statsmodels.stats.contingency_tables", what="this statistic", install="statsmodels")

    answer = tables.Table2x2(used, shift_zeros=False)
    low, high = answer.oddsratio_confint(alpha=1 - level)
    return Estimate(
        value=float(answer.oddsratio),
        low=float(low),
        high=float(high),
        confidence=level,
        method="Woolf" if not empty else "Woolf, one half for an empty cell",
        unit="odds ratio",
        n=total,
        source="Woolf (1955), doi:10.1111/j.1469-1809.1955.tb01348.x",
        standard_error=float(answer.log_oddsratio_se),
        p_value=float(answer.oddsratio_pvalue()),
        null=1.0,
        notes=("a cell is empty: it counts as one half",) if empty else (),
    )


def fisher_exact(table: ArrayLike) -> HypothesisTest | None:
    """Fisher's exact test of a two by two table; the statistic is the conditional odds ratio.

    Parameters
    ----------
    table
        [[with both, with the first only], [with the second only, with neither]], as counts of
        people.

    Returns
    -------
    HypothesisTest or None
        None where a row or a column is empty.

    Examples
    --------
    >>> test = fisher_exact([[30, 70], [18, 82]])
    >>> round(test.p_value, 7), round(test.statistic, 6)
    (0.06791, 1.945841)
    """
    cells = _table(table).astype(int)
    if cells.sum() == 0:
        return None
    from scipy.stats import fisher_exact as scipy_fisher
    from scipy.stats.contingency import odds_ratio as conditional

    return HypothesisTest(
        statistic=float(conditional(cells, kind="conditional").statistic),
        p_value=float(scipy_fisher(cells).pvalue),
        null="rows and columns are independent",
        method="Fisher's exact test",
        n=int(cells.sum()),
        source="Fisher (1935)",
    )


def mantel_haenszel(tables: Sequence[ArrayLike], *, confidence: float = 0.95) -> Estimate | None:
    """Odds ratio common to several two by two tables, one a stratum.

    Parameters
    ----------
    tables
        Two by two tables of counts of people, one a stratum: [[canary with, canary without],
        [control with, control without]].
    confidence
        Coverage, strictly between 0 and 1.

    Returns
    -------
    Estimate or None
        None when no stratum informs about it.

    Examples
    --------
    >>> ratio = mantel_haenszel([[[30, 70], [18, 82]], [[12, 88], [9, 191]]])
    >>> round(ratio.value, 6), round(ratio.low, 6), round(ratio.high, 6)
    (2.230425, 1.304654, 3.813114)
    """
    strata = _informative(tables)
    level = require_share("confidence", confidence)
    if not strata:
        return None
    across = sum(float(s[0, 0] * s[1, 1] / s.sum()) for s in strata)
    against = sum(float(s[0, 1] * s[1, 0] / s.sum()) for s in strata)
    total = int(sum(s.sum() for s in strata))
    name, source = "Mantel-Haenszel", "Mantel & Haenszel (1959), doi:10.1093/jnci/22.4.719"
    if across == 0 or against == 0:
        note = ("one diagonal is empty in every stratum: the interval is unbounded",)
        value = 0.0 if across == 0 else math.inf
        return Estimate(
            value, 0.0, math.inf, level, name, unit="odds ratio", n=total, source=source, notes=note
        )
    contingency = part("statsmodels.stats.contingency_tables", what="this statistic", install="statsmodels")

    answer = contingency.StratifiedTable(np.stack(strata, axis=-1))
    low, high = answer.oddsratio_pooled_confint(alpha=1 - level)
    return Estimate(
        value=float(answer.oddsratio_pooled),
        low=float(low),
        high=float(high),
        confidence=level,
        method=name,
        unit="odds ratio",
        n=total,
        source=source,
        standard_error=float(answer.logodds_pooled_se),
        p_value=float(answer.test_null_odds().pvalue),
        null=1.0,
    )


def homogeneity(tables: Sequence[ArrayLike]) -> HypothesisTest | None:
    """Breslow and Day's test that the odds ratio is the same in every stratum: ask it before segments.

    Parameters
    ----------
    tables
        Two by two tables of counts of people, one a stratum: [[canary with, canary without],
        [control with, control without]].

    Returns
    -------
    HypothesisTest or None
        None with fewer than two strata that inform, or where one diagonal is empty in every stratum: then
        no common odds ratio exists that the strata could differ from.

    Examples
    --------
    >>> round(homogeneity([[[30, 70], [18, 82]], [[12, 88], [9, 191]]]).p_value, 6)
    0.489988
    """
    strata = _informative(tables)
    if len(strata) < 2:
        return None
    cells = np.stack(strata, axis=-1).astype(float)
    total = cells.sum(axis=(0, 1))
    across, against = ((cells[0, i] * cells[1, 1 - i] / total).sum() for i in (0, 1))
    if across == 0 or against == 0:
        return None
    from scipy.special import chdtrc

    row, column = cells[0].sum(axis=0), cells[:, 0].sum(axis=0)
    expected = _expected(row, column, total, across / against)
    others = (expected, row - expected, column - expected, total - row - column + expected)
    statistic = float(((cells[0, 0] - expected) ** 2 * sum(1 / cell for cell in others)).sum())
    return HypothesisTest(
        statistic=statistic,
        p_value=float(chdtrc(len(strata) - 1, statistic)),
        null="the odds ratio is the same in every stratum",
        method="Breslow-Day",
        degrees_of_freedom=len(strata) - 1,
        n=int(sum(s.sum() for s in strata)),
        source="Breslow & Day (1980)",
    )


def _expected(row: np.ndarray, column: np.ndarray, total: np.ndarray, ratio: float) -> np.ndarray:
    """First cell of each stratum, given its margins, if the odds ratio is `ratio`; 1 included."""
    square = 1 - ratio
    linear = total - square * (row + column)
    product = ratio * row * column
    root = np.sqrt(linear**2 + 4 * square * product)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(linear >= 0, 2 * product / (linear + root), (root - linear) / (2 * square))


def _table(table: ArrayLike) -> np.ndarray:
    cells = require_counts("table", table)
    if cells.shape != (2, 2):
        raise DataError(f"table has shape {cells.shape}; expected two rows and two columns of counts")
    return cells


def _informative(tables: Sequence[ArrayLike]) -> list[np.ndarray]:
    """Strata in which both rows and both columns have somebody."""
    cells = [_table(table) for table in tables]
    return [s for s in cells if s.sum(axis=0).min() > 0 and s.sum(axis=1).min() > 0]
