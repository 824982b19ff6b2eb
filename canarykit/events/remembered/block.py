"""One row group of a file: what is taken out of it in one read, and the facts that fall out on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.events.documents import scan_documents
from canarykit.events.fields import Column, Json
from canarykit.events.remembered.layout import Digest, Layout, Part
from canarykit.events.text import as_text, id_text
from canarykit.hashing import hash_ids

_TEXT = pa.string()


@dataclass(frozen=True)
class Block:
    """A row group: its file (a place in the log's list), its number there, its rows and their times.

    `low` and `high` are the first and last time in microseconds as the footer states them, or None.
    """

    file: int
    group: int
    rows: int
    low: int | None = None
    high: int | None = None

    def reaches(self, since: int | None, until: int | None) -> bool:
        """Whether any of its times may lie in a window."""
        if self.low is None or self.high is None:
            return True
        return (until is None or self.low < until) and (since is None or self.high >= since)


@dataclass(frozen=True)
class Facts:
    """What the documents of a row group's usable events tell together."""

    names: tuple[str, ...]  # their top-level keys
    n_unreadable: int  # how many are there but hold no object


@dataclass(frozen=True, eq=False)
class Taken:
    """What was taken out of a row group."""

    columns: Mapping[Part, pa.Array]  # narrow columns by part
    facts: Facts | None = None  # where the documents were read
    read: tuple[str, ...] = ()  # columns of the file that were read
    is_mapped: bool = False  # whether the columns are a file's pages: the system takes them back at need


def take(
    file: Any, block: Block, parts: Iterable[Part], layout: Layout, has: Mapping[Part, pa.Array], *, of: int
) -> Taken:
    """Take parts out of a row group: every column is read once, every document walked once.

    What it `has` is there already; `of` is the number of rows of the whole log.
    """
    wanted = list(dict.fromkeys(parts))
    documents = {column: [p for p in wanted if isinstance(p, Json) and p.column == column]
                 for column in dict.fromkeys(p.column for p in wanted if isinstance(p, Json))}  # fmt: skip
    core = [part for part in layout.core if part not in has] if layout.properties in documents else []
    plain = dict.fromkeys([*(part for part in wanted if isinstance(part, Column)), *core])
    hashed = [part for part in wanted if isinstance(part, Digest)]
    names = list(dict.fromkeys([*(p.name for p in plain), *documents, *(p.column for p in hashed)]))
    table = file.read_row_group(block.group, columns=names, use_threads=False)
    columns: dict[Part, pa.Array] = {part: _narrow(table.column(part.name)) for part in plain}
    columns |= {part: _digest(table.column(part.column), part.column) for part in hashed}
    facts = None
    for column, inside in documents.items():
        text = table.column(column)
        tells = column == layout.properties
        counted = is_usable({**has, **columns}, layout) if tells else np.zeros(len(text), bool)
        scanned = scan_documents(as_text(text), [part.path for part in inside], counted, of=of)
        columns |= zip(inside, map(_narrow, scanned.values), strict=True)
        if tells:
            facts = Facts(tuple(sorted(scanned.names)), scanned.n_unreadable)
    return Taken(columns, facts, tuple(names))


def is_usable(columns: Mapping[Part, pa.Array], layout: Layout) -> np.ndarray:
    """Which events any answer may contain: those with a name, a time and an id, but no replay data."""
    event = _one_array(as_text(columns[Column(layout.event)]))
    usable = _flags(pc.is_valid(event))
    if pa.types.is_dictionary(event.type):
        names = event.dictionary.to_pylist()
        if "$snapshot" in names:
            usable &= pc.fill_null(event.indices, -1).to_numpy() != names.index("$snapshot")
    else:
        usable &= _flags(pc.fill_null(pc.not_equal(event, "$snapshot"), False))
    usable &= _flags(pc.is_valid(columns[Column(layout.time)]))
    somebody = np.zeros(len(usable), bool)
    for name in layout.ids:
        if somebody.all():
            break
        somebody |= _flags(pc.is_valid(_one_array(_id_values(columns[Column(name)], name))))
    return usable & somebody


def _id_values(column: pa.Array, name: str) -> pa.ChunkedArray:
    """A column of ids by the reading rule; the few texts of a dictionary are looked at, not its rows."""
    if not pa.types.is_dictionary(column.type):
        return id_text(column, name)
    texts = _one_array(id_text(column.dictionary, name))
    if texts.null_count == 0:
        return pa.chunked_array([column])
    return pa.chunked_array([texts.take(column.indices)])


def _digest(column: pa.ChunkedArray, name: str) -> pa.Array:
    """The first 64 bits of the SHA-1 of every id; null where there is none."""
    texts = _one_array(id_text(column, name).cast(_TEXT))
    missing = texts.is_null().to_numpy(zero_copy_only=False) if texts.null_count else None
    return pa.array(hash_ids(texts.fill_null("") if texts.null_count else texts, "sha1"), mask=missing)


def _narrow(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in one piece; texts that repeat as codes into a dictionary."""
    chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    if pa.types.is_dictionary(chunked.type):
        return _short_codes(_one_array(chunked.unify_dictionaries()))
    whole = _one_array(chunked)
    if not (pa.types.is_string(whole.type) or pa.types.is_large_string(whole.type)):
        return whole
    sample = whole.slice(0, 4096)
    if len(whole) > len(sample) and 4 * len(sample.unique()) > 3 * (len(sample) - sample.null_count) + 64:
        return whole
    coded = whole.dictionary_encode()
    return _short_codes(coded) if 2 * len(coded.dictionary) <= len(whole) + 64 else whole


def _short_codes(coded: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same texts with codes of as few bytes as they need."""
    size = len(coded.dictionary)
    kind = pa.int8() if size < 2**7 else pa.int16() if size < 2**15 else pa.int32()
    return pa.DictionaryArray.from_arrays(coded.indices.cast(kind), coded.dictionary, safe=False)


def _one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        return pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], column.type)
    return whole


def _flags(mask: pa.Array) -> np.ndarray:
    return mask.to_numpy(zero_copy_only=False).astype(bool)
