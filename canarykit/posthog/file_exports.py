"""Large data without paging: PostHog writes Parquet files to its storage, and we fetch them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from canarykit.release.refusals import RateLimitError, ServerError
from canarykit.release.transport import Transport

LONGEST = pd.Timedelta(days=7)  # of one export
_FIRST_POLL, _LONGEST_POLL = 1.0, 15.0
_TRIES_WHEN_BUSY = 5


class FileExports:
    """The file download API of one project. Needs the scopes batch_export:write and batch_export:read."""

    def __init__(self, transport: Transport, project: int, *, wait: float = 3600.0) -> None:
        self._transport = transport
        self._base = f"api/projects/{project}/file_download_batch_exports"
        self._wait = wait

    def start(self, since: pd.Timestamp, until: pd.Timestamp, names: Sequence[str] | None) -> str:
        """Ask for the events of `[since, until)`; the id of the export."""
        body: dict[str, Any] = {
            "model": "events",
            "file": {"format": "Parquet", "compression": "zstd"},
            "data_interval_start": since.isoformat(),
            "data_interval_end": until.isoformat(),
        }
        if names is not None:
            body["include"] = list(names)
        for attempt in range(_TRIES_WHEN_BUSY):
            try:
                return str(self._transport.write("POST", f"{self._base}/", body)["id"])
            except RateLimitError as problem:
                if problem.wait is not None or attempt == _TRIES_WHEN_BUSY - 1:
                    raise
                time.sleep(_FIRST_POLL * 2**attempt)  # too many exports run at once
        raise AssertionError("unreachable")  # pragma: no cover

    def parts(self, export: str) -> tuple[list[str], int | None]:
        """Parts of a finished export, and how many records it counts; waits until it is finished."""
        waited, pause = 0.0, _FIRST_POLL
        while True:
            answer = self._transport.get(f"{self._base}/{export}/")
            status = str(answer.get("status"))
            if status == "Completed":
                return list(map(str, answer.get("files") or ())), answer.get("records_completed")
            if status not in {"Starting", "Running"}:
                reason = answer.get("error") or answer.get("latest_error") or "no reason given"
                raise ServerError(f"the export of events ended as {status}: {reason}", code=status)
            if waited > self._wait:
                raise ServerError(f"the export of events has been {status} for {waited / 60:.0f} minutes")
            time.sleep(pause)
            waited, pause = waited + pause, min(pause * 2, _LONGEST_POLL)

    def save(self, export: str, part: str, file: Path) -> None:
        """Fetch one part; storage never sees the key."""
        self._transport.save(f"{self._base}/{export}/download/{part}/", file)
