"""Persons and groups beside the events: who a distinct id is, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from canarykit.display import Note
from canarykit.documents import read_json
from canarykit.errors import DataError, did_you_mean
from canarykit.events.documents import object_columns
from canarykit.events.engine import Lookups
from canarykit.events.engines.rows import Rows
from canarykit.events.mapping import persons_ids
from canarykit.events.text import as_text, frame_column, id_text
from canarykit.hashing import COMPILED_FROM, hash_ids

_TEXT = pa.string()
_PERSON_EXTRAS = (
    "team_id", "properties", "person_version", "person_distinct_id_version", "created_at", "is_deleted",
    "_inserted_at", "version", "is_identified", "distinct_ids",
)  # fmt: skip
_GROUP_EXTRAS = ("team_id", "properties", "group_properties", "created_at", "updated_at", "version")


def read_persons(rows: Rows) -> tuple[pd.DataFrame, list[Note]]:
    """One row per distinct id: `person_id`, `distinct_id`, and a column per property."""
    frame = rows.frame
    frame = frame.rename(columns={"id": "person_id"}) if "person_id" not in frame.columns else frame
    if "distinct_ids" in frame.columns and "distinct_id" not in frame.columns:
        frame = frame.assign(distinct_id=frame["distinct_ids"].map(_listed)).explode("distinct_id")
        frame = frame.reset_index(drop=True)
    id_columns = [name for name in ("person_id", "distinct_id") if name in frame.columns]
    if not id_columns:
        said = f"the persons lack 'person_id' and 'distinct_id'; {_known(frame, 'person_id')}"
        ids_of = persons_ids(list(map(str, frame.columns)))
        meant = [f"persons=table.rename(columns={{{name!r}: 'distinct_id'}})" for name in ids_of]
        raise DataError(f"{said} Did you mean {' or '.join(meant)}?" if meant else said)
    notes: list[Note] = []
    ids = {name: _id_column(frame, name) for name in id_columns}
    person = ids.get("person_id", ids.get("distinct_id"))
    distinct = ids.get("distinct_id", person)
    assert person is not None
    assert distinct is not None
    keep = (person.notna() & distinct.notna()).to_numpy()
    if "is_deleted" in frame.columns:
        deleted = [str(value).lower() in ("true", "1") for value in frame["is_deleted"].tolist()]
        keep = keep & ~np.array(deleted, dtype=bool)
    if dropped := int((~keep).sum()):
        notes.append(Note("persons_dropped", "rows of the persons export deleted or without ids", dropped))
    order = np.arange(len(frame))
    if "person_distinct_id_version" in frame.columns:
        version = pd.to_numeric(frame["person_distinct_id_version"], errors="coerce").fillna(-1).to_numpy()
        order = np.argsort(version, kind="stable")
    properties, lost = _properties(frame, ("properties",), (*_PERSON_EXTRAS, "person_id", "distinct_id"))
    notes += _unreadable("persons", lost)
    both = pd.DataFrame({"person_id": person, "distinct_id": distinct})
    listed = pd.concat([both, properties], axis=1)
    listed = listed.iloc[order[keep[order]]]
    single = _last_of_each(listed, "distinct_id")
    if repeated := len(listed) - len(single):
        notes.append(Note("persons_repeated", "older rows of the persons export replaced", repeated))
    return single.sort_index().reset_index(drop=True), notes


def read_groups(rows: Rows, group_types: Mapping[str, int]) -> tuple[pd.DataFrame, list[Note]]:
    """One row per group: `group_type_index`, `group_key`, and a column per property."""
    frame = rows.frame
    short = {"index": "group_type_index", "key": "group_key"}
    frame = frame.rename(columns={old: new for old, new in short.items() if new not in frame.columns})
    if "group_key" not in frame.columns:
        raise DataError(f"the groups lack 'group_key'; {_known(frame, 'group_key')}")
    if "group_type_index" in frame.columns:
        index = _numbers(frame["group_type_index"])
        whole = (index >= 0) & (index < 1_000) & (index % 1 == 0)
        if not whole.all():
            value = frame["group_type_index"][~whole].iloc[0]
            raise DataError(f"the groups have the group_type_index {value!r}; expected the number of a type")
    elif "group_type" in frame.columns:
        index = _numbers(frame["group_type"].map(lambda name: group_types.get(str(name), name)))
        if index.isna().any():
            name = str(frame["group_type"][index.isna()].iloc[0])
            raise DataError(f"group type {name!r} has no index; {did_you_mean(name, group_types)}")
    else:
        index = pd.Series(0, index=frame.index)
    skipped = (*_GROUP_EXTRAS, "group_type", "group_type_index", "group_key")
    properties, lost = _properties(frame, ("properties", "group_properties"), skipped)
    both = pd.DataFrame({"group_type_index": index.astype(int), "group_key": _id_column(frame, "group_key")})
    listed = pd.concat([both, properties], axis=1).dropna(subset="group_key")
    single = listed.drop_duplicates(["group_type_index", "group_key"], keep="last").reset_index(drop=True)
    return single, _unreadable("groups", lost)


def _unreadable(what: str, lost: int) -> list[Note]:
    text = f"{what} with properties that are not JSON objects: those properties are treated as missing"
    return [Note(f"{what}_unreadable", text, lost)] if lost else []


def identities_of(persons: pd.DataFrame | None) -> tuple[pa.Array, pa.Array] | None:
    """The distinct ids of the persons, and who each is."""
    if persons is None:
        return None
    return _texts(persons["distinct_id"]), _texts(persons["person_id"])


def lookups_of(persons: pd.DataFrame | None, groups: pd.DataFrame | None) -> Lookups:
    """Properties by person and by group as text, ready to be joined to events."""
    tables: dict[tuple[str, int | None], tuple[pa.Array, Mapping[str, pa.Array]]] = {}
    if persons is not None:
        single = _last_of_each(persons, "person_id")
        tables[("person", None)] = (_texts(single["person_id"]), _Columns(single))
    if groups is not None:
        for index in groups["group_type_index"].unique().tolist():
            members = groups[groups["group_type_index"] == index]
            tables[("group", int(index))] = (_texts(members["group_key"]), _Columns(members))
    return Lookups(tables)


class _Columns(Mapping[str, pa.Array]):
    """Columns of a frame as Arrow texts, made when first asked for."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self._made: dict[str, pa.Array] = {}

    def __getitem__(self, name: str) -> pa.Array:
        if name not in self._made:
            self._made[name] = _texts(self._frame[name])
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._frame.columns

    def __iter__(self) -> Any:
        return iter(self._frame.columns)

    def __len__(self) -> int:
        return self._frame.shape[1]


