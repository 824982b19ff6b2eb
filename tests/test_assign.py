"""Evaluation of flags as the server does it, for whole tables; the SDK's is held against the SDK itself."""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import canarykit as ck
from canarykit.assign.outcome import arms_of
from canarykit.errors import DataError, PlanError, UnsupportedFlagError
from canarykit.flags import Condition, Flag, FlagSet, Holdout, PropertyFilter, Variant

HALVES = (Variant("control", 50), Variant("test", 50))
PRO = PropertyFilter("plan", "pro")


def hash01(text):
    return float(int(hashlib.sha1(text.encode()).hexdigest()[:15], 16)) / float(0xFFFFFFFFFFFFFFF)


def people(count=400, **columns):
    return pd.DataFrame({"distinct_id": [f"user-{i}" for i in range(count)], **columns})


def values(flag, persons, **options):
    return ck.evaluate_flag(flag, persons, **options)["value"].tolist()


def one(flag, options=None, **row):
    return ck.evaluate_flag(flag, pd.DataFrame([{"distinct_id": "u", **row}]), **(options or {})).iloc[0]


def share(percent, *filters, **rest):
    return Condition(filters, percent, **rest)


# --- hashing -------------------------------------------------------------------------------------------


def test_the_rollout_hash_is_sha1_of_key_dot_id_and_inclusive():
    persons = people()
    for percent in (0, 5, 45.5, 99.9):
        expected = [hash01(f"f.{i}") <= percent / 100 for i in persons["distinct_id"]]
        assert values(Flag("f", (share(percent),)), persons) == [str(e).lower() for e in expected]


def test_the_hash_at_the_very_edge_is_in():
    edge = hash01("f.user-7")
    flag = Flag("f", (share(100 * edge),))
    assert 100 * edge / 100 == edge
    under = Flag("f", (share(float(np.nextafter(100 * edge, 0))),))
    for semantics in ("server", "sdk"):
        assert values(flag, people(), semantics=semantics)[7] == "true"
        assert values(under, people(), semantics=semantics)[7] == "false"


def test_everyone_is_in_at_a_hundred_percent_or_without_a_percentage():
    for percent in (100, None):
        assert set(values(Flag("f", (share(percent),)), people())) == {"true"}


def test_variants_are_hashed_with_their_own_salt_in_stored_order_and_strictly():
    flag = Flag("f", (share(60),), (Variant("a", 20), Variant("b", 30), Variant("c", 50)))
    for i, value in zip(people()["distinct_id"], values(flag, people()), strict=True):
        number = hash01(f"f.{i}variant")
        arm = "a" if number < 0.2 else "b" if number < 0.2 + 0.3 else "c"
        assert value == (arm if hash01(f"f.{i}") <= 0.6 else "false")


def test_a_hash_on_the_edge_between_variants_belongs_to_the_second():
    edge = hash01("f.user-3variant")
    flag = Flag("f", (share(100),), (Variant("a", 100 * edge), Variant("b", 100 - 100 * edge)))
    assert 100 * edge / 100 == edge
    assert values(flag, people())[3] == "b"


