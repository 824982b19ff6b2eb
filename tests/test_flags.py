"""Flag definitions: what is read is what is written, and an edit changes only what was edited."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest

import canarykit as ck
from canarykit.errors import ExportFormatError, PlanError
from canarykit.flags import UNSET, Condition, Flag, FlagSet, Holdout, PropertyFilter, Variant, read_flags

API_FLAG = {
    "id": 12, "key": "new-checkout", "name": "The new checkout", "active": True, "deleted": False,
    "version": 7,
    "created_at": "2026-08-01T08:00:00.123Z", "last_called_at": None, "created_by": {"id": 3},
    "ensure_experience_continuity": None, "bucketing_identifier": None, "rollout_percentage": None,
    "tags": ["checkout"], "evaluation_runtime": "all", "has_encrypted_payloads": False,
    "filters": {
        "groups": [
            {
                "properties": [
                    {"key": "email", "type": "person", "value": ["ada@acme.io"], "operator": "exact"},
                    {"key": "id", "type": "cohort", "value": 98, "operator": "in", "cohort_name": "Friends"},
                    {"key": "seats", "type": "group", "value": "5", "operator": "gt", "group_type_index": 0},
                    {"key": "11", "type": "flag", "value": True, "operator": "flag_evaluates_to",
                    "label": "x"},
                ],
                "rollout_percentage": 100, "variant": None, "sort_key": "A", "description": None,
                "aggregation_group_type_index": None,
            },
            {"properties": [], "rollout_percentage": 25.5, "variant": "test"},
            {"properties": []},
        ],
        "multivariate": {
            "variants": [
                {"key": "control", "name": "", "rollout_percentage": 50},
                {"key": "test", "rollout_percentage": 50, "colour": "red"},
            ],
            "mode": "weights",
        },
        "payloads": {"test": "{\"a\": 1}"}, "super_groups": None, "aggregation_group_type_index": None,
        "holdout": {"id": 42, "exclusion_percentage": 10, "note": "kept"}, "early_exit": False,
        "future": [1, 2],
    },
}  # fmt: skip


def test_a_flag_of_the_api_is_written_back_without_losing_a_key():
    assert Flag.from_posthog(API_FLAG).to_posthog() == API_FLAG


def test_writing_is_the_same_text_key_by_key_in_the_same_order():
    assert json.dumps(Flag.from_posthog(API_FLAG).to_posthog()) == json.dumps(API_FLAG)


def test_what_is_written_is_a_copy():
    flag = Flag.from_posthog(deepcopy(API_FLAG))
    flag.to_posthog()["filters"]["groups"].clear()
    assert flag.to_posthog() == API_FLAG


def test_disabling_a_flag_changes_nothing_but_that():
    edited = replace(Flag.from_posthog(API_FLAG), active=False).to_posthog()
    assert edited == {**API_FLAG, "active": False}


def test_a_new_percentage_leaves_the_other_sets_as_they_came():
    flag = Flag.from_posthog(API_FLAG)
    conditions = (flag.conditions[0], replace(flag.conditions[1], rollout_percentage=50), flag.conditions[2])
    expected = deepcopy(API_FLAG)
    expected["filters"]["groups"][1]["rollout_percentage"] = 50
    assert replace(flag, conditions=conditions).to_posthog() == expected


def test_an_emptied_field_is_not_written_with_its_old_value():
    flag = replace(Flag.from_posthog(API_FLAG), holdout=None, payloads={}, variants=())
    filters = flag.to_posthog()["filters"]
    assert not filters.get("holdout")
    assert not filters.get("payloads")
    assert not filters.get("multivariate")


def test_edited_filters_keep_their_unknown_keys():
    flag = Flag.from_posthog(API_FLAG)
    cohort = replace(flag.conditions[0].properties[1], value=99)
    assert cohort.to_posthog() == {
        "key": "id", "type": "cohort", "value": 99, "operator": "in", "cohort_name": "Friends"
    }  # fmt: skip


def test_unset_null_and_a_number_are_three_aggregations():
    read = [Condition.from_posthog(data).aggregation_group_type_index for data in (
        {"properties": []}, {"properties": [], "aggregation_group_type_index": None},
        {"properties": [], "aggregation_group_type_index": 2},
    )]  # fmt: skip
    assert read == [UNSET, None, 2]


@pytest.mark.parametrize("data", [
    {"key": "f", "filters": {"properties": [{"key": "a", "value": 1}]}, "rollout_percentage": 30},
    {"key": "f", "filters": {}, "rollout_percentage": 30},
])  # fmt: skip
def test_the_oldest_form_reads_as_one_set_and_is_written_back_as_it_was(data):
    flag = Flag.from_posthog(data)
    assert [condition.rollout_percentage for condition in flag.conditions] == [30]
    assert flag.to_posthog() == data
    assert flag.is_oldest_form
    edited = replace(flag, conditions=(Condition(rollout_percentage=40),)).to_posthog()
    assert edited == {"key": "f", "filters": {"groups": [{"properties": [], "rollout_percentage": 40}]}}


def test_flags_without_any_condition_read_as_such():
    for filters in ({}, None, {"groups": None}, {"groups": []}):
        data = {"key": "f", "filters": filters}
        assert Flag.from_posthog(data).conditions == ()
        assert Flag.from_posthog(data).to_posthog() == data


def test_the_old_holdout_reads_as_the_new_one_and_stays_as_it_was():
    groups = [{"properties": [], "rollout_percentage": 10, "variant": "holdout-7"}]
    data = {"key": "f", "filters": {"groups": [], "holdout_groups": groups}}
    flag = Flag.from_posthog(data)
    assert flag.holdout == Holdout("7", 10, legacy=True)
    assert flag.holdout.value == "holdout-7"
    assert flag.to_posthog() == data
    edited = replace(flag, holdout={"id": 8, "exclusion_percentage": 5}).to_posthog()
    assert edited["filters"] == {"groups": [], "holdout": {"id": 8, "exclusion_percentage": 5}}


def test_bucketing_by_device_is_read_from_both_places_and_stays_where_it_was():
    for data in (
        {"key": "f", "bucketing_identifier": "device_id", "filters": {"groups": []}},
        {"key": "f", "filters": {"groups": [], "bucketing_identifier": "device_id"}},
    ):
        flag = Flag.from_posthog(data)
        assert flag.bucketing_identifier == "device_id"
        assert replace(flag, active=False).to_posthog() == {**data, "active": False}


def test_a_flag_made_in_python_survives_a_round_trip():
    flag = Flag(
        "f",
        (
            Condition((PropertyFilter("email", "@acme.io", "ends_with"),), 100, "test"),
            Condition(rollout_percentage=5),
        ),
        (Variant("control", 50), Variant("test", 50)),
        payloads={"test": "1"},
        early_exit=True,
        holdout=Holdout(3, 10),
        super_conditions=(Condition((PropertyFilter("$feature_enrollment/f", ["true"]),), 100),),
        feature_enrollment=True,
        bucketing_identifier="device_id",
        aggregation_group_type_index=1,
        ensure_experience_continuity=True,
        name="about f",
        id=4,
        version=2,
        deleted=True,
        extra={"tags": ["a"], "filters": {"future": 1}},
    )
    assert Flag.from_posthog(json.loads(json.dumps(flag.to_posthog()))) == flag


def test_filters_default_to_the_operator_of_their_kind():
    assert PropertyFilter("email", "x").operator == "exact"
    assert PropertyFilter("id", 5, type="cohort").operator == "in"
    assert PropertyFilter("other", True, type="flag").operator == "flag_evaluates_to"
    assert PropertyFilter.from_posthog({"key": "id", "value": 5, "type": "cohort"}).operator == "in"
    assert PropertyFilter.from_posthog({"key": "a", "value": 5, "operator": None}).operator == "exact"


def test_version_two_configurations_are_told_apart():
    assert Flag.from_posthog({"key": "f", "filters": {"version": 2, "rules": []}}).config_version == 2
    assert Flag.from_posthog({"key": "f", "filters": {"rules": []}}).config_version == 2
    assert Flag.from_posthog({"key": "f", "version": 2, "filters": {"groups": []}}).config_version == 1


@pytest.mark.parametrize("source", [
    {"count": 1, "next": None, "results": [API_FLAG]}, [API_FLAG], API_FLAG,
    {"flags": [API_FLAG], "group_type_mapping": {"0": "organization"}, "cohorts": {"98": {}}},
])  # fmt: skip
def test_every_form_of_definitions_is_read_from_memory_and_from_a_file(source, tmp_path):
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(source), encoding="utf-8")
    for flags in (read_flags(source), read_flags(path), read_flags(str(path))):
        assert list(flags) == ["new-checkout"]
        assert flags["new-checkout"].to_posthog() == API_FLAG
    assert read_flags(source).to_posthog()["flags"] == [API_FLAG]


def test_a_deleted_flag_gives_way_to_a_living_one_of_the_same_key():
    dead, living = Flag("f", deleted=True), Flag("f", name="living")
    assert FlagSet([dead, living])["f"] is living
    assert FlagSet([living, dead])["f"] is living
    with pytest.raises(PlanError, match="two flags have the key 'f'"):
        FlagSet([living, living])


def test_a_mistyped_flag_key_names_the_likely_one():
    with pytest.raises(PlanError, match=r"no flag 'new-chekout'; .* Did you mean 'new-checkout'\?"):
        read_flags(API_FLAG)["new-chekout"]


@pytest.mark.parametrize("source, message", [
    ({"results": [], "next": "https://x/?page=2"}, "one page of several"),
    ({"flags": {"a": {"enabled": True}}}, "one person's evaluated flags"),
    ({"featureFlags": {"a": True}}, "one person's evaluated flags"),
    ({"flag": []}, r"holds no flags; .* Did you mean|holds no flags"),
])  # fmt: skip
def test_what_is_not_definitions_is_said_to_be_what_it_is(source, message):
    with pytest.raises(ExportFormatError, match=message):
        read_flags(source)


def test_a_file_that_is_not_json_is_named(tmp_path):
    path = tmp_path / "flags.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ExportFormatError, match=r"flags\.json is not JSON"):
        read_flags(path)


@pytest.mark.parametrize("data, message", [
    ({"filters": {}}, "a flag lacks 'key'"),
    ({"key": "", "filters": {}}, "a flag's key is ''"),
    ({"key": "f", "filters": {"groups": [5]}}, "a condition set is 5; expected a JSON object"),
    ({"key": "f", "filters": {"groups": {}}}, "'groups' is {}; expected a list"),
    ({"key": "f", "filters": {"groups": [{"rollout_percentage": "25"}]}}, "a condition set is '25'"),
    ({"key": "f", "filters": {"multivariate": {"variants": [{"name": "x"}]}}}, "a variant lacks 'key'"),
])  # fmt: skip
def test_definitions_that_cannot_be_meant_are_refused_with_the_place(data, message):
    with pytest.raises(ck.PlanError) as problem:
        Flag.from_posthog(data)
    assert message in str(problem.value)
