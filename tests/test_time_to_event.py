"""Time to an event as a guardrail: compared at the same time since the exposure, right at every look."""

import itertools
import json
import math
from dataclasses import replace

import duckdb
import numpy as np
import pytest

import canarykit as ck
from canarykit import metrics
from canarykit.health.evidence.event_evidence import event_mixtures, share_evidence, standing_safety
from canarykit.metrics.risk import risk_sets
from canarykit.simulate import Effect
from canarykit.stats import EventMixture
from canarykit.stats.one_look.survival import waiting_times

HOUR = 3_600_000_000
PLAN = ck.RolloutPlan(
    "new-checkout", (ck.Stage.for_share("half", 50, dwell="2d"),), starts_at="2026-09-07T09:00:00Z"
)
STARTED = metrics.TimeToEvent("signup finished", within="1h")


def release(*effects, people=3000, rng=7):
    return ck.simulate_rollout(
        PLAN, ck.Population(people), ck.Scenario(effects=effects), rng=rng, progress=False
    )


def judge(log, *guardrails):
    return ck.evaluate_stage(
        log, PLAN, stage="half", guardrails=guardrails, looks="1h", as_of="2026-09-09T08:00:00Z"
    )


@pytest.fixture(scope="module")
def harmless():
    return release()


def people(rng, per_hour, hours, share, delay, ratio=1.0):
    """When people come in, until when they are seen, the event (-1: none) and the label."""
    n = rng.poisson(per_hour * hours)
    start = np.sort(rng.integers(0, int(hours * HOUR), n))
    canary = rng.random(n) < share
    hours_to = delay(rng.exponential(1, n) / np.where(canary, ratio, 1.0))
    first = np.where(np.isfinite(hours_to), start + np.minimum(hours_to, 1e6) * HOUR, -1).astype(np.int64)
    stop = np.full(n, int(hours * HOUR))
    return start, stop, np.where(first < stop, first, -1), canary


def by_share(share, mean):
    """From a cumulative hazard to the time: this share has it, after so many hours on average."""
    most = -math.log(1 - share)

    def hours(hazard):
        part = np.minimum(hazard / most, 1 - 1e-12)
        return np.where(hazard < most, -mean * np.log1p(-part), np.inf)

    return hours


def falling(hazard):
    return 30 * hazard**2.5


# ---- what is compared with what


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["newcomers at once", "all ages alike", "each another one"])
def test_over_all_labellings_the_evidence_is_one_on_average_and_rarely_large(pattern):
    i = np.arange(40)
    start = np.where(i < 20, i % 10, 10 + i % 10)
    age = {
        "newcomers at once": np.where(i % 5 < 3, 1, -1),
        "all ages alike": np.where(i % 2, 12, -1),
        "each another one": 1 + (i * 7) % 29,
    }[pattern]
    stop = np.where(i % 7 == 3, 25, 40)
    first = np.where((age >= 0) & (start + age < stop), start + age, -1)
    paths = []
    for pair in itertools.combinations(range(20), 2):
        for one in range(20, 40):
            canary = np.zeros(40, bool)
            canary[[*pair, one]] = True
            sets = risk_sets(start, stop, first, canary, origin=0, step=10, n_intervals=4, by_age=True)
            paths.append(sets.counts())
    x, n, ours, theirs = (np.stack(column) for column in zip(*paths, strict=True))
    assert x.sum() > 0
    log_e = EventMixture().log_e(x, n, ours, theirs)
    assert np.exp(log_e).mean(axis=0).max() <= 1 + 1e-9
    for level in (1.5, 2.0, 4.0):
        assert (log_e >= math.log(level)).any(axis=1).mean() <= 1 / level


def test_an_event_counts_once_the_last_of_its_cohort_has_been_there_as_long():
    start, first = np.zeros(20, np.int64), np.full(20, -1)
    start[19], first[0] = 9, 4
    stop = np.full(20, 30)
    canary = np.arange(20) < 5
    at_the_moment, by_age = (
        risk_sets(start, stop, first, canary, origin=0, step=10, n_intervals=3, by_age=clock)
        for clock in (False, True)
    )
    assert at_the_moment.events_canary.tolist() == [1, 0, 0]
    assert by_age.events_canary.tolist() == [0, 1, 0]  # 4 after their exposure: at 13 for the last of them


