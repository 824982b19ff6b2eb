"""From a shard's table to what the scans read: per event an actor, a time, its matches and its value.

A matched event carries one bit per step and per exclusion (`rules`). Ordered and unordered funnels are fed
matching events only; strict ones every event of the date range, because an unmatched one breaks the chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from canarykit.errors import PlanError
from canarykit.exposure.lookup import Exposed
from canarykit.funnels.engine.breakdowns import Values, breakdown_columns, breakdown_values
from canarykit.funnels.engine.columns import Columns
from canarykit.funnels.engine.filters import columns_of, filter_mask, property_column
from canarykit.funnels.engine.scan_memory import EXCLUSION_SHIFT, tie_rank
from canarykit.funnels.question.specs import Entity, Exclusion, FunnelQuery, Step

if TYPE_CHECKING:
    import pyarrow as pa

NO_VALUES = Values(np.empty(0, np.int64), (None,), np.zeros(1, np.int64))


@dataclass(frozen=True, eq=False)
class Feed:
    """Events sorted by actor and time; actor i has the rows `starts[i]` to `starts[i + 1]`.

    Among simultaneous events of an actor those of several steps come first, then step decides, then value:
    the answer does not depend on the order of the log.
    """

    time: np.ndarray
    entry: np.ndarray
    values: Values
    starts: np.ndarray
    row: np.ndarray  # position in the table
    actor_code: np.ndarray  # per actor: code into `actor_texts`
    actor_texts: list[str]
    row_actor: np.ndarray  # per row of the table: code of its actor, -1 = none

    @property
    def n_actors(self) -> int:
        """Number of actors with at least one fed event."""
        return len(self.starts) - 1

    @property
    def longest(self) -> int:
        """Most events of one actor."""
        return int(np.diff(self.starts).max(initial=0))


def actor_column(query: FunnelQuery) -> str:
    """The column whose values are the actors.

    Examples
    --------
    >>> from canarykit.funnels.question.parse import read_step
    >>> steps = (read_step("a"), read_step("b"))
    >>> actor_column(FunnelQuery(steps, aggregate_by="group:0"))
    '$group_0'
    """
    kind, _, name = query.aggregate_by.partition(":")
    if kind == "group":
        return f"$group_{name or 0}"
    if kind == "property":
        return name
    if kind == "person_property":
        return property_column(name, "person")
    return {"person": "person_id", "session": "session_id"}.get(kind, kind)


def events_needed(query: FunnelQuery) -> list[str] | None:
    """Names of the events a funnel reads; None = all of them."""
    names = {entity.event for entity in query.entities}
    if query.needs_every_event or None in names:
        return None
    return sorted(name for name in names if name is not None)


def columns_needed(query: FunnelQuery, exposed: Exposed | None = None) -> list[str]:
    """Columns a funnel reads, each once."""
    names = ["event", "timestamp", actor_column(query)]
    groups = [query.filters]
    for step in query.steps:
        groups += [step.filters, *(entity.filters for entity in step.entities)]
        if step.first_time:
            names.append("person_id")
    groups += [exclusion.entity.filters for exclusion in query.exclusions]
    for group in groups:
        names += columns_of(group)
    if exposed is not None:
        names.append(exposed.column)
    elif query.breakdown is not None and not query.flag_exposure:
        names += breakdown_columns(query.breakdown)
    return list(dict.fromkeys(names))


def shard_column(query: FunnelQuery, engine: str | None) -> str:
    """The column by which the log is cut into shards: all events of one actor are in one.

    A first-time step looks at each person, so where shards are real the actors must be people too.
    """
    actor = actor_column(query)
    if query.looks_back and actor != "person_id" and engine == "spark":
        raise PlanError(
            f"a first-time step counted by {query.aggregate_by!r} needs each person's events together, which "
            "Spark's shards do not keep; count by person, or read the log into pandas or DuckDB"
        )
    return actor


def read_bounds(query: FunnelQuery) -> dict[str, datetime | None]:
    """`since` and `until` of the events that must be read: half-open, with a look back for first times."""
    since = None if query.looks_back else query.date_from
    until = None if query.date_to is None else query.date_to + timedelta(microseconds=1)
    return {"since": since, "until": until}


def feed_table(table: pa.Table, query: FunnelQuery, exposed: Exposed | None = None) -> Feed:
    """Sort out which rows of a table are fed, and as what."""
    columns = Columns(table)
    time = columns.time()
    codes, texts = columns.text(actor_column(query))
    has_id = np.array([*(text != "" for text in texts), False], dtype=bool)
    after, variant = (None, None) if exposed is None else exposed.lookup(columns, time)
    entry, fed = row_matches(columns, query, time, after)
    fed &= has_id[codes]
    if not query.needs_every_event:
        fed &= entry != 0
    rows = np.flatnonzero(fed)
    if exposed is not None and variant is not None:
        values = Values(variant[rows], exposed.labels, np.zeros(len(exposed.labels), np.int64))
    elif query.breakdown is not None:
        values = breakdown_values(query.breakdown, columns, rows)
    else:
        values = NO_VALUES
    return _sorted(rows, time, entry, values, codes, texts, has_id)


def row_matches(
    columns: Columns, query: FunnelQuery, time: np.ndarray, after: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Every row's matches, and whether the row exists for the question at all.

    `after` are the rows after their unit's exposure, where only those count.
    """
    reachable = np.ones(columns.size, dtype=bool)  # up to date_to: what a first time is looked for in
    if query.date_to_us is not None:
        reachable &= time <= query.date_to_us
    readable = reachable & filter_mask(query.filters, columns)
    if query.date_from_us is not None:
        readable &= time >= query.date_from_us
    if query.days_of_week:
        readable &= np.isin(_weekday(time, query.timezone), query.days_of_week)
    if after is not None:
        readable &= after
    return _entries(query, columns, time, reachable), readable


