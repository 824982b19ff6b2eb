"""A report as bars: to whom it happened, in which arm, and when it first happened to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from canarykit.display import format_value
from canarykit.errors import DataError, did_you_mean
from canarykit.health.page.tiles import by_variant
from canarykit.health.people.listed import had_their_time, of_segment
from canarykit.widgets.explorer import Explorer
from canarykit.widgets.picture import Bar, Part, Picture, Segments

if TYPE_CHECKING:
    from canarykit.health.report.stage_report import StageReport
    from canarykit.widgets.view import View

MOST_INTERVALS = 8
_STEPS = ("1h", "2h", "4h", "6h", "12h", "1D", "2D", "7D", "14D", "28D")
_ARMS = (("canary", True), ("control", False))


def explore_report(report: StageReport, *, segment: str | None) -> View:
    """A bar per check and arm, and for each check one per interval of the stage.

    Where lower is worse, the bars of the arms are those to whom it did not happen.
    """
    if segment is None:
        return Explorer(_picture(report, {}))
    segments = {name: values for one in _parts(report).values() for name, values in one.segments.items()}
    if segment not in segments:
        hint = did_you_mean(segment, tuple(segments)) if segments else "it was judged without segments="
        raise DataError(f"the report has no segments by {segment!r}; {hint}")
    counts = pd.Series(segments[segment].astype(str)).value_counts()
    values = sorted(counts.index, key=lambda value: (-counts[value], value))
    return Explorer(
        _picture(report, {}),
        Segments(segment, tuple(values), lambda value: _picture(report, {segment: value})),
    )


def _parts(report: StageReport) -> dict[str, StageReport]:
    """The report of each variant by what its checks' names begin with; one without a beginning."""
    return {f"{key}: " if key else "": one for key, one in by_variant(report).items()}


def _picture(report: StageReport, segment: dict[str, str]) -> Picture:
    """The bars of a report for some of its people, and how each part asks for those behind it."""
    counted = [
        (f"{start}{name}", who, *_counts(one, name, is_canary, segment))
        for start, one in _parts(report).items()
        for name in one.listed
        for who, is_canary in _ARMS
    ]
    largest = max((count / total for *_, count, total in counted if total), default=0) or 1
    bars: list[Bar] = []
    behind: dict[str, dict[str, Any]] = {}
    for name, who, count, total in counted:
        if not total:
            continue
        lacking = report.is_lower_worse(name)
        heading = f"{name}: people who did not" if lacking else name
        said = f"{count:,} of {total:,} ({format_value(count / total, 'share')})"
        part = f"{name}/{who}"
        one = Part(part, f"{heading}, {who}", said, count / total / largest, who)
        bars.append(Bar(who, heading, who, (one,)))
        asked = {"name": name, "canary": who == "canary", "segment": segment}
        behind[part] = {**asked, "happened": not lacking}
    for name in dict.fromkeys(name for name, *_ in counted):
        for part, bar, asked in _over_time(report, name, segment):
            bars.append(bar)
            behind[part] = asked

    def people(part: str) -> pd.DataFrame:
        return report.people(**behind[part])

    whose = "".join(f" Only people with {name} {value}." for name, value in segment.items())
    words = "Shares are of each arm, on one scale; by time, bars count people, on a scale of their own."
    return Picture(report, tuple(bars), people, f"{words}{whose}")


def _counts(report: StageReport, name: str, is_canary: bool, segment: dict[str, str]) -> tuple[int, int]:
    """To how many of an arm it happened (or did not, where lower is worse), and of how many."""
    outcomes = report.found
    assert outcomes is not None
    lacking = report.is_lower_worse(name)
    count = len(report.people(name, canary=is_canary, segment=segment, happened=not lacking))
    arm = report.check(name).canary if is_canary else report.check(name).control
    if not segment and not lacking and arm is not None and arm.total is not None and arm.count == count:
        return count, arm.total
    inside = of_segment(outcomes, report.segments, segment) & (outcomes.canary == is_canary)
    if lacking:
        inside &= had_their_time(outcomes, report._judged.index(name))
    return count, int(inside.sum())


def _over_time(report: StageReport, name: str, segment: dict[str, str]) -> list[tuple[str, Bar, Any]]:
    """When it first happened to the people of each arm: a bar an interval."""
    rows = report.people(name, canary=None, segment=segment)
    when = rows["happened_at"]
    if when.isna().all():
        return []
    start = report.starts_at
    stop = min(report.ends_at or report.as_of, report.as_of)
    step = next((s for s in map(pd.Timedelta, _STEPS) if (stop - start) / s <= MOST_INTERVALS), stop - start)
    interval = ((when - start) // step).clip(lower=0)
    counts = rows.groupby([rows["canary"], interval]).size().to_dict()
    most, answers = max(counts.values()), []
    for who, is_canary in _ARMS:
        for number in range(int(-(-(stop - start) // step))):
            since, count = start + number * step, int(counts.get((is_canary, number), 0))
            label = f"from {format_value(since, 'time')}"
            part = f"{name}/{who}/{format_value(since, 'time')}"
            one = Part(part, f"{name}, first {label}", f"{count:,}", count / most, who)
            bar = Bar(label, f"{name}, {who}: when it first happened", who, (one,))
            asked = {"name": name, "canary": is_canary, "segment": segment}
            answers.append((part, bar, {**asked, "since": since, "until": since + step}))
    return answers
