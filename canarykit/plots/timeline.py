"""The record of a release as a picture: which stage was set when, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarykit.plots.style import CANARY, INK, new_axes, plain_text, time_axis, title_finding

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from canarykit.release.record import Timeline


@plain_text
def plot_timeline(timeline: Timeline, *, ax: Axes | None = None) -> Axes:
    """Stages over time: a step for each write that was applied, a mark for each that was not."""
    ax = new_axes(ax)
    rows = timeline.to_frame()
    stages = list(dict.fromkeys("off" if stage is None else stage for stage in rows["stage"]))
    if "off" in stages:
        stages = ["off", *(stage for stage in stages if stage != "off")]
    heights = [stages.index("off" if stage is None else stage) for stage in rows["stage"]]
    applied = (rows["status"] == "applied").to_numpy(dtype=bool)
    done = [height for height, state in zip(heights, applied, strict=True) if state]
    ax.step(rows["at"][applied], done, where="post", color=CANARY, marker="o", label="applied")
    left = [height for height, state in zip(heights, applied, strict=True) if not state]
    if left:
        ax.plot(rows["at"][~applied], left, "x", color=INK, label="not applied")
    ax.set_yticks(range(len(stages)), stages)
    title_finding(ax, timeline._in_brief())
    if len(rows):
        time_axis(ax)
        ax.legend(loc="best")
    return ax
