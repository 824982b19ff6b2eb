"""Tables of several parts, each of which may be kept on disk, so that a long run can be taken up again."""

import datetime
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import canarykit

__all__ = ["Part", "run_parts"]

Part = Callable[[int], Iterator[dict[str, Any]]]


def run_parts(
    bench: str, parts: Sequence[Part], rows: int, keep: str | Path | None = None
) -> Iterator[dict[str, Any]]:
    """Every line of all parts; the last says how many are where they should be, and how long it took.

    Parameters
    ----------
    bench
        Name of the benchmark, in each line.
    parts
        Generators of lines.
    rows
        Simulated releases a line.
    keep
        Folder with one file a part and size: a part that is there is read and not run again.
    """
    lines, off, seconds = 0, 0, 0.0
    for part in parts:
        for line in _kept(part, rows, None if keep is None else Path(keep)):
            if "cpu_seconds" in line:
                seconds += line["cpu_seconds"]
                continue
            lines, off = lines + 1, off + (not line["ok"])
            yield {**line, "bench": bench}
    yield {
        "bench": bench,
        "size": rows,
        "lines": lines,
        "off": off,
        "cpu_seconds": round(seconds),
        "version": canarykit.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _kept(part: Part, rows: int, folder: Path | None) -> Iterator[dict[str, Any]]:
    file = None if folder is None else folder / f"{part.__name__}-{rows}.jsonl"
    if file is not None and file.exists():
        yield from map(json.loads, file.read_text().splitlines())
        return
    begun, found = time.process_time(), []
    for line in part(rows):
        found.append(line)
        yield line
    found.append({"cpu_seconds": time.process_time() - begun})
    yield found[-1]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(line) + "\n" for line in found))
