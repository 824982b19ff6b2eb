"""What stands against entering a stage: each point needs a reason from a person to pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from canarykit.display import format_value
from canarykit.times import duration, to_utc

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan

MOST_SKEW = timedelta(minutes=5)
_FRESH = timedelta(hours=24)


@dataclass(frozen=True)
class Gate:
    """One point against a push, with a short name that programs can use."""

    code: str
    words: str


def gates_against(
    plan: RolloutPlan,
    stage: str,
    *,
    reached: int,
    active: bool,
    report: Any,
    entered_at: datetime | None,
    now: datetime,
) -> tuple[Gate, ...]:
    """Everything that stands against letting in a stage now; lowering passes freely.

    `reached` is the last stage that the flag lets in whole (-1: none); `report` is on the stage that is
    running, None where there is none, and it runs since `entered_at`; `now` is the server's time.
    """
    index = plan.index(stage)
    if index < reached or (index == reached and active):
        return ()
    return tuple(_gates(plan, index, reached, active, report, entered_at, now))


def _gates(
    plan: RolloutPlan,
    index: int,
    reached: int,
    active: bool,
    report: Any,
    entered_at: datetime | None,
    now: datetime,
) -> Iterator[Gate]:
    names = plan.stage_names
    if index > reached + 1:
        left_out = ", ".join(repr(name) for name in names[reached + 1 : index])
        yield Gate("skips", f"{names[index]!r} skips {left_out}")
    if reached < 0:
        return
    if not active:
        yield Gate("off", f"the flag has been switched off at {names[reached]!r}")
        return
    yield from _verdict_gates(plan, names[reached], report, entered_at, now)
    yield from _dwell_gates(plan, names[reached], entered_at, now)


def _verdict_gates(
    plan: RolloutPlan, running: str, report: Any, entered_at: datetime | None, now: datetime
) -> Iterator[Gate]:
    if report is None:
        yield Gate("no verdict", f"there is no verdict on {running!r}; pass report=evaluate_stage(...)")
        return
    if report.flag != plan.flag or report.stage != running:
        yield Gate(
            "other verdict", f"the verdict is on {report.stage!r} of {report.flag!r}, not on {running!r}"
        )
        return
    if report.verdict.value != "promote":
        yield Gate(
            "verdict", f"the verdict on {running!r} is {report.verdict.value.upper()}: {report.reason}"
        )
    age = now - report.as_of
    if age > _FRESH:
        yield Gate("stale verdict", f"the verdict is {format_value(age.total_seconds(), 'seconds')} old")
    if age < -MOST_SKEW:
        yield Gate("clock", "the verdict is from the future by the server's clock; set this machine's clock")
    if entered_at is not None and report.as_of < entered_at:
        yield Gate(
            "stale verdict", f"the verdict is older than {running!r}, which began at {entered_at:%F %R}"
        )


def _dwell_gates(
    plan: RolloutPlan, running: str, entered_at: datetime | None, now: datetime
) -> Iterator[Gate]:
    stage = plan.stage(running)
    if stage.dwell is not None:
        seconds = duration(stage.dwell)
    elif stage.starts_at is not None and stage.ends_at is not None:
        seconds = (to_utc(stage.ends_at) - to_utc(stage.starts_at)).total_seconds()
    else:
        return
    if entered_at is None:
        yield Gate(
            "dwell", f"nothing says since when {running!r} has been running; the plan gives it a dwell"
        )
    elif (now - entered_at).total_seconds() < seconds:
        ran, due = (format_value(s, "seconds") for s in ((now - entered_at).total_seconds(), seconds))
        yield Gate("dwell", f"{running!r} has run for {ran} of its {due}")


def verdict_of(report: Any) -> dict[str, Any] | None:
    """What the record keeps of a verdict: the answer, its moment, and its inputs' fingerprints."""
    if report is None:
        return None
    kept = {key: report.audit[key] for key in ("inputs", "fingerprints", "row") if key in report.audit}
    return {"verdict": report.verdict.value, "stage": report.stage, "as_of": report.as_of, "audit": kept}
