"""A flag that gives everybody "control" or "test" grows by its split: planned, found in a log, judged."""

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import DataError, PlanError

START = "2026-09-07T09:00:00Z"
CALLED = "$feature_flag_called"


def ramp(*shares, first=()):
    stages = [ck.Stage.for_share(f"{share} %", share, dwell="2d") for share in shares]
    return ck.RolloutPlan("f", [*first, *stages], starts_at=START, control="control", canary="test")


def log_of(values):
    """One first call a person, ten seconds apart."""
    times = pd.Timestamp(START) + pd.to_timedelta(10 * np.arange(len(values)), unit="s")
    ids = [f"u{k}" for k in range(len(values))]
    calls = {"event": CALLED, "timestamp": times, "distinct_id": ids, "person_id": ids, "$feature_flag": "f"}
    return ck.EventLog(pd.DataFrame({**calls, "$feature_flag_response": values}))


def drawn(*steps, names=("control", "test"), seed=1):
    """Values in order, from `(people, share of each name)` one step after the other."""
    rng = np.random.default_rng(seed)
    return log_of([str(value) for n, shares in steps for value in rng.choice(names, n, p=shares)])


# ---- planned ---------------------------------------------------------------------------------------------


def test_the_share_of_a_stage_is_the_canarys_and_the_rest_is_the_controls():
    plan = ramp(5, 20)
    assert plan.shares("20 %") == pytest.approx({"control": 0.8, "test": 0.2})
    assert (plan.share("20 %"), plan.served("20 %")) == (pytest.approx(0.2), ("test",))
    flag = plan.flag_at("20 %")
    assert [(item.key, item.rollout_percentage) for item in flag.variants] == [("control", 80), ("test", 20)]
    assert [item.rollout_percentage for item in flag.conditions] == [100]


def test_who_has_the_canary_keeps_it_as_the_split_grows():
    plan, people = ramp(5, 20, 60), pd.DataFrame({"distinct_id": [f"p{k}" for k in range(1500)]})
    values = [ck.evaluate_flag(plan.flag_at(name), people)["value"] for name in plan.stage_names]
    inside = [{k for k, value in enumerate(stage) if value == "test"} for stage in values]
    assert inside[0] < inside[1] < inside[2]
    assert [len(stage) / 1500 for stage in inside] == pytest.approx([0.05, 0.2, 0.6], abs=0.04)
    assert {value for stage in values for value in stage} == {"control", "test"}


def test_named_people_get_the_canary_before_anybody_is_drawn():
    plan = ramp(20, first=[ck.Stage.for_people("us", ["ada@acme.io"], dwell="1d")])
    flag = plan.flag_at("20 %")
    assert [(item.variant, item.rollout_percentage) for item in flag.conditions] == [
        ("test", 100),
        (None, 100),
    ]
    assert [item.variant for item in plan.flag_at("us").conditions] == ["test"]


def test_a_canary_with_a_name_of_its_own_is_compared_with_the_off_side():
    plan = ck.RolloutPlan("f", [ck.Stage.for_share("half", 50)], canary="on")
    assert plan.shares("half") == {"false": 0.5, "on": 0.5}
    assert [(item.key, item.rollout_percentage) for item in plan.flag_at("half").variants] == [("on", 100)]


def test_a_share_of_some_people_is_no_split_of_everybody():
    some = ck.Condition((ck.PropertyFilter("country", "DE"),), 10)
    stage = ck.Stage("10 % of DE", (some,), kind="percentage", share=10)
    with pytest.raises(PlanError, match="a share of some people, but everybody has 'control' or 'test'"):
        ck.RolloutPlan("f", [stage], control="control", canary="test")


def test_a_plan_by_split_is_written_and_read():
    plan = ramp(5, 20)
    assert ck.RolloutPlan.from_json(plan.to_json()) == plan


def test_a_simulated_release_by_split_is_judged_and_audited():
    plan = ramp(5, 20)
    log = ck.simulate_rollout(plan, ck.Population(6000), rng=3, progress=False)
    assert set(ck.exposures(log, "f").people["variant"]) == {"control", "test"}
    report = ck.evaluate_stage(log, plan, "20 %", as_of="2026-09-11T09:00:00Z")
    assert report.check("sample ratio").status.value == "ok"
    assert "20.0 %" in str(report)
    audit = ck.audit_assignment(log, plan)
    assert "100 % of the evaluations" in str(audit)


# ---- found in a log --------------------------------------------------------------------------------------


def test_steps_of_the_split_are_found_where_everybody_has_a_variant():
    log = drawn((4000, (0.95, 0.05)), (4000, (0.8, 0.2)))
    exposed = ck.exposures(log, "f")
    observed = exposed.observed_steps()
    assert observed.arms == ("control", "test")
    assert [step.units for step in observed.steps] == pytest.approx([4000, 4000], abs=150)
    plan = exposed.observed_plan()
    assert [stage.share for stage in plan.stages] == pytest.approx([5, 20], rel=0.1)
    assert (plan.control, plan.canary, plan.variants) == ("control", "test", ())
    report = ck.evaluate_stage(log, plan, plan.stage_names[1], as_of=log.time_range[1])
    assert report.check("sample ratio").status.value == "ok"


