"""Every value that a caller may leave out: given as it stands in the signature it changes nothing, given
otherwise it changes the answer."""

import dataclasses
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit import metrics, stats
from canarykit.display import Note, Result
from canarykit.health.decision import Rules
from canarykit.stats import EventMixture, Moments, PairMoments, StratifiedScore
from tests.release import AS_OF, FLAG, STAGE, make_release, ramp_plan

VALUES = np.random.default_rng(3).lognormal(size=400)
OTHERS = np.random.default_rng(4).lognormal(size=400)
FEW, PAIR, NEAR = [2.0, 3, 5, 4, 6, 3], PairMoments.of([1, 0, 2, 4], [2, 1, 3, 4]), [1.0, 2, 4, 4, 5, 3]
BASE = PairMoments.of([1, 1, 0, 2], [3, 2, 1, 4])
COUNTS = (12, 9), (20, 18), (1000.0, 900.0), (1000.0, 1100.0)
LOOSER = (18, 2), (20, 18), (1000.0, 900.0), (1000.0, 1100.0)
TABLE = [[30, 70], [20, 80]]
SCORE = StratifiedScore(np.array([3.0, 7.0]), np.array([9.0, 16.0]))
RATES = 30, 1000.0, 20, 1000.0

# A function, what it is asked, a parameter that is left out there, and another value for it.
STATISTICS = [
    (SCORE.test, (), {"gate_variance": 25.0}, "k_at_gate", 1.0),
    (EventMixture, (), {}, "wide", 0.2),
    (stats.classify_series, (VALUES + 3, OTHERS), {}, "tolerance", 1.1),
    (stats.classify_series, (OTHERS, VALUES + 3), {}, "allowed_decrease", 0.1),
    (stats.cluster_jackknife, (FEW, FEW, NEAR, FEW), {}, "confidence", 0.9),
    (stats.confidence_sequence, ([0.01], [1e-5]), {"k": [6.3]}, "confidence", 0.9),
    (stats.confidence_sequence, ([0.01], [1e-5]), {"k": [6.3]}, "n", 900),
    (stats.eppo_interval, (0.2, 0.1, 6000), {}, "confidence", 0.9),
    (stats.eppo_interval, (0.2, 0.1, 6000), {}, "unit", "ms"),
    (stats.event_ratio_bounds, COUNTS, {}, "confidence", 0.9),
    (stats.event_ratio_bounds, LOOSER, {}, "running", False),
    (stats.growthbook_interval, (0.2, 0.1, 6000), {}, "confidence", 0.9),
    (stats.growthbook_interval, (0.2, 0.1, 6000), {}, "unit", "ms"),
    (stats.guardrail_power, (0.8, 3), {}, "false_alarms", 0.1),
    (stats.mantel_haenszel, ([TABLE, TABLE],), {}, "confidence", 0.9),
    (stats.mixture_test, ([0.01], [1e-5]), {"k": [6.3]}, "n", 900),
    (stats.net_promoter_score, (60, 25, 15), {}, "confidence", 0.9),
    (stats.net_promoter_score, (60, 25, 15), {}, "sided", "upper"),
    (stats.net_promoter_score_difference, ((60, 25, 15), (50, 25, 25)), {}, "confidence", 0.9),
    (stats.net_promoter_score_difference, ((60, 25, 15), (50, 25, 25)), {}, "sided", "lower"),
    (stats.odds_ratio, (TABLE,), {}, "confidence", 0.9),
    (stats.power, (stats.ProportionEffect(0.1, 0.02), 3000, 3000), {"looks": 4}, "gate", 0.5),
    (stats.RateEffect, (0.1, 1.2), {}, "margin_ratio", 1.1),
    (ck.Guardrail("$exception").roll_back_beyond, (), {}, "tolerated_ratio", 2.0),
    (ck.Scenario().truth, (), {}, "variants", ("control", "test")),
    (metrics.Quantile, ("paid", "amount"), {}, "name", "amount"),
    (metrics.Quantile, ("paid", "amount"), {}, "where", {"$browser": "Safari"}),
    (metrics.TimeToEvent, ("paid",), {}, "name", "until they pay"),
    (metrics.TimeToEvent, ("paid",), {}, "cuped", "14d"),
    (metrics.SlowShare, ("load", "ms"), {"slower_than": 900}, "name", "slow"),
    (metrics.SlowShare, ("load", "ms"), {"slower_than": 900}, "where", {"$browser": "Safari"}),
    (metrics.Total, ("paid",), {}, "property_name", "amount"),
    (metrics.Retention, (7,), {}, "name", "back in a week"),
    (metrics.SurveyResponse, ("how-was-it",), {}, "name", "answered"),
    (metrics.SurveyScore, ("how-was-it",), {}, "name", "liked"),
    (metrics.SurveyScore, ("how-was-it",), {}, "property_name", "$survey_response_2"),
    (stats.quantile, (VALUES, 0.9), {}, "confidence", 0.9),
    (stats.quantile, (VALUES, 0.9), {}, "unit", "ms"),
    (stats.quantile_bounds, (VALUES, 0.5), {"tuned_at": 400}, "confidence", 0.9),
    (stats.quantile_bounds, (VALUES, 0.5), {"tuned_at": 400}, "unit", "ms"),
    (stats.quantile_difference, (VALUES, OTHERS, 0.5), {}, "confidence", 0.9),
    (stats.quantile_difference, (VALUES, OTHERS, 0.5), {}, "clusters_canary", np.arange(400) // 4),
    (stats.quantile_difference, (VALUES, OTHERS, 0.5), {}, "clusters_control", np.arange(400) // 4),
    (stats.rate_difference, RATES, {}, "confidence", 0.9),
    (stats.rate_difference, RATES, {}, "unit", "errors an hour"),
    (stats.rate_ratio, RATES, {}, "confidence", 0.9),
    (stats.ratio_difference, (PAIR, BASE), {}, "unit", "errors a session"),
    (stats.relative_difference, (Moments.of(FEW), Moments.of(NEAR)), {}, "confidence", 0.9),
    (stats.satisfaction, (60, 100), {}, "confidence", 0.9),
    (stats.satisfaction, (60, 100), {}, "sided", "lower"),
    (stats.sequential_srm_tilt, ([[60, 40]], [[0.5, 0.5]]), {}, "mixture", EventMixture(side="two", sd=0.4)),
    (stats.share_bounds, (30, 400), {"tuned_at": 400}, "confidence", 0.9),
    (stats.statsig_interval, (0.2, 0.1, 6000), {}, "confidence", 0.9),
    (stats.statsig_interval, (0.2, 0.1, 6000), {}, "unit", "ms"),
    (stats.tune_k, ([1e-4, 1e-5],), {"gate_variance": 1e-5}, "k_at_gate", 12.6),
]  # fmt: skip

SETS = {"groups": [{"properties": [{"key": "since", "type": "person", "operator": "is_date_after",
        "value": "2026-09-07T09:00:00"}], "rollout_percentage": 100}]}  # fmt: skip
DATED = ck.Flag.from_posthog({"id": 1, "key": FLAG, "active": True, "filters": SETS})
PEOPLE = pd.DataFrame(
    {"distinct_id": ["ada", "bob"], "since": ["2026-09-07T08:00:00Z", "2026-09-07T10:00:00Z"]}
)


def codes_of(answer):
    """All that an answer says, so that two can be compared."""
    if isinstance(answer, Result):
        return answer.to_json()
    if isinstance(answer, pd.DataFrame):
        return answer.to_json()
    if isinstance(answer, np.ndarray):
        return answer.tolist()
    return repr(dataclasses.asdict(answer)) if dataclasses.is_dataclass(answer) else repr(answer)


def name_of(row):
    return f"{row[0].__name__}-{row[3]}" if isinstance(row, tuple) else str(row)


@pytest.mark.parametrize("row", STATISTICS, ids=name_of)
def test_a_statistic_without_a_parameter_is_that_with_its_default_and_no_other(row):
    ask, asked, options, parameter, other = row
    default = inspect.signature(ask).parameters[parameter].default
    left_out = codes_of(ask(*asked, **options))
    assert left_out == codes_of(ask(*asked, **options, **{parameter: default}))
    assert left_out != codes_of(ask(*asked, **options, **{parameter: other}))


# --- that nothing is left out of this ------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
MADE_BY_US = Result, stats.Estimate, stats.HypothesisTest, stats.ConfidenceSequence, stats.SequentialTest
MADE_BY_US += stats.GroupSequentialPlan, stats.MannWhitneyLabel, stats.PowerAnswer
THE_SERVER = "what a project is asked for; the command line's tests ask it of a server on loopback"
UNTRIED = {
    "Outcomes: numbers": "made by `outcomes` alone",
    "before_exposure: actor": "given by the judges, with a group where organisations are the units",
    "outcomes: actor": "given by the judges, with a group where organisations are the units",
    "PostHog: patience": THE_SERVER,
    "PostHog.enrol: joined": THE_SERVER,
    "PostHog.events: persons_every": THE_SERVER,
    "PostHog.prepare: persons": THE_SERVER,
    "PostHog.roll_back: to": THE_SERVER,
    "watch: apply": "handed to `look`, whose tests give every value",
    "watch: every": "handed to `look`; between two looks it sleeps",
    "watch: notify": "handed to `notify`, which has its own tests",
    "watch: show": "where a person watches",
}


def public():
    """Functions, classes and methods that a user calls, by dotted name."""
    for room in (ck, stats, metrics):
        for name in room.__all__:
            value = getattr(room, name)
            if inspect.isfunction(value):
                yield name, value
            elif inspect.isclass(value) and not issubclass(value, BaseException):
                if not issubclass(value, MADE_BY_US) and not hasattr(value, "__members__"):
                    yield name, value
                methods = inspect.getmembers(
                    value, lambda item: inspect.isfunction(item) or inspect.ismethod(item)
                )
                yield from ((f"{name}.{m}", f) for m, f in methods if not m.startswith(("_", "from_run")))


def test_every_parameter_that_may_be_left_out_is_given_somewhere():
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("*.py"))]
    texts += [path.read_text(encoding="utf-8") for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    texts += [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))]
    words = [set(re.findall(r"\w+", text)) for text in texts]
    given = [set(re.findall(r"\b(\w+) ?=(?!=)|\"(\w+)\"", text)) for text in texts]
    given = [{name for pair in names for name in pair if name} for names in given]
    untried = set()
    for name, value in public():
        called = name.rpartition(".")[2]
        tried = set().union(*(names for word, names in zip(words, given, strict=True) if called in word))
        for item in inspect.signature(value).parameters.values():
            if item.default is not item.empty and item.name not in tried:
                untried.add(f"{name}: {item.name}")
    assert untried <= set(UNTRIED), untried - set(UNTRIED)


