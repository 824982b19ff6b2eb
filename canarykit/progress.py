"""A progress bar where a person is watching: a terminal or a live notebook, not a test or a batch run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

__all__ = ["LONG_READ", "Progress", "watched"]

Progress = bool | Callable[[Iterable[Any]], Iterable[Any]] | None
"""`None`: a bar when a person is watching, `True` always, `False` never; or any wrapper of an iterable."""
LONG_READ = 1_000_000
"""Events from which reading them takes long enough for a bar."""


def watched(
    items: Iterable[Any], progress: Progress, *, total: int, unit: str, sizes: Sequence[int] | None = None
) -> Iterator[Any]:
    """The same items, with a bar counting `unit` where one is wanted.

    `total` is the number of items, or of what `sizes` counts: by how much each brings the bar on (None: by
    one). Such a bar vanishes at its end.
    """
    if callable(progress):
        yield from progress(items)
        return
    if progress is None:
        progress = _is_live_notebook() or (sys.stderr is not None and sys.stderr.isatty())
        progress = progress and "PYTEST_CURRENT_TEST" not in os.environ
    if not progress:
        yield from items
        return
    with _bar(total=total, unit=f" {unit}", unit_scale=True, leave=sizes is None) as bar:
        for number, item in enumerate(items):
            yield item
            bar.update(1 if sizes is None else sizes[number])


def _is_live_notebook() -> bool:
    return "JPY_SESSION_NAME" in os.environ and _is_kernel()


def _is_kernel() -> bool:
    """Whether this process answers a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _bar(**options: Any) -> Any:
    """A bar made of widgets where they are; else of text, which notebooks show in red unless it is output."""
    if _is_kernel() and find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm

        return tqdm(**options)
    from tqdm.std import tqdm as text_bar

    return text_bar(**options, file=sys.stdout if _is_kernel() else None)
