"""Values inside JSON columns of ibis tables, by the function each database has for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from canarykit.events.fields import PRESENT, Json
from canarykit.events.text import pointer

__all__ = ["can_take", "is_bound", "is_ibis", "keep_matching", "take_json", "to_sql"]


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


def take_json(table: Any, parts: Mapping[Json, str], columns: Sequence[str], dialect: str | None) -> Any:
    """The columns of an ibis table, and the values out of its JSON columns under their names."""
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
    return table.select(*columns, **taken)


def keep_matching(table: Any, wanted: Sequence[tuple[str, Any]]) -> Any:
    """Rows of an ibis table whose values a question's filters allow."""
    for name, allowed in wanted:
        column = table[name]
        if allowed is PRESENT:
            table = table.filter(column.notnull())
            continue
        kept = column.isin([text for text in allowed if text is not None])
        table = table.filter(kept | column.isnull() if None in allowed else kept)
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
