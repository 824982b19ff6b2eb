"""Schemas of files that are read together: which columns fit, and which only as their texts."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from canarykit.events.sql import quoted


def kind_of_type(kind: pa.DataType) -> str:
    """What a type holds, so far as it matters to reading two files together."""
    if pa.types.is_dictionary(kind):
        return kind_of_type(kind.value_type)
    if pa.types.is_null(kind):
        return "nothing"
    if pa.types.is_timestamp(kind):
        return "local time" if kind.tz is None else "moment"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    return "whole number" if pa.types.is_integer(kind) else str(kind)


def conflicts_of(schemas: Sequence[pa.Schema]) -> frozenset[str]:
    """Columns that hold different things in different files."""
    kinds: dict[str, set[str]] = {}
    for schema in schemas:
        for field in schema:
            kinds.setdefault(field.name, set()).add(kind_of_type(field.type))
    return frozenset(name for name, several in kinds.items() if len(several - {"nothing"}) > 1)


def text_sql(name: str, kind: pa.DataType) -> str:
    """SQL for a column of one file as text."""
    column = quoted(name)
    if pa.types.is_timestamp(kind):
        zone = "" if kind.tz is None else "Z"
        local = f"{column}::TIMESTAMP" if kind.tz is None else f"{column}::TIMESTAMPTZ AT TIME ZONE 'UTC'"
        return f"strftime({local}, '%Y-%m-%dT%H:%M:%S.%f{zone}')"
    if pa.types.is_floating(kind):
        return f"CASE WHEN isfinite({column}) THEN regexp_replace({column}::VARCHAR, '\\.0$', '') END"
    if pa.types.is_nested(kind):
        return f"to_json({column})::VARCHAR"
    return f"{column}::VARCHAR"
