"""Events, persons and groups of a project into one folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from canarykit.display import Note
from canarykit.errors import DataError, did_you_mean
from canarykit.files import beside
from canarykit.posthog.fetch import ALWAYS, Fetched, fetch_events
from canarykit.posthog.file_exports import FileExports
from canarykit.posthog.hogql import HogQL
from canarykit.posthog.lists import all_groups, save_persons
from canarykit.progress import Progress
from canarykit.release.transport import Transport
from canarykit.times import duration, to_utc

_ROADS = ("auto", "file download", "hogql")
_NEEDED = ("$session_id", "$feature_flag", "$feature_flag_response", "$lib", "$group_0", "$anon_distinct_id")


def fetch_project(
    transport: Transport,
    project: int,
    hogql: HogQL,
    group_types: Mapping[str, str],
    host: str,
    *,
    into: str | PathLike[str],
    since: Any,
    until: Any,
    names: Sequence[str] | None,
    flag: str | None,
    properties: Sequence[str] | None,
    road: str,
    late: str,
    persons_every: str,
    progress: Progress,
) -> Fetched:
    """What `PostHog.events` does."""
    if road not in _ROADS:
        raise DataError(f"road is {road!r}; {did_you_mean(road, _ROADS)}")
    start = to_utc(since, name="since")
    now = pd.Timestamp(transport.now()).tz_convert("UTC").floor("s")
    stop = now if until is None else min(to_utc(until, name="until"), now)
    if not start < stop:
        raise DataError(f"since is {start.isoformat()}, not before {stop.isoformat()}")
    question: dict[str, Any] = {"host": host, "project": project}
    question["names"] = None if names is None else sorted({*names, *ALWAYS})
    question["properties"] = None
    if properties is not None:
        of_flag = [f"$feature/{flag}"] if flag else []
        question["properties"] = sorted({*properties, *_NEEDED, *of_flag})
    exports = None if road == "hogql" else FileExports(transport, project)
    fetched = fetch_events(
        into,
        exports,
        hogql,
        since=start,
        until=stop,
        now=now,
        question=question,
        late=late,
        progress=progress,
    )
    folder = Path(into)
    persons, notes = _persons(folder / "persons.parquet", hogql, persons_every)
    groups = _groups(folder / "groups.parquet", hogql, group_types)
    if groups is not None:
        text = "events from before a group type was made carry no group of it"
        notes.append(Note("blanked_groups", text))
    return replace(
        fetched,
        persons=persons,
        groups=groups,
        group_types={name: int(index) for index, name in group_types.items()},
        notes=(*fetched.notes, *notes),
    )


def _persons(file: Path, hogql: HogQL, every: str) -> tuple[Path, list[Note]]:
    """The persons file, fetched again once it is older than asked for."""
    age = time.time() - file.stat().st_mtime if file.exists() else float("inf")
    if age > duration(every, name="persons_every"):
        save_persons(hogql, file)
    text = "properties of persons are those of the day they were fetched, not of the day of an event"
    return file, [Note("persons_today", text)]


def _groups(file: Path, hogql: HogQL, group_types: Mapping[str, str]) -> Path | None:
    frame = all_groups(hogql, group_types) if group_types else None
    if frame is None:
        return None
    with beside(file) as unfinished:
        frame.to_parquet(unfinished, index=False)
    return file
