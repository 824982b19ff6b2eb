"""Revenue: 3 % of the people pay, lognormally with a shape of 2, so that a few pay for most of it.

The asymptotic confidence sequence on the difference of means, tuned as GrowthBook does (5,000 people) and
as canarykit does (the first gate, here a day). Nothing is wrong with the release; harm is more in the
canary or less, which are the same with equal arms.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.calibrate.judged import judged
from benchmarks.calibrate.ramp import ALPHA, HOURS, SHARES
from canarykit.stats import mixture_test
from canarykit.stats.published_sequences import tuned_k

__all__ = ["heavy_tails"]

BLOCK = 250
TRAFFIC = {
    "ramp": 2000 * np.repeat(SHARES, HOURS // len(SHARES)),
    "500 an hour": np.full(HOURS, 500.0),
    "100 an hour": np.full(HOURS, 100.0),
}


def heavy_tails(rows: int, rng: int = 32) -> Iterator[dict[str, Any]]:
    """False rollbacks under hourly looks, from the first look on and after a day's burn-in."""
    table = "revenue with heavy tails"
    runs = min(rows, 2000)
    for name, people in TRAFFIC.items():
        found = _false(runs, people, rng)
        for rule, share in found.items():
            yield judged(table, f"{rule}: {name}", 1, runs, share, (0.010, 0.019), bound=ALPHA, near=False)


def _false(runs: int, people: np.ndarray, rng: int) -> dict[str, float]:
    units = np.cumsum(people)
    alarms: dict[str, list[np.ndarray]] = {}
    draw = np.random.default_rng(rng)
    for begin in range(0, runs, BLOCK):
        shape = (min(BLOCK, runs - begin), len(people))
        (ours, own), (theirs, other) = (_means(draw, people, units, shape) for _ in range(2))
        variance = own + other
        k = tuned_k(1, tuned_at=5000, sided="lower") * 2 * units
        gate = np.where(variance > 0, 6.3 * variance[:, 23:24] / np.where(variance > 0, variance, 1), 0.0)
        for rule, size in (("tuned at 5,000 people", np.broadcast_to(k, shape)), ("tuned at a day", gate)):
            test = mixture_test(ours - theirs, variance, k=size)
            assert test is not None
            alarm = test.log_e >= -np.log(ALPHA)
            alarms.setdefault(rule, []).append(alarm.any(axis=1))
            alarms.setdefault(f"{rule}, burn-in", []).append(alarm[:, 24:].any(axis=1))
    return {rule: float(np.concatenate(parts).mean()) for rule, parts in alarms.items()}


def _means(
    draw: np.random.Generator, people: np.ndarray, units: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Running mean of the people so far, and its variance."""
    paying = draw.binomial(people.astype(int), 0.03, shape)
    amounts = draw.lognormal(3.0, 2.0, int(paying.sum()))
    place = np.repeat(np.arange(paying.size), paying.ravel())
    total, squares = (
        np.cumsum(np.bincount(place, weights=values, minlength=paying.size).reshape(shape), axis=1)
        for values in (amounts, amounts**2)
    )
    mean = total / units
    return mean, (squares / units - mean**2) / units
