"""When a log is large enough to be packed batch by batch, and when it is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from canarykit.compiler import can_compile
from canarykit.exposure.lookup import Exposed
from canarykit.funnels.engine.feed import actor_column, events_needed, read_bounds
from canarykit.funnels.engine.runs import FunnelRun
from canarykit.funnels.engine.scan import PLAIN_LIMIT
from canarykit.funnels.question.specs import FunnelQuery

if TYPE_CHECKING:
    import pyarrow as pa

ENGINES = ("pandas", "duckdb", "narwhals")


def stream_funnel(
    log: Any, query: FunnelQuery, columns: Sequence[str], exposed: Exposed | None
) -> FunnelRun | pa.Table | None:
    """The run of a large log that this process can read as a stream; None where another way is better.

    Of a small log it is all of its rows that count: they have been read, so nobody need read them again.
    """
    if query.looks_back or getattr(log, "engine", None) not in ENGINES:
        return None
    native = native_columns(actor_column(query))
    tables = log.batches(
        columns, events=events_needed(query), native=native, exact=False, **read_bounds(query)
    )
    return packed_run(tables, query, exposed)


def native_columns(actor: str) -> list[str]:
    """Columns whose stored type will do: ids are told apart as integers as well as by their text."""
    return [actor] if actor in ("person_id", "distinct_id") else []


def shard_batches(
    table: pa.Table, query: FunnelQuery, exposed: Exposed | None
) -> FunnelRun | pa.Table | None:
    """The run of one large shard, on one processor: others have shards of their own."""
    if query.looks_back or table.num_rows <= PLAIN_LIMIT or not can_compile():
        return None
    return packed_run(iter([table]), query, exposed, threads=1)


def packed_run(
    tables: Iterator[pa.Table], query: FunnelQuery, exposed: Exposed | None, *, threads: int | None = None
) -> FunnelRun | pa.Table | None:
    """Packed and scanned; the rows that count when the stream is short; None when they do not fit."""
    from canarykit.events.text import together

    head, fed = [], 0
    for table in tables:
        few, n_rows = _fed_rows(table, query, enough=PLAIN_LIMIT + 1 - fed)
        head.append(few)
        fed += n_rows
        if fed > PLAIN_LIMIT:
            break
    else:
        return together(head)
    if not can_compile():  # asked last: a small funnel never waits for a compiler
        return None
    from canarykit.funnels.packed.run_packed import DoesNotFit, run_batches

    try:
        return run_batches(chain(head, tables), query, exposed, threads=threads)
    except DoesNotFit:
        return None


def _fed_rows(table: pa.Table, query: FunnelQuery, *, enough: int) -> tuple[pa.Table, int]:
    """The rows of a table with a name and a time that are asked for, and their number.

    The table as it is, with a smaller number, as soon as `enough` are found.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    batches = table.to_batches(max_chunksize=4 * PLAIN_LIMIT)
    masks: list[pa.Array] = []
    n_rows = 0
    for batch in batches:
        masks.append(_is_fed(batch, query))
        n_rows += pc.sum(masks[-1]).as_py() or 0
        if n_rows >= enough:
            return table, n_rows
    kept = [batch.filter(mask) for batch, mask in zip(batches, masks, strict=True)]
    return pa.Table.from_batches(kept, table.schema), n_rows


def _is_fed(batch: pa.RecordBatch, query: FunnelQuery) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    time = batch.column("timestamp").cast(pa.int64())
    mask = pc.is_valid(time)
    if (names := events_needed(query)) is not None:
        event = batch.column("event")
        coded = event if pa.types.is_dictionary(event.type) else event.dictionary_encode()
        is_asked = pc.is_in(coded.dictionary.cast(pa.string()), value_set=pa.array(names, pa.string()))
        mask = pc.and_(mask, pc.fill_null(is_asked.take(coded.indices), False))
    if query.date_from_us is not None:
        mask = pc.and_(mask, pc.greater_equal(time, query.date_from_us))
    if query.date_to_us is not None:
        mask = pc.and_(mask, pc.less_equal(time, query.date_to_us))
    return mask