def test_edges_add_up_as_running_floats_do():
    tens = (*(Variant(f"v{i}", 10) for i in range(3)), Variant("rest", 70))
    edge = 0.1 + 0.1 + 0.1
    assert edge != 0.3
    numbers = np.array([np.nextafter(edge, 0), edge])
    flag = Flag("f", (share(100),), tens)

    def answer(ids, *, prefix, suffix=""):
        return numbers if suffix == "variant" else np.zeros(2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("canarykit.targeting.units.posthog_hash01", answer)
        assert values(flag, people(2)) == ["v2", "rest"]


def test_variants_that_do_not_sum_to_a_hundred_leave_the_rest_with_plain_true():
    flag = Flag("f", (share(100),), (Variant("a", 30), Variant("b", 20)))
    answers = ck.evaluate_flag(flag, people())
    rest = answers["value"] == "true"
    assert 0.4 < rest.mean() < 0.6
    assert answers.loc[rest, "variant"].isna().all()


def test_someone_in_at_a_small_percentage_is_in_at_a_larger_one():
    small, large = (np.array(values(Flag("f", (share(p),)), people())) == "true" for p in (20, 45))
    assert (small <= large).all()
    assert small.sum() < large.sum()


def test_two_sets_of_one_flag_share_the_bucket_so_the_wider_one_decides():
    both = values(Flag("f", (share(10), share(25))), people())
    assert both == values(Flag("f", (share(25),)), people())


def test_ids_are_cut_to_two_hundred_characters_on_the_server_only():
    ids = pd.DataFrame({"distinct_id": ["é" * 200 + "a", "é" * 200 + "b", "é" * 200]})
    flag = Flag("f", (share(50),))
    server = ck.evaluate_flag(flag, ids)["bucket"]
    assert server.nunique() == 1
    assert server[0] == hash01("f." + "é" * 200)
    assert ck.evaluate_flag(flag, ids, semantics="sdk")["bucket"].nunique() == 3


def test_an_empty_id_is_zero_on_the_server_and_hashed_by_the_sdk():
    persons = pd.DataFrame({"distinct_id": [""]})
    flag = Flag("f", (share(0),), HALVES)
    assert values(flag, persons) == ["control"]
    assert values(flag, persons, semantics="sdk") == ["false"]
    assert ck.evaluate_flag(flag, persons, semantics="sdk")["bucket"][0] == hash01("f.")


def test_a_missing_id_is_unknown_never_off():
    answers = ck.evaluate_flag(Flag("f", (share(100),)), pd.DataFrame({"distinct_id": ["a", None]}))
    assert answers["value"].isna().tolist() == [False, True]
    assert answers["reason"].tolist() == ["condition_match", "missing_id"]


def test_integer_ids_with_a_gap_are_not_hashed_as_floats():
    whole = pd.DataFrame({"distinct_id": [42, 7]})
    gap = pd.DataFrame({"distinct_id": [42, None, 7]})
    flag = Flag("f", (share(50),))
    expected = ck.evaluate_flag(flag, whole)["bucket"].tolist()
    assert expected == [hash01("f.42"), hash01("f.7")]
    assert ck.evaluate_flag(flag, gap)["bucket"].dropna().tolist() == expected


def test_the_id_may_be_the_index_and_the_answer_keeps_it():
    persons = people(3).set_index("distinct_id")
    answers = ck.evaluate_flag(Flag("f", (share(50),)), persons)
    assert answers.index.equals(persons.index)
    assert answers["bucket"].tolist() == [hash01(f"f.user-{i}") for i in range(3)]


# --- sets, order, reasons -------------------------------------------------------------------------------


def test_all_filters_of_a_set_must_hold_and_any_set_will_do():
    persons = people(4, plan=["pro", "pro", "free", None], age=[40, 20, 40, 20])
    flag = Flag(
        "f", (share(100, PRO, PropertyFilter("age", 30, "gt")), share(100, PropertyFilter("plan", "free")))
    )
    answers = ck.evaluate_flag(flag, persons)
    assert answers["value"].tolist() == ["true", "false", "true", "false"]
    assert answers["condition"].tolist() == [0, 1, 1, 1]


def test_sets_are_tried_in_stored_order_and_overrides_are_not_sorted_first():
    flag = Flag(
        "f", (share(100), share(100, PRO, variant="test")), (Variant("control", 100), Variant("test", 0))
    )
    assert values(flag, people(1, plan=["pro"])) == ["control"]
    turned = replace(flag, conditions=flag.conditions[::-1])
    assert values(turned, people(2, plan=["pro", "free"])) == ["test", "control"]


def test_an_override_that_is_no_variant_falls_back_to_the_hash():
    plain = Flag("f", (share(100),), HALVES)
    assert values(Flag("f", (share(100, variant="typo"),), HALVES), people()) == values(plain, people())


def test_early_exit_stops_where_the_filters_held_but_the_percentage_left_out():
    sets = (share(0, PRO), share(100))
    persons = people(2, plan=["pro", "free"])
    assert values(Flag("f", sets), persons) == ["true", "true"]
    answers = ck.evaluate_flag(Flag("f", sets, early_exit=True), persons)
    assert answers["value"].tolist() == ["false", "true"]
    assert answers["reason"].tolist() == ["out_of_rollout_bound", "condition_match"]
    assert answers["condition"].tolist() == [0, 1]


def test_early_exit_keeps_the_doubt_of_an_earlier_set_in_the_sdk():
    sets = (share(100, PropertyFilter("plan", "pro")), share(0), share(100))
    answers = ck.evaluate_flag(
        Flag("f", sets, early_exit=True), people(2, plan=["free", None]), semantics="sdk"
    )
    assert answers["value"].isna().tolist() == [False, True]
    assert answers["reason"].tolist() == ["out_of_rollout_bound", "inconclusive"]


@pytest.mark.parametrize("sets, reason, condition", [
    ((share(100, PRO),), "no_condition_match", 0),
    ((share(100, PRO), share(100, PRO)), "no_condition_match", 1),
    ((share(0), share(100, PRO)), "out_of_rollout_bound", 0),
    ((share(0), share(0)), "out_of_rollout_bound", 1),
    ((share(100, aggregation_group_type_index=0), share(100, PRO)), "no_condition_match", 1),
    ((share(100, PRO), share(100, aggregation_group_type_index=0)), "no_condition_match", 0),
    ((share(100, aggregation_group_type_index=0),), "no_group_type", 0),
    ((), "no_group_type", None),
    ((share(100, PRO), share(100)), "condition_match", 1),
])  # fmt: skip
def test_the_most_telling_reason_is_reported_and_of_equals_the_later(sets, reason, condition):
    answer = one(Flag("f", sets), plan="free")
    assert answer["reason"] == reason
    assert (None if pd.isna(answer["condition"]) else answer["condition"]) == condition


def test_a_disabled_or_deleted_flag_is_off_for_that_reason():
    for flag in (Flag("f", (share(100),), active=False), Flag("f", (share(100),), deleted=True)):
        assert one(flag)["value"] == "false"
        assert one(flag)["reason"] == "flag_disabled"


def test_the_first_touch_of_a_property_is_filled_from_the_property_on_the_server():
    flag = Flag("f", (share(100, PropertyFilter("$initial_utm_source", "ad")),))
    persons = people(3, utm_source=["ad", "ad", None], **{"$initial_utm_source": [None, "mail", "ad"]})
    assert values(flag, persons) == ["true", "false", "true"]
    assert values(flag, persons, semantics="sdk")[1:] == ["false", "true"]
    assert pd.isna(values(flag, persons, semantics="sdk")[0])


def test_the_distinct_id_is_a_property_on_the_server():
    flag = Flag("f", (share(100, PropertyFilter("distinct_id", "user-1")),))
    for persons in (people(2), people(2).set_index("distinct_id")):
        assert values(flag, persons) == ["false", "true"]


# --- early access, holdouts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stored, value", [(True, "true"), ("true", "true"), (False, "false"), ("yes", "false"), (None, "false")]
)
def test_an_enrolment_decides_before_everything_else(stored, value):
    flag = Flag("f", (share(100),), feature_enrollment=True, holdout=Holdout(1, 100))
    answer = one(flag, properties={"$feature_enrollment/f": stored})
    assert (answer["value"], answer["reason"], answer["condition"]) == (value, "super_condition_value", 0)


