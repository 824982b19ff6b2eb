"""Write the sample export: one release of one flag, with an incident at every stage.

Run it from anywhere: `python sample_data/generate.py [FOLDER]`. The seed is fixed, so the files come out
the same with the same versions of numpy and pyarrow. What went in stands in `canarykit/simulate/sample.py`,
and is told in README.md beside this file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from canarykit.simulate import sample


def write_events(folder: Path) -> None:
    """Events, persons and groups as Parquet."""
    for name, table in zip(("events", "persons", "groups"), sample.sample_tables(), strict=True):
        _write(table, folder / f"{name}.parquet")


def _write(table: pa.Table, path: Path) -> None:
    times = [name for name in ("timestamp", "created_at") if name in table.column_names]
    encodings = dict.fromkeys(times, "DELTA_BINARY_PACKED")
    if "uuid" in table.column_names:
        encodings["uuid"] = "DELTA_BYTE_ARRAY"
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        store_schema=False,
        use_dictionary=[name for name in table.column_names if name not in (*encodings, "properties")],
        column_encoding=encodings,
        data_page_size=1 << 23,
        dictionary_pagesize_limit=1 << 22,
    )


def main(folder: Path) -> None:
    """Write every file."""
    folder.mkdir(parents=True, exist_ok=True)
    write_events(folder)
    plans = {"plan.json": sample.first_plan(), "plan_after_rollback.json": sample.second_plan()}
    definitions = {name: plan.to_dict()["plan"] for name, plan in plans.items()}
    for name, content in {
        "flags.json": sample.flag_list(),
        "history.json": sample.flag_history(),
        "survey.json": sample.survey_definition(),
        **definitions,
    }.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
