"""What people said: Net Promoter Score and satisfaction, with intervals.

Answers come after exposure, so who answers may itself be an effect: compare response rates first, and read
a gap between them as a finding, not as a nuisance.
"""

from __future__ import annotations

import math
from typing import Literal

from canarykit.stats.checks import critical_value, normal_tail, require_choice, require_count
from canarykit.stats.estimate import Estimate, Sided
from canarykit.stats.one_look.proportions import wilson

_SOURCE = "Rocks (2016), doi:10.1111/anzs.12150"


def net_promoter_score(
    promoters: int,
    passives: int,
    detractors: int,
    *,
    confidence: float = 0.95,
    sided: Sided = "two",
    method: Literal["score", "normal"] = "score",
) -> Estimate | None:
    """Net Promoter Score: 100 (promoters - detractors) / answers, from -100 to 100.

    Parameters
    ----------
    promoters, passives, detractors
        People who answered 9 or 10, 7 or 8, and 0 to 6.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or "upper" limit; the p-value goes with it.
    method
        "score": the scores that the answers do not refute, each judged by the spread it would have itself,
        corrected by one answer; its two-sided coverage at 95 % is never below that, by enumeration of
        3 to 150 answers. "normal": the textbook's, which covers as little as 88 % of skewed answers.

    Returns
    -------
    Estimate or None
        In points of the score (unit "NPS"), higher is better. None without answers. The normal interval is
        unbounded within -100 and 100, with a note, when all answered alike.

    Examples
    --------
    >>> score = net_promoter_score(60, 25, 15)
    >>> round(score.value), round(score.low, 3), round(score.high, 3)
    (45, 28.187, 59.018)
    """
    n, score, variance = _score(promoters, passives, detractors)
    z = critical_value(confidence, sided)
    require_choice("method", method, ("score", "normal"))
    if n == 0:
        return None
    if method == "score":
        low, high = (100 * _score_limit(promoters, detractors, n, z, edge) for edge in (-1.0, 1.0))
    else:
        half = z * math.sqrt(variance) if variance > 0 else 200.0
        low, high = max(score - half, -100.0), min(score + half, 100.0)
    return Estimate(
        value=score,
        low=-100.0 if sided == "upper" else low,
        high=100.0 if sided == "lower" else high,
        confidence=confidence,
        method="score, corrected by one answer" if method == "score" else "normal",
        sided=sided,
        unit="NPS",
        n=n,
        source=_SOURCE,
        standard_error=math.sqrt(variance),
        notes=()
        if variance > 0 or method == "score"
        else ("all answers are of one kind: the interval is unbounded",),
    )


def net_promoter_score_difference(
    canary: tuple[int, int, int],
    control: tuple[int, int, int],
    *,
    confidence: float = 0.95,
    sided: Sided = "two",
) -> Estimate | None:
    """Difference of two Net Promoter Scores, canary minus control; below zero the canary is liked less.

    Parameters
    ----------
    canary, control
        (promoters, passives, detractors) of each arm.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or "upper" limit; the p-value goes with it.

    Returns
    -------
    Estimate or None
        In points (unit "NPS"). None when an arm has no answers.

    Examples
    --------
    >>> difference = net_promoter_score_difference((450, 300, 250), (480, 300, 220))
    >>> round(difference.value), round(difference.statistic, 6)
    (-6, -1.668986)
    """
    (n, score, variance), (m, base, other) = _score(*canary), _score(*control)
    z = critical_value(confidence, sided)
    if n == 0 or m == 0:
        return None
    error = math.sqrt(variance + other)
    half = z * error if error > 0 else 400.0
    statistic = (score - base) / error if error > 0 else None
    return Estimate(
        value=score - base,
        low=-200.0 if sided == "upper" else max(score - base - half, -200.0),
        high=200.0 if sided == "lower" else min(score - base + half, 200.0),
        confidence=confidence,
        method="normal",
        sided=sided,
        unit="NPS",
        n=n + m,
        source=_SOURCE,
        standard_error=error,
        statistic=statistic,
        p_value=None if statistic is None else normal_tail(statistic, sided),
        null=0.0,
        notes=() if error > 0 else ("all answers of each arm are of one kind: no test is possible",),
    )


def satisfaction(
    satisfied: int, answers: int, *, confidence: float = 0.95, sided: Sided = "two"
) -> Estimate | None:
    """CSAT: the share of answers that are satisfied (4 or 5 of 5), with a Wilson interval.

    Parameters
    ----------
    satisfied
        Answers of 4 or 5 of 5.
    answers
        All answers.
    confidence
        Coverage, strictly between 0 and 1.
    sided
        "two", or only the "lower" or "upper" limit; the p-value goes with it.

    Returns
    -------
    Estimate or None
        None without answers.

    Examples
    --------
    >>> share = satisfaction(82, 100)
    >>> round(share.low, 6), round(share.high, 6)
    (0.733326, 0.882998)
    """
    return wilson(satisfied, answers, confidence=confidence, sided=sided)


def _score_limit(promoters: int, detractors: int, n: int, z: float, edge: float) -> float:
    """The score furthest towards `edge` (-1 or 1) that is not refuted, as a fraction."""
    seen = (promoters - detractors) / n
    inside, outside = seen, edge
    for _ in range(60):
        middle = (inside + outside) / 2
        spread = math.sqrt(max(_variance_at(middle, promoters, detractors, n), 0.0) / n)
        refuted = abs(seen - middle) - 1 / n > z * spread
        inside, outside = (inside, middle) if refuted else (middle, outside)
    return inside


def _variance_at(score: float, promoters: int, detractors: int, n: int) -> float:
    """Variance of one answer, from the shares that fit best among those with this score.

    With q detractors, q + score promoters and the rest passive, the likelihood is highest at a root of
    x q (1 - 2q - s) + d (q + s)(1 - 2q - s) = 2 m q (q + s), for x promoters, d detractors, m passives.
    """
    x, d, m = promoters, detractors, n - promoters - detractors
    a = -2.0 * n
    b = (x + d) * (1 - score) - 2 * (d + m) * score
    c = d * score * (1 - score)
    q = (-b - math.sqrt(max(b * b - 4 * a * c, 0.0))) / (2 * a)
    q = min(max(q, 0.0, -score), (1 - score) / 2)
    return 2 * q + score - score**2


def _score(promoters: int, passives: int, detractors: int) -> tuple[int, float, float]:
    """Answers, score and its variance, in points of the score."""
    counts = [
        require_count(name, value)
        for name, value in (("promoters", promoters), ("passives", passives), ("detractors", detractors))
    ]
    n = sum(counts)
    if n == 0:
        return 0, math.nan, math.nan
    score = (counts[0] - counts[2]) / n
    variance = ((counts[0] + counts[2]) / n - score**2) / n
    return n, 100 * score, 10_000 * max(variance, 0.0)
