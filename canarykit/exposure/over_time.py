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

__all__ = ["variants_at"]


def variants_at(
    log: Any, found: Exposures, person_id: pd.Series, at: pd.Series, *, until: Any = None
) -> pd.Series:
    """The variant each person had at a time; missing before the first exposure.

    Parameters
    ----------
    log, found
        The events, and what `exposures` found in them.
    person_id, at
        Ids (text) and times, of the same index.
    until
        Exposures from this moment on are not looked at.
    """
    import pandas as pd

    for telling in (telling for telling in tellings(log, found.flag) if telling.source == found.source):
        shards = log.reduce(
            ["person_id", "timestamp", telling.value],
            partial(_calls, value=telling.value, wanted=frozenset(person_id)),
            until=until,
            **telling.narrow,
        )
        calls = pd.concat([frame for frame, _ in shards], ignore_index=True)
        if any(n_rows for _, n_rows in shards):
            break
    calls = calls.astype({"person_id": object, "variant": object})
    calls["timestamp"] = calls["timestamp"].astype("datetime64[us, UTC]")
    calls = calls.sort_values(["timestamp", "variant"], kind="stable")
    asked = pd.DataFrame(
        {"person_id": person_id.astype(object), "timestamp": at.astype("datetime64[us, UTC]")}
    )
    asked = asked.reset_index(names="row").sort_values("timestamp", kind="stable")
    met = pd.merge_asof(asked, calls, on="timestamp", by="person_id")
    return met.set_index("row")["variant"].reindex(person_id.index)


def _calls(table: pa.Table, *, value: str, wanted: frozenset[str]) -> tuple[pd.DataFrame, int]:
    """The known answers of some people, and how many rows there are of everybody."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    n_rows = table.num_rows
    who = table.column("person_id").cast(pa.string())
    table = table.filter(pc.is_in(who, value_set=pa.array(sorted(wanted), pa.string())))
    frame = pd.DataFrame(
        {
            "person_id": table.column("person_id").cast(pa.string()).to_pandas().astype(object),
            "timestamp": table.column("timestamp").cast(pa.timestamp("us", "UTC")).to_pandas(),
            "variant": table.column(value).cast(pa.string()).to_pandas().astype(object),
        }
    )
    return frame[frame["variant"].notna() & ~frame["variant"].isin(UNKNOWN)], n_rows
