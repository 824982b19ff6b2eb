"""Arguments that statistics accept, and the two or three numerics they share.

Each check requires the good, so that NaN never passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from canarykit.errors import DataError, did_you_mean

_NORMAL = NormalDist()
Z_95 = 1.959964
"""Half the width of a 95 % interval in standard errors, for pictures and tables."""


def require_count(name: str, value: Any) -> int:
    """A whole number of at least zero, as an int."""
    number = _as_float(name, value)
    if not (0 <= number < math.inf) or number != int(number):
        raise DataError(f"{name} is {value!r}; expected a whole number of at least 0")
    return int(number)


def require_successes(successes: Any, n: Any, name: str = "successes", total: str = "n") -> tuple[int, int]:
    """Two counts with `0 <= successes <= n`."""
    part, whole = require_count(name, successes), require_count(total, n)
    if part > whole:
        raise DataError(f"{name} is {part}, {total} {whole}; expected 0 <= {name} <= {total}")
    return part, whole


def require_number(name: str, value: Any, *, above: float = -math.inf, at_least: float = -math.inf) -> float:
    """A finite number, above or at least a limit."""
    number = _as_float(name, value)
    if not (math.isfinite(number) and number > above and number >= at_least):
        limit = f" above {above:g}" if above > -math.inf else ""
        limit = f" of at least {at_least:g}" if at_least > -math.inf else limit
        raise DataError(f"{name} is {value!r}; expected a finite number{limit}")
    return number


def require_share(name: str, value: Any) -> float:
    """A number strictly between 0 and 1, such as a confidence or a level."""
    return require_inside(name, value, 0.0, 1.0)


def require_inside(name: str, value: Any, low: float, high: float) -> float:
    """A number strictly between two limits."""
    number = _as_float(name, value)
    if not low < number < high:
        percent = f" Did you mean {number / 100:g}?" if high == 1.0 and 1 < number < 100 else ""
        raise DataError(f"{name} is {value!r}; expected {low:g} < {name} < {high:g}.{percent}")
    return number


def require_choice(name: str, value: str, choices: Iterable[str]) -> str:
    """One of the known names."""
    names = list(choices)
    if value not in names:
        raise DataError(f"{name} is {value!r}; {did_you_mean(value, names)}")
    return value


def require_counts(name: str, values: ArrayLike) -> np.ndarray:
    """An array of whole numbers of at least zero, as floats (exact up to 2**53)."""
    array = require_numbers(name, values, at_least=0.0)
    if array.size and not bool(np.all(array == np.floor(array))):
        raise DataError(f"{name} holds {array[array != np.floor(array)][0]!r}; expected whole numbers")
    return array


def require_numbers(name: str, values: ArrayLike, *, at_least: float = -math.inf) -> np.ndarray:
    """An array of finite numbers of at least a limit, as floats."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be numbers: {error}") from None
    good = np.isfinite(array) & (array >= at_least)
    if not bool(np.all(good)):
        limit = f" of at least {at_least:g}" if at_least > -math.inf else ""
        raise DataError(f"{name} holds {array[~good].flat[0]}; expected finite numbers{limit}")
    return array


def critical_value(confidence: float, sided: str = "two") -> float:
    """The normal quantile of an interval: 1.96 two-sided at 0.95, 1.645 one-sided."""
    require_choice("sided", sided, ("two", "lower", "upper"))
    level = require_share("confidence", confidence)
    return _NORMAL.inv_cdf((1 + level) / 2 if sided == "two" else level)


def normal_tail(z: float, sided: str = "two") -> float:
    """The p-value of a normal statistic: `lower` limits go with large z, `upper` limits with small z."""
    if sided == "two":
        return math.erfc(abs(z) / math.sqrt(2))
    return 0.5 * math.erfc((z if sided == "lower" else -z) / math.sqrt(2))


def lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley between two points is lowest (golden section)."""
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(70):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = function(right)
    return (low + high) / 2


def _as_float(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"{name} is {value!r}; expected a number") from None