def test_without_an_enrolment_the_sets_decide():
    flag = Flag("f", (share(100),), feature_enrollment=True)
    assert one(flag, properties={})["reason"] == "condition_match"
    assert pd.isna(one(flag, {"semantics": "sdk"}, properties={})["value"])


def test_enrolment_of_another_flag_does_not_count():
    flag = Flag("f", (share(0),), feature_enrollment=True)
    assert one(flag, properties={"$feature_enrollment/g": True})["reason"] == "out_of_rollout_bound"


def test_the_older_form_of_early_access_evaluates_its_first_set_only():
    joined = PropertyFilter("$feature_enrollment/f", ["true"])
    flag = Flag("f", (share(100),), super_conditions=(share(100, joined), share(100)))
    assert one(flag, properties={"$feature_enrollment/f": "true"})["value"] == "true"
    answer = one(flag, properties={"$feature_enrollment/f": "false"})
    assert (answer["value"], answer["reason"]) == ("false", "super_condition_value")
    assert one(flag, properties={})["reason"] == "condition_match"
    partly = replace(flag, super_conditions=(share(0, joined),))
    assert one(partly, properties={"$feature_enrollment/f": "true"})["value"] == "false"
    newer = replace(flag, feature_enrollment=True)
    assert one(newer, properties={"$feature_enrollment/f": "true"})["reason"] == "super_condition_value"


def test_the_newer_form_of_early_access_wins_over_the_older():
    other = PropertyFilter("joined", "yes")
    flag = Flag("f", (share(100),), super_conditions=(share(0, other),), feature_enrollment=True)
    assert one(flag, properties={"joined": "yes"})["reason"] == "condition_match"


@pytest.mark.parametrize("percent, expected", [(30, 0.3), (0, 0.0), (-5, 0.0), (100, 1.0), (250, 1.0)])
def test_a_holdout_hashes_the_bare_id_is_inclusive_and_clamped(percent, expected):
    flag = Flag("f", (share(100),), HALVES, holdout=Holdout(42, percent))
    answers = ck.evaluate_flag(flag, people())
    held_out = [hash01(f"holdout-{i}") <= expected for i in people()["distinct_id"]]
    assert (answers["value"] == "holdout-42").tolist() == held_out
    assert set(answers.loc[held_out, "reason"]) <= {"holdout_condition_value"}
    assert answers.loc[held_out, "condition"].isna().all()


def test_a_hash_at_the_very_edge_of_a_holdout_is_held_out():
    edges = [hash01(f"holdout-user-{i}") for i in range(400)]
    at = next(i for i, edge in enumerate(edges) if 100 * edge / 100 == edge)
    for semantics in ("server", "sdk"):
        flag = Flag("f", (share(100),), holdout=Holdout(1, 100 * edges[at]))
        assert values(flag, people(), semantics=semantics)[at] == "holdout-1"


def test_a_holdout_is_the_same_people_for_every_flag():
    holdout = Holdout(1, 20)
    first, second = (values(Flag(key, (share(50),), holdout=holdout), people()) for key in ("a", "b"))
    held_out = [value == "holdout-1" for value in first]
    assert held_out == [value == "holdout-1" for value in second]
    assert first != second


