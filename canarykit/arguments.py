"""What people call refuses an argument that is not of the kind its annotation names, before anything runs.

Only plain kinds are looked at: numbers, texts, mappings, lists and a few classes, or one of these and None.
Whatever else an annotation names is checked where it is used, with more to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import wraps
from numbers import Integral, Real
from typing import Any, TypeVar

from canarykit.errors import DataError, PlanError, require_kind, what_is

__all__ = ["checked", "names_of", "one_or_more", "require_fields", "require_names"]

Called = TypeVar("Called", bound=Callable[..., Any])
Kind = tuple[Callable[[Any], bool], str]


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())


def _made_by(name: str) -> Callable[[Any], bool]:
    """By the name of the class: to import it here would load what the call may not need."""
    return lambda value: any(cls.__name__ == name for cls in type(value).__mro__)


KINDS: dict[str, Kind] = {
    "float": (lambda value: isinstance(value, Real), "a number"),
    "int": (_is_whole, "a whole number"),
    "str": (lambda value: isinstance(value, str), "a text"),
    "Mapping": (lambda value: isinstance(value, Mapping), "a mapping"),
    "Sequence": (lambda value: isinstance(value, Iterable), "a list"),
    "tuple": (lambda value: isinstance(value, Iterable), "a list"),
    "None": (lambda value: value is None, "None"),
    "Rates": (lambda value: isinstance(value, Mapping), "a mapping of guardrails' labels to rates"),
}
KINDS |= {
    name: (_made_by(name), f"{'an' if name[0] in 'AEIOU' else 'a'} {name}")
    for name in ("EventMixture", "FlagSet", "Rules", "Scenario")
}


def checked(function: Called) -> Called:
    """The function, which refuses arguments of another kind than their annotations name.

    Examples
    --------
    >>> @checked
    ... def double(number: float) -> float:
    ...     return 2 * number
    >>> double("5 %")
    Traceback (most recent call last):
    ...
    canarykit.errors.PlanError: number is '5 %'; expected a number
    """
    kinds = _kinds_of({name: str(kind) for name, kind in function.__annotations__.items()})
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]

    @wraps(function)
    def call(*arguments: Any, **given: Any) -> Any:
        for name, value in (*zip(names, arguments, strict=False), *given.items()):
            if name in kinds:
                _require(name, value, kinds[name])
        return function(*arguments, **given)

    return call  # type: ignore[return-value]


def require_fields(made: Any) -> None:
    """Refuse a field of a data class that is not of the kind its annotation names.

    Raises
    ------
    PlanError
        Naming the field, what is there and what is expected.
    """
    kinds = _kinds_of({field.name: str(field.type) for field in fields(made)})
    for name, several in kinds.items():
        _require(name, getattr(made, name), several)


def _kinds_of(annotations: Mapping[str, str]) -> dict[str, list[Kind]]:
    """The kinds that each annotation allows; none where one of them is not a plain kind."""
    kinds = {}
    for name, annotation in annotations.items():
        while re.search(r"\[[^][]*\]", annotation):
            annotation = re.sub(r"\[[^][]*\]", "", annotation)
        parts = [part.strip() for part in annotation.split("|")]
        if name != "return" and all(part in KINDS for part in parts):
            kinds[name] = [KINDS[part] for part in parts]
    return kinds


def _require(name: str, value: Any, kinds: list[Kind]) -> None:
    if not any(is_one(value) for is_one, _ in kinds):
        expected = " or ".join(dict.fromkeys(words for _, words in kinds))
        raise PlanError(f"{name} is {what_is(value)}; expected {expected}")


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


def require_names(name: str, given: Any) -> None:
    """Refuse what is not a list of names.

    Raises
    ------
    DataError
        If it is one text, no list, or anything in it is not a text.

    Examples
    --------
    >>> require_names("events", "$pageview")
    Traceback (most recent call last):
    ...
    canarykit.errors.DataError: events is '$pageview'; expected a list of names
    """
    if (
        isinstance(given, str)
        or not isinstance(given, Iterable)
        or not all(isinstance(n, str) for n in given)
    ):
        raise DataError(f"{name} is {what_is(given)}; expected a list of names")


def names_of(given: Any, what: str) -> tuple[str, ...]:
    """The names that were given, one text or several; `PlanError` for another kind or a blank one.

    `what` the names are stands in the message: "errors".

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
