"""The flag's value for every simulated person at every stage, as the flag definition itself gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from canarykit.flags import UNSET
from canarykit.plan.values import value_names
from canarykit.simulate.people.identities import anonymous_ids, distinct_ids, emails, organisation_keys
from canarykit.simulate.people.population import People, Population
from canarykit.simulate.people.scenario import Scenario

if TYPE_CHECKING:
    from canarykit.flags import Flag
    from canarykit.plan import RolloutPlan


def possible_values(plan: RolloutPlan) -> tuple[str, ...]:
    """The flag's possible values; a code is a place in this tuple."""
    return value_names(plan) if plan.holdout is None else (*value_names(plan), plan.holdout.value)


def people_frame(people: People, plan: RolloutPlan) -> pd.DataFrame:
    """The people as a persons export holds them: ids and properties, one row a person."""
    population = people.population
    columns: dict[str, Any] = {
        "distinct_id": distinct_ids(people.index).to_pandas(),
        "email": emails(people).to_pandas(),
        "plan": _named(people.plan, population.plans),
        "$browser": _named(people.browser, population.browsers),
        "$geoip_country_code": _named(people.country, population.countries),
        "organization": organisation_keys(population, people.organisation).to_pandas(),
    }
    columns["$group_0"] = columns["organization"]
    frame = pd.DataFrame(columns)
    enrolled = pd.Categorical.from_codes(np.where(people.enrolled, 0, -1), categories=pd.Index(["true"]))
    frame[f"$feature_enrollment/{plan.flag}"] = enrolled
    return frame


def groups_frame(population: Population, ranks: np.ndarray) -> pd.DataFrame:
    """The organisations these people belong to (ranks below 0 are none), one row each, the largest first."""
    organisations, sizes = np.unique(ranks[ranks >= 0], return_counts=True)
    plans = list(population.plans)
    keys = [population.organisation_key(int(rank)) for rank in organisations]
    return pd.DataFrame(
        {
            "group_type_index": np.zeros(len(organisations), np.int64),
            "group_key": pd.Series(keys, dtype="str"),
            "name": pd.Series(keys, dtype="str"),
            "plan": pd.Series([plans[code] for code in population.plan_of(organisations)], dtype="str"),
            "members": sizes,
        }
    )


def as_anonymous(frame: pd.DataFrame, people: People) -> pd.DataFrame:
    """The same people under the ids they have before they identify; what they told of themselves is gone."""
    unknown = [name for name in map(str, frame) if name == "email" or name.startswith("$feature_enrollment/")]
    frame = frame.assign(distinct_id=anonymous_ids(people.index).to_pandas())
    frame[unknown] = None
    return frame


def values_by_stage(
    people: People, frame: pd.DataFrame, plan: RolloutPlan, scenario: Scenario, stages: tuple[str, ...]
) -> np.ndarray:
    """Codes of the flag's value, one row a stage and one column a person.

    The people are read and hashed once for all stages. A boolean flag only ever lets more people in: at
    each stage only the condition sets that are new are asked.
    """
    from canarykit.assign.evaluate import evaluate_units, evaluation_clock
    from canarykit.flags import FlagSet
    from canarykit.targeting.units import read_units

    served = [_as_served(plan.flag_at(stage), scenario) for stage in stages]
    types: dict[int, str] = {}
    groups: dict[str, pd.DataFrame] = {}
    if any(map(_asks_groups, served)):
        types = dict(enumerate(plan.group_types))
        groups = {plan.group_types[0]: groups_frame(people.population, people.organisation)}
    units = read_units(
        frame,
        groups=groups,
        group_types={str(index): name for index, name in types.items()},
        distinct_id="distinct_id",
        device_id="$device_id",
        properties="properties",
        group_columns={},
        server=True,
    )
    names, clock = possible_values(plan), evaluation_clock(None, "UTC")
    values = np.zeros((len(stages), len(people)), np.int8)
    before: Flag | None = None
    for row, flag in enumerate(served):
        asked = flag
        if before is not None and _only_grows(before, flag):
            values[row] = values[row - 1]
            asked = replace(flag, conditions=tuple(c for c in flag.conditions if c not in before.conditions))
        if asked.conditions or asked.feature_enrollment:
            arms = evaluate_units(asked, units, FlagSet(()), {}, clock, "server").arm
            values[row] = np.where(values[row] == 0, _codes(arms, asked, names), values[row])
        before = flag
    return values


def _asks_groups(flag: Flag) -> bool:
    """Whether any condition set looks at a group or its properties."""
    sets = (*flag.conditions, *flag.super_conditions)
    levels = [c.aggregation_group_type_index for c in sets if c.aggregation_group_type_index is not UNSET]
    filters = [p.type == "group" or p.group_type_index is not None for c in sets for p in c.properties]
    return any(filters) or any(index is not None for index in (flag.aggregation_group_type_index, *levels))


def _only_grows(before: Flag, flag: Flag) -> bool:
    same = replace(before, conditions=(), name="") == replace(flag, conditions=(), name="")
    return same and not flag.variants and not flag.early_exit


def _as_served(flag: Flag, scenario: Scenario) -> Flag:
    """The flag as a faulty flag system would serve it: a percentage other than the plan's."""
    for fault in scenario.faults:
        if fault.kind == "wrong share":
            served = [
                replace(c, rollout_percentage=100 * fault.share)
                if not c.properties and c.rollout_percentage not in (None, 0, 100)
                else c
                for c in flag.conditions
            ]
            flag = replace(flag, conditions=tuple(served))
    return flag


def _codes(arms: np.ndarray, flag: Flag, names: tuple[str, ...]) -> np.ndarray:
    """Places in `names` of a flag's arms; -2 where none could be told."""
    from canarykit.assign.outcome import arms_of

    places = [names.index(arm) if arm in names else -2 for arm in arms_of(flag)]
    return np.where(arms >= 0, np.array(places, np.int8)[np.maximum(arms, 0)], np.int8(-2))


def _named(codes: np.ndarray, shares: Mapping[str, float]) -> pd.Categorical[Any]:
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(shares)))
