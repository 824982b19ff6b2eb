"""Whether arms without their planned shares had one share at all: a flag turned up within a stage."""

from __future__ import annotations

from itertools import pairwise

from canarykit.display import format_value
from canarykit.exposure.observed import change_points
from canarykit.health.data.data_state import DataState
from canarykit.health.evidence.compare import Comparison
from canarykit.times import to_utc


def changed_share(data: DataState, comparison: Comparison) -> str:
    """The canary's shares one after the other and since when, in words; empty where it had one share."""
    units = comparison.found.units[comparison.used].sort_values("entered_at", kind="stable")
    canary, times = units["canary"].to_numpy(bool), units["entered_at"].to_numpy()
    cuts = change_points(canary, times)
    shares = [
        format_value(float(canary[a:b].mean()), "share")
        for a, b in pairwise([0, *cuts, len(canary)])
        if b > a
    ]
    since = [to_utc(times[at], name="entered_at").tz_convert(data.question.as_of.tz) for at in cuts]
    later = [
        f"{share} from {format_value(moment, 'time')}"
        for share, moment in zip(shares[1:], since, strict=True)
    ]
    return ", then ".join([shares[0], *later]) if later else ""
