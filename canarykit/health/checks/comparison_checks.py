"""From a comparison to the lines of a report: numbers, status, and what they mean in plain words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from canarykit.display import Kind, format_value
from canarykit.errors import did_you_mean
from canarykit.health.checks.check import Arm, Check, Status
from canarykit.health.checks.data_checks import log_checks
from canarykit.health.checks.who_is_missing import missing_check
from canarykit.health.data.data_state import DataState
from canarykit.health.decision import log_thresholds
from canarykit.health.evidence.compare import Comparison
from canarykit.health.evidence.event_evidence import GuardrailEvidence
from canarykit.health.evidence.value_guardrails import adjustment_words
from canarykit.health.question import Question
from canarykit.metrics.share import ShareMetric
from canarykit.metrics.unit_outcomes import micros_of
from canarykit.metrics.values import Total
from canarykit.stats.one_look.proportions import wilson

__all__ = ["comparison_checks", "data_check", "guardrail_check", "share_arm"]


def share_arm(count: int, total: int, *, exact: bool = False) -> Arm:
    """A share with its interval: Wilson's, or the exact one; nobody gives no value."""
    from canarykit.stats.one_look.proportions import clopper_pearson

    found = (clopper_pearson if exact else wilson)(count, total)
    if found is None:
        return Arm(count, total)
    return Arm(count, total, found.value, found.low, found.high)


def comparison_checks(data: DataState, comparison: Comparison) -> tuple[Check, ...]:
    """Validity first, then every guardrail."""
    question = data.question
    validity = (
        data_check(data, int(comparison.series.units_canary[-1]), int(comparison.series.units_control[-1])),
        *log_checks(data),
        _ratio_check(question, comparison),
        _crosser_check(question, comparison),
        missing_check(question, comparison),
    )
    off = data.one_sided or any(
        check.status in (Status.HOLD, Status.INVALID)
        for check in validity
        if check.name not in ("data", "gaps", "late events")
    )
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


def _ratio_check(question: Question, comparison: Comparison) -> Check:
    series = comparison.series
    n_canary, n_control = int(series.units_canary[-1]), int(series.units_control[-1])
    log_e = float(series.srm_log_e.max()) if len(series.srm_log_e) else math.nan
    _, _, hold, invalid = log_thresholds(question.rules)
    total = n_canary + n_control
    observed = n_canary / total if total else None
    expected = format_value(series.share, "share")
    who = question.unit_words
    seen = f"{format_value(observed, 'share')} of the {who} have the canary where the rules say {expected}"
    if not math.isfinite(log_e) or not total:
        status, meaning = Status.UNCLEAR, "Nobody to count: whether the shares hold cannot be told."
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
        measured="people put into each arm by chance, against the planned shares",
        canary=Arm(n_canary, total, observed),
        control=Arm(n_control, total, None if observed is None else 1 - observed),
        effect=observed,
        effect_unit="share",
        margin=series.share,
        evidence=_e(log_e),
        needed=math.exp(hold),
        method="tilted binomial mixture e-process, valid at every look",
    )


def _crosser_check(question: Question, comparison: Comparison) -> Check:
    units = comparison.found.units[comparison.used]
    several = int(units["several"].sum()) if len(units) else 0
    share = several / len(units) if len(units) else None
    limit, who = question.rules.max_crosser_share, question.unit_words
    if share is None:
        status, meaning = Status.UNCLEAR, "Nobody to count."
    elif share < limit:
        status = Status.OK
        meaning = f"{several:,} of {len(units):,} {who} saw both variants within the stage."
    else:
        status = Status.HOLD
        meaning = (
            f"{several:,} of {len(units):,} {who} saw both variants within the stage: they cannot be put "
            "down to either arm, and a flag that flickers is a fault of its own. Comparisons are off."
        )
    return Check(
        name="both variants seen",
        kind="validity",
        status=status,
        meaning=meaning,
        measured="people seen with both variants within the stage",
        canary=Arm(several, len(units), share),
        evidence=share,
        evidence_name="share",
        needed=limit,
        method=f"held from {format_value(limit, 'share')} on",
    )


