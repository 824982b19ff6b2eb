"""Batches of events into packed ones, as they arrive and by all processors."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.funnels.compiled import compiled
from canarykit.funnels.exposed import Exposed
from canarykit.funnels.feed import actor_column
from canarykit.funnels.pack_rows import Layout
from canarykit.funnels.query import FunnelQuery
from canarykit.funnels.recode import BatchCodes, batch_codes
from canarykit.funnels.types import Label

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BUCKET_BITS", "DoesNotFit", "Packer", "Piece"]

TIME_BITS = 48  # about four years to either side of the first event
SLICE = 1 << 19
BLOCK = 1 << 22
BUCKET_BITS = 11
EVENT_BYTES = 24  # two hashes of the id, and the packed event
SHIFT = np.uint64(64 - BUCKET_BITS)
NONE = np.empty(0, dtype=np.int64)


def most_events() -> int:
    """Packed events that a quarter of this machine's memory holds."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not say
        memory = 8 << 30
    return memory // 4 // EVENT_BYTES


class DoesNotFit(Exception):  # noqa: N818 - not an error: the general path takes over
    """The log or the question does not fit the packed form."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Packed events of a slice of the log, bucket b at the places `starts[b]` to `starts[b + 1]`."""

    keys: np.ndarray
    seconds: np.ndarray
    packed: np.ndarray
    starts: np.ndarray


@dataclass
class Block:
    """Memory for the events of several pieces; what is not touched takes none."""

    checked: bool
    used: int = 0

    def __post_init__(self) -> None:
        self.keys = np.empty(BLOCK, np.int64)
        self.seconds = np.empty(BLOCK if self.checked else 0, np.int64)
        self.packed = np.empty(BLOCK, np.int64)

    def piece(self, size: int) -> Piece:
        """Room for the next `size` events."""
        place = slice(self.used, self.used + size)
        self.used = place.stop
        starts = np.empty((1 << BUCKET_BITS) + 1, np.int64)
        return Piece(self.keys[place], self.seconds[place], self.packed[place], starts)


