"""Groups reach an evaluation as people hold them, and who was chosen is not compared."""

import pandas as pd

from canarykit.assign import evaluate_flag
from canarykit.events import EventLog
from canarykit.exposure import exposures
from canarykit.exposure.chosen import chosen_people
from canarykit.flags import Condition, Flag, PropertyFilter
from canarykit.funnels import funnel_by_flag
from canarykit.plan import RolloutPlan


def test_groups_may_come_in_one_table_of_all_types_as_exports_have_it():
    persons = pd.DataFrame({"distinct_id": ["a", "b"], "$group_0": ["g1", "g2"]})
    groups = pd.DataFrame(
        {"group_type_index": [0, 1, 0], "group_key": ["g1", "g1", "g2"], "name": ["acme", "other", "initech"]}
    )
    named = PropertyFilter("name", ["acme"], type="group", group_type_index=0)
    flag = Flag("f", (Condition((named,), 100, aggregation_group_type_index=0),))
    types = {0: "organization", 1: "project"}
    apart = {"organization": groups[groups["group_type_index"] == 0]}
    whole = evaluate_flag(flag, persons, groups=groups, group_type_mapping=types)
    assert whole["value"].tolist() == ["true", "false"]
    pd.testing.assert_frame_equal(whole, evaluate_flag(flag, persons, groups=apart, group_type_mapping=types))


def test_a_funnel_of_a_percentage_stage_counts_only_people_whom_the_draw_put_into_their_arm():
    persons = pd.DataFrame(
        {
            "distinct_id": ["ada", "bob", "eve"],
            "person_id": ["ada", "bob", "eve"],
            "email": ["ada@acme.io", "b@x.io", "e@x.io"],
        }
    )
    plan = RolloutPlan.five_stages(
        "f",
        owner="ada@acme.io",
        team_domain="acme.io",
        ramp=(50,),
        starts_at="2026-09-01T00:00:00Z",
        dwell="1d",
    )
    start, _ = plan.window("expanded beta 50%")
    asked = [("ada", "true"), ("bob", "true"), ("eve", "false")]
    rows = [(person, "$feature_flag_called", value, 1) for person, value in asked]
    rows += [(person, name, None, hour) for person, _ in asked for name, hour in (("open", 2), ("pay", 3))]
    frame = pd.DataFrame(rows, columns=["distinct_id", "event", "$feature_flag_response", "hour"])
    frame["timestamp"] = start + pd.to_timedelta(frame.pop("hour"), unit="h")
    frame["$feature_flag"] = frame["$feature_flag_response"].map(lambda value: "f" if value else None)
    log = EventLog(frame.assign(person_id=frame["distinct_id"]), persons=persons)
    funnel = funnel_by_flag(
        log, ["open", "pay"], plan=plan, stage="expanded beta 50%", attribution="exposure"
    )
    assert funnel.counts == {"false": [1, 1], "true": [1, 1]}  # ada owns the flag
    assert "1 person has it by choice" in repr(funnel)


def test_without_a_groups_export_the_answer_says_how_members_of_chosen_groups_were_told():
    persons = pd.DataFrame({"distinct_id": ["bob"], "person_id": ["bob"], "email": ["b@x.io"]})
    plan = RolloutPlan.five_stages(
        "f",
        owner="ada@acme.io",
        team_domain="acme.io",
        beta_groups={"organization": ["initech"]},
        ramp=(50,),
        starts_at="2026-09-01T00:00:00Z",
        dwell="1d",
    )
    start, _ = plan.window("expanded beta 50%")
    frame = pd.DataFrame(
        {
            "event": ["$feature_flag_called"],
            "timestamp": [start],
            "distinct_id": ["bob"],
            "person_id": ["bob"],
            "$feature_flag": ["f"],
            "$feature_flag_response": ["true"],
        }
    )
    log = EventLog(frame, persons=persons)
    exposed = exposures(log, "f", plan=plan)
    _, notes = chosen_people(log, plan, "expanded beta 50%", exposed.by_stage)
    assert [note.code for note in notes] == ["chosen_by_exposure"]
    assert "no groups export" in notes[0].text
