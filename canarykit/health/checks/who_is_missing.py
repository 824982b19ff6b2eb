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

from canarykit.display import Column, Table, format_value
from canarykit.health.checks.check import Check, Section, Status
from canarykit.health.decision import log_thresholds
from canarykit.health.evidence.compare import Comparison
from canarykit.health.question import Question
from canarykit.health.report.segments import MOST_SEGMENTS, UNKNOWN, largest
from canarykit.stats.any_look.event_process import EventMixture
from canarykit.stats.one_look.srm import sequential_srm_tilt

__all__ = ["Missing", "find_missing", "missing_check", "missing_sections"]

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
class Missing:
    """Evidence that people of one arm are missing from a segment or a day.

    Parameters
    ----------
    log_e
        Of all segments and days together, the largest so far; NaN where nobody came.
    worst
        The segments or days behind it, strongest first.
    days
        People per day of arrival: day, canary, control.
    """

    log_e: float
    worst: tuple[_Slice, ...]
    days: tuple[tuple[Any, int, int], ...]

    def holds(self, question: Question) -> bool:
        """Whether comparisons are off."""
        return self.log_e >= log_thresholds(question.rules)[2]


def find_missing(
    question: Question, comparison: Comparison, segments: dict[str, npt.NDArray[Any]]
) -> Missing:
    """Follow the canary's share in every segment and on every day, look by look."""
    found, used, share = comparison.found, comparison.used, comparison.series.share
    n_looks = len(question.looks)
    entered = found.units["entered_at"].dt.as_unit("us").astype("int64").to_numpy()
    place = np.clip((entered - question.origin) // question.step, 0, n_looks - 1)
    day = (entered - question.origin) // _DAY

    def counts(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        arms = (mask & found.canary, mask & ~found.canary)
        return np.stack([np.bincount(place[arm], minlength=n_looks) for arm in arms], axis=-1)

    slices: list[_Slice] = []
    dimensions = 1 + len(segments)

    def follow(by: str, value: str, mask: npt.NDArray[np.bool_], weight: float) -> None:
        new = counts(used & mask)
        tested = sequential_srm_tilt(new, [share, 1 - share], mixture=_MIXTURE)
        if tested is not None and new.any():
            log_e = np.asarray(tested.log_e, dtype=float)
            total = new.sum(axis=0)
            slices.append(_Slice(by, value, log_e, weight / dimensions, int(total[0]), int(total[1])))

    for name, values in segments.items():
        for value in largest(values[used]):
            if value != UNKNOWN:
                follow(name, value, values == value, 1 / MOST_SEGMENTS)
    days = []
    for k in np.unique(day[used]):
        since = question.start + pd.Timedelta(days=int(k))
        follow(DAYS, f"{since:%Y-%m-%d}", day == k, 1 / ((k + 1) * (k + 2)))
        on = used & (day == k)
        days.append((since, int((on & found.canary).sum()), int((on & ~found.canary).sum())))
    if not slices:
        return Missing(math.nan, (), tuple(days))
    left = max(0.0, 1 - sum(item.weight for item in slices))
    terms = [item.log_e + math.log(item.weight) for item in slices]
    if left > 0:
        terms.append(np.full(n_looks, math.log(left)))
    log_e = np.logaddexp.reduce(np.stack(terms), axis=0)
    worst = sorted(slices, key=lambda item: -float(item.log_e.max() + math.log(item.weight)))
    return Missing(float(log_e.max()), tuple(worst[:2]), tuple(days))


def missing_check(question: Question, comparison: Comparison, missing: Missing) -> Check:
    """One line: do the planned shares hold in every segment and on every day?"""
    hold = log_thresholds(question.rules)[2]
    expected = format_value(comparison.series.share, "share")
    what = "browser, country and other properties, and by day of arrival"
    if math.isnan(missing.log_e):
        status, meaning = Status.UNCLEAR, "Nobody to count."
    elif missing.holds(question):
        status = Status.HOLD
        worst = missing.worst[0]
        total = worst.canary + worst.control
        found = format_value(worst.canary / total, "share")
        meaning = (
            f"People are missing where {worst.by} is {worst.value}: {worst.canary:,} of {total:,} "
            f"({found}) have the canary where the rules say {expected}: comparisons are off until that is "
            "understood."
        )
    else:
        status = Status.OK
        meaning = f"No segment and no day lacks people of one arm, as far as can be seen ({expected} canary)."
    return Check(
        name="who is missing",
        kind="validity",
        status=status,
        meaning=meaning,
        measured=f"the canary's share by {what}",
        evidence=None if math.isnan(missing.log_e) else math.exp(min(missing.log_e, 700.0)),
        needed=math.exp(hold),
        method="weighted average of tilted binomial e-processes, valid at every look",
    )


def missing_sections(question: Question, missing: Missing) -> tuple[Section, ...]:
    """The canary's share by day of arrival."""
    if len(missing.days) < 2:
        return ()
    columns = (
        Column("day", "24 hours from", "time"),
        Column("canary", f"canary {question.unit_words}", "count"),
        Column("control", f"control {question.unit_words}", "count"),
        Column("share", "canary's share", "share"),
    )
    rows = [(day, x, y, x / (x + y) if x + y else None) for day, x, y in missing.days]
    text = "Who came in on which day of the stage, by arm: a day that stands out lost people of one arm."
    return (Section("by day of arrival", text, Table.of(columns, rows)),)
