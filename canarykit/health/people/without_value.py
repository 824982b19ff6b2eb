"""People whose flag had no value, or who made no call, and the arm that the rule gives them.

A call that came back empty is in no arm: what failed is not the control. But whom a broken canary keeps from
ever reporting its value are the very people it harms, so they are looked at beside the arms; and so are those
whose call never arrived, as far as a guardrail's event tells of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from canarykit.errors import UnsupportedFlagError
from canarykit.events.text import among
from canarykit.health.question import Question
from canarykit.metrics.guardrail import Guardrail
from canarykit.metrics.share import ShareMetric

AGREEMENT = 0.98
"""Share of the people of known value whom the rule must put into their arm, to be believed of the others."""
MOST_CHECKED = 5000


@dataclass(frozen=True, eq=False)
class Unassigned:
    """People without a flag value in the stage."""

    # one row per unit: person_id, canary (by the rule, else False), entered_at, returning, and several and
    # crossed (both False)
    units: pd.DataFrame
    # whether the rule of the flag puts them into an arm: it does so with those of known value too
    by_rule: bool


def without_value(question: Question, compared: pd.DataFrame) -> Unassigned:
    """Units whose calls in the stage all came back without a known value.

    The rule is checked by those `compared`, the units of both arms: `person_id`, `canary`.
    """
    exposed = question.exposures
    rows = exposed.without_value
    rows = rows[rows["stage"] == question.stage] if "stage" in rows else rows
    units = pd.DataFrame(
        {
            "person_id": rows.get(exposed.unit_column, pd.Series(dtype=object)).astype(str),
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
    theirs = _arms_by_rule(question, compared, ids)
    if theirs is None:
        return Unassigned(units, by_rule=False)
    plan = question.plan
    inside = np.isin(theirs, [plan.canary, plan.control])
    units = units.assign(canary=theirs == plan.canary)[inside].reset_index(drop=True)
    return Unassigned(units, by_rule=True)


def without_call(question: Question, compared: pd.DataFrame, until: pd.Timestamp) -> Unassigned | None:
    """Units with a guardrail's harmful event in the stage, until it was judged, and no call of the flag.

    Many people never come near a flag, so a missing call is nothing by itself. But the rule would have given
    the planned share of them the canary, whatever they did since; a release that harms before its call is
    sent shows as more of them. The rule is checked as in `without_value`; None where it cannot tell their
    arm, for groups, and for a part of the people.
    """
    chosen = any(note.code == "people_filter" for note in question.exposures.notes)
    events = {e for g in question.guardrails if _counts_harm(g) for e in g.metric.events}
    if chosen or not events or question.plan.aggregation_group_type_index is not None:
        return None
    columns = ["person_id", "distinct_id", "timestamp"]
    rows = question.log.select(columns, events=sorted(events), since=question.start, until=until)
    rows = rows.dropna(subset=["person_id", "distinct_id"]).astype({"person_id": str, "distinct_id": str})
    exposures = question.exposures
    for called in (exposures.people, exposures.without_value):
        rows = rows[~among(rows["person_id"], called["person_id"].astype(str))] if len(called) else rows
    rows = rows.sort_values(["timestamp", "person_id", "distinct_id"]).drop_duplicates("person_id")
    theirs = None if rows.empty else _arms_by_rule(question, compared, rows["distinct_id"])
    if theirs is None:
        return None
    units = rows[["person_id"]].assign(
        entered_at=rows["timestamp"], canary=theirs == question.plan.canary, several=False, crossed=False
    )
    inside = np.isin(theirs, [question.plan.canary, question.plan.control])
    return Unassigned(units.assign(returning=False)[inside].reset_index(drop=True), by_rule=True)


def _counts_harm(guardrail: Guardrail) -> bool:
    """Whether the people in whom a guardrail's event happened are those harmed."""
    return isinstance(guardrail.metric, ShareMetric) and guardrail.worse == "higher"


def _arms_by_rule(question: Question, compared: pd.DataFrame, ids: pd.Series) -> Any:
    """The value that the rule gives each distinct id; None where it cannot, or fails with those it gave."""
    people = question.exposures.people
    first_ids = people.assign(person_id=people["person_id"].astype(str))
    checked = compared[~compared["several"].to_numpy(bool)].head(MOST_CHECKED)
    checked = checked.merge(first_ids[["person_id", "distinct_id"]], on="person_id")
    if checked.empty:
        return None
    values = _by_rule(question, pd.concat([checked["distinct_id"], ids], ignore_index=True))
    if values is None:
        return None
    n, plan = len(checked), question.plan
    expected = np.where(checked["canary"].to_numpy(bool), plan.canary, plan.control)
    return values[n:] if float((values[:n] == expected).mean()) >= AGREEMENT else None


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