def test_the_old_form_of_a_holdout_counts_on_the_server_only():
    flag = Flag("f", (share(100),), holdout=Holdout("9", 50, legacy=True))
    assert "holdout-9" in values(flag, people())
    assert set(values(flag, people(), semantics="sdk")) == {"true"}


def test_payloads_go_by_variant_and_an_opt_out_keeps_the_one_of_true():
    flag = Flag("f", (share(50),), payloads={"true": "1", "false": "0"}, feature_enrollment=True)
    rows = pd.DataFrame(
        {"distinct_id": ["a", "b", "c"], "properties": [{"$feature_enrollment/f": False}, {}, {}]}
    )
    server = ck.evaluate_flag(flag, rows, payload=True)
    assert server.loc[0, ["value", "payload"]].tolist() == ["false", "1"]
    on_and_off = ck.evaluate_flag(flag, people(40), payload=True)
    assert set(zip(on_and_off["value"], on_and_off["payload"], strict=True)) == {
        ("true", "1"),
        ("false", None),
    }
    plain = replace(flag, feature_enrollment=False)
    sdk = ck.evaluate_flag(plain, people(40), semantics="sdk", payload=True)
    assert set(zip(sdk["value"], sdk["payload"], strict=True)) == {("true", "1"), ("false", "0")}
    arms = Flag("f", (share(100),), HALVES, payloads={"test": "t"})
    answers = ck.evaluate_flag(arms, people(40), payload=True)
    assert set(zip(answers["value"], answers["payload"], strict=True)) == {("test", "t"), ("control", None)}


# --- groups, devices -----------------------------------------------------------------------------------

MAPPING = {"group_type_mapping": {"0": "organization", "1": "project"}}
GROUPS = {"organization": pd.DataFrame({"group_key": ["acme", "bee"], "tier": ["gold", None]})}


def test_a_group_flag_hashes_the_groups_key_and_takes_the_whole_group():
    persons = people(60, **{"$group_0": ["acme", "bee", "cat"] * 20})
    answers = ck.evaluate_flag(Flag("f", (share(50),), aggregation_group_type_index=0), persons, **MAPPING)
    assert answers["bucket"].tolist() == [hash01(f"f.{key}") for key in persons["$group_0"]]
    assert answers["value"].groupby(persons["$group_0"]).nunique().eq(1).all()


def test_a_group_flag_reads_the_groups_properties_and_numbers_as_plain_decimals():
    gold = PropertyFilter("tier", "gold", type="group", group_type_index=0)
    flag = Flag("f", (share(100, gold),), aggregation_group_type_index=0)
    persons = people(4, **{"$group_0": ["acme", "bee", "unheard", None]})
    answers = ck.evaluate_flag(flag, persons, groups=GROUPS, **MAPPING)
    assert answers["value"].tolist() == ["true", "false", "false", "false"]
    assert answers["reason"].tolist() == ["condition_match", *["no_condition_match"] * 2, "no_group_type"]
    numbered = ck.evaluate_flag(
        Flag("f", (share(50),), aggregation_group_type_index=0), people(1, organization=[42]), **MAPPING
    )
    assert numbered["bucket"][0] == hash01("f.42")


def test_the_column_of_a_group_type_may_be_named():
    flag = Flag("f", (share(50),), aggregation_group_type_index=0)
    answers = ck.evaluate_flag(
        flag, people(1, org=["acme"]), group_columns={"organization": "org"}, **MAPPING
    )
    assert answers["bucket"][0] == hash01("f.acme")
    with pytest.raises(
        DataError, match=r"the organization of each row is read from 'orgg'; .*Did you mean 'org'"
    ):
        ck.evaluate_flag(flag, people(1, org=["acme"]), group_columns={"organization": "orgg"}, **MAPPING)


def test_a_set_may_hash_groups_while_the_flag_hashes_people():
    mixed = Flag("f", (share(50, aggregation_group_type_index=0), share(50)), HALVES)
    persons = people(200, **{"$group_0": ["acme", "bee", None, ""] * 50})
    answers = ck.evaluate_flag(mixed, persons, **MAPPING)
    for row, person in zip(answers.itertuples(), persons.itertuples(), strict=True):
        group = person[2]
        by_group = isinstance(group, str) and group != "" and hash01(f"f.{group}") <= 0.5
        unit = group if by_group else person.distinct_id
        expected = by_group or hash01(f"f.{unit}") <= 0.5
        arm = "control" if hash01(f"f.{unit}variant") < 0.5 else "test"
        assert row.value == (arm if expected else "false")
        if expected:
            assert row.bucket == hash01(f"f.{unit}")


def test_a_set_may_hash_people_while_the_flag_hashes_groups():
    flag = Flag("f", (share(50, aggregation_group_type_index=None),), aggregation_group_type_index=0)
    answers = ck.evaluate_flag(flag, people(50, **{"$group_0": ["acme"] * 50}), **MAPPING)
    assert (answers["value"] == "true").tolist() == [hash01(f"f.user-{i}") <= 0.5 for i in range(50)]


