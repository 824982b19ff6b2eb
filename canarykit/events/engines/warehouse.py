"""Values inside JSON columns of ibis tables, by the function each database has for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from canarykit.events.documents import LONG_NUMBER, UNSURE_VALUE
from canarykit.events.fields import PRESENT, Json
from canarykit.events.text import pointer


def _dotted(path: Sequence[str]) -> str:
    return "$" + "".join(f'."{key}"' for key in path)


def _bare(path: Sequence[str]) -> str:
    return ".".join(f'"{key}"' for key in path)


def _bracketed(path: Sequence[str]) -> str:
    return "$" + "".join(f"['{key}']" for key in path)


_MOST_KEYS = 3


@dataclass(frozen=True)
class _Function:
    """The function that gives the bare text of a value: strings without quotes, all else as its JSON."""

    # its name, which may differ by the type of the column: "json", "jsonb" or "string"
    name: Mapping[str, str]
    # what it takes after the document, from the keys on the way
    say: Callable[[Sequence[str]], Sequence[str]]
    # function that tells whether a text is JSON, where the first one fails on others
    valid: str | None = None


def _of_any(name: str, say: Callable[[Sequence[str]], str], valid: str | None = None) -> _Function:
    return _Function(dict.fromkeys(("json", "jsonb", "string"), name), lambda path: (say(path),), valid)


_FUNCTIONS: dict[str, _Function] = {
    "duckdb": _of_any("json_extract_string", pointer, "json_valid"),
    "bigquery": _of_any("JSON_VALUE", _dotted),
    "snowflake": _of_any("JSON_EXTRACT_PATH_TEXT", _bare),
    "trino": _of_any("json_extract_scalar", _dotted),
    "athena": _of_any("json_extract_scalar", _dotted),
    "databricks": _of_any("get_json_object", _bracketed),
    "pyspark": _of_any("get_json_object", _bracketed),
    # a text has to be cast to JSON there, and one that is none would end the query: those are read here
    "postgres": _Function({"json": "json_extract_path_text", "jsonb": "jsonb_extract_path_text"}, list),
    "clickhouse": _Function({"json": "JSONExtractRaw", "string": "JSONExtractRaw"}, list),
    "mssql": _of_any("JSON_VALUE", _dotted, "ISJSON"),
    "mysql": _of_any("JSON_EXTRACT", _dotted, "JSON_VALID"),
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
    function = _FUNCTIONS.get(dialect or _dialect(table) or "")
    kind = table.schema()[part.column]
    return (
        function is not None
        and _kind(kind) in function.name
        and len(function.say(part.path)) <= _MOST_KEYS
        and not any('"' in key for key in part.path)
    )


def readable(table: Any) -> Any:
    """An ibis table whose uuids are texts: Arrow has no type for them that every database fills."""
    kinds = table.schema()
    ids = [name for name in table.columns if kinds[name].is_uuid()]
    return table.mutate(**{name: table[name].cast("string") for name in ids}) if ids else table


def suspects(table: Any, column: str) -> Any:
    """Documents of an ibis table that may not be readable, as a one-column table; None if that needs all."""
    kind = table.schema()[column]
    document = table[column]
    if kind.is_json():
        text = document.cast("string")
        odd = ~text.lstrip().startswith("{") | text.re_search(LONG_NUMBER)
        return table.filter(text.notnull() & odd).select(**{column: text})
    if kind.is_string() and _dialect(table) == "duckdb":
        valid = (_builtin("json_valid", kind, 0, "int")(document) == 1) & document.lstrip().startswith("{")
        return table.filter(document.notnull() & (~valid | document.re_search(LONG_NUMBER))).select(column)
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

    dialect_name = dialect or _dialect(table) or ""
    function = _FUNCTIONS[dialect_name]
    taken = {}
    for part, name in parts.items():
        document = table[part.column]
        keys = function.say(part.path)
        value = _builtin(function.name[_kind(document.type())], document.type(), len(keys))(document, *keys)
        value = _bare_text(value, document, keys, dialect_name)
        if function.valid is not None and document.type().is_string():
            valid = _builtin(function.valid, document.type(), 0, "int")(document) == 1
            value = ibis.ifelse(valid, value, ibis.null("string"))
        taken[name] = value
    for column, name in odd.items():
        text = table[column].cast("string")
        unsure = ~text.lstrip().startswith("{")
        for part, value_name in parts.items():
            if part.column == column:
                value = taken[value_name]
                may_hold = text.contains(part.path[-1]) | text.contains("\\")
                unsure |= (value.isnull() & may_hold) | _is_unsure(value, dialect_name)
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


def _kind(kind: Any) -> str:
    """What a column is, as far as functions of JSON differ by it."""
    if kind.is_json():
        return "jsonb" if getattr(kind, "binary", False) else "json"
    return "string" if kind.is_string() else "other"


def _is_unsure(value: Any, dialect: str) -> Any:
    """Whether a value may be spelled otherwise in its document; without patterns by its first sign."""
    if dialect == "mssql":
        return value.left(1).isin([*'0123456789-[{"NnIi'])
    return value.re_search(UNSURE_VALUE)


def _bare_text(value: Any, document: Any, keys: Sequence[str], dialect: str) -> Any:
    """A value as bare text, where the function gives it as JSON; a null is nothing."""
    import ibis

    if dialect == "mysql":
        return _builtin("JSON_UNQUOTE", value.type(), 0)(value).nullif("null")
    if dialect == "clickhouse":
        text = _builtin("JSONExtractString", document.type(), len(keys))(document, *keys)
        return ibis.ifelse(value.startswith('"'), text, value.nullif("").nullif("null"))
    return value


@cache
def _builtin(name: str, document: Any, keys: int, returns: str = "string") -> Any:
    """A function of the database that takes a document and some keys, as ibis wants it declared."""
    import ibis

    def zero(document: Any) -> Any: ...

    def one(document: Any, first: Any) -> Any: ...

    def two(document: Any, first: Any, second: Any) -> Any: ...

    def three(document: Any, first: Any, second: Any, third: Any) -> Any: ...

    declared = (zero, one, two, three)[keys]
    signature = ((document, *["string"] * keys), returns)
    return ibis.udf.scalar.builtin(declared, name=name, signature=signature)
