"""The browser, country and other properties of a stage's people: each one's first value in the stage."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.health.people.units import first_values
from canarykit.health.question import Question

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_SEGMENTS", "UNKNOWN", "has_value", "largest", "segment_values"]

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
    persons = question.log.persons
    on_persons = set() if persons is None else set(persons.columns)
    by_person = question.actor == "person_id"
    columns = {}
    for name in question.segments:
        if question.log.has_property(name):
            columns[name] = name
        elif name in on_persons and by_person:
            columns[name] = f"person.{name}"
    if not columns:
        return {}
    first = first_values(question, units, tuple(columns.values()), until=until)
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
