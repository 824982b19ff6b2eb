"""The runner of other systems' cases: nothing unknown passes, nothing is skipped, the last line counts."""

import json
import subprocess
import sys
from pathlib import Path

CONFORMANCE = Path(__file__).parent / "conformance"


def run(directory):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", CONFORMANCE, "-q", "-p", "no:cacheprovider", "--cases", directory],
        capture_output=True,
        text=True,
        cwd=CONFORMANCE.parents[1],
    )
    return done.returncode, done.stdout.strip().splitlines()


def case(number, vendor="goff", op="fnv1a_32", expect=3946001934):
    inputs = {"op": op, "text": "flagNameUserKey"}
    return json.dumps({"vendor": vendor, "id": f"{vendor}-{number}", "inputs": inputs, "expect": expect})


def test_the_last_line_counts_each_file_and_unknown_ops_and_vendors_fail(tmp_path):
    lines = [case(1), case(2, op="fnv1a_64"), case(3, vendor="nobody"), case(4, expect=1)]
    (tmp_path / "bucketing_vectors.jsonl").write_text("\n".join(lines) + "\n")
    code, output = run(tmp_path)
    assert code == 1
    assert output[-1] == "cases: bucketing_vectors.jsonl 1 passed, 3 failed"
    assert any("unknown op 'fnv1a_64' of vendor 'goff'" in line for line in output)


def test_a_directory_without_any_case_file_is_an_error_not_a_success(tmp_path):
    code, output = run(tmp_path)
    assert code != 0
    assert any("that directory holds none of bucketing_vectors.jsonl" in line for line in output)


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "bucketing_vectors.jsonl").write_text(case(1) + "\n{broken\n")
    code, output = run(tmp_path)
    assert code != 0
    assert any("bucketing_vectors.jsonl, line 2: not JSON" in line for line in output)
