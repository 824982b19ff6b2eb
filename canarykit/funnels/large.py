"""Funnels over large logs: batches are packed as they arrive, spread over buckets, and scanned there.

The answer is that of the general path (`feed` and `scan`), which stays in charge of small inputs, of people
lists and of what does not fit the packed form.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.funnels.compiled import compiled
from canarykit.funnels.exposed import Exposed
from canarykit.funnels.feed import actor_column
from canarykit.funnels.merge import label_key
from canarykit.funnels.partition import Layout, make_groups
from canarykit.funnels.query import FunnelQuery
from canarykit.funnels.recode import BatchCodes, batch_codes
from canarykit.funnels.rules import (
    ALL_EVENTS,
    FIRST_TOUCH,
    LAST_TOUCH,
    NO_VALUE,
    ORDERED,
    STEPS_MASK,
    UNORDERED,
    Rules,
    answer_fields,
    make_memory,
    tie_rank,
)
from canarykit.funnels.scan import Answers, make_rules, read_answers
from canarykit.funnels.types import FunnelRun, Label

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DoesNotFit", "run_batches"]

TIME_BITS = 48  # about four years to either side of the first event
SLICE = 1 << 18
BUCKET = 24_000  # events of a bucket: its tables stay in the second-level cache
MOST_BUCKET_BITS = 12
NONE = np.empty(0, dtype=np.int64)


class DoesNotFit(Exception):  # noqa: N818 - not an error: the general path takes over
    """The log or the question does not fit the packed form."""


@dataclass
class Packer:
    """Batches in, packed events out; codes of matches and values grow as they are met."""

    query: FunnelQuery
    exposed: Exposed | None
    threads: int
    layout: Layout | None = None
    masks: dict[int, int] = field(default_factory=dict)
    labels: dict[Label, int] = field(default_factory=dict)
    keys: list[np.ndarray] = field(default_factory=list)
    seconds: list[np.ndarray] = field(default_factory=list)
    packed: list[np.ndarray] = field(default_factory=list)
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
        jobs = [(ids, codes, matches, values, part) for part in slices]
        for key, second, packed in pool.map(lambda job: self._pack(*job), jobs):
            self.keys.append(key)
            self.packed.append(packed)
            if second is not None:
                self.seconds.append(second)

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
        self, ids: Ids, codes: BatchCodes, matches: np.ndarray, values: np.ndarray, part: slice
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
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
            second = out_second[:kept].copy()
        return out_key[:kept].copy(), second, out_packed[:kept].copy()


@dataclass(frozen=True, eq=False)
class Ids:
    """An id column: integers, or the offsets and bytes of its texts."""

    keys: np.ndarray
    offsets: np.ndarray | None = None
    data: np.ndarray | None = None


def run_batches(
    tables: Iterable[pa.Table],
    query: FunnelQuery,
    exposed: Exposed | None = None,
    *,
    threads: int | None = None,
) -> FunnelRun:
    """The run of a stream of tables, actors in any of them; raises `DoesNotFit` for the general path."""
    threads = threads or min(os.cpu_count() or 1, 16)
    packer = Packer(query, exposed, threads)
    with ThreadPoolExecutor(threads) as pool:
        for table in tables:
            packer.add(table, pool)
        if packer.layout is None or not sum(map(len, packer.keys)):
            raise DoesNotFit
        return _scan(packer, pool)


@dataclass(frozen=True, eq=False)
class Buckets:
    """Packed events by bucket; bucket i has the places `starts[i]` to `starts[i + 1]`."""

    keys: np.ndarray
    seconds: np.ndarray
    packed: np.ndarray
    starts: np.ndarray

    @property
    def columns(self) -> tuple[np.ndarray, ...]:
        """The arrays, in the order of the scans' arguments."""
        return self.keys, self.seconds, self.packed, self.starts

    def chunks(self, wanted: int) -> list[tuple[int, int]]:
        """Ranges of buckets with about equally many events."""
        marks = np.searchsorted(self.starts, np.linspace(0, self.starts[-1], wanted + 1)[1:-1])
        edges = np.unique(np.concatenate([[0], marks, [len(self.starts) - 1]])).tolist()
        return list(pairwise(edges))


