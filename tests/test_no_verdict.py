"""No verdict comes from what is not there: missing, infinite or constant data, and empty arms, case by case.

Each case is a release that would be promoted or rolled back if its data were whole; each must be held, and
the report must say what is missing.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit import metrics
from canarykit.errors import DataError
from canarykit.health import Evidence, Row, Rules, decide, recompute
from tests.release import AS_OF, FLAG, STAGE, judge, make_release, ramp_plan

SPENT = ck.Guardrail(metrics.Average("paid", "amount"), worse="lower", margin_ratio=0.5)
ERRORS = ck.Guardrail("$exception", margin_ratio=1.5, critical=True)


@pytest.fixture(scope="module")
def harmful():
    return make_release(n=4000, harm=4.0)


def log_of(release, events=None):
    return ck.EventLog(release.events if events is None else events, persons=release.persons)


def answers(events, value):
    called = events["event"] == "$feature_flag_called"
    return called & (events["$feature_flag_response"] == value)


def of_arm(events, value):
    return events["distinct_id"].isin(events.loc[answers(events, value), "distinct_id"])


def test_whole_data_of_this_release_do_decide(harmful):
    assert judge(harmful).verdict is ck.Verdict.ROLL_BACK


# ---- people ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arm, value, words",
    [("canary", "true", "the canary has 0"), ("control", "false", "the control has 0")],
)
@pytest.mark.parametrize("as_of, row", [(AS_OF, 20), ("2026-09-20T06:00:00Z", 10)])
def test_an_arm_without_anybody(harmful, arm, value, words, as_of, row):
    events = harmful.events[~of_arm(harmful.events, value)]
    report = judge(log_of(harmful, events), as_of=as_of, guardrails=[ERRORS, SPENT])
    assert int(report.row) == row
    assert words in report.reason
    for check in report.checks:
        assert check.kind != "guardrail" or check.status.value in ("cannot tell", "wait")


def test_a_stage_that_nobody_was_exposed_in(harmful):
    events = harmful.events[harmful.events["event"] != "$feature_flag_called"]
    before = harmful.events.head(1).assign(timestamp=ramp_plan().window("beta")[0], uuid="before")
    before["event"], before["$feature_flag"], before["$feature_flag_response"] = (
        "$feature_flag_called", FLAG, "true",
    )  # fmt: skip
    report = judge(log_of(harmful, pd.concat([events, before], ignore_index=True)))
    assert report.row is Row.TOO_LITTLE_AFTER_GRACE
    assert (report.n_canary, report.n_control) == (0, 0)
    assert "the canary has 0" in report.reason


def test_one_person_in_each_arm(harmful):
    events = harmful.events
    two = [events.loc[answers(events, value), "distinct_id"].iloc[0] for value in ("true", "false")]
    report = judge(log_of(harmful, events[events["distinct_id"].isin(two)]), guardrails=SPENT)
    assert report.verdict is ck.Verdict.HOLD
    assert "the canary has 1 where at least 25 are needed" in report.reason


@pytest.mark.parametrize("unknown", [None, "", "null", "undefined"])
def test_answers_that_nobody_knows_are_no_arm(harmful, unknown):
    events = harmful.events.copy()
    called = events["event"] == "$feature_flag_called"
    events.loc[called & (np.arange(len(events)) > 20), "$feature_flag_response"] = unknown
    report = judge(log_of(harmful, events))
    assert report.verdict is ck.Verdict.HOLD
    assert "are needed" in report.reason


def test_a_variant_that_the_plan_does_not_have_is_no_arm(harmful):
    events = harmful.events.replace({"$feature_flag_response": {"true": "test"}})
    report = judge(log_of(harmful, events))
    assert report.verdict is ck.Verdict.HOLD
    assert "the canary has 0" in report.reason
    left_out = dict(report.section("people").rows)
    assert left_out["left out: another variant, or a value nobody knows"] > 900


def test_a_second_after_the_start(harmful):
    start = ramp_plan().window(STAGE)[0]
    report = judge(harmful, as_of=start + pd.Timedelta(seconds=1))
    assert report.row is Row.TOO_LITTLE
    assert "grace period is not over" in report.reason


def test_organisations_without_a_key():
    plan = ck.RolloutPlan(
        FLAG, (ck.Stage.for_share("half", 50),), starts_at="2026-09-19T09:00:00Z",
        aggregation_group_type="organization",
    )  # fmt: skip
    release = make_release("half", plan=plan, share=0.5, harm=4.0)
    report = judge(release, "half", plan=plan)
    assert report.verdict is ck.Verdict.HOLD
    assert "the canary has 0 where at least 25 are needed" in report.reason


# ---- values ---------------------------------------------------------------------------------------


def with_amounts(release, make):
    events = release.events.copy()
    paid = events["event"] == "paid"
    events["amount"] = events["amount"].astype(object)
    events.loc[paid, "amount"] = make(events[paid], int(paid.sum()))
    return log_of(release, events)


def constant_in_one_arm(paid, n):
    return np.where(of_arm_ids(paid), 5.0, np.arange(n) % 40 + 1.0)


def of_arm_ids(paid):
    return paid["distinct_id"].isin(CANARY).to_numpy()


CANARY = set(make_release(n=4000, harm=4.0).events.loc[lambda e: answers(e, "true"), "distinct_id"])


@pytest.mark.parametrize(
    "make, note",
    [
        (lambda paid, n: [None] * n, True),
        (lambda paid, n: [float("nan")] * n, True),
        (lambda paid, n: ["inf"] * n, True),
        (lambda paid, n: [float("-inf")] * n, True),
        (lambda paid, n: ["a lot"] * n, True),
        (lambda paid, n: [1e400] * n, True),
        (lambda paid, n: [7] * n, False),
        (lambda paid, n: [0] * n, False),
    ],
    ids=["none", "nan", "inf", "-inf", "words", "overflow", "constant", "zero"],
)
@pytest.mark.parametrize("metric", [metrics.Average, metrics.Total])
def test_values_that_are_missing_infinite_no_numbers_or_all_the_same(harmful, make, note, metric):
    guardrail = dataclasses.replace(SPENT, metric=metric("paid", "amount"))
    report = judge(with_amounts(harmful, make), guardrails=guardrail)
    (check,) = [check for check in report.checks if check.kind == "guardrail"]
    if metric is metrics.Total and not note and make(harmful.events.head(4), 4)[0] == 7:
        return  # payments of 7 by some people and none by others do vary
    assert report.verdict is ck.Verdict.HOLD
    assert check.status.value in ("cannot tell", "wait")
    assert check.status.value == "cannot tell" or check.evidence < 20
    assert any(code.code == "unreadable" for code in report.notes) == note
    assert recompute(report.to_json()) == (report.verdict, report.row)


def test_a_sum_says_that_the_values_of_an_arm_are_missing(harmful):
    """People without a payment count as 0, so payments without an amount do too: never in silence."""
    guardrail = ck.Guardrail(metrics.Total("paid", "amount"), worse="lower")
    report = judge(
        with_amounts(harmful, lambda paid, n: np.where(of_arm_ids(paid), None, 3.0)), guardrails=guardrail
    )
    (note,) = [note for note in report.notes if note.code == "unreadable"]
    paid = harmful.events[harmful.events["event"] == "paid"]
    assert 0.9 * of_arm_ids(paid).sum() < note.count <= of_arm_ids(paid).sum()
    average = judge(
        with_amounts(harmful, lambda paid, n: np.where(of_arm_ids(paid), None, 3.0)), guardrails=SPENT
    )
    assert average.verdict is ck.Verdict.HOLD
    assert average.check("mean amount").status.value == "cannot tell"


@pytest.mark.parametrize("metric", [metrics.Average, metrics.Total])
def test_a_property_that_no_event_has_is_named_with_the_one_that_was_meant(harmful, metric):
    guardrail = dataclasses.replace(SPENT, metric=metric("paid", "amuont"))
    with pytest.raises(DataError, match=r"no event has the property 'amuont'.* Did you mean 'amount'"):
        judge(harmful, guardrails=guardrail)
    other = dataclasses.replace(SPENT, metric=metric("paid", "weight"))
    report = judge(harmful, guardrails=other)
    assert "no_property" in [note.code for note in report.notes]
    assert report.verdict is ck.Verdict.HOLD
    words = with_amounts(harmful, lambda paid, n: ["a lot"] * n)
    report = judge(words, guardrails=dataclasses.replace(SPENT, metric=metric("paid", "amount")))
    (check,) = [check for check in report.checks if check.kind == "guardrail"]
    assert "is it recorded as a number?" in check.meaning


def test_a_few_infinite_values_are_left_out_and_counted(harmful):
    def some(paid, n):
        values = np.random.default_rng(1).lognormal(3, 1, n).astype(object)
        values[:5] = "inf"
        return values

    report = judge(with_amounts(harmful, some), guardrails=SPENT)
    (note,) = [note for note in report.notes if note.code == "unreadable"]
    assert note.count == 5
    assert np.isfinite(report.check("mean amount").effect)


def test_an_arm_whose_values_are_all_the_same_still_has_the_others_spread(harmful):
    report = judge(with_amounts(harmful, constant_in_one_arm), guardrails=SPENT)
    check = report.check("mean amount")
    assert np.isfinite(check.effect)
    assert check.effect_low < check.effect < check.effect_high


# ---- events ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "guardrail",
    [
        ck.Guardrail("crash"),
        ck.Guardrail(metrics.Conversion("purchase"), worse="lower"),
        ck.Guardrail(metrics.Average("purchase", "amount"), worse="lower"),
        ck.Guardrail(metrics.FunnelShare(("$pageview", "purchase")), worse="lower"),
        ck.Guardrail(metrics.SlowShare("purchase", "load_ms", slower_than=1000)),
    ],
    ids=lambda guardrail: type(guardrail.metric).__name__,
)
def test_events_that_are_nowhere_recorded(harmful, guardrail):
    report = judge(harmful, guardrails=guardrail)
    (check,) = [check for check in report.checks if check.kind == "guardrail"]
    assert report.verdict is ck.Verdict.HOLD
    assert check.status.value in ("cannot tell", "wait")


def test_events_without_a_time_that_can_be_read_are_dropped_and_said():
    release = make_release(n=3000, harm=4.0)
    events = release.events.assign(timestamp=release.events["timestamp"].astype(str))
    events.loc[events["event"] == "$exception", "timestamp"] = ""
    report = judge(log_of(release, events))
    assert report.verdict is ck.Verdict.HOLD
    assert any(note.code == "no_time" for note in report.notes)
    assert report.check("people with $exception").status.value == "cannot tell"


def test_points_over_a_control_that_never_had_it_are_no_margin(harmful):
    events = harmful.events[~((harmful.events["event"] == "$exception") & of_arm(harmful.events, "false"))]
    points = ck.Guardrail("$exception", margin_pp=1.0)
    report = judge(log_of(harmful, events), guardrails=points)
    check = report.check("people with $exception")
    assert report.verdict is ck.Verdict.HOLD
    assert "The margin cannot be computed" in check.meaning


@pytest.mark.parametrize("as_of", [AS_OF, "2026-09-20T06:00:00Z"])
def test_before_anybody_could_come_back_there_is_no_bound(harmful, as_of):
    back = ck.Guardrail(metrics.Retention(1), worse="lower")
    report = judge(harmful, guardrails=back, as_of=as_of)
    check = report.check("back on day 1 ($pageview)")
    assert report.verdict is ck.Verdict.HOLD
    assert check.status.value == "cannot tell"
    assert "Nobody's time is over yet" in check.meaning
    assert "at worst" not in check.meaning


# ---- the decision itself --------------------------------------------------------------------------

SAFE = {"units_canary": 900.0, "units_control": 900.0, "harm_log_e": [[0.0]], "safe_log_e": [[9.0]]}
HARM = {**SAFE, "harm_log_e": [[9.0]], "safe_log_e": [[0.0]]}
FIELDS = [field.name for field in dataclasses.fields(Evidence)]


def decided(known, **changed):
    return Row(int(np.ravel(decide(Evidence(**{**known, **changed}), Rules()))[0]))


@pytest.mark.parametrize("field", FIELDS)
def test_no_field_of_the_evidence_promotes_by_being_missing(field):
    assert decided(SAFE) is Row.SAFE
    row = decided(
        SAFE, **{field: [[np.nan]] if field.endswith("_log_e") and field != "srm_log_e" else np.nan}
    )
    policies = ("in_grace", "critical_missing", "breaker", "cap_reached")  # missing: not so
    assert (row is Row.SAFE) == (field in policies)
    assert row.verdict is not ck.Verdict.ROLL_BACK


@pytest.mark.parametrize(
    "field", ["units_canary", "units_control", "harm_log_e", "srm_log_e", "crosser_share"]
)
def test_no_field_of_the_evidence_rolls_back_by_being_missing(field):
    assert decided(HARM) is Row.HARM
    value = [[np.nan]] if field == "harm_log_e" else np.nan
    assert decided(HARM, **{field: value}).verdict is ck.Verdict.HOLD


@pytest.mark.parametrize("field", ["harm_log_e", "safe_log_e"])
def test_infinite_evidence_is_none(field):
    for known in (SAFE, HARM):
        changed = {**known, field: [[np.inf]]}
        if field == "safe_log_e" and known is HARM:
            assert decided(changed) is Row.HARM  # harm stays shown whatever is said of its size
        else:
            assert decided(changed).verdict is ck.Verdict.HOLD


def test_no_guardrail_is_no_promotion():
    empty = np.zeros((0, 1))
    assert decided({**SAFE, "harm_log_e": empty, "safe_log_e": empty}).verdict is ck.Verdict.HOLD
