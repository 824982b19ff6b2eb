"""A funnel in the shape in which PostHog's API returns one, for checks and for tools that read that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canarykit.display import to_jsonable

if TYPE_CHECKING:
    from canarykit.funnels.answers.funnel import Funnel
    from canarykit.funnels.engine.runs import Label


def posthog_rows(funnel: Funnel) -> list[Any]:
    """A list of steps, or with a breakdown a list of such lists; see `Funnel.to_posthog`."""
    chart = []
    for variant in funnel.variants:
        breakdown = _breakdown(funnel, variant)
        steps = []
        gaps = _recorded_gaps(funnel, variant)
        for row, step in zip(funnel.rows_of(variant), funnel.query.steps, strict=True):
            average, median = gaps[row["step"] - 1]
            event = step.entities[0].event if step.entities else None
            steps.append(
                {
                    "action_id": event,
                    "name": row["name"] if funnel.query.order == "unordered" else event,
                    "custom_name": step.name or None,
                    "order": row["step"] - 1,
                    "type": "events",
                    "count": row["count"],
                    "people": [],
                    "average_conversion_time": average,
                    "median_conversion_time": median,
                    **breakdown,
                }
            )
        chart.append(steps)
    return to_jsonable(chart[0] if funnel.query.breakdown is None and chart else chart)


def _recorded_gaps(funnel: Funnel, variant: Label) -> list[tuple[Any, Any]]:
    """Average and median by position, as PostHog gives them: optional steps record none."""
    rows = funnel.rows_of(variant)
    gaps = [(row["average_seconds"], row["median_seconds"]) for row in rows]
    moved = [gaps[k] for k in funnel.query.required]
    return moved + [(None, None)] * (len(gaps) - len(moved))


def _breakdown(funnel: Funnel, variant: Label) -> dict[str, Any]:
    if funnel.query.breakdown is None:
        return {}
    value: Any = list(variant) if isinstance(variant, tuple) else variant
    if not funnel.query.breakdown.is_plain and not isinstance(value, list):
        value = [value]
    return {"breakdown": value, "breakdown_value": value}
