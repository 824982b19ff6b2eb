"""A plan read from what was really done to a flag: PostHog's activity log of it, oldest state to newest.

Every change of who gets the flag is a stage; other edits are counted. A plan cannot lower its share, so a
lower share starts a new run; the plan is that of one run, and its notes tell of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from canarykit.display import Note
from canarykit.errors import PlanError
from canarykit.flags import Condition, Variant
from canarykit.flags.normal_form import normal, same_people
from canarykit.plan.rules import arms
from canarykit.plan.stage import Stage
from canarykit.times import to_utc

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.plan.rollout_plan import RolloutPlan

_LONGEST_NAME = 60
_UNKNOWN: Mapping[str, Any] = {}


@dataclass(frozen=True)
class FlagState:
    """A flag between two edits."""

    since: pd.Timestamp | None  # when it came to be so; None where the log does not reach back far enough
    # who got it, in PostHog's form, and whether it was on
    filters: Mapping[str, Any]
    active: bool
    by: str | None = None  # who made it so

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Condition sets that let anybody in, in the normal form."""
        return [group for group in normal(self.filters)["groups"] if group["rollout_percentage"] > 0]

    @property
    def enrollment(self) -> bool:
        """Whether people can join by early access."""
        return bool(self.filters.get("feature_enrollment") or self.filters.get("super_groups"))

    @property
    def share(self) -> float:
        """Largest percentage of everyone that is let in by a hash; 0 without one."""
        return max(
            (group["rollout_percentage"] for group in self.groups if not group["properties"]), default=0
        )

    @property
    def lets_in(self) -> bool:
        """Whether anybody gets it."""
        return self.active and (bool(self.groups) or self.enrollment)

    def same_release(self, other: FlagState) -> bool:
        """Whether the same people get it."""
        return (self.lets_in, self.groups, self.enrollment) == (other.lets_in, other.groups, other.enrollment)


def read_states(
    activity: Any, flag: Mapping[str, Any] | None = None
) -> tuple[tuple[FlagState, ...], tuple[Note, ...]]:
    """Every state of a flag from its activity log, oldest first, and notes on what that does not tell.

    `activity` is the answer of the flag's activity address, or its list of items, in any order; `flag` is as
    it is now: the state after the last item, and the first state where there are no items.
    """
    items = sorted(_items(activity), key=lambda item: to_utc(item["created_at"], name="created_at"))
    filters, active, begun = _first_known(items, flag)
    states: list[FlagState] = []
    jumps = 0
    if items and items[0].get("activity") != "created":
        states.append(FlagState(_created_at(flag), deepcopy(filters), active))
    for item in items:
        for change in _changes(item):
            field, before, after = change.get("field"), change.get("before"), change.get("after")
            if field == "filters" and isinstance(after, Mapping):
                jumps += before is not None and normal(before) != normal(filters)
                filters = dict(after)
            elif field in {"active", "deleted", "archived"}:
                active = bool(after) if field == "active" else active and not after
        moment = to_utc(item["created_at"], name="created_at")
        states.append(FlagState(moment, deepcopy(filters), active, _who(item)))
    if not items and flag is not None:
        states.append(FlagState(_created_at(flag), dict(flag.get("filters") or {}), bool(flag.get("active"))))
    notes = []
    if not begun:
        notes.append(Note("no_beginning", "the log does not reach back to the flag's creation"))
    if jumps:
        notes.append(
            Note("jumps", "edits are missing from the log: what was changed is not what was there", jumps)
        )
    if flag is not None and states and normal(flag.get("filters") or {}) != normal(states[-1].filters):
        notes.append(Note("newer", "the flag is newer than its log: the last edit is not in it yet"))
    return tuple(states), tuple(notes)


