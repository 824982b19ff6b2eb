"""The ramp again: other alternatives and base rates, another control, counted events, several guardrails.

Where the references do not state their baseline, it is level here, without the drift of the ramp table:
so the delays and rates of almost all of these lines are theirs.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import canarykit as ck
from benchmarks.calibrate.ramp import ALPHA, HOURS, SHARES, WIDE, drift, on_ramp, ramp_plan
from benchmarks.tables.judged import judged
from canarykit.health.decision import Rules
from canarykit.metrics import ErrorShare, SlowShare
from canarykit.simulate import Effect
from canarykit.stats import EventMixture, mixture_log_e, stratified_score

__all__ = ["chatty", "guardrails", "remaining_traffic", "rising_baseline", "spreads"]

SHARE = np.repeat(SHARES, HOURS // len(SHARES))
LOG_LEVEL = np.log(1 / ALPHA)


def spreads(rows: int, rng: int = 22) -> Iterator[dict[str, Any]]:
    """What the spread of the alternatives does to the e-process, at base rates of 1, 10 and 0.2 %.

    At 10 % the reference names only the better spread of two; the other value is that of 0.7, the spread of
    the ramp table.
    """
    table = "spread of the alternatives"
    for ratio, wanted in {1.2: (0.638, 108), 1.5: (1.0, 64), 2: (1.0, 37), 5: (1.0, 20)}.items():
        found = on_ramp(ratio, rows, drift=drift(), mixture=EventMixture(sd=0.4), rng=rng)
        yield judged(
            table, "sd 0.4, base 1 %", ratio, rows, found.probability("roll back"), wanted[0],
            hours=(found.hours_quantile("roll back"), wanted[1]), people=(found.people(), None),
        )  # fmt: skip
    for mixture, share in ((EventMixture(sd=0.1), 0.443), (EventMixture(sd=0.4), None), (WIDE, 0.247)):
        found = on_ramp(1.05, rows, base=0.1, mixture=mixture, rng=rng)
        yield judged(
            table, f"sd {mixture.sd}, base 10 %", 1.05, rows, found.probability("roll back"), share
        )  # fmt: skip
    healthy = on_ramp(1, rows, base=0.002, drift=drift(), rng=rng)
    yield judged(
        table, "sd 0.7, base 0.2 %", 1, rows, healthy.probability("roll back"), 0.022, bound=ALPHA, near=False
    )
    found = on_ramp(5, rows, base=0.002, drift=drift(), rng=rng)
    yield judged(
        table, "sd 0.7, base 0.2 %", 5, rows, found.probability("roll back"), 1.0,
        hours=(found.hours_quantile("roll back"), 32), people=(found.people(), None),
    )  # fmt: skip


def remaining_traffic(rows: int, rng: int = 23) -> Iterator[dict[str, Any]]:
    """Everybody without the canary is the control: more events, and a stage's own comparison only.

    The e-process is faster than with an equal control. The asymptotic stratified score, tuned to the first
    gate, does not keep its level at 0.2 events an hour. Statsig's formula makes a 1 % canary nearly blind.
    """
    table = "control: all remaining traffic"
    healthy = on_ramp(1, rows, control="rest", drift=drift(), rng=rng)
    yield judged(
        table, "canarykit", 1, rows, healthy.probability("roll back"), 0.026, bound=ALPHA, near=False
    )
    bad = on_ramp(2, rows, control="rest", drift=drift(), rng=rng)
    yield judged(
        table, "canarykit", 2, rows, bad.probability("roll back"), 1.0,
        hours=(bad.hours_quantile("roll back"), 28), people=(bad.people(), 1039),
    )  # fmt: skip
    level = on_ramp(2, rows, control="rest", rules=("statsig",), rng=rng)
    yield judged(
        table, "statsig", 2, rows, level.probability("roll back"), 1.0,
        hours=(level.hours_quantile("roll back"), 65), people=(level.people(), 6522),
    )  # fmt: skip
    score = stratified_score(*_counts(rows, drift(), 0.01, rng))
    gate = float(np.median(score.variance[:, 23]))
    log_e = np.where(score.variance > 0, mixture_log_e(score.z, 6.3 * score.variance / gate), 0.0)
    crossed = (log_e >= LOG_LEVEL).any(axis=1)
    yield judged(table, "stratified score, tuned at 24 h", 1, rows, float(crossed.mean()), 0.054)


def rising_baseline(rows: int, rng: int = 24) -> Iterator[dict[str, Any]]:
    """The rate of both arms rises by 40 % in five days while the ramp grows: nothing is wrong.

    Pooled over the stages the canary looks 10.7 % worse, because most of its people came late. The
    reference does not state its base rate; at 5 % a single pooled look at the end is wrong as often as it
    says. A single stratified look and the e-process are not fooled.
    """
    table = "baseline rising by 40 %"
    hours = np.arange(HOURS)
    rising = 1 + 0.4 * hours / HOURS
    x, m, n, rest = _counts(rows, rising, 0.05, rng)
    ours, theirs = x.sum(axis=1) / n.sum(axis=1), (m - x).sum(axis=1) / rest.sum(axis=1)
    share = m.sum(axis=1) / (n + rest).sum(axis=1)
    error = np.sqrt(share * (1 - share) * (1 / n.sum(axis=1) + 1 / rest.sum(axis=1)))
    pooled = float(((ours - theirs) / error > 1.6448536).mean())
    fake = float((ours / theirs).mean() - 1)
    yield judged(
        table, "p<.05, pooled, one look", 1, rows, pooled, 0.999, why=f"fake harm {fake:+.1%} (+10.7%)"
    )
    score = stratified_score(x, m, n, rest)
    once = float((score.z[:, -1] > 1.6448536).mean())
    yield judged(table, "p<.05, stratified, one look", 1, rows, once, 0.045)
    found = on_ramp(
        1, rows, base=0.05, control="rest", drift=rising, rules=("canarykit", "fixed p<.05"), rng=rng
    )
    peeked = found.probability("roll back", "fixed p<.05")
    yield judged(table, "p<.05, pooled, hourly", 1, rows, peeked)
    yield judged(table, "canarykit", 1, rows, found.probability("roll back"), 0.015, bound=ALPHA, near=False)


def chatty(rows: int, rng: int = 25) -> Iterator[dict[str, Any]]:
    """An affected person sends five errors on average (geometric): people keep the level, events do not."""
    table = "events instead of people"
    draw = np.random.default_rng(rng)
    risk = 2000 * SHARE
    ours, theirs = (draw.poisson(0.01 * drift() * risk, (rows, HOURS)) for _ in range(2))
    for rule, share, repeated in (("people counted once", 0.026, False), ("events counted", 0.712, True)):
        x, y = (_bursts(draw, people) if repeated else people for people in (ours, theirs))
        crossed = (WIDE.log_e(x, x + y, risk, risk) >= LOG_LEVEL).any(axis=1)
        options: dict[str, Any] = {} if repeated else {"bound": ALPHA, "near": False}
        yield judged(table, rule, 1, rows, float(crossed.mean()), share, **options)


def guardrails(rows: int, rng: int = 26) -> Iterator[dict[str, Any]]:
    """Five guardrails of 1 % each: the union of their alarms, weighted, and what the weights cost.

    The reference gives each the whole 5 % for the ramp, which is run beside. `simulate_decisions` has four
    fifths for it and one for the stages, so what five of them come to at 5 % each follows from one alone.
    """
    table = "five guardrails"
    equal, first = (0.2,) * 5, (0.5, *(0.125,) * 4)
    whole, three = _whole_for_the_ramp(5, rows, rng), 3000
    yield judged(table, "each at 5 %, all of it for the ramp", 1, rows, whole, 0.137, reference_rows=three)
    alone = _guarded(1, (1.0,), ALPHA, rows, rng + 1000).probability("roll back")
    found = _guarded(1, equal, 5 * ALPHA, rows, rng).probability("roll back")
    yield judged(table, "each at 5 %", 1, rows, found, round(1 - (1 - alone) ** 5, 4), reference_rows=rows)
    for rule, weights in (("equal weights", equal), ("half the weight on one", first)):
        share = _guarded(1, weights, ALPHA, rows, rng).probability("roll back")
        yield judged(
            table, rule, 1, rows, share, (0.023, 0.025), reference_rows=three, bound=ALPHA, near=False
        )
    for rule, weights, hour in (
        ("one alone", (1.0,), 39),
        ("equal weights", equal, 49),
        ("half the weight on the harmed one", first, 43),
    ):
        found = _guarded(2, weights, ALPHA, rows, rng)
        yield judged(
            table, rule, 2, rows, found.probability("roll back"), None,
            hours=(found.hours_quantile("roll back"), hour), people=(found.people(), None),
        )  # fmt: skip


def _whole_for_the_ramp(guardrails: int, rows: int, rng: int) -> float:
    """How often any of several independent guardrails alarms whose whole error is for the ramp."""
    draw, risk = np.random.default_rng(rng), 2000 * SHARE
    alarmed = np.zeros(rows, bool)
    for _ in range(guardrails):
        x, y = (draw.poisson(0.01 * risk, (rows, HOURS)) for _ in range(2))
        alarmed |= (WIDE.log_e(x, x + y, risk, risk) >= LOG_LEVEL).any(axis=1)
    return float(alarmed.mean())


def _guarded(ratio: float, weights: tuple[float, ...], alpha: float, rows: int, rng: int) -> Any:
    """Errors, of which the release has so many times as many, and other guardrails that nothing touches."""
    names = [f"slow {place}" for place in range(1, len(weights))]
    others = [
        ck.Guardrail(SlowShare("page", "ms", slower_than=1000), name=name, margin_ratio=1.02)
        for name in names
    ]
    chosen = [ck.Guardrail(ErrorShare(), margin_ratio=1.02), *others]
    return ck.simulate_decisions(
        ramp_plan(),
        ck.Scenario(effects=[Effect("errors", ratio)] if ratio != 1 else [], error_rate=0.01),
        [replace(item, weight=weight) for item, weight in zip(chosen, weights, strict=True)],
        rows,
        traffic=2000,
        rates=dict.fromkeys(names, 0.01),
        rng=rng,
        on_hold="go on",
        alpha_scope="rollout",
        control="equal",
        mixture=WIDE,
        srm=False,
        decision=Rules(alpha_rollback=alpha),
        progress=False,
    )


def _counts(rows: int, factor: np.ndarray, base: float, rng: int) -> tuple[np.ndarray, ...]:
    """Events of the canary and of both arms, people of each arm, per hour; everybody else is the control."""
    draw = np.random.default_rng(rng)
    n, rest = (draw.poisson(2000 * share, (rows, HOURS)) for share in (SHARE, 1 - SHARE))
    x, y = (draw.binomial(people, base * factor) for people in (n, rest))
    return x, x + y, n, rest


def _bursts(draw: np.random.Generator, people: np.ndarray) -> np.ndarray:
    """Five events of each on average: as many geometric numbers added up."""
    return np.where(people > 0, people + draw.negative_binomial(np.maximum(people, 1), 0.2), 0)
