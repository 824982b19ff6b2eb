"""An answer can be kept: copied, pickled, compared and hashed, with the people still behind it."""

import copy
import dataclasses
import pickle

import pytest

import canarykit as ck

DATA = "sample_data"
STEPS = ["signup started", "paid"]


@pytest.fixture(scope="module")
def release():
    log = ck.read_posthog(f"{DATA}/events.parquet", persons=f"{DATA}/persons.parquet")
    plan = ck.RolloutPlan.from_json(f"{DATA}/plan.json")
    return log, plan, "expanded beta 5%"


@pytest.fixture(scope="module")
def answers(release):
    log, plan, stage = release
    end = plan.window(stage)[1]
    guardrail = ck.Guardrail("$exception", margin_ratio=1.5)
    report = ck.evaluate_stage(log, plan, stage, guardrail, as_of=end)
    options = {"plan": plan, "stage": stage, "within": "1d", "attribution": "exposure"}
    funnel = ck.funnel_by_flag(log, STEPS, **options)
    trend = ck.trend_by_flag(log, "$exception", flag=plan.flag, plan=plan, stage=stage)
    exposed = ck.exposures(log, plan.flag, plan=plan)
    return {
        "plan": plan,
        "flag": plan.flag_at(stage),
        "guardrail": guardrail,
        "exposures": exposed,
        "steps": exposed.observed_steps(),
        "report": report,
        "rules": report.compare_rules(),
        "funnel": funnel,
        "people": funnel.people(2, variant="true"),
        "times": funnel.time_to_convert(),
        "funnel trend": funnel.trend(),
        "comparison": funnel.compare(),
        "trend": trend,
        "people of a day": trend.people(0),
        "dashboard": ck.dashboard(log, plan, stage, as_of=end, key_events=["paid"]),
        "sessions": ck.sessions_by_flag(log, plan.flag, plan=plan, stage=stage),
        "exceptions": ck.exceptions_by_flag(log, plan.flag, plan=plan, stage=stage),
        "suggestions": ck.suggest_guardrails(log, plan.flag, plan),
        "lint": ck.lint(plan.flag_at(stage)),
    }


NAMES = (
    "plan", "flag", "guardrail", "exposures", "steps", "report", "rules", "funnel", "people", "times",
    "funnel trend", "comparison", "trend", "people of a day", "dashboard", "sessions", "exceptions",
    "suggestions", "lint",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_is_equal_to_its_copies_and_hashes_as_they_do(answers, name):
    answer = answers[name]
    for kept in (copy.copy(answer), copy.deepcopy(answer), pickle.loads(pickle.dumps(answer))):
        assert kept == answer
        assert repr(kept) == repr(answer)
        assert hash(kept) == hash(answer)


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_cannot_be_changed_by_accident(answers, name):
    answer = answers[name]
    if dataclasses.is_dataclass(answer):
        field = dataclasses.fields(answer)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(answer, field, None)


def test_the_people_are_still_behind_a_pickled_answer(answers):
    funnel, trend, report = (pickle.loads(pickle.dumps(answers[n])) for n in ("funnel", "trend", "report"))
    assert funnel.people(2, variant="true") == answers["people"]
    assert trend.people(0) == answers["people of a day"]
    assert len(report.people("people with $exception")) == report.check("people with $exception").canary.count
