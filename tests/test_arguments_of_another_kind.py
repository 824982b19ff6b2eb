"""A log, a plan or a guardrail of another kind is taken where it can be, else refused with what to write."""

import inspect

import pandas as pd
import pytest

import canarykit as ck
from canarykit import health, metrics
from canarykit.errors import CanarykitError
from tests.release import AS_OF, FLAG, STAGE, make_release, ramp_plan

PLAN = ramp_plan()
ERRORS = ck.Guardrail("$exception")
SEEN = ck.exposures(make_release(n=20).log, FLAG)
PEOPLE = pd.DataFrame({"distinct_id": ["ada"], "person_id": ["ada"]})
UNITS = pd.DataFrame({"unit": [], "variant": []})
ASKED = {"flag": FLAG, "plan": PLAN, "stage": STAGE, "as_of": AS_OF}

# Every public call that takes a log, a plan or guardrails, with the rest of what it needs.
CALLS = {
    ck.audit_assignment: {"flag": PLAN},
    ck.assign_cohorts: {"persons": PEOPLE, "plan": PLAN},
    ck.blast_radius: {"plan": PLAN, "stage": STAGE, "persons": PEOPLE},
    ck.dashboard: {"plan": PLAN, "stage": STAGE, "as_of": AS_OF},
    ck.evaluate_stage: {"plan": PLAN, "stage": STAGE, "as_of": AS_OF},
    ck.exceptions_by_flag: ASKED,
    ck.expected_duration: {"plan": PLAN, "traffic": 1000.0},
    ck.exposures: {"flag": FLAG, "plan": PLAN},
    ck.flag_overview: {"flags": ck.FlagSet([PLAN.flag_at(STAGE)]), "as_of": AS_OF},
    ck.funnel_by_flag: {"steps": ["$pageview", "paid"], "plan": PLAN, "stage": STAGE},
    ck.plan_ramp: {"harm_budget": 50, "traffic": 1000.0},
    ck.rates_like: {"plan": PLAN},
    ck.replay: {"plan": PLAN},
    ck.sessions_by_flag: ASKED,
    ck.simulate_decisions: {"plan": PLAN, "traffic": 1000.0, "n_runs": 2},
    ck.simulate_rollout: {"plan": PLAN, "population": 10},
    ck.suggest_guardrails: {"flag": FLAG, "plan": PLAN, "stage": STAGE},
    ck.survey_by_flag: {"survey": "nps", **ASKED},
    ck.trend_by_flag: {"event": "paid", **ASKED},
    ck.watch: {"plan": PLAN, "project": None},
    ck.Population.like: {},
    ck.Scenario.like: {"steps": ("paid",)},
    PLAN.explore: {"as_of": AS_OF},
    health.evaluate_stages: {"plan": PLAN, "as_of": AS_OF},
    metrics.before_exposure: {"metrics": [metrics.ErrorShare()], "units": UNITS},
    metrics.outcomes: {"metrics": [metrics.ErrorShare()], "units": UNITS},
    metrics.reduce: {
        "metrics": metrics.ErrorShare(),
        "exposures": SEEN,
        "plan": PLAN,
    },
}
OF_A_PROJECT = {
    "judge",
    "prepare",
    "roll_back",
    "schedule",
}  # they begin with the same line, before any request


def taking(name):
    return [call for call in CALLS if name in inspect.signature(call).parameters]


@pytest.fixture(scope="module")
def release():
    return make_release(n=400)


def ask(call, log, **given):
    """The call on a log, with whatever is given in place of what it needs."""
    asked = {**CALLS[call], **given}
    if "log" in taking_names(call):
        asked = {"log": log, **asked}
    return call(**asked)


def taking_names(call):
    named = inspect.signature(call).parameters.values()
    return {item.name for item in named if item.kind != item.VAR_KEYWORD}


def name_of(value):
    return value.__qualname__ if callable(value) and not inspect.isclass(value) else None


@pytest.mark.parametrize("call", taking("log"), ids=name_of)
@pytest.mark.parametrize("log", ["events.parquet", 42, PLAN.stages[0]], ids=["a path", "a number", "a stage"])
def test_what_is_not_a_log_of_events_is_refused_with_what_to_write(call, log):
    with pytest.raises(ck.DataError, match=r"use read_posthog\('events|is not a table of events; expected a"):
        ask(call, log)


@pytest.mark.parametrize(
    "call", [ck.evaluate_stage, ck.exposures, ck.trend_by_flag, ck.funnel_by_flag, ck.dashboard], ids=name_of
)
def test_a_table_of_events_is_a_log(call, release):
    frame = release.events
    of_log, of_frame = (ask(call, log) for log in (ck.EventLog(frame), frame))
    assert of_log.to_json() == of_frame.to_json()


