"""The walk behind `make walk`: run the stage notebooks, keep what they show, print each verdict.

Notebooks are executed in their own folder, in one kernel that forgets every name between two of them:
starting a kernel and loading the libraries would take longer than most of them. After its last cell the
kernel is asked for the stage reports it holds (a list named `reports`, else `report`); each becomes a line
on the terminal and a self-contained HTML file.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canarykit.display import Column, Table
from canarykit.errors import CanarykitError, DataError, part
from canarykit.escaping import one_line
from canarykit.files import write_whole

if TYPE_CHECKING:
    from canarykit.health import StageReport

__all__ = ["collect", "main"]

STAGE_NOTEBOOKS = "1[0-9]_*.ipynb"
OWN_RELEASE = "90_your_release.ipynb"
MARK, ASSUMED = "canarykit-walk:", "canarykit-assumed:"
COLUMNS = (
    Column("stage", "stage"),
    Column("share", "share", "share"),
    Column("n_canary", "with it", "count"),
    Column("n_control", "without", "count"),
    Column("verdict", "verdict"),
    Column("reason", "reason"),
)


@dataclass(frozen=True)
class Walked:
    """One notebook that was run: its pages in the build folder and the lines of its reports."""

    name: str
    page: Path
    lines: tuple[dict[str, Any], ...]
    assumed: tuple[str, ...] = ()


def main(arguments: list[str] | None = None) -> int:
    """Walk the stages on the sample data, or one release of your own; 0 when every notebook ran."""
    try:
        return _walk(_parser().parse_args(arguments))
    except CanarykitError as problem:
        print(f"error: {one_line(problem)}", file=sys.stderr)
        return 1


def _walk(options: argparse.Namespace) -> int:
    """Run the notebooks in one kernel, print the verdicts and what was assumed, write the index."""
    own_release = {
        "EXPORT": options.export,
        "FLAG": options.flag,
        "PERSONS": options.persons,
        "GROUPS": options.groups,
        "COLUMN": options.column,
        "ZONE": options.zone,
        "PLAN": options.plan,
        "STAGE": options.stage,
        "AS_OF": options.as_of,
    }
    if any(own_release.values()) and not (own_release["EXPORT"] and own_release["FLAG"]):
        raise DataError("your own release needs both EXPORT= (the events) and FLAG= (the flag's key)")
    for name in ("EXPORT", "PERSONS", "GROUPS", "PLAN"):
        own_release[name] = own_release[name] and str(_existing(own_release[name], name))
    folder = Path(options.notebooks)
    named = OWN_RELEASE if own_release["EXPORT"] else STAGE_NOTEBOOKS
    notebooks = sorted(folder.glob(named))
    if not notebooks:
        raise DataError(
            f"no notebook {named} in {folder.resolve()}; pass the folder of the repository's notebooks as "
            "--notebooks"
        )
    build = Path(options.build).resolve()
    build.mkdir(parents=True, exist_ok=True)
    walked = []
    with _kernel(folder) as kernel:
        for path in notebooks:
            print(f"running {path.name} ...", file=sys.stderr, flush=True)
            walked.append(_run(path, build, own_release, kernel))
    lines = [line for notebook in walked for line in notebook.lines]
    print(Table.of(COLUMNS, [_shown(line) for line in lines]).to_text())
    assumed = [text for notebook in walked for text in notebook.assumed]
    if assumed:
        print(
            "\nAssumed, to be read before the verdict is used:" + "".join(f"\n  {text}" for text in assumed)
        )
    index = _write_index(walked, build)
    print(f"\nReports and executed notebooks: open {_relative(index)}")
    return 0


def collect(namespace: dict[str, Any], build: str, stem: str) -> None:
    """Write every stage report that a notebook holds to `build` and print its line; runs in the kernel."""
    from canarykit.health.page.timeline import stage_line

    judged = namespace.get("reports") or [namespace["report"]]
    reports: list[StageReport] = list(judged.values()) if isinstance(judged, dict) else list(judged)
    for text in _assumed(namespace):
        print(ASSUMED + text)
    for number, report in enumerate(reports, start=1):
        page = Path(build) / f"{stem}_report{f'_{number}' if len(reports) > 1 else ''}.html"
        report.to_html(page)
        print(MARK + json.dumps(stage_line(report, page.name)))


def _assumed(namespace: dict[str, Any]) -> list[str]:
    """What an own release was judged by without having been given it: the steps, and the guardrails."""
    lines = []
    if "PLAN" in namespace and not namespace["PLAN"]:
        lines.append(
            "no PLAN=: the steps of the ramp were found in the events; people who were chosen or enrolled "
            "themselves are not told from the randomised ones"
        )
    suggested = namespace.get("suggested")
    for label, worse, *_, tolerated in ([row[0], row[1], row[4]] for row in getattr(suggested, "rows", ())):
        lines.append(f"proposed from the events: {label}, {worse} is worse, tolerated {tolerated}")
    return [one_line(line) for line in (*lines, *getattr(suggested, "notes", ()))]


def forget() -> None:
    """Make the kernel as good as new, libraries still loaded; runs in the kernel, in the last cell."""
    from IPython import get_ipython

    get_ipython().reset()


def _shown(line: dict[str, Any]) -> dict[str, Any]:
    """A line as the terminal shows it."""
    from canarykit.health.decision import Verdict

    return {**line, "verdict": f"{Verdict(line['verdict']).icon} {line['verdict']}"}


@contextmanager
def _kernel(folder: Path) -> Iterator[Any]:
    """A client whose kernel runs in the folder of the notebooks."""
    nbformat, nbclient = _notebook_part("nbformat"), _notebook_part("nbclient")
    client = nbclient.NotebookClient(
        nbformat.v4.new_notebook(),
        kernel_name="python3",
        extra_arguments=["--log-level=40"],  # not the kernel's remarks about its own connection
        resources={"metadata": {"path": str(folder.resolve())}},
    )
    with client.setup_kernel():
        yield client


def _run(path: Path, build: Path, own_release: dict[str, str], kernel: Any) -> Walked:
    nbformat, nbclient, nbconvert = (_notebook_part(name) for name in ("nbformat", "nbclient", "nbconvert"))
    notebook = nbformat.read(path, as_version=4)
    if own_release["EXPORT"]:
        _set_parameters(notebook, own_release)
    probe = nbformat.v4.new_code_cell(
        "from canarykit.walk import collect, forget\n"
        f"collect(globals(), {str(build)!r}, {path.stem!r})\nforget()"
    )
    notebook.cells.append(probe)
    client = nbclient.NotebookClient(notebook, km=kernel.km, timeout=600, record_timing=False)
    client.kc = kernel.kc
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as stopped:
        nbformat.write(notebook, build / path.name)
        raise DataError(
            f"{path.name} stopped: {stopped.ename}: {stopped.evalue}\n{_hint(stopped.ename, stopped.evalue)}"
            f"(executed up to there: {_relative(build / path.name)})"
        ) from None
    said = "".join(output.get("text", "") for output in notebook.cells.pop().outputs)
    nbformat.write(notebook, build / path.name)
    exporter = nbconvert.HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)
    page = build / f"{path.stem}.html"
    write_whole(page, exporter.from_notebook_node(notebook)[0])
    lines = tuple(json.loads(line.removeprefix(MARK)) for line in said.splitlines() if line.startswith(MARK))
    assumed = [line.removeprefix(ASSUMED) for line in said.splitlines() if line.startswith(ASSUMED)]
    return Walked(path.stem, page, lines, tuple(assumed))


def _hint(name: str, message: str) -> str:
    """What to give to the walk where an error says what to give to a function; else nothing."""
    if name == "NaiveTimestampError":
        return "(here: ZONE=UTC, or where the times are from)\n"
    if name != "MissingColumnsError":
        return ""
    named = re.findall(r'(\w+)=(?:"([^"]+)"|\.\.\.)', message.rpartition("(..., ")[2])
    listed = ",".join(f"{name}={column or '...'}" for name, column in named)
    return f"(here: COLUMN={shlex.quote(listed)})\n"


def _notebook_part(name: str) -> Any:
    return part(name, what="the walk", install="'canarykit[walk]'")


def _set_parameters(notebook: Any, own_release: dict[str, str]) -> None:
    """Put the user's values behind the cell tagged `parameters`, as papermill does."""
    nbformat = _notebook_part("nbformat")
    at = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    if len(at) != 1:
        raise DataError(f"the notebook has {len(at)} cells tagged 'parameters'; expected one")
    source = "\n".join(f"{name} = {value!r}" for name, value in own_release.items())
    injected = nbformat.v4.new_code_cell(source, metadata={"tags": ["injected-parameters"]})
    notebook.cells.insert(at[0] + 1, injected)


