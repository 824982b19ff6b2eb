"""Sentences: the reason behind a verdict as a manager reads it, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from canarykit.counting import and_more, first_named
from canarykit.display import format_value
from canarykit.health.checks.check import Check, Status
from canarykit.health.data.data_state import DataState
from canarykit.health.decision import Row
from canarykit.health.evidence.segment_harm import SegmentHarm

_NOT_ABOUT_EFFECTS = (
    Row.TOO_LITTLE,
    Row.TOO_LITTLE_AFTER_GRACE,
    Row.CRITICAL_MISSING,
    Row.LIMIT_BREACHED,
    Row.NOT_VALID_YET,
    Row.INVALID,
)
GAP_STEP = "Find out what the gaps are; load what is missing, or name the time in known_gaps."


def comparison_reason(
    data: DataState, row: Row, checks: Sequence[Check], segments: Sequence[SegmentHarm] = ()
) -> str:
    """One sentence for a randomised stage; segments in which guardrails got worse are named in it."""
    if not segments or row in _NOT_ABOUT_EFFECTS:
        return _reason(data, row, checks)
    stage, surest = data.question.stage, surest_by_guardrail(segments)
    if row is not Row.HARM:
        where = _where_all(surest)
        return f"{stage}: {surest[0].label} got worse {where}; it is not promoted while that stands."
    plain = _reason(data, row, checks).rstrip(".")
    worst, *others = sorted(surest, key=lambda harm: not plain.startswith(f"{stage}: {harm.label} "))
    for harm in others[:1]:  # named with its segment
        plain = plain.removesuffix(f"; {harm.label} too")
    same = plain.startswith(f"{stage}: {worst.label} ")
    where = _where_all((worst, *others))
    return f"{plain}; {where if same else f'{worst.label} {where}'}."


def surest_by_guardrail(segments: Sequence[SegmentHarm]) -> tuple[SegmentHarm, ...]:
    """Of each guardrail the segment with the most evidence of harm, the surest guardrail first."""
    first: dict[str, SegmentHarm] = {}
    for harm in segments:
        first.setdefault(harm.label, harm)
    return tuple(first.values())


def _where_all(harms: Sequence[SegmentHarm]) -> str:
    """Where guardrails got worse, of several short enough for a headline; each has a note with all of it."""
    if len(harms) == 1:
        return harms[0].where
    worst, second, *more = harms
    here, there = (format_value(harm.here, "ratio") for harm in (worst, second))
    place = "" if (second.name, second.segment) == (worst.name, worst.segment) else f"{second.place} "
    rest = f" (and {len(more)} more)" if more else ""
    return f"{worst.place} {here}, {second.label} {place}{there}{rest}"


def ramp_steps(checks: Sequence[Check]) -> tuple[str, ...]:
    """What to do where the harm is that of earlier stages, which may have been mended since."""
    if not any(check.by_ramp for check in checks):
        return ()
    return ("If the feature was changed since the ramp began, judge this stage alone with evidence='stage'.",)


def segment_steps(segments: Sequence[SegmentHarm], *, among: bool = False) -> tuple[str, ...]:
    """How to judge the segment that got worse alone; `among` people who were chosen already."""
    if not segments:
        return ()
    name, value = segments[0].name, segments[0].segment
    only = f"{{{name!r}: {value!r}}}"
    if among:
        only = f"[*those you gave, {{'key': {name!r}, 'value': {value!r}}}]"
    return (f"Judge that segment alone with people={only}, and look at its sessions.",)


def _reason(data: DataState, row: Row, checks: Sequence[Check]) -> str:
    """The sentence for the row that decided, with the guardrail or check behind it."""
    stage = data.question.stage
    guardrails = [c for c in checks if c.kind == "guardrail"]
    by_status = {status: [c for c in guardrails if c.status is status] for status in Status}
    first = {c.name: c for c in checks}
    match row:
        case Row.TOO_LITTLE | Row.TOO_LITTLE_AFTER_GRACE:
            shown = _harmed(by_status[Status.HARM])
            before = f"{shown}, as far as the data go. " if shown else ""
            return f"{stage}: {before}{first['data'].meaning}"
        case Row.CRITICAL_MISSING:
            return f"{stage}: {first['data'].meaning} A critical metric is not recorded at all."
        case Row.LIMIT_BREACHED:
            names = _first_names([c for c in checks if c.status is Status.BREACH])
            return f"{stage}: the canary breaks the limit of {names} while the control keeps it."
        case Row.NOT_VALID_YET | Row.INVALID:
            bad = [c for c in checks if c.kind == "validity" and c.status in (Status.HOLD, Status.INVALID)]
            bad = bad or [c for c in checks if c.kind == "validity" and c.status is Status.UNCLEAR]
            return f"{stage}: {and_more([c.meaning for c in bad])}"
        case Row.HARM:
            return f"{stage}: {_harmed(by_status[Status.HARM])}."
        case Row.TOLERATED_HARM:
            waiting = by_status[Status.WAIT] + by_status[Status.UNCLEAR]
            rest = f"; {_first_names(waiting)} not yet shown to be safe" if waiting else ""
            return f"{stage}: {_tolerated(by_status[Status.TOLERATED])}{rest}."
        case Row.SAFE:
            within = f"{stage}: {_all(guardrails)} shown to be within what is tolerated"
            said = [_tolerated(by_status[Status.TOLERATED]), _unwatched(guardrails)]
            more = "; ".join(words for words in said if words)
            return f"{within}; {more}." if more else f"{within}, at every look so far."
    holes = [c for c in checks if c.kind == "validity" and c.status is Status.HOLD and c.name != "data"]
    if holes:
        meanings = and_more([c.meaning for c in holes])
        return f"{stage}: {_harm_so_far(guardrails)} the data are incomplete. {meanings}"
    waiting = by_status[Status.WAIT] + by_status[Status.UNCLEAR]
    if not waiting and data.dwell_left > 0:
        left = format_value(data.dwell_left, "seconds")
        return f"{stage}: nothing wrong so far; the minimum stay has {left} to go."
    if not waiting and data.too_many_unusable:
        return f"{stage}: {first['data'].meaning}"
    names = _first_names(waiting) or "the guardrails"
    if row is Row.TIME_CAP:
        return f"{stage}: the time is up and {names} cannot be shown to be safe; it is inconclusive."
    return f"{stage}: {_harm_so_far(guardrails)} {names} not yet shown to be safe."


def comparison_steps(
    data: DataState, row: Row, settle: Sequence[str], checks: Sequence[Check], *, share_changed: bool
) -> tuple[str, ...]:
    """What to do now, and what would settle a hold."""
    following = data.question.next_stage
    match row:
        case Row.INVALID | Row.NOT_VALID_YET if share_changed:
            return (
                "Judge each share as a stage of its own: write its time into the plan, "
                "or let exposures(log, flag).observed_plan() find it.",
            )
        case Row.SAFE:
            if following:
                return (f"Go on to {following!r}.",)
            if data.question.kind == "full":
                return ("Clean up the flag.",)
            return ("Go on to a larger share: the plan ends here, and not everyone has the feature yet.",)
        case Row.HARM | Row.LIMIT_BREACHED | Row.CRITICAL_MISSING:
            return (
                "Roll the flag back to 0 %: in an earlier stage the same would still happen to its people.",
                "Look at the sessions of the people it happened to, and at the exceptions new in the canary.",
                "Ship the fix to the people who reported it first, then start the ramp again.",
            )
        case Row.INVALID:
            return (
                "Find out who is missing from an arm: by browser, day and client version.",
                "Then start the percentage again with a new flag key, so that new buckets are drawn.",
            )
        case Row.NOT_VALID_YET if data.one_sided:
            return ("Load what is missing from the arm, or start the stage again after the gap.",)
        case Row.NOT_VALID_YET:
            return ("Find out who is missing or flickering, by browser, day and client version.",)
        case Row.TOLERATED_HARM:
            return tuple(settle) or ("Wait for the minimum stay, and for what holds the promotion.",)
        case Row.TOO_LITTLE | Row.TOO_LITTLE_AFTER_GRACE:
            look = "Check that the flag is on at this share and that events arrive."
            if any(n.code == "people_filter" and not n.count for n in data.question.exposures.notes):
                look = "Nobody who was exposed passes people=: check its properties and values."
            if any(c.kind == "guardrail" and c.status is Status.HARM for c in checks):
                return ("Harm was shown before: roll the flag back if the data are not back at once.", look)
            return (look,)
    steps = [GAP_STEP, *settle] if data.open_gaps else list(settle)
    if data.dwell_left > 0:
        steps.append(f"The minimum stay ends in {format_value(data.dwell_left, 'seconds')}.")
    if row is Row.TIME_CAP:
        steps.append("Extend the stage, widen the margin on the record, or stop: silence is not safety.")
    return tuple(steps)


def _all(checks: Sequence[Check]) -> str:
    names = [c.name for c in checks]
    if len(names) == 1:
        return f"{names[0]} is"
    return "both guardrails are" if len(names) == 2 else f"all {len(names)} guardrails are"


def _tolerated(checks: Sequence[Check]) -> str:
    if not checks:
        return ""
    worst, *others = checks
    more = f", as did {_others(others)}" if others else ""
    return f"{worst.name} got worse within what is tolerated ({worst.effect_text}){more}"


def _harmed(checks: Sequence[Check]) -> str:
    """What got worse, the worst of it with its numbers; nothing where nothing did."""
    if not checks:
        return ""
    worst, *others = sorted(checks, key=lambda c: -(c.evidence or 0.0))
    return _harm_words(worst) + (f"; {_others(others)} too" if others else "")


def _others(checks: Sequence[Check]) -> str:
    """The one other by its name, more of them by their number: a headline is one line."""
    return checks[0].name if len(checks) == 1 else f"{len(checks)} others"


def _first_names(checks: Sequence[Check]) -> str:
    return first_named([c.name for c in checks])


def moved_unwatched(checks: Sequence[Check]) -> list[tuple[Check, str]]:
    """Guardrails that moved, beyond chance, in the direction that nobody watches: "rose" or "fell"."""
    moved = []
    for c in checks:
        if c.hoped is None or c.margin is None:
            continue
        lower = c.lower_is_worse
        limit = c.effect_low if lower else c.effect_high
        if limit is not None and (limit > c.hoped if lower else limit < c.hoped):
            moved.append((c, "rose" if lower else "fell"))
    return moved


def _unwatched(checks: Sequence[Check]) -> str:
    said = [f"{check.name} {moved} ({check.effect_text})" for check, moved in moved_unwatched(checks)]
    return f"{first_named(said)}, which is not the direction watched" if said else ""


def _harm_so_far(guardrails: Sequence[Check]) -> str:
    """What a hold says of harm before it names what it waits for."""
    worse = [c for c in guardrails if c.status is Status.WAIT and c.looks_worse]
    if not worse:
        return "no harm shown, but"
    effect = f" ({worse[0].effect_text})" if len(worse) == 1 else ""
    looks = "looks" if len(worse) == 1 else "look"
    return f"{_first_names(worse)} {looks} worse{effect}, not shown to be past the line of rollback;"


def _harm_words(check: Check) -> str:
    """That a guardrail got worse, with numbers that say so."""
    arms = f"{check.canary} with the canary, {check.control} without"
    hoped = 0.0 if check.hoped is None else check.hoped
    lower = check.lower_is_worse
    if check.effect is not None and (check.effect > hoped if lower else check.effect < hoped):
        when = "" if check.crossed_at is None else f" on {format_value(check.crossed_at, 'time')}"
        return f"{check.name} was shown to be worse{when}; since then the effect faded ({check.effect_text})"
    ours, theirs = (None if arm is None else arm.value for arm in (check.canary, check.control))
    if ours is not None and theirs is not None and (ours > theirs if lower else ours < theirs):
        return f"{check.name} got worse among those it had not happened to yet ({check.effect_text})"
    if check.by_ramp:
        return f"{check.name} got worse over the ramp so far (in this stage {arms})"
    return f"{check.name} got worse ({arms})"
