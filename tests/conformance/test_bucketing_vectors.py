"""Percentage rollouts and variant splits of sixteen vendors, from their own suites and engines."""

CASE_FILE = "bucketing_vectors.jsonl"


def test_the_vendor_answers_the_same(case):
    raise AssertionError(f"unknown op {case['inputs']['op']!r} of vendor {case['vendor']!r}")
