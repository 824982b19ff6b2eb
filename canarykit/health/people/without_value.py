"""People whose flag had no value in a stage, and the arm that the rule gives them where it can be told.

A call that came back empty is in no arm: what failed is not the control. But whom a broken canary keeps from
ever reporting its value are the very people it harms, so they are looked at beside the arms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from canarykit.errors import UnsupportedFlagError
from canarykit.events.text import among
from canarykit.health.question import Question

__all__ = ["Unassigned", "without_value"]

AGREEMENT = 0.98
"""Share of the people of known value whom the rule must put into their arm, to be believed of the others."""
MOST_CHECKED = 5000


@dataclass(frozen=True, eq=False)
class Unassigned:
    """People without a flag value in the stage.

    Parameters
    ----------
    units
        One row per unit: person_id, canary (by the rule, else False), entered_at, returning, and several
        and crossed (both False).
    by_rule
        Whether the rule of the flag puts them into an arm: it does so with those of known value too.
    """

    units: pd.DataFrame
    by_rule: bool


def without_value(question: Question, compared: pd.DataFrame) -> Unassigned:
    """Units whose calls in the stage all came back without a known value.

    Parameters
    ----------
    question
        What was asked.
    compared
        The units of both arms, by which the rule is checked: `person_id`, `canary`.
    """
    found = question.exposures
    rows = found.without_value
    rows = rows[rows["stage"] == question.stage] if "stage" in rows else rows
    units = pd.DataFrame(
        {
            "person_id": rows.get(found.unit_column, pd.Series(dtype=object)).astype(str),
            "entered_at": rows.get("exposed_at", pd.Series(dtype="datetime64[us, UTC]")),
            "canary": False,
        }
    ).reset_index(drop=True)
    earlier = question.plan.stage_names[: question.plan.index(question.stage)]
    before = question.by_stage["stage"].isin(earlier)
    seen = question.by_stage.loc[before, "person_id"]
    units = units.assign(several=False, crossed=False, returning=among(units["person_id"], seen))
    if units.empty or question.plan.aggregation_group_type_index is not None:
        return Unassigned(units, by_rule=False)
    ids = rows["distinct_id"].reset_index(drop=True)
    first_ids = found.people.assign(person_id=found.people["person_id"].astype(str))
    known = compared[~compared["several"].to_numpy(bool)].head(MOST_CHECKED)
    known = known.merge(first_ids[["person_id", "distinct_id"]], on="person_id")
    if known.empty:
        return Unassigned(units, by_rule=False)
    values = _by_rule(question, pd.concat([known["distinct_id"], ids], ignore_index=True))
    if values is None:
        return Unassigned(units, by_rule=False)
    n, plan = len(known), question.plan
    expected = np.where(known["canary"].to_numpy(bool), plan.canary, plan.control)
    if float((values[:n] == expected).mean()) < AGREEMENT:
        return Unassigned(units, by_rule=False)
    theirs = values[n:]
    inside = np.isin(theirs, [plan.canary, plan.control])
    units = units.assign(canary=theirs == plan.canary)[inside].reset_index(drop=True)
    return Unassigned(units, by_rule=True)


def _by_rule(question: Question, ids: pd.Series) -> Any:
    """The value that the stage's percentage gives each distinct id; None where it cannot be recomputed."""
    from canarykit.assign import evaluate_flag

    persons = pd.DataFrame({"distinct_id": ids.astype(str)})
    try:
        answers = evaluate_flag(question.plan.flag_at(question.stage), persons)
    except UnsupportedFlagError:
        return None
    values = answers["value"].astype(object).where(answers["value"].notna(), "")
    return values.map(lambda value: {True: "true", False: "false"}.get(value, str(value))).to_numpy(object)
