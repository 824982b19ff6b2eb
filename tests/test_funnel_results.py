"""What a funnel says about entries the engine found: checked on entries made by hand."""

import json

import duckdb
import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit import EventLog
from canarykit.errors import PlanError
from canarykit.funnels.answers.compare import choose_baseline, compare_steps
from canarykit.funnels.answers.correlate import correlation_rows, is_skewed
from canarykit.funnels.answers.funnel import Funnel
from canarykit.funnels.answers.times import ConversionTimes, FunnelTrend
from canarykit.funnels.engine.runs import FunnelRun, TrendRun
from canarykit.funnels.question.specs import Breakdown, Entity, FunnelQuery, Step
from canarykit.funnels.run import run_funnel

SECOND = 1_000_000
STEPS = ("signup", "address", "paid")


def query(attribution="first_touch", flag="new-checkout", steps=STEPS, **more):
    breakdown = None if attribution is None else Breakdown((f"$feature/{flag}",), attribution=attribution)
    named = tuple(Step((Entity(name),)) for name in steps)
    return FunnelQuery(steps=named, breakdown=breakdown, flag=flag if breakdown else None, **more)


def entries(*people, labels=("control", "test"), exposed=None, n_steps=3):
    """People as (label position, seconds of each step done)."""
    times = np.full((len(people), n_steps), -1, dtype=np.int64)
    for i, (_, seconds) in enumerate(people):
        times[i, : len(seconds)] = np.rint(np.array(seconds) * SECOND).astype(np.int64)
    reached = np.array([len(seconds) - 1 for _, seconds in people], dtype=np.int8)
    return FunnelRun(
        labels=labels,
        value=np.array([label for label, _ in people], dtype=np.int32),
        reached=reached,
        bits=(1 << (reached.astype(np.int64) + 1)) - 1,
        times=times,
        exposed=None if exposed is None else np.array(exposed),
    )


def funnel_of(counts, *, attribution="first_touch", exposed=None, labels=("control", "test")):
    people = []
    for label, per_step in enumerate(counts):
        for k, n in enumerate(per_step):
            further = per_step[k + 1] if k + 1 < len(per_step) else 0
            people += [(label, tuple(range(k + 1)))] * (n - further)
    run = entries(*people, labels=labels, exposed=exposed)
    return Funnel.from_run(query(attribution), run)


def test_a_bar_is_the_people_who_did_the_step_out_of_those_at_the_start():
    funnel = funnel_of([(80, 60, 48), (70, 63, 56)])
    rows = funnel.rows_of("test")
    assert [row["count"] for row in rows] == [70, 63, 56]
    assert rows[2]["share"] == 56 / 70
    assert rows[2]["from_previous"] == 56 / 63
    assert [row["dropped"] for row in rows] == [0, 7, 7]
    # Wilson's interval of 56 of 70, as R's binom.wilson gives it
    assert rows[2]["low"] == pytest.approx(0.6918, abs=5e-4)
    assert rows[2]["high"] == pytest.approx(0.8769, abs=5e-4)


def test_the_first_step_of_those_who_took_it_is_everybody_and_needs_no_interval():
    row = funnel_of([(80, 60, 48), (70, 63, 56)]).rows_of("control")[0]
    assert (row["share"], row["low"], row["high"]) == (1.0, 1.0, 1.0)


def test_by_exposure_people_who_never_started_still_count_at_the_start():
    funnel = funnel_of([(80, 60, 48), (70, 63, 56)], attribution="exposure", exposed=(200, 100))
    first = funnel.rows_of("control")[0]
    assert (first["people"], first["share"], first["dropped"]) == (200, 0.4, 120)
    assert funnel.rows_of("control")[2]["share"] == 48 / 200
    assert "24.0 % of control (48 of 200)" in repr(funnel)


def test_gaps_of_zero_are_left_out_of_step_times_and_kept_in_the_total():
    run = entries((0, (0, 0, 10)), (0, (0, 4, 10)), (0, (0, 8)), labels=("control",))
    funnel = Funnel.from_run(query(), run)
    address = funnel.rows_of("control")[1]
    assert (address["average_seconds"], address["median_seconds"]) == (6.0, 6.0)
    assert funnel.total_median_seconds == 10.0