@pytest.mark.parametrize("seed", range(5))
def test_what_earlier_looks_said_stands_when_the_data_go_on(seed):
    start, stop, first, canary = people(np.random.default_rng(seed), 20, 24, 0.3, by_share(0.6, 3))
    whole = risk_sets(start, stop, first, canary, origin=0, step=HOUR, n_intervals=24, by_age=True)
    for looks in (6, 15):
        end = looks * HOUR
        at_risk = start < end
        seen = np.where(first < end, first, -1)[at_risk]
        cut = np.minimum(stop, end)[at_risk]
        sets = risk_sets(
            start[at_risk], cut, seen, canary[at_risk], origin=0, step=HOUR, n_intervals=looks, by_age=True
        )
        assert sets.events_canary.tolist() == whole.events_canary[:looks].tolist()
        assert sets.cohorts.share.tolist() == whole.cohorts.share[whole.cohorts.look < looks].tolist()
        early = risk_sets(  # a look within the next interval knows what this one knew
            start[at_risk], cut, seen, canary[at_risk],
            origin=0, step=HOUR, n_intervals=looks + 1, until=end, by_age=True,
        )  # fmt: skip
        assert early.events[:looks].tolist() == sets.events.tolist()


# ---- held to published methods


@pytest.mark.parametrize("ratio, delay", [(0.7, by_share(0.6, 5)), (1.5, falling)])
def test_the_estimate_is_that_of_cox_regression_stratified_by_entry_cohort(ratio, delay):
    from statsmodels.duration.hazard_regression import PHReg

    start, stop, first, canary = people(np.random.default_rng(3), 60, 48, 0.3, delay, ratio)
    cohort = np.arange(len(start)) // 50  # 50 people at one moment are always a cohort
    start = cohort * HOUR
    first = np.where(first >= 0, start + 1 + first % (30 * HOUR), -1)
    stop = np.full(len(start), int(start.max()) + 40 * HOUR)
    looks = int(stop.max() // HOUR)
    sets = risk_sets(start, stop, first, canary, origin=0, step=HOUR, n_intervals=looks, by_age=True)
    guardrail = ck.Guardrail(metrics.TimeToEvent("paid"), margin_ratio=0.8)
    evidence = share_evidence(sets, guardrail, 1.0, margin_ratio=0.8)
    had = first >= 0
    age = np.where(had, first, stop) - start
    model = PHReg(age.astype(float), canary.astype(float), status=had, strata=cohort, ties="breslow").fit()
    assert evidence.value[-1] == pytest.approx(math.exp(model.params[0]), rel=1e-6)
    assert evidence.low[-1] < evidence.value[-1] < evidence.high[-1]


def test_the_shares_by_time_are_those_of_the_product_limit_estimator():
    from statsmodels.duration.survfunc import SurvfuncRight

    rng = np.random.default_rng(2)
    event, seen = rng.exponential(10, 300).round(), rng.uniform(0, 15, 300).round()
    happened = event <= seen
    observed = np.minimum(event, seen)
    ours, theirs = waiting_times(observed, happened), SurvfuncRight(observed, happened)
    assert ours.times == pytest.approx(theirs.surv_times)
    assert ours.shares == pytest.approx(1 - theirs.surv_prob)
    assert ours.time_of(0.5) == theirs.quantile(0.5)
    assert ours.share_by(observed.max() + 1) is None
    assert ours.share_by(-1) == 0
    assert waiting_times([], []).share_by(1) is None


# ---- error rates


def share_crossing(runs, side, *, per_hour, hours, share, delay, margin, ratio=1.0, by_age=True):
    """Part of the releases that are called harmful, or safe, at any of the hourly looks."""
    rng = np.random.default_rng(5)
    lower = margin < 1
    tolerated = 1 / margin if lower else margin
    harm, safe = event_mixtures(tolerated)
    safe = replace(safe, null_ratio=tolerated)
    crossed = 0
    for _ in range(runs):
        drawn = people(rng, per_hour, hours, share, delay, ratio)
        sets = risk_sets(*drawn, origin=0, step=HOUR, n_intervals=hours, by_age=by_age)
        sets = sets.swapped() if lower else sets
        if side == "harm":
            log_e = harm.log_e(*sets.counts(harm.null_ratio))
        else:
            log_e = standing_safety(safe.log_e(*sets.counts(tolerated)), False)
        crossed += bool((log_e >= math.log(20)).any())
    return crossed / runs


@pytest.mark.slow
@pytest.mark.parametrize(
    "per_hour, share, delay, margin",
    [
        (20, 0.5, by_share(0.9, 0.05), 0.9),
        (50, 0.05, by_share(0.6, 0.1), 1.25),
        (50, 0.95, by_share(0.8, 0.1), 1.25),
        (50, 0.5, falling, 0.9),
    ],
)
def test_a_harmless_release_is_rarely_rolled_back(per_hour, share, delay, margin):
    runs = 300
    crossed = share_crossing(
        runs, "harm", per_hour=per_hour, hours=48, share=share, delay=delay, margin=margin
    )
    assert crossed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


COMMON = {"per_hour": 200, "hours": 24, "share": 0.5, "delay": by_share(0.95, 0.05), "margin": 1.25}


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell",
    [COMMON, {**COMMON, "delay": by_share(0.6, 0.05), "margin": 2.0}, {**COMMON, "delay": falling}],
    ids=["95 % within minutes", "60 % within minutes", "a falling hazard"],
)
def test_hazards_at_the_margin_are_rarely_called_safe(cell):
    runs = 300
    crossed = share_crossing(runs, "safe", ratio=cell["margin"], **cell)
    assert crossed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_at_the_same_moment_instead_of_the_same_age_common_hazards_look_closer_than_they_are():
    assert share_crossing(60, "safe", ratio=1.25, by_age=False, **COMMON) > 0.4


