"""The two promises under any looking: every ramp, both controls, hourly, daily and irregular looks.

A healthy release is rolled back, and a release exactly at the margin (1.25 times the errors) is promoted
through every stage, each with at most 5 %. Rules and mixtures are the defaults, evidence goes through the
ramp. For the second promise stages may be left after 12 hours, early ones within a harm budget of 50
people, and last six days at most: as many chances to be wrong as a patient release has.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.calibrate.ramp import ALPHA, on_ramp, ramp_plan
from benchmarks.tables.judged import judged

__all__ = ["looks"]

RAMPS: tuple[tuple[float, ...], ...] = ((1, 5, 10, 25, 50), (5, 25, 50), (10, 50))


def looks(rows: int, rng: int = 27) -> Iterator[dict[str, Any]]:
    """Both promises for three ramps, two controls and three ways of looking."""
    swing = 1 + 0.3 * np.sin(2 * np.pi * np.arange(24) / 24)
    draw = np.random.default_rng(rng)
    start = np.datetime64("2026-09-07T00:00:00")
    for shares in RAMPS:
        minutes = np.sort(draw.choice((len(shares) + 5) * 1440, 80, replace=False))
        irregular = [f"{start + np.timedelta64(int(minute), 'm')}Z" for minute in minutes]
        for control in ("rest", "equal"):
            for name, when in (("hourly", "hourly"), ("daily", "daily"), ("irregular", irregular)):
                options: dict[str, Any] = {"plan": ramp_plan(shares), "control": control, "looks": when}
                options |= {"drift": swing, "mixture": None, "margin": 1.25, "rng": rng}
                setting = f"{'/'.join(str(share) for share in shares)} %, {control}, {name}"
                healthy = on_ramp(1, rows, **options)
                yield judged(
                    "any looking", f"rolled back: {setting}", 1, rows, healthy.probability("roll back"),
                    bound=ALPHA,
                )  # fmt: skip
                edge = on_ramp(1.25, rows, **options, min_dwell="12h", cap="6d", harm_budget=50)
                yield judged(
                    "any looking", f"promoted: {setting}", 1.25, rows, edge.probability("promote"),
                    bound=ALPHA,
                )  # fmt: skip
