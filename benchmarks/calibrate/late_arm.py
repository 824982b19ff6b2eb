"""`simulate_decisions` where one arm's data are late, beside `evaluate_stage` on logs as they had arrived.

At each hour at which the simulation gives a verdict, the events that have arrived by then are judged. Both
arms call the flag when they come and have their event right after it; each call and each event of the late
arm is late for itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import canarykit as ck
from benchmarks.calibrate.simulated_and_judged import DWELL, ERRORS, PAID, START, Release, line_of
from canarykit.health.decision import Verdict
from canarykit.simulate import Effect, Fault, Step

__all__ = ["late_arms"]

TABLE = "simulate_decisions beside evaluate_stage, one arm late"
MOST, SIMULATED = 80, 8000
LOOKS = 6.0
CELLS = (
    # (release, part of the arm's data, hours, whether it is the canary)
    (Release(base=0.1, looks=LOOKS), 0.3, 6, True),
    (Release(base=0.1, ratio=1.5, looks=LOOKS), 0.3, 6, True),
    (Release(base=0.1, ratio=1.5, share=0.1, traffic=120.0, looks=LOOKS), 0.3, 6, True),
    (Release(base=0.2, ratio=0.9, share=0.1, traffic=120.0, looks=LOOKS), 0.3, 6, True),
    (Release(base=0.1, share=0.9, traffic=120.0, looks=LOOKS), 0.4, 12, False),
    (Release(base=0.1, ratio=1.5, share=0.9, traffic=120.0, looks=LOOKS), 0.4, 12, False),
    (Release(PAID, 0.6, 0.9, share=0.1, traffic=120.0, looks=LOOKS), 0.3, 6, True),
    (Release(PAID, 0.6, 1.0, looks=LOOKS), 0.3, 6, True),
)


@dataclass(frozen=True)
class _Late:
    """Which part of one arm's data is how many hours late."""

    part: float
    hours: int
    is_canary: bool

    @property
    def words(self) -> str:
        return (
            f"{100 * self.part:g} % of the {'canary' if self.is_canary else 'control'}'s {self.hours} h late"
        )


def late_arms(rows: int, rng: int = 61) -> Iterator[dict[str, Any]]:
    """Promotions and rollbacks, by simulated decisions and by reports on logs."""
    runs = min(rows, MOST)
    for place, (release, *late) in enumerate(CELLS):
        fault = _Late(*late)
        found = _simulated(release, fault, rng + place)
        hours = np.unique(found.hours[:, 0])
        draw = np.random.default_rng([rng, place])
        verdicts = [_judged(release, fault, hours, draw) for _ in range(runs)]
        for verdict, code in ((Verdict.PROMOTE, 0), (Verdict.ROLL_BACK, 2)):
            share, expected = float(np.mean(found.verdicts == code)), verdicts.count(verdict) / runs
            rule = f"{verdict.value}: {release.words}, {fault.words}"
            yield line_of(TABLE, rule, release.ratio, share, SIMULATED, expected, runs)


def _simulated(release: Release, late: _Late, rng: int) -> Any:
    variant = "true" if late.is_canary else "false"
    scenario = ck.Scenario(
        steps=[Step("seen", 1.0), Step("paid", release.base)],
        error_rate=release.base,
        effects=[Effect("paid" if release.guardrail is PAID else "errors", release.ratio)],
        faults=[Fault("late data", share=late.part, delay=f"{late.hours}h", variant=variant)],
    )
    return ck.simulate_decisions(
        release.plan,
        scenario,
        release.guardrail,
        SIMULATED,
        traffic=release.traffic,
        looks=f"{release.looks:g}h",
        min_dwell=f"{DWELL}h",
        rng=rng,
        progress=False,
    ).runs_of()


def _judged(release: Release, late: _Late, hours: np.ndarray, draw: np.random.Generator) -> Verdict:
    """The first verdict that ends the stage, of the reports at these hours."""
    n = draw.poisson(release.traffic * release.hours)
    enter = np.sort(draw.random(n) * release.hours)
    canary = draw.random(n) < release.share
    did = draw.random(n) < release.base * np.where(canary, release.ratio, 1.0)
    at = np.concatenate([enter, enter[did] + draw.exponential(0.02, int(did.sum()))])
    theirs = np.concatenate([canary, canary[did]]) == late.is_canary
    arrives = at + 0.001 + np.where(theirs & (draw.random(len(at)) < late.part), late.hours, 0.0)
    names, arms = np.array([f"user-{i}" for i in range(n)]), np.where(canary, "true", "false")
    event = "$exception" if release.guardrail is ERRORS else "paid"
    frame = pd.DataFrame(
        {
            "event": ["$feature_flag_called"] * n + [event] * int(did.sum()),
            "distinct_id": np.concatenate([names, names[did]]),
            "timestamp": START + pd.to_timedelta(at, unit="h"),
            "created_at": START + pd.to_timedelta(arrives, unit="h"),
            "$feature_flag": "new-checkout",
            "$feature_flag_response": np.concatenate([arms, arms[did]]),
        }
    )
    for hour in hours:
        report = ck.evaluate_stage(
            ck.EventLog(frame[arrives < hour]),
            release.plan,
            "half",
            release.guardrail,
            as_of=START + pd.Timedelta(hours=hour),
            looks=f"{release.looks:g}h",
            min_dwell=f"{DWELL}h",
            segments=(),
        )
        if report.verdict is not Verdict.HOLD:
            return report.verdict
    return Verdict.HOLD