def _sorted(
    rows: np.ndarray,
    time: np.ndarray,
    entry: np.ndarray,
    values: Values,
    codes: np.ndarray,
    texts: list[str],
    has_id: np.ndarray,
) -> Feed:
    fed_actor = codes[rows].astype(np.int64)
    masks, match = np.unique(entry[rows], return_inverse=True)
    keys = [tie_rank(masks)[match], time[rows], fed_actor]
    if len(values.codes):
        keys.insert(0, values.codes)
    order = np.lexsort(keys)
    rows, fed_actor = rows[order], fed_actor[order]
    ordered = Values(values.codes[order], values.labels, values.blank) if len(values.codes) else values
    first = np.flatnonzero(np.diff(fed_actor, prepend=-1) != 0) if len(rows) else np.empty(0, np.int64)
    starts = np.append(first, len(rows))
    row_actor = np.where(has_id[codes], codes, -1)
    return Feed(time[rows], entry[rows], ordered, starts, rows, fed_actor[first], texts, row_actor)


def _entries(query: FunnelQuery, columns: Columns, time: np.ndarray, reachable: np.ndarray) -> np.ndarray:
    """Every row's matches, one bit per step and exclusion."""
    entry = np.zeros(columns.size, dtype=np.int64)
    for k, step in enumerate(query.steps):
        entry[_step_mask(step, columns, time, reachable)] |= 1 << k
    for exclusion in query.exclusions:
        entry[entity_mask(exclusion.entity, columns)] |= exclusion_bits(exclusion)
    return entry


def exclusion_bits(exclusion: Exclusion) -> int:
    """The bits of a match that an exclusion sets: one for each step it forbids to come after."""
    return sum(1 << (EXCLUSION_SHIFT + k) for k in range(exclusion.from_step + 2, exclusion.to_step + 2))


def entity_mask(entity: Entity, columns: Columns) -> np.ndarray:
    """Rows of the entity's event that pass its filters."""
    mask = np.ones(columns.size, dtype=bool)
    if entity.event is not None:
        codes, texts = columns.text("event")
        mask = codes == texts.index(entity.event) if entity.event in texts else np.zeros(columns.size, bool)
    return mask & filter_mask(entity.filters, columns) if entity.filters.values else mask


def _step_mask(step: Step, columns: Columns, time: np.ndarray, reachable: np.ndarray) -> np.ndarray:
    mask = np.logical_or.reduce([entity_mask(entity, columns) for entity in step.entities])
    passed = filter_mask(step.filters, columns) if step.filters.values else np.ones(columns.size, bool)
    if step.first_time is None:
        return mask & passed
    filtered = step.first_time == "first_time_for_user_with_filters"
    candidates = np.flatnonzero(mask & passed & reachable if filtered else mask & reachable)
    people, _ = columns.text("person_id")
    order = candidates[np.lexsort((time[candidates], people[candidates]))]
    first = order[np.diff(people[order], prepend=-2) != 0]
    chosen = np.zeros(columns.size, dtype=bool)
    chosen[first] = True
    return chosen & passed


def _weekday(time: np.ndarray, timezone: str) -> np.ndarray:
    """ISO weekday (Monday = 1) of each time, in a time zone."""
    import pandas as pd

    local = pd.DatetimeIndex(time.astype("datetime64[us]")).tz_localize("UTC").tz_convert(timezone)
    return np.asarray(local.day_of_week) + 1
