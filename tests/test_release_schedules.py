"""Thousands of random schedules of one release: edits, lost answers, crashes, wrong clocks, two loops."""

import os

import pytest

from tests.schedules import Schedule, run_schedules


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr("canarykit.release.push.time.sleep", lambda seconds: None)
    return lambda seeds: run_schedules(seeds, lambda seed: Schedule(seed, tmp_path))


def test_forty_random_schedules_keep_what_a_release_promises(run):
    total = run(range(40))
    assert min(total[kind] for kind in ("pushes", "roll-backs", "crashes", "edits")) >= 5, total


@pytest.mark.slow
def test_hundreds_of_random_schedules_keep_what_a_release_promises(run):
    number = int(os.environ.get("CANARYKIT_SCHEDULES", "200"))  # 2,200 take some minutes
    total = run(range(1000, 1000 + number))
    assert total["pushes"] > 0.9 * number, total
    assert min(total[kind] for kind in ("roll-backs", "crashes", "edits", "late writes")) > number / 45, total
