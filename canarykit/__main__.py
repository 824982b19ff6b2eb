"""`canarykit`, or `python -m canarykit`: a release from the command line, for people and for pipelines.

Exit codes of `evaluate` and `watch`: 0 promote, 10 hold, 20 roll back; 1 means that something was wrong
with the input or the server, 2 with the command line. A verdict never comes out of an error.
"""

from __future__ import annotations

import os
import shlex
import sys
from importlib import import_module
from typing import Any

import click

import canarykit
from canarykit.commands.shared import complain, say, write_what_the_terminal_cannot
from canarykit.errors import CanarykitError, close_name
from canarykit.escaping import one_line, workflow_text

__all__ = ["main"]

_COMMANDS = {
    "evaluate": "canarykit.commands.evaluate",
    "funnel": "canarykit.commands.funnel",
    "plan": "canarykit.commands.project",
    "prepare": "canarykit.commands.project",
    "pull": "canarykit.commands.project",
    "push": "canarykit.commands.project",
    "rollback": "canarykit.commands.project",
    "watch": "canarykit.commands.project",
}


class _Verbs(click.Group):
    """Commands that are loaded when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One verb; None where there is no such."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(_COMMANDS[cmd_name]), cmd_name)
        return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(canarykit.__version__, message="canarykit %(version)s")
def _canarykit() -> None:
    """Judge canary releases behind feature flags, and move their flags.

    Completion: `eval "$(_CANARYKIT_COMPLETE=bash_source canarykit)"`, and likewise for zsh and fish.
    """


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the answer is the process exit code."""
    write_what_the_terminal_cannot()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        answer: Any = _canarykit.main(given, prog_name="canarykit", standalone_mode=False)
        return int(answer or 0)
    except click.UsageError as problem:
        _explain(problem, given)
        sys.exit(2)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except CanarykitError as problem:
        complain(getattr(problem, "said", "") or str(problem))
        if columns := getattr(problem, "columns", None):
            listed = " ".join(
                shlex.join(["--column", f"{name}={column}"]) for name, column in columns.items()
            )
            print(f"hint: did you mean: {one_line(listed)}", file=sys.stderr)
        if os.environ.get("GITHUB_ACTIONS"):
            say(f"::error::{workflow_text(problem)}")
        return 1


def _explain(problem: click.UsageError, given: list[str]) -> None:
    """What is wrong with the command line, what was probably meant, and where the options are described."""
    context = problem.ctx
    path = "canarykit" if context is None else context.command_path
    if context is not None:
        print(context.get_usage().replace("Usage:", "usage:", 1), file=sys.stderr)
    print(f"{path}: error: {one_line(problem.format_message())}", file=sys.stderr)
    options = [] if context is None else [o for p in context.command.params for o in p.opts if o[:2] == "--"]
    for name in (argument.split("=")[0] for argument in given if argument.startswith("--")):
        if name.strip("-") and not any(option.startswith(name) for option in [*options, "--help"]):
            close = close_name(name, options)
            meant = f"; did you mean {close}?" if close else ""
            print(f"hint: there is no option {one_line(name)}{meant}", file=sys.stderr)
    print(f"hint: {path} --help describes every option", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