def test_an_optional_step_left_out_compares_with_the_last_required_one():
    optional = query(attribution=None, optional=(1,))
    run = FunnelRun(
        labels=(None,),
        value=np.zeros(2, dtype=np.int32),
        reached=np.array([1, 1], dtype=np.int8),
        bits=np.array([0b101, 0b111]),
        times=np.array([[0, 4, -1], [0, 4, -1]]) * SECOND,
    )
    rows = Funnel.from_run(optional, run).rows
    assert [row["count"] for row in rows] == [2, 1, 2]
    assert (rows[2]["from_previous"], rows[2]["dropped"]) == (1.0, 0)


def test_the_posthog_shape_counts_steps_from_zero_and_lists_breakdown_values():
    first, second = funnel_of([(8, 6, 4), (7, 6, 5)]).to_posthog()
    assert [step["order"] for step in first] == [0, 1, 2]
    assert [step["count"] for step in second] == [7, 6, 5]
    assert second[0]["breakdown_value"] == ["test"]
    assert first[0]["average_conversion_time"] is None
    assert first[1]["average_conversion_time"] == 1.0


def test_nobody_in_a_funnel_is_an_answer():
    funnel = Funnel.from_run(query(), entries(labels=()))
    assert funnel.to_posthog() == []
    assert repr(funnel).startswith("Nobody entered the funnel from signup to paid")
    assert funnel.time_to_convert().average_seconds is None


def test_a_step_is_named_or_counted_from_one():
    funnel = funnel_of([(8, 6, 4), (7, 6, 5)])
    assert funnel.step_index("address") == funnel.step_index(2) == 1
    with pytest.raises(PlanError, match=r"no step 'adress'.*Did you mean 'address'"):
        funnel.step_index("adress")
    with pytest.raises(PlanError, match="a number from 1 to 3"):
        funnel.step_index(0)
    twice = Funnel.from_run(query(steps=("open", "open")), entries(labels=(), n_steps=2))
    with pytest.raises(PlanError, match="steps 1 and 2 are both called 'open'"):
        twice.step_index("open")


def test_a_funnel_equals_itself_recomputed_and_survives_json():
    one, two = (funnel_of([(80, 60, 48), (70, 63, 56)]) for _ in range(2))
    assert one == two
    assert json.loads(one.to_json())["rows"][5]["count"] == 56
    assert one != funnel_of([(80, 60, 48), (70, 63, 55)])


# ---- time to convert -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seconds, bins, average",
    [((0, 4.5), [(4, 1), (5, 0)], 4.5), ((4, 4), [(0, 1), (60, 0)], 0.0)],
)
def test_time_to_convert_keeps_zero_and_has_one_bin_more(seconds, bins, average):
    run = entries((0, seconds), labels=(None,), n_steps=2)
    times = ConversionTimes.from_run(run, query(attribution=None, steps=("a", "b")))
    assert [(row["start_seconds"], row["count"]) for row in times.rows] == bins
    assert times.average_seconds == average


def test_a_conversion_curve_is_the_share_of_everybody_at_the_first_step():
    run = entries((0, (0, 1, 3)), (0, (0, 1, 3)), (0, (0, 9, 10)), (0, (0,)), labels=("test",))
    times = ConversionTimes.from_run(run, query())
    assert [(p["seconds"], p["share"]) for p in times.curve("test")] == [(3.0, 0.5), (10.0, 0.75)]
    assert times.by_variant[0]["median_seconds"] == 3.0
    assert times.most_seconds(1.0) == 10.0


def test_a_long_curve_ends_where_all_have_converted():
    people = [(0, (0, 0, float(i))) for i in range(1, 1001)] + [(0, (0,))] * 1000
    times = ConversionTimes.from_run(entries(*people, labels=("test",)), query())
    curve = times.curve("test")
    assert len(curve) == 200
    assert (curve[-1]["seconds"], curve[-1]["share"]) == (1000.0, 0.5)
    assert all(p["share"] == pytest.approx(p["seconds"] / 2000) for p in curve)


# ---- trends ----------------------------------------------------------------------------------------------


