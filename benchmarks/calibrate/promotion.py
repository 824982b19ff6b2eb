"""What gets through: releases exactly at the margin, healthy ones, and a ramp with a harm budget.

Promotion: the ramp of five days by the clock, then 50 % until the end of day 12; harm is watched every
hour, and from day 5 on a daily gate may promote. The errors swing by 30 % with the hour, as on the ramp,
but do not rise: that agrees with the references, which do not state their baseline.
Harm budget: 20 extra people with an error at each next stage, gates after four hours at the earliest, the
last gate at 1.25 times the errors; evidence through the ramp. With 20 the gates are at 6, 3.5, 2 and 1.5
times the errors.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.calibrate.ramp import ALPHA, SHARES, WIDE, on_ramp
from benchmarks.tables.judged import judged
from canarykit.health.decision import Evidence, Row, decide, first_decision
from canarykit.health.evidence.event_evidence import event_mixtures, standing_safety
from canarykit.stats import EventMixture, risk_ratio
from canarykit.stats.others.stopping_rules import growthbook_boundary, unpooled_z

__all__ = ["harm_budget", "promotion"]

DAYS = 12
HOURS = 24 * DAYS
SHARE = np.concatenate([np.repeat(SHARES[:4], 24), np.full(HOURS - 96, SHARES[4])])
RISK = 2000 * SHARE
GATES = np.arange(119, HOURS, 24)
SWING = 1 + 0.3 * np.sin(2 * np.pi * np.arange(HOURS) / 24)
BLOCK = 1000
LOG_LEVEL = np.log(1 / ALPHA)


def promotion(rows: int, rng: int = 30) -> Iterator[dict[str, Any]]:
    """Rules of promotion on the same counts.

    The always-valid rule with the alternatives of the reference, and with canarykit's own, which follow
    from the margin and get a healthy release through with fewer people. "No harm seen" is GrowthBook's
    rule; the others that re-test non-inferiority roll back by the e-process.
    """
    rows = min(rows, 4000)
    for base, margin, wanted in (
        (0.01, 1.25, {"none": 0.199, "daily": 0.062, "once": 0.045, "valid": 0.003}),
        (0.05, 1.10, {"none": 0.259, "daily": 0.079, "once": 0.045, "valid": 0.002}),
    ):
        first = base == 0.01
        healthy = {"valid": (0.965, 52_600) if first else (0.974, 60_500)}
        healthy["none"] = (0.970, 42_600) if first else (0.974, 42_700)
        for ratio in (margin, 1.0):
            found = _promoted(rows, base, margin, ratio, rng)
            table = f"promotion, base {base:.0%}, margin {margin}"
            for key, name in (
                ("none", "no harm seen by day 5"),
                ("daily", "not inferior at 5 %, daily"),
                ("once", "not inferior at 5 %, one look"),
                ("valid", "always valid, alternatives to 7 x"),
                ("own", "always valid, canarykit's"),
            ):
                share, people = found[key]
                at_margin, promises = ratio == margin, key in ("valid", "own")
                expected = wanted.get(key) if at_margin else healthy.get(key, (None, None))[0]
                yield judged(
                    table, name, ratio, rows, share, expected,
                    bound=ALPHA if at_margin and promises else None,
                    near=not (at_margin and promises),
                    reference_rows=3200,
                    people=(people, None if at_margin else healthy.get(key, (None, None))[1]),
                )  # fmt: skip


def _promoted(
    rows: int, base: float, margin: float, ratio: float, rng: int
) -> dict[str, tuple[float, float]]:
    """Share of the rollouts that each rule promotes, and the mean canary people."""
    parts = []
    draw = np.random.default_rng(rng)
    for begin in range(0, rows, BLOCK):
        shape = (min(BLOCK, rows - begin), HOURS)
        people, control = draw.poisson(RISK, shape), draw.poisson(RISK, shape)
        x, y = draw.binomial(people, base * ratio * SWING), draw.binomial(control, base * SWING)
        parts.append(_judge(x, y, people, control, margin))
    return {
        key: tuple(float(np.concatenate([part[key][i] for part in parts]).mean()) for i in range(2))
        for key in parts[0]
    }  # type: ignore[return-value]


def _judge(
    x: np.ndarray, y: np.ndarray, people: np.ndarray, control: np.ndarray, margin: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Who is promoted, and how many canary people each rollout saw, by rule."""
    so_far = [np.cumsum(counts, axis=1) for counts in (people, control, x, y)]
    found, tested = {}, np.zeros(x.shape, bool)
    for key, (harm, safe) in {
        "own": event_mixtures(margin),
        "valid": (WIDE, replace(WIDE, side="safe", null_ratio=margin)),
    }.items():
        shown, rows = _table(harm, safe, x, y, so_far)
        row, look = first_decision(rows)
        found[key] = (row == Row.SAFE, _seen(so_far[0], np.where(look >= 0, look, HOURS - 1)))
    open_until = np.where(shown.any(axis=1), shown.argmax(axis=1), HOURS)
    for run in range(len(x)):
        for gate in GATES[open_until[run] > GATES]:
            n, m, events, others = (int(counts[run, gate]) for counts in so_far)
            upper = risk_ratio(events, n, others, m, confidence=1 - ALPHA, sided="upper")
            tested[run, gate] = upper is not None and upper.high < margin
            if tested[run, gate]:
                break
    for key, gates in (("daily", GATES), ("once", GATES[:1])):
        go = tested[:, gates]
        last = np.where(go.any(axis=1), gates[go.argmax(axis=1)], np.minimum(open_until, HOURS - 1))
        found[key] = (go.any(axis=1), _seen(so_far[0], last))
    stopped = _growthbook(so_far)[:, : GATES[0] + 1]
    harmed = stopped.any(axis=1)
    found["none"] = (~harmed, _seen(so_far[0], np.where(harmed, stopped.argmax(axis=1), GATES[0])))
    return found


