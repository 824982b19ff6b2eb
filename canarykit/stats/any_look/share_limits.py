"""A share against a fixed limit, looked at as often as one likes: the beta-binomial e-process.

People come one by one and each has the event or not. The likelihood of what was seen, averaged over shares
beyond the limit, over its likelihood at the limit, exceeds 1 / a at any look, ever, with probability at most
a while the true share keeps the limit. An exact interval for one look (Clopper-Pearson) has no such promise:
looked at every hour for a week it is wrong in 17 to 28 % of the cases instead of 5 %.

References
----------
Robbins (1970), doi:10.1214/aoms/1177696786; Howard, Ramdas, McAuliffe & Sekhon (2021),
doi:10.1214/20-AOS1991.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from canarykit.stats.checks import require_choice, require_counts, require_share, require_successes

_NEVER = 1e-12  # a limit of nobody, or of everybody


def share_limit_log_e(
    successes: ArrayLike, n: ArrayLike, limit: ArrayLike, side: Literal["above", "below"] = "above"
) -> np.ndarray:
    """Log E of "the share is beyond the limit".

    The alternatives have the weights of a beta distribution with the limit as its mean, as wide as the limit
    (or the rest up to 1, if that is less), cut off at the limit.

    Parameters
    ----------
    successes, n
        People with the event so far, and people seen so far.
    limit
        A share in [0, 1].
    side
        "above": evidence that the share exceeds the limit; "below": that it falls short of it.

    Examples
    --------
    >>> round(float(share_limit_log_e(18, 200, 0.05)), 3)
    1.97
    """
    from scipy.special import betainc, betaln

    require_choice("side", side, ("above", "below"))
    x, n = require_counts("successes", successes), require_counts("n", n)
    p = np.clip(np.asarray(limit, dtype=float), _NEVER, 1 - _NEVER)
    if side == "below":
        x, p = n - x, 1 - p
    y = n - x
    precision = 1 / np.minimum(p, 1 - p)
    a, b = p * precision, (1 - p) * precision
    with np.errstate(divide="ignore"):  # betainc(b, a, 1 - p) is the part of beta(a, b) beyond p
        beyond = np.log(betainc(b + y, a + x, 1 - p)) - np.log(betainc(b, a, 1 - p))
    return np.asarray(betaln(a + x, b + y) - betaln(a, b) + beyond - x * np.log(p) - y * np.log1p(-p))


def share_limit_at_any_look(
    successes: int, n: int, *, confidence: float = 0.95, side: Literal["lower", "upper"] = "lower"
) -> float | None:
    """One-sided limit of a share that holds at every look; None when nobody was seen.

    Examples
    --------
    >>> low = share_limit_at_any_look(18, 200)
    >>> high = share_limit_at_any_look(18, 200, side="upper")
    >>> round(low, 4), round(high, 4)
    (0.0442, 0.1601)
    """
    require_choice("side", side, ("lower", "upper"))
    x, n = require_successes(successes, n)
    threshold = -math.log(1 - require_share("confidence", confidence))
    if n == 0:
        return None
    edge, inside = (0.0, x / n) if side == "lower" else (1.0, x / n)
    if edge == inside:
        return edge
    beyond: Literal["above", "below"] = "above" if side == "lower" else "below"
    outside = edge
    for _ in range(60):
        middle = (inside + outside) / 2
        refuted = float(share_limit_log_e(x, n, middle, beyond)) >= threshold
        inside, outside = (inside, middle) if refuted else (middle, outside)
    return outside
