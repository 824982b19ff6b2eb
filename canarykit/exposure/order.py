"""Rows in the order of their times, the same on every engine: ties go by what is said of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def settled(
    order: np.ndarray, key: np.ndarray, settle: Callable[[np.ndarray], tuple[np.ndarray, ...]]
) -> np.ndarray:
    """Rows ordered by a key, those of one key by what `settle` says of them (the last column first)."""
    sorted_key = key[order]
    same = np.zeros(len(order) + 1, dtype=bool)
    same[1:-1] = sorted_key[1:] == sorted_key[:-1]
    tied = np.flatnonzero(same[1:] | same[:-1])
    if len(tied):
        rows = order[tied]
        order[tied] = rows[np.lexsort((*settle(rows), key[rows]))]
    return order


def in_time_order(at: np.ndarray, units: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Rows by time, those of one time by unit."""
    return settled(np.argsort(at), at, lambda rows: (ranks(units.take(pa.array(rows))),))


def ranks(texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The place of each text in the alphabet; equal ones share it."""
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return pc.rank(whole, tiebreaker="dense").to_numpy()
