"""Many drafts as one log in order of time, put together a slice of time at once.

Each draft is sorted while the cache still holds it. A slice of the log is then a short run of each
draft, so nothing as long as the log is ever moved, but to the place where it stays.
"""

from __future__ import annotations

import mmap
from dataclasses import replace

import numpy as np

from canarykit.compiler import can_compile
from canarykit.simulate.log.behaviour import MILLISECOND, Draft
from canarykit.simulate.people.identities import COMPILED_FROM

SLICE = 1 << 16
"""Events of a slice, about: what is made of them fits the cache."""


def in_time_order(draft: Draft, *, compiled: bool = False) -> Draft:
    """Events in order of time, equal times in row order: time and row are packed into one word and sorted."""
    if not len(draft.time):
        return draft
    bits = max(len(draft.time) - 1, 1).bit_length()
    first = draft.time.min()
    packed = draft.time - first
    packed //= MILLISECOND  # times are whole milliseconds
    used = bits + int(packed.max()).bit_length()
    if used > 63:
        return draft.take(np.argsort(draft.time, kind="stable"))
    packed <<= bits
    packed |= np.arange(len(packed))
    if compiled and can_compile():
        from canarykit.simulate.log.kernels import sort_words

        packed = sort_words(packed.view(np.uint64), bits, used).view(np.int64)
    else:
        packed.sort()
    rows = packed & ((1 << bits) - 1)
    packed >>= bits
    packed *= MILLISECOND
    packed += first
    return draft.take(rows, time=packed)


def in_own_pages(draft: Draft) -> Draft:
    """The same events in a mapping of their own: its memory is free for others as soon as they are gone."""
    arrays = {name: getattr(draft, name) for name in Draft.EVENTS}
    pages = mmap.mmap(-1, max(sum(array.nbytes for array in arrays.values()), 1))
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    start = 0
    moved = {}
    for name in sorted(arrays, key=lambda name: -arrays[name].itemsize):  # so that all are aligned
        array = arrays[name]
        moved[name] = np.frombuffer(pages, array.dtype, len(array), start)
        moved[name][:] = array
        start += array.nbytes
    return replace(draft, **moved)


class Slices:
    """Drafts, each in order of time, cut into slices of time; equal times stay in the order of the drafts.

    Their sessions are numbered through.
    """

    def __init__(self, drafts: list[Draft]) -> None:
        drafts = [draft for draft in drafts if len(draft.time)]
        often = SLICE // 64  # every so many-th time of each draft tells where the slices should end
        some = [draft.time[:: SLICE // often] for draft in drafts]
        edges = np.unique(np.sort(np.concatenate([*some, np.empty(0, np.int64)]))[often::often])
        cuts = [np.searchsorted(draft.time, edges) for draft in drafts]
        whole = [np.r_[0, cut, len(draft.time)] for cut, draft in zip(cuts, drafts, strict=True)]
        self._cuts = np.array(whole, np.int64).reshape(len(drafts), len(edges) + 2)
        self._drafts: list[Draft | None] = [*drafts]
        self._last = [int(np.searchsorted(cuts, cuts[-1])) - 1 for cuts in self._cuts]
        self.starts: np.ndarray = self._cuts.sum(axis=0)
        """Row of the log at which each slice starts, and the end of the last."""

    def __len__(self) -> int:
        return len(self.starts) - 1 if len(self._cuts) else 0

    def __getitem__(self, number: int) -> Draft:
        """One slice, in order of time."""
        lows, highs = self._cuts[:, number], self._cuts[:, number + 1]
        filled = np.flatnonzero(highs > lows)
        runs = [(self._drafts[index], slice(lows[index], highs[index])) for index in filled]
        parts = [draft.take(rows) for draft, rows in runs if draft is not None]
        return in_time_order(Draft.together(parts), compiled=self.starts[-1] >= COMPILED_FROM)

    def forget(self, number: int) -> None:
        """Let go of the drafts of which nothing comes after this slice."""
        for index, last in enumerate(self._last):
            if last == number:
                self._drafts[index] = None
