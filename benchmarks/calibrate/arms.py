"""Several variants against one control: how often any of them is rolled back, or promoted, by mistake."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.calibrate.ramp import ALPHA
from benchmarks.tables.judged import judged
from canarykit.health.evidence import event_mixtures

__all__ = ["any_rolled_back", "several_arms"]

HOURS, PEOPLE, RATE, MARGIN = 72, 200, 0.02, 1.25
BATCH = 500


def several_arms(rows: int, rng: int = 31) -> Iterator[dict[str, Any]]:
    """Two to five variants with the control's rate, hourly looks over three days, one shared control.

    The evidence of the variants hangs together through the control, and each needs `arms / alpha`. The
    second line is what would happen if each variant were judged as if it were the only one. In the third
    all variants but one are harmless and that one is twice as bad.
    """
    table = "several variants against one control"
    for arms in (2, 3, 5):
        share = any_rolled_back(arms, rows, rng=rng)
        yield judged(table, f"error split over {arms} variants", 1, rows, share, bound=ALPHA, near=False)
        alone = any_rolled_back(arms, rows, split=False, rng=rng)
        yield judged(table, f"each of {arms} at the full level", 1, rows, alone)
        found = any_rolled_back(arms, rows, ratio=2.0, rng=rng)
        yield judged(table, f"one of {arms} variants is bad", 2, rows, found)
        promoted = any_promoted(arms, rows, rng=rng)
        yield judged(
            table, f"all {arms} variants at the margin, any promoted", MARGIN, rows, promoted, bound=ALPHA,
            near=False,
        )  # fmt: skip


def any_rolled_back(arms: int, rows: int, *, split: bool = True, ratio: float = 1.0, rng: int = 31) -> float:
    """Share of releases of which any variant's evidence of harm ever passes its threshold.

    Parameters
    ----------
    arms
        Number of variants beside the control.
    rows
        Number of releases.
    split
        Whether the error is split over the variants.
    ratio
        Rate of the first variant over the control's; the others have the control's.
    """
    needed = np.log((arms if split else 1) / ALPHA)
    return _ever(arms, rows, np.r_[ratio, np.ones(arms - 1)], needed, side=0, rng=rng)


def any_promoted(arms: int, rows: int, *, rng: int = 31) -> float:
    """Share of releases with all variants exactly at the margin of which any is ever shown to be safe."""
    return _ever(arms, rows, np.full(arms, MARGIN), np.log(arms / ALPHA), side=1, rng=rng)


def _ever(arms: int, rows: int, ratios: np.ndarray, needed: float, *, side: int, rng: int) -> float:
    draws = np.random.default_rng(rng)
    mixture, at_risk, passed = event_mixtures(MARGIN)[side], PEOPLE / (arms + 1), 0
    for begin in range(0, rows, BATCH):
        shape = (min(BATCH, rows - begin), HOURS)
        control = draws.poisson(RATE * at_risk, shape)
        hit = np.zeros(shape[0], dtype=bool)
        for ratio in ratios:
            events = draws.poisson(RATE * ratio * at_risk, shape)
            log_e = mixture.log_e(events, events + control, at_risk, at_risk)
            hit |= log_e.max(axis=-1) >= needed
        passed += int(hit.sum())
    return passed / rows
