"""A report in five lines, without a symbol of statistics: what, where, how sure, what is next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from canarykit.counting import counted, in_brief
from canarykit.display import format_value
from canarykit.errors import PlanError, did_you_mean
from canarykit.health.checks.check import Arm, Check, Status
from canarykit.health.decision import Verdict
from canarykit.health.report.reasons import moved_unwatched, surest_by_guardrail
from canarykit.messages import Message
from canarykit.times import check_zone

if TYPE_CHECKING:
    from canarykit.health.evidence.segment_harm import SegmentHarm
    from canarykit.health.report.stage_report import StageReport

Audience = Literal["manager", "team", "release notes"]
AUDIENCES = ("manager", "team", "release notes")

MOST_NAMED = 3
"""Guardrails that got worse and are told one by one; the rest is counted."""

_WORST_FIRST = (Status.BREACH, Status.HARM, Status.TOLERATED, Status.WAIT, Status.UNCLEAR, Status.OK)


def stage_message(report: StageReport, audience: Audience, tz: str | None) -> Message:
    """The message for one kind of reader.

    `PlanError` if there is no such audience.
    """
    if audience not in AUDIENCES:
        raise PlanError(f"audience is {audience!r}; {did_you_mean(str(audience), AUDIENCES)}")
    if audience == "release notes":
        return _release_note(report, tz)
    guardrails = sorted(
        (check for check in report.checks if check.kind in ("guardrail", "limit")),
        key=lambda check: _WORST_FIRST.index(check.status) if check.status in _WORST_FIRST else 99,
    )
    lines = [("What", _what(report, guardrails)), ("Where", _where(report, tz)), ("How sure", _sure(report))]
    if audience == "team":
        lines += [(check.name, _measured(check)) for check in guardrails]
        lines += [(check.name, check.meaning) for check in report.checks if _speaks_against(check)]
    lines += [("Next", step) for step in _next_steps(report, audience)]
    title = in_brief(f"{report.flag}: {_to_do(report)}", [report.flag, report.stage])
    return Message(title, tuple(lines))


def _to_do(report: StageReport) -> str:
    match report.verdict:
        case Verdict.ROLL_BACK:
            return "roll back"
        case Verdict.HOLD:
            return f"wait at {report.stage}"
    return "finished, clean up the flag" if report.kind == "full" else "safe to go on"


def _what(report: StageReport, guardrails: list[Check]) -> str:
    bad = [check for check in guardrails if check.status in (Status.HARM, Status.BREACH)]
    if report.verdict is Verdict.ROLL_BACK and bad:
        proven = {harm.label: harm for harm in surest_by_guardrail(report.harmed_segments)}
        told = [_harm(check, proven.pop(check.name, None)) for check in bad[:MOST_NAMED]]
        told += [f"Also worse: {harm.label} {_there(harm)}" for harm in proven.values()]
        more = [f"{len(bad) - MOST_NAMED} more got worse"] if len(bad) > MOST_NAMED else []
        return "".join(f"{sentence}. " for sentence in [*told, *more]).rstrip()
    if report.verdict is Verdict.PROMOTE and guardrails and report.kind == "percentage":
        names = ", ".join(check.name for check in guardrails[:3])
        rest = f" and {len(guardrails) - 3} more" if len(guardrails) > 3 else ""
        other = "".join(
            f"; {check.name} {moved}, which is not the direction watched: {_arms(check)}"
            for check, moved in moved_unwatched(guardrails)
        )
        return f"Nothing that is watched ({names}{rest}) got worse than is tolerated{other}."
    if _waits_for_a_segment(report):
        harms = surest_by_guardrail(report.harmed_segments)
        told = [f"{harm.label} got worse {_there(harm)}" for harm in harms[:MOST_NAMED]]
        return "".join(f"{sentence}. " for sentence in told) + "For all others nothing is proven."
    reason = report.reason.removeprefix(f"{report.stage}: ")
    return reason[:1].upper() + reason[1:]


def _harm(check: Check, harm: SegmentHarm | None) -> str:
    """What got worse, in both arms and in words, and where most of all."""
    above = "" if harm is None else f", above all {_there(harm)}"
    return f"{check.name}: {_arms(check)}{_in_words(check)}{above}"


def _waits_for_a_segment(report: StageReport) -> bool:
    """Whether harm to a segment is what holds, and not the data."""
    valid = not any(_speaks_against(check) for check in report.checks)
    return report.verdict is Verdict.HOLD and bool(report.harmed_segments) and valid


def _next_steps(report: StageReport, audience: Audience) -> tuple[str, ...]:
    """All of them; for a manager the first, and of a segment what is to be done about it."""
    if audience != "manager":
        return report.next_steps
    if _waits_for_a_segment(report):
        place = _place(report.harmed_segments[0])
        return (f"Turn it off {place}, or find out what is wrong there; until then nobody else gets it.",)
    return report.next_steps[:1]


def _there(harm: SegmentHarm) -> str:
    """Where, and to how many of both arms."""
    if harm.counts is None:
        return _place(harm)
    with_it, without = (f"{format_value(x / n, 'share')} of {n:,}" if n else "nobody" for x, n in harm.counts)
    return f"{_place(harm)} ({with_it} with the flag, {without} without)"


def _place(harm: SegmentHarm) -> str:
    """Which segment, without PostHog's sign before its own properties."""
    return f"where {harm.name.removeprefix('$').replace('_', ' ')} is {harm.segment}"


