"""The verdict on a running stage: new events fetched, true windows from the flag's history."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from canarykit.errors import PlanError
from canarykit.health.evaluate import evaluate_stage
from canarykit.release.refusals import AuthenticationError, NotFoundError

if TYPE_CHECKING:
    from canarykit.health import StageReport
    from canarykit.plan import RolloutPlan
    from canarykit.posthog.project import PostHog

_BEFORE = pd.Timedelta(days=7)  # what targeted stages compare the same people with
_FETCHING = ("into", "names", "properties", "road", "late", "persons_every", "progress")


def judge(
    project: PostHog,
    plan: RolloutPlan,
    stage: str,
    guardrails: Any,
    *,
    as_of: Any,
    since: Any = None,
    **options: Any,
) -> StageReport:
    """What `PostHog.judge` does."""
    ran, running = _as_it_ran(project, plan, stage)
    fetching = {name: options.pop(name) for name in _FETCHING if name in options}
    start = ran.window(running)[0]
    first = min([start, *(window[0] for window in ran.windows().values())])
    begin = first - _BEFORE if since is None else since
    if "into" in fetching:
        log = project.events(flag=plan.flag, since=begin, until=as_of, **fetching).log()
    else:
        log = project.log(plan.flag, since=begin, until=as_of, **fetching)
    report = evaluate_stage(log, ran, running, guardrails, as_of=as_of, **options)
    return report if report.stage == stage else replace(report, stage=stage)


def _as_it_ran(project: PostHog, plan: RolloutPlan, stage: str) -> tuple[RolloutPlan, str]:
    """The plan with the windows as they came to be; as planned, where the activity log cannot be read."""
    try:
        ran = project.plan(plan.flag, like=plan)
    except (AuthenticationError, NotFoundError):
        return plan, stage
    newest = ran.stages[-1].name
    if newest != stage and not newest.startswith(f"{stage} ("):
        raise PlanError(
            f"the flag's history ends with {newest!r}, the flag lets in {stage!r}: an edit outside the plan; "
            "look at project.plan(...)"
        )
    return ran, newest
