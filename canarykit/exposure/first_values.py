"""Properties of units as their events tell them: each unit's first known value in a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.compiler import can_compile
from canarykit.events.clock import as_micros
from canarykit.events.text import as_text, codes_of, frame_column

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from canarykit.events import EventLog


COMPILED_FROM = 200_000
"""Rows from which the compiled form pays for its being loaded."""


def column_of_property(log: EventLog, name: str, *, by_person: bool = True) -> str | None:
    """The column of a property: of events, else (where persons are counted) of persons; None without any."""
    if log.has_property(name):
        return name
    on_persons = by_person and log.persons is not None and name in set(log.persons.columns)
    return f"person.{name}" if on_persons else None


def first_values(
    log: EventLog, units: pd.Series, columns: tuple[str, ...], *, actor: str, since: Any, until: Any
) -> dict[str, npt.NDArray[Any]]:
    """The first known value of several properties per unit within a time, or None; in one pass.

    `units` are their ids, `actor` is the column that names them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = log.remember(
        ("first values", actor, columns, since, until),
        lambda: log.reduce(
            [actor, "timestamp", *columns],
            partial(_first_known, columns=columns, actor=actor),
            since=since,
            until=until,
            actor=actor,
        ),
    )
    who = as_text(frame_column(units)).cast(pa.string())
    values = {}
    for index, column in enumerate(columns):
        found = pa.concat_tables([part[index] for part in parts])
        place = pc.index_in(who, value_set=found["who"].combine_chunks(), skip_nulls=True)
        values[column] = np.array(found["value"].take(place).to_pylist(), dtype=object)
    return values


def _first_known(table: pa.Table, *, columns: tuple[str, ...], actor: str) -> list[pa.Table]:
    """Per column the first known value of every actor, of equal times the first as text: `who`, `value`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    at = as_micros(table.column("timestamp")).to_numpy()
    actors, who = codes_of(table.column(actor))
    answers = []
    for column in columns:
        values, which = codes_of(table.column(column))
        known = which >= 0
        # the earliest time of each actor, then the first text among its values of that time
        first = least_of_each(np.where(known, who, -1), at, len(actors), none=np.iinfo(np.int64).max)
        rows = np.flatnonzero(known & (who >= 0))
        rows = rows[at[rows] == first[who[rows]]]
        in_order = pc.sort_indices(values).to_numpy()
        rank = np.argsort(in_order)[which[rows]]
        least = least_of_each(who[rows], rank, len(actors), none=len(values))
        seen = np.flatnonzero(least < len(values))
        answers.append(pa.table({"who": actors.take(seen), "value": values.take(in_order[least[seen]])}))
    return answers


def least_of_each(
    codes: npt.NDArray[np.int64], values: npt.NDArray[np.int64], count: int, *, none: int
) -> npt.NDArray[np.int64]:
    """The smallest value of each of `count` codes, `none` where there is none; a negative code is nobody's.

    Examples
    --------
    >>> least_of_each(np.array([0, 2, 0, -1]), np.array([5, 7, 3, 1]), 3, none=9).tolist()
    [3, 9, 7]
    """
    least = np.full(count, none)
    if len(codes) >= COMPILED_FROM and can_compile():
        from canarykit.exposure.least_kernel import find_least

        find_least(codes, values, least)
    else:
        rows = np.flatnonzero(codes >= 0)
        np.minimum.at(least, codes[rows], values[rows])
    return least
