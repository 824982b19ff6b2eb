"""First exposures of one actor shard: arrays in, two small tables out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Found", "merge", "reduce_shard"]

UNKNOWN = ("", "null", "None", "undefined")
_TEXT = pa.string()


@dataclass(frozen=True, eq=False)
class Found:
    """What a shard found: two tables, and what was left out."""

    people: pa.Table
    by_stage: pa.Table
    calls: int
    unknown: int
    only_unknown: int
    without_unit: int


def reduce_shard(table: pa.Table, *, unit: str, value: str, starts: np.ndarray, ends: np.ndarray) -> Found:
    """First exposures of one shard. Ties in time go by the variant's name, so that every engine agrees."""
    calls = table.num_rows
    table = table.filter(pc.is_valid(table.column(unit)))
    without_unit = calls - table.num_rows
    names, units = _codes(table.column(unit))
    everybody = int(np.count_nonzero(np.bincount(units, minlength=1)))
    values, value_codes = _codes(table.column(value))
    order_of_values = pc.sort_indices(values).to_numpy()
    rank = np.append(np.argsort(order_of_values), -1)
    is_unknown = pc.is_in(values, value_set=pa.array(UNKNOWN, _TEXT)).to_numpy(zero_copy_only=False)
    rank[:-1][is_unknown] = -1
    variant = rank[value_codes]
    known = variant >= 0
    unknown = int((~known).sum())
    if unknown:
        table, variant, units = table.filter(pa.array(known)), variant[known], units[known]
    variants = values.take(pa.array(order_of_values))
    at = table.column("timestamp").cast(pa.int64()).to_numpy()
    order = _order(units, at, variant, table)
    units, variant, at = units[order], variant[order], at[order]
    stage = _stage_of(at, starts, ends)
    first = _first(units)
    people = {
        "unit": names.take(pa.array(units[first])),
        "person_id": _texts(table, "person_id", order[first]),
        "variant": variants.take(pa.array(variant[first])),
        "at": pa.array(at[first]),
        "stage": pa.array(stage[first]),
        "n_variants": pa.array(_distinct(units, variant, len(first))),
        "distinct_id": _texts(table, "distinct_id", order[first]),
    }
    inside = np.flatnonzero(stage >= 0) if len(starts) else np.arange(len(stage))
    cell = units[inside] * max(len(starts), 1) + np.maximum(stage[inside], 0)  # sorted, as time is
    begin = _first(cell)
    rows = inside[begin]
    again = np.zeros(len(rows), dtype=bool)
    again[1:] = units[rows][1:] == units[rows][:-1]
    before = np.roll(variant[rows], 1)
    by_stage = {
        "unit": names.take(pa.array(units[rows])),
        "person_id": _texts(table, "person_id", order[rows]),
        "stage": pa.array(stage[rows]),
        "variant": variants.take(pa.array(variant[rows])),
        "at": pa.array(at[rows]),
        "n_variants": pa.array(_distinct(cell, variant[inside], len(begin))),
        "previous_variant": variants.take(pa.array(before, mask=~again)),
    }
    left_out = everybody - len(first)
    return Found(pa.table(people), pa.table(by_stage), calls, unknown, left_out, without_unit)


def _codes(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """The texts of a column, and for every row the position of its text; -1 for a missing one."""
    plain = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    coded = plain.unify_dictionaries().combine_chunks()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    codes = pc.fill_null(coded.indices, -1) if coded.null_count else coded.indices
    return coded.dictionary.cast(_TEXT), codes.to_numpy().astype(np.int64)


def _order(units: np.ndarray, at: np.ndarray, variant: np.ndarray, table: pa.Table) -> np.ndarray:
    """Rows by unit and time; simultaneous ones by variant, then distinct id."""
    if not len(at):
        return np.zeros(0, dtype=np.int64)
    low, span = int(at.min()), int(at.max()) - int(at.min()) + 1
    if (int(units.max()) + 1) * span < 2**62:
        key = units * span + (at - low)
        order = np.argsort(key)
    else:
        order = np.lexsort((at, units))
        key = np.empty(len(at), dtype=np.int64)
        ordered = (units[order], at[order])
        key[order] = np.cumsum(np.append(True, (np.diff(ordered[0]) != 0) | (np.diff(ordered[1]) != 0)))
    sorted_key = key[order]
    same = np.zeros(len(order) + 1, dtype=bool)
    same[1:-1] = sorted_key[1:] == sorted_key[:-1]
    tied = np.flatnonzero(same[1:] | same[:-1])
    if len(tied):
        rows = order[tied]
        ids = table.column("distinct_id").take(pa.array(rows)).cast(_TEXT)
        distinct = pc.rank(pc.fill_null(ids, "").combine_chunks(), tiebreaker="dense").to_numpy()
        order[tied] = rows[np.lexsort((distinct, variant[rows], key[rows]))]
    return order


def _texts(table: pa.Table, name: str, rows: np.ndarray) -> pa.ChunkedArray:
    return table.column(name).take(pa.array(rows)).cast(_TEXT)


def _stage_of(at: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Position of the stage that holds each time; -1 outside all."""
    if not len(starts):
        return np.full(len(at), -1, dtype=np.int64)
    stage = np.searchsorted(starts, at, side="right").astype(np.int64) - 1
    return np.where((stage >= 0) & (at < ends[stage]), stage, -1)


def _first(keys: np.ndarray) -> np.ndarray:
    """Positions where a new key begins in a sorted column."""
    if not len(keys):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))


def _distinct(keys: np.ndarray, variant: np.ndarray, n: int) -> np.ndarray:
    """Number of distinct variants per key, for sorted keys."""
    if not n:
        return np.zeros(0, dtype=np.int64)
    width = int(variant.max()) + 1
    dense = np.cumsum(np.append(False, keys[1:] != keys[:-1]))
    if width > 8:
        return np.bincount(np.unique(dense * width + variant) // width, minlength=n)
    seen = [np.bincount(dense[variant == arm], minlength=n) > 0 for arm in range(width)]
    return np.asarray(np.sum(seen, axis=0, dtype=np.int64))


def merge(parts: Sequence[Found]) -> Found:
    """What all shards found, as one."""
    return Found(
        pa.concat_tables([part.people for part in parts]),
        pa.concat_tables([part.by_stage for part in parts]),
        *(sum(getattr(part, name) for part in parts) for name in _COUNTS),
    )


_COUNTS = ("calls", "unknown", "only_unknown", "without_unit")
