"""A segment that carries the harm: how often one is named, where there is none and where there is one."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.calibrate.ramp import ALPHA
from benchmarks.tables.judged import judged
from canarykit.health.evidence import event_mixtures
from canarykit.health.people.segment_values import MOST_SEGMENTS

__all__ = ["named_segments", "named_share"]

HOURS, PEOPLE, RATE, MARGIN, PROPERTIES = 72, 500, 0.03, 1.25, 2
PARTS = np.array([0.4, 0.2, 0.15, 0.1, 0.05, 0.05, 0.03, 0.02])
BATCH = 250


def named_segments(rows: int, rng: int = 32) -> Iterator[dict[str, Any]]:
    """Two properties of eight segments each, hourly looks over three days, half of the people in the canary.

    First nothing is wrong: by the evidence alone, before the test that segments differ, which names fewer.
    Then one segment of 5 to 40 % of the people has three times the errors.
    """
    table = "harm in one segment"
    share = named_share(rows, None, rng=rng)
    yield judged(table, "no segment, any named", 1, rows, share, bound=ALPHA, near=False)
    for place in (4, 3, 1, 0):
        found = named_share(rows, place, rng=rng)
        yield judged(table, f"a segment of {PARTS[place]:.0%} named", 3, rows, found)


def named_share(rows: int, place: int | None, *, ratio: float = 3.0, rng: int = 32) -> float:
    """Share of releases in which a segment is ever named: any where `place` is None, else that one."""
    draws = np.random.default_rng(rng)
    mixture, needed = event_mixtures(MARGIN)[0], np.log(PROPERTIES * MOST_SEGMENTS / ALPHA)
    passed = 0
    for begin in range(0, rows, BATCH):
        shape = (min(BATCH, rows - begin), HOURS)
        hit = np.zeros(shape[0], dtype=bool)
        parts = np.tile(PARTS, PROPERTIES) if place is None else PARTS[place : place + 1]
        for part in parts:
            expected = RATE * PEOPLE * part / 2
            ours = draws.poisson(expected * (1 if place is None else ratio), shape)
            theirs = draws.poisson(expected, shape)
            hit |= mixture.log_e(ours, ours + theirs, 1.0, 1.0).max(axis=-1) >= needed
        passed += int(hit.sum())
    return passed / rows
