"""People, sessions and segments of one arm, straight from the events: the descriptive side of a stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from canarykit.events.clock import as_micros
from canarykit.events.sql import answer, quoted
from canarykit.metrics.unit_outcomes import Outcomes, outcomes
from canarykit.periods import column_micros

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.health.question import Question


def seen_in_stage(question: Question, until: pd.Timestamp) -> pd.DataFrame:
    """Everybody seen in the stage, whatever their variant."""
    rows = question.by_stage
    return rows[(rows["stage"] == question.stage) & (rows["exposed_at"] < until)]


def stage_units(question: Question, variants: Sequence[str], until: pd.Timestamp) -> pd.DataFrame:
    """Everybody seen in the stage with one of the variants, as units followed until a moment."""
    rows = seen_in_stage(question, until)
    rows = rows[rows["variant"].isin(variants)].reset_index(drop=True)
    return rows.assign(
        canary=(rows["variant"] == question.plan.canary).to_numpy(bool),
        entered_at=rows["exposed_at"],
        leaves_at=until,
    )


@dataclass(frozen=True)
class Sessions:
    """Sessions after the exposure: all of them, and per event those in which it happened."""

    total: int
    with_event: dict[str, int]


def sessions_of(log: Any, units: pd.DataFrame, events: tuple[str, ...], *, actor: str) -> Sessions:
    """Count sessions of the units between their exposure and the stop."""
    import pyarrow as pa

    if units.empty:
        return Sessions(0, dict.fromkeys(events, 0))
    table = pa.table(
        {
            "actor": pa.array(units["person_id"].astype(str).to_numpy(object), pa.string()),
            "entered": pa.array(column_micros(units["entered_at"])),
            "leaves": pa.array(column_micros(units["leaves_at"])),
        }
    )
    shards = log.reduce(
        [actor, "event", "timestamp", "session_id"],
        partial(_count_sessions, units=table, events=events, actor=actor),
        since=units["entered_at"].min(),
        until=units["leaves_at"].max(),
        actor=actor,
    )
    total = sum(part[0] for part in shards)
    return Sessions(total, {name: sum(part[1 + i] for part in shards) for i, name in enumerate(events)})


def _count_sessions(table: pa.Table, *, units: pa.Table, events: tuple[str, ...], actor: str) -> list[int]:
    at = table.schema.get_field_index("timestamp")
    table = table.set_column(at, "timestamp", as_micros(table.column("timestamp")))
    kinds = "".join(
        f", count(DISTINCT CASE WHEN e.event = ? THEN e.session_id END) AS n{i}" for i in range(len(events))
    )
    row = answer(
        f"SELECT count(DISTINCT e.session_id) AS n{kinds} FROM arrow_events e JOIN units u "
        f"ON CAST(e.{quoted(actor)} AS VARCHAR) = u.actor "
        "WHERE e.timestamp >= u.entered AND e.timestamp < u.leaves AND e.session_id IS NOT NULL",
        events,
        fetch="fetchone",
        arrow_events=table,
        units=units,
    )
    return [int(number) for number in row]


def before_and_after(question: Question, units: pd.DataFrame) -> tuple[Outcomes, Outcomes]:
    """The same people for as long before their exposure as they were followed after it."""
    metrics = [g.metric for g in question.guardrails]
    span = units["leaves_at"] - units["entered_at"]
    after = outcomes(question.log, metrics, units, actor=question.actor)
    earlier = units.assign(entered_at=units["entered_at"] - span, leaves_at=units["entered_at"])
    return outcomes(question.log, metrics, earlier, actor=question.actor), after
