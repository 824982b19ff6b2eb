"""A simulated rollout as the files of a PostHog export: written block by block, so memory stays small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from canarykit.files import beside
from canarykit.parallel import ahead
from canarykit.simulate.log.behaviour import Draft
from canarykit.simulate.log.export_columns import Crowd, ExportColumns, Layout
from canarykit.simulate.log.time_order import in_time_order
from canarykit.simulate.people.assignment import groups_frame
from canarykit.simulate.people.identities import glue
from canarykit.simulate.people.population import People

if TYPE_CHECKING:
    from canarykit.events import EventLog

ROWS = 1 << 17
"""Events of a row group."""
_NOT_PLAIN = r"[^ !#-\[\]-~]|^true$"
NAMES = {"events": "events.parquet", "persons": "persons.parquet", "groups": "groups.parquet"}

Exported = tuple[People, pd.DataFrame, Crowd, list[Draft]]
"""Some people, their rows of the persons export, their ids, and their events week by week."""


def to_folder(blocks: Iterator[Exported], layout: Layout, folder: Path, workers: int | None) -> EventLog:
    """Write the three files, and open them as a log."""
    from canarykit.events.exports.posthog import scan_posthog

    listed: list[pd.DataFrame] = []
    members: list[np.ndarray] = []
    with ExitStack() as files:
        whole = {name: files.enter_context(beside(folder / NAMES[name])) for name in NAMES}
        writers = files.enter_context(ExitStack())  # closed before the files take their names
        events, persons = (_Writer(whole[name], writers) for name in ("events", "persons"))
        for people, rows, crowd, weeks in blocks:
            population = people.population
            for table in _tables(in_time_order(Draft.join(weeks)), crowd, layout, workers):
                events.write(table)
            persons.write(_with_json(rows, ("person_id", "distinct_id", "created_at"), "properties"))
            listed.append(rows)
            members.append(people.organisation)
        groups = groups_frame(population, np.concatenate(members))
        table = _with_json(groups, ("group_type_index", "group_key"), "group_properties")
        pq.write_table(table, whole["groups"], compression="zstd")
    return scan_posthog(
        str(folder / NAMES["events"]),
        persons=pd.concat(listed, ignore_index=True),
        groups=groups,
        group_types={layout.group_type: 0},
    )


class _Writer:
    """A Parquet file that takes its columns from the first table."""

    def __init__(self, path: Path, files: ExitStack) -> None:
        self._path, self._files = path, files
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append a table."""
        if self._writer is None:
            self._writer = self._files.enter_context(
                pq.ParquetWriter(
                    self._path, table.schema, compression="zstd", compression_level=3, store_schema=False
                )
            )
        self._writer.write_table(table)


def _tables(draft: Draft, crowd: Crowd, layout: Layout, workers: int | None) -> Iterator[pa.Table]:
    columns = ExportColumns(crowd, layout, draft)
    count = max(-(-len(draft.time) // ROWS), 1)  # a block without events has an empty table
    return ahead(lambda n: columns.table(draft.take(slice(n * ROWS, (n + 1) * ROWS))), count, workers)


def _with_json(frame: pd.DataFrame, keys: tuple[str, ...], name: str) -> pa.Table:
    """Key columns as they are, all others as one JSON text; what is missing is left out."""
    others = frame.drop(columns=list(keys))
    members = [glue(f"{json.dumps(key)}:", _json_texts(column)) for key, column in others.items()]
    inside = pc.binary_join_element_wise(*members, pa.scalar(",", pa.large_string()), null_handling="skip")
    table = pa.Table.from_pandas(frame[list(keys)], preserve_index=False)
    return table.append_column(name, glue("{", inside, "}"))


def _json_texts(column: pd.Series) -> pa.Array:
    """Texts and whole numbers as JSON, "true" as the truth; a text that needs no escape is only quoted."""
    if isinstance(column.dtype, pd.StringDtype):
        texts = pa.array(column, pa.large_string())
        if not pc.any(pc.match_substring_regex(texts, _NOT_PLAIN)).as_py():
            return glue('"', texts, '"')
    if not isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype("category")
    codes, names = column.cat.codes.to_numpy(), column.cat.categories.tolist()
    written = ["true" if name == "true" else json.dumps(name) for name in names]
    return pa.array(written, pa.large_string()).take(pa.array(codes, mask=codes < 0))
