"""What the commands share: how they speak, where they connect, which guardrails they judge by."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from canarykit.documents import parse_document, read_document
from canarykit.errors import CanarykitError, DataError, PlanError
from canarykit.escaping import one_line
from canarykit.events.mapping import DEFAULTS


def connection(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where the project is. The key comes from the environment or a prompt only."""
    for option in (
        click.option("--record", default="release.jsonl", show_default=True, help="file of what was done"),
        click.option("--project", type=int, envvar="POSTHOG_PROJECT_ID", help="number of the project"),
        click.option(
            "--host",
            default="https://us.posthog.com",
            show_default=True,
            envvar="POSTHOG_HOST",
            help="address of PostHog",
        ),
    ):
        command = option(command)
    return command


def column_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option by which an export says which of its columns is which."""
    return click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="NAME=COLUMN",
        help="a column of the events that is called otherwise, e.g. event=event_name (may be repeated); NAME "
        f"is one of {', '.join(DEFAULTS)}",
    )(command)


def connect(host: str, project: int | None, record: str) -> Any:
    """The project; what was mended or guessed is said on stderr."""
    import canarykit as ck

    made = ck.PostHog(host, project, record=record)
    for item in made.notes:
        note(str(item))
    return made


def show(result: Any, as_json: bool) -> None:
    """A result as JSON for machines, or as Markdown for people and pull requests."""
    say(result.to_json(indent=1) if as_json else result.to_markdown().rstrip("\n"))


def guardrails_of(guardrails: str | None, plan: str | None) -> list[Any] | None:
    """Guardrails of an option, else of the plan file; None where neither has any."""
    from canarykit.metrics import Guardrail

    source = guardrails or plan
    if source is None:
        return None
    if source.lstrip().startswith(("{", "[")):
        content = parse_document(source, "the text of --guardrails")
    else:
        content = read_document(source, "the file of guardrails")
    listed = content.get("guardrails") if isinstance(content, dict) else content
    if listed is None and not guardrails:
        return None
    if not isinstance(listed, list):
        raise PlanError(f"the guardrails of {source} are {listed!r}; expected a list of names or objects")
    return [Guardrail.from_dict(item) for item in listed]


def append(path: str, text: str) -> None:
    """Add to a file that others write to as well."""
    try:
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as problem:
        raise DataError(f"{path} cannot be written: {problem.strerror}") from None


def or_complain(write: Callable[[], Any]) -> None:
    """A report that cannot be written is a complaint; the verdict stands."""
    try:
        write()
    except CanarykitError as problem:
        complain(str(problem))


def note(text: str) -> None:
    """What was assumed, in one line on stderr."""
    print(f"note: {one_line(text)}", file=sys.stderr)


def complain(problem: str) -> None:
    """An error in one line on stderr."""
    print(f"error: {one_line(problem)}", file=sys.stderr)


def say(text: str) -> None:
    """Print; a reader who has gone away (`| head`) does not change the exit code."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (until the process ends)


def write_what_the_terminal_cannot() -> None:
    """Signs that the encoding of the terminal lacks are written out, so that a verdict always prints."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
