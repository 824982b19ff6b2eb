"""What is tolerated, from where on it is rolled back, and what lies between: words and rule agree."""

from types import SimpleNamespace

import numpy as np
import pytest

import canarykit as ck
from canarykit import metrics
from canarykit.errors import PlanError
from canarykit.health.evidence.compare import _waiting_note
from canarykit.health.evidence.event_evidence import share_evidence
from canarykit.health.report.reasons import _harm_words
from canarykit.metrics.guardrail import roll_back_line
from canarykit.metrics.risk import IntervalCounts, RiskSets
from canarykit.simulate import Effect
from canarykit.stats.any_look.cohort_events import CohortEvents
from tests.release import STAGE, make_release, ramp_plan

PLAN = ck.RolloutPlan("f", (ck.Stage.for_share("half", 50, dwell="2d"),), starts_at="2026-09-07T09:00:00Z")
END = "2026-09-09T09:00:00Z"


def released(quantity, ratio, *, people=4000, error_rate=0.05):
    scenario = ck.Scenario(effects=[Effect(quantity, ratio)], error_rate=error_rate)
    return ck.simulate_rollout(PLAN, ck.Population(people), scenario, rng=7, progress=False)


def judge(log, guardrail, **options):
    return ck.evaluate_stage(log, PLAN, "half", guardrail, as_of=END, **options)


@pytest.fixture(scope="module")
def nearly_twice_the_errors():
    return released("errors", 1.8, people=6000)


def test_an_interval_inside_the_tolerance_is_promoted_and_never_rolled_back(nearly_twice_the_errors):
    wide = judge(nearly_twice_the_errors, ck.Guardrail("$exception", margin_ratio=3.0))
    check = wide.check("people with $exception")
    assert 1 < check.effect_low < check.effect_high < 3
    assert wide.verdict is ck.Verdict.PROMOTE
    assert not np.any(wide.series.rows == 50)  # at no look before
    assert check.margin_text == "rolled back beyond 2.4x, tolerated up to 3x, hoped for 1x"
    # where any proven harm shall roll back, what is within the tolerance by now still does not
    strict = judge(nearly_twice_the_errors, ck.Guardrail("$exception", margin_ratio=4.0, roll_back_ratio=1.0))
    assert strict.check("people with $exception").status.value == "small harm"
    assert strict.verdict is ck.Verdict.PROMOTE
    assert "got worse within what is tolerated" in strict.reason


def test_the_same_harm_rolls_back_where_it_is_not_tolerated(nearly_twice_the_errors):
    tight = judge(nearly_twice_the_errors, ck.Guardrail("$exception", margin_ratio=1.25))
    assert tight.verdict is ck.Verdict.ROLL_BACK
    assert "rolled back beyond 1x, tolerated up to 1.25x" in tight.to_markdown()


def test_where_lower_is_worse_the_lines_are_below_and_down_to(nearly_twice_the_errors):
    guardrails = [
        ck.Guardrail(metrics.Conversion("paid", within="1d"), margin_ratio=0.8),
        ck.Guardrail(metrics.Total("paid", "amount"), margin_ratio=0.8),
    ]
    report = judge(nearly_twice_the_errors, guardrails)
    share, money = (report.check(guardrail.label) for guardrail in guardrails)
    assert share.margin_text == "rolled back below 1x, tolerated down to 0.8x, hoped for 1x"
    assert money.margin_text.startswith("rolled back below 0, tolerated down to -")
    assert "beyond" not in "".join(check.meaning for check in (share, money))


def test_who_came_in_last_is_said_once_for_all_guardrails():
    guardrails = [ck.Guardrail(metric) for metric in ("$exception", metrics.Conversion("paid", within="1d"))]
    log, plan = make_release(n=3000).log, ramp_plan()
    report = ck.evaluate_stage(log, plan, STAGE, guardrails, as_of="2026-09-19T12:07:00Z")
    (said,) = [str(note) for note in report.notes if note.code == "waiting"]
    assert "what they do counts for people with $exception and paid within 1d once" in said


def test_numbers_of_who_came_in_last_that_differ_by_guardrail_make_one_note():
    note = _waiting_note(SimpleNamespace(unit_words="people"), {"errors": 7, "paid within 1d": 12})
    assert str(note).startswith(
        "12 people who came in last (for some guardrails fewer): what they do counts for"
    )
    assert "errors and paid within 1d once enough" in str(note)


