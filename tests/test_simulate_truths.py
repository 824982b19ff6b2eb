"""What went into a simulated log comes out of it again by the library's own readers."""

import numpy as np
import pytest

import canarykit as ck
from canarykit.bucketing import posthog_hash01
from canarykit.metrics import Average, ErrorShare
from canarykit.simulate import Effect, Fault, Step
from canarykit.times import duration
from tests.simulated import FLAG, VALUE, ramp, values


@pytest.fixture(scope="module")
def plan():
    return ramp()


@pytest.fixture(scope="module")
def truth():
    return ck.Scenario(effects=[Effect("paid", 0.6), Effect("errors", 3)], error_rate=0.04)


@pytest.fixture(scope="module")
def log(plan, truth):
    return ck.simulate_rollout(plan, ck.Population(8_000, anonymous=0.2), truth, rng=5)


def test_step_rates_are_recovered_from_the_log(plan, truth, log):
    start, end = plan.window("full release")[0], None
    ours = values(log, events=list(truth.step_names), since=plan.window("expanded beta 50%")[0], until=start)
    counts = ours.groupby([VALUE, "event"]).size().unstack()
    for variant, row in truth.truth().iterrows():
        for before, after in zip(truth.step_names, truth.step_names[1:], strict=False):
            n = counts.loc[variant, before]
            slack = 4 * np.sqrt(row[after] * (1 - row[after]) / n) + 5 / n  # some cross the stage's edge
            assert abs(counts.loc[variant, after] / n - row[after]) < slack
    assert end is None


def test_effects_are_recovered_by_the_library_own_funnel(plan):
    once = ck.Scenario(
        effects=[Effect("paid", 0.5)], steps=(Step("start", 1.0), Step("paid", 0.6, delay="1min")), pages=1
    )
    log = ck.simulate_rollout(ramp("4d"), ck.Population(6_000, sessions_per_week=1), once, rng=8)
    start, end = ramp("4d").window("expanded beta 50%")
    funnel = ck.funnel_by_flag(
        log, ["start", "paid"], flag=FLAG, within="10min", date_from=start, date_to=end
    )
    last = funnel.to_frame().query("step == 2").set_index("variant")["share"]
    for variant, expected in (("false", 0.6), ("true", 0.3)):
        assert expected - 0.06 < last[variant] < expected + 0.2  # who tries several times pays more often


def test_errors_are_recovered_and_only_the_canary_has_more(plan, log):
    since, until = plan.window("expanded beta 50%")
    views = values(log, events=["$feature_flag_called"], since=since, until=until)[VALUE].value_counts()
    errors = values(log, events=["$exception"], since=since, until=until)[VALUE].value_counts()
    for variant, rate in (("false", 0.04), ("true", 0.12)):
        assert abs(errors[variant] / views[variant] - rate) < 4 * np.sqrt(rate / views[variant])


@pytest.fixture(scope="module")
def by_organisation():
    return ck.RolloutPlan.five_stages(
        FLAG,
        owner="ada@acme.io",
        team_domain="acme.io",
        beta_groups={"company": ["blueriver"]},
        starts_at="2026-09-07T09:00:00Z",
        dwell="2d",
        aggregation_group_type="company",
        group_types=("company",),
    )


def simulate_organisations(plan, *effects, **options):
    people = ck.Population(8_000, organisations=0.9, largest_organisation=0.01, sessions_per_week=4)
    return ck.simulate_rollout(plan, people, ck.Scenario(effects, error_rate=0.05), rng=5, **options)


def test_an_organisation_gets_one_value_by_the_hash_of_its_key(by_organisation):
    log = simulate_organisations(by_organisation)
    exposed = ck.exposures(log, FLAG, plan=by_organisation)
    assert exposed.unit == "company"
    assert (exposed.by_stage["n_variants"] == 1).all()
    seen = exposed.by_stage.query("stage == 'expanded beta 25%'").set_index("group")["variant"]
    by_hash = posthog_hash01(seen.index.to_series(), prefix=f"{FLAG}.") <= 0.25
    assert ((seen == "true").to_numpy() == (by_hash | (seen.index == "blueriver"))).all()
    assert 0.15 < (seen == "true").mean() < 0.35
    alone = log.select(
        ["$feature_flag_response", "$group_0", "person.email"], events=["$feature_flag_called"]
    )
    alone = alone[alone["$group_0"].isna() & ~alone["person.email"].str.endswith("@acme.io")]
    full = by_organisation.window("full release")[0]
    assert len(alone) > 500
    assert set(alone["$feature_flag_response"]) == {"false"}
    everywhere = log.select(
        ["$feature_flag_response", "$group_0"], events=["$feature_flag_called"], since=full
    )
    assert set(everywhere.loc[everywhere["$group_0"].notna(), "$feature_flag_response"]) == {"true"}


def test_a_release_by_organisation_is_judged_by_organisation_with_its_truth(by_organisation, tmp_path):
    stage, end = "expanded beta 50%", by_organisation.window("expanded beta 50%")[1]
    errors = ck.Guardrail("$exception", critical=True)
    reports = [
        ck.evaluate_stage(log, by_organisation, stage, errors, as_of=end)
        for log in (
            simulate_organisations(by_organisation),
            simulate_organisations(by_organisation, Effect("errors", 6)),
            simulate_organisations(by_organisation, Effect("errors", 6), path=tmp_path),
        )
    ]
    healthy, harmed, on_disk = reports
    assert healthy.unit == "company groups"
    assert healthy.verdict is not ck.Verdict.ROLL_BACK
    assert harmed.verdict is ck.Verdict.ROLL_BACK
    assert on_disk.to_json().replace("duckdb", "pandas") == harmed.to_json()
    assert abs(healthy.n_canary / (healthy.n_canary + healthy.n_control) - 0.5) < 0.1
    assert all(report.check("sample ratio").status.value == "ok" for report in reports)


