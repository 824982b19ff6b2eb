"""Pictures of fixed numbers, made small: what `test_images.py` compares with the ones kept in `pictures/`.

`python -m tests.drawn` draws the kept ones anew, to be looked at before they are committed.
"""

import io
from pathlib import Path

import numpy as np
import pandas as pd

from canarykit.funnels.answers.compare import compare_steps
from canarykit.health.checks.check import Arm, Check, Status
from canarykit.health.decision import Row
from canarykit.health.report.stage_report import StageReport
from canarykit.insights import FlagTrend
from canarykit.simulate.decisions.ramps import RampChoice, RampPlan
from tests.test_funnel_results import funnel_of

KEPT = Path(__file__).parent / "pictures"
WIDTH = 260
"""Pixels of a small picture: letters are smudges there, so that a font's hinting does not matter."""
START = pd.Timestamp("2026-09-07T09:00:00Z")


def funnel():
    return funnel_of([(80, 60, 48), (70, 63, 56)], attribution="exposure", exposed=(200, 100)).plot()


def comparison():
    return compare_steps(
        {"control": [800, 480], "test": [700, 560]}, {"control": 800, "test": 700}, ["signup", "paid"],
        baseline="control", start="first step",
    ).plot()  # fmt: skip


def effects():
    """A report of three guardrails: one harmful, one safe, one that waits."""
    arm = Arm(55, 232, 55 / 232)
    lines = {
        "people with $exception": (Status.HARM, 4.74, 2.9, 7.3, 1.5),
        "paid within 1d": (Status.OK, 1.05, 0.97, 1.14, 0.9),
        "slow pages": (Status.WAIT, 1.1, 0.7, 1.8, 1.25),
    }
    checks = tuple(
        Check(name, "guardrail", status, "", canary=arm, control=arm, effect=effect, effect_low=low,
              effect_high=high, margin=margin, hoped=1.0, roll_back=1.0)
        for name, (status, effect, low, high, margin) in lines.items()
    )  # fmt: skip
    return StageReport(
        flag="new-checkout", stage="expanded beta 5%", kind="percentage", share=0.05, starts_at=START,
        ends_at=None, as_of=START, verdict=Row.HARM.verdict, row=Row.HARM, reason="", n_canary=232,
        n_control=4062, checks=checks,
    ).plot()  # fmt: skip


def trend():
    """Two arms over four days, the last of them not complete."""
    rows = []
    for variant, values in (("control", (0.10, 0.11, 0.10, 0.06)), ("test", (0.11, 0.22, 0.24, 0.15))):
        for day, value in enumerate(values):
            at = START.normalize() + pd.Timedelta(days=day)
            rows.append({
                "start": at, "variant": variant, "events": 100, "users": 100, "exposed": 1000,
                "value": value, "low": value - 0.02, "high": value + 0.02, "incomplete": day == 3,
            })  # fmt: skip
    return FlagTrend("$exception", "f", "users", "exposed user", "day", "share of people", tuple(rows)).plot()


def ramp():
    choices = tuple(
        RampChoice(shares, dwell, hours, hours * 0.9, hours * 1.15, 0.9, 0.02, harm, 2.0)
        for shares, dwell, hours, harm in (
            ((25, 50), "4h", 20.0, 48.0), ((5, 25, 50), "4h", 32.0, 31.0), ((5, 25, 50), "1d", 70.0, 19.0),
            ((1, 5, 25, 50), "1d", 96.0, 12.0),
        )
    )  # fmt: skip
    usual = RampChoice((1, 10, 50), "2d", 144.0, 140.0, 150.0, 0.9, 0.02, 25.0, 2.0, by_clock=True)
    ax = RampPlan(choices[1], usual, choices, 35.0, 10.0, None).plot()
    ax.get_legend().set_loc("upper right")  # the best place is another one where letters are wider
    return ax


PICTURES = {draw.__name__: draw for draw in (funnel, comparison, effects, trend, ramp)}


def small(ax):
    """The axes' figure in the font that matplotlib brings, `WIDTH` pixels wide, as an array of floats."""
    from matplotlib import pyplot
    from PIL import Image

    ax.figure.set_layout_engine("none")  # which moves the axes with every letter that is wider
    ax.set_position((0.22, 0.2, 0.6, 0.62))
    file = io.BytesIO()
    ax.figure.savefig(file, format="png", dpi=200)
    pyplot.close(ax.figure)
    large = Image.open(file).convert("RGB")
    size = (WIDTH, round(WIDTH * large.height / large.width))
    return np.asarray(large.resize(size, Image.Resampling.BOX), dtype=float)


def draw(name):
    """One of `PICTURES` under matplotlib's own defaults, whatever the user's settings are."""
    import matplotlib as mpl

    mpl.use("Agg")
    with mpl.rc_context(mpl.rcParamsDefault | {"backend": "Agg", "font.family": "DejaVu Sans"}):
        return small(PICTURES[name]())


if __name__ == "__main__":
    from PIL import Image

    KEPT.mkdir(exist_ok=True)
    for name in PICTURES:
        picture = Image.fromarray(draw(name).astype(np.uint8)).quantize(64)
        picture.save(KEPT / f"{name}.png", optimize=True)
