"""Who counts, in which arm, from when: one question has one number, whoever is asked."""

import json

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit import metrics
from canarykit.__main__ import main
from canarykit.exposure.observed import ObservedStep, change_points
from tests.release import FLAG, STAGE, judge, make_release, ramp_plan

START = pd.Timestamp("2026-09-07T09:00Z")
CALLED = "$feature_flag_called"
STEPS = ["open", "pay"]


def at(minutes):
    return START + pd.Timedelta(minutes=minutes)


def call(who, value, minutes=0, **more):
    return {
        "event": CALLED, "distinct_id": who, "timestamp": at(minutes),
        "$feature_flag": "f", "$feature_flag_response": value, **more,
    }  # fmt: skip


def event(name, who, minutes, **more):
    return {"event": name, "distinct_id": who, "timestamp": at(minutes), **more}


def log_of(*rows, **options):
    return ck.EventLog(pd.DataFrame(list(rows)), **options)


def half(days=2):
    stage = ck.Stage.for_share("half", 50, dwell=f"{days}d")
    return ck.RolloutPlan("f", (stage,), starts_at=START)


def messy_stage(seed, n=300):
    """People of a stage of two days who log in, flicker, come late, and buy at any time."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        who, minutes = f"u{k}", int(rng.integers(0, 2880))
        value = rng.choice(["true", "false"])
        session = {"$session_id": f"s-{who}"}
        rows.append(call(who, value, minutes, person_id=who, **session))
        rows.append(
            event(
                "survey sent", who, minutes + 1, person_id=who, **{"$survey_id": "s", "$survey_response": "5"}
            )
        )
        if rng.random() < 0.1:
            other = "false" if value == "true" else "true"
            name = who if rng.random() < 0.2 else f"id-{who}"
            rows.append(call(name, other, minutes + int(rng.integers(1, 500)), person_id=who))
        for name in STEPS:
            if rng.random() < 0.6:
                late = minutes + int(rng.integers(-100, 2500))
                rows.append(event(name, who, late, person_id=who))
    people = pd.DataFrame({"person_id": [f"u{k}" for k in range(n)]}).assign(
        distinct_id=lambda f: f["person_id"], country=rng.choice(["de", "fr"], n)
    )
    return log_of(*rows, persons=people)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("people", [None, {"country": "de"}])
def test_the_conversion_of_a_stage_is_one_number_through_every_door(seed, people, tmp_path):
    log, plan = messy_stage(seed), half()
    end = plan.window("half")[1]
    share = metrics.FunnelShare(tuple(STEPS), within="1d")
    once = metrics.Conversion("pay", within="1d")
    report = ck.evaluate_stage(
        log, plan, "half", [ck.Guardrail(share), ck.Guardrail(once)], as_of=end, people=people
    )
    stage = {"plan": plan, "stage": "half", "people": people}

    funnel = ck.funnel_by_flag(log, STEPS, within="1d", attribution="exposure", **stage)
    of_funnel = {row["variant"]: (row["count"], row["people"]) for row in funnel.rows if row["step"] == 2}
    board = ck.dashboard(log, plan, "half", as_of=end, steps=STEPS, within="1d", people=people)
    of_board = {row[1]: (row[3], row[2]) for row in board.rows if row[0] == "open > pay"}
    assert of_funnel == of_board == of_report(report, share.label)

    trend = ck.trend_by_flag(
        log, "pay", flag="f", measure="users", per="exposure cohort", within="1d", **stage
    )
    of_trend = {row["variant"]: (row["users"], row["people"]) for row in trend.followed}
    anything = ck.funnel_by_flag(log, [None, "pay"], within="1d", attribution="exposure", **stage)
    of_anything = {row["variant"]: (row["count"], row["people"]) for row in anything.rows if row["step"] == 2}
    assert of_trend == of_report(report, once.label)
    assert all(of_anything[arm][1] == of_trend[arm][1] for arm in of_trend)

    exposed = {"true": report.n_canary, "false": report.n_control}
    exceptions = ck.exceptions_by_flag(log, "f", **stage)
    assert dict(board.exposed) == exposed == {"true": exceptions.n_canary, "false": exceptions.n_control}
    sessions = ck.sessions_by_flag(log, "f", **stage).sessions
    assert sessions.groupby("variant")["person_id"].nunique().to_dict() == exposed
    survey = ck.survey_by_flag(log, "s", flag="f", **stage).response.set_index("variant")
    assert survey["exposed"].to_dict() == exposed
    for arm, (paid, _) in of_funnel.items():
        assert len(funnel.people("pay", variant=arm, limit=None).rows) == paid
    if seed == 0:
        assert by_command(log, plan, people, share, end, tmp_path) == of_report(report, share.label)
    counted = by_hand(log, people, "open", "pay")
    assert of_report(report, share.label) == counted


def test_a_funnel_up_to_the_reports_end_is_the_reports_number_though_the_log_ends_before():
    log, plan = messy_stage(0), half(days=5)
    end = log.time_range[1] + pd.Timedelta(minutes=50)
    once = metrics.Conversion("pay", within="1d")
    report = ck.evaluate_stage(log, plan, "half", ck.Guardrail(once), as_of=end)
    funnel = ck.funnel_by_flag(
        log, [None, "pay"], plan=plan, stage="half", attribution="exposure", within="1d", date_to=end
    )
    of_funnel = {row["variant"]: (row["count"], row["people"]) for row in funnel.rows if row["step"] == 2}
    assert of_funnel == of_report(report, once.label)


def by_command(log, plan, people, metric, end, folder):
    """What the command line answers to the same question, from files."""
    log.frame.to_parquet(folder / "events.parquet")
    log.persons.to_parquet(folder / "persons.parquet")
    (folder / "plan.json").write_text(plan.to_json())
    guardrails = json.dumps([ck.Guardrail(metric).to_dict()])
    given = [
        "--persons",
        str(folder / "persons.parquet"),
        "--plan",
        str(folder / "plan.json"),
        "--stage",
        "half",
    ]
    given += ["--as-of", end.isoformat(), "--guardrails", guardrails, "--json", str(folder / "report.json")]
    main(
        [
            "evaluate",
            str(folder / "events.parquet"),
            *given,
            *(["--people", json.dumps(people)] if people else []),
        ]
    )
    checks = json.loads((folder / "report.json").read_text())["checks"]
    (check,) = [check for check in checks if check["check"] == metric.label]
    arms = {"true": "canary", "false": "control"}
    return {name: (check[f"{arm}_count"], check[f"{arm}_total"]) for name, arm in arms.items()}


def of_report(report, label):
    check = report.check(label)
    arms = {"true": check.canary, "false": check.control}
    return {name: (arm.count, arm.total) for name, arm in arms.items()}


def by_hand(log, people, first, last):
    """The slow, obvious count: first exposure decides, a day from it, and the stage's end is the end."""
    frame = log.frame.sort_values("timestamp", kind="stable")
    of_country = set(log.persons.loc[log.persons["country"] == "de", "person_id"])
    day, end = pd.Timedelta(days=1), START + pd.Timedelta(days=2)
    counts = {"true": [0, 0], "false": [0, 0]}
    for who, part in frame[frame["timestamp"] < end].groupby("person_id"):
        calls = part[part["event"] == CALLED]
        if calls.empty or (people and who not in of_country):
            continue
        since, variant = calls["timestamp"].iloc[0], calls["$feature_flag_response"].iloc[0]
        if since + day > end:
            continue
        counts[variant][1] += 1
        inside = part[(part["timestamp"] >= since) & (part["timestamp"] < since + day)]
        opened = inside.loc[inside["event"] == first, "timestamp"]
        paid = inside.loc[inside["event"] == last, "timestamp"]
        counts[variant][0] += any(a < b for a in opened for b in paid)
    return {name: tuple(pair) for name, pair in counts.items()}


