"""Taking out what people did before exposure: the same truth, a narrower interval, and said in words."""

import json

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit import metrics, stats
from canarykit.errors import PlanError
from canarykit.health import recompute
from canarykit.health.evidence.event_evidence import value_evidence
from canarykit.health.evidence.value_series import value_series
from canarykit.metrics import Before, Outcomes

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning")

HOUR = 3_600_000_000
START = pd.Timestamp("2026-09-07T09:00:00Z")
STAGE = "half"
PLAN = ck.RolloutPlan(
    "new-checkout",
    (ck.Stage.for_share("some", 20, dwell="1d"), ck.Stage.for_share(STAGE, 50, dwell="2d")),
    starts_at=START - pd.Timedelta(days=1),
)
AS_OF = START + pd.Timedelta(days=2)
SPEND = metrics.Total("paid", "amount", cap_quantile=None, cuped="14d")


def make_log(*, n=800, newcomers=0.2, alike=0.8, effect=0.0, seen_earlier=0, seed=5):
    """People who pay about as much after their exposure as before it, some of them new.

    `seen_earlier` people had the canary in the stage before, and paid a fortune with it.
    """
    rng = np.random.default_rng(seed)
    ids = np.array([f"u{i:04d}" for i in range(n)])
    canary = rng.random(n) < 0.5
    habit = rng.gamma(2, 10, n)
    new = rng.random(n) < newcomers
    after = alike * habit + (1 - alike) * rng.gamma(2, 10, n) + effect * canary
    exposed = START + pd.to_timedelta(rng.random(n) * 30, unit="h")
    called = {"event": "$feature_flag_called", "$feature_flag": "new-checkout"}
    frames = [
        pd.DataFrame({"distinct_id": ids, "timestamp": exposed, **called}).assign(
            **{"$feature_flag_response": np.where(canary, "true", "false")}
        )
    ]

    def paid(who, times, amounts):
        columns = {"distinct_id": ids[who], "timestamp": times[who], "amount": amounts[who].round(2)}
        return pd.DataFrame({"event": "paid", **columns})

    everybody = np.ones(n, dtype=bool)
    frames.append(paid(everybody, exposed + pd.Timedelta(hours=2), after))
    frames.append(paid(~new, exposed - pd.to_timedelta(rng.integers(2, 13, n), unit="D"), habit))
    frames.append(paid(~new, exposed - pd.Timedelta(days=20), habit * 50))  # too long ago to count
    if seen_earlier:
        who = canary & (np.cumsum(canary) <= seen_earlier)
        early = START - pd.to_timedelta(rng.random(n) * 20 + 2, unit="h")
        before = frames[0].assign(timestamp=early)[who]
        frames += [before, paid(who, early + pd.Timedelta(hours=1), np.full(n, 1e6))]
    events = pd.concat(frames, ignore_index=True)
    events["timestamp"] = events["timestamp"].dt.as_unit("us")
    return events


def units_of(log):
    people = ck.exposures(log, "new-checkout", plan=PLAN).of_stage(STAGE)
    canary = (people["variant"] == "true").to_numpy(bool)
    return people.assign(canary=canary, entered_at=people["exposed_at"], leaves_at=AS_OF)


def judge(log, *guardrails, **options):
    return ck.evaluate_stage(log, PLAN, STAGE, list(guardrails), as_of=AS_OF, min_dwell="12h", **options)


def guardrail(metric, **options):
    return ck.Guardrail(metric, worse="lower", margin_ratio=0.9, **options)


# ---- what is read ----------------------------------------------------------------------------------


def test_what_is_taken_out_is_what_each_person_paid_in_the_two_weeks_before():
    events = make_log()
    log = ck.EventLog(events)
    units = units_of(log)
    (before,) = metrics.before_exposure(log, [SPEND], units)
    payments = events[events["event"] == "paid"]
    for unit, found, count in zip(units.itertuples(), before.sums, before.weights, strict=True):
        mine = payments[payments["distinct_id"] == unit.person_id]
        since = unit.entered_at - pd.Timedelta(days=14)
        mine = mine[(mine["timestamp"] >= since) & (mine["timestamp"] < unit.entered_at)]
        assert found == pytest.approx(mine["amount"].sum())
        assert count == len(mine)
    assert (before.weights == 0).sum() > 100


