"""Every exception canarykit raises on purpose.

What the user must fix raises; what the reader must know is a field of the result (`notes`).
A message names the thing, what is there, and the likely slip.
"""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CanarykitError",
    "DataError",
    "ExportFormatError",
    "NaiveTimestampError",
    "PlanError",
    "UnsupportedFlagError",
    "close_name",
    "did_you_mean",
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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message: what exists, and the name that was probably meant.

    Examples
    --------
    >>> did_you_mean("varient", ["user_id", "variant"])
    "there is ['user_id', 'variant']. Did you mean 'variant'?"
    >>> did_you_mean("paid", [])
    'there is nothing.'
    """
    names = [str(item) for item in known]
    if not names:
        return "there is nothing."
    shown = names if len(names) <= 20 else [*names[:20], f"... {len(names) - 20} more"]
    close = close_name(str(name), names)
    return f"there is {shown}." + (f" Did you mean {close!r}?" if close else "")


def close_name(name: str, known: Iterable[str]) -> str | None:
    """The one of the names that was probably meant, or None.

    Examples
    --------
    >>> close_name("--asof", ["--as-of", "--flag"])
    '--as-of'
    """
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.6)), None)
