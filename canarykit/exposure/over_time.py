"""Which variant somebody had at a moment: the value of the newest exposure before it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from canarykit.exposure.find import CALLED
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

    called = found.source == CALLED
    value = "$feature_flag_response" if called else found.source
    narrow: dict[str, Any] = {"events": [CALLED], "where": {"$feature_flag": found.flag}} if called else {}
    shards = log.reduce(
        ["person_id", "timestamp", value],
        partial(_calls, value=value, wanted=frozenset(person_id)),
        until=until,
        **narrow,
    )
    calls = pd.concat(shards, ignore_index=True)
    calls = calls.astype({"person_id": object, "variant": object})
    calls["timestamp"] = calls["timestamp"].astype("datetime64[us, UTC]")
    calls = calls.sort_values(["timestamp", "variant"], kind="stable")
    asked = pd.DataFrame(
        {"person_id": person_id.astype(object), "timestamp": at.astype("datetime64[us, UTC]")}
    )
    asked = asked.reset_index(names="row").sort_values("timestamp", kind="stable")
    met = pd.merge_asof(asked, calls, on="timestamp", by="person_id")
    return met.set_index("row")["variant"].reindex(person_id.index)


def _calls(table: pa.Table, *, value: str, wanted: frozenset[str]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    who = table.column("person_id").cast(pa.string())
    table = table.filter(pc.is_in(who, value_set=pa.array(sorted(wanted), pa.string())))
    frame = pd.DataFrame(
        {
            "person_id": table.column("person_id").cast(pa.string()).to_pandas().astype(object),
            "timestamp": table.column("timestamp").cast(pa.timestamp("us", "UTC")).to_pandas(),
            "variant": table.column(value).cast(pa.string()).to_pandas().astype(object),
        }
    )
    return frame[frame["variant"].notna() & ~frame["variant"].isin(UNKNOWN)]
