"""Lines over time, one a variant; what is not complete yet is drawn hollow and dashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from canarykit.plots.style import (
    label_ends,
    new_axes,
    percent_axis,
    plain_text,
    time_axis,
    title_finding,
    variant_label,
    variant_styles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from canarykit.funnels.answers.times import FunnelTrend
    from canarykit.insights import FlagTrend

MOST_VARIANTS = 6


@plain_text
def draw_flag_trend(trend: FlagTrend, *, ax: Axes | None = None) -> Axes:
    """One event over time by variant, with its interval as a band."""
    ax = new_axes(ax)
    _draw_lines(ax, trend.rows, "value")
    if trend.is_share:
        percent_axis(ax)
    ax.set_ylabel(f"{trend.event}:\n{trend.unit}")
    _finish(ax, trend, "value")
    return ax


@plain_text
def draw_funnel_trend(trend: FunnelTrend, *, ax: Axes | None = None) -> Axes:
    """Conversion by the period of the first step, with its interval as a band."""
    ax = new_axes(ax)
    _draw_lines(ax, trend.rows, "share")
    percent_axis(ax)
    ax.set_ylabel(f"share who reached\n“{trend.to_name}”")
    _finish(ax, trend, "share")
    return ax


def _draw_lines(ax: Axes, rows: Sequence[Mapping[str, Any]], key: str) -> None:
    variants = tuple(dict.fromkeys(row["variant"] for row in rows))[:MOST_VARIANTS]
    styles = variant_styles(variants)
    crowded = len(rows) > 60 * max(len(variants), 1)
    for variant in variants:
        style = styles[variant]
        mine = [row for row in rows if row["variant"] == variant and row[key] is not None]
        color, marker = style["color"], style["marker"]
        for before, after in pairwise(mine):
            dashed = before["incomplete"] or after["incomplete"]
            ax.plot(
                [before["start"], after["start"]], [before[key], after[key]], color=color, linewidth=1.6,
                linestyle=(0, (3, 2)) if dashed else "-",
            )  # fmt: skip
        for incomplete in () if crowded else (False, True):
            part = [row for row in mine if row["incomplete"] is incomplete]
            ax.plot(
                [row["start"] for row in part], [row[key] for row in part], linestyle="none", color=color,
                marker=marker, markersize=5, markerfacecolor="white" if incomplete else color,
            )  # fmt: skip
        banded = [row for row in mine if row.get("low") is not None]
        ax.fill_between(
            [row["start"] for row in banded], [row["low"] for row in banded],
            [row["high"] for row in banded], color=color, alpha=0.15, linewidth=0,
        )  # fmt: skip


def _finish(ax: Axes, trend: FlagTrend | FunnelTrend, key: str) -> None:
    rows = trend.rows
    time_axis(ax, timezone=trend.timezone)
    starts = sorted({row["start"] for row in rows})
    if len(starts) <= 8:
        ax.set_xticks(starts)  # no hours between days
    values = [row[key] for row in rows if row[key] is not None]
    limits = [row["high"] for row in rows if row.get("high") is not None]
    most = max(values, default=0.0)  # a wide interval of the first people may leave the picture
    ax.set_ylim(0, max(most * 1.1, min(max(limits, default=0.0), most * 1.8)) or None)
    dashed = "; dashed and hollow: not complete" if any(row["incomplete"] for row in rows) else ""
    label = f"{trend.interval} from ({trend.timezone}{dashed})"
    ax.set_xlabel(label, loc="left" if dashed else None)  # the day stands at the right
    variants = tuple(dict.fromkeys(row["variant"] for row in rows))[:MOST_VARIANTS]
    styles, ends = variant_styles(variants), []
    for variant in variants:
        mine = [row[key] for row in rows if row["variant"] == variant and row[key] is not None]
        name = "everybody" if variant is None else variant_label(variant)
        ends += [(mine[-1], name, styles[variant])] if mine else []
    label_ends(ax, ends)
    title_finding(ax, trend.finding())
