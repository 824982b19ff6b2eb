"""One event over time by variant: checked against counting by hand and a slow obvious version."""

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import DataError, PlanError
from canarykit.insights.counts import rate_per_person
from canarykit.periods import column_micros, moments, period_grid

START = pd.Timestamp("2026-09-07T09:00Z")


def log_of(rows, **more):
    """Events as (hours after 7 September 09:00 UTC, person, event, value of the flag or None)."""
    frame = pd.DataFrame(
        {
            "event": [row[2] for row in rows],
            "timestamp": [START + pd.Timedelta(hours=row[0]) for row in rows],
            "distinct_id": [row[1] for row in rows],
            "$feature_flag": ["f" if row[2] == "$feature_flag_called" else None for row in rows],
            "$feature_flag_response": [row[3] for row in rows],
        }
    )
    return ck.EventLog(frame, **more)


CALLED = "$feature_flag_called"
ROWS = [
    (0.0, "ada", CALLED, "true"),
    (0.5, "bob", CALLED, "false"),
    (0.6, "cyd", CALLED, "false"),
    (1.5, "eve", CALLED, "true"),
    (0.1, "bob", "$exception", None),  # before bob's exposure: does not count
    (0.7, "ada", "$exception", None),
    (0.8, "ada", "$exception", None),
    (1.2, "bob", "$exception", None),
    (1.6, "ada", "$exception", None),
    (2.9, "eve", "$exception", None),
    (2.5, "zoe", "$exception", None),  # never exposed
    (3.5, "cyd", "page", None),
]


def values(trend, variant, key="value"):
    return [row[key] for row in trend.rows if row["variant"] == variant]


def test_events_before_the_exposure_and_of_people_never_exposed_do_not_count():
    trend = ck.trend_by_flag(log_of(ROWS), "$exception", flag="f", interval="hour")
    assert values(trend, "true") == [2, 1, 1, 0]
    assert values(trend, "false") == [0, 1, 0, 0]
    assert "1 from 2 people exposed (false), 4 from 2 people exposed (true)" in repr(trend)


def test_users_are_people_and_not_events():
    trend = ck.trend_by_flag(log_of(ROWS), "$exception", flag="f", measure="users", interval="hour")
    assert values(trend, "true") == [1, 1, 1, 0]


def test_the_denominator_grows_as_people_are_exposed():
    trend = ck.trend_by_flag(log_of(ROWS), "$exception", flag="f", per="exposed user", interval="hour")
    assert values(trend, "true", "exposed") == [1, 2, 2, 2]
    assert values(trend, "true") == [2.0, 0.5, 0.5, 0.0]
    share = ck.trend_by_flag(
        log_of(ROWS), "$exception", flag="f", measure="users", per="exposed user", interval="hour"
    )
    assert values(share, "true") == [1.0, 0.5, 0.5, 0.0]
    assert share.is_share
    assert values(share, "true", "high")[3] == pytest.approx(0.6576, abs=1e-4)  # Wilson, 0 of 2


def test_the_share_so_far_counts_a_person_once():
    trend = ck.trend_by_flag(log_of(ROWS), "$exception", flag="f", measure="share", interval="hour")
    assert values(trend, "true") == [1.0, 0.5, 1.0, 1.0]
    assert values(trend, "false") == [0.0, 0.5, 0.5, 0.5]


def test_a_cohort_is_followed_equally_long_whenever_it_came():
    trend = ck.trend_by_flag(
        log_of(ROWS), "$exception", flag="f", measure="users", per="exposure cohort", within="75min",
        interval="hour",
    )  # fmt: skip
    assert values(trend, "true", "exposed") == [1, 1, 0, 0]
    assert values(trend, "true") == [1.0, 0.0, None, None]  # eve's came 1.4 hours after her exposure
    assert values(trend, "true", "incomplete") == [False, False, True, True]


def test_the_hour_that_is_not_over_is_incomplete():
    trend = ck.trend_by_flag(log_of(ROWS), "$exception", flag="f", interval="hour")
    assert values(trend, "true", "incomplete") == [False, False, False, True]
    until = ck.trend_by_flag(log_of(ROWS), "$exception", flag="f", interval="hour", as_of="2026-09-07T11:30Z")
    assert values(until, "true") == [2, 1, 0]  # eve's came later than now
    assert values(until, "true", "incomplete") == [False, False, True]


def test_people_who_saw_both_variants_are_apart_and_counted():
    rows = [*ROWS, (0.9, "bob", CALLED, "true")]
    trend = ck.trend_by_flag(log_of(rows), "$exception", flag="f", interval="hour")
    assert values(trend, "false") == [0, 0, 0, 0]
    assert [note.count for note in trend.notes if note.code == "several_variants"] == [1]


def test_a_value_that_nobody_knows_is_in_no_arm():
    trend = ck.trend_by_flag(log_of([*ROWS, (0.0, "zoe", CALLED, None)]), "$exception", flag="f")
    assert trend.variants == ("false", "true")


