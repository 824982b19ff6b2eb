"""What is planned comes true: simulated decisions and planned power against the path that judges people."""

import math

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.health.decision import Evidence, Row, Rules, Verdict, decide, first_decision
from canarykit.health.evidence.event_evidence import event_mixtures
from canarykit.health.evidence.over_ramp import rules_in_scope
from canarykit.metrics import Conversion, ErrorShare, Total
from canarykit.metrics.risk import risk_sets
from canarykit.simulate import Effect, Fault, Step
from canarykit.simulate.decisions import stage_runs
from canarykit.simulate.decisions.delayed import events_by_look
from canarykit.simulate.decisions.schedule import schedule
from canarykit.simulate.decisions.stage_rates import stage_rates
from canarykit.simulate.decisions.truth import truth_of
from canarykit.stats.one_look.srm import sequential_srm_tilt

HOUR = 3_600_000_000
START = pd.Timestamp("2026-09-07T09:00:00Z")
ERRORS = ck.Guardrail(ErrorShare(), margin_ratio=1.25)
PAID = ck.Guardrail(Conversion("paid"), worse="lower", margin_ratio=0.95)
HOURS = 48


def plan_of(share, hours=HOURS):
    stage = ck.Stage.for_share("half", share * 100, dwell=f"{hours}h")
    return ck.RolloutPlan("new-checkout", (stage,), starts_at=START)


def people(rng, base, ratio, share, per_hour):
    """When people come in, whether they have the canary, and when the event happens to them (-1: never)."""
    n = rng.poisson(per_hour * HOURS)
    enter = np.sort((rng.random(n) * HOURS * HOUR).astype(np.int64))
    canary = rng.random(n) < share
    did = rng.random(n) < np.where(canary, base * ratio, base)
    first = np.where(did, enter + 1 + (rng.exponential(0.05, n) * HOUR).astype(np.int64), -1)
    return enter, canary, np.where(first < HOURS * HOUR, first, -1)


