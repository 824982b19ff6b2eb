"""The values that a plan's flag has: who gets which by rule, stage by stage.

A flag with variants keeps their split and grows by how many people it lets in. A flag without variants whose
two values have names of their own ("control" and "test") gives one of them to everybody, and grows by the
split: the canary to the stage's share, the control to the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from canarykit.errors import PlanError
from canarykit.flags import Condition, Variant
from canarykit.plan.rules import nested_sets
from canarykit.plan.stage import Stage

if TYPE_CHECKING:
    from canarykit.plan.rollout_plan import RolloutPlan


def value_names(plan: RolloutPlan) -> tuple[str, ...]:
    """Every value that the flag can have, holdouts aside, the off side first."""
    arms = [item.key for item in plan.variants] or [plan.control, plan.canary]
    return tuple(dict.fromkeys(["false", *arms]))


def check_split(plan: RolloutPlan) -> None:
    """Refuse what cannot be said by one split of everybody.

    `PlanError` if a percentage stage is for some people only.
    """
    for stage in plan.stages if _grows_by_split(plan) else ():
        if stage.kind != "targeted" and any(item.properties for item in stage.conditions):
            raise PlanError(
                f"stage {stage.name!r} gives a share of some people, but everybody has {plan.control!r} or "
                f"{plan.canary!r}; give variants=, the split that stays the same within the release"
            )


def variants_of(plan: RolloutPlan, reached: Sequence[Stage]) -> Sequence[Variant]:
    """The variants of the flag after the stages that were `reached`; none for a boolean flag."""
    if plan.variants or (plan.control, plan.canary) == ("false", "true"):
        return plan.variants
    if not _grows_by_split(plan):
        return (Variant(plan.canary, 100),)
    share = reached[-1].share or 0.0
    return Variant(plan.control, 100 - share), Variant(plan.canary, share)


def sets_of(plan: RolloutPlan, reached: Sequence[Stage]) -> tuple[Condition, ...]:
    """The condition sets of the flag after the stages that were `reached`."""
    sets = nested_sets(reached)
    if not _grows_by_split(plan):
        return sets
    chosen = [item for stage in reached if stage.kind == "targeted" for item in stage.conditions]
    named = [item if item.variant else replace(item, variant=plan.canary) for item in chosen]
    return (*named, *(replace(item, rollout_percentage=100) for item in sets[len(chosen) :]))


def shares_at(plan: RolloutPlan, name: str) -> dict[str, float]:
    """Share (0 to 1) of all units per value by rule at the stage `name`, targeted people aside."""
    stage = plan.stage(name)
    rollout = (stage.share or 0.0) / 100
    if stage.kind == "full" and stage.conditions[-1].variant is not None:
        shares = {stage.conditions[-1].variant: 1.0}
    elif plan.variants:
        shares = {"false": 1 - rollout}
        shares |= {item.key: rollout * item.rollout_percentage / 100 for item in plan.variants}
    else:
        shares = {plan.control: 1 - rollout, plan.canary: rollout}
    if plan.holdout is None:
        return shares
    kept = min(max(plan.holdout.exclusion_percentage, 0.0), 100.0) / 100
    return {**{arm: share * (1 - kept) for arm, share in shares.items()}, plan.holdout.value: kept}


def served_at(plan: RolloutPlan, name: str) -> tuple[str, ...]:
    """Values beside the control that the rules of the stage `name` give, in the order of the variants."""
    if not plan.variants:
        return (plan.canary,)
    if plan.stage(name).kind == "targeted":
        reached = plan.stages[: plan.index(name) + 1]
        named = {item.variant for stage in reached for item in stage.conditions}
        everything = None in named or any(stage.enrollment for stage in reached)
        given = {item.key for item in plan.variants} if everything else named
    else:
        given = {value for value, share in shares_at(plan, name).items() if share > 0}
    return tuple(item.key for item in plan.variants if item.key in given and item.key != plan.control)


def _grows_by_split(plan: RolloutPlan) -> bool:
    return not plan.variants and plan.control != "false"