def _write_index(walked: list[Walked], build: Path) -> Path:
    from canarykit.health.page.timeline import release_page

    lines = [{**line, "notebook": notebook.page.name} for notebook in walked for line in notebook.lines]
    page = build / "index.html"
    write_whole(page, release_page(lines))
    return page


def _existing(value: str, name: str) -> Path | str:
    """Absolute path of a file, a folder or a glob; notebooks run in their own folder."""
    path = Path(value).expanduser()
    if any(sign in value for sign in "*?["):
        return path.absolute()
    if not path.exists():
        raise DataError(f"{name}={value} does not exist (looked in {Path.cwd()})")
    return path.resolve()


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _parser() -> argparse.ArgumentParser:
    """The command line; what is left out is taken from the environment, as make passes it."""
    parser = argparse.ArgumentParser(
        prog="python -m canarykit.walk",
        description=__doc__,
        epilog="Where an option is left out, the variable CANARYKIT_EXPORT, CANARYKIT_FLAG ... counts.",
    )

    def given(option: str) -> str:
        return os.environ.get(f"CANARYKIT_{option}", "")

    parser.add_argument("--notebooks", default="notebooks", help="folder of the notebooks")
    parser.add_argument("--build", default="build", help="folder for executed notebooks and reports")
    parser.add_argument(
        "--export", default=given("EXPORT"), help="your events: a PostHog export (Parquet, JSONL, CSV)"
    )
    parser.add_argument("--flag", default=given("FLAG"), help="key of the flag behind your release")
    parser.add_argument(
        "--persons", default=given("PERSONS"), help="persons export, where the events have no person_id"
    )
    parser.add_argument(
        "--groups", default=given("GROUPS"), help="groups export, where stages name organisations"
    )
    parser.add_argument(
        "--column",
        default=given("COLUMN"),
        help="columns of the events that are called otherwise, e.g. event=event_name,timestamp=ts",
    )
    parser.add_argument("--zone", default=given("ZONE"), help="time zone of times that carry none")
    parser.add_argument(
        "--plan", default=given("PLAN"), help="plan as JSON; without it the stages are read from the events"
    )
    parser.add_argument(
        "--stage", default=given("STAGE"), help="stage to judge; default: the current one at --as-of"
    )
    parser.add_argument(
        "--as-of", default=given("AS_OF"), help="judge as of this time (ISO 8601); default: the last event"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
