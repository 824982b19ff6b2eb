"""Names that are loaded when first used, so that importing a room does not import what stands behind it.

A room says each name three times, and `tests/test_types.py` keeps the three in step: in its `__all__`, in an
`if TYPE_CHECKING:` block that type checkers and editors read, and in the homes given to `lazy_names`.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["held_back", "imported", "lazy_names"]


def lazy_names(
    room: str, homes: Mapping[str, Sequence[str]], modules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a module whose public names live elsewhere.

    `room` is its `__name__`, `homes` are names by the module that defines them, `modules` submodules that are
    loaded as names of their own.

    Examples
    --------
    >>> load, names = lazy_names("canarykit", {"canarykit.errors": ("DataError",)})
    >>> load("DataError").__name__
    'DataError'
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def load(name: str) -> Any:
        if name in home_of:
            value = getattr(imported(home_of[name]), name)
        elif name in modules:
            value = imported(f"{room}.{name}")
        else:  # name and obj are what "Did you mean" is made of
            message = f"module {room!r} has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules[room])
        setattr(sys.modules[room], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[room]).get("__all__", ()), *home_of, *modules})

    return load, names


@contextmanager
def held_back() -> Iterator[None]:
    """What stands inside is finished first: an interrupt that comes meanwhile is raised at its end.

    Where somebody else handles interrupts, or in another thread than the main one, nothing is changed.
    """
    usual = signal.default_int_handler
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if came:
            raise KeyboardInterrupt


def imported(name: str) -> ModuleType:
    """A module, imported whole: one that was broken off half-way could not be imported again.

    Examples
    --------
    >>> imported("json").loads("[1]")
    [1]
    """
    with held_back():
        return import_module(name)
