import dataclasses
import json

import pandas as pd
import pytest

import canarykit as ck
from canarykit.plan.stage import condition_words, email_domain


def five(**options):
    given = {"owner": "ada@acme.io", "team_domain": "acme.io", "starts_at": "2026-09-07T09:00:00Z"}
    return ck.RolloutPlan.five_stages("new-checkout", **{**given, **options})


def test_the_five_stages_come_in_the_order_of_a_release():
    assert five().stage_names == (
        "just yourself",
        "internal team",
        "beta",
        "expanded beta 5%",
        "expanded beta 25%",
        "expanded beta 50%",
        "full release",
    )


def test_every_stage_keeps_the_condition_sets_of_the_stages_before_it_in_order():
    plan = five(
        beta_groups={"organization": ["twitter"]}, beta_domains=["initech.com"], people=["g@navy.mil"]
    )
    earlier = ()
    for name in plan.stage_names:
        targeted = tuple(c for c in plan.flag_at(name).conditions if c.properties)
        assert targeted[: len(earlier)] == earlier
        earlier = targeted
    last = plan.flag_at("full release").conditions
    assert [c.rollout_percentage for c in last] == [100] * 6
    assert last[-1].properties == ()


def test_a_growing_share_replaces_the_smaller_one_and_comes_last():
    shares = {
        name: [c.rollout_percentage for c in five().flag_at(name).conditions if not c.properties]
        for name in five().stage_names
    }
    assert shares["beta"] == []
    assert shares["expanded beta 5%"] == [5]
    assert shares["expanded beta 50%"] == [50]
    assert shares["full release"] == [100]


def test_a_share_of_some_people_is_kept_beside_a_smaller_share_of_everyone():
    german = ck.Condition((ck.PropertyFilter("country", "DE"),), 50)
    plan = ck.RolloutPlan(
        "f",
        (
            ck.Stage("half of DE", (german,), kind="percentage", share=50),
            ck.Stage("a tenth of everyone", kind="percentage", share=10),
            ck.Stage("most", kind="percentage", share=80),
        ),
    )
    assert [c.rollout_percentage for c in plan.flag_at("a tenth of everyone").conditions] == [50, 10]
    assert [c.rollout_percentage for c in plan.flag_at("most").conditions] == [80]


def test_lowering_a_share_is_refused_because_people_would_drop_out():
    stages = (ck.Stage.for_share("wide", 50), ck.Stage.for_share("narrow", 25))
    with pytest.raises(ck.PlanError, match="'narrow' lowers the share from 50 % to 25 %"):
        ck.RolloutPlan("f", stages)


def test_a_targeted_stage_after_a_share_is_refused():
    stages = (ck.Stage.for_share("ramp", 50), ck.Stage.for_people("late", ["a@b.io"]))
    with pytest.raises(ck.PlanError, match="'late' is targeted but follows a percentage"):
        ck.RolloutPlan("f", stages)


def test_a_stage_name_with_a_typo_is_answered_with_the_one_that_was_meant():
    with pytest.raises(ck.PlanError, match=r"no stage 'intermal team'.*Did you mean 'internal team'"):
        five().flag_at("intermal team")


@pytest.mark.parametrize("operator, value", [("ends_with", "@acme.io"), ("regex", r"(?i)@acme\.io$")])
def test_the_internal_team_is_matched_by_an_operator_that_ends_where_the_domain_ends(operator, value):
    item = five(domain_operator=operator).flag_at("internal team").conditions[1].properties[0]
    assert (item.key, item.operator, item.value) == ("email", operator, value)


@pytest.mark.parametrize("operator", ["ends_with", "regex"])
def test_the_plan_says_why_icontains_is_not_used(operator):
    codes = {note.code: str(note) for note in five(domain_operator=operator).notes}
    assert 'icontains "@acme.io" would also let in @acme.io.evil.com' in codes["safe_domain"]


def test_a_plan_that_does_use_icontains_is_warned():
    condition = ck.Condition((ck.PropertyFilter("email", "@acme.io", "icontains"),), 100)
    plan = ck.RolloutPlan("f", (ck.Stage("team", (condition,)),))
    assert "also lets in name@acme.io.evil.com" in str(plan.notes[0])