def test_a_period_in_which_nobody_started_has_no_share():
    day = 86_400 * SECOND
    run = TrendRun(
        labels=("control",),
        periods=np.array([0, day]),
        incomplete=np.array([False, True]),
        entered=np.array([[4, 0]]),
        reached=np.array([[1, 0]]),
    )
    trend = FunnelTrend.from_run(run, from_name="signup", to_name="paid", interval="day")
    assert [row["share"] for row in trend.rows] == [0.25, None]
    assert [row["incomplete"] for row in trend.rows] == [False, True]
    assert trend.rows[1]["start"].isoformat() == "1970-01-02T00:00:00+00:00"
    assert "25.0 % of control (4)" in repr(trend)


# ---- comparing -------------------------------------------------------------------------------------------


def test_the_difference_has_the_published_score_interval():
    # 56/70 against 48/80 is example (a) of Newcombe (1998), whose table II has .0528 and .3382
    row = funnel_of([(80, 60, 48), (70, 63, 56)]).compare().rows[-1]
    assert row["difference"] == pytest.approx(0.2)
    assert row["low"] == pytest.approx(0.052830, abs=1e-6)
    assert row["high"] == pytest.approx(0.338173, abs=1e-6)
    assert row["ratio_low"] == pytest.approx(1.079047, abs=2e-3)
    assert row["ratio_high"] == pytest.approx(1.672145, abs=2e-3)


def test_looking_every_day_costs_width():
    row = funnel_of([(800, 600, 480), (700, 630, 560)]).compare().rows[-1]
    assert row["always_low"] < row["low"] < row["difference"] < row["high"] < row["always_high"]


def test_daily_looks_rarely_call_a_difference_where_there_is_none():
    from canarykit.funnels.answers.compare import _any_look

    rng = np.random.default_rng(20250303)
    runs, days, false_calls, naive_calls = 400, 14, 0, 0
    for _ in range(runs):
        a, b = (rng.binomial(150, 0.3, days).cumsum() for _ in range(2))
        n = 150 * np.arange(1, days + 1)
        p = (a + b) / (2 * n)
        naive = np.flatnonzero(np.abs(a - b) / n > 1.96 * np.sqrt(2 * p * (1 - p) / n))
        naive_calls += naive.size > 0
        spans = [_any_look(int(a[k]), int(n[k]), int(b[k]), int(n[k]), confidence=0.95, planned_people=5000)
                 for k in naive]  # fmt: skip
        false_calls += any(low > 0 or high < 0 for low, high in spans)  # the wider one calls nowhere else
    assert false_calls <= 0.05 * runs + 3 * np.sqrt(0.05 * 0.95 * runs)
    assert naive_calls > 3 * 0.05 * runs  # what the interval is for


def test_from_exposure_the_first_step_is_compared_too_and_from_entry_it_is_not():
    exposed = funnel_of([(80, 60, 48), (70, 63, 56)], attribution="exposure", exposed=(200, 100)).compare()
    entered = funnel_of([(80, 60, 48), (70, 63, 56)]).compare()
    assert [row["step"] for row in exposed.rows] == [1, 2, 3]
    assert [row["step"] for row in entered.rows] == [2, 3]
    assert {note.code for note in exposed.notes} == {"conditional_rates"}
    assert {note.code for note in entered.notes} == {"conditional_rates", "from_entry"}


def test_rates_between_steps_are_shown_and_the_result_says_why_they_are_not_tested():
    comparison = funnel_of([(80, 60, 48), (70, 63, 56)]).compare()
    assert comparison.rows[-1]["from_previous"] == 56 / 63
    assert "not tested" in repr(comparison)


def test_people_whose_variant_nobody_knows_are_never_control():
    funnel = funnel_of([(80, 60, 48), (70, 63, 56), (9, 5, 1)], labels=("false", "true", ""))
    comparison = funnel.compare()
    assert comparison.baseline == "false"
    assert {row["variant"] for row in comparison.rows} == {"true"}
    assert "9 people without a known variant are not compared" in repr(comparison)
    assert "11.1 % of unknown" in repr(funnel)


def test_a_person_counted_in_several_variants_cannot_be_compared():
    with pytest.raises(PlanError, match="counts a person under several values"):
        funnel_of([(8, 6, 4), (7, 6, 5)], attribution="all_events").compare()


