"""Pictures of a stage report: effects with margins, evidence over time, rates, exposure, sample ratio."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.counting import shortened
from canarykit.errors import DataError
from canarykit.health.checks.check import Check
from canarykit.plots.style import (
    INK,
    PALETTE,
    line_style,
    name_lines,
    new_axes,
    percent_axis,
    plain_text,
    time_axis,
    title_finding,
    variant_style,
)
from canarykit.stats.checks import Z_95

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from canarykit.health.evidence.event_evidence import EvidenceSeries
    from canarykit.health.report.stage_report import StageReport

_LINES = (
    (PALETTE["blue"], "-"),
    (PALETTE["vermillion"], "--"),
    (PALETTE["green"], "-."),
    (PALETTE["purple"], ":"),
    (PALETTE["sky"], (0, (5, 1, 1, 1))),
    ("#8C6D1F", (0, (3, 1))),
)
_LABEL_SHARE = 0.1
"""Share of the axis that a tick's label needs."""
_STATUS = {
    "ok": PALETTE["green"],
    "harm": PALETTE["vermillion"],
    "limit breached": PALETTE["vermillion"],
    "small harm": PALETTE["vermillion"],
}


MOST_LOG_E = 30.0
"""Evidence beyond e^30 is drawn there, with a word that says so."""


@plain_text
def plot_effects(report: StageReport, *, ax: Axes | None = None) -> Axes:
    """Every guardrail's effect with its interval, no effect and the margin marked.

    Ratios stand on a logarithmic axis; differences of values are drawn as a share of the control. A stage
    without a control shows each share with its exact bounds and its limit.
    """
    compared = [c for c in report.checks if c.kind == "guardrail"]
    return _plot_ratios(report, compared, ax) if compared else _plot_limits(report, ax)


def _plot_ratios(report: StageReport, checks: list[Check], ax: Axes | None) -> Axes:
    """A forest: a line for each guardrail on one logarithmic axis; arrows mark what leaves the picture."""
    ax = new_axes(ax, figsize=(7, 1.5 + 0.62 * len(checks)))
    ax.grid(visible=False)
    drawn = [(check, _as_ratio(check)) for check in checks]
    numbers = [n for _, four in drawn for n in four if n is not None and 0 < n < math.inf]
    left = max(min([*numbers, 0.8]) / 1.25, 0.05)
    right = min(max([*numbers, 1.25]) * 1.25, 20.0)
    for row, (check, (value, low, high, margin)) in enumerate(drawn):
        y = -row
        colour = _STATUS.get(check.status.value, PALETTE["sky"])
        if low is None and high is None and value is None:
            ax.text(1.0, y, " cannot tell", va="center", ha="left", color=INK, fontsize=9)
            continue
        start = left if low is None or low <= left else low
        stop = right if high is None or high >= right else high
        ax.plot([start, stop], [y, y], color=colour, linewidth=3, solid_capstyle="butt", zorder=2)
        for end, inside, mark in ((start, low, "<"), (stop, high, ">")):
            if inside is None or not left < inside < right:
                ax.plot([end], [y], marker=mark, color=colour, markersize=8, zorder=3)
        if value is not None and left < value < right:
            ax.plot([value], [y], marker="o", color=INK, markersize=6, zorder=4)
        if margin is not None and margin > 0:
            ax.plot([margin, margin], [y - 0.32, y + 0.32], color=INK, linewidth=2, linestyle="--", zorder=3)
            room = math.log(margin / left if margin < 1 else right / margin) / math.log(right / left)
            side = "left" if (margin > 1) == (room > _MARGIN_LABEL) else "right"  # towards the middle
            ax.text(
                margin, y + 0.36, f" tolerated {margin:.3g}x ", fontsize=8, ha=side, va="bottom", color=INK
            )
    ax.axvline(1.0, color=INK, linewidth=1, zorder=1)
    ax.set_xscale("log")
    ax.set_xlim(left, right)
    ticks = _ratio_ticks(left, right)
    ax.set_xticks(ticks, [f"{t:g}x" for t in ticks])
    ax.minorticks_off()
    labels = [
        f"{name_lines(check.name, 28, 2)}\n{check.status.mark} {check.status.value}" for check in checks
    ]
    ax.set_yticks([-row for row in range(len(checks))], labels, fontsize=9)
    ax.set_ylim(-len(checks) + 0.4, 0.75)
    ax.set_xlabel("canary over control (interval valid at every look)")
    title_finding(ax, f"{report.stage}: {report.verdict.icon} {report.verdict.value}", [report.stage])
    return ax


_MARGIN_LABEL = 0.2
"""Share of the axis that the label of a margin takes."""


def _ratio_ticks(left: float, right: float) -> list[float]:
    """Ratios worth a label, the most telling first, none so close to another that they run together."""
    chosen: list[float] = []
    for tick in (1, 0.5, 2, 5, 0.2, 10, 0.1, 20, 0.05, 0.8, 1.25, 3):
        apart = _LABEL_SHARE * math.log(right / left)
        if left <= tick <= right and all(abs(math.log(tick / other)) >= apart for other in chosen):
            chosen.append(tick)
    return sorted(chosen)


