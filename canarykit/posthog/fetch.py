"""Events of a project into a folder that `read_posthog` takes: only what is new, and again what may be late.

The folder keeps a list of the windows of time it holds. A window is settled when it was fetched at least
`late` after its end; others are fetched again, since events may still arrive for them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError
from canarykit.files import beside, write_whole
from canarykit.posthog.file_exports import LONGEST, FileExports
from canarykit.posthog.hogql import HogQL
from canarykit.progress import Progress, watched
from canarykit.release.refusals import AuthenticationError, FieldRefusedError, NotFoundError
from canarykit.times import duration

ALWAYS = (
    "$feature_flag_called", "$experiment_exposure", "$feature_enrollment_update",
    "$identify", "$create_alias", "$merge_dangerously",
)  # fmt: skip
_LIST = "fetched_manifest.json"
_READ_BELOW = 3_000_000  # events; larger folders stay on disk
_COLUMNS = (
    Column("since", "from (UTC)", "time"),
    Column("until", "until (UTC)", "time"),
    Column("events", "events", "count"),
    Column("road", "by"),
    Column("state", "state"),
)


@dataclass(frozen=True, repr=False, eq=False)
class Fetched(Result):
    """A folder of events, and what of it was fetched just now.

    Attributes
    ----------
    folder, files
        Where they are.
    windows
        Times the folder holds.
    fetched
        Events that came over the line just now.
    persons, groups
        Files beside them; None where there are none.
    """

    folder: Path
    files: tuple[Path, ...]
    windows: tuple[dict[str, Any], ...]
    fetched: int = 0
    persons: Path | None = None
    groups: Path | None = None
    group_types: dict[str, int] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    @property
    def events(self) -> int:
        """How many events the folder holds, those that came twice counted twice."""
        return sum(window["rows"] for window in self.windows)

    def log(self) -> Any:
        """The events as an `EventLog`: in memory, or left on disk where they are many."""
        from canarykit.events.exports import read_posthog, scan_posthog

        if not self.files:
            raise DataError(f"{self.folder} holds no events: nothing happened in the time that was asked for")
        read = read_posthog if self.events < _READ_BELOW else scan_posthog
        types = self.group_types or None
        log = read([str(f) for f in self.files], persons=self.persons, groups=self.groups, group_types=types)
        log.notes = (*log.notes, *self.notes)
        return log

    def _headline(self) -> str:
        events, files = counted(self.events, "events"), counted(len(self.files), "files")
        return f"{self.folder}: {events} in {files}, {self.fetched:,} fetched now"

    def _table(self) -> Table:
        rows = [
            (
                pd.Timestamp(window["since"]),
                pd.Timestamp(window["until"]),
                window["rows"],
                window["road"],
                "settled" if window["settled"] else "fetched again next time",
            )
            for window in self.windows
        ]
        return Table.of(_COLUMNS, rows)


class _Folder:
    """The files of a folder and the list of the windows they hold, written anew after every window."""

    def __init__(self, folder: Path, question: dict[str, Any]) -> None:
        self.path = folder
        self._list = folder / _LIST
        (folder / "events").mkdir(parents=True, exist_ok=True)
        self.content: dict[str, Any] = {"question": question, "windows": [], "pending": {}}
        if self._list.exists():
            self.content = json.loads(self._list.read_text(encoding="utf-8"))
            if self.content["question"] != question:
                was = {k: v for k, v in self.content["question"].items() if question.get(k) != v}
                raise DataError(f"{folder} holds other events ({was}); fetch into another folder")

    @property
    def windows(self) -> list[dict[str, Any]]:
        return self.content["windows"]

    def save(self) -> None:
        write_whole(self._list, json.dumps(self.content, indent=1) + "\n")

    def replace(self, window: dict[str, Any]) -> None:
        """Put a window in the place of those it covers, and remove their files."""
        covered = [old for old in self.windows if window["since"] <= old["since"] < window["until"]]
        kept = [old for old in self.windows if old not in covered]
        self.content["windows"] = sorted([*kept, window], key=lambda one: one["since"])
        self.content["pending"].pop(f"{window['since']}/{window['until']}", None)
        self.save()
        named = {name for one in self.windows for name in one["files"]}
        for file in (self.path / "events").iterdir():
            if file.name not in named and not file.name.startswith("."):
                file.unlink()


def fetch_events(
    folder: str | PathLike[str],
    exports: FileExports | None,
    hogql: HogQL,
    *,
    since: pd.Timestamp,
    until: pd.Timestamp,
    now: pd.Timestamp,
    question: dict[str, Any],
    late: str = "1d",
    progress: Progress = None,
) -> Fetched:
    """Fetch what the folder does not hold yet.

    Two roads: `exports`, and without them, or where the key or the server does not allow them, HogQL. Times
    are those asked for, and the server's. `question` is what the folder is for: host, project, names and
    properties; `late` how long after a window's end its events may still arrive.
    """
    kept = _Folder(Path(folder), question)
    settled_until = (now - pd.Timedelta(seconds=duration(late))).floor("h")
    pieces = _missing(kept.windows, since, until, settled_until)
    notes: list[Note] = []
    total = 0
    for start, stop in watched(pieces, progress, total=len(pieces), unit="windows"):
        road = ""
        if exports is not None and question.get("properties") is None:
            try:
                road, (files, rows) = (
                    "file download",
                    _by_export(kept, exports, start, stop, question["names"]),
                )
            except (AuthenticationError, NotFoundError, FieldRefusedError) as problem:
                notes.append(Note("no_file_download", f"events came by HogQL, not as files: {problem}"))
                exports = None
        if not road:
            road, (files, rows) = "HogQL", _by_pages(kept, hogql, start, stop, question)
        kept.replace(
            {
                "since": start.isoformat(),
                "until": stop.isoformat(),
                "settled": bool(stop <= settled_until),
                "files": files,
                "rows": rows,
                "road": road,
            }
        )
        total += rows
    files_now = [Path(folder) / "events" / name for one in kept.windows for name in one["files"]]
    notes.append(Note("late_events", f"events that arrive more than {late} late are not fetched"))
    return Fetched(Path(folder), tuple(files_now), tuple(kept.windows), total, notes=tuple(notes))


def _missing(
    windows: Sequence[dict[str, Any]], since: pd.Timestamp, until: pd.Timestamp, settled_until: pd.Timestamp
) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Times that no settled window holds, in pieces of at most a week, cut where they begin to settle."""
    pieces = []
    start = since
    covered = [(pd.Timestamp(w["since"]), pd.Timestamp(w["until"])) for w in windows if w["settled"]]
    for begin, end in [*sorted(covered), (until, until)]:
        while start < min(begin, until):
            stop = min(start + LONGEST, begin, until)
            if start < settled_until < stop:
                stop = settled_until
            pieces.append((start, stop))
            start = stop
        start = max(start, end)
    return pieces


