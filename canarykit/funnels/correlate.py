"""What the people who converted did, or are, that the others did not: PostHog's correlation analysis.

Between a person's first step and the end of that person's attempt, which other events happened? Each is
counted once a person, among those who converted and those who did not, and rated by its odds ratio.
PostHog reports the ratio alone; here it has an interval, an exact test and a correction for the number of
things looked at. It finds things to look into: nobody was randomised to do them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from canarykit.display import Column, Note, Result, Table

__all__ = ["FunnelCorrelations", "correlation_rows"]

Kind = Literal["events", "properties", "event properties"]


@dataclass(frozen=True, repr=False, eq=False)
class FunnelCorrelations(Result):
    """Events or properties that go with converting, strongest first.

    Attributes
    ----------
    kind
        "events", "properties" (of the person) or "event properties".
    variant
        The variant looked at; None for everybody.
    successes, failures
        People who did every step, and people who entered and did not.
    rows
        One mapping per name: `name`, `success_count` and `failure_count` (distinct people with it),
        `odds_ratio` as PostHog computes it (one added to every cell), `low` and `high`, `p` (Fisher's
        exact test), `p_holm` (corrected for every name tested), `direction` ("success" or "failure").
    skewed
        One side is more than ten times the other: ratios say little.
    n_tested, confidence
        Names that were frequent enough to test; coverage of each interval.
    """

    kind: Kind
    variant: str | None
    successes: int
    failures: int
    rows: tuple[Mapping[str, Any], ...]
    skewed: bool
    n_tested: int
    confidence: float = 0.95
    notes: tuple[Note, ...] = ()

    def _headline(self) -> str:
        whom = "" if self.variant is None else f" of {self.variant}"
        base = f"{self.successes:,} people{whom} converted and {self.failures:,} did not"
        sure = [row for row in self.rows if row["p_holm"] < 1 - self.confidence]
        if not self.rows:
            return f"{base}: nothing to tell them apart by"
        if not sure:
            return f"{base}: none of {self.n_tested:,} {self.kind} tells them apart after correction"
        found = ", ".join(str(row["name"]) for row in sorted(sure, key=lambda row: row["p_holm"])[:3])
        return f"{base}: {len(sure)} of {self.n_tested:,} {self.kind} tell them apart, first {found}"

    def _table(self) -> Table:
        columns = (
            Column("name", self.kind.removesuffix("s")),
            Column("direction", "goes with"),
            Column("success_count", "converted", "count"),
            Column("failure_count", "did not", "count"),
            Column("odds_ratio", "odds ratio", "ratio"),
            Column("low", "low", "ratio"),
            Column("high", "high", "ratio"),
            Column("p", "p (Fisher)", "p"),
            Column("p_holm", "p (Holm)", "p"),
        )
        return Table.of(columns, self.rows)

    def _extra_json(self) -> dict[str, Any]:
        names = ("kind", "variant", "successes", "failures", "skewed", "n_tested", "confidence")
        return {name: getattr(self, name) for name in names}


def is_skewed(successes: int, failures: int) -> bool:
    """Whether one side is empty or more than ten times the other.

    Examples
    --------
    >>> is_skewed(50, 5), is_skewed(51, 5), is_skewed(0, 7)
    (False, True, True)
    """
    few, many = sorted((successes, failures))
    return few == 0 or many / few > 10


def correlation_rows(
    names: Sequence[str],
    success_counts: Iterable[int],
    failure_counts: Iterable[int],
    successes: int,
    failures: int,
    *,
    least: float | None = None,
    most: int = 10,
    confidence: float = 0.95,
) -> tuple[list[dict[str, Any]], int]:
    """Odds ratios of names, strongest first, with intervals and Holm's correction.

    Parameters
    ----------
    names
        What was counted.
    success_counts, failure_counts
        Distinct people with each name among those who converted, and among the others.
    successes, failures
        All people of each side.
    least
        Fewest people with a name for it to be tested; the default is PostHog's: 25, or 2 % of
        everybody where that is less.
    most
        How many names to keep of each direction.
    confidence
        Coverage of each interval: Wald's on the log of the same smoothed table.

    Returns
    -------
    tuple
        Rows (see `FunnelCorrelations.rows`) and the number of names that were tested.

    References
    ----------
    Haldane (1940) and Anscombe (1956) for adding to every cell; Fisher (1935); Holm (1979),
    doi:10.2307/4615733.

    Examples
    --------
    >>> rows, tested = correlation_rows(["help opened"], [3], [30], 60, 40)
    >>> rows[0]["direction"], round(rows[0]["odds_ratio"], 3), tested
    ('failure', 0.024, 1)
    """
    if successes == 0 or failures == 0:
        return [], 0
    from scipy.stats import fisher_exact, norm
    from statsmodels.stats.multitest import multipletests

    least = min(25, 0.02 * (successes + failures)) if least is None else least
    z = float(norm.ppf((1 + confidence) / 2))
    rows = []
    for name, s, f in zip(names, success_counts, failure_counts, strict=True):
        s, f = int(s), int(f)
        if s + f < least:
            continue
        cells = (s + 1, failures - f + 1, successes - s + 1, f + 1)
        log_ratio = math.log(cells[0] * cells[1] / (cells[2] * cells[3]))
        half = z * math.sqrt(sum(1 / cell for cell in cells))
        table = [[s, f], [successes - s, failures - f]]
        rows.append(
            {
                "name": name,
                "direction": "success" if log_ratio > 0 else "failure",
                "success_count": s,
                "failure_count": f,
                "odds_ratio": cells[0] * cells[1] / (cells[2] * cells[3]),
                "low": math.exp(log_ratio - half),
                "high": math.exp(log_ratio + half),
                "p": min(float(fisher_exact(table).pvalue), 1.0),
            }
        )
    if not rows:
        return [], 0
    corrected = multipletests(np.array([row["p"] for row in rows]), method="holm")[1]
    for row, p in zip(rows, corrected, strict=True):
        row["p_holm"] = float(p)
    good = sorted(
        (r for r in rows if r["direction"] == "success"), key=lambda r: (-r["odds_ratio"], r["name"])
    )
    bad = sorted((r for r in rows if r["direction"] == "failure"), key=lambda r: (r["odds_ratio"], r["name"]))
    return [*good[:most], *bad[:most]], len(rows)
