"""Before the release: how many people, and how many days."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack

import numpy as np

from canarykit.arguments import checked
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError, PlanError
from canarykit.metrics import Guardrail
from canarykit.metrics.share import ShareMetric
from canarykit.metrics.values import Quantile
from canarykit.progress import Progress
from canarykit.simulate.decisions.event_power import EventQuestion, chance_of_showing, people_for
from canarykit.simulate.decisions.schedule import Control, Traffic
from canarykit.simulate.decisions.truth import Delays, Rates, Truth, lognormal_quantile
from canarykit.simulate.log.streams import Seed
from canarykit.simulate.people.scenario import Scenario
from canarykit.stats.checks import require_number
from canarykit.stats.planning import users_needed
from canarykit.stats.planning.users_needed import Effect, MeanEffect, PowerAnswer, ProportionEffect

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan
    from canarykit.simulate.decisions.operating import Decisions

Goal = Literal["safe", "harm"]
_EVENT_SOURCE = "Lindon & Malek (2022), arXiv:2011.03567"
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


@checked
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
        The canary's over the control's, in truth; of a time to event that of the hazards, where `rate` is
        the share of people who have it by then.
    sd
        For a value guardrail: standard deviation over people. For a quantile: that of the natural
        logarithm of the values, which are taken as lognormal (approximate: 0.5 to 1 for most load times);
        the answer then counts values, one a person, and `design_effect` corrects for several a person.
    goal
        "safe": show that the canary is within the margin. "harm": show that it is beyond the line of
        rollback (no change, for margins up to 1.25; a quarter within wider ones).
    any_of
        Questions of which one yes is enough, such as harm in any of several guardrails, or several success
        metrics: each is asked at `alpha / any_of`.
    **options
        As `canarykit.stats.sample_size`: `power`, `alpha`, `looks` (more than 1: the boundary of
        `evaluate_stage`), `gate` (of value guardrails), `guardrails` (how many others must pass too: the
        level stays, the power of each grows), `canary_share`, `design_effect`.

    Returns
    -------
    PowerAnswer

    Raises
    ------
    DataError
        If the truth lies on the other side of what is to be shown, or on the line.

    Notes
    -----
    With several looks at a share guardrail the answer is that of the evidence of events that
    `evaluate_stage` gathers, for events that come soon after a person does. The power is that of the
    evidence: a release that is worse, but within the margin, may be rolled back before it is shown to be
    within. In simulated decisions 0.78 to 0.83 of healthy releases are shown safe where 0.80 is planned,
    and 0.77 to 0.86 of harmful ones are found (22 to 19,000 events, shares of 2 to 90 %).

    Examples
    --------
    >>> errors = Guardrail("$exception", margin_ratio=1.1)
    >>> sample_size(errors, rate=0.02).n_canary, sample_size(errors, rate=0.02, guardrails=3).n_canary
    (60590, 106058)
    >>> round(sample_size(errors, rate=0.02, looks=14).inflation, 2)  # what watching daily costs
    2.33
    """
    effect, asked = _effect_of(question, rate, ratio, sd, goal), _divided(options, any_of)
    by_share = users_needed.sample_size(effect, **asked)
    events = _event_question(question, rate, ratio, goal, asked.get("canary_share", 0.5), asked)
    if events is None:
        return by_share
    total = people_for(events, by_share.each_power) * asked.get("design_effect", 1.0)
    alone: SizeOptions = {**asked, "looks": 1}
    once = users_needed.sample_size(effect, **alone)
    return replace(
        by_share,
        n_canary=math.ceil(total * events.canary_share),
        n_control=math.ceil(total * (1 - events.canary_share)),
        total=total,
        inflation=total / once.total,
        method=f"{events.looks} looks at the boundary of the evidence from events",
        source=_EVENT_SOURCE,
    )


