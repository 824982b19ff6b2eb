"""The cache folder: columns taken out of files, kept for the next look.

One small file holds what was taken out of one row group at one time, behind a checksum. Its folder is named
by all that its content hangs on: the export file's path, size, times, inode and footer, the log's layout,
and the source code that reads. What changed has another name; it is never looked for again, and the oldest
files go when the folder grows too large. Files appear whole under their names or not at all, so a process
that is killed, or a second one that writes the same, leaves nothing to repair.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from canarykit.events.locations import ExportFile, Fingerprint
from canarykit.events.remembered.block import Facts, Taken
from canarykit.events.remembered.layout import Layout, part_name, part_of
from canarykit.events.remembered.repeated import Repeated

CACHE_ENV = "CANARYKIT_CACHE"
"""Environment variable with the folder to use, or "off"."""
MOST_BYTES = 4_000_000_000
"""What the folder may hold before the oldest files go."""
YOUNG = 2.0
"""Seconds within which a file may change again without its times telling: it is not kept yet."""
LEFT_OVER = 3600.0
"""Seconds after which a file under a temporary name belongs to a process that was killed."""

_MAGIC = b"canarykit cache\n"
_HEAD = struct.Struct("<16sQI36x")
"""What a file begins with: whose it is, the bytes that follow, and their checksum; 64 bytes in all."""


@dataclass(eq=False)
class CacheFolder:
    """Where the columns of one log's files are kept."""

    root: Path  # the folder; it is made when the first file is written
    layout: Layout  # the log's layout
    problem: str = ""
    written: int = 0
    _shelves: dict[Fingerprint, Path] = field(default_factory=dict)
    _listings: dict[Path, Mapping[int, tuple[str, ...]]] = field(default_factory=dict)

    def load(self, file: ExportFile, seen: Fingerprint | None, group: int) -> list[Taken]:
        """All that is kept of a row group; what cannot be read, or not be trusted, is not there.

        `seen` is the version of the file that the log has opened.
        """
        shelf = self._shelf(file, seen)
        if shelf is None:
            return []
        if shelf not in self._listings:
            self._listings[shelf] = _listed(shelf)
        parts = []
        for name in self._listings[shelf].get(group, ()):
            taken = _read(shelf / name)
            if taken is not None:
                parts.append(taken)
        return parts

    def keep(self, file: ExportFile, seen: Fingerprint | None, group: int, taken: Taken) -> Taken:
        """Write columns down; they come back from disk, so that memory is free, or as they are."""
        shelf = self._shelf(file, seen)
        if shelf is None or self.problem:
            return taken
        parts = sorted(map(part_name, taken.columns))
        digest = hashlib.sha256(repr((parts, taken.facts is None)).encode()).hexdigest()[:16]
        path = shelf / f"{group:06d}-{digest}.arrow"
        if not _is_still(file, seen) or not self._put(path, lambda temporary: _write(temporary, taken)):
            return taken  # it changed while it was read, or there is no room
        return _read(path, checked=False) or taken

    def load_repeated(
        self, files: Sequence[tuple[ExportFile, Fingerprint | None]], uuid: str
    ) -> Repeated | None:
        """Which rows of all these files repeat an event by this column, if that is kept."""
        path = self._repeated_path(files, uuid)
        batch = None if path is None else _read_batch(path)
        if batch is None:
            return None
        number, row, uuid = (batch.column(at) for at in range(3))
        lost = int(batch.schema.metadata[b"unreadable"])
        return Repeated.of(number.to_numpy(), row.to_numpy(), uuid, lost)

    def keep_repeated(
        self, files: Sequence[tuple[ExportFile, Fingerprint | None]], uuid: str, repeated: Repeated
    ) -> None:
        """Write down which rows of all these files repeat an event by this column."""
        path = self._repeated_path(files, uuid)
        if path is None or self.problem or not all(_is_still(file, seen) for file, seen in files):
            return
        nothing = np.empty(0, np.int64)
        numbers = [np.full(len(rows), number) for number, rows in repeated.rows.items()]
        rows = np.concatenate([nothing, *repeated.rows.values()])
        columns = [np.concatenate([nothing, *numbers]), rows, repeated.uuids]
        batch = pa.record_batch([pa.array(column) for column in columns], names=["number", "row", "uuid"])
        batch = batch.replace_schema_metadata({"unreadable": str(repeated.n_unreadable)})
        self._put(path, lambda temporary: _write_batch(temporary, batch))

    def _repeated_path(
        self, files: Sequence[tuple[ExportFile, Fingerprint | None]], uuid: str
    ) -> Path | None:
        shelves = [self._shelf(*pair) for pair in files]
        if None in shelves:
            return None
        words = repr((uuid, *(shelf.name for shelf in shelves if shelf)))
        name = hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return self.root / name[:2] / name / "repeated.arrow"

    def _put(self, path: Path, write: Callable[[Path], None]) -> bool:
        """Write a file that appears whole under its name or not at all; whether it does."""
        temporary = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}.tmp")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write(temporary)
            temporary.replace(path)
        except OSError as problem:
            with suppress(OSError):
                temporary.unlink()
            self.problem = f"columns could not be kept in {self.root} ({problem.strerror or problem})"
            return False
        self.written += 1
        self._listings.pop(path.parent, None)
        return True

    def tidy(self) -> None:
        """Remove files down to the size that the folder may have: those that nobody used for longest.

        Files of other logs go first; what this one has written a moment ago it is about to read.
        """
        if not self.written:
            return
        self.written = 0
        mine = set(self._shelves.values())
        kept: list[tuple[bool, float, int, Path]] = []
        now = time.time()
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                with suppress(OSError):
                    state = path.stat()
                    if name.endswith(".tmp") and now - state.st_mtime > LEFT_OVER:
                        path.unlink()
                    elif name.endswith(".arrow"):
                        kept.append((path.parent in mine, state.st_mtime, state.st_size, path))
        total = sum(size for _, _, size, _ in kept)
        for _, _, size, path in sorted(kept):
            if total <= MOST_BYTES:
                break
            with suppress(OSError):
                path.unlink()
                total -= size
            with suppress(OSError):
                path.parent.rmdir()  # where it was the last
        self._listings.clear()

    def _shelf(self, file: ExportFile, seen: Fingerprint | None) -> Path | None:
        """The folder for one version of one file; None where its versions cannot be told apart (yet)."""
        if seen is None or time.time() - seen.changed < YOUNG:
            return None
        if seen not in self._shelves:
            words = repr((seen, _footer(file), self.layout.words, _rules()))
            name = hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:32]
            self._shelves[seen] = self.root / name[:2] / name
        return self._shelves[seen]


