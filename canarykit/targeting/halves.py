"""Long columns on two threads: the compiled kernels let go of the lock, so both halves run at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["in_halves"]

THREADS_FROM = 200_000
"""Rows from which two threads are worth starting."""


def in_halves(rows: int, work: Callable[[int, int], None]) -> None:
    """Call `work(first, stop)` for all rows, or for each half at the same time."""
    if rows < THREADS_FROM:
        work(0, rows)
        return
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (0, rows // 2), (rows // 2, rows)))
