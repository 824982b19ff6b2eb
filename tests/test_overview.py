"""All flags at a glance: status by PostHog's rule, shares,
overlaps; and the object a web client starts with."""

import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import DataError, PlanError
from canarykit.flags import Condition, Flag, FlagSet, PropertyFilter, Variant
from canarykit.overview import stage_of, status_of
from canarykit.times import to_utc

NOW = to_utc("2026-09-28T09:00:00Z")
OLD, NEW = "2026-08-01T00:00:00Z", "2026-09-20T00:00:00Z"
HALVES = (Variant("control", 50), Variant("test", 50))
EVERYONE = (Condition(rollout_percentage=100),)


def share(percent, *filters, **rest):
    return Condition(filters, percent, **rest)


@pytest.mark.parametrize("flag, status", [
    (Flag("f", deleted=True, active=False), "deleted"),
    (Flag("f", EVERYONE, active=False, last_called_at=OLD), "disabled"),
    (Flag("f", (share(10),), last_called_at=OLD), "stale"),
    (Flag("f", (share(10),), last_called_at="2026-08-29T08:59:59Z"), "stale"),
    (Flag("f", (share(10),), last_called_at="2026-08-29T09:00:01Z"), "active"),
    (Flag("f", EVERYONE, last_called_at=NEW), "fully rolled out"),
    (Flag("f", (share(None),), created_at=OLD), "stale"),
    (Flag("f", EVERYONE, created_at=NEW), "fully rolled out"),
    (Flag("f", (share(10),), created_at=OLD), "active"),
    (Flag("f", (share(100, PropertyFilter("plan", "pro")),), created_at=OLD), "active"),
    (Flag("f", EVERYONE, HALVES, created_at=OLD), "active"),
    (Flag("f", (share(100, variant="test"),), HALVES, created_at=OLD), "stale"),
    (Flag("f", EVERYONE, (Variant("control", 0), Variant("test", 100)), created_at=OLD), "stale"),
    (Flag("f", EVERYONE), "fully rolled out"),
])  # fmt: skip
def test_a_flag_is_stale_by_posthogs_rule(flag, status):
    last = None if flag.last_called_at is None else to_utc(flag.last_called_at)
    assert status_of(flag, NOW, last) == status


@pytest.mark.parametrize("flag, stage", [
    (Flag("f", EVERYONE, active=False), "off"), (Flag("f"), "nobody"), (Flag("f", (share(0),)), "nobody"),
    (Flag("f", (share(100, PropertyFilter("email", ["ada@acme.io"])),)), "just yourself"),
    (Flag("f", (share(100, PropertyFilter("email", ["a@acme.io", "b@acme.io"])),)), "named people"),
    (Flag("f", (share(100, PropertyFilter("email", "@acme.io", "ends_with")),)), "internal team"),
    (Flag("f", (share(100, PropertyFilter("plan", "pro")),)), "beta"),
    (Flag("f", (share(100, PropertyFilter("email", "@acme.io", "ends_with")),), feature_enrollment=True),
    "beta"),
    (Flag("f", (share(100, PropertyFilter("name", "Acme", type="group", group_type_index=0)),)), "beta"),
    (Flag("f", (share(5), share(25))), "expanded beta 25%"),
    (Flag("f", (share(5), *EVERYONE)), "full release"),
])  # fmt: skip
def test_the_stage_of_a_flag_is_read_from_its_widest_set(flag, stage):
    assert stage_of(flag) == stage


def test_the_stages_of_a_plan_are_recognised():
    plan = ck.RolloutPlan.five_stages("f", owner="ada@acme.io", team_domain="acme.io")
    assert tuple(stage_of(plan.flag_at(name)) for name in plan.stage_names) == plan.stage_names


@pytest.fixture(scope="module")
def world():
    flags = FlagSet([
        Flag("half", (share(50),), last_called_at=OLD), Flag("third", (share(30),)), Flag("all", EVERYONE,
        id=5),
        Flag("follower", (share(100, PropertyFilter("5", True, type="flag"), PropertyFilter("plan",
        "pro")),)),
        Flag("kept", (share(20),), ensure_experience_continuity=True), Flag("off", EVERYONE, active=False),
    ])  # fmt: skip
    persons = pd.DataFrame(
        {"distinct_id": [f"u{i}" for i in range(600)], "plan": ["pro", "free", "free"] * 200}
    )
    persons["person_id"] = persons["distinct_id"]
    values = ck.evaluate_flag(flags["half"], persons)["value"]
    calls = pd.DataFrame({
        "event": "$feature_flag_called", "timestamp": pd.date_range("2026-09-20T00:00:00Z", periods=600,
        freq="min"),
        "distinct_id": persons["distinct_id"], "$feature_flag": "half",
        "$feature_flag_response": values.astype(object),
    })  # fmt: skip
    calls.loc[0, "$feature_flag_response"] = None
    late = calls.tail(1).assign(timestamp=pd.Timestamp("2026-10-01T00:00:00Z"))
    return flags, persons, ck.EventLog(pd.concat([calls, late], ignore_index=True)), values


