"""The decision table, row by row."""

import dataclasses
import math

import numpy as np
import pytest

from canarykit.errors import DataError, PlanError
from canarykit.health.decision import (
    Evidence,
    Row,
    Rules,
    Verdict,
    decide,
    first_decision,
    table_row,
)

QUIET = Evidence(units_canary=[500], units_control=[500], harm_log_e=[[0.0]], safe_log_e=[[0.0]])
SAFE = dataclasses.replace(QUIET, safe_log_e=[[5.0]])
HARM = dataclasses.replace(QUIET, harm_log_e=[[5.0]])


def row(evidence, **changes):
    (code,) = decide(dataclasses.replace(evidence, **changes)).tolist()
    return Row(code)


def test_a_quiet_release_goes_on_until_the_cap():
    assert row(QUIET) is Row.GO_ON
    assert row(QUIET, cap_reached=True) is Row.TIME_CAP
    assert Row.TIME_CAP.verdict is Verdict.HOLD


def test_a_safe_release_is_promoted_only_after_its_stay_and_success_rule():
    assert row(SAFE) is Row.SAFE
    assert Row.SAFE.verdict is Verdict.PROMOTE
    assert row(SAFE, dwell_met=False) is Row.GO_ON
    assert row(SAFE, success_met=False) is Row.GO_ON


def test_proven_harm_rolls_back_even_before_the_stay_is_over():
    assert row(HARM, dwell_met=False) is Row.HARM
    assert Row.HARM.verdict is Verdict.ROLL_BACK


def test_proven_harm_within_what_is_tolerated_never_rolls_back_and_promotes_once_all_is_shown():
    assert row(HARM, safe_log_e=[[5.0]]) is Row.SAFE
    assert row(HARM, safe_log_e=[[5.0]], dwell_met=False) is Row.TOLERATED_HARM
    assert row(HARM, harm_log_e=[[5.0], [0.0]], safe_log_e=[[5.0], [0.0]]) is Row.TOLERATED_HARM
    assert Row.TOLERATED_HARM.verdict is Verdict.HOLD


def test_one_harmed_guardrail_among_five_is_enough_and_one_unsafe_is_too_many():
    harm = np.zeros((5, 1))
    harm[3] = 4.0
    assert row(QUIET, harm_log_e=harm, safe_log_e=np.full((5, 1), 9.0) * (harm == 0)) is Row.HARM
    safe = np.full((5, 1), 9.0)
    assert row(QUIET, harm_log_e=np.zeros((5, 1)), safe_log_e=safe) is Row.SAFE
    safe[2] = 1.0
    assert row(QUIET, harm_log_e=np.zeros((5, 1)), safe_log_e=safe) is Row.GO_ON


@pytest.mark.parametrize("evidence", [HARM, SAFE])
def test_a_broken_sample_ratio_switches_every_comparison_off(evidence):
    assert row(evidence, srm_log_e=math.log(100)) is Row.NOT_VALID_YET
    assert row(evidence, srm_log_e=math.log(1001)) is Row.INVALID
    assert row(evidence, crosser_share=0.01) is Row.NOT_VALID_YET
    assert Row.INVALID.verdict is Verdict.HOLD


@pytest.mark.parametrize(
    "changes", [{"units_canary": [0]}, {"units_control": [24]}, {"fresh": False}, {"units_canary": [np.nan]}]
)
@pytest.mark.parametrize("evidence", [HARM, SAFE, QUIET])
def test_too_little_data_never_promotes_and_only_a_missing_critical_metric_rolls_back(evidence, changes):
    assert row(evidence, in_grace=True, critical_missing=True, **changes) is Row.TOO_LITTLE
    assert row(evidence, **changes) is Row.TOO_LITTLE_AFTER_GRACE
    assert row(evidence, critical_missing=True, **changes) is Row.CRITICAL_MISSING


def test_a_breached_limit_comes_before_everything_but_missing_data():
    assert row(SAFE, breaker=True, srm_log_e=20.0) is Row.LIMIT_BREACHED
    assert row(SAFE, breaker=True, units_canary=[0]) is Row.TOO_LITTLE_AFTER_GRACE


@pytest.mark.parametrize("field", ["harm_log_e", "safe_log_e"])
def test_evidence_that_is_not_a_number_proves_nothing(field):
    assert row(QUIET, **{field: [[np.nan]]}).verdict is Verdict.HOLD
    assert row(SAFE, safe_log_e=[[np.nan]]).verdict is Verdict.HOLD


@pytest.mark.parametrize("field", ["srm_log_e", "crosser_share"])
def test_a_validity_check_that_is_not_a_number_holds(field):
    assert row(SAFE, **{field: np.nan}) is Row.NOT_VALID_YET


def test_without_a_guardrail_nothing_is_promoted():
    empty = np.empty((0, 1))
    assert row(QUIET, harm_log_e=empty, safe_log_e=empty) is Row.GO_ON


def test_an_empty_arm_is_too_little_even_when_the_minimum_is_zero():
    looks = dataclasses.replace(SAFE, units_control=[0])
    assert decide(looks, Rules(min_units=0)).tolist() == [Row.TOO_LITTLE_AFTER_GRACE]


def test_every_combination_of_conditions_follows_the_printed_order():
    flags = np.array(np.meshgrid(*[[False, True]] * 12)).reshape(12, -1)
    rows = table_row(*flags)
    for j in range(0, flags.shape[1], 7):
        (enough, grace, missing, breaker, holds, valid, few, harmed, tolerated, safe, may, cap) = flags[:, j]
        if not enough:
            expected = 10 if grace else 21 if missing else 20
        elif breaker:
            expected = 30
        elif not valid:
            expected = 41
        elif not (holds and few):
            expected = 40
        elif harmed:
            expected = 50
        elif safe and may:
            expected = 70
        elif tolerated:
            expected = 60
        else:
            expected = 80 if cap else 90
        assert rows[j] == expected


def test_runs_and_looks_are_decided_at_once_and_the_first_decision_stands():
    harm = np.zeros((1, 3, 4))
    harm[0, 0, 2] = 4.0
    safe = np.zeros((1, 3, 4))
    safe[0, 1, 3] = 4.0
    looks = Evidence(units_canary=np.full((3, 4), 100), units_control=100, harm_log_e=harm, safe_log_e=safe)
    rows = decide(looks)
    assert rows.shape == (3, 4)
    assert rows.dtype == np.int8
    final, look = first_decision(rows)
    assert final.tolist() == [50, 70, 90]
    assert look.tolist() == [2, 3, -1]


def test_exit_codes_leave_room_for_errors():
    assert [v.exit_code for v in (Verdict.PROMOTE, Verdict.HOLD, Verdict.ROLL_BACK)] == [0, 10, 20]


def test_unusable_rules_and_shapes_are_refused():
    with pytest.raises(PlanError, match=r"alpha_rollback is nan; expected a probability"):
        Rules(alpha_rollback=float("nan"))
    with pytest.raises(DataError, match=r"guardrails on the first axis"):
        decide(dataclasses.replace(QUIET, harm_log_e=[[0.0], [0.0]]))
    with pytest.raises(DataError, match="no looks"):
        first_decision([])
