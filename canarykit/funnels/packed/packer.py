"""Batches of events into packed ones, as they arrive and by all processors."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.exposure.lookup import Exposed
from canarykit.funnels.compiled import compiled
from canarykit.funnels.engine.feed import actor_column
from canarykit.funnels.engine.runs import Label
from canarykit.funnels.packed.batch_codes import BatchCodes, batch_codes
from canarykit.funnels.packed.pack_kernels import TIME_BITS, Layout
from canarykit.funnels.question.specs import FunnelQuery

if TYPE_CHECKING:
    import pyarrow as pa

SLICE = 1 << 19
BUCKET_BITS = 10  # more places to write to at once than this are slow
EVENT_BYTES = 24  # two hashes of the id, and the packed event
SHIFT = np.uint64(64 - BUCKET_BITS)


def most_events() -> int:
    """Packed events that a quarter of this machine's memory holds."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not say
        memory = 8 << 30
    return memory // 4 // EVENT_BYTES


class DoesNotFit(Exception):  # noqa: N818 - not an error: the general path takes over
    """The log or the question does not fit the packed form."""


@dataclass
class Packer:
    """Batches in, packed events out; codes of matches and values grow as they are met.

    `stored` has for every slice of the log the rows of `events` at which its buckets begin.
    """

    query: FunnelQuery
    exposed: Exposed | None
    threads: int
    layout: Layout | None = None
    masks: dict[int, int] = field(default_factory=dict)
    labels: dict[Label, int] = field(default_factory=dict)
    events: np.ndarray | None = None
    used: int = 0
    slices: int = 0
    stored: dict[int, np.ndarray] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    rooms: threading.local = field(default_factory=threading.local)

    def add(self, table: pa.Table, pool: ThreadPoolExecutor) -> None:
        """Pack the fed rows of a table."""
        for batch in table.combine_chunks().to_batches() if _ragged(table) else table.to_batches():
            if batch.num_rows:
                self._add_batch(batch, pool)

    def _add_batch(self, batch: pa.RecordBatch, pool: ThreadPoolExecutor) -> None:
        name = actor_column(self.query)
        column = _decoded(batch.column(batch.schema.get_field_index(name)))
        ids = _ids(column)
        if ids is None:
            with_id = batch.filter(_has_id(column))
            if with_id.num_rows:
                self._add_batch(with_id, pool)
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
    def starts(self) -> np.ndarray:
        """Where in `events` every bucket begins, a row a slice, in the order of the log."""
        return np.stack([self.stored[number] for number in sorted(self.stored)])

    def _store(self, number: int, events: np.ndarray) -> None:
        """Spread what slice `number` of the log kept over buckets."""
        with self.lock:
            if self.events is None:  # as many as can be: what is not touched takes no memory
                self.events = np.empty((most_events(), events.shape[1]), np.int64)
            begin, self.used = self.used, self.used + len(events)
            if self.used > len(self.events):
                raise DoesNotFit
        starts = np.empty((1 << BUCKET_BITS) + 1, np.int64)
        compiled("spread")(events, SHIFT, starts, self.events[begin : begin + len(events)])
        self.stored[number] = starts + begin

    def _room(self, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Room for a slice's row numbers and events, and codes of no value: the same for every slice."""
        if not hasattr(self.rooms, "own"):
            rows, no_value = np.empty(SLICE, np.int32), np.full(SLICE, -1, np.int32)
            self.rooms.own = (rows, np.empty((SLICE, width), np.int64), no_value)
        return self.rooms.own

    def _codes(
        self, code_of: dict[Any, int], items: Sequence[Any], bits: int, skipped: set[int]
    ) -> np.ndarray:
        """This batch's codes in the packer's, that of the last item first; -1 for the skipped ones."""
        translated = [
            -1 if i in skipped else code_of.setdefault(item, len(code_of)) for i, item in enumerate(items)
        ]
        if len(code_of) > 1 << bits:
            raise DoesNotFit
        return np.array([*translated[-1:], *translated[:-1]], dtype=np.int64)

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
        rows, events, no_value = self._room(2 if ids.offsets is None else 3)
        match = codes.match[part].astype(np.int32, copy=False)
        value = no_value[: len(time)] if codes.value is None else codes.value[part]
        low, high = self.query.date_from_us, self.query.date_to_us
        earliest = -(1 << 62) if low is None else low
        latest = 1 << 62 if high is None else high
        coded = (time, match, matches, value.astype(np.int32, copy=False), values)
        rows = rows[: compiled("fed_rows")(*coded, earliest, latest, rows)]
        events = events[: len(rows)]
        if not compiled("pack_events")(rows, *coded, self.layout, events):
            raise DoesNotFit
        if ids.offsets is None:
            compiled("pack_ids")(rows, ids.keys[part].astype(np.int64, copy=False), events)
        else:
            offsets = ids.offsets[part.start : part.start + len(time) + 1].astype(np.int64, copy=False)
            compiled("pack_texts")(rows, offsets, ids.data, events)
        self._store(number, events)


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
    return Ids(np.empty(0, np.int64), at, np.frombuffer(data, np.uint8))


def _decoded(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _has_id(column: pa.Array) -> pa.Array:
    """The rows that have an id."""
    import pyarrow as pa
    import pyarrow.compute as pc

    has_id = column.is_valid()
    if pa.types.is_integer(column.type):
        return has_id
    return pc.and_(has_id, pc.fill_null(pc.greater(pc.binary_length(column), 0), False))
