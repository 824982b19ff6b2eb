"""How many people stand behind each group that a flag was assigned to."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.events.clock import as_micros
from canarykit.events.sql import answer, quoted
from canarykit.metrics.unit_outcomes import Before, Outcomes
from canarykit.metrics.values import PerPerson
from canarykit.periods import column_micros
from canarykit.times import duration

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def totals_per_person(log: Any, reduced: Outcomes, *, actor: str) -> Outcomes:
    """Outcomes of groups whose totals have the group's people as their weights, before exposure too.

    So the sum of a property per person of a group flag is a sum over groups by their people, a ratio with
    the group as its row, and not a mean over groups that grows with their sizes.
    """
    totals = [i for i, spec in enumerate(reduced.metrics) if isinstance(spec, PerPerson)]
    if actor == "person_id" or not totals or reduced.units.empty:
        return reduced
    people = people_per_group(log, reduced.units, actor=actor)
    weights, before = list(reduced.weights), list(reduced.before)
    for i in totals:
        weights[i] = people
        past = before[i] if before else None
        if past is not None:
            earlier = looked_back_on(reduced, i)
            before[i] = Before(past.sums, people_per_group(log, earlier, actor=actor))
    return replace(reduced, weights=tuple(weights), before=tuple(before))


def looked_back_on(reduced: Outcomes, i: int) -> pd.DataFrame:
    """The units with the time before exposure that metric `i` looks back on as theirs."""
    import pandas as pd

    units = reduced.units
    until = units["unexposed_until" if "unexposed_until" in units else "entered_at"]
    span = pd.Timedelta(seconds=duration(getattr(reduced.metrics[i], "cuped", None), name="cuped"))
    return units.assign(entered_at=until - span, leaves_at=until)


def people_per_group(log: Any, units: pd.DataFrame, *, actor: str) -> npt.NDArray[np.float64]:
    """Distinct people with an event of each group between its `entered_at` and `leaves_at`.

    A unit is a row a group, its key in `person_id`; `actor` is the column of the events that holds the key,
    such as "$group_0".
    """
    import pyarrow as pa

    sizes = np.zeros(len(units))
    if units.empty:
        return sizes
    table = pa.table(
        {
            "unit": pa.array(np.arange(len(units), dtype=np.int32)),
            "key": pa.array(units["person_id"].astype(str).to_numpy(object), pa.string()),
            "entered": pa.array(column_micros(units["entered_at"])),
            "leaves": pa.array(column_micros(units["leaves_at"])),
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
    at = events.schema.get_field_index("timestamp")
    counted = answer(
        "SELECT u.unit, count(DISTINCT e.person_id) AS people FROM arrow_events e JOIN units u "
        f"ON CAST(e.{quoted(actor)} AS VARCHAR) = u.key "
        "WHERE e.timestamp >= u.entered AND e.timestamp < u.leaves GROUP BY u.unit",
        fetch="fetchnumpy",
        arrow_events=events.set_column(at, "timestamp", as_micros(events.column("timestamp"))),
        units=units,
    )
    return np.asarray(counted["unit"]).astype(np.int64), np.asarray(counted["people"]).astype(float)
