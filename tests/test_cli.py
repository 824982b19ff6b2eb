"""The command line gates a pipeline: exit codes, Markdown, and errors that are no verdicts."""

import json
from pathlib import Path

import pytest

import canarykit as ck
from canarykit.__main__ import main
from canarykit.simulate import Effect
from tests.release import make_release, ramp_plan

AS_OF = "2026-09-20T09:00:00Z"
STAGE = "expanded beta 25%"


@pytest.fixture(autouse=True)
def _outside_actions(monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def files(tmp_path):
    def write(**story):
        release = make_release(STAGE, **story)
        release.events.to_parquet(tmp_path / "events.parquet")
        release.persons.to_parquet(tmp_path / "persons.parquet")
        (tmp_path / "plan.json").write_text(ramp_plan().to_json())
        return [str(tmp_path / name) for name in ("events.parquet", "persons.parquet", "plan.json")]

    return write


def run(files, *more):
    events, persons, plan = files
    return main(["evaluate", events, "--persons", persons, "--plan", plan, "--as-of", AS_OF, *more])


def test_a_harmful_release_exits_with_20_and_a_quiet_one_with_10(files, capsys):
    assert run(files(harm=4.0), "--stage", STAGE) == 20
    assert "ROLL BACK" in capsys.readouterr().out
    assert run(files(harm=1.0)) == 10  # the stage running at as_of
    assert f"stage: {STAGE}" in capsys.readouterr().out


def test_a_release_shown_to_be_safe_exits_with_0(files, capsys):
    assert run(files(n=20_000, harm=0.7, base=0.25, days=0.9), "--as-of", "2026-09-20T12:00:00Z") == 0
    assert "PROMOTE" in capsys.readouterr().out


def test_a_known_gap_is_written_down_and_one_that_is_none_is_refused(files, tmp_path, capsys):
    report = tmp_path / "report.json"
    gap = "2026-09-19T12:00:00Z/2026-09-19T15:00:00Z"
    assert run(files(harm=1.0), "--known-gap", gap, "--json", str(report)) == 10
    audit = json.loads(report.read_text())["audit"]
    assert audit["parameters"]["known_gaps"] == [["2026-09-19T12:00:00+00:00", "2026-09-19T15:00:00+00:00"]]
    assert run(files(harm=1.0), "--known-gap", "2026-09-19T12:00:00Z") == 1
    assert "expected pairs of times" in capsys.readouterr().err


def test_html_json_and_markdown_are_written_where_asked(files, tmp_path, capsys):
    html, as_json, markdown = (tmp_path / f"report.{end}" for end in ("html", "json", "md"))
    assert (
        run(files(harm=4.0), "--html", str(html), "--json", str(as_json), "--markdown", str(markdown)) == 20
    )
    assert html.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(as_json.read_text())["exit_code"] == 20
    assert markdown.read_text().startswith("## ▼ ROLL BACK")
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_guardrails_come_from_the_plan_file_or_their_own(files, tmp_path, capsys):
    events, persons, plan = files(harm=1.0)
    combined = tmp_path / "combined.json"
    guardrails = [{"metric": {"metric": "conversion", "event": "paid", "within": "1d"}, "worse": "lower"}]
    combined.write_text(json.dumps({**json.loads(Path(plan).read_text()), "guardrails": guardrails}))
    assert main(["evaluate", events, "--plan", str(combined), "--as-of", AS_OF]) == 10
    assert "paid within 1d" in capsys.readouterr().out
    assert run((events, persons, plan), "--guardrails", '["$exception"]') == 10
    assert "people with $exception" in capsys.readouterr().out


def test_without_a_plan_the_ramp_is_found_in_the_events_and_said(tmp_path, capsys):
    log = found_ramp(tmp_path / "export")
    asked = ["evaluate", log, "--flag", "new-checkout", "--as-of", "2026-09-10T09:00:00Z"]
    assert main(asked) == 20
    said = capsys.readouterr()
    assert "stage: observed 50% (percentage; canary share 50.0 %)" in said.out
    assert "no --plan: the ramp of new-checkout was found in the events (observed 10% from" in said.err
    assert "judged on people with $exception alone" in said.err
    assert main([*asked, "--guardrails", "proposed"]) == 20
    said = capsys.readouterr()
    assert "95 % quantile of load_ms" in said.out
    assert "ck.Guardrail(ck.metrics.Conversion('paid'" in said.err


def test_neither_a_plan_nor_a_flag_asks_for_one(files, capsys):
    events, _, _ = files(n=200)
    assert main(["evaluate", events, "--as-of", AS_OF]) == 1
    assert "neither --plan nor --flag is given" in capsys.readouterr().err


def found_ramp(path):
    """The export of a release from 10 to 50 %, with five times the errors."""
    stages = (ck.Stage.for_share("a", 10, dwell="2d"), ck.Stage.for_share("b", 50, dwell="2d"))
    plan = ck.RolloutPlan("new-checkout", stages, starts_at="2026-09-07T09:00:00Z")
    scenario = ck.Scenario(effects=[Effect("errors", 5.0)], error_rate=0.05)
    ck.simulate_rollout(plan, ck.Population(4000), scenario, rng=7, path=path, progress=False)
    return str(path / "events.parquet")


def test_github_actions_get_a_summary_outputs_and_an_annotation(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    assert run(files(harm=4.0)) == 20
    assert "ROLL BACK" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "outputs").read_text() == "verdict=roll back\nexit_code=20\n"
    assert "::error::▼ ROLL BACK" in capsys.readouterr().out


@pytest.mark.parametrize(
    "more, message",
    [
        (["--stage", "expanded beta 26%"], "Did you mean 'expanded beta 25%'?"),
        (["--flag", "old-checkout"], "the plan is for flag 'new-checkout', not for 'old-checkout'"),
        (["--guardrails", "{"], "is not JSON"),
        (["--guardrails", '[{"metrik": "x"}]'], "a guardrail has no 'metrik'"),
        (["--guardrails", "nowhere.json"], "nowhere.json does not exist"),
    ],
)
def test_unusable_input_exits_with_1_and_says_why(files, capsys, more, message):
    assert run(files(harm=1.0, n=200), *more) == 1
    assert message in capsys.readouterr().err


def test_an_empty_export_is_an_error_and_no_verdict(tmp_path, capsys):
    path = tmp_path / "events.jsonl"
    path.write_text("")
    (tmp_path / "plan.json").write_text(ramp_plan().to_json())
    code = main(["evaluate", str(path), "--plan", str(tmp_path / "plan.json"), "--as-of", AS_OF])
    assert code == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_a_moment_outside_every_stage_asks_for_one(files, capsys):
    events, _, plan = files(n=200)
    assert main(["evaluate", events, "--plan", plan, "--as-of", "2020-01-01T00:00:00Z"]) == 1
    assert "name one with --stage" in capsys.readouterr().err


def test_where_two_stages_meet_and_at_the_end_of_the_plan_the_stage_that_has_ended_is_judged(capsys):
    sample = Path(__file__).parents[1] / "sample_data"
    plan = ck.RolloutPlan.from_json(sample / "plan.json")
    start, end = plan.window("expanded beta 5%")
    options = ["--persons", str(sample / "persons.parquet"), "--plan", str(sample / "plan.json")]
    assert main(["evaluate", str(sample / "events.parquet"), *options, "--as-of", end.isoformat()]) == 20
    assert "expanded beta 5%" in capsys.readouterr().out
    assert main(["evaluate", str(sample / "events.parquet"), *options, "--as-of", start.isoformat()]) == 0
    assert "beta" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_named_before_anything_else(files, capsys):
    _, _, plan = files(n=200)
    assert main(["evaluate", "nowhere.parquet", "--plan", plan, "--as-of", "2020-01-01T00:00:00Z"]) == 1
    assert "nowhere.parquet" in capsys.readouterr().err


def test_a_wrong_command_line_exits_with_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate"])
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_guardrail_whose_direction_is_not_known_is_refused_with_both_spellings(files, capsys):
    assert run(files(), "--guardrails", '["paid"]') == 1
    assert '"worse": "lower" or "worse": "higher"' in capsys.readouterr().err
    given = '[{"metric": "paid", "worse": "lower"}]'
    assert run(files(), "--guardrails", given, "--timezone", "Asia/Tokyo") >= 10
    assert " JST" in capsys.readouterr().out


def test_a_funnel_of_a_stage_counts_who_was_exposed_in_it(capsys):
    sample = Path(__file__).parents[1] / "sample_data"
    asked = ["funnel", str(sample / "events.parquet"), "--step", "signup started", "--step", "paid", "--json"]
    plan, stage, end = str(sample / "plan.json"), "expanded beta 5%", "2026-09-16T09:00:00Z"
    assert main([*asked, "--plan", plan, "--stage", stage, "--within", "1d", "--as-of", end]) == 0
    counted = json.loads(capsys.readouterr().out)
    log = ck.read_posthog(sample / "events.parquet")
    by_hand = ck.funnel_by_flag(
        log, ["signup started", "paid"], plan=ck.RolloutPlan.from_json(plan), stage=stage,
        attribution="exposure", within="1d", date_to=end,
    )  # fmt: skip
    assert counted == json.loads(by_hand.to_json())


def test_a_funnel_by_first_touch_explains_who_is_unknown(capsys):
    events = str(Path(__file__).parents[1] / "sample_data" / "events.parquet")
    steps = ["--step", "signup started", "--step", "paid"]
    assert main(["funnel", events, "--flag", "new-checkout", *steps]) == 0
    assert "unknown are people whose first step carries no value of the flag" in capsys.readouterr().err
    assert main(["funnel", events, *steps]) == 1
    assert "neither --flag nor --plan is given" in capsys.readouterr().err
