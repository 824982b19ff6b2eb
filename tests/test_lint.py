"""Lint: every finding says what, where, who is affected and how to mend it; a clean flag has none."""

import subprocess
import sys

import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import PlanError
from canarykit.flags import Condition, Flag, FlagSet, Holdout, PropertyFilter, Variant

HALVES = (Variant("control", 50), Variant("test", 50))
EMAILS = ["a@acme.io", "b@acme.io.evil.com", "c@else.org", None]
PERSONS = pd.DataFrame({
    "distinct_id": [f"u{i}" for i in range(400)], "email": EMAILS * 100, "age": ["10", "20", 30, None] * 100,
})  # fmt: skip


def share(percent, *filters, **rest):
    return Condition(filters, percent, **rest)


def only(report, code):
    findings = [finding for finding in report.findings if finding.code == code]
    assert len(findings) == 1, report.codes
    return findings[0]


CASES = [
    # code, flag, where, affected among PERSONS, a word of the mending
    ("blank filter value", Flag("f", (share(100, PropertyFilter("email", "", "icontains")),)),
     "set 1, filter 1", 300, "fill in"),
    ("blank filter value", Flag("f", (share(100, PropertyFilter("email", ["", None])),)),
     "set 1, filter 1", 0, "fill in"),
    ("blank filter value", Flag("f", (share(100, PropertyFilter("email", " ", "not_icontains")),)),
     "set 1, filter 1", 400, "fill in"),
    ("unsafe domain match", Flag("f", (share(100, PropertyFilter("email", "@acme.io", "icontains")),)),
    "set 1, filter 1", 100, "ends_with '@acme.io'"),
    ("unsafe domain match", Flag("f", (share(100, PropertyFilter("email", r"@acme\.io", "regex")),)),
    "set 1, filter 1", 100, "ends_with"),
    ("hidden condition set", Flag("f", (share(50), share(25))), "set 2", 400, "before set 1"),
    ("hidden condition set", Flag("f", (share(100), share(100, PropertyFilter("email", "c@else.org")))),
    "set 2", 100, "before set 1"),
    ("early exit hides a set", Flag("f", (share(10), share(50)), early_exit=True), "set 2", 400,
    "raise the first percentage"),
    ("variants do not sum to 100", Flag("f", (share(100),),
    (Variant("a", 30), Variant("b", 20))), "variants", None, "sum to 100"),
    ("text compared as number", Flag("f", (share(100, PropertyFilter("age", 15, "gt")),)),
     "set 1, filter 1", 200, "as a number"),
    ("text compared as number", Flag("f", (share(100, PropertyFilter("age", "many", "gt")),)),
     "set 1, filter 1", None, "write a number"),
    ("experience continuity", Flag("f", (share(100),), ensure_experience_continuity=True), "flag", None,
    "device id"),
    ("holdout eats the control", Flag("f", (share(95),), holdout=Holdout(1, 10)), "holdout", None,
    "never control"),
    ("holdout eats the control", Flag("f", (share(100),), HALVES, holdout=Holdout(1, 50)), "holdout", None,
    "lower"),
    ("holdout eats the control", Flag("f", (share(100),), HALVES, holdout=Holdout(1, 100)), "holdout", 400,
    "lower"),
    ("unknown override", Flag("f", (share(100, variant="tset"),), HALVES), "set 1", None, "'test']"),
    ("percentage out of range", Flag("f", (share(101),)), "set 1", None, "from 0 to 100"),
    ("unknown operator", Flag("f", (share(100, PropertyFilter("email", "x", "in")),)), "set 1, filter 1",
    None, "operators"),
    ("unreadable filter value", Flag("f", (share(100, PropertyFilter("v", "(", "regex")),)),
     "set 1, filter 1", None, "correct"),
    ("unreadable filter value", Flag("f", (share(100, PropertyFilter("v", "one", "semver_gt")),)),
     "set 1, filter 1", None, "correct"),
    ("unreadable filter value", Flag("f", (share(100, PropertyFilter("v", "a.*", "semver_wildcard")),)),
    "set 1, filter 1", None, "correct"),
    ("unreadable filter value", Flag("f", (share(100, PropertyFilter("v", "soon", "is_date_after")),)),
    "set 1, filter 1", None, "correct"),
    ("relative date", Flag("f", (share(100, PropertyFilter("v", "-7d", "is_date_after")),)),
     "set 1, filter 1", None, "date itself"),
    ("repeated variant", Flag("f", (share(100),),
    (Variant("a", 50), Variant("a", 50))), "variants", None, "rename"),
    ("contiguous variant ranges", Flag("f", (share(100),),
    (Variant("a", 50), Variant("b", 30), Variant("c", 20))), "variants", None, "rollout percentage"),
    ("unknown payload", Flag("f", (share(100),), HALVES, payloads={"tset": "1"}), "payloads", None, "use"),
    ("device bucketing", Flag("f", (share(100),), bucketing_identifier="device_id"), "flag", 400, "device"),
    ("early access with variants", Flag("f", (share(100),), HALVES, feature_enrollment=True),
    "early access", None, "boolean"),
    ("no condition set", Flag("f"), "filters", None, "add"),
    ("cohort operator", Flag("f", (share(100, PropertyFilter("id", 1, "exact", type="cohort")),)),
     "set 1, filter 1", None, "not_in"),
]  # fmt: skip


