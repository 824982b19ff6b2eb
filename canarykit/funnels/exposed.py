"""Attribution by exposure: each actor belongs to the variant of the first exposure, and counts from then on.

First touch lets the event that happens to come first decide, drops blanks, and attributes what happened
before the flag was ever evaluated. A release decision compares people as they were exposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Exposed"]


@dataclass(frozen=True, eq=False)
class Exposed:
    """Actors exposed to exactly one variant: id -> (code into `labels`, time of first exposure)."""

    labels: tuple[str, ...]
    people: Mapping[str, tuple[int, int]]
    several_variants: int = 0

    def counts(self) -> np.ndarray:
        """Exposed actors per label."""
        codes = np.fromiter((code for code, _ in self.people.values()), np.int64, len(self.people))
        return np.bincount(codes, minlength=len(self.labels))

    def lookup(self, codes: np.ndarray, texts: list[str], time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows at or after their actor's first exposure, and the variant code of each row."""
        nobody = (-1, 0)
        found = [self.people.get(text, nobody) for text in [*texts]]
        variant = np.array([*(code for code, _ in found), -1], dtype=np.int64)[codes]
        since = np.array([*(moment for _, moment in found), 0], dtype=np.int64)[codes]
        return (variant >= 0) & (time >= since), variant
