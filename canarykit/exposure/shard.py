"""First exposures of one actor shard: arrays in, small tables out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.events.text import codes_of, in_codes
from canarykit.exposure.calls import without_copies
from canarykit.exposure.order import ranks, settled

UNKNOWN = ("", "null", "None", "undefined")
_TEXT = pa.string()


@dataclass(frozen=True, eq=False)
class Found:
    """What a shard found."""

    # first exposures of every unit, and of every unit and stage
    people: pa.Table
    by_stage: pa.Table
    # one row per unit and stage in which several variants were seen: what was seen first and next, and under
    # which ids
    changes: pa.Table
    # one row per unit and stage whose calls there all came back without a known value
    without_value: pa.Table
    # calls; those without a known value; units that never had one; calls without a unit
    calls: int
    unknown: int
    only_unknown: int
    without_unit: int

    def counts(self) -> Found:
        """The same without its rows."""
        tables = (self.people, self.by_stage, self.changes, self.without_value)
        return Found(*(table.schema.empty_table() for table in tables), *(getattr(self, n) for n in _COUNTS))


def reduce_shard(
    table: pa.Table,
    *,
    unit: str,
    value: str,
    starts: np.ndarray,
    ends: np.ndarray,
    properties: Sequence[str] = (),
) -> Found:
    """First exposures of one shard. Ties in time go by the variant's name, so that every engine agrees.

    `properties` are columns whose value at the first exposure comes along.
    """
    if "event" in table.column_names:
        table = without_copies(table, unit, value)
    calls = table.num_rows
    table = table.filter(pc.is_valid(table.column(unit)))
    without_unit = calls - table.num_rows
    names, units = codes_of(table.column(unit))
    everybody = int(np.count_nonzero(np.bincount(units, minlength=1)))
    values, value_codes = codes_of(table.column(value))
    order_of_values = pc.sort_indices(values).to_numpy()
    rank = np.append(np.argsort(order_of_values), -1)
    is_unknown = pc.is_in(values, value_set=pa.array(UNKNOWN, _TEXT)).to_numpy(zero_copy_only=False)
    rank[:-1][is_unknown] = -1
    variant = rank[value_codes]
    has_value = variant >= 0
    unknown = int((~has_value).sum())
    without_value = _without_value(table, names, units, has_value, starts, ends)
    if unknown:
        table, variant, units = table.filter(pa.array(has_value)), variant[has_value], units[has_value]
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
        **{name: _texts(table, name, order[first]) for name in properties},
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
        **{name: _texts(table, name, order[rows]) for name in properties},
    }
    changes = _changes(table, cell, variant[inside], at[inside], order[inside], begin)
    changed = rows[changes.pop("cell")]
    changes = {
        "unit": names.take(pa.array(units[changed])),
        "stage": pa.array(stage[changed]),
        "variant": variants.take(pa.array(variant[changed])),
        "at": pa.array(at[changed]),
        "next_variant": variants.take(pa.array(changes.pop("next_variant"))),
        **{name: pa.array(column) for name, column in changes.items()},
    }
    left_out = everybody - len(first)
    return Found(
        pa.table(people),
        pa.table(by_stage),
        pa.table(changes),
        without_value,
        calls,
        unknown,
        left_out,
        without_unit,
    )


def _changes(
    table: pa.Table,
    cell: np.ndarray,
    variant: np.ndarray,
    at: np.ndarray,
    row: np.ndarray,
    begin: np.ndarray,
) -> dict[str, np.ndarray]:
    """What the units of several variants saw, one entry per unit and stage; rows sorted by unit and time.

    `cell` (a position in `begin`), `next_variant` and `changed_at` (the first other variant), `last_at`
    (the last time with the first variant before it), `ids` (ids it was seen under), `switches` (changes
    from one call to the next of the same id).
    """
    dense = np.cumsum(np.append(False, cell[1:] != cell[:-1])) if len(cell) else cell
    first = variant[begin][dense] if len(cell) else variant
    other = np.flatnonzero(variant != first)
    several, first_other = np.unique(dense[other], return_index=True)
    change = other[first_other]  # position of the first other variant; what precedes it is the first variant
    mine = np.isin(dense, several)
    rows = np.flatnonzero(mine)
    _, id_codes = codes_of(table.column("distinct_id").take(pa.array(row[rows])))
    order = np.lexsort((np.arange(len(rows)), id_codes, dense[rows]))  # each id's calls in order of time
    who, by_id, seen = dense[rows][order], id_codes[order], variant[rows][order]
    same = np.zeros(len(rows), dtype=bool)
    same[1:] = (who[1:] == who[:-1]) & (by_id[1:] == by_id[:-1])
    switched = same.copy()
    switched[1:] &= seen[1:] != seen[:-1]
    position = np.searchsorted(several, who)
    return {
        "cell": several.astype(np.int64),
        "next_variant": variant[change],
        "changed_at": at[change],
        "last_at": at[change - 1] if len(change) else at[:0],
        "ids": np.bincount(position[~same], minlength=len(several)),
        "switches": np.bincount(position[switched], minlength=len(several)),
    }


def _without_value(
    table: pa.Table,
    names: pa.Array,
    units: np.ndarray,
    has_value: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
) -> pa.Table:
    """Units and stages of which no call had a known value: their first call and its id."""
    at = table.column("timestamp").cast(pa.int64()).to_numpy()
    stage = _stage_of(at, starts, ends)
    cell = units * (len(starts) + 1) + stage + 1
    lost = np.flatnonzero(~has_value & ~np.isin(cell, cell[has_value]))
    ids, codes = codes_of(table.column("distinct_id").take(pa.array(lost)))
    rank = np.argsort(pc.sort_indices(ids).to_numpy())
    order = np.lexsort((np.append(rank, -1)[codes], at[lost], cell[lost]))
    lost = lost[order]
    first = lost[_first(cell[lost])]
    return pa.table(
        {
            "unit": names.take(pa.array(units[first])),
            "person_id": _texts(table, "person_id", first),
            "stage": pa.array(stage[first]),
            "at": pa.array(at[first]),
            "distinct_id": _texts(table, "distinct_id", first),
        }
    )


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

    def settle(rows: np.ndarray) -> tuple[np.ndarray, ...]:
        ids = table.column("distinct_id").take(pa.array(rows)).cast(_TEXT)
        return ranks(pc.fill_null(ids, "")), variant[rows]

    return settled(order, key, settle)


def _texts(table: pa.Table, name: str, rows: np.ndarray) -> pa.ChunkedArray:
    column = table.column(name)
    if pa.types.is_dictionary(column.type):  # Arrow would bring the dictionaries of all pieces together
        column = pa.chunked_array([in_codes(column)])
    return column.take(pa.array(rows)).cast(_TEXT)


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
        pa.concat_tables([part.changes for part in parts]),
        pa.concat_tables([part.without_value for part in parts]),
        *(sum(getattr(part, name) for part in parts) for name in _COUNTS),
    )


_COUNTS = ("calls", "unknown", "only_unknown", "without_unit")
