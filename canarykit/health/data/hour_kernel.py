"""Events by the hours they happened and arrived in, compiled."""

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
