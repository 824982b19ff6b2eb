"""A property filter made ready: one answer per value, and whole columns at once where that is exact.

Answers are small integers: no, yes, inconclusive (the SDK cannot tell), server (only the server can tell).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.targeting.texts import ascii_lower

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["INCONCLUSIVE", "NO", "SERVER", "YES", "Matcher", "always", "exact_texts", "negate", "part_texts"]

NO, YES, INCONCLUSIVE, SERVER = 0, 1, 2, 3

Texts = Callable[["pa.Array"], np.ndarray]
"""Answers for Arrow texts without nulls; only called where every text is ASCII."""


@dataclass(frozen=True)
class Matcher:
    """A filter ready to be asked.

    Parameters
    ----------
    absent
        The answer where the property is absent.
    value
        The answer for one JSON value.
    texts, numbers, moments
        The same for whole columns: Arrow texts (ASCII), float64, int64 nanoseconds since 1970 UTC.
        None: ask value by value.
    """

    absent: int
    value: Callable[[Any], int]
    texts: Texts | None = None
    numbers: Callable[[np.ndarray], np.ndarray] | None = None
    moments: Callable[[np.ndarray], np.ndarray] | None = None


def always(present: int, absent: int) -> Matcher:
    """A filter that looks only at whether the property is there."""
    return Matcher(absent, lambda value: present)


def negate(answers: np.ndarray) -> np.ndarray:
    """No becomes yes and yes no; what cannot be told stays so."""
    return np.where(answers <= YES, 1 - answers.astype(np.int8), answers).astype(np.uint8)


def exact_texts(wanted: Collection[str], *, inverted: bool) -> Texts:
    """Whether the lower-cased text is one of some lower-case texts."""

    def answer(texts: pa.Array) -> np.ndarray:
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.is_in(pc.ascii_lower(texts), value_set=pa.array(sorted(wanted), type=texts.type))
        return found.to_numpy(zero_copy_only=False) ^ inverted

    return answer


def part_texts(part: str, where: str, *, inverted: bool) -> Texts:
    """Whether the text contains, starts or ends with a part, ignoring the case of A to Z."""

    def answer(texts: pa.Array) -> np.ndarray:
        import pyarrow.compute as pc

        function = {"contains": pc.match_substring, "starts": pc.starts_with, "ends": pc.ends_with}[where]
        return function(pc.ascii_lower(texts), ascii_lower(part)).to_numpy(zero_copy_only=False) ^ inverted

    return answer
