"""The first screen of a report's page: verdict, a tile for each guardrail, who is hit, what to do next."""

import dataclasses
import re
from html import escape, unescape

import matplotlib
import pytest

import canarykit as ck
from canarykit.health.page import style
from canarykit.health.page.tiles import first_screen
from tests.release import make_release, ramp_plan
from tests.test_report import AS_OF, GUARDRAILS, STAGE, Page
from tests.test_segments import judge, released

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def report():
    return ck.evaluate_stage(make_release(harm=2.5).log, ramp_plan(), STAGE, GUARDRAILS, as_of=AS_OF)


@pytest.fixture(scope="module")
def page(report):
    return report.to_html()


def before_the_folds(page):
    return page[page.index("<main>") : page.index("<details")]


def contrast(one, other):
    """Of two colours, by the formula of WCAG 2."""

    def light(colour):
        channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_first_screen_answers_before_anything_is_opened(page, report):
    screen = unescape(before_the_folds(page)).replace("\xa0", " ")
    assert "▼ ROLL BACK" in screen
    assert report.reason.removeprefix(f"{STAGE}: ")[1:] in screen
    for check in report.checks:
        if check.kind == "guardrail":
            for text in (check.name, str(check.canary), str(check.control), check.effect_text):
                assert text in screen
            assert check.evidence_text in screen
            assert f"{check.status.mark} {check.status.value}" in screen
    for step in report.next_steps:
        assert step in screen
    assert "83 of 760 people" in screen
    assert screen.index("E is the evidence of harm") < screen.index("E = 6.6e+09")


def test_everything_else_is_folded_and_open_on_paper(page, report):
    folded = page[page.index("<details") :]
    for text in (section.text for section in report.sections):
        assert escape(text) in folded
    assert "<details open" not in page
    assert "details-content" in style._PAPER


def test_each_small_picture_says_its_numbers_to_those_who_cannot_see_it(page, report):
    labels = [attributes["aria-label"] for tag, attributes in Page(page).attributes if tag == "svg"]
    for check in report.checks:
        if check.kind == "guardrail":
            effect, evidence = (label for label in labels if label.startswith(check.name))
            assert check.effect_text in effect
            assert check.margin_text in effect
            assert check.evidence_text in evidence


@pytest.mark.parametrize("theme", ["_LIGHT", "_DARK"])
def test_every_text_stands_out_from_its_ground_in_both_themes(theme):
    colours = dict(re.findall(r"--(\w+):(#\w+)", getattr(style, theme)))
    colours = {k: "#" + "".join(2 * c for c in v[1:]) if len(v) == 4 else v for k, v in colours.items()}
    for ground in ("ground", "panel"):
        for text in ("ink", "quiet", "good", "bad", "care"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["ink"], colours["band"]) >= 4.5
    for verdict in ("#00704f", "#5a5a5a", "#b03a00"):
        assert verdict in style._SCREEN
        assert contrast("#ffffff", verdict) >= 4.5


def test_the_segment_that_carries_the_harm_is_named_where_it_says_who_is_hit():
    judged = judge(released({"browser": "Safari"}), 1.25)
    (harmed,) = judged.harmed_segments
    assert (harmed.name, harmed.segment) == ("$browser", "Safari")
    screen = first_screen(judged)
    assert "<b>$browser is Safari</b>" in screen[screen.index("Who is hit") :]
    assert screen.index("E is the evidence of harm") < screen.index('class="tiles"')


def test_where_nobody_is_hit_the_page_says_how_many_have_it():
    judged = ck.evaluate_stage(make_release(n=600, harm=1.0).log, ramp_plan(), STAGE, GUARDRAILS, as_of=AS_OF)
    assert "Nobody is shown to be hit." in first_screen(judged)


def test_what_speaks_against_the_data_is_on_the_first_screen():
    log = make_release("internal team", share=1.0, n=30, base=0.1).log
    judged = ck.evaluate_stage(log, ramp_plan(), "internal team", as_of="2026-09-13T09:00:00Z")
    screen = first_screen(judged)
    assert "What stands in the way" in screen
    assert escape(judged.check("data").meaning) in screen
    assert "rolls back from E" not in screen


def test_those_who_did_what_one_hopes_for_are_not_called_hit():
    log = make_release("internal team", share=1.0, n=30, base=0.1).log
    judged = ck.evaluate_stage(
        log, ramp_plan(), "internal team", GUARDRAILS[:2], as_of="2026-09-11T09:00:00Z"
    )
    assert judged.check("paid within 1d").canary.count > 0
    screen = first_screen(judged)
    hit = screen[screen.index("Who is hit") : screen.index("What to do next")]
    assert "people with $exception" in hit
    assert "paid within 1d" not in hit


def test_names_of_strangers_are_text_in_tiles_and_labels(report):
    evil = '"><img src=x onerror=alert(1)>'
    checks = tuple(dataclasses.replace(check, name=evil + check.name) for check in report.checks)
    worse = dataclasses.replace(
        report, checks=checks, flag=evil, stage=evil, reason=evil, next_steps=(evil,), found=None
    )
    parsed = Page(first_screen(worse))
    assert "img" not in parsed.tags
    assert not any(name.startswith("on") for _, attributes in parsed.attributes for name in attributes)


def test_intervals_without_an_end_are_marked_as_open(report):
    open_ended = tuple(
        dataclasses.replace(check, effect_high=float("inf"), effect_low=None)
        if check.kind == "guardrail"
        else check
        for check in report.checks
    )
    page = first_screen(dataclasses.replace(report, checks=open_ended))
    assert page.count('<path class="end"') == 2 * len(GUARDRAILS)
    assert not re.search(r'"(?:nan|inf|-inf)"', page)


@pytest.mark.slow
def test_a_page_with_many_guardrails_stays_light_enough_to_mail():
    many = [ck.Guardrail("$exception", name=f"errors {k}") for k in range(8)]
    judged = ck.evaluate_stage(make_release(n=800).log, ramp_plan(), STAGE, many, as_of=AS_OF)
    assert len(judged.to_html()) < 500_000
