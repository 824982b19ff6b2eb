"""What the notebook about large logs promises: the same call, and the same answer, on files and on Spark."""

import duckdb
import pytest

import canarykit as ck

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning")

PLAN = ck.RolloutPlan.five_stages(
    "new-checkout", owner="ada@acme.io", team_domain="acme.io", ramp=(50,), starts_at="2026-09-07T09:00:00Z",
    dwell="1d",
)  # fmt: skip
STAGE = "expanded beta 50%"
QUESTION = {
    "steps": ["signup started", "signup finished", "paid"],
    "plan": PLAN,
    "stage": STAGE,
    "within": "1d",
    "attribution": "exposure",
}


@pytest.fixture(scope="module")
def in_memory():
    return ck.simulate_rollout(PLAN, ck.Population(2_000), ck.Scenario(), rng=20250303, progress=False)


@pytest.fixture(scope="module")
def folder(in_memory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    day = in_memory.frame["timestamp"].dt.strftime("day=%Y-%m-%d")
    for name, events in in_memory.frame.groupby(day):
        (folder / name).mkdir()
        events.to_parquet(folder / name / "events.parquet")
    return folder


@pytest.fixture(scope="module", params=["relation", "files in shards", "spark"])
def log(request, folder, in_memory):
    tables = {"persons": in_memory.persons, "groups": in_memory.groups}
    if request.param == "relation":
        files = str(folder / "*" / "*.parquet")
        yield ck.EventLog(duckdb.read_parquet(files), **tables)
    elif request.param == "files in shards":
        yield ck.scan_posthog(folder, memory_limit="1MB", **tables)
    else:
        spark = request.getfixturevalue("spark")
        yield ck.EventLog(spark.read.parquet(str(folder)), **tables)


def test_a_funnel_and_its_comparison_are_the_same_to_the_last_digit(log, in_memory):
    here, there = (ck.funnel_by_flag(one, **QUESTION) for one in (in_memory, log))
    assert here.to_frame().equals(there.to_frame())
    assert here.total_median_seconds == there.total_median_seconds
    assert here.compare().rows == there.compare().rows
    assert here.time_to_convert().rows == there.time_to_convert().rows
    assert sum(row["people"] for row in here.rows) > 1000


def test_people_and_their_sessions_are_the_same_and_in_the_same_order(log, in_memory):
    here, there = (
        ck.funnel_by_flag(one, **QUESTION).people("paid", dropped=True, limit=7) for one in (in_memory, log)
    )
    assert here.to_frame().equals(there.to_frame())
    assert len(here.rows) == 7
    assert here.events == there.events


def test_trends_are_the_same(log, in_memory):
    here, there = (ck.funnel_by_flag(one, **QUESTION).trend("hour").rows for one in (in_memory, log))
    assert here == there
    ask = {"flag": "new-checkout", "plan": PLAN, "stage": STAGE, "per": "exposed user", "interval": "hour"}
    here, there = (ck.trend_by_flag(one, "signup started", **ask).rows for one in (in_memory, log))
    assert here == there


def test_correlations_are_the_same(log, in_memory):
    here, there = (ck.funnel_by_flag(one, **QUESTION).correlates().rows for one in (in_memory, log))
    assert here == there
    assert here