def guardrail_check(
    question: Question, comparison: Comparison, i: int, *, comparisons_off: bool = False
) -> Check:
    """One guardrail: both arms, the effect with limits valid at every look, and what it means."""
    judged = comparison.series.guardrails[i]
    guardrail = judged.guardrail
    canary, control, measured = _arms(question, comparison, i)
    value, low, high = (_finite(series[-1]) for series in (judged.value, judged.low, judged.high))
    harm = float(judged.weighted_log_e[-1])
    roll_back, promote, _, _ = log_thresholds(question.rules)
    safe = float(judged.standing_safe_log_e(roll_back)[-1])
    unmeasured = _nothing_measured(question, comparison, i)
    status, meaning = _guardrail_status(
        judged,
        harm,
        safe,
        roll_back,
        promote,
        comparison.missing,
        unmeasured=unmeasured,
        who=question.unit_words,
    )
    if guardrail.label in comparison.breached:
        limit = format_value(guardrail.limit, "share")
        status, meaning = Status.BREACH, f"Beyond the limit of {limit} for sure, while the control keeps it."
    elif comparisons_off and status is not Status.UNCLEAR:
        status, meaning = Status.UNCLEAR, f"Not judged, because the comparison is not valid. ({meaning})"
    weight = f"weight {judged.weight:.3g}"
    if judged.unit == "ratio":
        where = "over the ramp so far, stratified by stage; " if question.evidence == "ramp" else ""
        method = (
            "event e-process within entry cohorts, one first event per person, every look valid; "
            f"{where}{weight}"
        )
    else:
        values = comparison.values[i]
        alone = "by this stage alone; " if question.evidence == "ramp" else ""
        rows = "" if question.actor == "person_id" else ", spread between groups (cluster jackknife)"
        past = (
            "" if values.adjustment is None else f", CUPED by the {values.adjustment.window} before exposure"
        )
        method = (
            f"normal mixture e-process on means{rows}{past}, asymptotic, every look valid; {alone}{weight}"
        )
        meaning += adjustment_words(values)
    return Check(
        name=guardrail.label,
        kind="guardrail",
        status=status,
        meaning=meaning,
        measured=measured,
        canary=canary,
        control=control,
        effect=value,
        effect_low=low,
        effect_high=high,
        effect_unit=judged.unit,
        margin=_finite(judged.margin),
        evidence=_e(harm),
        needed=math.exp(roll_back),
        evidence_name="harm E",
        method=method,
    )


def _arms(question: Question, comparison: Comparison, i: int) -> tuple[Arm, Arm, str]:
    who = question.unit_words
    found, used = comparison.found, comparison.used
    metric = found.metrics[i]
    if isinstance(metric, ShareMetric):
        first = found.first[i]
        assert first is not None
        starts, stops = found.time_at_risk(i)
        whole = used & (stops > starts)
        words = f"{metric.label}: {who} to whom it happened after their exposure"
        over = _time_over(comparison, metric)
        if over is not None:
            if (over & found.canary).any() and (over & ~found.canary).any():
                whole = over
                words += "; shares count people whose time is over, evidence everybody while they had time"
            else:
                words += "; nobody's time is over yet, so shares are those so far"
        words += (
            f"; the effect compares first events among the {who} still at risk, so it need not be the ratio "
            "of the shares"
        )
        arms = [whole & found.canary, whole & ~found.canary]
        canary, control = (share_arm(int((first[arm] >= 0).sum()), int(arm.sum())) for arm in arms)
        return canary, control, words
    values = comparison.values[i]
    words = f"{metric.label} after the exposure"
    if question.actor != "person_id" and isinstance(metric, Total):
        words += ", of every person of each group seen since then"
    if values.cap is not None:
        words += f"; capped at the control's {format_value(metric.cap, 'share')} quantile, {values.cap:,.4g}"
    pairs = (
        (values.n_canary, values.canary, values.canary_variance),
        (values.n_control, values.control, values.control_variance),
    )
    arms_found = [_value_arm(int(n[-1]), float(v[-1]), float(s[-1])) for n, v, s in pairs]
    return arms_found[0], arms_found[1], words


def _time_over(comparison: Comparison, metric: ShareMetric) -> npt.NDArray[np.bool_] | None:
    """Who of those compared has had the whole time in which it counts; None where that has no end."""
    window = metric.window[1]
    if not math.isfinite(window):
        return None
    units = comparison.found.units
    entered, leaves = micros_of(units["entered_at"]), micros_of(units["leaves_at"])
    return comparison.used & (entered + round(window * 1e6) <= leaves)