def moved():
    """r is moved by the ramp: what r meets after it is new in the canary, what r met before is not."""
    return log_of(
        call("r", "false"), call("c", "false"), call("t", "true"), call("r", "true", 5),
        event("$exception", "r", 3, **{"$exception_type": "Old"}),
        event("$exception", "r", 6, **{"$exception_type": "New"}),
    )  # fmt: skip


def test_exceptions_of_people_who_saw_several_variants_are_set_apart_and_counted():
    exceptions = ck.exceptions_by_flag(moved(), "f")
    assert exceptions.groups[["canary_people", "control_people"]].to_numpy().tolist() == [[0, 0], [0, 0]]
    assert [note.count for note in exceptions.notes if note.code == "several_variants"] == [1]
    assert (exceptions.n_canary, exceptions.n_control) == (1, 1)


def test_new_in_the_canary_is_what_was_met_with_the_canary_by_the_arm_at_the_time():
    exceptions = ck.exceptions_by_flag(moved(), "f")
    assert exceptions.new_in_canary["what"].tolist() == ["New"]
    apart = exceptions.groups.set_index("what")[["apart_canary", "apart_control"]]
    assert apart.loc["New"].tolist() == [1, 0]
    assert apart.loc["Old"].tolist() == [0, 1]


def test_a_flag_of_groups_counts_groups_in_exceptions_sessions_and_surveys():
    """Acme's two people are one organisation; an event without a group is nobody's."""
    rows = []
    for who, group, value in (
        ("a1", "acme", "true"),
        ("a2", "acme", "true"),
        ("b", "bell", "false"),
        ("r", "re", "false"),
    ):
        mine = {"$group_0": group, "$session_id": f"s-{who}"}
        rows += [call(who, value, **mine), event("$exception", who, 2, **{"$exception_type": "E"}, **mine)]
        rows.append(event("survey sent", who, 3, **{"$survey_id": "s", "$survey_response": "5"}, **mine))
    rows.append(call("r", "true", 5, **{"$group_0": "re"}))
    rows.append(event("$exception", "r", 6, **{"$exception_type": "New", "$group_0": "re"}))
    rows.append(event("$exception", "a1", 6, **{"$exception_type": "E"}))
    log = log_of(*rows)
    stage = ck.Stage.for_share("half", 50, dwell="2d")
    options = {"aggregation_group_type": "organization", "starts_at": START}
    plan = ck.RolloutPlan("f", (stage,), **options)
    exceptions = ck.exceptions_by_flag(log, "f", plan=plan, stage="half")
    counted = exceptions.groups.set_index("what")[["canary_people", "control_people"]]
    assert counted.loc["E"].tolist() == [1, 2]
    assert (exceptions.n_canary, exceptions.n_control) == (1, 2)
    assert sorted(exceptions.people("E")["person_id"]) == ["a1", "a2", "b", "r"]
    assert "canary organization groups" in str(exceptions)
    sessions = ck.sessions_by_flag(log, "f", plan=plan, stage="half").sessions
    assert sessions.set_index("session_id")["variant"].to_dict() == {
        "s-a1": "true", "s-a2": "true", "s-b": "false", "s-r": "false",
    }  # fmt: skip
    survey = ck.survey_by_flag(log, "s", flag="f", plan=plan, stage="half")
    answered = survey.response.set_index("variant")[["exposed", "answered"]]
    assert (answered.loc["true"].tolist(), answered.loc["false"].tolist()) == ([1, 1], [2, 2])
    assert len(survey.answers) == 4
    (report,) = [ck.evaluate_stage(log, plan, "half", as_of=at(2000))]
    assert report.check("organization groups with $exception").canary.total == 1


