"""`canarykit funnel`: where people of each variant fall out."""

from __future__ import annotations

import click

from canarykit.commands.shared import column_option, show
from canarykit.events.mapping import columns_of

__all__ = ["funnel"]


@click.command()
@click.argument("export")
@click.option("--flag", required=True, help="key of the flag")
@click.option("--step", "steps", multiple=True, required=True, help="name of an event; repeat it, in order")
@click.option("--within", default="14d", show_default=True, help="time from the first step to the last")
@click.option("--persons", help="persons export")
@column_option
@click.option("--tz", help="time zone of times that carry none")
@click.option("--json", "as_json", is_flag=True, help="print JSON for machines")
def funnel(
    export: str,
    flag: str,
    steps: tuple[str, ...],
    within: str,
    persons: str | None,
    columns: tuple[str, ...],
    tz: str | None,
    as_json: bool,
) -> int:
    """Where people of each variant fall out of a funnel.

    EXPORT are the events: a PostHog export (file, folder, glob or URL).
    """
    import canarykit as ck

    log = ck.read_posthog(export, persons=persons, tz=tz, **columns_of(columns))
    show(ck.funnel_by_flag(log, steps=list(steps), flag=flag, within=within), as_json)
    return 0
