"""`python -m canarykit`: judge a stage from the command line, so that a pipeline can wait for it.

Exit codes: 0 promote, 10 hold, 20 roll back; 1 means that something was wrong with the input, 2 with the
command line. A verdict never comes out of an error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from canarykit.errors import CanarykitError, PlanError

__all__ = ["main"]

_EPILOG = """\
exit codes: 0 promote, 10 hold, 20 roll back, 1 unusable input, 2 unusable command line

In GitHub Actions the report is added to the job's summary, and `verdict` and `exit_code` are set as
outputs of the step.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the answer is the process exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _evaluate(options)
    except CanarykitError as problem:
        print(f"error: {problem}", file=sys.stderr)
        if os.environ.get("GITHUB_ACTIONS"):
            print(f"::error::{_one_line(str(problem))}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="canarykit", description="Judge canary releases behind feature flags."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    evaluate = commands.add_parser(
        "evaluate",
        help="promote, hold or roll back one stage",
        description="Judge one stage of a release: promote, hold or roll back.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.add_argument("export", help="events: a PostHog export (file, folder or glob)")
    evaluate.add_argument("--plan", required=True, help="JSON of the plan, as RolloutPlan.to_json writes it")
    evaluate.add_argument("--stage", help="name of the stage; default: the one running up to --as-of")
    evaluate.add_argument(
        "--as-of", required=True, help="moment of the evaluation, e.g. 2026-09-20T09:00:00Z"
    )
    evaluate.add_argument("--flag", help="key of the flag, to make sure that the plan is the one meant")
    evaluate.add_argument("--persons", help="persons export")
    evaluate.add_argument("--groups", help="groups export")
    evaluate.add_argument(
        "--guardrails", help="JSON list of guardrails; default: `guardrails` in the plan file, else errors"
    )
    evaluate.add_argument("--scan", action="store_true", help="leave large Parquet files on disk")
    evaluate.add_argument("--format", help="kind of export, where its columns do not say so")
    evaluate.add_argument("--tz", help="time zone of times that carry none")
    evaluate.add_argument("--harm-budget", type=float, help="extra people harmed the next stage may cost")
    evaluate.add_argument(
        "--known-gap",
        action="append",
        default=[],
        metavar="SINCE/UNTIL",
        help="times without data whose cause is known, e.g. 2026-09-14T10:00:00Z/2026-09-14T12:00:00Z",
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
        known_gaps=[gap.split("/") for gap in options.known_gap],
    )
    if options.html:
        report.to_html(options.html)
    if options.json:
        report.to_json(options.json, indent=1)
    markdown = report.to_markdown()
    if options.markdown:
        Path(options.markdown).write_text(markdown, encoding="utf-8")
        print(report.headline)
    else:
        print(markdown, end="")
    _tell_github(report, markdown)
    return report.exit_code


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
    text = source if source.lstrip().startswith(("{", "[")) else _read(source)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as problem:
        raise PlanError(f"{source} is no JSON: {problem}") from None
    listed = content if isinstance(content, list) else content.get("guardrails")
    if listed is None and options.guardrails:
        raise PlanError(f"{source} holds no list of guardrails")
    return None if listed is None else [Guardrail.from_dict(item) for item in listed]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as problem:
        raise PlanError(f"{path} cannot be read: {problem.strerror}") from None


def _tell_github(report: Any, markdown: str) -> None:
    """The job summary, the step's outputs, and an annotation, where the run is inside GitHub Actions."""
    summary, outputs = os.environ.get("GITHUB_STEP_SUMMARY"), os.environ.get("GITHUB_OUTPUT")
    if summary:
        with open(summary, "a", encoding="utf-8") as file:
            file.write(markdown + "\n")
    if outputs:
        with open(outputs, "a", encoding="utf-8") as file:
            file.write(f"verdict={report.verdict.value}\nexit_code={report.exit_code}\n")
    if os.environ.get("GITHUB_ACTIONS"):
        level = {0: "notice", 10: "warning", 20: "error"}[report.exit_code]
        print(f"::{level}::{_one_line(report.headline)}")


def _one_line(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


if __name__ == "__main__":
    sys.exit(main())
