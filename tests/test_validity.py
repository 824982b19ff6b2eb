"""Holes in the data, late events and people who are missing hold a release; quiet nights do not."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.health import Row, recompute
from canarykit.health.data.delays import HOUR, Arrivals, delays_of
from canarykit.health.data.silences import FALSE_ALARMS, QUARTER, find_silences
from canarykit.health.evidence.missing_people import find_missing
from canarykit.plots.health import plot_exposure
from canarykit.simulate import Effect, Fault
from tests.release import make_release, ramp_plan

matplotlib.use("Agg")
PLAN = ck.RolloutPlan.five_stages(
    "f", owner="ada@acme.io", team_domain="acme.io", ramp=(25,), starts_at="2026-09-07T09:00:00Z", dwell="2d"
)
STAGE = "expanded beta 25%"
START, END = PLAN.window(STAGE)
ERRORS = ck.Guardrail("$exception", margin_ratio=3.0, roll_back_ratio=1.0)
OUTAGE = ("2026-09-14T10:00:00Z", "2026-09-14T16:00:00Z")
MONDAY = int(pd.Timestamp("2026-09-07T00:00:00Z").value // 1000)
NIGHTS = np.maximum(0.02, np.sin(np.linspace(0, 2 * np.pi, 96) - 1.5) + 0.6)


def simulated(*faults, effects=(), people=4000):
    scenario = ck.Scenario(faults=list(faults), effects=list(effects))
    return ck.simulate_rollout(PLAN, ck.Population(people), scenario, rng=1, progress=False, until=END)


def judge(log, *, as_of=END, stage=STAGE, **options):
    return ck.evaluate_stage(log, PLAN, stage, ERRORS, as_of=as_of, **options)


@pytest.fixture(scope="module")
def whole():
    return simulated()


# ---- the rhythm of the days -----------------------------------------------------------------------


def days_of(rng, per_day, days, *, level=None, stay=1.0):
    """Visits per quarter hour with quiet nights, and people present when visits last for `stay` quarters."""
    levels = np.ones(days) if level is None else level
    visits = rng.poisson((levels[:, None] * NIGHTS / NIGHTS.sum() * per_day).ravel())
    if stay == 1.0:
        return visits, visits
    present = np.zeros_like(visits)
    for start in np.repeat(np.arange(len(visits)), visits):
        present[start : start + rng.geometric(1 / stay)] += 1
    return present, visits


def silences(people, visits, days, stage_days=3):
    seen = np.flatnonzero(people)
    if not len(seen):
        return ()
    covered = MONDAY + int(seen[0]) * QUARTER, MONDAY + (int(seen[-1]) + 1) * QUARTER
    since = MONDAY + (days - stage_days) * 96 * QUARTER
    return find_silences(people, visits, origin=MONDAY, since=since, covered=covered)


@pytest.mark.parametrize("per_day", [3, 20, 60, 400])
@pytest.mark.parametrize("days, stay", [(3, 1.0), (7, 4.0), (17, 1.0)])
def test_quiet_nights_and_small_logs_are_no_holes(per_day, days, stay):
    """Poisson visits: promised is one stage in a thousand; 150 stages may show two (P < 0.001)."""
    rng = np.random.default_rng(per_day + days)
    alarms = sum(bool(silences(*days_of(rng, per_day, days, stay=stay), days)) for _ in range(150))
    assert 150 * FALSE_ALARMS < 1
    assert alarms <= 2


def test_days_that_differ_and_weekends_without_anybody_are_no_holes():
    rng = np.random.default_rng(4)
    for days in (4, 9):
        weekend = np.array([k % 7 in (5, 6) for k in range(days)])
        for _ in range(40):
            level = np.where(weekend, 0.0, np.exp(rng.normal(0, 0.5, days)))
            assert not silences(*days_of(rng, 300, days, level=level), days, stage_days=days)


def test_an_office_day_that_begins_an_hour_later_by_the_clock_is_no_hole():
    """Summer time ends after a week: work that began sharply at 07:00 UTC begins at 08:00."""
    rng = np.random.default_rng(6)
    office = np.zeros(96)
    office[28:64] = 12.0
    for _ in range(30):
        rate = np.array([np.roll(office, 4 if day >= 7 else 0) for day in range(10)])
        rate[[5, 6]] = 0.0
        visits = rng.poisson(rate.ravel())
        assert not silences(visits, visits, 10, stage_days=3)


@pytest.mark.parametrize("days", [3, 9])
def test_six_hours_and_whole_days_without_anybody_are_holes_where_people_are_usual(days):
    rng = np.random.default_rng(days)
    hits = 0
    for k in range(40):
        people, _ = days_of(rng, 200, days)
        begin = (days - 2) * 96 + (40 if k % 2 else 0)
        people[begin : begin + (24 if k % 2 else 96)] = 0
        holes = silences(people, people, days)
        hits += any(h.since <= MONDAY + (begin + 2) * QUARTER and h.hours >= 5 for h in holes)
    assert hits == 40


def test_one_day_alone_tells_no_rhythm():
    people = np.full(96, 40)
    people[30:60] = 0
    assert silences(people, people, 1, stage_days=1) == ()


# ---- holes in a log ---------------------------------------------------------------------------------


def test_an_outage_holds_the_promotion_until_somebody_says_what_it_was(whole):
    assert judge(whole).verdict is ck.Verdict.PROMOTE
    assert judge(whole).check("gaps").status.value == "ok"
    broken = simulated(Fault("outage", since=OUTAGE[0], until=OUTAGE[1]))
    report = judge(broken)
    assert report.verdict is ck.Verdict.HOLD
    check = report.check("gaps")
    assert "No event at all from 2026-09-14 10:00 UTC to 2026-09-14 16:00 UTC (6 h)" in check.meaning
    assert check.effect == 6.0
    assert "the data are incomplete" in report.reason
    assert recompute(report.to_json()) == (report.verdict, report.row)
    assert report.gaps == (tuple(pd.Timestamp(moment) for moment in OUTAGE),)
    labels = [text.get_text() for text in plot_exposure(report).get_legend().get_texts()]
    assert "no data" in labels
    explained = judge(broken, known_gaps=[OUTAGE])
    assert explained.verdict is ck.Verdict.PROMOTE
    assert explained.check("gaps").status.value == "for information"
    assert explained.audit["parameters"]["known_gaps"] == [
        ["2026-09-14T10:00:00+00:00", "2026-09-14T16:00:00+00:00"]
    ]


def test_a_hole_in_the_whole_log_hides_no_harm():
    outage = Fault("outage", since=OUTAGE[0], until=OUTAGE[1])
    report = judge(simulated(outage, effects=[Effect("errors", 6.0)]))
    assert report.check("gaps").status.value == "hold"
    assert report.row is Row.HARM


def arm_of(log, value):
    frame = log.frame
    called = frame["event"] == "$feature_flag_called"
    return frame["person_id"].isin(
        frame.loc[called & (frame["$feature_flag_response"] == value), "person_id"]
    )


@pytest.mark.parametrize("arm, value", [("canary", "true"), ("control", "false")])
def test_a_hole_in_one_arm_switches_the_comparison_off_whatever_it_shows(arm, value):
    log = simulated(effects=[Effect("errors", 6.0)])
    frame = log.frame
    since, until = (pd.Timestamp(moment) for moment in OUTAGE)
    lost = arm_of(log, value) & (frame["timestamp"] >= since) & (frame["timestamp"] < until)
    report = judge(ck.EventLog(frame[~lost], persons=log.persons, groups=log.groups))
    assert report.verdict is ck.Verdict.HOLD
    assert report.row in (Row.NOT_VALID_YET, Row.INVALID)
    assert f"Nobody of the {arm} was seen from 2026-09-14" in report.check("gaps").meaning
    assert report.check("people with $exception").status.value == "cannot tell"
    assert recompute(report.to_json()) == (report.verdict, report.row)


def test_calls_that_stop_while_people_go_on_are_a_hole(whole):
    frame = whole.frame
    since, until = (pd.Timestamp(moment) for moment in OUTAGE)
    inside = (frame["timestamp"] >= since) & (frame["timestamp"] < until)
    lost = inside & (frame["event"] == "$feature_flag_called")
    report = judge(ck.EventLog(frame[~lost], persons=whole.persons, groups=whole.groups))
    assert "No call of a flag from 2026-09-14" in report.check("gaps").meaning
    assert report.verdict is ck.Verdict.HOLD


def test_a_hole_is_seen_in_stages_without_a_control_too():
    start = PLAN.window("beta")[0]
    since, until = start + pd.Timedelta(hours=24), start + pd.Timedelta(hours=34)
    log = simulated(Fault("outage", since=since.isoformat(), until=until.isoformat()))
    report = judge(log, stage="beta", as_of=PLAN.window("beta")[1])
    assert report.check("gaps").status.value == "hold"
    assert report.verdict is ck.Verdict.HOLD
    assert any("known_gaps" in step for step in report.next_steps)


def test_fresh_means_fresh_at_the_evaluation_and_not_somewhere_later_in_the_log():
    plan = ramp_plan()
    start = plan.window(STAGE)[0]
    events = make_release(days=0.5).events
    later = events.tail(1).assign(timestamp=start + pd.Timedelta(days=6), uuid="later")
    log = ck.EventLog(pd.concat([events, later], ignore_index=True))
    report = ck.evaluate_stage(log, plan, STAGE, as_of=start + pd.Timedelta(days=3))
    assert report.row is Row.TOO_LITTLE_AFTER_GRACE
    assert "no fresh events" in report.reason


def test_gaps_that_are_no_times_are_refused(whole):
    with pytest.raises(ck.PlanError, match=r"pairs of times \(since, until\)"):
        judge(whole, known_gaps=["2026-09-14T10:00:00Z"])
    with pytest.raises(ck.PlanError, match="which is empty"):
        judge(whole, known_gaps=[OUTAGE[::-1]])
    with pytest.raises(ck.NaiveTimestampError):
        judge(whole, known_gaps=[("2026-09-14T10:00:00", "2026-09-14T12:00:00")])


# ---- late events ----------------------------------------------------------------------------------


def delays(happened, arrived, until):
    """Delays of events by hour, in a log that holds what had arrived `until` then."""
    there = arrived < until
    seen = Arrivals.of(happened[there], arrived[there])
    return delays_of(seen, origin=0, last_arrival=until * HOUR - 1, n_hours=int(happened.max()) + 1)


def test_delays_are_told_by_hours_old_enough_to_show_them():
    """Of each hour's 10 events 7 come at once, 2 after 5 h and 1 after 30 h; the log ends at 100 h."""
    happened = np.repeat(np.arange(100), 10)
    arrived = happened + np.tile([0] * 7 + [5] * 2 + [30], 100)
    measured = delays(happened, arrived, 100)
    assert measured.usual == 36  # 29 hours after the hour is over, told apart from 24 only
    assert 100 - measured.complete_until // HOUR == 37
    assert delays(happened, arrived, 140).complete_until is None
    assert measured.late_share == pytest.approx(0.3, abs=0.05)
    assert delays_of(Arrivals.of(happened[:0], happened[:0]), origin=0, last_arrival=0, n_hours=9) is None