def test_only_people_of_the_domain_itself_are_in_the_internal_team():
    people = pd.DataFrame({"email": ["ada@ACME.io", "eve@acme.io.evil.com", "eve@notacme.io", None]})
    people.insert(0, "distinct_id", ["1", "2", "3", "4"])
    pattern = email_domain("acme.io", "regex").properties[0].value
    assert people["email"].str.contains(pattern, na=False).tolist() == [True, False, False, False]
    who = ck.evaluate_flag(five(beta_enrollment=False).flag_at("internal team"), people)
    assert who["value"].astype(str).str.lower().tolist() == ["true", "false", "false", "false"]


@pytest.mark.parametrize("blank", ["", " ", "acme", "@", "acme io.com"])
def test_a_domain_that_is_none_is_refused(blank):
    with pytest.raises(ck.PlanError, match="is not an email domain"):
        email_domain(blank)


def test_blank_names_are_refused_because_a_blank_filter_lets_everybody_in():
    with pytest.raises(ck.PlanError, match="blank"):
        ck.Stage.for_people("reporters", ["ada@acme.io", " "])
    assert ck.Stage.for_people("reporter", "ada@acme.io") == ck.Stage.for_people("reporter", ["ada@acme.io"])


def test_organisations_are_in_as_a_whole_by_their_group_key():
    stage = ck.Stage.for_groups("beta", 1, ["Initech"])
    written = stage.conditions[0].to_posthog()
    assert written["aggregation_group_type_index"] == 1
    assert written["properties"][0] == {
        "key": "name", "value": ["Initech"], "operator": "exact", "type": "group", "group_type_index": 1,
    }  # fmt: skip


def test_a_group_type_with_a_typo_is_answered():
    with pytest.raises(ck.PlanError, match=r"'organisation', no group type.*Did you mean 'organization'"):
        five(beta_groups={"organisation": ["twitter"]})


def test_pages_and_machines_are_targeted_through_their_own_ids():
    plan = ck.RolloutPlan("cache", (ck.Stage.for_ids("two servers", ["web-1", "web-2"]),))
    properties = plan.flag_at("two servers").to_posthog()["filters"]["groups"][0]["properties"]
    assert properties[0]["key"] == "distinct_id"
    assert properties[0]["value"] == ["web-1", "web-2"]


def test_each_stage_lasts_its_dwell_and_the_last_one_stays_open():
    plan = five(dwell={"beta": "5d"})
    utc = pd.Timestamp
    assert plan.window("beta") == (utc("2026-09-13T09:00Z"), utc("2026-09-18T09:00Z"))
    assert plan.window("full release") == (utc("2026-09-27T09:00Z"), None)


def test_windows_are_half_open():
    plan = five()
    assert plan.stage_at("2026-09-10T08:59:59Z").name == "just yourself"
    assert plan.stage_at("2026-09-10T09:00:00Z").name == "internal team"
    assert plan.stage_at("2026-09-01T00:00:00Z") is None
    assert plan.stage_at("2030-01-01T00:00:00Z").name == "full release"


def test_windows_as_they_came_to_be_leave_a_gap_where_the_release_was_off():
    plan = five().with_windows(
        {
            "expanded beta 5%": ("2026-09-16T09:00:00Z", "2026-09-17T09:00:00Z"),
            "expanded beta 25%": "2026-09-20T09:00:00Z",
        }
    )
    assert plan.stage_at("2026-09-18T00:00:00Z") is None
    assert plan.stage_at("2026-09-20T09:00:00Z").name == "expanded beta 25%"
    assert plan.window("expanded beta 50%")[0] == pd.Timestamp("2026-09-23T09:00Z")


def test_a_stage_runs_on_until_a_later_start_of_the_next():
    plan = five().with_windows({"internal team": "2026-09-12T00:00:00Z"})
    assert plan.window("just yourself")[1] == pd.Timestamp("2026-09-12T00:00Z")


def test_times_of_other_zones_are_stored_as_utc():
    assert five(starts_at="2026-09-07T11:00:00+02:00").window("just yourself") == five().window(
        "just yourself"
    )


def test_a_time_without_zone_is_refused_with_the_way_to_write_it():
    with pytest.raises(ck.NaiveTimestampError, match="write '2026-09-07T09:00:00Z' for UTC"):
        five(starts_at="2026-09-07 09:00")


@pytest.mark.parametrize(
    "windows",
    [
        {"beta": ("2026-09-20T00:00:00Z", "2026-09-19T00:00:00Z")},
        {"just yourself": ("2026-09-07T00:00Z", "2026-09-20T00:00Z"), "internal team": "2026-09-10T00:00Z"},
    ],
)
def test_windows_that_end_before_they_start_or_overlap_are_refused(windows):
    with pytest.raises(ck.PlanError, match=r"not after|inside the one before|ends at"):
        five().with_windows(windows)