SPECS = [
    SPEND,
    metrics.Average("paid", "amount", cuped="14d"),
    metrics.Ratio(metrics.Total("paid", "amount"), metrics.Total("paid"), name="per payment", cuped="7d"),
]


def reduced(log):
    exposed = ck.exposures(log, "new-checkout", plan=PLAN)
    frame = metrics.reduce(log, SPECS, exposed, PLAN, interval="12h", as_of=AS_OF).to_frame()
    return frame.sort_values(["metric", "stage", "interval", "variant"], ignore_index=True)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_every_engine_gives_the_same_sums_of_before_and_after(engine, tmp_path, request):
    events = make_log(n=300, seen_earlier=20)
    here = reduced(ck.EventLog(events))
    events.to_parquet(tmp_path / "events.parquet")
    if engine == "duckdb":
        log = ck.scan_posthog(str(tmp_path / "events.parquet"), memory_limit="1MB")
    else:
        spark = request.getfixturevalue("spark")
        log = ck.EventLog(spark.read.parquet(str(tmp_path / "events.parquet")))
    assert log.engine == engine
    pd.testing.assert_frame_equal(here, reduced(log), rtol=1e-12)
    assert here["before"].sum() > 0
    assert len(here) < 40


def test_the_sums_are_enough_to_compute_the_adjusted_difference():
    log = ck.EventLog(make_log())
    frame = reduced(log)
    mine = frame[(frame["metric"] == SPEND.label) & (frame["stage"] == STAGE)]
    sums = mine.groupby("variant")[
        ["entered", "total", "before", "total_squares", "before_squares", "total_by_before"]
    ].sum()
    arms = {
        variant: stats.PairMoments.of_sums(int(row.iloc[0]), *row.iloc[1:])
        for variant, row in sums.iterrows()
    }
    difference = stats.cuped_difference(arms["true"], arms["false"])
    check = judge(log, guardrail(SPEND)).check(SPEND.label)
    assert check.effect == pytest.approx(difference.value)


# ---- what is judged ----------------------------------------------------------------------------------


def outcomes_of(rng, n, *, share=0.5, alike=0.8, effect=0.0, new=0.2, draw=None):
    entered = pd.to_datetime(np.sort(rng.integers(0, 48 * HOUR, n)), unit="us", utc=True)
    units = pd.DataFrame({"entered_at": entered, "canary": rng.random(n) < share})
    draw = draw or (lambda size: rng.gamma(2, 10, size))
    habit = draw(n)
    after = np.where(rng.random(n) < alike, habit, draw(n)) + effect * units["canary"].to_numpy()
    has_past = rng.random(n) >= new
    before = Before(np.where(has_past, habit, 0.0), has_past.astype(float))
    return Outcomes(units, (SPEND,), (None,), (after,), (np.ones(n),), (0,), (before,))


LOOKS = np.arange(1, 49) * HOUR


def test_the_last_look_is_the_textbook_estimate():
    of_people = outcomes_of(np.random.default_rng(1), 500)
    series = value_series(of_people, 0, LOOKS, 48 * HOUR)
    arms = [
        stats.PairMoments.of(of_people.sums[0][arm], of_people.before[0].sums[arm])
        for arm in (of_people.canary, ~of_people.canary)
    ]
    expected = stats.cuped_difference(*arms)
    value, variance = series.contrast(1.0)
    assert value[-1] == pytest.approx(expected.value)
    assert np.sqrt(variance[-1]) == pytest.approx(expected.standard_error, rel=0.01)
    assert np.sqrt(variance[-1]) >= expected.standard_error * (1 - 1e-9)


def test_a_ratio_is_adjusted_by_its_own_past_like_its_linear_form():
    rng = np.random.default_rng(2)
    n = 400
    of_people = outcomes_of(rng, n)
    visits, visits_before = rng.poisson(3, n) + 1.0, rng.poisson(3, n).astype(float)
    spec = metrics.Average("paid", "amount", cuped="14d")
    before = Before(of_people.before[0].sums * (visits_before > 0), visits_before)
    of_people = Outcomes(of_people.units, (spec,), (None,), of_people.sums, (visits,), (0,), (before,))
    value, variance = value_series(of_people, 0, LOOKS, 48 * HOUR).contrast(1.0)
    arms = []
    for arm in (of_people.canary, ~of_people.canary):
        linear = []
        for x, y in ((of_people.sums[0][arm], visits[arm]), (before.sums[arm], visits_before[arm])):
            ratio = x.sum() / y.sum()
            linear.append(ratio + (x - ratio * y) / y.mean())
        arms.append(stats.PairMoments.of(*linear))
    expected = stats.cuped_difference(*arms)
    assert value[-1] == pytest.approx(expected.value)
    assert np.sqrt(variance[-1]) == pytest.approx(expected.standard_error, rel=0.01)