def test_sessions_and_surveys_set_people_of_several_variants_apart_too():
    rows = [
        {**row, "$session_id": f"s-{row['distinct_id']}"}
        for row in (call("r", "false"), call("r", "true", 5), call("t", "true"), event("open", "r", 6))
    ]
    answer = {"$survey_id": "s", "$survey_response": "5"}
    log = log_of(*rows, event("survey sent", "r", 7, **answer), event("survey sent", "t", 7, **answer))
    sessions = ck.sessions_by_flag(log, "f")
    assert sessions.sessions["person_id"].tolist() == ["t"]
    survey = ck.survey_by_flag(log, "s", flag="f")
    assert survey.response[["variant", "answered"]].to_numpy().tolist() == [["true", 1]]
    for asked in (sessions, survey):
        assert [note.count for note in asked.notes if note.code == "several_variants"] == [1]


def test_with_a_plan_each_stages_part_of_a_person_counts_in_the_arm_of_that_stage():
    first = ck.Stage.for_share("5%", 5, dwell="60min")
    plan = ck.RolloutPlan("f", (first, ck.Stage.for_share("50%", 50, dwell="60min")), starts_at=START)
    session = {"$session_id": "late"}
    log = log_of(
        call("r", "false"), event("$exception", "r", 3, **{"$exception_type": "Old"}),
        call("r", "true", 65), event("$exception", "r", 66, **{"$exception_type": "New"}, **session),
        call("c", "false", 61), event("$exception", "c", 62, **{"$exception_type": "Old"}),
        event("$exception", "r", 130, **{"$exception_type": "After"}),
    )  # fmt: skip
    exceptions = ck.exceptions_by_flag(log, "f", plan=plan)
    counts = exceptions.groups.set_index("what")[["canary_people", "control_people"]]
    assert counts.loc["Old"].tolist() == [0, 2]
    assert counts.loc["New"].tolist() == [1, 0]
    assert "After" not in counts.index  # no stage was running
    assert exceptions.new_in_canary["what"].tolist() == ["New"]
    assert (exceptions.n_canary, exceptions.n_control) == (1, 2)
    sessions = ck.sessions_by_flag(log, "f", plan=plan).sessions
    assert sessions[["session_id", "variant"]].to_numpy().tolist() == [["late", "true"]]