def test_a_stage_without_a_window_says_how_to_give_one():
    with pytest.raises(ck.PlanError, match="give the plan starts_at=, or with_windows"):
        five(starts_at=None).window("beta")
    assert five(starts_at=None).stage_at("2026-09-10T00:00:00Z") is None


@pytest.mark.parametrize("text", ["3", "3 m", "three days", 3, "0d", ""])
def test_a_dwell_without_a_clear_unit_is_refused(text):
    with pytest.raises(ck.PlanError, match=r"expected (a number with its unit|longer than zero)"):
        five(dwell={"beta": text})


def test_the_share_of_the_canary_follows_from_the_rules():
    plan = five(ramp=(5, 25))
    assert plan.share("beta") is None
    assert plan.share("expanded beta 25%") == 0.25
    assert plan.share("full release") == 1.0


def test_the_canary_share_of_a_multivariate_release_is_the_split_not_the_rollout():
    variants = [ck.Variant("control", 75), ck.Variant("test", 25)]
    plan = five(variants=variants, ramp=(10,))
    assert plan.share("expanded beta 10%") == 0.25
    assert plan.shares("expanded beta 10%") == pytest.approx({"false": 0.9, "control": 0.075, "test": 0.025})


def test_people_of_targeted_stages_get_the_canary_by_override_and_shares_hash():
    plan = five(variants=[ck.Variant("control", 50), ck.Variant("test", 50)], people=["g@navy.mil"])
    flag = plan.flag_at("expanded beta 50%")
    assert [c.variant for c in flag.conditions] == ["test", "test", "test", None]
    assert plan.flag_at("full release").conditions[-1].variant == "test"
    assert not flag.feature_enrollment


def test_a_holdout_is_an_arm_of_its_own():
    plan = five(holdout={"id": 42, "exclusion_percentage": 10})
    assert plan.shares("full release") == pytest.approx({"false": 0, "true": 0.9, "holdout-42": 0.1})
    assert plan.share("expanded beta 25%") == 0.25
    assert plan.flag_at("beta").to_posthog()["filters"]["holdout"] == {"id": 42, "exclusion_percentage": 10}


def test_a_release_by_organisation_hashes_the_group_and_targets_people_as_people():
    plan = five(aggregation_group_type="organization")
    written = plan.flag_at("expanded beta 5%").to_posthog()["filters"]
    assert written["aggregation_group_type_index"] == 0
    assert written["groups"][0]["aggregation_group_type_index"] is None
    assert "aggregation_group_type_index" not in written["groups"][-1]


def test_enrolment_is_on_from_the_beta_and_stays_on():
    plan = five()
    on = [plan.flag_at(name).feature_enrollment for name in plan.stage_names]
    assert on == [False, False, True, True, True, True, True]


def test_without_beta_there_is_no_beta_stage():
    assert "beta" not in five(beta_enrollment=False).stage_names


def test_the_flag_of_each_stage_survives_posthogs_json():
    plan = five(people=["g@navy.mil"], holdout={"id": 1, "exclusion_percentage": 5})
    for name in plan.stage_names:
        written = plan.flag_at(name).to_posthog()
        assert ck.Flag.from_posthog(json.loads(json.dumps(written))).to_posthog() == written


def test_a_plan_prints_its_stages_with_conditions_windows_and_who_decides():
    text = repr(five(decides={"full release": "the board"}))
    assert "email ends with @acme.io" in text
    assert "who joins early access" in text
    assert "2026-09-16 09:00 UTC" in text
    assert "the board" in text
    assert "25 % of everyone" in five().to_markdown()
    assert "<table" in five()._repr_html_()


