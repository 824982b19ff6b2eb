"""Every exception canarykit raises on purpose.

What the user must fix raises; what the reader must know is a field of the result (`notes`).
A message names the thing, what is there, and the likely slip.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Any

__all__ = [
    "CanarykitError",
    "DataError",
    "ExportFormatError",
    "MissingPartError",
    "NaiveTimestampError",
    "PlanError",
    "UnsupportedFlagError",
    "close_name",
    "did_you_mean",
    "part",
    "require_kind",
    "what_is",
    "wrong_kind",
]


class CanarykitError(Exception):
    """Base of all canarykit errors: `except ck.CanarykitError` catches every one."""


class PlanError(CanarykitError, ValueError):
    """A plan, flag, stage, guardrail or funnel definition that cannot be meant as written."""


class UnsupportedFlagError(PlanError):
    """A flag that cannot be recomputed from its definition (v2 configuration, experience continuity)."""


class DataError(CanarykitError, ValueError):
    """Events, persons or counts that do not fit the question asked of them."""


class NaiveTimestampError(DataError):
    """Times without an offset where nothing says which zone they are in."""


class ExportFormatError(DataError):
    """A file that is not the export it should be: truncated, unreadable, or of another kind."""


class MissingPartError(CanarykitError, ImportError):
    """A package that only this call needs is not installed; the message says how to get it."""


def part(module: str, *, what: str, install: str) -> Any:
    """A module of a package that may be missing, imported when it is needed, else `MissingPartError`.

    `what` needs it, as the message begins; `install` is what to give to `pip install`.

    Examples
    --------
    >>> part("no_such_package.module", what="this", install="it")
    Traceback (most recent call last):
    ...
    canarykit.errors.MissingPartError: this needs no_such_package, which is not installed: pip install it
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as problem:
        package = str(problem.name or module).partition(".")[0]
        message = f"{what} needs {package}, which is not installed: pip install {install}"
        raise MissingPartError(message, name=package) from problem


def require_kind(
    name: str,
    value: object,
    kind: type | tuple[type, ...],
    expected: str,
    *,
    error: type[CanarykitError] = PlanError,
) -> None:
    """Refuse an argument that is something else, and say what to write.

    `PlanError` if it is of another kind; `error` where another is given.

    Examples
    --------
    >>> require_kind("plan", "plan.json", dict, "a mapping")
    Traceback (most recent call last):
    ...
    canarykit.errors.PlanError: plan is 'plan.json'; expected a mapping
    """
    if not isinstance(value, kind):
        raise error(str(wrong_kind(name, value, expected)))


def wrong_kind(name: str, value: object, expected: str) -> PlanError:
    """What to raise where an argument is something else.

    Examples
    --------
    >>> raise wrong_kind("steps", "paid", "a list of steps")
    Traceback (most recent call last):
    ...
    canarykit.errors.PlanError: steps is 'paid'; expected a list of steps
    """
    return PlanError(f"{name} is {what_is(value)}; expected {expected}")


def what_is(value: object) -> str:
    """What an error message says of a value: itself where it is plain, else its kind.

    Examples
    --------
    >>> what_is("5 %"), what_is([5])
    ("'5 %'", 'a list')
    """
    plain = value is None or isinstance(value, str | int | float)
    return f"{value!r:.80}" if plain else f"a {type(value).__name__}"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """The end of an error message: what exists, and the name that was probably meant.

    Examples
    --------
    >>> did_you_mean("varient", ["user_id", "variant"])
    "there is ['user_id', 'variant']. Did you mean 'variant'?"
    >>> did_you_mean("paid", [])
    'there is nothing.'
    """
    names = [str(item) for item in choices]
    if not names:
        return "there is nothing."
    shown = names if len(names) <= 20 else [*names[:20], f"... {len(names) - 20} more"]
    close = close_name(str(name), names)
    return f"there is {shown}." + (f" Did you mean {close!r}?" if close else "")


def close_name(name: str, choices: Iterable[str]) -> str | None:
    """The one of the names that was probably meant, or None: the same in other letters, else a near one.

    Examples
    --------
    >>> close_name("--asof", ["--as-of", "--flag"]), close_name("ios", ["iOS", "os"])
    ('--as-of', 'iOS')
    """
    names = list(choices)
    same = [other for other in names if other.casefold() == name.casefold()]
    return next(iter([*same, *get_close_matches(name, names, n=1, cutoff=0.6)]), None)
