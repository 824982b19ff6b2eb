"""What a project knows beside its flags: lists of the API as frames, in the columns the exports have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from canarykit.events.sql import glob_quoted, quoted
from canarykit.files import beside
from canarykit.lazy import held_back
from canarykit.parallel import as_interrupt
from canarykit.posthog.hogql import HogQL
from canarykit.release.refusals import ServerError
from canarykit.release.transport import Transport


def listed(transport: Transport, path: str, query: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Every item of a list, one row each; times as UTC."""
    frame = pd.DataFrame(list(transport.pages(path, {"limit": 100, **(query or {})})))
    for name in frame.columns:
        if name.endswith(("_at", "_date", "_time")) or name == "date_marker":
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601", errors="coerce")
    return frame


def cohorts(transport: Transport, base: str) -> dict[str, Any]:
    """Definitions of the cohorts by id, as `evaluate_flag` takes them; static ones have none."""
    definitions = {}
    for item in transport.pages(f"{base}/cohorts/", {"limit": 100}):
        definition = (item.get("filters") or {}).get("properties")
        if definition and not item.get("deleted") and not item.get("is_static"):
            definitions[str(item["id"])] = definition
    return definitions


def group_types(transport: Transport, base: str) -> dict[str, str]:
    """Name of each group type by its index as text."""
    answer = transport.get(f"{base}/groups_types/")
    return {str(item["group_type_index"]): str(item["group_type"]) for item in answer}


def persons(transport: Transport, base: str, query: Mapping[str, Any]) -> pd.DataFrame:
    """Persons by id, email, property or text, one row per distinct id."""
    return _person_frame(
        (item.get("uuid") or item.get("id"), distinct_id, item.get("created_at"), item.get("properties"))
        for item in transport.pages(f"{base}/persons/", query)
        for distinct_id in item.get("distinct_ids") or ()
    )


def groups(transport: Transport, base: str, index: int, query: Mapping[str, Any]) -> pd.DataFrame:
    """Groups of one type with their properties."""
    rows = [
        (index, item.get("group_key"), json.dumps(item.get("group_properties") or {}))
        for item in transport.pages(f"{base}/groups/", {"group_type_index": index, **query})
    ]
    return pd.DataFrame(rows, columns=["group_type_index", "group_key", "group_properties"])


def save_persons(hogql: HogQL, file: Path) -> None:
    """Every person and every id of theirs as they are today, by pages of a query, into a Parquet file.

    Both tables are kept on disk and joined there: their size does not matter.
    """
    with held_back():
        import duckdb

    with beside(file) as unfinished, TemporaryDirectory(dir=file.parent, prefix=".persons-") as folder:
        columns = "toString(id), toString(toTimeZone(created_at, 'UTC')), properties"
        pages = hogql.keyed(columns, "persons", "id", "toUUID({after})")
        _save_texts(f"{folder}/persons.parquet", ("person_id", "created_at", "properties"), pages)
        pages = hogql.keyed("distinct_id, toString(person_id)", "person_distinct_ids", "distinct_id")
        _save_texts(f"{folder}/ids.parquet", ("distinct_id", "person_id"), pages)
        config: dict[str, Any] = {"memory_limit": "512MB", "temp_directory": folder}
        with as_interrupt(), duckdb.connect(config=config) as on_disk:
            ids, persons = (glob_quoted(f"{folder}/{name}.parquet") for name in ("ids", "persons"))
            target = quoted(str(unfinished), "'")
            on_disk.execute("set TimeZone = 'UTC'")
            on_disk.execute(
                "copy (select person_id, distinct_id, created_at::timestamptz as created_at, "
                "coalesce(properties, '{}') as properties "
                f"from {ids} left join {persons} using (person_id) order by distinct_id) "
                f"to {target} (format parquet)"
            )


def _save_texts(file: str, columns: Sequence[str], pages: Iterable[list[list[Any]]]) -> None:
    """Rows of texts into a Parquet file, page after page."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in columns])
    with pq.ParquetWriter(file, schema) as writer:
        for rows in pages:
            listed = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
            writer.write_table(pa.Table.from_arrays(listed, schema=schema))


def all_groups(hogql: HogQL, types: Mapping[str, str]) -> pd.DataFrame | None:
    """Every group with its properties; None where the project has no groups."""
    rows: list[list[Any]] = []
    for index in types:
        table = f"(select key, properties from groups where index = {int(index)})"
        try:
            for page in hogql.keyed("key, properties", table, "key"):
                rows += [[int(index), *row] for row in page]
        except ServerError:
            return None
    return pd.DataFrame(rows, columns=["group_type_index", "group_key", "group_properties"]) if rows else None


def _person_frame(rows: Iterable[tuple[Any, Any, Any, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["person_id", "distinct_id", "created_at", "properties"])
    texts = [text if isinstance(text, str) else json.dumps(text or {}) for text in frame["properties"]]
    times = pd.to_datetime(frame["created_at"], utc=True, format="ISO8601", errors="coerce")
    return frame.assign(properties=pd.Series(texts, dtype=object), created_at=times)
