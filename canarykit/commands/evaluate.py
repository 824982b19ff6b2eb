"""`canarykit evaluate`: judge a stage of an export, so that a pipeline can wait for it."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from canarykit.commands.shared import append, column_option, guardrails_of, note, or_complain, say
from canarykit.documents import parse_document
from canarykit.errors import PlanError
from canarykit.escaping import one_line, workflow_text
from canarykit.events.mapping import columns_of
from canarykit.files import write_whole

_EPILOG = """\
exit codes: 0 promote, 10 hold, 20 roll back, 1 unusable input, 2 unusable command line

The verdict is printed first and its exit code kept: a report that cannot be written is said on stderr.

guardrails (--guardrails, or `guardrails` in the plan file): a JSON list. One item is the name of an event
that is an error by its name ("$exception", "$rageclick"), or an object of a metric and the fields of
ck.Guardrail, such as

  ["$exception",
   {"metric": "order refunded", "worse": "higher"},
   {"metric": {"metric": "conversion", "event": "paid", "within": "1d"}, "margin_ratio": 0.9,
    "critical": true}]

`worse` is the direction that is harm, "lower" or "higher"; it must be given where the metric does not tell.

where the inner `metric` names a class of canarykit.metrics in plain words, with its fields:

METRICS

In GitHub Actions the report is added to the job's summary, and `verdict` and `exit_code` are set as
outputs of the step.
"""


class _Described(click.Command):
    """A command whose help ends with text that is laid out already."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The exit codes and the metrics, which are looked up only when somebody asks for help."""
        formatter.write("\n" + _EPILOG.replace("METRICS", _metric_fields()))


@click.command(cls=_Described)
@click.argument("export")
@click.option(
    "--plan",
    help="JSON of the plan, as RolloutPlan.to_json writes it; without it, the steps of the ramp of --flag "
    "are found in the events up to --as-of",
)
@click.option("--stage", help="name of the stage; default: the one running up to --as-of")
@click.option("--as-of", required=True, help="moment of the evaluation, e.g. 2026-09-20T09:00:00Z")
@click.option("--flag", help="key of the flag; with --plan, to make sure that the plan is the one meant")
@click.option("--persons", help="persons export")
@click.option("--groups", help="groups export")
@click.option(
    "--guardrails",
    help="JSON list of guardrails, or a file of it (below), or the word `proposed`: those that "
    "ck.suggest_guardrails finds in the events; default: those of the plan file, else exceptions",
)
@column_option
@click.option("--scan", is_flag=True, help="leave large Parquet files on disk")
@click.option("--format", help="kind of export, where its columns do not say so")
@click.option("--tz", help="time zone of times that carry none")
@click.option(
    "--max-unusable-share",
    type=float,
    default=0.01,
    show_default=True,
    help="share of the events that may be unusable before a promotion is held",
)
@click.option("--harm-budget", type=float, help="extra people harmed the next stage may cost")
@click.option(
    "--known-gap",
    multiple=True,
    metavar="SINCE/UNTIL",
    help="times without data whose cause is known, e.g. 2026-09-14T10:00:00Z/2026-09-14T12:00:00Z",
)
@click.option(
    "--crossers",
    type=click.Choice(["first-exposure", "set-apart"]),
    default="first-exposure",
    show_default=True,
    help="people who saw both variants within the stage, such as those who logged in: they stay in the arm "
    "of their first exposure, or are set apart, and only what holds whichever arm they belong to is decided",
)
@click.option(
    "--people",
    help='judge only these people: a JSON object of their properties, such as \'{"$os": "Android"}\'',
)
@click.option(
    "--variant",
    multiple=True,
    help="a variant to judge, where the flag has several (may be repeated); default: all of them",
)
@click.option("--timezone", default="UTC", show_default=True, help="zone in which the report shows times")
@click.option("--html", help="also write the report as one HTML file")
@click.option("--json", help="also write the report as JSON, audit record included")
@click.option("--markdown", help="write the Markdown here instead of to the terminal")
def evaluate(**given: Any) -> int:
    """Judge one stage of a release: promote, hold or roll back.

    EXPORT are the events: a PostHog export (file, folder, glob or URL).
    """
    return _evaluate(given)


