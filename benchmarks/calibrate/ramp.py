"""Rules on the counts of a ramp, harm only, evidence carried through it: `simulate_decisions`.

1, 5, 10, 25 and 50 %, a day each, 2,000 people an hour, 1 % of them with an error, as large a control, a
look every hour. Delays are medians over all rollouts, people are means. The references do not say at which
hour their rollouts begin; `drift` is the phase that agrees with their delays. The e-process has
alternatives up to seven times the rate (three times its spread of 0.7). Four fifths of its error are for the
ramp as a whole, as `alpha_scope="rollout"` has it, where the reference has all of it: so its delays are not
held to the reference's. The threshold counts the looks of a stage, where the reference goes on counting
through the ramp, and is shown beside it.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import canarykit as ck
from benchmarks.tables.judged import judged
from canarykit.plan import RolloutPlan, Stage
from canarykit.simulate import Decisions, Effect
from canarykit.stats import EventMixture

__all__ = ["ALPHA", "HOURS", "SHARES", "WIDE", "drift", "on_ramp", "ramp", "ramp_plan"]

ALPHA = 0.05
SHARES = (0.01, 0.05, 0.10, 0.25, 0.50)
HOURS = 120
WIDE = EventMixture(sd=0.7, low=0.02, high=2.0)

# (P(rollback), median hour over all rollouts, mean canary people) by rate ratio and rule: 4,000 rollouts
# where nothing is wrong, 1,500 elsewhere.
RAMP: dict[str, dict[float, tuple[float, float | None, float | None]]] = {
    "canarykit": {
        1: (0.028, None, None),
        1.2: (0.579, 112, 29659),
        1.5: (1.0, 61, 7054),
        2: (1.0, 35, 2098),
        5: (1.0, 13, 309),
    },
    "growthbook": {
        1: (0.026, None, None),
        1.2: (0.591, 110, 29367),
        1.5: (1.0, 62, 7074),
        2: (1.0, 36, 2151),
        5: (1.0, 18, 410),
    },
    "statsig": {
        1: (0.005, None, None),
        1.2: (0.404, None, 36329),
        1.5: (1.0, 77, 10480),
        2: (1.0, 48, 3258),
        5: (1.0, 18, 424),
    },
    "fixed p<.05": {
        1: (0.406, None, None),
        1.2: (0.965, 54, None),
        1.5: (1.0, 29, None),
        2: (1.0, 20, None),
        5: (1.0, 4, None),
    },
    "threshold": {
        ratio: (share, None, None) for ratio, share in {1: 0.998, 1.2: 1, 1.5: 1, 2: 1, 5: 1}.items()
    },
}


def ramp_plan(shares: tuple[float, ...] = (1, 5, 10, 25, 50)) -> RolloutPlan:
    """Percentages, a day each."""
    stages = [replace(Stage.for_share(f"{share} %", share), dwell="24h") for share in shares]
    return RolloutPlan("f", (*stages, Stage.for_everyone("all")), starts_at="2026-09-07T00:00:00Z")


def drift() -> np.ndarray:
    """The error rate rises by 3 % a day and swings by 30 % with the hour, rising first.

    Other phases keep the null rates but move the delays: five times the errors are caught after 14 to 16
    hours instead of 12.
    """
    hours = np.arange(HOURS)
    return (1 + 0.03 * (hours // 24)) * (1 + 0.3 * np.sin(2 * np.pi * hours / 24))


def on_ramp(
    ratio: float,
    rows: int,
    *,
    base: float = 0.01,
    margin: float = 1.02,
    plan: RolloutPlan | None = None,
    rng: int = 21,
    **options: Any,
) -> Decisions:
    """Rollouts of a release with this many times the errors.

    The margin is so tight that no harm is small enough to tolerate.
    """
    settings: dict[str, Any] = {
        "traffic": 2000,
        "on_hold": "go on",
        "alpha_scope": "rollout",
        "control": "equal",
        "mixture": WIDE,
        "srm": False,
        "progress": False,
    }
    effects = [Effect("errors", ratio)] if ratio != 1 else []
    return ck.simulate_decisions(
        plan or ramp_plan(),
        ck.Scenario(effects=effects, error_rate=base),
        ck.Guardrail("$exception", margin_ratio=margin),
        rows,
        rng=rng,
        **settings | options,
    )


def ramp(rows: int, rng: int = 21) -> Iterator[dict[str, Any]]:
    """Five rules at five sizes of harm."""
    for ratio in (1, 1.2, 1.5, 2, 5):
        found = on_ramp(ratio, rows, drift=drift(), rules=tuple(RAMP), rng=rng)
        for rule, wanted in RAMP.items():
            share, hour, people = wanted[ratio]
            hour, people = (None, None) if rule == "canarykit" else (hour, people)
            bound = ALPHA if ratio == 1 and rule in ("canarykit", "growthbook", "statsig") else None
            yield judged(
                "ramp", rule, ratio, rows, found.probability("roll back", rule), share,
                bound=bound,
                near=rule != "threshold",
                reference_rows=4000 if ratio == 1 else 1500,
                hours=(found.hours_quantile("roll back", 0.5, rule), hour),
                people=(found.people(rule), people),
            )  # fmt: skip