def test_within_a_stage_people_belong_to_the_variant_they_had_in_it():
    later = START + pd.Timedelta(hours=1)
    plan = ck.RolloutPlan(
        "f",
        (
            ck.Stage("5%", kind="percentage", share=5, starts_at=START, ends_at=later),
            ck.Stage("50%", kind="percentage", share=50, starts_at=later),
        ),
    )
    rows = [*ROWS, (1.1, "bob", CALLED, "true"), (1.1, "cyd", CALLED, "false")]
    trend = ck.trend_by_flag(log_of(rows), "$exception", flag="f", plan=plan, stage="50%", interval="hour")
    assert values(trend, "true") == [1, 1, 0]
    assert values(trend, "true", "exposed") == [1 + 1, 2, 2]  # bob and eve; ada was not seen again
    assert trend.rows[0]["start"] == START + pd.Timedelta(hours=1)
    with pytest.raises(PlanError, match="needs the plan"):
        ck.trend_by_flag(log_of(rows), "$exception", flag="f", stage="50%")


@pytest.mark.parametrize("seed", range(3))
def test_the_same_numbers_as_counting_one_event_at_a_time(seed):
    rng = np.random.default_rng(seed)
    rows = [(rng.uniform(0, 50), f"u{i}", CALLED, ["true", "false"][i % 2]) for i in range(40)]
    rows += [(rng.uniform(0, 72), f"u{rng.integers(45)}", "e", None) for _ in range(300)]
    log = log_of(rows)
    exposed = {row[1]: row for row in rows if row[2] == CALLED}
    days = ck.trend_by_flag(log, "e", flag="f", interval="day", per="exposed user", timezone="Asia/Tokyo")
    local = pd.Timestamp("2026-09-07", tz="Asia/Tokyo")
    for row in days.rows:
        day = (row["start"] - local) // pd.Timedelta(days=1)
        mine = [
            r
            for r in rows
            if r[2] == "e"
            and r[1] in exposed
            and exposed[r[1]][3] == row["variant"]
            and r[0] >= exposed[r[1]][0]
            and (START + pd.Timedelta(hours=r[0]) - local) // pd.Timedelta(days=1) == day
        ]
        assert row["events"] == len(mine)
        assert row["users"] == len({r[1] for r in mine})