def plan_from_history(
    activity: Any,
    *,
    flag: Mapping[str, Any] | None = None,
    like: RolloutPlan | None = None,
    run: int = -1,
    group_types: Sequence[str] = ("organization",),
) -> RolloutPlan:
    """The plan behind `RolloutPlan.from_history`."""
    from canarykit.plan.rollout_plan import RolloutPlan

    states, notes = read_states(activity, flag)
    if not states:
        raise PlanError("the history is empty; pass flag= for a flag that was never edited")
    variants = _variants(states[-1])
    named = {"control": like.control if like else "", "canary": like.canary if like else ""}
    on = [state for state in states if state.lets_in]
    splits = {_variants(state) for state in on}
    if len(splits) > 1:
        pairs = {tuple(item.key for item in split) for split in splits}
        if len(variants) == 2 and len(pairs) == 1 and all(state.share == 100 for state in on):
            control, canary = arms(variants, **named)
            states = tuple(_as_share(state, canary) for state in states)
            variants, named = (), {"control": control, "canary": canary}
        else:
            text = "times the split of the variants was changed: the plan has the last, for all its stages"
            notes = (*notes, Note("splits", text, len(splits) - 1))
    key = (flag or {}).get("key") or next((item["detail"]["name"] for item in _items(activity)), None)
    merged, unchanged = _by_release(states)
    runs, run_notes = _runs(merged, like, group_types)
    if not runs:
        raise PlanError(f"the flag {key!r} has never let anybody in: its history has no stage")
    if not -len(runs) <= run < len(runs):
        raise PlanError(f"run is {run}; the history has {len(runs)}, counted from 0")
    notes = (*notes, *run_notes)
    if unchanged:
        notes = (*notes, Note("other_edits", "edits changed nothing about who gets the flag", unchanged))
    if len(runs) > 1:
        text = f"runs of the release; this is number {range(len(runs))[run]}, see run="
        notes = (*notes, Note("runs", text, len(runs)))
    last = states[-1].filters
    level = last.get("aggregation_group_type_index")
    plan = RolloutPlan(
        str(key),
        tuple(runs[run]),
        owner=like.owner if like else next((state.by for state in states if state.by), None),
        variants=variants,
        holdout=last.get("holdout"),
        **named,
        aggregation_group_type=None if level is None else group_types[level],
        group_types=tuple(group_types),
    )
    object.__setattr__(plan, "notes", (*notes, *plan.notes))
    return plan


def _variants(state: FlagState) -> tuple[Variant, ...]:
    listed = (state.filters.get("multivariate") or {}).get("variants") or ()
    return tuple(map(Variant.from_posthog, listed))


def _as_share(state: FlagState, canary: str) -> FlagState:
    """A state that gives everybody one of two variants, as one that lets the canary's share in."""
    share = next((item.rollout_percentage for item in _variants(state) if item.key == canary), 0)
    groups = [
        group if group["properties"] else {**group, "rollout_percentage": share}
        for group in normal(state.filters)["groups"]
    ]
    kept = {key: value for key, value in state.filters.items() if key != "multivariate"}
    return replace(state, filters={**kept, "groups": groups})


def _by_release(states: Sequence[FlagState]) -> tuple[list[FlagState], int]:
    """States that differ in who gets the flag, and how many edits did not."""
    merged: list[FlagState] = []
    for state in states:
        if not merged or not merged[-1].same_release(state):
            merged.append(state)
    return merged, len(states) - len(merged)


def _runs(
    states: Sequence[FlagState], like: RolloutPlan | None, group_types: Sequence[str]
) -> tuple[list[list[Stage]], list[Note]]:
    """Stages of each run; a share below one before it, in the same run, starts the next."""
    runs: list[list[Stage]] = []
    stages: list[Stage] = []
    notes: list[Note] = []
    highest = 0.0
    before: FlagState | None = None  # the state the newest stage was made from
    for number, state in enumerate(states):
        until = states[number + 1].since if number + 1 < len(states) else None
        by = f" by {state.by}" if state.by else ""
        when = "before the log begins" if state.since is None else f"{state.since:%Y-%m-%d %H:%M} UTC"
        if not state.lets_in:
            if stages:
                notes.append(Note("paused", f"switched off {when}{by}"))
            continue
        if state.since is None:
            notes.append(Note("start_unknown", "the first state has no known start and is not a stage"))
            before = state
            continue
        resumed = before is not None and state.same_release(before)
        if resumed and stages and stages[-1].kind == "targeted":
            stages[-1] = replace(stages[-1], ends_at=until)
            continue
        if highest and state.share == 0:
            notes.append(Note("rolled_back", f"rolled back {when}{by}: no percentage was let in"))
            before = state
            continue
        if state.share < highest:
            notes.append(Note("lowered", f"lowered from {highest:g} % to {state.share:g} % {when}{by}"))
            runs.append(stages)
            stages, highest = [stage for stage in stages if stage.kind == "targeted"], 0.0
        stage = _stage(state, until, stages, like, group_types)
        if stage is None:
            notes.append(Note("narrowed", f"condition sets were taken away {when}{by}"))
            if stages:
                stages[-1] = replace(stages[-1], ends_at=until)
        else:
            stages.append(stage)
        highest, before = max(highest, state.share), state
    return ([*runs, stages] if stages else runs), notes


