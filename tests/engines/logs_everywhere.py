"""The same events handed to every engine, and what each answers or refuses."""

import csv
import datetime
import io
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
LINES = ("read lines", "scan lines")
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
        # Local times stay local: else Spark gives them the zone of its session before anybody reads them.
        spark.conf.set("spark.sql.timestampType", "TIMESTAMP_NTZ")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PySpark warns of pandas 3 at every turn
            frame = spark.createDataFrame(table)
        spark.conf.unset("spark.sql.timestampType")
        return ck.EventLog(frame, **options)
    if engine == "two files":
        half = len(table) // 2
        pq.write_table(table[:half], folder / "1.parquet")
        pq.write_table(table[half:], folder / "2.parquet")
        return ck.scan_posthog([folder / "1.parquet", folder / "2.parquet"], **options)
    if engine in LINES:
        read = ck.scan_posthog if engine == "scan lines" else ck.read_posthog
        return read(lines_of(_objects(table), folder / "events.jsonl"), **options)
    if engine == "csv":
        texts = folder / "events.csv"
        texts.write_text(_csv(table), encoding="utf-8")
        return ck.read_posthog(texts, **options)
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
    codes = ("no_event_name", "no_time", "no_id", "bad_json", "bad_lines", "duplicates", "snapshots")
    return sorted(texts, key=repr), names, {code: notes[code] for code in codes if notes.get(code)}


def lines_of(rows, file):
    """Rows as JSON lines; what is a text already stays as it stands."""
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def as_texts(table):
    """The table as a CSV holds it: every cell a text, and no difference between blank and missing."""
    columns = {name: [_text(value) for value in table[name].to_pylist()] for name in table.column_names}
    return pa.table({name: pa.array(texts, pa.string()) for name, texts in columns.items()})


def _csv(table):
    texts = as_texts(table)
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(texts.column_names)
    writer.writerows([text or "" for text in row] for row in zip(*texts.to_pydict().values(), strict=True))
    return content.getvalue()


def _text(value):
    """A cell as somebody else's CSV writes it."""
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if value is None or value != value:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value) or None


def _objects(table):
    """Rows as the objects of an export, times as texts; what is missing is null or absent."""
    for at, row in enumerate(table.to_pylist()):
        kept = {name: value for name, value in row.items() if value is not None or at % 2}
        yield {name: _text(v) if isinstance(v, datetime.datetime) else v for name, v in kept.items()}


def _pandas_type(kind):
    """pandas' own types, but for whole numbers, which would become floats at a gap."""
    if pa.types.is_integer(kind):
        return pd.ArrowDtype(kind)
    return None
