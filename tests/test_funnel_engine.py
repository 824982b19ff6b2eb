"""The funnel engine against a slow, obvious reference: hundreds of thousands of random actors.

`CANARYKIT_SEQUENCES=200000 pytest tests/test_funnel_engine.py` asks more of it than the suite's default.
"""

import os

import numpy as np
import pytest

from canarykit.funnels.engine import scan_memory
from canarykit.funnels.engine.actor import run_sorted
from canarykit.funnels.engine.scan import kernel, read_answers
from canarykit.funnels.engine.scan_memory import EXCLUSION_SHIFT, Rules, answer_fields, make_memory
from canarykit.funnels.engine.scan_trends import TREND_FIELDS, make_periods, run_trend_sorted
from tests.funnel_reference import Event, Funnel, funnel_of, trend_of

SEQUENCES = int(os.environ.get("CANARYKIT_SEQUENCES", "16000"))
ACTORS = 100
# The compiled form takes long to compile: quick runs leave it out, and ask less of the plain one.
QUICK_AND_WHOLE = [
    (("plain",), SEQUENCES // 4),
    pytest.param(("plain", "compiled"), SEQUENCES, marks=pytest.mark.slow),
]
COMPILED = pytest.param("compiled", marks=pytest.mark.slow)
ATTRIBUTIONS = {
    None: scan_memory.NO_VALUE,
    "first_touch": scan_memory.FIRST_TOUCH,
    "last_touch": scan_memory.LAST_TOUCH,
    "all_events": scan_memory.ALL_EVENTS,
    "step": scan_memory.STEP_TOUCH,
}
VALUES = ["", "x", "y"]


def random_funnel(rng, *, trend=False) -> Funnel:
    n = int(rng.integers(2, 6))
    order = str(rng.choice(["ordered", "ordered", "strict", "unordered"]))
    attribution = [None, None, "first_touch", "last_touch", "all_events", "step"][rng.integers(6)]
    optional = ()
    if order != "unordered" and not trend and rng.random() < 0.3:
        optional = tuple(s for s in range(2, n + 1) if rng.random() < 0.4)
    return Funnel(
        n=n,
        window=int(rng.choice([3, 8, 20])),
        order=order,
        optional=optional,
        attribution=attribution,
        attribution_step=0 if order == "unordered" else int(rng.integers(n)),
        plain_values=bool(rng.random() < 0.3) if attribution else False,
        tie=int(rng.choice([0, 0, 2])) if order == "ordered" and not trend else 0,
    )


def random_actor(rng, funnel, first_id, with_exclusions=True) -> list[Event]:
    """A few events close together, with ties, repeats, several matches and exclusions."""
    size = int(rng.integers(1, 13))
    gaps = rng.choice([0, 0, 1, 1, 2, 3, 6, 12], size=size)
    times = 100 + np.cumsum(gaps)
    several, excluded = rng.random() < 0.3, with_exclusions and rng.random() < 0.6
    events = []
    for i, time in enumerate(times.tolist()):
        steps = sorted({int(s) for s in rng.integers(1, funnel.n + 1, size=2 if several else 1)})
        exclusions = []
        if excluded and rng.random() < 0.25:
            low, high = sorted(rng.choice(np.arange(2, funnel.n + 2), size=2, replace=False).tolist())
            exclusions = (
                list(range(2, funnel.n + 1)) if funnel.order == "unordered" else list(range(low, high))
            )
            steps = steps if rng.random() < 0.2 else []
        elif funnel.order == "strict" and rng.random() < 0.2:
            steps = []
        if rng.random() < 0.35 and events:  # runs of equal events
            steps, exclusions = list(events[-1].steps), list(events[-1].exclusions)
        if not steps and not exclusions and funnel.order != "strict":
            steps = [1]
        value = VALUES[rng.integers(len(VALUES))] if funnel.attribution else None
        if funnel.attribution and events and rng.random() < 0.5:
            value = events[-1].value
        events.append(Event(time, steps, exclusions, value, first_id + i, (time - 100) // 7))
    events.sort(key=lambda e: (e.time, entry_of(e), value_code(e)))
    for i, event in enumerate(events):
        event.id = first_id + i
    return events


def entry_of(event) -> int:
    return sum(1 << (s - 1) for s in event.steps) | sum(1 << (EXCLUSION_SHIFT + k) for k in event.exclusions)


def value_code(event) -> int:
    return VALUES.index(event.value) if event.value is not None else 0


def rules_of(funnel, *, thin=True, detail=False, goal=None) -> Rules:
    order = scan_memory.ORDERS[funnel.order]
    return Rules(
        n=funnel.n,
        window=funnel.window,
        tie=funnel.tie,
        order=order,
        optional=sum(1 << (s - 1) for s in funnel.optional),
        attribution=ATTRIBUTIONS[funnel.attribution],
        attribution_step=funnel.attribution_step,
        plain_values=int(funnel.plain_values),
        blank=0 if funnel.plain_values else -1,
        thin=int(thin or order != scan_memory.ORDERED or funnel.tie > 0),
        detail=int(detail),
        goal=goal or funnel.n,
    )


def columns_of(actors, plain):
    events = [event for actor in actors for event in actor]
    starts = np.cumsum([0, *(len(actor) for actor in actors)])
    columns = (
        np.array([e.time for e in events]),
        np.array([entry_of(e) for e in events]),
        np.array([value_code(e) for e in events]),
        starts,
        np.array([1, 0, 0]),
        np.array([e.period for e in events]),
    )
    return tuple(c.tolist() if plain else c.astype(np.int64) for c in columns)


def engine_answers(actors, funnel, form, *, detail=False):
    """Per actor {value: (steps done, times, ids)}, in the shape of the reference."""
    run, plain = kernel("run_sorted", run_sorted, 0, form)
    time, entry, value, starts, blank, _ = columns_of(actors, plain)
    m, at = make_memory(funnel.n, 20, 3, plain=plain)
    written = np.empty(len(time) * answer_fields(funnel.n), np.int64)
    matched = np.empty(len(time) * funnel.n * 40 if detail else 0, np.int64)
    used = np.zeros(2, np.int64)
    with_exclusions = any(event.exclusions for actor in actors for event in actor)
    rules = rules_of(funnel, thin=with_exclusions or detail, detail=detail)
    run(time, entry, value, starts, rules, blank, m, at, written, matched, used)
    answers = read_answers(written, matched, used, funnel.n)
    by_actor = [{} for _ in actors]
    for i, actor in enumerate(answers.actor.tolist()):
        times = [t for t in answers.times[i].tolist() if t >= 0]
        bits = int(answers.bits[i])
        done = {s for s in range(1, funnel.n + 1) if bits >> (s - 1) & 1}
        ids = [event for answer, _, rank, event in answers.matched.tolist() if answer == i and rank == 0]
        label = None if funnel.attribution is None else VALUES[answers.value[i]]
        by_actor[actor][label] = (done, times, ids)
        skipped = sum(s <= max(done) for s in funnel.optional)
        assert answers.reached[i] == max(done) - 1 - skipped
    return by_actor


@pytest.mark.parametrize("forms, sequences", QUICK_AND_WHOLE, ids=["quick", "whole"])
def test_every_order_attribution_exclusion_tie_and_optional_step_agrees_with_the_reference(forms, sequences):
    rng = np.random.default_rng(20260907)
    share = sequences // 2 // ACTORS
    for _ in range(share):
        funnel, with_exclusions = random_funnel(rng), rng.random() < 0.6
        actors = [random_actor(rng, funnel, 0, with_exclusions) for _ in range(ACTORS)]
        answers = (engine_answers(actors, funnel, form) for form in forms)
        for actor, *ours in zip(actors, *answers, strict=True):
            theirs = {value: answer[:2] for value, answer in funnel_of(actor, funnel).items()}
            for mine in ours:
                assert {value: answer[:2] for value, answer in mine.items()} == theirs, (funnel, actor)


def test_matched_events_are_those_of_the_reported_attempt():
    rng = np.random.default_rng(11)
    for _ in range(20):
        funnel = random_funnel(rng)
        actors, first_id = [], 0
        for _ in range(30):
            actors.append(random_actor(rng, funnel, first_id))
            first_id += len(actors[-1])
        for actor, mine in zip(actors, engine_answers(actors, funnel, "plain", detail=True), strict=True):
            theirs = funnel_of(actor, funnel)
            assert {v: (done, times) for v, (done, times, _) in mine.items()} == {
                v: (done, times) for v, (done, times, _) in theirs.items()
            }
            assert {v: ids for v, (_, _, ids) in mine.items()} == {v: a[2] for v, a in theirs.items()}


@pytest.mark.parametrize("form", ["plain", COMPILED])
def test_trends_of_every_order_and_attribution_agree_with_the_reference(form):
    rng = np.random.default_rng(7)
    for _ in range(SEQUENCES // 4 // ACTORS):
        funnel = random_funnel(rng, trend=True)
        from_step = int(rng.integers(funnel.n - 1))
        goal = int(rng.integers(from_step + 2, funnel.n + 1))
        actors = [random_actor(rng, funnel, 0) for _ in range(ACTORS)]
        run, plain = kernel("run_trend_sorted", run_trend_sorted, 0, form)
        time, entry, value, starts, blank, period = columns_of(actors, plain)
        m, at = make_memory(funnel.n, 20, 3, plain=plain)
        p, inside = make_periods(funnel.n, 20, plain=plain)
        answers, used = np.empty(len(time) * TREND_FIELDS, np.int64), np.zeros(1, np.int64)
        rules = rules_of(funnel, goal=goal)
        run(time, entry, value, period, starts, from_step, rules, blank, m, at, p, inside, answers, used)
        by_actor = [{} for _ in actors]
        rows = answers[: used[0] * TREND_FIELDS].reshape(-1, TREND_FIELDS)
        for actor, code, number, converted, _ in rows.tolist():
            label = None if funnel.attribution is None else VALUES[code]
            by_actor[actor][label, number] = bool(converted)
        for actor, mine in zip(actors, by_actor, strict=True):
            assert mine == trend_of(actor, funnel, from_step, goal), (funnel, from_step, goal, actor)
