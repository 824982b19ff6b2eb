"""`evaluate_stage`: promote, hold or roll back, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from canarykit.arguments import checked, names_of
from canarykit.errors import PlanError, did_you_mean
from canarykit.events.log import as_log
from canarykit.exposure.crossers import CrosserRule
from canarykit.health.data.data_state import DataState
from canarykit.health.decision import MIN_UNITS, Rules
from canarykit.health.evidence.over_ramp import AlphaScope, rules_in_scope
from canarykit.health.judges.full import judge_full
from canarykit.health.judges.percentage import judge_percentage
from canarykit.health.judges.targeted import judge_targeted
from canarykit.health.question import SEGMENTS, Pool, ask
from canarykit.health.report.release_report import release_report
from canarykit.health.report.stage_report import StageReport
from canarykit.metrics.guardrail import Guardrail
from canarykit.plan.given import as_plan
from canarykit.stats.checks import require_choice
from canarykit.times import to_utc

if TYPE_CHECKING:
    from canarykit.events import EventLog
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Filters, Frame, Time


@checked
def evaluate_stage(
    log: EventLog | Frame,
    plan: RolloutPlan,
    stage: str,
    guardrails: Sequence[Guardrail] | Guardrail | None = None,
    *,
    as_of: Time,
    alpha_rollback: float = 0.05,
    alpha_promote: float = 0.05,
    alpha_srm_hold: float = 0.01,
    alpha_srm_invalid: float = 0.001,
    max_crosser_share: float = 0.01,
    max_unusable_share: float = 0.01,
    min_units: int = MIN_UNITS,
    looks: str = "1h",
    grace: str = "24h",
    freshness: str = "24h",
    min_dwell: str = "1d",
    cap: str | None = None,
    harm_budget: float | None = None,
    use_limits: bool = False,
    evidence: Pool = "ramp",
    alpha_scope: AlphaScope = "stage",
    survey: str | Mapping[str, Any] | None = None,
    segments: Sequence[str] = SEGMENTS,
    known_gaps: Sequence[Sequence[Time]] = (),
    timezone: str = "UTC",
    people: Filters = None,
    crossers: CrosserRule = "first exposure",
    variants: str | Sequence[str] | None = None,
) -> StageReport:
    """Judge one stage of a release: promote, hold or roll back, with a reason a person can check.

    Targeted stages (the owner, the team, the beta) are not randomised: they get exact bounds against
    limits, the same people before and after, and no causal claim. Percentage stages compare the people
    who were randomised, within the stage, by evidence that holds at every look. At 100 % nothing
    is comparable, unless the plan keeps a holdout. What is inconclusive is held, never promoted.

    Parameters
    ----------
    log
        `EventLog` over any engine, or a table of events with its default columns.
    plan
        `RolloutPlan` with windows.
    stage
        Name of the stage.
    guardrails
        What must not get worse; by default the share of people with `$exception`.
    as_of
        The moment of the evaluation: later events are not looked at.
    alpha_rollback
        P(ever rolling back a harmless release), all guardrails together, any looking: in this stage, or in
        the whole rollout, as `alpha_scope` says.
    alpha_promote
        P(ever promoting a release whose true effect is at a guardrail's margin).
    alpha_srm_hold, alpha_srm_invalid
        P(ever) of a false alarm of the sample-ratio check, to hold and to call the stage invalid.
    max_crosser_share
        Share of people who got both variants under one and the same id within the stage (a flag that
        flickers) from which comparisons are off. People who changed id by logging in, and people whom a
        growing ramp moved, are no flicker: see `crossers`.
    max_unusable_share
        Share of the export's events without a time, an id or a name, or with properties that are no JSON,
        above which nothing is promoted.
    min_units
        People (or groups) that each arm needs before anything is compared; groups need 20 at least.
    looks
        Length of the intervals in which people at risk and events are compared, and how often the
        evidence is looked at.
    grace
        How long after the stage's start missing data is excused.
    freshness
        How old the newest event may be.
    min_dwell
        How long a stage lasts at least before it is promoted.
    cap
        How long until it is called inconclusive; by default its planned end.
    harm_budget
        Extra people harmed that the next stage may cost; widens or keeps each margin by the size of the
        next stage. None: the guardrails' own margins.
    use_limits
        Roll back a randomised stage whose canary breaks a guardrail's `limit` while the control keeps it.
    evidence
        "ramp": harm is also gathered over the percentages that led to this one without a gap, each compared
        within itself and each person with one event at most; the stage's own evidence counts beside it, for
        harm that begins late. Safety is shown anew in each stage, and so is all that is said of values and
        limits. "stage": by what happened within the stage alone, also where the feature was changed.
    alpha_scope
        What `alpha_rollback` is promised for. "stage": each stage by itself; over a rollout of several the
        chances may add up. "rollout": all percentage stages of the plan together. Evidence of harm over the
        ramp then has four fifths of it in every stage and that of later stages alone shares the rest; what
        is judged by a stage alone (values, limits, and everything with `evidence="stage"`) has an equal
        part in each.
    survey
        Id (or definition) of a survey whose answers are quoted in the report.
    segments
        Properties of events (or of persons, where no event has them) by which exposure and errors are
        broken down, and by which people may be missing from one arm.
    known_gaps
        Times (since, until) without data whose cause is known, such as a maintenance or a public holiday;
        a gap that nobody explains holds the promotion.
    timezone
        Zone in which the report and its pictures show times.
    people
        Only these people: a filter of their properties (`{"plan": "pro"}`, or mappings in PostHog's words),
        or a list of ids. A property that persons lack is taken from each one's events, as in `segments`; one
        that nobody has is refused.
    crossers
        What becomes of people who saw both variants within the stage: "first exposure" keeps them in the
        arm they were first seen in (intent to treat) and promotes only where safety is shown although a
        part of each arm had the other variant; "set apart" leaves them out and decides only what holds
        whichever arm they belong to.
    variants
        Of a flag with several variants, those to judge, each against the plan's control; by default every
        one that the stage serves. All error rates are split over the variants served. The answer is then
        one report with a verdict for each variant (`by_variant`) and one for the release: rolled back if
        a variant harms a critical guardrail or all are rolled back, promoted if all that were asked for
        are. A single name gives that variant's own report.

    Returns
    -------
    StageReport
        A `ReleaseReport`, which is one, where several variants are judged.

    Raises
    ------
    PlanError
        For a stage the plan does not have, one that has not begun, or guardrails that contradict.
    DataError
        For a log without events, one that does not know the flag, or a name (of an event, a property, a
        variant) that looks like a misspelling of one the log has. Names never recorded are notes.

    References
    ----------
    Lindon & Malek (2022), arXiv:2011.03567, for evidence at every look; Howard, Ramdas, McAuliffe &
    Sekhon (2021), doi:10.1214/20-AOS1991, for intervals that hold together.

    Examples
    --------
    >>> import canarykit as ck
    >>> plan = ck.RolloutPlan(
    ...     "new-checkout", (ck.Stage.for_share("half", 50, dwell="2d"),), starts_at="2026-09-07T09:00:00Z"
    ... )
    >>> log = ck.simulate_rollout(plan, ck.Population(500), rng=7)
    >>> report = evaluate_stage(log, plan, "half", as_of="2026-09-08T09:00:00Z")
    >>> report.verdict, report.exit_code
    (<Verdict.HOLD: 'hold'>, 10)
    """
    log, plan = as_log(log), as_plan(plan)
    served = plan.served(stage) or (plan.canary,)
    asked = _asked(variants, served, plan)
    arms = max(len(served), 1)  # of everything that is served, asked for or not: looking is free
    rules = Rules(
        alpha_rollback, alpha_promote, alpha_srm_hold, alpha_srm_invalid, max_crosser_share, min_units
    ).split(arms)
    require_choice("alpha_scope", alpha_scope, ("stage", "rollout"))
    randomised = sum(item.kind == "percentage" for item in plan.stages)
    rules, sharing = rules_in_scope(rules, randomised, evidence, alpha_scope)
    judges = {"targeted": judge_targeted, "percentage": judge_percentage, "full": judge_full}
    reports = {}
    for key in asked:
        question = ask(
            log,
            plan if key == plan.canary else replace(plan, canary=key),
            stage,
            guardrails,
            as_of=as_of,
            rules=rules,
            looks=looks,
            grace=grace,
            freshness=freshness,
            min_dwell=min_dwell,
            cap=cap,
            harm_budget=harm_budget,
            use_limits=use_limits,
            segments=names_of(segments, "segments"),
            survey=survey,
            evidence=evidence,
            sharing=sharing,
            known_gaps=known_gaps,
            max_unusable_share=max_unusable_share,
            timezone=timezone,
            people=people,
            crossers=crossers,
        )
        reports[key] = judges[question.kind](DataState.read(question))
    if len(reports) > 1:
        return release_report(reports, control=plan.control, arms=arms)
    (report,) = reports.values()
    return report


def _asked(
    variants: str | Sequence[str] | None, served: tuple[str, ...], plan: RolloutPlan
) -> tuple[str, ...]:
    """The variants to judge, each against the control: those named, else all that the stage serves."""
    if variants is None:
        return served
    named = tuple(dict.fromkeys(names_of(variants, "variants")))
    keys = [v.key for v in plan.variants if v.key != plan.control] or [plan.canary]
    for key in named:
        if key not in keys:
            raise PlanError(f"variants names {key!r}; beside the control {did_you_mean(key, keys)}")
    if not named:
        raise PlanError("variants is empty; leave it out to judge every variant against the control")
    return named


def evaluate_stages(
    log: EventLog | Frame,
    plan: RolloutPlan,
    guardrails: Sequence[Guardrail] | Guardrail | None = None,
    *,
    as_of: Time,
    **options: Any,
) -> dict[str, StageReport]:
    """Judge every stage that has begun, one by one: each as of its end, the running one as of `as_of`.

    Parameters
    ----------
    log, plan, guardrails, as_of, options
        As in `evaluate_stage`.

    Returns
    -------
    dict
        Reports by the name of the stage, in order.

    Raises
    ------
    PlanError
        If no stage has begun.
    """
    log, plan = as_log(log), as_plan(plan)
    now = to_utc(as_of, name="as_of")
    windows = {name: end for name, (start, end) in plan.windows().items() if start < now}
    if not windows:
        raise PlanError(f"no stage of {plan.flag!r} has begun at {now.isoformat()}")
    return {
        name: evaluate_stage(
            log, plan, name, guardrails, as_of=now if end is None else min(now, end), **options
        )
        for name, end in windows.items()
    }
