"""From a comparison to the lines of a report: numbers, status, and what they mean in plain words."""

from __future__ import annotations

import math

from canarykit.counting import counted
from canarykit.display import format_value
from canarykit.exposure.crossers import flickers
from canarykit.health.checks.changed_share import changed_share
from canarykit.health.checks.check import Arm, Check, Status
from canarykit.health.checks.data_checks import log_checks
from canarykit.health.checks.guardrail_lines import e_value, guardrail_check
from canarykit.health.checks.who_is_missing import missing_check
from canarykit.health.data.data_state import DataState
from canarykit.health.decision import log_thresholds
from canarykit.health.evidence.compare import Comparison
from canarykit.health.evidence.doubts import Doubt
from canarykit.health.question import Question


def comparison_checks(data: DataState, comparison: Comparison) -> tuple[Check, ...]:
    """Validity first, then every guardrail."""
    question = data.question
    validity: tuple[Check, ...] = (
        data_check(data, int(comparison.series.units_canary[-1]), int(comparison.series.units_control[-1])),
        *log_checks(data),
        _ratio_check(data, comparison),
        _crosser_check(question, comparison),
        missing_check(question, comparison),
    )
    off = data.one_sided or any(
        check.status in (Status.HOLD, Status.INVALID)
        for check in validity
        if check.name not in ("data", "gaps", "late events")
    )
    off |= any(doubt.against == "comparison" for doubt in comparison.doubts)
    validity += tuple(_doubt_check(doubt) for doubt in comparison.doubts)
    guardrails = tuple(
        guardrail_check(question, comparison, i, comparisons_off=off) for i in range(len(question.guardrails))
    )
    return validity + guardrails


def data_check(data: DataState, n_canary: int, n_control: int | None) -> Check:
    """Do fresh data reach both arms, and can the events be used?

    A stage without a control only needs somebody. Too many events that cannot be used hold a promotion.
    """
    question = data.question
    needed = 1 if n_control is None else max(1, question.rules.min_units)
    newest = data.pulse.newest
    newest = None if newest is None else newest.tz_convert(data.question.as_of.tz)
    problems = []
    if not data.is_fresh:
        age = "there is none" if newest is None else f"the newest is of {format_value(newest, 'time')}"
        problems.append(
            f"no fresh events ({age})" if data.is_complete else "no hour of the stage is complete yet"
        )
    for name, count in (("canary", n_canary), ("control", n_control)):
        if count is not None and count < needed:
            problems.append(f"the {name} has {count:,} where at least {needed:,} are needed")
    if not problems:
        status, meaning = Status.OK, "Events are fresh and the arms are large enough to be judged."
    elif question.in_grace:
        status = Status.WAIT
        meaning = f"Too early to judge: {'; '.join(problems)}. The grace period is not over."
    else:
        status = Status.HOLD
        meaning = f"Cannot be judged: {'; '.join(problems)}. Find out why before anything else."
    method = f"fresh within {format_value(question.freshness, 'seconds')}, at least {needed:,} per arm"
    if data.too_many_unusable:
        most = question.max_unusable_share
        words = data.unusable.words(most)
        meaning = words if status is Status.OK else f"{meaning} {words}"
        method += f", at most {format_value(most, 'share')} of the events unusable"
        status = Status.HOLD
    return Check(
        name="data",
        kind="validity",
        status=status,
        meaning=meaning,
        measured="newest event against the end of the evaluation, and people per arm",
        canary=Arm(total=n_canary),
        control=None if n_control is None else Arm(total=n_control),
        method=method,
    )


def _ratio_check(data: DataState, comparison: Comparison) -> Check:
    """Whether the arms have the shares that the rules say, by evidence that holds at every look."""
    question, series = data.question, comparison.series
    n_canary, n_control = int(series.units_canary[-1]), int(series.units_control[-1])
    log_e = float(series.srm_log_e.max()) if len(series.srm_log_e) else math.nan
    _, _, hold, invalid = log_thresholds(question.rules)
    total = n_canary + n_control
    observed = n_canary / total if total else None
    expected = format_value(series.share, "share")
    who = question.unit_words
    seen = f"{format_value(observed, 'share')} of the {who} have the canary where the rules say {expected}"
    if not math.isfinite(log_e) or not total:
        status, meaning = Status.UNCLEAR, f"No {who} have been exposed yet, so the split cannot be checked."
    elif log_e >= hold and (changed := changed_share(data, comparison)):
        status = Status.INVALID if log_e >= invalid else Status.HOLD
        meaning = (
            f"The canary's share changed within the stage ({changed}), where the rules say {expected}. "
            "No comparison over all of it can be trusted."
        )
    elif log_e >= invalid:
        status = Status.INVALID
        meaning = (
            f"{seen}. People are missing from one arm: no comparison can be trusted. "
            "Find the cause and start again."
        )
    elif log_e >= hold:
        status = Status.HOLD
        meaning = f"{seen}. Somebody may be missing; comparisons are off until that is understood."
    else:
        status = Status.OK
        meaning = f"The arms have the shares the rules say ({expected} canary), as far as can be seen."
    return Check(
        name="sample ratio",
        kind="validity",
        status=status,
        meaning=meaning,
        measured=f"{who} randomised into each arm, against the planned shares",
        canary=Arm(n_canary, total, observed),
        control=Arm(n_control, total, None if observed is None else 1 - observed),
        effect=observed,
        effect_unit="share",
        margin=series.share,
        evidence=e_value(log_e),
        needed=math.exp(hold),
        method="tilted binomial mixture e-process, valid at every look",
    )


def _crosser_check(question: Question, comparison: Comparison) -> Check:
    units = comparison.found.units[comparison.used]
    several = int(flickers(units).sum())
    share = several / len(units) if len(units) else None
    limit = question.rules.max_crosser_share
    seen = f"{several:,} of {counted(len(units), question.unit_words)}"
    if share is None:
        status, meaning = Status.UNCLEAR, "Nobody to count."
    elif share < limit:
        status = Status.OK
        meaning = f"{seen} saw both variants under one id within the stage."
    else:
        status = Status.HOLD
        meaning = (
            f"{seen} saw both variants under one id within the stage: they cannot be put down to either arm, "
            "and a flag that flickers is a fault of its own. Comparisons are off."
        )
    return Check(
        name="both variants seen",
        kind="validity",
        status=status,
        meaning=meaning,
        measured="people who got both variants under one and the same id within the stage",
        canary=Arm(several, len(units), share),
        evidence=share,
        evidence_name="share",
        needed=limit,
        method=f"held from {format_value(limit, 'share')} on",
    )


def _doubt_check(doubt: Doubt) -> Check:
    """Who was counted where by choice, and whether the verdict hangs on it."""
    return Check(
        name=doubt.name,
        kind="validity",
        status=Status.INFO if doubt.against == "nothing" else Status.HOLD,
        meaning=doubt.meaning,
        measured="people who could belong to the other arm, or to either",
        canary=Arm(doubt.people, doubt.of, doubt.people / doubt.of if doubt.of else None),
        method="the verdict is decided again with them where they speak most against it",
    )
