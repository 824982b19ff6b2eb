"""JSON lines: one object a line, through DuckDB, and what DuckDB cannot read line by line here.

A line with half of an emoji, the byte-order mark of the first line, an object that was encoded twice: these
are read by the rule, and so are numbers that DuckDB writes in another form (`95.0`, `1e5`, NaN). What holds
no object is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from canarykit.errors import DataError, ExportFormatError
from canarykit.events.documents import ODD_VALUE, pointer, read_document
from canarykit.events.engines.duckdb.columns import scalar_text
from canarykit.events.sql import asking, glob_quoted, quoted, to_arrow
from canarykit.events.values import value_text
from canarykit.lazy import held_back

_TEXT = pa.string()
_MARK = "\ufeff"
_BATCH_LINES = 10_000
MENDED = "canarykit_mended_lines"
_NESTED = "canarykit_nested_values"
_CONTAINERS = ("ARRAY", "OBJECT")
_DOCUMENT = "properties"
"""What is read as a document anyway, value by value."""


@dataclass(frozen=True, eq=False)
class JsonLines:
    """Files of JSON lines, with all keys that any line has."""

    paths: tuple[str, ...]  # the files
    keys: tuple[str, ...]  # keys of all lines, those left out excepted
    mended: pa.Table | None  # lines that were read here, or None
    # rows without any value that DuckDB hands out for lines it cannot read, and for empty objects
    n_empty: int
    n_bad: int  # lines that hold no object
    # keys of which any value is a number that DuckDB may write in another form than the rule's
    numeric: frozenset[str] = frozenset()
    # `stored` lists and objects in which such numbers stand, and their `text` by the rule
    nested: pa.Table | None = None
    nested_keys: frozenset[str] = frozenset()  # keys that hold them

    @classmethod
    def read(cls, paths: Sequence[str], *, unused: Sequence[str] = (), name: str | None = None) -> JsonLines:
        """Look through files once for their keys, and for lines that have to be read here."""
        with held_back():
            import duckdb

        first = name or Path(paths[0]).name
        listed = ", ".join(glob_quoted(path) for path in paths)
        try:
            with asking() as connection:
                counted = connection.execute(
                    "SELECT key, count(*) FROM (SELECT unnest(CASE WHEN json_type(json) = 'OBJECT' "
                    "AND len(json_keys(json)) > 0 THEN json_keys(json) ELSE [NULL] END) AS key "
                    f"FROM read_ndjson_objects([{listed}], ignore_errors = true)) GROUP BY key"
                ).fetchall()
        except duckdb.Error as problem:
            reason = str(problem).split("\n")[0]
            raise ExportFormatError(f"{first} cannot be read as JSON lines: {reason}") from problem
        keys = {key for key, _ in counted if key is not None}
        n_empty = next((int(count) for key, count in counted if key is None), 0)
        rows = [row for path in paths for row in _mended(path)] if n_empty else []
        keys |= {key for row in rows for key in row}
        wanted = tuple(sorted(keys - set(unused)))
        if not wanted and any(Path(path).stat().st_size for path in paths):
            raise ExportFormatError(f"{first} holds no JSON objects, one a line")
        _refuse_alike(wanted, first)
        mended = None
        if rows:
            mended = pa.table({key: pa.array([row.get(key) for row in rows], _TEXT) for key in wanted})
        numeric, nested, nested_keys = _odd_values(listed, wanted)
        return cls(tuple(paths), wanted, mended, n_empty, n_empty - len(rows), numeric, nested, nested_keys)

    @property
    def sql(self) -> str:
        """What stands after FROM."""
        listed = ", ".join(glob_quoted(path) for path in self.paths)
        odd = self.numeric | self.nested_keys
        columns = ", ".join(f"{quoted(key)}: '{'JSON' if key in odd else 'VARCHAR'}'" for key in self.keys)
        lines = f"read_ndjson([{listed}], columns = {{{columns}}}, ignore_errors = true)"
        if odd:
            texts = ", ".join(f"{self._text(key)} AS {quoted(key)}" for key in sorted(odd))
            lines = f"(SELECT * REPLACE ({texts}) FROM {lines})"
        if self.mended is None:
            return lines
        return f"(SELECT * FROM {lines} UNION ALL BY NAME SELECT * FROM {MENDED})"

    def _text(self, key: str) -> str:
        """A value of JSON as the rule writes it."""
        name = quoted(key)
        if key not in self.nested_keys:
            return scalar_text(name)
        text = f"(SELECT any_value(text) FROM {_NESTED} WHERE stored = {name}::VARCHAR)"
        return (
            f"CASE WHEN json_type({name}) IN {_CONTAINERS} THEN coalesce({text}, {name}::VARCHAR) "
            f"ELSE {scalar_text(name)} END"
        )

    @property
    def tables(self) -> dict[str, Any]:
        """What that knows by name."""
        tables = {MENDED: self.mended, _NESTED: self.nested}
        return {name: table for name, table in tables.items() if table is not None}

    def table(self) -> pa.Table:
        """All lines in memory, without those that hold no object."""
        import duckdb

        if not self.keys:
            return pa.table({})
        filled = " OR ".join(f"{quoted(key)} IS NOT NULL" for key in self.keys) if self.n_empty else "true"
        try:
            with asking() as connection:
                for name, table in self.tables.items():
                    connection.register(name, table)
                return to_arrow(connection.sql(f"SELECT * FROM {self.sql} WHERE {filled}"))
        except duckdb.Error as problem:
            reason = str(problem).split("\n")[0]
            raise ExportFormatError(f"{self.paths[0]} cannot be read as JSON lines: {reason}") from problem


def _odd_values(listed: str, keys: Sequence[str]) -> tuple[frozenset[str], pa.Table | None, frozenset[str]]:
    """Which keys hold numbers that DuckDB may write in its own form, alone or inside of lists and objects."""
    asked = [key for key in keys if key.lower() != _DOCUMENT]
    if not asked:
        return frozenset(), None, frozenset()
    objects = f"read_ndjson_objects([{listed}], ignore_errors = true)"
    pointers = ", ".join(quoted(pointer([key]), "'") for key in asked)
    with asking() as connection:
        kinds = connection.execute(
            f"SELECT DISTINCT json_type(json, [{pointers}]) FROM {objects} WHERE json_type(json) = 'OBJECT'"
        ).fetchall()
        of_key = {key: {kind[at] for (kind,) in kinds} for at, key in enumerate(asked)}
        odd: dict[str, str | None] = {}
        nested_keys = set()
        for key in (key for key, listed_kinds in of_key.items() if listed_kinds.intersection(_CONTAINERS)):
            value = f"json_extract(json, {quoted(pointer([key]), chr(39))})::VARCHAR"
            pattern = quoted(ODD_VALUE, "'")
            stored = connection.execute(
                f"SELECT DISTINCT {value} AS stored FROM {objects} "
                f"WHERE left({value}, 1) IN ('[', '{{') AND regexp_matches({value}, {pattern})"
            ).fetchall()
            for (text,) in stored:
                odd[text] = value_text((read_document(f'{{"value":{text}}}') or {}).get("value"))
                nested_keys.add(key)
    nested = pa.table({"stored": pa.array(list(odd), _TEXT), "text": pa.array(list(odd.values()), _TEXT)})
    numeric = frozenset(key for key, listed_kinds in of_key.items() if "DOUBLE" in listed_kinds)
    return numeric, nested if nested_keys else None, frozenset(nested_keys)


def _mended(path: str) -> Iterator[dict[str, str | None]]:
    """Objects of the lines that DuckDB does not read."""
    with asking() as connection:
        for at, lines in enumerate(_batches(path)):
            if at == 0 and lines and lines[0].startswith(_MARK) and _reads_marked(connection, path):
                lines = lines[1:]
            connection.register("lines", pa.table({"line": pa.array(lines, _TEXT)}))
            left = connection.execute(
                "SELECT line FROM lines WHERE NOT (json_valid(line) AND starts_with(ltrim(line), '{'))"
            ).fetchall()
            for (line,) in left:
                document = read_document(line)
                if document:
                    yield {key: value_text(value) for key, value in document.items()}


def _reads_marked(connection: Any, path: str) -> bool:
    """Whether DuckDB reads the first line of a file behind its byte-order mark itself: some releases do."""
    first = connection.execute(
        f"SELECT json IS NOT NULL FROM read_ndjson_objects([{glob_quoted(path)}], ignore_errors = true) "
        "LIMIT 1"
    ).fetchall()
    return first == [(True,)]


def _batches(path: str) -> Iterator[list[str]]:
    """Lines of a file, whatever packs it; wrong bytes become U+FFFD."""
    unfinished = b""
    with pa.input_stream(path, compression="detect") as stream:
        while block := stream.read(1 << 24):
            *lines, unfinished = (unfinished + block).split(b"\n")
            for at in range(0, len(lines), _BATCH_LINES):
                yield [_line(line) for line in lines[at : at + _BATCH_LINES] if line.strip()]
    if unfinished.strip():
        yield [_line(unfinished)]


def _line(content: bytes) -> str:
    """A byte-order mark stays: it is why DuckDB left the line to us."""
    return content.decode("utf-8", "replace")


def _refuse_alike(keys: Sequence[str], name: str) -> None:
    seen: dict[str, str] = {}
    for key in keys:
        if key.lower() in seen:
            raise DataError(
                f"{name} has the keys {seen[key.lower()]!r} and {key!r}, which differ in capitals only and "
                "cannot be told apart; rename one"
            )
        seen[key.lower()] = key
