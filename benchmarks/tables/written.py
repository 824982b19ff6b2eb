"""The lines as Markdown: one table for each question."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

__all__ = ["written"]

HEADINGS = {
    "brownian": "A Brownian motion with drift, hourly looks for 14 days",
    "ramp": "A ramp of 1, 5, 10, 25 and 50 %, a day each",
    "any looking": "The two promises under any looking",
}
MEASURES = {
    "days": "mean days",
    "hours": "median hours",
    "people": "canary people",
    "events": "median events",
    "extra": "extra errors",
}
INTRODUCTION = """# What the rules do to healthy and to bad releases

Simulated rollouts, written by `python -m benchmarks calibrate --rows {rows} --table FILE` with fixed seeds.
The effect is the canary's rate over the control's (for the Brownian motion its drift, for assignment what is
amiss with it), 1 is a healthy release. Shares are of the rollouts that a rule stops, or promotes where it
says so; "reference" is an independent simulation, "at most" the promise. {verdict}

{when}
"""


def written(lines: Iterable[dict[str, Any]], introduction: str = INTRODUCTION) -> str:
    """Markdown of what `run` yielded; the introduction has places for the rows, the verdict and the run."""
    *found, last = lines
    verdict = f"All {last['lines']} lines are where they should be."
    if last["off"]:
        verdict = f"{last['off']} of {last['lines']} lines are not where they should be; they say so."
    when = (
        f"Version {last['version']}, {last['date']}, {last['cpu_seconds']:,} s of processor time on one core."
    )
    parts = [introduction.format(rows=f"{last['size']}", verdict=verdict, when=when)]
    for table, group in groupby(found, key=lambda line: line["table"]):
        heading = HEADINGS.get(table, table[:1].upper() + table[1:])
        parts.append(f"## {heading}\n\n{_table(list(group))}")
    return "\n".join(parts)


def _table(lines: list[dict[str, Any]]) -> str:
    used = [name for name in MEASURES if any(name in line for line in lines)]
    bounds = any("bound" in line for line in lines)
    references = any("share_expected" in line for line in lines)
    head = ["rule", "effect", "rollouts", "share"]
    head += ["at most"] * bounds + ["reference"] * references
    for name in used:
        head += [MEASURES[name]] + ["reference"] * any(f"{name}_expected" in line for line in lines)
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for line in lines:
        remark = "" if line["ok"] else " (off)"
        remark += f" ({line['why']})" if "why" in line else ""
        row = [line["rule"] + remark, f"{line['effect']}", f"{line['size']:,}", _share(line.get("share"))]
        row += [_share(line.get("bound"))] * bounds + [_share(line.get("share_expected"))] * references
        for name in used:
            row.append(_number(line.get(name), name))
            if any(f"{name}_expected" in other for other in lines):
                row.append(_number(line.get(f"{name}_expected"), name))
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _share(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " to ".join(_share(one) for one in value)
    percent = f"{100 * value:.2f}" if value < 0.01 else f"{100 * value:.1f}"
    return f"{percent.removesuffix('.0')} %"


def _number(value: float | None, name: str) -> str:
    if value is None:
        return ""
    return f"{value:,.1f}".removesuffix(".0") if name in ("days", "hours", "extra") else f"{value:,.0f}"
