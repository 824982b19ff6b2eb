"""From an event log to a run: each actor shard is fed and scanned where it is, the answers are added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.exposure.lookup import Exposed
from canarykit.funnels.engine.feed import (
    Feed,
    columns_needed,
    events_needed,
    feed_table,
    read_bounds,
    shard_column,
)
from canarykit.funnels.engine.merge import limit_labels, merge_runs
from canarykit.funnels.engine.runs import ActorSelection, FunnelRun
from canarykit.funnels.engine.scan import Answers, scan_feed
from canarykit.funnels.packed.stream import native_columns, shard_batches, stream_funnel
from canarykit.funnels.question.specs import FunnelQuery
from canarykit.funnels.run_trend import run_trend

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["run_funnel", "run_trend", "shard_run"]

PEOPLE_COLUMNS = ("event", "timestamp", "uuid", "distinct_id", "session_id", "person_id")


def run_funnel(
    log: Any, query: FunnelQuery, *, select: ActorSelection | None = None, exposed: Exposed | None = None
) -> FunnelRun:
    """One steps funnel over a log; with `select`, the entries asked for with ids and matched events."""
    exposed = exposed if query.flag_exposure else None
    columns = columns_needed(query, exposed)
    if select is not None:
        columns = list(dict.fromkeys([*columns, *PEOPLE_COLUMNS]))
    else:
        streamed = stream_funnel(log, query, columns, exposed)
        if streamed is not None:
            return finish_run([_scanned(streamed, query, exposed)], query, select, exposed)
    shard = ShardFunnel(query, select, exposed)
    actor = shard_column(query, getattr(log, "engine", None))
    native = native_columns(actor) if select is None and exposed is None else []
    runs = log.reduce(
        columns, shard, events=events_needed(query), actor=actor, native=native, **read_bounds(query)
    )
    return finish_run(runs, query, select, exposed)


@dataclass(frozen=True)
class ShardFunnel:
    """What a shard computes; picklable, so that it runs wherever the shard is."""

    query: FunnelQuery
    select: ActorSelection | None = None
    exposed: Exposed | None = None

    def __call__(self, table: pa.Table) -> FunnelRun:
        """The run of one shard."""
        packed = None if self.select else shard_batches(table, self.query, self.exposed)
        if packed is not None:
            return _scanned(packed, self.query, self.exposed)
        run = shard_run(table, self.query, self.select, self.exposed)
        return replace(run, row_actor=None, actor_code=None)


def _scanned(streamed: FunnelRun | pa.Table, query: FunnelQuery, exposed: Exposed | None) -> FunnelRun:
    """The run of what a stream left: a run already, or few enough rows for the general scan."""
    if isinstance(streamed, FunnelRun):
        return streamed
    return replace(shard_run(streamed, query, None, exposed), row_actor=None, actor_code=None)


def finish_run(
    runs: Sequence[FunnelRun], query: FunnelQuery, select: ActorSelection | None, exposed: Exposed | None
) -> FunnelRun:
    """Shards added up, breakdown values ranked and limited."""
    run = merge_runs(runs, query.n_steps)
    if exposed is not None:
        return with_exposed(run, exposed)
    return run if select is not None else limit_labels(run, query)


def with_exposed(run: FunnelRun, exposed: Exposed) -> FunnelRun:
    """Every exposed variant is a label, those who never entered included."""
    new_code = np.array([exposed.labels.index(label) for label in run.labels], dtype=np.int32)
    value = new_code[run.value] if len(run.labels) else run.value
    return replace(
        run,
        labels=exposed.labels,
        value=value,
        exposed=exposed.counts(),
        several_variants=exposed.several_variants,
        notes=exposed.notes,
    )


def shard_run(
    table: pa.Table,
    query: FunnelQuery,
    select: ActorSelection | None = None,
    exposed: Exposed | None = None,
    form: str | None = None,
) -> FunnelRun:
    """The entries of one shard, values not yet limited."""
    feed = feed_table(table, query, exposed)
    entries = scan_feed(feed, query, form=form)
    if select is not None:
        return people_run(table, feed, entries, query, select, form)
    return plain_run(feed, entries)


def plain_run(feed: Feed, entries: Answers) -> FunnelRun:
    """Answers without ids."""
    return FunnelRun(
        labels=feed.values.labels,
        value=entries.value,
        reached=entries.reached,
        bits=entries.bits,
        times=entries.times,
        n_actors=feed.n_actors,
        n_events=len(feed.time),
        actor_code=feed.actor_code[entries.actor],
        row_actor=feed.row_actor,
    )


def people_run(
    table: pa.Table,
    feed: Feed,
    entries: Answers,
    query: FunnelQuery,
    select: ActorSelection,
    form: str | None,
) -> FunnelRun:
    """The selected entries, scanned once more with their matched events."""
    import pyarrow as pa

    chosen = np.unique(entries.actor[selected(entries, feed, query, select)])
    part = subset(feed, chosen)
    detailed = scan_feed(part, query, detail=True, form=form)
    keep = selected(detailed, part, query, select)
    new_entry = np.cumsum(keep) - 1
    answer, step, rank, event = detailed.matched[keep[detailed.matched[:, 0]]].T
    rows = part.row[event]
    shown = {name: table.column(name).take(pa.array(rows)) for name in PEOPLE_COLUMNS[:-1]}
    first_row = part.row[part.starts[detailed.actor[keep]]]
    run = plain_run(part, detailed)
    return replace(
        run,
        value=run.value[keep],
        reached=run.reached[keep],
        bits=run.bits[keep],
        times=run.times[keep],
        actor_code=None,
        row_actor=None,
        actor_ids=pa.array([part.actor_texts[i] for i in part.actor_code[detailed.actor[keep]]], pa.string()),
        person_ids=table.column("person_id").take(pa.array(first_row)).combine_chunks().cast(pa.string()),
        matched=pa.table(
            {
                "entry": new_entry[answer],
                "step": step.astype(np.int8),
                "rank": rank.astype(np.int8),
                **{name: column.cast(_plain_type(column.type)) for name, column in shown.items()},
            }
        ),
    )


def _plain_type(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    return pa.timestamp("us", "UTC") if pa.types.is_timestamp(kind) else pa.string()


def selected(entries: Answers, feed: Feed, query: FunnelQuery, select: ActorSelection) -> np.ndarray:
    """Which entries a selection asks for."""
    keep = np.ones(len(entries.value), dtype=bool)
    if select.step is not None:
        has = (entries.bits >> select.step) & 1 == 1
        if select.dropped:
            keep = ((entries.bits >> query.last_required_before(select.step)) & 1 == 1) & ~has
        else:
            keep = has
    if not select.any_label:
        labels = feed.values.labels
        code = labels.index(select.label) if select.label in labels else -1
        keep &= entries.value == code
    if select.limit is not None:
        keep &= np.cumsum(keep) <= select.limit
    return keep


def subset(feed: Feed, actors: np.ndarray) -> Feed:
    """The feed of some actors."""
    sizes = np.diff(feed.starts)[actors]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    events = np.repeat(feed.starts[actors] - starts[:-1], sizes) + np.arange(starts[-1])
    values = feed.values
    if len(values.codes):
        values = replace(values, codes=values.codes[events])
    return replace(
        feed,
        time=feed.time[events],
        entry=feed.entry[events],
        values=values,
        starts=starts,
        row=feed.row[events],
        actor_code=feed.actor_code[actors],
    )
