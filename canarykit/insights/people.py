"""From a point of a trend to the people behind it: who they are, the events that count, the recordings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table, format_value
from canarykit.errors import DataError, did_you_mean
from canarykit.events.clock import as_micros
from canarykit.funnels.answers.people import replay_url, why_no_links
from canarykit.funnels.question.people import narrowed
from canarykit.insights.counts import Cohort, placed
from canarykit.periods import column_micros, moment
from canarykit.times import to_utc

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from canarykit.events import EventLog
    from canarykit.insights.trend import FlagTrend


@dataclass(frozen=True, eq=False)
class TrendSource:
    """What a trend keeps to answer what one asks next."""

    # where it was counted, among whom, and the names behind the cohort's numbers
    log: EventLog
    cohort: Cohort
    variants: tuple[str, ...]
    bounds: Mapping[str, Any]  # `since`, `until` and `where` of the events that were read
    ask: Callable[..., FlagTrend]  # asks the same question again; `people` can be given anew
    asked_people: Any  # the `people` of the question

    def ask_of(self, name: str, value: str) -> FlagTrend:
        """The same trend of the people whose property has a value."""
        return self.ask(people=narrowed(self.asked_people, name, value))


@dataclass(frozen=True, repr=False, eq=False)
class TrendPeople(Result):
    """The people behind a point of a trend.

    Attributes
    ----------
    event, start, variant
        Which point: the event, the start of the interval, the variant (None: all).
    rows
        One mapping per person: `person_id`, `variant`, `exposed_at`, `events` (how many count), `first_at`
        and `last_at` (of those events), `session_id` of the first and `replay_url` (None without host or
        session).
    events
        One mapping per event that counts: `person_id`, `variant`, `name`, `timestamp`, `session_id`,
        `replay_url`.
    """

    event: str
    start: pd.Timestamp
    variant: str | None
    rows: tuple[Mapping[str, Any], ...]
    events: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> list[str]:
        """The person ids in order."""
        return [row["person_id"] for row in self.rows]

    def events_frame(self) -> pd.DataFrame:
        """Every event that counts as a frame."""
        import pandas as pd

        return pd.DataFrame([dict(event) for event in self.events])

    def _headline(self) -> str:
        whom = "" if self.variant is None else f" of {self.variant}"
        recorded = sum(row["session_id"] is not None for row in self.rows)
        people = counted(len(self.rows), "people")
        when = format_value(self.start, "time")
        said = f"{people}{whom} with {self.event} in the interval from {when}"
        return f"{said}, {recorded:,} with a session to watch"

    def _table(self) -> Table:
        columns = [
            Column("person_id", "person"),
            Column("variant", "variant"),
            Column("exposed_at", "exposed", "time"),
            Column("events", "events", "count"),
            Column("first_at", "first", "time"),
            Column("last_at", "last", "time"),
            Column("session_id", "session"),
        ]
        if any(row["replay_url"] for row in self.rows):
            columns.append(Column("replay_url", "recording", "link"))
        return Table.of(columns, self.rows)


def list_people(
    trend: FlagTrend,
    source: TrendSource,
    start: Any,
    *,
    variant: str | None,
    host: str | None,
    project_id: int | str | None,
) -> TrendPeople:
    """People behind one point; see `FlagTrend.people`."""
    if variant is not None and variant not in source.variants:
        raise DataError(
            f"nobody was exposed to {variant!r} in this trend; {did_you_mean(str(variant), source.variants)}"
        )
    cohort, interval = source.cohort, _interval(trend, source, start)
    arm = None if variant is None else source.variants.index(variant)
    parts = source.log.reduce(
        [cohort.unit_column, "timestamp", "session_id"],
        partial(_shard_events, cohort=cohort, period=interval, arm=arm, so_far=trend.measure == "share"),
        events=[trend.event],
        actor=cohort.unit_column,
        **source.bounds,
    )
    by_person: dict[int, list[tuple[int, str | None]]] = {}
    for unit, at, session in (event for part in parts for event in part):
        by_person.setdefault(unit, []).append((at, session))
    listed = sorted(
        (sorted(events, key=lambda e: (e[0], e[1] or "")), unit) for unit, events in by_person.items()
    )
    rows, matched = [], []
    zone = trend.timezone
    for events, unit in sorted(listed, key=lambda item: (item[0][0][0], str(cohort.ids[item[1]]))):
        who = {"person_id": str(cohort.ids[unit]), "variant": source.variants[int(cohort.arm[unit])]}
        session = next((session for _, session in events if session), None)
        link = partial(replay_url, host=host, project_id=project_id)
        rows.append(
            {
                **who,
                "exposed_at": moment(int(cohort.exposed_us[unit])).tz_convert(zone),
                "events": len(events),
                "first_at": moment(events[0][0]).tz_convert(zone),
                "last_at": moment(events[-1][0]).tz_convert(zone),
                "session_id": session,
                "replay_url": link(session),
            }
        )
        for at, seen in events:
            one = {"name": trend.event, "timestamp": moment(at).tz_convert(zone), "session_id": seen}
            matched.append({**who, **one, "replay_url": link(seen)})
    begins = moment(int(cohort.edges[interval])).tz_convert(zone)
    notes = why_no_links(rows, host)
    return TrendPeople(trend.event, begins, variant, tuple(rows), tuple(matched), notes)


def _interval(trend: FlagTrend, source: TrendSource, start: Any) -> int:
    """Number of the interval that is meant."""
    import pandas as pd

    edges = source.cohort.edges[:-1]
    if isinstance(start, int | np.integer) and not isinstance(start, bool):
        if not -len(edges) <= start < len(edges):
            raise DataError(
                f"start is {start}; the trend has {len(edges):,} intervals, from 0 to {len(edges) - 1}"
            )
        return int(start) % len(edges)
    at = to_utc(start, name="start", tz=trend.timezone)
    places = np.flatnonzero(edges == column_micros(pd.DatetimeIndex([at]))[0])
    if not places.size:
        first, last = (
            format_value(moment(int(edge)).tz_convert(trend.timezone), "time") for edge in edges[[0, -1]]
        )
        raise DataError(
            f"no {trend.interval} of the trend starts at {format_value(at, 'time')}; the first starts at "
            f"{first}, the last at {last}"
        )
    return int(places[0])


def _shard_events(
    table: pa.Table, *, cohort: Cohort, period: int, arm: int | None, so_far: bool
) -> list[tuple[int, int, str | None]]:
    """Per event of a shard that counts at a point: the number of its person, its time, its session."""
    rows, unit, at_period, inside = placed(table, cohort)
    chosen = at_period <= period if so_far else inside & (at_period == period)
    if arm is not None:
        chosen &= cohort.arm[unit] == arm
    rows, unit = rows[chosen], unit[chosen]
    at = as_micros(table.column("timestamp")).to_numpy()[rows]
    sessions = table.column("session_id").take(rows).to_pylist()
    return list(zip(unit.tolist(), at.tolist(), sessions, strict=True))
