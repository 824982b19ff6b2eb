"""Many drafts as one log in order of time, put together a slice of time at once.

Each draft is sorted while the cache still holds it. A slice of the log is then a short run of each
draft, so nothing as long as the log is ever moved, but to the place where it stays.
"""

from __future__ import annotations

import numpy as np

from canarykit.simulate.behaviour import MILLISECOND, Draft
from canarykit.simulate.identities import COMPILED_FROM

__all__ = ["Slices", "in_time_order"]

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
    if compiled:
        from canarykit.simulate.kernels import sort_words

        packed = sort_words(packed.view(np.uint64), bits, used).view(np.int64)
    else:
        packed.sort()
    rows = packed & ((1 << bits) - 1)
    packed >>= bits
    packed *= MILLISECOND
    packed += first
    return draft.take(rows, time=packed)


class Slices:
    """Drafts, each in order of time, cut into slices of time; equal times stay in the order of the drafts.

    Parameters
    ----------
    drafts
        Events whose sessions are numbered through.
    """

    def __init__(self, drafts: list[Draft]) -> None:
        self._drafts = [draft for draft in drafts if len(draft.time)]
        often = SLICE // 64  # every so many-th time of each draft tells where the slices should end
        some = [draft.time[:: SLICE // often] for draft in self._drafts]
        edges = np.unique(np.sort(np.concatenate([*some, np.empty(0, np.int64)]))[often::often])
        cuts = [np.searchsorted(draft.time, edges) for draft in self._drafts]
        whole = [np.r_[0, cut, len(draft.time)] for cut, draft in zip(cuts, self._drafts, strict=True)]
        self._cuts = np.array(whole, np.int64).reshape(len(self._drafts), -1)
        self.starts = self._cuts.sum(axis=0)
        """Row of the log at which each slice starts, and the end of the last."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> Draft:
        """One slice, in order of time."""
        lows, highs = self._cuts[:, number], self._cuts[:, number + 1]
        there = np.flatnonzero(highs > lows)
        parts = [self._drafts[d].take(slice(lows[d], highs[d])) for d in there]
        return in_time_order(Draft.together(parts), compiled=self.starts[-1] >= COMPILED_FROM)
