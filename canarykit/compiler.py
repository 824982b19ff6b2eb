"""Machine code where numba is there and has a place to keep it; the plain form of everything otherwise.

numba is late for new Pythons and absent from locked-down notebooks. Nothing depends on it but speed: whoever
would take a compiled form asks `can_compile` first, and the reader is told once if there is none.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from canarykit.lazy import imported

__all__ = ["borrowing", "can_compile", "njit"]

Function = TypeVar("Function", bound=Callable[..., Any])


@cache
def can_compile() -> bool:
    """Whether numba is installed and finds a place for what it compiles; says once if it does not.

    Where neither the package's folder nor the user's cache can be written, compiled code is kept in a
    temporary folder until the process ends.
    """
    try:
        numba: Any = imported("numba")
    except (ImportError, OSError, SystemError) as problem:
        _say(f"numba cannot be used ({problem}); large inputs take the plain, slower form of everything")
        return False
    if _finds_a_place(numba):
        return True
    usual = numba.config.CACHE_DIR
    try:
        folder = tempfile.mkdtemp(prefix="canarykit-")
    except OSError:
        folder = ""
    if folder:
        numba.config.CACHE_DIR = folder
        if _finds_a_place(numba):
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            _say(
                f"no place for compiled code can be written; it stays in {folder} until this process ends "
                "(set NUMBA_CACHE_DIR to a folder that can be)"
            )
            return True
        numba.config.CACHE_DIR = usual
    _say("no folder can be written to keep compiled code; large inputs take the plain form, which is slower")
    return False


def njit(**options: Any) -> Callable[[Function], Function]:
    """`numba.njit`, cached, where it can be; else the function as it stands (also as its own `.py_func`).

    A cache file that cannot be read is compiled anew, one that cannot be written is not kept, and one made
    with other kernels or constants than those that the function uses now is not believed.
    """

    def compile_(function: Function) -> Function:
        if not can_compile():
            function.py_func = function  # type: ignore[attr-defined]
            return function
        import numba

        kernel = numba.njit(cache=True, nogil=True, **options)(function)
        file = kernel._cache._cache_file
        file._source_stamp = (file._source_stamp, *_ingredients(function))  # numba looks at one file alone
        _forgive(kernel)
        return kernel

    return compile_


def borrowing(**options: Any) -> Callable[[Function], Function]:
    """`njit` for a function that only works on arrays of its caller: it makes none and keeps none.

    numba then leaves out the counting of references, an atomic instruction or two for every array that is
    handed on, which in a loop of small calls costs more than the work.
    """
    return njit(_nrt=False, **options)


def _finds_a_place(numba: Any) -> bool:
    try:
        numba.njit(cache=True)(_probe)
    except (RuntimeError, OSError):  # "no locator available"
        return False
    return True


def _probe() -> int:
    return 0


def _ingredients(function: Callable[..., Any]) -> list[tuple[str, str]]:
    """What goes into a function's machine code from outside it: the state of its kernels, its constants."""
    code, names = function.__code__, set[str]()
    parts = [code]
    while parts:
        part = parts.pop()
        names.update(part.co_names)
        parts += [item for item in part.co_consts if isinstance(item, type(code))]
    used = {name: function.__globals__[name] for name in sorted(names & function.__globals__.keys())}
    kept = []
    for name, item in used.items():
        cached = getattr(getattr(item, "_cache", None), "_cache_file", None)
        written = getattr(item, "_defn", None)  # of an intrinsic
        if cached is not None:
            kept.append((name, repr(cached._source_stamp)))
        elif written is not None:
            kept.append((name, sha256(Path(written.__code__.co_filename).read_bytes()).hexdigest()))
        elif not callable(item) and not isinstance(item, ModuleType):
            kept.append((name, item.tobytes().hex() if hasattr(item, "tobytes") else repr(item)))
    return kept


def _forgive(kernel: Any) -> None:
    """Let one kernel outlive broken cache files and full disks; numba's other users keep theirs as it is."""
    file = kernel._cache._cache_file
    load, save = file.load, file.save

    def load_or_compile(signature: Any) -> Any:
        try:
            return load(signature)
        except Exception as problem:  # whatever the bytes of a broken file make of unpickling
            _say_once(f"a file of compiled code is broken ({type(problem).__name__}) and made anew")
            with suppress(OSError):
                file.flush()
            return None

    def save_if_possible(signature: Any, data: Any) -> None:
        try:
            save(signature, data)
        except Exception as problem:
            _say_once(f"compiled code could not be kept ({problem}); it is compiled anew next time")

    file.load, file.save = load_or_compile, save_if_possible


@cache
def _say_once(message: str) -> None:
    _say(message)


def _say(message: str) -> None:
    warnings.warn(f"canarykit: {message}", RuntimeWarning, stacklevel=3)
