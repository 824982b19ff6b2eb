"""PostHog's own expectations of flags, filters, cohorts, dependencies and relative dates.

`server_flag` is the server's answer; every other kind is the Python SDK's local evaluation, in its latest
form where the two forms on record differ.
"""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from canarykit import UnsupportedFlagError, evaluate_flag
from canarykit.assign.sdk import Scope, SdkEvaluation, dependency_matches
from canarykit.flags import Flag, FlagSet, PropertyFilter
from canarykit.targeting.dates import Clock, relative_date
from canarykit.targeting.sdk_operators import sdk_matcher
from canarykit.targeting.units import read_units

CASE_FILE = "conditions_cases.jsonl"
ANSWERS = (False, True, "inconclusive", "server")


def typed(value):
    """Values that JSON has no form for are written {"$datetime": ...} and {"$date": ...}."""
    if isinstance(value, dict):
        if "$datetime" in value:
            return datetime.fromisoformat(value["$datetime"])
        if "$date" in value:
            return date.fromisoformat(value["$date"])
        return {key: typed(item) for key, item in value.items()}
    return [typed(item) for item in value] if isinstance(value, list) else value


def moment(case):
    now = datetime.fromisoformat(case["inputs"].get("now") or "2026-01-01T00:00:00+00:00")
    return now if now.tzinfo else now.replace(tzinfo=UTC)


def person(case):
    inputs = case["inputs"]
    row = {
        "distinct_id": inputs.get("distinct_id", "somebody"),
        "properties": typed(inputs.get("person") or {}),
    }
    mapping = inputs.get("group_type_mapping") or {}
    for name, key in (inputs.get("groups") or {}).items():
        index = next((i for i, group_type in mapping.items() if group_type == name), name)
        row[f"$group_{index}"] = key
    if "device_id" in inputs:
        row["$device_id"] = inputs["device_id"]
    return pd.DataFrame([row])


def property_answer(case):
    item = PropertyFilter.from_posthog(case["inputs"]["property"])
    matcher = sdk_matcher(item, Clock(moment(case)))
    properties = typed(case["inputs"].get("person") or {})
    return ANSWERS[matcher.value(properties[item.key]) if item.key in properties else matcher.absent]


def cohort_answer(case):
    inputs = case["inputs"]
    units = read_units(
        person(case), groups=None, group_types={}, distinct_id="distinct_id", device_id="$device_id",
        properties="properties", group_columns={}, server=False,
    )  # fmt: skip
    evaluation = SdkEvaluation(units, FlagSet(), inputs.get("cohorts") or {}, Clock(moment(case)))
    scope, everyone = Scope(units.persons, units.ids, units.ids), np.ones(1, dtype=bool)
    if case["kind"] == "property_group":
        return ANSWERS[evaluation.group(inputs["group"], scope, everyone)[0]]
    item = PropertyFilter.from_posthog({"key": "id", "type": "cohort", **inputs["filter"]})
    return ANSWERS[evaluation._cohort(item, scope, everyone)[0]]


def flag_answer(case, semantics):
    inputs = case["inputs"]
    groups = {
        name: pd.DataFrame([{"group_key": inputs["groups"][name], "properties": typed(values)}])
        for name, values in (inputs.get("group_properties") or {}).items()
        if name in (inputs.get("groups") or {})
    }
    try:
        answer = evaluate_flag(
            Flag.from_posthog(inputs["flag"]),
            person(case),
            groups=groups,
            flags=FlagSet(map(Flag.from_posthog, [*(inputs.get("other_flags") or ()), inputs["flag"]])),
            cohorts=inputs.get("cohorts") or {},
            group_type_mapping=inputs.get("group_type_mapping") or {},
            semantics=semantics,
            as_of=moment(case),
            property_matching_version=inputs.get("property_matching_version"),
        ).iloc[0]
    except UnsupportedFlagError:
        return "unsupported"
    if pd.isna(answer["value"]):
        return "server" if answer["reason"] == "needs_server" else "inconclusive"
    return answer["value"] == "true" if pd.isna(answer["variant"]) else answer["variant"]


def relative_answer(case):
    when = relative_date(case["inputs"]["value"], moment(case).astimezone(UTC))
    return None if when is None else when.isoformat()


def answer_of(case):
    match case["kind"]:
        case "property":
            return property_answer(case)
        case "property_group" | "cohort":
            return cohort_answer(case)
        case "dependency_value":
            return dependency_matches(case["inputs"]["expected"], case["inputs"]["actual"])
        case "relative_date":
            return relative_answer(case)
        case "flag":
            return flag_answer(case, "sdk")
        case "server_flag":
            return flag_answer(case, "server")
    return pytest.fail(f"unknown kind {case['kind']!r}")


def test_posthog_decides_the_same(case, agrees):
    latest = case["kind"] != "server_flag" and not case.get("stable", True)
    expected = case["expect_latest"] if latest else case["expect"]
    answer = answer_of(case)
    # local evaluation has one way of not answering, however it came about
    if case["kind"] == "flag" and expected in ("server", "inconclusive"):
        assert answer in ("server", "inconclusive"), answer
    else:
        assert agrees(answer, expected), answer
