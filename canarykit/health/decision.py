"""The decision table: evidence in, row numbers out; pure, vectorised over runs and looks, no frames.

The first row that matches wins (60 stands for what 70 does not promote), at every look on its own
(nothing here remembers earlier looks):

====  =====================================================================  ==========================
row   condition                                                              verdict
====  =====================================================================  ==========================
10    no fresh data, an arm empty or below the minimum, within the grace     hold
20    the same after the grace                                               hold, and tell somebody
21    the same after the grace, and a critical metric is missing             roll back (policy)
30    the canary breaches an absolute limit that the control keeps           roll back (policy, optional)
40    sample-ratio evidence >= 100, too many people saw both variants, an    hold, comparisons off
      arm was silent by itself, or people of one segment or day are missing
41    sample-ratio evidence >= 1000                                          hold, invalid: start again
50    a guardrail's weighted evidence of harm beyond its line of rollback    roll back
      >= 1/alpha, and not proven to be within the margin
60    such harm proven, and proven to be within the margin, while row 70     hold, small harm
      does not hold yet
70    every guardrail proven within its margin, dwell and success rule met,  promote
      and no hole in the data that nobody has explained
80    time cap reached                                                       hold, inconclusive
90    otherwise                                                              hold, go on
====  =====================================================================  ==========================

How a simulator calls it
------------------------
Arrays have looks on the last axis and any leading axes (runs); guardrails come first of all::

    evidence = Evidence(
        units_canary=n_t, units_control=n_c,     # (runs, looks)
        harm_log_e=log_e_harm + log_weights,     # (guardrails, runs, looks), weights already added
        safe_log_e=log_e_safe,                   # (guardrails, runs, looks), null ratio = the margin
        srm_log_e=log_e_srm,                     # (runs, looks)
        dwell_met=hours >= 24,                   # (looks,)
    )
    rows = decide(evidence, Rules())             # int8 (runs, looks), codes of `Row`
    row, look = first_decision(rows)             # first promote or roll back of each run, else the last look
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from canarykit.arguments import require_fields
from canarykit.errors import DataError, PlanError

Flags = npt.NDArray[np.bool_]
MIN_UNITS = 25
"""People (or groups) that each arm needs before anything is compared."""


class Verdict(StrEnum):
    """What to do with the release now."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLL_BACK = "roll back"

    @property
    def exit_code(self) -> int:
        """Process exit code: 0 promote, 10 hold, 20 roll back (1 and 2 belong to errors)."""
        return {"promote": 0, "hold": 10, "roll back": 20}[self.value]

    @property
    def icon(self) -> str:
        """A mark that reads without colour."""
        return {"promote": "▲", "hold": "■", "roll back": "▼"}[self.value]


class Row(IntEnum):
    """Rows of the decision table, ten times the printed number so that a row can have variants."""

    TOO_LITTLE = 10
    TOO_LITTLE_AFTER_GRACE = 20
    CRITICAL_MISSING = 21
    LIMIT_BREACHED = 30
    NOT_VALID_YET = 40
    INVALID = 41
    HARM = 50
    TOLERATED_HARM = 60
    SAFE = 70
    TIME_CAP = 80
    GO_ON = 90

    @property
    def verdict(self) -> Verdict:
        """The verdict this row gives."""
        return verdict_of(self)


def verdict_of(row: int) -> Verdict:
    """The verdict behind a row code.

    Examples
    --------
    >>> verdict_of(50), verdict_of(Row.SAFE), verdict_of(90)
    (<Verdict.ROLL_BACK: 'roll back'>, <Verdict.PROMOTE: 'promote'>, <Verdict.HOLD: 'hold'>)
    """
    match Row(row):
        case Row.SAFE:
            return Verdict.PROMOTE
        case Row.CRITICAL_MISSING | Row.LIMIT_BREACHED | Row.HARM:
            return Verdict.ROLL_BACK
    return Verdict.HOLD