@dataclass
class Packer:
    """Batches in, packed events out; codes of matches and values grow as they are met."""

    query: FunnelQuery
    exposed: Exposed | None
    threads: int
    layout: Layout | None = None
    masks: dict[int, int] = field(default_factory=dict)
    labels: dict[Label, int] = field(default_factory=dict)
    block: Block | None = None
    slices: int = 0
    stored: dict[int, Piece] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    rooms: threading.local = field(default_factory=threading.local)

    def add(self, table: pa.Table, pool: ThreadPoolExecutor) -> None:
        """Pack the fed rows of a table."""
        for batch in table.combine_chunks().to_batches() if _ragged(table) else table.to_batches():
            if batch.num_rows:
                self._add_batch(batch, pool)
        if self.n_events > most_events():
            raise DoesNotFit

    def _add_batch(self, batch: pa.RecordBatch, pool: ThreadPoolExecutor) -> None:
        name = actor_column(self.query)
        column = _decoded(batch.column(batch.schema.get_field_index(name)))
        ids = _ids(column)
        if ids is None:
            known = batch.filter(_has_id(column))
            if known.num_rows:
                self._add_batch(known, pool)
            return
        codes = batch_codes(batch, self.query, self.exposed)
        time = codes.time
        if self.layout is None:
            entry_bits = max(1, codes.most_masks.bit_length())
            self.layout = Layout(int(time[len(time) // 2]), 63 - TIME_BITS - entry_bits, entry_bits)
        matches = self._codes(self.masks, codes.masks, self.layout.entry_bits, skipped=codes.skipped)
        values = self._codes(self.labels, codes.labels, self.layout.value_bits, skipped=codes.unlabelled)
        slices = [slice(at, at + SLICE) for at in range(0, len(time), SLICE)]
        jobs = [(self.slices + i, ids, codes, matches, values, part) for i, part in enumerate(slices)]
        self.slices += len(slices)
        list(pool.map(lambda job: self._pack(*job), jobs))

    @property
    def n_events(self) -> int:
        """Events packed so far."""
        return sum(len(piece.keys) for piece in self.stored.values())

    @property
    def checked(self) -> bool:
        """Whether keys are hashes, with a second hash to tell them apart."""
        return self.block is not None and self.block.checked

    @property
    def pieces(self) -> list[Piece]:
        """What was packed, in the order of the log."""
        return [self.stored[number] for number in sorted(self.stored)]

    def _store(self, number: int, keys: np.ndarray, second: np.ndarray | None, packed: np.ndarray) -> None:
        """Spread what slice `number` of the log kept over the buckets of a piece."""
        checked = second is not None
        with self.lock:
            if self.block is None or self.block.used + len(keys) > BLOCK:
                self.block = Block(checked)
            piece = self.stored[number] = self.block.piece(len(keys))
        seconds = NONE if second is None else second
        to = (piece.starts, piece.keys, piece.seconds, piece.packed)
        compiled("spread")(keys, seconds, packed, SHIFT, *to)

    def _room(self, name: str, size: int) -> np.ndarray:
        """Room for a slice and one more, the same again for every slice of a thread."""
        held = self.rooms.__dict__.get(name)
        if held is None:
            held = self.rooms.__dict__[name] = np.empty(SLICE + 1, dtype=np.int64)
        return held[: size + 1]

    def _codes(self, known: dict[Any, int], found: Sequence[Any], bits: int, skipped: set[int]) -> np.ndarray:
        """This batch's codes in the packer's; -1 for the skipped ones."""
        translated = [
            -1 if i in skipped else known.setdefault(item, len(known)) for i, item in enumerate(found)
        ]
        if len(known) > 1 << bits:
            raise DoesNotFit
        return np.array(translated, dtype=np.int64)

    def _pack(
        self,
        number: int,
        ids: Ids,
        codes: BatchCodes,
        matches: np.ndarray,
        values: np.ndarray,
        part: slice,
    ) -> None:
        time = codes.time[part]
        assert self.layout is not None
        farthest = max(int(time.max()) - self.layout.origin, self.layout.origin - int(time.min()))
        if farthest >= 1 << (TIME_BITS - 1):
            raise DoesNotFit
        match = codes.match[part].astype(np.int32, copy=False)
        value = None if codes.value is None else codes.value[part].astype(np.int32, copy=False)
        low, high = self.query.date_from_us, self.query.date_to_us
        earliest = -(1 << 62) if low is None else low
        latest = 1 << 62 if high is None else high
        second = None
        if ids.offsets is None:
            keys = ids.keys[part].astype(np.int64, copy=False)
        else:
            keys, second = self._room("hash", len(time)), self._room("second hash", len(time))
            offsets = ids.offsets[part.start : part.start + len(time) + 1].astype(np.int64, copy=False)
            compiled("hash_texts")(offsets, ids.data, match, matches, keys, second)
        out_key, out_packed = self._room("key", len(time)), self._room("packed", len(time))
        bounds = (earliest, latest, self.layout, out_key, out_packed)
        if value is None:
            kept = compiled("pack_unsplit")(keys, time, match, matches, *bounds)
            value, values = np.zeros(len(time), np.int32), np.zeros(1, np.int64)
        else:
            kept = compiled("pack_rows")(keys, time, match, matches, value, values, *bounds)
        if second is not None:
            out_second = self._room("kept second hash", len(time))
            compiled("pack_seconds")(
                second, time, match, matches, value, values, earliest, latest, out_second
            )
            second = out_second[:kept]
        self._store(number, out_key[:kept], second, out_packed[:kept])


@dataclass(frozen=True, eq=False)
class Ids:
    """An id column: integers, or the offsets and bytes of its texts."""

    keys: np.ndarray
    offsets: np.ndarray | None = None
    data: np.ndarray | None = None


def _ragged(table: pa.Table) -> bool:
    """Whether a table's columns are cut at so many places that its batches would be tiny."""
    return max(column.num_chunks for column in table.columns) > max(64, table.num_rows // 20_000)


def _ids(column: pa.Array) -> Ids | None:
    """The ids of a batch; None when some are missing or empty."""
    import pyarrow as pa

    if column.null_count:
        return None
    if pa.types.is_integer(column.type) and column.type != pa.uint64():
        return Ids(column.to_numpy())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise DoesNotFit
    width = np.int32 if pa.types.is_string(column.type) else np.int64
    _, offsets, data = column.buffers()
    at = np.frombuffer(offsets, width)[column.offset : column.offset + len(column) + 1]
    if (at[1:] == at[:-1]).any():
        return None
    return Ids(NONE, at, np.frombuffer(data, np.uint8))


def _decoded(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _has_id(column: pa.Array) -> pa.Array:
    """The rows that have an id."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = column.is_valid()
    if pa.types.is_integer(column.type):
        return known
    return pc.and_(known, pc.fill_null(pc.greater(pc.binary_length(column), 0), False))
