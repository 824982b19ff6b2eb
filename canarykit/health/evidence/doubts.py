"""What could change a verdict: people of both variants, flags that did not load, events still to come.

Nothing of this is estimated away. A verdict that would stand whichever way the doubtful people fell stands;
one that would not is held, and the report says which people it hangs on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from canarykit.counting import counted
from canarykit.display import format_value
from canarykit.exposure.crossers import CAUSES
from canarykit.health.data.data_state import DataState
from canarykit.health.decision import Verdict, log_thresholds
from canarykit.health.evidence.event_evidence import GuardrailEvidence
from canarykit.health.people.without_value import Unassigned
from canarykit.metrics.share import ShareMetric
from canarykit.metrics.unit_outcomes import Numbers, Outcomes, outcomes
from canarykit.periods import column_micros

Judge = Callable[..., GuardrailEvidence]
"""`judge(found, used, i, dilution)`: the evidence of guardrail `i` over some of the units."""
ALPHA_DIFFERENCE = 0.01
"""Level at which people without a flag value are found to differ from the others; it only ever holds."""

Mask = npt.NDArray[np.bool_]
Part = TypeVar("Part", float, npt.NDArray[np.float64])


@dataclass(frozen=True)
class Doubt:
    """One reason why a verdict may hang on who was counted where."""

    name: str  # of the line in the report
    meaning: str  # what a reader is told
    # how many people it is about, and of how many
    people: int
    of: int
    # what it holds: a "promotion", the "comparison" (and so any verdict), or "nothing"
    against: Literal["promotion", "comparison", "nothing"]


def find_doubts(
    data: DataState,
    verdict: Verdict,
    reduced: Outcomes,
    used: Mask,
    unassigned: Unassigned,
    uncalled: Unassigned | None,
    judge: Judge,
    share: float,
) -> tuple[Doubt, ...]:
    """The doubts about a verdict decided without them; each says whether it could change it.

    `used` are the units of `reduced` that are compared; `unassigned` people whose flag had no value,
    `uncalled` people with a guardrail's event and no call, where the rule tells their arm. `judge` computes
    the evidence of a guardrail over other choices of units; `share` is the canary's part of the two arms by
    rule.
    """
    doubts: list[Doubt | None] = []
    units = reduced.units
    several = units["several"].to_numpy(bool)
    if data.question.crossers == "set apart":
        if (several & ~used).any():
            doubts.append(_set_apart(data, verdict, reduced, used, several & ~used, judge))
    elif (several & used).any():
        doubts.append(_diluted(data, verdict, reduced, used, judge))
    if len(unassigned.units):
        doubts.append(_without_value(data, verdict, reduced, used, unassigned, judge, share))
    if uncalled is not None and len(uncalled.units):
        doubts.append(_without_call(data, uncalled, share))
    return tuple(doubt for doubt in doubts if doubt is not None)


def dilution(reduced: Outcomes, used: Mask, i: int) -> tuple[float, float]:
    """Parts of the canary's and the control's outcome of guardrail `i` that may belong to the other arm."""
    units = reduced.units
    several = units["several"].to_numpy(bool)
    changed = np.where(several, column_micros(units["changed_at"].fillna(units["leaves_at"])), 0)
    first, sums = reduced.first[i], reduced.sums[i]
    arms = (used & reduced.canary, used & ~reduced.canary)
    if first is not None:
        after = several & (first >= 0) & (first >= changed)
        canary, control = (hidden_part(arm, several, first >= 0, after) for arm in arms)
    else:
        assert sums is not None
        size = np.abs(sums)
        canary, control = (hidden_part(arm, several, size, np.where(several, size, 0.0)) for arm in arms)
    return canary, control


def hidden_part(arm: Mask, several: Mask, outcome: npt.NDArray[Any], after: npt.NDArray[Any]) -> float:
    """Part of an arm's outcome that may have come about under the other variant, in [0, 1].

    People who changed variant (`several`) stay in the arm of their first exposure. The part is that of the
    people, or that of the `outcome` (an event, an amount) that came `after` their change, whichever is
    larger: people who log in may differ from others.

    Examples
    --------
    >>> everybody, several = np.ones(4, bool), np.array([True, False, False, False])
    >>> hidden_part(everybody, several, np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0]))
    0.5
    """
    people = float((arm & several).sum()) / max(int(arm.sum()), 1)
    total = float(outcome[arm].sum())
    return max(people, float(after[arm].sum()) / total if total > 0 else 0.0)


def diluted_ratio(ratio: float, canary: Part, control: Part) -> Part:
    """What is left of a ratio between the arms when parts of both had the other variant.

    A part `canary` of the canary's outcome came about without the feature, a part `control` of the
    control's with it. Of a true ratio r the arms then show
    ((1 - canary) r + canary) / ((1 - control) + control r).

    Examples
    --------
    >>> round(diluted_ratio(1.25, 0.05, 0.05), 4), diluted_ratio(1.25, 0.0, 0.0)
    (1.2222, 1.25)
    """
    return ((1 - canary) * ratio + canary) / ((1 - control) + control * ratio)


def _diluted(data: DataState, verdict: Verdict, reduced: Outcomes, used: Mask, judge: Judge) -> Doubt:
    """People kept in the arm of their first exposure: is safety shown although they dilute a harm?"""
    units = reduced.units[used]
    several = int(units["several"].sum())
    counts = units.loc[units["several"].to_numpy(bool), "cause"].value_counts()
    who = data.question.unit_words
    why = ", ".join(f"{int(counts[cause]):,} {said}" for cause, said in CAUSES.items() if cause in counts)
    meaning = (
        f"{several:,} of {counted(len(units), who)} saw both variants within the stage ({why}); they count "
        "in the arm of their first exposure, which can only hide an effect, never make one."
    )
    if verdict is not Verdict.PROMOTE:
        return Doubt("changed variant", meaning, several, len(units), "nothing")
    unproven = _not_safe(data, lambda i: judge(reduced, used, i, dilution(reduced, used, i)))
    if not unproven:
        meaning += " Safety is shown even if all of them hide it."
        return Doubt("changed variant", meaning, several, len(units), "nothing")
    meaning += (
        f" What they may hide of a harm is not excluded yet for {' and '.join(unproven)}: not promoted."
    )
    return Doubt("changed variant", meaning, several, len(units), "promotion")


def _set_apart(
    data: DataState, verdict: Verdict, reduced: Outcomes, used: Mask, apart: Mask, judge: Judge
) -> Doubt:
    """People set apart: does the verdict stand whichever arm each of them belongs to?"""
    who, n = data.question.unit_words, int(apart.sum())
    meaning = counted(n, f"{who} saw both variants within the stage and are set apart.")
    of = int(used.sum()) + n
    everybody = used | apart
    if verdict is Verdict.PROMOTE:
        unproven = _not_safe(data, lambda i: judge(_fallen(reduced, apart, i, data, True), everybody, i))
        if unproven:
            meaning += (
                f" If they fell the worst way {' and '.join(unproven)} would not be safe: not promoted."
            )
            return Doubt("changed variant", meaning, n, of, "promotion")
    elif verdict is Verdict.ROLL_BACK:
        needed = log_thresholds(data.question.rules)[0]
        still = any(
            judge(_fallen(reduced, apart, i, data, False), everybody, i).weighted_log_e[-1] >= needed
            for i in range(len(data.question.guardrails))
        )
        if not still:
            meaning += " If they fell the best way no harm would be shown: the comparison is off."
            return Doubt("changed variant", meaning, n, of, "comparison")
    else:
        return Doubt("changed variant", meaning, n, of, "nothing")
    return Doubt(
        "changed variant", f"{meaning} The verdict stands whichever way they fell.", n, of, "nothing"
    )


def _without_value(
    data: DataState,
    verdict: Verdict,
    reduced: Outcomes,
    used: Mask,
    unassigned: Unassigned,
    judge: Judge,
    share: float,
) -> Doubt | None:
    """People whose flag had no value: do they tell of a harm that the two arms do not show?"""
    question = data.question
    units = unassigned.units[unassigned.units["entered_at"] < data.until].assign(leaves_at=data.until)
    if units.empty:
        return None
    who, n = question.unit_words, len(units)
    of = n + int(used.sum())
    happened = outcomes(question.log, [g.metric for g in question.guardrails], units, actor=question.actor)
    name, said = "flag without a value", f"For {n:,} of {counted(of, who)} the flag had no value"
    if unassigned.by_rule:
        canary = int(happened.canary.sum())
        said += f"; by the rule {canary:,} of them have the canary, {n - canary:,} the control"
        if split_is_off(canary, n - canary, share):
            expected = format_value(share, "share")
            meaning = f"{said}, where {expected} should: the flag fails in one arm more often. Not promoted."
            return Doubt(name, meaning, n, of, "promotion")
        arms = happened.canary, ~happened.canary
        worse = _differing(data, happened, arms[0], happened, arms[1])
        where = "with the canary than without"
    else:
        said += ", and the rule cannot say which they would have had"
        everybody = np.ones(n, dtype=bool)
        worse = _differing(data, happened, everybody, reduced, used)
        where = "than among the others"
    if worse:
        meaning = f"{said}. Among them {' and '.join(worse)} went worse {where}: not promoted."
        return Doubt(name, meaning, n, of, "promotion")
    if verdict is Verdict.PROMOTE and unassigned.by_rule:
        joined = _joined(reduced, happened)
        all_used = np.concatenate([used, np.ones(n, dtype=bool)])
        unproven = _not_safe(data, lambda i: judge(joined, all_used, i), only_shares=True)
        if unproven:
            meaning = f"{said}. With them {' and '.join(unproven)} is not shown to be safe: not promoted."
            return Doubt(name, meaning, n, of, "promotion")
    return Doubt(name, f"{said}. They did no worse.", n, of, "nothing")


def _without_call(data: DataState, uncalled: Unassigned, share: float) -> Doubt | None:
    """People hit without a call: has the canary, by the rule, more of them than its share?"""
    question, who = data.question, data.question.unit_words
    units = uncalled.units.assign(leaves_at=data.until)
    happened = outcomes(question.log, [g.metric for g in question.guardrails], units, actor=question.actor)
    expected = format_value(share, "share")
    for guardrail, first in zip(question.guardrails, happened.first, strict=True):
        if first is None or guardrail.worse != "higher":
            continue
        hit, canary = int((first >= 0).sum()), int(happened.canary[first >= 0].sum())
        if canary_is_hit_more(canary, hit, share, len(question.guardrails)):
            meaning = (
                f"{counted(hit, f'{who} without any flag call are hit')} ({guardrail.label}): by the rule "
                f"{canary:,} of them have the canary ({format_value(canary / hit, 'share')}, "
                f"where {expected} should): not promoted."
            )
            return Doubt("flag never called", meaning, hit, hit + len(question.exposures.people), "promotion")
    return None


def split_is_off(canary: int, control: int, share: float) -> bool:
    """Whether flags fail in one arm more often than in the other, by the arm that the rule gives.

    Examples
    --------
    >>> split_is_off(60, 40, 0.5), split_is_off(80, 20, 0.5)
    (False, True)
    """
    from canarykit.stats.one_look.srm import srm_exact

    split = srm_exact(canary, control, share=share)
    return split is not None and split.p_value < ALPHA_DIFFERENCE / 10


def is_worse_among(of_some: tuple[int, int], of_others: tuple[int, int], worse: str, guardrails: int) -> bool:
    """Whether a guardrail went worse among some people than among others (Fisher's exact test).

    Both are people with the event, and people; `worse` is the harmful direction, and the error is shared by
    so many `guardrails`.

    Examples
    --------
    >>> is_worse_among((9, 100), (5, 100), "higher", 1), is_worse_among((25, 100), (5, 100), "higher", 1)
    (False, True)
    """
    from scipy.stats import fisher_exact

    (x, n), (y, m) = of_some, of_others
    side = "greater" if worse == "higher" else "less"
    test = fisher_exact([[x, n - x], [y, m - y]], alternative=side)
    return bool(test.pvalue < ALPHA_DIFFERENCE / guardrails)


def canary_is_hit_more(canary: int, hit: int, share: float, guardrails: int) -> bool:
    """Whether more of the people hit without a call have the canary, by the rule, than its share.

    The error is shared by so many `guardrails`.

    Examples
    --------
    >>> canary_is_hit_more(30, 50, 0.5, 1), canary_is_hit_more(45, 50, 0.5, 1)
    (False, True)
    """
    from scipy.stats import binomtest

    level = ALPHA_DIFFERENCE / 10 / guardrails
    return hit > 0 and bool(binomtest(canary, hit, share, alternative="greater").pvalue < level)


def _not_safe(
    data: DataState, evidence_of: Callable[[int], GuardrailEvidence], *, only_shares: bool = False
) -> list[str]:
    """Guardrails that would not be shown to be safe."""
    roll_back, promote, _, _ = log_thresholds(data.question.rules)
    unproven = []
    for i, guardrail in enumerate(data.question.guardrails):
        if only_shares and not isinstance(guardrail.metric, ShareMetric):
            continue
        safe = evidence_of(i).standing_safe_log_e(roll_back)[-1]
        if not safe >= promote:
            unproven.append(guardrail.label)
    return unproven


def _fallen(reduced: Outcomes, apart: Mask, i: int, data: DataState, against_canary: bool) -> Outcomes:
    """The outcomes with the doubtful people put where they speak most against (or for) the canary."""
    first, sums = reduced.first[i], reduced.sums[i]
    if first is not None:
        much = first >= 0
    else:
        assert sums is not None
        much = sums > float(sums[~apart].mean() if (~apart).any() else 0.0)
    harmful = much if data.question.guardrails[i].worse == "higher" else ~much
    canary = np.where(apart, harmful == against_canary, reduced.canary)
    return replace(reduced, units=reduced.units.assign(canary=canary))


def _differing(data: DataState, one: Outcomes, of_one: Mask, other: Outcomes, of_other: Mask) -> list[str]:
    """Share guardrails that went worse among some people than among others (Fisher's exact test)."""
    worse = []
    for i, guardrail in enumerate(data.question.guardrails):
        first, second = one.first[i], other.first[i]
        if first is None or second is None or not of_one.any() or not of_other.any():
            continue
        x, n = int((first[of_one] >= 0).sum()), int(of_one.sum())
        y, m = int((second[of_other] >= 0).sum()), int(of_other.sum())
        if is_worse_among((x, n), (y, m), guardrail.worse, len(data.question.guardrails)):
            worse.append(guardrail.label)
    return worse


def _joined(reduced: Outcomes, more: Outcomes) -> Outcomes:
    """Outcomes of two groups of people as one; what was before the exposure is not carried along."""
    first, sums, weights = (
        tuple(
            None if a is None or b is None else np.concatenate([a, b])
            for a, b in zip(getattr(reduced, name), getattr(more, name), strict=True)
        )
        for name in ("first", "sums", "weights")
    )
    n = len(reduced.units)
    numbers = tuple(
        None
        if a is None or b is None
        else Numbers(np.concatenate([a.unit, b.unit + n]), np.concatenate([a.value, b.value]))
        for a, b in zip(reduced.numbers, more.numbers, strict=True)
    )
    units = pd.concat([reduced.units, more.units], ignore_index=True)
    names = ("canary", "several", "crossed", "returning")
    units = units.assign(**{name: units[name].to_numpy(bool) for name in names})
    return replace(reduced, units=units, before=(), first=first, sums=sums, weights=weights, numbers=numbers)
