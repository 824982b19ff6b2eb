"""One form for everything PostHog takes as the same: what comparing two definitions rests on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

# PostHog adds these when it answers, and stores them if they are sent back.
_INJECTED = ("cohort_name", "group_key_names")
_EMPTY: tuple[Any, ...] = (None, False, "", [], {})
_OLD_OPERATORS = {"min": "gte", "max": "lte"}


def stored_form(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters without what the server only adds when it answers."""
    result = deepcopy(dict(filters))
    for key in ("groups", "super_groups", "holdout_groups"):
        for group in result.get(key) or ():
            for item in group.get("properties") or ():
                for name in _INJECTED:
                    item.pop(name, None)
    return result


def normal(filters: Mapping[str, Any]) -> dict[str, Any]:
    """One form for everything the server takes as the same: what a dry run and a check compare."""
    result = {key: value for key, value in stored_form(filters).items() if value not in _EMPTY}
    level = result.get("aggregation_group_type_index")
    result["groups"] = [normal_group(group, level) for group in result.get("groups") or ()]
    if payloads := result.get("payloads"):
        result["payloads"] = {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in payloads.items()
        }
    if variants := (result.get("multivariate") or {}).get("variants"):
        result["multivariate"] = {"variants": [_without_empty(variant) for variant in variants]}
    return result


def normal_group(group: Mapping[str, Any], level: int | None) -> dict[str, Any]:
    """One condition set in the normal form; `level` is what the flag as a whole assigns."""
    kept = {key: value for key, value in group.items() if value not in _EMPTY and key != "sort_key"}
    share = group.get("rollout_percentage")
    return {
        **kept,
        "properties": [_normal_property(item) for item in group.get("properties") or ()],
        "rollout_percentage": 100 if share is None else share,
        "aggregation_group_type_index": group.get("aggregation_group_type_index", level),
    }


def _normal_property(item: Mapping[str, Any]) -> dict[str, Any]:
    kind = item.get("type") or "person"
    operator = item.get("operator") or {"cohort": "in", "flag": "flag_evaluates_to"}.get(kind, "exact")
    kept = {key: value for key, value in item.items() if value is not None and key != "label"}
    if not kept.get("negation", True):
        del kept["negation"]
    return {**kept, "type": kind, "operator": _OLD_OPERATORS.get(operator, operator)}


def _without_empty(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if value not in (None, "")}


def fingerprint(filters: Mapping[str, Any], active: bool) -> str:
    """A short text that differs where the definitions do.

    Examples
    --------
    >>> everyone = {"groups": [{"properties": [], "rollout_percentage": None}]}
    >>> fingerprint(everyone, True) == fingerprint({"groups": [{"rollout_percentage": 100}]}, True)
    True
    """
    text = json.dumps({"active": active, "filters": normal(filters)}, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def same_people(one: Mapping[str, Any], other: Mapping[str, Any], level: int | None) -> bool:
    """Whether two condition sets name the same people, whatever share of them they let in."""
    a, b = normal_group(one, level), normal_group(other, level)
    keys = ("properties", "variant", "aggregation_group_type_index")
    return all(a.get(key) == b.get(key) for key in keys)
