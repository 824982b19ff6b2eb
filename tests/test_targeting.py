"""Property filters: the server's and the SDK's answers, value by value and column by column."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canarykit.errors import DataError, PlanError
from canarykit.flags import PropertyFilter
from canarykit.targeting import matcher as matcher_module
from canarykit.targeting.dates import Clock, relative_date
from canarykit.targeting.matcher import INCONCLUSIVE, NO, YES
from canarykit.targeting.patterns import NotPortableError, portable, server_pattern
from canarykit.targeting.property_columns import PropertyTable, column_of, column_of_values
from canarykit.targeting.sdk_operators import sdk_matcher
from canarykit.targeting.semver import in_requirement, server_requirement, server_version
from canarykit.targeting.server_operators import server_matcher
from canarykit.targeting.value_text import NotJsonError, value_text


class _Absent:
    """Stands for a property that is not there; its name in test ids is the same in every process."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
NOW = datetime(2026, 9, 10, 12, 0, tzinfo=UTC)
HERE, BERLIN = Clock(NOW), Clock(NOW, "Europe/Berlin")
Y, N, I = YES, NO, INCONCLUSIVE  # noqa: E741


def ask(make, operator, wanted, value, clock=HERE, version=1):
    matcher = make(PropertyFilter("key", wanted, operator), clock, matching_version=version)
    return matcher.absent if value is ABSENT else matcher.value(value)


