"""The numbers of a funnel chart, from the engine's entries: counts, step times, bins, period rates.

Rules are PostHog's: a step counts the actors that have its bit; the time of a step is the gap from the
previous recorded time, gaps of exactly zero left out of averages and medians; the total is over those who
reached the last step, zeros included.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from canarykit.compiler import can_compile
from canarykit.funnels.compiled import compiled
from canarykit.funnels.engine.merge import step_counts
from canarykit.funnels.engine.runs import FunnelRun
from canarykit.funnels.question.specs import FunnelQuery, check_range, refuse_optional

MICROSECONDS = 1e6
MANY_ENTRIES = 200_000  # from here on steps are summed up side by side, by compiled code
MANY_VALUES, SAMPLE = 20_000, 2_000
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

    def times(k: int) -> None:
        for label, gaps in enumerate(_gaps(run, k)):
            if len(gaps):
                average[label, k] = int(gaps.sum()) / len(gaps) / MICROSECONDS  # whole sum: any order of rows
                median[label, k] = _median(gaps) / MICROSECONDS

    if len(run) < MANY_ENTRIES:
        list(map(times, range(1, n)))
    else:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(times, range(1, n)))
    done = np.flatnonzero(run.reached == n - 1)
    total = run.times[done, n - 1] - run.times[done, 0]
    return StepTable(
        step_counts(run, query), average, median, _median(total) / MICROSECONDS if len(total) else None
    )


def _gaps(run: FunnelRun, k: int) -> list[np.ndarray]:
    """Per label the times from the one recorded before to time `k`, where they differ."""
    if len(run) >= MANY_ENTRIES and can_compile():
        sizes = run.furthest[:, k:].sum(axis=1) + 1  # the last place of each is for what does not count
        starts = np.cumsum(sizes) - sizes
        gaps, filled = np.empty(sizes.sum(), np.int64), starts.copy()
        compiled("gaps_by_value")(run.value, run.reached, *run.times[:, k - 1 : k + 1].T, k, filled, gaps)
        return [gaps[begin:end] for begin, end in zip(starts, filled, strict=True)]
    rows = np.flatnonzero(run.reached >= k)
    gaps = run.times[rows, k] - run.times[rows, k - 1]
    gaps, value = gaps[gaps > 0], run.value[rows][gaps > 0]
    order = np.argsort(value, kind="stable")
    return np.split(gaps[order], np.searchsorted(value[order], np.arange(1, len(run.labels))))


def _median(values: np.ndarray) -> float:
    """The median; among many values it is looked for inside of a bracket that a sample gives."""
    n = len(values)
    if n >= MANY_VALUES:
        sample = np.sort(values[:: n // SAMPLE])
        low, high = sample[len(sample) * 9 // 20], sample[len(sample) * 11 // 20]
        inside = values.compress((values >= low) & (values <= high))
        below = np.count_nonzero(values < low)
        middle = [(n - 1) // 2 - below, n // 2 - below]
        if middle[0] >= 0 and middle[1] < len(inside):
            return float(np.partition(inside, middle)[middle].mean())
    return float(np.median(values))


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
        _median(micros) / MICROSECONDS,
    )


def _cube_root(n: int, most: int) -> int:
    """The smallest whole number whose cube is at least n, at most `most`."""
    root = 1
    while root < most and root**3 < n:
        root += 1
    return root
