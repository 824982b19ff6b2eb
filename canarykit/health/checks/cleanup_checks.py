"""After the release: is the flag stale, is anybody left behind, what is there to clean up?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from canarykit.counting import counted
from canarykit.display import format_value
from canarykit.exposure.calls import tellings, without_copies
from canarykit.flags.definition import STALE_AFTER_DAYS
from canarykit.health.checks.check import Arm, Check, Status
from canarykit.health.data.data_state import DataState
from canarykit.health.people.units import seen_in_stage
from canarykit.health.question import Question

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def cleanup_checks(data: DataState) -> tuple[Check, ...]:
    """Who does not have it yet, whether the code still asks, and whether the flag is stale."""
    return (_left_behind(data), _still_asked(data), _stale(data.question))


def _left_behind(data: DataState) -> Check:
    question, plan = data.question, data.question.plan
    rows = seen_in_stage(question, data.until)
    holdout = None if plan.holdout is None else plan.holdout.value
    rows = rows[rows["variant"] != holdout]
    total, without = len(rows), int((rows["variant"] != plan.canary).sum())
    status = Status.UNCLEAR if not total else Status.OPEN if without else Status.OK
    words = {
        Status.UNCLEAR: "Nobody was seen at full release.",
        Status.OPEN: (
            f"{without:,} of {counted(total, question.unit_words)} still got another value after full "
            "release: look for old clients, bootstrapped values, opt-outs, or a second place that decides."
        ),
        Status.OK: f"All {total:,} {question.unit_words} seen since then have the feature."
        if total != 1
        else "The one seen since then has the feature.",
    }[status]
    return Check(
        name="everybody has it",
        kind="clean-up",
        status=status,
        meaning=words,
        measured="first value of the flag since full release",
        canary=Arm(total - without, total, (total - without) / total if total else None),
    )


def _still_asked(data: DataState) -> Check:
    import pandas as pd

    log, since, what = data.question.log, data.until - pd.Timedelta(days=7), "calls"
    for telling in tellings(log, data.question.plan.flag):
        columns = ["person_id", "timestamp", "event", telling.value]
        parts = log.reduce(
            columns, partial(_count, value=telling.value, since=since), until=data.until, **telling.narrow
        )
        total, count = (sum(part[k] for part in parts) for k in (0, 1))
        if total:
            what = "calls" if telling.are_calls else "events with its value"
            break
    words = (
        f"{counted(count, what)} in the last 7 days: the code still asks for the flag. Remove it from the "
        "code, deploy, disable the flag, then delete it."
        if count
        else "The code no longer asks for the flag: disable it, then delete it."
    )
    return Check(
        name="still asked for",
        kind="clean-up",
        status=Status.OPEN,
        meaning=words,
        measured="calls of the flag in the 7 days before the evaluation",
        canary=Arm(total=count),
    )


def _stale(question: Question) -> Check:
    days = (question.as_of - question.start).total_seconds() / 86_400
    age = format_value(days * 86_400, "seconds")
    if days > STALE_AFTER_DAYS:
        status, words = Status.OPEN, f"At 100 % for {age}: the flag is stale. Its clean-up is overdue."
    else:
        status = Status.OK
        words = f"At 100 % for {age}: it becomes stale after {STALE_AFTER_DAYS} days."
    return Check(
        name="stale flag",
        kind="clean-up",
        status=status,
        meaning=words,
        measured="time since full release",
        method=f"stale after {STALE_AFTER_DAYS} days at 100 %",
    )


def _count(table: pa.Table, *, value: str, since: pd.Timestamp) -> tuple[int, int]:
    """Tellings of all time, and from a moment on."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = without_copies(table, "person_id", value)
    late = pc.greater_equal(table.column("timestamp"), pa.scalar(since, table.schema.field("timestamp").type))
    return table.num_rows, pc.sum(late).as_py() or 0
