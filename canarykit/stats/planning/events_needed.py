"""How many events the event e-process needs: exact, without simulation.

With a constant split of the exposure, what matters after N events is how many were the canary's. The walk of
that count is followed event by event, and what crosses is taken out: the chance of detection after any
number of events, looking after each of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from canarykit.errors import DataError
from canarykit.stats.any_look.event_process import EventMixture
from canarykit.stats.checks import require_count, require_number, require_share
from canarykit.stats.one_look.binomial import probabilities

_LARGEST = 2_000_000


@dataclass(frozen=True, eq=False)
class EventPower:
    """Chance that the evidence has reached its threshold, after any number of events.

    Parameters
    ----------
    events
        Events of both arms together, growing.
    power
        Chance that the e-value has reached 1 / alpha by then.
    ratio, side, null_ratio, alpha
        The true rate ratio, what is shown, against which null, and at which level.
    """

    events: np.ndarray
    power: np.ndarray
    ratio: float
    side: str
    null_ratio: float
    alpha: float

    def median(self) -> int | None:
        """Events after which half of such releases are decided; None if never within the range."""
        reached = np.flatnonzero(self.power >= 0.5)
        return int(self.events[reached[0]]) if reached.size else None


def event_power(
    ratio: float,
    events: int,
    *,
    mixture: EventMixture | None = None,
    exposure_ratio: float = 1.0,
    alpha: float = 0.05,
) -> EventPower:
    """Chance of a decision by the event e-process, by number of events.

    Parameters
    ----------
    ratio
        True event rate of the canary over that of the control.
    events
        Largest number of events of both arms together to plan for.
    mixture
        What is shown: harm above 1 by default, or `EventMixture(side="safe", null_ratio=margin)`.
    exposure_ratio
        Exposure of the canary over that of the control.
    alpha
        The e-value must reach 1 / alpha; with weighted guardrails, alpha times the weight.

    Returns
    -------
    EventPower

    Examples
    --------
    >>> plan = event_power(2.0, 300)
    >>> round(float(plan.power[-1]), 3), plan.median()
    (1.0, 63)
    """
    used = mixture or EventMixture()
    if used.side == "two":
        raise DataError("side is 'two'; plan for 'harm' or 'safe'")
    true = require_number("ratio", ratio, above=0.0)
    exposure = require_number("exposure_ratio", exposure_ratio, above=0.0)
    largest = require_count("events", events)
    if not 1 <= largest <= _LARGEST:
        raise DataError(f"events is {largest:,}; expected 1 to {_LARGEST:,}")
    step = max(1, largest // 2000)
    counts = np.arange(step, largest + 1, step)
    threshold = -math.log(require_share("alpha", alpha))
    share = true * exposure / (1 + true * exposure)
    walk = share if used.side == "harm" else 1 - share  # count the arm whose events speak
    least = _least_counts(counts, used, exposure, threshold)
    return EventPower(counts, _crossed(counts, least, walk, step), true, used.side, used.null_ratio, alpha)


def events_needed(
    ratio: float,
    *,
    power: float = 0.8,
    mixture: EventMixture | None = None,
    exposure_ratio: float = 1.0,
    alpha: float = 0.05,
) -> int | None:
    """Events of both arms together at which the e-process has decided with this power.

    Divide by the expected events per person to get people. None when more than two million are needed,
    or the truth is on the wrong side of the null.

    Parameters
    ----------
    ratio
        True event rate of the canary over that of the control.
    power
        Chance that it is decided by then.
    mixture
        What is shown: harm above 1 where it is None, or `EventMixture(side="safe",
        null_ratio=margin)`.
    exposure_ratio
        Exposure of the canary over that of the control.
    alpha
        The e-value must reach 1 / alpha.

    Returns
    -------
    int or None

    Examples
    --------
    >>> events_needed(2.0)
    100
    >>> events_needed(1.0, mixture=EventMixture(side="safe", null_ratio=1.25))
    911
    """
    wanted, largest = require_share("power", power), 256
    used = mixture or EventMixture()
    if (used.side == "harm") != (require_number("ratio", ratio, above=0.0) > used.null_ratio):
        return None
    while largest <= _LARGEST:
        plan = event_power(ratio, largest, mixture=used, exposure_ratio=exposure_ratio, alpha=alpha)
        reached = np.flatnonzero(plan.power >= wanted)
        if reached.size:
            return int(plan.events[reached[0]])
        largest *= 4
    return None


def _least_counts(counts: np.ndarray, mixture: EventMixture, exposure: float, threshold: float) -> np.ndarray:
    """Fewest events of the speaking arm among N that reach the threshold; N + 1 where none do."""

    def log_e(speaking: np.ndarray) -> np.ndarray:
        canary = speaking if mixture.side == "harm" else counts - speaking
        return mixture.log_e(canary[:, None], counts[:, None], exposure, 1.0)[:, 0]

    low, high = np.zeros_like(counts), counts + 1  # log E below, and at or above, the threshold
    while bool(np.any(high - low > 1)):
        middle = (low + high) // 2
        reached = log_e(np.minimum(middle, counts)) >= threshold
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return high


def _crossed(counts: np.ndarray, least: np.ndarray, share: float, step: int) -> np.ndarray:
    """Chance that the walk has reached `least` at some count so far."""
    jumps = _binomial(step, share)
    going, start, gone = np.ones(1), 0, 0.0  # going[i]: still undecided with start + i events
    power = np.empty(counts.size)
    for look in range(counts.size):
        going = np.convolve(going, jumps)
        inside = max(int(least[look]) - start, 0)
        gone += float(going[inside:].sum())
        going = going[:inside]
        kept = np.flatnonzero(going > 1e-16)
        if kept.size:
            going, start = going[kept[0] : kept[-1] + 1], start + int(kept[0])
        else:
            going = np.zeros(1)
        power[look] = min(gone, 1.0)
    return power


def _binomial(n: int, share: float) -> np.ndarray:
    if n == 1:
        return np.array([1 - share, share])
    return probabilities(np.arange(n + 1), n, share)
