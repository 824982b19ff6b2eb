"""The rows of an evaluation: who they are, which groups they belong to, and where their properties stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd

from canarykit.bucketing import posthog_hash01
from canarykit.errors import DataError, require_kind
from canarykit.hashing.arrow_texts import text_chunks, well_formed
from canarykit.parallel import in_halves
from canarykit.targeting.matcher import Matcher
from canarykit.targeting.property_columns import Column, PropertyTable, require_column

SERVER_ID_LENGTH = 200
"""The flags service cuts longer ids, counted in Unicode scalars, before it hashes them."""

_INITIAL = (
    "$app_build", "$app_name", "$app_namespace", "$app_version", "$browser", "$browser_version",
    "$device_type", "$current_url", "$pathname", "$os", "$os_version", "$referring_domain", "$referrer",
    "$screen_height", "$screen_width", "$viewport_height", "$viewport_width", "$raw_user_agent",
    "utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term", "gclid", "gad_source", "gclsrc",
    "dclid", "gbraid", "wbraid", "fbclid", "msclkid", "twclid", "li_fat_id", "mc_cid", "igshid", "ttclid",
    "rdt_cid", "epik", "qclid", "sccid", "irclid", "_kx",
)  # fmt: skip
INITIAL_OF = {f"$initial_{key.removeprefix('$')}": key for key in _INITIAL}
"""First-touch properties that the server fills from the current one where they are absent."""


class View(Protocol):
    """Properties of as many rows as there are units."""

    def answers(self, key: str, matcher: Matcher) -> np.ndarray:
        """The matcher's answer for each row, as uint8."""


