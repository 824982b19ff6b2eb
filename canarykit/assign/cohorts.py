"""`assign_cohorts`: at which stage each person enters, and what they get at every stage of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from canarykit.arguments import checked
from canarykit.assign.evaluate import evaluate_units, evaluation_clock, text_column
from canarykit.assign.outcome import arms_of
from canarykit.flags import FlagSet
from canarykit.plan.given import as_plan
from canarykit.targeting.units import read_units

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Time


@checked
def assign_cohorts(
    persons: pd.DataFrame,
    plan: RolloutPlan,
    *,
    groups: pd.DataFrame | Mapping[str, pd.DataFrame] | None = None,
    cohorts: Mapping[Any, Any] | None = None,
    as_of: Time | None = None,
    timezone: str = "UTC",
    distinct_id: str = "distinct_id",
    device_id: str = "$device_id",
    properties: str = "properties",
    group_columns: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Bucket, entry stage and flag value at each stage for every person, by the plan's rules.

    Parameters
    ----------
    persons, groups, cohorts, as_of, timezone, distinct_id, device_id, properties, group_columns
        As for `evaluate_flag`.
    plan
        The rollout. Stages keep the condition sets of the stages before them and share one bucket, so
        whoever is in stays in; only an early-access opt-out can take a person out again.

    Returns
    -------
    DataFrame
        On the same index: `bucket` (hash in [0, 1], on which percentages are laid out), `entry_stage`
        (first stage that gives the canary; missing where none does), then one column a stage with the
        flag's value there.

    Examples
    --------
    >>> from canarykit.plan import RolloutPlan
    >>> plan = RolloutPlan.five_stages("new-checkout", owner="ada@acme.io", team_domain="acme.io")
    >>> persons = pd.DataFrame(
    ...     {"distinct_id": ["1", "2", "3"], "email": ["ada@acme.io", "bob@acme.io", "eve@else.io"]}
    ... )
    >>> assign_cohorts(persons, plan)["entry_stage"].tolist()
    ['just yourself', 'internal team', 'full release']
    """
    plan = as_plan(plan)
    units = read_units(
        persons,
        groups=groups,
        group_types={str(index): name for index, name in enumerate(plan.group_types)},
        distinct_id=distinct_id,
        device_id=device_id,
        properties=properties,
        group_columns=group_columns or {},
        server=True,
    )
    clock, flags = evaluation_clock(as_of, timezone), FlagSet()
    every_cohort = {str(key): value for key, value in (cohorts or {}).items()}
    entry = np.full(units.rows, -1, dtype=np.int32)
    values, bucket = {}, np.full(units.rows, np.nan)
    for position, name in enumerate(plan.stage_names):
        flag = plan.flag_at(name)
        outcome = evaluate_units(flag, units, flags, every_cohort, clock, "server")
        names = arms_of(flag)
        values[name] = text_column(outcome.arm, names)
        in_canary = np.isin(outcome.arm, [code for code, arm in enumerate(names) if arm == plan.canary])
        entry[in_canary & (entry < 0)] = position
        bucket = outcome.bucket if position == 0 else bucket
    frame = {"bucket": bucket, "entry_stage": text_column(entry, plan.stage_names), **values}
    return pd.DataFrame(frame, index=persons.index)