def test_the_baseline_must_be_there():
    assert choose_baseline(["control", "a"], None) == "control"
    with pytest.raises(PlanError, match=r"no variant 'contrl'.*Did you mean 'control'"):
        choose_baseline(["control", "a"], "contrl")
    with pytest.raises(PlanError, match="which variant is the baseline"):
        choose_baseline(["a", "b"], None)


def test_an_empty_arm_cannot_be_compared_and_says_so():
    comparison = compare_steps(
        {"control": [5, 3], "test": [0, 0]}, {"control": 9, "test": 0}, ["a", "b"],
        baseline="control", start="exposure",
    )  # fmt: skip
    assert comparison.rows[0]["difference"] is None
    assert "cannot tell, an arm is empty" in repr(comparison)


def test_a_handful_of_people_gets_no_always_valid_interval():
    comparison = funnel_of([(8, 6, 4), (7, 6, 5)]).compare()
    assert comparison.rows[-1]["always_low"] is None
    assert "fewer than 25 people" in repr(comparison)


# ---- correlation -----------------------------------------------------------------------------------------


def test_odds_ratios_add_one_to_every_cell():
    rows, _ = correlation_rows(["help", "docs"], [3, 40], [30, 10], 60, 40)
    by_name = {row["name"]: row for row in rows}
    assert by_name["docs"]["odds_ratio"] == pytest.approx((41 * 31) / (21 * 11))
    assert by_name["help"]["odds_ratio"] == pytest.approx((4 * 11) / (58 * 31))
    assert [row["direction"] for row in rows] == ["success", "failure"]
    assert all(row["low"] < row["odds_ratio"] < row["high"] for row in rows)


def test_rare_events_are_left_out_before_anything_is_tested():
    rows, tested = correlation_rows(["rare", "often"], [1, 30], [0, 2], 50, 50)
    assert [row["name"] for row in rows] == ["often"]
    assert tested == 1  # 2 % of 100 people is two people


def test_holm_pays_for_every_name_tested_and_not_for_the_ten_shown():
    rng = np.random.default_rng(5)
    names = [f"event {i}" for i in range(60)]
    rows, tested = correlation_rows(names, rng.binomial(500, 0.3, 60), rng.binomial(500, 0.3, 60), 500, 500)
    assert tested == 60
    assert len(rows) <= 20
    assert min(row["p_holm"] for row in rows) == pytest.approx(min(1, 60 * min(row["p"] for row in rows)))


def test_one_empty_side_gives_no_rows():
    assert correlation_rows(["a"], [3], [0], 10, 0) == ([], 0)
    assert is_skewed(10, 0)
    assert is_skewed(101, 10)
    assert not is_skewed(100, 10)


# ---- from the log: people, recordings, correlation, trends -------------------------------------------------

FLAG = "$feature/new-checkout"


def small_log():
    """Six people: (id, variant, [(event, minutes, session)])."""
    people = [
        ("ada", "true", [("open", 0, "s1"), ("help", 2, "s1"), ("pay", 5, "s2")]),
        ("bob", "true", [("open", 10, "s3"), ("help", 11, "s3"), ("docs", 12, "s3")]),
        ("cyd", "false", [("open", 20, None), ("open", 21, "s4"), ("docs", 22, "s4")]),
        ("dan", "false", [("open", 30, "s5"), ("pay", 31, "s5"), ("help", 32, "s5")]),
        ("eve", "false", [("help", 39, "s6"), ("open", 40, "s6"), ("pay", 70, "s6")]),
        ("fay", "false", [("help", 1, "s7"), ("pay", 2, "s7")]),
    ]
    start = pd.Timestamp("2026-09-07T09:00Z")
    rows = [
        {
            "uuid": f"{who}{i}",
            "event": event,
            "timestamp": start + pd.Timedelta(minutes=minute),
            "distinct_id": who,
            "person_id": who,
            "$session_id": session,
            FLAG: variant,
            "amount": 95 if event == "help" else None,
        }
        for who, variant, events in people
        for i, (event, minute, session) in enumerate(events)
    ]
    persons = pd.DataFrame(
        {"distinct_id": [p[0] for p in people], "person_id": [p[0] for p in people], "plan": list("aabbab")}
    )
    return pd.DataFrame(rows), persons


