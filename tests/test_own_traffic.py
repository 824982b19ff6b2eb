"""A plan tried on one's own traffic: people, returns and rates come out of a log as they went in."""

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.metrics import Average, Conversion, Count, ErrorShare, Quantile, Ratio, Total
from canarykit.simulate import Effect
from canarykit.simulate.decisions.schedule import schedule

START = pd.Timestamp("2026-09-07T09:00:00Z")


def plan_of(share, dwell, starts_at="2026-09-07T09:00:00Z", **options):
    stage = ck.Stage.for_share("some", share, dwell=dwell)
    return ck.RolloutPlan("new-checkout", (stage,), starts_at=starts_at, **options)


OTHER = plan_of(20, "3d", "2026-10-05T09:00:00Z")


@pytest.fixture(scope="module")
def log():
    people = ck.Population(6_000, sessions_per_week=3, activity_shape=1.5)
    scenario = ck.Scenario(error_rate=0.03)
    return ck.simulate_rollout(plan_of(50, "7d"), people, scenario, rng=3, progress=False)


def test_people_return_under_another_plan_as_the_log_says(log):
    people = ck.Population(6_000, sessions_per_week=3, activity_shape=1.5)
    again = ck.simulate_rollout(OTHER, people, ck.Scenario(), rng=5, progress=False)
    came = ck.exposures(again, "new-checkout", plan=OTHER).by_stage["exposed_at"]
    (looks,) = schedule(OTHER, traffic=ck.rates_like(log, OTHER).traffic)
    for hours in (24, 72):
        seen = (came < pd.Timestamp("2026-10-05T09:00:00Z") + pd.Timedelta(hours=hours)).sum()
        assert looks.people[:hours].sum() == pytest.approx(seen, rel=0.08)


def test_two_lines_try_another_plan_on_the_traffic_of_a_log(log):
    mine = ck.rates_like(log, OTHER)
    bad = ck.simulate_decisions(
        OTHER, ck.Scenario(effects=[Effect("errors", 2)]), n_runs=200, **mine, rng=7, progress=False
    )
    good = ck.simulate_decisions(OTHER, n_runs=200, **mine, rng=7, progress=False)
    assert bad.probability("roll back") > 0.5 > 0.05 > good.probability("roll back")
    duration = ck.expected_duration(OTHER, **mine, n_runs=50, rng=7, progress=False)
    assert duration.to_frame().shape[0] == 1


def test_rates_are_those_of_the_people_without_the_canary_followed_for_so_long(log):
    guardrails = [
        ck.Guardrail(ErrorShare()),
        ck.Guardrail(Conversion("paid"), margin_ratio=0.9),
        ck.Guardrail(Total("paid", "amount", cap_quantile=None), worse="lower", margin_ratio=0.9),
        ck.Guardrail(Average("signup started", "load_ms"), margin_ratio=1.1),
        ck.Guardrail(Quantile("signup started", "load_ms", q=0.95), margin_ratio=1.1),
        ck.Guardrail(Ratio(Total("paid"), Total("signup started")), worse="lower", margin_ratio=0.9),
    ]
    mine = ck.rates_like(log, OTHER, guardrails, within="2d")
    exposed = ck.exposures(log, "new-checkout").people.set_index("person_id")
    exposed = exposed[exposed["variant"].astype(str) == "false"]
    exposed = exposed[exposed["exposed_at"] + pd.Timedelta(days=2) <= log.time_range[1]]
    events = log.select(["person_id", "event", "timestamp", "amount", "load_ms"])
    events = events[events["person_id"].isin(exposed.index)]
    events = events.assign(amount=pd.to_numeric(events["amount"]), load_ms=pd.to_numeric(events["load_ms"]))
    since = events["timestamp"] - events["person_id"].map(exposed["exposed_at"])
    events = events[(since >= pd.Timedelta(0)) & (since < pd.Timedelta(days=2))]

    def per_person(event, column=None):
        rows = events[events["event"] == event].groupby("person_id")
        sums = rows.size() if column is None else rows[column].sum()
        return sums.reindex(exposed.index, fill_value=0).astype(float)

    labels = [item.label for item in guardrails]
    assert mine.rates[labels[0]] == pytest.approx((per_person("$exception") > 0).mean())
    assert mine.rates[labels[1]] == pytest.approx((per_person("paid") > 0).mean())
    amount = per_person("paid", "amount")
    assert mine.rates[labels[2]] == pytest.approx((amount.mean(), amount.std()))
    loads = events.loc[events["event"] == "signup started", "load_ms"].astype(float)
    assert mine.rates[labels[3]][0] == pytest.approx(loads.mean())
    assert mine.rates[labels[4]][0] == pytest.approx(np.quantile(loads, 0.95), rel=0.01)
    starts = per_person("signup started")
    paid = per_person("paid")[starts > 0]
    assert mine.rates[labels[5]][0] == pytest.approx(paid.sum() / starts.sum())
    decisions = ck.simulate_decisions(OTHER, None, guardrails, 50, **mine, rng=7, progress=False)
    assert decisions.probability("roll back") <= 0.1


def calls(starts, names, answers):
    return pd.DataFrame(
        {
            "event": "$feature_flag_called",
            "distinct_id": names,
            "timestamp": START + pd.to_timedelta(starts, unit="h"),
            "$feature_flag": "new-checkout",
            "$feature_flag_response": answers,
        }
    )