def test_the_variance_of_a_margin_given_as_a_ratio_is_the_spread_of_its_estimates():
    rng = np.random.default_rng(3)
    runs = [value_series(outcomes_of(rng, 600, share=0.3), 0, LOOKS, 48 * HOUR) for _ in range(1000)]
    for factor in (1.0, 0.9, 1.5):
        drawn = [series.contrast(factor) for series in runs]
        values, variances = (np.array([run[k][-1] for run in drawn]) for k in (0, 1))
        # the standard deviation of 1,000 draws is known to about 1 / sqrt(2000) = 2.2 %
        assert values.std() == pytest.approx(np.sqrt(variances.mean()), rel=0.075), factor


def test_without_an_effect_the_adjusted_estimate_is_unbiased_and_varies_less():
    rng = np.random.default_rng(4)
    plain, adjusted = [], []
    for _ in range(600):
        series = value_series(outcomes_of(rng, 400), 0, LOOKS, 48 * HOUR)
        adjusted.append(series.contrast(1.0)[0][-1])
        plain.append(series.contrast(1.0, adjusted=False)[0][-1])
    tolerance = 3 * np.std(adjusted) / np.sqrt(len(adjusted))  # three standard errors of the simulation
    assert abs(np.mean(adjusted)) < tolerance
    assert np.std(adjusted) < 0.85 * np.std(plain)


def heavy(rng):
    return lambda n: np.where(rng.random(n) < 0.05, rng.lognormal(3, 2, n), 0.0)


@pytest.mark.parametrize("share, tails", [(0.5, "light"), (0.05, "heavy")])
def test_the_adjusted_evidence_keeps_its_level_at_every_look(share, tails):
    rng = np.random.default_rng(6)
    runs, alpha, false = 200, 0.05, 0
    spec = guardrail(SPEND)
    for _ in range(runs):
        draw = heavy(rng) if tails == "heavy" else None
        series = value_series(outcomes_of(rng, 2000, share=share, draw=draw), 0, LOOKS, 48 * HOUR)
        contrasts = *series.contrast(1.0), *series.contrast(0.9)
        judged = value_evidence(*contrasts, spec, 1.0, margin=-1.0, gate=24)
        false += bool(np.nanmax(judged.harm_log_e) >= np.log(1 / alpha))
    assert false / runs <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / runs)


@pytest.mark.parametrize("worse, ratio", [("lower", 0.9), ("higher", 1.1)])
@pytest.mark.parametrize("effect", [-2.0, 0.0, 2.0])
def test_the_limit_is_within_the_margin_exactly_where_safety_is_shown(worse, ratio, effect):
    spec = ck.Guardrail(SPEND, worse=worse, margin_ratio=ratio)
    of_people = outcomes_of(np.random.default_rng(8), 1500, effect=effect)
    series = value_series(of_people, 0, LOOKS, 48 * HOUR)
    plain, shifted = series.contrast(1.0), series.contrast(ratio)
    judged = value_evidence(*plain, *shifted, spec, 1.0, margin=-1.0, gate=24)
    margins = plain[0] - shifted[0]
    shown = judged.standing_safe_log_e(np.log(20)) >= np.log(20)
    within = judged.low > margins if worse == "lower" else judged.high < margins
    assert within.tolist() == shown.tolist()
    assert shown[-1] == (effect >= 0 if worse == "lower" else effect <= 0)