def _as_ratio(check: Check) -> tuple[float | None, float | None, float | None, float | None]:
    four = (check.effect, check.effect_low, check.effect_high, check.margin)
    if check.effect_unit == "ratio":
        return four
    base = None if check.control is None else check.control.value
    if not base:
        return None, None, None, None
    value, low, high, margin = (None if number is None else 1 + number / base for number in four)
    return value, low, high, margin


def _plot_limits(report: StageReport, ax: Axes | None) -> Axes:
    """One line a guardrail: what was seen, and how far it may go."""
    checks = [c for c in report.checks if c.kind == "limit" and c.effect_unit == "share"]
    ax = new_axes(ax, figsize=(7, 1.5 + 0.62 * max(len(checks), 1)))
    ax.grid(visible=False)
    for row, check in enumerate(checks):
        y = -row
        colour = _STATUS.get(check.status.value, PALETTE["sky"])
        if check.effect is None:
            ax.text(0, y, " nobody to count", va="center", fontsize=9)
            continue
        low = check.effect if check.effect_low is None else check.effect_low
        high = check.effect if check.effect_high is None else check.effect_high
        ax.plot([low, high], [y, y], color=colour, linewidth=3, solid_capstyle="butt")
        ax.plot([check.effect], [y], **line_style(variant_style("canary")) | {"linestyle": ""}, markersize=8)
        words = str(check.canary)
        ax.text(high, y, f"  {words}", va="center", fontsize=8, color=INK)
        if check.margin is not None:
            ax.plot([check.margin] * 2, [y - 0.32, y + 0.32], color=INK, linewidth=2, linestyle="--")
            ax.text(check.margin, y + 0.36, " limit", fontsize=8, va="bottom")
    ax.set_yticks(
        [-row for row in range(len(checks))], [name_lines(c.name, 28, 2) for c in checks], fontsize=9
    )
    ax.set_ylim(-max(len(checks), 1) + 0.4, 0.75)
    top = max([*(c.effect_high or 0 for c in checks), *(c.margin or 0 for c in checks), 0.01])
    ax.set_xlim(0, min(top * 1.45, 1.3))
    percent_axis(ax, "x")
    ax.set_xlabel(f"share of {report.unit} with the canary, exact bounds (95 %)")
    title_finding(
        ax, f"{report.stage}: {report.verdict.icon} {report.verdict.value} (no control)", [report.stage]
    )
    return ax


@plain_text
def plot_evidence(report: StageReport, *, ax: Axes | None = None) -> Axes:
    """Evidence of harm at every look, weighted, against the level that rolls back."""
    series = _series(report)
    ax = new_axes(ax)
    times = _times(series)
    needed, beyond = series.thresholds["roll back"], False
    for (colour, dashes), judged in zip(cycle(_LINES), series.guardrails, strict=False):
        log_e = judged.harm_log_e + math.log(judged.weight)
        e = np.exp(np.clip(log_e, -7, MOST_LOG_E))
        beyond = beyond or bool((log_e[np.isfinite(log_e)] > MOST_LOG_E).any())
        ax.plot(
            times, e, color=colour, linestyle=dashes, linewidth=2, label=shortened(judged.guardrail.label, 48)
        )
    ax.axhline(needed, color=INK, linewidth=1.5)
    words = f"roll back from E = {needed:g}"
    ax.text(times[-1], needed * 1.15, words, fontsize=9, va="bottom", ha="right", color=INK)
    ax.set_yscale("log")
    bottom, top = ax.get_ylim()
    ax.set_ylim(max(bottom, 1e-3), max(top, needed * 6))
    time_axis(ax, timezone=report.timezone)
    ax.set_xlabel(f"look ({report.timezone})")
    ax.set_ylabel("evidence of harm (weighted E)")
    if beyond:
        words = f"E beyond {math.exp(MOST_LOG_E):.0e} is drawn there"
        ax.text(times[-1], math.exp(MOST_LOG_E), words, fontsize=8, va="top", ha="right", color=INK)
    crossed = [j.guardrail.label for j in series.guardrails if j.weighted_log_e[-1] >= math.log(needed)]
    found = "no harm shown at any look"
    if crossed:
        found = (
            f"harm shown: {crossed[0]}" if len(crossed) == 1 else f"harm shown by {len(crossed)} guardrails"
        )
    title_finding(ax, f"{report.stage}: {found}", [report.stage])
    ax.legend(loc="upper left", frameon=True, framealpha=0.9, edgecolor="white", fontsize=9)
    return ax


