"""Questions in HogQL: one at a time, fresh answers, and pages by key where an answer has more than a page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from canarykit.release.refusals import QueryTooHeavyError, ServerError
from canarykit.release.transport import Transport

PAGE = 50_000  # a larger LIMIT is cut to this without a word
_SHORTEST = pd.Timedelta("1min")
_FIRST_POLL, _LONGEST_POLL, _LAST_POLL = 0.5, 5.0, 600.0
_EVENT_COLUMNS = "toString(uuid), event, distinct_id, toString(person_id)"
_TIMES = "toString(toTimeZone(timestamp, 'UTC')), toString(toTimeZone(created_at, 'UTC'))"


@dataclass(frozen=True)
class Answer:
    """Columns and rows of one answer."""

    columns: tuple[str, ...]
    rows: list[list[Any]]


class HogQL:
    """Queries to one project. Needs the scope query:read.

    Queries run one after another: PostHog lets three run at once in a project, for everybody.
    """

    def __init__(self, transport: Transport, project: int, *, page: int = PAGE) -> None:
        self._transport = transport
        self._path = f"api/projects/{project}/query/"
        self.page = min(page, PAGE)

    def query(self, text: str, values: Mapping[str, Any] | None = None) -> Answer:
        """One fresh answer; `values` fill the placeholders `{name}` of the text.

        Times come back as they are asked for, never in the project's zone.
        """
        body = {
            "query": {
                "kind": "HogQLQuery",
                "query": text,
                "values": dict(values or {}),
                "modifiers": {"convertToProjectTimezone": False},
            },
            "refresh": "force_blocking",
            "name": "canarykit",
        }
        answer = self._transport.ask(self._path, body)
        answer = self._finished(answer)
        return Answer(tuple(map(str, answer.get("columns") or ())), answer.get("results") or [])

    def _finished(self, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer itself, or that of a query the server went on with in the background."""
        status = answer.get("query_status") or {}
        waited, pause = 0.0, _FIRST_POLL
        while status and not status.get("complete", True):
            if waited > _LAST_POLL:
                raise QueryTooHeavyError(
                    f"the query has been running for {waited / 60:.0f} minutes; ask for less"
                )
            time.sleep(pause)
            waited, pause = waited + pause, min(pause * 2, _LONGEST_POLL)
            status = self._transport.get(f"{self._path}{status['id']}/").get("query_status") or {}
            if status.get("error") or status.get("error_message"):
                raise ServerError(f"the query failed: {status.get('error_message') or 'no reason given'}")
            if status.get("complete"):
                return status.get("results") or {}
        return answer

    def event_pages(
        self,
        since: pd.Timestamp,
        until: pd.Timestamp,
        *,
        names: Sequence[str] | None = None,
        properties: Sequence[str] | None = None,
    ) -> Iterator[pd.DataFrame]:
        """Events of `[since, until)`, page after page in order of (timestamp, uuid).

        A page begins behind the last row of the one before, by both keys: by the time alone, rows with
        equal times would be lost at the border. A query that is too heavy is asked for half the time.
        """
        start, stop, after = since, until, None
        while True:
            try:
                rows = self._event_rows(start, stop, after, names, properties)
            except QueryTooHeavyError:
                begun = start if after is None else pd.Timestamp(after[0], tz="UTC")
                if stop - begun < _SHORTEST:
                    raise
                stop = begun + (stop - begun) / 2
                continue
            if rows:
                yield _event_frame(rows, properties)
            if len(rows) == self.page:
                after = (rows[-1][4], rows[-1][0])
            elif stop >= until:
                return
            else:
                start, stop, after = stop, min(until, stop + 2 * (stop - start)), None

    def _event_rows(
        self,
        start: pd.Timestamp,
        stop: pd.Timestamp,
        after: tuple[str, str] | None,
        names: Sequence[str] | None,
        properties: Sequence[str] | None,
    ) -> list[list[Any]]:
        values: dict[str, Any] = {"start": clock_text(start), "stop": clock_text(stop)}
        where = ["timestamp >= toDateTime64({start}, 6, 'UTC')", "timestamp < toDateTime64({stop}, 6, 'UTC')"]
        if names is not None:
            values["names"] = list(names)
            where.append("event in {names}")
        if after is not None:
            values |= {"time": after[0], "uuid": after[1]}
            where.append("(timestamp, uuid) > (toDateTime64({time}, 6, 'UTC'), toUUID({uuid}))")
        if properties is None:
            asked = "properties"
        else:
            keys = {f"key{number}": name for number, name in enumerate(properties)}
            values |= keys
            asked = ", ".join(f"JSONExtractRaw(properties, {{{key}}})" for key in keys) or "'{}'"
        text = (
            f"select {_EVENT_COLUMNS}, {_TIMES}, {asked} from events where {' and '.join(where)} "
            f"order by timestamp, uuid limit {self.page}"
        )
        return self.query(text, values).rows

    def keyed(self, columns: str, table: str, key: str, cast: str = "{after}") -> Iterator[list[list[Any]]]:
        """Rows of a small table, page after page by a unique key, which is the first column."""
        after = None
        while True:
            where = "" if after is None else f" where {key} > {cast}"
            text = f"select {columns} from {table}{where} order by {key} limit {self.page}"
            rows = self.query(text, {} if after is None else {"after": after}).rows
            if rows:
                yield rows
            if len(rows) < self.page:
                return
            after = rows[-1][0]


def clock_text(moment: pd.Timestamp) -> str:
    """A UTC moment as ClickHouse reads it, with all six decimals."""
    return moment.tz_convert("UTC").strftime("%Y-%m-%d %H:%M:%S.%f")


def _event_frame(rows: list[list[Any]], properties: Sequence[str] | None) -> pd.DataFrame:
    listed = list(zip(*rows, strict=True))
    texts = listed[6] if properties is None else [_object(properties, row[6:]) for row in rows]
    frame = dict(zip(("uuid", "event", "distinct_id", "person_id"), listed[:4], strict=True))
    times = {name: _times(listed[column]) for name, column in (("timestamp", 4), ("created_at", 5))}
    return pd.DataFrame({**frame, "properties": texts, **times})


def _object(names: Sequence[str], raw: Sequence[Any]) -> str:
    """The JSON of the properties that were asked for; those an event lacks come back empty."""
    import json

    pairs = (f"{json.dumps(name)}: {text}" for name, text in zip(names, raw, strict=True) if text)
    return "{" + ", ".join(pairs) + "}"


def _times(texts: Sequence[Any]) -> Any:
    return pd.to_datetime(list(texts), utc=True, format="ISO8601").as_unit("us")