# operator, filter value, property value, server's answer, SDK's answer
ANSWERS = [
    # exact: equal ignoring case, a list is any element, values that are not text by their JSON text
    ("exact", "Pro", "pro", Y, Y), ("exact", "Pro", "pro ", N, N), ("exact", ["a", "B"], "b", Y, Y),
    ("exact", ["a", "B"], "c", N, N), ("exact", "x", ABSENT, N, I), ("exact", "1", 1, Y, Y),
    ("exact", 1, "1", Y, Y), ("exact", "1", 1.0, N, N), ("exact", "1.0", 1.0, Y, Y),
    ("exact", "null", None, Y, Y),
    ("exact", "x", None, N, N), ("exact", "Straße", "STRASSE", N, N), ("exact", "É", "é", Y, Y),
    ("exact", "[1,\"a\"]", [1, "a"], Y, Y), ("exact", "{\"b\":1}", {"b": 1}, Y, Y),
    # a filter value of true or false is compared by truth
    ("exact", "true", True, Y, Y), ("exact", "TRUE", "true", Y, Y), ("exact", "true", "yes", N, N),
    ("exact", "false", "banana", Y, Y), ("exact", False, "banana", Y, Y),
    ("exact", ["true", "false"], "x", Y, Y),
    ("exact", ["true", "false"], "true", N, N), ("exact", [], "x", N, N), ("exact", [], True, Y, Y),
    ("exact", ["true", "x"], "X", Y, Y), ("exact", "false", None, Y, Y),
    ("exact", True, [True, "true"], Y, Y),
    # is_not turns exact round, and on the server holds where the property is absent
    ("is_not", "Pro", "pro", N, N), ("is_not", "Pro", "free", Y, Y), ("is_not", "Pro", ABSENT, Y, I),
    ("is_not", "none", None, Y, Y), ("is_not", "null", None, N, N), ("is_not", "true", "banana", Y, Y),
    # presence
    ("is_set", None, "x", Y, Y), ("is_set", None, None, Y, Y), ("is_set", None, ABSENT, N, I),
    ("is_not_set", None, "x", N, N), ("is_not_set", None, None, N, N), ("is_not_set", None, ABSENT, Y, I),
    # parts of texts ignore the case of A to Z only
    ("icontains", "VALUE", "343tfvalue5", Y, Y), ("icontains", "3", 323, Y, Y),
    ("icontains", "x", ABSENT, N, I),
    ("icontains", "É", "é", N, N), ("icontains", "ul", None, Y, Y), ("icontains", "", "x", Y, Y),
    ("not_icontains", "VALUE", "a value", N, N), ("not_icontains", "x", ABSENT, Y, I),
    ("starts_with", "Val", "vALue", Y, Y), ("starts_with", "al", "value", N, N),
    ("starts_with", "a", ABSENT, N, I),
    ("not_starts_with", "Val", "value", N, N), ("not_starts_with", "al", "value", Y, Y),
    ("not_starts_with", "a", ABSENT, Y, I), ("ends_with", "@ACME.io", "ada@acme.IO", Y, Y),
    ("ends_with", "@acme.io", "x@acme.io.evil.com", N, N), ("ends_with", "a", ABSENT, N, I),
    ("not_ends_with", "ue", "value", N, N), ("not_ends_with", "x", "value", Y, Y),
    ("not_ends_with", "a", ABSENT, Y, I), ("icontains_multi", ["zz", "LU"], "value", Y, I),
    ("icontains_multi", ["zz"], "value", N, I), ("icontains_multi", "al", "value", Y, I),
    ("icontains_multi", ["a"], ABSENT, N, I), ("not_icontains_multi", ["zz", "lu"], "value", N, I),
    ("not_icontains_multi", ["zz"], "value", Y, I), ("not_icontains_multi", ["a"], ABSENT, Y, I),
    # patterns: anywhere in the text, case counts, invalid ones match nobody either way
    ("regex", "a.c", "xabcx", Y, Y), ("regex", "ABC", "abc", N, N), ("regex", "(", "(", N, N),
    ("not_regex", "(", "(", N, N), ("not_regex", "a.c", "xabcx", N, N), ("not_regex", "zz", "abc", Y, Y),
    ("regex", "a", ABSENT, N, I), ("not_regex", "a", ABSENT, Y, I), ("regex", "c$", "abc\n", N, N),
    ("regex", "", "x", Y, Y), ("not_regex", "", "x", N, N), ("regex", r"\d", 5, Y, Y),
    ("regex", "nul", None, Y, Y),
    ("regex", r"(?<=b)c", "abc", Y, I), ("regex", "(?i)ABC", "abc", Y, I), ("regex", r"\bb", "a b", Y, I),
    # numbers: texts that read as one count; anything else does not match
    ("gt", 5, 6, Y, Y), ("gt", 5, 5, N, N), ("gte", 5, 5, Y, Y), ("lt", "5", 4.5, Y, Y),
    ("lte", "5", "5", Y, Y),
    ("gt", "30", "100", Y, Y), ("lt", "30", "100", N, N), ("gt", 5, "x", N, N), ("gt", 5, None, N, N),
    ("gt", 0, True, N, N), ("gt", "x", 6, N, I), ("gt", None, 6, N, I), ("gt", 5, ABSENT, N, I),
    ("gt", 5, " 6", N, N), ("gt", 5, "1e3", Y, Y), ("gt", 5, "inf", Y, N), ("lt", 5, "nan", N, N),
    ("gt", 5, "1_000", N, N), ("gt", 5, [6], N, N), ("gte", "1.0.0", "1.0.0", N, I),
    ("between", [1, 5], 1, Y, I), ("between", [1, 5], 5, Y, I), ("between", [1, 5], 5.1, N, I),
    ("between", ["1", "5"], "3", Y, I), ("between", [5, 1], 3, N, I), ("between", [1], 1, N, I),
    ("between", 3, 3, N, I), ("between", [1, "x"], 1, N, I), ("between", [1, 5], "nan", N, I),
    ("between", [1, 5], ABSENT, N, I), ("between", [1, 5], "x", N, I), ("not_between", [1, 5], 3, N, I),
    ("not_between", [1, 5], 6, Y, I), ("not_between", [1, 5], "nan", N, I),
    ("not_between", [1, 5], "x", N, I),
    ("not_between", [5, 1], 9, N, I), ("not_between", [5, 1], ABSENT, Y, I),
    ("not_between", [1, 5], ABSENT, Y, I),
    # dates
    ("is_date_before", "2026-09-01", "2026-08-31", Y, Y),
    ("is_date_before", "2026-09-01", "2026-09-01", N, N),
    ("is_date_after", "2026-09-01", "2026-09-01T00:00:01Z", Y, Y),
    ("is_date_after", "2026-09-01", ABSENT, N, I),
    ("is_date_exact", "2026-09-01", "2026-09-01T02:00:00+02:00", Y, I),
    ("is_date_before", "2026-09-01", "x", N, I),
    ("is_date_exact", "2026-09-01", "2026-09-01T00:00:01Z", N, I),
    ("is_date_before", "x", "2026-09-01", N, I),
    ("is_date_before", "2026-09-01", 1_000_000_000, Y, I),
    ("is_date_before", "2026-09-01", "1000000000", Y, I),
    ("is_date_after", "2026-09-01", "1000000000.5", N, I), ("is_date_before", "2026-09-01", True, N, I),
    ("is_date_before", "2026-09-01", 20260831, Y, I),
    ("is_date_before", "2026-09-01", None, N, N), ("is_date_before", 20260901, "2020-01-01", N, Y),
    ("is_date_before", "2026-09-01", date(2026, 8, 31), Y, Y),
    ("is_date_before", "-7d", "2026-09-03T11:59:59Z", Y, Y),
    ("is_date_before", "7d", "2026-09-03T12:00:00Z", N, N),
    ("is_date_after", "-1h", "2026-09-10T11:00:01Z", Y, Y),
    ("is_date_after", "10000h", "2026-09-10", N, I), ("is_date_after", "3s", "2026-09-10", N, I),
    ("is_date_after", "+3d", "2026-09-10", N, I), ("is_date_after", "3D", "2026-09-10", N, I),
    ("is_date_before", "2026-09-01", "2026/08/31", Y, I),
    ("is_date_before", "2026-09-01", "August 31, 2026", Y, I),
    # versions: the server by semantic versioning, the SDK by three numbers
    ("semver_eq", "1.2.3", "1.2.3", Y, Y), ("semver_eq", "v1.2", "1.2.0", Y, Y),
    ("semver_neq", "1.2.3", "1.2.4", Y, Y),
    ("semver_gt", "1.2.3", "1.10.0", Y, Y), ("semver_gte", "2", "2.0.0", Y, Y),
    ("semver_lt", "1.2.3", "1.2.3", N, N),
    ("semver_lte", "1.2.3", "1.2.3", Y, Y), ("semver_eq", "3.8.0", "3.08", Y, I),
    ("semver_lt", "1.2.3", "1.2.3-rc1", Y, N),
    ("semver_eq", "1.2.3", "1.2.3-rc1", N, Y), ("semver_eq", "1.2.3", "1.2.3+b1", N, Y),
    ("semver_eq", "1.2.3", "x", N, I),
    ("semver_eq", "x", "1.2.3", N, I), ("semver_eq", "1.2.3", None, N, N),
    ("semver_eq", "1.2.3", ABSENT, N, I),
    ("semver_eq", "1.2", 1.2, Y, Y), ("semver_gt", "1.0.0", "1.2.3.4", N, Y),
    ("semver_neq", "1.0.0", ABSENT, N, I),
    ("semver_tilde", "1.2.3", "1.2.9", Y, Y), ("semver_tilde", "1.2.3", "1.3.0", N, N),
    ("semver_tilde", "1.2.3", "1.2.2", N, N),
    ("semver_caret", "1.2.3", "1.9.0", Y, Y), ("semver_caret", "1.2.3", "2.0.0", N, N),
    ("semver_caret", "0.2.3", "0.2.9", Y, Y),
    ("semver_caret", "0.2.3", "0.3.0", N, N), ("semver_caret", "0.0.3", "0.0.3", Y, Y),
    ("semver_caret", "0.0.3", "0.0.4", N, N),
    ("semver_wildcard", "1.*", "1.99.0", Y, Y), ("semver_wildcard", "1.*", "2.0.0", N, N),
    ("semver_wildcard", "1.2.*", "1.2.7", Y, Y),
    ("semver_wildcard", "1.2.*", "1.3.0", N, N), ("semver_wildcard", "x", "1.3.0", Y, I),
    ("semver_wildcard", "1.*.3", "1.0.3", N, N),
    ("semver_caret", "1.2.3", "1.3.0-rc1", N, Y), ("semver_caret", "1.2.3-rc1", "1.2.3-rc2", Y, Y),
    ("semver_tilde", "x", "1.2.3", N, I), ("semver_tilde", "1.2.3", ABSENT, N, I),
    # operators that are not for properties, or not at all
    ("in", "x", "x", N, I), ("not_in", "x", "y", N, I), ("flag_evaluates_to", True, True, N, I),
    ("bogus", "x", "x", N, I),
    # a filter without a value matches nothing on the server, not even where absence would
    ("exact", None, "null", N, Y), ("is_not", None, ABSENT, N, I), ("not_icontains", None, ABSENT, N, I),
]  # fmt: skip


