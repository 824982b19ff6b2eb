import numpy as np
import pandas as pd
import pytest

import canarykit as ck

START = pd.Timestamp("2026-09-07T00:00Z")


def calls(rows, **columns):
    """A log of flag calls from (person, hour, response) rows."""
    frame = pd.DataFrame(rows, columns=["distinct_id", "hour", "$feature_flag_response"])
    frame["timestamp"] = START + pd.to_timedelta(frame.pop("hour"), unit="h")
    frame["event"], frame["$feature_flag"] = "$feature_flag_called", "f"
    return ck.EventLog(frame.assign(**columns))


def ramp(*shares, hours=24, **options):
    stages = tuple(ck.Stage.for_share(f"{share}%", share, dwell=f"{hours}h") for share in shares)
    return ck.RolloutPlan("f", stages, starts_at=START, **options)


def slow(rows, plan):
    """The definition, one person at a time."""
    people, by_stage = {}, {}
    for person, hour, response in sorted(rows, key=lambda row: (row[1], str(row[2]).lower())):
        if response is None:
            continue
        value = str(response).lower()
        stage = plan.stage_at(START + pd.Timedelta(hours=hour))
        people.setdefault(person, []).append((hour, value, stage and stage.name))
        if stage is not None:
            by_stage.setdefault(person, {}).setdefault(stage.name, []).append((hour, value))
    return people, by_stage


@pytest.mark.parametrize("seed", range(15))
def test_first_exposures_agree_with_the_definition_read_one_person_at_a_time(seed):
    rng = np.random.default_rng(seed)
    plan = ramp(5, 25, 50).with_windows({"25%": (START + pd.Timedelta("30h"), START + pd.Timedelta("40h"))})
    rows = [
        (
            f"p{rng.integers(30)}",
            int(rng.integers(-10, 90)),
            rng.choice([True, False, None], p=[0.5, 0.4, 0.1]),
        )
        for _ in range(300)
    ]
    people, by_stage = slow(rows, plan)
    exposed = ck.exposures(calls(rows), "f", plan=plan)
    assert set(exposed.people["person_id"]) == set(people)
    for row in exposed.people.itertuples():
        seen = people[row.person_id]
        assert row.variant == seen[0][1]
        assert row.exposed_at == START + pd.Timedelta(hours=seen[0][0])
        assert (row.stage if isinstance(row.stage, str) else None) == seen[0][2]
        assert row.n_variants == len({value for _, value, _ in seen})
    assert len(exposed.by_stage) == sum(map(len, by_stage.values()))
    for row in exposed.by_stage.itertuples():
        seen = by_stage[row.person_id][row.stage]
        assert row.variant == seen[0][1]
        assert row.n_variants == len({value for _, value in seen})
        earlier = [
            name for name in plan.stage_names[: plan.index(row.stage)] if name in by_stage[row.person_id]
        ]
        before = by_stage[row.person_id][earlier[-1]][0][1] if earlier else None
        assert (row.previous_variant if isinstance(row.previous_variant, str) else None) == before


def test_a_missing_or_failed_value_is_unknown_and_never_control():
    exposed = ck.exposures(
        calls([("ada", 1, None), ("bob", 1, False), ("eve", 1, ""), ("bob", 2, None)]), "f"
    )
    assert exposed.people["person_id"].tolist() == ["bob"]
    counts = {note.code: note.count for note in exposed.notes}
    assert counts == {"unknown_values": 3, "unknown_only": 2}


def test_an_unknown_value_before_the_first_known_one_does_not_move_the_exposure():
    exposed = ck.exposures(calls([("ada", 1, None), ("ada", 2, True)]), "f")
    assert exposed.people["exposed_at"].tolist() == [START + pd.Timedelta("2h")]


def test_a_person_who_saw_several_variants_within_a_stage_is_a_crosser():
    exposed = ck.exposures(calls([("ada", 1, True), ("ada", 2, False)]), "f", plan=ramp(5))
    assert exposed.by_stage["n_variants"].tolist() == [2]
    assert {note.code: note.count for note in exposed.notes}["several_variants"] == 1


