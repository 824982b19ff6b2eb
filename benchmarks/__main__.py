"""`python -m benchmarks NAME [--rows N]`: measure one hot path and its peers, print JSON lines.

`all` runs every benchmark at its usual size, each in a process of its own. `--table` writes the lines of
`calibrate`, `attacks` and `day` as Markdown too; `--table -` prints that instead of the lines. `--keep` is a
folder for the finished parts of `calibrate` and `attacks`, so that a run can be taken up again. `--people` is
another way to say the size of `day`, and `--only` names its sources, questions and peers that are asked.
"""

import argparse
import json
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path


def names() -> list[str]:
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in found if name not in {"__main__", "tables", "timing"})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*names(), "all"])
    parser.add_argument("--rows", type=int, help="size of the measured input (default: the benchmark's own)")
    parser.add_argument("--people", type=int, help="people in the measured export (day only)")
    parser.add_argument("--only", nargs="+", help="sources, questions and peers that are asked (day only)")
    parser.add_argument("--table", help="file to write as Markdown, - to print it (calibrate, attacks, day)")
    parser.add_argument("--keep", help="folder of finished parts, read instead of run (calibrate, attacks)")
    options = parser.parse_args(arguments)
    if options.name == "all":
        size = [] if options.rows is None else ["--rows", str(options.rows)]
        runs = [subprocess.run([sys.executable, "-m", "benchmarks", name, *size]) for name in names()]
        return max((run.returncode for run in runs), default=0)
    benchmark = import_module(f"benchmarks.{options.name}")
    if options.table and not hasattr(benchmark, "written"):
        parser.error(f"{options.name} has no table to write; calibrate, attacks and day have")
    names_of = {"day": ("people", "only")}.get(options.name, ("keep",) if hasattr(benchmark, "PARTS") else ())
    asked = ("people", "only", "keep")
    given = {name: value for name in asked if (value := getattr(options, name)) is not None}
    if wrong := [name for name in given if name not in names_of]:
        parser.error(f"{options.name} takes no --{' or --'.join(wrong)}")
    lines = []
    for line in benchmark.run(options.rows or benchmark.ROWS, **given):
        lines.append(line)
        if options.table != "-":
            print(json.dumps(line), flush=True)
    if options.table == "-":
        print(benchmark.written(lines))
    elif options.table:
        Path(options.table).write_text(benchmark.written(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
