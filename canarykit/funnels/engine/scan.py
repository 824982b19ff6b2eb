"""Run the scans over a feed: the plain Python form for small ones, the compiled form for large ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from canarykit.compiler import can_compile
from canarykit.funnels.engine import scan_memory
from canarykit.funnels.engine.actor import run_sorted
from canarykit.funnels.engine.feed import Feed
from canarykit.funnels.engine.scan_memory import Rules, answer_fields, make_memory
from canarykit.funnels.engine.scan_trends import TREND_FIELDS, make_periods, run_trend_sorted
from canarykit.funnels.question.specs import FunnelQuery

PLAIN_LIMIT = 60_000
"""Fed events up to which the plain form runs: under half a second, where a compiler would take longer."""

_ATTRIBUTIONS = {
    "first_touch": scan_memory.FIRST_TOUCH,
    "last_touch": scan_memory.LAST_TOUCH,
    "all_events": scan_memory.ALL_EVENTS,
    "step": scan_memory.STEP_TOUCH,
    "exposure": scan_memory.FIRST_TOUCH,
}


@dataclass(frozen=True, eq=False)
class Answers:
    """One row per actor and value that did a step; `matched` has answer, step, rank and event."""

    actor: np.ndarray
    value: np.ndarray
    reached: np.ndarray
    bits: np.ndarray
    times: np.ndarray
    matched: np.ndarray


@dataclass(frozen=True, eq=False)
class TrendAnswers:
    """One row per actor, value and period entered; `event` decided whether it converted."""

    actor: np.ndarray
    value: np.ndarray
    period: np.ndarray
    converted: np.ndarray
    event: np.ndarray


def make_rules(
    query: FunnelQuery, *, blank: int = -1, detail: bool = False, to_step: int | None = None
) -> Rules:
    """The query as the scans read it; `to_step` is the step that a trend follows (None = the last)."""
    breakdown = query.breakdown
    order = scan_memory.ORDERS[query.order]
    tie = query.tie_width_us if query.order == "ordered" else 0
    return Rules(
        n=query.n_steps,
        window=query.window_us,
        tie=tie,
        order=order,
        optional=sum(1 << k for k in query.optional),
        attribution=scan_memory.NO_VALUE if breakdown is None else _ATTRIBUTIONS[breakdown.attribution],
        attribution_step=0 if breakdown is None else breakdown.attribution_step,
        plain_values=1 if breakdown is not None and (breakdown.is_plain or query.flag_exposure) else 0,
        blank=blank if breakdown is not None and breakdown.is_plain else -1,
        thin=0 if order == scan_memory.ORDERED and not (tie or detail or query.exclusions) else 1,
        detail=int(detail),
        goal=query.n_steps if to_step is None else to_step + 1,
    )


def kernel(name: str, function: Any, n_events: int, form: str | None) -> tuple[Any, bool]:
    """The plain or the compiled form of a scan, and whether it is the plain one."""
    if form == "plain" or (form is None and n_events <= PLAIN_LIMIT) or not can_compile():
        return function, True
    from canarykit.funnels.compiled import compiled

    return compiled(name), False


def scan_feed(feed: Feed, query: FunnelQuery, *, detail: bool = False, form: str | None = None) -> Answers:
    """Answers of every actor of the feed; `form` forces "plain" or "compiled"."""
    run, plain = kernel("run_sorted", run_sorted, len(feed.time), form)
    n, n_labels = query.n_steps, max(len(feed.values.labels), 1)
    rules = make_rules(query, blank=blank_code(feed), detail=detail)
    memory, places = make_memory(n, feed.longest, n_labels, plain=plain)
    several = rules.attribution in (scan_memory.ALL_EVENTS, scan_memory.STEP_TOUCH)
    capacity = len(feed.time) if several else feed.n_actors
    answers = np.empty(capacity * answer_fields(n), np.int64)
    most = capacity * n * (scan_memory.MAX_FURTHER + 1) if detail else 0
    matched = np.empty(most * scan_memory.MATCH_FIELDS, np.int64)
    used = np.zeros(2, np.int64)
    time, entry, value, starts, blank = _lists(feed, plain)
    run(time, entry, value, starts, rules, blank, memory, places, answers, matched, used)
    return read_answers(answers, matched, used, n)


def read_answers(answers: np.ndarray, matched: np.ndarray, used: np.ndarray, n: int) -> Answers:
    """The rows that a scan wrote, as columns of their own."""
    rows = answers[: used[0] * answer_fields(n)].reshape(-1, answer_fields(n))
    return Answers(
        actor=rows[:, scan_memory.ACTOR].copy(),
        value=rows[:, scan_memory.VALUE].astype(np.int32),
        reached=rows[:, scan_memory.REACHED].astype(np.int8),
        bits=rows[:, scan_memory.BITS].copy(),
        times=rows[:, scan_memory.TIMES :].copy(),
        matched=matched[: used[1] * scan_memory.MATCH_FIELDS].reshape(-1, scan_memory.MATCH_FIELDS).copy(),
    )


def scan_trend_feed(
    feed: Feed,
    query: FunnelQuery,
    period: np.ndarray,
    from_step: int,
    to_step: int | None = None,
    *,
    form: str | None = None,
) -> TrendAnswers:
    """Answers per actor, value and period; `period` numbers the period of each fed event."""
    run, plain = kernel("run_trend_sorted", run_trend_sorted, len(feed.time), form)
    n, n_labels = query.n_steps, max(len(feed.values.labels), 1)
    rules = make_rules(query, blank=blank_code(feed), to_step=to_step)
    memory, places = make_memory(n, feed.longest, n_labels, plain=plain)
    most = min(feed.longest, len(np.unique(period))) + 1
    periods, inside = make_periods(n, most, plain=plain)
    answers, used = np.empty(len(feed.time) * TREND_FIELDS, np.int64), np.zeros(1, np.int64)
    time, entry, value, starts, blank = _lists(feed, plain)
    numbers = period.tolist() if plain else period.astype(np.int64)
    run(
        *(time, entry, value, numbers, starts, from_step, rules, blank),
        *(memory, places, periods, inside, answers, used),
    )
    rows = answers[: used[0] * TREND_FIELDS].reshape(-1, TREND_FIELDS)
    return TrendAnswers(*(rows[:, field].copy() for field in range(TREND_FIELDS)))


def blank_code(feed: Feed) -> int:
    """Code of the blank label, -1 when there is none."""
    return feed.values.labels.index("") if "" in feed.values.labels else -1


def _lists(feed: Feed, plain: bool) -> tuple[Any, ...]:
    codes = feed.values.codes if len(feed.values.codes) else np.zeros(len(feed.time), np.int64)
    arrays = (feed.time, feed.entry, codes, feed.starts, feed.values.blank)
    if plain:
        return tuple(array.tolist() for array in arrays)
    return tuple(np.ascontiguousarray(array, dtype=np.int64) for array in arrays)
