"""PostHog exports as event logs: batch exports, warehouse tables, query answers, the older API, CSV.

What a format says is believed (its naive times are UTC, its ids are text); what had to be dropped or
guessed is counted in the notes of the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, get_args

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.display import Note
from canarykit.errors import ExportFormatError, NaiveTimestampError, did_you_mean
from canarykit.events import EventLog
from canarykit.events.engines.rows import Rows, joined, rows_of
from canarykit.events.engines.schemas import kind_of_type
from canarykit.events.exports.files import find_files, is_location, kind_of
from canarykit.events.exports.posthog_names import named
from canarykit.events.exports.readers import Read, read_files
from canarykit.events.mapping import ColumnNames, check_names, given, lacks_columns, written_as
from canarykit.events.unusable import LOST

if TYPE_CHECKING:
    from canarykit.typing import Files, Frame, Zone

Format = Literal["batch export", "bigquery", "snowflake", "postgres", "hogql", "rest", "csv"]

_SAYS_UTC = ("batch export", "bigquery", "snowflake", "postgres")
_COLUMNS = ("uuid", "event", "distinct_id", "properties", "timestamp")
_MOST_LOST = 0.5


def read_posthog(
    path: Files | Frame,
    *,
    persons: Files | Frame | None = None,
    groups: Files | Frame | None = None,
    format: Format | None = None,
    tz: Zone | None = None,
    group_types: Mapping[str, int] | None = None,
    event: str = "event",
    timestamp: str = "timestamp",
    distinct_id: str = "distinct_id",
    person_id: str = "person_id",
    session_id: str = "$session_id",
    properties: str = "properties",
    uuid: str = "uuid",
) -> EventLog:
    """Read a PostHog export into memory.

    Parameters
    ----------
    path
        A file, a folder, a glob, a URL (`s3://`, `gs://`, `az://`, `https://` ...), an open file, or a list
        of these: Parquet, JSON lines, JSON, CSV, also compressed; or a table of such rows (pandas,
        polars, pyarrow, DuckDB, Spark, Delta, Iceberg ...).
    persons
        The persons export, for exports without person ids and to see merges that came later: a path or
        a frame. Where the events carry no person ids, the ids that it does not list are joined by
        `$identify` and alias events.
    groups
        Groups with their properties: a path or a frame.
    format
        Which export it is, where its columns do not say so.
    tz
        Zone of times that carry none, where the format does not say UTC.
    group_types
        Index of each group type by name; `{"organization": 0}` unless told otherwise.
    event, timestamp, distinct_id, person_id, session_id, properties, uuid
        Columns that hold them, where the export is of another system or names them otherwise: as for
        `EventLog`.

    Returns
    -------
    EventLog
        In pandas. Its notes count what was dropped (duplicates by uuid, replay data, rows without id or
        time), what is unknown (properties that are no JSON), and what was guessed.

    Raises
    ------
    ExportFormatError
        If a file is missing, cut short, of another kind, or lacks a column; the message says which columns
        look like the lacking ones.
    NaiveTimestampError
        If times carry no zone and the format does not say which.

    Examples
    --------
    >>> rows = {
    ...     "uuid": ["1", "1", "2"],
    ...     "event": ["paid", "paid", "$snapshot"],
    ...     "distinct_id": ["ada", "ada", "ada"],
    ...     "properties": ['{"amount": 95}'] * 3,
    ...     "timestamp": ["2026-09-07T09:00:00Z"] * 3,
    ... }
    >>> log = read_posthog(pd.DataFrame(rows))
    >>> len(log), [note.code for note in log.notes]
    (1, ['duplicates', 'snapshots', 'distinct_id_used'])
    """
    _check_format(format)
    names = ColumnNames(
        event=event, timestamp=timestamp, distinct_id=distinct_id, person_id=person_id,
        session_id=session_id, properties=properties, uuid=uuid,
    )  # fmt: skip
    mapping = check_names(names)
    reads = read_files(path) if is_location(path) else [Read(None, "table", rows_of(path))]
    notes = [note for read in reads for note in read.notes]
    parts = [_named(read.rows, mapping) for read in reads]
    kinds = {read.kind for read in reads}
    file_format = format or _format_of(parts, kinds)
    zone = tz or ("UTC" if file_format in _SAYS_UTC else None)
    with written_as("ck.read_posthog"):
        _check_parts(reads, parts, mapping, zone)
    parts = [
        _lower_booleans(part, mapping) if read.kind == "csv" else part
        for read, part in zip(reads, parts, strict=True)
    ]
    rows = joined([part for part in parts if len(part)] or parts[:1])
    if not rows.names:
        rows = Rows(pd.DataFrame({name: pd.Series(dtype="str") for name in _COLUMNS}))
    if not len(rows):
        notes.append(Note("empty", "the export holds no events"))
    with written_as("ck.read_posthog"):
        log = EventLog(
            rows,
            persons=_beside(persons),
            groups=_beside(groups),
            group_types=group_types,
            tz=zone,
            notes=notes,
            **names,
        )
    _check_shape(log, rows.names)
    return log


def scan_posthog(
    path: Files | Frame,
    *,
    persons: Files | Frame | None = None,
    groups: Files | Frame | None = None,
    format: Format | None = None,
    tz: Zone | None = None,
    group_types: Mapping[str, int] | None = None,
    deduplicate: bool = True,
    memory_limit: str = "2GB",
    cache: bool | str | PathLike[str] = True,
    event: str = "event",
    timestamp: str = "timestamp",
    distinct_id: str = "distinct_id",
    person_id: str = "person_id",
    session_id: str = "$session_id",
    properties: str = "properties",
    uuid: str = "uuid",
) -> EventLog:
    """Leave a PostHog export on disk: Parquet or JSON lines, read only as far as each question asks.

    What answers leave out (replay data, duplicates, rows without id or time) is the same as for
    `read_posthog`, but counted only when asked for: `log.count_dropped()`.

    Parameters
    ----------
    path, persons, groups, format, tz, group_types
        As for `read_posthog`; a folder may be partitioned in the hive way (`day=2026-09-07/`). Parquet
        behind a URL is read there, JSON lines are copied to this disk first.
    deduplicate
        Remove duplicates by uuid, where there is one, from every answer. Off saves reading the uuids.
    memory_limit
        What an answer's rows may take before they are handed out in several actor shards.
    cache
        Keep what was taken out of large Parquet files (times, names, ids, the properties asked for) in a
        folder, so that the next look, in this process or another, need not read them again: True for the
        user's cache folder or the one that the environment names in `CANARYKIT_CACHE`, a folder, or False.
        The folder holds personal data as the export does; it can be deleted at any time.
    event, timestamp, distinct_id, person_id, session_id, properties, uuid
        As for `read_posthog`.

    Returns
    -------
    EventLog

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     day = pd.to_datetime(["2026-09-07T09:00Z"])
    ...     events = pd.DataFrame({"event": ["paid"], "distinct_id": ["ada"], "timestamp": day})
    ...     events.to_parquet(f"{folder}/2026-09-07.parquet")
    ...     scan_posthog(f"{folder}/*.parquet").event_names()
    {'paid': 1}
    """
    from canarykit.events.engines.parquet import ExportFiles

    _check_format(format)
    names = ColumnNames(
        event=event, timestamp=timestamp, distinct_id=distinct_id, person_id=person_id,
        session_id=session_id, properties=properties, uuid=uuid,
    )  # fmt: skip
    mapping = check_names(names)
    if not is_location(path):
        raise ExportFormatError(
            f"scan_posthog reads files, not {type(path).__name__}; use read_posthog, or EventLog to leave a "
            "table where it is"
        )
    files = find_files(path)
    kinds = {kind_of(file) for file in files}
    if len(kinds) > 1 or kinds & {"json", "csv"}:
        raise ExportFormatError(
            f"scan_posthog reads Parquet or JSON lines, not {' and '.join(sorted(kinds))}; use read_posthog"
        )
    source = ExportFiles(
        tuple(files),
        kinds.pop(),
        deduplicate=deduplicate,
        memory_limit=memory_limit,
        cache=cache,
        says_utc=None if format is None else format in _SAYS_UTC,
        naming=partial(named, kept=frozenset(given(mapping))),
    )
    with written_as("ck.scan_posthog"):
        log = EventLog(
            source,
            persons=_beside(persons),
            groups=_beside(groups),
            group_types=group_types,
            tz=tz,
            **names,
        )
    _check_shape(log, log.columns)
    return log


def _check_format(format: str | None) -> None:
    if format is not None and format not in get_args(Format):
        raise ExportFormatError(f"format is {format!r}; {did_you_mean(format, get_args(Format))}")


def _beside(source: Any) -> Any:
    """Persons or groups: files become rows, a table stays."""
    if source is None:
        return None
    rows = joined([read.rows for read in read_files(source)]) if is_location(source) else rows_of(source)
    names = rows.names
    shouted = names and all(name == name.upper() for name in names)
    return rows.renamed({name: name.lower() for name in names}) if shouted else rows


def _named(rows: Rows, mapping: Mapping[str, str]) -> Rows:
    """Columns under the names of the log's contract; those that were named keep their names."""
    renamed, gone = named(rows.names, frozenset(given(mapping)))
    return rows.renamed(renamed, gone)