def test_people_who_come_once_keep_coming_at_the_same_rate():
    rng = np.random.default_rng(3)
    hours = np.sort(rng.random(7_200) * 72)
    names = [f"user-{i}" for i in range(len(hours))]
    log = ck.EventLog(calls(hours, names, np.where(rng.random(len(hours)) < 0.5, "true", "false")))
    (looks,) = schedule(plan_of(50, "3d"), traffic=ck.rates_like(log, plan_of(50, "3d")).traffic)
    assert looks.people == pytest.approx(np.full(72, 100.0), rel=0.05)


def test_what_cannot_be_told_is_said_and_mistakes_are_refused(log):
    refunds = ck.Guardrail(Conversion("refunded"), worse="higher", margin_ratio=1.2)
    mine = ck.rates_like(log, plan_of(50, "30d"), [ck.Guardrail(ErrorShare()), refunds])
    assert refunds.label not in mine.rates
    codes = {note.code for note in mine.notes}
    assert {"no_rate", "extrapolated", "late", "control"} <= codes
    few = ck.EventLog(calls([0.0, 1.0], ["ada", "bob"], ["false", "false"]))
    with pytest.raises(ck.DataError, match="has 2 people without the canary; expected at least 10"):
        ck.rates_like(few, OTHER)
    groups = plan_of(20, "3d", aggregation_group_type="organization")
    with pytest.raises(ck.PlanError, match=r"assigns by organization: .* since groups differ in size"):
        ck.rates_like(log, groups, ck.Guardrail(Total("paid", "amount")))
    with pytest.raises(ck.PlanError, match="guardrails is empty; leave it out"):
        ck.rates_like(log, OTHER, [])


def test_before_the_release_everybody_counts(log):
    frame = log.frame[log.frame["event"] != "$feature_flag_called"].drop(columns="$feature/new-checkout")
    mine = ck.rates_like(ck.EventLog(frame), OTHER)
    assert "nobody_exposed" in {note.code for note in mine.notes}
    assert 0.03 < mine.rates["people with $exception"] < 0.2


def test_a_value_the_scenario_does_not_know_is_simulated_with_its_mean_and_spread():
    clicks = ck.Guardrail(Count("$rageclick"), margin_ratio=1.2)
    options = {"traffic": 300, "n_runs": 100, "rng": 7, "progress": False}
    decisions = ck.simulate_decisions(OTHER, None, clicks, rates={clicks.label: (2.0, 1.0)}, **options)
    assert decisions.probability("promote") > 0.9
    wide = ck.simulate_decisions(OTHER, None, clicks, rates={clicks.label: (2.0, 30.0)}, **options)
    assert wide.probability("promote") < 0.1
    with pytest.raises(ck.PlanError, match=r"expected \(mean, standard deviation\) above 0"):
        ck.simulate_decisions(OTHER, None, clicks, rates={clicks.label: (2.0, 0.0)}, **options)
    errors = ck.Guardrail(ErrorShare())
    with pytest.raises(ck.PlanError, match="a share of people is one number"):
        ck.simulate_decisions(OTHER, None, errors, rates={errors.label: (0.1, 0.3)}, **options)


def test_a_plan_that_assigns_groups_gets_groups_and_their_rates():
    rng = np.random.default_rng(1)
    n = 600
    hours, members = np.sort(rng.random(n) * 72), rng.integers(1, 6, n)
    who = np.repeat(np.arange(n), members)
    answers, had = np.where(rng.random(n) < 0.5, "true", "false"), rng.random(n) < 0.25
    keys = np.array([f"org-{k}" for k in range(n)])
    called = calls(hours[who], [f"{k}-{j}" for j, k in enumerate(who)], answers[who])
    last = np.cumsum(members) - 1
    hit = called.iloc[last[had]].assign(event="$exception")
    hit["timestamp"] += pd.Timedelta(minutes=6)
    frame = pd.concat([called, hit], ignore_index=True)
    frame["$group_0"] = np.concatenate([keys[who], keys[had]])
    log = ck.EventLog(frame, group_types={"organization": 0})
    plan = plan_of(50, "24h", aggregation_group_type="organization")
    mine = ck.rates_like(log, plan)
    assert mine.traffic == pytest.approx(600 / 72, rel=0.05)
    followed = (answers == "false") & (hours + 24 <= 72)
    (row,) = mine.rows
    assert row[1] == pytest.approx(had[followed].mean(), abs=0.01)
    assert row[3] == pytest.approx(followed.sum(), abs=2)
    assert "groups reach the feature in a day" in repr(mine)
    assert mine.to_dict()["traffic"] == mine.traffic
    found = ck.simulate_decisions(plan, n_runs=50, **mine, rng=7, progress=False)
    assert found.probability("roll back") <= 0.1
    before = frame[frame["event"] != "$feature_flag_called"].drop(
        columns=["$feature_flag", "$feature_flag_response"]
    )
    everybody = ck.rates_like(ck.EventLog(before, group_types={"organization": 0}), plan)
    assert everybody.rows[0][3] > 100
    assert any(note.code == "no_rate" for note in everybody.notes)  # all that is left are those who were hit
