"""Who has the canary because somebody chose them: the owner, the team, the beta, whoever enrolled.

Chance decides about everybody else. A comparison of arms may use only those.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from canarykit.display import Note
from canarykit.errors import UnsupportedFlagError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from canarykit.events import EventLog
    from canarykit.plan import RolloutPlan


def chosen_people(
    log: EventLog, plan: RolloutPlan, stage: str, by_stage: pd.DataFrame
) -> tuple[set[str], tuple[Note, ...]]:
    """People who have the canary by rule and not by randomisation, at a stage.

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
        persons, last = log.persons, targeted[-1]
        matched = log.remember(("chosen", plan, last), lambda: _matched(log, persons, plan, last))
    except UnsupportedFlagError as problem:
        return chosen, (Note("chosen_by_exposure", f"the flag cannot be recomputed ({problem})"),)
    if log.groups is None and _by_group(plan.flag_at(targeted[-1])):
        text = (
            "no groups export: members of chosen groups are told by their having the canary in an earlier "
            "targeted stage; others of them may still be in the comparison"
        )
        return chosen | matched, (Note("chosen_by_exposure", text),)
    return chosen | matched, ()


def _matched(log: EventLog, persons: pd.DataFrame, plan: RolloutPlan, stage: str) -> set[str]:
    """People whom a condition set, an enrolment or an opt-out decides: for them nothing was drawn."""
    from canarykit.assign import evaluate_flag

    flag = plan.flag_at(stage)
    names = {str(index): name for name, index in log.group_types.items()}
    options: dict[str, Any] = {"group_type_mapping": names} if names else {}
    if log.groups is not None and _by_group(flag):
        persons, options["groups"] = _with_groups(log, persons), log.groups
    answers = evaluate_flag(flag, persons, **options)
    decided = (answers["value"] == plan.canary) | (answers["reason"] == "super_condition_value")
    hit = decided.fillna(False).to_numpy(bool)
    return set(persons.loc[hit, "person_id"].astype(str))


def _by_group(flag: Any) -> bool:
    return any(
        filter.type == "group" for condition in flag.conditions for filter in condition.properties
    ) or any(condition.aggregation_group_type_index in (0, 1, 2, 3, 4) for condition in flag.conditions)


def _with_groups(log: EventLog, persons: pd.DataFrame) -> pd.DataFrame:
    """Persons with the group of each type that their events name first in the alphabet."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from canarykit.events.text import as_text, frame_column

    for index in sorted(log.group_types.values()):
        column = f"$group_{index}"
        if column in persons:
            continue
        found = pa.concat_tables(log.reduce(["person_id", column], partial(_first_keys, column=column)))
        ids = as_text(frame_column(persons["person_id"])).cast(pa.string())
        place = pc.index_in(ids, value_set=found["person_id"].combine_chunks(), skip_nulls=True)
        persons = persons.assign(**{column: found["key"].take(place).to_pandas().to_numpy(object)})
    return persons


def _first_keys(table: pa.Table, *, column: str) -> pa.Table:
    """Every person that has any, with the first key in the alphabet of those that their events name."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from canarykit.events.text import codes_of
    from canarykit.exposure.first_values import least_of_each

    people, who = codes_of(table.column("person_id"))
    keys, which = codes_of(table.column(column))
    in_order = pc.sort_indices(keys).to_numpy()
    rank = np.append(np.argsort(in_order), len(keys))[which]  # a row without a key comes last
    first = least_of_each(who, rank, len(people), none=len(keys))
    persons = np.flatnonzero(first < len(keys))
    return pa.table({"person_id": people.take(persons), "key": keys.take(in_order[first[persons]])})