@pytest.mark.parametrize("operator, wanted, value, server, sdk", ANSWERS)
def test_filters_answer_as_the_server_and_the_sdk_do(operator, wanted, value, server, sdk):
    assert ask(server_matcher, operator, wanted, value) == server
    assert ask(sdk_matcher, operator, wanted, value) == sdk


@pytest.mark.parametrize("operator, wanted, value, server, sdk", ANSWERS)
def test_the_sdk_answers_of_the_table_are_the_sdks(operator, wanted, value, server, sdk, monkeypatch):
    oracle = pytest.importorskip("posthog.feature_flags")
    monkeypatch.setattr(oracle.datetime, "datetime", _Frozen)
    item = {"key": "key", "value": wanted, "operator": operator}
    try:
        answer = int(oracle.match_property(item, {} if value is ABSENT else {"key": value}))
    except oracle.InconclusiveMatchError:
        answer = I
    assert answer == sdk


class _Frozen(datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW.astimezone(tz) if tz else NOW.replace(tzinfo=None)


def test_explicit_matching_compares_true_and_false_as_text():
    for make in (server_matcher, sdk_matcher):
        assert ask(make, "exact", "false", "banana", version=2) == N
        assert ask(make, "exact", "false", False, version=2) == Y
        assert ask(make, "exact", [], "x", version=2) == N
        assert ask(make, "is_not", "false", "banana", version=2) == Y


@pytest.mark.parametrize("text, expected", [
    ("3d", "2022-03-28T10:00"), ("-3d", "2022-03-28T10:00"), ("5h", "2022-03-31T05:00"),
    ("2w", "2022-03-17T10:00"),
    ("1m", "2022-02-28T10:00"), ("2m", "2022-01-28T10:00"), ("13m", "2021-02-28T10:00"),
    ("1y", "2021-03-31T10:00"),
    ("000h", "2022-03-31T10:00"), ("9999h", "2021-02-07T19:00"), ("10000h", None), ("1s", None),
    ("+1d", None),
    ("1D", None), ("1.5d", None), ("d", None), ("3d ", None), ("9999y", None),
])  # fmt: skip
def test_relative_dates_count_back_and_shrink_to_the_months_end_step_by_step(text, expected):
    moment = relative_date(text, datetime(2022, 3, 31, 10))
    assert (moment and moment.isoformat(timespec="minutes")) == expected


def test_a_leap_day_goes_back_to_the_twenty_eighth():
    assert relative_date("1y", datetime(2024, 2, 29)) == datetime(2023, 2, 28)
    assert relative_date("4y", datetime(2024, 2, 29)) == datetime(2020, 2, 28)


@pytest.mark.parametrize("clock, value, answer", [
    (HERE, "2026-09-01 01:00:00", N), (BERLIN, "2026-08-31 23:59:59", Y), (BERLIN, "2026-08-31T22:30:00Z", N),
    (HERE, "2026-08-31T22:30:00Z", Y), (BERLIN, "2026-08-31T21:30:00Z", Y), (BERLIN, "2026-09-01", N),
])  # fmt: skip
def test_dates_without_an_offset_are_in_the_teams_zone_on_the_server(clock, value, answer):
    assert ask(server_matcher, "is_date_before", "2026-09-01", value, clock) == answer


def test_a_wall_clock_the_zone_skips_matches_nothing_and_a_doubled_one_is_the_earlier():
    skipped = Clock(NOW, "Europe/Berlin")
    assert ask(server_matcher, "is_date_exact", "2026-03-29 02:30:00", "2026-03-29T01:30:00Z", skipped) == N
    assert ask(server_matcher, "is_date_exact", "2026-10-25 02:30:00", "2026-10-25T00:30:00Z", skipped) == Y


def test_relative_dates_keep_the_teams_wall_clock_across_a_change_of_offset():
    after_change = Clock(datetime(2026, 10, 26, 9, 30, tzinfo=UTC), "Europe/Berlin")  # 10:30 there
    assert ask(server_matcher, "is_date_exact", "2d", "2026-10-24T10:30:00+02:00", after_change) == Y


def test_a_relative_date_needs_the_moment_of_evaluation():
    for make in (server_matcher, sdk_matcher):
        with pytest.raises(PlanError, match="pass as_of="):
            ask(make, "is_date_after", "-7d", "2026-09-10", Clock())


def test_an_unknown_zone_is_named():
    with pytest.raises(PlanError, match="no time zone 'Mars/Base'"):
        ask(server_matcher, "is_date_after", "2026-09-10", "2026-09-10", Clock(NOW, "Mars/Base"))


def test_a_year_alone_is_today_in_that_year_for_the_sdk_and_epoch_seconds_for_the_server():
    assert ask(sdk_matcher, "is_date_before", "2026-09-01", "2025") == Y
    assert ask(sdk_matcher, "is_date_before", "2025-09-10", "2025") == N
    assert ask(server_matcher, "is_date_before", "1971-01-01", "2025") == Y


def test_versions_are_ordered_as_semver_org_orders_them():
    names = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
    ]
    names += ["1.0.0-rc.1", "1.0.0", "1.0.0+1", "1.0.1", "1.1.0", "2.0.0"]
    versions = [server_version(name) for name in names]
    assert versions == sorted(versions)
    assert len(set(versions)) == len(names)