WRONG_PLANS = {
    "plan.json": r"RolloutPlan.from_json\('plan.json'\)",
    "a mapping": r"plan is a dict; expected a RolloutPlan: RolloutPlan.from_json\(values\)",
    "a stage": r"plan is a Stage; expected a RolloutPlan: RolloutPlan\('my-flag', \(stage,\)",
    "a flag": r"plan is a Flag; expected a RolloutPlan: .* RolloutPlan.from_history",
}
OTHERS = {"a mapping": {"flag": FLAG}, "a stage": PLAN.stages[0], "a flag": PLAN.flag_at(STAGE)}


@pytest.mark.parametrize("call", taking("plan"), ids=name_of)
@pytest.mark.parametrize("plan", WRONG_PLANS)
def test_what_is_not_a_plan_is_refused_with_how_to_make_one_of_it(call, plan, release):
    with pytest.raises(ck.PlanError, match=WRONG_PLANS[plan]):
        ask(call, release.log, plan=OTHERS.get(plan, plan))


@pytest.mark.parametrize("call", [c for c in taking("guardrails") if c is not ck.watch], ids=name_of)
@pytest.mark.parametrize(
    "given, message",
    [
        ("$exception", r"guardrails is '\$exception'; expected Guardrail\(metric"),
        (["$exception"], r"one of the guardrails is '\$exception'; expected Guardrail\(metric"),
        (metrics.ErrorShare(), r"guardrails is a ErrorShare; expected Guardrail\(metric"),
        (5, "guardrails is 5"),
        ([], "guardrails is empty"),
        ([ck.Guardrail("$exception")] * 2, "need different names"),
    ],
    ids=["a name", "names", "a metric", "a number", "none", "one twice"],
)
def test_what_is_not_a_guardrail_is_refused_with_how_to_make_one(call, given, message, release):
    with pytest.raises(ck.PlanError, match=message):
        ask(call, release.log, guardrails=given)


FLAGGED = [
    ck.exceptions_by_flag, ck.exposures, ck.funnel_by_flag, ck.sessions_by_flag, ck.suggest_guardrails,
    ck.survey_by_flag, ck.trend_by_flag,
]  # fmt: skip


@pytest.mark.parametrize("call", FLAGGED, ids=name_of)
def test_a_flag_may_stand_for_its_key_and_nothing_else_may(call, release):
    log = release.log
    if call is not ck.survey_by_flag:  # the log has none
        by_key, by_flag = (ask(call, log, flag=flag) for flag in (FLAG, PLAN.flag_at(STAGE)))
        assert by_key.to_json() == by_flag.to_json()
    for other in (5, ""):
        with pytest.raises(ck.PlanError, match=r"flag is .*; expected the key of a flag, such as"):
            ask(call, log, flag=other)


@pytest.mark.parametrize("other", ["new-checkout", 5, None])
def test_what_is_audited_is_a_flag_or_a_plan(other, release):
    with pytest.raises(ck.PlanError, match=r"flag is .*; expected a Flag or a RolloutPlan"):
        ck.audit_assignment(release.log, other)


@pytest.mark.parametrize(
    "persons", ["p.parquet", 5, ["ada"], [{"distinct_id": "ada"}], {"distinct_id": ["ada"]}]
)
def test_what_is_not_a_table_of_persons_is_refused(persons):
    flag = PLAN.flag_at(STAGE)
    for call in (
        lambda: ck.assign_cohorts(persons, PLAN),
        lambda: ck.blast_radius(PLAN, STAGE, persons),
        lambda: ck.lint(flag, persons=persons),
        lambda: ck.flag_overview(ck.FlagSet([flag]), as_of=AS_OF, persons=persons),
    ):
        with pytest.raises(ck.DataError, match=r"persons is .*; expected a pandas frame"):
            call()
    with pytest.raises(ck.DataError, match=r"persons? is|cannot be read as Parquet|one of the persons is"):
        ck.evaluate_flag(flag, persons)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"steps": 3}, "steps is 3; expected a list"),
        ({"steps": None}, "steps is None; expected a list"),
        ({"steps": UNITS}, "steps is a DataFrame; expected a list of steps"),
        ({"breakdown": 5}, "breakdown is 5; expected the name of a property"),
        ({"limit": "x"}, "limit is 'x'; expected a whole number or None"),
        ({"filters": {"plan": None}}, "'plan' has the value None; .*'is_not_set'"),
    ],
    ids=["a number", "no steps", "a table", "a number as breakdown", "a text as limit", "no value"],
)
def test_what_a_funnel_cannot_be_asked_is_refused(given, message, release):
    asked = {"steps": ["$pageview", "paid"], "breakdown": "$browser", **given}
    with pytest.raises(ck.PlanError, match=message):
        ck.funnel_by_flag(release.log, **asked)


