"""Events compared within entry cohorts: who else could have had each one.

People who came in together form a cohort. Before each of its events the labels of those of the cohort who
are left are, if the release changes nothing, in a random order, whatever their hazards were and are: so the
event is the canary's with a chance that is the canary's part of those left. A whole interval is then told by
its events and by the mean of these parts, which is what the evidence needs. `docs/proofs/event_evidence.md`
has the argument.

References
----------
Cox (1975), Partial likelihood, doi:10.1093/biomet/62.2.269; ter Schure, Perez-Ortiz, Ly & Grunwald (2020),
The anytime-valid logrank test, arXiv:2011.06931.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


MOST_CELLS = 2_000_000
"""Ratios times events that are worked on at once."""


@dataclass(frozen=True, eq=False)
class CohortEvents:
    """Every event of both arms: the look it counts at, and the canary's part of those who could have had it.

    Examples
    --------
    >>> events = CohortEvents(np.array([0, 0, 1]), np.array([0.5, 0.25, 0.5]), 2)
    >>> events.expected().tolist()
    [0.375, 0.5]
    """

    look: Ints  # place of the look, in `[0, n_looks)`, ascending
    # canary's part, in [0, 1], of the people of the entry cohort who were left just before the event
    share: Floats
    n_looks: int  # number of looks

    @property
    def n(self) -> Ints:
        """Events of both arms at each look."""
        return np.bincount(self.look, minlength=self.n_looks).astype(np.int64)

    def expected(self, null_ratio: ArrayLike = 1.0) -> Floats:
        """Part of each look's events that are the canary's on average if its rate is so many times as high.

        `null_ratio`: a ratio, or an array of them, which then come first. Looks on the last axis; one half at
        a look without events.
        """
        ratios = np.asarray(null_ratio, dtype=float)
        out = np.full((*ratios.shape, self.n_looks), 0.5)
        if self.look.size == 0:
            return out
        first = np.flatnonzero(np.diff(self.look, prepend=-1))
        sizes = np.diff(first, append=self.look.size)
        flat, rows = ratios.reshape(-1, 1), out.reshape(-1, self.n_looks)
        step = max(1, MOST_CELLS // self.share.size)
        for begin in range(0, len(flat), step):
            parts = flat[begin : begin + step] * self.share
            parts /= parts + (1 - self.share)
            rows[begin : begin + step, self.look[first]] = np.add.reduceat(parts, first, axis=-1) / sizes
        return np.clip(out, 0.0, 1.0)

    def exposures(self, null_ratio: float = 1.0) -> tuple[Floats, Floats]:
        """Exposures of the canary and of the control at each look, for evidence against this ratio.

        They add up to 1. With them a look's likelihood ratio is at most the product of the ratios of its
        events one by one (Jensen), so the evidence keeps its promise against this very ratio.
        """
        part = self.expected(null_ratio)
        canary, control = part / null_ratio, 1 - part
        both = canary + control
        return canary / both, control / both

    def swapped(self) -> CohortEvents:
        """The arms changed over."""
        return CohortEvents(self.look, 1 - self.share, self.n_looks)

    @classmethod
    def joined(cls, parts: list[CohortEvents]) -> CohortEvents:
        """Looks one after the other."""
        begin = np.cumsum([0, *(part.n_looks for part in parts)])
        looks = [part.look + start for part, start in zip(parts, begin[:-1], strict=True)]
        return cls(np.concatenate(looks), np.concatenate([part.share for part in parts]), int(begin[-1]))
