"""PostHog exports as event logs: batch exports, warehouse tables, query answers, the older API, CSV.

What a format says is believed (its naive times are UTC, its ids are text); what had to be dropped or
guessed is counted in the notes of the log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, get_args

import pandas as pd

from canarykit.display import Note
from canarykit.errors import ExportFormatError, did_you_mean
from canarykit.events import EventLog
from canarykit.events.exports.files import find_files, kind_of, read_files

if TYPE_CHECKING:
    from canarykit.typing import Files, Frame, Zone

__all__ = ["Format", "read_posthog", "scan_posthog"]

Format = Literal["batch export", "bigquery", "snowflake", "postgres", "hogql", "rest", "csv"]

_SAYS_UTC = ("batch export", "bigquery", "snowflake", "postgres")
_COLUMNS = ("uuid", "event", "distinct_id", "properties", "timestamp")
_RENAMED = {
    "person.id": "person_id",
    "person.uuid": "person_id",
    "person.properties": "person_properties",
    "id": "uuid",
}
_DROPPED = ("team_id", "people_set", "people_set_once", "_inserted_at", "bq_ingested_timestamp")


def read_posthog(
    path: Files | Frame,
    *,
    persons: Files | Frame | None = None,
    groups: Files | Frame | None = None,
    format: Format | None = None,
    tz: Zone | None = None,
    group_types: Mapping[str, int] | None = None,
) -> EventLog:
    """Read a PostHog export into memory.

    Parameters
    ----------
    path
        A file, a folder, a glob, or a list of these: Parquet, JSON lines, JSON, CSV, also compressed;
        or a frame of such rows.
    persons
        The persons export, for exports without person ids and to see merges that came later: a path or
        a frame. Without it, merges are read from `$identify` and alias events.
    groups
        Groups with their properties: a path or a frame.
    format
        Which export it is, where its columns do not say so.
    tz
        Zone of times that carry none, where the format does not say UTC.
    group_types
        Index of each group type by name; `{"organization": 0}` unless told otherwise.

    Returns
    -------
    EventLog
        In pandas. Its notes count what was dropped (duplicates by uuid, replay data, rows without id or
        time), what is unknown (properties that are no JSON), and what was guessed.

    Raises
    ------
    ExportFormatError
        If a file is missing, cut short, or of another kind.
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
    if isinstance(path, str | PathLike | list | tuple):
        frame, notes, kinds = read_files(path)
    else:
        frame, notes, kinds = _frame(path), [], set()
    frame = _named(frame)
    found = format or _format_of(frame, kinds)
    if not len(frame.columns):
        frame = pd.DataFrame({name: pd.Series(dtype="str") for name in _COLUMNS})
    if not len(frame):
        notes.append(Note("empty", "the export holds no events"))
    if "csv" in kinds:
        frame = _lower_booleans(frame)
    frame, more = _without_duplicates(frame)
    zone = tz or ("UTC" if found in _SAYS_UTC else None)
    return EventLog(
        frame,
        persons=_beside(persons),
        groups=_beside(groups),
        group_types=group_types,
        tz=zone,
        notes=[*notes, *more],
    )


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
) -> EventLog:
    """Leave a PostHog export on disk: Parquet or JSON lines, read only as far as each question asks.

    What answers leave out (replay data, duplicates, rows without id or time) is the same as for
    `read_posthog`, but counted only when asked for: `log.count_dropped()`.

    Parameters
    ----------
    path, persons, groups, format, tz, group_types
        As for `read_posthog`; a folder may be partitioned in the hive way (`day=2026-09-07/`).
    deduplicate
        Remove duplicates by uuid, where there is one, from every answer. Off saves reading the uuids.
    memory_limit
        What an answer's rows may take before they are handed out in several actor shards.

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
    files = find_files(path)
    kinds = {kind_of(file) for file in files}
    if len(kinds) > 1 or kinds & {"json", "csv"}:
        raise ExportFormatError(
            f"scan_posthog reads Parquet or JSON lines, not {' and '.join(sorted(kinds))}; use read_posthog"
        )
    source = ExportFiles(
        tuple(map(str, files)),
        kinds.pop(),
        deduplicate=deduplicate,
        memory_limit=memory_limit,
        says_utc=None if format is None else format in _SAYS_UTC,
    )
    return EventLog(source, persons=_beside(persons), groups=_beside(groups), group_types=group_types, tz=tz)


def _check_format(format: str | None) -> None:
    if format is not None and format not in get_args(Format):
        raise ExportFormatError(f"format is {format!r}; {did_you_mean(format, get_args(Format))}")


def _frame(source: Any) -> pd.DataFrame:
    from canarykit.events.open import to_frame

    return to_frame(source)


def _beside(source: Any) -> Any:
    """Persons or groups: a path becomes a frame, a frame stays."""
    if isinstance(source, str | PathLike | list | tuple):
        frame, _, _ = read_files(source)
        return _lower_case(frame)
    return source


def _lower_case(frame: pd.DataFrame) -> pd.DataFrame:
    """Snowflake shouts its column names."""
    names = [str(name) for name in frame.columns]
    return frame.rename(columns=str.lower) if names and all(name == name.upper() for name in names) else frame


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns under the names of the log's contract: flattened properties bare, dots of queries undone."""
    frame = _lower_case(frame)
    names = [str(name) for name in frame.columns]
    renamed: dict[str, str] = {}
    for name in names:
        new = _RENAMED.get(name, name)
        new = re.sub(r"^person\.properties\.", "person.", new)
        new = re.sub(r"^group_(\d)\.properties\.", r"group\1.", new)
        new = new.removeprefix("properties.") if new != "properties." else new
        if new != name and new not in names and new not in renamed.values():
            renamed[name] = new
    kept = [name for name in names if name not in _DROPPED]
    return frame[kept].rename(columns=renamed) if renamed or len(kept) < len(names) else frame


def _format_of(frame: pd.DataFrame, kinds: set[str]) -> str:
    """Which export it is, by its columns; `_named` has been at them already."""
    if kinds & {"csv", "json"}:
        return "csv" if "csv" in kinds else "hogql"
    return "batch export" if set(_COLUMNS) <= set(frame.columns) else "unknown"


def _lower_booleans(frame: pd.DataFrame) -> pd.DataFrame:
    """CSV writers spell booleans `True`; the log spells them as JSON does."""
    spelled = {"True": "true", "False": "false"}
    flags = [name for name in frame.columns if name not in _COLUMNS and frame[name].isin(spelled).any()]
    return frame.assign(**{name: frame[name].replace(spelled) for name in flags}) if flags else frame


def _without_duplicates(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Note]]:
    if "uuid" not in frame.columns:
        return frame, []
    uuids = frame["uuid"].map(str, na_action="ignore") if frame["uuid"].dtype == object else frame["uuid"]
    again = (uuids.duplicated() & uuids.notna()).to_numpy()
    if not again.any():
        return frame, []
    note = Note("duplicates", "events that came twice (same uuid) were removed", int(again.sum()))
    return frame[~again].reset_index(drop=True), [note]