def test_a_person_whom_the_growing_ramp_moved_is_no_crosser_but_changed():
    exposed = ck.exposures(calls([("ada", 1, False), ("ada", 30, True)]), "f", plan=ramp(5, 50))
    assert exposed.by_stage["n_variants"].tolist() == [1, 1]
    assert exposed.by_stage["variant"].tolist() == ["false", "true"]
    assert exposed.by_stage["previous_variant"].tolist()[1] == "false"
    counts = {note.code: note.count for note in exposed.notes}
    assert counts["changed_variant"] == 1
    assert "several_variants" not in counts


def test_stage_windows_are_half_open():
    exposed = ck.exposures(calls([("ada", 0, True), ("bob", 24, True)]), "f", plan=ramp(5, 50))
    assert exposed.people["stage"].tolist() == ["5%", "50%"]


def test_exposures_outside_every_stage_are_counted_and_in_no_stage():
    plan = ramp(5).with_windows({"5%": (START, START + pd.Timedelta("1h"))})
    exposed = ck.exposures(calls([("ada", 5, True)]), "f", plan=plan)
    assert len(exposed.people) == 1
    assert len(exposed.by_stage) == 0
    assert exposed.notes[0].code == "outside_stages"


def test_what_happens_from_as_of_on_is_not_looked_at():
    log = calls([("ada", 1, True), ("bob", 5, True)])
    assert len(ck.exposures(log, "f", as_of=START + pd.Timedelta("5h")).people) == 1


def test_without_flag_calls_the_first_event_that_carries_the_flag_is_the_exposure():
    frame = pd.DataFrame(
        {
            "event": ["view", "view", "view"],
            "timestamp": START + pd.to_timedelta([0, 1, 2], unit="h"),
            "distinct_id": ["ada", "ada", "bob"],
            "properties": ["{}", '{"$feature/f": true}', '{"$feature/f": false}'],
        }
    )
    exposed = ck.exposures(ck.EventLog(frame), "f")
    assert exposed.people["exposed_at"].tolist() == [START + pd.Timedelta(hours=h) for h in (1, 2)]
    assert exposed.source == "$feature/f"
    assert exposed.notes[0].code == "source"


def test_a_group_flag_counts_groups_and_drops_calls_without_one():
    log = calls(
        [("ada", 1, True), ("bob", 2, True), ("eve", 3, False)], **{"$group_0": ["acme", "acme", None]}
    )
    plan = ramp(5, aggregation_group_type="organization")
    exposed = ck.exposures(log, "f", plan=plan)
    assert exposed.people[["group", "person_id"]].to_dict("records") == [
        {"group": "acme", "person_id": "ada"}
    ]
    assert exposed.unit_column == "group"
    assert {note.code: note.count for note in exposed.notes} == {"no_group": 1}


def test_the_distinct_id_at_first_exposure_is_kept_beside_the_person():
    persons = pd.DataFrame({"distinct_id": ["anon", "ada"], "person_id": ["P", "P"]})
    frame = calls([("anon", 1, False), ("ada", 2, True)]).frame
    exposed = ck.exposures(ck.EventLog(frame, persons=persons), "f")
    assert exposed.people[["person_id", "distinct_id", "n_variants"]].values.tolist() == [["P", "anon", 2]]


def test_holdout_people_are_an_arm_of_their_own_and_strange_values_are_named():
    plan = ramp(50, holdout={"id": 7, "exclusion_percentage": 10})
    log = calls([("ada", 1, "holdout-7"), ("bob", 1, "true"), ("eve", 1, "blue")])
    exposed = ck.exposures(log, "f", plan=plan)
    assert exposed.variants == ("blue", "holdout-7", "true")
    assert str(exposed.notes[-1]) == "1 unit has values the plan does not name: blue"


