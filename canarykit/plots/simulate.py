"""Pictures of simulated rollouts: what is decided when, what is caught how surely, and harm against speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.plots.style import (
    CANARY,
    CONTROL,
    INK,
    PALETTE,
    new_axes,
    percent_axis,
    plain_text,
    title_finding,
)
from canarykit.stats.one_look.proportions import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from canarykit.simulate.decisions.operating import Decisions, RuleRuns
    from canarykit.simulate.decisions.ramps import RampPlan

_LOOKS = (("o", "-"), ("s", "--"), ("^", "-."), ("D", ":"), ("v", (0, (5, 1, 1, 1))), ("P", (0, (8, 2))))
_COLOURS = (PALETTE["blue"], PALETTE["vermillion"], PALETTE["purple"], PALETTE["green"], PALETTE["orange"])


@plain_text
def plot_decisions(decisions: Decisions, *, rule: str | None = None, ax: Axes | None = None) -> Axes:
    """Share of the rollouts that are rolled back, held, still going or through, over the days of the ramp.

    The line, with its scale on the right, is how many people have the canary by then, on average over the
    rollouts; dotted lines stand where half of the rollouts that get to a stage have begun it. The first rule
    if none is named.
    """
    ax = new_axes(ax)
    runs = decisions.runs_of(rule)
    ends, hours = runs.ends, runs.total_hours
    times = np.linspace(0.0, float(hours.max()) * 1.03, 240)
    parts = [np.mean((ends == end)[:, None] & (hours[:, None] <= times), axis=0) for end in (2, 1, 0)]
    rolled_back, on_hold, through = parts
    going = 1 - rolled_back - on_hold - through
    days = times / 24
    layers = (
        (rolled_back, PALETTE["vermillion"], "xx", "rolled back"),
        (on_hold, PALETTE["sky"], "..", "held"),
        (going, "#EEEEEE", "", "on the ramp"),
        (through, PALETTE["green"], "//", "through every stage"),
    )
    floor = np.zeros(len(times))
    for part, colour, hatch, label in layers:
        ax.fill_between(
            days,
            floor,
            floor + part,
            facecolor=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.0,
            alpha=0.85,
            label=label,
        )
        floor = floor + part
    _mark_stages(decisions, runs.hours, runs.verdicts, ax)
    people = _draw_people(runs, times, ax)
    ax.set_xlim(0, days[-1])
    ax.set_ylim(0, 1)
    percent_axis(ax)
    ax.set_xlabel("days since the first percentage stage began")
    ax.set_ylabel("share of the simulated rollouts")
    name = decisions.rules[0] if rule is None else rule
    back, go = decisions.estimate("roll back", rule), decisions.estimate("promote", rule)
    title_finding(ax, f"{name}: {back.value:.0%} rolled back, {go.value:.0%} through, of {back.n:,} rollouts")
    handles, _ = ax.get_legend_handles_labels()
    legend: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "frameon": False}
    ax.legend(handles=[*handles, people], ncol=5, fontsize=8, **legend)
    return ax


def _draw_people(runs: RuleRuns, times: np.ndarray, ax: Axes) -> Any:
    """Canary people so far, the mean over the rollouts; within a stage they come in evenly."""
    begin = np.concatenate([np.zeros((len(runs.hours), 1)), np.cumsum(runs.hours, axis=1)[:, :-1]], axis=1)
    so_far = np.zeros(len(times))
    for stage in range(runs.hours.shape[1]):
        reached = runs.verdicts[:, stage] >= 0
        since = (times - begin[reached, stage, None]) / np.maximum(runs.hours[reached, stage, None], 1e-9)
        so_far += (runs.people[reached, stage, None] * np.clip(since, 0, 1)).sum(axis=0)
    scale = ax.twinx()
    (line,) = scale.plot(
        times / 24, so_far / len(runs.hours), color=INK, linewidth=1.6, label="canary people (right)"
    )
    scale.set_ylim(bottom=0)
    scale.set_ylabel("canary people so far (mean)")
    scale.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    scale.spines["top"].set_visible(False)
    return line


def _mark_stages(decisions: Decisions, hours: np.ndarray, verdicts: np.ndarray, ax: Axes) -> None:
    """A line at the median beginning of each stage, over the rollouts that reach it."""
    begin = np.concatenate([np.zeros((len(hours), 1)), np.cumsum(hours, axis=1)[:, :-1]], axis=1)
    for position, name in enumerate(decisions.stage_names):
        reached = verdicts[:, position] >= 0
        if reached.any():
            day = float(np.median(begin[reached, position])) / 24
            ax.axvline(day, color=INK, linewidth=0.8, linestyle=":")
            short = name.removeprefix("expanded beta ")
            behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
            ax.text(day, 0.98, f" {short}", fontsize=8, color=INK, va="top", bbox=behind)


@plain_text
def plot_detection(
    by_ratio: Mapping[float, Decisions],
    *,
    rule: str | None = None,
    delay: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """How surely a release is rolled back, against how much worse it is (its ratio); or how soon.

    All rules that were simulated if none is named. `delay` draws the hours by which half of the rollouts are
    rolled back, instead of how many ever are; releases of which fewer ever are have no point.
    """
    ax = new_axes(ax)
    ratios = sorted(by_ratio)
    rules = by_ratio[ratios[0]].rules if rule is None else (rule,)
    for index, name in enumerate(rules):
        marker, dashes = _LOOKS[index % len(_LOOKS)]
        colour = _COLOURS[index % len(_COLOURS)]
        look: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "linestyle": dashes,
            "label": name,
            "markersize": 5,
        }
        if delay:
            hours = [by_ratio[ratio].hours_quantile("roll back", 0.5, name) for ratio in ratios]
            ax.plot(ratios, [np.nan if hour is None else hour for hour in hours], **look)
            continue
        shares = [by_ratio[ratio].estimate("roll back", name) for ratio in ratios]
        values = np.array([share.value for share in shares])
        ax.errorbar(
            ratios,
            values,
            yerr=[values - [s.low for s in shares], np.array([s.high for s in shares]) - values],
            capsize=2,
            linewidth=1.5,
            **look,
        )
    ax.set_xscale("log")
    ax.set_xticks(ratios, [f"{ratio:g}x" for ratio in ratios])
    ax.minorticks_off()
    ax.set_xlabel("canary's rate over the control's")
    if delay:
        ax.set_ylim(bottom=0)
        ax.set_ylabel("hours until half are rolled back")
        title_finding(ax, "The worse a release, the sooner it is caught")
    else:
        ax.set_ylim(-0.02, 1.02)
        percent_axis(ax)
        ax.set_ylabel("share of the rollouts that are rolled back")
        ax.axhline(0.05, color=INK, linewidth=0.8, linestyle=":")
        title_finding(ax, _detection_title(by_ratio, ratios, rules[0]))
    ax.legend(frameon=False, fontsize=8)
    return ax


def _detection_title(by_ratio: Mapping[float, Decisions], ratios: list[float], rule: str) -> str:
    worst = ratios[-1]
    title = (
        f"{rule}: {by_ratio[worst].probability('roll back', rule):.0%} of the {worst:g}x releases are caught"
    )
    if ratios[0] <= 1:
        title += f", {by_ratio[ratios[0]].probability('roll back', rule):.1%} of the healthy ones stopped"
    return title


@plain_text
def plot_stage_power(
    by_ratio: Mapping[float, Decisions], *, rule: str | None = None, ax: Axes | None = None
) -> Axes:
    """By which stage releases of each badness (ratio) are rolled back; the first rule if none is named."""
    ax = new_axes(ax)
    names: tuple[str, ...] = ()
    middle = (len(by_ratio) - 1) / 2
    for index, ratio in enumerate(sorted(by_ratio)):
        runs = by_ratio[ratio].runs_of(rule)
        names = by_ratio[ratio].stage_names
        caught = np.cumsum(runs.verdicts == 2, axis=1).astype(bool)
        limits = [wilson(int(column.sum()), len(column)) for column in caught.T]
        values = caught.mean(axis=0)
        low = [values[i] - item.low for i, item in enumerate(limits) if item]
        high = [item.high - values[i] for i, item in enumerate(limits) if item]
        marker, dashes = _LOOKS[index % len(_LOOKS)]
        colour = CONTROL if ratio <= 1 else (CANARY, *_COLOURS)[index % 6]
        ax.errorbar(
            np.arange(len(names)) + 0.05 * (index - middle),  # side by side: several may be caught alike
            values,
            yerr=[np.maximum(low, 0), np.maximum(high, 0)],
            color=colour,
            marker=marker,
            linestyle=dashes,
            capsize=2,
            label=f"{ratio:g}x",
        )
    ax.set_xticks(range(len(names)), [name.removeprefix("expanded beta ") for name in names])
    ax.set_ylim(-0.02, 1.02)
    percent_axis(ax)
    ax.set_xlabel("stage")
    ax.set_ylabel("rolled back by the end of the stage")
    bad = max(by_ratio)
    first = float(np.mean(by_ratio[bad].runs_of(rule).verdicts[:, 0] == 2))
    title_finding(ax, f"{first:.0%} of the {bad:g}x releases are caught in the first stage")
    ax.legend(title="canary's rate", frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    return ax


@plain_text
def plot_trade_off(planned: RampPlan, *, ax: Axes | None = None) -> Axes:
    """Harm of the worst release against the time a healthy one takes, for every ramp that was tried."""
    ax = new_axes(ax)
    shown = [choice for choice in planned.choices if np.isfinite(choice.hours)]
    for choice in shown:
        spread = [[choice.hours - choice.hours_low], [min(choice.hours_high, 1e6) - choice.hours]]
        ax.errorbar(
            choice.hours, choice.harm, xerr=spread, fmt="o", color=CONTROL, alpha=0.6, markersize=4, capsize=2
        )
    front = planned.frontier
    ax.step(
        [choice.hours for choice in front],
        [choice.harm for choice in front],
        where="post",
        color=CONTROL,
        linewidth=1.2,
        label="no other is better in both",
    )
    ax.axhline(
        planned.harm_budget, color=PALETTE["vermillion"], linestyle="--", linewidth=1, label="harm budget"
    )
    usual = planned.usual
    if np.isfinite(usual.hours):
        ax.plot(usual.hours, usual.harm, "s", color=INK, markersize=8, label=usual.label)
    if planned.best is not None:
        best = planned.best
        ax.plot(best.hours, best.harm, "*", color=CANARY, markersize=15, label=best.label)
    ax.set_ylim(bottom=0)
    ax.set_xlim(left=0)
    ax.set_xlabel("hours until a healthy release is through (median, 95 % interval)")
    ax.set_ylabel("extra bad events of the worst release (mean)")
    if planned.best is None:
        title_finding(ax, f"No ramp keeps within {planned.harm_budget:g} extra bad events")
    else:
        title_finding(
            ax, f"{planned.best.label}: through in {planned.best.hours:.0f} h within the harm budget"
        )
    ax.legend(frameon=False, fontsize=8)
    return ax
