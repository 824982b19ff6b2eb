"""Trend runs: conversion per period of the first step, counted where the shards are, then added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.errors import DataError
from canarykit.exposure.lookup import Exposed
from canarykit.funnels.engine.feed import (
    Feed,
    columns_needed,
    events_needed,
    feed_table,
    read_bounds,
    shard_column,
)
from canarykit.funnels.engine.merge import common_labels, label_key
from canarykit.funnels.engine.runs import Label, TrendRun, TrendSpec
from canarykit.funnels.engine.scan import scan_trend_feed
from canarykit.funnels.engine.scan_memory import STEPS_MASK
from canarykit.funnels.question.specs import FunnelQuery, resolve_trend
from canarykit.periods import PeriodGrid, period_grid
from canarykit.times import micros

if TYPE_CHECKING:
    import pyarrow as pa


def run_trend(
    log: Any,
    query: FunnelQuery,
    spec: TrendSpec | None = None,
    *,
    select: bool = False,
    exposed: Exposed | None = None,
) -> TrendRun:
    """The trend of a funnel; with `select`, the actors behind every period too."""
    spec = spec or TrendSpec()
    from_step, to_step = resolve_trend(query, spec)
    exposed = exposed if query.flag_exposure else None
    begin, end = _range(log, query)
    grid = period_grid(begin, end + 1, spec.interval, timezone=query.timezone, week_start=spec.week_start)
    columns = columns_needed(query, exposed)
    if select:
        columns = list(dict.fromkeys([*columns, "session_id"]))
    shard = ShardTrend(query, from_step, to_step, grid, select, exposed)
    actor = shard_column(query, getattr(log, "engine", None))
    parts = log.reduce(columns, shard, events=events_needed(query), actor=actor, **read_bounds(query))
    as_of = end if spec.as_of is None else micros(spec.as_of, name="as_of")
    return _finish(parts, query, spec, grid, as_of, exposed)


def _range(log: Any, query: FunnelQuery) -> tuple[int, int]:
    begin, end = query.date_from_us, query.date_to_us
    if begin is None or end is None:
        span = log.time_range
        if span is None or span[0] is None:
            raise DataError("the log is empty and the funnel has no date_from and date_to: no period to show")
        begin = micros(span[0]) if begin is None else begin
        end = micros(span[1]) if end is None else end
    return begin, max(begin, end)


@dataclass(frozen=True, eq=False)
class ShardPart:
    """One shard's answers: per actor, value and period whether it converted."""

    labels: tuple[Label, ...]
    value: np.ndarray
    period: np.ndarray
    converted: np.ndarray
    actor_ids: pa.Array | None
    session: pa.Array | None


@dataclass(frozen=True)
class ShardTrend:
    """What a shard computes; picklable."""

    query: FunnelQuery
    from_step: int
    to_step: int
    grid: PeriodGrid
    select: bool
    exposed: Exposed | None

    def __call__(self, table: pa.Table) -> ShardPart:
        """The answers of one shard."""
        import pyarrow as pa

        feed = feed_table(table, self.query, self.exposed)
        periods = self.grid.index(feed.time)
        answers = scan_trend_feed(feed, self.query, periods, self.from_step, self.to_step)
        ids = session = None
        if self.select:
            ids = pa.array([feed.actor_texts[i] for i in feed.actor_code[answers.actor]], pa.string())
            session = pa.array(_sessions(table, feed, answers.actor, answers.event), pa.string())
        return ShardPart(feed.values.labels, answers.value, answers.period, answers.converted, ids, session)


def _sessions(table: pa.Table, feed: Feed, actors: np.ndarray, events: np.ndarray) -> list[str | None]:
    """Session of the latest step event that has one, at or before each deciding event."""
    session_ids = table.column("session_id").to_pylist()
    by_row: list[str | None] = []
    for actor, event in zip(actors.tolist(), events.tolist(), strict=True):
        sessions = (
            session_ids[feed.row[e]]
            for e in range(event, feed.starts[actor] - 1, -1)
            if feed.entry[e] & STEPS_MASK and session_ids[feed.row[e]]
        )
        by_row.append(next(sessions, None))
    return by_row


