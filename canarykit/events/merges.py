"""Who is who when an export has no person ids: merges read from the events themselves.

Where there are persons too, they have the say of the ids that they list: merges then join the others, to
each other and to those persons.

Best effort: PostHog refuses a merge whose source is already identified, or whose ids are junk; what it
did with merges before the export begins cannot be seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

MERGE_EVENTS = ("$identify", "$create_alias", "$merge_dangerously")
MERGE_COLUMNS = ("event", "timestamp", "distinct_id", "$anon_distinct_id", "alias")
_JUNK = frozenset(
    {
        "", "0", "anonymous", "guest", "distinctid", "distinct_id", "id", "not_authenticated", "email",
        "undefined", "true", "false", "null", "none", "nan", "nil", "[object object]",
    }
)  # fmt: skip


def merged_ids(
    events: pd.DataFrame, listed: tuple[pa.Array, pa.Array] | None = None
) -> tuple[tuple[pa.Array, pa.Array] | None, int, int]:
    """Identities, merges done and merges refused, from rows of `MERGE_EVENTS` with `MERGE_COLUMNS`.

    Of ids that `listed` (distinct ids, and the person of each) has nothing is said or counted.
    """
    plain = {name: events[name].astype(object) for name in MERGE_COLUMNS if name != "timestamp"}
    # What happened at one instant is taken in an order that no engine or file can change.
    order = ["timestamp", "event", "distinct_id", "$anon_distinct_id", "alias"]
    ordered = events.assign(**plain).sort_values(order, kind="stable")
    source = np.where(ordered["event"] == "$identify", ordered["$anon_distinct_id"], ordered["alias"])
    rows = zip(ordered["event"], ordered["distinct_id"], source, strict=True)
    people = _People({} if listed is None else _persons(ordered, source, listed))
    done, refused = people.read(rows)
    found = people.found()
    if not found:
        return None, 0, refused
    return (pa.array(list(found), pa.string()), pa.array(list(found.values()), pa.string())), done, refused


def _persons(events: pd.DataFrame, source: np.ndarray, listed: tuple[pa.Array, pa.Array]) -> dict[str, str]:
    """The persons of the ids in these rows, as far as they are listed."""
    named = {item for item in (*events["distinct_id"], *source) if isinstance(item, str)}
    ids = pa.array(sorted(named), pa.string())
    persons = listed[1].take(pc.index_in(ids, value_set=listed[0])).to_pylist()
    return {member: who for member, who in zip(ids.to_pylist(), persons, strict=True) if who is not None}


class _People:
    """Distinct ids that are one person, under the id they were identified as."""

    def __init__(self, persons: Mapping[str, str]) -> None:
        self.persons = persons
        self.parent: dict[str, str] = {}
        self.identified: set[str] = set()

    def root(self, member: str) -> str:
        while self.parent.setdefault(member, member) != member:
            self.parent[member] = self.parent[self.parent[member]]
            member = self.parent[member]
        return member

    def found(self) -> dict[str, str]:
        """Who each id is that is not listed: the person that ids joined to it have, else one of these ids."""
        groups: dict[str, list[str]] = {}
        for member in list(self.parent):
            groups.setdefault(self.root(member), []).append(member)
        found: dict[str, str] = {}
        for root, members in groups.items():
            known = [self.persons[member] for member in (root, *sorted(members)) if member in self.persons]
            person = known[0] if known else root
            found |= {m: person for m in members if m not in self.persons and m != person}
        return found

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
                refused += self._is_news(target, source)
                self.identified |= {into} if event == "$identify" and not junk else set()
                continue
            self.parent[merged] = into
            self.identified.add(into)
            done += self._is_news(target, source)
        return done, refused

    def _is_news(self, *ids: str) -> bool:
        """Whether the persons do not list all of these."""
        return not all(member in self.persons for member in ids)
