"""JSON that people keep in files (plans, flags, guardrails, surveys): read strictly, refused by name.

And JSON that strangers wrote (`read_json`): read as far as it can be.
"""

from __future__ import annotations

import json
import math
from os import PathLike
from pathlib import Path
from typing import Any

from canarykit.errors import CanarykitError, PlanError

__all__ = ["parse_document", "read_document", "read_json"]

_MOST_DIGITS = 309
"""What the largest double has."""


def read_document(path: str | PathLike[str], what: str, *, error: type[CanarykitError] = PlanError) -> Any:
    """The JSON in a file; `what` it should be stands in error messages ("the plan file").

    `error` is raised if the file is missing, unreadable, or not one well-formed JSON document: see
    `parse_document`.
    """
    named = f"{what} {path}"
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{named} is not text in UTF-8: byte {problem.start} cannot be read") from None
    except FileNotFoundError:
        raise error(f"{named} does not exist") from None
    except (OSError, ValueError) as problem:
        raise error(f"{named} cannot be read: {getattr(problem, 'strerror', None) or problem}") from None
    return parse_document(text, named, error=error)


def parse_document(text: str, named: str, *, error: type[CanarykitError] = PlanError) -> Any:
    """The JSON in a text.

    Stricter than the standard library where a person's slip would pass in silence: a key that stands twice
    in one object is refused, and so are NaN and Infinity, which JSON does not have.

    Examples
    --------
    >>> parse_document('{"a": 1, "a": 2}', "the plan")
    Traceback (most recent call last):
    ...
    canarykit.errors.PlanError: the plan has the key 'a' twice in one object; which one counts?
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise error(f"{named} has the key {twice!r} twice in one object; which one counts?")
        return content

    def no_number(name: str) -> Any:
        raise error(f"{named} holds {name}, which is not a number of JSON; use null or a number")

    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=once, parse_constant=no_number)
    except json.JSONDecodeError as problem:
        raise error(f"{named} is not JSON: {problem}") from None
    except CanarykitError:
        raise
    except RecursionError:
        raise error(f"{named} is nested too deeply to be what it should be") from None
    except ValueError as problem:  # a number of thousands of digits
        raise error(f"{named} cannot be read: {problem}") from None


def read_json(text: str) -> Any:
    """What a stranger's JSON holds: numbers that no machine holds are missing, a key counts the first time.

    `ValueError` if it is not JSON, or nested too deeply.

    Examples
    --------
    >>> read_json('{"n": 1e400, "m": NaN, "a": 1, "a": 2}')
    {'n': None, 'm': None, 'a': 1}
    """
    plain = text.removeprefix("\ufeff")
    try:
        try:
            return _DECODER.decode(plain)
        except json.JSONDecodeError:
            raise
        except ValueError:  # a number of thousands of digits: Python refuses the whole text
            return _SLOW_DECODER.decode(plain)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    return content if len(content) == len(pairs) else content | dict(reversed(pairs))


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MOST_DIGITS else None


_LENIENT: dict[str, Any] = {
    "strict": False, "object_pairs_hook": _first_of_each, "parse_float": _finite,
    "parse_constant": lambda _: None,
}  # fmt: skip
_DECODER = json.JSONDecoder(**_LENIENT)
_SLOW_DECODER = json.JSONDecoder(**_LENIENT, parse_int=_whole)