@pytest.mark.parametrize(
    "minutes, session, dropped",
    [(2, None, None), (2000, None, "open"), (2, "other", "open"), (-1, None, "open")],
    ids=["soon, from the server", "much later", "in another session", "before"],
)
def test_a_step_without_a_session_counts_for_the_session_whose_step_came_before(minutes, session, dropped):
    mine = {"$session_id": "s1"}
    log = log_of(
        call("ada", "true", -5, **mine), event("open", "ada", 0, **mine),
        event("pay", "ada", minutes, **{"$session_id": session}),
    )  # fmt: skip
    sessions = ck.sessions_by_flag(log, "f", steps=STEPS)
    assert sessions.sessions.set_index("session_id").loc["s1", "dropped_at"] == dropped
    notes = [note for note in sessions.notes if note.code == "steps_without_session"]
    assert bool(notes) == (dropped is None)


def people_log():
    people = pd.DataFrame(
        {"person_id": list("abcd"), "distinct_id": list("abcd"), "plan": ["pro", "free"] * 2}
    )
    rows = [call(who, "true" if who in "ab" else "false") for who in "abcd"]
    rows += [event(name, who, k + 1, **{"$os": "iOS" if who in "ac" else "Linux"})
             for who in "ac" for k, name in enumerate(STEPS)]  # fmt: skip
    return log_of(*rows, persons=people)


PRO = {"key": "plan", "value": "pro", "type": "person"}


@pytest.mark.parametrize(
    "given",
    [
        {"people": {"plan": "pro"}},
        {"people": [{"key": "plan", "value": "pro"}]},
        {"people": ["a", "c"]},
        {"filters": [PRO]},
        {"filters": [PRO, {"key": "$os", "value": "iOS"}]},
        {"people": {"plan": ["pro", "team"]}, "filters": [PRO]},
    ],
)
def test_a_filter_of_people_narrows_the_exposed_too(given):
    funnel = ck.funnel_by_flag(people_log(), STEPS, flag="f", attribution="exposure", **given)
    assert {row["variant"]: row["people"] for row in funnel.rows} == {"false": 1, "true": 1}
    assert funnel.counts == {"false": [1, 1], "true": [1, 1]}


def test_a_filter_of_events_leaves_the_exposed_as_they_are():
    funnel = ck.funnel_by_flag(
        people_log(), STEPS, flag="f", attribution="exposure", filters={"$os": "Linux"}
    )
    assert {row["variant"]: row["people"] for row in funnel.rows} == {"false": 2, "true": 2}


@pytest.mark.parametrize("given", [{"people": {"plan": "pro"}}, {"where": {"person.plan": "pro"}}])
def test_a_trend_of_some_people_divides_by_those_people(given):
    trend = ck.trend_by_flag(people_log(), "pay", flag="f", measure="users", per="exposed user", **given)
    assert {row["variant"]: (row["users"], row["exposed"]) for row in trend.rows} == {
        "false": (1, 1), "true": (1, 1)
    }  # fmt: skip


def test_people_is_refused_where_it_is_a_filter_of_events_or_nobody():
    with pytest.raises(ck.PlanError, match="filter of type 'event'"):
        ck.exposures(people_log(), "f", people=[{"key": "$os", "value": "iOS", "type": "event"}])
    with pytest.raises(ck.PlanError, match="names nobody"):
        ck.exposures(people_log(), "f", people={})
    with pytest.raises(ck.PlanError, match="needs attribution='exposure'"):
        ck.funnel_by_flag(people_log(), STEPS, flag="f", people={"plan": "pro"})


def emails_log():
    rows = [call(who, "true" if who in "abe" else "false", **{"$os": "iOS"}) for who in "abcde"]
    rows += [event("open", who, 1, email=f"{who}@{'acme' if who in 'ac' else 'home'}.io") for who in "abcd"]
    rows += [event("open", "a", 2, email="a@home.io"), event("open", "b", 3, **{"$os": "Linux"})]
    return rows


@pytest.mark.parametrize("persons", [None, pd.DataFrame({"distinct_id": list("abcde"), "plan": "pro"})])
@pytest.mark.parametrize(
    "people, ids",
    [
        ({"$os": "iOS"}, "abcde"),  # b came with Linux later
        ([{"key": "email", "value": "@acme.io", "operator": "icontains"}], "ac"),
        ([{"key": "email", "value": "@acme.io", "operator": "not_icontains"}], "bde"),
        ([{"key": "email", "operator": "is_not_set"}], "e"),
    ],
)
def test_a_property_that_only_events_have_is_that_of_the_first_event_with_it(people, ids, persons):
    exposed = ck.exposures(log_of(*emails_log(), persons=persons), "f", people=people)
    assert sorted(exposed.people["person_id"]) == list(ids)
    (note,) = (note for note in exposed.notes if note.code == "people_filter")
    assert "as each one's first event with it says" in str(note)


