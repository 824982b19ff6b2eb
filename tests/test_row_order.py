"""A table's rows answer for themselves: whatever its index says, whatever order it is in, on every pandas."""

import numpy as np
import pandas as pd
import pytest

import canarykit as ck

PERSONS = pd.DataFrame(
    {
        "distinct_id": [f"user-{i}" for i in range(60)],
        "email": [f"user-{i}@{'acme.io' if i % 7 == 0 else 'else.io'}" for i in range(60)],
        "plan": ["pro", "free", None] * 20,
        "$group_0": [f"org-{i % 5}" for i in range(60)],
    }
)
GROUPS = pd.DataFrame({"group_key": [f"org-{i}" for i in range(5)], "size": [1, 20, 300, 4, 50]})
FLAG = ck.Flag(
    "f",
    (
        ck.Condition((ck.PropertyFilter("plan", "pro"),), rollout_percentage=60),
        ck.Condition((ck.PropertyFilter("size", 10, "gt", type="group", group_type_index=0),)),
    ),
    (ck.Variant("a", 50), ck.Variant("b", 50)),
    payloads={"a": 1, "b": 2},
)
PLAN = ck.RolloutPlan.five_stages("new-checkout", owner="user-7@acme.io", team_domain="acme.io")

TABLES = {
    "reversed": lambda frame: frame.iloc[::-1],
    "sorted": lambda frame: frame.sort_values(frame.columns[-1], ascending=False),
    "filtered": lambda frame: frame[frame.index % 3 != 1],
    "sampled": lambda frame: frame.sample(frac=0.7, random_state=3),
    "indexed by text": lambda frame: frame.set_axis([f"row {i}" for i in range(len(frame))], axis=0),
    "indexed by time": lambda frame: frame.set_axis(
        pd.date_range("2026-09-07", periods=len(frame), tz="UTC"), axis=0
    ),
    "with labels that repeat": lambda frame: frame.set_axis(np.arange(len(frame)) // 2, axis=0),
    "with labels shifted by one": lambda frame: frame.set_axis(np.arange(len(frame)) + 1, axis=0),
}


@pytest.fixture(params=TABLES, ids=lambda name: name.replace(" ", "-"))
def arranged(request):
    return TABLES[request.param]


def same_rows(answer, expected, ids):
    """The answer of each person is that of the plain table, and the labels are the caller's."""
    by_id = expected.set_axis(pd.Index(PERSONS["distinct_id"]), axis=0).loc[list(ids)]
    pd.testing.assert_frame_equal(answer.reset_index(drop=True), by_id.reset_index(drop=True))


@pytest.mark.parametrize("semantics", ["server", "sdk"])
def test_a_flag_answers_for_the_person_of_the_row(arranged, semantics):
    options = {
        "groups": {"company": GROUPS}, "group_type_mapping": {0: "company"}, "payload": True,
        "semantics": semantics,
    }  # fmt: skip
    persons = arranged(PERSONS)
    answers = ck.evaluate_flag(FLAG, persons, **options)
    assert answers.index.equals(persons.index)
    assert {"a", "b"} <= set(answers["value"])
    same_rows(answers, ck.evaluate_flag(FLAG, PERSONS, **options), persons["distinct_id"])


def test_a_flag_finds_the_groups_wherever_they_stand(arranged):
    options = {"group_type_mapping": {0: "company"}}
    groups = arranged(GROUPS)
    kept = PERSONS[PERSONS["$group_0"].isin(groups["group_key"])]
    answers = ck.evaluate_flag(FLAG, kept, groups={"company": groups}, **options)
    whole = ck.evaluate_flag(FLAG, kept, groups={"company": GROUPS}, **options)
    pd.testing.assert_frame_equal(answers, whole)


def test_persons_indexed_by_their_id_answer_for_themselves():
    answers = ck.evaluate_flag(FLAG, PERSONS.drop(columns="$group_0").set_index("distinct_id"))
    whole = ck.evaluate_flag(FLAG, PERSONS.drop(columns="$group_0"))
    pd.testing.assert_frame_equal(answers.reset_index(drop=True), whole)
    assert answers.index.tolist() == PERSONS["distinct_id"].tolist()


def test_a_cohort_is_of_the_person_of_the_row(arranged):
    persons = arranged(PERSONS)
    cohorts = ck.assign_cohorts(persons, PLAN)
    assert cohorts.index.equals(persons.index)
    assert cohorts["entry_stage"].notna().all()
    same_rows(cohorts, ck.assign_cohorts(PERSONS, PLAN), persons["distinct_id"])


def test_a_change_of_a_flag_moves_the_person_of_the_row(arranged):
    before = ck.Flag("f", (ck.Condition(rollout_percentage=20),))
    after = ck.Flag("f", (ck.Condition((ck.PropertyFilter("plan", "pro"),)),))
    persons = arranged(PERSONS)
    moved = ck.compare_flags(before, after, persons).people
    whole = ck.compare_flags(before, after, PERSONS).people
    assert moved["distinct_id"].tolist() == persons["distinct_id"].tolist()
    same_rows(moved, whole, persons["distinct_id"])


@pytest.mark.parametrize("call", ["bucket", "split"])
def test_a_bucket_is_of_the_id_of_the_row(arranged, call):
    ids = arranged(PERSONS)["distinct_id"]
    options = {"vendor": "posthog", "flag": "f"} | (
        {"weights": {"a": 50, "b": 50}} if call == "split" else {}
    )
    buckets = getattr(ck, call)(ids, **options)
    one_by_one = [getattr(ck, call)(name, **options) for name in ids]
    assert list(buckets) == one_by_one
    assert buckets.index.equals(ids.index)


def exported(persons):
    """A small log of calls of FLAG by everyone, each with the value that the plain table evaluates to."""
    flag = ck.Flag("f", (ck.Condition((ck.PropertyFilter("plan", "pro"),), rollout_percentage=60),))
    values = ck.evaluate_flag(flag, PERSONS)["value"].tolist()
    times = pd.Timestamp("2026-09-07T09:00Z") + pd.to_timedelta(np.arange(60), unit="min")
    frame = pd.DataFrame(
        {"event": "$feature_flag_called", "timestamp": times, "distinct_id": PERSONS["distinct_id"],
         "$feature_flag": "f", "$feature_flag_response": values}
    )  # fmt: skip
    return flag, frame, persons


def test_an_audit_looks_up_the_person_of_the_call(arranged):
    flag, frame, persons = exported(arranged(PERSONS))
    kept = frame[frame["distinct_id"].isin(persons["distinct_id"])]
    audited = ck.audit_assignment(ck.EventLog(kept), flag, persons).people
    assert sorted(audited["distinct_id"]) == sorted(kept["distinct_id"])
    assert (audited["observed"] == audited["expected"]).all()
    assert audited["expected"].nunique() == 2


def test_events_are_those_of_their_rows(arranged):
    _, frame, _ = exported(PERSONS)
    events = arranged(frame)
    exposed = ck.exposures(ck.EventLog(events), "f").people
    variant_of = dict(zip(frame["distinct_id"], frame["$feature_flag_response"], strict=True))
    assert sorted(exposed["person_id"]) == sorted(events["distinct_id"])
    assert [variant_of[name] for name in exposed["person_id"]] == exposed["variant"].tolist()


def test_a_log_joins_the_person_of_the_event(arranged):
    _, frame, _ = exported(PERSONS)
    persons = arranged(PERSONS.assign(person_id=PERSONS["distinct_id"].str.upper()))
    kept = frame[frame["distinct_id"].isin(persons["distinct_id"])]
    exposed = ck.exposures(ck.EventLog(kept, persons=persons), "f").people
    assert set(exposed["person_id"]) == set(persons["person_id"])
