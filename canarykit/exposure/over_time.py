"""Which variant somebody had at a moment: the value of the newest exposure before it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from canarykit.exposure.calls import tellings
from canarykit.exposure.shard import UNKNOWN

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from canarykit.exposure.result import Exposures


def variants_at(
    log: Any, exposed: Exposures, units: pd.Series, at: pd.Series, *, column: str, until: Any = None
) -> pd.Series:
    """The variant each person (or group) had at a time; missing before the first exposure.

    `units` and `at` are ids (text) and times of the same index, `column` is that of the events that names the
    unit; exposures from `until` on are not looked at.
    """
    import pandas as pd

    for telling in (telling for telling in tellings(log, exposed.flag) if telling.source == exposed.source):
        shards = log.reduce(
            [column, "timestamp", telling.value],
            partial(_calls, column=column, value=telling.value, wanted=frozenset(units)),
            until=until,
            **telling.narrow,
        )
        calls = pd.concat([frame for frame, _ in shards], ignore_index=True)
        if any(n_rows for _, n_rows in shards):
            break
    calls = calls.astype({"unit": object, "variant": object})
    calls["timestamp"] = calls["timestamp"].astype("datetime64[us, UTC]")
    calls = calls.sort_values(["timestamp", "variant"], kind="stable")
    asked = pd.DataFrame({"unit": units.astype(object), "timestamp": at.astype("datetime64[us, UTC]")})
    asked = asked.reset_index(names="row").sort_values("timestamp", kind="stable")
    met = pd.merge_asof(asked, calls, on="timestamp", by="unit")
    return met.set_index("row")["variant"].reindex(units.index)


def _calls(table: pa.Table, *, column: str, value: str, wanted: frozenset[str]) -> tuple[pd.DataFrame, int]:
    """The known answers of some people, and how many rows there are of everybody."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    n_rows = table.num_rows
    who = table.column(column).cast(pa.string())
    table = table.filter(pc.is_in(who, value_set=pa.array(sorted(wanted), pa.string())))
    frame = pd.DataFrame(
        {
            "unit": table.column(column).cast(pa.string()).to_pandas().astype(object),
            "timestamp": table.column("timestamp").cast(pa.timestamp("us", "UTC")).to_pandas(),
            "variant": table.column(value).cast(pa.string()).to_pandas().astype(object),
        }
    )
    return frame[frame["variant"].notna() & ~frame["variant"].isin(UNKNOWN)], n_rows
