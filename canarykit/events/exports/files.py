"""Files of an export into frames: Parquet, JSON lines, JSON answers of an API, CSV. Ids stay text."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from canarykit.display import Note
from canarykit.errors import ExportFormatError

__all__ = ["find_files", "kind_of", "read_files"]

KINDS = ("parquet", "jsonl", "json", "csv")
_SUFFIXES = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv"}
_PACKED = {".gz", ".zst", ".zstd", ".br", ".snappy", ".lz4"}
_UNUSED = ("elements", "elements_chain")


def find_files(path: Any) -> list[Path]:
    """The files of a path, a glob, a folder, or a list of these; manifests are left out."""
    listed = [path] if isinstance(path, str | PathLike) else list(path)
    found: list[Path] = []
    for item in map(str, listed):
        if any(sign in item for sign in "*?[") and not Path(item).exists():
            matched = sorted(map(Path, glob.glob(item, recursive=True)))
            if not matched:
                raise ExportFormatError(f"no file matches {item!r}")
            found += matched
        elif Path(item).is_dir():
            found += sorted(file for file in Path(item).rglob("*") if _suffix(file))
        elif Path(item).exists():
            found.append(Path(item))
        else:
            near = ", ".join(sorted(file.name for file in Path(item).parent.glob("*"))[:10])
            raise ExportFormatError(f"there is no file {item!r}" + (f"; beside it: {near}" if near else ""))
    files = [file for file in found if file.is_file() and not file.name.endswith("_manifest.json")]
    if not files:
        raise ExportFormatError(f"no export files in {', '.join(map(str, listed))!r}")
    return files


def kind_of(file: Path) -> str:
    """ "parquet", "jsonl", "json" or "csv", by the name or, where that says nothing, the first bytes."""
    if kind := _suffix(file):
        return kind
    with file.open("rb") as stream:
        start = stream.read(4096).lstrip()
    if start.startswith(b"PAR1"):
        return "parquet"
    if start[:1] in (b"{", b"["):
        return "jsonl" if start[:1] == b"{" and b"}\n{" in start else "json"
    if b"," in start.partition(b"\n")[0]:
        return "csv"
    raise ExportFormatError(f"{file.name} is no Parquet, JSON or CSV file; its name ends in {file.suffix!r}")


def read_files(path: Any) -> tuple[pd.DataFrame, list[Note], set[str]]:
    """All files of a path as one frame, notes on what could not be read, and the kinds of files."""
    readers = {"parquet": _read_parquet, "jsonl": _read_lines, "json": _read_json, "csv": _read_csv}
    frames, notes, kinds = [], [], set()
    for file in find_files(path):
        if file.suffix == ".br":
            raise ExportFormatError(f"{file.name} is brotli-compressed; unpack it first")
        kind = kind_of(file)
        frame, more = readers[kind](file)
        frames.append(frame)
        notes += more
        kinds.add(kind)
    if len(frames) == 1:
        return frames[0], notes, kinds
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    return pd.concat(filled, ignore_index=True), notes, kinds


def _suffix(file: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    while suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return _SUFFIXES.get(suffixes[-1]) if suffixes else None


def _read_parquet(file: Path) -> tuple[pd.DataFrame, list[Note]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(file)
        wanted = [name for name in opened.schema_arrow.names if name.lower() not in _UNUSED]
        table = opened.read(columns=wanted)
    except (pa.ArrowInvalid, OSError) as problem:
        size = file.stat().st_size
        reason = str(problem).split("\n")[0]
        raise ExportFormatError(
            f"{file.name} cannot be read as Parquet ({size:,} bytes; cut short or damaged?): {reason}"
        ) from problem
    position = table.schema.get_field_index("event")
    if position >= 0 and pa.types.is_string(table.schema.field(position).type):
        table = table.set_column(position, "event", table.column(position).dictionary_encode())
    return table.to_pandas(), []


def _read_lines(file: Path) -> tuple[pd.DataFrame, list[Note]]:
    """One object a line; every value as text, nested ones as their JSON."""
    import duckdb

    from canarykit.events.sql import connect, quoted, to_arrow

    if file.stat().st_size == 0:
        return pd.DataFrame(), []
    source = quoted(str(file), "'")
    with connect() as connection:
        try:
            rows = connection.execute(
                "SELECT DISTINCT unnest(json_keys(json)) "
                f"FROM read_ndjson_objects({source}, ignore_errors=true) "
                "WHERE json IS NOT NULL AND json_type(json) = 'OBJECT'"
            ).fetchall()
            keys = sorted(key for (key,) in rows)
            if not keys:
                raise ExportFormatError(f"{file.name} holds no JSON objects, one a line")
            wanted = [key for key in keys if key not in _UNUSED]
            columns = ", ".join(f"{quoted(key)}: 'VARCHAR'" for key in wanted)
            table = to_arrow(
                connection.sql(
                    f"SELECT * FROM read_ndjson({source}, columns={{{columns}}}, ignore_errors=true)"
                )
            )
        except duckdb.Error as problem:
            reason = str(problem).split("\n")[0]
            raise ExportFormatError(f"{file.name} cannot be read as JSON lines: {reason}") from problem
    frame = table.to_pandas()
    broken = frame.isna().all(axis=1)
    if not broken.any():
        return frame, []
    note = Note("bad_lines", f"lines of {file.name} are no JSON and were dropped", int(broken.sum()))
    return frame[~broken].reset_index(drop=True), [note]


def _read_json(file: Path) -> tuple[pd.DataFrame, list[Note]]:
    """Answers of PostHog's API: a query's `columns` and `results`, or a list of objects."""
    import gzip

    packed = file.suffix == ".gz"
    try:
        text = (gzip.decompress(file.read_bytes()) if packed else file.read_bytes()).decode("utf-8")
        data = json.loads(text or "[]")
    except (json.JSONDecodeError, UnicodeDecodeError, OSError, EOFError) as problem:
        raise ExportFormatError(f"{file.name} cannot be read as JSON: {problem}") from problem
    return frame_of_answer(data, file.name)


def frame_of_answer(data: Any, name: str) -> tuple[pd.DataFrame, list[Note]]:
    """An answer of the query API or the older events API as a frame."""
    rows = data.get("results") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise ExportFormatError(f"{name} has no list of results; it has {sorted(data)[:20]}")
    notes = []
    if isinstance(data, dict) and (data.get("hasMore") or data.get("next")):
        notes.append(Note("more_pages", f"{name} is one page of several: the answer says there is more"))
    if isinstance(data, dict) and isinstance(data.get("columns"), list):
        names = pd.Index(_unique(map(str, data["columns"])))
        return pd.DataFrame(rows, columns=names, dtype=object), notes
    return pd.DataFrame([_flat(row) for row in rows if isinstance(row, dict)], dtype=object), notes


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the older events API: the person is an object of its own."""
    person = row.get("person")
    if not isinstance(person, dict):
        return row
    kept = {key: value for key, value in row.items() if key not in {"person", *_UNUSED}}
    found = next((person[key] for key in ("uuid", "id") if person.get(key) is not None), None)
    return {"person_id": found, "person_properties": person.get("properties"), **kept}


def _read_csv(file: Path) -> tuple[pd.DataFrame, list[Note]]:
    try:
        frame = pd.read_csv(file, dtype="str", keep_default_na=False, na_values=[""])
    except pd.errors.EmptyDataError:
        return pd.DataFrame(), []
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError) as problem:
        raise ExportFormatError(f"{file.name} cannot be read as CSV: {problem}") from problem
    return frame, []


def _unique(names: Iterable[str]) -> list[str]:
    seen: dict[str, int] = {}
    listed = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        listed.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return listed
