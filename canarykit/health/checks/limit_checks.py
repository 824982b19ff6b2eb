"""Stages without a control: exact bounds against limits, and the same people before and after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from canarykit.counting import counted
from canarykit.display import Column, Table, format_value
from canarykit.health.checks.before_and_after import Change
from canarykit.health.checks.check import Arm, Check, Section, Status
from canarykit.health.checks.guardrail_lines import share_arm
from canarykit.health.people.units import Sessions
from canarykit.health.question import Question
from canarykit.metrics.guardrail import Guardrail
from canarykit.metrics.share import ShareMetric
from canarykit.metrics.unit_outcomes import Outcomes
from canarykit.metrics.values import PerPerson, Quantile

CONFIDENCE = 0.95


@dataclass(frozen=True)
class LimitLine:
    """A guardrail judged against a level instead of a control."""

    check: Check  # the line of the report
    breached: bool  # the limit is exceeded beyond doubt, and the others of the same time keep it
    kept: bool  # nothing speaks against going on
    proven: bool  # the limit is kept by a bound that holds at every look


def limit_line(
    question: Question,
    guardrail: Guardrail,
    weight: float,
    reduced: Outcomes,
    i: int,
    *,
    who: str,
    change: Change | None = None,
) -> LimitLine:
    """Judge one guardrail of people who have the canary against its limit, or against everybody else.

    Without a limit, more than the others would suggest asks for a look, unless these people differed in
    the same way before they had the feature and nothing changed since.
    """
    if not isinstance(guardrail.metric, ShareMetric):
        return _value_line(guardrail, reduced, i, who)
    first = reduced.first[i]
    assert first is not None
    canary, control = reduced.canary, ~reduced.canary
    recorded = any(question.log.event_names().get(name) for name in guardrail.metric.events)
    x, n = int((first[canary] >= 0).sum()), int(canary.sum())
    x0, n0 = int((first[control] >= 0).sum()), int(control.sum())
    lower = guardrail.worse == "lower"
    reference = x0 / n0 if n0 else None
    level = guardrail.limit if guardrail.limit is not None else reference
    worst = _bound(x, n, harmful=True, lower=lower, alpha=1 - CONFIDENCE)
    whole = reduced.time_is_over(i) if lower else np.ones(len(canary), dtype=bool)  # others may still come
    surely = _at_any_look(
        int((first[canary & whole] >= 0).sum()),
        int((canary & whole).sum()),
        harmful=False,
        lower=lower,
        alpha=question.rules.alpha_rollback * weight,
    )
    breached = surely is not None and _beyond(surely, guardrail.limit, lower)
    if breached and n0:
        breached = not _beyond(x0 / n0, guardrail.limit, lower)
    at_most = _at_any_look(x, n, harmful=True, lower=lower, alpha=question.rules.alpha_promote)
    share = x / n if n else None
    seen_beyond = explained = False
    if guardrail.limit is not None:
        seen_beyond = share is not None and _beyond(share, guardrail.limit, lower)
    elif change is not None:
        seen_beyond = change.worse_than_others(x, n) or change.got_worse
        explained = change.differed_before and not change.got_worse
    status = Status.BREACH if breached else Status.HOLD if seen_beyond and not explained else Status.OK
    status = Status.INFO if seen_beyond and explained else status
    status = status if n and recorded else Status.UNCLEAR
    proven = at_most is not None and guardrail.limit is not None
    proven = proven and not _beyond(float(at_most or 0.0), guardrail.limit, lower)
    check = Check(
        name=guardrail.label,
        kind="limit",
        status=status,
        meaning=_words(guardrail, x, n, worst, level, status, who),
        measured=f"{guardrail.metric.label}: {who} to whom it happened after their exposure",
        canary=share_arm(x, n, exact=True),
        control=share_arm(x0, n0) if n0 else None,
        effect=share,
        effect_low=surely if not lower else worst,
        effect_high=worst if not lower else surely,
        effect_unit="share",
        margin=guardrail.limit,
        method=(
            f"what is still possible: exact (Clopper-Pearson) bound, one-sided {CONFIDENCE:.0%}, one look; "
            "what is beyond or within the limit for sure: beta-binomial e-process, every look valid; the "
            "others of the same time are no control, since nobody was randomised"
        ),
    )
    return LimitLine(check, breached, status in (Status.OK, Status.INFO), proven)


def _words(
    guardrail: Guardrail, x: int, n: int, worst: float | None, level: float | None, status: Status, who: str
) -> str:
    if not n:
        return "Nobody had the canary: nothing was measured."
    if status is Status.UNCLEAR:
        names = ", ".join(guardrail.metric.events)
        return f"The export has no event {names} at all: nothing was measured. Is it recorded?"
    had = f"{x:,} of {counted(n, who)}"
    could = format_value(worst, "share")
    side = "as few as" if guardrail.worse == "lower" else "as many as"
    if status is Status.BREACH:
        return f"{had}: beyond the limit of {format_value(guardrail.limit, 'share')} for sure."
    share = format_value(level, "share")
    if status is Status.HOLD and guardrail.limit is not None:
        return f"{had}: beyond the limit of {share}. Look at them before going on."
    if status is Status.HOLD:
        return f"{had}, where {share} of the others of the same time had it. Look at them before going on."
    if status is Status.INFO:
        return (
            f"{had}, where {share} of the others of the same time had it; but these people differed before "
            "they had the feature, and nothing shows that it changed since."
        )
    nothing = "Nothing seen against going on" if x == 0 or guardrail.worse == "lower" else "In line"
    return f"{nothing}: {had}; with so few, {side} {could} are still possible (95 %)."


def _value_line(guardrail: Guardrail, reduced: Outcomes, i: int, who: str) -> LimitLine:
    """A value metric of people who are not compared: the mean with its interval against the limit."""
    sums, weights = reduced.sums[i], reduced.weights[i]
    assert sums is not None
    assert weights is not None
    is_total = isinstance(guardrail.metric, PerPerson)
    arms = []
    for arm in (reduced.canary, ~reduced.canary):
        n = int(arm.sum()) if is_total else int((weights[arm] > 0).sum())
        below = n if is_total else float(weights[arm].sum())
        mean = float(sums[arm].sum()) / below if below else None
        if isinstance(guardrail.metric, Quantile) and below:
            mean = _quantile_of(reduced, i, arm, guardrail.metric.q)
        arms.append(Arm(total=n, value=mean, unit="value"))
    value, limit, lower = arms[0].value, guardrail.limit, guardrail.worse == "lower"
    beyond = value is not None and limit is not None and _beyond(value, limit, lower)
    status = Status.UNCLEAR if value is None else Status.HOLD if beyond else Status.INFO
    words = {
        Status.UNCLEAR: "Nothing was measured.",
        Status.HOLD: f"Beyond the limit of {format_value(limit, 'number')}. Look before going on.",
        Status.INFO: "For information: no control, so no comparison.",
    }[status]
    check = Check(
        name=guardrail.label,
        kind="limit",
        status=status,
        meaning=words,
        measured=f"{guardrail.metric.label} of {who}",
        canary=arms[0],
        control=arms[1] if arms[1].total else None,
        effect=value,
        effect_unit="value",
        margin=limit,
        method="plain quantile" if isinstance(guardrail.metric, Quantile) else "plain mean",
    )
    return LimitLine(check, False, status is Status.INFO, False)


def _quantile_of(reduced: Outcomes, i: int, arm: npt.NDArray[np.bool_], q: float) -> float:
    numbers = reduced.numbers[i]
    assert numbers is not None
    return float(np.quantile(numbers.only(arm).value, q))


def session_section(sessions: Sessions, events: tuple[str, ...]) -> Section:
    """Sessions with each event, with the exact upper bound: zero in 40 still allows 7 %."""
    rows = []
    for name in events:
        x = sessions.with_event.get(name, 0)
        worst = _bound(x, sessions.total, harmful=True, lower=False, alpha=1 - CONFIDENCE)
        share = x / sessions.total if sessions.total else None
        rows.append((name, sessions.total, x, share, worst))
    columns = (
        Column("event", "event"),
        Column("sessions", "sessions with the canary", "count"),
        Column("with_event", "of them with it", "count"),
        Column("share", "share", "share"),
        Column("at_most", "at most (95 %)", "share"),
    )
    text = (
        "Sessions of one person are alike, so the bound is a lower estimate of what is still possible. "
        "Zero in 40 sessions still allows 7 %."
    )
    return Section("sessions", text, Table.of(columns, rows))


def _bound(x: int, n: int, *, harmful: bool, lower: bool, alpha: float) -> float | None:
    """Exact bound of a share towards harm (`harmful`), or the one that harm surely exceeds."""
    from canarykit.stats.one_look.proportions import clopper_pearson

    upper = harmful != lower
    estimate = clopper_pearson(x, n, confidence=1 - alpha, sided="upper" if upper else "lower")
    if estimate is None:
        return None
    return estimate.high if upper else estimate.low


def _at_any_look(x: int, n: int, *, harmful: bool, lower: bool, alpha: float) -> float | None:
    """The same two bounds, holding at every look together."""
    from canarykit.stats.any_look.share_limits import share_limit_at_any_look

    return share_limit_at_any_look(x, n, confidence=1 - alpha, side="upper" if harmful != lower else "lower")


def _beyond(value: float, level: float | None, lower: bool) -> bool:
    return level is not None and (value < level if lower else value > level)