def rows_of(guardrail, enter, canary, first, share, dwell=24):
    """Rows of the decision table at every hour, from the people one by one."""
    lower = guardrail.worse == "lower"
    tolerated = guardrail.tolerated_ratio
    sign = -1 if lower else 1
    harm, safe = event_mixtures(tolerated**sign, guardrail.roll_back_beyond(tolerated) ** sign)
    leave = np.full(len(enter), HOURS * HOUR)
    sets = risk_sets(enter, leave, first, canary, origin=0, step=HOUR, n_intervals=HOURS)
    sets = sets.swapped() if lower else sets
    harmed = np.maximum.accumulate(harm.log_e(*sets.counts(harm.null_ratio)))
    present = safe.log_e(*sets.counts(safe.null_ratio))
    best = np.maximum.accumulate(present)
    within = np.where(harmed >= math.log(20), present, best)
    within = np.where(best - present > math.log(100), np.minimum(present, 0.0), within)
    ours, theirs = (np.bincount(enter[arm] // HOUR, minlength=HOURS) for arm in (canary, ~canary))
    ratio = sequential_srm_tilt(np.stack([ours, theirs], axis=-1), [share, 1 - share]).log_e
    evidence = Evidence(
        units_canary=np.cumsum(ours),
        units_control=np.cumsum(theirs),
        harm_log_e=harmed[None],
        safe_log_e=within[None],
        srm_log_e=np.maximum.accumulate(ratio),
        dwell_met=np.arange(1, HOURS + 1) >= dwell,
    )
    return decide(evidence, Rules())


def truth(guardrail, base, ratio):
    if guardrail is PAID:
        return ck.Scenario(steps=[Step("paid", base)], effects=[Effect("paid", ratio)])
    return ck.Scenario(error_rate=base, effects=[Effect("errors", ratio)])


@pytest.mark.parametrize("ratio", [1.0, 0.8])
def test_the_rows_written_out_here_are_those_of_evaluate_stage(ratio):
    enter, canary, first = people(np.random.default_rng(3), 0.6, ratio, 0.5, 40)
    names = np.array([f"user-{i}" for i in range(len(enter))])
    arms = np.where(canary, "true", "false")
    paid = first >= 0
    events = pd.DataFrame(
        {
            "event": ["$feature_flag_called"] * len(enter) + ["paid"] * int(paid.sum()),
            "distinct_id": np.concatenate([names, names[paid]]),
            "timestamp": START + pd.to_timedelta(np.concatenate([enter, first[paid]]), unit="us"),
            "$feature_flag": "new-checkout",
            "$feature_flag_response": np.concatenate([arms, arms[paid]]),
        }
    )
    as_of = START + pd.Timedelta(hours=HOURS)
    report = ck.evaluate_stage(ck.EventLog(events), plan_of(0.5), "half", PAID, as_of=as_of, segments=())
    mine = rows_of(PAID, enter, canary, first, 0.5)
    theirs = report.series.rows
    early = np.cumsum(np.bincount(enter // HOUR, minlength=HOURS)) < 100  # grace: another way to hold
    assert (mine[:-1][~early[:-1]] == theirs[:-1][~early[:-1]]).all()
    assert (report.verdict is Verdict.ROLL_BACK) == (ratio < 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "guardrail, base, ratio, share, per_hour",
    [
        (ERRORS, 0.02, 1.5, 0.5, 200),
        (PAID, 0.6, 1.0, 0.5, 100),
        (PAID, 0.6, 0.93, 0.5, 100),
        (PAID, 0.3, 0.85, 0.2, 100),
    ],
)
def test_simulated_decisions_fall_as_often_as_those_about_people(guardrail, base, ratio, share, per_hour):
    """Within three standard errors and 0.03: counts stand for people, and the newest cohort waits."""
    runs, rng, ends = 250, np.random.default_rng(11), []
    for _ in range(runs):
        row, look = first_decision(rows_of(guardrail, *people(rng, base, ratio, share, per_hour), share))
        verdict = Row(int(row)).verdict if look >= 0 else Verdict.HOLD
        ends.append(verdict.value)
    simulated = ck.simulate_decisions(
        plan_of(share),
        truth(guardrail, base, ratio),
        guardrail,
        2000,
        traffic=per_hour,
        min_dwell="24h",
        cap=f"{HOURS}h",
        rng=12,
    )
    for verdict in ("promote", "roll back"):
        expected = simulated.probability(verdict)
        error = math.sqrt(max(expected * (1 - expected), 1 / runs) * (1 / runs + 1 / 2000))
        assert ends.count(verdict) / runs == pytest.approx(expected, abs=3 * error + 0.03)


@pytest.mark.parametrize(
    "guardrail, base, ratio, goal, share, looks",
    [
        (ERRORS, 0.02, 1.0, "safe", 0.5, 14),
        (PAID, 0.3, 1.0, "safe", 0.5, 14),
        (PAID, 0.6, 1.0, "safe", 0.1, 14),
        (ERRORS, 0.02, 1.4, "harm", 0.5, 14),
        (PAID, 0.6, 0.93, "harm", 0.5, 14),
        (PAID, 0.6, 0.7, "harm", 0.5, 48),  # ten people a look, of whom five or six pay
        (PAID, 0.6, 0.5, "harm", 0.5, 14),
        (PAID, 0.9, 0.7, "harm", 0.5, 14),
        (ERRORS, 0.1, 3.0, "harm", 0.1, 48),
    ],
)
def test_the_people_planned_reach_the_power_planned_at_several_looks(
    guardrail, base, ratio, goal, share, looks
):
    runs = 1000
    answer = ck.sample_size(guardrail, rate=base, ratio=ratio, goal=goal, looks=looks, canary_share=share)
    decisions = ck.simulate_decisions(
        plan_of(share, looks),
        truth(guardrail, base, ratio),
        guardrail,
        runs,
        traffic=answer.n / looks,
        rng=5,
        srm=False,
    )
    reached = decisions.probability("promote" if goal == "safe" else "roll back")
    error = math.sqrt(0.8 * 0.2 / runs)
    assert 0.8 - 0.02 - 3 * error <= reached <= 0.8 + 3 * error + 0.04
    again = ck.power(
        guardrail, answer.n_canary, answer.n_control, rate=base, ratio=ratio, goal=goal, looks=looks
    )
    assert again.power == pytest.approx(0.8, abs=0.004)  # people are whole
    assert again.inflation == pytest.approx(answer.inflation, rel=0.02)


def test_safety_that_does_not_grow_has_no_number_of_people():
    with pytest.raises(ck.DataError, match="the truth is at the margin: no number of people"):
        ck.sample_size(ERRORS, rate=0.02, ratio=1.25, looks=14)
    with pytest.raises(ck.DataError, match=r"beyond the margin of 1\.25; no number of people"):
        ck.sample_size(ERRORS, rate=0.02, ratio=1.5, looks=14)


RAMP = ck.RolloutPlan(
    "new-checkout",
    tuple(ck.Stage.for_share(f"{share} %", share, dwell="20h") for share in (10, 25, 50)),
    starts_at=START,
)
FAILED = ck.Guardrail("$exception", worse="higher", margin_ratio=1.25)


def ramp_of_single_events(rng, ratio):
    """Forty people come in each hour, exactly the planned part of them with the canary, and one has an error.

    Up to hour 20 of a stage those of an hour are enough for a cohort. The canary's part of those who could
    have had the event is then the planned one each time: nothing is lost by taking a stage's looks together,
    and the simulator's counts say all that the people say.
    """
    canary, who, stage = [], [], np.repeat([4, 10, 20], 20)
    for hour, few in enumerate(stage):
        labels = np.zeros(40, bool)
        labels[rng.permutation(40)[:few]] = True
        weight = np.where(labels, ratio, 1.0)
        canary.append(labels)
        who.append(40 * hour + rng.choice(40, p=weight / weight.sum()))
    return stage, np.concatenate(canary), np.array(who)


def log_of_ramp(canary, who):
    names = np.array([f"user-{i}" for i in range(len(canary))])
    arms = np.where(canary, "true", "false")
    enter = np.arange(len(canary)) * HOUR // 40
    events = pd.DataFrame(
        {
            "event": ["$feature_flag_called"] * len(canary) + ["$exception"] * len(who),
            "distinct_id": np.concatenate([names, names[who]]),
            "timestamp": START
            + pd.to_timedelta(np.concatenate([enter, (who // 40 + 1) * HOUR - 1]), unit="us"),
            "$feature_flag": "new-checkout",
            "$feature_flag_response": np.concatenate([arms, arms[who]]),
        }
    )
    return ck.EventLog(events)


@pytest.mark.parametrize("scope", ["stage", "rollout"])
@pytest.mark.parametrize("ratio", [1.0, 6.0])
def test_a_ramp_is_simulated_with_the_very_numbers_that_evaluate_stage_has_for_it(ratio, scope, monkeypatch):
    stage, canary, who = ramp_of_single_events(np.random.default_rng(3), ratio)
    log, judged = log_of_ramp(canary, who), []
    monkeypatch.setattr(
        stage_runs, "decide", lambda evidence, rules: judged.append(evidence) or decide(evidence, rules)
    )
    rules, sharing = rules_in_scope(Rules(), 3, "ramp", scope)
    truths = [truth_of(FAILED, ck.Scenario(error_rate=0.025))]
    rates = stage_rates(
        schedule(RAMP, traffic=40), truths, ck.Scenario(), ck.Population(1000), ("false", "true")
    )
    judge = stage_runs.Judge(truths, (1.0,), rules, None, True, sharing, compiled=False)
    earlier, passed = stage_runs.Drawn.before(1, 1), []
    for index, name in enumerate(RAMP.stage_names):
        hours = slice(20 * index, 20 * index + 20)
        ours = canary[who][None, hours].astype(int)
        people = np.full((1, 20), 40)
        few = stage[None, hours]
        drawn = stage_runs.Drawn(few, people - few, (ours,), (1 - ours,), (few / 40,))
        mine = judge.rows("canarykit", drawn, rates[index], earlier, passed)[0]
        as_of = RAMP.window(name)[1]
        report = ck.evaluate_stage(log, RAMP, name, FAILED, as_of=as_of, segments=(), alpha_scope=scope)
        theirs = report.series.guardrails[0]
        evidence = judged[-1]
        assert evidence.harm_log_e[0, 0] == pytest.approx(theirs.weighted_log_e, abs=1e-9)
        safe = theirs.standing_safe_log_e(math.log(20))
        assert evidence.safe_log_e[0, 0] == pytest.approx(safe, abs=1e-9)
        assert evidence.srm_log_e[0] == pytest.approx(
            np.maximum.accumulate(report.series.srm_log_e), abs=1e-9
        )
        assert (mine[:-1] == report.series.rows[:-1]).all()  # the last is also the stage's planned end
        earlier = stage_runs.Drawn.join([earlier, drawn.total(np.array([19]))])
        passed.append(rates[index])
    assert (report.verdict is Verdict.ROLL_BACK) == (ratio > 1)


def test_a_report_on_late_events_is_that_of_a_log_without_them_as_much_earlier():
    """So that simulated decisions may move each verdict by the delay, and change none."""
    late = Fault("late data", share=0.3, delay="6h")
    truths = [ck.Scenario(effects=[Effect("errors", 5)], faults=faults) for faults in ((), (late,))]
    crowd = ck.Population(3000, sessions_per_week=5)
    logs = [ck.simulate_rollout(plan_of(0.5, 72), crowd, each, rng=7, progress=False) for each in truths]
    verdicts = []
    for hours in (30, 40, 50, 60):
        now, earlier = (START + pd.Timedelta(hours=h) for h in (hours, hours - 6))
        arrived = logs[1].frame[logs[1].frame["created_at"] < now]
        there = ck.evaluate_stage(
            ck.EventLog(arrived, persons=logs[1].persons), plan_of(0.5, 72), "half", ERRORS, as_of=now
        )
        here = ck.evaluate_stage(logs[0], plan_of(0.5, 72), "half", ERRORS, as_of=earlier)
        assert there.series.looks.tolist() == here.series.looks.tolist()
        assert there.series.guardrails[0].harm_log_e == pytest.approx(here.series.guardrails[0].harm_log_e)
        assert there.verdict is here.verdict
        verdicts.append(here.verdict)
    assert Verdict.ROLL_BACK in verdicts


def test_simulated_decisions_on_late_events_are_the_same_as_much_later():
    options = {"guardrails": ERRORS, "n_runs": 200, "traffic": 100, "rng": 7}
    late = Fault("late data", share=0.3, delay="6h")
    effects = [Effect("errors", 3)]
    plain, waiting = (
        ck.simulate_decisions(plan_of(0.5), ck.Scenario(effects=effects, faults=faults), **options)
        for faults in ((), (late,))
    )
    assert waiting.probability("roll back") == plain.probability("roll back") > 0.5
    assert waiting.hours_quantile("roll back", 0.5) == plain.hours_quantile("roll back", 0.5) + 6
    assert waiting.people() > plain.people()
    assert not waiting.notes
    some_time = Fault("late data", share=0.3, delay="6h", until="2026-09-08T00:00:00Z")
    notes = ck.simulate_decisions(plan_of(0.5), ck.Scenario(faults=[some_time]), **options).notes
    assert "faults (late data) are not in simulated counts" in notes[0].text


def later_people(rng, guardrail, base, ratio, delay, *, fades=None, grows=None):
    """People whose event comes hours after the exposure, with an effect that has its size at that age."""
    n = rng.poisson(60 * HOURS)
    enter = np.sort((rng.random(n) * HOURS * HOUR).astype(np.int64))
    canary, age = rng.random(n) < 0.5, rng.exponential(delay, n)
    size = 1.0 if not (fades or grows) else np.exp(-age / fades) if fades else 1 - np.exp(-age / grows)
    did = rng.random(n) < base * np.where(canary, 1 + (ratio - 1) * size, 1.0)
    first = np.where(did, enter + 1 + (age * HOUR).astype(np.int64), -1)
    return enter, canary, np.where(first < HOURS * HOUR, first, -1)


@pytest.mark.parametrize(
    "guardrail, base, ratio, delay, changes",
    [
        (ERRORS, 0.1, 2.0, 6.0, {"grows": 12.0}),
        (ERRORS, 0.1, 2.0, 6.0, {"fades": 2.0}),
        (PAID, 0.6, 0.9, 2.0, {}),
    ],
)
def test_decisions_about_events_that_come_later_fall_as_often_as_those_about_people(
    guardrail, base, ratio, delay, changes
):
    runs, rng = 120, np.random.default_rng(31)
    rows = [
        rows_of(guardrail, *later_people(rng, guardrail, base, ratio, delay, **changes), 0.5)
        for _ in range(runs)
    ]
    ends = [Row(int(row)).verdict for row in (first_decision(each)[0] for each in rows)]
    names = {"grows": "grows_over", "fades": "fades_after"}
    days = {names[key]: hours / 24 for key, hours in changes.items()}
    quantity = "paid" if guardrail is PAID else "errors"
    scenario = ck.Scenario(
        steps=[Step("paid", base)], error_rate=base, effects=[Effect(quantity, ratio, **days)]
    )
    decisions = ck.simulate_decisions(
        plan_of(0.5), scenario, guardrail, 1000, traffic=60,
        delays={guardrail.label: f"{delay}h"}, min_dwell="24h", cap=f"{HOURS}h", rng=12,
    )  # fmt: skip
    assert not decisions.notes
    for verdict in (Verdict.ROLL_BACK, Verdict.PROMOTE):
        expected = decisions.probability(verdict.value)
        error = math.sqrt(max(expected * (1 - expected), 1 / runs) * (1 / runs + 1 / 1000))
        assert ends.count(verdict) / runs == pytest.approx(expected, abs=3 * error)


def test_events_that_come_soon_are_as_if_at_once_and_those_after_the_window_do_not_count():
    options = {"n_runs": 500, "traffic": 100, "rng": 7, "min_dwell": "24h"}
    soon = {PAID.label: "30s"}
    notes = [
        ck.simulate_decisions(plan_of(0.5), truth(PAID, 0.6, 0.93), PAID, delays=delays, **options)
        for delays in (None, soon)
    ]
    assert notes[0].probability("roll back") == pytest.approx(notes[1].probability("roll back"), abs=0.05)
    edges, ages = np.arange(5.0), [(np.ones(4), 0.0)]
    shares, ever = events_by_look(edges, np.full(4, 0.6), ages, 1.0, within=1.0, by_age=False)
    assert ever == pytest.approx(0.6)
    assert shares.sum(axis=1)[:3] == pytest.approx(0.6)  # all that count come within an hour
    assert shares[0, 2:] == pytest.approx(0.0)
    older, _ = events_by_look(edges, np.full(4, 0.6), ages, 1.0, within=1.0, by_age=True)
    assert np.diag(older, 1) == pytest.approx(0.6)  # by age: once the last of the hour has been there as long
    assert np.diag(older) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "logins, message",
    [
        (0.05, "logins is 0.05; expected"),
        ((0.05,), "expected a share of the people and a mean time such as"),
        ((5, "2h"), "the share of logins is 5; expected a fraction between 0 and 1"),
        ((0.05, "soon"), "the time of logins"),
    ],
)
def test_logins_are_a_share_and_a_time(logins, message):
    with pytest.raises(ck.PlanError, match=message):
        ck.simulate_decisions(plan_of(0.5), None, ERRORS, 1, traffic=9, logins=logins)


def test_flips_at_the_login_are_no_fault_where_logins_are_simulated():
    options = {"n_runs": 1, "traffic": 9, "logins": (0.05, "2h")}
    flips = ck.Scenario(faults=[Fault("flip at login")])
    assert ck.simulate_decisions(plan_of(0.5), flips, ERRORS, **options).notes == ()
    (note,) = ck.simulate_decisions(plan_of(0.5), flips, ERRORS, n_runs=1, traffic=9).notes
    assert "flip at login" in note.text


@pytest.mark.parametrize("margin", [{"margin_ratio": 0.9}, {"margin": 2.7}])
def test_people_who_log_in_hold_promotions_on_values_too(margin):
    """With money as with shares: how often, the calibration holds against people one by one."""
    money = ck.Guardrail(Total("paid", "amount"), worse="lower", **margin)
    scenario = ck.Scenario(steps=[Step("seen", 1.0), Step("paid", 0.5)])
    options = {"traffic": 120, "min_dwell": "24h", "rng": 7, "srm": False}
    none, few, many = (
        ck.simulate_decisions(plan_of(0.5), scenario, money, 1000, logins=logins, **options)
        for logins in (None, (0.1, "2h"), (0.3, "2h"))
    )
    promoted = [each.probability("promote") for each in (none, few, many)]
    assert promoted[0] - 0.05 > promoted[1] > promoted[2] + 0.1
    assert none.probability("roll back") == few.probability("roll back")


BY_GROUP = ck.RolloutPlan(
    "new-checkout", (ck.Stage.for_share("half", 50, dwell=f"{HOURS}h"),),
    starts_at=START, aggregation_group_type="organization",
)  # fmt: skip


def verdict_on_groups(rng, base, ratio, per_hour):
    """What the rows of a report on organisations, each of up to five people, come to first."""
    enter, canary, first = people(rng, base, ratio, 0.5, per_hour)
    keys = np.array([f"org-{i}" for i in range(len(enter))])
    arms = np.where(canary, "true", "false")
    had = first >= 0
    members = rng.integers(1, 6, len(enter))
    group = np.repeat(np.arange(len(enter)), members)
    who = np.array([f"{keys[i]}-{j}" for i, j in zip(group, np.arange(len(group)), strict=True)])
    events = pd.DataFrame(
        {
            "event": ["$feature_flag_called"] * len(group) + ["$exception"] * int(had.sum()),
            "distinct_id": np.concatenate([who, who[np.cumsum(members) - 1][had]]),
            "timestamp": START + pd.to_timedelta(np.concatenate([enter[group], first[had]]), unit="us"),
            "$feature_flag": "new-checkout",
            "$feature_flag_response": np.concatenate([arms[group], arms[had]]),
            "$group_0": np.concatenate([keys[group], keys[had]]),
        }
    )
    log = ck.EventLog(events, group_types={"organization": 0})
    report = ck.evaluate_stage(
        log, BY_GROUP, "half", ERRORS, as_of=START + pd.Timedelta(hours=HOURS), segments=()
    )
    row, look = first_decision(report.series.rows[None])
    return Row(int(row[0])).verdict if look[0] >= 0 else Verdict.HOLD


@pytest.mark.parametrize("ratio", [1.0, 1.25])
def test_decisions_about_organisations_fall_as_often_as_on_logs_of_organisations(ratio):
    runs, rng = 40, np.random.default_rng(21)
    back = sum(verdict_on_groups(rng, 0.25, ratio, 25) is Verdict.ROLL_BACK for _ in range(runs)) / runs
    rates = {ERRORS.label: 0.25}
    scenario = ck.Scenario(effects=[Effect("errors", ratio)])
    expected = ck.simulate_decisions(
        BY_GROUP, scenario, ERRORS, 2000, traffic=25, rates=rates, rng=12
    ).probability("roll back")
    assert abs(back - expected) <= 3 * math.sqrt(max(expected * (1 - expected), 1 / runs) / runs) + 0.03


@pytest.mark.parametrize(
    "guardrail, options, message",
    [
        (ERRORS, {"traffic": ck.Population(1000)}, "a Population counts people; give traffic= as new groups"),
        (ERRORS, {"traffic": 20}, "a scenario's rates are those of people; give rates="),
        (ck.Guardrail(Total("paid", "amount")), {"traffic": 20}, "since groups differ in size; simulate"),
    ],
)  # fmt: skip
def test_what_is_not_known_of_organisations_is_asked_for(guardrail, options, message):
    with pytest.raises(ck.PlanError, match=message):
        ck.simulate_decisions(BY_GROUP, None, guardrail, 10, **options)
