"""The people behind a number of a report, narrowed by arm, segment and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.errors import DataError, did_you_mean
from canarykit.exposure.compared import whole_or_all
from canarykit.health.people.segment_values import has_value
from canarykit.metrics.unit_outcomes import Outcomes
from canarykit.times import to_utc

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.typing import Time

_COLUMNS = ["person_id", "variant", "canary", "exposed_at", "happened_at"]


def listed_people(
    reduced: Outcomes,
    metric: int | None,
    canary: bool | None,
    values: Mapping[str, npt.NDArray[Any]],
    segment: Mapping[str, str],
    *,
    since: Time | None,
    until: Time | None,
    happened: bool = True,
) -> pd.DataFrame:
    """To whom something happened; see `StageReport.people`. Without a metric: who saw both variants."""
    import pandas as pd

    rows = _people(reduced, metric, canary, of_segment(reduced, values, segment), since, until, happened)
    who = reduced.units["person_id"]
    told = {
        name: rows["person_id"].map(pd.Series(by_unit, index=who))
        for name, by_unit in values.items()
        if name not in rows
    }
    return rows.assign(**told)


def _people(
    reduced: Outcomes,
    metric: int | None,
    canary: bool | None,
    mask: npt.NDArray[np.bool_],
    since: Time | None,
    until: Time | None,
    happened: bool,
) -> pd.DataFrame:
    """The rows of those that `mask` lets through, without their segments."""
    import pandas as pd

    if not happened:
        if metric is None or since is not None or until is not None:
            what = "both variants" if metric is None else "a time (since=, until=)"
            raise DataError(f"happened=False lists people to whom nothing happened; they have not {what}")
        return _lacking(reduced, metric, canary, mask)
    if metric is None:
        chosen = mask & reduced.units["several"].to_numpy(bool)
        chosen = chosen if canary is None else chosen & (reduced.canary == canary)
        rows = reduced.units[chosen].sort_values(["exposed_at", "person_id"], ignore_index=True)
        return rows.assign(happened_at=pd.NaT)[_COLUMNS]
    rows = (reduced if mask.all() else reduced.only(mask)).people(metric, canary=canary)[_COLUMNS]
    if since is not None:
        rows = rows[rows["happened_at"] >= to_utc(since, name="since")]
    if until is not None:
        rows = rows[rows["happened_at"] < to_utc(until, name="until")]
    return rows.reset_index(drop=True)


def _lacking(
    reduced: Outcomes, metric: int, canary: bool | None, mask: npt.NDArray[np.bool_]
) -> pd.DataFrame:
    """To whom it has not happened, of those who had their whole time for it."""
    import pandas as pd

    first = reduced.first[metric]
    assert first is not None
    chosen = mask & had_their_time(reduced, metric) & (first < 0)
    chosen = chosen if canary is None else chosen & (reduced.canary == canary)
    rows = reduced.units[chosen].sort_values(["exposed_at", "person_id"], ignore_index=True)
    return rows.assign(happened_at=pd.Series(pd.NaT, index=rows.index))[_COLUMNS]


def had_their_time(reduced: Outcomes, metric: int) -> npt.NDArray[np.bool_]:
    """Whom a share counts: who had the whole time for it, or everybody where an arm has none of them."""
    return whole_or_all(reduced.time_is_over(metric), reduced.canary, ~reduced.canary)


def of_segment(
    reduced: Outcomes, values: Mapping[str, npt.NDArray[Any]], segment: Mapping[str, str]
) -> npt.NDArray[np.bool_]:
    """Which units have the values; `DataError` if the report has not the property, or nobody the value."""
    mask = np.ones(len(reduced.units), dtype=bool)
    for name, value in segment.items():
        if name not in values:
            raise DataError(
                f"the report has no segments by {name!r}; {did_you_mean(name, tuple(values))}"
                if values
                else f"the report has no segments by {name!r}: it was judged without segments="
            )
        mine = has_value(values[name], value)
        if not mine.any():
            raise DataError(
                f"nobody has {name} {value!r}; {did_you_mean(value, sorted(set(map(str, values[name]))))}"
            )
        mask &= mine
    return mask
