"""The same people before and after, next to the others of the same time: descriptive, never a proof.

An exposure happens while somebody is active, so more of everything is seen after it than before it, for
everybody. Only the change *relative to the others'* says anything: a ratio of ratios, since errors and
payments multiply. Its spread is taken over organisations where they are known, over people where not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from canarykit.counting import counted
from canarykit.display import Column, Table, format_value
from canarykit.health.checks.check import Check, Section, Status
from canarykit.health.checks.guardrail_lines import share_arm
from canarykit.health.question import MIN_CLUSTERS
from canarykit.metrics.guardrail import Guardrail
from canarykit.metrics.unit_outcomes import Outcomes
from canarykit.stats.one_look.binomial import at_least, at_most

MIN_PEOPLE = 5
"""People per arm below which a change is only listed."""
_Z = 1.6448536269514722


@dataclass(frozen=True)
class Change:
    """Counts of one guardrail before and after the exposure, people with the canary and the others."""

    guardrail: Guardrail  # the spec
    # (people, with it before, with it after)
    canary: tuple[int, int, int]
    others: tuple[int, int, int]
    # change of the canary's people over the change of the others, with a 90 % interval; None where it cannot
    # be computed
    ratio: float | None
    low: float | None
    high: float | None
    clusters: tuple[int, int]  # organisations (or people) that the spread was taken over: canary, others
    by_group: bool  # whether those were organisations

    @property
    def got_worse(self) -> bool:
        """Whether the people with the canary changed for the worse more than the others did."""
        if self.low is None or self.high is None or (self.by_group and min(self.clusters) < MIN_CLUSTERS):
            return False
        return self.high < 1 if self.guardrail.worse == "lower" else self.low > 1

    @property
    def differed_before(self) -> bool:
        """Whether these people were worse than the others before they had the feature."""
        n, before, _ = self.canary
        m, others_before, _ = self.others
        return bool(m) and self._unlikely(before, n, others_before / m)

    def worse_than_others(self, x: int, n: int) -> bool:
        """Whether `x` of `n` is more (or fewer) than chance gives at the others' share."""
        m, _, after = self.others
        return bool(m) and self._unlikely(x, n, after / m)

    def _unlikely(self, x: int, n: int, share: float) -> bool:
        if n == 0:
            return False
        lower = self.guardrail.worse == "lower"
        return (at_most(x, n, share) if lower else at_least(x, n, share)) < 0.05


def find_change(
    guardrail: Guardrail, before: Outcomes, after: Outcomes, i: int, groups: npt.NDArray[Any] | None
) -> Change | None:
    """Compare before and after for one share guardrail; None for value metrics or without canary people.

    `before` and `after` are outcomes of the same units over windows of the same length around their exposure.
    `groups` is the organisation of each, None where unknown; without it people stand for themselves.
    """
    first_before, first_after = before.first[i], after.first[i]
    if first_before is None or first_after is None or not after.canary.any():
        return None
    was, now = first_before >= 0, first_after >= 0
    arms = (after.canary, ~after.canary)
    counts = [(int(arm.sum()), int(was[arm].sum()), int(now[arm].sum())) for arm in arms]
    by_group = groups is not None and any(value is not None for value in groups[after.canary])
    logs, variances, clusters = [], [], []
    for arm, (n, x, y) in zip(arms, counts, strict=True):
        if n < MIN_PEOPLE:
            return Change(guardrail, counts[0], counts[1], None, None, None, (0, 0), by_group)
        x_half, y_half = x + 0.5, y + 0.5
        logs.append(math.log(y_half / x_half))
        pull = now[arm] / y_half - was[arm] / x_half
        key = np.arange(n) if groups is None else _cluster_codes(groups[arm])
        sums = np.bincount(key, pull)
        k = len(sums)
        clusters.append(k)
        spread = float((sums**2).sum()) * k / max(k - 1, 1)
        variances.append(spread + (0.5 / y_half**2 if y == 0 else 0) + (0.5 / x_half**2 if x == 0 else 0))
    difference, error = logs[0] - logs[1], math.sqrt(sum(variances))
    low, high = (math.exp(difference + sign * _Z * error) for sign in (-1, 1))
    sizes = clusters[0], clusters[1]
    return Change(guardrail, counts[0], counts[1], math.exp(difference), low, high, sizes, by_group)


def change_check(change: Change, *, who: str) -> Check:
    """One line: the change of the canary's people relative to the others'."""
    n, before, after = change.canary
    status = Status.HOLD if change.got_worse else Status.INFO
    words = f"{before:,} of {counted(n, who)} before, {after:,} after"
    if change.others[0]:
        words += f"; of the others likewise {_of_others(change)}. "
        if change.ratio is not None:
            words += "The effect is their change divided by the others'. "
    else:
        words += ". There is nobody to set the change against. "
    if change.ratio is None:
        words += "Too few people to set a change against another."
        return _change_line(change, Status.INFO, words, who)
    if change.got_worse:
        words += "It got worse for them than for the others: look before going on."
    elif change.by_group and min(change.clusters) < MIN_CLUSTERS:
        few = f"{change.clusters[0]:,} organisations (fewer than {MIN_CLUSTERS})"
        words += f"With {few} their spread cannot be told."
    else:
        words += "Nothing shows that it changed more than for the others; that proves nothing by itself."
    return _change_line(change, status, words, who)


def _of_others(change: Change) -> str:
    m, before, after = change.others
    was, now = (format_value(x / m, "share") for x in (before, after))
    return f"{before:,} of {m:,} ({was}) before, {after:,} ({now}) after"


def _change_line(change: Change, status: Status, words: str, who: str) -> Check:
    n, before, after = change.canary
    unit = "organisations" if change.by_group else who
    return Check(
        name=f"{change.guardrail.label}: before and after",
        kind="descriptive",
        status=status,
        meaning=words,
        measured="each person as long before the first exposure as after it, against the others likewise",
        canary=share_arm(after, n),
        control=share_arm(before, n),
        effect=change.ratio,
        effect_low=change.low,
        effect_high=change.high,
        method=(
            f"descriptive ratio of ratios, half added to each count, 90 % interval over {unit}; nobody was "
            "randomised"
        ),
        against="the others' change",
    )


def changes_section(changes: list[Change], *, who: str) -> Section:
    """Before and after, with the canary and without, as a table."""
    rows = []
    for change in changes:
        for name, (n, before, after) in (
            (f"{who} with the canary", change.canary),
            ("others", change.others),
        ):
            shares = (before / n, after / n) if n else (None, None)
            ratio = (change.ratio, change.low, change.high) if name != "others" else (None, None, None)
            rows.append((change.guardrail.label, name, n, *shares, *ratio))
    columns = (
        Column("metric", "metric"),
        Column("who", "who"),
        Column("people", "number", "count"),
        Column("before", "before", "share"),
        Column("after", "after", "share"),
        Column("ratio", "change against the others'", "ratio"),
        Column("low", "from", "ratio"),
        Column("high", "to", "ratio"),
    )
    text = (
        "The same people, as long before their exposure as after it. An exposure happens while somebody is "
        "active, so everybody shows more after it: only the change against the others' says anything."
    )
    return Section("before and after", text, Table.of(columns, rows))


def _cluster_codes(groups: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """A code per organisation; units without one stand for themselves."""
    names = [f"group {value}" if value is not None else f"unit {k}" for k, value in enumerate(groups)]
    return np.unique(np.array(names, dtype=object), return_inverse=True)[1]
