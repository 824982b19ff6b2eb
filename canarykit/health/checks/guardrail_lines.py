"""A guardrail's line: both arms, the effect with its limits, what is tolerated, and what that means."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from canarykit.display import Kind, format_value
from canarykit.errors import did_you_mean
from canarykit.exposure.compared import followed_whole, whole_or_all
from canarykit.health.checks.check import Arm, Check, Status
from canarykit.health.decision import log_thresholds
from canarykit.health.evidence.compare import Comparison
from canarykit.health.evidence.event_evidence import GuardrailEvidence
from canarykit.health.evidence.value_guardrails import adjustment_words
from canarykit.health.question import Question
from canarykit.metrics.guardrail import Guardrail
from canarykit.metrics.share import ShareMetric
from canarykit.metrics.values import PerPerson, Quantile
from canarykit.periods import column_micros
from canarykit.stats.checks import Z_95
from canarykit.stats.one_look.proportions import wilson
from canarykit.stats.one_look.survival import WaitingTimes

NO_HARM, NOT_YET = "No harm shown", "Harm is not shown yet"
LIMITS = "; each limit is the tightest of all looks, so the estimate need not lie in the middle"


def share_arm(count: int, total: int, *, exact: bool = False) -> Arm:
    """A share with its interval: Wilson's, or the exact one; nobody gives no value."""
    from canarykit.stats.one_look.proportions import clopper_pearson

    estimate = (clopper_pearson if exact else wilson)(count, total)
    if estimate is None:
        return Arm(count, total)
    return Arm(count, total, estimate.value, estimate.low, estimate.high)


def guardrail_check(
    question: Question, comparison: Comparison, i: int, *, comparisons_off: bool = False
) -> Check:
    """One guardrail: both arms, the effect with limits valid at every look, and what it means."""
    judged = comparison.series.guardrails[i]
    guardrail = judged.guardrail
    canary, control, measured = _arms(question, comparison, i)
    value, low, high = (_finite(series[-1]) for series in (judged.value, judged.low, judged.high))
    harm = float(judged.weighted_log_e[-1])
    now = float(judged.harm_log_e[-1]) + math.log(judged.weight)
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
    by_ramp = status in (Status.HARM, Status.TOLERATED) and judged.is_shown_by_ramp_alone(roll_back)
    if by_ramp:
        meaning += " The evidence is that of the whole ramp so far; this stage alone does not show it."
    crossed_at, crossed_with = _crossing(question, comparison, i, roll_back)
    weight = f"weight {judged.weight:.3g}"
    if judged.unit == "ratio":
        where = "harm also over the ramp so far, stratified by stage; " if "ramp" in judged.counts else ""
        by_age = isinstance(guardrail.metric, ShareMetric) and guardrail.metric.by_age
        clock = " by the time since exposure" if by_age else ""
        method = (
            f"event e-process within entry cohorts{clock}, one first event per person, every look valid; "
            f"{where}{weight}"
        )
    else:
        values = comparison.values[i]
        over_ramp = any("ramp" in other.counts for other in comparison.series.guardrails)
        alone = "by this stage alone; " if over_ramp else ""
        rows = "" if question.actor == "person_id" else ", spread between groups (cluster jackknife)"
        past = (
            "" if values.adjustment is None else f", CUPED by the {values.adjustment.window} before exposure"
        )
        on = "on means"
        if isinstance(guardrail.metric, Quantile):
            rows = f", values clustered by {'person' if question.actor == 'person_id' else 'group'}"
            on = "of values beyond a common quantile"
        method = f"normal mixture e-process {on}{rows}{past}, asymptotic, every look valid; {alone}{weight}"
        meaning += adjustment_words(values)
    if status not in (Status.UNCLEAR, Status.BREACH):
        meaning += _unwatched_words(judged) + _outside_words(value, low, high)
    check = Check(
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
        roll_back=judged.roll_back,
        hoped=1.0 if judged.unit == "ratio" else 0.0,
        evidence=e_value(now),
        needed=math.exp(roll_back),
        crossed_at=crossed_at,
        crossed_with=crossed_with,
        evidence_name="harm E",
        method=method + LIMITS,
        by_ramp=by_ramp,
    )
    if status is Status.WAIT and check.looks_worse:
        return replace(check, meaning=f"Looks worse than the control. {meaning.replace(NO_HARM, NOT_YET)}")
    return check


