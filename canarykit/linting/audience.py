"""The people a finding is counted on: those given, or nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from canarykit.assign.evaluate import evaluate_units
from canarykit.assign.outcome import Outcome
from canarykit.assign.server import ServerEvaluation
from canarykit.flags import Condition, Flag, FlagSet, PropertyFilter
from canarykit.targeting.dates import Clock
from canarykit.targeting.matcher import YES
from canarykit.targeting.units import Units, read_units


@dataclass
class People:
    """Persons read once, with what their evaluation needs."""

    units: Units
    flags: FlagSet
    clock: Clock

    def outcome(self, flag: Flag) -> Outcome:
        """Everyone's answer for a flag, by its definition alone."""
        flag = replace(flag, ensure_experience_continuity=False)
        return evaluate_units(flag, self.units, self.flags, self.flags.cohorts, self.clock, "server")

    def holds(self, item: PropertyFilter) -> np.ndarray:
        """Who a filter holds for."""
        return self._evaluation()._filter(item, None) == YES

    def holds_all(self, condition: Condition, flag: Flag) -> np.ndarray:
        """Who all filters of a set hold for, whatever its percentage."""
        group_type = condition.aggregation_group_type_index
        aggregation = group_type if isinstance(group_type, int) else flag.aggregation_group_type_index
        return self._evaluation()._filters(condition, aggregation) == YES

    def values(self, key: str) -> tuple[list[Any], np.ndarray] | None:
        """The distinct values of a property, and how many people have each."""
        column = self.units.persons.table.column(key)
        if column is None:
            return None
        distinct = column.distinct
        assert distinct.codes is not None
        codes = distinct.codes[distinct.codes >= 0]
        return list(distinct.values), np.bincount(codes, minlength=len(distinct.values))

    def _evaluation(self) -> ServerEvaluation:
        return ServerEvaluation(self.units, self.flags, self.flags.cohorts, self.clock)


def read_people(
    persons: pd.DataFrame | None,
    flags: FlagSet,
    *,
    groups: Mapping[str, pd.DataFrame] | None = None,
    group_types: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    distinct_id: str = "distinct_id",
) -> People | None:
    """Read the persons, if there are any."""
    if persons is None:
        return None
    units = read_units(
        persons,
        groups=groups,
        group_types={**flags.group_type_mapping, **(group_types or {})},
        distinct_id=distinct_id,
        device_id="$device_id",
        properties="properties",
        group_columns={},
        server=True,
    )
    return People(units, flags, clock or Clock())
