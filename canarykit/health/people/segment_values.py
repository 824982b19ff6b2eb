"""The browser, country and other properties of a stage's people: each one's first value in the stage."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.exposure.first_values import column_of_property, first_values
from canarykit.health.question import Question

if TYPE_CHECKING:
    import pandas as pd

MOST_SEGMENTS = 10
UNKNOWN = "unknown"


def segment_values(
    question: Question, units: pd.DataFrame, *, until: pd.Timestamp
) -> dict[str, npt.NDArray[Any]]:
    """Per property that anybody has, each unit's first value in the stage; "unknown" without one.

    What no event carries is looked up among the persons.
    """
    if units.empty or not question.segments:
        return {}
    log, actor = question.log, question.actor
    by_person = actor == "person_id"
    columns = {
        name: column
        for name in question.segments
        if (column := column_of_property(log, name, by_person=by_person)) is not None
    }
    if not columns:
        return {}
    names = tuple(columns.values())
    first = first_values(log, units["person_id"], names, actor=actor, since=question.start, until=until)
    values = {}
    for name, column in columns.items():
        by_unit = first[column]
        if any(value is not None for value in by_unit):
            values[name] = np.array([UNKNOWN if value is None else value for value in by_unit], dtype=object)
    return values


def has_value(values: npt.NDArray[Any], value: str) -> npt.NDArray[np.bool_]:
    """Who has a value; numpy would forget a NUL at its end."""
    return values == np.array(value, dtype=object)


def largest(values: npt.NDArray[Any]) -> list[str]:
    """The most frequent values, at most ten."""
    counts = Counter(map(str, values))
    return sorted(counts, key=lambda value: (-counts[value], value))[:MOST_SEGMENTS]