# --- people and flags ----------------------------------------------------------------------------------


@pytest.mark.parametrize("zone, inside", [("UTC", ["false", "true"]), ("Europe/Berlin", ["true", "true"])])
def test_a_date_without_a_zone_in_a_flag_is_one_of_the_zone_that_was_given(zone, inside):
    asked = {"timezone": zone, "as_of": "2026-09-10T00:00:00Z"}
    assert ck.evaluate_flag(DATED, PEOPLE, **asked)["value"].tolist() == inside
    with pytest.raises(ck.PlanError, match="Europe/Berlin"):
        ck.lint(DATED, persons=PEOPLE, timezone="Europe/Berln")
    gone = ck.compare_flags(DATED, dataclasses.replace(DATED, active=False), PEOPLE, **asked)
    assert f"{inside.count('true')} of 2 people" in repr(gone)


def test_dates_of_a_plan_and_its_audit_are_of_the_zone_that_was_given():
    stage = ck.Stage("since", DATED.conditions)
    plan = ck.RolloutPlan(FLAG, (stage,), starts_at="2026-09-07T00:00:00Z")
    shares = {}
    for zone in ("UTC", "Europe/Berlin"):
        cohorts = ck.assign_cohorts(PEOPLE, plan, as_of="2026-09-10T00:00:00Z", timezone=zone)
        shares[zone] = int((cohorts["since"] == "true").sum())
    assert shares == {"UTC": 1, "Europe/Berlin": 2}


