"""Rules with a boundary for z, on a Brownian motion with drift: 14 days of hourly looks.

One-sided 5 %; the effect is the drift, of which 2.5 is found by a single look at the end with 80 % power.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.tables.judged import judged
from canarykit.stats import mixture_boundary, spending_boundary

__all__ = ["brownian"]

ALPHA = 0.05
DAYS, LOOKS = 14, 336

# (drift, P(cross), mean days) of each rule, each simulated 20,000 times.
BROWNIAN = {
    "p<.05, hourly": {0: (0.380, None), 2.5: (0.930, 3.8), 4: (0.997, 1.9), 10: (1.0, 0.4)},
    "p<.05, daily": {0: (0.194, None), 2.5: (0.890, 5.9), 4: (0.996, 3.3), 10: (1.0, 1.2)},
    "mixture tuned at 10 %": {0: (0.032, None), 2.5: (0.491, 10.3), 4: (0.910, 6.2), 10: (1.0, 1.1)},
    "mixture tuned at 50 %": {0: (0.025, None), 2.5: (0.543, 10.3), 4: (0.933, 6.2), 10: (1.0, 1.4)},
    "constant 3.451": {0: (0.007, None), 2.5: (0.277, 12.4), 4: (0.787, 8.8), 10: (1.0, 1.6)},
    "Lan-DeMets Pocock, daily": {0: (0.052, None), 2.5: (0.716, 9.2), 4: (0.976, 5.5), 10: (1.0, 1.6)},
    "Lan-DeMets O'Brien-Fleming, daily": {
        0: (0.051, None),
        2.5: (0.787, 10.3),
        4: (0.988, 7.3),
        10: (1.0, 3.2),
    },
    "one look at the end": {0: (0.049, None), 2.5: (0.806, 14.0), 4: (0.991, 14.0), 10: (1.0, 14.0)},
}
ALWAYS_VALID = {"mixture tuned at 10 %", "mixture tuned at 50 %", "constant 3.451"}


def brownian(rows: int, rng: int = 20) -> Iterator[dict[str, Any]]:
    """Every rule at every drift, on the same motions."""
    times = np.arange(1, LOOKS + 1) / LOOKS
    daily = np.arange(1, LOOKS + 1) % 24 == 0
    days = np.arange(1, DAYS + 1) / DAYS
    pocock, fleming = (
        np.array(spending_boundary(list(days), alpha=ALPHA, kind=kind, sided="one").upper)
        for kind in ("pocock", "obrien-fleming")
    )
    boundaries = {
        "p<.05, hourly": np.full(LOOKS, 1.6448536),
        "p<.05, daily": np.where(daily, 1.6448536, np.inf),
        "mixture tuned at 10 %": mixture_boundary(6.3 * times / 0.1, ALPHA, "one"),
        "mixture tuned at 50 %": mixture_boundary(6.3 * times / 0.5, ALPHA, "one"),
        "constant 3.451": np.full(LOOKS, 3.4509),
        "Lan-DeMets Pocock, daily": _on_days(daily, pocock),
        "Lan-DeMets O'Brien-Fleming, daily": _on_days(daily, fleming),
        "one look at the end": np.where(times == 1, 1.6448536, np.inf),
    }
    noise = np.random.default_rng(rng).standard_normal((rows, LOOKS)) / np.sqrt(LOOKS)
    motion = np.cumsum(noise, axis=1)
    for rule, wanted in BROWNIAN.items():
        for drift, (share, mean_days) in wanted.items():
            z = (motion + drift * times) / np.sqrt(times)
            crossed = z >= boundaries[rule]
            hit = crossed.any(axis=1)
            taken = np.where(hit, (crossed.argmax(axis=1) + 1) / 24, DAYS)
            bound = ALPHA if drift == 0 and rule in ALWAYS_VALID else None
            yield judged(
                "brownian", rule, drift, rows, float(hit.mean()), share,
                bound=bound, days=(float(taken.mean()), mean_days),
            )  # fmt: skip


def _on_days(daily: np.ndarray, boundary: np.ndarray) -> np.ndarray:
    spread = np.full(len(daily), np.inf)
    spread[daily] = boundary
    return spread
