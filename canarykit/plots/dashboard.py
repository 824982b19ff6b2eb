"""Pictures of a beta's morning: shares by variant, exposure, errors by day, the funnel, the survey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.counting import counted
from canarykit.display import format_value
from canarykit.plots.health import wilson_limits
from canarykit.plots.style import (
    INK,
    bar_style,
    line_style,
    new_axes,
    percent_axis,
    plain_text,
    time_axis,
    variant_label,
    variant_styles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from canarykit.feedback import SurveyByFlag
    from canarykit.insights.dashboard import Dashboard


@plain_text
def draw_board(board: Dashboard) -> Figure:
    """All panels of a dashboard on one figure."""
    from matplotlib import pyplot

    kinds = set(board.kinds.values())
    panels: list[Any] = [_exposure]
    panels += [lambda b, ax: plot_shares(b, ax=ax, kind="key event")] if "key event" in kinds else []
    panels += [lambda b, ax: plot_shares(b, ax=ax, kind="error"), _errors_by_day] if "error" in kinds else []
    panels += [lambda b, ax: plot_shares(b, ax=ax, kind="funnel")] if "funnel" in kinds else []
    panels += [lambda b, ax: plot_response(b.survey, ax=ax)] if board.survey is not None else []
    n_rows = -(-len(panels) // 2)
    figure, axes = pyplot.subplots(n_rows, 2, figsize=(11, 3.4 * n_rows), layout="constrained", squeeze=False)
    for ax, panel in zip(axes.flat, panels, strict=False):
        panel(board, ax)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    figure.suptitle(f"{board.flag}: {board.stage}, as of {format_value(board.as_of, 'time')}")
    return figure


@plain_text
def plot_shares(board: Dashboard, *, ax: Axes | None = None, kind: str | None = None) -> Axes:
    """Share of exposed people with each event, a bar per variant with its Wilson interval."""
    ax = new_axes(ax)
    whats = [what for what, one in board.kinds.items() if kind is None or one == kind]
    styles = variant_styles(board.variants)
    width = 0.8 / max(len(board.variants), 1)
    for index, variant in enumerate(board.variants):
        by_what = {row[0]: row for row in board.rows if row[1] == variant}
        at = np.arange(len(whats)) + (index - (len(board.variants) - 1) / 2) * width
        shares = np.array([np.nan if by_what[w][4] is None else by_what[w][4] for w in whats], dtype=float)
        low = np.array([np.nan if by_what[w][5] is None else by_what[w][5] for w in whats], dtype=float)
        high = np.array([np.nan if by_what[w][6] is None else by_what[w][6] for w in whats], dtype=float)
        people = by_what[whats[0]][2] if whats else 0
        label = f"{variant_label(variant)}, {counted(people, 'people')}"
        ax.bar(at, shares, width * 0.94, label=label, **bar_style(styles[variant]))
        ax.errorbar(at, shares, yerr=[shares - low, high - shares], fmt="none", ecolor=INK, capsize=3)
    names = [f"{k}. {w.split(' > ')[-1]}" if kind == "funnel" else w for k, w in enumerate(whats, start=1)]
    ax.set_xticks(range(len(whats)), names, fontsize=9)
    percent_axis(ax)
    ax.set_ylim(0, ax.get_ylim()[1] * 1.25)
    ax.set_ylabel("share of exposed people")
    title = {"funnel": "the funnel from the exposure on", "error": "errors", "key event": "key events"}
    ax.set_title(f"{title.get(kind or '', 'what exposed people did')}, 95 % intervals", loc="left")
    ax.legend(loc="upper right", frameon=False, fontsize=8)
    return ax


@plain_text
def plot_response(survey: SurveyByFlag, *, ax: Axes | None = None) -> Axes:
    """Response rates by variant with their Wilson intervals."""
    ax = new_axes(ax)
    response = survey.response[survey.response["shown"] > 0]
    styles = variant_styles(list(response["variant"]))
    for index, row in enumerate(response.to_dict("records")):
        style = bar_style(styles[row["variant"]])
        ax.bar([index], [row["rate"]], 0.6, **style)
        errors = [[row["rate"] - row["low"]], [row["high"] - row["rate"]]]
        ax.errorbar([index], [row["rate"]], yerr=errors, fmt="none", ecolor=INK, capsize=4)
        words = f"{row['answered']:,} of {row['shown']:,}"
        ax.text(index, row["high"], words, ha="center", va="bottom", fontsize=9, color=INK)
    ax.set_xticks(range(len(response)), [variant_label(v) for v in response["variant"]])
    ax.margins(y=0.2)
    percent_axis(ax)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("share of those asked who answered")
    ax.set_title("who answered the survey, 95 % intervals", loc="left")
    return ax


def _exposure(board: Dashboard, ax: Axes) -> Axes:
    ax = new_axes(ax)
    styles = variant_styles(board.variants)
    for variant in board.variants:
        rows = board.daily[board.daily["variant"] == variant].drop_duplicates("day")
        ends = rows["day"] + np.timedelta64(1, "D")
        ax.plot(
            [*rows["day"].head(1), *ends],
            [0, *rows["exposed"]],
            linewidth=2,
            label=variant_label(variant),
            **line_style(styles[variant]),
        )
    time_axis(ax, timezone=str(board.as_of.tz))
    ax.set_ylim(bottom=0)
    ax.set_ylabel("people exposed so far")
    ax.set_xlabel(f"end of day ({board.as_of.tz})")
    ax.set_title("who has come in", loc="left")
    ax.legend(loc="upper left", frameon=False, fontsize=8)
    return ax


def _errors_by_day(board: Dashboard, ax: Axes) -> Axes:
    """People with their first error of the stage per day, of those exposed by then."""
    ax = new_axes(ax)
    errors = [what for what, kind in board.kinds.items() if kind == "error"]
    styles = variant_styles(board.variants)
    for variant in board.variants:
        rows = board.daily[(board.daily["variant"] == variant) & board.daily["what"].isin(errors)]
        by_day = rows.groupby("day", as_index=False).agg(people=("people", "sum"), exposed=("exposed", "max"))
        n = by_day["exposed"].to_numpy(float)
        low, high, share = wilson_limits(np.minimum(by_day["people"].to_numpy(float), n), n)
        style = line_style(styles[variant])
        limits = [share - low, high - share]
        ax.errorbar(by_day["day"], share, yerr=limits, capsize=3, label=variant_label(variant), **style)
    time_axis(ax, timezone=str(board.as_of.tz))
    percent_axis(ax)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("first error, share of exposed")
    ax.set_xlabel(f"day ({board.as_of.tz})")
    ax.set_title("first errors by day, 95 % intervals", loc="left")
    ax.legend(loc="upper right", frameon=False, fontsize=8)
    return ax
