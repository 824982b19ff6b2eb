"""Persons larger than memory: the same evaluation, shard by shard, from Parquet, Arrow batches or Spark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from glob import glob
from os import PathLike, fspath
from typing import Any

import pandas as pd

from canarykit.errors import DataError, require_kind

SHARD_ROWS = 500_000
_SPARK_SCHEMA = "value string, variant string, reason string, condition bigint, bucket double"


def is_spark(persons: Any) -> bool:
    """Whether this is a Spark frame, asked without importing Spark."""
    return type(persons).__module__.startswith("pyspark.sql") and hasattr(persons, "mapInPandas")


def evaluate_shards(
    persons: Any,
    evaluate: Callable[[pd.DataFrame], pd.DataFrame],
    needed: Callable[[Iterable[str]], list[str]],
    distinct_id: str,
) -> Any:
    """Evaluate a table of persons that is not a pandas frame.

    `persons` is a path or glob of Parquet files, an Arrow table or reader, an iterable of Arrow batches or of
    pandas frames, or a Spark frame, which gives a Spark frame. `evaluate` takes one pandas frame; `needed`
    says which of some columns it reads. The distinct id is carried into the result, and rows stay in order.
    """
    if is_spark(persons):
        return _on_spark(persons, evaluate, needed, distinct_id)
    parts = []
    for frame in _frames(persons, needed):
        answers = evaluate(frame)
        parts.append(pd.concat([frame[[distinct_id]], answers], axis=1))
    if not parts:
        raise DataError("persons holds no rows and no columns; expected at least the distinct id")
    return pd.concat(parts, ignore_index=True)


def _frames(persons: Any, needed: Callable[[Iterable[str]], list[str]]) -> Iterator[pd.DataFrame]:
    import pyarrow as pa

    if isinstance(persons, str | PathLike):
        yield from _parquet_frames(fspath(persons), needed)
        return
    if isinstance(persons, pa.Table):
        persons = persons.select(needed(persons.column_names)).to_batches(max_chunksize=SHARD_ROWS)
    if not hasattr(persons, "__iter__"):
        raise DataError(
            f"persons is {type(persons).__name__}; expected a pandas frame, a Parquet path, Arrow batches or "
            "a Spark frame"
        )
    for batch in persons:
        if isinstance(batch, pd.DataFrame):
            yield batch.reset_index(drop=True)
        else:
            expected = "Arrow batches or pandas frames"
            require_kind("one of the persons", batch, pa.RecordBatch, expected, error=DataError)
            yield batch.select(needed(batch.schema.names)).to_pandas()


def _parquet_frames(path: str, needed: Callable[[Iterable[str]], list[str]]) -> Iterator[pd.DataFrame]:
    import pyarrow.parquet as pq

    paths = sorted(glob(path)) or [path]
    for name in paths:
        try:
            file = pq.ParquetFile(name)
        except (OSError, ValueError) as problem:
            raise DataError(f"{name} cannot be read as Parquet: {problem}") from None
        columns = needed(file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=SHARD_ROWS, columns=columns):
            yield batch.to_pandas()


def _on_spark(
    persons: Any,
    evaluate: Callable[[pd.DataFrame], pd.DataFrame],
    needed: Callable[[Iterable[str]], list[str]],
    distinct_id: str,
) -> Any:
    narrow = persons.select(*[f"`{name}`" for name in needed(persons.columns)])
    kind = dict(narrow.dtypes)[distinct_id]

    def shards(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            answers = evaluate(frame).astype(
                {"value": object, "variant": object, "reason": object, "condition": object}
            )
            answers = answers.where(answers.notna(), None)
            yield pd.concat([frame[[distinct_id]], answers], axis=1)

    return narrow.mapInPandas(shards, f"`{distinct_id}` {kind}, {_SPARK_SCHEMA}")
