"""Quantile guardrails: latency that people have many values of, watched at every look."""

import json

import duckdb
import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit import metrics
from canarykit.simulate import Effect
from canarykit.stats.any_look.sequential import mixture_log_e
from canarykit.stats.any_look.two_arm_quantiles import ArmValues, log_e_above, quantile_curves

PLAN = ck.RolloutPlan(
    "new-checkout", (ck.Stage.for_share("half", 50, dwell="2d"),), starts_at="2026-09-07T09:00:00Z"
)
P95 = metrics.Quantile("signup started", "load_ms")
MEDIAN = metrics.Quantile("signup started", "load_ms", q=0.5)


def release(slower=1.0, people=3000):
    effects = (Effect("load time", slower),) if slower != 1 else ()
    return ck.simulate_rollout(
        PLAN, ck.Population(people), ck.Scenario(effects=effects), rng=7, progress=False
    )


def judge(log, *guardrails):
    return ck.evaluate_stage(
        log, PLAN, stage="half", guardrails=guardrails, looks="6h", as_of="2026-09-09T08:00:00Z"
    )


def arm(rng, people, *, median=1000.0, between=0.5, within=0.5, each=4, n_looks=12, p=0.5, rounded=None):
    """Lognormal values, `median` at quantile `p`, of people who came in one after the other."""
    look = np.sort(rng.integers(0, n_looks, people))
    person = np.repeat(np.arange(people), 1 + rng.poisson(each - 1, people))
    centre = np.log(median) - {0.5: 0.0, 0.95: 1.6448536}[p] * np.hypot(between, within)
    noise = between * rng.normal(size=people)[person] + within * rng.normal(size=len(person))
    value = np.exp(centre + noise)
    return ArmValues(person, np.ceil(value / rounded) * rounded if rounded else value, look)


@pytest.fixture(scope="module")
def harmless():
    return release()


def test_a_slower_canary_is_rolled_back_and_a_harmless_one_promoted(harmless):
    guardrails = [ck.Guardrail(P95, margin_ratio=1.4), ck.Guardrail(MEDIAN, margin=250)]
    assert judge(harmless, *guardrails).verdict is ck.Verdict.PROMOTE
    slow = judge(release(1.6), *guardrails)
    assert slow.verdict is ck.Verdict.ROLL_BACK
    for check in slow.checks[-2:]:
        assert check.status.value == "harm"
        assert 0 < check.effect_low < check.effect < check.effect_high


def test_the_line_shows_both_arms_quantiles_and_the_margin_in_the_propertys_unit(harmless):
    check = judge(harmless, ck.Guardrail(P95, margin_ratio=1.5)).check("95 % quantile of load_ms")
    events = harmless.frame[harmless.frame["event"] == "signup started"]
    assert check.effect == pytest.approx(check.canary.value - check.control.value)
    assert check.margin == pytest.approx(0.5 * check.control.value)
    assert check.control.value == pytest.approx(events["load_ms"].quantile(0.95), rel=0.15)
    assert check.control.low < check.control.value < check.control.high
    assert check.effect_low < 0 < check.effect_high < check.margin
    assert "clustered by person" in check.method


def test_where_lower_is_worse_the_answer_is_that_of_the_arms_changed_over(harmless):
    flipped = harmless.frame.assign(load_ms=1e6 / harmless.frame["load_ms"])
    upside_down = ck.EventLog(flipped, persons=harmless.persons)
    plain = judge(harmless, ck.Guardrail(MEDIAN, margin_ratio=1.25)).check("50 % quantile of load_ms")
    inverse = judge(upside_down, ck.Guardrail(MEDIAN, worse="lower", margin_ratio=0.8)).check(
        "50 % quantile of load_ms"
    )
    assert inverse.evidence == pytest.approx(plain.evidence, rel=0.2)
    assert inverse.status is plain.status
    ratio = 1 + plain.effect_high / plain.control.value
    assert 1 + inverse.effect_low / inverse.control.value == pytest.approx(1 / ratio, rel=0.02)


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
    here, there = (judge(one, ck.Guardrail(P95, margin_ratio=1.25)).checks[-1] for one in (harmless, log))
    for field in ("evidence", "effect", "effect_low", "effect_high", "margin"):
        assert getattr(there, field) == getattr(here, field)
    assert there.canary == here.canary


def test_a_quantile_survives_its_plain_form_and_knows_that_slower_is_worse():
    guardrail = ck.Guardrail(metrics.Quantile("$web_vitals", "$web_vitals_LCP_value", q=0.9), margin=200)
    assert guardrail.worse == "higher"
    assert ck.Guardrail.from_dict(json.loads(json.dumps(guardrail.to_dict()))) == guardrail
    with pytest.raises(ck.PlanError, match="q of a quantile metric is 95; expected between 0 and 1"):
        metrics.Quantile("$web_vitals", "$web_vitals_LCP_value", q=95)


def test_values_that_are_no_number_are_left_out_and_counted(harmless):
    frame = harmless.frame.assign(load_ms=harmless.frame["load_ms"].astype(object))
    rows = frame.index[frame["event"] == "signup started"][::3]
    frame.loc[rows, "load_ms"] = "n/a"
    report = judge(ck.EventLog(frame, persons=harmless.persons), ck.Guardrail(P95, margin_ratio=1.5))
    assert any("no number" in note.text and note.count for note in report.notes)