def _finish(
    parts: Sequence[ShardPart],
    query: FunnelQuery,
    spec: TrendSpec,
    grid: PeriodGrid,
    as_of: int,
    exposed: Exposed | None,
) -> TrendRun:
    """The shards' cohorts as one table of labels and periods, with their people where they were kept."""
    labels, values = common_labels([part.labels for part in parts], [part.value for part in parts])
    value = np.concatenate([*values, np.empty(0, np.int32)]).astype(np.int64)
    period = np.concatenate([*(part.period for part in parts), np.empty(0, np.int32)]).astype(np.int64)
    converted = np.concatenate([*(part.converted for part in parts), np.empty(0, np.int8)]) == 1
    if query.breakdown is None:
        labels = (None,)
    elif exposed is not None:
        value = np.array([exposed.labels.index(label) for label in labels], np.int64)[value]
        labels = exposed.labels
    entered = _matrix(value, period, len(labels), grid.n)
    reached = _matrix(value[converted], period[converted], len(labels), grid.n)
    run = TrendRun(labels, grid.edges[:-1], grid.edges[1:] > as_of - query.window_us, entered, reached)
    if all(part.actor_ids is not None for part in parts) and parts:
        import pyarrow as pa

        run = replace(
            run,
            actor_ids=pa.concat_arrays([part.actor_ids for part in parts]),
            actor_label=value,
            actor_period=period,
            actor_converted=converted,
            actor_session=pa.concat_arrays([part.session for part in parts]),
        )
    if query.breakdown is not None and exposed is None:
        run = _limited(run, query.breakdown.limit)
    return _complete_only(run) if spec.hide_incomplete else run


def _matrix(value: np.ndarray, period: np.ndarray, n_labels: int, n_periods: int) -> np.ndarray:
    cell = value * n_periods + period
    return np.bincount(cell, minlength=n_labels * n_periods).reshape(n_labels, n_periods)


def _limited(run: TrendRun, limit: int | None) -> TrendRun:
    """Values by how many entered, then by text, both descending; those beyond the limit are dropped."""
    by_text = sorted(range(len(run.labels)), key=lambda i: label_key(run.labels[i]), reverse=True)
    ranked = sorted(by_text, key=lambda i: -int(run.entered[i].sum()))[:limit]
    new_code = np.full(len(run.labels), -1, dtype=np.int64)
    new_code[ranked] = np.arange(len(ranked))
    run = replace(
        run,
        labels=tuple(run.labels[i] for i in ranked),
        entered=run.entered[ranked],
        reached=run.reached[ranked],
    )
    if run.actor_label is None:
        return run
    return _actors(
        run, new_code[run.actor_label] >= 0, label=new_code[run.actor_label], period=run.actor_period
    )


def _complete_only(run: TrendRun) -> TrendRun:
    keep = ~run.incomplete
    new_period = np.where(keep, np.cumsum(keep) - 1, -1)
    run = replace(
        run,
        periods=run.periods[keep],
        incomplete=run.incomplete[keep],
        entered=run.entered[:, keep],
        reached=run.reached[:, keep],
    )
    if run.actor_period is None:
        return run
    return _actors(
        run, new_period[run.actor_period] >= 0, label=run.actor_label, period=new_period[run.actor_period]
    )


def _actors(run: TrendRun, keep: np.ndarray, *, label: Any, period: Any) -> TrendRun:
    import pyarrow as pa

    rows = pa.array(keep)
    assert run.actor_ids is not None
    assert run.actor_session is not None
    assert run.actor_converted is not None
    return replace(
        run,
        actor_ids=run.actor_ids.filter(rows),
        actor_session=run.actor_session.filter(rows),
        actor_converted=run.actor_converted[keep],
        actor_label=label[keep],
        actor_period=period[keep],
    )