def test_an_audit_is_of_the_calls_since_a_moment_and_of_dates_in_the_zone_that_was_given():
    people = PEOPLE.assign(person_id=PEOPLE["distinct_id"])
    answers = {"$feature_flag": FLAG, "$feature_flag_response": "true"}
    at = pd.to_datetime(["2026-09-08", "2026-09-09"], utc=True)
    calls = people[["distinct_id"]].assign(event="$feature_flag_called", timestamp=at, **answers)
    log = ck.EventLog(calls, persons=people)

    def agreement(**options):
        return ck.audit_assignment(log, DATED, as_of="2026-09-10T00:00:00Z", **options).agreement

    assert (agreement(), agreement(timezone="UTC"), agreement(timezone="Europe/Berlin")) == (0.5, 0.5, 1.0)
    assert (agreement(since=None), agreement(since="2026-09-08T12:00:00Z")) == (0.5, 1.0)


def test_flags_that_a_page_starts_with_know_the_groups_and_cohorts_that_were_given():
    cohort = ck.Condition((ck.PropertyFilter("id", 7, type="cohort"),), 100)
    item = ck.PropertyFilter("plan", "pro", type="group", group_type_index=0)
    group = ck.Flag("g", (ck.Condition((item,), 100),), aggregation_group_type_index=0)
    flags = ck.FlagSet([ck.Flag("c", (cohort,)), group], group_type_mapping={"0": "organization"})
    person = {"distinct_id": "ada", "$group_0": "acme"}
    groups = {"organization": pd.DataFrame({"group_key": ["acme"], "plan": ["pro"]})}
    started = ck.bootstrap(flags, person, cohorts={7: ["ada"]}, groups=groups)["featureFlags"]
    assert started == {"c": True, "g": True}
    assert ck.bootstrap(flags, person, cohorts=None, groups=None)["featureFlags"] != started