@pytest.mark.parametrize(
    "text",
    ["", "x", "1.2.3.4", "1.2.3-", "1.2.3-a..b", "1.2.3-01", "1.-2", "99999999999999999999", "1.2.3 4"],
)
def test_texts_that_are_no_versions_are_none(text):
    assert server_version(text) is None


@pytest.mark.parametrize("pattern, inside, outside", [
    ("1.2", "1.9.9", "2.0.0"), ("0.0", "0.0.9", "0.1.0"), ("0", "0.9.9", "1.0.0"), ("0.2", "0.2.9", "0.3.0"),
    ("0.0.3", "0.0.3", "0.0.4"), ("1.2.3", "1.2.4", "1.2.2"), ("3.08.*", "3.8.1", "3.9.0"),
    ("*", "7.0.0", "7.0.0-rc1"),
])  # fmt: skip
def test_a_wildcard_without_a_star_is_a_caret(pattern, inside, outside):
    requirement = server_requirement("semver_wildcard", pattern)
    assert in_requirement(server_version(inside), requirement)
    assert not in_requirement(server_version(outside), requirement)


@pytest.mark.parametrize("value, text", [
    (1e16, "1e+16"), (1e-5, "0.00001"), (1.5e-7, "1.5e-7"), (True, "true"), (None, "null"), (0.1, "0.1"),
    ({"b": 1, "a": [None, "é"]}, '{"a":[null,"é"],"b":1}'), (123456789012345678901, "123456789012345678901"),
])  # fmt: skip
def test_values_are_compared_by_their_json_text(value, text):
    assert value_text(value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, NOW])
