"""The verdict is printed and its exit code kept, whatever the terminal, the files and the words given."""

import io
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from canarykit.__main__ import main
from canarykit.metrics import Guardrail
from canarykit.metrics.values import metric_kinds
from tests.release import make_release, ramp_plan

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def harmful(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    release = make_release("expanded beta 25%", harm=4.0)
    release.events.to_parquet(folder / "events.parquet")
    release.persons.to_parquet(folder / "persons.parquet")
    (folder / "plan.json").write_text(ramp_plan().to_json())
    return ["evaluate", str(folder / "events.parquet"), "--persons", str(folder / "persons.parquet"),
            "--plan", str(folder / "plan.json"), "--as-of", "2026-09-20T09:00:00Z"]  # fmt: skip


@pytest.fixture(autouse=True)
def _outside_actions(monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_of_any_encoding_gets_the_verdict(harmful, monkeypatch, encoding):
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(harmful) == 20
    out.seek(0)
    assert "ROLL BACK" in out.read()


@pytest.mark.parametrize("option", ["--html", "--json", "--markdown"])
def test_a_report_that_cannot_be_written_does_not_change_the_verdict(harmful, tmp_path, capsys, option):
    (tmp_path / "file").write_text("")
    assert main([*harmful, option, str(tmp_path / "file" / "report")]) == 20
    said = capsys.readouterr()
    assert "ROLL BACK" in said.out
    (error,) = [line for line in said.err.splitlines() if not line.startswith("note: ")]
    assert error.startswith("error: ")
    assert error.count("cannot be written") == 1


def test_a_summary_that_cannot_be_written_does_not_change_the_verdict(harmful, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "summary.md"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path))
    assert main(harmful) == 20
    said = capsys.readouterr()
    assert "::error::▼ ROLL BACK" in said.out
    assert said.err.count("cannot be written") == 2


@pytest.mark.parametrize("guardrails, message", [
    ("[5]", "a guardrail is 5"), ("[null]", "a guardrail is None"),
    ('{"guardrails": 5}', "are 5; expected a list"),
    ("[{}]", "needs a 'metric'"), ('[{"metric": 5}]', "a metric is 5"), ('[[]]', "a guardrail is []"),
    ('[{"metric": {"metric": "conversion"}}]', "cannot be built"), ("[" * 100_000, "nested too deeply"),
    ('[{"metric": "$exception", "margin_ratio": "x"}]', "margin_ratio"),
    ('[{"metric": "$exception", "weight": "x"}]', "weight"),
    ('[{"metric": "$exception", "limit": [1]}]', "limit"),
])  # fmt: skip
def test_guardrails_of_the_wrong_shape_are_named(harmful, capsys, guardrails, message):
    assert main([*harmful, "--guardrails", guardrails]) == 1
    assert message in capsys.readouterr().err


def test_every_metric_in_the_help_is_one_that_a_guardrail_reads(capsys):
    assert main(["evaluate", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f'"{kind}"' in shown for kind in metric_kinds())
    example = shown[shown.index('  ["$exception"') : shown.index("`worse` is the direction")]
    assert [Guardrail.from_dict(item).critical for item in json.loads(example)] == [False, False, True]


def test_a_misspelt_option_is_named_with_the_one_that_was_meant(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "events.parquet", "--plan", "plan.json", "--asof", "2026-09-20T09:00:00Z"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "there is no option --asof; did you mean --as-of?" in said
    assert "canarykit evaluate --help" in said


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("by", ["argument", "environment"])
@pytest.mark.parametrize("value", [
    'a"; touch pwned; echo "', "a'; touch pwned; '", "`touch pwned`",
    "$(touch pwned)", "$(shell touch pwned)",
    "${shell touch pwned}", "a\nb", "# x", "%*", "expanded beta 25%",
])  # fmt: skip
def test_what_make_is_given_reaches_the_walk_unread(tmp_path, by, value):
    folder = tmp_path / "bin"
    folder.mkdir()
    stub = folder / "python"
    code = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if 'CANARYKIT' in k}))"
    stub.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    for stamp in (".made", ".ready-walk"):
        (tmp_path / stamp).touch()
        os.utime(tmp_path / stamp, (2**31, 2**31))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    given = [f"STAGE={value}"] if by == "argument" else []
    environment |= {"STAGE": value} if by == "environment" else {}
    command = [
        "make",
        "-s",
        "-f",
        str(ROOT / "Makefile"),
        "-C",
        str(ROOT),
        "walk",
        f"VENV={tmp_path}",
        *given,
    ]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(run.stdout)["CANARYKIT_STAGE"] == value
    assert not (ROOT / "pwned").exists()
    assert not (tmp_path / "pwned").exists()


def test_a_headline_with_several_harmed_guardrails_names_the_worst_and_counts_the_rest(harmful, capsys):
    names = ["people with an exception", "checkout errors on the payment page", "all errors together"]
    guardrails = json.dumps([{"metric": "$exception", "name": name} for name in names])
    assert main([*harmful, "--guardrails", guardrails, "--markdown", os.devnull]) == 20
    (headline,) = capsys.readouterr().out.splitlines()
    assert len(headline) < 160
    assert "; 2 others too" in headline