def test_names_of_group_types_are_those_of_the_history_that_was_read():
    released = [{"field": "filters", "before": {"groups": []}, "after": DATED.to_posthog()["filters"]}]
    items = [
        {"activity": what, "created_at": at, "detail": {"name": FLAG, "changes": changes}}
        for what, at, changes in [
            ("updated", "2026-09-02T09:00:00Z", released),
            ("created", "2026-09-01T09:00:00Z", []),
        ]
    ]  # fmt: skip
    assert ck.RolloutPlan.from_history(items).group_types == ("organization",)
    assert ck.RolloutPlan.from_history(items, group_types=["team"]).group_types == ("team",)


def test_a_stage_names_the_property_and_the_variant_of_its_groups_and_ids():
    groups = ck.Stage.for_groups("beta", 0, ["acme"])
    assert (groups.conditions[0].properties[0].key, groups.conditions[0].variant) == ("name", None)
    groups = ck.Stage.for_groups("beta", 0, ["acme"], property="slug", variant="test")
    assert (groups.conditions[0].properties[0].key, groups.conditions[0].variant) == ("slug", "test")
    assert ck.Stage.for_ids("servers", ["web-1"]).conditions[0].variant is None
    assert ck.Stage.for_ids("servers", ["web-1"], variant="test").conditions[0].variant == "test"
    assert ck.Stage("beta", enrollment=True).words() == ("who joins early access",)


# --- simulated people ----------------------------------------------------------------------------------

NOTES = ("calibrated",)
OTHER_WORLDS = [
    (ck.Population, "organisation_names", ("acme", "blue river")), (ck.Population, "plans", {"free": 1.0}),
    (ck.Population, "countries", {"IS": 1.0}), (ck.Population, "weekly", (7.0, 0, 0, 0, 0, 0, 0)),
    (ck.Scenario, "every_session", False), (ck.Scenario, "asked", 0.2), (ck.Scenario, "load_time", 80.0),
    (ck.Scenario, "load_spread", 0.1), (ck.Scenario, "amount_spread", 0.1), (ck.Scenario, "survey", None),
    (ck.Scenario, "lead_in", "2d"),
]  # fmt: skip


def world(of, **given):
    """All that a simulated log of a few people holds."""
    half = ck.Stage.for_share("half", 50, dwell="2d")
    plan = ck.RolloutPlan(FLAG, (half,), starts_at="2026-09-07T09:00:00Z")
    population = ck.Population(120, **given) if of is ck.Population else 120
    scenario = ck.Scenario(**given) if of is ck.Scenario else None
    log = ck.simulate_rollout(plan, population, scenario, rng=7)
    return [frame.astype(str).to_json() for frame in (log.frame, log.persons, log.groups)]


@pytest.fixture(scope="module")
def plain_world():
    return world(None)


@pytest.mark.parametrize("of, parameter, other", OTHER_WORLDS, ids=lambda value: str(value)[:16])
def test_a_simulated_log_tells_what_its_people_and_its_scenario_were_given(plain_world, of, parameter, other):
    assert world(of, **{parameter: other}) != plain_world