def _check_parts(reads: Sequence[Read], parts: Sequence[Rows], mapping: Mapping[str, str], zone: Any) -> None:
    """Refuse a file of another kind among the events, and local times beside moments."""
    times: dict[str, str] = {}
    time = mapping["timestamp"]
    for read, part in zip(reads, parts, strict=True):
        file = "the table" if read.file is None else read.file.name
        lacking = [mapping[name] for name in ("event", "timestamp") if mapping[name] not in part.names]
        if len(part) and lacking and len(parts) > 1:
            raise lacks_columns(file, lacking[0], part.names, mapping)
        if time in part.names and len(part):
            times.setdefault(kind_of_type(part.column(time).type), file)
    if {"moment", "local time"} <= set(times) and str(zone) != "UTC":
        raise NaiveTimestampError(
            f"column {time!r} holds times without a time zone in {times['local time']}, and with one in "
            f"{times['moment']}; pass tz='UTC' if they are UTC, else give all of them a zone"
        )


def _check_shape(log: EventLog, columns: Sequence[str]) -> None:
    """Refuse an export of which most rows are nothing that this library knows."""
    notes = [*log.notes, *log.count_lost()]
    lost = {note.text: note.count or 0 for note in notes if note.code in LOST and note.code != "bad_json"}
    events = sum(log.event_names().values()) if lost else 0
    if sum(lost.values()) > _MOST_LOST * (events + sum(lost.values())):
        reasons = ", ".join(f"{count:,} {text}" for text, count in lost.items())
        raise ExportFormatError(
            f"most rows of the export are not events of a known shape ({reasons}; {events:,} left); its "
            f"columns are {list(columns)[:20]}: is it another export, or does it lack a column?"
        )


def _format_of(parts: Sequence[Rows], kinds: set[str]) -> str:
    """Which export it is, by its columns; `_named` has been at them already."""
    if kinds & {"csv", "json"}:
        return "csv" if "csv" in kinds else "hogql"
    return "batch export" if any(set(_COLUMNS) <= set(part.names) for part in parts) else "unknown"


def _lower_booleans(rows: Rows, mapping: Mapping[str, str]) -> Rows:
    """CSV writers spell booleans `True`; the log spells them as JSON does."""
    spelled = pa.array(["True", "False"])
    for name in rows.names:
        column = rows.column(name)
        if name in mapping.values() or not pc.any(pc.is_in(column, value_set=spelled)).as_py():
            continue
        at = pc.fill_null(pc.is_in(column, value_set=spelled), False)
        rows = rows.with_column(name, pc.if_else(at, pc.utf8_lower(column), column))
    return rows
