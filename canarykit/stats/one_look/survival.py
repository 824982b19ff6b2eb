"""How long it takes until an event, of people who were observed for different times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from canarykit.errors import DataError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WaitingTimes:
    """The share of people with an event by each time (Kaplan-Meier)."""

    times: Floats  # times since the start at which events came, ascending, in the unit they were given in
    shares: Floats  # fraction of people who have had it by each of them
    followed: float  # the longest that anybody was observed; 0 for nobody

    def share_by(self, time: float) -> float | None:
        """Fraction of people who have it by a time; None where nobody was observed for so long.

        `time`: in the unit of the times; infinite: as long as anybody was observed.
        """
        reached = int(np.searchsorted(self.times, time, side="right"))
        share = float(self.shares[reached - 1]) if reached else 0.0
        if self.followed == 0 or (np.isfinite(time) and time > self.followed and share < 1):
            return None
        return share

    def time_of(self, share: float) -> float | None:
        """The time by which this fraction of people has it; None where it is not reached.

        `share`: in (0, 1].
        """
        at = int(np.searchsorted(self.shares, share - 1e-12))
        return float(self.times[at]) if at < len(self.times) else None


def waiting_times(observed: ArrayLike, happened: ArrayLike) -> WaitingTimes:
    """Shares of people with an event by time, where some were observed for less time than others.

    `observed`: time until the event, or until the person was no longer observed; one a person, 0 or more.
    `happened`: whether it ended with the event. `DataError` if the two differ in length, or a time is
    negative or no number.

    References
    ----------
    Kaplan & Meier (1958), doi:10.1080/01621459.1958.10501452.

    Examples
    --------
    >>> times = waiting_times([1, 2, 2, 3, 5], [True, True, False, False, True])
    >>> round(times.share_by(2), 6), times.time_of(0.5)
    (0.4, 5.0)
    """
    observed, happened = np.asarray(observed, float), np.asarray(happened, bool)
    if observed.shape != happened.shape or observed.ndim != 1:
        raise DataError(f"observed has shape {observed.shape}, happened {happened.shape}; expected one each")
    if not bool(np.all(observed >= 0)):
        raise DataError(f"observed holds {observed[~(observed >= 0)][0]:g}; expected times of 0 or more")
    times, events = np.unique(observed[happened], return_counts=True)
    at_risk = len(observed) - np.searchsorted(np.sort(observed), times, side="left")
    shares = 1 - np.cumprod(1 - events / at_risk)
    return WaitingTimes(times, np.asarray(shares, float), float(observed.max(initial=0.0)))
