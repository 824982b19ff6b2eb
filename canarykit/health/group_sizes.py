"""How many people stand behind each group that a flag was assigned to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.metrics.reduction import micros_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["people_per_group"]


def people_per_group(log: Any, units: pd.DataFrame, *, actor: str) -> npt.NDArray[np.float64]:
    """Distinct people with an event of each group between its `entered_at` and `leaves_at`.

    Parameters
    ----------
    log
        `EventLog` over any engine.
    units
        One row per group, its key in `person_id`.
    actor
        Column of the events that holds the key, such as "$group_0".
    """
    import pyarrow as pa

    sizes = np.zeros(len(units))
    if units.empty:
        return sizes
    table = pa.table(
        {
            "unit": pa.array(np.arange(len(units), dtype=np.int32)),
            "key": pa.array(units["person_id"].astype(str).to_numpy(object), pa.string()),
            "entered": pa.array(micros_of(units["entered_at"])),
            "leaves": pa.array(micros_of(units["leaves_at"])),
        }
    )
    shards = log.reduce(
        [actor, "person_id", "timestamp"],
        partial(_count_people, units=table, actor=actor),
        since=units["entered_at"].min(),
        until=units["leaves_at"].max(),
        actor=actor,
    )
    for places, counts in shards:
        sizes[places] = counts
    return sizes


def _count_people(events: pa.Table, *, units: pa.Table, actor: str) -> tuple[Any, Any]:
    import duckdb
    import pyarrow as pa

    at = events.schema.get_field_index("timestamp")
    micros = events.column("timestamp").cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    events = events.set_column(at, "timestamp", micros)
    key = '"' + actor.replace('"', '""') + '"'
    connection = duckdb.connect()
    try:
        connection.register("arrow_events", events)
        connection.register("units", units)
        found = connection.execute(
            "SELECT u.unit, count(DISTINCT e.person_id) AS people FROM arrow_events e JOIN units u "
            f"ON CAST(e.{key} AS VARCHAR) = u.key "
            "WHERE e.timestamp >= u.entered AND e.timestamp < u.leaves GROUP BY u.unit"
        ).fetchnumpy()
    finally:
        connection.close()
    return np.asarray(found["unit"]).astype(np.int64), np.asarray(found["people"]).astype(float)
