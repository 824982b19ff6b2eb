"""The same events handed to every engine, and what each answers or refuses."""

import json
import warnings

import duckdb
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

import canarykit as ck
from canarykit.errors import CanarykitError

CHEAP = (
    "pandas", "polars", "lazy", "arrow", "reader", "dataset", "read parquet", "scan parquet", "two files",
    "relation",
)  # fmt: skip
SLOW = ("ibis", "spark")
OPEN = []


def log_of(engine, table, folder, spark=None, **options):
    """An `EventLog` of an Arrow table, as the engine likes it."""
    if engine == "pandas":
        return ck.EventLog(table.to_pandas(types_mapper=_pandas_type), **options)
    if engine == "polars":
        return ck.EventLog(polars.from_arrow(table), **options)
    if engine == "lazy":
        return ck.EventLog(polars.from_arrow(table).lazy(), **options)
    if engine == "arrow":
        return ck.EventLog(table, **options)
    if engine == "reader":
        return ck.EventLog(pa.RecordBatchReader.from_batches(table.schema, table.to_batches()), **options)
    if engine == "relation":
        OPEN.append(duckdb.connect())  # older versions close a connection that nobody holds
        return ck.EventLog(OPEN[-1].from_arrow(table), **options)
    if engine == "ibis":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ibis

            OPEN.append(ibis.duckdb.connect())
            return ck.EventLog(OPEN[-1].create_table("events", table), **options)
    if engine == "spark":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PySpark warns of pandas 3 at every turn
            return ck.EventLog(spark.createDataFrame(table), **options)
    if engine == "two files":
        half = len(table) // 2
        pq.write_table(table[:half], folder / "1.parquet")
        pq.write_table(table[half:], folder / "2.parquet")
        return ck.scan_posthog([folder / "1.parquet", folder / "2.parquet"], **options)
    pq.write_table(table, folder / "events.parquet", row_group_size=3)
    if engine == "dataset":
        return ck.EventLog(pyarrow.dataset.dataset(folder / "events.parquet"), **options)
    read = ck.scan_posthog if engine == "scan parquet" else ck.read_posthog
    return read(folder / "events.parquet", **options)


def answer(opening, columns, **question):
    """Rows, names, counts of what was lost; or that it was refused."""
    try:
        log = opening()
        rows = log.select(list(columns), **question)
        names = log.event_names()
        notes = {note.code: note.count for note in log.count_dropped()}
    except CanarykitError as problem:
        return "refused", type(problem).__name__
    plain = rows.astype(object).where(rows.notna(), None)
    texts = [[None if cell is None else str(cell) for cell in row] for row in plain.values.tolist()]
    told = ("no_event_name", "no_time", "no_id", "bad_json", "bad_lines", "duplicates", "snapshots")
    return sorted(texts, key=repr), names, {code: notes[code] for code in told if notes.get(code)}


def lines_of(rows, file):
    """Rows as JSON lines; what is a text already stays as it stands."""
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return file


def _pandas_type(kind):
    """pandas' own types, but for whole numbers, which would become floats at a gap."""
    if pa.types.is_integer(kind):
        return pd.ArrowDtype(kind)
    return None
