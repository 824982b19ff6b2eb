"""Judging a percentage stage: randomised people, compared within the stage, at every look so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from canarykit.counting import listed
from canarykit.display import Note
from canarykit.exposure.crossers import flickers
from canarykit.health.data.data_state import DataState
from canarykit.health.decision import Evidence, Row, Verdict, decide, log_thresholds
from canarykit.health.evidence.doubts import Doubt, diluted_ratio, find_doubts
from canarykit.health.evidence.earlier_stages import Earlier, earlier_counts
from canarykit.health.evidence.event_evidence import (
    EvidenceSeries,
    GuardrailEvidence,
    no_evidence,
    share_evidence,
)
from canarykit.health.evidence.missing_people import MissingPeople, find_missing
from canarykit.health.evidence.over_ramp import joined_evidence, ramp_parts
from canarykit.health.evidence.quantile_guardrails import QuantileSeries
from canarykit.health.evidence.segment_harm import (
    SegmentHarm,
    SegmentTable,
    find_segment_harm,
    segment_tables,
)
from canarykit.health.evidence.settle import stage_margin_ratio
from canarykit.health.evidence.value_guardrails import judge_value, past_notes, value_moments, with_past
from canarykit.health.evidence.value_series import ValueSeries
from canarykit.health.people.cohort import Cohort
from canarykit.health.people.segment_values import segment_values
from canarykit.health.people.without_value import without_call, without_value
from canarykit.health.question import Question
from canarykit.metrics.guardrail import Guardrail
from canarykit.metrics.risk import RiskSets
from canarykit.metrics.share import ShareMetric
from canarykit.metrics.unit_outcomes import Outcomes, outcomes
from canarykit.stats.one_look.srm import sequential_srm_tilt


@dataclass(frozen=True, eq=False)
class Comparison:
    """A randomised comparison within one stage: who, what happened, and the evidence at each look."""

    # everybody of the stage by class, and a mask of the units compared
    cohort: Cohort
    used: npt.NDArray[np.bool_]
    found: Outcomes  # outcomes of the units
    series: EvidenceSeries  # evidence at each look, with the decision rows
    values: dict[int, ValueSeries | QuantileSeries]  # moments (or quantiles) of value guardrails by position
    evidence: Evidence  # what the decision table read
    segments: dict[str, npt.NDArray[Any]]  # per property the value of each unit
    missing_people: MissingPeople  # evidence that people of one arm are missing from a segment or a day
    missing: tuple[str, ...]  # labels of guardrails whose event the export does not have at all
    # labels of guardrails whose limit the canary breaks beyond doubt and the control does not, where limits
    # were asked for
    breached: tuple[str, ...]
    doubts: tuple[Doubt, ...]  # who was counted where by choice, and whether the verdict hangs on it
    notes: tuple[Note, ...]  # what the reader must know
    # counts by segment, and the segments in which a guardrail got worse and the rest did not as much: while
    # there are any, nothing is promoted
    segment_tables: tuple[SegmentTable, ...] = ()
    segment_harm: tuple[SegmentHarm, ...] = ()


def compare(data: DataState, cohort: Cohort, share: float) -> Comparison:
    """Compare the randomised people of a stage on every guardrail, at every look, and decide.

    `share` is the canary's part among the two arms by rule, in (0, 1).
    """
    question = data.question
    notes, used = list(cohort.notes), cohort.used
    metrics = [g.metric for g in question.guardrails]
    reduced = with_past(question, outcomes(question.log, metrics, cohort.units, actor=question.actor))
    looks = data.looks
    segments = segment_values(question, reduced.units, until=data.until)
    missing_people = find_missing(
        reduced.units[used],
        {name: values[used] for name, values in segments.items()},
        share=share,
        origin=question.origin,
        step=question.step,
        n_looks=len(looks),
    )
    new = _arrivals(reduced, used, question, len(looks))
    srm = sequential_srm_tilt(np.stack(new, axis=-1), [share, 1 - share])
    srm_log_e = srm.log_e if srm is not None else np.zeros(len(looks))
    earlier = earlier_counts(question) if question.evidence == "ramp" else Earlier((), {})
    event_counts = question.log.event_names()
    missing = tuple(
        g.label for g in question.guardrails if not any(event_counts.get(e) for e in g.metric.events)
    )
    judged: list[GuardrailEvidence] = []
    sets: list[RiskSets | None] = []
    waiting: dict[str, int] = {}
    values = value_moments(data, reduced, used)
    notes += past_notes(question, values, reduced.only(used))
    for i, guardrail in enumerate(question.guardrails):
        if isinstance(guardrail.metric, ShareMetric):
            risk = _risk_sets(data, reduced, used, i)
            sets.append(risk)
            if risk.waiting:
                waiting[guardrail.label] = risk.waiting
            past = reduced.before[i] if reduced.before else None
            if past is not None:
                window = getattr(guardrail.metric, "cuped", None)
                text = (
                    f"{question.unit_words} who had it in the {window} before exposure, and are compared "
                    f"among themselves in {guardrail.label}"
                )
                notes.append(Note("cuped_cohorts", text, int((past.weights[used] > 0).sum())))
            judged.append(_judge_share(data, risk, reduced, i, used, missing, earlier))
        else:
            sets.append(None)
            weight = question.weights[i] / question.sharing
            judged.append(judge_value(question, guardrail, weight, values[i], seconds=_seconds(data)))
    notes += [_waiting_note(question, waiting)] if waiting else []
    judged = [data.proven_while_complete(i, evidence) for i, evidence in enumerate(judged)]
    units_t, units_c = (np.cumsum(column).astype(float) for column in new)
    breached = broken_limits(question, reduced, used) if question.use_limits else ()
    flicker = flickers(cohort.units)[used]
    log_rollback = log_thresholds(question.rules)[0]
    seconds = (looks - question.origin) / 1e6
    evidence = Evidence(
        units_canary=units_t,
        units_control=units_c,
        harm_log_e=np.stack([g.weighted_log_e for g in judged]),
        safe_log_e=np.stack([g.standing_safe_log_e(log_rollback) for g in judged]),
        srm_log_e=np.maximum.accumulate(srm_log_e),
        crosser_share=float(flicker.mean()) if len(flicker) else 0.0,
        comparable=_now(looks, not (data.one_sided or missing_people.holds(question.rules)), before=True),
        fresh=_now(looks, data.is_fresh, before=True),
        in_grace=_now(looks, question.in_grace, before=seconds < question.grace),
        critical_missing=any(g.critical and g.label in missing for g in question.guardrails),
        breaker=_now(looks, bool(breached), before=False),
        dwell_met=seconds >= question.min_dwell,
        success_met=_now(looks, data.is_whole, before=True),
        cap_reached=_now(looks, question.cap_reached, before=False),
    )
    rows = decide(evidence, question.rules)

    def judge_again(
        others: Outcomes, mask: npt.NDArray[np.bool_], i: int, diluted: tuple[float, float] = (0.0, 0.0)
    ) -> GuardrailEvidence:
        """Evidence of a guardrail over other units, or against a margin of which a part is hidden."""
        guardrail = question.guardrails[i]
        if isinstance(guardrail.metric, ShareMetric):
            risk = _risk_sets(data, others, mask, i)
            again = _judge_share(data, risk, others, i, mask, missing, earlier, diluted)
        else:
            again = judge_value(
                question,
                _diluted_guardrail(guardrail, diluted),
                question.weights[i] / question.sharing,
                value_moments(data, others, mask)[i],
                seconds=_seconds(data),
            )
        return data.proven_while_complete(i, again)

    unassigned = without_value(question, reduced.units[used])
    verdict = Row(int(rows[-1])).verdict
    promoted = verdict is Verdict.PROMOTE  # what they tell only ever speaks against it
    uncalled = without_call(question, reduced.units[used], data.until) if promoted else None
    doubts = find_doubts(data, verdict, reduced, used, unassigned, uncalled, judge_again, share)
    against = {doubt.against for doubt in doubts}
    tables = segment_tables(reduced, used, segments)
    segment_harm = find_segment_harm(
        tables,
        segments,
        used,
        question.guardrails,
        question.weights,
        lambda i, mask: _risk_sets(data, reduced, mask, i),
        alpha=question.rules.alpha_rollback,
    )
    if against & {"promotion", "comparison"} or segment_harm:
        whole, sound = np.array(evidence.success_met), np.array(evidence.comparable)
        whole[-1] &= "promotion" not in against and not segment_harm
        sound[-1] &= "comparison" not in against
        evidence = replace(evidence, success_met=whole, comparable=sound)
        rows = decide(evidence, question.rules)
    roll_back, promote, hold, invalid = (math.exp(t) for t in log_thresholds(question.rules))
    series = EvidenceSeries(
        looks=looks,
        guardrails=tuple(judged),
        srm_log_e=srm_log_e,
        units_canary=units_t,
        units_control=units_c,
        rows=rows,
        risk_sets=tuple(sets),
        share=share,
        thresholds={"roll back": roll_back, "promote": promote, "hold": hold, "invalid": invalid},
    )
    return Comparison(
        cohort=cohort,
        used=used,
        found=reduced,
        series=series,
        values=values,
        evidence=evidence,
        segments=segments,
        missing_people=missing_people,
        missing=missing,
        breached=breached,
        doubts=doubts,
        segment_tables=tables,
        segment_harm=segment_harm,
        notes=tuple(notes),
    )


def _waiting_note(question: Question, waiting: dict[str, int]) -> Note:
    """Who came in too late to be compared yet, by guardrail; the note counts the most of any."""
    fewer = " (for some guardrails fewer)" if len(set(waiting.values())) > 1 else ""
    text = (
        f"{question.unit_words} who came in last{fewer}: what they do counts for {listed(list(waiting))} "
        "once enough have come in with them to compare them with"
    )
    return Note("waiting", text, max(waiting.values()))


def _seconds(data: DataState) -> float:
    """How long after the stage's start the last look is."""
    return float(data.looks[-1] - data.question.origin) / 1e6