def test_a_property_of_persons_counts_before_that_of_events():
    persons = pd.DataFrame({"distinct_id": list("abcde"), "email": ["x@acme.io", *["x@home.io"] * 4]})
    wanted = [{"key": "email", "value": "acme", "operator": "icontains"}]
    exposed = ck.exposures(log_of(*emails_log(), persons=persons), "f", people=wanted)
    assert list(exposed.people["person_id"]) == ["a"]
    assert not any("first event" in str(note) for note in exposed.notes)


@pytest.mark.parametrize("operator", ["exact", "not_icontains", "is_not"])
def test_people_by_a_property_that_nobody_has_are_refused(operator):
    wanted = [{"key": "plan", "value": "pro", "operator": operator}]
    with pytest.raises(
        ck.DataError, match=r"nobody has the property 'plan', neither on persons nor on events"
    ):
        ck.exposures(log_of(*emails_log()), "f", people=wanted)


def test_people_by_a_value_that_nobody_has_are_a_slip_or_the_reason_is_said():
    with pytest.raises(ck.DataError, match=r"nobody has \$os 'ios'; .* Did you mean 'iOS'\?"):
        ck.exposures(log_of(*emails_log()), "f", people={"$os": "ios"})
    exposed = ck.exposures(log_of(*emails_log()), "f", people={"$os": "BeOS"})
    assert exposed.people.empty
    assert any("nobody has $os 'BeOS'; there is ['Linux', 'iOS']" in str(note) for note in exposed.notes)


def test_a_flag_and_a_breakdown_together_give_one_row_per_pair():
    rows = [
        call("a", "true", **{"$os": "iOS"}), call("b", "true", **{"$os": "Linux"}), call("c", "false"),
        *(event(name, who, k + 1, **{"$os": "iOS", "$feature/f": "true"})
          for who in "ab" for k, name in enumerate(STEPS)),
    ]  # fmt: skip
    log = log_of(*rows)
    exposed = ck.funnel_by_flag(log, STEPS, flag="f", breakdown="$os", attribution="exposure")
    assert exposed.counts == {("false", ""): [0, 0], ("true", "Linux"): [1, 1], ("true", "iOS"): [1, 1]}
    touched = ck.funnel_by_flag(log, STEPS, flag="f", breakdown="$os")
    assert touched.counts == {("true", "iOS"): [2, 2]}


# ---- people of both variants, by cause -------------------------------------------------------------------


def with_logins(release, share, *, seed=3):
    """`share` of the people log in a minute after their first call: another id, and the other variant."""
    rng = np.random.default_rng(seed)
    calls = release.events[release.events["event"] == CALLED]
    again = calls[rng.random(len(calls)) < share].copy()
    swap = {"true": "false", "false": "true"}
    again = again.assign(
        distinct_id="id-" + again["distinct_id"],
        uuid="login-" + again["uuid"],
        timestamp=again["timestamp"] + pd.Timedelta(minutes=1),
    )
    again["$feature_flag_response"] = again["$feature_flag_response"].map(swap)
    return ck.EventLog(pd.concat([release.events, again], ignore_index=True), persons=release.persons)


@pytest.mark.parametrize("crossers", ["first exposure", "set apart"])
def test_logins_do_not_switch_a_comparison_off(crossers):
    report = judge(with_logins(make_release(harm=3.0, n=4000), 0.025), crossers=crossers)
    assert report.verdict is ck.Verdict.ROLL_BACK
    assert report.check("both variants seen").status.value == "ok"
    people = dict(report.section("people").rows)
    assert people["of these, changed id (a login or a merge)"] > 60


def test_a_promotion_waits_until_those_who_changed_variant_cannot_hide_a_harm():
    errors = ck.Guardrail("$exception", margin_ratio=1.5)
    release = make_release(n=9000, base=0.1)
    plain = judge(release, guardrails=errors)
    assert plain.verdict is ck.Verdict.PROMOTE
    report = judge(with_logins(release, 0.45), guardrails=errors)
    assert report.verdict is ck.Verdict.HOLD
    assert report.check("changed variant").status.value == "hold"
    assert "What they may hide of a harm" in report.reason


def test_people_set_apart_hold_what_would_not_stand_whichever_way_they_fell():
    release = make_release(harm=1.9, n=4000)
    kept = judge(with_logins(release, 0.1))
    apart = judge(with_logins(release, 0.4), crossers="set apart")
    assert kept.verdict is ck.Verdict.ROLL_BACK
    assert apart.verdict is ck.Verdict.HOLD


