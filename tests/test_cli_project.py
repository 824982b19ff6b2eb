"""The command line on a project: a dry run, a push, a roll-back, a look; the key is never on it."""

import json
from pathlib import Path

import pandas as pd
import pytest

import canarykit as ck
from canarykit.__main__ import main
from tests.posthog_server import MISSING

if MISSING:
    pytest.skip(f"the loopback server needs {MISSING}", allow_module_level=True)

from tests.posthog_server.model import KEY, Project

SAMPLE = Path(__file__).parents[1] / "sample_data"
PLAN = ck.RolloutPlan("new-checkout", (ck.Stage.for_share("5 %", 5), ck.Stage.for_share("25 %", 25)))


@pytest.fixture
def run(loopback, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSTHOG_PERSONAL_API_KEY", KEY)
    Path("plan.json").write_text(PLAN.to_json())
    project = Project("new")
    project.add_flag({"key": "new-checkout", "filters": PLAN.flag_at("5 %").to_posthog()["filters"]})
    server = loopback.begin(project)

    def command(verb, *options):
        code = main([verb, "--host", server.url, "--project", "7", *options])
        said = capsys.readouterr()
        assert KEY not in said.out + said.err
        return code, said.out, said.err

    command.project, command.server, command.url = project, server, server.url
    return command


def test_every_verb_has_a_help_that_says_what_it_does(capsys):
    for verb in ("pull", "plan", "prepare", "push", "rollback", "watch", "evaluate", "funnel"):
        assert main([verb, "--help"]) == 0
        said = capsys.readouterr().out
        assert "--help" in said
        assert "key" not in [word.strip("-") for word in said.split() if word.startswith("--")]
    assert "canarykit.metrics" in said or main(["evaluate", "--help"]) == 0


def test_a_dry_run_is_markdown_for_a_pull_request_and_exits_with_10_where_it_is_blocked(run):
    code, said, _ = run("prepare", "--plan", "plan.json", "--stage", "25 %", "--no-judge")
    assert code == 10
    assert said.startswith("**new-checkout: from 5 % to 25 %, 1 change; blocked")
    assert "| condition set | 5 % of everyone | 25 % of everyone |" in said
    code, said, _ = run("prepare", "--plan", "plan.json", "--stage", "25 %", "--no-judge", "--json")
    assert json.loads(said)["gates"][0]["code"] == "no verdict"


def test_a_push_needs_a_reason_and_a_roll_back_undoes_it(run):
    stage = ("--plan", "plan.json", "--stage", "25 %", "--no-judge")
    assert run("push", *stage)[0] == 1
    code, said, _ = run("push", *stage, "--override", "agreed with Grace")
    assert code == 0
    assert "applied, version 1 to 2" in said
    assert run.project.flags[101]["filters"]["groups"][0]["rollout_percentage"] == 25
    code, said, _ = run("rollback", "--plan", "plan.json", "--why", "payments are lost")
    assert code == 0
    assert run.project.flags[101]["filters"]["groups"][0]["rollout_percentage"] == 5
    lines = [json.loads(line) for line in Path("release.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines if line["what"] == "did"] == ["applied", "applied"]


def test_a_look_without_data_is_no_verdict_and_exits_with_1(run):
    code, said, _ = run("watch", "--plan", "plan.json", "--once", "--apply", "all")
    assert code == 1
    assert "no verdict" in said
    assert run.project.flags[101]["version"] == 1


def test_the_plan_is_read_from_the_flags_history(run, tmp_path):
    run.project.patch(101, {"filters": PLAN.flag_at("25 %").to_posthog()["filters"]}, "ada@acme.io")
    arguments = ("new-checkout", "--like", "plan.json", "--out", "ran.json")
    code, said, _ = run("plan", *arguments)
    assert code == 0
    assert "25 %" in said
    assert ck.RolloutPlan.from_json(tmp_path / "ran.json").stage_names[-1] == "25 %"


def test_a_wrong_option_is_met_with_the_one_that_was_probably_meant(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["push", "--plam", "plan.json"])
    assert stop.value.code == 2
    assert "did you mean --plan?" in capsys.readouterr().err


def test_a_funnel_prints_a_table(tmp_path, capsys):
    events = pd.read_parquet(SAMPLE / "events.parquet")
    few = events["person_id"].isin(events["person_id"].unique()[:300])
    events[few].to_parquet(tmp_path / "events.parquet")
    steps = ["--step", "signup started", "--step", "paid"]
    assert main(["funnel", str(tmp_path / "events.parquet"), "--flag", "new-checkout", *steps]) == 0
    assert "| true" in capsys.readouterr().out


def test_people_join_the_early_access_by_an_event_that_carries_no_key(run):
    project = ck.PostHog(run.url, 7, KEY)
    assert project.enrol("new-checkout", ["ada", "grace"]) == 2
    sent = json.loads(run.server.captured[0])
    assert sent["api_key"] == "phc_public"
    assert sent["batch"][0]["properties"]["$set"] == {"$feature_enrollment/new-checkout": True}
    assert [key for _, path, key in run.server.asked if path == "/batch/"] == [None]
