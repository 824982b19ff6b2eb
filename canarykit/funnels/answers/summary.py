"""A funnel in a few lines without a symbol of statistics: who got to the end, where the others stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from canarykit.counting import in_brief
from canarykit.display import format_value
from canarykit.messages import Message

if TYPE_CHECKING:
    from canarykit.funnels.answers.funnel import Funnel

_MOST = 4
"""Breakdown values that a message has room for."""


def funnel_message(funnel: Funnel) -> Message:
    """Title, a line for each breakdown value, where most of them stopped, and the rules."""
    by = f" by {funnel.breakdown_name}" if funnel.breakdown_name else ""
    lines = []
    for variant in funnel.variants[:_MOST]:
        rows = [row for row in funnel.rows if row["variant"] == variant]
        lines.append((funnel.variant_name(variant), f"{_end(rows[-1])} {_stopped(rows)}".strip()))
    if len(funnel.variants) > _MOST:
        lines.append(("Not shown", f"{len(funnel.variants) - _MOST} more values"))
    lines.append(("Counted", f"{funnel.describe_rules()}; of people at the {funnel.start}"))
    title = f"From {funnel.start} to {funnel.steps[-1]}{by}"
    return Message(in_brief(title, [funnel.steps[-1], by.removeprefix(" by ")]), tuple(lines))


def _end(row: Mapping[str, Any]) -> str:
    if row["share"] is None:
        return "Nobody came in."
    reached = f"{format_value(row['share'], 'share')} got to the end ({row['count']:,} of {row['people']:,}"
    if row["low"] is None or row["low"] == row["high"]:
        return f"{reached})."
    low, high = format_value(row["low"], "share"), format_value(row["high"], "share")
    return f"{reached}; anything from {low} to {high} would be no surprise)."


def _stopped(rows: list[Mapping[str, Any]]) -> str:
    """Before which step most people were lost."""
    worst = max(rows, key=lambda row: row["dropped"])
    return f"Most were lost before {worst['name']}: {worst['dropped']:,}." if worst["dropped"] > 0 else ""
