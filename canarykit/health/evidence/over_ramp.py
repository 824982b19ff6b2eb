"""Harm gathered over a whole ramp, with evidence kept back for what begins in a later stage.

"Nobody was harmed in any stage" is refuted by what happened in any of them, so evidence of harm is one
sequence over the ramp. That sequence is slow where a release turns bad late: all the good hours speak against
harm. So each later stage begins a sequence of its own beside it, and a part of the e-value goes to each; the
parts of what a promise covers add up to one. Safety is not pooled: "at the margin" is refuted only for the
time that was looked at, and the next stage asks about now.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from canarykit.health.decision import Rules
from canarykit.health.evidence.event_evidence import GuardrailEvidence

AlphaScope = Literal["stage", "rollout"]
LATER = 0.2
"""Part of a rollout's evidence that is kept for harm that begins in a stage after the first."""


@dataclass(frozen=True)
class RampParts:
    """Parts of the e-value, in (0, 1]: of the sequence over the whole ramp, and of the stage's own."""

    whole: float
    own: float


def ramp_parts(earlier: int, stages: int) -> RampParts:
    """How evidence is divided in a stage into which that of `earlier` ones is carried.

    `stages` share one rollback error; 1 where each stage has its own. Then half goes to either, and the first
    stage, where they are the same, loses nothing.

    Examples
    --------
    >>> ramp_parts(0, 1), ramp_parts(2, 1)
    (RampParts(whole=1.0, own=0.0), RampParts(whole=0.5, own=0.5))
    >>> ramp_parts(2, 5)  # 0.8 and four times 0.05
    RampParts(whole=0.8, own=0.05)
    """
    if stages <= 1:
        return RampParts(0.5, 0.5) if earlier else RampParts(1.0, 0.0)
    return RampParts(1 - LATER, LATER / (stages - 1) if earlier else 0.0)


def rules_in_scope(
    rules: Rules, stages: int, evidence: Literal["stage", "ramp"], scope: AlphaScope
) -> tuple[Rules, int]:
    """The rules of one stage, and among how many stages its evidence of harm is divided.

    Where each stage stands alone, one error rate for the rollout is divided among them; where evidence is
    carried along, the evidence is.
    """
    if scope == "stage" or stages <= 1:
        return rules, 1
    return (rules.over_stages(stages), 1) if evidence == "stage" else (rules, stages)


def joined_evidence(
    of_stage: GuardrailEvidence, whole: GuardrailEvidence, parts: RampParts
) -> GuardrailEvidence:
    """The stage's own evidence, with harm also from the sequence over the ramp: whichever shows more.

    Both were made for their parts of the e-value, so what they show holds together. The limits are those of
    the stage, whose estimate they stand around; where the ramp shows harm, its limit counts as far as the
    estimate goes.
    """
    whole = whole.last(len(of_stage.harm_log_e))
    lower = of_stage.guardrail.worse == "lower"
    nearer, further = (np.fmin, np.fmax) if lower else (np.fmax, np.fmin)
    ours, theirs = (of_stage.high, whole.high) if lower else (of_stage.low, whole.low)
    shown = theirs < of_stage.roll_back if lower else theirs > of_stage.roll_back
    limit = np.where(shown, nearer(ours, further(theirs, of_stage.value)), ours)
    changed: dict[str, Any] = {
        "harm_log_e": np.maximum(of_stage.harm_log_e, whole.harm_log_e),
        "high" if lower else "low": limit,
    }
    names = ("interval", "events_canary", "events_control", "at_risk_canary", "at_risk_control")
    ramp = {name: whole.counts[name] for name in names} | {"parts": [parts.whole, parts.own]}
    return replace(
        of_stage, **changed, stage_log_e=of_stage.harm_log_e, counts={**of_stage.counts, "ramp": ramp}
    )