@pytest.mark.parametrize(
    "more, slip",
    [
        ({"measure": "user"}, "Did you mean 'users'"),
        ({"per": "exposed users"}, "Did you mean 'exposed user'"),
        ({"interval": "days"}, "Did you mean 'day'"),
        ({"within": "7d"}, "needs within="),
        ({"per": "exposure cohort"}, "needs within="),
        ({"measure": "share", "per": "exposure cohort"}, "goes with 'users'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(more, slip):
    with pytest.raises(PlanError, match=slip):
        ck.trend_by_flag(log_of(ROWS), "$exception", flag="f", **more)


def test_an_event_that_is_not_in_the_log_is_not_a_rate_of_zero():
    with pytest.raises(DataError, match=r"no event '\$exceptoin'.*Did you mean '\$exception'"):
        ck.trend_by_flag(log_of(ROWS), "$exceptoin", flag="f")


# ---- intervals and periods -------------------------------------------------------------------------------


def test_the_rate_interval_is_garwoods_when_nobody_is_chatty():
    # exact Poisson limits of 10 events: 4.795 and 18.39
    value, low, high = rate_per_person(10, 10, 1000)
    assert (value, low, high) == pytest.approx((0.01, 0.004795, 0.018390), rel=2e-4)


def test_one_chatty_person_widens_the_interval():
    calm = rate_per_person(100, 100, 1000)
    chatty = rate_per_person(100, 100 * 100, 1000)
    assert chatty[2] - chatty[1] > 5 * (calm[2] - calm[1])


def test_the_rate_interval_covers_when_people_differ():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        counts = rng.poisson(rng.gamma(0.5, 0.4, 500))  # mean 0.2, overdispersed
        _, low, high = rate_per_person(int(counts.sum()), int((counts**2).sum()), 500)
        covered += low <= 0.2 <= high
    assert covered >= 0.92 * 400


def test_a_day_of_a_clock_change_has_23_hours():
    begin, end = (
        int(column_micros(pd.DatetimeIndex([t]))[0]) for t in ("2026-03-28T12:00Z", "2026-03-30T12:00Z")
    )
    grid = period_grid(begin, end, "day", timezone="Europe/Berlin")
    assert (np.diff(grid.edges) / 3_600_000_000).tolist() == [24, 23, 24]
    assert moments(grid.edges)[1].isoformat() == "2026-03-28T23:00:00+00:00"


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
@pytest.mark.parametrize("interval, alias", [("day", "D"), ("week", "W-SAT"), ("month", "M")])
def test_periods_are_those_of_the_local_calendar(zone, interval, alias):
    times = pd.date_range("2026-02-25T03:10Z", "2026-05-01T00:00Z", freq="97min")
    us = column_micros(times)
    grid = period_grid(int(us[0]), int(us[-1]) + 1, interval, timezone=zone)
    periods = grid.index(us)
    expected = times.tz_convert(zone).tz_localize(None).to_period(alias)
    assert (pd.factorize(expected)[0] == periods).all()
    assert periods.max() == grid.n - 1


@pytest.mark.parametrize("zone, minutes", [("Europe/Berlin", 0), ("Asia/Kolkata", 30)])
def test_hours_begin_on_the_local_hour_and_a_repeated_hour_is_two(zone, minutes):
    times = pd.date_range("2026-10-24T03:10Z", "2026-10-26T00:00Z", freq="7min")
    us = column_micros(times)
    grid = period_grid(int(us[0]), int(us[-1]) + 1, "hour", timezone=zone)
    assert set(grid.starts.tz_convert("UTC").minute) == {minutes}
    assert set(grid.starts.minute) == {0}
    assert (np.diff(grid.edges) == 3_600_000_000).all()
    assert (np.diff(grid.index(us)) <= 1).all()


def test_people_who_were_chosen_are_not_in_the_trend_of_a_percentage_stage():
    persons = pd.DataFrame(
        {"distinct_id": ["ada", "bob", "eve"], "email": ["ada@acme.io", "b@x.io", "e@x.io"]}
    ).assign(person_id=lambda frame: frame["distinct_id"])
    plan = ck.RolloutPlan.five_stages(
        "f", owner="ada@acme.io", team_domain="acme.io", ramp=(50,), dwell="1d", starts_at="2026-09-04T09:00Z"
    )
    assert plan.window("expanded beta 50%")[0] == START
    rows = [
        (i, who, CALLED, value)
        for i, who, value in [(1, "ada", "true"), (1, "bob", "true"), (1, "eve", "false")]
    ]
    rows += [(2, who, "$exception", None) for who in ("ada", "bob", "eve")]
    trend = ck.trend_by_flag(
        log_of(rows, persons=persons), "$exception", flag="f", plan=plan, stage="expanded beta 50%"
    )
    assert values(trend, "true", "exposed") == values(trend, "true") == [1]
    assert "1 person has it by choice" in repr(trend)


def test_a_group_flag_counts_groups():
    frame = log_of(ROWS[:4]).frame.assign(**{"$group_0": ["acme", "acme", "initech", "acme"]})
    frame["$feature_flag_response"] = ["true", "true", "false", "true"]
    more = frame.assign(event="$exception", timestamp=frame["timestamp"] + pd.Timedelta(hours=2))
    plan = ck.RolloutPlan(
        "f", (ck.Stage("half", kind="percentage", share=50),), aggregation_group_type="organization"
    )
    trend = ck.trend_by_flag(
        pd_log(pd.concat([frame, more])), "$exception", flag="f", plan=plan, measure="share", interval="day"
    )
    assert values(trend, "true", "exposed") == [1]
    assert values(trend, "true", "events") == [3]
    assert values(trend, "true", "users") == [1]


def pd_log(frame):
    return ck.EventLog(frame.reset_index(drop=True))


def test_days_of_another_zone_are_labelled_as_that_zones_days_everywhere():
    # 2026-09-06 22:30Z is already the 7th in Berlin
    rows = [
        {"distinct_id": "ada", "timestamp": "2026-09-06T22:30:00Z", "event": "$feature_flag_called",
         "$feature_flag": "f", "$feature_flag_response": "true"},
        {"distinct_id": "ada", "timestamp": "2026-09-06T22:40:00Z", "event": "signup"},
        {"distinct_id": "ada", "timestamp": "2026-09-08T09:00:00Z", "event": "paid"},
    ]  # fmt: skip
    log = ck.EventLog(pd.DataFrame(rows))
    trend = ck.trend_by_flag(log, "paid", flag="f", timezone="Europe/Berlin")
    funnel = ck.funnel_by_flag(log, ["signup", "paid"], timezone="Europe/Berlin", date_from="2026-09-07")
    for result in (trend, funnel.trend()):
        first = result.rows[0]["start"]
        assert (first.isoformat(), first.day_name()) == ("2026-09-07T00:00:00+02:00", "Monday")
        assert "2026-09-07 00:00 CEST" in str(result)
        assert "UTC" not in str(result)
        ax = result.plot()
        ax.figure.canvas.draw()
        assert "Europe/Berlin" in ax.get_xlabel()
        labels = " ".join(
            [*(t.get_text() for t in ax.get_xticklabels()), ax.xaxis.get_offset_text().get_text()]
        )
        assert "07" in labels
    assert "from 2026-09-07 00:00 CEST" in str(funnel)


def test_a_mistyped_zone_is_refused_with_the_one_that_was_meant():
    log = ck.EventLog(
        pd.DataFrame({"event": ["a"], "timestamp": ["2026-09-06T22:30:00Z"], "distinct_id": ["u"]})
    )
    with pytest.raises(PlanError, match="Did you mean 'Europe/Berlin'"):
        ck.funnel_by_flag(log, ["a", "b"], timezone="Europe/Berln")
