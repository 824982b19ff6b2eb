"""Work on threads: blocks handed out in order, long columns by halves, and how an interrupt comes through."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["ahead", "as_interrupt", "in_halves"]

_Made = TypeVar("_Made")

THREADS_FROM = 200_000
"""Rows from which two threads are worth starting."""


def ahead(make: Callable[[int], _Made], count: int, workers: int | None) -> Iterator[_Made]:
    """`make(0)`, `make(1)`, ... in order, no further ahead of who takes them than keeps the threads busy."""
    workers = min(os.cpu_count() or 1 if workers is None else workers, count)
    if workers <= 1:
        yield from map(make, range(count))
        return
    waiting: deque[Future[_Made]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for number in range(count):
            waiting.append(pool.submit(make, number))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # who was interrupted waits for what is being made, and not for what has not begun
        pool.shutdown(cancel_futures=True)


def in_halves(rows: int, work: Callable[[int, int], None]) -> None:
    """Call `work(first, stop)` for all rows of a column, or for each half at the same time.

    The compiled kernels let go of the lock, so both halves run at once.
    """
    if rows < THREADS_FROM:
        work(0, rows)
        return
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (0, rows // 2), (rows // 2, rows)))


@contextmanager
def as_interrupt() -> Iterator[None]:
    """DuckDB's own error for an interrupted question becomes what it is: a KeyboardInterrupt."""
    try:
        yield
    except RuntimeError as problem:
        if "Query interrupted" not in str(problem):
            raise
        raise KeyboardInterrupt from None