def test_values_json_does_not_have_have_no_text_and_leave_the_sdk_in_doubt(value):
    with pytest.raises(NotJsonError):
        value_text(value)
    assert ask(sdk_matcher, "exact", "x", value) == I
    assert ask(sdk_matcher, "exact", "true", value) == I
    assert ask(sdk_matcher, "icontains", "x", value) == I


@pytest.mark.parametrize("pattern", [
    "(?i)a", "(?=a)", r"\bx", r"\Ba", "[[a]]", "[a&&b]", "(a+)+", "((a|b)*)*", "a{,3}", "a{2}+", "a++",
    "^*", "$+",
    "()+", r"\p{L}", r"\xZZ", "{2}", "[]", "[^]", r"[a-\d]", r"[\d-z]", r"[\!]", "\ud800", r"\A",
    "a{99999999999}",
    "(?P<n>a)", "(?:a*)*", r"\z", "a{2}{3}",
])  # fmt: skip
def test_patterns_the_engines_may_read_differently_are_left_to_the_server(pattern):
    with pytest.raises(NotPortableError):
        portable(pattern)


@pytest.mark.parametrize("pattern", [
    "abc", "a|b", "^a$", "[a-z]+", "[^a-z]", r"\d{2,4}", "(?:ab)+", "(a)(b)", r"a\.b", r"\x41", "a*?",
    "[a-]", "]", r"[\]]",
    "a{2}?", r"[\w.-]+@acme\.io$", "()", "x{0,}",
])  # fmt: skip
def test_patterns_both_engines_read_alike_are_evaluated(pattern):
    assert portable(pattern) is not None