def _scan(packer: Packer, pool: ThreadPoolExecutor) -> FunnelRun:
    labels = tuple(sorted(packer.labels, key=label_key)) or (None,)
    n_events = sum(map(len, packer.keys))
    found = _scan_buckets(packer, labels, pool)
    if any(actors < 0 for actors, _ in found):
        raise DoesNotFit
    parts = [answers for _, answers in found]
    return FunnelRun(
        labels=labels,
        value=np.concatenate([part.value for part in parts]),
        reached=np.concatenate([part.reached for part in parts]),
        bits=np.concatenate([part.bits for part in parts]),
        times=np.concatenate([part.times for part in parts]),
        n_actors=sum(actors for actors, _ in found),
        n_events=n_events,
    )


def _scan_buckets(
    packer: Packer, labels: tuple[Label, ...], pool: ThreadPoolExecutor
) -> list[tuple[int, Answers]]:
    """Number of actors and answers of every range of buckets."""
    query, layout = packer.query, packer.layout
    assert layout is not None
    place = {label: i for i, label in enumerate(labels)}
    values = np.zeros(1 << layout.value_bits, dtype=np.int64)
    for label, code in packer.labels.items():
        values[code] = place[label]
    met = np.array(list(packer.masks), dtype=np.int64)  # in the order of their codes
    matches = np.zeros(1 << layout.entry_bits, dtype=np.int64)
    matches[: len(met)] = tie_rank(met)
    masks = met[np.argsort(matches[: len(met)])]
    buckets = _partition(packer, matches, values, pool)
    blank = np.array([label is None or not any(label_key(label)) for label in labels], dtype=np.int64)
    rules = make_rules(query, blank=place.get("", -1))
    short = _short_scan_will_do(rules, met)

    def scan(chunk: tuple[int, int]) -> tuple[int, Answers]:
        first, last = chunk
        sizes = np.diff(buckets.starts[first : last + 1])
        most = int(sizes.max())
        answers = np.empty(int(sizes.sum()) * answer_fields(query.n_steps), np.int64)
        used = np.zeros(2, np.int64)
        bounds = (first, last, layout, masks, rules, blank, make_groups(most), answers, used)
        if short:
            actors = compiled("run_plain_buckets")(*buckets.columns, *bounds)
        else:
            memory = make_memory(
                query.n_steps,
                most,
                len(labels),
                plain=False,
                split=rules.attribution == ALL_EVENTS,
                queues=rules.order == UNORDERED,
            )
            actors = compiled("run_buckets")(*buckets.columns, *bounds, *memory)
        return actors, read_answers(answers, NONE, used, query.n_steps)

    return list(pool.map(scan, buckets.chunks(4 * packer.threads)))


def _short_scan_will_do(rules: Rules, masks: np.ndarray) -> bool:
    """Whether every event is one step, and nothing is optional, excluded, near-tied or checked."""
    single = bool(np.all((masks & (masks - 1) == 0) & (masks <= STEPS_MASK)))
    one_value = rules.attribution in (NO_VALUE, FIRST_TOUCH, LAST_TOUCH)
    return single and one_value and rules.order == ORDERED and not rules.tie and not rules.optional


def _partition(packer: Packer, matches: np.ndarray, values: np.ndarray, pool: ThreadPoolExecutor) -> Buckets:
    """Every event in its bucket."""
    n_events = sum(map(len, packer.keys))
    bits = min(MOST_BUCKET_BITS, max(1, int(np.ceil(np.log2(max(2, n_events / BUCKET))))))
    shift = np.uint64(64 - bits)
    counts = np.zeros((len(packer.keys), 1 << bits), dtype=np.int64)
    jobs = range(len(packer.keys))
    list(pool.map(lambda i: compiled("count_keys")(packer.keys[i], shift, counts[i]), jobs))
    starts = np.zeros((1 << bits) + 1, dtype=np.int64)
    np.cumsum(counts.sum(axis=0), out=starts[1:])
    places = starts[:-1] + np.cumsum(counts, axis=0) - counts
    keys, packed = np.empty(n_events, np.int64), np.empty(n_events, np.int64)
    checked = bool(packer.seconds)
    seconds = np.empty(n_events if checked else 0, np.int64)

    def move(i: int) -> None:
        compiled("scatter")(
            packer.keys[i],
            packer.seconds[i] if checked else NONE,
            packer.packed[i],
            shift,
            places[i],
            packer.layout,
            matches,
            values,
            keys,
            seconds,
            packed,
        )
        packer.keys[i] = packer.packed[i] = NONE
        if checked:
            packer.seconds[i] = NONE

    list(pool.map(move, jobs))
    return Buckets(keys, seconds, packed, starts)


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