def _table(
    harm: EventMixture, safe: EventMixture, x: np.ndarray, y: np.ndarray, so_far: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Where harm is shown, and the rows of the decision table."""
    against = np.maximum.accumulate(harm.log_e(x, x + y, RISK, RISK), axis=1)
    within = safe.log_e(x, x + y, RISK, RISK)
    shown = against >= LOG_LEVEL
    within = standing_safety(within, shown)
    evidence = Evidence(
        units_canary=so_far[0],
        units_control=so_far[1],
        harm_log_e=against[None],
        safe_log_e=within[None],
        in_grace=True,
        dwell_met=np.isin(np.arange(HOURS), GATES),
    )
    return shown, decide(evidence)


def _growthbook(so_far: list[np.ndarray]) -> np.ndarray:
    """Looks at which GrowthBook's one-sided sequence, tuned at 5,000 people, is above zero."""
    n, m, x, y = so_far
    return unpooled_z(x, y, n, m) >= growthbook_boundary(2 * np.cumsum(RISK))


def _seen(people: np.ndarray, last: np.ndarray) -> np.ndarray:
    return people[np.arange(len(last)), last]


def harm_budget(rows: int, rng: int = 31) -> Iterator[dict[str, Any]]:
    """Gates that follow from a harm budget, against a day a stage by the clock.

    The reference does not state its alternatives, and no one choice gives all of its numbers. Canarykit's
    own give its people and extra errors at twice the errors; both give its three hours at twenty times the
    errors. Each of its numbers stands where it is compared, and the other choice beside it without one. Its
    times of a healthy release (98 and 77 hours) carry safety from stage to stage; here each stage shows it
    anew. Its 62 people at twenty times and its 23 extra errors by the clock have all of the error.
    """
    table = "harm budget"
    runs = min(rows, 4000)
    own: dict[str, Any] = {"mixture": None, "margin": 1.25, "min_dwell": "4h", "cap": "12d", "rng": rng}
    for budget in (20, 40):
        found = on_ramp(1, runs, harm_budget=budget, **own)
        yield judged(
            table, f"budget {budget}", 1, runs, found.probability("promote"),
            hours=(found.hours_quantile("promote"), None), people=(found.people(), None),
        )  # fmt: skip
    clock = on_ramp(1, runs, mixture=None, margin=1.25, rng=rng)
    yield judged(
        table, "a day a stage", 1, runs, clock.probability("promote"), 0.96, reference_rows=600,
        hours=(clock.hours_quantile("promote"), 120), people=(clock.people(), None),
    )  # fmt: skip
    edge = on_ramp(1.25, runs, harm_budget=20, **own)
    yield judged(
        table, "budget 20, promoted", 1.25, runs, edge.probability("promote"), 0.022, bound=ALPHA, near=False
    )
    for name, mixture, wanted in (
        ("canarykit's alternatives", None, {"budget 20": {2: (None, 2431, 25)}}),
        (
            "alternatives to 7 x",
            WIDE,
            {"budget 20": {20: (3, None, None)}},
        ),
    ):
        options = own | {"mixture": mixture}
        for kind, ratio in (("budget 20", 2), ("budget 20", 20), ("a day a stage", 2)):
            if kind == "budget 20":
                found = on_ramp(ratio, runs, harm_budget=20, **options)
            else:
                found = on_ramp(ratio, runs, margin=1.25, mixture=mixture, rng=rng)
            hour, people, extra = wanted.get(kind, {}).get(ratio, (None, None, None))
            yield judged(
                table, f"{kind}, {name}", ratio, runs, found.probability("roll back"), 1.0,
                hours=(found.hours_quantile("roll back"), hour), people=(found.people(), people),
                extra=(found.extra_events(), extra), reference_rows=600,
            )  # fmt: skip
