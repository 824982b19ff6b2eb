"""Counting one event among exposed people, shard by shard: small arrays that add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from canarykit.events.clock import as_micros
from canarykit.exposure.compared import followed_whole, whole_or_all

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Cohort:
    """The exposed people as arrays, and the periods to count in: what a shard needs to know."""

    # one entry a person: id, number of the variant, first exposure in UTC microseconds
    ids: np.ndarray
    arm: np.ndarray
    exposed_us: np.ndarray
    edges: np.ndarray  # period edges in UTC microseconds
    n_arms: int  # number of variants
    # the window: events (or, where people are followed, exposures) outside do not count
    begin_us: int
    end_us: int
    horizon_us: int | None = None  # how long each person is followed; None counts events in calendar time
    leave_us: int = np.iinfo(np.int64).max  # when people stop to be followed: the stage's end, or "now"
    compared: tuple[int, ...] = ()  # numbers of the control and the canary, as far as they were seen
    unit_column: str = "person_id"  # column of the events that holds the ids

    def is_whole(self) -> np.ndarray:
        """Who came in within the window and was followed for the whole horizon."""
        inside = (self.exposed_us >= self.begin_us) & (self.exposed_us < self.end_us)
        if self.horizon_us is None:
            return inside
        ends = np.full(len(self.exposed_us), self.leave_us)
        return inside & followed_whole(self.exposed_us, ends, self.horizon_us / 1e6)

    def counted(self) -> np.ndarray:
        """Whom the share of the whole time counts: all who came in while an arm has nobody followed whole."""
        inside = (self.exposed_us >= self.begin_us) & (self.exposed_us < self.end_us)
        arms = (self.arm == arm for arm in self.compared)
        return inside & whole_or_all(self.is_whole(), *arms)

    def exposed(self) -> np.ndarray:
        """People first exposed before each period's end, and before the first period: (arms, periods + 1)."""
        n = len(self.edges) - 1
        slot = np.searchsorted(self.edges, self.exposed_us, side="right").clip(0, n + 1)
        inside = (slot <= n) & (self.exposed_us < self.end_us)
        return _tally(self.arm[inside] * (n + 1) + slot[inside], self.n_arms, n + 1)


def count_shard(table: pa.Table, cohort: Cohort) -> np.ndarray:
    """Count one shard, (5, arms, periods): events, people, squared events a person, first-ever people, and
    people who were followed for the whole horizon.

    In calendar time an event counts in its own period; with a horizon it counts in the period of its
    person's exposure.
    """
    n = len(cohort.edges) - 1
    _, unit, period, inside = placed(table, cohort)
    pair, times = np.unique(unit[inside] * n + period[inside], return_counts=True)
    person, slot = np.divmod(pair, max(n, 1))
    cell = cohort.arm[person] * n + slot
    start = np.full(len(cohort.ids), n, dtype=np.int64)  # first period with an event, earlier ones as 0
    np.minimum.at(start, unit, period.clip(0, n))
    begun = np.flatnonzero(start < n)
    out = np.zeros((5, cohort.n_arms, n), dtype=np.int64)
    out[0] = _tally(cell, cohort.n_arms, n, times)
    out[1] = _tally(cell, cohort.n_arms, n)
    out[2] = _tally(cell, cohort.n_arms, n, times * times)
    out[3] = _tally(cohort.arm[begun] * n + start[begun], cohort.n_arms, n)
    out[4] = _tally(cell[cohort.counted()[person]], cohort.n_arms, n)
    return out


def placed(table: pa.Table, cohort: Cohort) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The events of a shard that happened to exposed people while they count.

    Per such event its row in the table, the number of its person, the period it counts in (-1 before the
    first), and whether that period lies within the window.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    n = len(cohort.edges) - 1
    ids = table.column(cohort.unit_column)
    values = pa.array(cohort.ids, type=pa.string())
    positions = pc.index_in(ids.cast(pa.string()), value_set=values)
    unit = pc.fill_null(positions, -1).to_numpy().astype(np.int64)
    at = as_micros(table.column("timestamp")).to_numpy()
    rows = np.flatnonzero(unit >= 0)
    unit, at = unit[rows], at[rows]
    exposed = cohort.exposed_us[unit]
    keep = at >= exposed
    if cohort.horizon_us is not None:
        keep &= (at < exposed + cohort.horizon_us) & (exposed < cohort.end_us) & (at < cohort.leave_us)
        where = exposed
    else:
        keep &= at < cohort.end_us
        where = at
    period = np.searchsorted(cohort.edges, where[keep], side="right") - 1
    inside = (period >= 0) & (period < n) & (where[keep] >= cohort.begin_us)
    return rows[keep], unit[keep], period, inside


def _tally(cell: np.ndarray, n_arms: int, n: int, weights: np.ndarray | None = None) -> np.ndarray:
    total = np.bincount(cell, weights=weights, minlength=n_arms * n)
    return np.rint(total).astype(np.int64).reshape(n_arms, n)


def rate_per_person(
    events: int, squares: int, n: int, *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Events per person with a Poisson interval, widened where some people have many events.

    From the sum over people of their events and of the square of these, and the number of people, those
    without an event among them. Value, low and high: the exact Poisson limits of `events / spread`, scaled
    back, where `spread` is the variance over the mean of events a person, at least 1 (quasi-Poisson).

    References
    ----------
    Garwood (1936), doi:10.1093/biomet/28.3-4.437; McCullagh & Nelder (1989), section 6.2.

    Examples
    --------
    >>> value, low, high = rate_per_person(0, 0, 300)
    >>> value, low, round(high, 4)  # none seen among 300 people is not a rate of zero
    (0.0, 0.0, 0.0123)
    """
    from scipy.special import gammaincinv

    mean = events / n
    spread = 1.0 if events == 0 else max(1.0, (squares / n - mean * mean) / mean)
    tail = (1 - confidence) / 2
    x = events / spread
    low = 0.0 if events == 0 else float(gammaincinv(x, tail)) * spread / n
    return mean, low, float(gammaincinv(x + 1, 1 - tail)) * spread / n
