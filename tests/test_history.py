"""A plan read from a flag's activity log is the release as it ran, and says what the log does not tell."""

import json
from pathlib import Path

import pytest

import canarykit as ck
from canarykit.plan.history import read_states

SAMPLE = Path(__file__).parents[1] / "sample_data"
TEAM = {"properties": [{"key": "email", "value": "@acme.io", "operator": "ends_with", "type": "person"}]}
TEAM["rollout_percentage"] = 100


def day(number, hour=9):
    return f"2026-09-{number:02d}T{hour:02d}:00:00Z"


def share(percent):
    return {"properties": [], "rollout_percentage": percent}


def history(*steps, created=True):
    """Items of an activity log, newest first, from (time, groups | True | False | text)."""
    items, groups = [], []
    if created:
        items.append({"activity": "created", "created_at": day(1), "detail": {"name": "f", "changes": []}})
    for at, what in steps:
        if isinstance(what, bool):
            change = {"field": "active", "before": not what, "after": what}
        elif isinstance(what, str):
            change = {"field": "name", "before": "", "after": what}
        else:
            change = {"field": "filters", "before": {"groups": groups}, "after": {"groups": what}}
            groups = what
        user = {"email": "ada@acme.io"}
        items.append(
            {
                "activity": "updated",
                "created_at": at,
                "user": user,
                "detail": {"name": "f", "changes": [change]},
            }
        )
    return items[::-1]


def windows(plan):
    return {
        name: (f"{start:%d %H}", None if end is None else f"{end:%d %H}")
        for name, (start, end) in plan.windows().items()
    }


def test_each_rise_of_the_share_is_a_stage_with_its_true_window():
    plan = ck.RolloutPlan.from_history(
        history((day(7), [share(5)]), (day(9), [share(25)]), (day(11), [share(100)]))
    )
    assert windows(plan) == {
        "5 %": ("07 09", "09 09"),
        "25 %": ("09 09", "11 09"),
        "full release": ("11 09", None),
    }
    assert [stage.kind for stage in plan.stages] == ["percentage", "percentage", "full"]


def test_an_edit_of_the_name_is_no_stage_and_is_counted():
    plan = ck.RolloutPlan.from_history(history((day(7), [share(5)]), (day(8), "better name")))
    assert windows(plan) == {"5 %": ("07 09", None)}
    assert ("other_edits", 1) in [(note.code, note.count) for note in plan.notes]


def test_a_pause_splits_a_percentage_into_two_windows_so_that_no_one_is_judged_while_it_was_off():
    plan = ck.RolloutPlan.from_history(history((day(7), [share(5)]), (day(8), False), (day(9), True)))
    assert windows(plan) == {"5 %": ("07 09", "08 09"), "5 % (2)": ("09 09", None)}
    assert "switched off 2026-09-08 09:00 UTC by ada@acme.io" in [note.text for note in plan.notes]


def test_a_roll_back_to_the_team_leaves_a_gap_and_the_next_try_is_a_stage_of_its_own():
    steps = [(day(7), [TEAM]), (day(8), [TEAM, share(5)]), (day(9), [TEAM]), (day(10), [TEAM, share(5)])]
    plan = ck.RolloutPlan.from_history(history(*steps))
    assert list(windows(plan).values()) == [("07 09", "08 09"), ("08 09", "09 09"), ("10 09", None)]
    assert any(note.code == "rolled_back" for note in plan.notes)


def test_a_lowered_share_starts_a_new_run_and_the_earlier_one_can_still_be_had():
    log = history((day(7), [share(5)]), (day(8), [share(25)]), (day(9), [share(10)]), (day(10), [share(50)]))
    last, first = ck.RolloutPlan.from_history(log), ck.RolloutPlan.from_history(log, run=0)
    assert windows(last) == {"10 %": ("09 09", "10 09"), "50 %": ("10 09", None)}
    assert windows(first) == {"5 %": ("07 09", "08 09"), "25 %": ("08 09", "09 09")}
    assert any(note.text.startswith("lowered from 25 % to 10 %") for note in last.notes)
    with pytest.raises(ck.PlanError, match="run is 2; the history has 2"):
        ck.RolloutPlan.from_history(log, run=2)


def test_what_the_log_does_not_tell_is_said():
    log = history((day(8), [share(5)]), (day(9), [share(25)]), created=False)
    del log[-1]  # the rise to 5 % is older than what the log keeps
    plan = ck.RolloutPlan.from_history(log)
    assert windows(plan) == {"25 %": ("09 09", None)}
    assert {"no_beginning", "start_unknown"} <= {note.code for note in plan.notes}
    broken = history((day(7), [share(5)]), (day(8), [share(10)]), (day(9), [share(25)]))
    del broken[1]  # the edit to 10 % is missing: what was there before does not fit
    assert any(note.code == "jumps" for note in ck.RolloutPlan.from_history(broken).notes)


def test_names_and_deciders_come_from_a_plan_that_lets_in_the_same_people():
    like = ck.RolloutPlan("f", (ck.Stage.for_share("a tenth", 10, decides="ada"), ck.Stage.for_everyone()))
    plan = ck.RolloutPlan.from_history(history((day(7), [share(10)]), (day(8), [share(20)])), like=like)
    assert plan.stage_names == ("a tenth", "20 %")
    assert plan.stage("a tenth").decides == "ada"


@pytest.mark.parametrize("bad", [{"results": "no"}, [{"activity": "updated"}], []])
def test_what_is_no_history_is_refused_with_a_sentence(bad):
    with pytest.raises(ck.PlanError, match="history"):
        ck.RolloutPlan.from_history(bad)


def test_the_states_of_the_sample_end_with_the_flag_as_it_is_listed():
    flag = json.loads((SAMPLE / "flags.json").read_text())["results"][0]
    states, notes = read_states(json.loads((SAMPLE / "history.json").read_text()), flag)
    assert notes == ()
    assert states[-1].groups[-1]["rollout_percentage"] == 100
    assert [state.active for state in states].count(False) == 1
