"""Simulated decisions keep the promises of the decision table, and are those of `evaluate_stage` itself."""

import math
from dataclasses import replace

import numpy as np
import pytest

import canarykit as ck
from canarykit.health.decision import Evidence, Row, Rules, decide, first_decision
from canarykit.health.evidence.event_evidence import event_mixtures
from canarykit.metrics import Average, Conversion, ErrorShare, Ratio, Retention, Total
from canarykit.simulate import Effect, Fault
from canarykit.simulate.decisions.schedule import schedule
from canarykit.simulate.decisions.stage_rates import stage_rates
from canarykit.simulate.decisions.stage_runs import Drawn, Judge, draw_stage
from canarykit.simulate.decisions.truth import truth_of
from canarykit.simulate.log.streams import Streams, as_seed
from canarykit.stats.one_look.srm import sequential_srm_tilt

RUNS = 400


@pytest.fixture(scope="module")
def plan():
    return ck.RolloutPlan.five_stages(
        "new-checkout",
        owner="ada@acme.io",
        team_domain="acme.io",
        ramp=(5, 25, 50),
        starts_at="2026-09-07T09:00:00Z",
        dwell="2d",
    )


def errors(ratio, **options):
    return ck.Scenario(effects=[Effect("errors", ratio, **options)], error_rate=0.01)


def allowed(rate, runs=RUNS):
    return rate + 3 * math.sqrt(rate * (1 - rate) / runs)


@pytest.mark.parametrize("looks, control", [("hourly", "rest"), ("hourly", "equal"), ("5h", "rest")])
def test_a_healthy_release_is_rarely_rolled_back_however_often_one_looks(plan, looks, control):
    decisions = ck.simulate_decisions(
        plan, errors(1), n_runs=RUNS, traffic=2000, looks=looks, control=control, on_hold="go on", rng=2
    )
    each = decisions.runs_of().verdicts == 2
    assert not decisions.harmful
    assert decisions.false_promotion() is None
    assert (
        decisions.false_rollback().low
        <= decisions.false_rollback().value
        == decisions.probability("roll back")
    )
    for stage in range(3):
        assert each[:, stage].mean() <= allowed(0.05)


def test_a_release_at_the_margin_is_rarely_promoted(plan):
    guardrail = ck.Guardrail(ErrorShare(), margin_ratio=1.25)
    decisions = ck.simulate_decisions(plan, errors(1.25), guardrail, RUNS, traffic=4000, rng=2)
    assert decisions.beyond_margin
    assert decisions.false_rollback() is None
    assert decisions.false_promotion().value == decisions.probability("promote") <= allowed(0.05)
    shipped = ck.simulate_decisions(
        plan, errors(1.25), guardrail, RUNS, traffic=4000, rng=2, rules="growthbook", looks="daily"
    )
    assert shipped.rules == ("growthbook",)


def test_worse_releases_are_caught_more_surely_sooner_and_with_fewer_people(plan):
    by_ratio = [ck.simulate_decisions(plan, errors(r), n_runs=200, traffic=2000, rng=2) for r in (1.5, 2, 5)]
    chances = [one.probability("roll back") for one in by_ratio]
    assert chances == sorted(chances)
    assert chances[-1] > 0.99
    hours = [one.hours_to("roll back") for one in by_ratio]
    assert hours == sorted(hours, reverse=True)
    people = [one.people() for one in by_ratio]
    assert people == sorted(people, reverse=True)


def test_lost_payments_are_caught_like_errors_with_the_arms_swapped(plan):
    guardrail = ck.Guardrail(Conversion("paid"), worse="lower", margin_ratio=0.9)
    lost, kept = (
        ck.simulate_decisions(
            plan, ck.Scenario(effects=[Effect("paid", ratio)]), guardrail, 200, traffic=4000, rng=3
        )
        for ratio in (0.7, 1.0)
    )
    assert lost.probability("roll back") > 0.95
    assert lost.extra_events() > 0
    assert kept.probability("roll back") <= allowed(0.15, 200)
    assert kept.probability("promote") > 0.5


def test_means_are_judged_too(plan):
    guardrail = ck.Guardrail(Average("signup started", "load_ms"), margin_ratio=1.1)
    slow, same = (
        ck.simulate_decisions(
            plan, ck.Scenario(effects=[Effect("load time", ratio)]), guardrail, 200, traffic=500, rng=3
        )
        for ratio in (1.3, 1.0)
    )
    assert slow.probability("roll back") > 0.95
    assert same.probability("promote") > 0.8


