"""Which column says what in the files of a log, and which questions narrow columns can answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import pyarrow as pa

from canarykit.events.fields import Column, Field, Json, Query


@dataclass(frozen=True)
class Digest:
    """The hash of a column's texts: enough to see that none comes twice."""

    column: str


Part = Column | Json | Digest
"""A column of the files, a value inside one of JSON text, or the hash of a column."""

_READABLE = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean, pa.types.is_integer,
    pa.types.is_floating, pa.types.is_dictionary, pa.types.is_null,
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Columns of files that all have one schema."""

    # columns of the event's name, and of its time (a moment, or UTC)
    event: str
    time: str
    ids: tuple[str, ...]  # columns that say who an event belongs to, in turn
    distinct_id: str  # column of the distinct id; it is looked up among the persons, where there are any
    properties: str  # column of the properties, if it is JSON text; "" if there is none

    @property
    def core(self) -> tuple[Column, ...]:
        """What every question needs: the name, the time and whom an event belongs to."""
        return tuple(Column(name) for name in dict.fromkeys((self.event, self.time, *self.ids)))

    @property
    def words(self) -> str:
        """The layout as text, to tell apart what was taken out under another one."""
        return json.dumps(asdict(self), sort_keys=True)

    def parts(self, query: Query, schema: pa.Schema) -> tuple[Part, ...] | None:
        """All that a question needs of the files; None where only SQL can answer it."""
        if query.events is not None and "$snapshot" in query.events:
            return None
        parts: dict[Part, None] = dict.fromkeys(self.core)
        for field in query.stored():
            if field.is_person:
                continue
            for part in field.parts:
                if not _is_readable(part, field, schema):
                    return None
                parts[part] = None
        return tuple(parts)


def layout_of(mapping: Mapping[str, str], schema: pa.Schema | None, zone: str | None) -> Layout | None:
    """The layout of files with a schema; None where their columns need SQL to be read."""
    if schema is None:
        return None
    names = schema.names
    event, time = mapping["event"], mapping["timestamp"]
    if not {event, time} <= set(names):
        return None
    kind = schema.field(time).type
    if not pa.types.is_timestamp(kind) or (kind.tz is None and zone != "UTC"):
        return None
    if not _is_text(schema.field(event).type):
        return None
    ids = tuple(mapping[name] for name in ("person_id", "distinct_id") if mapping[name] in names)
    if not all(any(check(schema.field(name).type) for check in _READABLE) for name in ids):
        return None
    properties = mapping["properties"]
    if properties in names and not _is_text(schema.field(properties).type):
        return None
    return Layout(event, time, ids, mapping["distinct_id"], properties if properties in names else "")


def part_name(part: Part) -> str:
    """A part as text.

    Examples
    --------
    >>> part_name(Column("event")), part_name(Json("properties", ("$groups", "organization")))
    ('["event"]', '["properties", "$groups", "organization"]')
    """
    if isinstance(part, Digest):
        return json.dumps({"digest": part.column})
    return json.dumps([part.name] if isinstance(part, Column) else [part.column, *part.path])


def part_of(name: str) -> Part:
    """The part behind its text."""
    read = json.loads(name)
    if isinstance(read, dict):
        return Digest(read["digest"])
    column, *path = read
    return Json(column, tuple(path)) if path else Column(column)


def _is_readable(part: Column | Json, field: Field, schema: pa.Schema) -> bool:
    if isinstance(part, Json):
        return _is_text(schema.field(part.column).type)
    kind = schema.field(part.name).type
    if field.is_time:
        return pa.types.is_timestamp(kind) and (kind.tz is not None or field.name == "timestamp")
    return any(check(kind) for check in _READABLE)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