def test_person_and_group_filters_meet_in_one_set():
    gold = PropertyFilter("tier", "gold", type="group", group_type_index=0)
    persons = people(3, plan=["pro", "free", "pro"], **{"$group_0": ["acme", "acme", "bee"]})
    given = values(Flag("f", (share(100, gold, PRO),)), persons, groups=GROUPS, **MAPPING)
    assert given == ["true", "false", "false"]


def test_a_group_filter_without_an_index_takes_the_sets_group_type():
    gold = PropertyFilter("tier", "gold", type="group")
    persons = people(1, **{"$group_0": ["acme"]})
    assert values(
        Flag("f", (share(100, gold, aggregation_group_type_index=0),)), persons, groups=GROUPS, **MAPPING
    ) == ["true"]
    assert values(Flag("f", (share(100, gold),)), persons, groups=GROUPS, **MAPPING) == ["false"]


def test_the_key_of_a_group_is_one_of_its_properties():
    item = PropertyFilter("$group_key", "acme", type="group", group_type_index=0)
    flag = Flag("f", (share(100, item),))
    assert values(flag, people(2, **{"$group_0": ["acme", "bee"]}), groups=GROUPS, **MAPPING) == [
        "true",
        "false",
    ]


def test_two_rows_for_one_group_are_refused():
    twice = {"organization": pd.concat([GROUPS["organization"]] * 2)}
    with pytest.raises(DataError, match="two rows of groups"):
        values(Flag("f", (share(50),)), people(1, **{"$group_0": ["acme"]}), groups=twice, **MAPPING)


def test_device_bucketing_hashes_the_device_and_skips_people_without_one():
    flag = Flag("f", (share(50),), bucketing_identifier="device_id")
    persons = people(4, **{"$device_id": ["d1", "d1", None, ""]})
    answers = ck.evaluate_flag(flag, persons)
    assert answers["bucket"].tolist()[:2] == [hash01("f.d1")] * 2
    assert answers["value"].tolist()[2:] == ["false", "false"]
    assert answers["reason"].tolist()[2:] == ["out_of_rollout_bound"] * 2
    assert ck.evaluate_flag(flag, persons, semantics="sdk")["value"].isna().tolist() == [
        False,
        False,
        True,
        True,
    ]
    full = replace(flag, conditions=(share(100),))
    assert values(full, people(2)) == ["false", "false"]


def test_group_sets_ignore_the_device():
    flag = Flag("f", (share(50),), aggregation_group_type_index=0, bucketing_identifier="device_id")
    answers = ck.evaluate_flag(flag, people(1, **{"$group_0": ["acme"], "$device_id": ["d1"]}), **MAPPING)
    assert answers["bucket"][0] == hash01("f.acme")


def test_a_holdout_of_a_device_flag_falls_back_to_the_person():
    flag = Flag("f", (share(100),), bucketing_identifier="device_id", holdout=Holdout(1, 50))
    held_out = [value == "holdout-1" for value in values(flag, people(50))]
    assert held_out == [hash01(f"holdout-user-{i}") <= 0.5 for i in range(50)]
    some = people(50, **{"$device_id": ["d1", None] * 25})
    held_out = [value == "holdout-1" for value in values(flag, some)]
    units = [f"user-{i}" if i % 2 else "d1" for i in range(50)]
    assert held_out == [hash01(f"holdout-{unit}") <= 0.5 for unit in units]


# --- cohorts -------------------------------------------------------------------------------------------


def in_cohort(number, operator="in"):
    return PropertyFilter("id", number, operator, type="cohort")


NESTED = {
    "1": {"type": "OR", "values": [{"type": "AND", "values": [
        {"key": "plan", "type": "person", "value": "pro"},
        {"key": "country", "type": "person", "value": "US", "operator": "exact", "negation": True}]},
        {"key": "id", "type": "cohort", "value": 2}]},
    "2": {"type": "AND", "values": [{"key": "vip", "type": "person", "value": "true"}]},
    "3": {"type": "AND", "values": [{"key": "id", "type": "cohort", "value": 2, "negation": True}]},
    "4": {}, "5": {"type": "AND", "values": []},
}  # fmt: skip


@pytest.mark.parametrize("number, operator, expected", [
    (1, "in", "tfttf"), (1, "not_in", "ftfft"), (2, "in", "fftff"), (3, "in", "ttftt"), (4, "in", "ttttt"),
    (5, "in", "ttttt"), (1, "exact", "fffff"), (2, "gt", "fffff"),
])  # fmt: skip
def test_cohorts_nest_and_negate(number, operator, expected):
    persons = people(5, plan=["pro", "pro", "free", "pro", None], country=["DE", "US", "US", None, "DE"],
                     vip=[None, False, True, False, None])  # fmt: skip
    persons["vip"] = persons["vip"].astype("boolean")
    given = values(Flag("f", (share(100, in_cohort(number, operator)),)), persons, cohorts=NESTED)
    assert "".join(value[0] for value in given) == expected


