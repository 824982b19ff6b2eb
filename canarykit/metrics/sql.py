"""The one statement that reduces a shard of events to a row per unit; the same on every engine.

Times are whole microseconds. Property values arrive as text on every engine, so numbers are cast here,
and what is missing or no finite number is counted and left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.events.clock import as_micros
from canarykit.lazy import held_back
from canarykit.metrics.share import FunnelShare, MetricSpec, ShareMetric
from canarykit.metrics.values import Metric, Quantile, Ratio
from canarykit.parallel import as_interrupt

if TYPE_CHECKING:
    import pyarrow as pa


def shard_outcomes(
    events: pa.Table, *, units: pa.Table, metrics: Sequence[Metric], actor: str = "person_id"
) -> dict[str, list[Any]]:
    """Reduce the events of a shard of people: per metric, units with their first event or their sums.

    `events` has columns of the actor, event, timestamp and the metrics' properties, `units` unit (row
    number), person_id, entered and leaves (microseconds). `actor` is joined to the units' person_id.
    """
    with held_back():
        import duckdb

    at = events.schema.get_field_index("timestamp")
    events = events.set_column(at, "timestamp", as_micros(events.column("timestamp")))
    if actor != "person_id":
        kept = [name for name in events.column_names if name != "person_id"]
        events = events.select(kept).rename_columns([n if n != actor else "person_id" for n in kept])
    with as_interrupt(), duckdb.connect() as connection:
        connection.register("arrow_events", events)
        connection.register("units", units)
        connection.execute("SET preserve_insertion_order = false")
        stored = {field.name for field in events.schema if _holds_numbers(field.type)}
        plain = [i for i, spec in enumerate(metrics) if not isinstance(spec, FunnelShare)]
        answer: dict[str, list[Any]] = {
            key: [None] * len(metrics)
            for key in ("unit", "first", "sums", "weights", "unreadable", "numbers")
        }
        if plain:
            _plain(connection, [metrics[i] for i in plain], plain, answer, stored)
        for i, spec in enumerate(metrics):
            if isinstance(spec, FunnelShare):
                _chain(connection, spec, i, answer)
            if isinstance(spec, Quantile):
                answer["numbers"][i] = _numbers_of(connection, spec, stored)
        return answer


def _plain(
    connection: Any,
    metrics: list[Metric],
    places: list[int],
    answer: dict[str, list[Any]],
    stored: set[str],
) -> None:
    """First times, sums and weights of all metrics that one statement can tell."""
    columns = []
    for i, spec in enumerate(metrics):
        counts, unreadable = _counts(spec, stored)
        if isinstance(spec, ShareMetric):
            columns.append(f"min(CASE WHEN {counts} THEN e.timestamp END) AS first_{i}")
        else:
            value, weight = _value_and_weight(spec, stored)
            columns.append(f"sum({value}) AS value_{i}, sum({weight}) AS weight_{i}")
        columns.append(f"count(CASE WHEN {unreadable} THEN 1 END) AS unreadable_{i}")
    names = _texts(name for spec in metrics for name in spec.events)
    result = connection.execute(
        f"SELECT u.unit, {', '.join(columns)} FROM arrow_events e JOIN units u ON e.person_id = u.person_id "
        f"WHERE e.event IN ({names}) AND e.timestamp >= u.entered AND e.timestamp < u.leaves GROUP BY u.unit"
    ).fetchnumpy()
    for i, position in enumerate(places):
        answer["unreadable"][position] = int(np.sum(result[f"unreadable_{i}"]))
        rows = np.asarray(result["unit"]).astype(np.int64)
        if f"first_{i}" in result:
            moments = np.ma.asarray(result[f"first_{i}"])
            had = ~np.ma.getmaskarray(moments)
            answer["first"][position] = moments.data[had].astype(np.int64)
            answer["unit"][position] = rows[had]
        else:
            for key, name in (("sums", "value"), ("weights", "weight")):
                answer[key][position] = np.ma.filled(np.ma.asarray(result[f"{name}_{i}"], dtype=float), 0.0)
            answer["unit"][position] = rows


def _numbers_of(connection: Any, spec: Quantile, stored: set[str]) -> tuple[Any, Any]:
    """Each number that counts, and its unit: a quantile cannot be had from sums."""
    counts, _ = _counts(spec, stored)
    result = connection.execute(
        f"SELECT u.unit, {_number(spec.property_name, stored)} AS value "
        "FROM arrow_events e JOIN units u ON e.person_id = u.person_id "
        f"WHERE e.timestamp >= u.entered AND e.timestamp < u.leaves AND {counts}"
    ).fetchnumpy()
    return np.asarray(result["unit"]).astype(np.int64), np.ma.filled(result["value"], np.nan).astype(float)


def _chain(connection: Any, spec: FunnelShare, position: int, answer: dict[str, list[Any]]) -> None:
    """The earliest completion: from each reached step the first following one, within the unit's time."""
    after, before = spec.window
    stop = _stop("u", before)
    reached = (
        f"SELECT unit, person_id, entered + {round(after * 1e6)} AS reached_at, {stop} AS stop FROM units u"
    )
    for step in spec.steps:
        reached = (
            f"SELECT r.unit, r.person_id, min(e.timestamp) AS reached_at, any_value(r.stop) AS stop "
            f"FROM ({reached}) r JOIN arrow_events e ON e.person_id = r.person_id "
            f"WHERE e.event = {_text(step)} AND e.timestamp >= r.reached_at AND e.timestamp < r.stop "
            "GROUP BY r.unit, r.person_id"
        )
    result = connection.execute(f"SELECT unit, reached_at FROM ({reached})").fetchnumpy()
    answer["unit"][position] = np.asarray(result["unit"]).astype(np.int64)
    answer["first"][position] = np.asarray(result["reached_at"]).astype(np.int64)
    answer["unreadable"][position] = 0