def _evaluate(options: dict[str, Any]) -> int:
    """Read the log, judge the stage, say the verdict first, then write what was asked for."""
    import canarykit as ck

    plan = None if options["plan"] is None else ck.RolloutPlan.from_json(options["plan"])
    if plan is None and not options["flag"]:
        raise PlanError(
            "neither --plan nor --flag is given: name the flag whose ramp is to be found in the events"
        )
    if plan is not None and options["flag"] and options["flag"] != plan.flag:
        raise PlanError(f"the plan is for flag {plan.flag!r}, not for {options['flag']!r}")
    read = ck.scan_posthog if options["scan"] else ck.read_posthog
    log = read(
        options["export"],
        persons=options["persons"],
        groups=options["groups"],
        format=options["format"],
        tz=options["tz"],
        **columns_of(options["columns"]),
    )
    plan = _observed_plan(log, options) if plan is None else plan
    stage = options["stage"] or _stage_up_to(plan, options["as_of"])
    guardrails = _guardrails(log, plan, stage, options)
    report = ck.evaluate_stage(
        log,
        plan,
        stage,
        guardrails,
        as_of=options["as_of"],
        harm_budget=options["harm_budget"],
        max_unusable_share=options["max_unusable_share"],
        known_gaps=[gap.split("/") for gap in options["known_gap"]],
        timezone=options["timezone"],
        variants=list(options["variant"]) or None,
        crossers=options["crossers"].replace("-", " "),
        people=parse_document(options["people"], "the text of --people") if options["people"] else None,
    )
    if guardrails is None:
        note("no guardrails were given: judged on people with $exception alone (see --guardrails proposed)")
    markdown = report.to_markdown()
    say(one_line(report.headline) if options["markdown"] else markdown.rstrip("\n"))
    if options["markdown"]:
        or_complain(lambda: write_whole(options["markdown"], markdown))
    if options["html"]:
        or_complain(lambda: report.to_html(options["html"]))
    if options["json"]:
        or_complain(lambda: report.to_json(options["json"], indent=1))
    _tell_github(report, markdown)
    return int(report.exit_code)


def _observed_plan(log: Any, options: dict[str, Any]) -> Any:
    """The plan that the first exposures show, which is said on stderr."""
    import canarykit as ck

    plan = ck.exposures(log, options["flag"], as_of=options["as_of"]).observed_plan()
    steps = ", ".join(
        f"{name} from {start:%Y-%m-%d %H:%M} UTC" for name, (start, _) in plan.windows().items()
    )
    note(
        f"no --plan: the ramp of {plan.flag} was found in the events ({steps}). People who were chosen or "
        "enrolled themselves are not told from the randomised ones; a plan tells them"
    )
    return plan


def _guardrails(log: Any, plan: Any, stage: str, options: dict[str, Any]) -> list[Any] | None:
    """What is judged, None for the default; proposals are said on stderr."""
    import canarykit as ck

    if options["guardrails"] == "proposed":
        drawn = stage if plan.stage(stage).kind == "percentage" else None
        proposed = ck.suggest_guardrails(log, plan.flag, plan, stage=drawn)
        note(f"proposed from the events, to be read and kept: {proposed.code}")
        return list(proposed.guardrails) or None
    return guardrails_of(options["guardrails"], options["plan"])


def _stage_up_to(plan: Any, as_of: str) -> str:
    """The stage whose time runs up to a moment: where two meet, the one that has just ended."""
    from canarykit.times import to_utc

    moment = to_utc(as_of, name="--as-of")
    for name, (start, end) in plan.windows().items():
        if start < moment and (end is None or moment <= end):
            return str(name)
    raise PlanError(f"no stage of the plan runs up to {as_of}; name one with --stage")


def _tell_github(report: Any, markdown: str) -> None:
    """The job summary, the step's outputs, and an annotation, where the run is inside GitHub Actions."""
    summary, outputs = os.environ.get("GITHUB_STEP_SUMMARY"), os.environ.get("GITHUB_OUTPUT")
    if summary:
        or_complain(lambda: append(summary, markdown + "\n"))
    if outputs:
        lines = f"verdict={report.verdict.value}\nexit_code={report.exit_code}\n"
        or_complain(lambda: append(outputs, lines))
    if os.environ.get("GITHUB_ACTIONS"):
        level = {0: "notice", 10: "warning", 20: "error"}[report.exit_code]
        say(f"::{level}::{workflow_text(report.headline)}")


def _metric_fields() -> str:
    """One line per kind of metric: its name in JSON and its fields."""
    from canarykit.metrics.values import metric_kinds

    kinds = metric_kinds()
    width = max(map(len, kinds)) + 2
    return "\n".join(f"  {json.dumps(kind):{width}}  {', '.join(names)}" for kind, names in kinds.items())