@pytest.fixture(params=["pandas", "duckdb"])
def funnel(request, tmp_path):
    frame, persons = small_log()
    if request.param == "pandas":
        log = EventLog(frame, persons=persons)
    else:
        frame.to_parquet(tmp_path / "events.parquet")
        log = EventLog(duckdb.read_parquet(str(tmp_path / "events.parquet")), persons=persons)
    asked = FunnelQuery(
        steps=(Step((Entity("open"),)), Step((Entity("pay"),))),
        window_us=3600 * SECOND,
        breakdown=Breakdown((FLAG,)),
        flag="new-checkout",
    )
    return Funnel.from_run(asked, run_funnel(log, asked), log)


def test_from_a_bar_to_people_to_recordings(funnel):
    lost = funnel.people("pay", dropped=True)
    assert sorted(lost.ids) == ["bob", "cyd"]
    assert len(lost) == 2
    assert sorted(lost.session_ids) == ["s3", "s4"]  # cyd's first event has no session, the second does
    paid = funnel.people(2, variant=True, host="https://eu.posthog.com/", project_id=7)
    (row,) = paid.rows
    assert (row["person_id"], row["session_id"]) == ("ada", "s2")
    assert row["replay_url"] == "https://eu.posthog.com/project/7/replay/s2"
    assert row["last_at"] == pd.Timestamp("2026-09-07T09:05Z")
    assert [(e["step"], e["event"], e["session_id"]) for e in paid.events if e["rank"] == 0] == [
        (1, "open", "s1"),
        (2, "pay", "s2"),
    ]
    assert repr(paid).startswith("1 person of true who did pay, 1 with a session to watch")
    assert not paid.notes
    assert [note.text for note in lost.notes] == [
        "no links to recordings: say where they are, as in people(..., host=, project_id=)"
    ]


def test_people_without_sessions_say_why_they_have_no_links():
    events = pd.DataFrame(
        {"distinct_id": "ada", "event": ["open", "pay"],
         "timestamp": ["2026-09-07T09:00Z", "2026-09-07T09:05Z"]}
    )  # fmt: skip
    people = ck.funnel_by_flag(events, ["open", "pay"]).people("pay", host="eu.posthog.com")
    assert [note.text for note in people.notes] == [
        "no links to recordings: none of the events listed has a $session_id"
    ]


def test_without_a_host_no_address_is_invented(funnel):
    people = funnel.people("open")
    assert {row["replay_url"] for row in people.rows} == {None}
    assert "posthog" not in repr(people)


def test_a_people_list_is_as_long_as_its_bar(funnel):
    for variant in funnel.variants:
        for row in funnel.rows_of(variant):
            assert len(funnel.people(row["step"], variant=variant).rows) == row["count"]
            if row["step"] > 1:
                lost = funnel.people(row["step"], dropped=True, variant=variant)
                assert len(lost.rows) == row["dropped"]


def test_people_of_a_variant_that_is_not_there_or_lost_before_the_first_step_are_refused(funnel):
    with pytest.raises(PlanError, match=r"no variant 'treu'.*Did you mean 'true'"):
        funnel.people(1, variant="treu")
    with pytest.raises(PlanError, match="nobody drops before step 1"):
        funnel.people(1, dropped=True)


def test_a_long_list_prints_its_beginning_and_keeps_everybody():
    frame = pd.DataFrame(
        {
            "event": ["a", "b"] * 30,
            "timestamp": pd.to_datetime(["2026-09-07T09:00Z", "2026-09-07T09:01Z"] * 30),
            "distinct_id": np.repeat([f"u{i:02d}" for i in range(30)], 2),
        }
    )
    log, asked = EventLog(frame), query(attribution=None, steps=("a", "b"))
    people = Funnel.from_run(asked, run_funnel(log, asked), log).people("b")
    assert len(people.to_frame()) == 30
    assert "... and 10 more people" in repr(people)
    assert "... and 10 more people" in people._repr_html_()
    assert "u25" not in repr(people)