def test_totals_per_person_and_shares_with_a_rate_of_their_own_are_simulated(plan):
    revenue = ck.Guardrail(Total("paid", "amount"), worse="lower", margin_ratio=0.8)
    truth = truth_of(revenue, ck.Scenario())
    draw = np.random.default_rng(1)
    scenario = ck.Scenario()
    pays = draw.random(400_000) < np.prod([step.rate for step in scenario.steps])
    amount = np.where(pays, draw.lognormal(math.log(scenario.amount), scenario.amount_spread, len(pays)), 0.0)
    assert truth.base == pytest.approx(amount.mean(), rel=0.01)
    assert truth.spread == pytest.approx(amount.std(), rel=0.01)
    lost = ck.Scenario(effects=[Effect("paid", 0.6)])
    decisions = ck.simulate_decisions(plan, lost, revenue, 100, traffic=4000, rng=3)
    assert decisions.probability("roll back") > 0.9
    back = ck.Guardrail(Retention(7), worse="lower", margin_ratio=0.9)
    with pytest.raises(ck.PlanError, match="cannot be simulated from rates"):
        truth_of(back, scenario)
    kept = ck.simulate_decisions(plan, None, back, 100, traffic=2000, rng=3, rates={back.label: 0.4})
    assert kept.probability("promote") > 0.8
    with pytest.raises(ck.PlanError, match="cannot be simulated from rates"):
        truth_of(ck.Guardrail(Ratio(Total("paid", "amount"), Total("paid"))), scenario)


def test_scenarios_and_rules_share_their_luck_and_more_runs_extend_fewer(plan):
    alone = ck.simulate_decisions(plan, errors(1.5), n_runs=150, traffic=800, rng=5)
    beside = ck.simulate_decisions(
        plan, errors(1.5), n_runs=700, traffic=800, rng=5, rules=("growthbook", "canarykit"), workers=2
    )
    few, many = alone.runs_of(), beside.runs_of("canarykit")
    for name in ("verdicts", "hours", "people", "extra"):
        assert (getattr(few, name) == getattr(many, name)[:150]).all()
    healthy = ck.simulate_decisions(plan, errors(1.0), n_runs=150, traffic=800, rng=5).runs_of()
    both = (few.verdicts[:, 0] == 1) & (healthy.verdicts[:, 0] == 1)  # ran the whole first stage
    assert both.sum() > 10
    assert (few.people[both, 0] == healthy.people[both, 0]).all()


def test_the_compiled_form_decides_as_the_plain_one(plan, monkeypatch):
    from canarykit.simulate.decisions import simulate

    answers = []
    for threshold in (0, 10**12):
        monkeypatch.setattr(simulate, "COMPILED_FROM", threshold)
        answers.append(ck.simulate_decisions(plan, errors(1.4), n_runs=60, traffic=600, rng=9))
    assert (answers[0].runs_of().verdicts == answers[1].runs_of().verdicts).all()
    assert (answers[0].runs_of().hours == answers[1].runs_of().hours).all()


def test_the_compiled_form_holds_where_the_plain_one_does_when_people_are_lost(plan):
    guardrail = ck.Guardrail(ErrorShare(), margin_ratio=1.25)
    truth = truth_of(guardrail, errors(1.6))
    looks = schedule(plan, traffic=3000)
    stage = stage_rates(looks, [truth], errors(1.6), ck.Population(1), ("false", "true"))[1]
    drawn = draw_stage(stage, [truth], Streams(as_seed(4), 0, 1), 300)
    meant = replace(stage, looks=replace(stage.looks, share=0.254, control_share=0.746))
    plain, compiled = (
        Judge([truth], (1.0,), Rules(), None, srm=True, sharing=1, compiled=compiled).rows(
            "canarykit", drawn, meant, Drawn.before(300, 1), []
        )
        for compiled in (False, True)
    )
    assert (plain == compiled).all()
    assert {Row.NOT_VALID_YET, Row.INVALID, Row.GO_ON, Row.HARM} <= set(plain.ravel().tolist())


def standing(harmed, now):
    """Safety once shown stays shown, unless as much speaks against it since, or harm is shown."""
    stands = []
    for look, value in enumerate(now):
        best = max(now[: look + 1])
        kept = value if harmed[look] else best
        stands.append(min(value, 0.0) if best - value > math.log(100) else kept)
    return np.array(stands)


