"""The same numbers by queries that one would write by hand, for DuckDB and for ClickHouse (chdb)."""

import csv
import io
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmarks.day.export import FLAG, PLAN, STEPS, Export
from benchmarks.day.steps import START, STOP, Numbers

__all__ = ["DIALECTS", "QUERIES", "ask"]

OWNER, TEAM, BETA = "ada@acme.io", "%@acme.io", "blueriver"
RANDOMISED_FROM = PLAN.window("expanded beta 5%")[0]
CHOSEN_FROM = PLAN.window("just yourself")[0]
CALLS = f"event = '$feature_flag_called' AND {{$feature_flag}} = '{FLAG}'"

# Who has the canary by choice, and everybody else's first exposure within the stage.
UNITS = f"""
chosen AS (
    SELECT person_id FROM [persons] WHERE {{email}} = '{OWNER}' OR {{email}} LIKE '{TEAM}'
        OR {{$feature_enrollment/{FLAG}}} = 'true'
    UNION ALL
    SELECT person_id FROM [events] GROUP BY person_id HAVING min({{$group_0}}) = '{BETA}'
    UNION ALL
    SELECT person_id FROM [events] WHERE {CALLS} AND {{$feature_flag_response}} = 'true'
        AND timestamp >= [since] AND timestamp < [randomised]
),
unit AS (
    SELECT person_id, [argmin]({{$feature_flag_response}}, timestamp) AS variant, min(timestamp) AS exposed_at
    FROM [events] WHERE {CALLS} AND timestamp >= [start] AND timestamp < [stop]
        AND person_id NOT IN (SELECT person_id FROM chosen)
    GROUP BY person_id
)"""
AFTER = """unit JOIN [events] AS e ON e.person_id = unit.person_id
    WHERE timestamp >= [start] AND timestamp < [stop] AND timestamp >= exposed_at"""
# Each step finds the latest start of an attempt that is still in its window; "f" is who counts as what.
REACHED = """
first AS (SELECT *, max(CASE WHEN s = 1 THEN t END) OVER w AS a1 FROM step {window}),
second AS (
    SELECT *, max(CASE WHEN s = 2 AND t - a1 <= 86400000000 THEN a1 END) OVER w AS a2 FROM first {window}
),
third AS (
    SELECT *, max(CASE WHEN s = 3 AND t - a2 <= 86400000000 THEN a2 END) OVER w AS a3 FROM second {window}
),
reached AS (
    SELECT p, {value} AS f, count(a1) > 0 AS one, count(a2) > 0 AS two, count(a3) > 0 AS three
    FROM third GROUP BY p
)
SELECT coalesce(f, 'none'), sum(CASE WHEN one THEN 1 ELSE 0 END), sum(CASE WHEN two THEN 1 ELSE 0 END),
    sum(CASE WHEN three THEN 1 ELSE 0 END)
FROM reached GROUP BY 1"""
WINDOW = "WINDOW w AS (PARTITION BY p ORDER BY t ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
NUMBER = "CASE event " + " ".join(f"WHEN '{name}' THEN {n}" for n, name in enumerate(STEPS, 1)) + " END"
NAMES = ", ".join(f"'{name}'" for name in STEPS)