@pytest.mark.parametrize("same", [3.7, 0.1, 1e6 / 7])
def test_values_that_do_not_vary_have_no_spread_whatever_their_rounding(same):
    of_people = outcomes_of(np.random.default_rng(9), 500)
    everybody = np.full(500, same)
    spec = metrics.Average("paid", "amount", cuped="14d")
    for now, before in ((everybody, of_people.before[0].sums), (of_people.sums[0], everybody)):
        past = (Before(before, np.ones(500)),)
        one = Outcomes(of_people.units, (spec,), (None,), (now,), (np.ones(500),), (0,), past)
        series = value_series(one, 0, LOOKS, 48 * HOUR)
        assert series.adjustment.slope[-1] == 0
        difference, variance = series.contrast(1.0)
        assert difference[-1] == series.canary[-1] - series.control[-1]
        assert (variance[-1] == 0) == (now is everybody)


# ---- what is said ----------------------------------------------------------------------------------


def test_a_report_says_what_the_past_explains_and_gives_a_narrower_interval():
    log = ck.EventLog(make_log())
    plain = guardrail(metrics.Total("paid", "amount", cap_quantile=None), name="plain")
    report = judge(log, guardrail(SPEND), plain)
    with_past, without = report.check(SPEND.label), report.check("plain")
    assert "CUPED by the 14d before exposure" in with_past.method
    assert "CUPED" not in without.method
    counts = report.audit["guardrails"][0]["counts"]["cuped"]
    reduction = counts["variance_reduction"]
    assert 0.2 < reduction < 0.95
    assert reduction == pytest.approx(counts["correlation"] ** 2, abs=0.02)
    assert f"correlation {counts['correlation']:.2f}" in with_past.meaning
    assert "variance of the difference" in with_past.meaning
    widths = [check.effect_high - check.effect_low for check in (with_past, without)]
    assert widths[0] < widths[1] * np.sqrt(1 - reduction) * 1.1
    arms = [(check.canary.value, check.control.value) for check in (with_past, without)]
    assert arms[0] == arms[1]


def test_one_planned_look_is_quoted_beside_the_evidence_and_not_below_the_minimum():
    events = make_log()
    report = judge(ck.EventLog(events), *(guardrail(spec) for spec in SPECS))
    rows = report.section("values at one planned look").to_dicts()
    assert [row["metric"] for row in rows] == [guardrail(spec).label for spec in SPECS]
    for row in rows:
        check = report.check(row["metric"])
        assert row["method"].startswith("CUPED")
        assert row["difference"] == pytest.approx(check.effect)
        assert check.effect_low < row["low"] < row["high"] < check.effect_high
    few = judge(ck.EventLog(events[events["distinct_id"] < "u0040"]), guardrail(SPEND))
    assert [section.title for section in few.sections if "planned" in section.title] == []


def test_people_without_a_past_are_counted_and_a_short_export_is_told():
    events = make_log(newcomers=0.3)
    report = judge(ck.EventLog(events), guardrail(SPEND))
    (note,) = [note for note in report.notes if note.code == "cuped_without"]
    payments = events[events["event"] == "paid"].merge(
        events.loc[events["event"] == "$feature_flag_called", ["distinct_id", "timestamp"]],
        on="distinct_id",
        suffixes=("", "_exposed"),
    )
    ago = payments["timestamp_exposed"] - payments["timestamp"]
    with_past = payments[(ago > pd.Timedelta(0)) & (ago <= pd.Timedelta(days=14))]["distinct_id"].nunique()
    assert note.count == 800 - with_past
    assert "counts as a past of 0" in note.text
    assert not [note for note in report.notes if note.code == "cuped_short"]
    late = judge(ck.EventLog(events[events["timestamp"] >= START - pd.Timedelta(days=3)]), guardrail(SPEND))
    (note,) = [note for note in late.notes if note.code == "cuped_short"]
    assert note.count == 800
    assert "begin before the export does" in note.text


def test_nobody_with_a_past_falls_back_to_the_plain_difference_and_says_so():
    log = ck.EventLog(make_log(newcomers=1.0))
    plain = guardrail(metrics.Total("paid", "amount", cap_quantile=None), name="plain")
    report = judge(log, guardrail(SPEND), plain)
    with_past, without = report.check(SPEND.label), report.check("plain")
    assert "Nothing was taken out" in with_past.meaning
    assert with_past.effect == without.effect
    assert (with_past.effect_low, with_past.effect_high) == (without.effect_low, without.effect_high)


