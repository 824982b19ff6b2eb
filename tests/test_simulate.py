"""A simulated log must be reproducible, stable as it grows, and hold the truth that was put in."""

import json
import uuid

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.bucketing import posthog_hash01
from canarykit.simulate import Effect, Fault, Step, flat, identities
from canarykit.simulate.kernels import sort_words, write_uuids

FLAG = "new-checkout"
VALUE = f"$feature/{FLAG}"


def ramp(dwell="2d", **options):
    return ck.RolloutPlan.five_stages(
        FLAG,
        owner="ada@acme.io",
        team_domain="acme.io",
        beta_groups={"organization": ["blueriver"]},
        starts_at="2026-09-07T09:00:00Z",
        dwell=dwell,
        **options,
    )


@pytest.fixture(scope="module")
def plan():
    return ramp()


@pytest.fixture(scope="module")
def truth():
    return ck.Scenario(effects=[Effect("paid", 0.6), Effect("errors", 3)], error_rate=0.04)


@pytest.fixture(scope="module")
def log(plan, truth):
    return ck.simulate_rollout(plan, ck.Population(8_000, anonymous=0.2), truth, rng=5)


def values(log, **options):
    return log.select(["person_id", "event", VALUE, "timestamp"], **options)


def filled(column):
    return column.astype(object).where(column.notna(), "")


