"""Second looks at a comparison: other choices of people, one planned look, days since exposure, bots.

None of these decides: the verdict rests on the evidence that holds at every look. They tell a reader
whether it hangs on a choice.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from canarykit.display import Column, Table
from canarykit.events.text import among
from canarykit.health.checks.check import Section
from canarykit.health.data.pulse import BUSY_FROM
from canarykit.health.evidence.compare import Comparison
from canarykit.health.question import Question
from canarykit.stats.checks import Z_95

WHOLE_TIME = "people whose whole time is over"
_DAY = 86_400_000_000


def sensitivity_sections(
    question: Question, comparison: Comparison, busy: dict[str, int]
) -> tuple[Section, ...]:
    """Each share guardrail over other choices of people, with intervals for one planned look."""
    from canarykit.stats.one_look.proportions import risk_difference

    reduced, used = comparison.found, comparison.used
    units = reduced.units
    if units.empty:
        return ()
    columns = {name: units[name].to_numpy(bool) for name in ("returning", "several", "crossed")}
    choices = [
        ("everybody compared", used),
        ("first seen in this stage", used & ~columns["returning"]),
        ("without people who saw both variants", used & ~columns["several"]),
        ("without people who changed arm as the ramp grew", used & ~columns["crossed"]),
        ("without unusually busy people", used & ~among(units["person_id"], busy)),
        ("everybody of the stage", np.ones(len(units), dtype=bool)),
    ]
    rows = []
    for i, guardrail in enumerate(question.guardrails):
        first = reduced.first[i]
        if first is None:
            continue
        shown: list[npt.NDArray[np.bool_]] = []
        over = used & reduced.time_is_over(i)
        matured = [(WHOLE_TIME, over)] if over.any() else []
        for words, mask in [*choices, *matured]:
            if any(np.array_equal(mask, other) for other in shown):
                continue
            shown.append(mask)
            (x, n), (y, m) = (_count(first, mask & arm) for arm in (reduced.canary, ~reduced.canary))
            gap = risk_difference(x, n, y, m) if n and m else None
            limits = (None, None, None) if gap is None else (gap.value, gap.low, gap.high)
            shares = x / n if n else None, y / m if m else None
            rows.append((guardrail.label, words, n, m, *shares, *limits))
    if not rows:
        return ()
    table = (
        Column("metric", "metric"),
        Column("who", "who"),
        Column("canary_people", "canary people", "count"),
        Column("control_people", "control people", "count"),
        Column("canary", "canary", "share"),
        Column("control", "control", "share"),
        Column("difference", "difference", "points"),
        Column("low", "from", "points"),
        Column("high", "to", "points"),
    )
    text = (
        "Shares so far and their difference with Miettinen-Nurminen 95 % intervals, which hold for one "
        "planned look: not for stopping. People who changed arm are canary people only, so leaving out just "
        "them favours neither honesty nor the release; those first seen in this stage are the clean choice."
    )
    if any(row[1] == WHOLE_TIME for row in rows):
        text += (
            " Where people come to it later and no fewer do, the shares of those whose whole time is over "
            "agree; the evidence compares everybody at the same moment, and says that it is slower."
        )
    return (Section("other choices of people", text, Table.of(table, rows)),)


def novelty_sections(
    question: Question, comparison: Comparison, *, most_days: int = 8
) -> tuple[Section, ...]:
    """Rates by days since the exposure: does an effect wear off, or only come with time?"""
    reduced, used = comparison.found, comparison.used
    rows: list[tuple[Any, ...]] = []
    for i, guardrail in enumerate(question.guardrails):
        first = reduced.first[i]
        if first is None:
            continue
        starts, stops = reduced.time_at_risk(i)
        ends = np.where(first >= 0, first + 1, stops)
        for day in range(most_days):
            counts = []
            for arm in (used & reduced.canary, used & ~reduced.canary):
                at_risk = arm & (ends > starts + day * _DAY) & (stops > starts)
                had = at_risk & (first >= 0) & ((first - starts) // _DAY == day)
                counts.append((int(had.sum()), int(at_risk.sum())))
            (x, n), (y, m) = counts
            if not n and not m:
                break
            shares = x / n if n else None, y / m if m else None
            ratio = shares[0] / shares[1] if shares[0] is not None and shares[1] else None
            rows.append((guardrail.label, day, n, m, *shares, ratio))
    if len({row[1] for row in rows}) < 2:
        return ()
    columns = (
        Column("metric", "metric"),
        Column("day", "days since exposure", "count"),
        Column("canary_people", "canary at risk", "count"),
        Column("control_people", "control at risk", "count"),
        Column("canary", "canary", "share"),
        Column("control", "control", "share"),
        Column("ratio", "ratio", "ratio"),
    )
    text = (
        "By days since each person's exposure, not by calendar day; people leave after their first event. "
        "Does the ratio change with the days? " + " ".join(_slope_words(rows))
    )
    return (Section("days since exposure", text, Table.of(columns, rows)),)


def _slope_words(rows: list[tuple[Any, ...]]) -> list[str]:
    """Per metric, by what the ratio is multiplied from day to day, with a 95 % interval."""
    words = []
    for label in dict.fromkeys(row[0] for row in rows):
        slope = _slope([row for row in rows if row[0] == label])
        if slope is None:
            words.append(f"{label}: too few to tell.")
            continue
        factor, low, high = (math.exp(number) for number in slope)
        interval = f"{factor:.3g} times a day, 95 % {low:.3g} to {high:.3g}"
        changes = "it grows" if low > 1 else "it falls" if high < 1 else "not shown"
        words.append(f"{label}: {changes} ({interval}).")
    return words


def _slope(rows: list[tuple[Any, ...]]) -> tuple[float, float, float] | None:
    """Weighted straight line through the log ratios by day: slope and its interval (delta method)."""
    days, logs, weights = [], [], []
    for _, day, n, m, canary, control, _ in rows:
        if not (n and m and canary and control):
            continue
        x, y = canary * n, control * m
        days.append(float(day))
        logs.append(math.log(canary / control))
        weights.append(1 / max(1 / x - 1 / n + 1 / y - 1 / m, 1e-12))
    if len(days) < 2:
        return None
    day, log, weight = np.array(days), np.array(logs), np.array(weights)
    centred = day - np.average(day, weights=weight)
    spread = float((weight * centred**2).sum())
    slope, half = float((weight * centred * log).sum()) / spread, Z_95 / math.sqrt(spread)
    return slope, slope - half, slope + half


def busiest_section(arm_of: dict[str, str], totals: dict[str, int]) -> tuple[Section, ...]:
    """The people with so many events that they look like machines; they count once like everybody else."""
    if not totals:
        return ()
    busiest = sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:10]
    rows = [(who, count, arm_of.get(who, "not compared")) for who, count in busiest]
    columns = (Column("person", "person"), Column("events", "events", "count"), Column("arm", "arm"))
    text = (
        f"{len(totals):,} with {BUSY_FROM:,} events or more in the stage: bots, tests, or a loop in the code?"
    )
    return (Section("unusually busy", text, Table.of(columns, rows)),)


def _count(first: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_]) -> tuple[int, int]:
    return int((first[mask] >= 0).sum()), int(mask.sum())
