"""What stands where a plan is expected."""

from __future__ import annotations

from os import PathLike
from typing import Any

from canarykit.errors import require_kind
from canarykit.flags import Flag
from canarykit.plan.rollout_plan import RolloutPlan
from canarykit.plan.stage import Stage


def as_plan(plan: Any) -> RolloutPlan:
    """The plan, or an error that says how one is made of what was given.

    `PlanError` if it is no `RolloutPlan`.

    Examples
    --------
    >>> as_plan("p.json")
    Traceback (most recent call last):
    ...
    canarykit.errors.PlanError: plan is 'p.json'; expected a RolloutPlan: RolloutPlan.from_json('p.json')
    """
    expected = "a RolloutPlan"
    if isinstance(plan, str | PathLike):
        expected += f": RolloutPlan.from_json({str(plan)!r})"
    elif isinstance(plan, dict):
        expected += ": RolloutPlan.from_json(values)"
    elif isinstance(plan, Stage):
        expected += ": RolloutPlan('my-flag', (stage,), starts_at=...)"
    elif isinstance(plan, Flag):
        expected += ": its stages and their times, as RolloutPlan.from_history reads them"
    require_kind("plan", plan, RolloutPlan, expected)
    return plan
