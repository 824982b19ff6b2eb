"""A wrong plan, flag, guardrail, table or survey is refused by an error of ours that names it."""

# ruff: noqa: E501

import copy
import json
import random

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import CanarykitError, DataError, ExportFormatError, PlanError
from canarykit.health import recompute

JUNK = [
    None, True, False, 0, 1, -1, 7, 5.5, 1e308, 10**400, float("nan"), float("inf"), "", "x", "no", "2026-02-30",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "\ud800", [], [1], ["x"], [[]], {}, {"a": 1}, {"key": 5}, [None],
    "(a+", "*", -0.0, "1e400", "10 parsecs",
]  # fmt: skip

FLAG = {
    "id": 3, "key": "f", "name": "n", "active": True, "deleted": False, "version": 2, "created_at": "2026-01-01T00:00:00Z",
    "ensure_experience_continuity": False, "bucketing_identifier": "distinct_id", "last_called_at": None,
    "filters": {
        "groups": [
            {"properties": [{"key": "email", "value": "@acme.io", "operator": "ends_with", "type": "person"},
                            {"key": "age", "value": "5", "operator": "gt", "type": "person"},
                            {"key": "name", "value": "a.c", "operator": "regex", "type": "person"}],
             "rollout_percentage": 25, "variant": "test", "aggregation_group_type_index": None},
            {"properties": [{"key": "id", "value": 4, "operator": "in", "type": "cohort"},
                            {"key": "joined", "value": "-7d", "operator": "is_date_before", "type": "person"},
                            {"key": "version", "value": "1.2.3", "operator": "semver_gt", "type": "person"}],
             "rollout_percentage": None},
            {"properties": [{"key": "g", "value": "true", "operator": "flag_evaluates_to", "type": "flag"},
                            {"key": "size", "value": [1, 2], "operator": "between", "type": "person"}]},
        ],
        "multivariate": {"variants": [{"key": "control", "rollout_percentage": 50},
                                      {"key": "test", "rollout_percentage": 50}]},
        "payloads": {"test": "{}"}, "aggregation_group_type_index": None, "early_exit": False,
        "holdout": {"id": 7, "exclusion_percentage": 10}, "feature_enrollment": False, "super_groups": None,
    },
}  # fmt: skip
COHORTS = {"4": {"type": "OR", "values": [{"type": "AND", "values": [
    {"key": "plan", "value": ["pro"], "operator": "exact", "type": "person", "negation": False}]}]}}  # fmt: skip
OTHER = {"key": "g", "active": True, "filters": {"groups": [{"properties": [], "rollout_percentage": 50}]}}
PLAN = json.loads(
    ck.RolloutPlan.five_stages(
        "f", owner="ada@acme.io", team_domain="acme.io", beta_groups={"organization": ["x"]},
        starts_at="2026-09-07T09:00:00Z", holdout={"id": 7, "exclusion_percentage": 10},
    ).to_json()
)["plan"]  # fmt: skip
PERSONS = pd.DataFrame({
    "distinct_id": ["a", "b"], "email": ["x@acme.io", None], "age": [7, None], "name": ["abc", "b"],
    "joined": ["2026-01-01", "x"], "version": ["1.3.0", ""], "size": [1.5, 9], "plan": ["pro", None],
})  # fmt: skip


def _spots(value, path=()):
    yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, item in children:
        yield from _spots(item, (*path, key))


def _mutated(document, dice):
    """The document with one to three of its places replaced, dropped, doubled or renamed."""
    changed = copy.deepcopy(document)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        spots = [path for path in _spots(changed) if path]
        if not spots:
            return changed
        path = dice.choice(spots)
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        match dice.choice(("replace", "replace", "replace", "drop", "double", "rename")):
            case "drop":
                del parent[path[-1]]
            case "double" if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[path[-1]]))
            case "rename" if isinstance(parent, dict):
                parent[dice.choice(("x", "Key", "", "stages"))] = parent.pop(path[-1])
            case _:
                parent[path[-1]] = copy.deepcopy(dice.choice(JUNK))
    return changed


def _ours(call, document):
    """Whether the call took the document; anything but one of our errors is a fault."""
    try:
        call(document)
    except CanarykitError:
        return False
    except Exception as problem:
        raise AssertionError(f"{type(problem).__name__}: {problem}\n{document!r}") from problem
    return True


def _use_flag(document):
    flags = ck.read_flags({"flags": [document, OTHER], "cohorts": COHORTS})
    for key in flags:
        json.dumps(flags[key].to_posthog())
        ck.lint(flags[key])
        for semantics in ("server", "sdk"):
            ck.evaluate_flag(
                flags[key], PERSONS, flags=flags, semantics=semantics, as_of="2026-09-07T09:00:00Z"
            )