def test_exact_is_in_for_cohorts_of_the_sdk_and_nobody_on_the_server():
    flag = Flag("f", (share(100, in_cohort(2, "exact")),))
    persons = people(2, vip=["true", "no"])
    assert values(flag, persons, cohorts=NESTED, semantics="sdk") == ["true", "false"]
    assert values(flag, persons, cohorts=NESTED) == ["false", "false"]


def test_who_is_in_a_static_cohort_is_unknown_until_its_members_are_given():
    flag = Flag("f", (share(100, PRO, in_cohort(9)), share(100, PropertyFilter("plan", "free"))))
    persons = people(3, plan=["pro", "free", None])
    unknown = ck.evaluate_flag(flag, persons)
    assert unknown["value"].astype(object).where(unknown["value"].notna(), None).tolist() == [
        None,
        "true",
        "false",
    ]
    assert unknown["reason"].tolist()[0] == "inconclusive"
    assert values(flag, persons, cohorts={9: ["user-0"]}) == ["true", "true", "false"]
    assert values(flag, persons, cohorts={9: []}) == ["false", "true", "false"]


def test_an_unknown_cohort_does_not_matter_to_those_the_percentage_leaves_out():
    flag = Flag("f", (share(0, in_cohort(9)),))
    assert set(values(flag, people())) == {"false"}


def test_a_cohort_that_contains_itself_is_unknown():
    loop = {"1": {"type": "AND", "values": [{"key": "id", "type": "cohort", "value": 1}]}}
    for semantics in ("server", "sdk"):
        given = values(Flag("f", (share(100, in_cohort(1)),)), people(1), cohorts=loop, semantics=semantics)
        assert pd.isna(given[0])


# --- dependencies --------------------------------------------------------------------------------------


def depends(key, value=True, **rest):
    return PropertyFilter(key, value, type="flag", **rest)


def flag_set(*flags):
    return FlagSet(flags)


@pytest.mark.parametrize("expected, answer", [
    (True, "tt"), (False, "ff"), ("test", "ft"), ("control", "tf"), ("Test", "ff"), (1, "ff"),
    ("true", "ff"), (None, "ff"),
])  # fmt: skip
def test_a_dependency_compares_the_value_true_standing_for_any_variant(expected, answer):
    base = Flag("base", (share(100, PRO, variant="test"), share(100, variant="control")), HALVES)
    flag = Flag("f", (share(100, depends("base", expected)),))
    persons = people(2, plan=["free", "pro"])
    assert "".join(v[0] for v in values(flag, persons, flags=flag_set(base, flag))) == answer


def test_a_dependency_on_false_holds_where_the_other_flag_is_off():
    base, flag = Flag("base", (share(50),)), Flag("f", (share(100, depends("base", False)),))
    off, on = (values(one_flag, people(), flags=flag_set(base, flag)) for one_flag in (base, flag))
    assert [a != b for a, b in zip(off, on, strict=True)] == [True] * 400


def test_a_dependency_on_a_disabled_flag_sees_it_off():
    base = Flag("base", (share(100, depends("gone")),), active=False)
    flag = Flag("f", (share(100, depends("base", False)),))
    assert one(flag, {"flags": flag_set(base, flag)})["value"] == "true"


@pytest.mark.parametrize("flags", [
    [Flag("f", (share(100, depends("gone")), share(100)))],
    [Flag("f", (share(100), share(100, depends("a")))), Flag("a", (share(100, depends("gone")),))],
    [Flag("f", (share(100, depends("f")),))],
    [Flag("f", (share(100, depends("a")),)), Flag("a", (share(100, depends("b")),)), Flag("b", (share(100,
    depends("a")),))],
])  # fmt: skip
def test_a_missing_or_circular_dependency_turns_the_flag_off_however_deep_it_lies(flags):
    answer = one(flags[0], {"flags": FlagSet(flags)})
    assert (answer["value"], answer["reason"]) == ("false", "missing_dependency")
    assert pd.isna(answer["condition"])


def test_a_dependency_is_found_by_id_in_the_stored_form_and_by_key_in_the_evaluated_one():
    base, numbered = Flag("base", (share(100),), id=7), Flag("7", (share(0),), id=8)
    stored = Flag("f", (share(100, depends("7")),))
    evaluated = Flag("f", (share(100, depends("7", extra={"dependency_chain": ["7"]})),))
    flags = flag_set(base, numbered)
    assert one(stored, {"flags": flags})["value"] == "true"
    assert one(evaluated, {"flags": flags})["value"] == "false"


def test_an_empty_chain_is_circular_for_the_sdk_even_where_the_value_is_known():
    base = Flag("base", (share(100),))
    dependent = depends("base", False, extra={"dependency_chain": ["base"]})
    circular = depends("base", True, extra={"dependency_chain": []})
    flag = Flag("f", (share(100, dependent), share(100, circular)))
    assert pd.isna(one(flag, {"flags": flag_set(base, flag), "semantics": "sdk"})["value"])


