"""Shares of people compared with those who had the event before as well: valid at every look, and sooner."""

import math

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import PlanError
from canarykit.health import recompute
from canarykit.health.evidence.event_evidence import event_mixtures
from canarykit.metrics import Conversion, ErrorShare
from canarykit.metrics.risk import risk_sets
from canarykit.metrics.values import metric_from_dict

HOUR = 3_600_000_000
START = pd.Timestamp("2026-09-07T09:00:00Z")
PLAN = ck.RolloutPlan(
    "new-checkout",
    (ck.Stage.for_share("some", 20, dwell="1d"), ck.Stage.for_share("half", 50, dwell="2d")),
    starts_at=START,
)
HABIT = Conversion("paid", within=None, cuped="14d")
PLAIN = Conversion("paid", within=None)


def release(rng, *, ratio=1.0, hours=48, per_hour=60, share=0.5, often=0.95, seldom=0.05, offset=0):
    """Half of the people nearly always pay, soon after they come, and have paid before; half nearly never."""
    n = rng.poisson(per_hour * hours)
    enter = np.sort((rng.random(n) * hours * HOUR).astype(np.int64)) + offset * HOUR
    canary, had = rng.random(n) < share, rng.random(n) < 0.5
    pays = rng.random(n) < np.where(had, often, seldom) * np.where(canary, ratio, 1.0)
    first = np.where(pays, enter + 1 + (rng.exponential(0.05, n) * HOUR).astype(np.int64), -1)
    first = np.where(first < (offset + hours) * HOUR, first, -1)
    return enter, canary, had, first


def crossed(rng, *, by_past, runs=150, **options):
    """How often a loss of conversions is shown at any of the hourly looks."""
    harm, _ = event_mixtures(1 / 0.95)
    crossings = 0
    for _ in range(runs):
        enter, canary, had, first = release(rng, **options)
        strata = had.astype(np.int64) if by_past else None
        ends = np.full(len(enter), 48 * HOUR)
        sets = risk_sets(enter, ends, first, canary, origin=0, step=HOUR, n_intervals=48, strata=strata)
        crossings += harm.log_e(*sets.swapped().counts(harm.null_ratio)).max() >= math.log(20)
    return crossings / runs


def log_of(stages):
    """Calls, payments before and after them, and old payments that do not count."""
    rows = []
    for person, (enter, canary, had, first) in enumerate(stages):
        names = np.array([f"s{person}-{i}" for i in range(len(enter))])
        at = START + pd.to_timedelta(enter, unit="us")
        call = {"event": "$feature_flag_called", "$feature_flag": "new-checkout"}
        response = np.where(canary, "true", "false")
        rows.append(
            pd.DataFrame({"distinct_id": names, "timestamp": at, "$feature_flag_response": response, **call})
        )
        before = at[had] - pd.Timedelta(days=3)
        after = START + pd.to_timedelta(first[first >= 0], unit="us")
        for who, times in ((had, before), (~had, at[~had] - pd.Timedelta(days=20)), (first >= 0, after)):
            rows.append(pd.DataFrame({"distinct_id": names[who], "timestamp": times, "event": "paid"}))
    return ck.EventLog(pd.concat(rows, ignore_index=True))


@pytest.fixture(scope="module")
def stages():
    rng = np.random.default_rng(5)
    options = {"ratio": 0.9, "per_hour": 40}
    return (
        release(rng, hours=24, share=0.2, **options),
        release(rng, hours=48, share=0.5, offset=24, **options),
    )


def judged(log, *guardrails):
    return ck.evaluate_stage(log, PLAN, "half", list(guardrails), as_of=PLAN.window("half")[1], segments=())


def test_people_are_compared_with_those_of_the_same_past_in_every_stage(stages):
    report = judged(log_of(stages), ck.Guardrail(HABIT, margin_ratio=0.95))
    evidence = report.series.guardrails[0]
    sets = []
    for (enter, canary, had, first), begin, hours in zip(stages, (0, 24), (24, 48), strict=True):
        ends = np.full(len(enter), (begin + hours) * HOUR)
        options = {"origin": begin * HOUR, "step": HOUR, "n_intervals": hours}
        sets.append(risk_sets(enter, ends, first, canary, strata=had.astype(np.int64), **options).swapped())
    harm, safe = event_mixtures(1 / 0.95)
    log_e = harm.log_e(*sets[1].counts(harm.null_ratio))
    whole = harm.log_e(*type(sets[0]).joined(sets).counts(harm.null_ratio))[24:]
    assert evidence.harm_log_e == pytest.approx(np.maximum(log_e, whole) + math.log(0.5), abs=1e-9)
    assert evidence.safe_log_e == pytest.approx(safe.log_e(*sets[1].counts(safe.null_ratio)), abs=1e-9)
    note = next(note for note in report.notes if note.code == "cuped_cohorts")
    assert note.count == stages[1][2].sum()
    assert "in the 14d before exposure" in note.text
    assert recompute(report.to_json()) == (report.verdict, report.row)


def test_only_the_past_before_the_first_exposure_counts(stages):
    """Payments after it do not make a past, nor do those longer ago than the time asked for."""
    log = log_of(stages)
    longer = Conversion("paid", within=None, cuped="30d")
    nobody = Conversion("paid", within=None, cuped="1d")
    report = judged(
        log, *(ck.Guardrail(spec, margin_ratio=0.95, name=spec.cuped) for spec in (longer, nobody))
    )
    counts = [note.count for note in report.notes if note.code == "cuped_cohorts"]
    assert counts == [len(stages[1][0]), 0]
    plain = judged(log, ck.Guardrail(PLAIN, margin_ratio=0.95))
    again = judged(log, ck.Guardrail(nobody, margin_ratio=0.95))
    assert again.series.guardrails[0].harm_log_e == pytest.approx(plain.series.guardrails[0].harm_log_e)


@pytest.mark.slow
def test_harmless_releases_keep_the_level_and_losses_are_found_far_more_often_by_the_past():
    runs = 150
    assert crossed(np.random.default_rng(3), by_past=True, runs=runs) <= 0.05
    crossings = [crossed(np.random.default_rng(3), by_past=p, runs=runs, ratio=0.95) for p in (False, True)]
    assert crossings[1] > crossings[0] + 0.15


def test_the_past_is_written_and_read_back_and_slips_are_refused():
    for spec in (HABIT, ErrorShare(cuped="7d")):
        assert metric_from_dict(spec.to_dict()) == spec
    with pytest.raises(PlanError, match="cuped"):
        Conversion("paid", cuped="14 fortnights")