def test_the_scanner_draws_the_line_where_the_sdk_draws_it():
    oracle = pytest.importorskip("posthog.feature_flags")
    rng, alphabet = (
        np.random.default_rng(5),
        [*list(r"ab.*+?|()[]{}^$\-,:2dwsx&~"), "\\d", "(?:", "[^", "{2}", "\\b"],
    )
    for _ in range(6_000):
        pattern = "".join(rng.choice(alphabet, size=rng.integers(1, 8)))
        text = "".join(rng.choice(list("ab2 é\n-"), size=5))
        if "||" in pattern or "[[" in pattern or "--" in pattern:
            continue  # Python warns about these itself
        try:
            expected = int(
                oracle.match_property({"key": "k", "value": pattern, "operator": "regex"}, {"k": text})
            )
        except oracle.InconclusiveMatchError:
            expected = I
        except FutureWarning:
            continue
        assert sdk_matcher(PropertyFilter("k", pattern, "regex"), HERE).value(text) == expected, (
            pattern,
            text,
        )


def test_on_words_and_spaces_beyond_ascii_the_sdk_does_not_decide():
    assert ask(sdk_matcher, "regex", r"\w", "²") == I
    assert ask(sdk_matcher, "regex", r"\w", "é") == Y
    assert ask(sdk_matcher, "regex", r"\s", "\x1c") == I
    assert ask(sdk_matcher, "regex", "a|c$", "b\n") == I


def test_the_server_goes_as_far_as_python_can():
    assert server_pattern(r"(?<year>\d{4})").search("in 2026")
    assert not server_pattern(r"a$").search("a\n")
    assert server_pattern(r"(?i)[a$]$").search("x$")
    assert server_pattern(r"\p{") is None


# --- columns -------------------------------------------------------------------------------------------


def answers(column, operator, wanted, make=server_matcher):
    return column.answers(make(PropertyFilter("key", wanted, operator), BERLIN)).tolist()