def test_one_run_is_decided_as_evaluate_stage_would_decide_it(plan):
    """The same counts through the plain e-process and the decision table, written out look by look."""
    guardrail = ck.Guardrail(ErrorShare(), margin_ratio=1.25)
    truth = truth_of(guardrail, errors(1.6))
    looks = schedule(plan, traffic=3000)
    stage = stage_rates(looks, [truth], errors(1.6), ck.Population(1), ("false", "true"))[1]
    drawn = draw_stage(stage, [truth], Streams(as_seed(4), 0, 1), 30)
    judge = Judge([truth], (1.0,), Rules(), None, srm=True, sharing=1, compiled=False)
    rows = judge.rows("canarykit", drawn, stage, Drawn.before(30, 1), [])
    harm, safe = event_mixtures(1.25)
    for run in range(30):
        x, y = drawn.events_canary[0][run], drawn.events_control[0][run]
        counts = np.stack([drawn.canary[run], drawn.control[run]], axis=-1)
        against = np.maximum.accumulate(harm.log_e(x, x + y, 0.25, 0.75))
        evidence = Evidence(
            units_canary=np.cumsum(drawn.canary[run]),
            units_control=np.cumsum(drawn.control[run]),
            harm_log_e=against[None],
            safe_log_e=standing(against >= math.log(20), safe.log_e(x, x + y, 0.25, 0.75))[None],
            srm_log_e=np.maximum.accumulate(sequential_srm_tilt(counts, [0.25, 0.75]).log_e),
            in_grace=True,
            dwell_met=np.arange(48) == 47,
        )
        assert (decide(evidence) == rows[run]).all()
    assert Row.HARM in first_decision(rows)[0]


def test_simulated_counts_have_the_rates_that_were_put_in(plan):
    decisions = ck.simulate_decisions(
        plan,
        errors(3, stage="expanded beta 25%"),
        n_runs=300,
        traffic=1000,
        rng=6,
        on_hold="go on",
        rules="statsig",
    )
    people = decisions.runs_of().people
    whole = np.isin(decisions.runs_of().verdicts, [0, 1])
    for place, share in enumerate((0.05, 0.25, 0.5)):
        expected = 1000 * 48 * share
        if whole[:, place].sum() > 20:
            assert people[whole[:, place], place].mean() == pytest.approx(expected, rel=0.02)
    assert decisions.runs_of().extra[:, 0].max() == 0
    assert decisions.runs_of().extra[:, 1].max() > 0


def test_a_harm_budget_widens_the_early_gates(plan):
    guardrail = ck.Guardrail(ErrorShare(), margin_ratio=1.25)
    options = {"traffic": 2000, "rng": 3, "min_dwell": "4h", "cap": "4d"}
    strict, wide = (
        ck.simulate_decisions(plan, errors(1), guardrail, 150, harm_budget=budget, **options)
        for budget in (None, 60)
    )
    assert wide.probability("promote") > strict.probability("promote")
    assert wide.to_frame()["hours"].iloc[0] < strict.to_frame()["hours"].iloc[0]


@pytest.mark.parametrize("sharing, whole, own", [(1, 0.5, 0.5), (3, 0.8, 0.1)])
def test_harm_in_earlier_stages_counts_as_if_their_looks_stood_before(plan, sharing, whole, own):
    """One column a stage that was passed, against every look of it written out; safety is the stage's own."""
    guardrail = ck.Guardrail(ErrorShare(), margin_ratio=1.25)
    truth = truth_of(guardrail, errors(1.3))
    table = stage_rates(
        schedule(plan, traffic=3000), [truth], errors(1.3), ck.Population(1), ("false", "true")
    )
    first, second = (
        draw_stage(stage, [truth], Streams(as_seed(4), 0, place), 40) for place, stage in enumerate(table[:2])
    )
    last = np.random.default_rng(4).integers(5, 48, 40)
    judge = Judge([truth], (1.0,), Rules(), None, srm=False, sharing=sharing, compiled=False)
    carried = judge.rows("canarykit", second, table[1], first.total(last), [table[0]])
    harm, safe = event_mixtures(1.25)
    for run in range(40):
        seen = slice(None, last[run] + 1)
        before, ours = first.events_canary[0][run, seen], second.events_canary[0][run]
        others, theirs = first.events_control[0][run, seen], second.events_control[0][run]
        x, y = np.concatenate([before, ours]), np.concatenate([others, theirs])
        share = np.repeat([0.05, 0.25], [last[run] + 1, 48])
        over = harm.log_e(x, x + y, share, 1 - share)[-48:] + math.log(whole)
        alone = harm.log_e(ours, ours + theirs, 0.25, 0.75) + math.log(own)
        against = np.maximum.accumulate(np.maximum(over, alone))
        fine = safe.log_e(ours, ours + theirs, 0.25, 0.75)
        evidence = Evidence(
            units_canary=np.cumsum(second.canary[run]),
            units_control=np.cumsum(second.control[run]),
            harm_log_e=against[None],
            safe_log_e=standing(against >= math.log(20), fine)[None],
            in_grace=True,
            dwell_met=np.arange(48) == 47,
        )
        assert (decide(evidence) == carried[run]).all()


