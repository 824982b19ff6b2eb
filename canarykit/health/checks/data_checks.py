"""Are the data all there? Holes in the log or in one arm, and events that are still to come."""

from __future__ import annotations

from collections.abc import Sequence

from canarykit.counting import counted
from canarykit.display import Note, format_value
from canarykit.health.checks.check import Arm, Check, Status
from canarykit.health.data.data_state import DataState
from canarykit.health.data.delays import COMPLETE, Delays
from canarykit.health.data.pulse import ArmSilence
from canarykit.health.data.silences import Silence
from canarykit.health.question import Question
from canarykit.metrics.unit_outcomes import Outcomes


def log_checks(data: DataState) -> tuple[Check, ...]:
    """Holes in the stage, and late events where the log knows when each arrived.

    A hole in the whole log hits both arms alike: it holds a promotion until somebody says what it was,
    and hides no harm. A hole in one arm makes every comparison wrong and switches it off.
    """
    delays = data.pulse.delays
    return (_gap_check(data), *(() if delays is None else (_late_check(data, delays),)))


def value_notes(question: Question, reduced: Outcomes) -> list[Note]:
    """Events of each guardrail whose value was missing or no number, and filters that none of them passes."""
    notes = [
        Note(
            "unreadable",
            f"events whose property is missing or no number are left out of {guardrail.label}",
            dropped,
        )
        for guardrail, dropped in zip(question.guardrails, reduced.unreadable, strict=True)
        if dropped
    ]
    for guardrail, first in zip(question.guardrails, reduced.first, strict=True):
        where = getattr(guardrail.metric, "where", ())
        if where and first is not None and len(first) and not (first >= 0).any():
            text = (
                f"{guardrail.label}: nobody has an event that passes its where=, so it can show no harm; is "
                "each value written as the log has it (of a list, its JSON text)?"
            )
            notes.append(Note("nothing_passes", text))
    return notes


def _gap_check(data: DataState) -> Check:
    """Hours without events where the other days say there should be some; unexplained ones hold."""
    pulse = data.pulse
    gap_words = (
        *(_silence_words(data.question, "No event at all", silence) for silence in pulse.silences),
        *(_silence_words(data.question, "No call of a flag", silence) for silence in pulse.calls),
    )
    gaps = pulse.gaps
    explained = [data.is_explained(silence) for silence in gaps]
    hours = sum(silence.hours for silence in gaps) + sum(item.silence.hours for item in pulse.arms)
    if pulse.arms:
        status = Status.HOLD
        meaning = _some([_arm_words(data.question, item) for item in pulse.arms]) + (
            " What is missing from one arm makes it look better or worse than it is: comparisons are off. "
            "Load what is missing, or start the stage again after it."
        )
    elif not all(explained):
        status = Status.HOLD
        meaning = _some([words for words, cause in zip(gap_words, explained, strict=True) if not cause]) + (
            " Were events lost, or was the product down? Load what is missing, or name the time in "
            "known_gaps once its cause is known."
        )
    elif gap_words:
        status, meaning = Status.INFO, _some(gap_words) + " The cause is known."
    else:
        status = Status.OK
        meaning = "No hour without events in which the other days say there should have been some."
    strongest = max((s.log_evidence for s in (*gaps, *(item.silence for item in pulse.arms))), default=None)
    return Check(
        name="gaps",
        kind="validity",
        status=status,
        meaning=meaning,
        measured="hours of the stage without events or flag calls, and hours in which one arm was silent",
        effect=hours if strongest is not None else None,
        effect_unit="hours",
        method=(
            "quarter hours against the same ones of other days (one arm: against the other); a stage without "
            "a gap is held by mistake once in a thousand"
        ),
    )


def _silence_words(question: Question, what: str, silence: Silence) -> str:
    days = "1 comparable day" if silence.days == 1 else f"{silence.days:,} comparable days"
    return (
        f"{what} {_when(question, silence)}; about {silence.expected:,.0f} visits would be expected ({days})."
    )


def _arm_words(question: Question, item: ArmSilence) -> str:
    other, unit = "control" if item.arm == "canary" else "canary", question.unit_words
    return (
        f"Nobody of the {item.arm} was seen {_when(question, item.silence)}, "
        f"while {counted(item.others, unit)} of the "
        f"{other} {'was' if item.others == 1 else 'were'}; with those, "
        f"{item.silence.expected:,.0f} would be usual."
    )


def _when(question: Question, silence: Silence) -> str:
    since, until = (question.local(at) for at in (silence.since, silence.until))
    hours = format_value(silence.hours * 3600, "seconds")
    return f"from {format_value(since, 'time')} to {format_value(until, 'time')} ({hours})"


def _some(words: Sequence[str]) -> str:
    """The first two, and how many more there are."""
    more = len(words) - 2
    return " ".join(words[:2]) + (f" And {more:,} more." if more > 0 else "")


def _usual(delays: Delays) -> str:
    if delays.usual is None:
        return "only after more than a week"
    return f"after {format_value(delays.usual * 3600, 'seconds')}" if delays.usual else "within the hour"


def _own_words(data: DataState) -> str:
    """Which guardrails wait for their own events, and until when they are proven."""
    import pandas as pd

    complete_until = [item.until for item in data.pulse.own_complete]
    said = [
        f"{guardrail.label} until {format_value(pd.Timestamp(until, unit='us', tz='UTC'), 'time')}"
        for guardrail, until in zip(data.question.guardrails, complete_until, strict=False)
        if until is not None and until < int(data.until.value // 1000)
    ]
    if not said:
        return ""
    return f"Events of a guardrail, or of one arm, come later: safety is judged of {' and '.join(said)}."


def _late_check(data: DataState, delays: Delays) -> Check:
    """Until when the hours are complete, by how late events arrive; newer hours decide nothing."""
    usual = _usual(delays)
    late = f"{format_value(delays.late_share, 'share')} of the events arrived more than an hour late"
    enough = f"{COMPLETE:.0%}".replace("%", " %")
    if delays.complete_until is None:
        status = Status.OK
        meaning = f"{late}; {enough} are there {usual}. Every hour of the stage is complete."
    elif not data.is_complete:
        status = Status.WAIT if data.question.in_grace else Status.HOLD
        meaning = f"{late}; {enough} are there {usual}: no hour of the stage is complete yet."
    else:
        until = data.question.local(delays.complete_until)
        left_out = format_value((data.question.stop - until).total_seconds(), "seconds")
        status = Status.INFO
        meaning = (
            f"{late}; {enough} are there {usual}. The newest {left_out} are not complete and decide "
            f"nothing: judged until {format_value(until, 'time')}."
        )
    waiting = _own_words(data)
    if waiting:
        meaning += f" {waiting}"
        status = Status.INFO if status is Status.OK else status
    return Check(
        name="late events",
        kind="validity",
        status=status,
        meaning=meaning,
        measured="arrivals (created_at) after the event's hour was over and later hours had come in",
        canary=Arm(delays.late, delays.events, delays.late_share),
        method=f"hours count once {enough} of their events are to be expected there",
    )
