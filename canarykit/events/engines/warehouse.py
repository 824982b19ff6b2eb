"""Values inside JSON columns of ibis tables, by the function each database has for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from canarykit.events.documents import UNSURE_VALUE
from canarykit.events.fields import PRESENT, Json
from canarykit.events.text import pointer

__all__ = ["can_take", "is_bound", "is_ibis", "keep_matching", "readable", "suspects", "take_json", "to_sql"]


def _dotted(path: Sequence[str]) -> str:
    return "$" + "".join(f'."{key}"' for key in path)


def _bare(path: Sequence[str]) -> str:
    return ".".join(f'"{key}"' for key in path)


def _bracketed(path: Sequence[str]) -> str:
    return "$" + "".join(f"['{key}']" for key in path)


# Functions that give the bare text of a value: strings without quotes, everything else as its JSON.
_FUNCTIONS: dict[str, tuple[str, Callable[[Sequence[str]], str]]] = {
    "duckdb": ("json_extract_string", pointer),
    "bigquery": ("JSON_VALUE", _dotted),
    "snowflake": ("JSON_EXTRACT_PATH_TEXT", _bare),
    "trino": ("json_extract_scalar", _dotted),
    "databricks": ("get_json_object", _bracketed),
    "pyspark": ("get_json_object", _bracketed),
}


def is_ibis(table: Any) -> bool:
    """Whether a table is an ibis expression."""
    return type(table).__module__.partition(".")[0] == "ibis"


def is_bound(table: Any) -> bool:
    """Whether a table can be asked: it is an ibis table of a database, or no ibis table."""
    return not is_ibis(table) or _dialect(table) is not None


def can_take(table: Any, part: Json, dialect: str | None) -> bool:
    """Whether the database behind a table can take a value out of JSON itself."""
    if not is_ibis(table):
        return False
    known = dialect or _dialect(table)
    return known in _FUNCTIONS and not any('"' in key for key in part.path)


def readable(table: Any) -> Any:
    """An ibis table whose uuids are texts: Arrow has no type for them that every database fills."""
    kinds = table.schema()
    ids = [name for name in table.columns if kinds[name].is_uuid()]
    return table.mutate(**{name: table[name].cast("string") for name in ids}) if ids else table


def suspects(table: Any, column: str) -> Any:
    """Documents of an ibis table that may hold no object, as a one-column table; None if that needs all."""
    kind = table.schema()[column]
    document = table[column]
    if kind.is_json():
        text = document.cast("string")
        return table.filter(text.notnull() & ~text.lstrip().startswith("{")).select(**{column: text})
    if kind.is_string() and _dialect(table) == "duckdb":
        valid = _builtin("json_valid", "string", "boolean")(document) & document.lstrip().startswith("{")
        return table.filter(document.notnull() & ~valid).select(column)
    return None


def take_json(
    table: Any,
    parts: Mapping[Json, str],
    columns: Sequence[str],
    dialect: str | None,
    odd: Mapping[str, str],
) -> Any:
    """The columns of an ibis table, and the values out of its JSON columns under their names.

    `odd` names, by column, where a document is handed out whole because its values have to be read here.
    """
    import ibis

    known = dialect or _dialect(table)
    function, say = _FUNCTIONS[known or ""]
    taken = {}
    for part, name in parts.items():
        document = table[part.column]
        kind = "json" if document.type().is_json() else "string"
        value = _builtin(function, kind)(document, say(part.path))
        if known == "duckdb" and kind == "string":
            value = ibis.ifelse(_builtin("json_valid", kind, "boolean")(document), value, ibis.null("string"))
        taken[name] = value
    for column, name in odd.items():
        text = table[column].cast("string")
        unsure = ~text.lstrip().startswith("{")
        for part, value_name in parts.items():
            if part.column == column:
                value = taken[value_name]
                there = text.contains(part.path[-1]) | text.contains("\\")
                unsure |= (value.isnull() & there) | value.re_search(UNSURE_VALUE)
        taken[name] = ibis.ifelse(unsure.fill_null(True), text, ibis.null("string"))
    return table.select(*columns, **taken)


def keep_matching(table: Any, wanted: Sequence[tuple[str, str, Any]]) -> Any:
    """Rows of an ibis table whose values a question's filters allow, or whose document is read here.

    `wanted` has, for each filter, the column of the value, that of the odd documents, and what is allowed.
    """
    for name, odd, allowed in wanted:
        column = table[name]
        if allowed is PRESENT:
            kept = column.notnull()
        else:
            kept = column.isin([text for text in allowed if text is not None])
            kept = kept | column.isnull() if None in allowed else kept
        table = table.filter(kept | table[odd].notnull())
    return table


def to_sql(table: Any, dialect: str | None) -> str:
    """The SQL of an ibis table."""
    import ibis

    return str(ibis.to_sql(table, dialect=dialect) if dialect else ibis.to_sql(table))


def _dialect(table: Any) -> str | None:
    from ibis.common.exceptions import IbisError

    try:
        return str(table.get_backend().name)
    except IbisError:  # a table that is bound to no database
        return None


@cache
def _builtin(name: str, document: str, returns: str = "string") -> Any:
    """A function of the database, as ibis wants it declared."""
    import ibis

    def take(document: Any, path: Any) -> Any: ...

    def check(document: Any) -> Any: ...

    if returns == "string":
        return ibis.udf.scalar.builtin(take, name=name, signature=((document, "string"), returns))
    return ibis.udf.scalar.builtin(check, name=name, signature=((document,), returns))
