"""Breakdown values per row: text of one or several properties, cleaned, coded in the order of their text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from canarykit.funnels.engine.filters import property_column, query_pattern
from canarykit.funnels.question.specs import Breakdown

if TYPE_CHECKING:
    from canarykit.funnels.engine.columns import Columns
    from canarykit.funnels.engine.runs import Label


@dataclass(frozen=True, eq=False)
class Values:
    """A code per row, the label each code stands for, and whether a label holds no text at all.

    Codes follow the order of the labels, so that equal events sort alike whatever the engine.
    """

    codes: np.ndarray
    labels: tuple[Label, ...]
    blank: np.ndarray


def breakdown_columns(breakdown: Breakdown) -> list[str]:
    """The columns a breakdown reads."""
    return [
        property_column(name, breakdown.type, breakdown.group_type_index) for name in breakdown.properties
    ]


def breakdown_values(breakdown: Breakdown, columns: Columns, rows: np.ndarray) -> Values:
    """Values of the chosen rows; missing is the blank text, a value of its own."""
    parts = []
    for name in breakdown_columns(breakdown):
        codes, texts = columns.text(name)
        cleaned = [clean(text, breakdown) for text in [*texts, ""]]  # the last stands for missing
        distinct, index = np.unique(np.array(cleaned, dtype=object), return_inverse=True)
        parts.append((index.astype(np.int64)[codes[rows]], distinct.tolist()))
    codes, texts = parts[0]
    if len(parts) == 1:
        return _used(codes, tuple(texts), len(texts))
    combined = np.zeros(len(rows), dtype=np.int64)
    for codes, texts in parts:
        combined = combined * len(texts) + codes
    seen, codes = np.unique(combined, return_inverse=True)
    labels = []
    for number in seen.tolist():
        label: list[str] = []
        for _, texts in reversed(parts):
            number, index = divmod(number, len(texts))
            label.append(texts[index])
        labels.append(tuple(reversed(label)))
    return Values(codes, tuple(labels), np.array([not any(label) for label in labels], dtype=np.int64))


def _used(codes: np.ndarray, labels: tuple[Label, ...], n: int) -> Values:
    """Drop labels that no row carries, but keep the blank one: a group without value appears under it."""
    used = np.bincount(codes, minlength=n) > 0
    used |= np.array([not label for label in labels], dtype=bool)
    new_code = np.cumsum(used) - 1
    kept = tuple(label for label, keep in zip(labels, used, strict=True) if keep)
    return Values(new_code[codes], kept, np.array([not label for label in kept], dtype=np.int64))


def clean(text: str, breakdown: Breakdown) -> str:
    """Path aliases first, then a normalised address: no trailing `/`, `?` or `#`, and never empty.

    Examples
    --------
    >>> clean("https://acme.io/home/?#", Breakdown(("$current_url",), normalize_url=True))
    'https://acme.io/home'
    >>> clean("/home/7", Breakdown(("$pathname",), path_cleaning=(("/home.*", "/home/:id"),)))
    '/home/:id'
    """
    for pattern, alias in breakdown.path_cleaning:
        text = query_pattern(pattern, "path cleaning").replace(text, alias)
    if breakdown.normalize_url:
        text = text.rstrip("/?#") or "/"
    return text
