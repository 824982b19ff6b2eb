"""Attribution by exposure in a funnel: which rows of a shard belong to a counted unit, and to which label.

First touch lets whichever fed event comes first decide: it passes over events that carry no value of the
flag, so people whose flag failed to load are credited to a variant they see later, and it attributes what
happened before the flag was ever evaluated. A release decision compares people as they were exposed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.display import Note, format_value
from canarykit.errors import PlanError
from canarykit.exposure.compared import Compared, compared_units, followed_whole, whole_or_all
from canarykit.periods import column_micros, moment

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from canarykit.funnels.engine.columns import Columns
    from canarykit.funnels.question.people import PeopleFilter
    from canarykit.funnels.question.specs import FunnelQuery
    from canarykit.typing import Filters

_OPEN_END = np.iinfo(np.int64).max
_LATE_US = 3_600_000_000
"""How long before the end of a stage its log may stop and still count as reaching it."""


@dataclass(frozen=True, eq=False)
class Exposed:
    """Counted units (people, or groups) as arrays; picklable, to be sent to the shards."""

    column: str  # the event log's column that names the unit
    # the variants; with a breakdown beside the flag, tuples of the variant and the values
    labels: tuple[Any, ...]
    # per unit: its id, the position of its label in `labels`, its first exposure, and when it stops to count,
    # in microseconds
    ids: pa.Array
    code: np.ndarray
    since: np.ndarray
    until: np.ndarray
    several_variants: int = 0  # units set apart because they saw several variants
    notes: tuple[Note, ...] = ()
    whole: bool = False  # whether each unit is followed for the funnel's window from its exposure

    def counts(self) -> np.ndarray:
        """Exposed units per label."""
        return np.bincount(self.code, minlength=len(self.labels))

    def lookup(self, columns: Columns, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows within the time in which their unit counts, and the label code of each row."""
        import pyarrow as pa
        import pyarrow.compute as pc

        codes, texts = columns.text(self.column)
        row = pc.fill_null(pc.index_in(pa.array(texts, pa.string()), value_set=self.ids), -1).to_numpy()
        row = np.append(row, -1)[codes]  # code -1, a missing id, reads the last
        variant = np.append(self.code, -1)[row]
        since, until = (np.append(bound, 0)[row] for bound in (self.since, self.until))
        return (variant >= 0) & (time >= since) & (time < until), variant


def exposed_units(
    log: Any,
    query: FunnelQuery,
    *,
    plan: Any = None,
    stage: str | None = None,
    people: Filters | PeopleFilter = None,
    whole: bool = False,
) -> Exposed:
    """Who counts in the query, up to its end; with `stage`, who was exposed in that stage.

    Arguments as in `funnel_by_flag`. `whole` follows each unit for the query's window from its exposure, and
    leaves out those whose window is not over by the end. `PlanError` if the flag is assigned to groups and
    the funnel counts something else.
    """
    import pyarrow as pa

    assert query.flag is not None
    assert query.breakdown is not None
    kind, _, index = query.aggregate_by.partition(":")
    group = int(index or 0) if kind == "group" else None
    until = None if query.date_to_us is None else moment(query.date_to_us + 1)
    properties = query.breakdown.properties[1:]
    counted = compared_units(
        log,
        query.flag,
        plan=plan,
        stage=stage,
        as_of=until,
        people=people,
        group_type_index=group,
        properties=properties,
    )
    if counted.exposures.unit != "person" and group is None:
        raise PlanError(
            f"flag {query.flag!r} is assigned to {counted.exposures.unit} groups; "
            "count groups too: aggregate_by='group:<index of the group type>'"
        )
    units, notes = counted.units, list(counted.notes)
    since = column_micros(units["exposed_at"])
    leaves, kept = np.full(len(units), _OPEN_END), np.ones(len(units), dtype=bool)
    if whole:
        end = _end_of_data(log, counted)
        over = followed_whole(since, np.full(len(since), end), query.window_us / 1e6)
        variant = units["variant"].to_numpy(object)
        kept = whole_or_all(over, variant == counted.control, variant == counted.canary)
        if not over.all():
            window = format_value(query.window_us / 1e6, "seconds")
            what = "counted so far" if kept.all() else "left out"
            text = f"{counted.words} had no whole {window} since their exposure before the end: {what}"
            notes.append(Note("not_whole", text, int((~over).sum())))
        leaves = np.minimum(since + query.window_us, end)
    labels, code = _labels(units, properties, query)
    return Exposed(
        counted.unit_column,
        labels,
        pa.array(units["person_id"].to_numpy(object)[kept], pa.string()),
        code[kept],
        since[kept],
        leaves[kept],
        counted.set_apart,
        tuple(notes),
        whole,
    )


def _labels(
    units: pd.DataFrame, properties: tuple[str, ...], query: FunnelQuery
) -> tuple[tuple[Any, ...], np.ndarray]:
    """The label of each unit: its variant, and the breakdown's values at its first exposure."""
    variants = units["variant"].astype(str).tolist()
    if not properties:
        labels: list[Any] = sorted(set(variants))
        rows: list[Any] = variants
    else:
        from canarykit.funnels.engine.breakdowns import clean

        assert query.breakdown is not None
        values = [
            [clean(text if isinstance(text, str) else "", query.breakdown) for text in units[name]]
            for name in properties
        ]
        rows = list(zip(variants, *values, strict=True))
        labels = sorted(set(rows))
    code_of = {label: i for i, label in enumerate(labels)}
    return tuple(labels), np.array([code_of[row] for row in rows], dtype=np.int64)


def _end_of_data(log: Any, counted: Compared) -> int:
    """Until when units can have been followed: the end of the question, or of a log that stops before."""
    newest = log.time_range[1]
    last = _OPEN_END if newest is None else int(newest.value // 1000) + 1
    if counted.until is None:
        return last
    end = int(counted.until.value // 1000)
    return end if end - last <= _LATE_US else last
