"""`python -m benchmarks.day.child FOLDER WHO STEP ...`: what each step costs in a process of its own.

WHO is where our log is (`parquet`, `pandas`, `ibis`), or who answers instead (`DuckDB`, `chdb`, `Polars`,
`plain pandas`, `bare`). Every step is asked twice; one JSON object a line says the seconds and the memory.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.day import by_hand, peers, steps
from benchmarks.day.export import Export
from benchmarks.timing import peak_of, status_mb, stopwatch


def measured(step: str, run: Callable[[], Any], numbers: Callable[[Any], Any]) -> dict[str, Any]:
    """One step, cold and again; the peak is that of the whole process."""
    kept: list[Any] = []
    cold_s, cold_cpu = stopwatch(lambda: kept.append(peak_of(run)[0]))
    peak = status_mb("VmHWM")
    counted = numbers(kept.pop())
    again_s, again_cpu = stopwatch(run)
    return {
        "step": step,
        "cold_s": cold_s,
        "cold_cpu_s": cold_cpu,
        "again_s": again_s,
        "again_cpu_s": again_cpu,
        "peak_mb": peak,
        "numbers": counted,
    }


def answers(who: str, export: Export, step: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """How somebody else answers a step."""
    if who == "bare":
        return lambda: {"read": peers.bare_read, "walk": peers.bare_walk}[step](export), lambda rows: {}
    if who in by_hand.DIALECTS:
        return lambda: by_hand.ask(who, step, export), lambda rows: by_hand.numbers_of(step, rows)
    return lambda: peers.PEERS[who][step](export), lambda numbers: numbers


def main(folder: str, who: str, *asked: str) -> None:
    export = Export(Path(folder))
    if who in steps.SOURCES:
        logs: list[Any] = []
        opened = measured("open", lambda: steps.open_log(who, export), lambda log: logs.append(log) or {})
        print(json.dumps(opened), flush=True)
    for step in asked:
        if who in steps.SOURCES:
            question = steps.ALL[step]
            line = measured(step, lambda question=question: question.run(logs[0]), question.numbers)
        else:
            line = measured(step, *answers(who, export, step))
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