def test_a_growing_ramp_a_login_and_a_flicker_are_told_apart():
    rng = np.random.default_rng(5)
    plan = ck.RolloutPlan("f", (ck.Stage.for_share("50%", 50, dwell="2d"),), starts_at=START)
    rows = []
    for k in range(1500):
        bucket, minutes = rng.random(), int(rng.integers(0, 1400))
        share = 0.05 if minutes < 700 else 0.5  # the flag was raised half a day after the plan says
        rows.append(call(f"u{k}", str(bucket < share).lower(), minutes))
        if minutes < 700 and 0.05 <= bucket < 0.5 and rng.random() < 0.5:
            rows.append(call(f"u{k}", "true", int(rng.integers(710, 1400))))
    rows += [call("flicker", value, k) for k, value in enumerate(["true", "false", "true"])]
    rows += [call("anon", "true", 3, person_id="p"), call("ada", "false", 4, person_id="p")]
    log = log_of(*rows)
    from canarykit.exposure.compared import compared_units

    units = compared_units(log, "f", plan=plan, stage="50%").units.set_index("person_id")
    causes = units["cause"].dropna()
    assert (causes.loc["flicker"], causes.loc["p"]) == ("flicker", "login")
    others = causes.drop(["flicker", "p"])
    assert len(others) > 100
    assert (others == "ramp").mean() > 0.99


# ---- the ramp as the log shows it ------------------------------------------------------------------------


def ramp_log(*steps, control="false", canary="true", seed=1):
    """First calls in order: `(people, share)` one step after the other, ten seconds apart."""
    rng = np.random.default_rng(seed)
    shares = np.concatenate([np.full(n, share) for n, share in steps])
    inside = rng.random(len(shares)) < shares
    rows = [call(f"u{k}", canary if on else control, k / 6) for k, on in enumerate(inside)]
    return log_of(*rows)


def test_the_steps_of_a_ramp_are_found_in_the_log():
    log = ramp_log((3000, 0.01), (2000, 0.1), (2000, 0.5), (500, 1.0))
    exposed = ck.exposures(log, "f")
    assert [step.units for step in exposed.observed_steps().steps] == pytest.approx(
        [3000, 2000, 2000, 500], abs=120
    )
    plan = exposed.observed_plan()
    shares = [stage.share for stage in plan.stages]
    assert shares == pytest.approx([1, 10, 50, 100], rel=0.25)
    assert [stage.kind for stage in plan.stages] == ["percentage"] * 3 + ["full"]
    report = ck.evaluate_stage(log, plan, plan.stage_names[1], as_of=log.time_range[1])
    assert report.check("sample ratio").status.value == "ok"


def test_chance_alone_makes_no_step():
    rng = np.random.default_rng(7)
    draws = [rng.random(int(rng.integers(50, 3000))) < rng.choice([0.005, 0.05, 0.5]) for _ in range(40)]
    assert sum(bool(change_points(draw)) for draw in draws) == 0


def test_a_rare_arm_keeps_its_share():
    plan = ck.exposures(
        log_of(*(call(f"u{k}", "true" if k % 250 == 7 else "false", k) for k in range(1000))), "f"
    ).observed_plan()
    assert plan.stages[0].share == pytest.approx(0.4)


def test_a_rare_variant_keeps_its_share():
    values = ["b" if k % 250 == 7 else "control" for k in range(1000)]
    plan = ck.exposures(
        log_of(*(call(f"u{k}", value, k) for k, value in enumerate(values))), "f"
    ).observed_plan()
    assert {item.key: item.rollout_percentage for item in plan.variants} == pytest.approx(
        {"b": 0.4, "control": 99.6}
    )


def test_a_release_that_was_set_back_starts_anew():
    exposed = ck.exposures(ramp_log((1000, 0.05), (1000, 0.3), (800, 0.0), (1500, 0.1), (1000, 0.5)), "f")
    steps = exposed.observed_steps()
    assert len(steps.steps) == 5
    assert any(note.code == "set_back" for note in steps.notes)
    assert [stage.share for stage in exposed.observed_plan().stages] == pytest.approx([10, 50], rel=0.3)


def test_a_step_with_only_its_owner_inside_is_said_to_be_no_percentage():
    rows = [call(f"u{k}", "true" if k == 0 or (k >= 600 and k % 2) else "false", k / 6) for k in range(1200)]
    steps = ck.exposures(log_of(*rows), "f").observed_steps()
    assert [step.inside for step in steps.steps] == [1, 300]
    (note,) = [note for note in steps.notes if note.code == "few_inside"]
    assert str(note).startswith("1 step with fewer than 5 units inside the release (1)")
    ramp = ck.exposures(ramp_log((3000, 0.01), (2000, 0.5)), "f").observed_steps()
    assert "few_inside" not in [note.code for note in ramp.notes]


