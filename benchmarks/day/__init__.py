"""An analyst's whole day on one release: what each question costs, against one read of the same columns.

The export is simulated once, as PostHog writes it (JSON properties, Parquet), and kept in the temporary
folder (or `CANARYKIT_BENCH_DIR`). Every question is asked cold and again: of Parquet and of ibis (DuckDB)
in a process of its own, of a pandas frame all in one process, since reading the frame in is what costs
there. Where a query by hand gives the same numbers (DuckDB, ClickHouse), or a short program does (pandas,
Polars), they are compared before any ratio is told.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.timing import processor, significant

ROWS = 1_000_000
COSTS = ("cold_cpu_s", "cold_s", "kept_cpu_s", "again_cpu_s", "again_s", "peak_mb")


def run(rows: int, people: int | None = None, only: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """One line for each source and question; `only` names the sources, questions and peers that are asked."""
    from benchmarks.day import by_hand, peers, steps
    from benchmarks.day.export import EVENTS_PER_PERSON, export_of

    export = export_of(people or max(rows // EVENTS_PER_PERSON, 100))
    sources = [source for source in steps.SOURCES if source in only] or list(steps.SOURCES)
    asked = [step for step in steps.ALL if step in only] or list(steps.ALL)
    size = steps.size_of(export.events)
    (bare,), (walk,) = _child(export, "bare", "read"), _child(export, "bare", "walk")
    shared = {"bench": "day", "size": size, "people": people or size // EVENTS_PER_PERSON}
    yield {**shared, "step": "read", "source": "bare", **_costs(bare), **processor()}
    yield {**shared, "step": "read, find keys, hash ids", "source": "bare", **_costs(walk, bare)}
    others: dict[str, dict[str, dict[str, Any]]] = {}
    for step in asked:
        named = list(by_hand.DIALECTS) if step in by_hand.QUERIES else []
        named += [who for who, answered in peers.PEERS.items() if step in answered]
        named = [who for who in named if who in only or not {*by_hand.DIALECTS, *peers.PEERS} & {*only}]
        others[step] = {who: _child(export, who, step)[0] for who in named}
        for who, line in others[step].items():
            yield {**shared, "step": step, "source": f"{who} by hand", **_costs(line, bare)}
    for source in sources:
        _child(export, source, *asked)  # untimed: compiles what a new version has not compiled yet
        for line in _ours(export, source, asked):
            same = {who: _same(line, other, who) for who, other in others.get(line["step"], {}).items()}
            ratios = {f"to_{who}": _ratio(line, others[line["step"]][who]) for who in same}
            yield {**shared, "step": line["step"], "source": source, **_costs(line, bare), **ratios}


def written(lines: Sequence[dict[str, Any]]) -> str:
    """The lines as one Markdown table: processor seconds, cold, in a new process, and again."""
    head = [
        "question",
        "of",
        "cold s",
        "kept s",
        "again s",
        "to bare read",
        "to DuckDB",
        "to chdb",
        "peak MB",
    ]
    keys = ["step", "source", "cold_cpu_s", "kept_cpu_s", "again_cpu_s", "to_bare", "to_DuckDB", "to_chdb"]
    keys.append("peak_mb")
    rows = [head, ["---"] * 2 + ["---:"] * 7]
    rows += [["–" if line.get(key) is None else f"{line[key]}" for key in keys] for line in lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _ours(export: Any, source: str, asked: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Lines of one source: opening it once, then every question.

    A Parquet log is asked in a second process too, which finds the columns that the first one kept.
    """
    if source == "pandas":
        yield from _child(export, source, *asked)
        return
    for number, step in enumerate(asked):
        with tempfile.TemporaryDirectory() as cache:  # one each: no question finds what another one kept
            opened, line = _child(export, source, step, cache=cache)
            if source == "parquet":
                for first, kept in zip(
                    (opened, line), _child(export, source, step, cache=cache), strict=True
                ):
                    first["kept_cpu_s"] = kept["cold_cpu_s"]
        if number == 0:
            yield opened
        yield line


def _child(export: Any, *words: str, cache: str = "off") -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.day.child", str(export.folder), *words]
    environment = {**os.environ, "CANARYKIT_CACHE": cache}
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]


def _same(ours: dict[str, Any], other: dict[str, Any], who: str) -> bool:
    if ours["numbers"] != other["numbers"]:
        raise AssertionError(
            f"{ours['step']}: {who} by hand gives other numbers than ours; a ratio would mean nothing: "
            f"{other['numbers']} against {ours['numbers']}"
        )
    return True


def _costs(line: dict[str, Any], bare: dict[str, Any] | None = None) -> dict[str, Any]:
    kept = {key: significant(line[key], 3) for key in COSTS if key in line}
    if bare is not None:
        kept["to_bare"] = _ratio(line, bare)
        kept["again_to_bare"] = significant(line["again_cpu_s"] / bare["again_cpu_s"], 3)
    return kept


def _ratio(ours: dict[str, Any], other: dict[str, Any]) -> float:
    """Processor seconds of our first answer against those of their second: their start is not counted."""
    return significant(ours["cold_cpu_s"] / other["again_cpu_s"], 3)