def _crossing(
    question: Question, comparison: Comparison, i: int, threshold: float
) -> tuple[Any, float | None]:
    """The look at which the harm evidence first reached its threshold, and the e-value there."""
    judged = comparison.series.guardrails[i]
    shown = np.flatnonzero(judged.weighted_log_e >= threshold)
    if not shown.size:
        return None, None
    first = question.local(int(comparison.series.looks[shown[0]]))
    return first, e_value(float(judged.weighted_log_e[shown[0]]))


def _arms(question: Question, comparison: Comparison, i: int) -> tuple[Arm, Arm, str]:
    """Canary and control as the report shows them, and in words whom they count."""
    who = question.unit_words
    reduced, used = comparison.found, comparison.used
    metric = reduced.metrics[i]
    if isinstance(metric, ShareMetric):
        first = reduced.first[i]
        assert first is not None
        starts, stops = reduced.time_at_risk(i)
        whole = used & (stops > starts)
        words = f"{metric.label}: {who} to whom it happened after their exposure"
        if metric.by_age:
            words = _time_words(comparison, i, metric, who)
        over = _time_over(comparison, metric)
        if over is not None:
            counted = whole_or_all(over, used & reduced.canary, used & ~reduced.canary)
            if over.any() and not counted[~over].any():
                whole = over
                words += "; shares count people whose time is over, evidence everybody while they had time"
            else:
                words += "; nobody's time is over yet, so shares are those so far"
        words += (
            f"; the effect compares first events among the {who} still at risk, so it need not be the ratio "
            "of the shares"
        )
        arms = [whole & reduced.canary, whole & ~reduced.canary]
        canary, control = (share_arm(int((first[arm] >= 0).sum()), int(arm.sum())) for arm in arms)
        return canary, control, words
    values = comparison.values[i]
    words = f"{metric.label} after the exposure"
    if question.actor != "person_id" and isinstance(metric, PerPerson):
        words += ", of every person of each group seen since then"
    fixed = getattr(metric, "fixed_cap", None)
    if fixed is not None:
        words += f"; at most {fixed:g} of any one"
    if values.cap is not None:
        words += f"; capped at the control's {format_value(metric.cap, 'share')} quantile, {values.cap:,.4g}"
    pairs = (
        (values.n_canary, values.canary, values.canary_variance),
        (values.n_control, values.control, values.control_variance),
    )
    arms_found = [_value_arm(int(n[-1]), float(v[-1]), float(s[-1])) for n, v, s in pairs]
    return arms_found[0], arms_found[1], words


def _time_words(comparison: Comparison, i: int, metric: ShareMetric, who: str) -> str:
    """What is told of a time to event: the share by a time, and how long the same part of each arm takes."""
    reduced, used = comparison.found, comparison.used
    by = "" if math.isinf(metric.window[1]) else f" within {format_value(metric.window[1], 'seconds')}"
    words = f"{metric.label}: {who} who had it{by} after their exposure"
    times = [reduced.waiting_times(i, used & arm) for arm in (reduced.canary, ~reduced.canary)]
    reached = [part for part in (0.5, 0.25, 0.1) if any(each.time_of(part) is not None for each in times)]
    if not reached or not all(each.followed for each in times):
        return words
    canary, control = (_after(each, reached[0]) for each in times)
    share = format_value(reached[0], "share")
    return f"{words}; {share} had it after {canary} with the canary and {control} without (Kaplan-Meier)"


def _after(times: WaitingTimes, share: float) -> str:
    """How long it took until this share of an arm had it, or that it takes longer than anybody was seen."""
    time = times.time_of(share)
    return (
        f"more than {format_value(times.followed, 'seconds')}"
        if time is None
        else format_value(time, "seconds")
    )


def _time_over(comparison: Comparison, metric: ShareMetric) -> npt.NDArray[np.bool_] | None:
    """Who of those compared has had the whole time in which it counts; None where that has no end."""
    window = metric.window[1]
    if not math.isfinite(window):
        return None
    units = comparison.found.units
    entered, leaves = column_micros(units["entered_at"]), column_micros(units["leaves_at"])
    return comparison.used & followed_whole(entered, leaves, window)


def _nothing_measured(question: Question, comparison: Comparison, i: int) -> str:
    """Why a guardrail whose event is recorded has nothing to be judged by; empty where it has."""
    reduced = comparison.found
    metric = reduced.metrics[i]
    if isinstance(metric, ShareMetric):
        over, first = _time_over(comparison, metric), reduced.first[i]
        assert first is not None
        earlier = not math.isnan(comparison.series.guardrails[i].value[-1])
        happened = earlier or (first[comparison.used] >= 0).any()
        if happened or over is None or over.any() or not comparison.used.any():
            return ""
        return "Nobody's time is over yet and it has happened to nobody so far: there is no bound yet."
    name, dropped, weights = getattr(metric, "property_name", None), reduced.unreadable[i], reduced.weights[i]
    if not name or not dropped or weights is None or weights.any():
        return ""
    events = " or ".join(repr(event) for event in metric.events)
    names = question.log.property_names()
    hint = did_you_mean(name, names)  # of properties in JSON only the first events' are known
    if name in names or "Did you mean" not in hint:
        hint = "is that its name, and is it recorded as a number?"
    said = f"no {events} event has a number in {name!r} ({dropped:,} were left out)"
    return f"Cannot be judged: {said}; {hint}"


