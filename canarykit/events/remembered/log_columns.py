"""The narrow columns of a whole log: taken out when first asked for, kept, and put together as answers."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from canarykit.display import Note
from canarykit.errors import DataError
from canarykit.events.engine import Identities
from canarykit.events.engines.answer import answer, utc_time
from canarykit.events.fields import Column, Json, Query
from canarykit.events.locations import ExportFile, Fingerprint
from canarykit.events.remembered.block import Block, Facts, Taken, is_usable, take
from canarykit.events.remembered.folder import CacheFolder
from canarykit.events.remembered.layout import Digest, Layout, Part
from canarykit.events.remembered.people_codes import PeopleCodes
from canarykit.events.remembered.repeated import Candidates, Repeated, repeated_hashes, repeated_rows
from canarykit.events.text import together
from canarykit.parallel import ahead
from canarykit.progress import LONG_READ, watched

AT_ONCE = 64
"""Row groups whose columns are wanted in memory at the same time."""

HASHES_KEPT = 30_000_000
"""Rows up to which the hashes of their ids stay in memory while repeats are looked for."""

Columns = Mapping[Part, pa.Array]
Chosen = Callable[[int, Columns, np.ndarray], np.ndarray]
"""Which rows are wanted of a row group, by its number, its columns and whom its events belong to."""


class LogColumns:
    """What was taken out of the row groups of a log's files.

    `seen` is which version of each file the log has opened, `blocks` their row groups in order; `layout` says
    which column says what. Columns are kept for the next process in `folder` (None for nowhere); without one,
    about `room` bytes may stay in memory.
    """

    def __init__(
        self,
        files: Sequence[ExportFile],
        seen: Sequence[Fingerprint | None],
        blocks: Sequence[Block],
        layout: Layout,
        schema: pa.Schema,
        identities: Identities,
        *,
        folder: CacheFolder | None,
        room: float,
    ) -> None:
        self.files: tuple[ExportFile, ...] = tuple(files)
        self.seen: tuple[Fingerprint | None, ...] = tuple(seen)
        self.blocks: tuple[Block, ...] = tuple(blocks)
        self.layout: Layout = layout
        self.schema: pa.Schema = schema
        self.folder = folder
        self.room = room
        self.rows: int = sum(block.rows for block in blocks)
        self.rows_read: Counter[str] = Counter()
        self.repeated = Repeated()
        self._people = PeopleCodes(layout, identities)
        self._expected: dict[Part, None] = {}
        self._columns: OrderedDict[int, dict[Part, pa.Array]] = OrderedDict()
        self._facts: dict[int, Facts] = {}
        self._codes: dict[int, np.ndarray] = {}
        self._own_bytes: dict[int, int] = {}
        self._looked_up: set[int] = set()
        self._one_at_a_time = threading.RLock()

    @property
    def notes(self) -> tuple[Note, ...]:
        """What went wrong with keeping columns on disk."""
        problem = "" if self.folder is None else self.folder.problem
        return (Note("cache_off", f"{problem}; the files are read again next time"),) if problem else ()

    def is_current(self) -> bool:
        """Whether the files on this disk are still those that were opened."""
        pairs = zip(self.files, self.seen, strict=True)
        try:
            return all(file.filesystem is not None or file.fingerprint() == seen for file, seen in pairs)
        except OSError:
            return False

    def expect(self, parts: Iterable[Part]) -> None:
        """Say what will be asked for soon: it comes along when documents are read for something else."""
        self._expected |= dict.fromkeys(part for part in parts if isinstance(part, Json))

    def facts(self) -> list[Facts]:
        """What the documents of every row group tell."""
        by_block: dict[int, Facts] = {}
        for numbers in self._stretches(range(len(self.blocks))):
            with self._one_at_a_time:
                self._have(numbers, (), facts=True)
                by_block |= {number: self._facts[number] for number in numbers}
                self._make_room()
        return [by_block[number] for number in range(len(self.blocks))]

    def some_names(self) -> Iterator[tuple[str, ...]]:
        """Keys of documents, row group by row group, those that are known already first."""
        walked = [number for number in range(len(self.blocks)) if number in self._facts]
        yield from (self._facts[number].names for number in walked)
        for number in range(len(self.blocks)):
            if number not in walked:
                with self._one_at_a_time:
                    self._have([number], (), facts=True)
                yield self._facts[number].names

    def event_names(self) -> dict[str, int]:
        """How many events there are of each name, most frequent first."""
        counts: dict[str, int] = {}
        for has, codes in self._core():
            kept, event = self._usable(has, codes), self._events(has)
            numbers = np.bincount(_filled(event.indices, len(event.dictionary))[kept])
            for name, count in zip(event.dictionary.to_pylist(), numbers.tolist(), strict=False):
                counts[name] = counts.get(name, 0) + count
        return dict(sorted(((n, k) for n, k in counts.items() if k), key=lambda item: (-item[1], item[0])))

    def time_range(self) -> tuple[int, int] | None:
        """First and last time of any event, in microseconds; None without events."""
        ends = []
        for has, codes in self._core():
            at = self._times(has).cast(pa.int64()).to_numpy()[self._usable(has, codes)]
            ends += [int(at.min()), int(at.max())] if len(at) else []
        return (min(ends), max(ends)) if ends else None

    def find_repeats(self, uuid: str, order: Sequence[str]) -> Repeated:
        """Find the rows that repeat an event by its uuid; no answer has them from now on.

        Columns in `order` decide which of several rows of one time stays.
        """
        files = list(zip(self.files, self.seen, strict=True))
        repeated = None if self.folder is None else self.folder.load_repeated(files, uuid)
        if repeated is None:
            repeated = Repeated()
            candidates = self._candidates(uuid, order)
            if candidates:
                times = pa.concat_tables([part.table.select([self.layout.time]) for part in candidates])
                time = utc_time(times.column(0), self.layout.time, "UTC")
                repeated = repeated_rows(candidates, uuid, time, order, self.layout.properties)
            if self.folder is not None:
                self.folder.keep_repeated(files, uuid, repeated)
        with self._one_at_a_time:
            self.repeated = repeated
            self._codes.clear()
        return repeated

    def _candidates(self, uuid: str, order: Sequence[str]) -> list[Candidates]:
        """Usable rows of the uuids whose hash comes twice, with what decides which of them stays."""
        digest = Digest(uuid)
        kept = list(self._hashes(digest)) if self.rows <= HASHES_KEPT else None
        hashes = (lambda: kept) if kept is not None else (lambda: self._hashes(digest))
        twice = repeated_hashes(hashes, self.rows)
        names = list(dict.fromkeys([uuid, self.layout.time, *order]))
        candidates: list[Candidates] = []
        if not len(twice):
            return candidates
        for number, (block, of_block) in enumerate(zip(self.blocks, hashes(), strict=True)):
            near = np.minimum(np.searchsorted(twice, of_block), len(twice) - 1)
            rows = np.flatnonzero(twice[near] == of_block)
            if len(rows):
                file = _opened(self.files[block.file], [])
                table = file.read_row_group(block.group, columns=names, use_threads=False)
                self.rows_read.update(dict.fromkeys(names, block.rows))
                candidates.append(Candidates(number, rows, table.take(pa.array(rows))))
        return candidates

    def _hashes(self, part: Digest) -> Iterator[np.ndarray]:
        """The hash of every row by row group; 0 for rows without an id, or of no use."""
        for numbers in self._stretches(range(len(self.blocks))):
            with self._one_at_a_time:
                self._have(numbers, [part, *self.layout.core], facts=False)
                stretch = [self._columns[number] for number in numbers]
                self._make_room()
            for has in stretch:
                kept = is_usable(has, self.layout) & pc.is_valid(has[part]).to_numpy(zero_copy_only=False)
                yield np.where(kept, np.maximum(pc.fill_null(has[part], 0).to_numpy(), 1), 0)

    def estimated_rows(self, query: Query) -> int:
        """Rows that a question may look at."""
        return sum(self.blocks[number].rows for number in self._reached(query))

    def tables(self, query: Query, parts: Sequence[Part]) -> Iterator[pa.Table]:
        """Kept rows of every row group that has any, in order."""
        yield from self._tables(query, parts, lambda _, has, codes: self._kept(has, codes, query))

    def shards(self, query: Query, parts: Sequence[Part], count: int) -> Iterator[pa.Table]:
        """The same rows in so many tables, all of a person in one; those without rows are left out."""
        shard_of: dict[int, np.ndarray] = {}  # of each row by row group; `count` for rows that are not kept

        def chosen(shard: int, number: int, has: Columns, codes: np.ndarray) -> np.ndarray:
            if count == 1:
                return self._kept(has, codes, query)
            if number not in shard_of:
                shards = np.where(self._kept(has, codes, query), codes % count, count)
                shard_of[number] = shards.astype(np.min_scalar_type(count))
            return shard_of[number] == shard

        for shard in range(count):
            table = self._whole(query, list(self._tables(query, parts, partial(chosen, shard))))
            if table is not None:
                yield table

    def _tables(self, query: Query, parts: Sequence[Part], chosen: Chosen) -> Iterator[pa.Table]:
        """The `chosen` rows of every row group that has any, in order."""
        for numbers in self._stretches(self._reached(query)):
            loaded = self._there(numbers, parts)

            def made(at: int, numbers: Any = numbers, there: Any = loaded) -> pa.Table:
                has, codes = there[at]
                return self._table(has, codes, query, parts, chosen(numbers[at], has, codes))

            yield from (table for table in ahead(made, len(loaded), None) if table.num_rows)

    def _whole(self, query: Query, tables: list[pa.Table]) -> pa.Table | None:
        """Tables as one, every column of codes with one list of texts; None for none."""
        if not tables:
            return None
        whole = together(tables)
        for field in query.stored():
            if field.is_person:  # all have the list of persons, or its beginning
                chunks = whole.column(field.name).chunks
                texts = self._people.texts
                people = [pa.DictionaryArray.from_arrays(c.indices, texts, safe=False) for c in chunks]
                at = whole.schema.get_field_index(field.name)
                others = whole.remove_column(at).unify_dictionaries()
                return others.add_column(at, whole.schema.field(at), pa.chunked_array(people))
        return whole.unify_dictionaries()

    def _there(self, numbers: Sequence[int], parts: Sequence[Part]) -> list[tuple[Columns, np.ndarray]]:
        """Columns of some row groups, and whom their events belong to."""
        with self._one_at_a_time:
            self._have(numbers, parts, facts=False)
            self._code(numbers)
            loaded: list[tuple[Columns, np.ndarray]] = [(self._columns[n], self._codes[n]) for n in numbers]
            self._make_room()
        return loaded

    def _core(self) -> Iterator[tuple[Columns, np.ndarray]]:
        """What every question needs, row group by row group."""
        for numbers in self._stretches(range(len(self.blocks))):
            yield from self._there(numbers, self.layout.core)

    def _reached(self, query: Query) -> list[int]:
        blocks = enumerate(self.blocks)
        return [number for number, block in blocks if block.reaches(query.since, query.until)]

    def _stretches(self, numbers: Sequence[int]) -> Iterator[list[int]]:
        for first in range(0, len(numbers), AT_ONCE):
            yield list(numbers[first : first + AT_ONCE])

    def _have(self, numbers: Sequence[int], parts: Sequence[Part], *, facts: bool) -> None:
        """See to it that parts of some row groups (and their facts) are there: each is read at most once."""
        lacking: list[tuple[int, list[Part]]] = []
        for number in numbers:
            self._look_up(number)
            has = self._columns.setdefault(number, {})
            self._columns.move_to_end(number)
            missing: list[Part] = [part for part in parts if part not in has]
            untold = facts and bool(self.layout.properties) and number not in self._facts
            if untold or any(isinstance(part, Json) for part in missing):
                expected = [part for part in self._expected if part not in has and part not in missing]
                missing += expected
            if untold and not any(isinstance(part, Json) for part in missing):
                missing.append(Json(self.layout.properties, ("$lib",)))  # any: the walk is what is wanted
            if missing:
                lacking.append((number, missing))
            elif untold:
                raise AssertionError("facts come with the documents")
        local = threading.local()
        results = ahead(lambda at: self._take(*lacking[at], local), len(lacking), None)
        sizes = [self.blocks[number].rows for number, _ in lacking]
        shown = None if sum(sizes) >= LONG_READ else False
        results = watched(results, shown, total=sum(sizes), unit="events", sizes=sizes)
        for (number, _), taken in zip(lacking, results, strict=True):
            self._add(number, taken)
        if facts and not self.layout.properties:
            self._facts |= {number: Facts((), 0) for number in numbers}
        if lacking and self.folder is not None:
            self.folder.tidy()

    def _look_up(self, number: int) -> None:
        """Bring what the folder keeps of a row group, once."""
        if self.folder is None or number in self._looked_up:
            return
        self._looked_up.add(number)
        block = self.blocks[number]
        for taken in self.folder.load(self.files[block.file], self.seen[block.file], block.group):
            if all(len(column) == block.rows for column in taken.columns.values()):
                self._columns.setdefault(number, {})
                self._add(number, taken)

    def _add(self, number: int, taken: Taken) -> None:
        self._columns[number] |= taken.columns
        if not taken.is_mapped:
            size = sum(column.nbytes for column in taken.columns.values())
            self._own_bytes[number] = self._own_bytes.get(number, 0) + size
        if taken.facts is not None:
            self._facts[number] = taken.facts

    def _take(self, number: int, parts: Sequence[Part], local: Any) -> Taken:
        """Read a row group, and keep what was taken out of it."""
        block = self.blocks[number]
        file = self.files[block.file]
        if getattr(local, "at", None) != block.file:
            local.at = block.file
            local.opened = _opened(file, _coded(self.schema, self.layout))
        taken = take(local.opened, block, parts, self.layout, self._columns[number], of=self.rows)
        self.rows_read.update(dict.fromkeys(taken.read, block.rows))
        if any(len(column) != block.rows for column in taken.columns.values()):
            raise DataError(f"{file.name} has changed since the log was opened; open the log again")
        if self.folder is None:
            return taken
        return self.folder.keep(file, self.seen[block.file], block.group, taken)

    def _code(self, numbers: Sequence[int]) -> None:
        new = [number for number in numbers if number not in self._codes]
        if new:
            codes = self._people.codes([self._columns[number] for number in new])
            for number, of_block in zip(new, codes, strict=True):
                if number in self.repeated.rows:
                    of_block[self.repeated.rows[number]] = -1  # nobody's: no answer has it
                self._codes[number] = of_block

    def _make_room(self) -> None:
        """Forget the columns that were used longest ago, where more are in memory than there is room for.

        Pages of the folder's files do not count: the system takes them back when it needs the memory.
        """
        total = sum(self._own_bytes.values()) + sum(codes.nbytes for codes in self._codes.values())
        while total > self.room and len(self._columns) > 1:
            number, _ = self._columns.popitem(last=False)
            total -= self._own_bytes.pop(number, 0)
            total -= self._codes.pop(number, np.empty(0)).nbytes
            self._looked_up.discard(number)

    def _table(
        self,
        has: Columns,
        codes: np.ndarray,
        query: Query,
        parts: Sequence[Part],
        kept: np.ndarray,
    ) -> pa.Table:
        """The rows of one row group that are kept."""
        columns = {part: has[part] for part in parts}
        if not kept.all():
            rows = pa.array(np.flatnonzero(kept))
            columns = {part: column.take(rows) for part, column in columns.items()}
            codes = codes[kept]
        chunked = {part: pa.chunked_array([column]) for part, column in columns.items()}
        return answer(
            query,
            {part.name: column for part, column in chunked.items() if isinstance(part, Column)},
            ids=self.layout.ids,
            extracted={part: column for part, column in chunked.items() if isinstance(part, Json)},
            zone="UTC",
            person=pa.chunked_array([self._people.column(codes)]),
        )

    def _kept(self, has: Columns, codes: np.ndarray, query: Query) -> np.ndarray:
        """Which rows of a row group a question keeps: usable ones, of its events, within its window."""
        kept = self._usable(has, codes)
        if query.exact and query.events is not None:
            event = self._events(has)
            wanted = [name in query.events for name in event.dictionary.to_pylist()]
            kept &= np.array([*wanted, False])[_filled(event.indices, len(wanted))]
        if query.exact and (query.since is not None or query.until is not None):
            at = pc.fill_null(self._times(has).cast(pa.int64()), 0).to_numpy()
            kept &= True if query.since is None else at >= query.since
            kept &= True if query.until is None else at < query.until
        return kept

    def _usable(self, has: Columns, codes: np.ndarray) -> np.ndarray:
        """Which events any answer may contain: of somebody, with a time and a name, no replay data."""
        usable = codes >= 0
        time, event = self._times(has), self._events(has)
        if time.null_count:
            usable &= pc.is_valid(time).to_numpy()
        names = event.dictionary.to_pylist()
        if event.indices.null_count or "$snapshot" in names or None in names:
            good = np.array([*(name is not None and name != "$snapshot" for name in names), False])
            usable &= good[_filled(event.indices, len(names))]
        return usable

    def _times(self, has: Columns) -> pa.ChunkedArray:
        return utc_time(pa.chunked_array([has[Column(self.layout.time)]]), self.layout.time, "UTC")

    def _events(self, has: Columns) -> pa.DictionaryArray:
        event = has[Column(self.layout.event)]
        return event if pa.types.is_dictionary(event.type) else event.dictionary_encode()

    def __getstate__(self) -> dict[str, Any]:
        """A copy for another process begins without anything in memory."""
        made = (self.files, self.seen, self.blocks, self.layout, self.schema, self._people.identities)
        kept = {"folder": self.folder, "room": self.room}
        return {"made": made, "kept": kept, "repeated": self.repeated}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(*state["made"], **state["kept"])  # type: ignore[misc]
        self.repeated = state["repeated"]


def _filled(indices: pa.Array, missing: int) -> np.ndarray:
    """Codes as numbers, with one of their own for null."""
    return (pc.fill_null(indices, missing) if indices.null_count else indices).to_numpy()


def _coded(schema: pa.Schema, layout: Layout) -> list[str]:
    """Columns of texts that are read as codes from the start."""
    return [
        name for name in dict.fromkeys((layout.event, *layout.ids)) if _is_string(schema.field(name).type)
    ]


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _opened(file: ExportFile, coded: list[str]) -> pq.ParquetFile:
    return pq.ParquetFile(file.path if file.filesystem is None else file.open(), read_dictionary=coded)