@pytest.mark.parametrize(
    "inside, units, percentage",
    [(361, 1117, 30), (1667, 5000, 33.3333), (200, 4000, 5), (11, 200, 5), (1, 3500, 0.0286), (26, 50, 50)],
)
def test_an_observed_percentage_is_the_round_one_that_the_units_do_not_contradict(inside, units, percentage):
    start = pd.Timestamp("2026-09-07", tz="UTC")
    assert ObservedStep(start, None, units, inside).percentage == percentage


def test_one_variant_is_compared_with_the_flags_off_side():
    plan = ck.RolloutPlan("f", (ck.Stage.for_share("half", 50),), variants=(ck.Variant("test", 100),))
    assert (plan.control, plan.canary) == ("false", "test")
    assert plan.share("half") == pytest.approx(0.5)
    observed = ck.exposures(ramp_log((800, 0.5), canary="test"), "f").observed_plan()
    assert (observed.control, observed.canary) == ("false", "test")


# ---- what is unknown or still to come --------------------------------------------------------------------


def with_failures(release, n, *, broken, stage=STAGE):
    """`n` people whose flag had no value; a part `broken` of them has an exception."""
    rng = np.random.default_rng(9)
    start = ramp_plan().window(stage)[0]
    ids = [f"lost{k}" for k in range(n)]
    times = start + pd.to_timedelta(rng.random(n) * 86_400, unit="s")
    lost = pd.DataFrame(
        {"event": CALLED, "timestamp": times, "distinct_id": ids, "person_id": ids, "$feature_flag": FLAG}
    )
    failed = lost[rng.random(n) < broken].assign(event="$exception", **{"$feature_flag": None})
    failed = failed.assign(timestamp=failed["timestamp"] + pd.Timedelta(minutes=1))
    more = pd.concat([lost, failed], ignore_index=True)
    more["uuid"] = [f"lost{k}" for k in range(len(more))]
    return ck.EventLog(pd.concat([release.events, more], ignore_index=True), persons=release.persons)


def test_people_without_a_flag_value_who_do_worse_hold_the_promotion():
    errors = ck.Guardrail("$exception", margin_ratio=1.5)
    release = make_release(n=9000, base=0.1)
    report = judge(with_failures(release, 200, broken=1.0), guardrails=errors)
    assert report.verdict is ck.Verdict.HOLD
    assert "the flag had no value" in report.reason
    usual = judge(with_failures(release, 200, broken=0.1), guardrails=errors)
    assert usual.verdict is ck.Verdict.PROMOTE


@pytest.mark.parametrize("of_canary, verdict", [(0.6, "hold"), (0.1, "promote")])
def test_the_rule_says_which_arm_a_flag_without_a_value_would_have_had(of_canary, verdict):
    plan = ramp_plan()
    release = make_release(n=9000, base=0.1)
    lost = with_failures(release, 300, broken=0.0).frame
    ids = lost["distinct_id"].drop_duplicates()
    rule = ck.evaluate_flag(plan.flag_at(STAGE), pd.DataFrame({"distinct_id": ids}))
    by_rule = dict(zip(ids, rule["value"], strict=True))
    has_value = lost["$feature_flag_response"].notna()
    lost.loc[has_value, "$feature_flag_response"] = lost.loc[has_value, "distinct_id"].map(by_rule)
    rng = np.random.default_rng(3)
    failing = lost[lost["distinct_id"].str.startswith("lost")].drop_duplicates("distinct_id")
    rate = np.where(failing["distinct_id"].map(by_rule) == "true", of_canary, 0.1)
    broken = failing[rng.random(len(failing)) < rate].assign(
        event="$exception", uuid=lambda f: "x" + f["uuid"]
    )
    broken["timestamp"] += pd.Timedelta(minutes=1)
    log = ck.EventLog(pd.concat([lost, broken], ignore_index=True), persons=release.persons)
    report = judge(log, guardrails=ck.Guardrail("$exception", margin_ratio=1.5))
    assert "by the rule" in report.check("flag without a value").meaning
    assert report.verdict.value.replace(" ", "_") == verdict


def by_rule(plan, ids):
    answers = ck.evaluate_flag(plan.flag_at(STAGE), pd.DataFrame({"distinct_id": ids}))
    return answers["value"].to_numpy(object)


