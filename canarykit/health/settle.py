"""What would settle a hold: people, days, the next stage or a wider margin, computed from what was seen."""

from __future__ import annotations

import math

__all__ = ["ANY_LOSS", "events_to_safety", "settle_share", "stage_margin_ratio"]

ANY_LOSS = 0.01
"""Margin as a ratio where any loss is tolerated: a ratio of 0 has no logarithm."""


def events_to_safety(
    margin_ratio: float, share: float, *, log_e: float = 0.0, alpha: float = 0.05, overhead: float = 1.5
) -> float:
    """Further events, both arms together, until safety is shown if the release is in truth harmless.

    Each event of a harmless release moves the log evidence, on average, by the divergence between the
    canary's true part of the events and the part it would have at the margin; the mixture costs a little.

    Parameters
    ----------
    margin_ratio
        Tolerated rate ratio in the harmful direction, above 1.
    share
        Canary's part of the people at risk.
    log_e
        Evidence of safety so far.

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
) -> str:
    """One sentence: how many more people and days would show that a guardrail is within its margin.

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
    return (
        f"{label}: if nothing is wrong, about {needed:,.0f} more events settle it: "
        f"some {_rounded(more_people)} more {unit}, {days:,.1f} days at this pace."
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
