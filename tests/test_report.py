"""The report as a page, as pictures, as words: self-contained, escaped, light, and the same every time."""

import dataclasses
import re
from html.parser import HTMLParser
from itertools import pairwise

import matplotlib
import pandas as pd
import pytest

import canarykit as ck
from canarykit import metrics
from canarykit.errors import DataError
from canarykit.plots.health import plot_exposure, plot_rate, plot_sample_ratio
from tests.release import make_release, ramp_plan

matplotlib.use("Agg")
STAGE = "expanded beta 25%"
AS_OF = "2026-09-20T12:00:00Z"
GUARDRAILS = [
    ck.Guardrail("$exception", critical=True),
    ck.Guardrail(metrics.Conversion("paid", within="1d"), worse="lower"),
    ck.Guardrail(metrics.Total("paid", "amount"), worse="lower"),
]


class Page(HTMLParser):
    """Tags and attributes of a page; a mismatched end is an error."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report():
    return ck.evaluate_stage(make_release(harm=2.5).log, ramp_plan(), STAGE, GUARDRAILS, as_of=AS_OF)


@pytest.fixture(scope="module")
def page(report):
    return report.to_html()


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def test_the_page_is_well_formed_light_and_needs_nothing_from_elsewhere(page):
    parsed = Page(page)
    assert parsed.open == []
    assert len(page) < 2_000_000
    assert not {"script", "link", "iframe"} & set(parsed.tags)
    (style,) = re.findall(r"<style>(.*?)</style>", page)
    assert "@media print" in style
    assert not re.search(r"url|@import", style)
    for tag, attributes in parsed.attributes:
        assert not any(name.startswith("on") for name in attributes)
        source = attributes.get("src", "data:")
        assert source.startswith("data:image/png;base64,") or tag != "img"
    assert not re.search(r"https?://", page)


def test_every_picture_has_an_alternative_text_that_says_what_it_shows(page, report):
    texts = [attributes["alt"] for tag, attributes in Page(page).attributes if tag == "img"]
    assert len(texts) >= 5
    assert all(len(text) > 30 for text in texts)
    assert any("people with $exception" in text and report.check("people with $exception").effect_text in text
               for text in texts)  # fmt: skip


def test_the_page_says_the_verdict_in_words_and_explains_every_line(page, report):
    assert "ROLL BACK" in page
    from html import escape

    for check in report.checks:
        assert escape(check.name) in page
        assert escape(check.meaning) in page
    for section in report.sections:
        assert escape(section.title.capitalize()) in page


def test_counts_of_people_lead_to_the_people(page, report):
    parsed = Page(page)
    targets = {attributes["href"].removeprefix("#") for tag, attributes in parsed.attributes if tag == "a"}
    anchors = {attributes.get("id") for _, attributes in parsed.attributes}
    assert len(targets) == len(report.listed) == 3
    assert targets <= anchors
    first = report.people("people with $exception").iloc[0]
    assert first["person_id"] in page
    assert report.people("both variants seen", canary=None).empty


def test_names_from_other_peoples_exports_cannot_run_in_the_page():
    evil = "<script>alert(1)</script>"
    guardrail = ck.Guardrail(metrics.ErrorShare("$exception"), name=evil)
    report = ck.evaluate_stage(make_release(n=300).log, ramp_plan(), STAGE, guardrail, as_of=AS_OF)
    assert evil not in report.to_html()
    assert evil not in report._repr_html_()
    assert "<script>" not in report.to_markdown()


def test_the_page_is_written_where_asked(report, page, tmp_path):
    path = tmp_path / "reports" / "stage.html"
    assert report.to_html(path) == page
    assert path.read_text(encoding="utf-8") == page


def test_markdown_for_a_pull_request_has_the_verdict_the_table_and_the_next_steps(report):
    text = report.to_markdown()
    assert text.startswith("## ▼ ROLL BACK: ")
    assert "| people with $exception |" in text
    assert "**Next**" in text
    assert report.next_steps[0] in text


def test_pictures_take_axes_and_return_them(report):
    from matplotlib import pyplot

    _, ax = pyplot.subplots()
    assert report.plot(ax=ax) is ax
    for draw in (report.plot, report.plot_evidence):
        assert draw().figure is not ax.figure
    for plot in (plot_exposure, plot_sample_ratio):
        _, ax = pyplot.subplots()
        assert plot(report, ax=ax) is ax
    drawn = plot_rate(report, "people with $exception")
    assert "%" in drawn.yaxis.get_major_formatter()(0.05, 0)
    with pytest.raises(DataError, match="Did you mean"):
        plot_rate(report, "people with $exceptions")
    with pytest.raises(DataError, match="it has no rate per hour"):
        plot_rate(report, "sum of amount per person")


def test_the_forest_draws_the_numbers_of_the_report(report):
    ax = report.plot()
    check = report.check("people with $exception")
    points = {round(float(x), 6) for line in ax.lines for x in line.get_xdata()}
    assert {round(check.effect, 6), round(check.margin, 6)} <= points
    assert "roll back" in ax.get_title(loc="left")


@pytest.mark.parametrize("low, high", [(0.12, 4.2), (0.9, 1.2), (0.04, 30.0)])
def test_tick_labels_of_the_forest_do_not_touch(report, low, high):
    spread = {"effect": 1.1, "effect_low": low, "effect_high": high, "effect_unit": "ratio"}
    checks = tuple(dataclasses.replace(c, **spread) if c.kind == "guardrail" else c for c in report.checks)
    ax = dataclasses.replace(report, checks=checks).plot()
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert len(boxes) >= 3
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_the_evidence_picture_draws_the_threshold_and_the_series(report):
    ax = report.plot_evidence()
    levels = {round(float(y), 6) for line in ax.lines for y in line.get_ydata()}
    assert 20.0 in levels
    assert len(ax.get_legend().get_texts()) == 3


def test_a_stage_without_a_control_has_bounds_and_no_evidence_to_draw():
    events = make_release("internal team", share=1.0, n=30, base=0.1).events
    log = ck.EventLog(events)
    report = ck.evaluate_stage(log, ramp_plan(), "internal team", as_of="2026-09-13T09:00:00Z")
    assert "no control" in report.plot().get_title(loc="left")
    with pytest.raises(DataError, match="no control, so there is no evidence"):
        report.plot_evidence()
    with pytest.raises(DataError, match="no rule can compare"):
        report.compare_rules()
    assert len(report.to_html()) < 2_000_000


def test_other_rules_are_judged_on_the_same_counts(report):
    rules = report.compare_rules()
    said = {row["rule"]: row for row in rules.to_frame().to_dict("records")}
    assert said["canarykit"]["says"] == "roll back"
    assert said["p < 0.05 at every look"]["says"] == "roll back"
    assert pd.Timestamp(said["canarykit"]["first_rollback"]) > ramp_plan().window(STAGE)[0]
    assert said["one look at the end"]["first_rollback"] == report.as_of
    assert said["daily group-sequential"]["says"] == "roll back"
    assert {"GrowthBook safe rollout", "Kayenta", "Argo Rollouts threshold", "Flagger threshold"} <= set(said)


@pytest.mark.slow
def test_a_daily_group_sequential_test_looks_less_and_errs_less_than_one_at_every_look():
    rolled = {"p < 0.05 at every look": 0, "daily group-sequential": 0, "canarykit": 0}
    for seed in range(10):
        harmless = make_release(n=1500, harm=1.0, days=2.0, seed=seed)
        judged = ck.evaluate_stage(
            harmless.log, ramp_plan(), STAGE, GUARDRAILS[0], as_of="2026-09-21T10:00:00Z", segments=()
        )
        for row in judged.compare_rules().to_frame().to_dict("records"):
            if row["rule"] in rolled:
                rolled[row["rule"]] += not pd.isna(row["first_rollback"])
    assert rolled["canarykit"] <= rolled["daily group-sequential"] <= rolled["p < 0.05 at every look"]
    assert rolled["daily group-sequential"] <= 3


def test_names_of_checks_and_sections_that_do_not_exist_are_answered(report):
    with pytest.raises(DataError, match="Did you mean 'sample ratio'"):
        report.check("sample ration")
    with pytest.raises(DataError, match="Did you mean 'people'"):
        report.section("peopl")
    assert report.explain().to_frame()["meaning"].str.len().min() > 10


def test_the_morning_board_counts_people_and_draws_every_panel():
    release = make_release(harm=2.0)
    board = ck.dashboard(
        release.log, ramp_plan(), STAGE, as_of=AS_OF, key_events=["paid"], steps=["$pageview", "paid"]
    )
    rows = board.to_frame().set_index(["what", "variant"])
    exposed = release.events[release.events["event"] == "$feature_flag_called"]
    on = set(exposed.loc[exposed["$feature_flag_response"] == "true", "distinct_id"])
    failed = set(release.events.loc[release.events["event"] == "$exception", "distinct_id"])
    assert rows.loc[("$exception", "true"), "people"] == len(on)
    assert rows.loc[("$exception", "true"), "count"] == len(on & failed)
    assert rows.loc[("$pageview > paid", "true"), "count"] <= rows.loc[("paid", "true"), "count"]
    figure = board.figure()
    assert sum(ax.get_visible() for ax in figure.axes) == 5
    (daily,) = [ax for ax in figure.axes if ax.get_title(loc="left").startswith("first errors by day")]
    for bars in daily.containers:
        tops = [segment[1][1] for segment in bars[2][0].get_segments()]
        assert min(tops) > 0  # a day without an error does not prove that there is none
    assert board.plot().get_ylabel() == "share of exposed people"
