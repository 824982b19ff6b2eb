"""What a result looks like as bars, and who stands behind each part: a funnel's steps, a report's arms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canarykit.display import format_value
from canarykit.widgets.explorer import Bar, Explorer, Part

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.display import Result
    from canarykit.funnels.answers.funnel import Funnel
    from canarykit.health.report.stage_report import StageReport
    from canarykit.widgets.view import View

__all__ = ["explore_funnel", "explore_report"]


def explore_funnel(funnel: Funnel, *, host: str | None, project_id: int | str | None) -> View:
    """A bar per step and breakdown value: who reached the step, and who was lost before it."""
    bars, behind = [], {}
    for variant in funnel.variants:
        name = funnel.variant_name(variant)
        for row in funnel.rows_of(variant):
            entered = row["people"] or 1
            reached = f"{name}/{row['step']}/reached"
            parts = [
                Part(
                    reached,
                    f"{row['name']}: reached",
                    f"{row['count']:,} ({format_value(row['share'], 'share')})",
                    row["count"] / entered,
                    _tone(name),
                )
            ]
            behind[reached] = (row["step"], False, variant)
            if row["step"] > 1 and row["dropped"] > 0:
                lost = f"{name}/{row['step']}/lost"
                parts.append(
                    Part(
                        lost,
                        f"{row['name']}: lost before",
                        f"{row['dropped']:,}",
                        row["dropped"] / entered,
                        "lost",
                    )
                )
                behind[lost] = (row["step"], True, variant)
            bars.append(Bar(f"{row['step']}. {row['name']}", name, tuple(parts)))

    def people(part: str) -> Result:
        step, dropped, variant = behind[part]
        return funnel.people(step, dropped=dropped, variant=variant, host=host, project_id=project_id)

    return Explorer(funnel, bars, people, f"Shares are of people at the {funnel.start}.")


def explore_report(report: StageReport) -> View:
    """A bar per check and arm: to whom it happened."""
    bars, behind = [], {}
    largest = max(
        (arm.value or 0 for name in report.listed for arm in _arms(report, name) if arm is not None),
        default=0,
    )
    for name in report.listed:
        for arm, is_canary in zip(_arms(report, name), (True, False), strict=True):
            if arm is None:
                continue
            who = "canary" if is_canary else "control"
            part = f"{name}/{who}"
            width = (arm.value or 0) / largest if largest else 0.0
            bars.append(Bar(f"{name}, {who}", who, (Part(part, f"{name}, {who}", str(arm), width, who),)))
            behind[part] = (name, is_canary)

    def people(part: str) -> pd.DataFrame:
        name, is_canary = behind[part]
        return report.people(name, canary=is_canary)

    return Explorer(report, bars, people, "Bars are shares of each arm, on one scale.")


def _arms(report: StageReport, name: str) -> tuple[Any, Any]:
    check = report.check(name)
    return check.canary, check.control


def _tone(name: str) -> str:
    if name in ("false", "control"):
        return "control"
    return "canary" if name in ("true", "test") else "other"
