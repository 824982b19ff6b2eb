"""Operating characteristics of the decision rules, against published and reference values.

Not a matter of speed: each line says what a rule does to healthy and to bad releases, and whether that is
where it should be. A line is as it should be when a null rate is at most its bound plus three Monte-Carlo
standard errors, other rates are within those of their reference, and delays and people within 10 % of it.
`--rows` is the number of simulated rollouts (20,000 for the tables, 400 for a glance); tables that take
long stop at 2,000 or 4,000, and every line says how many are behind it. Seeds are fixed.

References: the boundary formulas of Waudby-Smith et al. (2024), doi:10.1214/24-AOS2408, of Lan & DeMets
(1983), doi:10.1093/biomet/70.3.659, and of the vendors' public documentation; the reference numbers were
simulated independently with 600 to 20,000 rollouts a cell. The vendors' rows are their published formulas,
not their products.
"""

from collections.abc import Iterator
from typing import Any

from benchmarks.calibrate.arms import several_arms
from benchmarks.calibrate.assignment import organisations, people_to_a_mismatch, sample_ratio
from benchmarks.calibrate.brownian import brownian
from benchmarks.calibrate.crossers import logins
from benchmarks.calibrate.failed_flags import flags_that_failed
from benchmarks.calibrate.late_arm import late_arms
from benchmarks.calibrate.looks import looks
from benchmarks.calibrate.oracle import events_to_harm
from benchmarks.calibrate.promotion import harm_budget, promotion
from benchmarks.calibrate.ramp import ramp, ramp_plan
from benchmarks.calibrate.segments import named_segments
from benchmarks.calibrate.simulated_and_judged import agreement
from benchmarks.calibrate.tails import amounts_that_fell, heavy_tails
from benchmarks.calibrate.variants import chatty, guardrails, remaining_traffic, rising_baseline, spreads
from benchmarks.tables.parts import run_parts
from benchmarks.tables.written import written

__all__ = ["PARTS", "ROWS", "ramp_plan", "run", "written"]

ROWS = 4000
PARTS = (
    brownian,
    ramp,
    looks,
    spreads,
    remaining_traffic,
    rising_baseline,
    chatty,
    guardrails,
    several_arms,
    named_segments,
    promotion,
    harm_budget,
    sample_ratio,
    people_to_a_mismatch,
    organisations,
    heavy_tails,
    amounts_that_fell,
    logins,
    flags_that_failed,
    events_to_harm,
    agreement,
    late_arms,
)


def run(rows: int, keep: str | None = None) -> Iterator[dict[str, Any]]:
    """Every line of all tables; the last says how many are where they should be."""
    yield from run_parts("calibrate", PARTS, rows, keep)
