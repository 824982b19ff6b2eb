"""Lists of names: as a caller may write them (one bare text is one name, never its letters), and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from canarykit.errors import PlanError, require_kind

__all__ = ["listed", "names_of", "one_or_more"]


def one_or_more(given: Any) -> tuple[Any, ...]:
    """What was given as a list; a text, a mapping or anything else that is not a list is one item.

    Examples
    --------
    >>> one_or_more("$exception"), one_or_more(["a", "b"]), one_or_more(None)
    (('$exception',), ('a', 'b'), ())
    """
    if given is None:
        return ()
    single = isinstance(given, str | bytes | dict) or not isinstance(given, Iterable)
    return (given,) if single else tuple(given)


def names_of(given: Any, what: str) -> tuple[str, ...]:
    """The names that were given, none of them blank.

    Parameters
    ----------
    given
        One text, or several.
    what
        What the names are, for the error message: "errors".

    Raises
    ------
    PlanError
        If something among them is not a text, or blank.

    Examples
    --------
    >>> names_of("$exception", "errors")
    ('$exception',)
    """
    if not isinstance(given, Iterable):
        require_kind(what, given, (), "a name, or a list of names")
    names = one_or_more(given)
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise PlanError(f"{what} holds {name!r}; expected names, each a text that is not blank")
    return names


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    Examples
    --------
    >>> listed(["errors"]), listed(["errors", "payments", "speed"])
    ('errors', 'errors, payments and speed')
    """
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + f" and {names[-1]}"