def _counts(spec: MetricSpec, stored: set[str]) -> tuple[str, str]:
    """Conditions: the event counts; the event would count if its number could be read."""
    if isinstance(spec, Ratio):
        parts = [_counts(part, stored)[1] for part in (spec.numerator, spec.denominator)]
        return "TRUE", " OR ".join(f"({part})" for part in parts)
    after, before = spec.window
    tests = [f"e.event IN ({_texts(spec.events)})"]
    if after:
        tests.append(f"e.timestamp >= u.entered + {round(after * 1e6)}")
    if not math.isinf(before):
        tests.append(f"e.timestamp < u.entered + {round(before * 1e6)}")
    tests += [f"CAST(e.{_name(key)} AS VARCHAR) = {_text(value)}" for key, value in spec.filters]
    matches = " AND ".join(tests)
    name = getattr(spec, "property_name", None)
    if not name:
        return matches, "FALSE"
    number = _number(name, stored)
    unreadable = f"{matches} AND NOT coalesce(isfinite({number}), FALSE)"
    readable = f"{matches} AND isfinite({number})"
    threshold = spec.threshold if isinstance(spec, ShareMetric) else None
    return (f"{readable} AND {number} > {threshold[1]!r}" if threshold else readable), unreadable


def _value_and_weight(spec: MetricSpec, stored: set[str]) -> tuple[str, str]:
    if isinstance(spec, Ratio):
        numerator, denominator = (
            _value_and_weight(part, stored) for part in (spec.numerator, spec.denominator)
        )
        return numerator[0], denominator[0]
    counts, _ = _counts(spec, stored)
    name = getattr(spec, "property_name", None)
    value = _number(name, stored) if name else "1"
    return f"CASE WHEN {counts} THEN {value} END", f"CASE WHEN {counts} THEN 1 END"


def _stop(table: str, before: float) -> str:
    if math.isinf(before):
        return f"{table}.leaves"
    return f"least({table}.leaves, {table}.entered + {round(before * 1e6)})"


def _number(name: str, stored: set[str]) -> str:
    column = f"e.{_name(name)}"
    return f"CAST({column} AS DOUBLE)" if name in stored else f"TRY_CAST(CAST({column} AS VARCHAR) AS DOUBLE)"


def _holds_numbers(kind: pa.DataType) -> bool:
    """Types that mean the same number as their text; a float of 32 bits does not."""
    import pyarrow as pa

    return bool(pa.types.is_float64(kind) or pa.types.is_integer(kind))


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _texts(values: Any) -> str:
    return ", ".join(_text(value) for value in dict.fromkeys(values))
