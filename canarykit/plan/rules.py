"""What must hold between the stages of a plan: names, nesting, arms and windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from canarykit.display import Note
from canarykit.errors import PlanError, did_you_mean, require_kind
from canarykit.flags import Condition, PropertyFilter, Variant
from canarykit.plan.stage import Stage
from canarykit.times import duration


def check_stages(stages: Sequence[Stage]) -> None:
    """Refuse stages without a name of their own, out of order, or with a falling share."""
    if not stages:
        raise PlanError("the plan has no stages; give at least one Stage")
    for stage in stages:
        require_kind("one of the stages", stage, Stage, "a Stage, such as Stage.for_share('5 %', 5)")
    names = [stage.name for stage in stages]
    for name in names:
        if names.count(name) > 1:
            raise PlanError(f"two stages are called {name!r}; names must differ")
    nested_sets(stages)
    seen_share = False
    for stage in stages:
        if stage.kind == "targeted" and seen_share:
            raise PlanError(f"stage {stage.name!r} is targeted but follows a percentage; put it before")
        seen_share = seen_share or stage.kind != "targeted"


def nested_sets(stages: Sequence[Stage]) -> tuple[Condition, ...]:
    """The condition sets after these stages: targeted ones in order, then the shares.

    A share takes the place of an earlier one that it contains: the same people, or everyone, at no
    smaller percentage. Both hash the same id under the same key, so the wider set holds the narrower.
    """
    shares: list[Condition] = []
    for stage in stages:
        for new in stage.conditions if stage.kind != "targeted" else ():
            for old in shares:
                if old.properties == new.properties and _percent(new) < _percent(old):
                    raise PlanError(
                        f"stage {stage.name!r} lowers the share from {_percent(old):g} % to "
                        f"{_percent(new):g} %: people who are in would drop out"
                    )
            shares = [old for old in shares if not _contains(new, old)] + [new]
    return (*(item for stage in stages if stage.kind == "targeted" for item in stage.conditions), *shares)


def _contains(new: Condition, old: Condition) -> bool:
    return (not new.properties or new.properties == old.properties) and _percent(new) >= _percent(old)


def _percent(condition: Condition) -> float:
    return 100.0 if condition.rollout_percentage is None else condition.rollout_percentage


def arms(variants: Sequence[Variant], control: str, canary: str) -> tuple[str, str]:
    """Control and canary as flag values, with the usual names where none are given.

    A flag with one variant compares it with the flag's off side, "false".
    """
    if not variants:
        return control or "false", canary or "true"
    for variant in variants:
        require_kind("one of the variants", variant, Variant, "a Variant")
    keys = [variant.key for variant in variants]
    usual = "control" if "control" in keys else keys[0]
    control = control or ("false" if len(keys) == 1 else usual)
    others = [key for key in keys if key != control]
    canary = canary or ("test" if "test" in others or not others else others[0])
    for role, arm in (("control", control), ("canary", canary)):
        off = role == "control" and (arm == "false" or arm.startswith("holdout-"))
        if arm not in keys and not off:
            raise PlanError(f"{role} is {arm!r}, no variant; {did_you_mean(arm, keys)}")
    return control, canary


def windows(stages: Sequence[Stage], starts_at: Any) -> tuple[tuple[Any, Any], ...]:
    """Half-open windows: a stage starts where the one before ends, and lasts until the next one starts.

    Times that a stage states win over its dwell; a stated end before the next start leaves a gap.
    """
    import pandas as pd

    spans: list[tuple[Any, Any]] = []
    clock = starts_at
    for position, stage in enumerate(stages):
        start: Any = clock if stage.starts_at is None else stage.starts_at
        following: list[Any] = [later.starts_at for later in stages[position + 1 :]]
        stated = next((time for time in following if time is not None), None)
        end: Any = stage.ends_at
        if end is None and start is not None and following and following[0] is not None:
            end = following[0]
        elif end is None and start is not None and stage.dwell is not None:
            end = start + pd.Timedelta(seconds=duration(stage.dwell))
            end = end if stated is None else min(end, stated)
        if start is not None and end is not None and not start < end:
            raise PlanError(f"stage {stage.name!r} ends at {end.isoformat()}, not after {start.isoformat()}")
        if spans and start is not None:
            last = next((window for window in reversed(spans) if window[0] is not None), (None, None))
            if last[0] is not None and (start < last[0] or (last[1] is not None and start < last[1])):
                raise PlanError(f"stage {stage.name!r} starts at {start.isoformat()}, inside the one before")
        spans.append((start, end))
        clock = end
    return tuple(spans)


def plan_notes(stages: Sequence[Stage], variants: Sequence[Variant]) -> tuple[Note, ...]:
    """What a reader of these stages must know."""
    notes = []
    for stage in stages:
        for item in (item for condition in stage.conditions for item in condition.properties):
            notes += _domain_note(stage, item)
    if any(stage.enrollment for stage in stages):
        text = "early access: who opts out stays off, even at full release, until that is cleared"
        notes.append(Note("enrollment", text))
    if any(stage.kind == "percentage" for stage in stages):
        targeted = [stage.name for stage in stages if stage.kind == "targeted"]
        if targeted:
            notes.append(
                Note("not_randomised", f"not randomised, nothing to compare with: {', '.join(targeted)}")
            )
    if variants and any(stage.kind == "percentage" for stage in stages):
        split = " / ".join(f"{item.key} {item.rollout_percentage:g} %" for item in variants)
        notes.append(Note("variant_split", f"a share counts everyone in the release; within it {split}"))
    return tuple(notes)


def _domain_note(stage: Stage, item: PropertyFilter) -> list[Note]:
    values = item.value if isinstance(item.value, list | tuple) else [item.value]
    domain = next((str(value) for value in values if "@" in str(value)), "")
    if item.operator == "icontains" and domain.startswith("@"):
        text = f'{stage.name}: icontains "{domain}" also lets in name{domain}.evil.com; use ends_with'
        return [Note("unsafe_domain", text)]
    if item.operator in {"ends_with", "regex"} and domain:
        plain = "@" + domain.partition("@")[2].removesuffix("$").replace("\\", "")
        text = f'{item.operator} is used, because icontains "{plain}" would also let in {plain}.evil.com'
        return [Note("safe_domain", f"{stage.name}: {text}")]
    return []
