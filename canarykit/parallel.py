"""Blocks made on threads, handed out in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

_Made = TypeVar("_Made")


def ahead(make: Callable[[int], _Made], count: int, workers: int | None) -> Iterator[_Made]:
    """`make(0)`, `make(1)`, ... in order, no further ahead of who takes them than keeps the threads busy."""
    workers = min(os.cpu_count() or 1 if workers is None else workers, count)
    if workers <= 1:
        yield from map(make, range(count))
        return
    waiting: deque[Future[_Made]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for number in range(count):
            waiting.append(pool.submit(make, number))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