def _nothing_measured(question: Question, comparison: Comparison, i: int) -> str:
    """Why a guardrail whose event is recorded has nothing to be judged by; empty where it has."""
    found = comparison.found
    metric = found.metrics[i]
    if isinstance(metric, ShareMetric):
        over, first = _time_over(comparison, metric), found.first[i]
        assert first is not None
        earlier = not math.isnan(comparison.series.guardrails[i].value[-1])
        happened = earlier or (first[comparison.used] >= 0).any()
        if happened or over is None or over.any() or not comparison.used.any():
            return ""
        return "Nobody's time is over yet and it has happened to nobody so far: there is no bound yet."
    name, dropped, weights = getattr(metric, "property_name", None), found.unreadable[i], found.weights[i]
    if not name or not dropped or weights is None or weights.any():
        return ""
    events = " or ".join(repr(event) for event in metric.events)
    known = question.log.property_names(sample=20_000)
    hint = did_you_mean(name, known)  # of properties in JSON only the first events' are known
    if name in known or "Did you mean" not in hint:
        hint = "is that its name, and is it recorded as a number?"
    said = f"no {events} event has a number in {name!r} ({dropped:,} were left out)"
    return f"Cannot be judged: {said}; {hint}"


def _value_arm(n: int, value: float, variance: float) -> Arm:
    if not math.isfinite(value):
        return Arm(total=n, unit="value")
    half = 1.959964 * math.sqrt(variance) if math.isfinite(variance) else math.inf
    return Arm(total=n, value=value, low=value - half, high=value + half, unit="value")


def _guardrail_status(
    judged: GuardrailEvidence,
    harm: float,
    safe: float,
    roll_back: float,
    promote: float,
    missing: tuple[str, ...],
    *,
    unmeasured: str,
    who: str,
) -> tuple[Status, str]:
    guardrail = judged.guardrail
    lower = guardrail.worse == "lower"
    if guardrail.label in missing:
        names = ", ".join(guardrail.metric.events)
        return (
            Status.UNCLEAR,
            f"The export has no event {names} at all: nothing was measured. Is it recorded?",
        )
    if judged.counts.get("missing"):
        return Status.UNCLEAR, "The margin cannot be computed: nobody in the control had it yet."
    if unmeasured:
        return Status.UNCLEAR, unmeasured
    kind: Kind = "ratio" if judged.unit == "ratio" else "number"
    margin = format_value(judged.margin, kind)
    worst = float(judged.low[-1] if lower else judged.high[-1])
    bound = format_value(_finite(worst), kind)
    word = "lower" if lower else "higher"
    if math.isnan(safe):
        return Status.UNCLEAR, (
            "Cannot be judged: an arm has too few people, or the values do not vary at all, and without "
            "spread there is no telling chance from effect."
        )
    is_safe = safe >= promote
    if harm >= roll_back and not is_safe:
        return Status.HARM, (
            f"Worse than the control: it is {word} than chance explains, however often one looked. "
            f"{_effect_words(judged, who)}."
        )
    if harm >= roll_back:
        return Status.TOLERATED, (
            f"Worse than the control, and proven to be within the margin of {margin}: a person decides."
        )
    if is_safe:
        return Status.OK, f"Shown to be within the margin of {margin}: at worst {bound}."
    if not math.isfinite(worst) or (judged.unit == "ratio" and worst == 0):
        return Status.WAIT, f"Nothing shown yet: what was seen does not bound the effect (margin {margin})."
    return Status.WAIT, f"No harm shown, and not shown to be safe: at worst {bound}, the margin is {margin}."


def _effect_words(judged: GuardrailEvidence, who: str) -> str:
    value = float(judged.value[-1])
    if judged.unit != "ratio":
        return f"The effect is {value:+,.4g}"
    if not math.isfinite(value):
        return "The effect is beyond any ratio: the control had none"
    return f"Among {who} it had not happened to yet, it came {value:.3g} times as often as in the control"


def _e(log_e: float) -> float | None:
    return None if math.isnan(log_e) else math.exp(min(log_e, 700.0))


def _finite(value: Any) -> float | None:
    number = float(value)
    return None if math.isnan(number) else number
