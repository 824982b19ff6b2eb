"""The first minute: what a first verdict waits for."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

FIRST_VERDICT = """
import sys
import canarykit as ck
log = ck.read_posthog("sample_data/events.parquet", persons="sample_data/persons.parquet")
plan = ck.RolloutPlan.from_json("sample_data/plan.json")
stage = "expanded beta 5%"
report = ck.evaluate_stage(
    log, plan, stage, ck.Guardrail("$exception", margin_ratio=1.5), as_of=plan.window(stage)[1]
)
slow = ("scipy.stats", "statsmodels", "matplotlib", "numba", "polars")
print(report.verdict.value, [name for name in slow if name in sys.modules])
"""


def test_a_first_verdict_on_a_small_export_waits_for_no_slow_import():
    out = subprocess.run(
        [sys.executable, "-c", FIRST_VERDICT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "roll back []"