TEXT_OPERATORS = [
    "exact",
    "is_not",
    "icontains",
    "not_icontains",
    "starts_with",
    "ends_with",
    "not_ends_with",
    "regex",
]
MORE = [
    "gt",
    "between",
    "semver_gte",
    "is_date_after",
    "is_date_before",
    "is_set",
    "is_not_set",
    "not_starts_with",
]


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    texts=st.lists(st.one_of(st.none(), st.sampled_from(["", "A", "a", "É", "1", "true",
    "2026-09-01T00:00:00Z", "1.2.3"]),
                             st.text(max_size=6)), min_size=1, max_size=20),
    operator=st.sampled_from(TEXT_OPERATORS + MORE),
    wanted=st.one_of(st.text(max_size=3), st.sampled_from(["true", "É", "2026-08-31", "-7d", "1", ["a",
    "é"], [0, 5], []])),
    long=st.booleans(), sdk=st.booleans(),
)  # fmt: skip
def test_a_column_of_texts_answers_as_its_values_do_one_by_one(texts, operator, wanted, long, sdk):
    make = sdk_matcher if sdk else server_matcher
    item = PropertyFilter("key", wanted, operator)
    one_by_one = [ask(make, operator, wanted, ABSENT if t is None else t, BERLIN) for t in texts]
    is_text = pd.__version__ >= "3" and any(t is not None for t in texts)  # before, texts were objects
    column = column_of(pd.Series(texts, dtype=object).astype("str" if is_text else object))
    before = matcher_module.LONG
    with pytest.MonkeyPatch.context() as patch:
        for module in ("matcher", "property_columns"):
            patch.setattr(f"canarykit.targeting.{module}.LONG", 1 if long else before)
        assert column.answers(make(item, BERLIN, matching_version=1)).tolist() == one_by_one


