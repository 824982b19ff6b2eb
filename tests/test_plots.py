"""Pictures draw the numbers of the result, name their units, and stay readable without colour."""

import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from canarykit.funnels.answers.compare import compare_steps
from canarykit.funnels.answers.times import FunnelTrend
from canarykit.funnels.engine.runs import TrendRun
from canarykit.insights import FlagTrend
from canarykit.plots.style import (
    CANARY,
    CONTROL,
    UNKNOWN,
    bar_style,
    line_style,
    new_axes,
    percent_axis,
    time_axis,
    title_finding,
    variant_label,
    variant_style,
    variant_styles,
)
from canarykit.plots.trends import draw_flag_trend

from .test_funnel_results import entries, funnel_of, query


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def drawn(ax):
    ax.figure.canvas.draw()
    return ax


# ---- style -----------------------------------------------------------------------------------------------


def test_the_arms_look_the_same_whatever_they_are_called():
    assert variant_style("control") == variant_style("false") == variant_style(False)
    assert variant_style("test") == variant_style("true") == variant_style(True)
    assert variant_style("control")["color"] == CONTROL
    assert variant_style("test")["color"] == CANARY


@pytest.mark.parametrize("nothing", [None, "", float("nan"), pd.NA, "unknown"])
def test_an_unknown_value_is_grey_and_never_looks_like_the_control(nothing):
    assert variant_style(nothing)["color"] == UNKNOWN
    assert variant_label(nothing) == "unknown"


def test_no_two_variants_of_a_picture_share_a_look_in_any_one_channel():
    names = ["control", "test", "", "a", "b", "c", "d", "e", "f"]
    styles = variant_styles(names)
    for one, two in itertools.combinations(names, 2):
        for channel in ("color", "marker", "hatch"):
            if {one, two} & {"d", "e", "f"} and channel != "color":
                continue  # beyond six arms colour and one other channel tell them apart
            assert styles[one][channel] != styles[two][channel], (one, two, channel)


def test_a_variant_keeps_its_look_when_others_join_the_picture_in_another_order():
    assert variant_styles(["b", "control"])["control"] == variant_styles(["control", "zebra", "b"])["control"]
    assert variant_styles(["x", "y"]) == variant_styles(["y", "x"])
    assert variant_style("blue-button") == variant_style("blue-button")


def test_a_plan_may_call_its_arms_as_it_likes():
    styles = variant_styles(["old", "new"], control="old", canary="new")
    assert (styles["old"]["color"], styles["new"]["color"]) == (CONTROL, CANARY)


def test_styles_are_made_of_what_matplotlib_takes():
    ax = new_axes()
    ax.plot([0, 1], [0, 1], **line_style(variant_style("a", 3)))
    ax.bar([0], [1], **bar_style(variant_style("holdout-7")))
    drawn(ax)


def test_new_axes_are_the_callers_when_given_and_never_the_current_ones():
    _, mine = plt.subplots()
    assert new_axes(mine) is mine
    assert new_axes() is not mine


def test_axes_write_percentages_points_and_utc():
    ax = new_axes()
    ax.set_ylim(0, 0.5)
    percent_axis(ax)
    ax.set_xlim(-0.02, 0.02)
    percent_axis(ax, "x", signed=True)
    drawn(ax)
    assert "10 %" in [label.get_text() for label in ax.get_yticklabels()]
    assert "+1 pp" in [label.get_text() for label in ax.get_xticklabels()]
    assert "0 pp" in [label.get_text() for label in ax.get_xticklabels()]
    ax = new_axes()
    ax.plot(pd.to_datetime(["2026-09-07T22:00:00Z", "2026-09-08T02:00:00Z"]), [0, 1])
    time_axis(ax)
    drawn(ax)
    assert "Sep-08" in [label.get_text() for label in ax.get_xticklabels()]  # midnight in UTC


def test_a_number_is_not_parted_from_its_unit_at_the_end_of_a_line():
    ax = new_axes()
    title_finding(ax, "paid 10.5 % of control and 12.5 % of the canary, +2.0 pp", width=12)
    lines = ax.get_title(loc="left").split("\n")
    assert len(lines) > 3
    assert not any(line.startswith(("%", "pp")) for line in lines)


# ---- funnel ----------------------------------------------------------------------------------------------


def test_bars_are_the_shares_and_carry_the_people():
    funnel = funnel_of([(80, 60, 48), (70, 63, 56)], attribution="exposure", exposed=(200, 100))
    ax = drawn(funnel.plot())
    assert isinstance(ax, Axes)
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx([0.4, 0.3, 0.24, 0.7, 0.63, 0.56])
    assert {to_hex(bar.get_facecolor()) for bar in ax.patches[:3]} == {CONTROL.lower()}
    assert [text.get_text() for text in ax.texts] == [
        "40.0 %\n80", "30.0 %\n60", "24.0 %\n48", "70.0 %\n70", "63.0 %\n63", "56.0 %\n56",
    ]  # fmt: skip
    assert ax.get_ylabel() == "share of exposed people"
    assert "on the bars the share, and people beneath it" in ax.get_xlabel()
    assert "14 d" in ax.get_xlabel()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1. signup", "2. address", "3. paid"]
    assert "56.0\u00a0% of test" in ax.get_title(loc="left").replace("\n", " ")


