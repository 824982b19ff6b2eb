"""Files that are whole or absent: written beside their place under another name, and renamed at the end."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from canarykit.errors import DataError

__all__ = ["beside", "write_whole"]


@contextmanager
def beside(path: str | PathLike[str]) -> Iterator[Path]:
    """A hidden path in the same folder to write to; renamed to `path` when the block ends well, else removed.

    Missing folders are made. Whoever reads `path` meanwhile sees what was there before, and after a full
    disk or Ctrl-C nothing half-written stays behind.

    `DataError` if the folder or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "report.txt"
    >>> with beside(target) as unfinished:
    ...     _ = unfinished.write_text("whole")
    >>> target.read_text(), [file.name for file in target.parent.iterdir()]
    ('whole', ['report.txt'])
    """
    target = Path(os.path.realpath(path))
    device = target.exists() and not target.is_file()  # a pipe takes what it gets
    unfinished = target if device else target.with_name(f".{target.name}.{secrets.token_hex(4)}.unfinished")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        if not device:
            os.replace(unfinished, target)
    except OSError as problem:
        raise DataError(f"{target} cannot be written: {problem.strerror or problem}") from problem
    finally:
        if not device:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)


def write_whole(path: str | PathLike[str], text: str) -> None:
    """Write a text as UTF-8, whole or not at all; halves of a pair are written out as `\\\\udc80`.

    `DataError` if the folder or the file cannot be written.
    """
    with beside(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