def test_harm_from_the_start_is_found_sooner_over_the_ramp_and_late_harm_almost_as_soon(plan):
    guardrail = ck.Guardrail(ErrorShare(), margin_ratio=1.25)

    def hours(ratio, evidence, **when):
        decisions = ck.simulate_decisions(
            plan,
            errors(ratio, **when),
            guardrail,
            400,
            traffic=2000,
            rng=3,
            on_hold="go on",
            evidence=evidence,
        )
        runs = decisions.runs_of()
        back = runs.verdicts == 2
        return np.median(np.where(back.any(axis=1), runs.total_hours, np.inf)), back.any(axis=1).mean()

    alone, carried = hours(1.3, "stage"), hours(1.3, "ramp")
    assert carried[0] < alone[0]
    late = {"stage": "expanded beta 50%"}
    alone, carried = hours(2, "stage", **late), hours(2, "ramp", **late)
    assert carried[0] - 96 <= 1.5 * (alone[0] - 96) + 1
    assert carried[1] > 0.9 * alone[1]


def test_safety_is_proven_in_each_stage_and_not_by_the_good_data_of_earlier_ones(plan):
    """Two good stages, then a third at the margin: promoted by it no more often than promised."""
    guardrail = ck.Guardrail(ErrorShare(), margin_ratio=1.25)
    late = errors(1.25, stage="expanded beta 50%")
    decisions = ck.simulate_decisions(
        plan, late, guardrail, 400, traffic=6000, rng=3, min_dwell="12h", cap="6d"
    )
    verdicts = decisions.runs_of().verdicts
    reached = verdicts[:, 2] >= 0
    assert reached.sum() > 200
    assert (verdicts[reached, 2] == 0).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / reached.sum())


def test_threads_and_processes_give_the_same_answer(plan):
    options = {"n_runs": 1100, "traffic": 300, "rng": 8, "looks": "daily"}
    alone = ck.simulate_decisions(plan, errors(2), **options)
    assert ck.simulate_decisions(plan, errors(2), workers=2, **options) == alone
    assert ck.simulate_decisions(plan, errors(2), workers=2, processes=True, **options) == alone


def test_a_margin_of_more_points_than_there_are_tolerates_any_loss(plan):
    generous = ck.Guardrail(Conversion("paid"), worse="lower", margin_pp=50)
    decisions = ck.simulate_decisions(plan, ck.Scenario(), generous, 50, traffic=4000, rng=3)
    assert not decisions.beyond_margin
    assert (
        decisions.probability("roll back") == 0.0
    )  # harm may be shown by chance, but all of it is tolerated
    assert decisions.probability("promote") > 0.8
    assert ck.sample_size(generous, rate=0.15).n < 200


def test_the_gates_of_a_harm_budget_follow_from_the_people_of_the_next_stage():
    """20 people of 2,000 an hour with 1 % of errors, four hours in the next stage at least."""
    stages = [replace(ck.Stage.for_share(f"{share} %", share), dwell="24h") for share in (1, 5, 10, 25, 50)]
    ramp = ck.RolloutPlan("f", (*stages, ck.Stage.for_everyone("all")), starts_at="2026-09-07T00:00:00Z")
    looks = schedule(ramp, traffic=2000, min_dwell="4h", cap="12d", control="equal")
    truth = truth_of(ck.Guardrail(ErrorShare(), margin_ratio=1.25), errors(1))
    table = stage_rates(looks, [truth], errors(1), ck.Population(1), ("false", "true"), harm_budget=20)
    assert [stage.margins[0] for stage in table] == pytest.approx([6.0, 3.5, 2.0, 1.5, 1.25])