def _stage(
    state: FlagState,
    until: Any,
    earlier: Sequence[Stage],
    like: RolloutPlan | None,
    group_types: Sequence[str],
) -> Stage | None:
    """The stage a state began: what it adds to the stages before; None where it adds nothing."""
    listed = [group for stage in earlier for c in stage.conditions for group in [_group(c, state)]]
    enrolled = any(stage.enrollment for stage in earlier)
    everyone = [group for group in state.groups if not group["properties"]]
    widest = max(everyone, key=lambda group: group["rollout_percentage"], default=None)
    added = [
        group
        for group in state.groups
        if group["properties"]
        and not any(same_people(group, old, None) and _share(group) <= _share(old) for old in listed)
    ]
    if widest is None and not added and not (state.enrollment and not enrolled):
        return None
    partial = [group for group in added if _share(group) < 100]
    last = widest or (partial[-1] if partial else None)
    ordered = [group for group in added if group is not last] + ([last] if last else [])
    is_full = last is not None and last is widest and _share(last) == 100
    kind: Any = "targeted" if last is None else "full" if is_full else "percentage"
    stage = Stage(
        "unnamed",
        tuple(_condition(group, state) for group in ordered),
        state.since,
        until,
        kind=kind,
        share=None if last is None else _share(last),
        enrollment=state.enrollment and not enrolled,
    )
    return _named(stage, state, [item.name for item in earlier], like, group_types)


def _named(
    stage: Stage, state: FlagState, taken: Sequence[str], like: RolloutPlan | None, group_types: Sequence[str]
) -> Stage:
    twin = None if like is None else _twin(state, like)
    if twin is not None:
        name, decides = twin.name, twin.decides
    else:
        words = "; ".join(stage.words(group_types))
        name = {"full": "full release", "percentage": f"{stage.share or 0:g} %"}.get(stage.kind, words)
        name, decides = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…", ""
    again = sum(one == name or one.startswith(f"{name} (") for one in taken)
    return replace(stage, name=f"{name} ({again + 1})" if again else name, decides=decides)


def _twin(state: FlagState, like: RolloutPlan) -> Stage | None:
    """The stage of a plan that lets in just these people."""
    for stage in like.stages:
        wanted = normal(like.flag_at(stage.name).to_posthog()["filters"])
        groups = [(g["properties"], _share(g)) for g in wanted["groups"]]
        if groups == [(g["properties"], _share(g)) for g in state.groups]:
            return stage
    return None


def _share(group: Mapping[str, Any]) -> float:
    share = group.get("rollout_percentage")
    return 100 if share is None else share


def _group(condition: Condition, state: FlagState) -> dict[str, Any]:
    return normal({**state.filters, "groups": [condition.to_posthog()]})["groups"][0]


def _condition(group: Mapping[str, Any], state: FlagState) -> Condition:
    """A condition set without what only repeats the flag's own level."""
    level = state.filters.get("aggregation_group_type_index")
    kept = {key: value for key, value in group.items() if key != "aggregation_group_type_index"}
    group_type = group["aggregation_group_type_index"]
    return Condition.from_posthog(
        kept if group_type == level else {**kept, "aggregation_group_type_index": group_type}
    )


def _items(activity: Any) -> list[Mapping[str, Any]]:
    listed = activity.get("results") if isinstance(activity, Mapping) else activity
    if not isinstance(listed, list | tuple):
        raise PlanError(
            "the history is not a list of activity; expected the answer of a flag's activity address"
        )
    for item in listed:
        if not isinstance(item, Mapping) or "created_at" not in item:
            raise PlanError(f"an item of the history has no 'created_at': {str(item)[:80]}")
    return [item for item in listed if item.get("scope", "FeatureFlag") == "FeatureFlag"]


def _changes(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [c for c in (item.get("detail") or {}).get("changes") or () if isinstance(c, Mapping)]


def _first_known(
    items: Sequence[Mapping[str, Any]], flag: Mapping[str, Any] | None
) -> tuple[dict[str, Any], bool, bool]:
    """Filters and state before the first item, and whether the log reaches back to the creation."""
    begun = not items or items[0].get("activity") == "created"
    state = {"filters": (flag or {}).get("filters"), "active": (flag or {}).get("active", True)}
    for field in state:
        changes = [c for item in items for c in _changes(item) if c.get("field") == field]
        if changes:
            first = changes[0].get("before")
            state[field] = (
                first if first is not None else {} if field == "filters" else changes[0].get("after")
            )
    return dict(state["filters"] or {}), bool(state["active"]), begun


def _created_at(flag: Mapping[str, Any] | None) -> Any:
    text = (flag or {}).get("created_at")
    return None if text is None else to_utc(text, name="created_at")


def _who(item: Mapping[str, Any]) -> str | None:
    user = item.get("user")
    return (user.get("email") or user.get("first_name")) if isinstance(user, Mapping) else None
