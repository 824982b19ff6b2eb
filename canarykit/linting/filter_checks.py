"""Checks of one filter: blank values, loose domains, numbers that are texts, values nothing can match."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from canarykit.flags import Flag, PropertyFilter
from canarykit.linting.audience import People
from canarykit.linting.findings import Finding, Severity
from canarykit.targeting.dates import Clock, server_filter_date
from canarykit.targeting.patterns import server_pattern
from canarykit.targeting.semver import server_requirement, server_version
from canarykit.targeting.value_text import server_number, value_text

_NEEDS_NO_VALUE = {"is_set", "is_not_set"}
_NUMERIC = {"gt", "gte", "lt", "lte", "between", "not_between"}
_DATES = {"is_date_before", "is_date_after", "is_date_exact"}
_RANGES = {"semver_tilde", "semver_caret", "semver_wildcard"}
_VERSIONS = {"semver_eq", "semver_neq", "semver_gt", "semver_gte", "semver_lt", "semver_lte"}
_TEXT = {
    "exact", "is_not", "icontains", "not_icontains", "icontains_multi", "not_icontains_multi", "regex",
    "not_regex", "starts_with", "not_starts_with", "ends_with", "not_ends_with",
}  # fmt: skip
_KNOWN = _NEEDS_NO_VALUE | _NUMERIC | _DATES | _RANGES | _VERSIONS | _TEXT
_DOMAIN = re.compile(r"@?((?:[\w-]+\.)+[a-z]{2,})", re.IGNORECASE)
_RELATIVE = re.compile(r"-?[0-9]+[hdwmy]")


def check_filter(flag: Flag, item: PropertyFilter, where: str, people: People | None) -> Iterator[Finding]:
    """Everything to say about one filter of a person or group property."""

    def finding(code: str, severity: Severity, what: str, mend: str, affected: Any = None) -> Finding:
        count = None if people is None or affected is None else int(affected)
        return Finding(code, severity, flag.key, where, what, mend, count)

    if item.operator not in _KNOWN:
        what = f"the operator {item.operator!r} does not exist for properties; the set never matches"
        yield finding("unknown operator", "error", what, "choose one of PostHog's operators")
        return
    if item.operator not in _NEEDS_NO_VALUE and _is_blank(item.value):
        matched = people.holds(item).sum() if people else None
        what = f"{item.key} {item.operator} has a blank value" + _blank_effect(item.operator)
        yield finding("blank filter value", "error", what, "fill in the value or remove the filter", matched)
        return
    yield from _domain(item, people, finding)
    yield from _numbers(item, people, finding)
    yield from _unreadable(item, finding)
    if item.operator in _DATES and isinstance(item.value, str) and _RELATIVE.fullmatch(item.value):
        what = f"{item.key} {item.operator} {item.value} moves with the clock: people enter and leave"
        yield finding("relative date", "note", what, "write the date itself while a rollout is measured")


def _is_blank(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_blank, value))
    return value is None or (isinstance(value, str) and not value.strip())


def _blank_effect(operator: str) -> str:
    if operator in ("icontains", "starts_with", "ends_with", "regex"):
        return ": everyone who has the property gets in"
    if operator.startswith("not_") or operator == "is_not":
        return ": nearly everyone gets in"
    return ""


def _domain(item: PropertyFilter, people: People | None, finding: Any) -> Iterator[Finding]:
    """`icontains "@acme.io"` also matches "@acme.io.evil.com"; so does an unanchored pattern."""
    for value in item.value if isinstance(item.value, list) else [item.value]:
        if not isinstance(value, str) or not ("@" in value or "email" in item.key or "domain" in item.key):
            continue
        plain = value.replace("\\.", ".").replace("\\@", "@")
        loose = item.operator in ("icontains", "icontains_multi") or (
            item.operator == "regex" and not value.endswith("$")
        )
        match = _DOMAIN.search(plain)
        if not loose or match is None:
            continue
        ending = ("@" if "@" in plain else "") + match[1]
        safe = PropertyFilter(item.key, ending, "ends_with", type=item.type)
        others = (people.holds(item) & ~people.holds(safe)).sum() if people else None
        what = f"{item.key} {item.operator} {value!r} also lets in {ending}.evil.com"
        mend = f"use ends_with {ending!r}, or the pattern {re.escape(ending)}$"
        yield finding("unsafe domain match", "warning", what, mend, others)


def _numbers(item: PropertyFilter, people: People | None, finding: Any) -> Iterator[Finding]:
    if item.operator not in _NUMERIC:
        return
    bounds = item.value if isinstance(item.value, list) else [item.value]
    if any(server_number(bound) is None for bound in bounds):
        what = f"{item.key} {item.operator} {value_text(item.value)!r} compares with a text: nothing matches"
        yield finding("text compared as number", "error", what, "write a number")
        return
    distinct = people.values(item.key) if people else None
    if distinct is None:
        return
    values, counts = distinct
    texts = sum(int(n) for v, n in zip(values, counts, strict=True) if isinstance(v, str))
    if texts:
        what = f"{item.key} is text for some; SDKs before 7.91 then compare letter by letter ('100' < '30')"
        yield finding("text compared as number", "warning", what, "send the property as a number", texts)


def _unreadable(item: PropertyFilter, finding: Any) -> Iterator[Finding]:
    value, name = item.value, item.operator
    reads = True
    if name in ("regex", "not_regex"):
        pattern = server_pattern(value_text(value))
        reads = pattern is not None
        if pattern is not None and pattern.linear is None:
            what = f"{item.key} {name} {value_text(value)!r} looks around or refers back; the server stops it"
            mend = "write the pattern without looking around"
            yield finding("pattern that backtracks", "warning", f"{what} after 10,000 steps", mend)
    elif name in _RANGES:
        reads = server_requirement(name, value) is not None
    elif name in _VERSIONS:
        reads = server_version(value) is not None
    elif name in _DATES and not (isinstance(value, str) and _RELATIVE.fullmatch(value)):
        reads = isinstance(value, str) and server_filter_date(value, Clock()) is not None
    if not reads:
        what = f"{item.key} {name} {value_text(value)!r} cannot be read; nothing matches"
        yield finding("unreadable filter value", "error", what, "correct the value")