QUERIES: dict[str, str] = {
    "names": "SELECT event, '', count(*) FROM [events] GROUP BY 1",
    "exposures": f"""WITH first AS (
        SELECT person_id, [argmin]({{$feature_flag_response}}, timestamp) AS variant
        FROM [events] WHERE {CALLS} GROUP BY person_id
    ) SELECT variant, '', count(*) FROM first GROUP BY 1""",
    "funnel, first touch": f"""WITH step AS (
        SELECT person_id AS p, [micros](timestamp) AS t, {NUMBER} AS s, {{$feature/{FLAG}}} AS v
        FROM [events] WHERE event IN ({NAMES})
    ),"""
    + REACHED.format(
        window=WINDOW,
        value="[argmin](CASE WHEN v IS NOT NULL THEN v END, CASE WHEN v IS NOT NULL THEN t END)",
    ),
    "funnel, exposure in stage": f"""WITH {UNITS}, step AS (
        SELECT person_id AS p, [micros](timestamp) AS t, {NUMBER} AS s, variant AS v
        FROM (SELECT e.person_id AS person_id, event, timestamp, variant FROM {AFTER} AND event IN ({NAMES})
            AND timestamp <= exposed_at + INTERVAL 1 DAY
            AND exposed_at + INTERVAL 1 DAY <= [stop]) AS followed
    ),"""
    + REACHED.format(window=WINDOW, value="max(v)"),
    "trend": f"""WITH {UNITS}
    SELECT CAST(timestamp AS DATE), variant, count(DISTINCT e.person_id) FROM {AFTER} AND event = 'paid'
    GROUP BY 1, 2""",
    "dashboard": f"""WITH {UNITS}
    SELECT event, variant, count(DISTINCT e.person_id) FROM {AFTER}
        AND event IN ({NAMES}, '$exception') GROUP BY 1, 2""",
    "sessions": f"""WITH {UNITS}, here AS (
        SELECT {{$session_id}} AS session, event, variant FROM {AFTER}
    ), each AS (
        SELECT session, variant, max(CASE WHEN event = '$exception' THEN 1 ELSE 0 END) AS bad
        FROM here WHERE session IS NOT NULL GROUP BY 1, 2
    )
    SELECT variant, 'sessions', count(*) FROM each GROUP BY 1
    UNION ALL SELECT variant, 'with_errors', sum(bad) FROM each GROUP BY 1""",
    "verdict, 48 looks": f"""WITH {UNITS}, harmed AS (
        SELECT e.person_id AS person_id, max(CASE WHEN event = '$exception' THEN 1 ELSE 0 END) AS bad,
            max(CASE WHEN event = 'paid' AND timestamp < exposed_at + INTERVAL 1 DAY
                THEN 1 ELSE 0 END) AS paid
        FROM {AFTER} AND event IN ('$exception', 'paid') GROUP BY 1
    ), each AS (
        SELECT variant, coalesce(bad, 0) AS bad, coalesce(paid, 0) AS paid,
            CASE WHEN exposed_at + INTERVAL 1 DAY <= [stop] THEN 1 ELSE 0 END AS whole
        FROM unit LEFT JOIN harmed ON harmed.person_id = unit.person_id
    )
    SELECT variant, 'people', count(*) FROM each GROUP BY 1
    UNION ALL SELECT variant, 'exception count', sum(bad) FROM each GROUP BY 1
    UNION ALL SELECT variant, 'exception total', count(*) FROM each GROUP BY 1
    UNION ALL SELECT variant, 'paid count', sum(paid * whole) FROM each GROUP BY 1
    UNION ALL SELECT variant, 'paid total', sum(whole) FROM each GROUP BY 1""",
}


@dataclass(frozen=True)
class Dialect:
    """How one engine writes what differs, with `%` for the part that is put in."""

    key: str
    file: str
    moment: str
    micros: str
    argmin: str

    def write(self, query: str, export: Export, stop: pd.Timestamp) -> str:
        """A query with its keys, files and times in this engine's words."""
        words = {
            "events": self.file.replace("%", str(export.events)),
            "persons": self.file.replace("%", str(export.tables["persons"])),
            "micros": self.micros,
            "argmin": self.argmin,
        }
        moments = {"since": CHOSEN_FROM, "randomised": RANDOMISED_FROM, "start": START, "stop": stop}
        for name, at in moments.items():
            words[name] = self.moment.replace("%", at.strftime("%Y-%m-%d %H:%M:%S"))
        for name, word in words.items():
            query = query.replace(f"[{name}]", word)
        head, *rest = query.split("{")
        for part in rest:
            key, _, tail = part.partition("}")
            head += self.key.replace("%", key) + tail
        return head


DIALECTS = {
    "DuckDB": Dialect(
        "json_extract_string(properties, '$.\"%\"')",
        "read_parquet('%')",
        "TIMESTAMPTZ '%+00'",
        "epoch_us",
        "arg_min",
    ),
    "chdb": Dialect(
        "nullIf(trim(BOTH '\"' FROM JSONExtractRaw(assumeNotNull(properties), '%')), '')",
        "file('%', Parquet)",
        "toDateTime64('%', 6, 'UTC')",
        "toUnixTimestamp64Micro",
        "argMin",
    ),
}


def ask(engine: str, step: str, export: Export) -> list[tuple[Any, ...]]:
    """The rows of a step's query."""
    stop = START + pd.Timedelta(hours=48) if step.startswith("verdict") else STOP
    query = DIALECTS[engine].write(QUERIES[step], export, stop)
    if engine == "DuckDB":
        import duckdb

        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(query).fetchall()
    import chdb

    query += " SETTINGS join_use_nulls = 1, allow_experimental_analyzer = 1"
    return [tuple(row) for row in csv.reader(io.StringIO(str(chdb.query(query, "CSV"))))]


def numbers_of(step: str, rows: list[tuple[Any, ...]]) -> Numbers:
    """The rows as `steps` names the same counts."""
    if step.startswith("funnel"):
        return {
            f"{value} step {number}": int(count)
            for value, *counts in rows
            for number, count in enumerate(counts, 1)
        }
    return {f"{one} {two}".strip(): int(count) for one, two, count in rows if int(count)}
