"""The least value of each code, compiled."""

import numpy as np

from canarykit.compiler import njit


@njit()
def find_least(codes: np.ndarray, values: np.ndarray, least: np.ndarray) -> None:
    """Lower `least` at each code (negative ones are nobody's) to the smallest of its values."""
    for row in range(len(codes)):
        code = codes[row]
        if code >= 0 and values[row] < least[code]:
            least[code] = values[row]
