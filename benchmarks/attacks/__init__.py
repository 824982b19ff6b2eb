"""Releases that change nothing, or lie exactly at the margin, under whatever might make them look otherwise.

Not a matter of speed: each line says how often a promise is broken, at whatever look, against what is
promised. A line is off when it exceeds the promise by more than three Monte-Carlo standard errors. `--rows`
is the number of simulated releases behind each line; seeds are fixed. People are simulated one by one, and
judged by compiled forms of what `evaluate_stage` does, which tests hold against `evaluate_stage` on logs.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks.attacks.events import (
    at_the_margin,
    compared_by_the_past,
    events_of_all_kinds,
    looks_of_all_kinds,
    ramps,
    times_to_events,
    variants,
)
from benchmarks.attacks.limits import funnels_compared, limits_kept
from benchmarks.attacks.one_look import promoter_scores, small_arms
from benchmarks.attacks.quantiles import quantiles_kept
from benchmarks.attacks.values import values_at_the_margin, values_unchanged
from benchmarks.tables.parts import run_parts
from benchmarks.tables.written import written as tables

__all__ = ["PARTS", "ROWS", "run", "written"]

ROWS = 200
PARTS = (
    events_of_all_kinds,
    looks_of_all_kinds,
    ramps,
    variants,
    at_the_margin,
    times_to_events,
    compared_by_the_past,
    values_unchanged,
    values_at_the_margin,
    quantiles_kept,
    limits_kept,
    funnels_compared,
    promoter_scores,
    small_arms,
)


def run(rows: int, keep: str | None = None) -> Iterator[dict[str, Any]]:
    """Every line of all tables; the last says how many are where they should be."""
    yield from run_parts("attacks", PARTS, rows, keep)


INTRODUCTION = """# The promises under attack

Simulated releases that change nothing, or lie exactly at the margin, under every hazard, share, traffic and
way of looking; written by `python -m benchmarks attacks --rows {rows} --table FILE` with fixed seeds. "Share"
is how often the promise is broken at any look, "at most" what is promised. {verdict}

{when}
"""


def written(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown of what `run` yielded."""
    return tables(lines, INTRODUCTION)