def test_a_dependency_the_sdk_cannot_decide_leaves_the_flag_undecided():
    base = Flag("base", (share(100, PRO),))
    chain = {"dependency_chain": ["base"]}
    flag = Flag(
        "f", (share(100, depends("base", False, extra=chain)), share(0, depends("base", extra=chain)))
    )
    given = values(flag, people(2, plan=["free", None]), flags=flag_set(base, flag), semantics="sdk")
    assert given[0] == "true"
    assert pd.isna(given[1])
    elsewhere = PropertyFilter("country", "XX")  # rules the first set out after its dependency was tried
    asks = depends("base", extra=chain)
    again = Flag("f", (share(100, asks, elsewhere), share(100, asks)))
    persons = people(1, plan=[None], country=["DE"])
    assert pd.isna(values(again, persons, flags=flag_set(base, again), semantics="sdk")[0])


def test_a_dependency_with_another_operator_never_holds():
    base, flag = Flag("base", (share(100),)), Flag("f", (share(100, depends("base", operator="exact")),))
    for semantics in ("server", "sdk"):
        assert one(flag, {"flags": flag_set(base, flag), "semantics": semantics})["value"] == "false"


# --- what is refused -----------------------------------------------------------------------------------


def test_a_version_two_configuration_is_refused_and_the_message_says_what_to_do():
    flag = Flag.from_posthog({"key": "f", "filters": {"version": 2, "rules": []}})
    for semantics in ("server", "sdk"):
        with pytest.raises(UnsupportedFlagError, match=r"version 2 configuration.*use the observed values"):
            values(flag, people(1), semantics=semantics)


def test_experience_continuity_is_refused_on_the_server_and_undecided_by_the_sdk():
    flag = Flag("f", (share(100),), ensure_experience_continuity=True)
    with pytest.raises(
        UnsupportedFlagError, match=r"keeps its value across login.*observed values.*device id"
    ):
        values(flag, people(1))
    assert pd.isna(values(flag, people(1), semantics="sdk")[0])
    assert values(replace(flag, active=False), people(1)) == ["false"]
    with pytest.raises(UnsupportedFlagError, match="'f' keeps"):
        values(Flag("g", (share(100, depends("f")),)), people(1), flags=flag_set(flag))


def test_a_frame_without_the_id_says_what_is_there():
    with pytest.raises(
        DataError, match=r"read from 'distinct_id'; there is \['distinctid'\]. Did you mean 'distinctid'\?"
    ):
        values(Flag("f"), pd.DataFrame({"distinctid": ["a"]}))


def test_a_mistyped_semantics_names_the_likely_one():
    with pytest.raises(PlanError, match=r"semantics is 'sever'; .* Did you mean 'server'\?"):
        values(Flag("f"), people(1), semantics="sever")


def test_an_empty_table_is_an_empty_answer():
    for semantics in ("server", "sdk"):
        answers = ck.evaluate_flag(
            Flag("f", (share(50, PRO),), HALVES), people(0, plan=[]), semantics=semantics
        )
        assert answers.empty
        assert list(answers.columns) == ["value", "variant", "reason", "condition", "bucket"]


# --- shards, size --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large():
    rng = np.random.default_rng(1)
    ids = pd.Series(np.arange(120_000)).astype(str)
    domain = pd.Series(rng.choice(["@acme.io", "@else.org", "@münchen.de"], len(ids)))
    return pd.DataFrame({
        "distinct_id": "user-" + ids, "email": "P" + ids + domain, "age": rng.integers(18, 90, len(ids)),
        "plan": pd.Series(rng.choice(["free", "pro", None], len(ids))),
        "joined": pd.Series(np.datetime64("2026-01-01") + rng.integers(0, 10**7,
        len(ids)).astype("timedelta64[s]")).dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "unused": 1,
    })  # fmt: skip