@checked
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

    Parameters
    ----------
    question
        A guardrail, or an effect of `canarykit.stats.planning.users_needed`.
    n_canary, n_control
        People of each arm.
    rate
        The control's share of people with the event, its mean, or its quantile.
    ratio
        The canary's over the control's, in truth.
    sd
        Of a value guardrail over people; of a quantile that of the logarithm of the values.
    goal
        "safe": show that the canary is within the margin. "harm": show that it is worse.
    any_of
        Questions of which one yes is enough: each is asked at `alpha / any_of`.
    **options
        `alpha`, `looks`, `gate`, `guardrails`, `design_effect`, as for `sample_size`.

    Returns
    -------
    PowerAnswer

    Examples
    --------
    >>> found = power(Guardrail("$exception"), 10_877, 10_877, rate=0.02, ratio=1.25, goal="harm")
    >>> round(found.power, 3)
    0.8
    """
    effect, asked = _effect_of(question, rate, ratio, sd, goal), _divided(options, any_of)
    by_share = users_needed.power(effect, n_canary, n_control, **asked)
    share = n_canary / (n_canary + n_control)
    events = _event_question(question, rate, ratio, goal, share, asked)
    if events is None:
        return by_share
    total = by_share.total / asked.get("design_effect", 1.0)
    each = chance_of_showing(events, total)
    inflation = 1.0
    if events.drift(1.0) > 0:
        wanted = min(max(each, 2 * events.alpha), 0.999)
        once = users_needed.sample_size(effect, power=wanted, alpha=events.alpha, canary_share=share)
        inflation = people_for(events, wanted) / once.total
    return replace(
        by_share,
        power=max(1 - (asked.get("guardrails", 0) + 1) * (1 - each), 0.0),
        each_power=each,
        inflation=inflation,
        method=f"{events.looks} looks at the boundary of the evidence from events",
        source=_EVENT_SOURCE,
    )


def _event_question(
    question: Guardrail | Effect,
    rate: float | None,
    ratio: float,
    goal: Goal,
    canary_share: float,
    options: PowerOptions,
) -> EventQuestion | None:
    """The question as `evaluate_stage` asks it of events; None for one look, values, or two sides."""
    looks = options.get("looks", 1)
    if not isinstance(question, Guardrail) or looks == 1 or options.get("sided", "one") != "one":
        return None
    if not isinstance(question.metric, ShareMetric):
        return None
    assert rate is not None
    truth = Truth(question, rate, ())
    ratio = question.metric.level_at(rate, ratio) / rate
    return EventQuestion(truth, ratio, goal, canary_share, options.get("alpha", 0.05), looks)


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
    """The effect to be told apart: a guardrail's at its margin or its line of rollback, checked for sense."""
    if not isinstance(question, Guardrail):
        return question
    if goal not in ("safe", "harm"):
        raise PlanError(f"goal is {goal!r}; expected 'safe' or 'harm'")
    if rate is None:
        raise PlanError(f"{question.label}: give rate=, the control's share (or mean)")
    rate, ratio = require_number("rate", rate), require_number("ratio", ratio, above=0.0)
    is_share = isinstance(question.metric, ShareMetric)
    if is_share and not (0 < rate < 1 and question.metric.level_at(rate, ratio) < 1):
        raise DataError(
            f"{question.label}: rate is {rate:g} and ratio {ratio:g}; a share of people, and ratio times it, "
            "lie between 0 and 1"
        )
    is_quantile = isinstance(question.metric, Quantile)
    tolerated = Truth(question, rate, ()).margin_ratio
    null = question.roll_back_beyond(tolerated) if goal == "harm" else tolerated
    beyond = (ratio - null) * (1 if question.worse == "higher" else -1)
    if (beyond < 0) if goal == "harm" else (beyond > 0):
        where = "within the line of rollback" if goal == "harm" else "beyond the margin"
        raise DataError(
            f"{question.label}: a ratio of {ratio:g} in truth is {where} of {null:g}; "
            f"no number of people shows {goal!r}"
        )
    margin = question.metric.level_at(rate, null) - rate
    if is_share:
        canary = question.metric.level_at(rate, ratio)
        return ProportionEffect(control=rate, canary=canary, margin=margin)
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


@checked
def expected_duration(
    plan: RolloutPlan,
    traffic: Traffic,
    guardrails: Sequence[Guardrail] | Guardrail | None = None,
    *,
    scenario: Scenario | None = None,
    rates: Rates | None = None,
    delays: Delays | None = None,
    logins: tuple[float, str] | None = None,
    harm_budget: float | None = None,
    min_dwell: str = "1d",
    cap: str = "28d",
    looks: str = "hourly",
    evidence: Literal["stage", "ramp"] = "ramp",
    control: Control = "rest",
    n_runs: int = 500,
    rng: Seed = None,
    progress: Progress = None,
) -> ExpectedDuration:
    """How long a healthy release takes: the real rules on simulated counts, stage by stage.

    Parameters
    ----------
    plan, traffic, guardrails, scenario, rates, delays, logins, harm_budget, looks, evidence, control
        As for `simulate_decisions`; the scenario has no effect if left out.
    n_runs, rng, progress
        Rollouts simulated, their seed, and the bar, as there.
    min_dwell, cap
        A stage is left when it is proven safe, after `min_dwell` at the earliest; after `cap` it is
        given up.

    Returns
    -------
    Duration

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

    options: dict[str, Any] = {"rates": rates, "delays": delays, "logins": logins, "rng": rng}
    decisions = simulate_decisions(
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
        harm_budget=harm_budget,
        progress=progress,
        **options,
    )
    runs = decisions.runs_of()
    rows: list[tuple[Any, ...]] = []
    for position, name in enumerate(decisions.stage_names):
        start, end = plan.window(name)
        planned = None if end is None else (end - start).total_seconds()
        verdict, hours = runs.verdicts[:, position], runs.hours[:, position]
        reached = verdict >= 0
        safe = np.sort(np.where(verdict[reached] == 0, hours[reached] * 3600, np.inf))
        if not len(safe):
            rows.append((name, planned, None, None, None))
            continue
        quantiles = [float(safe[min(int(share * len(safe)), len(safe) - 1)]) for share in (0.5, 0.9)]
        in_time = None if planned is None else float(np.mean(safe <= max(planned, 1.0) + 1e-6))
        shown = [value if np.isfinite(value) else None for value in quantiles]
        rows.append((name, planned, *shown, in_time))
    return ExpectedDuration(tuple(rows), decisions, decisions.notes)
