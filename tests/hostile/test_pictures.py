"""Names with dollar signs are drawn as they stand, on the axes of a picture and on those of the caller."""

import json

import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.text import Text

import canarykit as ck
from tests.release import make_release, ramp_plan

ODD = ["$a__b", "$c", "$$heatmap$", r"\frac{$x$}", "$$", "_hidden", "%s {x}"]


def _drawn(picture):
    figure = picture if isinstance(picture, pyplot.Figure) else picture.figure
    figure.canvas.draw()
    return [text for text in figure.findobj(Text) if text.get_text()]


@pytest.fixture
def odd_log():
    rows = [
        {
            "event": event, "distinct_id": f"u{n}", "timestamp": f"2026-09-07T09:{5 * k + n % 5:02}:00Z",
            "properties": json.dumps({"$feature/$f$": ["control", "$t$"][n % 2], "$feature_flag": "$f$",
                                      "$feature_flag_response": ["control", "$t$"][n % 2]}),
        }
        for n in range(30) for k, event in enumerate(("$feature_flag_called", *ODD[: 2 + n % 4]))
    ]  # fmt: skip
    return ck.EventLog(pd.DataFrame(rows))


@pytest.mark.parametrize("on_own_axes", [True, False])
def test_pictures_of_funnels_and_trends_show_dollar_signs_as_text(odd_log, on_own_axes):
    funnel = ck.funnel_by_flag(odd_log, ODD[:3], flag="$f$")
    answers = [
        funnel.plot, funnel.compare().plot, funnel.time_to_convert().plot, funnel.trend(interval="hour").plot,
        ck.trend_by_flag(odd_log, "$c", flag="$f$", per="exposed user", interval="hour").plot,
    ]  # fmt: skip
    for plot in answers:
        ax = None if on_own_axes else pyplot.subplots()[1]
        texts = _drawn(plot(ax=ax))
        assert any("$" in text.get_text() for text in texts)
        assert not any(text.get_parse_math() for text in texts)
        pyplot.close("all")


def test_pictures_of_a_report_whose_guardrails_and_stage_have_dollar_signs_are_drawn():
    release = make_release("expanded beta 25%", harm=2.0)
    log = release.events
    guardrails = [ck.Guardrail("$exception", name="$a$ and $$b"), ck.Guardrail("$exception", name=r"$\frac$")]
    report = ck.evaluate_stage(
        ck.read_posthog(log, persons=release.persons), ramp_plan(), "expanded beta 25%", guardrails,
        as_of="2026-09-20T09:00:00Z",
    )  # fmt: skip
    for plot in (report.plot, report.plot_evidence):
        texts = _drawn(plot())
        assert any("$a$ and $$b" in text.get_text() for text in texts)
        pyplot.close("all")
    assert "$a" in "".join(report.to_html().replace("<span>", "").replace("</span>", ""))


def test_a_logarithmic_axis_keeps_its_powers_of_ten():
    from canarykit.plots.style import plain_text

    @plain_text
    def draw():
        _, ax = pyplot.subplots()
        ax.semilogy([1, 2], [1e-3, 1e9])
        ax.set_title("$a$")
        return ax

    ax = draw()
    ax.figure.canvas.draw()
    assert all(tick.label1.get_parse_math() for tick in ax.yaxis.get_major_ticks())
    assert not ax.title.get_parse_math()