class Ids:
    """What is hashed, one id a row; hashes are computed once for each use."""

    def __init__(self, ids: Any, *, empty_is_zero: bool = False) -> None:
        import pyarrow as pa

        self.texts: Any = ids if isinstance(ids, pa.Array) else id_texts(ids)
        self.empty_is_zero = empty_is_zero
        self._hashes: dict[tuple[str, str], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def missing(self) -> np.ndarray:
        """Rows without an id."""
        if self.texts.null_count == 0:
            return np.zeros(len(self.texts), dtype=bool)
        return self.texts.is_null().to_numpy(zero_copy_only=False)

    @cached_property
    def empty(self) -> np.ndarray:
        """Rows whose id is missing or the empty text."""
        import pyarrow.compute as pc

        return pc.fill_null(pc.equal(pc.binary_length(self.texts), 0), True).to_numpy(zero_copy_only=False)

    def hash01(self, prefix: str, suffix: str = "", *, of_flag: bool = True) -> np.ndarray:
        """PostHog's number of each id; for flags the server takes 0 where the id is empty."""
        if (prefix, suffix) not in self._hashes:
            self._hashes[prefix, suffix] = self._hash01(prefix, suffix, of_flag)
        return self._hashes[prefix, suffix]

    def only(self, rows: np.ndarray) -> Ids:
        """The ids of some rows."""
        import pyarrow as pa

        return Ids(self.texts.filter(pa.array(rows)), empty_is_zero=self.empty_is_zero)

    def _hash01(self, prefix: str, suffix: str, of_flag: bool) -> np.ndarray:
        fractions = np.empty(len(self.texts))

        def fill(first: int, stop: int) -> None:
            part = self.texts.slice(first, stop - first)
            fractions[first:stop] = posthog_hash01(part, prefix=prefix, suffix=suffix)

        in_halves(len(fractions), fill)
        if self.empty_is_zero and of_flag and self.empty.any():
            fractions[self.empty & ~self.missing] = 0.0
        return fractions


class PersonView:
    """Properties of persons; for the server with the distinct id and first-touch properties filled in."""

    def __init__(self, table: PropertyTable, ids: Ids | None = None) -> None:
        self.table = table
        self.ids = ids

    def answers(self, key: str, matcher: Matcher) -> np.ndarray:
        """The matcher's answer for each row."""
        if self.ids is not None and key == "distinct_id":
            return Column(self.ids.texts, None).answers(matcher)
        column = self.table.column(key)
        fallback = self.table.column(INITIAL_OF[key]) if self.ids is not None and key in INITIAL_OF else None
        if fallback is None:
            return _or_absent(column, matcher, self.table.rows)
        filled = fallback.answers(matcher)
        return filled if column is None else np.where(column.absent, filled, column.answers(matcher))


@dataclass
class Groups:
    """The group of one type each row belongs to, as properties and as ids."""

    ids: Ids  # group key of each row; missing where the row has no group of this type
    table: PropertyTable | None  # properties of the groups, or None where none were given
    positions: np.ndarray  # row of `table` of each unit, -1 where its group is not in the table

    def answers(self, key: str, matcher: Matcher) -> np.ndarray:
        """The matcher's answer for each row, from the properties of its group."""
        column = None if self.table is None else self.table.column(key)
        if key == "$group_key" and column is None:
            return Column(self.ids.texts, None).answers(matcher)
        by_group = _or_absent(column, matcher, 0 if self.table is None else self.table.rows)
        return np.append(by_group, np.uint8(matcher.absent))[self.positions]


@dataclass
class Units:
    """Everything an evaluation may ask about its rows."""

    ids: Ids  # distinct id of each row
    persons: PersonView  # properties of the persons
    devices: Ids | None = None  # device id of each row, or None where there are none
    groups: Mapping[str, Groups] = field(default_factory=dict)  # groups by the name of their type
    # name of each group type by its index as text
    group_types: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.ids)

    @cached_property
    def devices_or_persons(self) -> Ids:
        """The device of each row; the person where it has none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.devices is None:
            return self.ids
        without = pa.array(self.devices.empty)
        texts = pc.if_else(without, self.ids.texts, self.devices.texts)
        return Ids(texts, empty_is_zero=self.ids.empty_is_zero)

    def groups_of(self, index: int | None) -> Groups | None:
        """The groups of a type by its index; None where the type is unknown or no row names one."""
        return self.groups.get(self.group_types.get(str(index), ""))


def read_units(
    persons: pd.DataFrame,
    *,
    groups: pd.DataFrame | Mapping[str, pd.DataFrame] | None,
    group_types: Mapping[str, str],
    distinct_id: str,
    device_id: str,
    properties: str,
    group_columns: Mapping[str, str],
    server: bool,
) -> Units:
    """Read the rows of an evaluation from frames."""
    require_kind("persons", persons, pd.DataFrame, "a pandas frame with one row a person", error=DataError)
    tables = group_tables(groups, group_types)
    ids = Ids(
        _cut(id_texts(require_column(persons, distinct_id, "the distinct id")), server), empty_is_zero=server
    )
    table = PropertyTable(persons, properties=properties)
    devices = Ids(persons[device_id]) if device_id in persons.columns else None
    of_groups = {}
    for index, name in group_types.items():
        choices = [group_columns[name]] if name in group_columns else [f"$group_{index}", name]
        column = next((choice for choice in choices if choice in persons.columns), None)
        if column is None and name in group_columns:
            require_column(persons, group_columns[name], f"the {name} of each row")
        if column is not None:
            of_groups[name] = _groups(persons[column], tables.get(name), name, properties, server)
    return Units(ids, PersonView(table, ids if server else None), devices, of_groups, dict(group_types))


def group_tables(
    groups: pd.DataFrame | Mapping[str, pd.DataFrame] | None, group_types: Mapping[str, str]
) -> Mapping[str, pd.DataFrame]:
    """Groups by the name of their type; one frame of all types, as an export has it, is taken apart."""
    if not isinstance(groups, pd.DataFrame):
        return groups or {}
    index = require_column(groups, "group_type_index", "the type of each group").astype(str)
    return {name: groups[index == number] for number, name in group_types.items()}


def id_texts(ids: Any) -> Any:
    """Ids as one Arrow array of texts, null where missing; whole floats lose their `.0`."""
    import pyarrow as pa

    parts = []
    for chunk in text_chunks(ids, "refuse"):
        texts = chunk.texts
        if pa.types.is_large_binary(texts.type):  # lone surrogates, written as U+FFFD
            texts = pa.array(
                [None if text is None else well_formed(text).decode() for text in texts.to_pylist()]
            )
        if chunk.codes is not None:
            texts = texts.take(pa.array(chunk.codes, mask=chunk.codes < 0))
        parts.append(texts.cast(pa.large_string()))
    if len(parts) == 1:
        return parts[0]
    return pa.concat_arrays(parts) if parts else pa.array([], pa.large_string())


def _cut(texts: Any, server: bool) -> Any:
    import pyarrow.compute as pc

    if not server or not len(texts):
        return texts
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if np.diff(offsets).max() <= SERVER_ID_LENGTH:
        return texts
    return pc.utf8_slice_codeunits(texts, 0, SERVER_ID_LENGTH)


def _groups(keys: pd.Series, table: pd.DataFrame | None, name: str, properties: str, server: bool) -> Groups:
    ids = Ids(keys, empty_is_zero=server)
    if table is None:
        return Groups(ids, None, np.full(len(ids), -1))
    named = next((column for column in ("group_key", name) if column in table.columns), None)
    index = pd.Index(id_texts(table[named] if named else table.index.to_series()).to_pandas())
    if not index.is_unique:
        raise DataError(f"two rows of groups[{name!r}] have the key {index[index.duplicated()][0]!r}")
    positions = index.get_indexer(pd.Index(ids.texts.to_pandas()))
    positions[ids.missing] = -1
    return Groups(ids, PropertyTable(table, properties=properties), positions)


def _or_absent(column: Column | None, matcher: Matcher, rows: int) -> np.ndarray:
    return np.full(rows, matcher.absent, dtype=np.uint8) if column is None else column.answers(matcher)
