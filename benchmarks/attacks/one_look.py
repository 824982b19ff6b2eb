"""Intervals for one planned look: scores of surveys, and skewed values of small arms."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import gammaln

from benchmarks.attacks.values import VALUES
from benchmarks.tables.judged import judged
from canarykit.health.evidence.value_series import value_series
from canarykit.health.report.planned_look import planned_look
from canarykit.metrics import Count, Outcomes, Ratio, Total
from canarykit.metrics.unit_outcomes import Before
from canarykit.stats import net_promoter_score

__all__ = ["promoter_scores", "small_arms"]

MISS = 0.05
HOUR = 3_600_000_000


def promoter_scores(rows: int) -> Iterator[dict[str, Any]]:
    """Intervals of a Net Promoter Score that miss it, by enumeration of all answers: no chance in it."""
    table = "Net Promoter Score, an interval that misses (exact)"
    shares = ((0.95, 0.03, 0.02), (0.6, 0.25, 0.15), (0.33, 0.34, 0.33), (0.02, 0.03, 0.95), (0.5, 0.0, 0.5))
    for n in (10, 20, 50, 100):
        counts = [(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)]
        limits = []
        for answers in counts:
            found = net_promoter_score(*answers)
            assert found is not None
            limits.append((found.low, found.high))
        low, high = np.array(limits).T
        each = np.array(counts)
        for share in shares:
            p = np.array(share)
            logs = np.where(each > 0, each * np.log(np.maximum(p, 1e-300)), 0.0).sum(axis=1)
            chance = np.exp(gammaln(n + 1) - gammaln(each + 1).sum(axis=1) + logs)
            truth = 100 * (share[0] - share[2])
            missed = float(chance[(low > truth + 1e-9) | (high < truth - 1e-9)].sum())
            rule = f"{n} answers, {'/'.join(f'{100 * part:g}' for part in share)} %"
            yield judged(table, rule, "", rows, missed, bound=MISS)


def small_arms(rows: int, rng: int = 82) -> Iterator[dict[str, Any]]:
    """Planned-look intervals that miss the difference: a small arm, skewed values, capped and adjusted."""
    table = "values at one planned look, an interval that misses"
    names = ("normal", "lognormal 1, capped", "3 % pay, lognormal 2, capped", "counts, capped at 50")
    names += ("rate per session, capped at 20", "rate per session")
    cells = [(name, few, False) for name, few in product(names, (50, 500))]
    cells += [(name, 50, True) for name in ("lognormal 1, capped", "3 % pay, lognormal 2, capped")]
    for place, (name, few, adjusted) in enumerate(cells):
        draw = np.random.default_rng([rng, place])
        canary = np.arange(1000) < few
        units = pd.DataFrame(
            {"entered_at": pd.to_datetime(np.full(1000, HOUR), unit="us", utc=True), "canary": canary}
        )
        found = np.mean([_missed(draw, name, units, adjusted) for _ in range(rows)])
        rule = f"{name}, {few} of 1,000 people" + (", CUPED" if adjusted else "")
        yield judged(table, rule, 1, rows, float(found), bound=MISS)


def _missed(draw: np.random.Generator, name: str, units: pd.DataFrame, adjusted: bool) -> bool:
    spec, n = VALUES[name], len(units)
    x, y = spec.draw(draw, n)
    ratio = name.startswith("rate")
    metric: Any
    if ratio:
        metric = Ratio(
            Total("failed"), Total("sessions"), cap_at=spec.most if np.isfinite(spec.most) else None
        )
    elif np.isfinite(spec.most):
        metric = Count("it", cap_at=spec.most)
    else:
        metric = Total("paid", "amount", cap_quantile=spec.cap or None, cuped="14d" if adjusted else None)
    before: tuple[Any, ...] = ()
    if adjusted:
        before = (Before(x * draw.lognormal(0, 0.7, n), np.ones(n)),)
    outcomes = Outcomes(units, (metric,), (None,), (x,), (y,), (0,), before)
    end = 24 * HOUR
    series = value_series(outcomes, 0, np.array([end]), end)
    found = planned_look(series, is_mean=not ratio, by_group=False)
    return found is not None and not found.low <= 0 <= found.high