def test_steps_may_be_any_list(release):
    names = ["$pageview", "paid"]
    answers = [ck.funnel_by_flag(release.log, steps).counts for steps in (names, tuple(names), iter(names))]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    "given, message",
    [
        (
            {"rate": 0.9, "ratio": 1.5},
            r"rate is 0\.9 and ratio 1\.5; a share of people, and ratio times it",
        ),
        ({"rate": 5, "ratio": 1.5}, r"rate is 5 and ratio 1\.5"),
        ({"rate": 0.1, "ratio": 0}, "ratio is 0; expected a finite number above 0"),
    ],
    ids=["too high together", "no share", "no ratio"],
)
def test_a_share_that_cannot_be_is_refused_by_the_names_it_was_given_under(given, message):
    with pytest.raises(ck.DataError, match=message):
        ck.sample_size(ck.Guardrail("$exception"), goal="harm", **given)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"scenario": "x"}, "scenario is 'x'; expected a Scenario or None"),
        ({"population": "x"}, r"population is 'x'; expected a number of people or Population\(\.\.\.\)"),
    ],
)
def test_people_and_scenarios_of_another_kind_are_refused(given, message):
    with pytest.raises(ck.PlanError, match=message):
        ask(ck.simulate_rollout, None, **given)


def test_no_public_call_that_takes_a_log_a_plan_or_guardrails_is_left_out():
    covered = {call.__qualname__ for call in CALLS} | {f"PostHog.{name}" for name in OF_A_PROJECT}
    for room in (ck, metrics, health):
        for name in room.__all__:
            value = getattr(room, name)
            calls = [value] if inspect.isfunction(value) else []
            if inspect.isclass(value) and not issubclass(value, CanarykitError):
                methods = inspect.getmembers(
                    value, lambda item: inspect.isfunction(item) or inspect.ismethod(item)
                )
                calls = [item for member, item in methods if not member.startswith("_")]
            for call in calls:
                if {"log", "plan"} & taking_names(call) and call.__module__.startswith("canarykit"):
                    assert call.__qualname__ in covered, call


# --- numbers, texts, lists: whatever stands there ---------------------------------------------------------

STRANGE = ["5 %", [], {"x": 1}, object(), float("nan"), -1]
# Sizes that are taken at their word, and what is written to or called.
AT_THEIR_WORD = {"path", "present", "progress", "ramps", "bad_ratios", "drift", "metrics", "known_gaps"}
WHOLE = {
    **{call: needs for call, needs in CALLS.items() if inspect.isfunction(call) and call is not ck.watch},
    ck.evaluate_flag: {"flag": PLAN.flag_at(STAGE), "persons": PEOPLE},
    ck.simulate_decisions: {"plan": PLAN, "traffic": 500.0, "n_runs": 2, "cap": "2h"},
    ck.expected_duration: {"plan": PLAN, "traffic": 500.0, "n_runs": 2, "guardrails": ERRORS},
    ck.plan_ramp: {
        "harm_budget": 50, "traffic": 500.0, "n_runs": 2, "ramps": ((5, 50),), "dwells": ("12h",),
        "bad_ratios": (2.0,),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def small():
    return make_release(n=60).log


@pytest.mark.parametrize("call", WHOLE, ids=name_of)
def test_whatever_stands_in_an_argument_is_taken_or_refused_by_a_sentence(call, small):
    needs = dict(WHOLE[call], **({"log": small} if "log" in taking_names(call) else {}))
    for name in taking_names(call) - AT_THEIR_WORD:
        for value in STRANGE:
            try:
                call(**{**needs, name: value})
            except CanarykitError:
                continue


@pytest.mark.parametrize("made", [ck.Scenario, ck.Population, ck.Guardrail, ck.RolloutPlan])
def test_whatever_a_noun_is_made_of_is_taken_or_refused_by_a_sentence(made):
    needs = {
        ck.Population: {"n": 10},
        ck.Guardrail: {"metric": "$exception"},
        ck.RolloutPlan: {"flag": FLAG, "stages": PLAN.stages},
    }.get(made, {})
    for name in taking_names(made):
        for value in STRANGE:
            try:
                made(**{**needs, name: value})
            except CanarykitError:
                continue