def _use_cohorts(cohorts):
    flags = ck.read_flags({"flags": [FLAG, OTHER], "cohorts": cohorts})
    for semantics in ("server", "sdk"):
        ck.evaluate_flag(flags["f"], PERSONS, flags=flags, semantics=semantics, as_of="2026-09-07T09:00:00Z")


def _use_plan(document):
    plan = ck.RolloutPlan.from_json(document)
    assert ck.RolloutPlan.from_json(plan.to_json()) == plan
    repr(plan)
    for name in plan.stage_names:
        ck.lint(plan.flag_at(name))
        plan.shares(name)
    ck.assign_cohorts(PERSONS, plan)


GUARDRAILS = [
    {"metric": {"metric": "conversion", "event": "paid", "within": "1d", "where": []}, "worse": "lower",
     "margin_ratio": 0.9, "critical": True, "name": "paid"},
    {"metric": {"metric": "total", "event": "paid", "property_name": "amount", "within": "1d", "cap_quantile": 0.99,
                "cuped": "7d"}, "worse": "lower", "margin": 2.0},
    {"metric": {"metric": "funnel", "steps": ["a", "b"], "within": "1d"}, "worse": "lower", "margin_pp": 1.0},
    {"metric": {"metric": "ratio", "numerator": {"metric": "total", "event": "paid", "property_name": "amount"},
                "denominator": {"metric": "total", "event": "paid"}}, "worse": "lower", "limit": 0.5},
    {"metric": {"metric": "slow share", "event": "$web_vitals", "property_name": "lcp", "slower_than": 4000.0},
     "weight": 0.5},
    {"metric": {"metric": "retention", "day": 7}, "worse": "lower"},
    {"metric": {"metric": "survey score", "survey": "s", "property_name": "$survey_response"}, "worse": "lower"},
]  # fmt: skip


def _use_guardrail(document):
    guardrail = ck.Guardrail.from_dict(document)
    json.dumps(guardrail.to_dict(), default=str)
    assert isinstance(guardrail.label, str)
    _ = guardrail.tolerated_ratio


ROUNDS = 50


@pytest.mark.slow
@pytest.mark.parametrize("use, document", [
    (_use_flag, FLAG), (_use_cohorts, COHORTS), (_use_plan, PLAN), *((_use_guardrail, g) for g in GUARDRAILS),
], ids=lambda value: getattr(value, "__name__", None))  # fmt: skip
def test_a_file_changed_at_random_works_or_is_refused_by_an_error_of_ours(use, document):
    assert _ours(use, document)
    dice = random.Random(5)
    taken = sum(_ours(use, _mutated(document, dice)) for _ in range(ROUNDS))
    assert 0 < taken < ROUNDS