@pytest.mark.parametrize("series, values", [
    (pd.Series([1, 2, 30]), [1, 2, 30]), (pd.Series([1.0, None, 2.5]), [1, ABSENT, 2.5]),
    (pd.Series([True, False, True]), [True, False, True]),
    (pd.Series([True, None], dtype="boolean"), [True, ABSENT]),
    (pd.Series([1, None], dtype="Int64"), [1, ABSENT]),
    (pd.Series(["a", None, "1"], dtype="category"), ["a", ABSENT, "1"]),
    (pd.Series([1, "1", True, None, 1.5, [1]], dtype=object), [1, "1", True, ABSENT, 1.5, [1]]),
    (pd.Series([2**60, 1]), [2**60, 1]), (pd.Series(["x", float("nan")], dtype=object), ["x", ABSENT]),
    (pd.Series(pd.to_datetime(["2026-09-01T00:00:00Z", None])), ["2026-09-01T00:00:00Z", ABSENT]),
    (pd.Series(pd.to_datetime(["2026-09-01", None])), ["2026-09-01 00:00:00", ABSENT]),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("operator, wanted", [
    ("exact", ["1", "a", "true"]), ("is_not", "1"), ("gt", 1), ("between", [1, 2]), ("is_set", None),
    ("regex", "1"),
    ("is_date_after", "2026-08-31 23:00:00"), ("is_date_exact", "2026-09-01"), ("icontains", "1"),
    ("exact", True),
])  # fmt: skip
@pytest.mark.parametrize("make", [server_matcher, sdk_matcher])
def test_every_kind_of_column_answers_as_its_values_do(series, values, operator, wanted, make):
    if operator in ("regex", "icontains") and "datetime" in str(series.dtype):
        return  # as a column a moment is written out in full
    expected = [ask(make, operator, wanted, value, BERLIN) for value in values]
    assert answers(column_of(series), operator, wanted, make) == expected


def test_one_true_and_the_text_of_one_are_different_values():
    column = column_of_values([1, True, 1.0, "1", None])
    assert answers(column, "exact", "1") == [Y, N, N, Y, N]
    assert answers(column, "exact", "true") == [N, Y, N, N, N]


@pytest.mark.parametrize("long", [False, True])
def test_a_column_folds_letters_beyond_ascii_where_values_do(long, monkeypatch):
    for module in ("matcher", "property_columns"):
        monkeypatch.setattr(f"canarykit.targeting.{module}.LONG", 1 if long else 50_000)
    column = column_of(pd.Series(["É", "é", "x", None, "STRASSE", "straße"]))
    assert answers(column, "exact", ["é", "straße"]) == [Y, Y, N, N, N, Y]
    assert answers(column, "icontains", "é") == [N, Y, N, N, N, N]


def test_absent_and_null_differ_in_json_and_missing_cells_are_absent():
    table = PropertyTable(
        pd.DataFrame({"properties": ['{"a": null}', "{}", {"a": 1}, None], "b": ["x", None, "y", "z"]})
    )
    assert answers(table.column("a"), "is_set", None) == [Y, N, Y, N]
    assert answers(table.column("b"), "is_set", None) == [Y, N, Y, Y]
    assert table.column("c") is None


@pytest.mark.parametrize(
    "cell, message",
    [
        ("{", "properties of row 1 are not JSON"),
        ("[1]", "expected a JSON object"),
        (5, "expected a JSON object"),
    ],
)
def test_properties_that_are_no_json_object_name_their_row(cell, message):
    table = PropertyTable(pd.DataFrame({"properties": ["{}", cell]}))
    with pytest.raises(DataError, match=message):
        table.column("a")


def test_two_columns_of_one_name_are_refused():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(DataError, match="two columns are named 'a'"):
        PropertyTable(frame).column("a")


JSON_ROWS = [
    '{"a": "x", "$feature_enrollment/f": true}', '{"a": null}', "{}", None, '{"a": 1}',
    '{"a": 1.0, "b": "q"}',
    '{"a": "\\u00c9\\"t"}', '{"a": [1, "x"]}', '{"a": {"k": true}}',
    '{"a": "x"}', '{"a": "5"}', '{ "a" : "true" }',
]  # fmt: skip


@pytest.mark.parametrize("key", ["a", "b", "$feature_enrollment/f", 'odd"key', "nobody"])
@pytest.mark.parametrize("operator, wanted", [
    ("is_set", None), ("exact", "x"), ("exact", "1"), ("gt", 0), ("icontains", "é\"T"), ("icontains", "1"),
    ("regex", "^x"),
])  # fmt: skip
def test_a_long_column_of_json_text_is_read_as_a_short_one(key, operator, wanted, monkeypatch):
    frame = pd.DataFrame({"properties": pd.Series(JSON_ROWS, dtype="str")})
    short = PropertyTable(frame).column(key)
    monkeypatch.setattr("canarykit.targeting.property_columns.LONG", 1)
    long = PropertyTable(frame).column(key)
    assert (short is None) == (long is None)
    if short is not None:
        assert answers(long, operator, wanted) == answers(short, operator, wanted)


def test_a_long_column_of_distinct_json_texts_stays_a_column(monkeypatch):
    monkeypatch.setattr("canarykit.targeting.property_columns.LONG", 1)
    frame = pd.DataFrame(
        {"properties": pd.Series([f'{{"a": "P{i}@acme.io"}}' for i in range(9)] + ["{}"], dtype="string")}
    )
    column = PropertyTable(frame).column("a")
    assert column.codes is None
    assert answers(column, "starts_with", "p3") == [Y if i == 3 else N for i in range(10)]


def test_a_long_column_with_broken_json_still_names_the_row(monkeypatch):
    monkeypatch.setattr("canarykit.targeting.property_columns.LONG", 1)
    with pytest.raises(DataError, match="properties of row 2 are not JSON"):
        PropertyTable(pd.DataFrame({"properties": pd.Series(["{}", "{}", "{"], dtype="str")})).column("a")