@dataclass(frozen=True)
class Rules:
    """Error rates and policies of the decision table.

    Parameters
    ----------
    alpha_rollback
        P(ever rolling back a harmless release, all guardrails together, any looking).
    alpha_promote
        P(ever promoting a release whose true effect is at a guardrail's margin), per guardrail.
    alpha_srm_hold, alpha_srm_invalid
        P(ever) of a false sample-ratio hold, and of a false "invalid".
    max_crosser_share
        Share of people seen with both variants within a stage from which comparisons are off.
    min_units
        People (or groups) each arm must have before anything is compared.
    stages
        Stages of the rollout over which the rollback error was split: `alpha_rollback` is one stage's part.
    """

    alpha_rollback: float = 0.05
    alpha_promote: float = 0.05
    alpha_srm_hold: float = 0.01
    alpha_srm_invalid: float = 0.001
    max_crosser_share: float = 0.01
    min_units: int = MIN_UNITS
    stages: int = 1

    def __post_init__(self) -> None:
        require_fields(self)
        for name in ("alpha_rollback", "alpha_promote", "alpha_srm_hold", "alpha_srm_invalid"):
            if not 0 < getattr(self, name) < 1:
                raise PlanError(f"{name} is {getattr(self, name)}; expected a probability between 0 and 1")
        if not 0 <= self.max_crosser_share <= 1:
            raise PlanError(f"max_crosser_share is {self.max_crosser_share}; expected a share in [0, 1]")
        if not self.min_units >= 0:
            raise PlanError(f"min_units is {self.min_units}; expected 0 or more people")
        if not self.stages >= 1:
            raise PlanError(f"stages is {self.stages}; expected 1 or more stages that share the error")

    def split(self, arms: int) -> Rules:
        """The rules for one of several variants: each error rate is that of all of them together.

        Examples
        --------
        >>> Rules().split(2).alpha_rollback
        0.025
        """
        names = ("alpha_rollback", "alpha_promote", "alpha_srm_hold", "alpha_srm_invalid")
        return replace(self, **{name: getattr(self, name) / max(arms, 1) for name in names})

    def over_stages(self, stages: int) -> Rules:
        """The rules for one of several stages: the rollback error is that of the whole rollout.

        Examples
        --------
        >>> Rules().over_stages(5).alpha_rollback
        0.01
        """
        return replace(self, alpha_rollback=self.alpha_rollback / stages, stages=stages)


def log_thresholds(rules: Rules) -> tuple[float, float, float, float]:
    """Log evidence needed to roll back, to promote, to hold on the sample ratio, and to call it invalid."""
    levels = (rules.alpha_rollback, rules.alpha_promote, rules.alpha_srm_hold, rules.alpha_srm_invalid)
    roll_back, promote, hold, invalid = (-math.log(level) for level in levels)
    return roll_back, promote, hold, invalid


@dataclass(frozen=True)
class Evidence:
    """What is known at each look; every field is an array over (..., looks) or broadcasts to it."""

    # comparable people (or groups) seen so far in each arm
    units_canary: npt.ArrayLike
    units_control: npt.ArrayLike
    # per guardrail on the first axis: log e-value of "beyond the line of rollback" plus the log weight
    harm_log_e: npt.ArrayLike
    # per guardrail on the first axis: log e-value against "as bad as the margin or worse"
    safe_log_e: npt.ArrayLike
    # log e-value against the planned shares. NaN means it cannot be told and holds the release
    srm_log_e: npt.ArrayLike = 0.0
    # share of people seen with several variants within the stage. NaN holds the release
    crosser_share: npt.ArrayLike = 0.0
    # no arm has a hole of its own, and no segment or day lacks people of one arm
    comparable: npt.ArrayLike = True
    # booleans: data reach up to the look; still within the grace period; a critical metric has no data; the
    # canary breaches a limit that the control keeps; the minimum stay is over; the success rule (if any) is
    # met and no hole in the data is unexplained; the time cap is reached
    fresh: npt.ArrayLike = True
    in_grace: npt.ArrayLike = False
    critical_missing: npt.ArrayLike = False
    breaker: npt.ArrayLike = False
    dwell_met: npt.ArrayLike = True
    success_met: npt.ArrayLike = True
    cap_reached: npt.ArrayLike = False


def guardrail_state(harm_log_e: Any, safe_log_e: Any, log_rollback: Any, log_promote: Any) -> Any:
    """Three booleans of one guardrail: harm proven and not small; harm proven but small; within margin.

    What is missing or infinite proves nothing, and where harm is so, nothing is safe.
    """
    is_finite = harm_log_e < math.inf
    harm = is_finite & (harm_log_e >= log_rollback)
    safe = is_finite & (safe_log_e >= log_promote) & (safe_log_e < math.inf)
    return harm & (safe == 0), harm & safe, safe


