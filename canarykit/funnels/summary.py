"""The numbers of a funnel chart, from the engine's entries: counts, step times, bins, period rates.

Rules are PostHog's: a step counts the actors that have its bit; the time of a step is the gap from the
previous recorded time, gaps of exactly zero left out of averages and medians; the total is over those who
reached the last step, zeros included.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import starmap

import numpy as np

from canarykit.funnels.merge import step_counts
from canarykit.funnels.query import FunnelQuery
from canarykit.funnels.refuse import check_range, refuse_optional
from canarykit.funnels.types import FunnelRun, TrendRun

__all__ = ["StepTable", "TimeToConvert", "step_table", "time_to_convert", "trend_rates"]

MICROSECONDS = 1e6
MANY_ENTRIES = 200_000  # from here on steps are summed up side by side
AUTO_BINS, MOST_BINS = 60, 90
WIDTH_WITHOUT_SPREAD = 60


@dataclass(frozen=True, eq=False)
class StepTable:
    """Counts and times per breakdown label (rows) and step (columns); NaN where nobody has a time."""

    counts: np.ndarray
    average_seconds: np.ndarray
    median_seconds: np.ndarray
    total_median_seconds: float | None


@dataclass(frozen=True, eq=False)
class TimeToConvert:
    """Seconds from one step to another, one sample per entry, and their histogram.

    `bin_starts[i]` opens bin i, `bin_width` seconds wide; there is one bin more than asked for, in which
    the longest time can fall.
    """

    samples: np.ndarray
    value: np.ndarray
    bin_starts: np.ndarray
    bin_counts: np.ndarray
    bin_width: int
    average_seconds: float | None
    median_seconds: float | None


def step_table(run: FunnelRun, query: FunnelQuery) -> StepTable:
    """Counts, average and median seconds per label and step."""
    n, n_labels = query.n_steps, len(run.labels)
    average = np.full((n_labels, n), np.nan)
    median = np.full((n_labels, n), np.nan)

    def times(label: int, rows: np.ndarray) -> None:
        for k in range(1, n):
            rows = rows.compress(run.reached[rows] >= k) if k > 1 else rows  # nobody else has a time there
            gaps = run.times[:, k][rows] - run.times[:, k - 1][rows]
            gaps = gaps.compress(gaps > 0)
            if len(gaps):
                average[label, k] = int(gaps.sum()) / len(gaps) / MICROSECONDS  # whole sum: any order of rows
                median[label, k] = float(np.median(gaps)) / MICROSECONDS

    rows = np.flatnonzero(run.reached >= 1)
    parts = list(enumerate(_by_value(rows, run.value[rows], n_labels)))
    if len(run) < MANY_ENTRIES:
        list(starmap(times, parts))
    else:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(times, *zip(*parts, strict=True)))
    counts = step_counts(run, query)
    done = np.flatnonzero(run.reached == n - 1)
    total = run.times[done, n - 1] - run.times[done, 0]
    return StepTable(counts, average, median, float(np.median(total)) / MICROSECONDS if len(total) else None)


def _by_value(numbers: np.ndarray, value: np.ndarray, n_labels: int) -> list[np.ndarray]:
    """The numbers of each value; `compress` takes a random mask several times faster than indexing."""
    if n_labels == 1:
        return [numbers]
    if n_labels <= 4:
        return [numbers.compress(value == label) for label in range(n_labels)]
    order = np.argsort(value, kind="stable")
    return np.split(numbers[order], np.searchsorted(value[order], np.arange(1, n_labels)))


def time_to_convert(
    run: FunnelRun,
    query: FunnelQuery,
    from_step: int | None = None,
    to_step: int | None = None,
    bin_count: int | None = None,
) -> TimeToConvert:
    """Seconds from `from_step` to `to_step` of every entry that reached `to_step`, in bins.

    Breakdown values are pooled, as in PostHog: under `all_events` or `step` attribution one actor may
    contribute several times. Automatic bins are the cube root of the number of samples, rounded up, 1 to 60;
    a given number is kept between 1 and 90.
    """
    refuse_optional(query, chart="time to convert")
    start, end = check_range(query, from_step, to_step)
    arrived = run.reached >= end
    micros = run.times[arrived, end] - run.times[arrived, start]
    value = run.value[arrived]
    if not len(micros):
        none = np.empty(0, dtype=np.int64)
        return TimeToConvert(np.empty(0), value, none, none, WIDTH_WITHOUT_SPREAD, None, None)
    bins = _cube_root(len(micros), AUTO_BINS) if bin_count is None else min(max(bin_count, 1), MOST_BINS)
    low = int(micros.min()) // 1_000_000
    high = -(-int(micros.max()) // 1_000_000)
    width = -(-(high - low) // bins) or WIDTH_WITHOUT_SPREAD
    position = (micros - low * 1_000_000) // (width * 1_000_000)
    return TimeToConvert(
        micros / MICROSECONDS,
        value,
        low + width * np.arange(bins + 1),
        np.bincount(position, minlength=bins + 1),
        width,
        int(micros.sum()) / len(micros) / MICROSECONDS,
        float(np.median(micros)) / MICROSECONDS,
    )


def trend_rates(run: TrendRun) -> np.ndarray:
    """Percent of the entered that reached the last step, two decimals; 0 where nobody entered."""
    entered = np.maximum(run.entered, 1)
    return np.round(run.reached / entered * 100, 2)


def _cube_root(n: int, most: int) -> int:
    """The smallest whole number whose cube is at least n, at most `most`."""
    root = 1
    while root < most and root**3 < n:
        root += 1
    return root
