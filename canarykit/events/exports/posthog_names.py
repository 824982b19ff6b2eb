"""The names an export gives its columns, and the names of the log's contract."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

DROPPED = ("team_id", "people_set", "people_set_once", "_inserted_at", "bq_ingested_timestamp")
_RENAMED = {
    "person.id": "person_id",
    "person.uuid": "person_id",
    "person.properties": "person_properties",
    "id": "uuid",
}
_WHOLE = "*."
"""What stands before the columns of the whole event in the CSV of the events tab."""


def named(columns: Sequence[str], kept: Collection[str] = ()) -> tuple[dict[str, str], tuple[str, ...]]:
    """New names of columns, and columns that go: flattened properties bare, shouting and dots undone.

    Where the events tab writes both `event` and `*.event`, the second is the event itself, the first
    what the tab showed of it. Columns to be `kept`, which somebody named, stay as they are.

    Examples
    --------
    >>> named(["*.event", "*.properties.$os", "event", "person.uuid", "TEAM_ID"])[0]
    {'*.event': 'event', '*.properties.$os': '$os', 'person.uuid': 'person_id'}
    >>> named(["EVENT", "DISTINCT_ID", "TIMESTAMP"])[0]
    {'EVENT': 'event', 'DISTINCT_ID': 'distinct_id', 'TIMESTAMP': 'timestamp'}
    """
    shouted = bool(columns) and all(name == name.upper() for name in columns)
    lower = {name: name.lower() if shouted else name for name in columns}
    names = [lower[name] for name in columns]
    whole = {name.removeprefix(_WHOLE) for name in names if name.startswith(_WHOLE)}
    lower |= {name: name for name in columns if name in kept}
    gone = [name for name in columns if lower[name] in whole or lower[name] in DROPPED]
    gone = [name for name in gone if lower[name] not in kept]
    taken = {lower[name] for name in columns if name not in gone}
    renamed: dict[str, str] = {}
    for name in columns:
        if name in gone:
            continue
        if lower[name] in kept:
            renamed |= {name: lower[name]} if lower[name] != name else {}
            continue
        old = lower[name].removeprefix(_WHOLE)
        new = _RENAMED.get(old, old)
        new = re.sub(r"^person\.properties\.", "person.", new)
        new = re.sub(r"^group_(\d)\.properties\.", r"group\1.", new)
        new = new.removeprefix("properties.") if new != "properties." else new
        if new != name and (new == lower[name] or new not in taken) and new not in renamed.values():
            renamed[name] = new
    return renamed, tuple(gone)
