"""The files of an export: found by path, glob, folder or URL, and told apart by kind."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from canarykit.errors import ExportFormatError
from canarykit.events.locations import ExportFile, is_url, of_object, remote_listing, remote_table_format

_SUFFIXES = {
    ".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".csv": "csv", ".tsv": "csv",
}  # fmt: skip
_PACKED = {".gz", ".zst", ".zstd", ".br", ".snappy", ".lz4", ".bz2"}
_READ_WITH = {
    "Delta": "read_posthog(deltalake.DeltaTable({0!r})) or EventLog(polars.scan_delta({0!r}))",
    "Iceberg": "read_posthog(pyiceberg's table.scan()) or EventLog(polars.scan_iceberg(...))",
    "Hudi": "EventLog(spark.read.format('hudi').load({0!r}))",
}


def is_location(source: Any) -> bool:
    """Whether something names files: a path, a URL, an open file, or a list of these."""
    if isinstance(source, list | tuple):
        return all(map(is_location, source))
    return isinstance(source, str | PathLike | ExportFile) or _is_file_object(source)


def find_files(source: Any) -> list[ExportFile]:
    """The files of a path, a glob, a folder, a URL, an open file, or a list of these.

    Left out are manifests, hidden files, and what a writer has not finished (`_temporary/`). Files of a
    table that keeps a log of its own are refused: among them are rows that the table has deleted.
    """
    listed = list(source) if isinstance(source, list | tuple) else [source]
    all_files = [file for item in listed for file in _files_of(item)]
    files = [file for file in all_files if not file.name.endswith("_manifest.json")]
    if not files:
        raise ExportFormatError(f"no export files in {', '.join(map(str, listed))!r}")
    return files


def kind_of(file: ExportFile) -> str:
    """ "parquet", "jsonl", "json" or "csv", by the name or, where that says nothing, the first bytes."""
    if kind := _kind(file.suffixes):
        return kind
    start = file.head().removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"PAR1"):
        return "parquet"
    if start[:1] in (b"{", b"["):
        return "jsonl" if start[:1] == b"{" and b"}\n{" in start else "json"
    first = start.partition(b"\n")[0]
    if b"," in first or b";" in first:
        return "csv"
    raise ExportFormatError(
        f"{file.name} is not a Parquet, JSON or CSV file; its name ends in {''.join(file.suffixes)!r}"
    )


def _files_of(item: Any) -> list[ExportFile]:
    if isinstance(item, ExportFile):
        return [item]
    if not isinstance(item, str | PathLike):
        file = of_object(item)
        if file is None:
            raise ExportFormatError(f"{type(item).__name__} is neither a path nor an open file")
        return [file]
    text = os.fspath(item)
    if is_url(text) and not text.lower().startswith("file://"):
        return _remote(text)
    return _on_disk(text.partition("://")[2] if is_url(text) else os.path.expanduser(text))


def _on_disk(item: str) -> list[ExportFile]:
    path = Path(item)
    if any(sign in item for sign in "*?[") and not path.exists():
        root = Path(item[: min(item.find(sign) for sign in "*?[" if sign in item)]).parent
        matched = sorted(map(Path, glob.glob(item, recursive=True)))
        if not matched:
            raise ExportFormatError(f"no file matches {item!r}")
        files = [file for file in matched if file.is_file() and _is_finished(file.relative_to(root).parts)]
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if _kind(_suffixes(file)) and file.is_file())
        files = [file for file in files if _is_finished(file.relative_to(path).parts)]
        if (name := _table_format(path)) is not None:
            raise _table_error(name, path)
    elif path.exists():
        files = [path]
    else:
        near = ", ".join(sorted(file.name for file in path.parent.glob("*"))[:10])
        raise ExportFormatError(f"there is no file {item!r}" + (f"; beside it: {near}" if near else ""))
    for folder in dict.fromkeys(file.parent for file in files):
        for above in (folder, *folder.parents[:4]):
            if (name := _table_format(above)) is not None:
                raise _table_error(name, above)
    return [ExportFile(str(file)) for file in files]


def _remote(url: str) -> list[ExportFile]:
    files, root = remote_listing(url)
    for file in files:
        below = file.path[len(root.rstrip("/")) :].strip("/").split("/")
        if file.path == root:
            below = [file.name]
        if (name := remote_table_format(file, root)) is not None:
            raise _table_error(name, url)
        if file.path != root and not (_is_finished(below) and _kind(file.suffixes)):
            files = [other for other in files if other is not file]
    if not files:
        raise ExportFormatError(f"no file matches {url!r}")
    return files


def _is_file_object(source: Any) -> bool:
    home = type(source).__module__.partition(".")[0]
    return home in {
        "fsspec",
        "s3fs",
        "gcsfs",
        "adlfs",
        "_io",
        "io",
        "tempfile",
        "smart_open",
        "pyarrow",
    } and (callable(getattr(source, "read", None)) or (hasattr(source, "fs") and hasattr(source, "path")))


def _is_finished(parts: Iterable[str]) -> bool:
    """Whether no part of a path below the root is hidden or a writer's own (`_temporary`, `.x.crc`)."""
    return not any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in parts)


def _table_format(folder: Path) -> str | None:
    """Which table format keeps its log in a folder."""
    if (folder / "_delta_log").is_dir():
        return "Delta"
    if (folder / ".hoodie").is_dir():
        return "Hudi"
    metadata = folder / "metadata"
    is_iceberg = metadata.is_dir() and any(metadata.glob("*.metadata.json"))
    return "Iceberg" if is_iceberg else None


def _table_error(name: str, folder: Any) -> ExportFormatError:
    return ExportFormatError(
        f"{str(folder)!r} is a table of {name}: its files also hold rows that the table has deleted; read "
        f"it with {_READ_WITH[name].format(str(folder))}"
    )


def _suffixes(file: Path) -> list[str]:
    return [suffix.lower() for suffix in file.suffixes]


def _kind(suffixes: Iterable[str]) -> str | None:
    left = list(suffixes)
    while left and left[-1] in _PACKED:
        left.pop()
    return _SUFFIXES.get(left[-1]) if left else None
