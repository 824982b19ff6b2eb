"""A plain before-and-after picture by day, without a test: nothing was concurrent."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from canarykit.display import Column, Table
from canarykit.events.clock import as_micros
from canarykit.events.sql import answer
from canarykit.health.checks.check import Section
from canarykit.health.data.data_state import DataState

if TYPE_CHECKING:
    import pyarrow as pa


def daily_section(data: DataState, *, days_before: int = 7) -> Section:
    """People active per day, and people with each guardrail's event, a week before and since."""
    question = data.question
    since = question.start - pd.Timedelta(days=days_before)
    names = tuple(dict.fromkeys(e for g in question.guardrails for e in g.metric.events))
    parts = question.log.reduce(
        [question.actor, "event", "timestamp"],
        partial(_people_by_day, actor=question.actor, names=names, origin=since.value // 1000),
        since=since,
        until=data.until,
        actor=question.actor,
    )
    totals: dict[int, list[int]] = {}
    for part in parts:
        for day, counts in part.items():
            held = totals.setdefault(day, [0] * (1 + len(names)))
            for i, count in enumerate(counts):
                held[i] += count
    rows: list[tuple[Any, ...]] = []
    for day in sorted(totals):
        at = since + pd.Timedelta(days=day)
        when = "before" if at < question.start else "full release"
        people, *counts = totals[day]
        rows.append((at, when, people, *(count / people if people else None for count in counts)))
    columns = (
        Column("day", "24 hours from", "time"),
        Column("period", "period"),
        Column("people", "people active", "count"),
        *(Column(name, f"with {name}", "share") for name in names),
    )
    text = "A picture, not a comparison: other things changed from day to day too."
    return Section("by day", text, Table.of(columns, rows))


def _people_by_day(
    table: pa.Table, *, actor: str, names: tuple[str, ...], origin: int
) -> dict[int, list[int]]:
    import pyarrow as pa

    micros = as_micros(table.column("timestamp"))
    events = pa.table({"who": table.column(actor), "event": table.column("event"), "micros": micros})
    kinds = "".join(", count(DISTINCT CASE WHEN event = ? THEN who END)" for _ in names)
    days = answer(
        f"SELECT (micros - {origin}) // 86400000000 AS day, count(DISTINCT who){kinds} "
        "FROM events GROUP BY day",
        names,
        events=events,
    )
    return {int(day): [int(count) for count in counts] for day, *counts in days}
