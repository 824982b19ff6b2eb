"""What would settle a hold: people, days, the next stage or a wider margin, computed from what was seen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from canarykit.health.decision import log_thresholds
from canarykit.metrics.guardrail import ANY_LOSS

if TYPE_CHECKING:
    from canarykit.health.data.data_state import DataState
    from canarykit.health.evidence.event_evidence import EvidenceSeries, GuardrailEvidence
    from canarykit.health.question import Question
    from canarykit.metrics.risk import RiskSets


def events_to_safety(
    margin_ratio: float, share: float, *, log_e: float = 0.0, alpha: float = 0.05, overhead: float = 1.5
) -> float:
    """Further events, both arms together, until safety is shown if the release is in truth harmless.

    Each event of a harmless release moves the log evidence (`log_e` so far), on average, by the divergence
    between the canary's true part of the events, its `share` of the people at risk, and the part it would
    have at the margin (a tolerated ratio above 1); the mixture costs a little.

    Examples
    --------
    >>> round(events_to_safety(1.25, 0.5))
    724
    """
    if not (margin_ratio > 1 and 0 < share < 1):
        return math.inf
    at_margin = share * margin_ratio / (share * margin_ratio + 1 - share)
    gain = share * math.log(share / at_margin) + (1 - share) * math.log((1 - share) / (1 - at_margin))
    return max(0.0, -math.log(alpha) + overhead - log_e) / gain


def settle_share(
    *,
    label: str,
    margin_ratio: float,
    share: float,
    log_e: float,
    events: int,
    people: int,
    seconds: float,
    alpha: float = 0.05,
    unit: str = "people",
    next_stage: tuple[str, float] | None = None,
) -> str:
    """One sentence: how many more people and days would show that a guardrail is within its margin.

    `next_stage` (its name, the canary's part there) adds how long its share would take, counted anew.

    Examples
    --------
    >>> print(settle_share(label="errors", margin_ratio=1.25, share=0.5, log_e=0.0, events=100,
    ...                    people=5000, seconds=2 * 86400))
    errors: if nothing is wrong, about 724 more events settle it: some 36,200 more people, 14.5 days
    at this pace.
    """
    if events <= 0 or people <= 0 or seconds <= 0:
        return f"{label}: nobody had it in either arm yet, so the time to an answer cannot be computed."
    needed = events_to_safety(margin_ratio, share, log_e=log_e, alpha=alpha)
    if not math.isfinite(needed):
        return f"{label}: one arm is empty at this share; only another stage can settle it."
    more_people = needed * people / events
    days = needed * seconds / events / 86_400
    at_next_share = ""
    if next_stage is not None:
        name, part = next_stage
        anew = events_to_safety(margin_ratio, part, alpha=alpha) * seconds / events / 86_400
        at_next_share = f" At the share of {name!r} it takes {anew:,.1f} days from its start."
    return (
        f"{label}: if nothing is wrong, about {needed:,.0f} more events settle it: "
        f"some {_rounded(more_people)} more {unit}, {days:,.1f} days at this pace.{at_next_share}"
    )


def settle_value(
    *, label: str, margin: float, harm: float, half: float, people: int, seconds: float, unit: str = "people"
) -> str:
    """The same for a mean: the interval narrows with the root of the people, and the effect fades.

    What is tolerated and what is seen are positive in the harmful direction; `half` is the half-width of the
    interval on its safe side, valid at every look.

    Examples
    --------
    >>> print(settle_value(label="amount", margin=1.0, harm=0.0, half=2.0, people=1000, seconds=86400))
    amount: if nothing is wrong, some 3,000 more people settle it, 3.0 days at this pace.
    """
    if not (margin > 0 and 0 < half < math.inf and math.isfinite(harm)) or people <= 0:
        return f"{label}: too few values so far, so the time to an answer cannot be computed."
    root = (half + math.sqrt(max(half**2 + 4 * margin * harm, 0.0))) / (2 * margin)
    more = max(root**2 - 1, 0.0)
    days = more * seconds / 86_400
    return (
        f"{label}: if nothing is wrong, some {_rounded(more * people)} more {unit} settle it, "
        f"{days:,.1f} days at this pace."
    )


def settle_lines(data: DataState, series: EvidenceSeries) -> list[str]:
    """A sentence for every guardrail that is not shown to be safe yet."""
    question, seconds = data.question, data.seconds
    people = int(series.units_canary[-1] + series.units_control[-1])
    following = question.next_stage
    coming = None
    if following is not None and question.plan.stage(following).kind == "percentage":
        coming = following, float(question.plan.share(following))
    said = []
    for judged, sets in zip(series.guardrails, series.risk_sets, strict=True):
        roll_back, promote, _, _ = log_thresholds(question.rules)
        shown = judged.standing_safe_log_e(roll_back)[-1] >= promote
        if judged.counts.get("missing") or shown:
            continue
        if sets is None:
            said.append(_value_line(question, judged, people, seconds))
        else:
            said.append(_share_line(question, judged, sets, series.share, people, seconds, coming))
    return said


def _share_line(
    question: Question,
    judged: GuardrailEvidence,
    sets: RiskSets,
    share: float,
    people: int,
    seconds: float,
    coming: tuple[str, float] | None,
) -> str:
    lower = judged.guardrail.worse == "lower"
    if coming is not None and lower:
        coming = coming[0], 1 - coming[1]
    return settle_share(
        label=judged.guardrail.label,
        margin_ratio=1 / judged.margin if lower else judged.margin,
        share=1 - share if lower else share,
        log_e=float(judged.safe_log_e[-1]),
        events=int(sets.events.sum()),
        people=people,
        seconds=seconds,
        alpha=question.rules.alpha_promote,
        unit=question.unit_words,
        next_stage=coming,
    )


def _value_line(question: Question, judged: GuardrailEvidence, people: int, seconds: float) -> str:
    lower = judged.guardrail.worse == "lower"
    value = float(judged.value[-1])
    bound = float((judged.low if lower else judged.high)[-1])
    return settle_value(
        label=judged.guardrail.label,
        margin=abs(judged.margin),
        harm=-value if lower else value,
        half=abs(bound - value),
        people=people,
        seconds=seconds,
        unit=question.unit_words,
    )


def stage_margin_ratio(
    *, harm_budget: float, people_next: float, control_share: float, worse: str
) -> float | None:
    """Margin that keeps the extra harm of the next stage within a budget of people.

    A larger budget never narrows it; one that exceeds everything there is to lose tolerates any loss. None
    when the control had nobody, of whom no budget is a share.

    Parameters
    ----------
    harm_budget
        Extra people harmed that are tolerated in the next stage.
    people_next
        Canary people expected in the next stage's minimum stay.
    control_share
        Share of the control's people with the event, in [0, 1].
    worse
        "higher" gives a ratio above 1, "lower" one below 1.

    Examples
    --------
    >>> stage_margin_ratio(harm_budget=20, people_next=400, control_share=0.01, worse="higher")
    6.0
    """
    baseline = people_next * control_share
    if not baseline > 0:
        return None
    if worse == "higher":
        return 1 + harm_budget / baseline
    return max(1 - harm_budget / baseline, ANY_LOSS)


def _rounded(number: float) -> str:
    if number < 100:
        return f"{math.ceil(number):,}"
    scale = 10 ** (int(math.log10(number)) - 2)
    return f"{math.ceil(number / scale) * scale:,.0f}"
