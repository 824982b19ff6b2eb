"""Why a row of an audit agrees with the rules or does not, and whose value flipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from canarykit.assign import evaluate_flag
from canarykit.audit.result import AGREES, REASONS
from canarykit.flags import Flag


def with_properties(calls: pd.DataFrame, table: pd.DataFrame | None) -> pd.DataFrame:
    """The rows with the properties of their distinct ids beside them."""
    if table is None:
        return calls
    columns = [column for column in table.columns if column == "distinct_id" or column not in calls.columns]
    return calls.merge(table[columns], on="distinct_id", how="left")


def reasons_of(
    people: pd.DataFrame,
    definitions: list[tuple[str | None, Flag]],
    table: pd.DataFrame | None,
    options: dict[str, Any],
) -> np.ndarray:
    """Why each row agrees or does not, the most telling explanation first."""
    observed, expected = people["observed"], people["expected"]
    agrees = (observed == expected).to_numpy(dtype=bool)
    rule = people["rule"].to_numpy(dtype=object)
    targeted = [
        {i for i, c in enumerate(flag.conditions) if c.properties or c.variant} for _, flag in definitions
    ]
    sets = set().union(*targeted)
    by_set = people["condition"].isin(list(sets)).to_numpy(dtype=bool) & (rule == "condition_match")
    held_out = observed.astype(str).str.startswith("holdout-") | (people["rule"] == "holdout_condition_value")
    tests = [
        (observed.isna().to_numpy(dtype=bool), "unknown value"),
        (agrees, AGREES),
        (expected.isna().to_numpy(dtype=bool), "cannot be recomputed"),
        (_other_id_agrees(people), "evaluated before the id was known"),
        (_other_definition_agrees(people, definitions, table, options), "kept from an earlier definition"),
        (_other_definition_agrees(people, definitions[::-1], table, options), "given by a later definition"),
        (held_out.to_numpy(dtype=bool), "held out"),
        (rule == "super_condition_value", "enrolled or opted out"),
        (by_set, "overridden or targeted"),
        (~people["has_properties"].to_numpy(dtype=bool) & bool(sets), "no properties known"),
    ]
    return np.select([test for test, _ in tests], [name for _, name in tests], default=REASONS[-1])


def _other_id_agrees(people: pd.DataFrame) -> np.ndarray:
    """Whether another id of the same person, seen no later, has the observed value by the rules."""
    several = people.groupby("person_id")["distinct_id"].transform("nunique") > 1
    agrees = np.zeros(len(people), dtype=bool)
    for _, part in people[several].groupby("person_id"):
        for row in part.itertuples():
            others = part[(part["distinct_id"] != row.distinct_id) & (part["first_at"] <= row.last_at)]
            agrees[people.index.get_loc(row.Index)] = (others["expected"] == row.observed).any()
    return agrees


def _other_definition_agrees(
    people: pd.DataFrame,
    definitions: list[tuple[str | None, Flag]],
    table: pd.DataFrame | None,
    options: dict[str, Any],
) -> np.ndarray:
    """Whether a definition before this one in the list gives the observed value, the nearest first.

    An earlier one: a client that had not heard of the change, or a ramp later than planned. A later one:
    the change came before the plan says it did.
    """
    agrees = np.zeros(len(people), dtype=bool)
    observed = people["observed"]
    open_rows = ((observed != people["expected"]) & observed.notna()).to_numpy(dtype=bool)
    for position, (name, _) in enumerate(definitions):
        for _, before in reversed(definitions[:position]):
            rows = np.flatnonzero(open_rows & ~agrees & (people["stage"] == name).to_numpy(dtype=bool))
            if rows.size:
                part = people.iloc[rows].drop(columns=["expected", "rule", "condition", "has_properties"])
                answers = evaluate_flag(before, with_properties(part, table), **options)
                agrees[rows] = (answers["value"].to_numpy() == observed.to_numpy()[rows]).astype(bool)
    return agrees


def count_flips(people: pd.DataFrame) -> tuple[int, int]:
    """People with several known values under one definition, and those who had several ids as well."""
    observed = people[people["observed"].notna()]
    stage = observed["stage"].astype(object).where(observed["stage"].notna(), "")
    per = observed.groupby(["person_id", stage])
    values, ids = per["observed"].nunique(), per["distinct_id"].nunique()
    flipped = values[values > 1].index
    both = ids.loc[flipped]
    return (
        flipped.get_level_values(0).nunique(),
        both[both > 1].index.get_level_values(0).nunique(),
    )
