"""Large logs are packed and spread over buckets; the answer is the general path's, to the last digit."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import canarykit as ck
from canarykit.events import EventLog
from canarykit.funnels.answers.numbers import step_table
from canarykit.funnels.api import funnel_query
from canarykit.funnels.engine.feed import columns_needed
from canarykit.funnels.packed import stream
from canarykit.funnels.packed.run_packed import DoesNotFit, run_batches
from canarykit.funnels.run import ShardFunnel, finish_run, run_funnel
from tests.funnel_runs import run_table

EVENTS = ["open", "cart", "pay", "refund", "other"]
QUESTIONS = {
    "plain": {},
    "by flag": {"flag": "new"},
    "last touch": {"flag": "new", "attribution": "last_touch"},
    "all events": {"flag": "new", "attribution": "all_events"},
    "by step": {"flag": "new", "attribution": ("step", 1)},
    "group values": {"breakdown": {"property": "plan", "type": "group", "group_type_index": 0}},
    "two properties": {"breakdown": ["$feature/new", "city"]},
    "strict": {"order": "strict", "flag": "new"},
    "unordered": {"order": "unordered", "flag": "new"},
    "exclusion": {"exclusions": ["refund"], "flag": "new"},
    "optional": {"optional": ["cart"], "flag": "new"},
    "near ties": {"tie_width_seconds": 2.0, "flag": "new"},
    "filters": {"filters": {"city": ["Oslo", "Rome"]}, "flag": "new"},
    "weekdays": {"days_of_week": [1, 2, 3], "timezone": "Asia/Tokyo", "flag": "new"},
    "dates": {"date_from": "2026-09-08", "date_to": "2026-09-20", "flag": "new"},
    "by distinct id": {"aggregate_by": "distinct_id", "flag": "new"},
    "by city": {"aggregate_by": "property:city", "flag": "new"},
    "limit": {"breakdown": "city", "limit": 2},
}


def random_frame(rows=4_000, people=600, seed=5) -> pd.DataFrame:
    """Few seconds apart, so that there are ties, windows and repeats; some people have very many events."""
    rng = np.random.default_rng(seed)
    person = np.where(rng.random(rows) < 0.1, 0, rng.integers(people, size=rows))
    second = rng.integers(0, 12, size=rows) + 86_400 * rng.integers(0, 20, size=rows)
    text = pd.Series(person).map("user-{}".format)
    return pd.DataFrame(
        {
            "event": pd.Categorical.from_codes(rng.integers(len(EVENTS), size=rows), EVENTS),
            "timestamp": pd.Timestamp("2026-09-07T09:00:00Z") + pd.to_timedelta(second, unit="s"),
            "person_id": text,
            "distinct_id": text + pd.Series(rng.choice(["", "-phone"], size=rows)),
            "$feature/new": pd.Series(rng.choice(["true", "false", None], size=rows, p=[0.45, 0.45, 0.1])),
            "city": pd.Series(rng.choice(["Oslo", "Rome", "Kyiv", ""], size=rows)),
            "group0.plan": pd.Series(rng.choice(["pro", "free", None], size=rows)),
        }
    )


def tables_of(frame, query, pieces):
    table = pa.Table.from_pandas(frame[columns_needed(query)], preserve_index=False)
    cuts = np.linspace(0, len(frame), pieces + 1).astype(int)
    return table, [table.slice(a, b - a) for a, b in pairwise(cuts)]


def assert_same(first, second, query):
    assert first.labels == second.labels
    assert (first.n_actors, first.n_events) == (second.n_actors, second.n_events)
    one, other = step_table(first, query), step_table(second, query)
    np.testing.assert_array_equal(one.counts, other.counts)
    np.testing.assert_array_equal(one.average_seconds, other.average_seconds)
    np.testing.assert_array_equal(one.median_seconds, other.median_seconds)
    assert sorted(map(tuple, first.times.tolist())) == sorted(map(tuple, second.times.tolist()))


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("ids, rows", [("text", "in time order"), ("integer", "shuffled")])
def test_packed_batches_give_the_answer_of_the_general_path(name, ids, rows):
    settings = {"within": "8s", **QUESTIONS[name]}
    query = funnel_query(["open", "cart", "pay"], **settings)
    frame = random_frame()
    if ids == "integer":
        frame["person_id"] = frame["person_id"].str.removeprefix("user-").astype(int) * 7_919 - 10**6
    if rows == "in time order":
        frame = frame.sort_values("timestamp", kind="stable", ignore_index=True)
    table, pieces = tables_of(frame, query, 3)
    packed = finish_run([run_batches(pieces, query, threads=2)], query, None, None)
    assert_same(packed, run_table(table, query, form="plain"), query)
    assert_same(packed, run_table(table, query, form="compiled"), query)


@pytest.mark.parametrize("seed", range(4))
def test_times_of_many_entries_are_those_of_few(monkeypatch, seed):
    """Gaps are gathered by compiled code, medians looked for in a bracket: neither may change a number."""
    query = funnel_query(["open", "cart", "pay"], within="20d", breakdown="city", limit=None)
    frame = random_frame(rows=3_000 + seed, seed=seed)
    run = finish_run([run_table(tables_of(frame, query, 1)[0], query)], query, None, None)
    few = step_table(run, query)
    monkeypatch.setattr("canarykit.funnels.answers.numbers.MANY_ENTRIES", 0)
    monkeypatch.setattr("canarykit.funnels.answers.numbers.MANY_VALUES", 20)
    monkeypatch.setattr("canarykit.funnels.answers.numbers.SAMPLE", 10)
    many = step_table(run, query)
    np.testing.assert_array_equal(many.counts, few.counts)
    np.testing.assert_array_equal(many.average_seconds, few.average_seconds)
    np.testing.assert_array_equal(many.median_seconds, few.median_seconds)
    assert many.total_median_seconds == few.total_median_seconds


def test_repeated_steps_and_events_of_several_steps_take_the_full_scan():
    query = funnel_query(["open", ["open", "cart"], None], within="8s", flag="new")
    table, pieces = tables_of(random_frame(), query, 2)
    packed = finish_run([run_batches(pieces, query, threads=1)], query, None, None)
    assert_same(packed, run_table(table, query), query)


def test_what_does_not_fit_the_packed_form_is_left_to_the_general_path():
    query = funnel_query(["open", "cart"])
    frame = random_frame(100)
    frame.loc[0, ["event", "timestamp"]] = ["open", pd.Timestamp("1999-01-01T00:00:00Z")]
    with pytest.raises(DoesNotFit):
        run_batches(tables_of(frame, query, 1)[1], query)


def test_a_large_shard_is_packed_where_it_is_and_gives_the_same(monkeypatch):
    query = funnel_query(["open", "cart", "pay"], within="8s", flag="new")
    table, _ = tables_of(random_frame(), query, 1)
    small = run_table(table, query)
    monkeypatch.setattr(stream, "PLAIN_LIMIT", 100)
    packed = finish_run([ShardFunnel(query)(table)], query, None, None)
    assert packed.actor_code is None
    assert_same(packed, small, query)


def test_a_log_above_the_limit_goes_through_buckets_and_says_the_same(monkeypatch):
    log = EventLog(random_frame())
    query = funnel_query(["open", "cart", "pay"], within="8s", flag="new")
    small = run_funnel(log, query)
    called = []
    monkeypatch.setattr(stream, "PLAIN_LIMIT", 100)
    monkeypatch.setattr(
        "canarykit.funnels.packed.run_packed.run_batches",
        lambda *a, **k: called.append(1) or run_batches(*a, **k),
    )
    assert_same(run_funnel(log, query), small, query)
    assert called


def test_a_log_that_would_not_fit_in_memory_packed_is_read_in_shards_and_says_the_same(monkeypatch, tmp_path):
    random_frame().to_parquet(tmp_path / "log.parquet", row_group_size=200)
    query = funnel_query(["open", "cart", "pay"], within="8s", flag="new")
    small = run_funnel(EventLog(random_frame()), query)
    monkeypatch.setattr(stream, "PLAIN_LIMIT", 100)
    monkeypatch.setattr("canarykit.funnels.packed.packer.most_events", lambda: 150)
    log = ck.scan_posthog(tmp_path / "log.parquet", memory_limit="0.02MB")
    assert len(log.reduce(["event", "timestamp", "person_id"], len)) > 1
    assert_same(run_funnel(log, query), small, query)