def test_what_is_loaded_once_a_day_or_all_at_once_is_not_late():
    happened = np.repeat(np.arange(96), 10)
    for arrived in (np.full(len(happened), 96), (happened // 24 + 1) * 24, np.full(len(happened), 900)):
        measured = delays(happened, arrived, int(arrived.max()) + 1)
        assert (measured.late, measured.usual, measured.complete_until) == (0, 0, None)
    phones = np.where(np.arange(len(happened)) % 5 == 0, 30, 0)  # a fifth a day after, loaded once a day
    measured = delays(happened, ((happened + phones) // 24 + 1) * 24, 97)
    assert 0 < measured.late_share < 0.2
    assert measured.complete_until is not None


def test_hours_whose_events_are_still_to_come_decide_nothing():
    late = simulated(Fault("late data", share=0.2, delay="5h"))
    as_of = START + pd.Timedelta(hours=36)
    frame = late.frame
    arrived = ck.EventLog(frame[frame["created_at"] <= as_of], persons=late.persons, groups=late.groups)
    report = judge(arrived, as_of=as_of)
    check = report.check("late events")
    assert 0.17 < check.canary.value < 0.22
    assert "judged until 2026-09-14 16:00 UTC" in check.meaning
    assert report.series.looks[-1] == int(pd.Timestamp("2026-09-14T16:00:00Z").value // 1000)
    complete = judge(late, as_of=as_of)
    before = report.series.looks[-1]
    same = complete.series.looks <= before
    assert (
        abs(report.series.risk_sets[0].events.sum() - complete.series.risk_sets[0].events[same].sum())
        <= 0.05 * report.series.risk_sets[0].events.sum()
    )


def test_a_stage_without_one_complete_hour_is_too_young_to_judge():
    late = simulated(Fault("late data", share=0.2, delay="6h"))
    as_of = START + pd.Timedelta(hours=5)
    frame = late.frame
    arrived = ck.EventLog(frame[frame["created_at"] <= as_of], persons=late.persons, groups=late.groups)
    report = judge(arrived, as_of=as_of)
    assert report.row is Row.TOO_LITTLE
    assert "no hour of the stage is complete yet" in report.reason


def test_a_log_that_does_not_know_when_events_arrived_has_no_such_line(whole):
    assert "late events" in [check.name for check in judge(whole).checks]
    without = ck.EventLog(whole.frame.drop(columns="created_at"), persons=whole.persons, groups=whole.groups)
    assert "late events" not in [check.name for check in judge(without).checks]


# ---- who is missing -------------------------------------------------------------------------------


def test_canary_people_of_one_browser_who_are_never_recorded_are_named(whole):
    frame = whole.frame
    safari = frame["person_id"].isin(frame.loc[frame["$browser"] == "Safari", "person_id"])
    people = frame.loc[safari & arm_of(whole, "true"), "person_id"].unique()
    lost = frame["person_id"].isin(people[: int(0.7 * len(people))]) & (frame["timestamp"] >= START)
    report = judge(ck.EventLog(frame[~lost], persons=whole.persons, groups=whole.groups))
    check = report.check("who is missing")
    assert check.status.value == "hold"
    assert "where $browser is Safari" in check.meaning
    assert check.evidence > 100
    assert report.verdict is ck.Verdict.HOLD
    assert recompute(report.to_json()) == (report.verdict, report.row)


def test_a_day_that_lost_its_canary_people_is_named(whole):
    frame = whole.frame
    second = START + pd.Timedelta(days=1)
    lost = arm_of(whole, "true") & (frame["timestamp"] >= second) & (frame["event"] != "$pageview")
    lost &= frame["person_id"].isin(frame["person_id"].unique()[::2])
    called = lost & (frame["event"] == "$feature_flag_called")
    report = judge(ck.EventLog(frame[~called], persons=whole.persons, groups=whole.groups))
    shares = [row[3] for row in report.section("by day of arrival").rows]
    assert shares[1] < 0.75 * shares[0]


def test_nobody_is_called_missing_where_chance_alone_drew_the_arms():
    """Ten segments and three days, an hourly look: promised is 1 in 100; 300 stages may show nine."""
    rng = np.random.default_rng(8)
    alarms = 0
    for _ in range(300):
        n = 1500
        entered = np.sort(rng.integers(0, 72 * 3_600_000_000, n)) + MONDAY
        canary = rng.random(n) < 0.25
        units = pd.DataFrame({"entered_at": pd.to_datetime(entered, unit="us", utc=True), "canary": canary})
        browsers = rng.choice(["Chrome", "Safari", "Edge", "Firefox"], n, p=[0.6, 0.25, 0.1, 0.05])
        missing = find_missing(
            units,
            {"$browser": browsers.astype(object)},
            share=0.25,
            origin=MONDAY,
            step=3_600_000_000,
            n_looks=72,
        )
        alarms += missing.holds(ck.health.Rules())
    assert alarms <= 9


# ---- the same from every engine ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning")
def test_the_same_numbers_come_from_pandas_parquet_and_spark(tmp_path, spark):
    log = simulated(
        Fault("outage", since=OUTAGE[0], until=OUTAGE[1]),
        Fault("late data", share=0.1, delay="3h"),
        people=1500,
    )
    as_of = END - pd.Timedelta(hours=3)
    arrived = log.frame[log.frame["created_at"] <= as_of]
    arrived.to_parquet(tmp_path / "events.parquet")
    side = {"persons": log.persons, "groups": log.groups}
    logs = (
        ck.EventLog(arrived, **side),
        ck.scan_posthog(tmp_path / "events.parquet", memory_limit="1MB", **side),
        ck.EventLog(spark.read.parquet(str(tmp_path / "events.parquet")), **side),
    )
    reports = [judge(one, as_of=as_of).to_dict() for one in logs]
    assert [report["audit"].pop("engine") for report in reports] == ["pandas", "duckdb", "spark"]
    here = reports[0]
    assert {check["check"]: check["status"] for check in here["checks"]}["gaps"] == "hold"
    for there in reports[1:]:
        assert there["checks"] == here["checks"]
        assert there["sections"] == here["sections"]
        assert there["audit"] == here["audit"]


# ---- events that cannot be used -------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    ck.simulate_rollout(PLAN, ck.Population(4000), rng=1, progress=False, until=END, path=folder)
    return folder


@pytest.mark.parametrize(
    "columns, value, words",
    [
        (["properties"], '{"$browser": ', "whose properties are not JSON"),
        (["timestamp"], None, "without a time that can be read"),
        (["distinct_id", "person_id"], None, "without any id"),
        (["event"], None, "without a name"),
    ],
    ids=["json", "time", "id", "name"],
)
def test_an_export_of_which_much_cannot_be_used_holds_the_promotion(
    exported, tmp_path, columns, value, words
):
    events = pd.read_parquet(exported / "events.parquet")
    events.loc[events.index[5::10], columns] = value
    events.to_parquet(tmp_path / "events.parquet")
    persons, groups = (pd.read_parquet(exported / f"{name}.parquet") for name in ("persons", "groups"))
    reports = [
        judge(read(tmp_path / "events.parquet", persons=persons, groups=groups))
        for read in (ck.read_posthog, ck.scan_posthog)
    ]
    for report in reports:
        check = report.check("data")
        assert report.verdict is ck.Verdict.HOLD
        assert check.status.value == "hold"
        assert f"{words}; {len(events):,} in all), where at most 1.00 % is let pass" in check.meaning
        assert "10.0 % of the export's events cannot be used" in report.reason
        assert report.audit["parameters"]["max_unusable_share"] == 0.01
        assert recompute(report.to_json()) == (report.verdict, report.row)
        assert report.series.rows[-1] == report.row
    assert reports[0].audit["unusable_events"] == reports[1].audit["unusable_events"]
    assert reports[0].reason == reports[1].reason


def test_a_few_unusable_events_and_an_allowed_share_hold_nothing(exported, tmp_path):
    events = pd.read_parquet(exported / "events.parquet")
    events.loc[events.index[5::200], "timestamp"] = None
    events.to_parquet(tmp_path / "events.parquet")
    log = ck.scan_posthog(
        tmp_path / "events.parquet",
        persons=exported / "persons.parquet",
        groups=exported / "groups.parquet",
    )
    assert judge(log).verdict is ck.Verdict.PROMOTE
    assert judge(log).check("data").status.value == "ok"
    assert judge(log, max_unusable_share=0.001).verdict is ck.Verdict.HOLD
    with pytest.raises(ck.PlanError, match="max_unusable_share is 2"):
        judge(log, max_unusable_share=2)


def test_unusable_events_hide_no_harm():
    log = simulated(effects=[Effect("errors", 6.0)])
    frame = log.frame.copy()
    frame.loc[frame.index[::20], "timestamp"] = pd.NaT
    report = judge(ck.EventLog(frame, persons=log.persons, groups=log.groups))
    assert report.check("data").status.value == "hold"
    assert report.row is Row.HARM
