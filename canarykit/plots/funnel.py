"""Pictures of a funnel: steps by variant, the comparison with the baseline, and time to convert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from canarykit.counting import counted, shortened
from canarykit.display import format_value
from canarykit.plots.style import (
    INK,
    bar_style,
    label_ends,
    line_style,
    name_lines,
    new_axes,
    percent_axis,
    plain_text,
    title_finding,
    variant_label,
    variant_styles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from canarykit.funnels.answers.compare import FunnelComparison
    from canarykit.funnels.answers.funnel import Funnel
    from canarykit.funnels.answers.times import ConversionTimes

MOST_VARIANTS = 6


@plain_text
def draw_funnel(funnel: Funnel, *, ax: Axes | None = None) -> Axes:
    """Grouped bars: the share of people who reached each step, a whisker each, people on the bars."""
    ax = new_axes(ax)
    variants = funnel.variants[:MOST_VARIANTS]
    styles = variant_styles(variants)
    steps = funnel.steps
    width = 0.8 / max(len(variants), 1)
    for place, variant in enumerate(variants):
        rows = funnel.rows_of(variant)
        at = [row["step"] - 1 + (place - (len(variants) - 1) / 2) * width for row in rows]
        share = [row["share"] or 0.0 for row in rows]
        ax.bar(at, share, width * 0.94, label=_named(variant, rows), **bar_style(styles[variant]))
        _whiskers(ax, at, rows)
        for x, row in zip(at, rows, strict=True):
            if row["share"] is not None:
                ax.annotate(
                    f"{format_value(row['share'], 'share')}\n{row['count']:,}", (x, row["high"]),
                    xytext=(0, 2), textcoords="offset points", ha="center", va="bottom",
                    fontsize=8 if len(variants) * len(steps) < 10 else 6.5, color=INK, linespacing=1.1,
                )  # fmt: skip
    ax.set_xticks(range(len(steps)), [_step_text(k, name) for k, name in enumerate(steps)])
    ax.set_xlim(-0.55, len(steps) - 0.45)
    tallest = max((row["high"] or 0.0 for v in variants for row in funnel.rows_of(v)), default=1.0)
    ax.set_ylim(0, max(tallest * 1.2, 0.01))
    percent_axis(ax)
    ax.set_ylabel("share of exposed people" if funnel.start == "exposure" else "share of people at step 1")
    hidden = len(funnel.variants) - len(variants)
    shown = f"; {hidden} more values are in the table" if hidden else ""
    rules = "\n".join(wrap(f"({funnel.describe_rules()})", 84))
    ax.set_xlabel(f"step; on the bars the share, and people beneath it{shown}\n{rules}")
    if variants != (None,) and variants:
        _legend_box(ax)
    title_finding(ax, funnel.finding(counts=False), funnel.steps)
    return ax


@plain_text
def draw_comparison(comparison: FunnelComparison, *, ax: Axes | None = None) -> Axes:
    """The difference at each step with two intervals: for one planned look, and for any look."""
    ax = new_axes(ax)
    variants = tuple(dict.fromkeys(row["variant"] for row in comparison.rows))
    styles = variant_styles(variants)
    names = list(dict.fromkeys((row["step"], row["name"]) for row in comparison.rows))
    ax.axvline(0, color=INK, linewidth=1)
    for place, variant in enumerate(variants):
        style = styles[variant]
        rows = [r for r in comparison.rows if r["variant"] == variant and r["difference"] is not None]
        shift = (place - (len(variants) - 1) / 2) * 0.6 / max(len(variants), 1)
        at = [names.index((r["step"], r["name"])) + shift for r in rows]
        ax.hlines(at, [r["always_low"] for r in rows], [r["always_high"] for r in rows], color=style["color"])
        ax.hlines(at, [r["low"] for r in rows], [r["high"] for r in rows], color=style["color"], linewidth=5)
        ax.plot(
            [r["difference"] for r in rows], at, color=INK, marker=style["marker"], linestyle="none",
            label=variant_label(variant), zorder=3,
        )  # fmt: skip
    ax.set_yticks(range(len(names)), [_step_text(step - 1, name) for step, name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(visible=True, axis="x", color="#E3E3E3", linewidth=0.8)
    ax.grid(visible=False, axis="y")
    percent_axis(ax, "x", signed=True)
    level = f"{comparison.confidence * 100:g} %"
    ax.set_xlabel(
        f"difference to {variant_label(comparison.baseline)} in reaching the step from {comparison.start}"
        f"\n(thick: {level}, one planned look; thin: {level}, any look)"
    )
    if len(variants) > 1:
        _legend_box(ax)
    title_finding(ax, comparison.finding(), [name for _, name in names])
    return ax


@plain_text
def draw_conversion_times(times: ConversionTimes, *, ax: Axes | None = None) -> Axes:
    """One curve a variant: the share of the people at the first step who had converted by then."""
    ax = new_axes(ax)
    variants = times.variants[:MOST_VARIANTS]
    styles = variant_styles(variants)
    edge = times.most_seconds(0.99)
    scale, unit = _time_unit(edge)
    for variant in variants:
        points = times.curve(variant)
        points += [{**points[-1], "seconds": times.most_seconds(1.0)}] if points else []
        style = {**line_style(styles[variant]), "markevery": max(len(points) // 8, 1)}
        at = [0.0, *(p["seconds"] / scale for p in points)]
        ax.plot(
            at, [0.0, *(p["share"] for p in points)], drawstyle="steps-post", markersize=5,
            label=_curve_name(variant, times), **style,
        )  # fmt: skip
        ax.fill_between(
            at, [0.0, *(p["low"] for p in points)], [0.0, *(p["high"] for p in points)], step="post",
            color=style["color"], alpha=0.18, linewidth=0,
        )  # fmt: skip
    ax.set_xlim(0, max(edge / scale * 1.02, 0.01))
    ax.set_ylim(0, None)
    percent_axis(ax)
    ax.set_xlabel(
        f"time since “{shortened(times.from_name, 28)}” ({unit}; the slowest 1 % are beyond the edge)"
    )
    ax.set_ylabel(f"share who reached “{shortened(times.to_name, 28)}”")
    ends = [
        (
            (times.curve(variant) or [{"share": 0.0}])[-1]["share"],
            _curve_name(variant, times),
            styles[variant],
        )
        for variant in variants
    ]
    label_ends(ax, ends)
    title_finding(ax, times.finding(), [times.from_name, times.to_name])
    return ax


def _whiskers(ax: Axes, at: list[float], rows: Sequence[Mapping[str, Any]]) -> None:
    there = [(x, row) for x, row in zip(at, rows, strict=True) if row["share"] is not None]
    if not there:
        return
    share = [row["share"] for _, row in there]
    below = [row["share"] - row["low"] for _, row in there]
    above = [row["high"] - row["share"] for _, row in there]
    ax.errorbar(
        [x for x, _ in there], share, yerr=[below, above], fmt="none", ecolor=INK, elinewidth=1.2, capsize=3
    )


def _named(variant: Any, rows: Sequence[Mapping[str, Any]]) -> str:
    people = f" ({counted(rows[0]['people'], 'people')})" if rows else ""
    return _legend(variant) + people


def _curve_name(variant: Any, times: ConversionTimes) -> str:
    row = next(row for row in times.by_variant if row["variant"] == variant)
    return f"{_legend(variant)} ({row['converted']:,} of {row['entered']:,})"


def _legend(variant: Any) -> str:
    from canarykit.funnels.answers.labels import label_text

    return label_text(variant) if variant is None or isinstance(variant, tuple) else variant_label(variant)


def _step_text(k: int, name: str) -> str:
    return name_lines(f"{k + 1}. {name}", 18, 3)


def _time_unit(longest_seconds: float) -> tuple[float, str]:
    for scale, unit in ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if longest_seconds >= 3 * scale:
            return scale, unit
    return 1.0, "seconds"


def _legend_box(ax: Axes) -> None:
    ax.legend(frameon=False, loc="upper right", fontsize=9)
