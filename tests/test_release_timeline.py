"""A walk's index: the whole release as one timeline, each stage a link to its report."""

import dataclasses
import json
import re

import pytest

import canarykit as ck
from canarykit import walk
from canarykit.display import Note
from canarykit.health.page.timeline import release_page, stage_line
from canarykit.health.suggestions import SuggestedGuardrails
from tests.release import make_release, ramp_plan
from tests.test_report import Page


@pytest.fixture(scope="module")
def reports():
    log = make_release(n=300).log
    report = ck.evaluate_stage(log, ramp_plan(), "expanded beta 25%", as_of="2026-09-20T12:00:00Z")
    later = dataclasses.replace(
        report, stage="full release", kind="full", share=1.0, starts_at=report.ends_at, ends_at=None,
        as_of=report.ends_at + (report.ends_at - report.starts_at), verdict=ck.Verdict.PROMOTE,
    )  # fmt: skip
    return [report, later]


@pytest.mark.parametrize("own", [[], ["--export", "events.csv", "--flag", "new-checkout"]])
def test_a_walk_without_its_notebooks_says_how_to_name_their_folder(own, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.csv").touch()
    assert walk.main(own) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: no notebook ")
    assert "--notebooks" in said
    assert not (tmp_path / "build").exists()


def test_the_index_of_a_walk_leads_to_every_report_and_notebook(reports, tmp_path, capsys):
    walk.collect({"reports": reports}, str(tmp_path), "13_stages")
    lines = [json.loads(line.removeprefix(walk.MARK)) for line in capsys.readouterr().out.splitlines()]
    walked = walk.Walked("13_stages", tmp_path / "13_stages.html", tuple(lines))
    text = walk._write_index([walked], tmp_path).read_text(encoding="utf-8")
    links = [attributes["href"] for tag, attributes in Page(text).attributes if tag == "a"]
    reported = ["13_stages_report_1.html", "13_stages_report_2.html"]
    assert [link for link in links if link != "13_stages.html"] == reported
    assert all((tmp_path / link).is_file() for link in reported)
    for report in reports:
        assert f"{report.verdict.icon} {report.verdict.value}" in text
    assert "width=device-width" in text
    assert "prefers-color-scheme:dark" in text


def test_what_a_walk_assumed_of_an_own_release_is_told_on_the_terminal(reports, tmp_path, capsys):
    rows = (("paid", "lower", "12.0 %", 300, "down to 0.9 times", 0.9, "0.8 times", "a reason"),)
    proposed = SuggestedGuardrails((), rows, (Note("assumed", "chosen by names"),))
    walk.collect({"report": reports[0], "PLAN": "", "suggested": proposed}, str(tmp_path), "90")
    marked = [line for line in capsys.readouterr().out.splitlines() if line.startswith(walk.ASSUMED)]
    said = [line.removeprefix(walk.ASSUMED) for line in marked]
    assert said[0].startswith("no PLAN=: the steps of the ramp were found in the events")
    assert said[1:] == [
        "proposed from the events: paid, lower is worse, tolerated down to 0.9 times", "chosen by names"
    ]  # fmt: skip


def test_bars_of_the_timeline_lie_where_the_stages_were_in_time(reports):
    page = release_page([stage_line(report, "x.html") for report in reports])
    bars = re.findall(r"left:([\d.]+)%;width:([\d.]+)%", page)
    assert bars == [
        ("0.00", "50.00"),
        ("50.00", "50.00"),
    ]  # equal in length, one behind the other
    assert "25.0 % of people" in page
    assert "to open; judged as of" in page


def test_several_variants_have_no_one_share_and_chosen_people_none(reports):
    line = stage_line(dataclasses.replace(reports[0], share=None), "x.html")
    assert "several variants" in release_page([line])
    assert "chosen people" in release_page([{**line, "kind": "targeted"}])


def test_names_of_strangers_are_text_in_the_timeline(reports):
    evil = '"><script>alert(1)</script>'
    report = dataclasses.replace(reports[0], flag=evil, stage=evil, reason=evil)
    page = release_page([{**stage_line(report, "x.html"), "notebook": evil}])
    assert "<script" not in page
    assert Page(page).open == []


def test_a_release_without_a_judged_stage_says_so():
    assert "No stage was judged." in release_page([])
