"""Questions of events in a real PostgreSQL server (`jsonb` properties) against SQL written by hand.

The server runs on this machine, so that the clock on the wall counts for both: its processes are not ours.
"""

import io
from collections.abc import Iterator
from typing import Any

import canarykit as ck
from benchmarks.timing import Contender, compare

ROWS = 5_000_000
COLUMNS = ["uuid", "event", "timestamp", "distinct_id", "person_id", "properties", "created_at"]
TABLE = (
    "CREATE UNLOGGED TABLE events (uuid text, event text, timestamp timestamptz, distinct_id text, "
    "person_id text, properties jsonb, created_at timestamptz)"
)
EXPOSURES = """
SELECT variant, '', count(*) FROM (
    SELECT DISTINCT ON (person_id) person_id, properties ->> '$feature_flag_response' AS variant FROM events
    WHERE event = '$feature_flag_called' AND properties ->> '$feature_flag' = '{flag}'
    ORDER BY person_id, timestamp
) AS first GROUP BY 1"""
STEPS = """WITH step AS (
    SELECT person_id AS p, (extract(epoch FROM timestamp) * 1000000)::bigint AS t, {number} AS s,
        properties ->> '$feature/{flag}' AS v
    FROM events WHERE event IN ({names})
),"""
FIRST_TOUCH = "(array_agg(v ORDER BY t) FILTER (WHERE v IS NOT NULL))[1]"


def run(rows: int) -> Iterator[dict[str, Any]]:
    """One line a question."""
    import ibis
    import pandas as pd
    import psycopg

    from benchmarks.day import by_hand, steps
    from benchmarks.day.export import EVENTS_PER_PERSON, FLAG, export_of
    from tests.engines.postgres_server import serving

    export = export_of(max(rows // EVENTS_PER_PERSON, 100))
    tables = {name: pd.read_parquet(path) for name, path in export.tables.items()}
    funnel = STEPS.format(number=by_hand.NUMBER, names=by_hand.NAMES, flag=FLAG) + by_hand.REACHED.format(
        window=by_hand.WINDOW, value=FIRST_TOUCH
    )
    queries = {"exposures": EXPOSURES.format(flag=FLAG), "funnel, first touch": funnel}
    settings = "-c shared_buffers=1GB -c work_mem=256MB -c max_wal_size=4GB"
    with (
        serving(settings) as where,
        psycopg.connect(**where, dbname="postgres", autocommit=True) as connection,
    ):
        size = fill(connection, export.events)
        backend = ibis.postgres.connect(**where, database="postgres")
        for name, query in queries.items():
            question = steps.ALL[name]

            def mine(question: steps.Step = question) -> Any:
                return question.run(ck.EventLog(backend.table("events"), **tables))  # a new one

            peer = Contender(
                lambda query=query: connection.execute(query).fetchall(),
                answer=lambda found, name=name: by_hand.numbers_of(name, found),
            )
            yield from compare(
                f"PostgreSQL, jsonb: {name}",
                size,
                Contender(mine, answer=question.numbers),
                {"SQL by hand": peer},
                same=lambda a, b: a == b,
                rounds=1,
            )
        backend.disconnect()


def fill(connection: Any, events: Any) -> int:
    """Copy an export into the server, with the index that such a table has; how many events."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    connection.execute(TABLE)
    file = pq.ParquetFile(events)
    options = pyarrow.csv.WriteOptions(include_header=False)
    with connection.cursor().copy(f"COPY events ({', '.join(COLUMNS)}) FROM STDIN CSV") as copy:
        for group in range(file.metadata.num_row_groups):
            table = file.read_row_group(group, columns=COLUMNS).select(COLUMNS)
            text = io.BytesIO()
            pyarrow.csv.write_csv(table, text, options)
            copy.write(text.getbuffer())
    connection.execute("CREATE INDEX ON events (event, timestamp)")
    connection.execute("ANALYZE events")
    return int(file.metadata.num_rows)
