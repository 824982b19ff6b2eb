"""Four steps by flag over twenty event names: canarykit against SQL engines and pandas on the same rows.

All contenders count the same thing where their semantics coincide (ordered, seven days from the latest start,
no ties in the data), and their counts are compared before any clock starts. Frames and files are made outside
the clock. `windowFunnel` yields only levels; canarykit also keeps every step's time.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import canarykit as ck
from benchmarks.timing import Contender, compare, significant, timed

ROWS = 10_000_000
STEPS = ["view item", "add to cart", "begin checkout", "purchase"]
NAMES = [*STEPS, *(f"noise {i:02d}" for i in range(16))]
FLAG = "$feature/new-checkout"
VARIANTS = ["control", "test"]
DAY = 86_400_000_000
WINDOW = 7 * DAY
START = np.datetime64("2026-01-01", "us")
GROUP = 1_000_000
COLUMNS = ["event", "timestamp", "person_id", FLAG]


def make(rows: int, *, people: str = "uniform", shuffled: bool = False, seed: int = 7) -> pd.DataFrame:
    """Sessions of five events: the next step of the funnel, or noise; about a third are steps.

    `people` is "uniform" (ten events each), "zipf", or "one" (one person has a fifth of all rows).
    """
    rng = np.random.default_rng(seed)
    n_people, sessions = max(rows // 10, 10), rows // 5
    if people == "zipf":
        who = (rng.zipf(1.3, sessions) % n_people).astype(np.int32)
    else:
        who = rng.integers(n_people, size=sessions, dtype=np.int32)
    if people == "one":
        who[rng.random(sessions) < 0.2] = 0
    variant = rng.integers(2, size=n_people, dtype=np.int8)
    begin = rng.integers(60 * DAY, size=sessions)
    progress = np.zeros(sessions, np.int8)
    event, time = np.empty((sessions, 5), np.int8), np.empty((sessions, 5), np.int64)
    for j in range(5):
        begin = begin + (rng.standard_exponential(sessions, np.float32) * 0.6 * DAY).astype(np.int64)
        onward = rng.random(sessions, np.float32) < np.float32(0.3) + np.float32(0.03) * variant[who]
        noise = rng.integers(2, 20, size=sessions, dtype=np.int8)
        event[:, j] = np.where(onward & (progress < 4), progress, noise)
        time[:, j] = begin
        progress += onward
    micros = time.ravel()
    order = np.argsort(micros, kind="stable")
    micros = np.maximum.accumulate(micros[order] + np.arange(len(order)))  # sorted, no two alike
    if shuffled:
        mixed = rng.permutation(len(order))
        order, micros = order[mixed], micros[mixed]
    person = np.repeat(who, 5)[order]
    key = (person.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(1)).astype(np.int64)
    return pd.DataFrame(
        {
            "event": pd.Categorical.from_codes(event.ravel()[order], NAMES),
            "timestamp": pd.Series(START + micros.astype("m8[us]")).dt.tz_localize("UTC"),
            "person_id": key,
            FLAG: pd.Categorical.from_codes(variant[person], VARIANTS),
        }
    )


def with_text_ids(frame: pd.DataFrame) -> pd.DataFrame:
    """The same people with ids of 21 characters."""
    codes, keys = pd.factorize(frame["person_id"])
    names = pa.array([f"user-{key:016x}" for key in keys.tolist()], pa.large_string())
    texts = names.take(pa.array(codes)).to_pandas()
    return frame.assign(person_id=texts.astype("str") if pd.__version__ >= "3" else texts)


def ours(log: Any) -> Any:
    return ck.funnel_by_flag(log, STEPS, flag="new-checkout", within="7d", limit=None)


def our_counts(funnel: Any) -> dict[str, list[int]]:
    return {str(variant): list(counts) for variant, counts in sorted(funnel.counts.items())}


def levels(rows: Any) -> dict[str, list[int]]:
    """Counts from (variant, furthest step, people) rows."""
    counts = {variant: [0] * len(STEPS) for variant in VARIANTS}
    for variant, level, people in rows:
        for k in range(int(level)):
            counts[str(variant)][k] += int(people)
    return counts


def window_sql(source: str, micros: str) -> str:
    """The funnel as window functions: per step the latest start that is still in its window."""
    names = ", ".join(f"'{name}'" for name in STEPS)
    cases = " ".join(f"WHEN '{name}' THEN {k + 1}" for k, name in enumerate(STEPS))
    query = (
        f"SELECT person_id AS p, {micros} AS t, CASE event WHEN '' THEN 0 {cases} END AS s, \"{FLAG}\" AS f "
        f"FROM {source} WHERE event IN ({names})"
    )
    for k in range(1, len(STEPS) + 1):
        start = "t" if k == 1 else f"CASE WHEN t - a{k - 1} <= {WINDOW} THEN a{k - 1} END"
        latest = f"max(CASE WHEN s = {k} THEN {start} END) OVER w AS a{k}"
        window = "WINDOW w AS (PARTITION BY p ORDER BY t ROWS UNBOUNDED PRECEDING)"
        query = f"SELECT *, {latest} FROM ({query}) {window}"
    reached = " + ".join(f"(max(a{k}) IS NOT NULL)::INT" for k in range(1, len(STEPS) + 1))
    person = f"SELECT p, arg_min(f, t) AS f, {reached} AS level FROM ({query}) GROUP BY p"
    return f"SELECT f, level, count(*) FROM ({person}) GROUP BY ALL"


def duckdb_windows(source: Any) -> Any:
    import duckdb

    if isinstance(source, pd.DataFrame):
        events = source  # noqa: F841 - DuckDB finds it by name
        return duckdb.sql(window_sql("events", "epoch_us(timestamp)")).fetchall()
    return duckdb.sql(window_sql(f"read_parquet('{source}')", "epoch_us(timestamp)")).fetchall()


def window_funnel_sql(source: str) -> str:
    names = ", ".join(f"'{name}'" for name in STEPS)
    steps = ", ".join(f"event = '{name}'" for name in STEPS)
    micros = "toUInt64(toUnixTimestamp64Micro(timestamp))"
    person = (
        f"SELECT windowFunnel({WINDOW})({micros}, {steps}) AS level, argMin(`{FLAG}`, timestamp) AS f "
        f"FROM {source} WHERE event IN ({names}) GROUP BY person_id"
    )
    return f"SELECT toString(f), level, count() FROM ({person}) GROUP BY f, level"


def chdb_levels(source: Any) -> Any:
    import chdb

    if isinstance(source, Path):
        answer = chdb.query(window_funnel_sql(f"file('{source}', Parquet)"), "CSV")
    else:
        events = source  # noqa: F841 - chdb finds it by name
        answer = chdb.query(window_funnel_sql("Python(events)"), "CSV")
    rows = [line.split(",") for line in str(answer).splitlines() if line]
    return [(variant.strip('"'), int(level), int(people)) for variant, level, people in rows]


def merge_asof(frame: pd.DataFrame) -> Any:
    """Idiomatic pandas: each step finds the latest earlier start by merge_asof."""
    fed = frame[frame["event"].isin(STEPS)]
    if not fed["timestamp"].is_monotonic_increasing:
        fed = fed.sort_values("timestamp")
    by = "person_id"
    first = fed.drop_duplicates(by)[[by, FLAG]]
    before = fed.loc[fed["event"] == STEPS[0], [by, "timestamp"]].assign(start=lambda d: d["timestamp"])
    reached = [before[by].unique()]
    for name in STEPS[1:]:
        here = fed.loc[fed["event"] == name, [by, "timestamp"]]
        here = pd.merge_asof(here, before, on="timestamp", by=by)
        before = here[here["timestamp"] - here["start"] <= pd.Timedelta(WINDOW, unit="us")]
        reached.append(before[by].unique())
    counted = [first[first[by].isin(people)][FLAG].value_counts() for people in reached]
    return {variant: [int(count.get(variant, 0)) for count in counted] for variant in VARIANTS}


@dataclass
class Files:
    """Parquet files of the benchmark, written once."""

    folder: Path

    def write(self, frame: pd.DataFrame, name: str) -> Path:
        path = self.folder / f"{name}.parquet"
        table = pa.Table.from_pandas(frame, preserve_index=False)
        pq.write_table(table, path, row_group_size=GROUP, compression="snappy")
        return path


def run(rows: int) -> Iterator[dict[str, Any]]:
    """Lines for a frame in memory, for Parquet, and for orders and people that are not uniform.

    Text ids and uneven logs up to 20 million rows, frames in memory up to 60 million: peers need the room.
    """
    moderate, rounds = rows <= 20_000_000, 5 if rows <= 20_000_000 else 3
    with tempfile.TemporaryDirectory(dir=os.environ.get("CANARYKIT_BENCH_DIR")) as folder:
        files = Files(Path(folder))
        frame = make(rows)
        if rows <= 60_000_000:
            yield from in_memory("funnel, pandas, integer ids", frame, rounds)
        path = files.write(frame, "integer")
        text = with_text_ids(frame) if moderate else None
        del frame
        yield from on_disk("funnel, Parquet, integer ids", rows, path, rounds)
        if text is not None:
            yield from in_memory("funnel, pandas, text ids", text, rounds)
            path = files.write(text, "text")
            del text
            yield from on_disk("funnel, Parquet, text ids", rows, path, rounds)
    if moderate:
        yield from uneven(rows, rounds)


def in_memory(bench: str, frame: pd.DataFrame, rounds: int) -> Iterator[dict[str, Any]]:
    log = ck.EventLog(frame)
    peers = {
        "DuckDB, window functions": Contender(lambda: duckdb_windows(frame), answer=levels),
        "pandas, merge_asof": Contender(lambda: merge_asof(frame)),
        "chdb, windowFunnel": Contender(lambda: chdb_levels(frame), answer=levels),
    }
    mine = Contender(lambda: ours(log), answer=our_counts)
    yield from compare(bench, len(frame), mine, peers, same=lambda a, b: a == b, rounds=rounds)


def on_disk(bench: str, rows: int, path: Path, rounds: int) -> Iterator[dict[str, Any]]:
    peers = {
        "DuckDB, window functions": Contender(lambda: duckdb_windows(path), answer=levels),
        "chdb, windowFunnel": Contender(lambda: chdb_levels(path), answer=levels),
        "pyarrow, reads the columns only": Contender(
            lambda: pq.read_table(path, columns=COLUMNS), answer=lambda table: None
        ),
    }
    mine = Contender(lambda: ours(ck.scan_posthog(path)), answer=our_counts)
    yield from compare(bench, rows, mine, peers, same=lambda a, b: b is None or a == b, rounds=rounds)


def uneven(rows: int, rounds: int) -> Iterator[dict[str, Any]]:
    """What unsorted rows and uneven people cost, relative to sorted rows and even people."""
    kinds = {
        "uniform": {},
        "shuffled rows": {"shuffled": True},
        "zipf people": {"people": "zipf"},
        "zipf people, shuffled rows": {"people": "zipf", "shuffled": True},
        "one person with a fifth of the rows": {"people": "one"},
        "one person with a fifth, shuffled": {"people": "one", "shuffled": True},
    }
    logs = {name: ck.EventLog(make(rows, **options)) for name, options in kinds.items()}
    for log in logs.values():
        ours(log)
    seconds = {name: [] for name in logs}
    for _ in range(rounds):
        for name, log in logs.items():
            seconds[name].append(timed(lambda log=log: ours(log)))
    base = float(np.median(seconds.pop("uniform")))
    for name, found in seconds.items():
        mine = float(np.median(found))
        yield {
            "bench": f"funnel, pandas, {name}",
            "size": rows,
            "ours_s": significant(mine),
            "peer": "canarykit, uniform people in time order",
            "peer_s": significant(base),
            "ratio": significant(base / mine),
        }