@pytest.mark.parametrize("text, message", [
    ('{"flag": "f", "stages": [], "flag": "g"}', "has the key 'flag' twice"), ('{"flag": NaN}', "NaN"),
    ("[" * 100_000, "nested too deeply"), ('{"flag": ' + "9" * 5_000 + "}", "cannot be read"), ("[]", "holds a list"),
    ('{"flag": "f"', "is not JSON"), ('{"flag": "f"}', "has no 'stages'"), ('{"flag": "f", "stages": 5}', "'stages' is 5"),
    ('{"flag": "f", "stages": [{"name": "a", "enrollment": "no"}]}', "'enrollment' of stage 'a' is 'no'"),
    ('{"flag": "f", "stages": [{"name": "a", "kind": "percentage", "share": true}]}', "share True"),
    ('{"flag": "f", "stages": [{"name": "a", "kind": ["x"], "share": 5}]}', "'kind' of stage 'a'"),
    ('{"flag": "f", "stages": [{"name": "a", "kind": "percentage", "share": 5, "dwell": "99999999d"}]}', "200 years"),
    ('{"flag": "f", "stages": [{"name": "a", "kind": "percentage", "share": 5, "starts_at": "2026-02-30"}]}', "2026-02-30"),
    ('{"flag": "f", "stages": [{"name": "a", "kind": "percentage", "share": 5, "starts_at": "now"}]}', "is 'now'"),
])  # fmt: skip
def test_a_plan_file_says_what_is_wrong_with_it(tmp_path, text, message):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(PlanError if "2026" not in message and "now" not in message else DataError) as refused:
        ck.RolloutPlan.from_json(path)
    assert message in str(refused.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    for read, error in ((ck.RolloutPlan.from_json, PlanError), (ck.read_flags, ExportFormatError)):
        with pytest.raises(error, match=r"nowhere\.json does not exist"):
            read(str(tmp_path / "nowhere.json"))
        with pytest.raises(error, match="cannot be read"):
            read(str(tmp_path))
        (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00{")
        with pytest.raises(error, match="is not text in UTF-8"):
            read(str(tmp_path / "bytes.json"))


def test_a_byte_order_mark_is_read_over(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps(PLAN), encoding="utf-8-sig")
    assert ck.RolloutPlan.from_json(tmp_path / "plan.json").flag == "f"
    (tmp_path / "flags.json").write_text(json.dumps([OTHER]), encoding="utf-8-sig")
    assert list(ck.read_flags(tmp_path / "flags.json")) == ["g"]


@pytest.mark.parametrize("share", [float("nan"), float("inf"), 10**400, True, "5"])
def test_a_percentage_is_a_finite_number(share):
    flag = {"key": "f", "filters": {"groups": [{"properties": [], "rollout_percentage": share}]}}
    with pytest.raises(PlanError, match="the rollout percentage of a condition set is"):
        ck.read_flags([flag])


def _use_persons(frame):
    log = ck.read_posthog(EVENTS, persons=frame)
    log.select(["person_id", "person.email"])


def _use_groups(frame):
    log = ck.read_posthog(EVENTS, groups=frame, group_types={"organization": 0})
    log.select(["person_id", "group0.name"])


EVENTS = pd.DataFrame(
    {"event": ["a"], "distinct_id": ["x"], "timestamp": ["2026-09-07T09:00:00Z"], "$group_0": ["g"]}
)
TABLES = {
    _use_persons: {"person_id": ["p", "q"], "distinct_id": ["x", "y"], "created_at": ["2026-01-01T00:00:00Z"] * 2,
                   "person_distinct_id_version": [0, 1], "is_deleted": [False, False],
                   "properties": ['{"email": "a@b.c"}', "{}"]},
    _use_groups: {"group_type_index": [0, 0], "group_key": ["g", "h"], "group_type": ["organization"] * 2,
                  "group_properties": ['{"name": "Acme"}', "{}"]},
}  # fmt: skip
CELLS = [None, True, 5, 1.5, float("nan"), 10**25, "", "x", "[1]", "{", '"{}"', "[]", {"a": 1}, ["a"], {"name": {}},
         pd.NaT, np.float32(2)]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("use", TABLES)
def test_tables_of_persons_and_groups_changed_at_random_are_read_or_refused_by_an_error_of_ours(use):
    dice, good = random.Random(3), TABLES[use]
    assert _ours(use, pd.DataFrame(good))
    for _ in range(ROUNDS):
        table = copy.deepcopy(good)
        column = dice.choice(list(table))
        match dice.choice(("cell", "cell", "cell", "drop", "rename", "column")):
            case "drop":
                del table[column]
            case "rename":
                table[dice.choice(("id", "key", "index", "properties", "x"))] = table.pop(column)
            case "column":
                table[column] = [dice.choice(CELLS) for _ in range(2)]
            case _:
                table[column][dice.randrange(2)] = dice.choice(CELLS)
        _ours(use, pd.DataFrame(table))


SURVEY = {"id": "s", "name": "How was it?", "questions": [
    {"id": "q1", "type": "rating", "question": "Happy?", "scale": 5, "display": "emoji"},
    {"id": "q2", "type": "multiple_choice", "question": "Why?", "choices": ["A", "B"], "hasOpenChoice": True},
    {"id": "q3", "type": "open", "question": "More?"}]}  # fmt: skip


@pytest.mark.slow
def test_a_survey_definition_changed_at_random_is_read_or_refused_by_an_error_of_ours():
    call = {"event": "$feature_flag_called", "timestamp": "2026-09-07T09:00:00Z", "$feature_flag": "f"}
    sent = {"event": "survey sent", "timestamp": "2026-09-07T09:05:00Z", "$survey_id": "s"}
    answer = {"$survey_response": "4", "$survey_response_q2": '["A"]', "$survey_response_2": "fine"}
    log = ck.EventLog(pd.DataFrame([
        {**call, "distinct_id": "u", "$feature_flag_response": "true"}, {**sent, "distinct_id": "u", **answer},
        {**call, "distinct_id": "v", "$feature_flag_response": "false"}, {**sent, "distinct_id": "v", **answer},
    ]))  # fmt: skip

    def use(definition):
        repr(ck.survey_by_flag(log, definition, flag="f"))

    assert _ours(use, SURVEY)
    dice = random.Random(2)
    for _ in range(ROUNDS):
        _ours(use, _mutated(SURVEY, dice))


def test_an_audit_record_changed_at_random_is_recomputed_or_refused_by_an_error_of_ours():
    record = {"audit": {"rules": {}, "evidence": {"units_canary": 9, "units_control": 9, "harm_log_e": [0.0],
                                                  "safe_log_e": [0.0]}}}  # fmt: skip
    dice = random.Random(1)
    assert _ours(recompute, record)
    for _ in range(ROUNDS):
        _ours(recompute, _mutated(record, dice))
    for text in ("", "5", "{", "[" * 100_000, '{"audit": 5}'):
        with pytest.raises(DataError):
            recompute(text)