def _texts(series: pd.Series) -> pa.Array:
    whole = as_text(frame_column(series)).cast(_TEXT).combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _last_of_each(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The last row of each id. Ids whose hashes all differ are distinct, and that is quickly seen."""
    if len(frame) >= COMPILED_FROM:
        hashes = np.sort(hash_ids(frame[name], "sha1"))
        if (hashes[1:] != hashes[:-1]).all():
            return frame
    return frame.drop_duplicates(name, keep="last")


def _id_column(frame: pd.DataFrame, name: str) -> pd.Series:
    texts = id_text(frame_column(frame[name]), name).cast(_TEXT).to_pandas()
    values = texts.array if isinstance(texts.dtype, pd.StringDtype) else texts.to_numpy()
    return pd.Series(values, index=frame.index, name=name, dtype="str")


def _properties(
    frame: pd.DataFrame, names: tuple[str, ...], skipped: tuple[str, ...]
) -> tuple[pd.DataFrame, int]:
    """Properties out of a JSON column and out of columns of their own, and of how many rows they are lost."""
    flat = frame[[name for name in frame.columns if name not in skipped]]
    flat = flat.rename(columns=lambda name: str(name).removeprefix("properties."))
    column = next((name for name in names if name in frame.columns), None)
    if column is None:
        return flat, 0
    columns = object_columns(frame[column], _object)
    if columns is None:
        objects = [_object(value) for value in frame[column].tolist()]
        lost = sum(item is None for item in objects)
        plain = pd.DataFrame([item or {} for item in objects], index=frame.index, dtype=object)
    else:
        lost = columns[1]
        series = {
            name: pd.Series(values, index=frame.index, dtype=values.dtype)
            for name, values in columns[0].items()
        }
        plain = pd.DataFrame(series, index=frame.index)
    nested = _typed(plain)
    nested = nested[[name for name in nested.columns if name not in {"person_id", "distinct_id"}]]
    return pd.concat([flat.drop(columns=nested.columns, errors="ignore"), nested], axis=1), lost


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns in pandas' own types, but for whole numbers beside a gap: a float would lose digits."""
    return pd.DataFrame({name: _typed_column(frame[name]) for name in frame.columns}, index=frame.index)


def _typed_column(column: pd.Series) -> pd.Series:
    if column.dtype != object:
        return column
    if column.isna().any() and pd.api.types.infer_dtype(column, skipna=True) == "integer":
        return column
    try:
        return column.infer_objects()
    except OverflowError:  # pandas 2, of whole numbers beyond the largest float
        return column


def _object(value: Any) -> dict[str, Any] | None:
    """The properties of one row: an object, a map, or JSON of one (also twice); else None."""
    for _ in range(3):
        if not isinstance(value, str):
            break
        if not value.strip():
            return {}
        may_be_broken = "\\u" in value or not value.isascii()
        try:
            value = read_json(value)
        except ValueError:
            return None
        value = _whole_characters(value) if may_be_broken else value
    if isinstance(value, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        value = dict(value)
    if isinstance(value, dict):
        return value
    missing = (
        value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)
    )
    return {} if missing else None


def _whole_characters(value: Any) -> Any:
    """The same with U+FFFD for halves of characters (of a broken emoji), which no column can hold."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(name): _whole_characters(item) for name, item in value.items()}
    return value


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = read_json(value)
        except ValueError:
            return [value]
    return list(value) if isinstance(value, list | tuple | np.ndarray) else [value]


def _numbers(series: pd.Series) -> pd.Series:
    """Each value as a number; NaN where it is none (a list, a mapping, a text)."""
    plain = [value if isinstance(value, str | int | float | np.number) else None for value in series.tolist()]
    return pd.to_numeric(pd.Series(plain, index=series.index, dtype=object), errors="coerce").astype(float)


def _known(frame: pd.DataFrame, name: str) -> str:
    return did_you_mean(name, map(str, frame.columns))
