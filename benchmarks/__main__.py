"""`python -m benchmarks NAME [--rows N]`: measure one hot path and its peers, print JSON lines.

`all` runs every benchmark at its usual size, each in a process of its own.
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
    return sorted(name for name in found if name not in {"__main__", "timing"})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*names(), "all"])
    parser.add_argument("--rows", type=int, help="size of the measured input (default: the benchmark's own)")
    options = parser.parse_args(arguments)
    if options.name == "all":
        size = [] if options.rows is None else ["--rows", str(options.rows)]
        runs = [subprocess.run([sys.executable, "-m", "benchmarks", name, *size]) for name in names()]
        return max((run.returncode for run in runs), default=0)
    benchmark = import_module(f"benchmarks.{options.name}")
    for line in benchmark.run(options.rows or benchmark.ROWS):
        print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
