"""What a verdict needs in memory where the events stay in their file: a process of its own, with a limit."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
FILLER = ',"$elements_chain":"' + "x" * 4000 + '"}'

VERDICT = """
import json, pathlib, re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4_000_000_000, 4_000_000_000))
import canarykit as ck
log = ck.scan_posthog(sys.argv[1], persons="sample_data/persons.parquet", cache=False)
plan = ck.RolloutPlan.from_json("sample_data/plan.json")
stage = "expanded beta 5%"
report = ck.evaluate_stage(log, plan, stage, as_of=plan.window(stage)[1])
# Not getrusage: its peak is handed on to a child by the process that starts it, a large test run among them.
peak = int(re.search("VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
print(json.dumps([report.verdict.value, peak / 1000]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits and peaks are counted otherwise elsewhere")
def test_a_verdict_from_a_file_needs_less_memory_than_the_documents_in_it(tmp_path):
    """Each event carries 4 kB that no question asks for; a row group of them fits many times, all do not."""
    stored = pq.ParquetFile(ROOT / "sample_data" / "events.parquet")
    n_bytes = 0
    with pq.ParquetWriter(tmp_path / "events.parquet", stored.schema_arrow, compression="zstd") as writer:
        for batch in stored.iter_batches(4_000):
            at = batch.schema.get_field_index("properties")
            documents = pc.replace_substring_regex(batch.column(at), r"\}$", FILLER)
            n_bytes += documents.nbytes
            columns = [documents if n == at else column for n, column in enumerate(batch.columns)]
            writer.write_table(pa.table(columns, schema=batch.schema))
    out = subprocess.run(
        [sys.executable, "-c", VERDICT, str(tmp_path / "events.parquet")],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    verdict, peak_mb = json.loads(out.stdout)
    assert verdict == "roll back"
    assert n_bytes > 900e6
    assert peak_mb * 1e6 < 0.8 * n_bytes, (
        f"{peak_mb:.0f} MB at the highest, {n_bytes / 1e6:.0f} MB of documents"
    )