def test_the_same_seed_gives_the_same_log(plan, truth):
    first, second = (ck.simulate_rollout(plan, 300, truth, rng=11).frame for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert not first["uuid"].isin(ck.simulate_rollout(plan, 300, truth, rng=12).frame["uuid"]).all()


def test_the_log_does_not_depend_on_the_number_of_threads_or_slices(plan, truth, monkeypatch):
    from canarykit.simulate import order, population, streams

    for module in (streams, population):
        monkeypatch.setattr(module, "BLOCK", 64)
    whole = ck.simulate_rollout(plan, 300, truth, rng=11, workers=1)
    assert whole.frame["timestamp"].is_monotonic_increasing
    monkeypatch.setattr(order, "SLICE", 256)
    cut = ck.simulate_rollout(plan, 300, truth, rng=11, workers=3)
    pd.testing.assert_frame_equal(whole.frame, cut.frame)
    pd.testing.assert_frame_equal(whole.persons, cut.persons)


def test_the_log_is_the_same_where_pandas_checks_every_category(plan, truth, monkeypatch):
    unchecked = ck.simulate_rollout(plan, ck.Population(200, anonymous=0.3), truth, rng=11).frame
    monkeypatch.setattr(flat, "_UNCHECKED", None)
    checked = ck.simulate_rollout(plan, ck.Population(200, anonymous=0.3), truth, rng=11).frame
    pd.testing.assert_frame_equal(unchecked, checked)


def test_more_people_do_not_change_the_fate_of_the_first(plan, truth):
    few = ck.simulate_rollout(plan, 300, truth, rng=11).frame
    more = ck.simulate_rollout(plan, 500, truth, rng=11).frame
    kept = more[more["distinct_id"].astype(str).isin([f"user-{i}" for i in range(300)])].reset_index(
        drop=True
    )
    assert len(kept) == len(few)
    for column in ("uuid", "timestamp", VALUE, "amount"):
        assert (filled(kept[column]) == filled(few[column])).all()


def test_people_beyond_the_first_block_do_not_change_it_either(plan, monkeypatch):
    from canarykit.simulate import population, rollout, streams

    for module in (streams, population):
        monkeypatch.setattr(module, "BLOCK", 64)
    few = ck.simulate_rollout(plan, 100, rng=3).frame
    more = ck.simulate_rollout(plan, 200, rng=3).frame
    assert set(few["uuid"]) <= set(more["uuid"])
    assert rollout.simulate_rollout is not None


def test_a_longer_rollout_only_adds_days(truth):
    short = ck.simulate_rollout(ramp(), 300, truth, rng=4, until="2026-09-15T00:00:00Z").frame
    longer = ck.simulate_rollout(ramp(), 300, truth, rng=4, until="2026-09-25T00:00:00Z").frame
    assert set(short["uuid"]) == set(longer.loc[longer["timestamp"] < "2026-09-15T00:00:00Z", "uuid"])


def test_two_scenarios_under_one_seed_are_the_same_people_on_the_same_days(plan, truth):
    base = ck.simulate_rollout(plan, 300, rng=4).frame
    harm = ck.simulate_rollout(plan, 300, truth, rng=4).frame
    for event in ("$pageview", "$feature_flag_called", "signup finished"):
        assert set(base.loc[base["event"] == event, "uuid"]) == set(harm.loc[harm["event"] == event, "uuid"])
    assert (base["event"] == "paid").sum() > (harm["event"] == "paid").sum()


def test_the_flag_is_what_its_definition_says(plan, log):
    start, end = plan.window("expanded beta 25%")
    called = log.select(
        [
            "distinct_id",
            "$feature_flag_response",
            "person.email",
            "$group_0",
            f"person.$feature_enrollment/{FLAG}",
        ],
        events=["$feature_flag_called"],
        since=start,
        until=end,
    )
    by_hash = posthog_hash01(called["distinct_id"], prefix=f"{FLAG}.") <= 0.25
    by_rule = called["person.email"].str.endswith("@acme.io") | (called["$group_0"] == "blueriver").fillna(
        False
    )
    by_rule |= called[f"person.$feature_enrollment/{FLAG}"].notna()
    assert ((called["$feature_flag_response"] == "true") == (by_hash | by_rule)).all()


def test_step_rates_are_recovered_from_the_log(plan, truth, log):
    start, end = plan.window("full release")[0], None
    ours = values(log, events=list(truth.step_names), since=plan.window("expanded beta 50%")[0], until=start)
    counts = ours.groupby([VALUE, "event"]).size().unstack()
    for variant, row in truth.truth().iterrows():
        for before, after in zip(truth.step_names, truth.step_names[1:], strict=False):
            n = counts.loc[variant, before]
            slack = 4 * np.sqrt(row[after] * (1 - row[after]) / n) + 5 / n  # some cross the stage's edge
            assert abs(counts.loc[variant, after] / n - row[after]) < slack
    assert end is None


def test_effects_are_recovered_by_the_library_own_funnel(plan):
    once = ck.Scenario(
        effects=[Effect("paid", 0.5)], steps=(Step("start", 1.0), Step("paid", 0.6, delay="1min")), pages=1
    )
    log = ck.simulate_rollout(ramp("4d"), ck.Population(6_000, sessions_per_week=1), once, rng=8)
    start, end = ramp("4d").window("expanded beta 50%")
    funnel = ck.funnel_by_flag(
        log, ["start", "paid"], flag=FLAG, within="10min", date_from=start, date_to=end
    )
    last = funnel.to_frame().query("step == 2").set_index("variant")["share"]
    for variant, expected in (("false", 0.6), ("true", 0.3)):
        assert expected - 0.06 < last[variant] < expected + 0.2  # who tries several times pays more often


def test_errors_are_recovered_and_only_the_canary_has_more(plan, log):
    since, until = plan.window("expanded beta 50%")
    views = values(log, events=["$feature_flag_called"], since=since, until=until)[VALUE].value_counts()
    errors = values(log, events=["$exception"], since=since, until=until)[VALUE].value_counts()
    for variant, rate in (("false", 0.04), ("true", 0.12)):
        assert abs(errors[variant] / views[variant] - rate) < 4 * np.sqrt(rate / views[variant])


@pytest.fixture(scope="module")
def by_organisation():
    return ck.RolloutPlan.five_stages(
        FLAG,
        owner="ada@acme.io",
        team_domain="acme.io",
        beta_groups={"company": ["blueriver"]},
        starts_at="2026-09-07T09:00:00Z",
        dwell="2d",
        aggregation_group_type="company",
        group_types=("company",),
    )


def simulate_organisations(plan, *effects, **options):
    people = ck.Population(8_000, organisations=0.9, largest_organisation=0.01, sessions_per_week=4)
    return ck.simulate_rollout(plan, people, ck.Scenario(effects, error_rate=0.05), rng=5, **options)


def test_an_organisation_gets_one_value_by_the_hash_of_its_key(by_organisation):
    log = simulate_organisations(by_organisation)
    found = ck.exposures(log, FLAG, plan=by_organisation)
    assert found.unit == "company"
    assert (found.by_stage["n_variants"] == 1).all()
    seen = found.by_stage.query("stage == 'expanded beta 25%'").set_index("group")["variant"]
    by_hash = posthog_hash01(seen.index.to_series(), prefix=f"{FLAG}.") <= 0.25
    assert ((seen == "true").to_numpy() == (by_hash | (seen.index == "blueriver"))).all()
    assert 0.15 < (seen == "true").mean() < 0.35
    alone = log.select(
        ["$feature_flag_response", "$group_0", "person.email"], events=["$feature_flag_called"]
    )
    alone = alone[alone["$group_0"].isna() & ~alone["person.email"].str.endswith("@acme.io")]
    full = by_organisation.window("full release")[0]
    assert len(alone) > 500
    assert set(alone["$feature_flag_response"]) == {"false"}
    everywhere = log.select(
        ["$feature_flag_response", "$group_0"], events=["$feature_flag_called"], since=full
    )
    assert set(everywhere.loc[everywhere["$group_0"].notna(), "$feature_flag_response"]) == {"true"}


def test_a_release_by_organisation_is_judged_by_organisation_with_its_truth(by_organisation, tmp_path):
    stage, end = "expanded beta 50%", by_organisation.window("expanded beta 50%")[1]
    errors = ck.Guardrail("$exception", critical=True)
    reports = [
        ck.evaluate_stage(log, by_organisation, stage, errors, as_of=end)
        for log in (
            simulate_organisations(by_organisation),
            simulate_organisations(by_organisation, Effect("errors", 6)),
            simulate_organisations(by_organisation, Effect("errors", 6), path=tmp_path),
        )
    ]
    healthy, harmed, on_disk = reports
    assert healthy.unit == "company groups"
    assert healthy.verdict is not ck.Verdict.ROLL_BACK
    assert harmed.verdict is ck.Verdict.ROLL_BACK
    assert on_disk.to_json().replace("duckdb", "pandas") == harmed.to_json()
    assert abs(healthy.n_canary / (healthy.n_canary + healthy.n_control) - 0.5) < 0.1
    assert all(report.check("sample ratio").status.value == "ok" for report in reports)


def test_people_are_only_simulated_in_groups_of_the_first_type(by_organisation):
    other = ck.RolloutPlan.five_stages(
        FLAG,
        owner="ada@acme.io",
        team_domain="acme.io",
        starts_at="2026-09-07T09:00:00Z",
        aggregation_group_type="project",
        group_types=("company", "project"),
    )
    with pytest.raises(ck.PlanError, match=r"assigns by project; .* the first group type, company"):
        ck.simulate_rollout(other, 100, rng=1)


def test_merged_people_come_back_as_one_through_the_export(plan, truth, tmp_path):
    people = ck.Population(2_000, anonymous=0.5)
    memory = ck.simulate_rollout(plan, people, truth, rng=9)
    disk = ck.simulate_rollout(plan, people, truth, rng=9, path=tmp_path)
    read = ck.read_posthog(
        tmp_path / "events.parquet", persons=tmp_path / "persons.parquet", groups=tmp_path / "groups.parquet"
    )
    identified = read.select(["person_id", "distinct_id", "$anon_distinct_id"], events=["$identify"])
    assert len(identified) > 100
    assert (
        read.identities[identified["$anon_distinct_id"]].to_numpy() == identified["person_id"].to_numpy()
    ).all()
    columns = [
        "uuid",
        "person_id",
        "event",
        "timestamp",
        VALUE,
        "amount",
        "$group_0",
        "$browser",
        "$session_id",
    ]
    ours, theirs, on_disk = (
        log.select(columns).sort_values("uuid").reset_index(drop=True) for log in (memory, read, disk)
    )
    for other in (theirs, on_disk):
        for column in columns:
            assert (filled(ours[column]) == filled(other[column])).all(), column


def test_the_export_is_in_posthog_shape(plan, tmp_path):
    ck.simulate_rollout(plan, 400, ck.Scenario(server_error_rate=0.2), rng=9, path=tmp_path)
    events = pd.read_parquet(tmp_path / "events.parquet")
    assert list(events.columns) == [
        "uuid", "event", "distinct_id", "person_id", "properties", "timestamp", "created_at",
    ]  # fmt: skip
    assert events["uuid"].is_unique
    assert str(events["timestamp"].dtype.tz) == "UTC"
    assert (events["created_at"] > events["timestamp"]).all()
    properties = events["properties"].map(json.loads)
    called = properties[events["event"] == "$feature_flag_called"]
    assert called.map(lambda p: p["$feature_flag"] == FLAG and p["$feature_flag_response"] is p[VALUE]).all()
    server = properties[properties.map(lambda p: p["$lib"] == "posthog-python")]
    assert len(server) > 50
    assert not server.map(lambda p: VALUE in p or "$session_id" in p).any()
    assert server.map(lambda p: p["$exception_list"][0]["type"]).notna().all()
    first_view = events[events["event"] == "$pageview"].assign(p=properties).groupby("person_id")["p"].first()
    assert not first_view.map(lambda p: VALUE in p).any()  # flags have not loaded yet


def test_effects_can_be_confined_faded_and_grown(plan):
    where = {"browser": "Safari"}
    scenario = ck.Scenario(
        effects=[Effect("errors", 20, where=where, stage="expanded beta 50%")], error_rate=0.02
    )
    log = ck.simulate_rollout(plan, 4_000, scenario, rng=6)
    since, until = plan.window("expanded beta 50%")
    errors = log.select(["$browser", VALUE], events=["$exception"], since=since, until=until)
    shares = errors[errors[VALUE] == "true"]["$browser"].value_counts(normalize=True)
    assert shares["Safari"] > 0.7
    fading = ck.Scenario(effects=[Effect("errors", 20, fades_after=0.5)], error_rate=0.02)
    growing = ck.Scenario(effects=[Effect("errors", 20, grows_over=5.0)], error_rate=0.02)
    both = [ck.simulate_rollout(plan, 3_000, s, rng=6, until="2026-09-24T00:00Z") for s in (fading, growing)]
    full = plan.window("full release")[0]
    early = [
        len(values(log, events=["$exception"], since=full, until=full + pd.Timedelta(hours=24)))
        for log in both
    ]
    late = [len(values(log, events=["$exception"], since=full + pd.Timedelta(hours=72))) for log in both]
    assert early[0] / max(late[0], 1) > 2 * early[1] / max(late[1], 1)


def test_faults_leave_the_traces_they_should(plan):
    def calls(*faults, **options):
        scenario = ck.Scenario(faults=faults, **options)
        return ck.simulate_rollout(plan, ck.Population(3_000, anonymous=0.3), scenario, rng=2)

    start, end = plan.window("expanded beta 50%")
    healthy = calls()
    lost = calls(Fault("lost exposures", 0.5, variant="true"))
    exposed = [
        log.select(["$feature_flag_response"], events=["$feature_flag_called"], since=start, until=end)
        for log in (healthy, lost)
    ]
    before, after = (frame["$feature_flag_response"].value_counts() for frame in exposed)
    assert after["false"] == before["false"]
    assert after["true"] < 0.6 * before["true"]
    unknown = calls(Fault("unknown values", 0.25))
    asked = unknown.select(["$feature_flag_response"], events=["$feature_flag_called"])
    assert 0.2 < asked["$feature_flag_response"].isna().mean() < 0.3
    outage = calls(Fault("outage", since="2026-09-15T00:00:00Z", until="2026-09-16T00:00:00Z"))
    assert values(outage, since="2026-09-15T00:00:00Z", until="2026-09-16T00:00:00Z").empty
    late = calls(Fault("late data", 0.3, delay="12h")).frame
    assert 0.25 < ((late["created_at"] - late["timestamp"]) > pd.Timedelta(hours=11)).mean() < 0.35
    wrong = calls(Fault("wrong share", 0.2))
    seen = wrong.select(["$feature_flag_response"], events=["$feature_flag_called"], since=start, until=end)
    assert (seen["$feature_flag_response"] == "true").mean() < 0.35


def test_a_flag_that_sticks_cannot_be_switched_off(plan):
    off = ("2026-09-07T12:00:00Z", "2026-09-07T21:00:00Z")
    answers = {}
    for faults in ((), (Fault("stuck on"),)):
        log = ck.simulate_rollout(plan, 200, ck.Scenario(switched_off=[off], faults=faults), rng=1)
        seen = log.select(
            ["distinct_id", "$feature_flag_response"],
            events=["$feature_flag_called"],
            since=off[0],
            until=off[1],
        )
        answers[bool(faults)] = set(seen.loc[seen["distinct_id"] == "user-0", "$feature_flag_response"])
    assert answers == {False: {"false"}, True: {"true"}}


def test_a_population_and_a_scenario_like_a_log_are_like_it(plan):
    people = ck.Population(
        4_000, sessions_per_week=3, activity_shape=1.5, browsers={"Chrome": 0.7, "Safari": 0.3}
    )
    scenario = ck.Scenario(error_rate=0.03, errors_per_hit=2.0, pages=2.0, amount=20.0)
    log = ck.simulate_rollout(plan, people, scenario, rng=3)
    alike = ck.Population.like(log)
    assert alike.n == 4_000
    assert alike.sessions_per_week == pytest.approx(3, rel=0.08)
    assert alike.activity_shape == pytest.approx(1.5, rel=0.3)
    assert alike.browsers["Safari"] == pytest.approx(0.3, abs=0.03)
    found = ck.Scenario.like(log, steps=scenario.step_names)
    for step, truth in zip(found.steps, scenario.steps, strict=True):
        assert step.rate == pytest.approx(truth.rate, rel=0.08)
    assert found.error_rate == pytest.approx(0.03, rel=0.15)
    assert found.errors_per_hit == pytest.approx(2, rel=0.15)
    assert found.amount == pytest.approx(20, rel=0.05)
    assert found.notes
    assert len(ck.simulate_rollout(plan, alike, found, rng=1, until="2026-09-10T00:00Z").frame)


def test_mistakes_are_answered_with_what_there_is(plan):
    with pytest.raises(ck.PlanError, match=r"no quantity 'payed'.*Did you mean 'paid'"):
        ck.Scenario(effects=[Effect("payed", 2)])
    with pytest.raises(
        ck.PlanError, match=r"fault 'lost exposure' is unknown.*Did you mean 'lost exposures'"
    ):
        Fault("lost exposure")
    with pytest.raises(ck.PlanError, match=r"no browser 'safari'.*Did you mean 'Safari'"):
        ck.simulate_rollout(
            plan, 10, ck.Scenario(effects=[Effect("paid", 2, where={"browser": "safari"})]), rng=1
        )
    with pytest.raises(ck.PlanError, match="no variant 'ture'"):
        ck.simulate_rollout(plan, 10, ck.Scenario(effects=[Effect("paid", 2, variant="ture")]), rng=1)
    with pytest.raises(ck.PlanError, match="has no times"):
        ck.simulate_rollout(ck.RolloutPlan.five_stages("f", owner="a@b.c", team_domain="b.c"), 10, rng=1)
    with pytest.raises(ck.PlanError, match="expected a fraction between 0 and 1"):
        ck.Population(10, bots=1.5)
    with pytest.raises(ck.DataError, match=r"no event 'payd'.*Did you mean 'paid'"):
        ck.Scenario.like(ck.simulate_rollout(plan, 100, rng=1), steps=["payd"])


def test_a_progress_bar_is_silent_unless_asked_for(plan, capsys):
    seen = []

    def wrapper(items):
        for item in items:
            seen.append(item)
            yield item

    ck.simulate_rollout(plan, 50, rng=1, progress=wrapper)
    ck.simulate_rollout(plan, 50, rng=1)
    assert len(seen) == 1
    assert capsys.readouterr() == ("", "")


def test_compiled_uuids_are_those_of_python():
    words = np.random.default_rng(3).integers(0, 2**64, (2, 500), dtype=np.uint64)
    expected = [str(uuid.UUID(int=int(high) << 64 | int(low))) for high, low in words.T]
    assert identities.uuid_text(*words).to_pylist() == expected
    text = np.empty(9 * 500, np.uint32)
    write_uuids(*words, text)
    assert text.tobytes().decode() == "".join(expected)


def test_the_compiled_sort_keeps_equal_times_in_order():
    draw = np.random.default_rng(4)
    words = draw.integers(0, 50, 3_000).astype(np.uint64) << np.uint64(20) | draw.permutation(3_000).astype(
        np.uint64
    )
    expected = words[np.argsort(words >> np.uint64(20), kind="stable")]
    np.testing.assert_array_equal(sort_words(words.copy(), 20, 40), expected)