@pytest.mark.parametrize("of", [ck.Population, ck.Scenario], ids=lambda of: of.__name__)
def test_a_simulated_log_is_of_the_usual_people_and_scenario_unless_others_are_given(plain_world, of):
    names = [name for kind, name, _ in OTHER_WORLDS if kind is of]
    usual = ck.Population(120) if of is ck.Population else ck.Scenario()
    assert world(of, **{name: getattr(usual, name) for name in names}) == plain_world


def test_notes_of_people_scenarios_and_logs_are_kept():
    assert (ck.Population(3).notes, ck.Population(3, notes=NOTES).notes) == ((), NOTES)
    assert (ck.Scenario().notes, ck.Scenario(notes=NOTES).notes) == ((), NOTES)
    note = Note("sampled", "every tenth event")
    assert note in ck.EventLog(make_release(n=5).events, notes=[note]).notes


def test_people_like_those_of_a_log_are_as_many_as_asked_for(log):
    assert ck.Population.like(log, n=50).n == 50
    assert ck.Population.like(log).n != 50


# --- questions to a log --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def log():
    return make_release(n=800, flicker=0.03).log


def judged(log, **options):
    return ck.evaluate_stage(log, ramp_plan(), STAGE, ck.Guardrail("$exception"), as_of=AS_OF, **options)


def funnel(log, **options):
    asked = {"flag": FLAG, "attribution": "exposure", "plan": ramp_plan(), "stage": STAGE}
    return ck.funnel_by_flag(log, ["$pageview", "$exception", "paid"], **asked, **options)


def trend(log, **options):
    return funnel(log).trend("week", as_of="2026-09-24T00:00:00Z", **options)


RULES = {"alpha_promote": 0.2, "alpha_srm_hold": 0.2, "alpha_srm_invalid": 0.005, "max_crosser_share": 0.2}


def test_a_verdict_is_by_the_rules_it_was_given_and_by_the_usual_ones_without(log):
    usual = {name: inspect.signature(ck.evaluate_stage).parameters[name].default for name in RULES}
    plain, given = judged(log), judged(log, **RULES)
    assert codes_of(judged(log, **usual)) == codes_of(plain)
    levels = [report.series.thresholds["promote"] for report in (plain, given)]
    assert levels == pytest.approx([20.0, 5.0])
    recorded = {name: json.loads(given.to_json())["audit"]["rules"].get(name) for name in RULES}
    assert recorded == RULES


def test_people_who_saw_both_variants_make_a_comparison_void_only_beyond_the_share_allowed(log):
    assert judged(log).check("both variants seen").status.name == "HOLD"
    assert judged(log, max_crosser_share=0.2).check("both variants seen").status.name != "HOLD"


def test_a_trend_of_a_funnel_is_between_the_steps_and_in_the_weeks_that_were_asked_for(log):
    plain = trend(log).to_frame()
    usual = trend(log, from_step=1, to_step=3, week_start="sunday", hide_incomplete=False)
    assert usual.to_frame().equals(plain)
    for other in ({"to_step": 2}, {"from_step": 2}, {"week_start": "monday"}):
        assert not trend(log, **other).to_frame().equals(plain)
    assert len(trend(log, hide_incomplete=True).to_frame()) < len(plain)


def test_the_line_of_a_funnel_says_its_counts_unless_only_shares_are_asked_for(log):
    result = funnel(log)
    assert result.finding() == result.finding(counts=True)
    assert ("(4 of 584)" in result.finding(), "(4 of 584)" in result.finding(counts=False)) == (True, False)


def test_days_of_a_dashboard_are_of_the_zone_that_was_given(log):
    def days(**options):
        return ck.dashboard(log, ramp_plan(), STAGE, as_of=AS_OF, **options).daily

    assert days().equals(days(timezone="UTC"))
    assert not days().equals(days(timezone="Asia/Tokyo"))


def test_errors_within_a_minute_are_a_burst_from_the_number_that_was_given():
    release = make_release(n=400, base=0.2).events.assign(**{"$session_id": lambda f: "s" + f["distinct_id"]})
    frame = pd.concat(
        [release, release[release["event"] == "$exception"].assign(uuid=lambda f: f["uuid"] + "b")]
    )
    sessions = {n: ck.sessions_by_flag(ck.EventLog(frame), FLAG, rage_from=n).to_frame() for n in (2, 3)}
    assert codes_of(ck.sessions_by_flag(ck.EventLog(frame), FLAG).to_frame()) == codes_of(sessions[3])
    assert [frame["rage"].sum() > 0 for frame in sessions.values()] == [True, False]


