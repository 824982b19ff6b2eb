"""Counts and moments in, evidence at every look out: what the decision table reads.

Share metrics go through the event engine: each first event is compared with the people who came in at the
same time and are left, so that neither the hour of the day, nor a growing ramp, nor a conversion that comes
at once to most newcomers biases anything. Conversions are judged as events too, with the arms swapped: harm
is a lower rate. Value metrics go through the normal mixture on differences of means, ordered by when people
came in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from canarykit.metrics.guardrail import Guardrail, roll_back_line
from canarykit.metrics.risk import RiskSets
from canarykit.stats.any_look.event_process import EventMixture
from canarykit.stats.any_look.sequential import K_AT_GATE

LOST = math.log(100)
"""Log evidence against safety, since its best hour, from which on it stands no more."""
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GuardrailEvidence:
    """Evidence of one guardrail at each look."""

    # the spec, and its part of the rollback error
    guardrail: Guardrail
    weight: float
    harm_log_e: Floats  # log e-value of "worse than the line of rollback"; the weight is not in it
    safe_log_e: Floats  # log e-value against "at the margin or worse"
    # margin, roll_back: what is tolerated, and the line of rollback, in the effect's unit (a ratio, or the
    # metric's unit)
    margin: float
    # effect, canary against control, and limits that hold at every look: the harmful side at the weighted
    # rollback level, the safe side at the promotion level; it is within the margin exactly where safety
    # stands
    value: Floats
    low: Floats
    high: Floats
    unit: str  # "ratio", or "value" for a difference in the metric's unit
    counts: dict[str, Any]  # what the evidence can be recomputed from
    roll_back: float = 1.0
    # evidence of harm of this stage alone, where that of the ramp before it counts too; else None
    stage_log_e: Floats | None = None

    def is_shown_by_ramp_alone(self, log_rollback: float) -> bool:
        """Whether harm is shown, but not by what happened in this stage."""
        if self.stage_log_e is None or self.weighted_log_e[-1] < log_rollback:
            return False
        return bool(self.stage_log_e.max() + math.log(self.weight) < log_rollback)

    @property
    def weighted_log_e(self) -> Floats:
        """Largest weighted harm evidence so far, at each look: once shown, it stays shown."""
        return np.maximum.accumulate(self.harm_log_e + math.log(self.weight))

    def standing_safe_log_e(self, log_rollback: float) -> Floats:
        """Evidence of safety as it stands at each look, see `standing_safety`."""
        return standing_safety(self.safe_log_e, self.weighted_log_e >= log_rollback)

    def last(self, n_looks: int) -> GuardrailEvidence:
        """The last looks only: those of the stage itself, after evidence carried over from earlier ones."""
        names = ("harm_log_e", "safe_log_e", "value", "low", "high")
        return replace(self, **{name: getattr(self, name)[-n_looks:] for name in names})


def lost_safety(safe_log_e: npt.ArrayLike) -> Flags:
    """Looks (on the last axis) at which what came since its best hour speaks against safety.

    Of healthy releases no more than one in a hundred is in such a state at any one look (Ville's inequality,
    backwards in time).
    """
    now = np.asarray(safe_log_e, float)
    return np.asarray(np.fmax.accumulate(now, axis=-1) - now > LOST)


def standing_safety(safe_log_e: npt.ArrayLike, harmed: npt.ArrayLike) -> Floats:
    """Evidence of safety that stands at each look: once shown it stays shown, unless it is lost.

    Then there is none until it has been gained anew. Where harm has been shown, only what the present
    evidence says of the margin counts.

    Examples
    --------
    >>> standing_safety([0.0, 3.5, 9.0, 5.0, 3.5, 6.0], False).tolist()
    [0.0, 3.5, 9.0, 9.0, 0.0, 9.0]
    """
    now = np.asarray(safe_log_e, float)
    shown = np.where(harmed, now, np.fmax.accumulate(now, axis=-1))
    return np.where(lost_safety(now), np.minimum(now, 0.0), shown)


def standing_limit(present: Floats, margin: float, lost: Flags, harmed: Flags) -> Floats:
    """The limit that shows safety, an upper one, as the evidence behind it stands."""
    shown = np.where(harmed, present, np.fmin.accumulate(present))
    return np.where(lost, np.fmax(present, margin), shown)


@dataclass(frozen=True, eq=False)
class EvidenceSeries:
    """Everything the pictures draw: looks and evidence over time."""

    looks: npt.NDArray[np.int64]  # end of each look, microseconds UTC
    guardrails: tuple[GuardrailEvidence, ...]  # evidence of each guardrail
    srm_log_e: Floats  # evidence against the planned shares, at each look
    # people who have come in by each look
    units_canary: Floats
    units_control: Floats
    rows: npt.NDArray[np.int8]  # row of the decision table at each look
    risk_sets: tuple[RiskSets | None, ...]  # counts per look of share guardrails (None for value guardrails)
    share: float  # canary share by rule at each look
    thresholds: dict[str, float]  # E-values needed: "roll back", "promote", "hold", "invalid"


def event_mixtures(
    margin_ratio: float, roll_back_ratio: float | None = None
) -> tuple[EventMixture, EventMixture]:
    """Mixtures for harm beyond the line of rollback and for safety within the margin, both above 1.

    The spread follows from the margin, never from the data: up to 0.4 for wide margins, less for tight
    ones, where 0.1 suits common events. The wide half finds harm that is many times the margin.

    Examples
    --------
    >>> harm, safe = event_mixtures(1.25)
    >>> harm.sd, safe.null_ratio
    (0.4, 1.25)
    >>> round(event_mixtures(1 / 0.95)[0].sd, 3)
    0.103
    """
    spread = min(0.4, max(0.05, 2 * abs(math.log(margin_ratio))))
    line = roll_back_line(margin_ratio) if roll_back_ratio is None else roll_back_ratio
    harm = EventMixture("harm", line, sd=spread, low=min(0.005, spread / 10), high=3 * spread, wide=0.5)
    return harm, replace(harm, side="safe", null_ratio=margin_ratio, wide=0.0)


def share_evidence(
    sets: RiskSets,
    guardrail: Guardrail,
    weight: float,
    *,
    margin_ratio: float,
    alpha_rollback: float = 0.05,
    alpha_promote: float = 0.05,
    part: float = 1.0,
) -> GuardrailEvidence:
    """Evidence of a share guardrail, valid at every look.

    `weight` is its part of the rollback error, `margin_ratio` the tolerated ratio, canary over control: above
    1 when higher is worse, below 1 when lower is. The levels are those of the limits. `part`, in (0, 1], is
    what this sequence has of the evidence of harm where several share it.
    """
    from canarykit.stats.any_look.event_bounds import cohort_estimates, event_ratio_bounds

    lower_is_worse = guardrail.worse == "lower"
    oriented = sets.swapped() if lower_is_worse else sets
    tolerated = 1 / margin_ratio if lower_is_worse else margin_ratio
    ratio_tolerated = guardrail.tolerated_ratio
    roll_back = guardrail.roll_back_beyond(ratio_tolerated if guardrail.margin_pp is None else margin_ratio)
    sign = -1 if lower_is_worse else 1
    harm, safe = event_mixtures(ratio_tolerated**sign, roll_back**sign)
    safe = replace(safe, null_ratio=tolerated)
    at_line, at_margin = oriented.counts(harm.null_ratio), oriented.counts(tolerated)
    options: dict[str, Any] = {"cohorts": oriented.cohorts}
    below = event_ratio_bounds(
        *at_line, confidence=1 - weight * alpha_rollback * part, sided="lower", mixture=harm, **options
    )
    above = event_ratio_bounds(
        *at_line, confidence=1 - alpha_promote, sided="upper", mixture=safe, running=False, **options
    )
    harm_log_e, safe_log_e = harm.log_e(*at_line) + math.log(part), safe.log_e(*at_margin)
    harmed = np.maximum.accumulate(harm_log_e) + math.log(weight) >= -math.log(alpha_rollback)
    lost = lost_safety(safe_log_e)
    value, low, high = below.value, below.low, standing_limit(above.high, tolerated, lost, harmed)
    if getattr(guardrail.metric, "by_age", False):
        value = cohort_estimates(oriented.events_canary, oriented.cohorts)
    if lower_is_worse:
        with np.errstate(divide="ignore"):
            value, low, high = 1 / value, 1 / high, 1 / low
    return GuardrailEvidence(
        guardrail=guardrail,
        weight=weight,
        harm_log_e=harm_log_e,
        safe_log_e=safe_log_e,
        margin=margin_ratio,
        value=value,
        low=low,
        high=high,
        unit="ratio",
        counts=_counted(sets, roll_back, margin_ratio, harm, safe),
        roll_back=roll_back,
    )


def value_evidence(
    differences: Floats,
    variances: Floats,
    shifted: Floats,
    shifted_variances: Floats,
    guardrail: Guardrail,
    weight: float,
    *,
    margin: float,
    gate: int,
    progress: float = 1.0,
    roll_back: float = 0.0,
    harmful: tuple[Floats, Floats] | None = None,
    alpha_rollback: float = 0.05,
    alpha_promote: float = 0.05,
    units: tuple[Floats, Floats] | None = None,
    counts: dict[str, Any] | None = None,
) -> GuardrailEvidence:
    """Evidence of a value guardrail at each look, from moments (asymptotic).

    Parameters
    ----------
    differences, variances
        Canary minus control, and its variance, at each look; NaN where an arm has fewer than two people.
    shifted, shifted_variances
        The same minus the margin (for a ratio margin M: canary minus M times control).
    harmful
        The same minus the line of rollback, with its variance; by default any difference is harm.
    gate
        Look at which the evidence is to be sharpest: the first planned gate.
    progress
        Part of the way to the gate that lies behind the last look, where the gate is still to come: so that
        evidence now is weighed as it will be then, and calls before the gate are looks of one sequence.
    margin, roll_back
        The margin and the line of rollback in the metric's unit, as reported.
    units
        Number of units behind each comparison at each look, to tell by it how far the evidence has come
        against the gate; by default the variances tell.
    """
    from canarykit.stats.any_look.sequential import mixture_boundary, mixture_log_e

    sign = -1.0 if guardrail.worse == "lower" else 1.0
    n_looks = len(differences)
    harm, safe = np.zeros(n_looks), np.zeros(n_looks)
    beyond, safest = np.full(n_looks, -sign * np.inf), np.full(n_looks, sign * np.inf)
    behind = (None, None) if units is None else units
    for series, spread, count, target, side in (
        (*(harmful or (differences, variances)), behind[0], harm, "harm"),
        (shifted, shifted_variances, behind[1], safe, "safe"),
    ):
        good = np.isfinite(series) & np.isfinite(spread) & (spread > 0)
        if not good.any():
            target[:] = np.nan
            continue
        uncertainty = spread if count is None else 1 / np.where(good, count, 1.0)
        reference = uncertainty[good][min(int(np.sum(good[: gate + 1])), int(good.sum())) - 1]
        reference = reference * min(progress, 1.0)
        k = np.where(good, K_AT_GATE * reference / np.where(good, uncertainty, 1.0), 0.0)
        z = np.where(good, sign * series / np.sqrt(np.where(good, spread, 1.0)), 0.0)
        oriented = z if side == "harm" else -z
        target[:] = np.where(good, mixture_log_e(oriented, k, "one"), np.nan if side == "safe" else 0.0)
        level = weight * alpha_rollback if side == "harm" else alpha_promote
        half = np.where(good, mixture_boundary(np.where(good, k, 1.0), level, "one"), np.inf) * np.sqrt(
            np.where(good, spread, 1.0)
        )
        if side == "harm":
            beyond = np.where(good, differences - sign * half, -sign * np.inf)
            continue
        present = np.where(good, sign * series + half, np.inf)
        harmed = np.maximum.accumulate(harm + math.log(weight)) >= -math.log(alpha_rollback)
        distance = standing_limit(present, 0.0, lost_safety(safe), harmed)
        bound = differences - series + sign * distance
        safest = np.where(np.isfinite(bound), bound, sign * np.inf)
    low, high = (beyond, safest) if sign > 0 else (safest, beyond)
    return GuardrailEvidence(
        guardrail, weight, harm, safe, margin, differences, low, high, "value", counts or {}, roll_back
    )


def no_evidence(guardrail: Guardrail, weight: float, n_looks: int, margin: float) -> GuardrailEvidence:
    """A guardrail about which nothing can be said: it proves nothing, so it can never promote."""
    nothing = np.full(n_looks, np.nan)
    zero = np.zeros(n_looks)
    return GuardrailEvidence(
        guardrail, weight, zero, nothing, margin, nothing, nothing, nothing, "ratio", {"missing": True}
    )


def _counted(
    sets: RiskSets, roll_back_ratio: float, margin_ratio: float, harm: EventMixture, safe: EventMixture
) -> dict[str, Any]:
    """Events at the looks that have some, and the exposures under each of the two nulls."""
    at = np.flatnonzero(sets.events)
    at = at if at.size else np.array([0])
    at_line, at_margin = sets.cohorts.exposures(roll_back_ratio), sets.cohorts.exposures(margin_ratio)
    return {
        "interval": at.tolist(),
        "events_canary": sets.events_canary[at].tolist(),
        "events_control": sets.events_control[at].tolist(),
        "at_risk_canary": at_line[0][at].tolist(),
        "at_risk_control": at_line[1][at].tolist(),
        "at_margin_canary": at_margin[0][at].tolist(),
        "at_margin_control": at_margin[1][at].tolist(),
        "mixture": {name: getattr(harm, name) for name in ("sd", "low", "high", "points", "wide")},
        "harm_null_ratio": harm.null_ratio,
        "safe_null_ratio": safe.null_ratio,
    }