def test_whiskers_are_the_intervals_of_the_result():
    funnel = funnel_of([(80, 60, 48), (70, 63, 56)])
    ax = funnel.plot()
    whiskers = [c for c in ax.containers if hasattr(c, "has_yerr") and c.has_yerr]
    segments = whiskers[1].lines[2][0].get_segments()
    expected = [(row["low"], row["high"]) for row in funnel.rows_of("test")]
    np.testing.assert_allclose([tuple(s[:, 1]) for s in segments], expected)


def test_a_funnel_is_drawn_into_the_callers_axes():
    _, (left, right) = plt.subplots(1, 2)
    assert funnel_of([(8, 6, 4), (7, 6, 5)]).plot(ax=left) is left
    assert not right.patches


def test_many_values_are_drawn_up_to_six_and_the_rest_is_mentioned():
    names = tuple(f"v{i}" for i in range(9))
    ax = drawn(funnel_of([(9, 6, 4)] * 9, labels=names).plot())
    assert len(ax.patches) == 6 * 3
    assert "3 more values are in the table" in ax.get_xlabel()


def test_an_empty_funnel_is_drawn_as_nobody():
    from canarykit.funnels.answers.funnel import Funnel

    ax = drawn(Funnel.from_run(query(), entries(labels=())).plot())
    assert "Nobody entered" in ax.get_title(loc="left")


def test_the_comparison_draws_both_intervals_around_the_difference():
    comparison = compare_steps(
        {"control": [800, 480], "test": [700, 560]}, {"control": 800, "test": 700}, ["a", "b"],
        baseline="control", start="first step",
    )  # fmt: skip
    ax = drawn(comparison.plot())
    row = comparison.rows[0]
    spans = [tuple(segment[:, 0]) for lines in ax.collections for segment in lines.get_segments()]
    assert spans == [(row["always_low"], row["always_high"]), (row["low"], row["high"])]
    assert "any look" in ax.get_xlabel()
    assert any("pp" in label.get_text() for label in ax.get_xticklabels())


def test_curves_rise_to_the_share_who_converted():
    run = entries((0, (0, 10, 3600)), (0, (0, 9, 7200)), (0, (0,)), (1, (0, 1, 60)), (1, (0, 5)))
    from canarykit.funnels.answers.times import ConversionTimes

    ax = drawn(ConversionTimes.from_run(run, query()).plot())
    assert [line.get_ydata()[-1] for line in ax.lines[:2]] == pytest.approx([2 / 3, 1 / 2])
    assert "minutes" in ax.get_xlabel()
    assert [text.get_text() for text in ax.texts] == ["test (1 of 2)", "control (2 of 3)"]


# ---- trends ----------------------------------------------------------------------------------------------


def two_variant_trend():
    day = 86_400_000_000
    run = TrendRun(
        labels=("control", "test"),
        periods=np.arange(4) * day,
        incomplete=np.array([False, False, True, True]),
        entered=np.array([[10, 10, 10, 5], [10, 10, 10, 5]]),
        reached=np.array([[5, 4, 2, 0], [6, 6, 3, 1]]),
    )
    return FunnelTrend.from_run(run, from_name="signup", to_name="paid", interval="day")


def test_periods_that_are_not_over_are_dashed_and_hollow():
    ax = drawn(two_variant_trend().plot())
    joins = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_marker() == "None"]
    assert [line.get_linestyle() for line in joins] == ["-", "--", "--"] * 2
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert [len(line.get_xdata()) for line in hollow] == [2, 2]
    assert "not complete" in ax.get_xlabel()
    assert ax.get_ylabel() == "share who reached\n“paid”"


def test_a_trend_draws_its_values_with_the_unit_on_the_axis():
    rows = tuple(
        {
            "start": pd.Timestamp(f"2026-09-07T0{i}:00Z"), "variant": "true", "events": i, "users": i,
            "exposed": 10, "value": i / 10, "low": None, "high": None, "incomplete": False,
        }
        for i in range(3)
    )  # fmt: skip
    trend = FlagTrend("$exception", "f", "events", "exposed user", "hour", "events per exposed person", rows)
    ax = drawn(draw_flag_trend(trend))
    points = next(line for line in ax.lines if line.get_marker() == "^" and len(line.get_xdata()) == 3)
    assert points.get_ydata() == pytest.approx([0, 0.1, 0.2])
    assert ax.get_ylabel() == "$exception:\nevents per exposed person"
    assert "UTC" in ax.get_xlabel()
