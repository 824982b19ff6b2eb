"""`canarykit funnel`: where people of each variant fall out."""

from __future__ import annotations

from typing import Any

import click

from canarykit.commands.shared import column_option, note, show
from canarykit.errors import PlanError
from canarykit.events.mapping import columns_of


@click.command()
@click.argument("export")
@click.option("--flag", help="key of the flag; without it the plan's")
@click.option("--step", "steps", multiple=True, required=True, help="name of an event; repeat it, in order")
@click.option("--within", default="14d", show_default=True, help="time from the first step to the last")
@click.option("--plan", help="plan file: people count from their first exposure, each with that variant")
@click.option("--stage", help="only the people first exposed in this stage of the plan")
@click.option("--as-of", help="time until which events count, such as that of a report")
@click.option("--persons", help="persons export")
@column_option
@click.option("--tz", help="time zone of times that carry none")
@click.option("--json", "as_json", is_flag=True, help="print JSON for machines")
def funnel(
    export: str,
    flag: str | None,
    steps: tuple[str, ...],
    within: str,
    plan: str | None,
    stage: str | None,
    as_of: str | None,
    persons: str | None,
    columns: tuple[str, ...],
    tz: str | None,
    as_json: bool,
) -> int:
    """Where people of each variant fall out of a funnel.

    EXPORT are the events: a PostHog export (file, folder, glob or URL).
    """
    import canarykit as ck

    if flag is None and plan is None:
        raise PlanError("neither --flag nor --plan is given: name the flag that people are split by")
    log = ck.read_posthog(export, persons=persons, tz=tz, **columns_of(columns))
    asked: dict[str, Any] = {"flag": flag, "within": within, "date_to": as_of}
    if plan is not None:
        asked |= {"plan": ck.RolloutPlan.from_json(plan), "stage": stage, "attribution": "exposure"}
    elif stage is not None:
        raise PlanError(f"--stage {stage!r} needs --plan")
    counted = ck.funnel_by_flag(log, list(steps), **asked)
    if plan is None and "" in counted.counts:
        note(
            "unknown are people whose first step carries no value of the flag, such as from before it was "
            "asked for; --plan counts who was exposed"
        )
    show(counted, as_json)
    return 0