def _in_words(check: Check) -> str:
    """By how much a share or mean is larger or smaller than the control's, such as ", 34 % more"."""
    canary, control = (None if arm is None else arm.value for arm in (check.canary, check.control))
    if canary is None or not control or canary <= 0 or control < 0:
        return ""
    ratio, people = canary / control, check.canary is not None and check.canary.unit == "share"
    if ratio >= 2:
        return f", {ratio:.2g} times as {'many' if people else 'much'}"
    direction = "more" if ratio > 1 else "fewer" if people else "less"
    return f", {100 * abs(ratio - 1):.0f} % {direction}"


def _where(report: StageReport, tz: str | None) -> str:
    zone = report.as_of.tz if tz is None else check_zone(tz, name="tz")
    start, now = (moment.tz_convert(zone) for moment in (report.starts_at, report.as_of))
    share = ""
    if report.share is not None and not re.search(rf"(?<![\d.]){100 * report.share:g} ?%", report.stage):
        share = f", {format_value(report.share, 'share')} of {report.unit}"
    without = "others" if report.kind == "targeted" else "without"
    return (
        f"{report.stage}{share}; {format_value(start, 'time')} to {format_value(now, 'time')}; "
        f"{counted(report.n_canary, report.unit)} with the flag, {report.n_control:,} {without}."
    )


def _sure(report: StageReport) -> str:
    if report.kind == "targeted":
        return (
            "These people were chosen, not randomised: this describes them and proves nothing about others."
        )
    if report.kind == "full" and report.n_control == 0:
        return "Everyone has it, so there is nobody to compare with at the same time."
    rules = report.audit.get("rules", {})
    stages = report.audit.get("parameters", {}).get("stages_of_promise", 1)
    match report.verdict:
        case Verdict.ROLL_BACK:
            level = rules.get("alpha_rollback")
            level = None if level is None else level * rules.get("stages", 1)
            over = "in this stage" if stages == 1 else f"in its {stages} randomised stages"
            claim = f"harmless releases are ever rolled back {over}"
        case Verdict.PROMOTE:
            level = rules.get("alpha_promote")
            claim = "releases that are worse than is tolerated get through"
        case _ if any(_speaks_against(check) for check in report.checks):
            return "Nothing can be said of the feature before the data are in order."
        case _ if _waits_for_a_segment(report):
            return "Sure that these people are worse off; not yet whether all others are well."
        case _:
            return "Not sure yet: what has been seen fits a safe release, and one that is not."
    if level is None:
        return "See the report."
    sure = "Sure enough to act: at" if report.verdict is Verdict.ROLL_BACK else "At"
    return f"{sure} most {100 * level:.3g} in 100 {claim}, however often one looks."


def _measured(check: Check) -> str:
    return f"{_arms(check)}; {check.status.value}. {check.meaning}"


def _arms(check: Check) -> str:
    if check.control is None:
        return f"{_arm(check.canary)} with the flag"
    return f"{_arm(check.canary)} with the flag, {_arm(check.control)} without"


def _arm(arm: Arm | None) -> str:
    if arm is None:
        return "unknown"
    if arm.unit == "share" and arm.value is not None:
        size = "" if arm.total is None else f" of {arm.total:,}"
        return f"{format_value(arm.value, 'share')}{size}"
    return str(arm)


def _speaks_against(check: Check) -> bool:
    return check.kind == "validity" and check.status in (Status.HOLD, Status.INVALID, Status.UNCLEAR)


def _release_note(report: StageReport, tz: str | None) -> Message:
    zone = report.as_of.tz if tz is None else check_zone(tz, name="tz")
    today = f"{report.as_of.tz_convert(zone):%d %B %Y}"
    if report.verdict is Verdict.ROLL_BACK:
        title = f"{report.flag} is to be taken back"
        happened = f"It made something worse for those who had it in {report.stage}."
        lines = [("What happened", happened), ("What is next", "It is to be turned off for them.")]
    elif report.kind == "full":
        nobody_without = report.n_control == 0
        title = f"{report.flag} is {'on' if nobody_without else 'being turned on'} for everyone"
        lines = [("Since", f"{report.starts_at.tz_convert(zone):%d %B %Y}")]
    else:
        title = f"{report.flag} is being tried: {report.stage}"
        chosen = "chosen " if report.share is None else f"{format_value(report.share, 'share')} of "
        seen = f"it was seen by {counted(report.n_canary, report.unit)}"
        lines = [("Who is to have it", f"{chosen}{report.unit}; {seen} so far.")]
    watched = [check.name for check in report.checks if check.kind == "guardrail"]
    if watched and report.verdict is Verdict.PROMOTE:
        people = counted(report.n_canary, report.unit)
        lines.append(("Checked", f"{', '.join(watched)}: within what was agreed, measured on {people}."))
    lines.append(("As of", today))
    return Message(title, tuple(lines))