def test_an_unknown_flag_key_is_answered_with_the_flags_that_are_there():
    with pytest.raises(
        ck.DataError, match=r"no event carries flag 'new-chekout'.*Did you mean 'new-checkout'"
    ):
        ck.exposures(calls([("ada", 1, True)], **{"$feature/new-checkout": True}), "new-chekout")


def test_a_plan_for_another_flag_is_refused():
    with pytest.raises(ck.PlanError, match="the plan is for flag 'f', not for 'g'"):
        ck.exposures(calls([("ada", 1, True)]), "g", plan=ramp(5))


def test_before_the_first_call_nobody_is_exposed_and_that_is_no_error():
    exposed = ck.exposures(calls([("ada", 5, True)]), "f", plan=ramp(5), as_of=START)
    assert len(exposed.people) == 0
    assert repr(exposed).startswith("Nobody was exposed to f")


def test_exposures_print_the_same_in_every_view():
    exposed = ck.exposures(calls([("ada", 1, True), ("bob", 2, False)]), "f", plan=ramp(5))
    assert "2 people were exposed to f: 1 false, 1 true" in repr(exposed)
    assert exposed.to_frame()["people"].sum() == 2
    assert exposed == ck.exposures(calls([("ada", 1, True), ("bob", 2, False)]), "f", plan=ramp(5))
    assert exposed.of_stage("5%")["variant"].tolist() == ["true", "false"]
    with pytest.raises(ck.PlanError, match=r"Did you mean '5%'"):
        exposed.of_stage("5")


def test_rows_in_any_order_give_the_same_exposures():
    rng = np.random.default_rng(3)
    rows = [(f"p{i % 7}", int(rng.integers(0, 48)), bool(rng.integers(2))) for i in range(100)]
    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    one, two = (ck.exposures(calls(given), "f", plan=ramp(5, 50)) for given in (rows, shuffled))
    pd.testing.assert_frame_equal(one.people, two.people)
    pd.testing.assert_frame_equal(one.by_stage, two.by_stage)


def test_the_exposures_of_a_log_are_read_once_and_nobody_can_change_what_the_next_one_gets(monkeypatch):
    rows = [
        {"event": "$feature_flag_called", "timestamp": f"2026-09-07T09:0{i}:00Z", "distinct_id": who,
         "$feature_flag": "f", "$feature_flag_response": value}
        for i, (who, value) in enumerate([("ada", "true"), ("bob", "false"), ("cat", "true")])
    ]  # fmt: skip
    log = ck.EventLog(pd.DataFrame(rows))
    passes = []
    read = log._engine.map
    monkeypatch.setattr(log._engine, "map", lambda *more: passes.append(1) or read(*more))
    first = ck.exposures(log, "f")
    first.people["variant"] = "changed by a reader"
    again = ck.exposures(log, "f")
    assert len(passes) == 1
    assert again.variants == ("false", "true")
    assert len(ck.exposures(log, "f", as_of="2026-09-07T09:01:30Z").people) == 2  # another question
    assert len(passes) == 2


def test_values_inside_json_are_the_same_however_often_they_are_asked_for(monkeypatch):
    import canarykit.events.engines.pandas as engine

    names = ["seen", "paid"] * 50
    documents = [f'{{"amount": {i}, "plan": "p{i % 3}", "padding": "{"x" * 40}"}}' for i in range(100)]
    frame = pd.DataFrame(
        {"event": names, "timestamp": "2026-09-07T09:00:00Z", "distinct_id": "ada", "properties": documents}
    )
    log = ck.EventLog(frame)
    parsed = []
    read = engine.json_values
    monkeypatch.setattr(
        engine, "json_values", lambda text, paths: parsed.append(len(text)) or read(text, paths)
    )
    expected = [str(i) for i in range(100)]
    for _ in range(4):
        assert log.select(["amount"], events=["paid"])["amount"].tolist() == expected[1::2]
    assert log.select(["amount", "plan"])["amount"].tolist() == expected
    assert sum(parsed) <= 300  # amount at most twice, plan once
