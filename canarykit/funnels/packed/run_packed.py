"""Funnels over large logs: batches are packed as they arrive, spread over buckets, and scanned there.

The answer is that of the general path (`feed` and `scan`), which stays in charge of small inputs, of people
lists and of what does not fit the packed form.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.exposure.lookup import Exposed
from canarykit.funnels.compiled import compiled
from canarykit.funnels.engine.merge import label_key
from canarykit.funnels.engine.runs import FunnelRun, Label
from canarykit.funnels.engine.scan import make_rules
from canarykit.funnels.engine.scan_memory import (
    ALL_EVENTS,
    FIRST_TOUCH,
    LAST_TOUCH,
    NO_VALUE,
    ORDERED,
    STEPS_MASK,
    UNORDERED,
    Rules,
    answer_fields,
    make_memory,
    tie_rank,
)
from canarykit.funnels.packed.bucket_memory import Entries, Events, Groups, make_entries, make_groups
from canarykit.funnels.packed.pack_kernels import SECOND
from canarykit.funnels.packed.packer import DoesNotFit, Packer
from canarykit.funnels.packed.scan_single_matches import make_attempts
from canarykit.funnels.question.specs import FunnelQuery

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DoesNotFit", "run_batches"]

CHUNK = 200_000  # events that are scanned in one go


def run_batches(
    tables: Iterable[pa.Table],
    query: FunnelQuery,
    exposed: Exposed | None = None,
    *,
    threads: int | None = None,
) -> FunnelRun:
    """The run of a stream of tables, actors in any of them; raises `DoesNotFit` for the general path."""
    threads = threads or min(os.cpu_count() or 1, 16)
    packer = Packer(query, exposed, threads)
    with ThreadPoolExecutor(threads) as pool:
        for table in tables:
            packer.add(table, pool)
        if not packer.used:
            raise DoesNotFit
        return _scan(packer, pool)


def _scan(packer: Packer, pool: ThreadPoolExecutor) -> FunnelRun:
    """All buckets, some at a time by every processor, their entries side by side in any order."""
    labels = tuple(sorted(packer.labels, key=label_key)) or (None,)
    scan = Scan.of(packer, labels)
    if min(pool.map(scan, scan.chunks)) < 0:
        raise DoesNotFit
    entries, filled = scan.entries, scan.filled
    run = FunnelRun(
        labels=labels,
        value=entries.value[:filled],
        reached=entries.reached[:filled],
        bits=entries.bits[:filled],
        times=entries.times[:, :filled].T,
        n_actors=scan.actors,
        n_events=packer.used,
    )
    return run.counted(np.sum(scan.furthest, axis=0))


def chunks(starts: np.ndarray, threads: int) -> list[tuple[int, int]]:
    """Ranges of buckets with about equally many events, those with most first, so that none is left over.

    `starts` are those of the buckets, by slice.
    """
    before = np.sum(starts - starts[:, :1], axis=0)
    n_events = int(before[-1])
    wanted = max(4 * threads, n_events // CHUNK)
    marks = np.searchsorted(before, np.linspace(0, n_events, wanted + 1)[1:-1])
    edges = np.unique(np.concatenate([[0], marks, [len(before) - 1]])).tolist()
    return sorted(pairwise(edges), key=lambda ends: before[ends[0]] - before[ends[1]])


@dataclass(frozen=True, eq=False)
class Room:
    """Working memory of one thread, the same for every range of buckets: fresh memory is what costs most."""

    groups: Groups
    entries: Entries
    furthest: np.ndarray
    memory: tuple[Any, ...]


@dataclass(eq=False)
class Scan:
    """The scan of ranges of buckets, by several threads; called with a range.

    `entries` has place for one an event; pages that are not used stay free.
    """

    packer: Packer
    rules: Rules
    masks: np.ndarray  # by final code of the matches
    blank: np.ndarray  # by final code of the value
    entry_code: np.ndarray
    value_code: np.ndarray
    actors: int = 0
    filled: int = 0

    def __post_init__(self) -> None:
        assert self.packer.events is not None
        self.events: np.ndarray = self.packer.events
        self.starts: np.ndarray = self.packer.starts
        self.chunks: list[tuple[int, int]] = chunks(self.starts, self.packer.threads)
        self.sizes: np.ndarray = np.diff(self.starts).sum(axis=0)
        self.largest: int = max(int(self.sizes[first:last].sum()) for first, last in self.chunks)
        self.entries: Any = make_entries(self.packer.used, self.rules.n)
        self.short: bool = _short_scan_will_do(self.rules, self.masks)
        self.lock: threading.Lock = threading.Lock()
        self.rooms: threading.local = threading.local()
        self.furthest: list[np.ndarray] = []  # of every thread

    @classmethod
    def of(cls, packer: Packer, labels: tuple[Label, ...]) -> Scan:
        """The scan of what was packed: codes, given as they were met, get their final order."""
        layout = packer.layout
        assert layout is not None
        code_of = {label: i for i, label in enumerate(labels)}
        value_code = np.zeros(1 << layout.value_bits, dtype=np.int64)
        for label, code in packer.labels.items():
            value_code[code] = code_of[label]
        met = np.array(list(packer.masks), dtype=np.int64)  # in the order of their codes
        entry_code = np.zeros(1 << layout.entry_bits, dtype=np.int64)
        entry_code[: len(met)] = tie_rank(met)
        masks = met[np.argsort(entry_code[: len(met)])]
        blank = np.array([label is None or not any(label_key(label)) for label in labels], dtype=np.int64)
        return cls(
            packer, make_rules(packer.query, blank=code_of.get("", -1)), masks, blank, entry_code, value_code
        )

    def __call__(self, chunk: tuple[int, int]) -> int:
        """Add the entries of the buckets `chunk[0]` to `chunk[1]`; -1 when two ids share a hash."""
        room, (first, last) = self._room(), chunk
        begins = np.ascontiguousarray(self.starts[:, first : last + 1])
        events = Events(self.events, first, begins, self.entry_code, self.value_code)
        run = compiled("run_plain_buckets" if self.short else "run_buckets")
        bounds = (events, self.packer.layout, self.masks, self.rules, self.blank)
        actors, size = run(*bounds, room.groups, room.entries, room.furthest, *room.memory)
        with self.lock:
            span = slice(self.filled, self.filled + size)
            self.filled = span.stop
            self.actors += actors
        for whole, part in zip(self.entries, room.entries, strict=True):
            whole[..., span] = part[..., :size]
        return actors

    def _room(self) -> Room:
        """This thread's working memory."""
        if not hasattr(self.rooms, "own"):
            n, most = self.rules.n, int(self.sizes.max())
            split, queues = self.rules.attribution == ALL_EVENTS, self.rules.order == UNORDERED
            self.rooms.own = Room(
                groups=make_groups(most, checked=self.events.shape[1] > SECOND),
                entries=make_entries(self.largest, n),
                furthest=np.zeros((len(self.blank), n), np.int64),
                memory=(make_attempts(most, n),)
                if self.short
                else (
                    make_attempts(0, n),
                    np.empty(most * answer_fields(n), np.int64),
                    *make_memory(n, most, len(self.blank), plain=False, split=split, queues=queues),
                ),
            )
            self.furthest.append(self.rooms.own.furthest)
        return self.rooms.own


def _short_scan_will_do(rules: Rules, masks: np.ndarray) -> bool:
    """Whether every event is one step, and nothing is optional, excluded, near-tied or checked."""
    single = bool(np.all((masks & (masks - 1) == 0) & (masks > 0) & (masks <= STEPS_MASK)))
    one_value = rules.attribution in (NO_VALUE, FIRST_TOUCH, LAST_TOUCH)
    return single and one_value and rules.order == ORDERED and not rules.tie and not rules.optional