def test_limits_of_a_daily_trend_are_at_the_confidence_that_was_given(log):
    def daily(**options):
        asked = {"flag": FLAG, "measure": "share", "plan": ramp_plan(), "stage": STAGE, **options}
        return codes_of(ck.trend_by_flag(log, "paid", **asked))

    assert daily() == daily(confidence=0.95)
    assert daily() != daily(confidence=0.8)


def test_a_metric_counts_only_events_that_its_filter_names_and_goes_by_its_name(log):
    plan = ramp_plan()
    exposed = ck.exposures(log, FLAG, plan=plan)

    def label_and_sum(metric):
        frame = metrics.reduce(log, metric, exposed, plan).to_frame()
        return frame["metric"].iloc[0], frame["total"].sum()

    where = {"distinct_id": ["u1", "u2", "u3"]}
    for of in (metrics.Count("$pageview"), metrics.Total("paid", "amount")):
        (label, plain), (named, few) = (
            label_and_sum(item) for item in (of, dataclasses.replace(of, where=where, name="few"))
        )
        assert (label != "few", named) == (True, "few")
        assert few < plain


def test_rows_of_a_report_and_a_plan_are_written_where_a_path_is_given(log, tmp_path):
    for result in (judged(log), ramp_plan()):
        assert result.to_csv(tmp_path / "rows.csv") == result.to_csv(path=None)
        assert (tmp_path / "rows.csv").read_text(encoding="utf-8") == result.to_csv()


def test_a_project_may_have_its_own_group_types(tmp_path):
    events = make_release(n=5).events.assign(properties="{}")
    events.to_parquet(tmp_path / "events.parquet")
    assert ck.scan_posthog(str(tmp_path / "events.parquet")).group_types == {"organization": 0}
    own = ck.scan_posthog(str(tmp_path / "events.parquet"), group_types={"team": 1})
    assert own.group_types == {"team": 1}


# --- what is planned -----------------------------------------------------------------------------------


def test_runs_of_a_plan_end_at_the_cap_that_was_given():
    def duration(**options):
        plan = ck.RolloutPlan(FLAG, (ck.Stage.for_share("5 %", 5),), starts_at="2026-09-07T09:00:00Z")
        asked = {"n_runs": 40, "rng": 1, **options}
        return codes_of(ck.expected_duration(plan, 20_000.0, ck.Guardrail("$exception"), **asked))

    assert duration() == duration(cap="28d")
    assert duration() != duration(cap="12h")


@pytest.mark.slow
def test_a_planned_ramp_is_that_of_the_flag_and_of_the_share_to_be_released():
    def ramp(**options):
        asked = {"harm_budget": 50, "traffic": 4000.0, "n_runs": 20, "rng": 1}
        few = {"ramps": ((5, 25, 50),), "dwells": ("12h", "24h"), "bad_ratios": (2.0,)}
        return ck.plan_ramp(guardrails=ck.Guardrail("$exception"), **asked, **few, **options)

    plain = codes_of(ramp())
    assert plain == codes_of(ramp(min_released=0.8, flag="release", workers=1, progress=None))
    assert ramp(min_released=1.01).plan is None
    assert ramp(flag=FLAG).plan.flag == FLAG


def test_the_day_that_rates_swing_by_the_mixture_of_the_evidence_and_the_rules_change_what_is_decided():
    half = ck.Stage.for_share("half", 50, dwell="2d")
    plan = ck.RolloutPlan(FLAG, (half,), starts_at="2026-09-07T09:00:00Z")

    def decided(**options):
        guardrail = ck.Guardrail("$exception")
        runs = ck.simulate_decisions(plan, None, guardrail, 60, traffic=3000.0, rng=1, cap="2d", **options)
        return codes_of(runs.summary())

    plain = decided()
    assert plain == decided(drift=None, mixture=None, decision=Rules())
    assert plain != decided(decision=Rules(alpha_rollback=0.5))
    assert plain != decided(mixture=EventMixture(sd=0.05))
    assert plain != decided(drift=[0.5, 3.0])