# ---- on the report


def test_a_release_that_only_makes_people_slower_is_rolled_back_and_its_times_are_told(harmless):
    guardrail = ck.Guardrail(STARTED, margin_ratio=0.7)
    fine = judge(harmless, guardrail)
    assert fine.verdict is ck.Verdict.PROMOTE
    slower = judge(release(Effect("delay", 30)), guardrail)
    assert slower.verdict is ck.Verdict.ROLL_BACK
    check = slower.check("time to signup finished within 1h")
    assert check.effect_high < 1
    assert check.effect < 0.8
    assert "within 1 h after their exposure" in check.measured
    assert "10.0 % had it after more than 1 h with the canary and 4 min without (Kaplan" in check.measured
    assert "by the time since exposure" in check.method


def test_the_share_told_is_of_people_who_were_followed_until_then(harmless):
    check = judge(harmless, ck.Guardrail(STARTED, margin_ratio=0.7)).check(
        "time to signup finished within 1h"
    )
    short = judge(
        harmless, ck.Guardrail(metrics.Conversion("signup finished", within="1h"), margin_ratio=0.7)
    )
    short = short.check("signup finished within 1h")
    assert check.control == short.control
    assert check.canary == short.canary


def test_points_of_a_share_by_a_time_are_the_ratio_of_hazards_that_leads_there(harmless):
    check = judge(harmless, ck.Guardrail(STARTED, margin_pp=8)).check("time to signup finished within 1h")
    share = check.control.value
    assert check.margin == pytest.approx(math.log1p(-(share - 0.08)) / math.log1p(-share), rel=0.02)
    late = metrics.TimeToEvent("signup finished", within="7d")
    unclear = judge(harmless, ck.Guardrail(late, margin_pp=8)).check("time to signup finished within 7d")
    assert "nobody in the control had it yet, or was followed for 7 d" in unclear.meaning
    assert unclear.status.value == "cannot tell"


@pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning")
@pytest.mark.parametrize("engine", ["parquet", "polars", "shards", "spark"])
def test_every_engine_gives_the_same_evidence(engine, harmless, tmp_path, request):
    file = str(tmp_path / "events.parquet")
    harmless.frame.to_parquet(file)
    persons = {"persons": harmless.persons}
    if engine == "parquet":
        log = ck.EventLog(duckdb.read_parquet(file), **persons)
    elif engine == "polars":
        log = ck.EventLog(pytest.importorskip("polars").read_parquet(file), **persons)
    elif engine == "shards":
        log = ck.scan_posthog(file, memory_limit="1MB", **persons)
    else:
        log = ck.EventLog(request.getfixturevalue("spark").read.parquet(file), **persons)
    guardrail = ck.Guardrail(STARTED, margin_ratio=0.8)
    here, there = (judge(one, guardrail).checks[-1] for one in (harmless, log))
    for field in ("evidence", "effect", "effect_low", "effect_high", "measured", "canary", "control"):
        assert getattr(there, field) == getattr(here, field)