def test_correlation_looks_between_the_first_step_and_the_end_of_the_attempt(funnel):
    correlations = funnel.correlates()
    assert (correlations.successes, correlations.failures) == (3, 2)
    by_name = {row["name"]: row for row in correlations.rows}
    # help: ada and bob did it in between; dan after paying and eve before opening do not count
    assert (by_name["help"]["success_count"], by_name["help"]["failure_count"]) == (1, 1)
    assert (by_name["docs"]["success_count"], by_name["docs"]["failure_count"]) == (0, 2)
    assert by_name["docs"]["odds_ratio"] == pytest.approx((1 * 1) / (4 * 3))
    assert "places to look, not causes" in repr(correlations)
    one = funnel.correlates(variant="true")
    assert (one.successes, one.failures) == (1, 1)
    assert "docs" not in [row["name"] for row in funnel.correlates(exclude=("docs",)).rows]


def test_correlation_reads_person_properties_and_properties_of_events(funnel):
    plans = {row["name"]: row for row in funnel.correlates("properties").rows}
    assert set(plans) == {"plan::a", "plan::b"}
    assert (plans["plan::a"]["success_count"], plans["plan::a"]["failure_count"]) == (2, 1)
    with pytest.raises(PlanError, match="needs names="):
        funnel.correlates("event properties")
    assert funnel.correlates("event properties", names=("help",)).rows == ()  # two people: too few


def test_a_trend_counts_people_in_the_hour_they_started(funnel):
    trend = funnel.trend("hour")
    by_variant = {row["variant"]: row for row in trend.rows if row["entered"]}
    assert (by_variant["true"]["entered"], by_variant["true"]["reached"]) == (2, 1)
    assert (by_variant["false"]["entered"], by_variant["false"]["reached"]) == (3, 2)
    assert trend.rows[0]["start"] == pd.Timestamp("2026-09-07T09:00Z")


def test_a_funnel_without_its_log_says_what_is_missing():
    lonely = funnel_of([(8, 6, 4), (7, 6, 5)])
    with pytest.raises(PlanError, match="people reads the events again"):
        lonely.people(2)


def test_within_a_stage_people_are_those_exposed_in_it_and_over_a_ramp_the_growing_arm_is_apart():
    start = pd.Timestamp("2026-09-07T00:00Z")
    plan = ck.RolloutPlan(
        "f",
        (
            ck.Stage("5%", kind="percentage", share=5, starts_at=start, ends_at=start + pd.Timedelta("1D")),
            ck.Stage("50%", kind="percentage", share=50, starts_at=start + pd.Timedelta("1D")),
        ),
    )
    called = "$feature_flag_called"
    rows = [  # hours, person, event, flag value
        *[(1, "ada", called, "false"), (2, "ada", "open", None), (3, "ada", "pay", None)],
        *[(25, "ada", called, "true"), (26, "ada", "open", None)],
        *[(26, "bob", called, "false"), (27, "bob", "open", None), (28, "bob", "pay", None)],
        *[(1, "cyd", called, "false"), (2, "cyd", "open", None)],
    ]
    frame = pd.DataFrame(
        {
            "event": [row[2] for row in rows],
            "timestamp": [start + pd.Timedelta(hours=row[0]) for row in rows],
            "distinct_id": [row[1] for row in rows],
            "$feature_flag": ["f" if row[2] == called else None for row in rows],
            "$feature_flag_response": [row[3] for row in rows],
        }
    )
    steps = ["open", "pay"]
    stage = ck.funnel_by_flag(frame, steps, plan=plan, stage="50%", attribution="exposure")
    assert stage.counts == {"false": [1, 1], "true": [1, 0]}  # what ada paid before does not count
    assert [row["people"] for row in stage.rows] == [1, 1, 1, 1]
    assert stage.people("pay", dropped=True).ids == ["ada"]
    pooled = ck.funnel_by_flag(frame, steps, flag="f", attribution="exposure")
    assert pooled.counts == {"false": [2, 1]}
    assert "1 person exposed to several variants over time: set apart" in repr(pooled)
    with pytest.raises(PlanError, match="needs the plan"):
        ck.funnel_by_flag(frame, steps, flag="f", stage="50%")


def test_people_whose_time_is_not_up_are_counted_in_the_comparison(funnel):
    # the log ends at 10:10, and only those who opened at 09:10 or before have had their hour
    notes = {note.code: note.count for note in funnel.compare().notes}
    assert notes["window_open"] == 3