def cache_folder(wanted: bool | str | os.PathLike[str]) -> Path | None:
    """The folder to keep columns in: as asked for, as the environment says, or the user's own; None: none."""
    said = os.environ.get(CACHE_ENV, "")
    if wanted is False or (wanted is True and said.lower() in {"off", "0", "false", "no"}):
        return None
    if wanted is not True:
        return Path(wanted).absolute()
    if said:
        return Path(said).absolute()
    with suppress(RuntimeError):  # nobody's home
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "canarykit/cache"
        if sys.platform == "darwin":
            return Path.home() / "Library/Caches/canarykit"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "canarykit"
    return None


def _is_still(file: ExportFile, seen: Fingerprint | None) -> bool:
    """Whether a file is the one that was opened."""
    try:
        return file.fingerprint() == seen
    except OSError:
        return False


def _listed(shelf: Path) -> Mapping[int, tuple[str, ...]]:
    """Names of what is kept of a file, by row group."""
    by_number: dict[int, list[str]] = {}
    with suppress(OSError):
        for name in sorted(os.listdir(shelf)):
            number = name.partition("-")[0]
            if name.endswith(".arrow") and number.isdigit():
                by_number.setdefault(int(number), []).append(name)
    return {group: tuple(names) for group, names in by_number.items()}


@cache
def _rules() -> str:
    """A digest of the source that reads cells and of what writes them: other rules read anew."""
    rooms = Path(__file__).parents[1]
    sources = [*sorted(rooms.glob("documents/*.py")), *sorted(rooms.glob("remembered/*.py"))]
    sources += [rooms / name for name in ("text.py", "values.py", "fields.py")]
    digest = hashlib.sha256(pa.__version__.encode())
    for source in sources:
        with suppress(OSError):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _footer(file: ExportFile) -> str:
    """A digest of a Parquet file's footer: where every column chunk is, how large, and its statistics."""
    with file.open() as stream:
        stream.seek(max(0, file.size - 8))
        length = int.from_bytes(stream.read(4), "little")
        stream.seek(max(0, file.size - 8 - length))
        return hashlib.sha256(stream.read()).hexdigest()


def _write(path: Path, taken: Taken) -> None:
    """Write columns as an Arrow stream, behind the head."""
    facts: dict[str, str] = {}
    if taken.facts is not None:
        facts = {"facts": json.dumps([taken.facts.names, taken.facts.n_unreadable])}
    names = [part_name(part) for part in taken.columns]
    batch = pa.record_batch(list(taken.columns.values()), names=names)
    _write_batch(path, batch.replace_schema_metadata(facts or None))


def _write_batch(path: Path, batch: pa.RecordBatch) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content = sink.getvalue()
    with path.open("xb") as out:
        out.write(_HEAD.pack(_MAGIC, content.size, zlib.crc32(content)))
        out.write(content)


def _read(path: Path, *, checked: bool = True) -> Taken | None:
    """What a file of columns holds; None where it is not whole."""
    batch = _read_batch(path, checked=checked)
    if batch is None:
        return None
    try:
        columns = {part_of(name): batch.column(at) for at, name in enumerate(batch.schema.names)}
    except ValueError:
        return None
    facts = (batch.schema.metadata or {}).get(b"facts")
    if facts is None:
        return Taken(columns, is_mapped=True)
    names, n_unreadable = json.loads(facts)
    return Taken(columns, Facts(tuple(names), n_unreadable), is_mapped=True)


def _read_batch(path: Path, *, checked: bool = True) -> pa.RecordBatch | None:
    """What a file holds, mapped into memory; None where it is not whole."""
    try:
        with pa.memory_map(str(path)) as mapped:
            whole = mapped.read_buffer()
        magic, size, checksum = _HEAD.unpack(whole.slice(0, _HEAD.size).to_pybytes())
        content = whole.slice(_HEAD.size)
        if magic != _MAGIC or content.size != size or (checked and zlib.crc32(content) != checksum):
            return None
        batch = pa.ipc.open_stream(content).read_next_batch()
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFT_OVER:
                os.utime(path)  # used lately: others go first
    except (OSError, ValueError, struct.error, StopIteration, pa.ArrowException):
        return None
    return batch