def test_a_split_that_never_changes_is_one_step_and_keeps_its_variants():
    exposed = ck.exposures(drawn((6000, (0.9, 0.1))), "f")
    assert exposed.observed_steps().arms == ()
    plan = exposed.observed_plan()
    assert [stage.share for stage in plan.stages] == [100]
    assert plan.share(plan.stage_names[0]) == pytest.approx(0.1, abs=0.02)


def test_without_a_control_by_name_it_is_the_variant_that_most_had_first():
    log = drawn((3000, (0.9, 0.1)), (3000, (0.5, 0.5)), names=("old", "new"))
    assert ck.exposures(log, "f").observed_steps().arms == ("old", "new")


def test_a_release_that_went_from_some_to_everybody_and_then_by_split_begins_with_the_split():
    rng = np.random.default_rng(4)
    before = ["test" if draw < 0.02 else "false" for draw in rng.random(2000)]
    after = [str(v) for s in (0.1, 0.4) for v in rng.choice(["control", "test"], 3000, p=[1 - s, s])]
    plan = ck.exposures(log_of([*before, *after]), "f").observed_plan()
    assert [stage.share for stage in plan.stages] == pytest.approx([10, 40], rel=0.1)


def test_of_three_variants_the_last_split_is_planned():
    log = drawn((4000, (0.9, 0.05, 0.05)), (4000, (0.5, 0.3, 0.2)), names=("control", "a", "b"))
    plan = ck.exposures(log, "f").observed_plan()
    assert {item.key: item.rollout_percentage for item in plan.variants} == pytest.approx(
        {"control": 50, "a": 30, "b": 20}, abs=3
    )
    assert [stage.share for stage in plan.stages] == [100]


def test_a_plan_whose_values_nobody_has_is_refused_with_those_that_are_there():
    log = drawn((200, (0.5, 0.5)))
    plan = ck.RolloutPlan("f", [ck.Stage.for_share("half", 50, starts_at=START)])
    with pytest.raises(DataError, match="in the log are control, test; the plan compares false and true"):
        ck.evaluate_stage(log, plan, "half", as_of=log.time_range[1])


def test_a_share_that_changed_within_a_stage_is_said_where_people_seem_to_be_missing():
    log = drawn((4000, (0.95, 0.05)), (4000, (0.8, 0.2)))
    plan = ramp(12.5)
    report = ck.evaluate_stage(log, plan, "12.5 %", as_of=log.time_range[1])
    check = report.check("sample ratio")
    assert check.status.value == "invalid"
    assert check.meaning.startswith(
        "The canary's share changed within the stage (5.15 %, then 20.5 % from 2026-09-07 20:07 UTC), "
        "where the rules say 12.5 %."
    )
    assert any("observed_plan() find it" in step for step in report.next_steps)
    missing = drawn((8000, (0.9, 0.1)), seed=2)
    check = ck.evaluate_stage(missing, ramp(20), "20 %", as_of=missing.time_range[1]).check("sample ratio")
    assert "People are missing from one arm" in check.meaning


# ---- read from the flag's history ------------------------------------------------------------------------


def edits(*splits):
    """Activity of a flag for everybody whose split between two variants was changed day by day."""
    before, items = {}, []
    for day, split in enumerate(splits, start=7):
        variants = [{"key": key, "rollout_percentage": percent} for key, percent in split.items()]
        after = {
            "groups": [{"properties": [], "rollout_percentage": 100}],
            "multivariate": {"variants": variants},
        }
        change = {"field": "filters", "before": before, "after": after}
        detail = {"name": "f", "changes": [change]}
        items.append({"activity": "updated", "created_at": f"2026-09-{day:02d}T09:00:00Z", "detail": detail})
        before = after
    created = {
        "activity": "created",
        "created_at": "2026-09-01T09:00:00Z",
        "detail": {"name": "f", "changes": []},
    }
    return [created, *items]


def test_each_change_of_the_split_is_a_stage_of_the_history():
    plan = ck.RolloutPlan.from_history(edits({"control": 95, "test": 5}, {"control": 80, "test": 20}))
    assert [(stage.name, stage.share) for stage in plan.stages] == [("5 %", 5), ("20 %", 20)]
    assert (plan.control, plan.canary, plan.variants) == ("control", "test", ())
    assert plan.window("20 %")[0] == pd.Timestamp("2026-09-08T09:00:00Z")


def test_a_changed_split_of_three_variants_is_said():
    first, then = {"control": 90, "a": 5, "b": 5}, {"control": 50, "a": 25, "b": 25}
    plan = ck.RolloutPlan.from_history(edits(first, then))
    assert [item.rollout_percentage for item in plan.variants] == [50, 25, 25]
    assert ("splits", 1) in [(note.code, note.count) for note in plan.notes]
