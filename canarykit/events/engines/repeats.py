"""Events that came twice: rows with the same uuid are one event.

Of rows with one uuid the earliest stays; of equal times the one whose event, distinct id and properties
come first as text, so that neither the order of rows nor the engine decides. A blank uuid is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.display import Note
from canarykit.events.text import as_text, id_text

ORDER = ("timestamp", "event", "distinct_id", "properties")
"""Canonical columns that say which of several rows with one uuid is the event."""

_AT_ONCE = 16_384
_ODD = np.uint64(0x9E3779B97F4A7C15)


def first_of_each(uuid: pa.ChunkedArray, order: Sequence[pa.ChunkedArray]) -> np.ndarray | None:
    """Mask of the rows that stay, the first of each uuid by `order` (a time, then texts); None for all."""
    texts = id_text(uuid, "uuid").cast(pa.string())
    if _all_differ(texts.drop_null()):
        return None
    counted = texts.drop_null().value_counts()
    twice = counted.filter(pc.greater(pc.struct_field(counted, "counts"), 1))
    if not len(twice):
        return None
    repeated = pc.is_in(texts, value_set=pc.struct_field(twice, "values")).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(repeated)
    keys = {"uuid": _few(texts, rows)} | {str(at): _few(column, rows) for at, column in enumerate(order)}
    frame = pd.DataFrame(keys).assign(row=rows)
    frame = frame.sort_values([*keys, "row"], kind="stable", na_position="first")
    dropped = frame["row"][frame["uuid"].duplicated()]
    keep = np.ones(len(texts), dtype=bool)
    keep[dropped.to_numpy()] = False
    return keep


def repeats_note(count: int) -> Note:
    """How many rows were left out because their event had come already."""
    return Note("duplicates", "events that came twice (same uuid) were removed", count)


def _all_differ(texts: pa.ChunkedArray) -> bool:
    """Whether the hashes of texts of one length, as uuids are, show that none comes twice; else False."""
    ends = pc.min_max(pc.binary_length(texts)).as_py()
    if not ends["min"] or ends["min"] != ends["max"]:
        return False
    length, at = ends["max"], 0
    hashes = np.zeros(len(texts), np.uint64)
    padded = np.zeros((_AT_ONCE, -(-length // 8) * 8), np.uint8)
    for batch in pa.table([texts], ["texts"]).to_batches(max_chunksize=_AT_ONCE):
        part = batch.column(0)
        _, offsets, data = part.buffers()
        first = np.frombuffer(offsets, np.int32)[part.offset]
        rows = np.frombuffer(data, np.uint8, len(part) * length, first).reshape(-1, length)
        padded[: len(part), :length] = rows
        mixed = hashes[at : at + len(part)]
        for word in padded.view(np.uint64)[: len(part)].T:
            np.multiply(mixed ^ word, _ODD, out=mixed)
            mixed ^= mixed >> np.uint64(29)
        at += len(part)
    hashes.sort()
    return not (hashes[1:] == hashes[:-1]).any()


def _few(column: pa.ChunkedArray, rows: np.ndarray) -> np.ndarray:
    part = column.take(pa.array(rows))
    if pa.types.is_timestamp(part.type):
        return part.cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy()
    return np.array(as_text(part).cast(pa.string()).fill_null("").to_pylist(), dtype=object)