def test_an_empty_arm_or_an_event_nobody_recorded_is_held_and_decides_nothing():
    events = make_log(n=300)
    nobody = events.assign(
        **{"$feature_flag_response": events["$feature_flag_response"].replace("true", "false")}
    )
    empty = judge(ck.EventLog(nobody), guardrail(SPEND))
    assert empty.verdict is ck.Verdict.HOLD
    assert empty.check(SPEND.label).status.value == "cannot tell"
    absent = guardrail(metrics.Total("refunded", "amount", cuped="14d"))
    report = judge(ck.EventLog(events), absent)
    assert report.verdict is ck.Verdict.HOLD
    assert "no event refunded at all" in report.check(absent.label).meaning


def test_what_people_did_with_the_feature_in_an_earlier_stage_is_not_their_past():
    clean, seen = (make_log(effect=-3.0, seen_earlier=k) for k in (0, 60))
    reports = [judge(ck.EventLog(events), guardrail(SPEND)) for events in (clean, seen)]
    fortunes = [report.audit["guardrails"][0]["counts"]["cuped"]["canary"][0] for report in reports]
    assert fortunes[1] < 1.5 * fortunes[0]


def test_calls_of_the_flag_before_the_ramp_do_not_push_the_past_back():
    """Clients ask for a flag from the day the code ships: nobody drawn has the feature until the ramp."""
    events = make_log()
    ramp = PLAN.window("some")[0]
    early = events[events["event"] == "$feature_flag_called"].copy()
    early["timestamp"] = ramp - pd.Timedelta(days=9)
    early["$feature_flag_response"] = "false"
    report = judge(ck.EventLog(pd.concat([events, early])), guardrail(SPEND))
    past = report.found.before[0]
    payments = events[(events["event"] == "paid") & (events["timestamp"] < ramp)]
    mine = payments[payments["timestamp"] >= ramp - pd.Timedelta(days=14)]
    assert past.sums.sum() == pytest.approx(mine["amount"].sum())
    assert report.audit["guardrails"][0]["counts"]["cuped"]["variance_reduction"] > 0.2


def test_the_verdict_and_the_adjusted_effect_follow_from_the_audit_record():
    report = judge(ck.EventLog(make_log(effect=-6.0)), guardrail(SPEND))
    assert report.verdict is ck.Verdict.ROLL_BACK
    record = json.loads(report.to_json())["audit"]
    assert recompute(record) == (report.verdict, report.row)
    (entry,) = record["guardrails"]
    assert entry["metric"]["cuped"] == "14d"
    counts = entry["counts"]
    taken_out = counts["cuped"]["slope"] * (counts["cuped"]["canary"][0] - counts["cuped"]["control"][0])
    effect = counts["canary"][1] - counts["control"][1] - taken_out
    assert effect == pytest.approx(report.check(SPEND.label).effect)


def test_events_on_disk_give_the_same_adjusted_report(tmp_path):
    events = make_log()
    events.to_parquet(tmp_path / "events.parquet")
    logs = ck.EventLog(events), ck.scan_posthog(str(tmp_path / "events.parquet"))
    here, there = (judge(log, *(guardrail(spec) for spec in SPECS)).to_dict() for log in logs)
    assert here["checks"] == there["checks"]
    assert here["audit"]["fingerprints"] == there["audit"]["fingerprints"]


def test_the_past_is_part_of_the_fingerprint():
    events = make_log()
    more = events["amount"].where(events["timestamp"] >= START, events["amount"] * 2)
    prints = [
        judge(ck.EventLog(one), guardrail(SPEND)).audit["fingerprints"]["units"]
        for one in (events, events.assign(amount=more))
    ]
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: metrics.Total("paid", cuped="14"), "cuped is '14'; expected a number with its unit"),
        (lambda: metrics.Total("paid", cuped="0d"), "cuped is '0d'; expected longer than zero"),
        (lambda: metrics.Average("paid", "amount", cuped=14), "cuped is 14"),
        (
            lambda: metrics.Ratio(SPEND, metrics.Total("$pageview")),
            "cuped='14d' is set on a part of a ratio; set it on the ratio",
        ),
        (
            lambda: metrics.metric_from_dict({"metric": "retention", "event": "paid", "cuped": "14d"}),
            "a retention metric has no 'cuped'",
        ),
    ],
)
def test_a_past_that_cannot_be_meant_is_refused(build, message):
    with pytest.raises(PlanError, match=message):
        build()


def test_a_metric_with_a_past_survives_its_plain_form():
    for spec in SPECS:
        assert metrics.metric_from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
