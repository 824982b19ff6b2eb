"""Events by hour and people by quarter of an hour, compiled."""

import numpy as np

from canarykit.compiler import njit


@njit()
def count_hours(
    happened: np.ndarray,
    arrived: np.ndarray,
    origin: int,
    hour: int,
    low: int,
    span: int,
    counts: np.ndarray,
) -> None:
    """Add 1 for each event to the cell of its two hours: `span` hours of arrival from `low` on a row.

    Times are counted in units of which an `hour` has so many, hours from `origin` on.
    """
    for row in range(len(happened)):
        line = (happened[row] - origin) // hour
        counts[line * span + (arrived[row] - origin) // hour - low] += 1


@njit()
def count_visits(
    pairs: np.ndarray, n_bins: int, gap: int, again: bool, people: np.ndarray, begun: np.ndarray
) -> None:
    """Count people and the visits begun by quarter, from pairs: a person times `n_bins` plus a quarter.

    The pairs are sorted. A visit begins more than `gap` quarters after a person's last; `again` leaves out
    the first of each.
    """
    before, last = -1, -1
    for pair in pairs:
        if pair == before:
            continue
        quarter = pair % n_bins
        person = pair - quarter
        is_first = before < person
        people[quarter] += 1
        if (not again) if is_first else quarter - last > gap:
            begun[quarter] += 1
        before, last = pair, quarter