def test_every_flag_has_a_row_with_its_shares_and_the_last_call_of_the_log(world):
    flags, persons, log, values = world
    rows = ck.flag_overview(flags, log, persons, as_of=NOW).to_frame().set_index("flag")
    assert rows.index.tolist() == list(flags)
    assert rows.loc["half", "status"] == "active"  # the log knows a later call than the API
    assert rows.loc["half", "last_call"] == pd.Timestamp("2026-09-20T09:59:00Z")
    assert rows.loc["half", "share_by_rule"] == 0.5
    assert rows.loc["half", "share_of_persons"] == (values == "true").mean()
    assert rows.loc["half", "people_observed"] == 599
    assert rows.loc["half", "share_observed"] == (values.iloc[1:] == "true").mean()
    assert rows.loc["all", "status"] == "fully rolled out"
    assert rows.loc["all", "next_step"].startswith("free ['follower'] of it")
    assert rows.loc["off", "share_by_rule"] == 0
    assert rows.loc["kept", "worst"] == "experience continuity"


def test_people_in_several_running_rollouts_are_counted(world):
    flags, persons, log, _ = world
    overview = ck.flag_overview(flags, log, persons, as_of=NOW)
    held = {
        key: ck.evaluate_flag(key, persons, flags=flags)["value"] == "true"
        for key in ("half", "third", "follower")
    }
    assert overview.in_several == (sum(held.values()) > 1).sum()
    pair = overview.overlaps.set_index(["flag", "with_flag"])["people"]
    assert pair["half", "third"] == (held["half"] & held["third"]).sum()
    assert "all" not in overview.overlaps["flag"].tolist()
    assert "more than one running rollout" in repr(overview)


def test_without_a_log_the_last_call_is_what_the_api_says(world):
    overview = ck.flag_overview(world[0], as_of=NOW)
    rows = overview.to_frame().set_index("flag")
    assert rows.loc["half", "status"] == "stale"
    assert overview.in_several is None
    assert rows["share_observed"].isna().all()


def test_events_in_the_place_of_the_flags_are_refused_by_what_was_called(world):
    with pytest.raises(PlanError, match=r"flag_overview takes a FlagSet first, .* log=; this is EventLog"):
        ck.flag_overview(world[2], as_of=NOW)


def test_a_web_client_starts_with_values_and_decoded_payloads():
    flags = FlagSet([
        Flag("on", EVERYONE, payloads={"true": '{"colour": "red"}'}), Flag("never", (share(0),),
        payloads={"true": "1"}),
        Flag("arms", (share(100, variant="test"),), HALVES, payloads={"test": '"t"', "control": "2"}),
        Flag("off", EVERYONE, active=False), Flag("kept", EVERYONE, ensure_experience_continuity=True),
        Flag("static", (share(100, PropertyFilter("id", 9, type="cohort")),)),
        Flag("team", (share(100, PropertyFilter("email", "@acme.io", "ends_with")),),
        payloads={"true": "not json"}),
    ])  # fmt: skip
    expected = {
        "distinctID": "ada", "isIdentifiedID": True,
        "featureFlags": {"on": True, "never": False, "arms": "test", "team": True},
        "featureFlagPayloads": {"on": {"colour": "red"}, "arms": "t", "team": "not json"},
    }  # fmt: skip
    assert ck.bootstrap(flags, {"distinct_id": "ada", "email": "ada@acme.io"}) == expected
    assert ck.bootstrap(flags, {"distinct_id": "ada", "properties": {"email": "ada@acme.io"}}) == expected
    assert ck.bootstrap(flags, {"distinct_id": "x"}, identified=False)["isIdentifiedID"] is False
    assert ck.bootstrap(flags, {"distinct_id": "x"})["featureFlags"]["team"] is False


def test_a_person_without_an_id_is_refused():
    with pytest.raises(DataError, match=r"has no 'distinct_id'.*Did you mean 'distinctid'"):
        ck.bootstrap(FlagSet(), {"distinctid": "ada"})
