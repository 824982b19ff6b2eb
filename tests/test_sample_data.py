"""The sample export is what its README says, and leads to the verdicts it promises."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import canarykit as ck

FOLDER = Path(__file__).parents[1] / "sample_data"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def blocks():
    """What the README's code blocks define, run as a reader would run them."""
    made = {}
    for code in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(code.replace("sample_data/", f"{FOLDER.as_posix()}/"), made)
    return made


def test_it_is_small_enough_to_commit():
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 6_000_000


def test_nothing_had_to_be_dropped_or_guessed(blocks):
    log = blocks["log"]
    assert log.notes == ()
    assert log.frame["uuid"].is_unique
    assert log.persons["person_id"].nunique() == 12_000
    assert log.time_range[0] >= pd.Timestamp("2026-09-04T09:00:00Z")
    assert log.time_range[1] < pd.Timestamp("2026-09-28T09:00:00Z")


def test_the_plans_are_those_in_the_files(blocks):
    for name, plan in (("plan.json", "plan"), ("plan_after_rollback.json", "fixed")):
        assert ck.RolloutPlan.from_json(FOLDER / name).to_dict() == blocks[plan].to_dict()


def test_every_stage_gets_the_verdict_that_the_readme_promises(blocks):
    first, second = blocks["plan"], blocks["fixed"]
    verdicts = []
    for plan, stages in ((first, first.stage_names[:4]), (second, second.stage_names[3:])):
        for stage in stages:
            as_of = plan.window(stage)[1] or "2026-09-28T09:00:00Z"
            verdicts.append(
                ck.evaluate_stage(blocks["log"], plan, stage, blocks["guardrails"], as_of=as_of).verdict
            )
    assert [verdict.value for verdict in verdicts] == [
        "hold", "hold", "promote", "roll back", "promote", "promote", "promote", "hold",
    ]  # fmt: skip


def test_ada_cannot_switch_it_off(blocks):
    seen = blocks["log"].select(
        ["distinct_id", "$feature_flag_response"],
        events=["$feature_flag_called"],
        since="2026-09-07T15:00:00Z",
        until="2026-09-07T21:00:00Z",
    )
    ada = seen.loc[seen["distinct_id"] == "user-0", "$feature_flag_response"]
    assert len(ada) >= 3
    assert set(ada) == {"true"}


def test_the_team_meets_exceptions_in_safari_only(blocks):
    start, end = blocks["plan"].window("internal team")
    columns = ["person_id", "person.email", "$browser", "$lib"]
    log = blocks["log"]
    called = log.select(columns, events=["$feature_flag_called"], since=start, until=end)
    failed = log.select(columns, events=["$exception"], since=start, until=end)
    shares = {}
    for safari in (True, False):
        people, hit = (
            set(
                frame.loc[
                    frame["person.email"].str.endswith("@acme.io")
                    & ((frame["$browser"] == "Safari") == safari),
                    "person_id",
                ]
            )
            for frame in (called, failed[failed["$lib"] == "web"])
        )
        shares[safari] = len(hit & people) / len(people)
    assert shares[True] > 0.6
    assert shares[False] < 0.25


def test_the_beta_organisations_were_different_before(blocks):
    columns = ["person_id", "$group_0"]
    until = blocks["plan"].window("beta")[0]
    views = blocks["log"].select(columns, events=["$pageview"], until=until)
    failed = blocks["log"].select(columns, events=["$exception"], until=until)
    shares = []
    for frame in (views, failed):
        beta = frame["$group_0"].isin(["lighthouse", "bluebird"])
        shares.append((frame.loc[beta, "person_id"].nunique(), frame.loc[~beta, "person_id"].nunique()))
    (beta, rest), (beta_failed, rest_failed) = shares
    assert beta_failed / beta > 2 * rest_failed / rest


def test_the_flags_hold_a_stale_one_and_one_that_needs_the_new_checkout():
    flags = ck.read_flags(FOLDER / "flags.json")
    assert set(flags) == {"new-checkout", "summer-banner", "checkout-layout", "express-shipping"}
    assert flags["new-checkout"].conditions[-1].rollout_percentage == 100
    assert flags["summer-banner"].last_called_at < "2026-08-28"
    listed = json.loads((FOLDER / "flags.json").read_text(encoding="utf-8"))["results"]
    needs = listed[3]["filters"]["groups"][0]["properties"][0]
    assert (needs["type"], needs["key"]) == ("flag", str(listed[0]["id"]))


def test_the_survey_defined_is_the_survey_answered(blocks):
    definition = json.loads((FOLDER / "survey.json").read_text(encoding="utf-8"))
    key = f"$survey_response_{definition['questions'][0]['id']}"
    sent = blocks["log"].select(["$survey_id", key], events=["survey sent"])
    assert set(sent["$survey_id"]) == {definition["id"]}
    assert set(sent[key]) == {"1", "2", "3", "4", "5"}


def test_the_release_read_from_the_flags_history_leads_to_the_same_verdicts(blocks):
    flag = json.loads((FOLDER / "flags.json").read_text())["results"][0]
    history = json.loads((FOLDER / "history.json").read_text())
    plan = ck.RolloutPlan.from_history(history, flag=flag, like=blocks["plan"])
    verdicts = []
    for stage, (_, end) in plan.windows().items():
        as_of = end or "2026-09-28T09:00:00Z"
        report = ck.evaluate_stage(blocks["log"], plan, stage, blocks["guardrails"], as_of=as_of)
        verdicts.append(report.verdict.value)
    assert verdicts == ["hold", "hold", "promote", "roll back", "promote", "promote", "promote", "hold"]
    assert plan.flag_at("full release").conditions == blocks["fixed"].flag_at("full release").conditions


def test_what_is_made_anew_is_what_the_files_hold(blocks):
    sample = ck.load_sample()
    pd.testing.assert_frame_equal(sample.log.frame, blocks["log"].frame)
    pd.testing.assert_frame_equal(sample.log.persons, blocks["log"].persons)
    pd.testing.assert_frame_equal(sample.log.groups, blocks["log"].groups)
    assert sample.plan.to_dict() == blocks["plan"].to_dict()
    assert sample.plan_after_rollback.to_dict() == blocks["fixed"].to_dict()
    for name in ("survey", "history"):
        assert getattr(sample, name) == json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert sample.flags == ck.read_flags(FOLDER / "flags.json")
    assert "232,859 events" in repr(sample)
    assert sample.as_of == "2026-09-28T09:00:00Z"


def test_the_first_cell_works_where_there_is_no_repository(tmp_path):
    package = Path(ck.__file__).parent
    shutil.copytree(package, tmp_path / "canarykit", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import canarykit as ck; s = ck.load_sample(); print(ck.__file__, len(s.log), s.plan.flag)"
    options = {"env": os.environ | {"PYTHONPATH": str(tmp_path)}, "cwd": tmp_path, "check": True}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)
    assert done.stdout.split() == [str(tmp_path / "canarykit" / "__init__.py"), "232859", "new-checkout"]
