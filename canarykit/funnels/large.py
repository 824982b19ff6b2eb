"""Funnels over large logs: batches are packed as they arrive, spread over buckets, and scanned there.

The answer is that of the general path (`feed` and `scan`), which stays in charge of small inputs, of people
lists and of what does not fit the packed form.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from canarykit.funnels.compiled import compiled
from canarykit.funnels.exposed import Exposed
from canarykit.funnels.merge import label_key
from canarykit.funnels.pack import Block, DoesNotFit, Packer
from canarykit.funnels.partition import make_groups
from canarykit.funnels.query import FunnelQuery
from canarykit.funnels.rules import (
    ALL_EVENTS,
    BITS,
    FIRST_TOUCH,
    LAST_TOUCH,
    NO_VALUE,
    ORDERED,
    REACHED,
    STEPS_MASK,
    TIMES,
    UNORDERED,
    VALUE,
    Rules,
    answer_fields,
    make_memory,
    tie_rank,
)
from canarykit.funnels.scan import make_rules
from canarykit.funnels.types import FunnelRun, Label

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DoesNotFit", "run_batches"]

BUCKET = 24_000  # events of a bucket: its tables stay in the second-level cache
MOST_BUCKET_BITS = 12
NONE = np.empty(0, dtype=np.int64)
NOTHING = Block(NONE, NONE, NONE)


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
        if not packer.n_events:
            raise DoesNotFit
        return _scan(packer, pool)


@dataclass(frozen=True, eq=False)
class Buckets:
    """Packed events by bucket; bucket i has the places `starts[i]` to `starts[i + 1]`."""

    keys: np.ndarray
    seconds: np.ndarray
    packed: np.ndarray
    starts: np.ndarray

    @property
    def columns(self) -> tuple[np.ndarray, ...]:
        """The arrays, in the order of the scans' arguments."""
        return self.keys, self.seconds, self.packed, self.starts

    def chunks(self, wanted: int) -> list[tuple[int, int]]:
        """Ranges of buckets with about equally many events."""
        marks = np.searchsorted(self.starts, np.linspace(0, self.starts[-1], wanted + 1)[1:-1])
        edges = np.unique(np.concatenate([[0], marks, [len(self.starts) - 1]])).tolist()
        return list(pairwise(edges))


def _scan(packer: Packer, pool: ThreadPoolExecutor) -> FunnelRun:
    labels = tuple(sorted(packer.labels, key=label_key)) or (None,)
    n_events, n = packer.n_events, packer.query.n_steps
    found = _scan_buckets(packer, labels, pool)
    if any(part.actors < 0 for part in found):
        raise DoesNotFit
    ends = np.cumsum([len(part.rows) for part in found])
    total = int(ends[-1])
    run = FunnelRun(
        labels=labels,
        value=np.empty(total, np.int32),
        reached=np.empty(total, np.int8),
        bits=np.empty(total, np.int64),
        times=np.empty((total, n), np.int64, order="F"),  # whole columns are what is read of them
        n_actors=sum(part.actors for part in found),
        n_events=n_events,
    )

    def fill(i: int) -> None:
        rows, found[i] = found[i].rows, NO_ANSWERS
        place = slice(int(ends[i]) - len(rows), int(ends[i]))
        run.value[place] = rows[:, VALUE]
        run.reached[place] = rows[:, REACHED]
        run.bits[place] = rows[:, BITS]
        run.times[place] = rows[:, TIMES:]

    list(pool.map(fill, range(len(found))))
    return run


@dataclass(frozen=True, eq=False)
class Part:
    """Number of actors of a range of buckets (-1: two ids share a hash), and their answers, one a row."""

    actors: int
    rows: np.ndarray


NO_ANSWERS = Part(0, np.empty((0, 0), np.int64))


def _scan_buckets(packer: Packer, labels: tuple[Label, ...], pool: ThreadPoolExecutor) -> list[Part]:
    """Answers of every range of buckets."""
    query, layout = packer.query, packer.layout
    assert layout is not None
    place = {label: i for i, label in enumerate(labels)}
    values = np.zeros(1 << layout.value_bits, dtype=np.int64)
    for label, code in packer.labels.items():
        values[code] = place[label]
    met = np.array(list(packer.masks), dtype=np.int64)  # in the order of their codes
    matches = np.zeros(1 << layout.entry_bits, dtype=np.int64)
    matches[: len(met)] = tie_rank(met)
    masks = met[np.argsort(matches[: len(met)])]
    buckets = _partition(packer, matches, values, pool)
    blank = np.array([label is None or not any(label_key(label)) for label in labels], dtype=np.int64)
    rules = make_rules(query, blank=place.get("", -1))
    short = _short_scan_will_do(rules, met)

    def scan(chunk: tuple[int, int]) -> Part:
        first, last = chunk
        sizes = np.diff(buckets.starts[first : last + 1])
        most = int(sizes.max())
        answers = np.empty(int(sizes.sum()) * answer_fields(query.n_steps), np.int64)
        used = np.zeros(2, np.int64)
        bounds = (first, last, layout, masks, rules, blank, make_groups(most), answers, used)
        if short:
            actors = compiled("run_plain_buckets")(*buckets.columns, *bounds)
        else:
            memory = make_memory(
                query.n_steps,
                most,
                len(labels),
                plain=False,
                split=rules.attribution == ALL_EVENTS,
                queues=rules.order == UNORDERED,
            )
            actors = compiled("run_buckets")(*buckets.columns, *bounds, *memory)
        width = answer_fields(query.n_steps)
        return Part(actors, answers[: used[0] * width].reshape(-1, width))

    return list(pool.map(scan, buckets.chunks(4 * packer.threads)))


def _short_scan_will_do(rules: Rules, masks: np.ndarray) -> bool:
    """Whether every event is one step, and nothing is optional, excluded, near-tied or checked."""
    single = bool(np.all((masks & (masks - 1) == 0) & (masks <= STEPS_MASK)))
    one_value = rules.attribution in (NO_VALUE, FIRST_TOUCH, LAST_TOUCH)
    return single and one_value and rules.order == ORDERED and not rules.tie and not rules.optional


def _partition(packer: Packer, matches: np.ndarray, values: np.ndarray, pool: ThreadPoolExecutor) -> Buckets:
    """Every event in its bucket."""
    n_events = packer.n_events
    bits = min(MOST_BUCKET_BITS, max(1, int(np.ceil(np.log2(max(2, n_events / BUCKET))))))
    shift = np.uint64(64 - bits)
    pieces = [piece for block in packer.blocks for piece in block.pieces()]
    checked = packer.checked
    packer.blocks.clear()  # from here on the pieces hold the memory, and let go of it one by one
    counts = np.zeros((len(pieces), 1 << bits), dtype=np.int64)

    def count(i: int) -> None:
        compiled("count_keys")(pieces[i].keys, shift, counts[i])

    list(pool.map(count, range(len(pieces))))
    starts = np.zeros((1 << bits) + 1, dtype=np.int64)
    np.cumsum(counts.sum(axis=0), out=starts[1:])
    places = starts[:-1] + np.cumsum(counts, axis=0) - counts
    keys, packed = np.empty(n_events, np.int64), np.empty(n_events, np.int64)
    seconds = np.empty(n_events if checked else 0, np.int64)

    def move(i: int) -> None:
        piece, pieces[i] = pieces[i], NOTHING
        source = (piece.keys, piece.seconds, piece.packed, shift, places[i])
        compiled("scatter")(*source, packer.layout, matches, values, keys, seconds, packed)

    list(pool.map(move, range(len(pieces))))
    return Buckets(keys, seconds, packed, starts)
