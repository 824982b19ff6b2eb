"""`simulate_decisions` beside the judgement of people one by one: how often each promotes and rolls back.

The people are drawn by their moments, have their events when they have them, stand in entry cohorts and are
judged by the steps of `evaluate_stage` (tests hold those against `evaluate_stage` on logs). What
`simulate_decisions` says must be within three Monte-Carlo standard errors of both.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pandas as pd

import canarykit as ck
from benchmarks.attacks.events import Cell, mixtures_of, share_of_cell
from benchmarks.attacks.kernels import log_e_paths
from benchmarks.attacks.people import HOUR, Stage
from benchmarks.tables.judged import judged
from canarykit.health.decision import Evidence, Row, Rules, decide, first_decision
from canarykit.health.evidence.doubts import diluted_ratio, hidden_part
from canarykit.health.evidence.event_evidence import standing_safety, value_evidence
from canarykit.health.evidence.value_series import value_series
from canarykit.metrics import Conversion, ErrorShare, Outcomes, Total
from canarykit.simulate import Effect, Step
from canarykit.simulate.decisions.schedule import schedule

__all__ = ["Release", "agreement", "by_people", "hold_what_is_hidden", "line_of", "logins_of", "simulated"]

START = pd.Timestamp("2026-09-07T00:00:00Z")
ERRORS = ck.Guardrail(ErrorShare(), margin_ratio=1.25)
PAID = ck.Guardrail(Conversion("paid"), worse="lower", margin_ratio=0.95)
REVENUE = ck.Guardrail(Total("paid", "amount"), worse="lower", margin_ratio=0.9)
TABLE = "simulate_decisions beside people judged one by one"
MOST = 2000
DWELL = 24


@dataclass(frozen=True)
class Release:
    """A release, its people, and how it is looked at.

    Parameters
    ----------
    guardrail, base, ratio
        What is judged, the control's rate, and the canary's over it.
    share, traffic, hours, looks
        Canary's part, people an hour (or a population), length of the stage, hours between looks.
    delay
        Mean hours from exposure to the event.
    since
        Hour from which the effect is there.
    fades, grows
        Hours since the exposure over which the effect fades, or grows to its full size.
    logins
        Part of the people who log in, two hours later on average, and are drawn anew.
    arms
        Variants that share the error; the others are left out of both simulations.
    """

    guardrail: ck.Guardrail = ERRORS
    base: float = 0.05
    ratio: float = 1.0
    share: float = 0.5
    traffic: Any = 60.0
    hours: int = 48
    looks: float = 1.0
    delay: float = 0.0
    since: float = 0.0
    fades: float | None = None
    grows: float | None = None
    logins: float = 0.0
    arms: int = 1

    @property
    def words(self) -> str:
        """What a table calls it."""
        what = {id(ERRORS): "errors", id(PAID): "conversion", id(REVENUE): "revenue"}[id(self.guardrail)]
        people = f"{self.traffic:g} an hour" if isinstance(self.traffic, float) else "people who return"
        parts = [f"{what} {100 * self.base:g} %", people, f"canary {100 * self.share:g} %"]
        parts += [f"a look every {self.looks:g} h"] if self.looks != 1 else []
        parts += [f"events {self.delay:g} h later"] if self.delay else []
        parts += [f"from hour {self.since:g} on"] if self.since else []
        parts += [f"fading over {self.fades:g} h"] if self.fades else []
        parts += [f"growing over {self.grows:g} h"] if self.grows else []
        parts += [f"{100 * self.logins:g} % log in"] if self.logins else []
        parts += [f"{self.arms} variants"] if self.arms > 1 else []
        return ", ".join(parts)

    def at_age(self, hours: np.ndarray) -> np.ndarray:
        """The canary's rate over the control's so many hours after the exposure."""
        size = np.exp(-hours / self.fades) if self.fades else np.ones(len(hours))
        size = -np.expm1(-hours / self.grows) if self.grows else size
        return 1 + (self.ratio - 1) * size

    @property
    def plan(self) -> ck.RolloutPlan:
        """A plan of one stage."""
        stage = ck.Stage.for_share("half", self.share * 100, dwell=f"{self.hours}h")
        return ck.RolloutPlan("new-checkout", (stage,), starts_at=START)

    @property
    def rules(self) -> Rules:
        """The rules of one of the variants."""
        return Rules().split(self.arms)


def simulated(release: Release, runs: int, rng: int) -> dict[str, float]:
    """What `simulate_decisions` says: how often the release is promoted, and rolled back."""
    quantity = {id(ERRORS): "errors", id(PAID): "paid", id(REVENUE): "revenue"}[id(release.guardrail)]
    since = (START + pd.Timedelta(hours=release.since)).isoformat() if release.since else None
    days = {
        name: hours and hours / 24
        for name, hours in (("fades_after", release.fades), ("grows_over", release.grows))
    }
    effect = Effect(quantity, release.ratio, since=since, **days)
    steps = [Step("seen", 1.0), Step("paid", release.base)]
    truth = ck.Scenario(steps=steps, error_rate=release.base, effects=[effect])
    found = ck.simulate_decisions(
        release.plan,
        truth,
        release.guardrail,
        runs,
        traffic=release.traffic,
        looks=f"{round(release.looks * 60)}min",
        logins=(release.logins, "2h") if release.logins else None,
        delays={release.guardrail.label: f"{release.delay}h"} if release.delay else None,
        min_dwell=f"{DWELL}h",
        cap=f"{release.hours}h",
        decision=release.rules,
        srm=False,
        rng=rng,
        progress=False,
    )
    return {verdict: found.probability(verdict) for verdict in ("promote", "roll back")}


def by_people(release: Release, runs: int, rng: int) -> dict[str, float]:
    """The same from people one by one."""
    draw = np.random.default_rng(rng)
    looks = f"{round(release.looks * 60)}min"
    expected = schedule(release.plan, traffic=release.traffic, looks=looks)[0].people
    step, n_looks = round(release.looks * HOUR), len(expected)
    came = draw.poisson(expected, (runs, n_looks))
    place = np.repeat(np.arange(came.size), came.ravel())
    at = np.sort(place + draw.random(len(place)))
    run = (at / n_looks).astype(np.int64)
    start = ((at - run * n_looks) * step).astype(np.int64)
    canary = draw.random(len(run)) < release.share
    hours = release.delay * draw.standard_exponential(len(run)) if release.delay else np.zeros(len(run))
    late = (hours * HOUR).astype(np.int64)
    changed_at = logins_of(release, draw, start, canary)
    has_it = np.where(start + late >= changed_at, ~canary, canary)
    ratio = np.where(has_it & (start + late >= release.since * HOUR), release.at_age(hours), 1.0)
    value = release.guardrail is REVENUE
    did = draw.random(len(run)) < release.base * (1.0 if value else ratio)
    edges = np.searchsorted(run, np.arange(runs + 1))
    look = start // step
    cell = run * n_looks + look
    arrivals = [np.bincount(cell[arm], minlength=came.size).reshape(came.shape) for arm in (canary, ~canary)]
    units = [np.cumsum(each, axis=1) for each in arrivals]
    groups: Any = np.stack([edges[:-1], edges[1:]], axis=1)[:, None, :]
    if value:
        amount = np.where(did, 49.0 * ratio * np.exp(0.5 * draw.standard_normal(len(run))), 0.0)
        columns: Any = (start, canary, amount)
        judge = _of_later_values if release.delay else _of_values
        harm, safe = judge(release, edges, (*columns, start + late), n_looks, step)
    else:
        end = n_looks * step
        first = np.where(did & (start + late < end), start + late, -1)
        arm = ~canary if release.guardrail.worse == "lower" else canary
        columns = (start, np.full(len(run), end), first, arm)
        harm, safe = (
            log_e_paths(groups, columns, mixture, looks=n_looks, step=step)
            for mixture in mixtures_of(release.guardrail)
        )
    harm = np.maximum.accumulate(harm, axis=1)
    if not (value and release.delay):
        safe = standing_safety(safe, harm >= -math.log(release.rules.alpha_rollback))
    evidence = Evidence(
        units_canary=units[0],
        units_control=units[1],
        harm_log_e=harm[None],
        safe_log_e=safe[None],
        in_grace=True,
        dwell_met=np.arange(1, n_looks + 1) * release.looks >= DWELL,
    )
    rows = decide(evidence, release.rules)
    if release.logins:
        harmed = harm >= -math.log(release.rules.alpha_rollback)
        hold_what_is_hidden(release, rows, groups, columns, (canary, changed_at), harmed, step)
    row, at_look = first_decision(rows)
    return {
        "promote": float(np.mean((row == Row.SAFE) & (at_look >= 0))),
        "roll back": float(np.mean((row == Row.HARM) & (at_look >= 0))),
    }


def logins_of(
    release: Release, draw: np.random.Generator, start: np.ndarray, canary: np.ndarray
) -> np.ndarray:
    """When each person logs in and changes variant; after the end for those who do not."""
    never = np.full(len(start), np.iinfo(np.int64).max)
    if not release.logins:
        return never
    anew = draw.random(len(start)) < release.share
    changes = (draw.random(len(start)) < release.logins) & (anew != canary)
    later = start + (2 * HOUR * draw.standard_exponential(len(start))).astype(np.int64)
    return np.where(changes, later, never)


def hold_what_is_hidden(
    release: Release,
    rows: np.ndarray,
    groups: np.ndarray,
    columns: tuple[np.ndarray, ...],
    logins: tuple[np.ndarray, np.ndarray],
    harmed: np.ndarray,
    step: int,
) -> None:
    """Take back, look by look, promotions that are not safe against what is left of the margin."""
    own, sign = release.guardrail.tolerated_ratio, -1 if release.guardrail.worse == "lower" else 1
    for run, look in np.argwhere(rows == Row.SAFE):
        if (rows[run, :look] == Row.SAFE).any():
            continue  # promoted before
        begin, end = groups[run, 0]
        theirs = [column[begin:end] for column in columns]
        canary, changed_at = (each[begin:end] for each in logins)
        now = (look + 1) * step
        here, outcome, after = theirs[0] < now, np.zeros(end - begin), np.zeros(end - begin)
        several = here & (changed_at < now)
        if release.guardrail is REVENUE:  # at once, so before the change
            outcome = np.where(here, theirs[2], 0.0)
        else:
            outcome = (theirs[2] >= 0) & (theirs[2] < now)
            after = several & outcome & (theirs[2] >= changed_at)
        parts = [hidden_part(arm & here, several, outcome, after) for arm in (canary, ~canary)]
        left = diluted_ratio(own, *parts)
        if release.guardrail is REVENUE:
            less = replace(release.guardrail, margin_ratio=left)
            path = _of_values(
                replace(release, guardrail=less), np.array([begin, end]), columns, rows.shape[1], step
            )
            path = path[1][0]
        else:
            mixture = replace(mixtures_of(release.guardrail)[1], null_ratio=left**sign)
            path = log_e_paths(groups[run : run + 1], columns, mixture, looks=rows.shape[1], step=step)[0]
        shown = standing_safety(path[: look + 1], harmed[run, : look + 1])[-1]
        if not shown >= -math.log(release.rules.alpha_promote):
            rows[run, look] = Row.GO_ON


def _of_values(
    release: Release,
    edges: np.ndarray,
    people: tuple[np.ndarray, ...],
    n_looks: int,
    step: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Evidence of harm and safety of a sum per person, release by release."""
    start, canary, amount = people[:3]
    ends = np.arange(1, n_looks + 1) * step
    harm, safe = [], []
    for begin, end in pairwise(edges):
        entered = pd.to_datetime(start[begin:end], unit="us", utc=True)
        units = pd.DataFrame({"entered_at": entered, "canary": canary[begin:end]})
        sums, ones = (amount[begin:end],), (np.ones(end - begin),)
        outcomes = Outcomes(units, (release.guardrail.metric,), (None,), sums, ones, (0,))
        series = value_series(outcomes, 0, ends, int(ends[-1]))
        found = value_evidence(
            *series.contrast(1.0),
            *series.contrast(release.guardrail.tolerated_ratio),
            release.guardrail,
            1.0,
            margin=-1.0,
            gate=int(DWELL * HOUR // step),
            harmful=series.contrast(release.guardrail.roll_back_beyond()),
        )
        harm.append(found.harm_log_e)
        safe.append(found.safe_log_e)
    return np.stack(harm), np.stack(safe)


def _of_later_values(
    release: Release,
    edges: np.ndarray,
    people: tuple[np.ndarray, ...],
    n_looks: int,
    step: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The same where amounts come later: each look knows what has come by then, of all its looks so far."""
    start, canary, amount, comes = people
    harm, safe = np.empty((len(edges) - 1, n_looks)), np.empty((len(edges) - 1, n_looks))
    for look in range(n_looks):
        known = np.where(comes < (look + 1) * step, amount, 0.0)
        paths = _of_values(release, edges, (start, canary, known), look + 1, step)
        harmed = np.maximum.accumulate(paths[0], axis=1)
        stands = standing_safety(paths[1], harmed >= -math.log(release.rules.alpha_rollback))
        harm[:, look], safe[:, look] = harmed[:, -1], stands[:, -1]
    return harm, safe


def releases() -> list[Release]:
    """Rare and common events, harmless to bad; shares, looks, late effects, variants, values, delays."""
    found = [Release(base=base, ratio=ratio) for base, ratio in product((0.02, 0.1), (1.0, 1.25, 1.6))]
    found += [Release(PAID, base, ratio) for base, ratio in product((0.3, 0.6, 0.9), (1.0, 0.95, 0.88))]
    found += [Release(base=0.1, ratio=r, share=s) for s, r in product((0.05, 0.2, 0.9), (1.0, 1.5))]
    found += [Release(PAID, 0.6, r, looks=looks) for looks, r in product((0.25, 6.0, 24.0), (1.0, 0.9))]
    found += [Release(base=0.1, ratio=2.0, since=hour) for hour in (12.0, 30.0)]
    found += [Release(PAID, 0.6, r, arms=3) for r in (1.0, 0.88)]
    found += [Release(PAID, 0.6, r, traffic=ck.Population(6000)) for r in (1.0, 0.9)]
    found += [Release(REVENUE, 0.5, r) for r in (1.0, 0.9, 0.8)]
    found += [Release(PAID, 0.6, r, delay=hours) for hours, r in product((0.5, 2.0, 12.0), (1.0, 0.9))]
    found += [Release(base=0.02, ratio=1.6, delay=6.0), Release(base=0.1, ratio=1.5, delay=6.0, since=24.0)]
    found += [Release(base=0.1, ratio=2.0, delay=6.0, fades=hours) for hours in (2.0, 12.0)]
    found += [Release(base=0.1, ratio=2.0, delay=6.0, grows=hours) for hours in (2.0, 12.0)]
    found += [Release(PAID, 0.6, 0.7, delay=3.0, fades=6.0), Release(PAID, 0.6, 0.7, delay=3.0, grows=6.0)]
    logins = {"base": 0.2, "traffic": 120.0, "logins": 0.1}
    found += [Release(**logins), *(Release(**logins, ratio=r, delay=4.0) for r in (1.0, 1.35))]
    found += [Release(PAID, 0.6, r, traffic=120.0, logins=0.04, delay=4.0) for r in (1.05, 0.95)]
    found += [Release(PAID, 0.9, 0.85, delay=1.0, fades=1.0)]
    found += [Release(REVENUE, 0.5, r, traffic=120.0, logins=0.1) for r in (1.0, 1.05)]
    found += [Release(REVENUE, 0.5, r, looks=6.0, delay=6.0) for r in (1.0, 0.8)]
    found += [Release(PAID, 0.6, 0.7, traffic=10.0, delay=hours) for hours in (0.0, 3.0)]
    return [*found, Release(PAID, 0.9, 0.7, traffic=5.0)]


def agreement(rows: int, rng: int = 51) -> Iterator[dict[str, Any]]:
    """Promotions and rollbacks of single stages, then rollbacks anywhere on a ramp with one error rate."""
    runs = min(rows, MOST)
    for place, release in enumerate(releases()):
        some = runs // 4 if release.guardrail is REVENUE else runs
        expected = by_people(release, some, rng + place)
        for verdict, share in simulated(release, 4 * runs, 1000 + rng + place).items():
            rule = f"{verdict}: {release.words}"
            yield line_of(TABLE, rule, release.ratio, share, 4 * runs, expected[verdict], some)
    stages = tuple(Stage(share, 12.0 * i, 12.0 * i + 12) for i, share in enumerate((0.05, 0.25, 0.5)))
    for place, (ratio, scope) in enumerate(product((1.0, 1.5, 2.5), ("rollout", "rollout alone"))):
        cell = Cell("10% in all after 0.05 h", stages, 100, 1.02, ratio=ratio, scope=scope)
        expected_share = share_of_cell(cell, runs, [rng, place])
        plan = ck.RolloutPlan(
            "new-checkout",
            tuple(ck.Stage.for_share(f"{s.share:g}", s.share * 100, dwell="12h") for s in stages),
            starts_at=START,
        )
        found = ck.simulate_decisions(
            plan,
            ck.Scenario(error_rate=0.1, effects=[Effect("errors", ratio)]),
            ck.Guardrail(ErrorShare(), margin_ratio=1.02),
            4 * runs,
            traffic=100.0,
            on_hold="go on",
            evidence="stage" if scope.endswith("alone") else "ramp",
            alpha_scope="rollout",
            srm=False,
            rng=rng + place,
            progress=False,
        )
        share = found.probability("roll back")
        yield line_of(TABLE, f"roll back: {cell.words}", ratio, share, 4 * runs, expected_share, runs)


def line_of(
    table: str, rule: str, ratio: float, share: float, rows: int, expected: float, people_rows: int
) -> dict[str, Any]:
    """A line that is off where both differ by more than three standard errors of their difference."""
    pooled = (rows * share + people_rows * expected) / (rows + people_rows)
    error = math.sqrt(pooled * (1 - pooled) * (1 / rows + 1 / people_rows))
    line = judged(table, rule, ratio, rows, share, expected, near=False)
    return line | {"ok": abs(share - expected) <= 3 * error}
