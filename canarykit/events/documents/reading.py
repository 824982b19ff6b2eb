"""Documents of JSON text: which are read, and what their values are as text.

DuckDB takes the values out where what it finds is surely the rule's; the rest, row by row, is read here:
half of an emoji leaves its neighbours readable, a document that was encoded twice is decoded, numbers are
written without `.0`. A key that comes twice counts the first time. A document that is not an object tells
nothing and is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from canarykit.events.values import number_text, value_text

_TEXT = pa.string()
_MOST_LAYERS = 3
_MOST_DIGITS = 309  # more than the largest double has
LONG_NUMBER = "([0-9]{103}){3}"
"""Pattern of what may be a number that is longer than that; PostgreSQL counts no further than 255."""
ODD_VALUE = (
    r"^-?[0-9][0-9.]*[eE]|^-?[0-9]+\.0$|^-0$|^-?[0-9]{300}|^-?(NaN|nan|Inf|inf)"
    r"|^[\[{](.|\n)*([0-9]\.0|[0-9][eE]|[0-9]{300}|NaN|nan|Inf|inf|-0|\\u)"
)
"""Texts out of a document that may be numbers in another form than the rule's, or hold such a number."""

UNSURE_VALUE = r"^-?[0-9.]+[eE]|^-?[0-9]+[.]0+$|^-0|^-?[0-9]{16}|^\"?-?(NaN|nan|Inf|inf)|^[\[{]"
"""The same for databases of which less is known: what they may write in their own ways."""


class _Number(str):
    """A number as its document spells it, so that no digit is lost."""

    is_json_number = True


_LAST_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|(?<![\[{,\s])\s*,(?=\s*[}\]])', re.DOTALL)
"""A whole text, which is kept, or a comma behind a value with nothing but an end after it."""


def read_document(text: str) -> dict[str, Any] | None:
    """The object that a document holds, decoded again where it was encoded twice; None if there is none.

    Examples
    --------
    >>> read_document('{"a": 1, "b": "x"}')
    {'a': '1', 'b': 'x'}
    >>> read_document(json.dumps('{"a": "x"}')), read_document("[1]"), read_document("{broken")
    ({'a': 'x'}, None, None)
    """
    content: Any = text.removeprefix("\ufeff")
    for _ in range(_MOST_LAYERS):
        try:
            content = _decoded(_DECODER, content)
        except (ValueError, RecursionError):
            return None
        if not isinstance(content, str) or isinstance(content, _Number):
            break
    return content if isinstance(content, dict) else None


def json_values(text: pa.ChunkedArray, paths: Sequence[Sequence[str]]) -> list[pa.ChunkedArray]:
    """Values at several paths of a column of JSON text, each row parsed once; unreadable rows are null.

    Examples
    --------
    >>> column = pa.chunked_array([['{"plan": "pro", "seats": 3}', "{broken", None]])
    >>> [values.to_pylist() for values in json_values(column, [("plan",), ("seats",)])]
    [['pro', None, None], ['3', None, None]]
    """
    from canarykit.events.sql import asking, quoted, to_arrow

    listed = ", ".join(quoted(pointer(path), "'") for path in paths)
    chosen = ", ".join(f"taken[{position + 1}] AS c{position}" for position in range(len(paths)))
    with asking() as connection:
        connection.register("documents", pa.table({"document": text.cast(_TEXT)}))
        result = to_arrow(
            connection.sql(
                f"SELECT {chosen}, {odd_document('document', 'taken', len(paths))} AS odd FROM (SELECT "
                f"document, TRY(json_extract_string(document, [{listed}])) AS taken FROM documents)"
            )
        )
    return patched(list(result.columns[:-1]), result.column("odd"), paths)


def odd_document(document: str, taken: str, n_paths: int) -> str:
    """SQL: a document whose values have to be read here, else null."""
    from canarykit.events.sql import quoted

    values = ", ".join(f"{taken}[{position + 1}]" for position in range(n_paths))
    # One search in all values of a row: a line break stands before each.
    pattern = quoted("(?m)" + ODD_VALUE, "'")
    odd = f"regexp_matches(concat_ws(chr(10), {values}), {pattern})"
    is_object = f"starts_with(ltrim({document}), '{{')"
    return f"CASE WHEN {taken} IS NULL OR NOT {is_object} OR {odd} THEN {document} END"


def patched(
    values: Sequence[pa.ChunkedArray], odd: pa.ChunkedArray, paths: Sequence[Sequence[str]]
) -> list[pa.ChunkedArray]:
    """Values with those of odd documents read again, document by document."""
    if odd.null_count == len(odd):
        return [column.cast(_TEXT) for column in values]
    at = pc.is_valid(odd)
    texts = odd.filter(at).to_pylist()
    documents = [read_document(text) for text in texts]
    lenient = [document is None and _is_valid(text) for text, document in zip(texts, documents, strict=True)]
    again = []
    for column, path in zip(values, paths, strict=True):
        stored = column.cast(_TEXT)
        there = stored.filter(at).to_pylist() if any(lenient) else [None] * len(texts)
        fresh = [
            kept if as_found else _value_at(document, path)
            for kept, as_found, document in zip(there, lenient, documents, strict=True)
        ]
        mask = at.combine_chunks() if isinstance(at, pa.ChunkedArray) else at
        whole = stored.combine_chunks()
        whole = pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
        again.append(pa.chunked_array([pc.replace_with_mask(whole, mask, pa.array(fresh, _TEXT))]))
    return again


