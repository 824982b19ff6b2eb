"""Metrics: what is counted, for whom, from when to when; the same numbers from every engine."""

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit import metrics
from canarykit.errors import DataError, PlanError
from canarykit.metrics.risk import RiskSets, interval_counts, risk_sets
from tests.release import FLAG, make_release, ramp_plan

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning")

STAGE = "expanded beta 25%"
FIVE = [
    metrics.ErrorShare(),
    metrics.Conversion("paid", within="6h"),
    metrics.SlowShare("paid", "amount", slower_than=50),
    metrics.Total("paid", "amount"),
    metrics.FunnelShare(("$pageview", "paid"), within="1d"),
]


def units_of(release, *, hours=30):
    log = release.log
    people = ck.exposures(log, FLAG, plan=ramp_plan()).of_stage(STAGE)
    stop = ramp_plan().window(STAGE)[0] + pd.Timedelta(hours=hours)
    return people.assign(
        canary=(people["variant"] == "true").to_numpy(bool), entered_at=people["exposed_at"], leaves_at=stop
    )


def slow_first(events, units, name, *, within=None, above=None):
    """The obvious way: one person at a time."""
    answer, named = [], events[events["event"] == name]
    of = dict(list(named.groupby("distinct_id")))
    for unit in units.itertuples():
        mine = of.get(unit.person_id, named[:0])
        end = unit.leaves_at if within is None else min(unit.leaves_at, unit.entered_at + within)
        mine = mine[(mine["timestamp"] >= unit.entered_at) & (mine["timestamp"] < end)]
        if above is not None:
            mine = mine[mine["amount"] > above]
        answer.append(-1 if mine.empty else mine["timestamp"].min().value // 1000)
    return np.array(answer)


@pytest.fixture(scope="module")
def release():
    return make_release(n=400, base=0.1)


def test_first_events_agree_with_one_person_at_a_time(release):
    units = units_of(release)
    outcomes = metrics.outcomes(release.log, FIVE, units)
    events = release.events
    assert outcomes.first[0].tolist() == slow_first(events, units, "$exception").tolist()
    six = pd.Timedelta(hours=6)
    assert outcomes.first[1].tolist() == slow_first(events, units, "paid", within=six).tolist()
    assert outcomes.first[2].tolist() == slow_first(events, units, "paid", above=50).tolist()
    amounts = events[events["event"] == "paid"].groupby("distinct_id")["amount"].sum()
    expected = units["person_id"].map(amounts).fillna(0.0)
    assert outcomes.sums[3] == pytest.approx(expected.to_numpy())
    paid_after_page = slow_first(events, units, "paid")
    reached = outcomes.first[4] >= 0
    assert set(np.flatnonzero(reached)) <= set(np.flatnonzero(paid_after_page >= 0))


def reduced(log):
    exposed = ck.exposures(log, FLAG, plan=ramp_plan())
    return metrics.reduce(log, FIVE, exposed, ramp_plan(), interval="6h", as_of="2026-09-20T15:00:00Z")


def same(one, other):
    assert [row[:-2] for row in one.rows] == [row[:-2] for row in other.rows]
    for k in (-2, -1):
        columns = [[np.nan if row[k] is None else row[k] for row in result.rows] for result in (one, other)]
        assert columns[0] == pytest.approx(columns[1], nan_ok=True)


def test_pandas_and_parquet_give_the_same_statistics(release, tmp_path):
    release.events.to_parquet(tmp_path / "events.parquet")
    on_disk = ck.scan_posthog(str(tmp_path / "events.parquet"), persons=release.persons)
    assert on_disk.engine == "duckdb"
    same(reduced(release.log), reduced(on_disk))


def test_a_spark_session_gives_the_same_statistics(release, spark, tmp_path):
    release.events.to_parquet(tmp_path / "events.parquet")
    on_spark = ck.EventLog(spark.read.parquet(str(tmp_path / "events.parquet")), persons=release.persons)
    assert on_spark.engine == "spark"
    same(reduced(release.log), reduced(on_spark))


def test_statistics_add_up_to_the_people_and_their_events(release):
    frame = reduced(release.log).to_frame()
    errors = frame[frame["metric"] == "people with $exception"]
    outcomes = metrics.outcomes(release.log, [metrics.ErrorShare()], units_of(release))
    assert errors["events"].sum() == (outcomes.first[0] >= 0).sum()
    assert errors["entered"].sum() == len(outcomes.units)
    money = frame[frame["metric"] == "sum of amount per person"]
    assert money["total"].sum() == pytest.approx(release.events["amount"].sum())


def test_people_at_risk_are_counted_like_a_slow_count_of_them():
    rng = np.random.default_rng(8)
    n, step, intervals = 300, 10, 12
    starts = rng.integers(0, 100, n)
    stops = starts + rng.integers(0, 60, n)
    first = np.where(rng.random(n) < 0.4, starts + rng.integers(0, 60, n), -1)
    first = np.where(first < stops, first, -1)
    canary = rng.random(n) < 0.3
    counts = interval_counts(starts, stops, first, canary, origin=0, step=step, n_intervals=intervals)
    for i in range(intervals):
        inside = (starts < stops) & (starts // step <= i)
        end = np.where(first >= 0, first, stops - 1)
        at_risk = inside & (np.minimum(end // step, intervals - 1) >= i)
        assert counts.at_risk_canary[i] == (at_risk & canary).sum()
        assert counts.at_risk_control[i] == (at_risk & ~canary).sum()
    events = counts.events_canary + counts.events_control
    assert (events <= counts.at_risk_canary + counts.at_risk_control).all()
    assert events.sum() == (first >= 0).sum()


@pytest.mark.parametrize("seed", range(4))
def test_an_event_is_compared_with_those_who_came_in_with_it_and_are_left(seed):
    rng = np.random.default_rng(seed)
    n, step, intervals, until = 700, 10, 24, 235
    starts = rng.integers(0, 235, n)
    stops = np.minimum(starts + rng.integers(0, 150, n), until)
    first = starts + rng.integers(0, 40, n)
    first = np.where((rng.random(n) < 0.6) & (first < stops), first, -1)
    canary, kind = rng.random(n) < 0.3, rng.integers(0, 2, n)
    sets = risk_sets(
        starts, stops, first, canary, origin=0, step=step, n_intervals=intervals, until=until, strata=kind
    )
    expected = []
    people = [
        {"start": a, "stop": b, "first": c, "canary": d, "kind": k}
        for a, b, c, d, k in zip(starts, stops, first, canary, kind, strict=True)
        if a < b
    ]
    for kind_now in (0, 1):
        cohort, seen = [], 0
        for interval in range(23):  # the last one is not over
            new = [p for p in people if p["kind"] == kind_now and p["start"] // step == interval]
            cohort, seen = cohort + new, seen + len(new)
            if len(cohort) < min(50, max(20, seen / 20)):
                continue
            for p in cohort:
                if p["first"] >= 0:
                    left = [
                        q for q in cohort if (q["first"] if q["first"] >= 0 else q["stop"] - 1) >= p["first"]
                    ]
                    part = sum(q["canary"] for q in left) / len(left)
                    expected.append((max(p["first"] // step, interval), part, p["canary"]))
            cohort = []
    got = sorted(zip(sets.cohorts.look.tolist(), sets.cohorts.share.tolist(), strict=True))
    np.testing.assert_allclose(got, sorted((look, part) for look, part, _ in expected))
    assert (
        sets.events_canary.tolist()
        == np.bincount([look for look, _, mine in expected if mine], minlength=intervals).tolist()
    )
    assert sets.events.sum() == len(expected) < (first >= 0).sum()  # the newest wait
    assert sets.waiting > 0
    assert sets.swapped().swapped().events_canary.tolist() == sets.events_canary.tolist()
    twice = RiskSets.joined([sets, sets])
    assert twice.events.sum() == 2 * sets.events.sum()
    assert twice.cohorts.expected()[intervals:].tolist() == sets.cohorts.expected().tolist()


def test_retention_counts_only_the_day_it_names():
    spec = metrics.Retention(2, event="$pageview")
    start = ramp_plan().window(STAGE)[0]
    rows = [{"event": "$feature_flag_called", "distinct_id": w, "timestamp": start} for w in "abc"]
    for who, hours in (("a", 49), ("b", 47), ("c", 73)):
        rows.append(
            {"event": "$pageview", "distinct_id": who, "timestamp": start + pd.Timedelta(hours=hours)}
        )
    units = pd.DataFrame({"person_id": list("abc"), "canary": True, "entered_at": start})
    units["leaves_at"] = start + pd.Timedelta(days=10)
    outcomes = metrics.outcomes(ck.EventLog(pd.DataFrame(rows)), [spec], units)
    assert (outcomes.first[0] >= 0).tolist() == [True, False, False]


def test_values_that_are_no_numbers_are_counted_and_left_out():
    start = ramp_plan().window(STAGE)[0]
    amounts = ["5", "nan", "inf", "free", None]
    rows = [
        {"event": "paid", "distinct_id": f"u{i}", "timestamp": start, "amount": a}
        for i, a in enumerate(amounts)
    ]
    units = pd.DataFrame({"person_id": [f"u{i}" for i in range(5)], "canary": True, "entered_at": start})
    units["leaves_at"] = start + pd.Timedelta(days=1)
    outcomes = metrics.outcomes(ck.EventLog(pd.DataFrame(rows)), [metrics.Total("paid", "amount")], units)
    assert outcomes.unreadable == (4,)  # the one without an amount too
    assert outcomes.sums[0].tolist() == [5.0, 0.0, 0.0, 0.0, 0.0]


def test_matches_on_properties_compare_texts_and_names_with_quotes_are_safe():
    start = ramp_plan().window(STAGE)[0]
    rows = [
        {"event": "it's", "distinct_id": "a", "timestamp": start, 'the "big" one': True},
        {"event": "it's", "distinct_id": "b", "timestamp": start, 'the "big" one': False},
    ]
    units = pd.DataFrame({"person_id": ["a", "b"], "canary": True, "entered_at": start})
    units["leaves_at"] = start + pd.Timedelta(days=1)
    spec = metrics.ErrorShare("it's", where={'the "big" one': True})
    outcomes = metrics.outcomes(ck.EventLog(pd.DataFrame(rows)), [spec], units)
    assert (outcomes.first[0] >= 0).tolist() == [True, False]
    assert outcomes.people(0)["person_id"].tolist() == ["a"]


def test_units_without_a_column_or_people_are_answered():
    log = make_release(n=50).log
    with pytest.raises(DataError, match=r"units lack 'canary'; .* Did you mean 'canery'"):
        metrics.outcomes(log, FIVE, pd.DataFrame({"person_id": [], "canery": []}))
    empty = units_of(make_release(n=50)).head(0)
    assert metrics.outcomes(log, FIVE, empty).first[0].tolist() == []


HARM_IS = [
    ("$exception", "higher"),
    ("$rageclick", "higher"),
    ("Application Crashed", "higher"),
    (metrics.ErrorShare("payment declined"), "higher"),
    (metrics.SlowShare("page", "load_ms", slower_than=2500), "higher"),
    (metrics.Average("$web_vitals", "$web_vitals_LCP_value"), "higher"),
    (metrics.Total("$exception"), "higher"),
    (metrics.Ratio(metrics.Total("$exception"), metrics.Total("$pageview")), "higher"),
    (metrics.Conversion("paid", within="1d"), "lower"),
    (metrics.FunnelShare(("seen", "paid")), "lower"),
    (metrics.Retention(1), "lower"),
    (metrics.Total("paid", "amount"), "lower"),
    (metrics.Average("order completed", "$revenue"), "lower"),
    (metrics.Ratio(metrics.Total("paid", "amount"), metrics.Total("$session_start")), "lower"),
    (metrics.SurveyResponse("nps"), "lower"),
    (metrics.SurveyScore("nps"), "lower"),
]


@pytest.mark.parametrize("metric, harm", HARM_IS)
def test_a_metric_knows_in_which_direction_a_release_does_harm(metric, harm):
    guardrail = ck.Guardrail(metric)
    assert guardrail.worse == harm
    assert guardrail.tolerated_ratio == (1.25 if harm == "higher" else 0.95)
    assert ck.Guardrail.from_dict(guardrail.to_dict()) == guardrail


@pytest.mark.parametrize(
    "metric",
    [
        "paid",
        "error page closed",
        metrics.Conversion("order refunded"),
        metrics.FunnelShare(("seen", "subscription cancelled")),
        metrics.Total("refund", "amount"),
        metrics.Total("$pageview"),
        metrics.Average("search", "results"),
        metrics.Ratio(metrics.Total("paid", "amount"), metrics.Total("$exception")),
    ],
)
def test_where_no_name_tells_which_direction_is_harm_it_must_be_given(metric):
    with pytest.raises(PlanError, match=r"worse='lower' .* or worse='higher'"):
        ck.Guardrail(metric)
    plain = metric if isinstance(metric, str) else metric.to_dict()
    with pytest.raises(PlanError, match='"worse": "lower" or "worse": "higher"'):
        ck.Guardrail.from_dict({"metric": plain})
    for worse in ("higher", "lower"):
        assert ck.Guardrail(metric, worse=worse).worse == worse


def test_specs_survive_their_plain_form():
    ratio = metrics.Ratio(metrics.Total("paid", "amount"), metrics.Total("$session_start"))
    specs = [*FIVE, ratio, metrics.Retention(7), metrics.SurveyResponse("s"), metrics.SurveyScore("s"),
             metrics.Average("paid", "amount", where={"plan": "pro"})]  # fmt: skip
    for spec in specs:
        guardrail = ck.Guardrail(spec, worse="lower", margin_ratio=0.9, critical=True)
        assert ck.Guardrail.from_dict(guardrail.to_dict()) == guardrail


@pytest.mark.parametrize(
    "build, message",
    [
        (
            lambda: ck.Guardrail("x", worse="higher", margin_ratio=0.9),
            "expected above 1, since higher is worse",
        ),
        (lambda: ck.Guardrail("x", worse="lower", margin_ratio=1.1), "expected between 0 and 1"),
        (lambda: ck.Guardrail("$exception", margin_ratio=1.1, margin_pp=1), "give one margin"),
        (lambda: ck.Guardrail("$exception", margin_ratio=float("nan")), "margin_ratio is nan"),
        (lambda: ck.Guardrail("$exception", margin=3), "margin is for values per person"),
        (lambda: ck.Guardrail(metrics.Total("error"), margin_pp=1), "margin_pp is for shares"),
        (lambda: ck.Guardrail("x", worse="up"), "expected 'higher' or 'lower'"),
        (lambda: ck.Guardrail("$exception", limit=5), "expected a fraction of people"),
        (lambda: ck.Guardrail("$exception", weight=0), "expected a part in"),
        (lambda: ck.Guardrail(3), "expected a spec such as"),
        (lambda: metrics.Conversion("paid", within="7"), "number with its unit"),
        (lambda: metrics.Conversion(""), "the event of a conversion metric is ''; expected a text"),
        (lambda: metrics.SlowShare("a", "b", slower_than=float("nan")), "expected a finite number"),
        (lambda: metrics.Retention(0), "expected 1 or more days"),
        (lambda: metrics.FunnelShare(("a", "a")), "expected distinct events"),
        (lambda: metrics.Total("a", cap_quantile=1.5), "expected between 0.5 and 1"),
        (lambda: metrics.metric_from_dict({"metric": "conversoin"}), "Did you mean 'conversion'"),
        (lambda: metrics.metric_from_dict({"metric": "conversion"}), "cannot be built"),
        (lambda: ck.Guardrail.from_dict({"worse": "lower"}), "needs a 'metric'"),
        (
            lambda: metrics.guardrail_weights(
                [ck.Guardrail("$exception", weight=0.5), ck.Guardrail("crash")]
            ),
            "all or none",
        ),
        (lambda: metrics.guardrail_weights([ck.Guardrail("$exception", weight=0.9)] * 2), "add up to 1.8"),
    ],
)
def test_guardrails_that_cannot_be_meant_are_refused(build, message):
    with pytest.raises(PlanError, match=message):
        build()
