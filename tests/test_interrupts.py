"""Ctrl-C in a long call: it stops, and leaves nothing behind that the next call stumbles over."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import canarykit as ck
from canarykit.lazy import held_back
from canarykit.parallel import ahead, as_interrupt
from tests.interrupting import PLAN

MOMENTS = "0.02,0.15,0.3,0.6,1.0"
ROOT = Path(__file__).parents[1]
CALLS = (
    "evaluate_stage", "evaluate_stage_again", "read_parquet", "read_json_lines", "simulate_decisions",
    "simulate_rollout",
)  # fmt: skip


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted") / "export"
    ck.simulate_rollout(PLAN, ck.Population(30_000), rng=7, path=folder, progress=False)
    lines = pd.read_parquet(folder / "events.parquet", columns=["uuid", "event", "distinct_id", "timestamp"])
    lines.to_json(folder / "events.jsonl", orient="records", lines=True, date_format="iso")
    return folder


def seen(call, folder, moments=MOMENTS, url="", key=""):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "POSTHOG_PERSONAL_API_KEY": key}
    asked = [sys.executable, "-m", "tests.interrupting", call, str(folder), moments, url]
    done = subprocess.run(asked, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_long_call_that_is_interrupted_stops_and_leaves_nothing_broken(call, export, tmp_path):
    (tmp_path / "export").symlink_to(export)
    left = seen(call, tmp_path)
    waits = [wait for wait in left["waits"] if wait is not None]
    assert waits, "every call was faster than its interrupt"
    assert max(waits) < 10
    assert left["threads"] == []
    assert not [name for name in left["files"] if "tmp" in name or Path(name).name.startswith(".")]
    (tmp_path / "undisturbed").mkdir()
    (tmp_path / "undisturbed" / "export").symlink_to(export)
    assert left["answer"] == seen(call, tmp_path / "undisturbed", "60")["answer"]


def finish_although_interrupted(steps):
    with held_back():
        signal.raise_signal(signal.SIGINT)
        steps.append("finished")


def test_an_interrupt_in_what_must_be_whole_comes_at_its_end():
    steps = []
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever another test has left there
    try:
        with pytest.raises(KeyboardInterrupt):
            finish_although_interrupted(steps)
        assert steps == ["finished"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, usual)


def test_somebody_elses_handling_of_interrupts_is_left_alone():
    came = []
    usual = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            assert came == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, usual)


def test_only_duckdbs_word_for_an_interrupt_becomes_one():
    with pytest.raises(KeyboardInterrupt), as_interrupt():
        raise RuntimeError("Query interrupted")
    with pytest.raises(RuntimeError, match="something else"), as_interrupt():
        raise RuntimeError("something else")


def test_every_connection_says_when_it_was_interrupted():
    package = Path(ck.__file__).parent
    opened = [
        f"{path.relative_to(package)}: {line.strip()}"
        for path in package.rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if "duckdb.connect(" in line and "as_interrupt()" not in line
    ]
    assert opened == ["events/sql.py: return duckdb.connect()"]  # its cursors are asked by `asking`


def test_work_ahead_that_nobody_takes_any_more_is_not_begun():
    begun = []
    results = ahead(begun.append, 100, workers=2)
    next(results)
    results.close()
    assert len(begun) < 10