def test_results_read_the_same_in_every_view(plan):
    decisions = ck.simulate_decisions(
        plan, errors(2), n_runs=100, traffic=500, rng=1, rules=("canarykit", "growthbook")
    )
    assert len(decisions.to_frame()) == 6
    assert "rolled back in" in repr(decisions)
    assert decisions.to_dict()["summary"][0]["rule"] == "canarykit"
    summary = decisions.summary()
    assert summary[["promote", "hold", "roll_back"]].sum(axis=1).tolist() == pytest.approx([1, 1])
    assert (summary["people_low"] < summary["people"]).all()
    assert (summary["extra_events"] < summary["extra_events_high"]).all()
    again = ck.simulate_decisions(
        plan, errors(2), n_runs=100, traffic=500, rng=1, rules=("canarykit", "growthbook")
    )
    assert decisions == again


def test_pictures_of_decisions_are_drawn(plan):
    import matplotlib

    matplotlib.use("Agg")
    from canarykit.plots.simulate import plot_detection, plot_stage_power

    by_ratio = {r: ck.simulate_decisions(plan, errors(r), n_runs=60, traffic=500, rng=1) for r in (1, 3)}
    assert "rollouts" in by_ratio[1].plot().get_ylabel()
    assert "rolled back" in plot_detection(by_ratio).get_ylabel()
    assert "hours" in plot_detection(by_ratio, delay=True).get_ylabel()
    assert len(plot_stage_power(by_ratio).get_xticks()) == 3
    matplotlib.pyplot.close("all")


def test_mistakes_are_answered_with_what_there_is(plan):
    with pytest.raises(ck.PlanError, match=r"no rule 'growthbok'.*Did you mean 'growthbook'"):
        ck.simulate_decisions(plan, traffic=10, rules="growthbok")
    with pytest.raises(ck.PlanError, match="people an hour"):
        ck.simulate_decisions(plan, traffic=0)
    with pytest.raises(ck.PlanError, match=r"no step 'payed'.*Did you mean 'paid'"):
        ck.simulate_decisions(plan, None, ck.Guardrail(Conversion("payed"), worse="lower"), traffic=10)
    with pytest.raises(ck.PlanError, match=r"variant 'ture'.*Did you mean 'true'"):
        ck.simulate_decisions(plan, errors(2, variant="ture"), traffic=10)
    with pytest.raises(ck.PlanError, match="expected between 0 and 1"):
        ck.simulate_decisions(plan, errors(500), traffic=10)
    full = replace(plan, stages=(plan.stages[0], plan.stages[-1]))
    with pytest.raises(ck.PlanError, match="nothing is randomised"):
        ck.simulate_decisions(full, traffic=10)
    with pytest.raises(ck.PlanError, match="expected 'stage' or 'ramp'"):
        ck.simulate_decisions(plan, traffic=10, evidence="whole")


def test_a_rate_that_belongs_to_no_guardrail_is_refused_with_the_labels():
    plan = ck.RolloutPlan("f", (ck.Stage.for_share("half", 50),), starts_at="2026-09-07T09:00:00Z")
    with pytest.raises(ck.PlanError, match=r"rates has '\$exception', .*people with \$exception"):
        ck.simulate_decisions(
            plan, None, ck.Guardrail("$exception"), 1, traffic=9, rates={"$exception": 0.05}
        )


def test_what_simulated_counts_do_not_have_is_said():
    plan = ck.RolloutPlan(
        "f", (ck.Stage.for_share("half", 50, dwell="1d"),), starts_at="2026-09-07T09:00:00Z"
    )
    scenario = ck.Scenario(
        effects=[Effect("errors", 2, fades_after=3), Effect("sessions", 0.9)],
        faults=[Fault("late data", variant="true")],
    )
    decisions = ck.simulate_decisions(plan, scenario, n_runs=10, traffic=50, rng=1, progress=False)
    assert [(note.code, note.count) for note in decisions.notes] == [("at_full_size", 1), ("no_faults", 1)]
    assert ck.simulate_decisions(plan, n_runs=10, traffic=50, rng=1, progress=False).notes == ()