@pytest.mark.parametrize("code, flag, where, affected, mend", CASES)
def test_what_a_flag_does_not_do_as_it_seems_to_is_found_and_counted(code, flag, where, affected, mend):
    report = ck.lint(flag, persons=PERSONS, as_of="2026-09-10T00:00:00Z")
    findings = only(report, code)
    assert findings.where == where
    assert findings.flag == "f"
    assert mend in findings.mend
    if affected is not None:
        assert findings.affected == affected
    without = only(ck.lint(flag), code) if code != "text compared as number" or affected is None else findings
    assert without.affected is None or without is findings


def test_counts_of_variants_and_holdouts_are_those_of_the_evaluation():
    flag = Flag("f", (share(100),), (Variant("a", 30), Variant("b", 20)), holdout=Holdout(1, 40))
    report, values = ck.lint(flag, persons=PERSONS), ck.evaluate_flag(flag, PERSONS)["value"]
    assert only(report, "variants do not sum to 100").affected == (values == "true").sum()
    assert only(report, "holdout eats the control").affected == (values == "holdout-1").sum()


@pytest.mark.parametrize("flag", [
    Flag("f", (share(100, PropertyFilter("email", "@acme.io", "ends_with")), share(25))),
    Flag("f", (share(100, PropertyFilter("email", r"@acme\.io$", "regex")), share(25)), HALVES),
    Flag("f", (share(25), share(50)), holdout=Holdout(1, 5)),
    Flag("f", (share(100, PropertyFilter("bio", "see acme.io", "icontains")),)),
    Flag("f", (share(10, PropertyFilter("plan", "pro")), share(5, PropertyFilter("country", "DE")))),
    Flag("f", (share(50, aggregation_group_type_index=0), share(25))),
    Flag("f", (share(100, PropertyFilter("seen", None, "is_set")),)),
])  # fmt: skip
def test_a_flag_without_faults_has_no_findings(flag):
    report = ck.lint(flag, persons=PERSONS)
    assert not report, report
    assert report.worst is None
    assert "nothing found" in repr(report)


def test_the_plan_of_five_stages_is_clean():
    plan = ck.RolloutPlan.five_stages(
        "new-checkout", owner="ada@acme.io", team_domain="acme.io", variants=HALVES
    )
    assert not ck.lint(plan, persons=PERSONS)


def test_a_plan_is_checked_stage_by_stage():
    stages = (
        ck.Stage("team", (share(100, PropertyFilter("email", "@acme.io", "icontains")),)),
        ck.Stage.for_share("ramp", 10),
    )
    assert ck.lint(ck.RolloutPlan("f", stages), persons=PERSONS).codes == ("unsafe domain match",)


