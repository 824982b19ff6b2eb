"""Before the release: how many people, how many days, and how many would be hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack

import numpy as np

from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError, PlanError
from canarykit.metrics import Guardrail
from canarykit.metrics.share import ErrorShare, ShareMetric
from canarykit.metrics.values import Quantile
from canarykit.progress import Progress
from canarykit.simulate.decisions.schedule import Control, Traffic
from canarykit.simulate.decisions.truth import Truth, lognormal_quantile, require_variants, truth_of
from canarykit.simulate.log.streams import Seed
from canarykit.simulate.people.population import Population
from canarykit.simulate.people.scenario import Scenario
from canarykit.stats.planning import users_needed
from canarykit.stats.planning.users_needed import Effect, MeanEffect, PowerAnswer, ProportionEffect

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.assign.evaluate import EvaluateOptions
    from canarykit.plan import RolloutPlan
    from canarykit.simulate.decisions.operating import Decisions

__all__ = ["BlastRadius", "ExpectedDuration", "blast_radius", "expected_duration", "power", "sample_size"]

Goal = Literal["safe", "harm"]
Options = TypeVar("Options", bound="PowerOptions")


class PowerOptions(TypedDict, total=False):
    """Further keywords of `power`."""

    alpha: float
    sided: str
    looks: int
    gate: float
    guardrails: int
    design_effect: float


class SizeOptions(PowerOptions, total=False):
    """Further keywords of `sample_size`."""

    power: float
    false_alarms: float
    canary_share: float


def sample_size(
    question: Guardrail | Effect,
    *,
    rate: float | None = None,
    ratio: float = 1.0,
    sd: float | None = None,
    goal: Goal = "safe",
    any_of: int = 1,
    **options: Unpack[SizeOptions],
) -> PowerAnswer:
    """People needed to answer a guardrail's question.

    Parameters
    ----------
    question
        A guardrail, or an effect of `canarykit.stats.planning.users_needed`.
    rate
        For a guardrail: the control's share of people with the event, its mean, or its quantile.
    ratio
        The canary's over the control's, in truth.
    sd
        For a value guardrail: standard deviation over people. For a quantile: that of the natural
        logarithm of the values, which are taken as lognormal (approximate: 0.5 to 1 for most load times);
        the answer then counts values, one a person, and `design_effect` corrects for several a person.
    goal
        "safe": show that the canary is within the margin. "harm": show that it is worse.
    any_of
        Questions of which one yes is enough, such as harm in any of several guardrails, or several success
        metrics: each is asked at `alpha / any_of`.
    **options
        As `canarykit.stats.sample_size`: `power`, `alpha`, `looks` (more than 1: the always-valid
        boundary), `gate`, `guardrails` (how many others must pass too: the level stays, the power of each
        grows), `canary_share`, `design_effect`.

    Examples
    --------
    >>> errors = Guardrail("$exception", margin_ratio=1.1)
    >>> sample_size(errors, rate=0.02).n_canary, sample_size(errors, rate=0.02, guardrails=3).n_canary
    (60590, 106058)
    >>> round(sample_size(errors, rate=0.02, looks=14).inflation, 2)  # what watching daily costs
    1.9
    """
    return users_needed.sample_size(_effect_of(question, rate, ratio, sd, goal), **_divided(options, any_of))


def power(
    question: Guardrail | Effect,
    n_canary: int,
    n_control: int,
    *,
    rate: float | None = None,
    ratio: float = 1.0,
    sd: float | None = None,
    goal: Goal = "safe",
    any_of: int = 1,
    **options: Unpack[PowerOptions],
) -> PowerAnswer:
    """How surely these people answer a guardrail's question; the arguments are those of `sample_size`.

    Examples
    --------
    >>> found = power(Guardrail("$exception"), 10_877, 10_877, rate=0.02, ratio=1.25, goal="harm")
    >>> round(found.power, 3)
    0.8
    """
    effect = _effect_of(question, rate, ratio, sd, goal)
    return users_needed.power(effect, n_canary, n_control, **_divided(options, any_of))


def _divided(options: Options, any_of: int) -> Options:
    """The level of each of several questions of which one yes is enough."""
    if not any_of >= 1:
        raise PlanError(f"any_of is {any_of}; expected 1 question or more")
    if any_of != 1:
        alpha: Any = options.get("alpha", 0.05)
        options["alpha"] = alpha / any_of
    return options


def _effect_of(
    question: Guardrail | Effect, rate: float | None, ratio: float, sd: float | None, goal: Goal
) -> Effect:
    if not isinstance(question, Guardrail):
        return question
    if goal not in ("safe", "harm"):
        raise PlanError(f"goal is {goal!r}; expected 'safe' or 'harm'")
    if rate is None:
        raise PlanError(f"{question.label}: give rate=, the control's share (or mean)")
    is_share = isinstance(question.metric, ShareMetric)
    is_quantile = isinstance(question.metric, Quantile)
    margin = 0.0 if goal == "harm" else rate * (Truth(question, rate, ()).margin_ratio - 1)
    if is_share:
        return ProportionEffect(control=rate, canary=rate * ratio, margin=margin)
    if sd is None:
        what = "the natural logarithm of the values" if is_quantile else "the values over people"
        raise PlanError(f"{question.label}: give sd=, the standard deviation of {what}")
    if isinstance(question.metric, Quantile):
        _, sd = lognormal_quantile(
            rate / lognormal_quantile(1.0, sd, question.metric.q)[0], sd, question.metric.q
        )
    return MeanEffect(difference=rate * (ratio - 1), sd=sd, margin=margin)


@dataclass(frozen=True, repr=False, eq=False)
class ExpectedDuration(Result):
    """How long each stage of a healthy release takes until it is proven safe.

    Parameters
    ----------
    rows
        One a stage: its planned hours, the median and the 90 % quantile of the hours it takes, and the
        share of the rollouts that are done by the planned end.
    decisions
        The simulated rollouts behind it.
    """

    rows: tuple[tuple[Any, ...], ...]
    decisions: Decisions
    notes: tuple[Note, ...] = ()

    _COLUMNS = (
        Column("stage", "stage"),
        Column("planned", "planned", "seconds"),
        Column("median", "half are proven safe by", "seconds"),
        Column("most", "nine in ten by", "seconds"),
        Column("in_time", "proven safe in the planned time", "share"),
    )

    @property
    def days(self) -> float | None:
        """Days until half of the healthy rollouts are through every stage; None if fewer ever are."""
        hours = self.decisions.hours_quantile("promote", 0.5)
        return None if hours is None else hours / 24

    def _headline(self) -> str:
        if self.days is None:
            return "fewer than half of the healthy rollouts are ever proven safe within the cap"
        return f"a healthy release is through every percentage stage in {self.days:.1f} days (median)"

    def _table(self) -> Table:
        return Table.of(self._COLUMNS, self.rows)


def expected_duration(
    plan: RolloutPlan,
    traffic: Traffic,
    guardrails: Sequence[Guardrail] | Guardrail | None = None,
    *,
    scenario: Scenario | None = None,
    rates: Mapping[str, float] | None = None,
    harm_budget: float | None = None,
    min_dwell: str = "1d",
    cap: str = "28d",
    looks: str = "hourly",
    evidence: Literal["stage", "ramp"] = "stage",
    control: Control = "rest",
    n_runs: int = 500,
    rng: Seed = None,
    progress: Progress = None,
) -> ExpectedDuration:
    """How long a healthy release takes: the real rules on simulated counts, stage by stage.

    Parameters
    ----------
    plan, traffic, guardrails, scenario, rates, harm_budget, looks, evidence, control, n_runs, rng, progress
        As for `simulate_decisions`; the scenario has no effect if left out.
    min_dwell, cap
        A stage is left when it is proven safe, after `min_dwell` at the earliest; after `cap` it is
        given up.

    Examples
    --------
    >>> import canarykit as ck
    >>> plan = ck.RolloutPlan.five_stages(
    ...     "new-checkout", owner="ada@acme.io", team_domain="acme.io", starts_at="2026-09-07T09:00:00Z"
    ... )
    >>> guardrail = ck.Guardrail("$exception", margin_ratio=2)
    >>> ck.expected_duration(plan, 2000, guardrail, n_runs=100, rng=7).days < 10
    True
    """
    from canarykit.simulate.decisions.simulate import simulate_decisions

    options: dict[str, Any] = {"rates": rates, "harm_budget": harm_budget, "rng": rng, "progress": progress}
    found = simulate_decisions(
        plan,
        scenario,
        guardrails,
        n_runs,
        traffic=traffic,
        looks=looks,
        min_dwell=min_dwell,
        cap=cap,
        evidence=evidence,
        control=control,
        **options,
    )
    runs = found.runs_of()
    rows: list[tuple[Any, ...]] = []
    for place, name in enumerate(found.stage_names):
        start, end = plan.window(name)
        planned = None if end is None else (end - start).total_seconds()
        verdict, hours = runs.verdicts[:, place], runs.hours[:, place]
        reached = verdict >= 0
        safe = np.sort(np.where(verdict[reached] == 0, hours[reached] * 3600, np.inf))
        if not len(safe):
            rows.append((name, planned, None, None, None))
            continue
        quantiles = [float(safe[min(int(share * len(safe)), len(safe) - 1)]) for share in (0.5, 0.9)]
        in_time = None if planned is None else float(np.mean(safe <= max(planned, 1.0) + 1e-6))
        shown = [value if np.isfinite(value) else None for value in quantiles]
        rows.append((name, planned, *shown, in_time))
    return ExpectedDuration(tuple(rows), found)


@dataclass(frozen=True, repr=False, eq=False)
class BlastRadius(Result):
    """Who gets the feature at a stage, and what a scenario would do to them.

    Parameters
    ----------
    stage
        The stage.
    people, new, total
        People with the canary, of them those who did not have it at the stage before, and everybody.
    harms
        One a guardrail: its label, the control's rate, the canary's, and the extra people hit.
    """

    stage: str
    people: int
    new: int
    total: int
    harms: tuple[tuple[Any, ...], ...] = field(default=())
    notes: tuple[Note, ...] = ()

    _COLUMNS = (
        Column("guardrail", "guardrail"),
        Column("control", "without", "share"),
        Column("canary", "with", "share"),
        Column("extra", "extra people hit", "count"),
    )

    @property
    def share(self) -> float:
        """Part of all people who have the canary."""
        return self.people / self.total

    def _headline(self) -> str:
        return (
            f"{self.stage}: {self.people:,} of {self.total:,} people have it ({self.share:.1%}), "
            f"{self.new:,} of them new"
        )

    def _table(self) -> Table:
        return Table.of(self._COLUMNS, self.harms)

    def _extra_json(self) -> dict[str, Any]:
        return {"people": self.people, "new": self.new, "total": self.total, "share": self.share}


def blast_radius(
    plan: RolloutPlan,
    stage: str,
    persons: pd.DataFrame,
    scenario: Scenario | None = None,
    guardrails: Sequence[Guardrail] | Guardrail | None = None,
    *,
    rates: Mapping[str, float] | None = None,
    **options: Unpack[EvaluateOptions],
) -> BlastRadius:
    """How many people a stage reaches, and how many a bad release would hit among them.

    Parameters
    ----------
    plan, stage
        The stage whose flag definition is evaluated.
    persons
        One row a person, as for `evaluate_flag`.
    scenario, guardrails, rates
        The bad release and what it harms, as for `simulate_decisions`; each person counts once. Effects
        that are confined to some people are left out, and said so.
    **options
        For `evaluate_flag`, such as `groups`.

    Examples
    --------
    >>> import canarykit as ck, pandas as pd
    >>> from canarykit.simulate import Effect
    >>> plan = ck.RolloutPlan.five_stages("new-checkout", owner="ada@acme.io", team_domain="acme.io")
    >>> ids = [f"user-{i}" for i in range(2000)]
    >>> persons = pd.DataFrame({"distinct_id": ids, "email": [f"{i}@mail.example" for i in ids]})
    >>> blast_radius(plan, "expanded beta 25%", persons, ck.Scenario(effects=[Effect("errors", 3)]))
    expanded beta 25%: 485 of 2,000 people have it (24.2%), 377 of them new
    guardrail               without    with  extra people hit
    ----------------------  -------  ------  ----------------
    people with $exception   1.00 %  3.00 %               9.7
    """
    from canarykit.assign import evaluate_flag

    if not len(persons):
        raise DataError("persons is empty: there is nobody to reach")
    if scenario is not None:
        require_variants(scenario, plan)
    position = plan.index(stage)
    has = (evaluate_flag(plan.flag_at(stage), persons, **options)["value"] == plan.canary).fillna(False)
    had = np.zeros(len(persons), bool)
    if position:
        before = plan.flag_at(plan.stage_names[position - 1])
        had = (evaluate_flag(before, persons, **options)["value"] == plan.canary).fillna(False).to_numpy(bool)
    people = int(has.sum())
    chosen = (Guardrail(ErrorShare()),) if guardrails is None else guardrails
    chosen = (chosen,) if isinstance(chosen, Guardrail) else tuple(chosen)
    harms: list[tuple[Any, ...]] = []
    notes: list[Note] = []
    for guardrail in chosen if scenario is not None else ():
        assert scenario is not None
        truth = truth_of(guardrail, scenario, rates)
        if not truth.is_share:
            notes.append(Note("no_people", f"{guardrail.label} is no share of people: nobody is counted"))
            continue
        effects = [effect for effect in scenario.effects if effect.quantity in truth.quantities]
        whole = [effect for effect in effects if _applies(effect, plan, stage)]
        high = truth.base * float(np.prod([1 + truth.strength(e, scenario, Population(1)) for e in whole]))
        extra = float(truth.extra(np.array([truth.base]), np.array([high]))[0]) * people
        harms.append((guardrail.label, truth.base, high, extra))
        if any(effect.where for effect in effects):
            text = f"{guardrail.label}: effects that are confined to some people are left out"
            notes.append(Note("confined_effects", text))
    new = int((has.to_numpy(bool) & ~had).sum())
    return BlastRadius(stage, people, new, len(persons), tuple(harms), tuple(notes))


def _applies(effect: Any, plan: RolloutPlan, stage: str) -> bool:
    here = effect.stage is None or effect.stage == stage
    return here and not effect.where and effect.variant == plan.canary
