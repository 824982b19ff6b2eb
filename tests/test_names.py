"""Names in a question against what the log has: slips are refused with the name that was meant."""

import pandas as pd
import pytest

import canarykit as ck
from canarykit import metrics
from canarykit.errors import DataError
from canarykit.events.names import check_variants, misspelling_of
from canarykit.metrics.recorded import recorded_notes

T = "2026-09-07T09:0{}:00Z"


def make_log() -> ck.EventLog:
    rows = []
    for who, value in (("ada", "true"), ("bob", "false")):
        base = {"distinct_id": who, "$session_id": who, "$browser": "Safari", "$feature/new-checkout": value}
        rows += [
            {
                **base, "timestamp": T.format(0), "event": "$feature_flag_called",
                "$feature_flag": "new-checkout", "$feature_flag_response": value,
            },
            {**base, "timestamp": T.format(1), "event": "signup started", "load_ms": "310"},
            {**base, "timestamp": T.format(2), "event": "signup finished"},
            {**base, "timestamp": T.format(3), "event": "paid", "amount": "12"},
        ]  # fmt: skip
    persons = pd.DataFrame(
        {"person_id": ["ada", "bob"], "distinct_id": ["ada", "bob"], "plan": ["pro", "free"]}
    )
    return ck.EventLog(pd.DataFrame(rows), persons=persons)


FUNNEL = ["signup started", "signup finished", "paid"]
SLIPS = {
    "a funnel's flag": (lambda log: ck.funnel_by_flag(log, FUNNEL, flag="new-chekout"), "new-checkout"),
    "a funnel's last step": (lambda log: ck.funnel_by_flag(log, ["signup started", "payd"]), "paid"),
    "a funnel's first step": (
        lambda log: ck.funnel_by_flag(log, ["signup startd", "paid"]),
        "signup started",
    ),
    "one event of a step": (
        lambda log: ck.funnel_by_flag(log, ["signup started", {"any_of": ["paid", "signup finishd"]}]),
        "signup finished",
    ),
    "an exclusion": (
        lambda log: ck.funnel_by_flag(log, ["signup started", "paid"], exclusions=["Signup_finished"]),
        "signup finished",
    ),
    "a breakdown": (lambda log: ck.funnel_by_flag(log, FUNNEL, breakdown="$browsr"), "$browser"),
    "a filter": (
        lambda log: ck.funnel_by_flag(
            log, FUNNEL, filters=[{"key": "browser", "value": "Safari", "operator": "is_not"}]
        ),
        "$browser",
    ),
    "a trend's event": (lambda log: ck.trend_by_flag(log, "payed", flag="new-checkout"), "paid"),
    "a trend's filter": (
        lambda log: ck.trend_by_flag(log, "paid", flag="new-checkout", where={"amuont": "12"}),
        "amount",
    ),
    "exposures of a flag": (lambda log: ck.exposures(log, "new_checkout"), "new-checkout"),
    "a session's error": (
        lambda log: ck.sessions_by_flag(log, "new-checkout", errors=["sinup finished"]),
        "signup finished",
    ),
    "a session's step": (
        lambda log: ck.sessions_by_flag(log, "new-checkout", steps=["paid", "signup finised"]),
        "signup finished",
    ),
    "people": (lambda log: ck.exposures(log, "new-checkout", people={"paln": "pro"}), "plan"),
    "a guardrail's event": (
        lambda log: recorded_notes(log, [ck.Guardrail(metrics.Conversion("payed"))]),
        "paid",
    ),
    "a guardrail's funnel": (
        lambda log: recorded_notes(log, [ck.Guardrail(metrics.FunnelShare(("signup started", "Paid")))]),
        "paid",
    ),
    "a guardrail's ratio": (
        lambda log: recorded_notes(
            log,
            [
                ck.Guardrail(
                    metrics.Ratio(metrics.Total("paid", "amont"), metrics.Total("paid")), worse="lower"
                )
            ],
        ),
        "amount",
    ),
    "a guardrail's threshold": (
        lambda log: recorded_notes(
            log, [ck.Guardrail(metrics.SlowShare("signup started", "loadms", slower_than=9))]
        ),
        "load_ms",
    ),
}


@pytest.mark.parametrize("ask, meant", SLIPS.values(), ids=SLIPS)
def test_a_misspelt_name_is_refused_with_the_name_that_was_meant(ask, meant):
    with pytest.raises(DataError, match=f"Did you mean '{meant}'".replace("$", r"\$")):
        ask(make_log())


def test_an_event_that_never_came_is_a_note_and_no_error():
    log = make_log()
    never = "no event '{}' was recorded".format
    guardrails = [ck.Guardrail("$exception"), ck.Guardrail("payment refused", worse="higher")]
    texts = [note.text for note in recorded_notes(log, guardrails)]
    assert texts == [never("$exception"), never("payment refused")]
    funnel = ck.funnel_by_flag(log, ["signup started", "refund asked"], flag="new-checkout")
    assert never("refund asked") in [note.text for note in funnel.notes]
    trend = ck.trend_by_flag(log, "$rageclick", flag="new-checkout")
    assert never("$rageclick") in [note.text for note in trend.notes]


def test_a_funnel_of_names_the_log_has_says_nothing_of_names():
    funnel = ck.funnel_by_flag(make_log(), FUNNEL, flag="new-checkout", filters=[{"key": "$browser"}])
    assert not {"never_recorded", "no_property", "flag_not_carried"} & {note.code for note in funnel.notes}


@pytest.mark.parametrize(
    "name, other",
    [
        ("step 1", "step 2"),
        ("variant-a", "variant-b"),
        ("payment failed", "payment made"),
        ("signup started", "signup finished"),
        ("logged in", "logged out"),
        ("upgraded", "downgraded"),
        ("enabled", "disabled"),
        ("video played", "video paused"),
        ("test1", "test2"),
        ("signup", "signup started"),
        ("$exception", "exception"),
    ],
)
def test_names_of_different_things_are_not_taken_for_slips(name, other):
    assert misspelling_of(name, [other]) is None
    if name != "$exception":
        assert misspelling_of(other, [name]) is None


def test_a_planned_variant_that_nobody_has_is_a_slip_where_one_like_it_was_observed():
    check_variants("f", ["control", "test"], ["control"])
    check_variants("f", ["control", "test"], ["control", "false"])
    with pytest.raises(DataError, match="Did you mean 'test'"):
        check_variants("f", ["control", "tset"], ["control", "test"])
