"""A flag's `filters` as PostHog stores them: what differs, and a plan's stage merged in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canarykit.errors import PlanError
from canarykit.flags import Condition
from canarykit.flags.normal_form import normal, normal_group, same_people, stored_form
from canarykit.plan import condition_words

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan


@dataclass(frozen=True)
class Difference:
    """One thing that differs between two definitions, in words; None where one side lacks it."""

    what: str
    before: str | None
    after: str | None

    def words(self) -> str:
        """The difference in one line."""
        return f"{self.what}: {self.before or 'nothing'} -> {self.after or 'nothing'}"


def differences(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    active: tuple[bool, bool] = (True, True),
    hidden: Sequence[str] = (),
    group_types: Sequence[str] = (),
) -> tuple[Difference, ...]:
    """What differs between two filters, as stored or as they would be sent, one line a thing.

    `active` is whether the flag is on, before and after; the contents of the keys `hidden`, such as encrypted
    payloads, are not shown; `group_types` are names by index, for the words.
    """
    changes = []
    if active[0] != active[1]:
        changes.append(Difference("the flag", *("on" if state else "off" for state in active)))
    old, new = normal(before), normal(after)
    changes += _group_differences(old.pop("groups"), new.pop("groups"), group_types)
    for key in sorted({*old, *new} - set(hidden)):
        if old.get(key) != new.get(key):
            changes.append(Difference(key.replace("_", " "), _shown(old.get(key)), _shown(new.get(key))))
    return tuple(changes)


def _group_differences(
    old: list[dict[str, Any]], new: list[dict[str, Any]], group_types: Sequence[str]
) -> Iterator[Difference]:
    left = list(new)
    for group in old:
        twin = next((other for other in left if same_people(group, other, None)), None)
        if twin is None:
            yield Difference("condition set", _words(group, group_types), None)
            continue
        left.remove(twin)
        if twin != group:
            before: str | None = _words(group, group_types)
            after: str | None = _words(twin, group_types)
            if before == after:
                keys = [key for key in {*group, *twin} if group.get(key) != twin.get(key)]
                before, after = (
                    _shown({key: side.get(key) for key in sorted(keys)}) for side in (group, twin)
                )
            yield Difference("condition set", before, after)
    for group in left:
        yield Difference("condition set", None, _words(group, group_types))
    kept = [
        [g for g in side if any(same_people(g, o, None) for o in other)]
        for side, other in ((old, new), (new, old))
    ]
    if len(kept[0]) == len(kept[1]) and any(
        not same_people(one, other, None) for one, other in zip(*kept, strict=True)
    ):
        order = [" | ".join(_words(group, group_types) for group in side) for side in kept]
        yield Difference("order of the condition sets", *order)


def _words(group: Mapping[str, Any], group_types: Sequence[str]) -> str:
    said = condition_words(Condition.from_posthog(group), group_types)
    return said + (f" get {group['variant']!r}" if group.get("variant") else "")


def _shown(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)[:300]


def merge(plan: RolloutPlan, stage: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The filters that put a stage in force: what the plan owns is set, everything else is kept.

    The plan owns the condition sets that any of its stages names, the variants' shares, early access
    where one of its stages opens it, and the holdout where it has one.

    `PlanError` if the flag's variants or what it assigns (people, groups) are others than the plan's: setting
    those would put everyone into a new bucket.
    """
    _require_same_kind(plan, stored)
    result = stored_form(stored)
    wanted = plan.flag_at(stage).to_posthog()["filters"]
    level = stored.get("aggregation_group_type_index")
    owned = [
        group for name in plan.stage_names for group in plan.flag_at(name).to_posthog()["filters"]["groups"]
    ]
    result["groups"] = _merged_groups(result.get("groups") or [], wanted["groups"], owned, level)
    if plan.flag_at(stage).variants:
        result["multivariate"] = _merged_variants(stored, wanted["multivariate"])
    if any(item.enrollment for item in plan.stages):
        result["feature_enrollment"] = bool(wanted.get("feature_enrollment"))
    if plan.holdout is not None:
        result["holdout"] = wanted["holdout"]
    if plan.aggregation_group_type_index is not None:
        result["aggregation_group_type_index"] = plan.aggregation_group_type_index
    return result


def _merged_groups(
    stored: Sequence[Mapping[str, Any]],
    wanted: Sequence[Mapping[str, Any]],
    owned: Sequence[Mapping[str, Any]],
    level: int | None,
) -> list[dict[str, Any]]:
    left = list(range(len(wanted)))
    placed: list[tuple[int | None, dict[str, Any]]] = []
    for group in stored:
        match = next((i for i in left if same_people(group, wanted[i], level)), None)
        if match is not None:
            left.remove(match)
            share = wanted[match].get("rollout_percentage")
            same = normal_group(group, level)["rollout_percentage"] == (100 if share is None else share)
            placed.append((match, dict(group) if same else {**group, "rollout_percentage": share}))
        elif not any(same_people(group, other, level) for other in owned):
            placed.append((None, dict(group)))
    for i in left:  # a new set goes behind the one that the plan has before it
        before = [position for position, (index, _) in enumerate(placed) if index is not None and index < i]
        after = [position for position, (index, _) in enumerate(placed) if index is not None and index > i]
        position = before[-1] + 1 if before else after[0] if after else len(placed)
        placed.insert(position, (i, deepcopy(dict(wanted[i]))))
    return [group for _, group in placed]


def _merged_variants(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    kept = {item["key"]: item for item in (stored.get("multivariate") or {}).get("variants") or ()}
    return {"variants": [{**kept.get(item["key"], {}), **item} for item in wanted["variants"]]}


def _require_same_kind(plan: RolloutPlan, stored: Mapping[str, Any]) -> None:
    ours = [variant.key for variant in plan.flag_at(plan.stage_names[0]).variants]
    theirs = [item["key"] for item in (stored.get("multivariate") or {}).get("variants") or ()]
    if stored.get("groups") and ours != theirs:
        raise PlanError(
            f"the flag {plan.flag!r} has the variants {theirs}, the plan {ours}; "
            "make the plan with the flag's variants, in their order"
        )
    level = stored.get("aggregation_group_type_index")
    if stored.get("groups") and level != plan.aggregation_group_type_index:
        raise PlanError(
            f"the flag {plan.flag!r} assigns by group type {level}, the plan by "
            f"{plan.aggregation_group_type_index}: everyone would get a new bucket"
        )


def reached(plan: RolloutPlan, stored: Mapping[str, Any]) -> int:
    """Index of the last stage of the plan that the filters let in whole; -1 where there is none."""
    level = stored.get("aggregation_group_type_index")
    groups = stored.get("groups") or ()

    def let_in(wanted: Mapping[str, Any]) -> bool:
        share = normal_group(wanted, level)["rollout_percentage"]
        return any(
            same_people(group, wanted, level) and normal_group(group, level)["rollout_percentage"] >= share
            for group in groups
        )

    for index in reversed(range(len(plan.stages))):
        wanted = plan.flag_at(plan.stage_names[index]).to_posthog()["filters"]
        enrolled = not wanted.get("feature_enrollment") or bool(stored.get("feature_enrollment"))
        if enrolled and all(map(let_in, wanted["groups"])):
            return index
    return -1
