"""Who is who when an export has neither person ids nor persons: merges read from the events themselves.

Best effort: PostHog refuses a merge whose source is already identified, or whose ids are junk; what it
did with merges before the export begins cannot be seen.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa

__all__ = ["MERGE_COLUMNS", "MERGE_EVENTS", "merged_ids"]

MERGE_EVENTS = ("$identify", "$create_alias", "$merge_dangerously")
MERGE_COLUMNS = ("event", "timestamp", "distinct_id", "$anon_distinct_id", "alias")
_JUNK = frozenset(
    {
        "", "0", "anonymous", "guest", "distinctid", "distinct_id", "id", "not_authenticated", "email",
        "undefined", "true", "false", "null", "none", "nan", "nil", "[object object]",
    }
)  # fmt: skip


def merged_ids(events: pd.DataFrame) -> tuple[tuple[pa.Array, pa.Array] | None, int, int]:
    """Identities, merges done and merges refused, from rows of `MERGE_EVENTS` with `MERGE_COLUMNS`."""
    plain = {name: events[name].astype(object) for name in MERGE_COLUMNS if name != "timestamp"}
    # What happened at one instant is taken in an order that no engine or file can change.
    order = ["timestamp", "event", "distinct_id", "$anon_distinct_id", "alias"]
    ordered = events.assign(**plain).sort_values(order, kind="stable")
    source = np.where(ordered["event"] == "$identify", ordered["$anon_distinct_id"], ordered["alias"])
    rows = zip(ordered["event"], ordered["distinct_id"], source, strict=True)
    people = _People()
    done, refused = people.read(rows)
    if not done:
        return None, 0, refused
    ids = [member for member in people.parent if people.root(member) != member]
    roots = [people.root(member) for member in ids]
    return (pa.array(ids, pa.string()), pa.array(roots, pa.string())), done, refused


class _People:
    """Distinct ids that are one person, under the id they were identified as."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}
        self.identified: set[str] = set()

    def root(self, member: str) -> str:
        while self.parent.setdefault(member, member) != member:
            self.parent[member] = self.parent[self.parent[member]]
            member = self.parent[member]
        return member

    def read(self, rows: Iterable[tuple[str, object, object]]) -> tuple[int, int]:
        done = refused = 0
        for event, target, source in rows:
            if not isinstance(target, str):
                continue
            if not isinstance(source, str) or source == target:
                self.identified |= {self.root(target)} if event == "$identify" else set()
                continue
            into, merged = self.root(target), self.root(source)
            if into == merged:
                continue
            junk = target.strip().lower() in _JUNK or source.strip().lower() in _JUNK
            if junk or (merged in self.identified and event != "$merge_dangerously"):
                refused += 1
                self.identified |= {into} if event == "$identify" and not junk else set()
                continue
            self.parent[merged] = into
            self.identified.add(into)
            done += 1
        return done, refused
