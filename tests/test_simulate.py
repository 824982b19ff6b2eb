"""A simulated log must be reproducible, stable as it grows, and hold the truth that was put in."""

import json
import uuid

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.bucketing import posthog_hash01
from canarykit.simulate import Effect, Fault
from canarykit.simulate.log import frame_columns
from canarykit.simulate.log.kernels import sort_words, write_uuids
from canarykit.simulate.people import identities
from tests.simulated import FLAG, VALUE, ramp, values


@pytest.fixture(scope="module")
def plan():
    return ramp()


@pytest.fixture(scope="module")
def truth():
    return ck.Scenario(effects=[Effect("paid", 0.6), Effect("errors", 3)], error_rate=0.04)


@pytest.fixture(scope="module")
def log(plan, truth):
    return ck.simulate_rollout(plan, ck.Population(8_000, anonymous=0.2), truth, rng=5)


def filled(column):
    return column.astype(object).where(column.notna(), "")


def test_the_same_seed_gives_the_same_log(plan, truth):
    first, second = (ck.simulate_rollout(plan, 300, truth, rng=11).frame for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert not first["uuid"].isin(ck.simulate_rollout(plan, 300, truth, rng=12).frame["uuid"]).all()


def test_the_log_does_not_depend_on_the_number_of_threads_or_slices(plan, truth, monkeypatch):
    from canarykit.simulate.log import streams, time_order
    from canarykit.simulate.people import population

    for module in (streams, population):
        monkeypatch.setattr(module, "BLOCK", 64)
    whole = ck.simulate_rollout(plan, 300, truth, rng=11, workers=1)
    assert whole.frame["timestamp"].is_monotonic_increasing
    monkeypatch.setattr(time_order, "SLICE", 256)
    cut = ck.simulate_rollout(plan, 300, truth, rng=11, workers=3)
    pd.testing.assert_frame_equal(whole.frame, cut.frame)
    pd.testing.assert_frame_equal(whole.persons, cut.persons)


def test_the_log_is_the_same_where_pandas_checks_every_category(plan, truth, monkeypatch):
    unchecked = ck.simulate_rollout(plan, ck.Population(200, anonymous=0.3), truth, rng=11).frame
    monkeypatch.setattr(frame_columns, "_UNCHECKED", None)
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
    from canarykit.simulate.log import streams
    from canarykit.simulate.people import population

    for module in (streams, population):
        monkeypatch.setattr(module, "BLOCK", 64)
    few = ck.simulate_rollout(plan, 100, rng=3).frame
    more = ck.simulate_rollout(plan, 200, rng=3).frame
    assert 0 < len(few) < len(more)
    assert set(few["uuid"]) <= set(more["uuid"])


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


def test_data_are_late_of_the_variant_and_in_the_time_that_a_fault_names(plan):
    until = plan.window("expanded beta 50%")[0] + pd.Timedelta(days=1)
    fault = Fault("late data", variant="true", delay="6h", until=until.isoformat())
    frame = ck.simulate_rollout(plan, 2000, ck.Scenario(faults=[fault]), rng=3).frame
    late = frame["created_at"] - frame["timestamp"] > pd.Timedelta(hours=1)
    assert late.any()
    assert (frame.loc[late, "timestamp"] < until).all()
    calls = frame["event"] == "$feature_flag_called"
    with_it = calls & (frame["$feature_flag_response"] == "true") & (frame["timestamp"] < until)
    assert late[with_it].all()
    assert not late[calls & ~with_it].any()
    with pytest.raises(ck.PlanError, match=r"fault 'late data' is for variant 'ture'; .*'true'"):
        ck.simulate_rollout(plan, 20, ck.Scenario(faults=[Fault("late data", variant="ture")]), rng=3)


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


def test_a_log_of_which_nothing_arrived_is_an_empty_log(plan, tmp_path):
    silent = ck.Scenario(faults=[Fault("outage", since="2026-01-01T00:00:00Z", until="2027-01-01T00:00:00Z")])
    for path in (None, tmp_path):
        log = ck.simulate_rollout(plan, 50, silent, rng=1, path=path)
        assert log.event_names() == {}
        assert len(log.persons) == 50


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


@pytest.mark.parametrize("name", ["steps", "effects", "faults"])
def test_a_part_of_a_scenario_that_is_only_a_name_is_refused_with_an_example(name):
    with pytest.raises(ck.PlanError, match=f"{name} of the scenario have 'paid'; expected such as"):
        ck.Scenario(**{name: ["paid"]})


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


@pytest.mark.parametrize("exported", [False, True])
def test_targeted_stages_that_reach_none_of_the_people_are_told(plan, exported, tmp_path):
    path = {"path": tmp_path} if exported else {}
    elsewhere = ck.Population(300, owner="eve@else.io", team_domain="else.io")
    (note,) = [
        note
        for note in ck.simulate_rollout(plan, elsewhere, rng=1, progress=False, **path).notes
        if note.code == "nobody_reached"
    ]
    assert "'just yourself', 'internal team'" in note.text
    fitting = ck.simulate_rollout(plan, 300, rng=1, progress=False)
    assert all(note.code != "nobody_reached" for note in fitting.notes)
