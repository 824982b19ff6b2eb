"""People who change variant when they log in: how often harmless releases fall, and harmful ones pass."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.calibrate.ramp import ALPHA
from benchmarks.tables.judged import judged
from canarykit.health.evidence import event_mixtures
from canarykit.health.evidence.doubts import diluted_ratio, hidden_part
from canarykit.metrics.risk import RiskSets, risk_sets

__all__ = ["DIRECTIONS", "logins", "verdicts"]

HOURS, PEOPLE, RATE, MARGIN, SHARE = 48, 200, 0.05, 1.5, 0.5
"""Hours of the stage, people an hour, share with the event within a day, margin, and share of the canary."""
AFTER, FRAILTY = 2.0, 2.0
"""Mean hours until somebody logs in, and how much more often those people have the event."""
DIRECTIONS = ("both ways", "into the canary", "out of the canary")
MOST = 1000
HOUR = 3_600_000_000


def logins(rows: int, rng: int = 41) -> Iterator[dict[str, Any]]:
    """0 to 10 % of the people log in and change variant, in either direction or in one.

    They log in two hours after their first exposure on average, have the event twice as often as the
    others, and stay in the arm of their first exposure. In one direction only those of one arm change. There
    are hourly looks over two days. A promotion needs safety against what is left of the margin; the last
    lines take the margin as it is. Holding every comparison from 1 % on, as for a flicker, promotes nothing.
    """
    table, rows = "people who change variant by logging in", min(rows, MOST)
    for share, direction in [(0.0, "both ways")] + [(s, d) for s in (0.025, 0.05, 0.1) for d in DIRECTIONS]:
        who = f"{share:.1%} {direction}" if share else "nobody"
        rolled_back, promoted = verdicts(share, direction, 1.0, rows, rng=rng)
        yield judged(table, f"{who}: rolled back", 1, rows, rolled_back, bound=ALPHA)
        yield judged(table, f"{who}: promoted", 1, rows, promoted)
        _, promoted = verdicts(share, direction, MARGIN, rows, rng=rng)
        yield judged(table, f"{who}: promoted", MARGIN, rows, promoted, bound=ALPHA)
        rolled_back, _ = verdicts(share, direction, 2 * MARGIN, rows, rng=rng)
        yield judged(table, f"{who}: rolled back", 2 * MARGIN, rows, rolled_back)
    for direction in DIRECTIONS:
        _, promoted = verdicts(0.1, direction, MARGIN, rows, diluted=False, rng=rng)
        yield judged(table, f"10.0% {direction}, margin as it is: promoted", MARGIN, rows, promoted)


def verdicts(
    share: float, direction: str, ratio: float, rows: int, *, diluted: bool = True, rng: int = 41
) -> tuple[float, float]:
    """Shares of releases that are ever rolled back, and that are promoted at the end.

    Parameters
    ----------
    share, direction
        Part of the people who change variant, and from where to where.
    ratio
        Rate of the event while somebody has the canary, over the rate without.
    rows
        Number of releases.
    diluted
        Whether a promotion needs safety against what is left of the margin.
    """
    draws = np.random.default_rng(rng)
    needed = -np.log(ALPHA)
    fallen = passed = 0
    for _ in range(rows):
        sets, parts = _release(draws, share, direction, ratio)
        harm, safe = event_mixtures(MARGIN)
        if diluted:
            left = diluted_ratio(MARGIN, *parts)
            safe = event_mixtures(max(left, 1.0001))[1]
        harmful = (harm.log_e(*sets.counts(harm.null_ratio)) >= needed).any()
        fallen += bool(harmful)
        passed += bool(not harmful and (safe.log_e(*sets.counts(safe.null_ratio)) >= needed).any())
    return fallen / rows, passed / rows


def _release(
    draws: np.random.Generator, share: float, direction: str, ratio: float
) -> tuple[RiskSets, tuple[float, float]]:
    """What one release shows by the arm of the first exposure, and the parts that may be hidden in it."""
    n, end = HOURS * PEOPLE, float(HOURS)
    enters = np.sort(draws.random(n)) * end
    canary = draws.random(n) < SHARE
    may = {"both ways": np.ones(n, bool), "into the canary": ~canary, "out of the canary": canary}[direction]
    logs_in = draws.random(n) < share
    crosses = may & logs_in
    changed = np.where(crosses, enters + draws.exponential(AFTER, n), 1e6)  # hours: never
    frail = np.where(logs_in, FRAILTY, 1.0) * -np.log1p(-RATE) / 24
    first_rate = frail * np.where(canary, ratio, 1.0)
    next_rate = frail * np.where(canary, 1.0, ratio)
    needed = draws.exponential(1.0, n)  # cumulative hazard at which the event comes
    until_change = first_rate * (changed - enters)
    event = np.where(
        needed <= until_change,
        enters + needed / first_rate,
        changed + (needed - until_change) / next_rate,
    )
    had = event < end
    crossed = changed < end
    after = crossed & had & (event >= changed)
    parts = tuple(hidden_part(arm, crossed, had, after) for arm in (canary, ~canary))
    sets = risk_sets(
        (enters * HOUR).astype(np.int64),
        np.full(n, HOURS * HOUR, dtype=np.int64),
        np.where(had, event * HOUR, -1).astype(np.int64),
        canary,
        origin=0,
        step=HOUR,
        n_intervals=HOURS,
    )
    return sets, (parts[0], parts[1])