def test_a_stage_without_a_control_compares_the_quantile_with_its_limit():
    team = ck.RolloutPlan.five_stages(
        "new-checkout", owner="ada@acme.io", team_domain="acme.io", starts_at="2026-09-07T09:00:00Z"
    )
    log = ck.simulate_rollout(team, ck.Population(2000, team=60), rng=7, progress=False)
    guardrail = ck.Guardrail(MEDIAN, limit=100)
    report = ck.evaluate_stage(
        log, team, stage="internal team", guardrails=guardrail, as_of=team.window("internal team")[1]
    )
    check = report.check("50 % quantile of load_ms")
    assert check.canary.value > 300
    assert "Beyond the limit of 100" in check.meaning


def test_the_evidence_at_a_point_is_the_mixture_over_people():
    rng = np.random.default_rng(3)
    one, other = arm(rng, 300), arm(rng, 300)
    curve = quantile_curves(one, other, 0.5, n_looks=12, gate=6)[0]
    row, look = len(curve.points) // 2, 9
    per_person = pd.Series(one.value > curve.points[row]).groupby(one.person).agg(["sum", "count"])
    steps = (per_person["sum"] - 0.5 * per_person["count"])[one.look[per_person.index] <= look]
    z = steps.sum() / np.sqrt((steps**2).sum())
    gate = per_person["count"][one.look[per_person.index] <= 6].sum()
    k = 6.3 * per_person["count"][one.look[per_person.index] <= look].sum() / gate
    assert curve.lies_above[row, look] == pytest.approx(float(mixture_log_e(z, k, "one")), abs=0.05)


def test_the_grid_never_claims_more_than_every_single_point():
    rng = np.random.default_rng(4)
    one, other = arm(rng, 200, median=1150.0, rounded=20), arm(rng, 200, rounded=20)
    curves = quantile_curves(one, other, 0.5, n_looks=12, gate=6)
    coarse = log_e_above(*curves, lambda point: point)[-1]
    exact = []
    for point in np.unique(np.concatenate([one.value, other.value])):
        total = 0.0
        for arm_, beyond, sign in ((one, one.value > point, 1), (other, other.value >= point, -1)):
            both = pd.Series(beyond).groupby(arm_.person).agg(["sum", "count"])
            steps = both["sum"] - 0.5 * both["count"]
            n = both["count"].sum()
            k = 6.3 * n / both["count"][arm_.look[both.index] <= 6].sum()
            total += float(mixture_log_e(sign * steps.sum() / np.sqrt((steps**2).sum()), k, "one"))
        exact.append(total)
    assert min(exact) - 1.5 < coarse <= min(exact) + 0.1


def test_recording_every_value_ten_times_proves_nothing_more():
    rng = np.random.default_rng(5)
    one, other = arm(rng, 400, median=1200.0, within=0.01), arm(rng, 400, within=0.01)
    often = [ArmValues(np.repeat(a.person, 10), np.repeat(a.value, 10), a.look) for a in (one, other)]
    once = log_e_above(*quantile_curves(one, other, 0.5, n_looks=12, gate=6), lambda point: point)
    tenfold = log_e_above(*quantile_curves(*often, 0.5, n_looks=12, gate=6), lambda point: point)
    assert tenfold[-1] == pytest.approx(once[-1], abs=0.5)


def test_few_people_say_nothing():
    rng = np.random.default_rng(6)
    curves = quantile_curves(arm(rng, 20), arm(rng, 400), 0.5, n_looks=12, gate=6)
    assert np.isnan(log_e_above(*curves, lambda point: point)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "one, other",
    [
        ({"between": 0.9, "within": 0.1}, {"between": 0.9, "within": 0.1}),
        ({"between": 0.3, "within": 1.2}, {"between": 0.3, "within": 0.3}),
        ({"each": 9}, {"each": 2}),
        ({"rounded": 250}, {"rounded": 250}),
    ],
    ids=["alike within people", "other shapes", "other numbers of values", "rounded"],
)
@pytest.mark.parametrize("p", [0.5, 0.95])
def test_equal_quantiles_seldom_look_worse_at_any_look(one, other, p):
    rng, alarms, runs = np.random.default_rng(8), 0, 150
    for _ in range(runs):
        arms = arm(rng, 150, p=p, **one), arm(rng, 600, p=p, **other)
        log_e = log_e_above(*quantile_curves(*arms, p, n_looks=12, gate=6), lambda point: point)
        alarms += bool(np.nanmax(np.append(log_e, -9)) >= np.log(20))
    assert alarms / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


def test_the_planner_and_the_simulator_know_quantiles():
    guardrail = ck.Guardrail(P95, margin_ratio=1.25)
    once = ck.sample_size(guardrail, rate=1800, sd=0.5).n_canary
    assert once == pytest.approx(2 * (1.6449 + 0.8416) ** 2 * 0.0475 / 0.10314**2 * 0.25 / 0.0625, rel=0.02)
    decisions = ck.simulate_decisions(PLAN, ck.Scenario(), guardrail, 100, traffic=100, rng=7, progress=False)
    assert decisions.to_frame() is not None
    with pytest.raises(ck.PlanError, match="natural logarithm"):
        ck.sample_size(guardrail, rate=1800)


def test_moments_of_a_quantile_are_refused_with_what_to_do_instead(harmless):
    exposed = ck.exposures(harmless, "new-checkout", plan=PLAN)
    with pytest.raises(ck.PlanError, match="a quantile does not follow from sums"):
        metrics.reduce(harmless, P95, exposed, PLAN, interval="1d")
