"""Where an event log finds a column that somebody asks for by name.

`event`, `timestamp`, `distinct_id`, `person_id`, `session_id`, `uuid` and `created_at` are canonical;
`person.<name>` and `group<i>.<name>` are properties of the person and the group; `$group_<i>` is the key
of the group; any other name is a property of the event.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from canarykit.errors import DataError
from canarykit.events.text import value_text

TIMES = ("timestamp", "created_at")
_GROUP_KEY = re.compile(r"\$group_(\d)")
_GROUP_PROPERTY = re.compile(r"group(\d)\.(.+)", re.DOTALL)


class _Present:
    """The one value that stands for "there, whatever it is" in `where=`."""

    def __repr__(self) -> str:
        return "PRESENT"

    def __reduce__(self) -> str:
        return "PRESENT"


PRESENT = _Present()


@dataclass(frozen=True)
class Column:
    """A column of the frame, file or table."""

    name: str


@dataclass(frozen=True)
class Json:
    """A value inside a column of JSON text."""

    column: str
    path: tuple[str, ...]


@dataclass(frozen=True)
class Lookup:
    """A property of the person or group, found through another field of the row."""

    table: Literal["person", "group"]
    by: str
    property: str
    group_type_index: int | None = None


@dataclass(frozen=True)
class Field:
    """One column of an answer: the places to look in turn, and the lookup that comes before them."""

    name: str
    parts: tuple[Column | Json, ...]
    lookup: Lookup | None = None
    is_time: bool = False
    is_person: bool = False


@dataclass(frozen=True)
class Query:
    """A narrow question to an engine, with every name resolved."""

    fields: tuple[Field, ...]  # what to hand out, in order
    events: tuple[str, ...] | None  # event names to keep; None keeps all
    # half-open window in UTC microseconds
    since: int | None
    until: int | None
    # `(field, allowed texts)`; None among the texts allows a missing value, `PRESENT` any other
    where: tuple[tuple[Field, Any], ...]
    actor: Field  # all rows with the same value of this field come in one shard
    support: tuple[Field, ...] = ()  # fields that lookups and the cutting into shards go by
    native: frozenset[str] = frozenset()  # names of fields that may come in their stored type instead of text
    # whether rows outside `events`, `since` and `until` must be left out; False where whoever asks skips
    # them, and an engine that holds them at hand need not copy the others
    exact: bool = True

    def stored(self) -> tuple[Field, ...]:
        """The fields an engine reads: those asked for, and those that lookups and filters need."""
        needed: dict[str, Field] = {}
        for field in (*self.fields, *(field for field, _ in self.where), *self.support):
            needed.setdefault(field.name, field)
        return tuple(needed.values())


@dataclass(frozen=True)
class Resolver:
    """Turns names into fields, given which columns there are."""

    columns: Collection[str]  # columns of the frame, file or table
    mapping: Mapping[str, str]  # canonical name to column
    # which lookups exist
    has_persons: bool
    group_indexes: Collection[int]
    group_types: Mapping[str, int]  # index of each group type by name

    def field(self, name: str) -> Field:
        """The field of a name; a property that no event has is a field without places to look."""
        if name in ("event", "timestamp", "distinct_id", "uuid", "created_at"):
            return Field(name, self._column(self.mapping.get(name, name)), is_time=name in TIMES)
        if name == "person_id":
            parts = (*self._column(self.mapping["person_id"]), *self._column(self.mapping["distinct_id"]))
            return Field(name, parts, is_person=True)
        if name == "session_id":
            return Field(name, self._event_property(self.mapping["session_id"]))
        if name.startswith("person."):
            return self._person_property(name, name.removeprefix("person."))
        if match := _GROUP_PROPERTY.fullmatch(name):
            return self._group_property(name, int(match[1]), match[2])
        if match := _GROUP_KEY.fullmatch(name):
            return Field(name, self._group_key(name, int(match[1])))
        if name.startswith("properties.") and name not in self.columns:
            return Field(name, self._json("properties", name.removeprefix("properties.")))
        return Field(name, self._event_property(name))

    def lookup_keys(self, fields: Iterable[Field]) -> tuple[Field, ...]:
        """The fields that lookups go by, so that an engine reads them too."""
        return tuple(self.field(name) for name in dict.fromkeys(f.lookup.by for f in fields if f.lookup))

    def _column(self, name: str) -> tuple[Column, ...]:
        return (Column(name),) if name in self.columns else ()

    def _json(self, canonical: str, *path: str) -> tuple[Json, ...]:
        column = self.mapping.get(canonical, canonical)
        return (Json(column, path),) if column in self.columns else ()

    def _event_property(self, name: str) -> tuple[Column | Json, ...]:
        return (*self._column(name), *self._json("properties", name))

    def _person_property(self, name: str, key: str) -> Field:
        parts: tuple[Column | Json, ...]
        parts = (*self._column(name), *self._json("person_properties", key))
        return Field(name, parts, Lookup("person", "person_id", key) if self.has_persons else None)

    def _group_property(self, name: str, index: int, key: str) -> Field:
        is_group = index in self.group_indexes
        lookup = Lookup("group", f"$group_{index}", key, index) if is_group else None
        parts: tuple[Column | Json, ...]
        parts = (*self._column(name), *self._json(f"group{index}_properties", key))
        return Field(name, parts, lookup)

    def _group_key(self, name: str, index: int) -> tuple[Column | Json, ...]:
        names = [group for group, at in self.group_types.items() if at == index]
        sources: list[Column | Json] = list(self._event_property(name))
        for group in names:
            sources += [*self._json("properties", "$groups", group), *self._json("$groups", group)]
        return tuple(sources)


def wanted_values(name: str, value: Any) -> Any:
    """The texts a filter allows: one value, a list of them, None for missing, or `PRESENT`."""
    if isinstance(value, _Present):
        return PRESENT
    listed = value if isinstance(value, list | tuple | set | frozenset) else [value]
    texts = [value_text(item) for item in listed]
    if not texts:
        raise DataError(f"where allows no value of {name!r}; leave it out, or name the values to keep")
    return tuple(dict.fromkeys(texts))