@plain_text
def plot_sample_ratio(report: StageReport, *, ax: Axes | None = None) -> Axes:
    """Evidence against the planned shares at every look, with the levels that hold and invalidate."""
    series = _series(report)
    ax = new_axes(ax)
    times = _times(series)
    ax.plot(times, np.exp(np.clip(series.srm_log_e, -7, 30)), color=PALETTE["blue"], linewidth=2)
    for name, words in (("hold", "hold"), ("invalid", "invalid")):
        level = series.thresholds[name]
        ax.axhline(level, color=INK, linewidth=1.2, linestyle="--" if name == "hold" else "-")
        ax.text(times[0], level * 1.15, f"{words} from E = {level:g}", fontsize=9, va="bottom", color=INK)
    ax.set_yscale("log")
    bottom, top = ax.get_ylim()
    ax.set_ylim(max(bottom, 1e-2), max(top, 6000))
    time_axis(ax, timezone=report.timezone)
    ax.set_xlabel(f"look ({report.timezone})")
    ax.set_ylabel("evidence against the planned shares (E)")
    bad = series.srm_log_e.max() >= math.log(series.thresholds["hold"])
    words = "shares do not hold" if bad else f"shares hold ({series.share:.1%} canary)"
    title_finding(ax, f"{report.stage}: {words}", [report.stage])
    return ax


@plain_text
def plot_exposure(report: StageReport, *, ax: Axes | None = None) -> Axes:
    """People who have come in by each look, per arm."""
    series = _series(report)
    ax = new_axes(ax)
    times = _times(series)
    for name, counts in (("canary", series.units_canary), ("control", series.units_control)):
        style = line_style(variant_style(name)) | {"marker": None}
        ax.plot(times, counts, **style, linewidth=2.2, label=f"{name}: {int(counts[-1]):,}")
    _shade_gaps(report, ax)
    time_axis(ax, timezone=report.timezone)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"time ({report.timezone})")
    ax.set_ylabel(f"{report.unit} exposed so far")
    title_finding(ax, f"{report.stage}: who has come in", [report.stage])
    ax.legend(loc="upper left", frameon=False)
    return ax


@plain_text
def plot_rate(report: StageReport, guardrail: str, *, ax: Axes | None = None) -> Axes:
    """Share of the people at risk to whom it happened, per hour (per day in long stages), with intervals."""
    series = _series(report)
    labels = [judged.guardrail.label for judged in series.guardrails]
    if guardrail not in labels:
        from canarykit.errors import did_you_mean

        raise DataError(f"the report has no guardrail {guardrail!r}; {did_you_mean(guardrail, labels)}")
    sets = series.risk_sets[labels.index(guardrail)]
    if sets is None:
        raise DataError(f"{guardrail!r} is a value, not a share of people: it has no rate per hour")
    counts = sets.by_interval
    ax = new_axes(ax)
    looks = series.looks
    group = max(1, math.ceil(len(looks) / 24))
    starts = np.arange(0, len(looks), group)
    times = np.array(looks[np.minimum(starts + group, len(looks)) - 1], dtype="datetime64[us]")
    for name, events, at_risk in (
        ("canary", counts.events_canary, counts.at_risk_canary),
        ("control", counts.events_control, counts.at_risk_control),
    ):
        x, n = np.add.reduceat(events, starts), np.maximum.reduceat(at_risk, starts)
        low, high, share = wilson_limits(x, n)
        style = line_style(variant_style(name))
        shift = np.timedelta64(int((looks[-1] - looks[0]) / 400 * (1 if name == "canary" else -1)), "us")
        ax.errorbar(
            times + shift,
            share,
            yerr=[share - low, high - share],
            **style,
            linewidth=1.6,
            capsize=2,
            label=name,
        )
    _shade_gaps(report, ax)
    time_axis(ax, timezone=report.timezone)
    ax.set_ylim(bottom=0)
    percent_axis(ax)
    hours = group * (looks[1] - looks[0]) / 3.6e9 if len(looks) > 1 else 1
    ax.set_xlabel(f"time ({report.timezone})")
    ax.set_ylabel(f"share of people at risk, per {hours:g} h")
    title_finding(ax, f"{guardrail} over time, 95 % intervals", [guardrail])
    ax.legend(loc="upper right", frameon=False)
    return ax


def _series(report: StageReport) -> EvidenceSeries:
    if report.series is None:
        raise DataError(f"stage {report.stage!r} has no control, so there is no evidence over time to draw")
    return report.series


def _shade_gaps(report: StageReport, ax: Axes) -> None:
    """Times without data, hatched, so that a flat line is not read as calm."""
    from matplotlib.dates import date2num

    for k, gap in enumerate(report.gaps):
        since, until = (float(date2num(moment.tz_localize(None).to_pydatetime())) for moment in gap)
        label = "no data" if k == 0 else None
        ax.axvspan(since, until, facecolor="#E6E6E6", edgecolor="#8A8A8A", hatch="//", zorder=0, label=label)


def _times(series: EvidenceSeries) -> Any:
    return np.asarray(series.looks, dtype="datetime64[us]")


def wilson_limits(x: Any, n: Any) -> tuple[Any, Any, Any]:
    """Wilson limits and the share itself, arrays in and out; NaN where there is nobody."""
    z = Z_95
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(n > 0, x / n, np.nan)
        centre = (x + z**2 / 2) / (n + z**2)
        half = z / (n + z**2) * np.sqrt(x * (n - x) / np.maximum(n, 1) + z**2 / 4)
    low = np.where(n > 0, np.minimum(np.maximum(centre - half, 0), share), np.nan)
    return low, np.where(n > 0, np.maximum(np.minimum(centre + half, 1), share), np.nan), share
