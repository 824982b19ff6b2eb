"""Properties of units as their events tell them: each unit's first known value in a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.events.clock import as_micros
from canarykit.events.text import in_codes

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from canarykit.events import EventLog


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
    who = units.astype(str).to_numpy(object)
    wanted = set(who)
    values = {}
    for index, column in enumerate(columns):
        earliest: dict[str, tuple[int, str]] = {}
        for part in parts:
            for name, at, value in part[index]:
                if name in wanted and (name not in earliest or (at, value) < earliest[name]):
                    earliest[name] = (at, value)
        values[column] = np.array([earliest.get(name, (0, None))[1] for name in who], dtype=object)
    return values


def _first_known(
    table: pa.Table, *, columns: tuple[str, ...], actor: str
) -> list[list[tuple[str, int, str]]]:
    """Per column the first known value of every actor, of equal times the first as text: who, when, what."""
    at = as_micros(table.column("timestamp")).to_numpy()
    actors, who = _codes(table.column(actor))
    answers = []
    for column in columns:
        values, which = _codes(table.column(column))
        rank = np.argsort(np.argsort(np.array(values, dtype=object)))
        rows = np.flatnonzero((who >= 0) & (which >= 0))
        # the earliest time of each actor, then the first text among its values of that time
        first = np.full(len(actors), np.iinfo(np.int64).max)
        np.minimum.at(first, who[rows], at[rows])
        rows = rows[at[rows] == first[who[rows]]]
        least = np.full(len(actors), len(values))
        np.minimum.at(least, who[rows], rank[which[rows]])
        back = np.argsort(rank)
        seen = np.flatnonzero(least < len(values))
        answers.append([(actors[k], int(first[k]), values[back[least[k]]]) for k in seen])
    return answers


def _codes(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Texts, and for every row the place of its text; -1 for a missing one."""
    coded = in_codes(column)
    indices = coded.indices.fill_null(-1) if coded.indices.null_count else coded.indices
    return coded.dictionary.cast("string").to_pylist(), indices.to_numpy().astype(np.int64)
