"""Who is missing, in words: the line of the report, and the table by day of arrival."""

from __future__ import annotations

import math

from canarykit.display import Column, Table, format_value
from canarykit.health.checks.check import Check, Section, Status
from canarykit.health.decision import log_thresholds
from canarykit.health.evidence.compare import Comparison
from canarykit.health.question import Question


def missing_check(question: Question, comparison: Comparison) -> Check:
    """One line: do the planned shares hold in every segment and on every day?"""
    missing = comparison.missing_people
    hold = log_thresholds(question.rules)[2]
    expected = format_value(comparison.series.share, "share")
    what = "browser, country and other properties, and by day of arrival"
    if math.isnan(missing.log_e):
        status, meaning = Status.UNCLEAR, "Nobody to count."
    elif missing.holds(question.rules):
        status = Status.HOLD
        worst = missing.worst[0]
        total = worst.canary + worst.control
        observed = format_value(worst.canary / total, "share")
        meaning = (
            f"People are missing where {worst.by} is {worst.value}: {worst.canary:,} of {total:,} "
            f"({observed}) have the canary where the rules say {expected}: comparisons are off until that is "
            "understood."
        )
    else:
        status = Status.OK
        meaning = f"No segment and no day lacks people of one arm, as far as can be seen ({expected} canary)."
    return Check(
        name="who is missing",
        kind="validity",
        status=status,
        meaning=meaning,
        measured=f"the canary's share by {what}",
        evidence=None if math.isnan(missing.log_e) else math.exp(min(missing.log_e, 700.0)),
        needed=math.exp(hold),
        method="weighted average of tilted binomial e-processes, valid at every look",
    )


def missing_sections(question: Question, comparison: Comparison) -> tuple[Section, ...]:
    """The canary's share by day of arrival."""
    days = comparison.missing_people.days
    if len(days) < 2:
        return ()
    columns = (
        Column("day", "24 hours from", "time"),
        Column("canary", f"canary {question.unit_words}", "count"),
        Column("control", f"control {question.unit_words}", "count"),
        Column("share", "canary's share", "share"),
    )
    rows = [(day, x, y, x / (x + y) if x + y else None) for day, x, y in days]
    text = "Who came in on which day of the stage, by arm: a day that stands out lost people of one arm."
    return (Section("by day of arrival", text, Table.of(columns, rows)),)
