"""Events that came twice: which rows of which row groups repeat another one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.events.documents import unreadable
from canarykit.events.engines.repeats import first_of_each
from canarykit.events.text import as_text, id_text

AT_ONCE = 2**24
"""Hashes that are sorted together."""


@dataclass(frozen=True, eq=False)
class Repeated:
    """Rows that repeat an event."""

    # their places in each row group (by its number) that has any
    rows: Mapping[int, np.ndarray] = field(default_factory=dict)
    # the uuid of each of these rows, in order
    uuids: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    n_unreadable: int = 0  # how many of these rows have properties that hold no object

    @classmethod
    def of(cls, numbers: np.ndarray, rows: np.ndarray, uuids: pa.Array, n_unreadable: int) -> Repeated:
        """From the row group, the place in it, and the uuid of each row."""
        by_block = {int(number): rows[numbers == number] for number in np.unique(numbers)}
        return cls(by_block, uuids, n_unreadable)

    @property
    def count(self) -> int:
        """How many rows repeat an event."""
        return sum(map(len, self.rows.values()))


@dataclass(frozen=True, eq=False)
class Candidates:
    """Rows of one row group whose uuid may come twice, with the columns that decide which one stays."""

    number: int
    rows: np.ndarray
    table: pa.Table


def repeated_hashes(hashes: Callable[[], Iterable[np.ndarray]], count: int) -> np.ndarray:
    """Those of about `count` hashes that come twice, sorted; 0 is none.

    Many are gone through several times, so that a part of them is in memory at once: by their first bits.
    """
    bits = np.uint64(max(0, math.ceil(math.log2(max(count, 1) / AT_ONCE))))
    twice = [np.empty(0, np.uint64)]
    for begin in range(1 << int(bits)):
        parts = [part if not bits else part[part >> (np.uint64(64) - bits) == begin] for part in hashes()]
        every = np.concatenate([np.empty(0, np.uint64), *parts])
        every.sort()
        again = every[1:][(every[1:] == every[:-1]) & (every[1:] != 0)]
        twice.append(np.unique(again))
    return np.concatenate(twice)


def repeated_rows(
    candidates: Sequence[Candidates], uuid: str, time: pa.ChunkedArray, order: Sequence[str], properties: str
) -> Repeated:
    """Which candidates repeat an event: all of a uuid but the first by time, then by text.

    Candidates are every usable row whose uuid may come twice, `time` theirs in UTC; columns in `order` decide
    between rows of one time. `uuid` and `properties` name columns ("" for none).
    """
    whole = pa.concat_tables([part.table for part in candidates])
    texts = id_text(whole.column(uuid), uuid).cast(pa.string())
    stays = first_of_each(texts, [time, *(whole.column(name) for name in order)])
    if stays is None:
        return Repeated()
    numbers = np.concatenate([np.full(len(part.rows), part.number) for part in candidates])
    rows = np.concatenate([part.rows for part in candidates])
    gone = pa.array(~stays)
    lost: Any = 0
    if properties:
        lost = pc.sum(unreadable(as_text(whole.column(properties).filter(gone)))).as_py()
    uuids = texts.filter(gone).combine_chunks()
    uuids = pa.concat_arrays(uuids.chunks) if isinstance(uuids, pa.ChunkedArray) else uuids
    return Repeated.of(numbers[~stays], rows[~stays], uuids, int(lost or 0))