def _by_export(
    kept: _Folder, exports: FileExports, start: pd.Timestamp, stop: pd.Timestamp, names: Sequence[str] | None
) -> tuple[list[str], int]:
    """One export into files; an export that was begun before the line broke is taken up again."""
    import pyarrow.parquet as pq

    window = f"{start.isoformat()}/{stop.isoformat()}"
    export = kept.content["pending"].get(window)
    try:
        parts, expected = exports.parts(export) if export else ([], None)
    except NotFoundError:
        export = None
    if not export:
        export = exports.start(start, stop, names)
        kept.content["pending"][window] = export
        kept.save()
        parts, expected = exports.parts(export)
    files: list[str] = []
    rows = 0
    for number, part in enumerate(parts):
        name = f"{start:%Y%m%dT%H%M%S}-{export[:8]}-{number:04d}.parquet"
        file = kept.path / "events" / name
        if not file.exists():
            exports.save(export, part, file)
        files.append(name)
        rows += pq.ParquetFile(file).metadata.num_rows
    if expected is not None and rows != expected:
        raise DataError(f"the export of {window} has {expected:,} records, {rows:,} arrived; fetch it again")
    return files, rows


def _by_pages(
    kept: _Folder, hogql: HogQL, start: pd.Timestamp, stop: pd.Timestamp, question: dict[str, Any]
) -> tuple[list[str], int]:
    """HogQL pages, each a file as soon as it is there: never more than one page in memory."""
    files: list[str] = []
    rows = 0
    pages = hogql.event_pages(start, stop, names=question["names"], properties=question["properties"])
    for number, page in enumerate(pages):
        name = f"{start:%Y%m%dT%H%M%S}-page-{stop:%Y%m%dT%H%M%S}-{number:05d}.parquet"
        file = kept.path / "events" / name
        with beside(file) as unfinished:
            page.to_parquet(unfinished, index=False)
        files.append(name)
        rows += len(page)
    return files, rows