def test_two_plans_of_the_same_words_are_equal():
    assert five() == five()
    assert five() != five(ramp=(10,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        five().flag = "other"


def test_what_changes_between_stages_is_said_in_sentences():
    plan = five(beta_groups={"organization": ["twitter", "github"]})
    assert plan.changes("beta") == (
        "New: organization name is twitter or github.",
        "New: people who join the early access themselves.",
    )
    assert plan.changes("expanded beta 5%") == ("New: 5 % of everyone.",)
    assert plan.changes("full release")[0].startswith("The share of everyone grows from 50 % to 100 %")
    text = plan.announcement("beta")
    assert "from 2026-09-13 09:00 UTC" in text
    assert "keeps it (just yourself, internal team)" in text
    assert "decided by ada@acme.io" in text


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: ck.Stage("", ()), "called ''"),
        (lambda: ck.Stage("s"), "lets nobody in"),
        (lambda: ck.Stage("s", kind="percentage", share=0), "expected a percentage"),
        (lambda: ck.Stage("s", kind="percentage", share=float("nan")), "expected a percentage"),
        (lambda: ck.Stage("s", kind="percentage", share=101), "expected a percentage"),
        (lambda: ck.Stage("s", (ck.Condition(rollout_percentage=5),), kind="percentage", share=6), "says 5"),
        (lambda: ck.Stage("s", kind="half"), "kind 'half'"),
        (lambda: ck.RolloutPlan("f", ()), "no stages"),
        (lambda: ck.RolloutPlan("", (ck.Stage.for_everyone(),)), "key of a flag"),
        (lambda: ck.RolloutPlan("f", (ck.Stage.for_everyone(), ck.Stage.for_everyone())), "two stages"),
        (lambda: five(dwell={"betta": "3d"}), "Did you mean 'beta'"),
        (lambda: five(variants=[ck.Variant("control", 50), ck.Variant("test", 50)], canary="tset"), "'test'"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(build, message):
    with pytest.raises(ck.PlanError, match=message):
        build()


def test_conditions_read_as_words():
    mixed = ck.Condition(
        (ck.PropertyFilter("plan", "pro"), ck.PropertyFilter("seats", "5", "gt", "group", 0)), 30
    )
    assert condition_words(mixed, ("organization",)) == "30 % of plan is pro and organization seats > 5"


@pytest.mark.parametrize(
    "plan",
    [
        five(beta_groups={"organization": ["twitter"]}, people=["g@navy.mil"], dwell={"beta": "5d"}),
        five(
            variants=[ck.Variant("control", 50), ck.Variant("test", 50)],
            holdout={"id": 7, "exclusion_percentage": 10},
        ),
        five().with_windows({"expanded beta 5%": ("2026-09-20T09:00:00Z", "2026-09-22T09:00:00Z")}),
    ],
)
def test_a_plan_written_to_a_file_and_read_back_is_the_same_plan(plan, tmp_path):
    file = tmp_path / "plan.json"
    file.write_text(plan.to_json(indent=1))
    again = ck.RolloutPlan.from_json(file)
    assert again == plan
    assert again.to_dict() == plan.to_dict()


@pytest.mark.parametrize(
    "source,said",
    [
        ("nowhere.json", "the plan file nowhere.json does not exist"),
        ('{"flag": ', "the plan is not JSON"),
        ({"flag": "f"}, "the plan has no 'stages'; there is ['flag']"),
        ({"flag": "f", "stages": [{"nme": "a"}]}, "stage 1 of the plan has no 'name'"),
        ({"flag": "f", "stages": [], "ownr": "x"}, "a key 'ownr' that nothing reads; .*Did you mean 'owner'"),
        ({"flag": "f", "stages": [{"name": "a", "shar": 5}]}, "Did you mean 'share'"),
    ],
)
def test_a_plan_file_that_cannot_be_meant_says_where(source, said):
    with pytest.raises(ck.PlanError, match=said.replace("[", "\\[")):
        ck.RolloutPlan.from_json(source)


def test_nobody_who_has_the_canary_loses_it_while_the_stages_advance():
    plan = five(beta_domains=["initech.com"], people=["g@navy.mil"], ramp=(5, 25, 50), beta_enrollment=False)
    domains = ["acme.io", "initech.com", "navy.mil", "example.org"]
    people = pd.DataFrame({"distinct_id": [f"user-{i}" for i in range(600)]})
    people["email"] = [f"{'g' if i % 7 == 0 else i}@{domains[i % 4]}" for i in range(600)]
    before, sizes = set(), []
    for name in plan.stage_names:
        values = ck.evaluate_flag(plan.flag_at(name), people)["value"].astype(str).str.lower()
        now = set(people.loc[(values == "true").to_numpy(), "distinct_id"])
        assert before <= now
        before = now
        sizes.append(len(now))
    assert sizes == sorted(sizes)
    assert sizes[-1] == 600
    assert sizes[0] == 0


def test_a_plan_is_written_to_a_file_and_read_back(tmp_path):
    plan = ck.RolloutPlan.five_stages("f", owner="ada@acme.io", team_domain="acme.io")
    plan.to_json(tmp_path / "plan.json")
    assert ck.RolloutPlan.from_json(tmp_path / "plan.json") == plan
