"""Patterns on a visitor's value answer at once, and as PostHog answers."""

import re
import time

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import PlanError
from canarykit.funnels.engine.breakdowns import clean
from canarykit.funnels.question.specs import Breakdown
from canarykit.regex import linear_pattern, rust_pattern
from canarykit.targeting.patterns import server_pattern

SLOW = [
    "(a+)+$",
    "(a|aa)+$",
    "a*a*a*b",
    "(a*)*c",
    "^(a|a)*$",
    "(.*a){12}$",
    "(?:a?){30}a{30}$",
    "(x+x+)+y",
    r"(\w+\s?)*!",
]
BACKTRACKING = ["(?=(a+)+$)b", r"(a+)\1+$", "(?!x)(a|aa)+$", "(?<!b)a*a*a*a*b", r"(a*)*\1c"]
HOSTILE = "a" * 200_000 + "b"


def _seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@pytest.mark.parametrize("pattern", SLOW + BACKTRACKING)
@pytest.mark.parametrize("semantics", ["server", "sdk"])
def test_a_flag_on_a_hostile_value_answers_at_once(pattern, semantics):
    condition = ck.Condition((ck.PropertyFilter("name", pattern, "regex"),))
    flag = ck.Flag("f", conditions=(condition,))
    persons = pd.DataFrame({"distinct_id": ["x", "y"], "name": [HOSTILE, "aab"]})
    assert _seconds(lambda: ck.evaluate_flag(flag, persons, semantics=semantics)) < 5


@pytest.mark.parametrize("pattern", SLOW)
def test_a_funnel_on_a_hostile_value_answers_at_once(pattern):
    rows = [
        {"event": event, "distinct_id": who, "timestamp": f"2026-09-07T09:0{k}:00Z", "name": name}
        for who, name in (("x", HOSTILE), ("y", "aab"))
        for k, event in enumerate("ab")
    ]
    log = ck.EventLog(pd.DataFrame(rows))
    step = {"event": "a", "filters": [{"property": "name", "value": pattern, "operator": "regex"}]}
    assert _seconds(lambda: ck.funnel_by_flag(log, [step, "b"])) < 5
    rule = Breakdown(("name",), path_cleaning=((pattern, "·"),))
    assert _seconds(lambda: clean(HOSTILE, rule)) < 5


@pytest.mark.parametrize("pattern", BACKTRACKING)
def test_a_query_refuses_what_posthogs_engine_does_not_know(pattern):
    log = ck.EventLog(pd.DataFrame([{"event": "a", "distinct_id": "x", "timestamp": "2026-09-07T09:00:00Z"}]))
    step = {"event": "a", "filters": [{"property": "name", "value": pattern, "operator": "regex"}]}
    with pytest.raises(PlanError, match="not a regular expression that RE2 can read"):
        ck.funnel_by_flag(log, [step, "a"])


def test_a_server_that_stops_a_pattern_matches_nobody_either_way_round():
    for operator in ("regex", "not_regex"):
        flag = ck.Flag("f", conditions=(ck.Condition((ck.PropertyFilter("n", "(?=(a+)+$)b", operator),)),))
        persons = pd.DataFrame({"distinct_id": ["x"], "n": ["a" * 400]})
        assert ck.evaluate_flag(flag, persons)["value"].tolist() == ["false"]
    assert "pattern that backtracks" in {f.code for f in ck.lint(flag).findings}


@pytest.mark.parametrize("pattern, text, expected", [
    (r"^\w+$", "žofie", True), (r"^\w+$", "日本", True), (r"^\d+$", "٣", True), (r"\bmé\b", "un mé.", True),
    (r"\bé", "aé", False), (r"^\S+$", "a\u00a0b", False), (r"[\w-]+@", "é-x@", True), (r"[^\d]", "٣", False),
    (r"(?i)STRASSE", "strasse", True), (r"(?i)É", "é", True), (r"a$", "a\n", False), (r"a.b", "a\nb", False),
    (r"(?s)a.b", "a\nb", True),
    (r"(?m)^b", "a\nb", True), (r"[[:alpha:]]", "1", False), (r"\p{Greek}", "λ", True),
    (r"\x{1F600}", "😀", True), ("[]a]", "]", True), ("[^]a]", "]", False), (r"[]\d]x", "٣x", True),
    (r"(?<year>\d{4})", "2026", True), (r"a{2,3}", "aa", True),
    (r"[a-c&&b]", "b", True), ("x", "\ud83d", False),
])  # fmt: skip
def test_the_flag_server_reads_every_script_as_rust_does(pattern, text, expected):
    if "&&" in pattern:  # Rust's intersection: Python does not know it, and reads a plain class
        assert server_pattern(pattern).linear is None
    assert server_pattern(pattern).search(text) is expected


def test_a_query_reads_ascii_classes_and_lets_the_dot_match_line_ends_as_clickhouse_does():
    assert not linear_pattern(r"^\w+$").search("žofie")
    assert linear_pattern("a.b").search("a\nb")
    assert not linear_pattern("a$").search("a\n")
    assert not linear_pattern("x").search("\ud83d")


def test_random_patterns_find_what_pythons_own_engine_finds():
    rng = np.random.default_rng(11)
    pieces = [
        "a",
        "b",
        ".",
        "a*",
        "b+",
        "a?",
        "(a|b)",
        "(ab)?",
        "[ab]",
        "[^a]",
        "^",
        "$",
        "|",
        "a{2}",
        r"\d",
        r"\w",
        r"\s",
    ]
    compared = 0
    for _ in range(3_000):
        pattern = "".join(rng.choice(pieces, size=rng.integers(1, 6)))
        text = "".join(rng.choice(["a", "b", "1", " "], size=rng.integers(0, 8)))
        try:
            expected = re.search(pattern.replace("$", r"\Z"), text, re.ASCII) is not None
        except re.error:
            continue
        assert rust_pattern(pattern).search(text) is expected, (pattern, text)
        assert linear_pattern(pattern).search(text) is expected, (pattern, text)
        compared += 1
    assert compared > 2_500
