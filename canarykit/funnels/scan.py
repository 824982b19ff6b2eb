"""Run the scans over a feed: the plain Python form for small ones, the compiled form for large ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from canarykit.funnels import rules as shapes
from canarykit.funnels.actor import run_sorted
from canarykit.funnels.feed import Feed
from canarykit.funnels.query import FunnelQuery
from canarykit.funnels.rules import Entries, Rules, make_entries, make_work
from canarykit.funnels.scan_trends import TrendEntries, make_periods, make_trend_entries, run_trend_sorted

__all__ = ["PLAIN_LIMIT", "kernel", "make_rules", "scan_feed", "scan_trend_feed"]

PLAIN_LIMIT = 60_000
"""Fed events up to which the plain form runs: under half a second, where a compiler would take longer."""

_ATTRIBUTIONS = {
    "first_touch": shapes.FIRST_TOUCH,
    "last_touch": shapes.LAST_TOUCH,
    "all_events": shapes.ALL_EVENTS,
    "step": shapes.STEP_TOUCH,
    "exposure": shapes.FIRST_TOUCH,
}


def make_rules(query: FunnelQuery, *, blank: int = -1, detail: bool = False) -> Rules:
    """The query as the scans read it."""
    breakdown = query.breakdown
    order = shapes.ORDERS[query.order]
    tie = query.tie_width_us if query.order == "ordered" else 0
    return Rules(
        n=query.n_steps,
        window=query.window_us,
        tie=tie,
        order=order,
        optional=sum(1 << k for k in query.optional),
        attribution=shapes.NO_VALUE if breakdown is None else _ATTRIBUTIONS[breakdown.attribution],
        attribution_step=0 if breakdown is None else breakdown.attribution_step,
        plain_values=1 if breakdown is not None and (breakdown.is_plain or query.flag_exposure) else 0,
        blank=blank if breakdown is not None and breakdown.is_plain else -1,
        thin=0 if order == shapes.ORDERED and not (tie or detail or query.exclusions) else 1,
    )


def kernel(name: str, function: Any, n_events: int, form: str | None) -> tuple[Any, bool]:
    """The plain or the compiled form of a scan, and whether it is the plain one."""
    if form == "plain" or (form is None and n_events <= PLAIN_LIMIT):
        return function, True
    from canarykit.funnels.compiled import compiled

    return compiled(name), False


def scan_feed(feed: Feed, query: FunnelQuery, *, detail: bool = False, form: str | None = None) -> Entries:
    """Answers of every actor of the feed; `form` forces "plain" or "compiled"."""
    run, plain = kernel("run_sorted", run_sorted, len(feed.time), form)
    values, n = feed.values, query.n_steps
    rules = make_rules(query, blank=blank_code(feed), detail=detail)
    work = make_work(n, feed.longest, max(len(values.labels), 1), plain=plain)
    several = rules.attribution in (shapes.ALL_EVENTS, shapes.STEP_TOUCH)
    capacity = len(feed.time) if several else feed.n_actors
    matched = capacity * n * (shapes.MAX_FURTHER + 1) if detail else 0
    entries = make_entries(capacity, n, matched)
    time, entry, value, starts, blank = _lists(feed, plain)
    run(time, entry, value, starts, rules, blank, work, entries, int(detail))
    return _trimmed(entries, n)


def scan_trend_feed(
    feed: Feed, query: FunnelQuery, period: np.ndarray, from_step: int, *, form: str | None = None
) -> TrendEntries:
    """Answers per actor, value and period; `period` numbers the period of each fed event."""
    run, plain = kernel("run_trend_sorted", run_trend_sorted, len(feed.time), form)
    values = feed.values
    rules = make_rules(query, blank=blank_code(feed))
    work = make_work(query.n_steps, feed.longest, max(len(values.labels), 1), plain=plain)
    most = min(feed.longest, len(np.unique(period))) + 1
    periods = make_periods(query.n_steps, most, plain=plain)
    entries = make_trend_entries(len(feed.time))
    time, entry, value, starts, blank = _lists(feed, plain)
    numbers = period.tolist() if plain else period.astype(np.int64)
    run(time, entry, value, numbers, starts, from_step, rules, blank, work, periods, entries)
    used = int(entries.size[0])
    return TrendEntries(entries.size, *(array[:used].copy() for array in entries[1:]))


def blank_code(feed: Feed) -> int:
    """Code of the blank label, -1 when there is none."""
    return feed.values.labels.index("") if "" in feed.values.labels else -1


def _lists(feed: Feed, plain: bool) -> tuple[Any, ...]:
    codes = feed.values.codes if len(feed.values.codes) else np.zeros(len(feed.time), np.int64)
    arrays = (feed.time, feed.entry, codes, feed.starts, feed.values.blank)
    if plain:
        return tuple(array.tolist() for array in arrays)
    return tuple(np.ascontiguousarray(array, dtype=np.int64) for array in arrays)


def _trimmed(entries: Entries, n: int) -> Entries:
    used, matched = int(entries.size[0]), int(entries.matched_size[0])
    trimmed = {name: getattr(entries, name)[:used].copy() for name in ("actor", "value", "reached", "bits")}
    for name in ("matched_entry", "matched_step", "matched_rank", "matched_event"):
        trimmed[name] = getattr(entries, name)[:matched].copy()
    return entries._replace(times=entries.times[: used * n].reshape(used, n).copy(), **trimmed)
