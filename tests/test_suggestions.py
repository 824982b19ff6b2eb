"""Guardrails proposed from what a log has: directions, margins its traffic can tell, and code to paste."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.health.tellable import Measured, Planned
from canarykit.metrics.guardrail import roll_back_line
from canarykit.simulate import Effect

PLAN = ck.RolloutPlan(
    "new-checkout", (ck.Stage.for_share("half", 50, dwell="4d"),), starts_at="2026-09-07T09:00:00Z"
)


@pytest.fixture(scope="module")
def log():
    return ck.simulate_rollout(PLAN, ck.Population(2000), rng=7, progress=False)


@pytest.fixture(scope="module")
def suggested(log):
    return ck.suggest_guardrails(log, "new-checkout", PLAN)


def test_errors_times_money_and_conversions_are_proposed_with_the_direction_that_is_harm(suggested):
    assert [(item.label, item.worse) for item in suggested.guardrails] == [
        ("people with $exception", "higher"),
        ("95 % quantile of load_ms", "higher"),
        ("sum of amount per person", "lower"),
        ("paid", "lower"),
        ("signup finished", "lower"),
    ]
    assert suggested.guardrails[0].critical


def test_the_proposals_judge_the_stage_as_they_are(log, suggested):
    report = ck.evaluate_stage(
        log, PLAN, stage="half", guardrails=suggested.guardrails, looks="6h", as_of="2026-09-11T09:00:00Z"
    )
    assert {item.label for item in suggested.guardrails} <= {check.name for check in report.checks}
    assert report.verdict is not ck.Verdict.ROLL_BACK


def test_the_code_makes_the_same_guardrails(suggested):
    pasted = {"ck": ck}
    exec(suggested.code, pasted)
    assert tuple(pasted["guardrails"]) == suggested.guardrails
    assert suggested.to_dict()["code"] == suggested.code


def test_more_traffic_allows_tighter_margins(log, suggested):
    longer = ck.suggest_guardrails(log, "new-checkout", PLAN, dwell="40d")
    short = ck.suggest_guardrails(log, "new-checkout", PLAN, dwell="1d")
    for tight, wide in zip(longer.guardrails, short.guardrails, strict=True):
        assert abs(np.log(tight.margin_ratio)) <= abs(np.log(wide.margin_ratio))
    assert any(
        abs(np.log(a.margin_ratio)) < abs(np.log(b.margin_ratio))
        for a, b in zip(longer.guardrails, short.guardrails, strict=True)
    )
    assert any("rarely shown" in note.text for note in short.notes)


def test_the_chances_are_those_of_the_judges_own_rules(suggested):
    guardrail = ck.Guardrail("$exception", margin_ratio=1.5)
    planned = Planned(guardrail.metric, Measured(0.05, 0.2, 4000), 2000, 2000, 1)
    run = partial(ck.simulate_decisions, PLAN, rng=7, progress=False, n_runs=1000, traffic=4000 / 96)
    healthy = run(ck.Scenario(), guardrails=guardrail, min_dwell="4d", rates={guardrail.label: 0.05})
    assert planned.shown_safe(1.5) == pytest.approx(healthy.to_frame()["promote"][0], abs=0.06)
    harm = planned.harm_seen(1.5, 0.8)
    bad = run(
        ck.Scenario(effects=(Effect("errors", harm),)),
        guardrails=guardrail,
        min_dwell="4d",
        rates={guardrail.label: 0.05},
    )
    assert bad.to_frame()["roll_back"][0] == pytest.approx(0.8, abs=0.08)
    assert harm > roll_back_line(1.5)


def test_web_vitals_and_rage_clicks_are_found_by_their_names():
    rng = np.random.default_rng(1)
    n = 400
    start = pd.Timestamp("2026-09-01T00:00:00Z")
    at = start + pd.to_timedelta(rng.random(n) * 10 * 86_400, unit="s")
    ids = [f"u{i}" for i in range(n)]
    parts = [pd.DataFrame({"event": "$pageview", "timestamp": at, "distinct_id": ids})]
    later = at + pd.Timedelta(minutes=3)
    parts.append(
        pd.DataFrame(
            {
                "event": "$web_vitals", "timestamp": later, "distinct_id": ids,
                "$web_vitals_LCP_value": 2000 * np.exp(0.5 * rng.normal(size=n)),
                "$web_vitals_CLS_value": rng.random(n),
            }
        )
    )  # fmt: skip
    parts.append(pd.DataFrame({"event": "$rageclick", "timestamp": later[:40], "distinct_id": ids[:40]}))
    proposed = ck.suggest_guardrails(ck.EventLog(pd.concat(parts)), "not-yet-released")
    assert [item.label for item in proposed.guardrails] == [
        "people with $rageclick",
        "95 % quantile of $web_vitals_LCP_value",
    ]
    assert any("everybody counts" in note.text for note in proposed.notes)


def test_a_stage_without_a_control_cannot_be_planned_for(log):
    with pytest.raises(ck.PlanError, match="not a percentage stage"):
        ck.suggest_guardrails(log, "new-checkout", PLAN, stage="beta")


def quick_log(*, n=2000, per_hour=40, median=90.0, share=0.97, name="order finished"):
    """People who come in evenly, and nearly all of whom reach the end within minutes."""
    rng = np.random.default_rng(3)
    at = np.sort(rng.random(n) * n / per_hour * 3600)
    ids = np.array([f"u{k}" for k in range(n)])
    did = rng.random(n) < share
    later = at + median * np.exp(0.8 * rng.standard_normal(n))
    start = pd.Timestamp("2026-09-01T00:00:00Z")
    return ck.EventLog(
        pd.DataFrame(
            {
                "event": ["$feature_flag_called"] * n + [name] * int(did.sum()),
                "distinct_id": np.concatenate([ids, ids[did]]),
                "timestamp": start + pd.to_timedelta(np.concatenate([at, later[did]]), unit="s"),
                "$feature_flag": "new-checkout",
                "$feature_flag_response": ["false"] * n + [None] * int(did.sum()),
            }
        )
    )


def test_of_what_nearly_everybody_reaches_the_time_is_proposed():
    found = ck.suggest_guardrails(quick_log(), "new-checkout", dwell="4d")
    (speed,) = found.guardrails
    assert speed.metric == ck.metrics.TimeToEvent("order finished", within="5min")
    assert (speed.worse, speed.label) == ("lower", "time to order finished within 5min")
    row = found.rows[0]
    assert row[5] >= 0.8
    assert 0.5 < float(row[6].removesuffix(" times")) < 1
    assert "how soon" in row[-1]
    pasted = {"ck": ck}
    exec(found.code, pasted)
    assert tuple(pasted["guardrails"]) == found.guardrails


@pytest.mark.parametrize("options", [{"median": 0.2}, {"share": 0.6}])
def test_no_time_is_proposed_to_what_comes_at_once_or_to_what_many_never_do(options):
    found = ck.suggest_guardrails(quick_log(**options), "new-checkout", dwell="4d")
    assert not [item for item in found.guardrails if isinstance(item.metric, ck.metrics.TimeToEvent)]