def test_a_lowered_percentage_counts_those_who_lose_the_feature():
    before, after = Flag("f", (share(50),)), Flag("f", (share(20),))
    findings = only(ck.lint(after, flags=FlagSet([before]), persons=PERSONS), "lowered percentage")
    was_on, is_on = (ck.evaluate_flag(flag, PERSONS)["value"] == "true" for flag in (before, after))
    assert findings.affected == (was_on & ~is_on).sum() > 0
    assert not ck.lint(before, flags=FlagSet([after]))


def test_a_ramp_by_the_shares_of_variants_flips_those_behind_the_edge():
    shares = [(80, 10, 10), (60, 30, 10)]
    before, after = (Flag("f", (share(100),), tuple(map(Variant, "abc", s))) for s in shares)
    findings = only(ck.lint(after, flags=FlagSet([before]), persons=PERSONS), "ramp flips variants")
    old, new = (ck.evaluate_flag(flag, PERSONS)["value"] for flag in (before, after))
    assert findings.affected == (old != new).sum() > 0
    assert "20.0 %" in findings.what  # 60 to 80 % of the range: a becomes b; the rest keeps its variant
    assert findings.severity == "error"


def test_flags_whose_values_go_together_are_found():
    base = Flag("base", (share(50),))
    follower = Flag("follower", (share(100, PropertyFilter("base", True, type="flag")),))
    lonely = Flag("lonely", (share(50),))
    report = ck.lint(FlagSet([base, follower, lonely]))
    findings = only(report, "correlated flags")
    assert (findings.flag, findings.where) == ("base", "with follower")
    assert only(ck.lint(follower, flags=FlagSet([base, lonely])), "correlated flags").where == "with base"


@pytest.mark.parametrize("item, code", [
    (PropertyFilter("gone", True, type="flag"), "missing dependency"),
    (PropertyFilter("off", True, type="flag"), "disabled dependency"),
    (PropertyFilter("id", 9, type="cohort"), "unknown cohort"),
])  # fmt: skip
def test_references_are_looked_up(item, code):
    flags = FlagSet([Flag("off", (share(100),), active=False)], cohorts={"1": {}})
    assert code in ck.lint(Flag("f", (share(100, item),)), flags=flags).codes
    assert (
        "disabled dependency"
        not in ck.lint(Flag("f", (share(100, PropertyFilter("off", False, type="flag")),)), flags=flags).codes
    )


def test_a_version_two_configuration_is_only_noted():
    flag = Flag.from_posthog({"key": "f", "filters": {"version": 2, "rules": []}})
    assert ck.lint(flag, persons=PERSONS).codes == ("version 2 configuration",)


def test_the_worst_comes_first_and_every_view_has_the_same_rows():
    flag = Flag("f", (share(100, PropertyFilter("email", "@acme.io", "icontains")), share(101)))
    report = ck.lint(flag, persons=PERSONS)
    assert report.codes == ("percentage out of range", "unsafe domain match")
    assert report.worst == "error"
    assert len(report) == 2
    assert repr(report).startswith("flag 'f': 1 error, 1 warning.")
    assert report.to_frame()["affected"].tolist()[1] == 100
    assert [row["code"] for row in report.to_dict()["rows"]] == list(report.codes)


def test_something_else_is_refused():
    with pytest.raises(PlanError, match="lint takes a flag, a plan or a FlagSet; this is str"):
        ck.lint("f")


def test_the_public_name_is_the_function_whatever_was_imported_before():
    code = (
        "import canarykit.linting.edits, canarykit.overview, canarykit as ck; print(type(ck.lint).__name__)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "function"


def test_early_access_that_asks_for_another_flags_enrolment_is_found():
    def codes(key):
        item = {"key": f"$feature_enrollment/{key}", "type": "person", "operator": "exact", "value": ["true"]}
        early = {"properties": [item], "rollout_percentage": 100}
        flag = {"key": "f", "filters": {"groups": [{"properties": []}], "super_groups": [early]}}
        return {finding.code for finding in ck.lint(ck.read_flags([flag])["f"]).findings}

    assert "enrolment of another flag" in codes("old-f")
    assert "enrolment of another flag" not in codes("f")