def unreadable(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which documents are there (not empty, not `null`) but are no object, or hold too long a number."""
    from canarykit.events.sql import asking, to_arrow

    with asking() as connection:
        connection.register("documents", pa.table({"document": texts.cast(_TEXT)}))
        suspects = to_arrow(connection.sql(f"SELECT {SUSPECT.format('document')} AS suspect FROM documents"))
    return is_unreadable(suspects.column("suspect"))


SUSPECT = (
    "CASE WHEN NOT coalesce(starts_with(ltrim({0}), '{{') AND json_valid({0}) "
    "AND (strlen({0}) < 309 OR NOT regexp_matches({0}, '([0-9]{{103}}){{3}}')), true) "
    "AND trim({0}, ' \t\r\n') NOT IN ('', 'null') THEN {0} END"
)
"""SQL: a document of which DuckDB may not read everything, so that `is_unreadable` has to look; else null."""


def is_unreadable(suspects: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which suspects hold no object by the rule, or a number of hundreds of digits; no null is one."""
    if suspects.null_count == len(suspects):
        return pa.chunked_array([pa.array([False] * len(suspects), pa.bool_())])
    seen: dict[str, bool] = {}
    parts = []
    for text in suspects.to_pylist():
        if text is not None and text not in seen:
            blank = text.strip() in {"", "null"}
            lost = read_document(text) is None and not _is_valid(text)
            seen[text] = not blank and (lost or _has_long_number(text))
        parts.append(text is not None and seen[text])
    return pa.chunked_array([pa.array(parts, pa.bool_())])


def pointer(path: Sequence[str]) -> str:
    """A JSON pointer (RFC 6901): any key, dots, quotes and slashes included."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def _value_at(document: Any, path: Sequence[str]) -> str | None:
    for key in path:
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return value_text(document)


def _is_valid(text: str) -> bool:
    """Whether DuckDB reads a document as an object: it lets more pass, a comma at the end for one."""
    if not text.lstrip().startswith("{"):
        return False
    from canarykit.events.sql import asking

    with asking() as connection:
        row = connection.execute(
            "SELECT json_valid(?)", [text.encode("utf-8", "replace").decode()]
        ).fetchone()
    return bool(row and row[0])


def _has_long_number(text: str) -> bool:
    """Whether a number in a document, outside its texts, is too long to be read."""
    if not re.search(LONG_NUMBER, text):
        return False
    long = False

    def noted(digits: str) -> _Number | None:
        nonlocal long
        number = _whole(digits) if digits.lstrip("-").isdigit() else _fraction(digits)
        long |= number is None and len(digits) > _MOST_DIGITS
        return number

    decoder = json.JSONDecoder(
        strict=False, parse_int=noted, parse_float=noted, parse_constant=lambda _: None
    )
    content: Any = text.removeprefix("\ufeff")
    for _ in range(_MOST_LAYERS):
        try:
            content = _decoded(decoder, content)
        except (ValueError, RecursionError):
            return False
        if not isinstance(content, str) or isinstance(content, _Number):
            break
    return long


def _decoded(decoder: json.JSONDecoder, text: str) -> Any:
    """What a text of JSON holds; a comma before the end of an object or a list is passed over."""
    try:
        return decoder.decode(text)
    except ValueError:
        return decoder.decode(_LAST_COMMA.sub(lambda match: match[1] or "", text))


def _whole(digits: str) -> _Number | None:
    return _Number("0" if digits == "-0" else digits) if len(digits) <= _MOST_DIGITS else None


def _fraction(digits: str) -> _Number | None:
    text = number_text(float(digits))
    return None if text is None else _Number(text)


def _first_of_each_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    first: dict[str, Any] = {}
    for key, value in pairs:
        first.setdefault(key, value)
    return first


_DECODER = json.JSONDecoder(
    strict=False,
    parse_int=_whole,
    parse_float=_fraction,
    parse_constant=lambda _: None,
    object_pairs_hook=_first_of_each_key,
)


def document_keys(texts: pa.ChunkedArray) -> tuple[str, ...]:
    """Keys of all documents of a column, in the order of the alphabet."""
    from canarykit.events.sql import asking

    with asking() as connection:
        connection.register("documents", pa.table({"document": texts.cast(_TEXT)}))
        return keys_of(lambda sql: connection.sql(sql).fetchall(), "documents", "document")


def keys_of(
    ask: Callable[[str], list[Any]], source: str, document: str, *, condition: str = "true"
) -> tuple[str, ...]:
    """Keys of all documents of a column behind a DuckDB source; `ask` gives the rows of a SELECT."""
    plain = f"starts_with(ltrim({document}), '{{') AND json_valid({document})"
    rows = ask(f"SELECT DISTINCT unnest(json_keys({document})) FROM {source} WHERE {plain} AND {condition}")
    keys = {key for (key,) in rows}
    odd = ask(
        f"SELECT DISTINCT {document} FROM {source} WHERE {document} IS NOT NULL AND NOT ({plain}) "
        f"AND {condition}"
    )
    for (text,) in odd:
        keys |= set(read_document(text) or ())
    return tuple(sorted(keys))
