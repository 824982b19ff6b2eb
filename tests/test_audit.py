"""The audit of assignment: agreement where the rules were followed,
and the right reason where they were not."""

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.audit import expected_shares
from canarykit.errors import DataError
from canarykit.flags import Condition, Flag, Holdout, PropertyFilter, Variant

HALVES = (Variant("control", 50), Variant("test", 50))
TEAM = PropertyFilter("email", "@acme.io", "ends_with")
FLAG = Flag("f", (Condition((TEAM,), 100, "test"), Condition((), 40)), HALVES, holdout=Holdout(3, 5))
IDS = [f"user-{i}" for i in range(500)]
PERSONS = pd.DataFrame({
    "person_id": IDS, "distinct_id": IDS,
    "email": [f"p{i}@{'acme.io' if i % 25 == 0 else 'else.org'}" for i in range(500)],
})  # fmt: skip


def log_of(values, ids=None, persons=PERSONS, at="2026-09-10T00:00:00Z", **columns):
    ids = list(PERSONS["distinct_id"]) if ids is None else ids
    frame = pd.DataFrame({
        "event": "$feature_flag_called", "timestamp": pd.date_range(at, periods=len(ids), freq="min"),
        "distinct_id": ids, "$feature_flag": "f", "$feature_flag_response": pd.Series(values,
        dtype=object), **columns,
    })  # fmt: skip
    return ck.EventLog(frame, persons=persons)


def by_rule(flag=FLAG, persons=PERSONS):
    return ck.evaluate_flag(flag, persons)["value"].astype(object).tolist()


def test_a_log_made_by_the_rules_agrees_with_them_entirely():
    audit = ck.audit_assignment(log_of(by_rule()), FLAG)
    assert audit.agreement == 1.0
    assert audit.mismatches.empty
    assert audit.flips == 0
    assert repr(audit).startswith("f: 100 % of the evaluations of 500 people agree with the rules.")


def test_values_that_break_the_rules_are_found_with_their_reason():
    values, rules = by_rule(), ck.evaluate_flag(FLAG, PERSONS)
    at = {
        "overridden or targeted": rules.index[rules["condition"] == 0][0],
        "held out": rules.index[rules["reason"] == "holdout_condition_value"][0],
        "other bucket than the rules say": rules.index[rules["value"] == "false"][0],
        "unknown value": rules.index[rules["value"] == "control"][0],
    }
    for row in at.values():
        values[row] = "control" if values[row] != "control" else None
    audit = ck.audit_assignment(log_of(values), FLAG)
    reasons = audit.people.set_index("distinct_id")["reason"]
    assert {reason: reasons[f"user-{row}"] for reason, row in at.items()} == {reason: reason for reason in at}
    assert (reasons == "agrees").sum() == 496
    assert audit.agreement == 496 / 499  # unknown values are neither right nor wrong


def test_an_opt_out_that_still_had_the_feature_is_put_down_to_enrolment():
    flag = Flag("f", (Condition((), 100),), feature_enrollment=True)
    persons = PERSONS.assign(**{"$feature_enrollment/f": [False] + [None] * 499})
    audit = ck.audit_assignment(log_of(["true"] * 500, persons=persons), flag)
    assert audit.mismatches["reason"].tolist() == ["enrolled or opted out"]


def test_a_value_given_under_an_earlier_id_is_told_from_a_wrong_bucket():
    flag = Flag("f", (Condition((), 50),))
    values = dict(zip(IDS, by_rule(flag), strict=True))
    anonymous = next(i for i in IDS if values[i] == "true")
    without = next(i for i in IDS if values[i] == "false")
    persons = PERSONS.assign(person_id=["same" if i in (anonymous, without) else i for i in IDS])
    log = log_of(["true", "true"], [anonymous, without], persons)  # the browser kept its first value
    audit = ck.audit_assignment(log, flag)
    assert audit.people.set_index("distinct_id")["reason"].to_dict() == {
        anonymous: "agrees", without: "evaluated before the id was known",
    }  # fmt: skip


def test_flips_are_counted_and_those_at_login_apart():
    flag = Flag("f", (Condition((), 50),))
    values = dict(zip(IDS, by_rule(flag), strict=True))
    on, off = (next(i for i in IDS if values[i] == value) for value in ("true", "false"))
    other = next(i for i in IDS if values[i] == "true" and i != on)
    persons = PERSONS.assign(person_id=["same" if i in (on, off) else i for i in IDS])
    log = log_of(["true", "false", "true", "false"], [on, off, other, other], persons)
    audit = ck.audit_assignment(log, flag)
    assert (audit.flips, audit.flips_at_login) == (2, 1)
    assert "people saw several values under one definition" in repr(audit)


