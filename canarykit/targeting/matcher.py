"""A property filter made ready: one answer per value, and whole columns at once where that is exact.

Answers are small integers: no, yes, inconclusive (the SDK cannot tell), server (only the server can tell).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.compiler import can_compile
from canarykit.targeting.value_text import ascii_lower

if TYPE_CHECKING:
    import pyarrow as pa

NO, YES, INCONCLUSIVE, SERVER = 0, 1, 2, 3

LONG = 50_000
"""Columns of at least so many texts are scanned by the compiled form."""


@dataclass(frozen=True)
class TextTest:
    """A test of texts that a whole column can be put to at once."""

    parts: tuple[str, ...]  # lower-case parts, one of which must be there
    place: str  # "equal", "starts", "ends" or "contains"
    inverted: bool = False  # whether the answer is turned round

    @property
    def folds_ascii_only(self) -> bool:
        """Whether letters beyond A to Z stand as they are (equality folds every letter)."""
        return self.place != "equal"

    def __call__(self, texts: pa.Array) -> np.ndarray:
        """One boolean a text; what stands under nulls means nothing."""
        if len(texts) >= LONG and len(self.parts) <= 8 and can_compile():
            from canarykit.targeting.text_scan import scan_texts

            return scan_texts(texts, self.parts, self.place) ^ self.inverted
        import pyarrow as pa
        import pyarrow.compute as pc

        folded = pc.ascii_lower(texts)
        if self.place == "equal":
            holds = pc.is_in(folded, value_set=pa.array(self.parts, type=texts.type))
        else:
            test = {"contains": pc.match_substring, "starts": pc.starts_with, "ends": pc.ends_with}[
                self.place
            ]
            holds = pc.fill_null(test(folded, self.parts[0]), False)
        return holds.to_numpy(zero_copy_only=False) ^ self.inverted


@dataclass(frozen=True)
class Matcher:
    """A filter ready to be asked."""

    absent: int  # the answer where the property is absent
    value: Callable[[Any], int]  # the answer for one JSON value
    # the same for whole columns: texts, float64, int64 nanoseconds since 1970 UTC. None: ask value by value.
    texts: TextTest | None = None
    numbers: Callable[[np.ndarray], np.ndarray] | None = None
    moments: Callable[[np.ndarray], np.ndarray] | None = None


def always(present: int, absent: int) -> Matcher:
    """A filter that looks only at whether the property is there."""
    return Matcher(absent, lambda value: present)


def negate(answers: np.ndarray) -> np.ndarray:
    """No becomes yes and yes no; what cannot be told stays so."""
    return answers ^ (answers < INCONCLUSIVE).view(np.uint8)


def exact_texts(wanted: Collection[str], *, inverted: bool) -> TextTest:
    """Whether the lower-cased text is one of some lower-case texts."""
    return TextTest(tuple(sorted(wanted)), "equal", inverted)


def part_texts(part: str, where: str, *, inverted: bool) -> TextTest:
    """Whether the text contains, starts or ends with a part, ignoring the case of A to Z."""
    return TextTest((ascii_lower(part),), where, inverted)
