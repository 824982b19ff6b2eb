"""How often a plan and its rules decide what: the decision table of `evaluate_stage` on simulated counts.

Nothing here judges. Counts are drawn per interval, the evidence comes from the statistics that
`evaluate_stage` uses, and `canarykit.health.decision.decide` reads the table. Runs are drawn in blocks
with a stream of their own per stage and purpose: two scenarios under one seed share their people and
their baseline events, more runs extend old ones, and threads change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from canarykit.arguments import checked
from canarykit.errors import PlanError, did_you_mean, require_kind
from canarykit.health.decision import Row, Rules, Verdict, first_decision
from canarykit.health.evidence.over_ramp import AlphaScope, rules_in_scope
from canarykit.metrics import Guardrail, guardrail_weights
from canarykit.metrics.guardrail import read_guardrails
from canarykit.plan.given import as_plan
from canarykit.progress import Progress, watched
from canarykit.simulate.decisions.delayed import MOST_LOOKS
from canarykit.simulate.decisions.late_data import hours_late, late_arm, left_out
from canarykit.simulate.decisions.logins import read_logins
from canarykit.simulate.decisions.operating import NOT_REACHED, Decisions, RuleRuns
from canarykit.simulate.decisions.schedule import Control, StageLooks, Traffic, schedule
from canarykit.simulate.decisions.stage_rates import StageRates, stage_rates
from canarykit.simulate.decisions.stage_runs import Drawn, Judge, draw_stage
from canarykit.simulate.decisions.truth import (
    Delays,
    Rates,
    Truth,
    not_simulated,
    require_labels,
    require_units,
    require_variants,
    truth_of,
)
from canarykit.simulate.log.streams import Seed, Streams, as_seed
from canarykit.simulate.people.population import Population
from canarykit.simulate.people.scenario import Scenario
from canarykit.stats.any_look.event_process import EventMixture
from canarykit.stats.others.stopping_rules import RIVALS

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Time

RUNS_PER_BLOCK = 500
"""Runs drawn together. Part of the streams: changing it changes every simulated decision."""

_ROLLS_BACK = np.array([code in set(Row) and Row(code).verdict is Verdict.ROLL_BACK for code in range(128)])
COMPILED_FROM = 50_000
"""Runs times looks from which the compiled kernels are worth their import."""


@checked
def simulate_decisions(
    plan: RolloutPlan,
    scenario: Scenario | None = None,
    guardrails: Sequence[Guardrail] | Guardrail | None = None,
    n_runs: int = 2_000,
    *,
    traffic: Traffic,
    looks: str | Sequence[Time] = "hourly",
    rules: Sequence[str] | str = ("canarykit",),
    rng: Seed = None,
    workers: int = 1,
    processes: bool = False,
    progress: Progress = None,
    rates: Rates | None = None,
    delays: Delays | None = None,
    logins: tuple[float, str] | None = None,
    drift: Sequence[float] | None = None,
    decision: Rules | None = None,
    min_dwell: str | None = None,
    cap: str | None = None,
    on_hold: Literal["stop", "go on"] = "stop",
    evidence: Literal["stage", "ramp"] = "ramp",
    alpha_scope: AlphaScope = "stage",
    control: Control = "rest",
    harm_budget: float | None = None,
    mixture: EventMixture | None = None,
    srm: bool = True,
) -> Decisions:
    """Simulate the percentage stages of a plan many times, and count what the rules decide.

    Parameters
    ----------
    plan
        A plan with times; its percentage stages are simulated, the others are not randomised.
    scenario
        The truth. Its rates are taken per exposed person, the moment the person is exposed (see `delays`).
        Where all events come late (the fault "late data" of more than 5 % of them), each verdict comes that
        much later. Where those of the canary or of the control do, looks see what has arrived, and wait for
        the rest as `evaluate_stage` does (shares of people, without `logins`); the other rules wait too.
    guardrails
        As for `evaluate_stage`; the share of people with an exception if left out.
    n_runs
        Rollouts simulated.
    traffic
        People exposed for the first time: a number an hour, a list by hour (repeated), or a `Population`
        whose people return in each stage at their own pace. Of a plan that assigns groups: new groups.
    looks
        "hourly", "daily", another interval like "6h", or the times themselves.
    rules
        "canarykit" and any of "fixed p<.05", "growthbook", "statsig", "threshold". The others are
        published formulas on the first guardrail that ship what they did not stop; the threshold counts
        the looks of a stage, or of a whole ramp of fixed length.
    rng
        Seed. Scenarios and rules under one seed see the same people.
    workers, processes
        How many threads, or processes, share the work; the answer does not depend on them.
    progress
        A bar by default on a terminal and in a notebook; False is silent, a callable gets (done,
        total).
    rates
        The control's rate by guardrail label, over what the scenario says: a share of people, or the mean
        of a value, alone or with its standard deviation. `rates_like` takes them from a log.
    delays
        By the label of a guardrail about shares of people, or about sums and counts per person without a
        window, the mean time from exposure to event, such as "6h" (exponential); at once where left out. Its
        rate is then that of all who ever have it, and an effect is what it is at the moment of the event: one
        that fades or grows does so with the time since the exposure. What comes after the stage is lost.
    logins
        Share of the people who log in after they saw the flag, which asks an anonymous id before that, and
        the mean time until then (exponential), such as (0.05, "2h"): they are drawn anew, stay in the arm of
        their first exposure, and a release is promoted only if it is safe whatever they hide. Values come
        at the exposure, before the login.
    drift
        Factors of all rates by hour since the ramp began (repeated), the same for both arms.
    decision
        Error rates of the decision table; `canarykit.health.decision.Rules()` if left out. Of a flag with
        several variants the plan's canary is followed, at its part of the error rates.
    min_dwell, cap
        How long a stage lasts at least and at most; both are its planned length if left out. A stage that
        is proven safe is left at its first look after `min_dwell`.
    on_hold
        What follows a stage that ends undecided: "stop" leaves the release there, "go on" ships on.
    evidence, alpha_scope
        As for `evaluate_stage`: "ramp" gathers harm over the percentages that led to a stage, "stage" starts
        anew at each; `decision` holds for each stage, or for all percentage stages of the plan together.
    control
        "rest": everybody without the canary. "equal": as many as the canary has.
    harm_budget
        Extra people harmed that the next stage may cost; widens the margins of the stages before the last.
    mixture
        Spread of the alternatives for harm, and for safety, instead of those that follow from the margin.
    srm
        Whether the split of the people is watched too.

    Returns
    -------
    Decisions
        Probabilities by rule and stage with Monte-Carlo intervals, time, people and harm.

    Examples
    --------
    >>> import canarykit as ck
    >>> from canarykit.simulate import Effect
    >>> plan = ck.RolloutPlan.five_stages(
    ...     "new-checkout", owner="ada@acme.io", team_domain="acme.io", starts_at="2026-09-07T09:00:00Z"
    ... )
    >>> broken = ck.Scenario(effects=[Effect("errors", 5)])
    >>> found = ck.simulate_decisions(plan, broken, n_runs=200, traffic=500, rng=7)
    >>> found.probability("roll back") > 0.95
    True
    """
    scenario = Scenario() if scenario is None else scenario
    plan, chosen = as_plan(plan), read_guardrails(guardrails)
    require_kind("scenario", scenario, Scenario, "Scenario(...)")
    named = (rules,) if isinstance(rules, str) else tuple(rules)
    for name in named:
        if name not in ("canarykit", *RIVALS):
            raise PlanError(f"there is no rule {name!r}; {did_you_mean(name, ('canarykit', *RIVALS))}")
    if not named:
        raise PlanError("rules is empty; leave it out to simulate those of evaluate_stage")
    if not n_runs >= 1:
        raise PlanError(f"n_runs is {n_runs}; expected at least 1")
    if evidence not in ("stage", "ramp"):
        raise PlanError(f"evidence is {evidence!r}; expected 'stage' or 'ramp'")
    require_variants(scenario, plan)
    require_labels(rates, chosen, delays)
    require_units(plan, chosen, rates, traffic)
    known_logins = read_logins(logins)
    stages = schedule(plan, traffic=traffic, looks=looks, control=control, min_dwell=min_dwell, cap=cap)
    population = traffic if isinstance(traffic, Population) else Population(1_000_000)
    truths = [truth_of(item, scenario, rates, delays) for item in chosen]
    _require_room(truths, stages, known_logins is not None)
    one_arm = late_arm(scenario, plan.canary, plan.control)
    if known_logins is not None or not all(truth.is_share for truth in truths):
        one_arm = None
    table = stage_rates(
        stages,
        truths,
        scenario,
        population,
        (plan.control, plan.canary),
        drift=drift,
        harm_budget=harm_budget,
        logins=known_logins,
        late=one_arm,
    )
    if table[0].late is None:
        one_arm = None
    size = n_runs * sum(len(stage.people) for stage in stages) * len(truths)
    arms = max(len(plan.served(stage.name)) for stage in plan.stages if stage.kind == "percentage")
    decided_by, sharing = rules_in_scope(
        (decision or Rules()).split(arms), len(stages), evidence, alpha_scope
    )
    weights = guardrail_weights(chosen)
    judge = Judge(truths, weights, decided_by, mixture, srm, sharing, compiled=size >= COMPILED_FROM)
    ships_on, carries, late = on_hold == "go on", evidence == "ramp", hours_late(scenario)
    walk = _Walk(list(table), judge, named, ships_on, carries, as_seed(rng), n_runs, late)
    blocks = range(-(-n_runs // RUNS_PER_BLOCK))
    done = _each(walk, blocks, workers, processes)
    results = list(watched(done, progress, total=len(blocks), unit="blocks of runs"))
    worst = [
        truth.harm(stage.control[g], stage.canary[g]) for stage in table for g, truth in enumerate(truths)
    ]
    margins = [truth.margin_harm for _ in table for truth in truths]
    return Decisions(
        plan=plan,
        stage_names=tuple(stage.name for stage in stages),
        runs={name: RuleRuns.join([result[name] for result in results]) for name in named},
        harmful=any(harm > 1 + 1e-9 for harm in worst),
        beyond_margin=any(harm >= margin - 1e-9 for harm, margin in zip(worst, margins, strict=True)),
        settings={"n_runs": n_runs, "guardrails": [item.label for item in chosen], "looks": str(looks)},
        notes=not_simulated(scenario, truths, left_out(scenario, one_arm), known_logins is not None),
    )


def _require_room(truths: Sequence[Truth], stages: Sequence[StageLooks], has_logins: bool) -> None:
    """Of values that come later all people so far are read anew at each look: refuse what is too much."""
    later = [truth.guardrail.label for truth in truths if truth.delay and not truth.is_share]
    if later and has_logins:
        raise PlanError(
            f"delays has {later[0]!r}, a value, and logins are given: what people who log in hide of values "
            "is simulated where these come at once; leave one of both out"
        )
    most = max(len(stage.people) for stage in stages)
    if later and most > MOST_LOOKS:
        raise PlanError(
            f"delays has {later[0]!r}, a value, and a stage has {most} looks; each reads all people anew, so "
            f"that at most {MOST_LOOKS} are simulated: look less often, such as looks='6h'"
        )


@dataclass(frozen=True)
class _Walk:
    """One block of runs through every stage."""

    stages: list[StageRates]
    judge: Judge
    rules: tuple[str, ...]
    ships_on: bool
    carries: bool
    seed: np.random.SeedSequence
    n_runs: int
    late: float

    def __call__(self, block: int) -> dict[str, RuleRuns]:
        runs = min(RUNS_PER_BLOCK, self.n_runs - block * RUNS_PER_BLOCK)
        shape = (runs, len(self.stages))
        results = {
            rule: RuleRuns(np.full(shape, NOT_REACHED, np.int8), *(np.zeros(shape) for _ in range(3)))
            for rule in self.rules
        }
        alive = {rule: np.ones(runs, bool) for rule in self.rules}
        truths = self.judge.truths
        earlier = {rule: Drawn.before(runs, len(truths)) for rule in self.rules}
        passed: list[StageRates] = []
        for stage in self.stages:
            if not any(going.any() for going in alive.values()):
                break
            drawn = draw_stage(stage, truths, Streams(self.seed, block, stage.looks.position), runs)
            for rule in self.rules:
                rows = self.judge.rows(rule, drawn, stage, earlier[rule], passed)
                on, last = self._record(results[rule], alive[rule], rows, drawn, stage)
                alive[rule] &= on
                if self.carries:
                    earlier[rule] = Drawn.join([earlier[rule], drawn.total(last)])
            if self.carries:
                passed.append(stage)
        return results

    def _record(
        self, runs: RuleRuns, alive: np.ndarray, rows: np.ndarray, drawn: Drawn, stage: StageRates
    ) -> tuple[np.ndarray, np.ndarray]:
        """Write down what each run came to in this stage; returns which go on, and their last looks."""
        row, look = first_decision(rows)
        back = _ROLLS_BACK[row] & (look >= 0)
        going = (row == Row.SAFE) & (look >= 0)
        at = np.where(look >= 0, look, rows.shape[1] - 1)
        last = at if stage.late is None else stage.late.open[at] - 1
        position = stage.looks.position
        verdict = np.where(back, 2, np.where(going | self.ships_on, 0, 1))
        worse = self.judge.truths[0].extra(stage.control[0], stage.canary[0])
        hours = stage.verdict_hours[at] + self.late  # who comes while a look waits for its events has it too
        met = np.minimum(np.searchsorted(stage.looks.hours, hours - 1e-9), len(stage.looks.hours) - 1)
        total = _up_to(drawn.canary, met)
        extra = total * worse[0] if np.ptp(worse) == 0 else _up_to(drawn.canary * worse, met)
        columns = (runs.verdicts, runs.hours, runs.people, runs.extra)
        for column, values in zip(columns, (verdict, hours, total, extra), strict=True):
            column[alive, position] = values[alive]
        return np.asarray(~back & (going | self.ships_on)), last


def _up_to(amounts: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Sum of each row up to and with its own last column."""
    return np.asarray(np.cumsum(amounts, axis=1)[np.arange(len(last)), last])


def _each(walk: _Walk, blocks: range, workers: int, processes: bool) -> Iterator[dict[str, RuleRuns]]:
    if workers <= 1:
        yield from map(walk, blocks)
        return
    from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
    from multiprocessing import get_context

    pool: Executor
    if processes:  # started afresh: a copy of a process with threads may hang
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    else:
        pool = ThreadPoolExecutor(workers)
    with pool:
        yield from pool.map(walk, blocks)
