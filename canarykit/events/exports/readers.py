"""Files of an export into rows: Parquet, JSON lines, JSON answers of an API, CSV. Ids stay as they are."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from canarykit.display import Note
from canarykit.documents import read_json
from canarykit.errors import ExportFormatError
from canarykit.events.engines.json_lines import JsonLines
from canarykit.events.engines.rows import Rows
from canarykit.events.exports.files import find_files, kind_of
from canarykit.events.locations import ExportFile, hive_columns
from canarykit.progress import LONG_READ, watched

_UNUSED = ("elements", "elements_chain")
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, eq=False)
class Read:
    """What one file holds."""

    file: ExportFile | None  # None for a table that was given
    kind: str  # "parquet", "jsonl", "json" or "csv"
    rows: Rows
    notes: Sequence[Note] = ()  # what was found on the way


def read_files(source: Any) -> list[Read]:
    """All files of a path, a glob, a folder, a URL, an open file, or a list of these."""
    return [read_file(file) for file in find_files(source)]


def read_file(file: ExportFile) -> Read:
    """One file; columns that its folders state are among its columns."""
    if file.suffixes[-1:] == [".br"]:
        raise ExportFormatError(f"{file.name} is brotli-compressed; unpack it first")
    readers = {"parquet": _read_parquet, "jsonl": _read_lines, "json": _read_json, "csv": _read_csv}
    kind = kind_of(file)
    rows, notes = readers[kind](file)
    for name, text in hive_columns(file.path).items():
        rows = rows.with_column(name, pa.chunked_array([pa.array([text] * len(rows), pa.string())]))
    return Read(file, kind, rows, notes)


def rows_of_answer(data: Any, name: str) -> tuple[Rows, list[Note]]:
    """An answer of the query API or the older events API as rows."""
    listed = data.get("results") if isinstance(data, dict) else data
    if not isinstance(listed, list):
        content = sorted(data)[:20] if isinstance(data, dict) else type(data).__name__
        raise ExportFormatError(f"{name} has no list of results; it has {content}")
    notes = []
    if isinstance(data, dict) and (data.get("hasMore") or data.get("next")):
        notes.append(Note("more_pages", f"{name} is one page of several: the answer says there is more"))
    if isinstance(data, dict) and isinstance(data.get("columns"), list):
        names = pd.Index(_unique(map(str, data["columns"])))
        odd = [row for row in listed if not isinstance(row, list) or len(row) != len(names)]
        if odd:
            raise ExportFormatError(
                f"{name} has rows that are not lists of its {len(names)} columns, for example "
                f"{str(odd[0])[:80]}"
            )
        return Rows(pd.DataFrame(listed, columns=names, dtype=object)), notes
    objects = [_flat(row) for row in listed if isinstance(row, dict)]
    if lost := len(listed) - len(objects):
        notes.append(Note("bad_lines", f"results of {name} that hold no object were dropped", lost))
    return Rows(pd.DataFrame(objects, dtype=object)), notes


def _read_parquet(file: ExportFile) -> tuple[Rows, list[Note]]:
    try:
        with file.open() as stream:
            opened = pq.ParquetFile(stream)
            names = opened.schema_arrow.names
            wanted = [name for name in names if name.lower() not in _UNUSED]
            table = _by_row_groups(opened, wanted if len(set(names)) == len(names) else None)
    except (pa.ArrowException, OSError) as problem:
        reason = str(problem).split("\n")[0]
        raise ExportFormatError(
            f"{file.name} cannot be read as Parquet ({file.size:,} bytes; cut short or damaged?): {reason}"
        ) from problem
    position = table.schema.get_field_index("event")
    if position >= 0 and pa.types.is_string(table.schema.field(position).type):
        table = table.set_column(position, "event", table.column(position).dictionary_encode())
    return Rows(table), []


def _by_row_groups(opened: pq.ParquetFile, columns: list[str] | None) -> pa.Table:
    """All rows, a row group at a time where they are many: so they can be watched, and interrupted."""
    rows = [opened.metadata.row_group(k).num_rows for k in range(opened.num_row_groups)]
    if sum(rows) < LONG_READ or len(rows) < 2:
        return opened.read(columns=columns)
    parts = (opened.read_row_group(k, columns=columns) for k in range(len(rows)))
    return pa.concat_tables(watched(parts, None, total=sum(rows), unit="events", sizes=rows))


def _read_lines(file: ExportFile) -> tuple[Rows, list[Note]]:
    """One object a line; every value as text, nested ones as their JSON."""
    if file.size == 0:
        return Rows(pd.DataFrame()), []
    lines = JsonLines.read([file.local()], unused=_UNUSED, name=file.name)
    notes = []
    if lines.n_bad:
        notes.append(
            Note("bad_lines", f"lines of {file.name} that hold no JSON object were dropped", lines.n_bad)
        )
    return Rows(lines.table()), notes


def _read_json(file: ExportFile) -> tuple[Rows, list[Note]]:
    """Answers of PostHog's API: a query's `columns` and `results`, or a list of objects."""
    try:
        with file.open() as stream:
            content = stream.read()
        content = gzip.decompress(content) if file.suffixes[-1:] == [".gz"] else content
        data = read_json(content.decode("utf-8-sig") or "[]")
    except (ValueError, OSError, EOFError) as problem:
        raise ExportFormatError(f"{file.name} cannot be read as JSON: {str(problem)[:200]}") from problem
    return rows_of_answer(data, file.name)


def _read_csv(file: ExportFile) -> tuple[Rows, list[Note]]:
    try:
        content = _unpacked(file)
        encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
        text = content.decode(encoding)
    except (UnicodeDecodeError, OSError, EOFError, pa.ArrowException) as problem:
        raise ExportFormatError(f"{file.name} cannot be read as CSV: {problem}") from problem
    if not text.strip():
        return Rows(pd.DataFrame()), []
    header, sign = _header(text, file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO(text),
                sep=sign,
                dtype="str",
                keep_default_na=False,
                na_values=[""],
                index_col=False,
            )
        if list(frame.columns) == header:
            return Rows(frame), []
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError):
        pass  # rows of other lengths: one by one, so that the wrong one can be named
    return Rows(pd.DataFrame(_lines_of(text, header, sign, file), columns=header, dtype="str")), []


def _lines_of(text: str, header: Sequence[str], sign: str, file: ExportFile) -> Iterator[list[str | None]]:
    """Rows as long as the header; values missing at the end, and signs too many there, are let pass."""
    lines = csv.reader(io.StringIO(text), delimiter=sign, strict=True)
    try:
        next(lines)
        for line in lines:
            if not line:
                continue
            values, beyond = line[: len(header)], line[len(header) :]
            if any(value.strip() for value in beyond):
                raise ExportFormatError(
                    f"{file.name} has {len(line)} values in line {lines.line_num}, where its header names "
                    f"{len(header)} columns: {beyond[0]!r} stands beyond the last"
                )
            yield [value or None for value in values] + [None] * (len(header) - len(values))
    except csv.Error as problem:
        raise ExportFormatError(
            f"{file.name} cannot be read as CSV: line {lines.line_num}: {problem}"
        ) from problem


def _unpacked(file: ExportFile) -> bytes:
    """The content of a file, whatever packs it."""
    stream = pa.input_stream(file.local(), compression="detect")
    with stream:
        return bytes(stream.read())


def _header(text: str, file: ExportFile) -> tuple[list[str], str]:
    """Column names of a CSV, and the sign between them: the one that makes most columns."""
    best = max(",;\t", key=lambda sign: len(next(csv.reader(io.StringIO(text), delimiter=sign), [])))
    names = next(csv.reader(io.StringIO(text), delimiter=best))
    while len(names) > 1 and not names[-1].strip():
        names.pop()  # a sign at the end of the line
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ExportFormatError(f"{file.name} has two columns {min(twice)!r}; rename one")
    return names, best


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the older events API: the person is an object of its own."""
    person = row.get("person")
    if not isinstance(person, dict):
        return row
    kept = {key: value for key, value in row.items() if key not in {"person", *_UNUSED}}
    identifier = next((person[key] for key in ("uuid", "id") if person.get(key) is not None), None)
    return {"person_id": identifier, "person_properties": person.get("properties"), **kept}


def _unique(names: Iterable[str]) -> list[str]:
    seen: dict[str, int] = {}
    listed = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        listed.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return listed