def test_with_a_plan_each_evaluation_is_held_against_its_stage():
    stages = (ck.Stage.for_share("small", 10), ck.Stage.for_share("large", 60))
    plan = ck.RolloutPlan("f", stages).with_windows(
        {"small": "2026-09-10T00:00:00Z", "large": ("2026-09-11T00:00:00Z", "2026-09-12T00:00:00Z")}
    )
    small, large = (by_rule(plan.flag_at(name)) for name in ("small", "large"))
    assert small != large
    good = ck.EventLog(
        pd.concat([log_of(small).frame, log_of(large, at="2026-09-11T00:00:00Z").frame]), persons=PERSONS
    )
    assert ck.audit_assignment(good, plan).agreement == 1.0
    late = log_of(small, at="2026-09-11T00:00:00Z")  # clients that had not heard of the change
    assert set(ck.audit_assignment(late, plan).mismatches["reason"]) == {"kept from an earlier definition"}
    early = ck.audit_assignment(log_of(large), plan)
    assert set(early.mismatches["reason"]) == {"given by a later definition"}
    outside = ck.EventLog(
        pd.concat([log_of(small).frame, log_of(small, at="2026-09-01T00:00:00Z").frame]), persons=PERSONS
    )
    assert [note.count for note in ck.audit_assignment(outside, plan).notes if note.code == "outside"] == [
        500
    ]


def test_without_properties_the_targeted_are_not_called_wrong_buckets():
    audit = ck.audit_assignment(log_of(by_rule(), persons=None), FLAG)
    assert set(audit.mismatches["reason"]) == {"no properties known"}


def test_events_that_carry_the_value_are_read_where_no_call_was_logged():
    frame = log_of(by_rule()).frame.assign(event="$pageview", **{"$feature/f": by_rule()})
    log = ck.EventLog(frame.drop(columns=["$feature_flag", "$feature_flag_response"]), persons=PERSONS)
    assert ck.audit_assignment(log, FLAG).agreement == 1.0


def test_groups_are_read_from_the_events_and_the_groups_export():
    gold = PropertyFilter("tier", "gold", type="group", group_type_index=0)
    flag = Flag("f", (Condition((gold,), 50, aggregation_group_type_index=0),))
    groups = pd.DataFrame(
        {"group_type_index": 0, "group_key": [f"g{i}" for i in range(20)], "tier": ["gold", "tin"] * 10}
    )
    keys = [f"g{i % 20}" for i in range(500)]
    options = {"group_type_mapping": {"0": "organization"}, "groups": {"organization": groups}}
    values = ck.evaluate_flag(flag, PERSONS.assign(**{"$group_0": keys}), **options)["value"].astype(object)
    assert values.nunique() == 2
    log = log_of(values.tolist(), **{"$group_0": keys})
    assert ck.audit_assignment(ck.EventLog(log.frame, persons=PERSONS, groups=groups), flag).agreement == 1.0


@pytest.mark.parametrize("flag, shares", [
    (Flag("f", (Condition((), 40),)), {"false": 0.6, "true": 0.4}),
    (Flag("f", (Condition((), 40), Condition((), 25))), {"false": 0.6, "true": 0.4}),
    (Flag("f", (Condition((), 20, "test"), Condition((), 60)), HALVES), {"false": 0.4, "test": 0.4,
    "control": 0.2}),
    (Flag("f", (Condition((), 100),), (Variant("a", 30), Variant("b", 20))), {"a": 0.3, "b": 0.2,
    "true": 0.5}),
    (Flag("f", (Condition((TEAM,), 100), Condition((), 10))), {"false": 0.9, "true": 0.1}),
    (Flag("f", (Condition((), 20), Condition((), 60)), early_exit=True), {"false": 0.8, "true": 0.2}),
    (Flag("f", (Condition((), 100),), (Variant("a", 80), Variant("b", 40))), {"a": 0.8, "b": 0.2}),
])  # fmt: skip
def test_expected_shares_follow_from_the_rules(flag, shares):
    expected = expected_shares(flag)
    assert expected == pytest.approx(shares)
    ids = pd.DataFrame({"distinct_id": np.arange(20_000)})
    seen = ck.evaluate_flag(flag, ids)["value"].value_counts(normalize=True)
    assert seen.to_dict() == pytest.approx(shares, abs=0.012)


def test_shares_of_the_randomised_are_checked_without_team_and_holdout():
    check = ck.audit_assignment(log_of(by_rule()), FLAG).shares[0]
    assert dict(zip(check.arms, check.expected, strict=True)) == pytest.approx(
        {"false": 0.6, "control": 0.2, "test": 0.2}
    )
    assert sum(check.observed) < 500 - 20
    assert check.p_value > 0.01
    skewed = ck.audit_assignment(log_of(["test" if v == "control" else v for v in by_rule()]), FLAG).shares[0]
    assert skewed.p_value < 1e-6


def test_the_picture_draws_expected_and_observed():
    audit = ck.audit_assignment(log_of(by_rule()), FLAG)
    ax = audit.plot()
    assert len(ax.patches) == 3
    assert "100.0%" in ax.get_title(loc="left") + ax.get_title()
    ax.figure.clear()


def test_a_flag_nobody_asked_for_is_named():
    with pytest.raises(DataError, match="no event carries flag 'g'"):
        ck.audit_assignment(log_of(by_rule()), Flag("g", (Condition((), 50),)))
