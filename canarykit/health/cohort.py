"""Who is compared in a percentage stage: the people whom only chance put into their arm.

The owner, the team and the beta always have the canary; they were chosen, not drawn, and so is a holdout.
What is left is compared by the arm in which each person was first seen within the stage (intent to treat).
People who were in another arm in an earlier stage, because the ramp grew over their bucket, are in their
new arm by chance too, but they have seen both: they are counted apart and a sensitivity line leaves them
out together with everybody else who was there before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from canarykit.display import Note
from canarykit.errors import UnsupportedFlagError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cohort", "chosen_people", "stage_cohort"]


@dataclass(frozen=True, eq=False)
class Cohort:
    """People of a stage, sorted by why they are where they are.

    Parameters
    ----------
    units
        Randomised people in one of the two arms: person_id, variant, canary (bool), entered_at,
        leaves_at, several (saw both variants within the stage), returning (seen in an earlier stage),
        crossed (in another arm in an earlier stage).
    counts
        People by class, in words, in the order of the report.
    notes
        What was left out, guessed or could not be told.
    """

    units: pd.DataFrame
    counts: tuple[tuple[str, int], ...]
    notes: tuple[Note, ...] = ()

    @property
    def crosser_share(self) -> float:
        """Share of the compared people who saw both variants within the stage; NaN without anybody."""
        return float(self.units["several"].mean()) if len(self.units) else float("nan")


def chosen_people(
    log: Any, plan: Any, stage: str, by_stage: pd.DataFrame
) -> tuple[set[str], tuple[Note, ...]]:
    """People who have the canary by rule and not by chance, at a stage.

    They are the ones whom the condition sets of the targeted stages match, by the persons export; and
    whoever was seen with the canary in a targeted stage.
    """
    before = plan.stage_names[: plan.index(stage) + 1]
    targeted = [name for name in before if plan.stage(name).kind == "targeted"]
    seen = by_stage["stage"].isin(targeted) & (by_stage["variant"] == plan.canary)
    chosen = set(by_stage.loc[seen, "person_id"].astype(str))
    if not targeted:
        return chosen, ()
    if log.persons is None:
        text = (
            "no persons export: people chosen by rule are told by their having the canary in an earlier "
            "targeted stage; others of them may still be in the comparison"
        )
        return chosen, (Note("chosen_by_exposure", text),)
    try:
        matched = _matched(log, plan, targeted[-1])
    except UnsupportedFlagError as problem:
        return chosen, (Note("chosen_by_exposure", f"the flag cannot be recomputed ({problem})"),)
    return chosen | matched, ()


def stage_cohort(log: Any, plan: Any, stage: str, by_stage: pd.DataFrame, *, stop: Any) -> Cohort:
    """The randomised people of a percentage stage.

    Parameters
    ----------
    log, plan, stage
        As in `evaluate_stage`.
    by_stage
        `exposures(...).by_stage`.
    stop
        Moment until which people are followed (UTC): the stage's end, or the evaluation.
    """
    people = by_stage[(by_stage["stage"] == stage) & (by_stage["exposed_at"] < stop)].copy()
    people["person_id"] = people["person_id"].astype(str)
    chosen, notes = chosen_people(log, plan, stage, by_stage)
    held = people["variant"].astype("string").str.startswith("holdout-").fillna(False).to_numpy(bool)
    by_rule = people["person_id"].isin(chosen).to_numpy(bool) & ~held
    compared = people["variant"].isin([plan.canary, plan.control]).to_numpy(bool) & ~held & ~by_rule
    other = ~(held | by_rule | compared)
    units = people[compared].reset_index(drop=True)
    earlier = plan.stage_names[: plan.index(stage)]
    before = by_stage[by_stage["stage"].isin(earlier)]
    units = units.assign(
        canary=(units["variant"] == plan.canary).to_numpy(bool),
        entered_at=units["exposed_at"],
        leaves_at=stop,
        several=(units["n_variants"] > 1).to_numpy(bool),
        returning=units["person_id"].isin(set(before["person_id"].astype(str))).to_numpy(bool),
        crossed=(
            units["previous_variant"].notna() & (units["previous_variant"] != units["variant"])
        ).to_numpy(bool),
    )
    counts = (
        ("compared: put into their arm by chance", len(units)),
        ("of them seen in an earlier stage", int(units["returning"].sum())),
        ("of them in the other arm in an earlier stage", int(units["crossed"].sum())),
        ("of them seen with both variants within the stage", int(units["several"].sum())),
        ("left out: have the canary by rule (owner, team, beta)", int(by_rule.sum())),
        ("left out: holdout", int(held.sum())),
        ("left out: another variant, or a value nobody knows", int(other.sum())),
    )
    return Cohort(units, counts, notes)


def _matched(log: Any, plan: Any, stage: str) -> set[str]:
    """People whom a condition set, an enrolment or an opt-out decides: for them nothing was drawn."""
    from canarykit.assign import evaluate_flag

    flag, persons = plan.flag_at(stage), log.persons
    names = {str(index): name for name, index in log.group_types.items()}
    options: dict[str, Any] = {"group_type_mapping": names} if names else {}
    if log.groups is not None and _by_group(flag):
        persons, options["groups"] = _with_groups(log, persons), _group_tables(log)
    answers = evaluate_flag(flag, persons, **options)
    decided = (answers["value"] == plan.canary) | (answers["reason"] == "super_condition_value")
    hit = decided.fillna(False).to_numpy(bool)
    return set(persons.loc[hit, "person_id"].astype(str))


def _by_group(flag: Any) -> bool:
    return any(
        filter.type == "group" for condition in flag.conditions for filter in condition.properties
    ) or any(condition.aggregation_group_type_index in (0, 1, 2, 3, 4) for condition in flag.conditions)


def _group_tables(log: Any) -> dict[str, pd.DataFrame]:
    return {
        name: log.groups[log.groups["group_type_index"] == index].drop(columns="group_type_index")
        for name, index in log.group_types.items()
    }


def _with_groups(log: Any, persons: pd.DataFrame) -> pd.DataFrame:
    """Persons with the group of each type that their events name first in the alphabet."""
    for index in sorted(log.group_types.values()):
        column = f"$group_{index}"
        if column in persons:
            continue
        parts = log.reduce(["person_id", column], partial(_pairs, column=column))
        group: dict[str, str] = {}
        for part in parts:
            for person, key in part:
                group[person] = min(key, group.get(person, key))
        persons = persons.assign(**{column: persons["person_id"].astype(str).map(group)})
    return persons


def _pairs(table: Any, *, column: str) -> list[tuple[str, str]]:
    known = table.filter(table.column(column).is_valid())
    pairs = known.group_by(["person_id", column]).aggregate([])
    return list(zip(pairs["person_id"].to_pylist(), pairs[column].to_pylist(), strict=True))