def _value_arm(n: int, value: float, variance: float) -> Arm:
    if not math.isfinite(value):
        return Arm(total=n, unit="value")
    half = Z_95 * math.sqrt(variance) if math.isfinite(variance) else math.inf
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
    """How a guardrail stands: not measured, harm, harm that is tolerated, safe, or waiting."""
    guardrail = judged.guardrail
    lower = guardrail.worse == "lower"
    if guardrail.label in missing:
        names = ", ".join(guardrail.metric.events)
        return (
            Status.UNCLEAR,
            f"The export has no event {names} at all: nothing was measured. Is it recorded?",
        )
    if judged.counts.get("missing"):
        return Status.UNCLEAR, _no_margin(guardrail)
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
    line = format_value(judged.roll_back, kind)
    beyond = "below" if lower else "beyond"
    no_change = judged.roll_back == (1.0 if judged.unit == "ratio" else 0.0)
    if harm >= roll_back and not is_safe:
        than = "chance explains" if no_change else f"the line of rollback of {line} allows"
        return Status.HARM, (
            f"Worse than the control: it is {word} than {than}, however often one looked, and not shown to "
            f"stay within the tolerated {margin}. {_effect_words(judged, who)}."
        )
    if harm >= roll_back:
        than = (
            "Worse than the control" if no_change else f"{beyond.capitalize()} the line of rollback of {line}"
        )
        return Status.TOLERATED, (
            f"{than}, and shown to be within the tolerated {margin}: at worst {bound}. It is not rolled back."
        )
    if is_safe:
        return Status.OK, f"Shown to be within the tolerated {margin}: at worst {bound}."
    if not math.isfinite(worst) or (judged.unit == "ratio" and worst == 0):
        return Status.WAIT, (
            f"Nothing shown yet: what was seen does not bound the effect ({margin} is tolerated)."
        )
    harmless = NO_HARM if no_change else f"Not shown to be {beyond} {line}"
    return Status.WAIT, f"{harmless}, and not shown to be safe: at worst {bound}, {margin} is tolerated."


def _no_margin(guardrail: Guardrail) -> str:
    metric = guardrail.metric
    nobody = "nobody in the control had it yet"
    if isinstance(metric, ShareMetric) and metric.by_age:
        by = format_value(metric.window[1], "seconds")
        nobody = f"nobody in the control had it yet, or was followed for {by}"
    return f"The margin cannot be computed: {nobody}."


def _unwatched_words(judged: GuardrailEvidence) -> str:
    """A sentence where the effect surely lies on the side that is not watched; empty elsewhere."""
    lower, none = judged.guardrail.worse == "lower", 1.0 if judged.unit == "ratio" else 0.0
    limit = float(judged.low[-1] if lower else judged.high[-1])
    if not (limit > none if lower else limit < none):
        return ""
    kind: Kind = "ratio" if judged.unit == "ratio" else "number"
    moved, watched = ("rose", "a fall") if lower else ("fell", "a rise")
    return (
        f" It {moved} ({format_value(_finite(judged.value[-1]), kind)}), further than chance explains; only "
        f"{watched} counts as harm here (worse={judged.guardrail.worse!r})."
    )


def _outside_words(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or not math.isfinite(value) or low is None or high is None or low <= value <= high:
        return ""
    return " The estimate lies outside its interval: the effect now is not what earlier looks showed."


def _effect_words(judged: GuardrailEvidence, who: str) -> str:
    value = float(judged.value[-1])
    if judged.unit != "ratio":
        return f"The effect is {value:+,.4g}"
    if not math.isfinite(value):
        return "The effect is beyond any ratio: the control had none"
    return f"Among {who} it had not happened to yet, it came {value:.3g} times as often as in the control"


def e_value(log_e: float) -> float | None:
    """An e-value from its logarithm, within what a float holds; None where there is none."""
    return None if math.isnan(log_e) else math.exp(min(log_e, 700.0))


def _finite(value: Any) -> float | None:
    number = float(value)
    return None if math.isnan(number) else number