def test_people_are_only_simulated_in_groups_of_the_first_type(by_organisation):
    other = ck.RolloutPlan.five_stages(
        FLAG,
        owner="ada@acme.io",
        team_domain="acme.io",
        starts_at="2026-09-07T09:00:00Z",
        aggregation_group_type="project",
        group_types=("company", "project"),
    )
    with pytest.raises(ck.PlanError, match=r"assigns by project; .* the first group type, company"):
        ck.simulate_rollout(other, 100, rng=1)


def test_a_population_and_a_scenario_like_a_log_are_like_it(plan):
    people = ck.Population(
        4_000, sessions_per_week=3, activity_shape=1.5, browsers={"Chrome": 0.7, "Safari": 0.3}
    )
    scenario = ck.Scenario(error_rate=0.03, errors_per_hit=2.0, pages=2.0, amount=20.0)
    log = ck.simulate_rollout(plan, people, scenario, rng=3)
    alike = ck.Population.like(log)
    assert alike.n == 4_000
    assert alike.sessions_per_week == pytest.approx(3, rel=0.08)
    assert alike.activity_shape == pytest.approx(1.5, rel=0.3)
    assert alike.browsers["Safari"] == pytest.approx(0.3, abs=0.03)
    estimated = ck.Scenario.like(log, steps=scenario.step_names)
    for step, truth in zip(estimated.steps, scenario.steps, strict=True):
        assert step.rate == pytest.approx(truth.rate, rel=0.08)
    assert estimated.error_rate == pytest.approx(0.03, rel=0.15)
    assert estimated.errors_per_hit == pytest.approx(2, rel=0.15)
    assert estimated.amount == pytest.approx(20, rel=0.05)
    assert estimated.notes
    assert len(ck.simulate_rollout(plan, alike, estimated, rng=1, until="2026-09-10T00:00Z").frame)


def test_a_scenario_like_a_log_is_the_old_version_where_the_flag_is_named(plan):
    truth = ck.Scenario([Effect("paid", 0.5), Effect("errors", 3), Effect("delay", 2)], error_rate=0.03)
    log = ck.simulate_rollout(plan, ck.Population(6_000, sessions_per_week=4), truth, rng=3)
    alike = ck.Scenario.like(log, steps=truth.step_names, flag=FLAG)
    for step, before in zip(alike.steps, truth.steps, strict=True):
        assert step.rate == pytest.approx(before.rate, rel=0.05)
    for step, before in zip(alike.steps[1:], truth.steps[1:], strict=True):
        assert duration(step.delay) == pytest.approx(duration(before.delay), rel=0.08)
        assert step.spread == pytest.approx(before.spread, rel=0.05)
    assert alike.error_rate == pytest.approx(0.03, rel=0.1)
    assert alike.server_error_rate == pytest.approx(0.003, rel=0.2)
    assert alike.pages == pytest.approx(3, rel=0.05)
    assert "both versions" in alike.notes[0]


def test_truths_are_recovered_by_the_library_own_health_functions():
    plan, truth = (
        ramp(),
        ck.Scenario(
            [Effect("errors", 2), Effect("revenue", 0.8), Effect("load time", 1.5), Effect("delay", 2)]
        ),
    )
    people = ck.Population(10_000, sessions_per_week=4, enrolled=0)
    log = ck.simulate_rollout(plan, people, truth, rng=5)
    start, end = plan.window("expanded beta 50%")
    guardrails = [
        ck.Guardrail(ErrorShare(), critical=True, margin_ratio=1.25),
        ck.Guardrail(Average("paid", "amount"), worse="lower", margin_ratio=0.9),
        ck.Guardrail(Average("signup started", "load_ms"), margin_ratio=1.1),
    ]
    report = ck.evaluate_stage(log, plan, "expanded beta 50%", guardrails, as_of=end)
    effects = {check.name: check for check in report.checks if check.kind == "guardrail"}
    middle = {"mean amount": 49 * np.exp(0.5**2 / 2), "mean load_ms": 800 * np.exp(0.4**2 / 2)}
    expected = {"people with $exception": 2.0}
    expected |= {"mean amount": -0.2 * middle["mean amount"], "mean load_ms": 0.5 * middle["mean load_ms"]}
    assert set(effects) == set(expected)
    for name, value in expected.items():
        assert effects[name].effect_low < value < effects[name].effect_high, name
    assert report.check("sample ratio").effect == pytest.approx(0.5, abs=0.02)
    funnel = ck.funnel_by_flag(log, truth.step_names, flag=FLAG, within="6h", date_from=start, date_to=end)
    waits = funnel.to_frame().query("step == 2").set_index("variant")["median_seconds"]
    assert waits["true"] / waits["false"] == pytest.approx(2, rel=0.15)


def test_people_who_flip_at_login_are_seen_with_both_variants(plan):
    people = ck.Population(6_000, anonymous=0.5, new_per_week=0.2, sessions_per_week=4)
    shares = []
    for faults in ((), (Fault("flip at login"),)):
        log = ck.simulate_rollout(plan, people, ck.Scenario(faults=faults), rng=5)
        exposed = ck.exposures(log, FLAG, plan=plan).by_stage.query("stage == 'expanded beta 50%'")
        shares.append((exposed["n_variants"] > 1).mean())
    assert shares[0] == 0 < shares[1]