def test_the_table_tells_the_evidence_of_now_and_when_it_crossed(nearly_twice_the_errors):
    report = judge(nearly_twice_the_errors, ck.Guardrail("$exception", margin_ratio=1.25))
    check, series = report.check("people with $exception"), report.series
    drawn = series.guardrails[0].harm_log_e + np.log(series.guardrails[0].weight)
    assert check.evidence == pytest.approx(np.exp(drawn[-1]))  # what the picture ends at
    first = int(np.flatnonzero(drawn >= np.log(20))[0])
    assert int(check.crossed_at.value // 1000) == series.looks[first]
    assert check.crossed_with == pytest.approx(np.exp(drawn[first]))
    assert f"now; crossed on {check.crossed_at:%Y-%m-%d %H:%M} UTC, at " in check.evidence_text


def test_a_guardrail_that_moved_far_in_the_unwatched_direction_says_so():
    report = judge(released("paid", 0.5), ck.Guardrail("paid", worse="higher"))
    assert report.verdict is ck.Verdict.PROMOTE
    check = report.check("people with paid")
    assert "It fell (0.5" in check.meaning
    assert "which is not the direction watched" in report.headline
    canary, control = (f"{100 * arm.value:.1f} %" for arm in (check.canary, check.control))
    assert f"; people with paid fell, which is not the direction watched: {canary}" in report.summary()
    assert f"with the flag, {control}" in report.summary()
    assert judge(released("paid", 0.5), ck.Guardrail(metrics.Conversion("paid"))).verdict is (
        ck.Verdict.ROLL_BACK
    )


def counts(canary, control, looks=8):
    ours, theirs, each = (np.full(looks, number) for number in (canary, control, 1000))
    look = np.repeat(np.arange(looks), canary + control)
    by_interval = IntervalCounts(ours, theirs, each, each)
    return RiskSets(ours, theirs, CohortEvents(look, np.full(look.size, 0.5), looks), by_interval)


@pytest.mark.parametrize(
    "worse, margin", [("higher", 3.0), ("higher", 1.25), ("lower", 0.5), ("lower", 0.95)]
)
def test_the_limit_on_the_harmful_side_passes_the_line_of_rollback_when_the_evidence_does(worse, margin):
    guardrail = ck.Guardrail("f", worse=worse, margin_ratio=margin)
    more, fewer = (60, 20) if worse == "higher" else (15, 60)
    if margin == 3.0:
        more = 75
    judged = share_evidence(counts(more, fewer), guardrail, 1.0, margin_ratio=margin)
    assert judged.roll_back == roll_back_line(margin)
    limit = judged.low if worse == "higher" else judged.high
    beyond = limit > judged.roll_back if worse == "higher" else limit < judged.roll_back
    assert (beyond == (judged.weighted_log_e >= np.log(20))).all()
    assert beyond.any()


def test_where_harm_was_shown_the_limit_of_safety_is_that_of_the_present_looks():
    # healthy for five looks, then three times the events: early proof of safety does not stand against it
    early, late = counts(100, 100, 5), counts(300, 100, 3)
    sets = RiskSets.joined([early, late])
    judged = share_evidence(sets, ck.Guardrail("$exception"), 1.0, margin_ratio=1.25)
    assert judged.weighted_log_e[-1] >= np.log(20)
    assert judged.high[4] < 1.25
    assert judged.high[-1] > 1.25
    assert judged.standing_safe_log_e(np.log(20))[-1] < np.log(20)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"margin_ratio": 1.5, "roll_back_ratio": 2.0}, "expected between 1 .no change. and the tolerated"),
        ({"margin_ratio": 1.5, "roll_back_ratio": 0.9}, "expected between 1"),
        ({"margin_pp": 1.0, "roll_back_ratio": 1.1}, "needs margin_ratio"),
    ],
)
def test_a_line_of_rollback_beyond_what_is_tolerated_cannot_be_meant(options, message):
    with pytest.raises(PlanError, match=message):
        ck.Guardrail("$exception", **options)


def test_a_guardrail_is_never_said_to_be_worse_beside_numbers_that_say_the_opposite():
    from canarykit.health.checks.check import Arm, Check, Status

    def line(canary, control, effect):
        arms = [Arm(round(n * 1000), 1000, n) for n in (canary, control)]
        return Check(
            "errors", "guardrail", Status.HARM, "", "", *arms, effect, 1.01, 2.0, margin=1.25, hoped=1.0
        )

    assert _harm_words(line(0.03, 0.02, 1.5)) == (
        "errors got worse (30 of 1,000 (3.00 %) with the canary, 20 of 1,000 (2.00 %) without)"
    )
    assert "2.25" not in _harm_words(line(0.0225, 0.0251, 1.3))
    assert "among those it had not happened to yet (1.3x" in _harm_words(line(0.0225, 0.0251, 1.3))
    assert "since then the effect faded (0.9x" in _harm_words(line(0.03, 0.02, 0.9))


def test_a_report_shows_its_times_in_the_zone_asked_for_and_judges_the_same(nearly_twice_the_errors):
    guardrail = ck.Guardrail("$exception", margin_ratio=1.25)
    utc = judge(nearly_twice_the_errors, guardrail)
    local = judge(nearly_twice_the_errors, guardrail, timezone="America/New_York")
    assert (local.row, local.starts_at, local.audit["evidence"]) == (
        utc.row, utc.starts_at, utc.audit["evidence"],
    )  # fmt: skip
    text = str(local)
    assert "2026-09-07 05:00 EDT to 2026-09-09 05:00 EDT" in text
    assert " UTC" not in text
    assert "(America/New_York)" in local.plot_evidence().get_xlabel()
    with pytest.raises(PlanError, match="Did you mean 'America/New_York'"):
        judge(nearly_twice_the_errors, guardrail, timezone="America/NewYork")
