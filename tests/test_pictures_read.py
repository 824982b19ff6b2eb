"""Pictures as they are read: no two texts of one lie over each other, and nothing is cut off at the edge."""

from itertools import combinations

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.text import Text

import canarykit as ck
from canarykit import metrics
from tests.release import STAGE as RELEASED
from tests.release import make_release, ramp_plan

STEPS = ["signup started", "signup finished", "paid"]
STAGE = "expanded beta 5%"


@pytest.fixture(scope="module")
def sample():
    return ck.load_sample()


@pytest.fixture(scope="module")
def report(sample):
    plan = sample.plan
    guardrails = [
        ck.Guardrail("$exception", margin_ratio=3),
        ck.Guardrail(metrics.Conversion("paid", within="1d"), margin_ratio=0.5),
        ck.Guardrail(metrics.Total("paid", "amount"), margin_ratio=0.5),
    ]
    return ck.evaluate_stage(sample.log, plan, STAGE, guardrails, as_of=plan.window(STAGE)[1])


@pytest.fixture(scope="module")
def funnel(sample):
    return ck.funnel_by_flag(
        sample.log, STEPS, plan=sample.plan, stage=STAGE, within="1d", attribution="exposure"
    )


def judged_quiet():
    """Narrow intervals around no change, and margins near the edges of the picture."""
    log, plan = make_release(RELEASED, n=8000, base=0.2).log, ramp_plan()
    guardrails = [
        ck.Guardrail("$exception", margin_ratio=3),
        ck.Guardrail(metrics.Conversion("paid", within="1d"), margin_ratio=0.5),
    ]
    return ck.evaluate_stage(log, plan, RELEASED, guardrails, as_of="2026-09-20T12:00:00Z")


def trend(sample, **options):
    plan = sample.plan
    until = plan.window(STAGE)[1] - pd.Timedelta(minutes=30)  # the last interval is not complete
    return ck.trend_by_flag(
        sample.log, "$exception", flag=plan.flag, plan=plan, stage=STAGE, until=until, **options
    )


PICTURES = {
    "funnel": lambda sample, report, funnel: funnel.plot(),
    "funnel compared": lambda sample, report, funnel: funnel.compare().plot(),
    "time to convert": lambda sample, report, funnel: funnel.time_to_convert().plot(),
    "funnel by day": lambda sample, report, funnel: funnel.trend("day").plot(),
    "effects within wide margins": lambda sample, report, funnel: judged_quiet().plot(),
    "effects": lambda sample, report, funnel: report.plot(),
    "evidence": lambda sample, report, funnel: report.plot_evidence(),
    "share so far": lambda sample, report, funnel: trend(sample, measure="share", interval="hour").plot(),
    "users a day": lambda sample, report, funnel: trend(sample, measure="users", interval="day").plot(),
    "survey": lambda sample, report, funnel: ck.survey_by_flag(
        sample.log, sample.survey, flag=sample.plan.flag, plan=sample.plan, stage=STAGE
    ).plot(),
}


def words_of(ax):
    """Every text that is seen, with the part of the picture that it covers."""
    figure = ax.figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = []
    for text in figure.findobj(Text):
        if not text.get_visible() or not text.get_text().strip():
            continue
        texts.append((text.get_text(), text.get_window_extent(renderer)))
    seen = ax.get_tightbbox(renderer)
    return [(words, box) for words, box in texts if box.width > 1 and seen.overlaps(box)]


def shared(one, other):
    """Part of the smaller of two boxes that the other covers."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    smaller = min(one.width * one.height, other.width * other.height)
    return max(width, 0) * max(height, 0) / smaller


@pytest.mark.parametrize("name", PICTURES)
def test_no_text_of_a_picture_lies_over_another(name, sample, report, funnel):
    ax = PICTURES[name](sample, report, funnel)
    words = words_of(ax)
    assert len(words) > 5
    over = [(a, b) for (a, one), (b, other) in combinations(words, 2) if shared(one, other) > 0.1 and a != b]
    plt.close(ax.figure)
    assert over == []


def test_what_is_tolerated_is_written_inside_the_axes():
    ax = judged_quiet().plot()
    frame = ax.get_window_extent()
    boxes = [box for words, box in words_of(ax) if "tolerated" in words]
    plt.close(ax.figure)
    assert len(boxes) == 2
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_texts_that_do_lie_over_each_other_are_found():
    _, ax = plt.subplots()
    ax.text(0.5, 0.5, "one word")
    ax.text(0.5, 0.5, "another word")
    boxes = dict(words_of(ax))
    assert shared(boxes["one word"], boxes["another word"]) > 0.9
    plt.close(ax.figure)


@pytest.mark.parametrize("variants", [("false", "true"), ("control", "test")])
def test_the_control_and_the_canary_have_one_colour_each_in_every_picture(variants, sample, funnel):
    from canarykit.plots.style import PALETTE, variant_styles

    control, canary = (variant_styles(list(variants))[key]["color"] for key in variants)
    assert canary == PALETTE["orange"]
    assert control != canary
    ax = funnel.plot()
    drawn = {patch.get_facecolor()[:3] for patch in ax.patches}
    plt.close(ax.figure)
    from matplotlib.colors import to_rgb

    assert {to_rgb(control), to_rgb(canary)} <= drawn
