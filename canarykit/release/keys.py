"""Keys that are used and never shown: not in a repr, a traceback, a pickle or a notebook's output."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

from canarykit.release.refusals import KeyRefusedError


class _Hidden(str):
    """A text whose repr does not show it, for the frames of tracebacks that print their locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'(hidden)'"


def hidden(given: str | Key | None) -> str | Key | None:
    """The same key in a form that a traceback which prints its locals does not show.

    Examples
    --------
    >>> hidden("phx_very_secret")
    '(hidden)'
    """
    return _Hidden(given) if isinstance(given, str) else given


class Key:
    """A secret for one server. `header()` is the only way to it.

    Examples
    --------
    >>> Key("phx_very_secret")
    Key(hidden)
    """

    __slots__ = ("_read",)

    def __init__(self, secret: str) -> None:
        hidden = _Hidden(secret)
        self._read = lambda: hidden

    def header(self, form: str = "Bearer {}") -> str:
        """The value of the Authorization header."""
        return _Hidden(form.format(str(self._read())))

    def starts_with(self, prefix: str) -> bool:
        """Whether the secret starts so; prefixes say what kind of key it is."""
        return self._read().startswith(prefix)

    def __repr__(self) -> str:
        return "Key(hidden)"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a key is not written to files: make the connection anew where it is needed")


def find_key(given: str | Key | None, *, variable: str, what: str) -> Key:
    """The key from the argument, the environment, or a prompt where a person can answer one.

    `variable` is that of the environment; `what` kind of key it is stands in the prompt and in messages.
    `KeyRefusedError` if there is none, or one with blanks or signs that no header can carry.
    """
    if isinstance(given, Key):
        return given
    given = _Hidden((given or os.environ.get(variable) or _ask(what)).strip())
    if not given:
        raise KeyRefusedError(f"there is no {what}: set the environment variable {variable}, or pass key=")
    if not (given.isascii() and given.isprintable() and " " not in given):
        raise KeyRefusedError(f"the {what} has blanks or signs that no key has; copy it again")
    return Key(given)


def _ask(what: str) -> str:
    """A prompt that does not echo, where somebody is there to answer."""
    kernel = getattr(getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)(), "kernel", None)
    in_notebook = kernel is not None and getattr(kernel, "_allow_stdin", False)
    at_terminal = kernel is None and sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    if not (in_notebook or at_terminal):
        return ""
    from getpass import getpass

    return getpass(f"{what}: ")
