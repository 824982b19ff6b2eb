"""Commands on a project in PostHog. The key comes from the environment or a prompt, never from here."""

from __future__ import annotations

from typing import Any

import click

from canarykit.commands.shared import connect, connection, guardrails_of, show
from canarykit.documents import parse_document
from canarykit.errors import CanarykitError

_as_json = click.option("--json", "as_json", is_flag=True, help="print JSON for machines")
_plan = click.option("--plan", "plan_file", required=True, help="JSON of the plan")
_stage = click.option("--stage", required=True, help="stage to let in")
_override = click.option("--override", default="", help="reason to go on against the rules; recorded")
_guardrails = click.option(
    "--guardrails", help="JSON list of guardrails, or a file; default: the plan file's"
)
_judge = click.option(
    "--judge/--no-judge",
    default=True,
    show_default=True,
    help="judge the running stage first",
)
_into = click.option("--into", default="release", show_default=True, help="folder of the events")


@click.command()
@connection
@_into
@click.option("--since", required=True, help="start of the time, e.g. 2026-09-04T09:00:00Z")
@click.option("--until", help="end of the time; default: now")
@click.option("--flag", help="key of the flag whose property is fetched where --property names others")
@click.option("--event", "names", multiple=True, help="name of an event; repeat it. Default: all")
@click.option("--property", "properties", multiple=True, help="property to fetch; repeat it. Default: all")
@click.option(
    "--road", type=click.Choice(["auto", "file download", "hogql"]), default="auto", show_default=True
)
@_as_json
def pull(host: str, project: int | None, record: str, as_json: bool, **given: Any) -> int:
    """Fetch events, persons and groups into a folder; a second run fetches what is new.

    Scopes: query:read, batch_export:write, batch_export:read.
    """
    given["names"] = list(given["names"]) or None
    given["properties"] = list(given["properties"]) or None
    show(connect(host, project, record).events(**given), as_json)
    return 0


@click.command()
@connection
@click.argument("flag")
@click.option("--like", help="JSON of a plan whose names are taken")
@click.option("--run", type=int, default=-1, help="which run, where the share was lowered; default: the last")
@click.option("--out", help="also write the plan to this file")
@_as_json
def plan(
    host: str, project: int | None, record: str, flag: str, like: str, run: int, out: str, as_json: bool
) -> int:
    """Read the plan of FLAG as it really ran, from its history.

    Scopes: feature_flag:read, activity_log:read.
    """
    from canarykit.plan import RolloutPlan

    given = RolloutPlan.from_json(like) if like else None
    released = connect(host, project, record).plan(flag, like=given, run=run)
    if out:
        released.to_json(out, indent=1)
    show(released, as_json)
    return 0


@click.command()
@connection
@_plan
@_stage
@_guardrails
@_judge
@_into
@_override
@_as_json
def prepare(**given: Any) -> int:
    """A dry run: what letting in a stage would change, for whom, and what stands against it.

    The answer is Markdown for a pull request. Exit code 10 where something stands against it.
    """
    as_json = given.pop("as_json")
    push = _prepared(**given)
    show(push, as_json)
    return 10 if push.is_blocked else 0


@click.command()
@connection
@_plan
@_stage
@_guardrails
@_judge
@_into
@_override
@_as_json
def push(**given: Any) -> int:
    """Let in a stage: one write on the version that was read, checked and recorded.

    Exit codes: 0 applied or nothing to do, 10 awaiting approval, 1 otherwise. Scope: feature_flag:write.
    """
    as_json = given.pop("as_json")
    outcome = _prepared(**given).apply()
    show(outcome, as_json)
    return int(outcome.exit_code)


def _prepared(
    host: str,
    project: int | None,
    record: str,
    plan_file: str,
    stage: str,
    guardrails: str | None,
    judge: bool,
    into: str,
    override: str,
) -> Any:
    from canarykit.plan import RolloutPlan

    made, given = connect(host, project, record), RolloutPlan.from_json(plan_file)
    report, dry = None, made.prepare(given, stage)
    if judge and dry.running is not None and given.index(stage) > given.index(dry.running):
        try:
            report = made.judge(given, dry.running, guardrails_of(guardrails, plan_file), into=into)
        except CanarykitError as problem:
            click.echo(f"note: there is no verdict: {problem}", err=True)
    return made.prepare(given, stage, report=report, override=override)


@click.command()
@connection
@_plan
@click.option("--to", help="stage to go back to; default: the one before")
@click.option("--off", is_flag=True, help="turn the flag off")
@click.option("--why", default="", help="reason, for the record")
@_as_json
def rollback(
    host: str, project: int | None, record: str, plan_file: str, to: str, off: bool, why: str, as_json: bool
) -> int:
    """Set the stage before on the newest version of the flag, or turn it off.

    It goes through even where the newest edit was somebody else's, and shows what it overruled.
    """
    from canarykit.plan import RolloutPlan

    made = connect(host, project, record)
    outcome = made.roll_back(RolloutPlan.from_json(plan_file), to=to, off=off, why=why)
    show(outcome, as_json)
    return int(outcome.exit_code)


@click.command()
@connection
@_plan
@_guardrails
@_into
@click.option("--every", default="1h", show_default=True, help="time between two looks")
@click.option("--apply", type=click.Choice(["rollback", "all"]), help="what a look may do; default: report")
@click.option("--notify", envvar="CANARYKIT_NOTIFY", help="webhook of Slack, Teams or Mattermost")
@click.option("--once", is_flag=True, help="look once and exit with the verdict's code")
@click.option("--options", help='JSON object of further options of evaluate_stage, such as {"looks": "6h"}')
@_as_json
def watch(
    host: str,
    project: int | None,
    record: str,
    plan_file: str,
    guardrails: str | None,
    into: str,
    every: str,
    apply: Any,
    notify: str | None,
    once: bool,
    options: str | None,
    as_json: bool,
) -> int:
    """Look at a running release again and again; roll back or go on where --apply allows it.

    Exit codes: 0 promote, 10 hold, 20 roll back, 1 no verdict.
    """
    from canarykit.plan import RolloutPlan
    from canarykit.release.watch import watch as watch_release

    further = parse_document(options, "the text of --options") if options else {}
    if "looks" in further:
        further["judged_every"] = further.pop("looks")
    seen = watch_release(
        connect(host, project, record),
        RolloutPlan.from_json(plan_file),
        guardrails_of(guardrails, plan_file),
        every=every,
        apply=apply,
        notify=notify,
        looks=1 if once else None,
        show=False if once else None,
        into=into,
        **further,
    )
    show(seen, as_json)
    return seen.exit_code
