"""A progress bar where a person is watching: a terminal or a live notebook, not a test or a batch run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["Progress", "watched"]

Progress = bool | Callable[[Iterable[Any]], Iterable[Any]] | None
"""`None`: a bar when a person is watching, `True` always, `False` never; or any wrapper of an iterable."""


def watched(items: Iterable[Any], progress: Progress, *, total: int, unit: str) -> Iterator[Any]:
    """The same items, with a bar counting `unit` where one is wanted."""
    if callable(progress):
        yield from progress(items)
        return
    if progress is None:
        live_notebook = "JPY_SESSION_NAME" in os.environ and "ipykernel" in sys.modules
        progress = live_notebook or (sys.stderr is not None and sys.stderr.isatty())
        progress = progress and "PYTEST_CURRENT_TEST" not in os.environ
    if not progress:
        yield from items
        return
    from tqdm.auto import tqdm

    yield from tqdm(items, total=total, unit=f" {unit}", unit_scale=True)