def _now(looks: npt.NDArray[np.int64], last: bool, *, before: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """A fact that is known of the last look; `before` stands at the looks before it."""
    fact = np.array(np.broadcast_to(before, len(looks)), dtype=bool)
    fact[-1] = last
    return fact


def _arrivals(
    reduced: Outcomes, used: npt.NDArray[np.bool_], question: Question, n_looks: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    entered = reduced.units["entered_at"].dt.as_unit("us").astype("int64").to_numpy()
    interval = np.clip((entered - question.origin) // question.step, 0, n_looks - 1)
    canary, control = (
        np.bincount(interval[used & arm], minlength=n_looks).astype(np.int64)
        for arm in (reduced.canary, ~reduced.canary)
    )
    return canary, control


def _risk_sets(data: DataState, reduced: Outcomes, where: npt.NDArray[np.bool_], i: int) -> RiskSets:
    """Counts per look of share guardrail `i` in this stage."""
    question = data.question
    return reduced.risk_sets(
        i,
        origin=question.origin,
        step=question.step,
        n_intervals=len(data.looks),
        until=int(data.looks[-1]),
        where=where,
    )


def _judge_share(
    data: DataState,
    sets: RiskSets,
    reduced: Outcomes,
    i: int,
    used: npt.NDArray[np.bool_],
    missing: tuple[str, ...],
    earlier: Earlier,
    diluted: tuple[float, float] = (0.0, 0.0),
) -> GuardrailEvidence:
    """The stage's own evidence, and that of harm over the ramp, in which each person has one event."""
    question = data.question
    guardrail, weight = question.guardrails[i], question.weights[i]
    margin = margin_ratio(data, guardrail, reduced, i, used)
    if guardrail.label in missing or margin is None:
        return no_evidence(guardrail, weight, len(data.looks), margin or math.nan)
    before = [stage[i] for stage in earlier.counts]
    carried = any(bool(stage.events.any()) for stage in before)  # without events both sequences are the same
    parts = ramp_parts(len(before) if carried else 0, question.sharing)

    def evidence_of(counted: RiskSets, part: float) -> GuardrailEvidence:
        return share_evidence(
            counted,
            guardrail,
            weight,
            margin_ratio=diluted_ratio(margin, *diluted),
            alpha_rollback=question.rules.alpha_rollback,
            alpha_promote=question.rules.alpha_promote,
            part=part,
        )

    if not carried:
        return evidence_of(sets, parts.whole)
    once = _risk_sets(data, reduced, used & earlier.without_event(i, reduced.units), i)
    whole = RiskSets.joined([*before, once])
    return joined_evidence(evidence_of(sets, parts.own), evidence_of(whole, parts.whole), parts)


def _diluted_guardrail(guardrail: Guardrail, diluted: tuple[float, float]) -> Guardrail:
    """The guardrail with what is left of its margin where parts of the arms had the other variant."""
    if guardrail.margin is not None:
        left = max(1 - sum(diluted), 1e-9)
        return replace(guardrail, margin=guardrail.margin * left)
    return replace(guardrail, margin_ratio=diluted_ratio(guardrail.tolerated_ratio, *diluted))


def margin_ratio(
    data: DataState, guardrail: Guardrail, reduced: Outcomes, i: int, used: npt.NDArray[np.bool_]
) -> float | None:
    """The stage's margin as a ratio: the guardrail's own, its points over the control, or the budget's."""
    question = data.question
    first = reduced.first[i]
    assert first is not None
    control = used & ~reduced.canary
    n_control = int(control.sum())
    share = float((first[control] >= 0).mean()) if n_control else 0.0
    tolerated = guardrail.tolerated_ratio
    if guardrail.margin_pp is not None:
        level = reduced.share_told(i, control)
        if not level:
            return None
        tolerated = guardrail.margin_at(level)
    following = question.next_stage
    if question.harm_budget is None or following is None or question.plan.stage(following).kind == "full":
        return tolerated
    people = int(used.sum()) * question.min_dwell / data.seconds * (question.plan.share(following) or 0.0)
    budget = stage_margin_ratio(
        harm_budget=question.harm_budget, people_next=people, control_share=share, worse=guardrail.worse
    )
    if budget is None:
        return tolerated
    return max(tolerated, budget) if guardrail.worse == "higher" else min(tolerated, budget)


def broken_limits(question: Question, reduced: Outcomes, used: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """Share guardrails whose limit the canary breaks, however often one looks, and the control keeps.

    Where a low share is bad, only people who have had the whole time count: the others may still come.
    """
    from canarykit.stats.any_look.share_limits import share_limit_log_e

    broken = []
    for i, guardrail in enumerate(question.guardrails):
        first = reduced.first[i]
        if guardrail.limit is None or first is None:
            continue
        lower = guardrail.worse == "lower"
        counted = used & reduced.time_is_over(i) if lower else used
        x, n, x0, n0 = (
            int(count)
            for arm in (counted & reduced.canary, counted & ~reduced.canary)
            for count in ((first[arm] >= 0).sum(), arm.sum())
        )
        log_e = share_limit_log_e(x, n, guardrail.limit, "below" if lower else "above")
        level = question.rules.alpha_rollback * question.weights[i] / question.sharing
        kept = not n0 or (x0 / n0 >= guardrail.limit if lower else x0 / n0 <= guardrail.limit)
        if kept and log_e >= -math.log(level):
            broken.append(guardrail.label)
    return tuple(broken)
