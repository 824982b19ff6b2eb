"""A plan as plain JSON values and back, so that notebooks, scripts and pipelines share one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from canarykit.display import to_jsonable
from canarykit.documents import parse_document, read_document
from canarykit.errors import PlanError, did_you_mean
from canarykit.flags import Condition, Variant
from canarykit.flags.lossless import list_of, require_mapping, text, truth
from canarykit.plan.stage import Stage

if TYPE_CHECKING:
    from canarykit.plan.rollout_plan import RolloutPlan

_PLAN_KEYS = (
    "flag",
    "starts_at",
    "owner",
    "control",
    "canary",
    "aggregation_group_type",
    "group_types",
    "variants",
    "holdout",
    "stages",
)
_STAGE_KEYS = tuple(spec.name for spec in fields(Stage))


def definition_of(plan: RolloutPlan) -> dict[str, Any]:
    """Everything that makes a plan, as JSON values; keys without a value are left out."""
    content: dict[str, Any] = {key: getattr(plan, key) for key in _PLAN_KEYS[:7]}
    content["variants"] = [item.to_posthog() for item in plan.variants]
    content["holdout"] = None if plan.holdout is None else plan.holdout.to_posthog()
    content["stages"] = [_written_stage(stage) for stage in plan.stages]
    return _without_empty(content)


def read_definition(source: Any) -> dict[str, Any]:
    """Arguments of `RolloutPlan` from JSON text, a file, a mapping, or a plan's own `to_json`.

    Raises
    ------
    PlanError
        If the source is no JSON object, lacks the flag or the stages, or has a key that no plan knows.
    """
    content = _load(source)
    content = require_mapping(content.get("plan", content), "the plan")
    for key in ("flag", "stages"):
        if key not in content:
            raise PlanError(f"the plan has no {key!r}; {did_you_mean(key, content)}")
    _require_known(content, (*_PLAN_KEYS, "guardrails"), "the plan")
    stages = [_read_stage(stage, position) for position, stage in enumerate(list_of(content, "stages"))]
    variants = [Variant.from_posthog(item) for item in list_of(content, "variants")]
    for key in ("owner", "control", "canary", "aggregation_group_type"):
        text(content, key, "the plan", None)
    names = list_of(content, "group_types")
    if not all(isinstance(name, str) for name in names):
        raise PlanError(f"'group_types' of the plan is {names!r}; expected names of group types")
    plain = {key: value for key, value in content.items() if value is not None}
    return {**plain, "stages": tuple(stages), "variants": tuple(variants)}


def _written_stage(stage: Stage) -> dict[str, Any]:
    content = {key: getattr(stage, key) for key in _STAGE_KEYS}
    content["conditions"] = [item.to_posthog() for item in stage.conditions]
    return _without_empty(content)


def _read_stage(content: Any, position: int) -> Stage:
    if not isinstance(content, Mapping):
        raise PlanError(f"stage {position + 1} of the plan is {content!r}; expected an object with a name")
    if "name" not in content:
        raise PlanError(f"stage {position + 1} of the plan has no 'name'; {did_you_mean('name', content)}")
    _require_known(content, _STAGE_KEYS, f"stage {content['name']!r}")
    where = f"stage {content['name']!r}"
    for key in ("decides", "kind", "dwell"):
        text(content, key, where, None)
    conditions = tuple(Condition.from_posthog(item) for item in list_of(content, "conditions"))
    enrollment = truth(content, "enrollment", where)
    plain = {key: value for key, value in content.items() if value is not None}
    return Stage(**{**plain, "conditions": conditions, "enrollment": enrollment})


def _require_known(content: Mapping[str, Any], keys: tuple[str, ...], what: str) -> None:
    for key in content:
        if key not in keys:
            raise PlanError(f"{what} has a key {key!r} that nothing reads; {did_you_mean(key, keys)}")


def _load(source: Any) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    written, named = str(source), "the plan"
    if written.lstrip("\ufeff \n\r\t").startswith("{"):
        content = parse_document(written, named)
    else:
        named = "the plan file"
        content = read_document(written, named)
    if not isinstance(content, Mapping):
        raise PlanError(f"{named} holds a {type(content).__name__}; expected an object")
    return content


def _without_empty(content: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in content.items() if value not in (None, "", (), [], False)}
    return to_jsonable(kept)