LARGE_FLAG = Flag(
    "f",
    (
        share(100, PropertyFilter("email", "@ACME.io", "ends_with"), PropertyFilter("joined", "2026-03-01",
        "is_date_after")),
        share(50, PropertyFilter("plan", ["Pro", "x"]), PropertyFilter("age", 30, "gt")),
        share(100, PropertyFilter("email", "p77@münchen.de")),
        share(10),
    ),
    HALVES,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("semantics", ["server", "sdk"])
def test_a_large_table_answers_as_its_rows_do_in_small_ones(large, semantics):
    options = {"semantics": semantics, "as_of": "2026-09-10T00:00:00Z"}
    whole = ck.evaluate_flag(LARGE_FLAG, large, **options)
    rows = np.random.default_rng(2).choice(len(large), 3_000, replace=False)
    few = ck.evaluate_flag(LARGE_FLAG, large.iloc[rows], **options)
    pd.testing.assert_frame_equal(whole.iloc[rows], few)
    assert whole["value"].iloc[77] in ("control", "test") or large["email"].iloc[77] != "P77@münchen.de"


def test_persons_on_disk_in_arrow_or_in_chunks_are_assigned_by_the_same_code(large, tmp_path):
    table = large.head(5_000)
    table.to_parquet(tmp_path / "persons.parquet", index=False)
    expected = ck.evaluate_flag(LARGE_FLAG, table).assign(distinct_id=table["distinct_id"])
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    sources = [
        tmp_path / "persons.parquet", str(tmp_path / "*.parquet"), arrow,
        iter(arrow.to_batches(max_chunksize=700)),
        (table.iloc[at : at + 900] for at in range(0, len(table), 900)),
    ]  # fmt: skip
    for source in sources:
        answers = ck.evaluate_flag(LARGE_FLAG, source)
        pd.testing.assert_frame_equal(answers[expected.columns], expected, check_categorical=False)


@pytest.mark.filterwarnings("ignore")  # PySpark warns of pandas 3 at every turn
def test_persons_in_spark_are_assigned_by_the_same_code(spark, large):
    table = large.head(200)
    expected = ck.evaluate_flag(LARGE_FLAG, table)
    answers = ck.evaluate_flag(LARGE_FLAG, spark.createDataFrame(table)).collect()
    assert [row["value"] for row in answers] == expected["value"].tolist()
    assert [row["condition"] for row in answers] == expected["condition"].tolist()
    assert [row["bucket"] for row in answers] == expected["bucket"].tolist()


@pytest.mark.parametrize(
    "source, message",
    [("nowhere.parquet", "cannot be read as Parquet"), (5, "persons is int"), ([], "holds no rows")],
)
def test_a_source_that_cannot_be_read_is_named(source, message):
    with pytest.raises(DataError, match=message):
        ck.evaluate_flag(LARGE_FLAG, source)


# --- stages --------------------------------------------------------------------------------------------


def five_stages(**options):
    return ck.RolloutPlan.five_stages("new-checkout", owner="ada@acme.io", team_domain="acme.io", **options)


def test_whoever_is_in_at_a_stage_stays_in():
    emails = ["ada@acme.io", "bob@acme.io", "eve@acme.io.evil.com"] + [f"p{i}@else.org" for i in range(597)]
    plan = five_stages(beta_domains=("beta.org",))
    cohorts = ck.assign_cohorts(people(600, email=emails), plan)
    is_in = np.array([[value == "true" for value in cohorts[name]] for name in plan.stage_names])
    assert (np.diff(is_in.astype(int), axis=0) >= 0).all()
    assert cohorts["entry_stage"].tolist()[:2] == ["just yourself", "internal team"]
    assert cohorts["entry_stage"][2] not in ("just yourself", "internal team", "beta")
    assert is_in[-1].all()
    assert cohorts["bucket"][5] == hash01("new-checkout.user-5")
    ramp = cohorts["entry_stage"] == "expanded beta 25%"
    assert cohorts.loc[ramp, "bucket"].between(0.05, 0.25).all()


def test_with_variants_the_entry_is_the_first_stage_with_the_canary():
    plan = five_stages(variants=HALVES, ramp=(20,))
    cohorts = ck.assign_cohorts(people(300, email=["x@y.org"] * 300), plan)
    entered = cohorts["entry_stage"] == "expanded beta 20%"
    assert set(cohorts.loc[entered, "expanded beta 20%"]) == {"test"}
    assert "control" in set(cohorts["expanded beta 20%"])
    assert set(cohorts["full release"]) == {"test"}


def test_people_a_plan_never_reaches_have_no_entry_stage():
    plan = ck.RolloutPlan("f", (ck.Stage.for_share("ramp", 10),))
    cohorts = ck.assign_cohorts(people(100), plan)
    assert cohorts["entry_stage"].isna().sum() == (cohorts["ramp"] == "false").sum() > 50


def test_every_arm_has_a_name():
    flag = Flag("f", (), HALVES, holdout=Holdout(3, 5))
    assert arms_of(flag) == ["false", "true", "control", "test", "holdout-3"]


@pytest.mark.slow
def test_a_column_long_enough_for_two_threads_gives_every_row_the_answer_of_one(monkeypatch):
    from canarykit import parallel

    ids = [f"person {number}" for number in range(120_001)]
    mails = [("x@acme.io", "Y@ACME.IO", "z@example.org", None)[number % 4] for number in range(len(ids))]
    persons = pd.DataFrame({"distinct_id": ids, "email": mails})
    sets = (
        Condition((PropertyFilter("email", "@acme.io", "icontains"),), 30),
        Condition((PropertyFilter("email", "z@example.org"),), 70),
    )
    flag = Flag("f", sets, (Variant("control", 50), Variant("test", 50)))
    alone = ck.evaluate_flag(flag, persons)
    monkeypatch.setattr(parallel, "THREADS_FROM", 1000)
    pd.testing.assert_frame_equal(ck.evaluate_flag(flag, persons), alone)
