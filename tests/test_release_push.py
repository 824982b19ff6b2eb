"""A stage is set on the version that was read, once; whatever else happens is said, and on record."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pandas as pd
import pytest

import canarykit as ck
from canarykit.posthog import PostHog
from canarykit.release.keys import Key
from canarykit.release.transport import Transport
from tests.posthog_server.in_process import Pool
from tests.posthog_server.model import KEY, Project, RefusedError

NOW = datetime(2026, 9, 15, 9, tzinfo=UTC)
CATCH_ALL = {"properties": [], "rollout_percentage": 5}
PRO = {"properties": [{"key": "plan", "value": ["pro"], "operator": "exact", "type": "person"}]}
PRO |= {"rollout_percentage": 40, "description": "for the sales team", "sort_key": "a1"}


@pytest.fixture(params=["old", "new"])
def project(request):
    made = Project(request.param, clock=lambda: made.time, number=7)
    made.time = NOW
    return made


PLAN = ck.RolloutPlan(
    "new-checkout",
    (
        ck.Stage.for_people("ada", ["ada@acme.io"]),
        ck.Stage.for_share("5 %", 5),
        ck.Stage.for_share("25 %", 25),
        ck.Stage.for_everyone(),
    ),
)


def flag_at(stage, *further, **top):
    filters = PLAN.flag_at(stage).to_posthog()["filters"]
    filters["groups"] = [*further, *filters["groups"]]
    return {"key": "new-checkout", "filters": filters, **top}


def connect(project, tmp_path, around=None):
    transport = Transport("http://localhost:1", Key(KEY), pool=Pool(project, around), clock=project.clock)
    return PostHog("", 7, transport=transport, record=tmp_path / "release.jsonl")


def is_write(method, path):
    return method in {"PATCH", "POST"} and not path.endswith(("annotations/", "user_blast_radius/"))


def promote(stage, at=NOW):
    verdict = ck.Verdict.PROMOTE
    return SimpleNamespace(
        flag="new-checkout", stage=stage, verdict=verdict, reason="safe", as_of=pd.Timestamp(at), audit={}
    )


def shares(project):
    return [group["rollout_percentage"] for group in project.flags[101]["filters"]["groups"]]


def test_a_promoted_stage_is_set_and_the_record_agrees_with_the_server(project, tmp_path):
    project.add_flag(flag_at("5 %"))
    client = connect(project, tmp_path)
    push = client.prepare(PLAN, "25 %", report=promote("5 %"))
    assert push.running == "5 %"
    assert [change.words() for change in push.changes] == [
        "condition set: 5 % of everyone -> 25 % of everyone"
    ]
    outcome = push.apply()
    assert (outcome.status, outcome.version_before, outcome.version_after) == ("applied", 1, 2)
    assert shares(project) == [100, 25]
    [intent] = client.record.intents("new-checkout")
    assert (intent.status, intent.version_after) == ("applied", project.flags[101]["version"])
    assert "canarykit: new-checkout to 25 %, version 2" in project.annotations[0]["content"]
    assert client.prepare(PLAN, "25 %").apply().status == "nothing to do"


def test_what_the_plan_does_not_own_is_kept(project, tmp_path):
    further = {"payloads": {"true": '{"a": 1}'}, "holdout": {"id": 3, "exclusion_percentage": 10}}
    flag = flag_at("5 %", PRO)
    flag["filters"] |= further | {"a key of next year": {"deep": [1]}}
    project.add_flag(flag)
    assert connect(project, tmp_path).prepare(PLAN, "25 %", report=promote("5 %")).apply().status == "applied"
    stored = project.flags[101]["filters"]
    assert stored["payloads"] == further["payloads"]
    assert stored["holdout"] == further["holdout"]
    assert stored["a key of next year"] == {"deep": [1]}
    assert stored["groups"][0] == {**PRO, "aggregation_group_type_index": None}
    assert shares(project) == [40, 100, 25]


@pytest.mark.parametrize(
    "stage, report, code",
    [
        ("25 %", None, "no verdict"),
        ("full release", promote("5 %"), "skips"),
        ("25 %", promote("ada"), "other verdict"),
        ("25 %", promote("5 %", NOW - timedelta(days=3)), "stale verdict"),
        ("25 %", promote("5 %", NOW + timedelta(hours=1)), "clock"),
    ],
)
def test_a_push_against_the_rules_needs_a_reason_which_is_recorded(project, tmp_path, stage, report, code):
    project.add_flag(flag_at("5 %"))
    project.time += timedelta(minutes=1)
    client = connect(project, tmp_path)
    push = client.prepare(PLAN, stage, report=report)
    assert code in [gate.code for gate in push.gates]
    assert push.apply().status == "refused"
    assert shares(project) == [100, 5]
    forced = client.prepare(PLAN, stage, report=report, override="the board said so")
    assert forced.apply().status == "applied"
    assert "the board said so" in client.record.path.read_text()


def test_a_hold_or_a_roll_back_verdict_stands_against_a_push(project, tmp_path):
    project.add_flag(flag_at("5 %"))
    for verdict in (ck.Verdict.HOLD, ck.Verdict.ROLL_BACK):
        report = promote("5 %")
        report.verdict, report.reason = verdict, "errors are up"
        push = connect(project, tmp_path).prepare(PLAN, "25 %", report=report)
        assert push.is_blocked
        assert "errors are up" in push._headline()


def test_a_stage_before_its_dwell_is_over_needs_a_reason(project, tmp_path):
    plan = ck.RolloutPlan(
        "new-checkout", (ck.Stage.for_share("5 %", 5, dwell="2d"), ck.Stage.for_share("25 %", 25))
    )
    project.add_flag({"key": "new-checkout", "filters": {"groups": []}})
    project.patch(101, {"filters": {"groups": [CATCH_ALL]}}, "ada")
    project.time += timedelta(days=1)
    push = connect(project, tmp_path).prepare(plan, "25 %", report=promote("5 %", project.time))
    assert [gate.code for gate in push.gates] == ["dwell"]
    assert "'5 %' has run for 24 h of its 2 d" in push.gates[0].words
    project.time += timedelta(days=1)
    push = connect(project, tmp_path).prepare(plan, "25 %", report=promote("5 %", project.time))
    assert not push.is_blocked


def test_somebody_elses_edit_since_the_flag_was_read_is_a_conflict_that_shows_both_sides(project, tmp_path):
    project.add_flag(flag_at("5 %"))
    push = connect(project, tmp_path).prepare(PLAN, "25 %", report=promote("5 %"))
    project.patch(101, {"filters": flag_at("5 %", PRO)["filters"]}, "bob")
    outcome = push.apply()
    assert outcome.status == "conflict"
    assert "25 %" in outcome.ours[0].words()
    assert "plan is pro" in outcome.theirs[0].words()
    assert shares(project) == [40, 100, 5]


@pytest.mark.parametrize("what", ["filters", "name"])
def test_an_edit_between_our_reading_and_our_writing_is_never_written_over_silently(project, tmp_path, what):
    project.add_flag(flag_at("5 %"))

    def around(method, path, act):
        if is_write(method, path) and not edited:
            edited.append(1)
            change = {"filters": flag_at("5 %", PRO)["filters"]} if what == "filters" else {"name": "x"}
            project.patch(101, change, "bob")
        return act()

    edited = []
    outcome = connect(project, tmp_path, around).prepare(PLAN, "25 %", report=promote("5 %")).apply()
    assert outcome.status == "conflict"
    assert project.flags[101]["version"] == 2


def test_an_edit_that_the_server_let_in_at_the_same_time_is_shown(tmp_path):
    project = Project("old", clock=lambda: NOW)
    project.add_flag(flag_at("5 %"))
    client = connect(project, tmp_path)
    push = client.prepare(PLAN, "25 %", report=promote("5 %"))
    raced = []

    def race():
        if not raced:
            raced.append(1)
            project.patch(101, {"filters": flag_at("5 %", PRO)["filters"]}, "bob")

    project.between_load_and_lock = race
    outcome = push.apply()
    assert (outcome.status, outcome.overwritten) == ("applied", True)
    assert "plan is pro" in outcome.theirs[0].words()
    assert "overwrote somebody else's edit" in outcome._headline()


def test_an_edit_of_the_name_at_the_same_time_is_kept_and_not_called_lost(tmp_path):
    project = Project("old", clock=lambda: NOW)
    project.add_flag(flag_at("5 %"), by="bob@acme.io")

    def around(method, path, act):
        if method == "PATCH":
            project.patch(101, {"name": "better"}, "bob@acme.io")
        return act()

    outcome = connect(project, tmp_path, around).prepare(PLAN, "25 %", report=promote("5 %")).apply()
    assert (outcome.status, outcome.overwritten) == ("applied", False)
    assert "is kept" in outcome.why
    assert project.flags[101]["name"] == "better"


@pytest.mark.parametrize("arrives", [True, False])
def test_after_silence_the_server_is_asked_and_the_write_is_not_repeated(
    project, tmp_path, arrives, monkeypatch
):
    monkeypatch.setattr("canarykit.release.push._PAUSE_SECONDS", 0)
    project.add_flag(flag_at("5 %"))
    writes = []

    def around(method, path, act):
        if is_write(method, path):
            if project.mode == "old" and method == "POST":
                return act()  # 404: it has no such call
            writes.append(path)
            if arrives:
                act()
            raise ConnectionError("cut")
        return act()

    client = connect(project, tmp_path, around)
    outcome = client.prepare(PLAN, "25 %", report=promote("5 %")).apply()
    assert outcome.status == ("applied" if arrives else "unclear")
    assert len(writes) == 1
    assert shares(project) == [100, 25 if arrives else 5]
    if not arrives:  # until it is settled nothing else is sent
        again = client.prepare(PLAN, "25 %", report=promote("5 %")).apply()
        assert again.status == "refused"
        assert "may still be on its way" in again.why
        project.time += timedelta(minutes=20)
        client = connect(project, tmp_path)
        assert client.prepare(PLAN, "25 %", report=promote("5 %", project.time)).apply().status == "applied"
        assert [intent.status for intent in client.record.intents("new-checkout")] == [
            "not applied",
            "applied",
        ]


def test_a_change_that_needs_an_approval_waits_for_it(project, tmp_path):
    project.gated = {"update"}
    project.add_flag(flag_at("5 %"))
    client = connect(project, tmp_path)
    outcome = client.prepare(PLAN, "25 %", report=promote("5 %")).apply()
    assert (outcome.status, outcome.exit_code) == ("awaiting approval", 10)
    assert shares(project) == [100, 5]
    assert client.record.intents("new-checkout")[-1].status == "awaiting approval"


def test_rolling_back_sets_the_stage_before_even_after_somebody_elses_edit_and_shows_it(project, tmp_path):
    project.add_flag(flag_at("5 %"))
    client = connect(project, tmp_path)
    client.prepare(PLAN, "25 %", report=promote("5 %")).apply()
    raised = flag_at("25 %", PRO)["filters"]
    project.patch(101, {"filters": raised}, "bob")
    outcome = client.roll_back(PLAN, why="payments are lost")
    assert (outcome.status, outcome.stage) == ("applied", "5 %")
    assert "plan is pro" in outcome.theirs[0].words()
    assert shares(project) == [40, 100, 5]


def test_rolling_back_from_the_first_stage_turns_the_flag_off(project, tmp_path):
    project.add_flag(flag_at("ada"))
    outcome = connect(project, tmp_path).roll_back(PLAN)
    assert (outcome.status, outcome.stage) == ("applied", None)
    assert not project.flags[101]["active"]
    assert connect(project, tmp_path).roll_back(PLAN).status == "nothing to do"


def test_rolling_back_while_edits_keep_coming_in_ends_with_the_flag_off(project, tmp_path):
    project.add_flag(flag_at("25 %"))

    def around(method, path, act):
        if is_write(method, path) and not path.endswith("disable/"):
            number = len(project.versions[101])
            edit = {**PRO, "rollout_percentage": number}
            project.patch(101, {"filters": flag_at("25 %", edit)["filters"]}, f"bob {number}")
        return act()

    outcome = connect(project, tmp_path, around).roll_back(PLAN)
    assert outcome.status == "applied"
    assert outcome.stage is None
    assert not project.flags[101]["active"]


def test_a_manual_lowering_is_seen_and_the_next_stage_is_the_one_after_what_is_let_in(project, tmp_path):
    flag = flag_at("25 %")
    flag["filters"]["groups"][-1]["rollout_percentage"] = 12
    project.add_flag(flag)
    push = connect(project, tmp_path).prepare(PLAN, "25 %", report=promote("5 %"))
    assert push.running == "5 %"
    assert "off_plan" in [note.code for note in push.notes]
    assert push.changes[0].words() == "condition set: 12 % of everyone -> 25 % of everyone"


def test_a_flag_of_another_kind_than_the_plan_is_refused(project, tmp_path):
    variants = [{"key": "control", "rollout_percentage": 50}, {"key": "test", "rollout_percentage": 50}]
    flag = flag_at("5 %")
    flag["filters"]["multivariate"] = {"variants": variants}
    project.add_flag(flag)
    with pytest.raises(ck.PlanError, match=r"has the variants \['control', 'test'\]"):
        connect(project, tmp_path).prepare(PLAN, "25 %")
    project.flags[101]["filters"] = {"version": 2, "rules": []}
    with pytest.raises(ck.PlanError, match="newer configuration"):
        connect(project, tmp_path).flag("new-checkout")


def test_encrypted_payloads_are_neither_shown_nor_sent(project, tmp_path):
    flag = flag_at("5 %", has_encrypted_payloads=True)
    flag["filters"]["payloads"] = {"true": '"the secret of the payload"'}
    project.add_flag(flag)
    client = connect(project, tmp_path)
    push = client.prepare(PLAN, "25 %", report=promote("5 %"))
    outcome = push.apply()
    assert outcome.status == ("applied" if project.mode == "new" else "refused")
    said = repr(push) + repr(outcome) + push.to_json() + client.record.path.read_text()
    assert "secret of the payload" not in said
    for _, _, body in client._transport._pool.asked:
        assert "secret of the payload" not in json.dumps(body)


def test_an_older_servers_refusal_of_an_operator_names_the_way_out(tmp_path):
    plan = ck.RolloutPlan.five_stages("new-checkout", owner="ada@acme.io", team_domain="acme.io")
    project = Project("old", clock=lambda: NOW)
    filters = plan.flag_at("just yourself").to_posthog()["filters"]
    project.add_flag({"key": "new-checkout", "filters": filters})
    report = promote("just yourself")
    outcome = connect(project, tmp_path).prepare(plan, "internal team", report=report, override="x").apply()
    assert outcome.status == "refused"
    assert "use icontains or regex" in outcome.why


def test_a_missing_scope_is_named(project, tmp_path):
    project.add_flag(flag_at("5 %"))
    project.scopes[KEY] -= {"feature_flag:write"}
    outcome = connect(project, tmp_path).prepare(PLAN, "25 %", report=promote("5 %")).apply()
    assert outcome.status == "refused"
    assert "'feature_flag:write'" in outcome.why


def test_a_record_cut_short_by_a_crash_is_read_and_written_on(tmp_path):
    from canarykit.release.record import Record

    record = Record(tmp_path / "release.jsonl")
    record.append({"what": "look", "flag": "f", "number": 1})
    with record.path.open("a") as stream:
        stream.write('{"what": "intends", "fl')
    record.append({"what": "look", "flag": "f", "number": 2})
    assert [entry["number"] for entry in record.entries("f")] == [1, 2]
    assert record.timeline().notes[0].count == 1


def test_the_models_conflict_rule_is_the_one_of_the_table():
    """What PostHog's PATCH refuses, by what is sent along and who edited what meanwhile."""
    mine = {"groups": [{"properties": [], "rollout_percentage": 25}]}
    for edit, sent, refused in [
        ("filters", "nothing", False), ("filters", "version", False), ("filters", "filters", True),
        ("filters", "whole", True), ("name", "filters", False), ("name", "whole", True),
    ]:  # fmt: skip
        project = Project("old")
        project.add_flag({"key": "f", "filters": {"groups": [CATCH_ALL]}})
        read = project.shown(project.flags[101])
        change = {"name": "x"} if edit == "name" else {"filters": {"groups": [CATCH_ALL, PRO]}}
        project.patch(101, change, "bob")
        along = {"nothing": {}, "version": {"version": 1}, "whole": {"version": 1, "original_flag": read}}
        along["filters"] = {"version": 1, "original_flag": {"filters": read["filters"]}}
        body = {"filters": mine, **along[sent]}
        if refused:
            with pytest.raises(RefusedError, match="updated by bob"):
                project.patch(101, body, "me")
        else:
            project.patch(101, body, "me")
