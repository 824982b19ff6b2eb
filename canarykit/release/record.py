"""`release.jsonl`: what was done to a flag, one JSON object a line, appended and never rewritten."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from canarykit.display import Column, Note, Result, Table, to_jsonable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SETTLED = ("applied", "nothing to do", "conflict", "refused", "not applied", "awaiting approval")
_COLUMNS = (
    Column("at", "when (UTC)", "time"),
    Column("action", "what"),
    Column("stage", "stage"),
    Column("status", "came to"),
    Column("version_before", "version before", "count"),
    Column("version_after", "after", "count"),
    Column("verdict", "verdict"),
    Column("who", "who"),
    Column("why", "why"),
)


@dataclass(frozen=True)
class Intent:
    """A write that was about to be sent: written down before, so that a crash leaves a trace."""

    id: str
    at: datetime
    flag: str
    action: str
    stage: str | None
    version_before: Any
    fingerprint_before: str
    fingerprint_after: str
    status: str | None = None
    version_after: Any = None

    @property
    def is_open(self) -> bool:
        """Whether it is not known what came of it."""
        return self.status not in SETTLED


class Record:
    """An append-only file of JSON lines.

    A line is written and flushed to the disk before the next step is taken. A line cut short by a crash
    is kept, and passed over when reading.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     record = Record(f"{folder}/release.jsonl")
    ...     record.append({"what": "look", "flag": "new-checkout"})
    ...     [entry["what"] for entry in record.entries()]
    ['look']
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path: Path = Path(path)

    def __repr__(self) -> str:
        return f"Record({str(self.path)!r})"

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line, whole or not at all as far as a reader can tell."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(to_jsonable(entry), ensure_ascii=False, allow_nan=False) + "\n"
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(handle).st_size
            if size:
                os.lseek(handle, size - 1, os.SEEK_SET)
                line = line if os.read(handle, 1) == b"\n" else "\n" + line
            os.write(handle, line.encode())
            os.fsync(handle)
        finally:
            os.close(handle)

    def entries(self, flag: str | None = None) -> list[dict[str, Any]]:
        """Every whole line, oldest first; of one flag where it is named."""
        if not self.path.exists():
            return []
        whole = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and (flag is None or entry.get("flag") == flag):
                whole.append(entry)
        return whole

    def intend(self, **fields: Any) -> Intent:
        """Write down what is about to be sent."""
        intent = Intent(id=uuid4().hex, **{key: fields[key] for key in _INTENT_FIELDS})
        further = {key: value for key, value in fields.items() if key not in _INTENT_FIELDS}
        base = {key: getattr(intent, key) for key in ("id", *_INTENT_FIELDS)}
        self.append({"what": "intends", **base, **further})
        return intent

    def settle(self, intent: Intent, status: str, at: datetime, **fields: Any) -> None:
        """Write down what came of it."""
        base = {"id": intent.id, "flag": intent.flag, "action": intent.action, "stage": intent.stage}
        self.append({"what": "did", "at": at, **base, "status": status, **fields})

    def intents(self, flag: str) -> list[Intent]:
        """Every write that was about to be sent, with what is known of it, oldest first."""
        by_id: dict[str, dict[str, Any]] = {}
        for entry in self.entries(flag):
            if entry.get("what") == "intends":
                by_id[entry["id"]] = {key: entry.get(key) for key in ("id", *_INTENT_FIELDS)}
            elif entry.get("what") == "did" and entry.get("id") in by_id:
                state = {"status": entry.get("status"), "version_after": entry.get("version_after")}
                by_id[entry["id"]] |= state
        return [Intent(**{**one, "at": datetime.fromisoformat(one["at"])}) for one in by_id.values()]

    def timeline(self, flag: str | None = None) -> Timeline:
        """What was done, as a table and a picture."""
        rows: dict[str, dict[str, Any]] = {}
        broken = 0
        for entry in self.entries(flag):
            if entry.get("what") not in {"intends", "did"}:
                continue
            row = rows.setdefault(entry["id"], {"status": "unclear"})
            row |= {key: value for key, value in entry.items() if value is not None and key != "at"}
            row["at"] = row.get("at") or datetime.fromisoformat(entry["at"])
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
            broken = sum(bool(line.strip()) for line in lines) - len(self.entries())
        notes = [Note("broken_lines", f"lines of {self.path.name} were cut short and passed over", broken)]
        return Timeline(
            flag or "every flag", tuple(map(_timeline_row, rows.values())), tuple(notes[: broken > 0])
        )


_INTENT_FIELDS = (
    "at", "flag", "action", "stage", "version_before", "fingerprint_before", "fingerprint_after",
)  # fmt: skip


def _timeline_row(row: dict[str, Any]) -> tuple[Any, ...]:
    verdict = (row.get("verdict") or {}).get("verdict")
    return tuple({**row, "verdict": verdict, "why": row.get("override")}.get(c.key) for c in _COLUMNS)


@dataclass(frozen=True, repr=False, eq=False)
class Timeline(Result):
    """What was done to a flag, in order."""

    flag: str
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[Note, ...] = ()

    def _headline(self) -> str:
        applied = sum(row[3] == "applied" for row in self.rows)
        return f"{self.flag}: {len(self.rows)} writes on record, {applied} applied"

    def _table(self) -> Table:
        """Versions are counts, but fingerprints where a system has none."""
        texts = {i for row in self.rows for i, value in enumerate(row) if isinstance(value, str)}
        columns = [
            Column(c.key, c.label) if c.kind == "count" and i in texts else c for i, c in enumerate(_COLUMNS)
        ]
        return Table.of(columns, self.rows)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Stages over time: a mark for each write, filled where it was applied."""
        from canarykit.plots.timeline import plot_timeline

        return plot_timeline(self, ax=ax)
