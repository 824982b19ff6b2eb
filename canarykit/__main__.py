"""`python -m canarykit`: judge a stage from the command line, so that a pipeline can wait for it.

Exit codes: 0 promote, 10 hold, 20 roll back; 1 means that something was wrong with the input, 2 with the
command line. A verdict never comes out of an error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import canarykit
from canarykit.documents import parse_document, read_document
from canarykit.errors import CanarykitError, DataError, PlanError, close_name
from canarykit.escaping import one_line, workflow_text
from canarykit.files import write_whole

__all__ = ["main"]

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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the answer is the process exit code."""
    _write_what_the_terminal_cannot()
    options = _parser().parse_args(arguments)
    try:
        return _evaluate(options)
    except CanarykitError as problem:
        _complain(str(problem))
        if os.environ.get("GITHUB_ACTIONS"):
            _say(f"::error::{workflow_text(problem)}")
        return 1


class _Parser(argparse.ArgumentParser):
    """Arguments whose complaints name the option that was probably meant."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Remember what was given, for the hint."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """What is wrong, what was probably meant, and where the options are described; exit code 2."""
        known = [name for name in self._option_string_actions if name.startswith("--")]
        self.print_usage(sys.stderr)
        print(f"{self.prog}: error: {one_line(message)}", file=sys.stderr)
        for name in (argument.split("=")[0] for argument in self._given if argument.startswith("--")):
            if name.strip("-") and not any(option.startswith(name) for option in known):
                close = close_name(name, known)
                meant = f"; did you mean {close}?" if close else ""
                print(f"hint: there is no option {one_line(name)}{meant}", file=sys.stderr)
        print(f"hint: {self.prog} --help describes every option", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="canarykit", description="Judge canary releases behind feature flags.")
    parser.add_argument("--version", action="version", version=f"canarykit {canarykit.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    evaluate = commands.add_parser(
        "evaluate",
        help="promote, hold or roll back one stage",
        description="Judge one stage of a release: promote, hold or roll back.",
        epilog=_EPILOG.replace("METRICS", _metric_fields()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.add_argument("export", help="events: a PostHog export (file, folder, glob or URL)")
    evaluate.add_argument("--plan", required=True, help="JSON of the plan, as RolloutPlan.to_json writes it")
    evaluate.add_argument("--stage", help="name of the stage; default: the one running up to --as-of")
    evaluate.add_argument(
        "--as-of", required=True, help="moment of the evaluation, e.g. 2026-09-20T09:00:00Z"
    )
    evaluate.add_argument("--flag", help="key of the flag, to make sure that the plan is the one meant")
    evaluate.add_argument("--persons", help="persons export")
    evaluate.add_argument("--groups", help="groups export")
    evaluate.add_argument(
        "--guardrails",
        help="JSON list of guardrails, or a file of it (below); default: those of the plan file, else errors",
    )
    evaluate.add_argument("--scan", action="store_true", help="leave large Parquet files on disk")
    evaluate.add_argument("--format", help="kind of export, where its columns do not say so")
    evaluate.add_argument("--tz", help="time zone of times that carry none")
    evaluate.add_argument(
        "--max-unusable-share",
        type=float,
        default=0.01,
        help="share of the events that may be unusable before a promotion is held (default: 0.01)",
    )
    evaluate.add_argument("--harm-budget", type=float, help="extra people harmed the next stage may cost")
    evaluate.add_argument(
        "--known-gap",
        action="append",
        default=[],
        metavar="SINCE/UNTIL",
        help="times without data whose cause is known, e.g. 2026-09-14T10:00:00Z/2026-09-14T12:00:00Z",
    )
    evaluate.add_argument(
        "--crossers",
        choices=["first-exposure", "set-apart"],
        default="first-exposure",
        help="people who saw both variants within the stage, such as those who logged in: they stay in the "
        "arm of their first exposure (default), or are set apart, and only what holds whichever arm they "
        "belong to is decided",
    )
    evaluate.add_argument(
        "--people",
        help='judge only these people: a JSON object of their properties, such as \'{"$os": "Android"}\'',
    )
    evaluate.add_argument(
        "--variant",
        action="append",
        help="a variant to judge, where the flag has several (may be repeated); default: all of them",
    )
    evaluate.add_argument(
        "--timezone", default="UTC", help="zone in which the report shows times (default: UTC)"
    )
    evaluate.add_argument("--html", help="also write the report as one HTML file")
    evaluate.add_argument("--json", help="also write the report as JSON, audit record included")
    evaluate.add_argument("--markdown", help="write the Markdown here instead of to the terminal")
    return parser


def _evaluate(options: argparse.Namespace) -> int:
    import canarykit as ck

    plan = ck.RolloutPlan.from_json(options.plan)
    if options.flag and options.flag != plan.flag:
        raise PlanError(f"the plan is for flag {plan.flag!r}, not for {options.flag!r}")
    read = ck.scan_posthog if options.scan else ck.read_posthog
    log = read(
        options.export, persons=options.persons, groups=options.groups, format=options.format, tz=options.tz
    )
    report = ck.evaluate_stage(
        log,
        plan,
        options.stage or _stage_up_to(plan, options.as_of),
        _guardrails(options),
        as_of=options.as_of,
        harm_budget=options.harm_budget,
        max_unusable_share=options.max_unusable_share,
        known_gaps=[gap.split("/") for gap in options.known_gap],
        timezone=options.timezone,
        variants=options.variant,
        crossers=options.crossers.replace("-", " "),
        people=parse_document(options.people, "the text of --people") if options.people else None,
    )
    markdown = report.to_markdown()
    _say(one_line(report.headline) if options.markdown else markdown.rstrip("\n"))
    if options.markdown:
        _or_complain(lambda: write_whole(options.markdown, markdown))
    if options.html:
        _or_complain(lambda: report.to_html(options.html))
    if options.json:
        _or_complain(lambda: report.to_json(options.json, indent=1))
    _tell_github(report, markdown)
    return int(report.exit_code)


def _stage_up_to(plan: Any, as_of: str) -> str:
    """The stage whose time runs up to a moment: where two meet, the one that has just ended."""
    from canarykit.times import to_utc

    moment = to_utc(as_of, name="--as-of")
    for name, (start, end) in plan.windows().items():
        if start < moment and (end is None or moment <= end):
            return str(name)
    raise PlanError(f"no stage of the plan runs up to {as_of}; name one with --stage")


def _guardrails(options: argparse.Namespace) -> list[Any] | None:
    from canarykit.metrics import Guardrail

    source = options.guardrails or options.plan
    if source.lstrip().startswith(("{", "[")):
        content = parse_document(source, "the text of --guardrails")
    else:
        content = read_document(source, "the file of guardrails")
    listed = content.get("guardrails") if isinstance(content, dict) else content
    if listed is None and not options.guardrails:
        return None
    if not isinstance(listed, list):
        raise PlanError(f"the guardrails of {source} are {listed!r}; expected a list of names or objects")
    return [Guardrail.from_dict(item) for item in listed]


def _tell_github(report: Any, markdown: str) -> None:
    """The job summary, the step's outputs, and an annotation, where the run is inside GitHub Actions."""
    summary, outputs = os.environ.get("GITHUB_STEP_SUMMARY"), os.environ.get("GITHUB_OUTPUT")
    if summary:
        _or_complain(lambda: _append(summary, markdown + "\n"))
    if outputs:
        lines = f"verdict={report.verdict.value}\nexit_code={report.exit_code}\n"
        _or_complain(lambda: _append(outputs, lines))
    if os.environ.get("GITHUB_ACTIONS"):
        level = {0: "notice", 10: "warning", 20: "error"}[report.exit_code]
        _say(f"::{level}::{workflow_text(report.headline)}")


def _metric_fields() -> str:
    """One line per kind of metric: its name in JSON and its fields."""
    from canarykit.metrics.values import metric_kinds

    kinds = metric_kinds()
    width = max(map(len, kinds)) + 2
    return "\n".join(f"  {json.dumps(kind):{width}}  {', '.join(names)}" for kind, names in kinds.items())


def _append(path: str, text: str) -> None:
    try:
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as problem:
        raise DataError(f"{path} cannot be written: {problem.strerror}") from None


def _or_complain(write: Callable[[], Any]) -> None:
    """A report that cannot be written is a complaint; the verdict stands."""
    try:
        write()
    except CanarykitError as problem:
        _complain(str(problem))


def _complain(problem: str) -> None:
    print(f"error: {one_line(problem)}", file=sys.stderr)


def _say(text: str) -> None:
    """Print; a reader who has gone away (`| head`) does not change the exit code."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (until the process ends)


def _write_what_the_terminal_cannot() -> None:
    """Signs that the encoding of the terminal lacks are written out, so that a verdict always prints."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
