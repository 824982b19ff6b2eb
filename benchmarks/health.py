"""Five metrics reduced to hourly moments by variant, against the query one would write by hand in DuckDB.

The events lie in a Parquet file, and in a pandas frame; exposures are known to both sides. Both give, per
hour and variant, the people to whom each of three things happened first in that hour, and of two sums per
person the total and the total of squares by the hour of the exposure.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import canarykit as ck
from benchmarks.timing import Contender, compare
from canarykit import metrics

ROWS = 10_000_000
FLAG = "new-checkout"
START = pd.Timestamp("2026-09-07T00:00:00Z")
DAYS = 3
NAMES = ("$pageview", "$exception", "paid", "$web_vitals", "signup", "search", "$autocapture", "$pageleave")
CHANCES = (0.34, 0.01, 0.03, 0.12, 0.06, 0.10, 0.30, 0.04)
METRICS = (
    metrics.ErrorShare(),
    metrics.Conversion("paid", within="1d"),
    metrics.SlowShare("$web_vitals", "lcp", slower_than=2500),
    metrics.Total("paid", "amount", cap_quantile=None),
    metrics.Total("$pageview", cap_quantile=None),
)

BY_HAND = """
WITH person AS MATERIALIZED (
    SELECT x.variant, x.exposed_at,
           min(CASE WHEN event = '$exception' THEN timestamp END) AS first_0,
           min(CASE WHEN event = 'paid' AND timestamp < exposed_at + INTERVAL 1 DAY
               THEN timestamp END) AS first_1,
           min(CASE WHEN event = '$web_vitals' AND lcp > 2500 THEN timestamp END) AS first_2,
           coalesce(sum(CASE WHEN event = 'paid' THEN amount END), 0) AS sum_3,
           count(CASE WHEN event = '$pageview' THEN 1 END) AS sum_4
    FROM {events} e JOIN exposed x ON e.person_id = x.person_id
    WHERE event IN ('$exception', 'paid', '$web_vitals', '$pageview')
      AND timestamp >= exposed_at AND timestamp < $stop
    GROUP BY x.person_id, x.variant, x.exposed_at
)
SELECT 0 AS metric, variant, date_trunc('hour', first_0) AS hour, count(*) AS a, 0.0 AS b
FROM person WHERE first_0 IS NOT NULL GROUP BY ALL
UNION ALL SELECT 1, variant, date_trunc('hour', first_1), count(*), 0.0
FROM person WHERE first_1 IS NOT NULL GROUP BY ALL
UNION ALL SELECT 2, variant, date_trunc('hour', first_2), count(*), 0.0
FROM person WHERE first_2 IS NOT NULL GROUP BY ALL
UNION ALL SELECT 3, variant, date_trunc('hour', exposed_at), sum(sum_3), sum(sum_3 ** 2)
FROM person GROUP BY ALL
UNION ALL SELECT 4, variant, date_trunc('hour', exposed_at), sum(sum_4), sum(sum_4 ** 2)
FROM person GROUP BY ALL
"""


def make_events(rows: int, seed: int = 5) -> pd.DataFrame:
    """Events of rows / 10 people in three days, as an export with flat columns holds them."""
    rng = np.random.default_rng(seed)
    people = max(rows // 10, 100)
    who = rng.integers(0, people, rows)
    code = rng.choice(len(NAMES), rows, p=CHANCES)
    at = np.sort(rng.integers(0, DAYS * 86_400_000_000, rows))
    names = pd.array(np.array(NAMES, dtype=object)[code], dtype="str")
    ids = pd.array(np.char.add("person-", who.astype(str)), dtype="str")
    return pd.DataFrame(
        {
            "event": names,
            "timestamp": pd.to_datetime(START.value // 1000 + at, unit="us", utc=True),
            "distinct_id": ids,
            "person_id": ids,
            "lcp": np.where(code == 3, rng.lognormal(7.2, 0.5, rows), np.nan),
            "amount": np.where(code == 2, rng.lognormal(3, 1, rows).round(2), np.nan),
        }
    )


class Exposed:
    """Exposures as `canarykit.exposures` gives them; finding them is not what is measured."""

    unit_column = "person_id"

    def __init__(self, events: pd.DataFrame, seed: int = 6) -> None:
        rng = np.random.default_rng(seed)
        first = events.drop_duplicates("person_id")
        self.by_stage = pd.DataFrame(
            {
                "person_id": first["person_id"].to_numpy(),
                "stage": "ramp",
                "variant": pd.array(np.where(rng.random(len(first)) < 0.25, "true", "false"), dtype="str"),
                "exposed_at": first["timestamp"].to_numpy(),
            }
        )
        self.by_stage["exposed_at"] = pd.to_datetime(self.by_stage["exposed_at"], utc=True)


def run(rows: int) -> Iterator[dict[str, Any]]:
    import duckdb

    events = make_events(rows)
    exposed = Exposed(events)
    stop = START + pd.Timedelta(days=DAYS)
    plan = ck.RolloutPlan(FLAG, (ck.Stage.for_share("ramp", 25, starts_at=START, ends_at=stop),))
    table = exposed.by_stage

    def ours(log: ck.EventLog) -> Any:
        return metrics.reduce(log, METRICS, exposed, plan, interval="1h", as_of=stop)

    def by_hand(source: str) -> Any:
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("exposed", table)
        connection.register("frame", events)
        answer = connection.execute(BY_HAND.format(events=source), {"stop": stop}).df()
        connection.close()
        return answer

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        events.to_parquet(path, row_group_size=1_000_000)
        cases = {"pandas": (ck.EventLog(events), "frame"), "parquet": (ck.scan_posthog(path), f"'{path}'")}
        for name, (log, source) in cases.items():
            yield from compare(
                f"health: hourly moments of five metrics, {name}",
                rows,
                Contender(lambda log=log: ours(log), answer=_of_ours),
                {"DuckDB by hand": Contender(lambda source=source: by_hand(source), answer=_of_hand)},
                same=_same,
            )


def _of_ours(reduced: Any) -> dict[tuple[int, str, pd.Timestamp], tuple[float, float]]:
    place = {spec.label: i for i, spec in enumerate(METRICS)}
    answer = {}
    for row in reduced.to_frame().itertuples():
        metric = place[row.metric]
        both = (row.total, row.total_squares) if metric >= 3 else (row.events, 0.0)
        if both[0]:
            answer[(metric, row.variant, row.interval)] = both
    return answer


def _of_hand(frame: pd.DataFrame) -> dict[tuple[int, str, pd.Timestamp], tuple[float, float]]:
    hours = pd.to_datetime(frame["hour"], utc=True)
    rows = zip(frame["metric"], frame["variant"], hours, frame["a"], frame["b"], strict=True)
    return {(m, v, h): (float(a), float(b)) for m, v, h, a, b in rows if a}


def _same(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    return one.keys() == other.keys() and all(np.allclose(one[key], other[key], rtol=1e-9) for key in one)