def table_row(
    enough: Flags,
    in_grace: Flags,
    critical_missing: Flags,
    breaker: Flags,
    ratio_holds: Flags,
    ratio_valid: Flags,
    crossers_few: Flags,
    harmed: Flags,
    tolerated: Flags,
    all_safe: Flags,
    may_promote: Flags,
    cap_reached: Flags,
) -> npt.NDArray[np.int8]:
    """Row codes from arrays of booleans: the first that matches."""
    matches = (
        (Row.TOO_LITTLE, ~enough & in_grace),
        (Row.CRITICAL_MISSING, ~enough & critical_missing),
        (Row.TOO_LITTLE_AFTER_GRACE, ~enough),
        (Row.LIMIT_BREACHED, breaker),
        (Row.INVALID, ~ratio_valid),
        (Row.NOT_VALID_YET, ~(ratio_holds & crossers_few)),
        (Row.HARM, harmed),
        (Row.SAFE, all_safe & may_promote),
        (Row.TOLERATED_HARM, tolerated),
        (Row.TIME_CAP, cap_reached),
    )
    codes, conditions = zip(*matches, strict=True)
    return np.select(conditions, [np.int8(code) for code in codes], np.int8(Row.GO_ON))


def decide(evidence: Evidence, rules: Rules = Rules()) -> npt.NDArray[np.int8]:
    """Row code at every look, by the table above.

    Parameters
    ----------
    evidence
        Arrays over (..., looks); guardrail fields have one more axis in front.
    rules
        Error rates and policies.

    Returns
    -------
    numpy.ndarray of int8
        Codes of `Row`, shape (..., looks). Without any guardrail nothing is ever promoted.

    Raises
    ------
    DataError
        If the two guardrail arrays differ in their number of guardrails.

    Examples
    --------
    >>> looks = Evidence(
    ...     units_canary=[10, 400, 900], units_control=[12, 410, 880],
    ...     harm_log_e=[[0.1, 1.0, 3.2]], safe_log_e=[[-0.1, -0.5, -1.0]])
    >>> [Row(row).name for row in decide(looks)]
    ['TOO_LITTLE_AFTER_GRACE', 'GO_ON', 'HARM']
    """
    log_rollback, log_promote, log_hold, log_invalid = log_thresholds(rules)
    harm, safe = np.asarray(evidence.harm_log_e, float), np.asarray(evidence.safe_log_e, float)
    if harm.ndim == 0 or safe.ndim == 0 or len(harm) != len(safe):
        raise DataError(
            f"harm_log_e has shape {harm.shape}, safe_log_e {safe.shape}; "
            "expected guardrails on the first axis"
        )
    states = [guardrail_state(h, s, log_rollback, log_promote) for h, s in zip(harm, safe, strict=True)]
    none = np.bool_(False)
    harmed = np.logical_or.reduce(np.broadcast_arrays(none, *(state[0] for state in states)))
    tolerated = np.logical_or.reduce(np.broadcast_arrays(none, *(state[1] for state in states)))
    all_safe = np.logical_and.reduce(np.broadcast_arrays(np.bool_(bool(states)), *(s[2] for s in states)))
    srm = np.asarray(evidence.srm_log_e, float)
    enough = (
        (np.asarray(evidence.units_canary, float) >= max(rules.min_units, 1))
        & (np.asarray(evidence.units_control, float) >= max(rules.min_units, 1))
        & _flags(evidence.fresh)
    )
    fields = np.broadcast_arrays(
        enough,
        _flags(evidence.in_grace),
        _flags(evidence.critical_missing),
        _flags(evidence.breaker),
        srm < log_hold,  # "require the good": NaN does not hold
        (srm < log_invalid) | np.isnan(srm),
        (np.asarray(evidence.crosser_share, float) < rules.max_crosser_share) & _flags(evidence.comparable),
        harmed,
        tolerated,
        all_safe,
        _flags(evidence.dwell_met) & _flags(evidence.success_met),
        _flags(evidence.cap_reached),
    )
    return table_row(*fields)


def first_decision(rows: npt.ArrayLike) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.intp]]:
    """The first promote or roll back of each run along the last axis, and the look it came at.

    Returns
    -------
    row, look
        Row code and look index; runs that never decide give the row of the last look and index -1.

    Examples
    --------
    >>> row, look = first_decision([[90, 90, 50, 90], [90, 40, 40, 80]])
    >>> row.tolist(), look.tolist()
    ([50, 80], [2, -1])
    """
    codes = np.asarray(rows, dtype=np.int8)
    if codes.ndim == 0 or codes.shape[-1] == 0:
        raise DataError("there are no looks to decide on")
    final = np.isin(codes, [row for row in Row if row.verdict is not Verdict.HOLD])
    decided = final.any(axis=-1)
    look = np.where(decided, final.argmax(axis=-1), codes.shape[-1] - 1)
    row = np.take_along_axis(codes, look[..., None], axis=-1)[..., 0]
    return row, np.where(decided, look, -1)


def _flags(value: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Booleans; what is missing is not so."""
    array = np.asarray(value)
    return array.astype(bool) & (array == array)  # NaN differs from itself
