"""Who is missing? The canary's share by browser, country and day of arrival, at every look.

A ratio that holds overall can hide that one browser's canary people are never recorded. Every segment and
every day has its own e-process against the planned share; their weighted average is one again, so that the
whole line cries wolf at most once in a hundred stages however often one looks and however many segments
there are. People whose segment nobody knows are left out of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from canarykit.health.decision import Rules, log_thresholds
from canarykit.health.people.segment_values import MOST_SEGMENTS, UNKNOWN, has_value, largest
from canarykit.periods import moment
from canarykit.stats.any_look.event_process import EventMixture
from canarykit.stats.one_look.srm import sequential_srm_tilt

_DAY = 86_400_000_000
_MIXTURE = EventMixture(side="two", sd=0.5, low=0.02, high=1.5, points=40)
"""Odds up to 4.5 times off: a segment is small, and where people are missing from it, many are."""
DAYS = "day of arrival"


@dataclass(frozen=True)
class _Slice:
    """People of one segment or day: its e-process, the weight of it, and both arms' counts."""

    by: str
    value: str
    log_e: npt.NDArray[np.float64]
    weight: float
    canary: int
    control: int


@dataclass(frozen=True, eq=False)
class MissingPeople:
    """Evidence that people of one arm are missing from a segment or a day."""

    log_e: float  # of all segments and days together, the largest so far; NaN where nobody came
    worst: tuple[_Slice, ...]  # the segments or days behind it, strongest first
    days: tuple[tuple[Any, int, int], ...]  # people per day of arrival: day, canary, control

    def holds(self, rules: Rules) -> bool:
        """Whether comparisons are off."""
        return self.log_e >= log_thresholds(rules)[2]


def find_missing(
    units: pd.DataFrame,
    segments: dict[str, npt.NDArray[Any]],
    *,
    share: float,
    origin: int,
    step: int,
    n_looks: int,
) -> MissingPeople:
    """Follow the canary's share in every segment and on every day, look by look.

    `units` are the people compared: canary (bool), entered_at; `segments` the value of each by property;
    `share` the canary's part of the two arms by rule. Looks are `step` microseconds long, from `origin`, the
    start of the stage.
    """
    canary = units["canary"].to_numpy(bool)
    entered = units["entered_at"].dt.as_unit("us").astype("int64").to_numpy()
    look = np.clip((entered - origin) // step, 0, n_looks - 1)
    day = (entered - origin) // _DAY
    start = moment(origin)

    def counts(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        arms = (mask & canary, mask & ~canary)
        return np.stack([np.bincount(look[arm], minlength=n_looks) for arm in arms], axis=-1)

    slices: list[_Slice] = []
    dimensions = 1 + len(segments)

    def follow(by: str, value: str, mask: npt.NDArray[np.bool_], weight: float) -> None:
        new = counts(mask)
        tested = sequential_srm_tilt(new, [share, 1 - share], mixture=_MIXTURE)
        if tested is not None and new.any():
            log_e = np.asarray(tested.log_e, dtype=float)
            total = new.sum(axis=0)
            slices.append(_Slice(by, value, log_e, weight / dimensions, int(total[0]), int(total[1])))

    for name, values in segments.items():
        for value in largest(values):
            if value != UNKNOWN:
                follow(name, value, has_value(values, value), 1 / MOST_SEGMENTS)
    days = []
    for k in np.unique(day):
        since = start + pd.Timedelta(days=int(k))
        follow(DAYS, f"{since:%Y-%m-%d}", day == k, 1 / ((k + 1) * (k + 2)))
        days.append((since, int((canary & (day == k)).sum()), int((~canary & (day == k)).sum())))
    if not slices:
        return MissingPeople(math.nan, (), tuple(days))
    left = max(0.0, 1 - sum(item.weight for item in slices))
    terms = [item.log_e + math.log(item.weight) for item in slices]
    if left > 0:
        terms.append(np.full(n_looks, math.log(left)))
    log_e = np.logaddexp.reduce(np.stack(terms), axis=0)
    worst = sorted(slices, key=lambda item: -float(item.log_e.max() + math.log(item.weight)))
    return MissingPeople(float(log_e.max()), tuple(worst[:2]), tuple(days))
