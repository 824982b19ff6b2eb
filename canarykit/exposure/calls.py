"""Where the answers of a flag stand in a log: one rule for exposures, audits, clean-ups and overviews."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from canarykit.events.names import CALLED, EXPOSED, call_events

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.events import EventLog

__all__ = ["CALLED", "EXPOSED", "Telling", "tellings", "without_copies"]


@dataclass(frozen=True)
class Telling:
    """Events that tell what a flag answered."""

    value: str  # column of the answer
    # which events they are: `events` and `where` of a question to the log
    narrow: Mapping[str, Any] = field(hash=False)
    # whether they are written when the flag is asked for; else any event that carries the answer
    are_calls: bool

    @property
    def source(self) -> str:
        """How results call it."""
        return CALLED if self.are_calls else self.value


def tellings(log: EventLog, flag: str) -> tuple[Telling, ...]:
    """The events that may tell a flag's answers, in turn: the first of which there are any are taken.

    Calls of the flag (under the older and the newer name of PostHog's event), then calls of the newer name
    that carry the answer under the flag's name alone, then any event that carries it.

    Examples
    --------
    >>> import pandas as pd
    >>> from canarykit.events import EventLog
    >>> rows = {"event": ["paid"], "distinct_id": ["ada"], "timestamp": ["2026-09-07T09:00Z"]}
    >>> [telling.source for telling in tellings(EventLog(pd.DataFrame(rows)), "f")]
    ['$feature_flag_called', '$feature/f']
    """
    from canarykit.events import PRESENT

    carried, names = f"$feature/{flag}", call_events(log)
    calls = Telling("$feature_flag_response", {"events": names, "where": {"$feature_flag": flag}}, True)
    anything = Telling(carried, {"where": {carried: PRESENT}}, False)
    if EXPOSED not in names:
        return calls, anything
    newer = Telling(carried, {"events": [EXPOSED], "where": {carried: PRESENT}}, True)
    return calls, newer, anything


def without_copies(table: pa.Table, unit: str, value: str) -> pa.Table:
    """Calls without those that stand twice, under the older and the newer name of the event."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    newer = pc.equal(table.column("event").cast(pa.string()), EXPOSED).to_numpy(zero_copy_only=False)
    newer = newer.astype(bool)
    if newer.all() or not newer.any():
        return table
    calls = pd.MultiIndex.from_frame(table.select([unit, "timestamp", value]).to_pandas())
    return table.filter(pa.array(~(newer & calls.isin(calls[~newer]))))
