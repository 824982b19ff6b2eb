"""A file that canarykit writes is whole or absent."""

import os
from pathlib import Path

import pytest

import canarykit as ck
from canarykit.errors import DataError
from canarykit.files import beside, write_whole


def test_what_stood_there_stays_until_the_new_text_is_whole(tmp_path):
    target = tmp_path / "report.html"
    write_whole(target, "old")

    def interrupted():
        with beside(target) as unfinished:
            unfinished.write_text("half")
            assert target.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_full_disk_leaves_nothing_behind_and_is_an_error_of_ours(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DataError, match=r"report\.html cannot be written: No space left on device"):
        write_whole(tmp_path / "report.html", "x" * 100)
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_whole(tmp_path / "file" / "report.html", "x")
    with pytest.raises(DataError, match="cannot be written"):
        write_whole(tmp_path, "x")


def test_a_link_keeps_pointing_and_a_device_takes_what_it_gets(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    write_whole(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"
    write_whole("/dev/null", "gone")


def test_results_make_their_folder_and_write_through_the_same_door(tmp_path):
    flag = ck.Flag("f", conditions=(ck.Condition(),))
    result = ck.lint(flag)
    result.to_json(tmp_path / "new" / "lint.json")
    assert (tmp_path / "new" / "lint.json").read_text().startswith("{")


def test_a_simulation_that_is_stopped_leaves_no_file_that_reads_as_complete(tmp_path, monkeypatch):
    from canarykit.simulate.log import export_folder

    def stopped(*_args):
        raise KeyboardInterrupt

    plan = ck.RolloutPlan("f", (ck.Stage.for_share("half", 50),), starts_at="2026-09-07T09:00:00Z")
    with monkeypatch.context() as patched:
        patched.setattr(export_folder, "groups_frame", stopped)
        with pytest.raises(KeyboardInterrupt):
            ck.simulate_rollout(plan, ck.Population(50), ck.Scenario(), rng=1, path=tmp_path)
    assert os.listdir(tmp_path) == []
    ck.simulate_rollout(plan, ck.Population(50), ck.Scenario(), rng=1, path=tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["events.parquet", "groups.parquet", "persons.parquet"]
