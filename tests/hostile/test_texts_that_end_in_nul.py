"""numpy's own texts forget a NUL at their end; here a name is the same with it, and another one without."""

import numpy as np
import pandas as pd

import canarykit as ck
from canarykit.events.people import _typed
from canarykit.health.checks.before_and_after import _cluster_codes
from canarykit.health.people.segment_values import largest
from canarykit.health.report.organisations import _largest

START = pd.Timestamp("2026-09-07T09:00:00Z")


def called(who, variant, minute):
    properties = {"$feature_flag": "f", "$feature_flag_response": variant}
    at = START + pd.Timedelta(minutes=minute)
    return {"event": "$feature_flag_called", "distinct_id": who, "timestamp": at, "properties": properties}


def test_a_trend_counts_variants_that_differ_in_a_nul_apart():
    people = [("u", "a\x00"), ("v", "a"), ("w", "a")]
    rows = [called(who, variant, 0) for who, variant in people]
    rows += [
        {"event": "x", "distinct_id": who, "timestamp": START + pd.Timedelta(minutes=5)} for who, _ in people
    ]
    trend = ck.trend_by_flag(ck.EventLog(pd.DataFrame(rows)), "x", flag="f")
    assert {row["variant"]: row["exposed"] for row in trend.rows} == {"a\x00": 1, "a": 2}


def test_segments_and_organisations_that_differ_in_a_nul_are_two():
    values = np.array(["a\x00", "a", "a"], dtype=object)
    assert largest(values) == ["a", "a\x00"]
    assert len(set(_cluster_codes(values))) == 2
    several = np.repeat(np.array(["a\x00", "a", "b"], dtype=object), [5, 6, 1])
    inside = np.ones(len(several), dtype=bool)
    assert {name: int(mask.sum()) for name, mask in _largest(several, inside)} == {
        "a": 6, "a\x00": 5, "1 smaller organisation": 1,
    }  # fmt: skip


def test_a_property_called_self_is_a_property():
    frame = pd.DataFrame({"self": [10**20, None], "frame": ["a", "b"]}, dtype=object)
    assert _typed(frame)["self"].tolist() == [10**20, None]