@pytest.mark.parametrize(
    "of_canary, of_control, verdict", [(1.0, 0.0, "hold"), (0.3, 0.3, "promote"), (0.0, 1.0, "promote")]
)
def test_people_hit_before_their_flag_call_arrived_hold_the_promotion(of_canary, of_control, verdict):
    plan = ramp_plan()
    release = make_release(n=9000, base=0.1).events
    called = release["event"] == CALLED
    release.loc[called, "$feature_flag_response"] = by_rule(plan, release.loc[called, "distinct_id"])
    ids = np.array([f"uncalled{k}" for k in range(400)])
    rng = np.random.default_rng(4)
    hit = rng.random(400) < np.where(by_rule(plan, ids) == "true", of_canary, of_control)
    times = plan.window(STAGE)[0] + pd.to_timedelta(rng.random(400) * 86_400, unit="s")
    broken = pd.DataFrame(
        {"event": "$exception", "timestamp": times, "distinct_id": ids, "person_id": ids, "uuid": ids}
    )
    log = ck.EventLog(pd.concat([release, broken[hit]], ignore_index=True))
    report = judge(log, guardrails=ck.Guardrail("$exception", margin_ratio=1.5))
    assert report.verdict.value == verdict
    doubted = [check.meaning for check in report.checks if check.name == "flag never called"]
    assert len(doubted) == (verdict == "hold")
    if doubted:
        n = int(hit.sum())
        hit_words = f"{n} people without any flag call are hit (people with $exception)"
        assert hit_words in doubted[0]
        assert f"by the rule {n} of them have the canary (100.0 %, where 25.0 % should)" in doubted[0]


def test_people_outside_the_segment_asked_about_are_not_taken_for_uncalled():
    release = make_release(n=9000, base=0.1)
    plan, events = ramp_plan(), release.events
    called = events["event"] == CALLED
    events.loc[called, "$feature_flag_response"] = by_rule(plan, events.loc[called, "distinct_id"])
    harmed = by_rule(plan, events["distinct_id"]) == "true"
    more = events[called & harmed & events["distinct_id"].str.endswith("7")].assign(event="$exception")
    more["uuid"] = [f"more{k}" for k in range(len(more))]
    events = pd.concat([events, more], ignore_index=True)
    events["plan"] = np.where(events["distinct_id"].str.endswith("7"), "pro", "free")
    persons = events[["distinct_id", "plan"]].drop_duplicates().assign(person_id=lambda f: f["distinct_id"])
    log = ck.EventLog(events.assign(person_id=events["distinct_id"]), persons=persons)
    report = judge(log, guardrails=ck.Guardrail("$exception", margin_ratio=1.5), people={"plan": "free"})
    assert report.verdict is ck.Verdict.PROMOTE


def late(release, hours, *, of):
    """An export that knows when each event arrived; exceptions of the arm `of` come `hours` late."""
    events = release.events.copy()
    calls = events[events["event"] == CALLED].drop_duplicates("distinct_id")
    arm = events["distinct_id"].map(
        dict(zip(calls["distinct_id"], calls["$feature_flag_response"], strict=True))
    )
    slow = (events["event"] == "$exception") & (arm == of)
    events["created_at"] = events["timestamp"] + pd.to_timedelta(np.where(slow, hours * 3600, 5), unit="s")
    return events


@pytest.mark.parametrize("of", ["true", "false"])
def test_crash_reports_of_one_arm_that_come_a_day_late_neither_promote_nor_roll_back(of):
    errors = ck.Guardrail("$exception", margin_ratio=1.5)
    release = make_release(n=9000, base=0.1, days=1.4)
    events = late(release, 22, of=of)
    now = ramp_plan().window(STAGE)[0] + pd.Timedelta(hours=26)
    there = ck.EventLog(events[events["created_at"] < now], persons=release.persons)
    report = judge(there, guardrails=errors, as_of=now)
    assert report.verdict is ck.Verdict.HOLD
    assert "come later" in report.check("late events").meaning
    later = now + pd.Timedelta(hours=34)
    report = judge(ck.EventLog(events, persons=release.persons), guardrails=errors, as_of=later)
    assert report.verdict is ck.Verdict.PROMOTE


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["both ways", "into the canary", "out of the canary"])
def test_logins_neither_roll_back_harmless_releases_nor_promote_harmful_ones(direction):
    from benchmarks.calibrate.crossers import MARGIN, verdicts

    rows, bound = 200, 0.05
    allowed = bound + 3 * np.sqrt(bound * (1 - bound) / rows)
    rolled_back, promoted = verdicts(0.1, direction, 1.0, rows)
    assert rolled_back <= allowed
    assert promoted >= 0.4
    assert verdicts(0.1, direction, MARGIN, rows)[1] <= allowed
    assert verdicts(0.1, direction, 2 * MARGIN, rows)[0] >= 0.95
