"""Counts and rates per person: overdispersed, capped at what was said, the capped people told."""

import json

import duckdb
import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit import metrics
from canarykit.health.evidence.value_series import value_series
from canarykit.metrics.unit_outcomes import Outcomes
from canarykit.stats.any_look.sequential import mixture_log_e

from .release import AS_OF, STAGE, make_release, ramp_plan

CLICKS = metrics.Count("$rageclick", cap_at=20)


def with_clicks(*, ratio=1.0, bots=0, seed=5):
    """A release whose people click in rage, a few of them often; `bots` canary people click 500 times."""
    release = make_release(n=2500, seed=seed)
    rng = np.random.default_rng(seed)
    calls = release.events[release.events["event"] == "$feature_flag_called"]
    calls = calls.drop_duplicates("distinct_id")
    on = (calls["$feature_flag_response"] == "true").to_numpy()
    mean = rng.gamma(0.3, 2.0, len(calls)) * np.where(on, ratio, 1.0)
    times = rng.poisson(mean)
    times[np.flatnonzero(on)[:bots]] = 500
    at = calls["timestamp"].repeat(times) + pd.to_timedelta(rng.random(times.sum()) * 3600, unit="s")
    clicks = pd.DataFrame(
        {"event": "$rageclick", "timestamp": at, "distinct_id": calls["distinct_id"].repeat(times)}
    )
    events = pd.concat([release.events, clicks], ignore_index=True)
    return ck.EventLog(events, persons=release.persons), on, times


def judge(log, guardrail):
    return ck.evaluate_stage(log, ramp_plan(), STAGE, guardrail, as_of=AS_OF, looks="6h")


def test_a_person_counts_with_at_most_the_cap_and_the_capped_are_told():
    log, on, times = with_clicks(bots=3)
    report = judge(log, ck.Guardrail(CLICKS, margin_ratio=2))
    check = report.check("$rageclick events per person")
    assert check.canary.value == pytest.approx(np.minimum(times, 20)[on].mean())
    assert check.control.value == pytest.approx(np.minimum(times, 20)[~on].mean())
    capped = [note for note in report.notes if note.code == "capped"]
    assert capped[0].count == (times > 20).sum() >= 3
    assert "people with more than 20, counted as 20" in capped[0].text
    assert "at most 20 of any one" in check.measured


def test_more_clicks_are_harm_and_a_handful_of_bots_is_not():
    assert judge(with_clicks(ratio=3.0)[0], ck.Guardrail(CLICKS)).verdict is ck.Verdict.ROLL_BACK
    assert judge(with_clicks(bots=3)[0], ck.Guardrail(CLICKS)).verdict is not ck.Verdict.ROLL_BACK


def test_a_rate_is_capped_per_person_too():
    log, on, times = with_clicks(bots=2)
    rate = metrics.Ratio(metrics.Count("$rageclick"), metrics.Count("$feature_flag_called"), cap_at=20)
    check = judge(log, ck.Guardrail(rate, margin_ratio=2)).check(
        "$rageclick events / $feature_flag_called events"
    )
    assert check.canary.value == pytest.approx(np.minimum(times, 20)[on].mean(), rel=0.02)
    assert check.evidence_name == "harm E"


@pytest.mark.parametrize("engine", ["parquet", "polars"])
def test_engines_count_alike(engine, tmp_path):
    log, _, _ = with_clicks()
    file = str(tmp_path / "events.parquet")
    log.frame.to_parquet(file)
    other = duckdb.read_parquet(file)
    if engine == "polars":
        other = pytest.importorskip("polars").read_parquet(file)
    here, there = (
        judge(one, ck.Guardrail(CLICKS)).checks[-1] for one in (log, ck.EventLog(other, persons=log.persons))
    )
    assert (there.effect, there.evidence, there.canary) == (here.effect, here.evidence, here.canary)


def test_counts_survive_their_plain_form_and_know_their_direction():
    for spec in (CLICKS, metrics.Count("$exception", within="1d", cap_at=None, cuped="14d")):
        assert metrics.metric_from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
        assert ck.Guardrail(spec).worse == "higher"
    with pytest.raises(ck.PlanError, match="say worse='lower'"):
        ck.Guardrail(metrics.Count("$pageview"))
    with pytest.raises(ck.PlanError, match="cap_at of a count metric is 0; expected a number above 0"):
        metrics.Count("$rageclick", cap_at=0)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize("shape", [0.05, 0.5])
def test_overdispersed_counts_of_a_harmless_release_are_seldom_called_harm_at_any_look(share, shape):
    rng, alarms, runs, n = np.random.default_rng(9), 0, 400, 2000
    start = pd.Timestamp("2026-09-07T00:00:00Z")
    looks = (start.value // 1000) + np.arange(1, 49) * 3_600_000_000
    for _ in range(runs):
        entered = start + pd.to_timedelta(np.sort(rng.random(n)) * 48 * 3600, unit="s")
        units = pd.DataFrame({"person_id": np.arange(n).astype(str), "canary": rng.random(n) < share})
        units["entered_at"] = pd.Series(entered).dt.as_unit("us")
        units["leaves_at"] = pd.Series(entered + pd.Timedelta(days=3)).dt.as_unit("us")
        counts = rng.poisson(rng.gamma(shape, 1 / shape, n)).astype(float)
        reduced = Outcomes(units, (CLICKS,), (None,), (counts,), (counts,), (0,))
        series = value_series(reduced, 0, looks, int(looks[-1]))
        value, variance = series.contrast(1.0)
        good = np.isfinite(variance) & (variance > 0)
        log_e = mixture_log_e(
            value[good] / np.sqrt(variance[good]), 6.3 * variance[good][-1] / variance[good]
        )
        alarms += bool(log_e.max() >= np.log(20))
    assert alarms / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