def test_where_lower_is_worse_the_answer_is_that_of_the_arms_changed_over():
    start, stop, first, canary = people(np.random.default_rng(1), 60, 24, 0.4, by_share(0.5, 1), 0.8)
    options = {"origin": 0, "step": HOUR, "n_intervals": 24, "by_age": True}
    timed = metrics.TimeToEvent("paid")
    lower = share_evidence(
        risk_sets(start, stop, first, canary, **options), ck.Guardrail(timed), 1.0, margin_ratio=0.8
    )
    higher = share_evidence(
        risk_sets(start, stop, first, ~canary, **options),
        ck.Guardrail(timed, worse="higher", margin_ratio=1 / 0.95),
        1.0,
        margin_ratio=1 / 0.8,
    )
    assert lower.harm_log_e == pytest.approx(higher.harm_log_e)
    assert lower.value == pytest.approx(1 / higher.value, nan_ok=True)


# ---- before the release


def test_planned_people_answer_the_question_about_hazards():
    guardrail = ck.Guardrail(STARTED, margin_ratio=0.8)
    plan = ck.sample_size(guardrail, rate=0.6, looks=24)
    about_shares = ck.Guardrail(metrics.Conversion("signup finished"), margin_ratio=0.8)
    assert plan.total < ck.sample_size(about_shares, rate=0.6, looks=24).total * 1.1
    reached = share_crossing(
        150, "safe", per_hour=plan.total / 24, hours=25, share=0.5, delay=by_share(0.6, 0.05), margin=0.8
    )
    assert abs(reached - 0.8) <= 3 * math.sqrt(0.8 * 0.2 / 150) + 0.03
    worse = ck.Guardrail(metrics.TimeToEvent("$exception"))
    assert ck.sample_size(worse, rate=0.6, ratio=2.0, goal="harm").n_canary < 200  # of hazards, not of shares
    points = ck.Guardrail(STARTED, margin_pp=12)
    as_ratio = ck.Guardrail(STARTED, margin_ratio=math.log(1 - 0.48) / math.log(1 - 0.6))
    assert ck.sample_size(points, rate=0.6).n_canary == ck.sample_size(as_ratio, rate=0.6).n_canary


def test_simulated_decisions_know_the_time_to_a_step_and_to_an_error():
    options = {"n_runs": 200, "traffic": 200, "rng": 7}
    timed = ck.Guardrail(metrics.TimeToEvent("paid"), margin_ratio=0.8)
    fine = ck.simulate_decisions(PLAN, None, timed, **options)
    worse = ck.simulate_decisions(PLAN, ck.Scenario(effects=[Effect("paid", 0.6)]), timed, **options)
    assert fine.probability("roll back") < 0.1 < 0.9 < worse.probability("roll back")
    errors = ck.Guardrail(metrics.TimeToEvent("$exception"))
    broken = ck.Scenario(effects=[Effect("errors", 4)])
    assert ck.simulate_decisions(PLAN, broken, errors, **options).probability("roll back") > 0.9


# ---- what it is built from


def test_a_time_to_event_survives_its_plain_form_and_knows_which_way_is_harm():
    guardrail = ck.Guardrail(metrics.TimeToEvent("paid", within="1d", where={"plan": "pro"}), margin_pp=2)
    assert guardrail.worse == "lower"
    assert ck.Guardrail.from_dict(json.loads(json.dumps(guardrail.to_dict()))) == guardrail
    assert ck.Guardrail(metrics.TimeToEvent("$exception")).worse == "higher"
    with pytest.raises(ck.PlanError, match="say worse='lower'"):
        ck.Guardrail(metrics.TimeToEvent("order refunded"))


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: metrics.TimeToEvent("paid", within="soon"), "within is 'soon'"),
        (lambda: ck.Guardrail(metrics.TimeToEvent("paid"), margin_pp=2), "give the metric within="),
        (lambda: ck.Guardrail(metrics.TimeToEvent("paid"), limit=0.2), "has no limit; use Conversion"),
        (lambda: waiting_times([1, -1], [True, False]), "observed holds -1; expected times of 0 or more"),
        (lambda: waiting_times([1], [True, False]), "expected one each"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_name(build, message):
    with pytest.raises(ck.CanarykitError, match=message):
        build()


def test_a_conversion_that_only_comes_later_is_told_apart_by_those_whose_time_is_over():
    """Everybody takes thirty times as long: concurrent shares differ for hours, whole ones do not."""
    slower = judge(
        release(Effect("delay", 30)), ck.Guardrail(metrics.Conversion("signup finished", within="12h"))
    )
    table = next(part for part in slower.sections if part.title == "other choices of people").table
    rows = {row["who"]: row for row in table.to_dicts()}
    whole, so_far = rows["people whose whole time is over"], rows["everybody compared"]
    assert whole["canary_people"] < so_far["canary_people"]
    assert whole["low"] < 0 < whole["high"]
    assert so_far["difference"] < whole["difference"]
