"""Exception groups by a property of people such as the system: in which segment the canary meets one more."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pandas as pd

from canarykit.display import Column, format_value
from canarykit.errors import DataError, did_you_mean
from canarykit.exposure.first_values import column_of_property, first_values

if TYPE_CHECKING:
    from canarykit.events import EventLog
    from canarykit.exposure.compared import Compared

SEGMENT_COLUMNS = (
    Column("exception", "exception"),
    Column("segment", "segment"),
    Column("canary_people", "canary people", "count"),
    Column("canary_of", "of", "count"),
    Column("control_people", "control people", "count"),
    Column("control_of", "of", "count"),
    Column("ratio", "ratio", "ratio"),
    Column("low", "from", "ratio"),
    Column("high", "to", "ratio"),
)
CONFIDENCE = 0.95
"""With which all intervals of a table hold together (Bonferroni over its rows)."""
MOST_SEGMENTS = 10
UNKNOWN = "unknown"


def exceptions_by_segment(
    log: EventLog, exposed: Compared, events: pd.DataFrame, by: str
) -> tuple[pd.DataFrame, pd.Series]:
    """Exception groups in each of the largest segments, the surest rise first; and each unit's segment.

    `events` are those of the two arms, with `unit`, `variant` and `exception`. A segment is each unit's
    first known value of `by` while the stage (or the log) lasts, as in the reports.
    """
    from canarykit.stats.one_look.ratio_scores import risk_ratio

    column = column_of_property(log, by, by_person=exposed.unit_column == "person_id")
    if column is None:
        names = sorted(
            {*log.property_names(), *(() if log.persons is None else map(str, log.persons.columns))}
        )
        raise DataError(f"by: nobody has the property {by!r}; {did_you_mean(by, names)}")
    units = exposed.units[["person_id", "variant"]].drop_duplicates()
    actor = exposed.unit_column
    values = first_values(
        log, units["person_id"], (column,), actor=actor, since=exposed.since, until=exposed.until
    )[column]
    units = units.assign(segment=[UNKNOWN if value is None else str(value) for value in values])
    segment_of = units.drop_duplicates("person_id").set_index("person_id")["segment"]
    sizes = units.groupby(["segment", "variant"])["person_id"].nunique().to_dict()
    met = events.assign(segment=events["unit"].map(segment_of))
    people: dict[Any, int] = met.groupby(["exception", "segment", "variant"])["unit"].nunique().to_dict()
    counts = Counter(units["segment"])
    largest = sorted(counts, key=lambda value: (-counts[value], value))[:MOST_SEGMENTS]
    pairs = [pair for pair in sorted({(name, segment) for name, segment, _ in people}) if pair[1] in largest]
    rows = []
    for exception, segment in pairs:
        x, y = (people.get((exception, segment, arm), 0) for arm in (exposed.canary, exposed.control))
        n, m = (sizes.get((segment, arm), 0) for arm in (exposed.canary, exposed.control))
        ratio = risk_ratio(x, n, y, m, confidence=1 - (1 - CONFIDENCE) / len(pairs))
        limits = (None, None, None) if ratio is None else (ratio.value, ratio.low, ratio.high)
        rows.append((exception, segment, x, n, y, m, *limits))
    rows.sort(key=lambda row: (-(row[7] or 0.0), row[0], row[1]))
    return pd.DataFrame(rows, columns=[column.key for column in SEGMENT_COLUMNS]), segment_of


def stands_out(segments: pd.DataFrame, by: str) -> str:
    """The exception and segment that surely rose most with the canary, in words; that none did, where so."""
    if segments.empty or not (segments["low"].iloc[0] or 0.0) > 1:
        return f"none rose beyond chance where people are told apart by {by}"
    first: Any = segments.iloc[0]
    ratio, low, high = (format_value(float(first[name]), "ratio") for name in ("ratio", "low", "high"))
    return f"{first['exception']} rose most where {by} is {first['segment']}: {ratio} ({low} to {high})"
