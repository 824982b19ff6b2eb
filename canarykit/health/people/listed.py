"""The people behind a number of a report, narrowed by arm, segment and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.errors import DataError, did_you_mean
from canarykit.metrics.unit_outcomes import Outcomes
from canarykit.times import to_utc

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.typing import Time

__all__ = ["listed_people", "of_segment"]

_COLUMNS = ["person_id", "variant", "canary", "exposed_at", "happened_at"]


def listed_people(
    found: Outcomes,
    metric: int | None,
    canary: bool | None,
    values: Mapping[str, npt.NDArray[Any]],
    segment: Mapping[str, str],
    *,
    since: Time | None,
    until: Time | None,
) -> pd.DataFrame:
    """To whom something happened; see `StageReport.people`. Without a metric: who saw both variants."""
    import pandas as pd

    mask = of_segment(found, values, segment)
    if metric is None:
        chosen = mask & found.units["several"].to_numpy(bool)
        chosen = chosen if canary is None else chosen & (found.canary == canary)
        rows = found.units[chosen].sort_values(["exposed_at", "person_id"], ignore_index=True)
        return rows.assign(happened_at=pd.NaT)[_COLUMNS]
    rows = (found if mask.all() else found.only(mask)).people(metric, canary=canary)[_COLUMNS]
    if since is not None:
        rows = rows[rows["happened_at"] >= to_utc(since, name="since")]
    if until is not None:
        rows = rows[rows["happened_at"] < to_utc(until, name="until")]
    return rows.reset_index(drop=True)


def of_segment(
    found: Outcomes, values: Mapping[str, npt.NDArray[Any]], segment: Mapping[str, str]
) -> npt.NDArray[np.bool_]:
    """Which units have the values, by property.

    Raises
    ------
    DataError
        If the report did not look at the property, or nobody has the value.
    """
    mask = np.ones(len(found.units), dtype=bool)
    for name, value in segment.items():
        if name not in values:
            raise DataError(
                f"the report has no segments by {name!r}; {did_you_mean(name, tuple(values))}"
                if values
                else f"the report has no segments by {name!r}: it was judged without segments="
            )
        mine = values[name].astype(str) == value
        if not mine.any():
            raise DataError(
                f"nobody has {name} {value!r}; {did_you_mean(value, sorted(set(values[name].astype(str))))}"
            )
        mask &= mine
    return mask
