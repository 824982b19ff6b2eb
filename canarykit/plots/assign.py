"""Pictures of assignment: expected against observed shares, and how buckets nest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarykit.plots.style import (
    CONTROL,
    INK,
    bar_style,
    new_axes,
    percent_axis,
    plain_text,
    title_finding,
    variant_label,
    variant_styles,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from canarykit.audit import Audit


@plain_text
def plot_audit(audit: Audit, *, ax: Axes | None = None) -> Axes:
    """Observed share of each arm as a bar, the share by rule as a mark, stage by stage."""
    ax = new_axes(ax)
    styles = variant_styles(tuple(dict.fromkeys(arm for check in audit.shares for arm in check.arms)))
    left, centres, named = 0.0, [], set()
    for check in audit.shares:
        for arm, expected, seen in zip(check.arms, check.expected, check.shares, strict=True):
            label = None if arm in named else variant_label(arm)
            ax.bar(left, seen.value, width=0.8, label=label, **bar_style(styles[arm]))
            spread = [[seen.value - seen.low], [seen.high - seen.value]]
            ax.errorbar(left, seen.value, yerr=spread, color=INK, capsize=3, linewidth=1)
            ax.plot([left - 0.45, left + 0.45], [expected, expected], color=INK, linestyle=":", linewidth=1.5)
            named.add(arm)
            left += 1
        centres.append(left - (len(check.arms) + 1) / 2)
        left += 0.6
    ax.set_xticks(centres, [check.stage or "all" for check in audit.shares], fontsize=9)
    percent_axis(ax, "y")
    ax.set_ylabel("share of randomised people\n(dotted: by rule)")
    if named:
        ax.legend(frameon=False)
    if audit.agreement is None:
        title_finding(ax, f"{audit.flag}: nothing to compare")
    else:
        title_finding(ax, f"{audit.flag}: {audit.agreement:.1%} of evaluations agree with the rules")
    return ax


@plain_text
def plot_buckets(cohorts: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Buckets of people by the stage that lets them in: a ramp cuts them off from the left."""
    ax = new_axes(ax)
    stages = list(cohorts.columns[2:])
    entry = cohorts["entry_stage"].to_numpy(dtype=object)
    shown = [stage for stage in stages if (entry == stage).any()]
    for row, stage in enumerate(shown):
        buckets = cohorts["bucket"].to_numpy()[entry == stage]
        ax.plot(buckets, [row] * len(buckets), "|", color=CONTROL, markersize=14, alpha=0.5)
    ax.set_yticks(range(len(shown)), shown)
    ax.set_xlim(0, 1)
    ax.set_xlabel("bucket (hash of flag key and distinct id, 0 to 1)")
    ax.set_ylabel("stage of entry")
    title_finding(ax, "Percentage stages take the lowest buckets, so a ramp only adds people")
    return ax
