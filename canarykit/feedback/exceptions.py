"""Exception groups by flag variant: what is new in the canary comes first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from canarykit.display import Column, Note, Result, Table
from canarykit.exposure.listened import exposed_people

__all__ = ["ExceptionsByFlag", "exceptions_by_flag"]

_PROPERTIES = (
    "$exception_fingerprint",
    "$exception_list",
    "$exception_types",
    "$exception_values",
    "$exception_type",
    "$exception_message",
)
_COLUMNS = (
    Column("exception", "exception"),
    Column("canary_people", "canary people", "count"),
    Column("control_people", "control people", "count"),
    Column("canary_share", "canary share", "share"),
    Column("control_share", "control share", "share"),
    Column("ratio", "ratio", "ratio"),
    Column("first_seen", "first seen", "time"),
    Column("what", "what it looks like"),
)


@dataclass(frozen=True, repr=False, eq=False)
class ExceptionsByFlag(Result):
    """Exception groups with the people of each arm who met them, new in the canary first.

    Parameters
    ----------
    flag, control, canary
        Flag and arms.
    groups
        One row per group: exception, canary_people, control_people, canary_share, control_share, ratio,
        first_seen, what.
    events
        One row per exception after the exposure: person_id, variant, timestamp, session_id, exception.
    n_canary, n_control
        Exposed people per arm.
    """

    flag: str
    control: str
    canary: str
    groups: pd.DataFrame
    events: pd.DataFrame
    n_canary: int
    n_control: int
    notes: tuple[Note, ...] = ()

    @property
    def new_in_canary(self) -> pd.DataFrame:
        """Groups that nobody of the control met."""
        return self.groups[(self.groups["control_people"] == 0) & (self.groups["canary_people"] > 0)]

    def people(self, exception: str) -> pd.DataFrame:
        """People who met an exception, with the session to watch, earliest first."""
        from canarykit.errors import DataError, did_you_mean

        rows = self.events[self.events["exception"] == exception]
        if rows.empty:
            known = self.groups["exception"].tolist()
            raise DataError(f"no exception group {exception!r}; {did_you_mean(exception, known)}")
        return rows.drop_duplicates("person_id").reset_index(drop=True)

    def _headline(self) -> str:
        if self.groups.empty:
            return f"No exceptions after the exposure to {self.flag}"
        new = len(self.new_in_canary)
        words = "1 is" if new == 1 else f"{new} are"
        return f"{len(self.groups)} exception groups, of which {words} new in the canary"

    def _table(self) -> Table:
        return Table.of(_COLUMNS, list(self.groups.itertuples(index=False, name=None)))


def exceptions_by_flag(
    log: Any,
    flag: str,
    *,
    plan: Any = None,
    stage: str | None = None,
    as_of: Any = None,
    event: str = "$exception",
) -> ExceptionsByFlag:
    """Group exceptions after the exposure and count the people of each arm who met them.

    Exceptions are grouped by their fingerprint; without one, by type and message of the outermost error.
    Server exceptions carry no flag value: people are told by their exposure.

    Parameters
    ----------
    log
        `EventLog` over any engine.
    flag
        Key of the flag.
    plan, stage
        Only people exposed within a stage of this plan, and what they met within it. Of a percentage
        stage whoever has the flag by choice (owner, team, beta, enrolled) is set apart, with a note.
    as_of
        Later events are not looked at.
    event
        The event that is an exception.

    Returns
    -------
    ExceptionsByFlag
        Groups nobody of the control met come first, then by how much more often the canary meets them.
        Shares are of all exposed people of the arm. Many groups are looked at: a ratio here is a hint
        where to look, not a test.

    Examples
    --------
    >>> import pandas as pd
    >>> from canarykit.events import EventLog
    >>> called = {"event": "$feature_flag_called", "timestamp": "2026-09-07T09:00:00Z", "$feature_flag": "f"}
    >>> rows = [
    ...     {**called, "distinct_id": "ada", "$feature_flag_response": "true"},
    ...     {**called, "distinct_id": "bob", "$feature_flag_response": "false"},
    ...     {"event": "$exception", "timestamp": "2026-09-07T09:05:00Z", "distinct_id": "ada",
    ...      "$exception_type": "TypeError", "$exception_message": "x is undefined"},
    ... ]
    >>> found = exceptions_by_flag(EventLog(pd.DataFrame(rows)), "f")
    >>> found.new_in_canary["exception"].tolist()
    ['TypeError: x is undefined']
    """
    exposed = exposed_people(log, flag, plan=plan, stage=stage, as_of=as_of)
    found = log.select(
        ["person_id", "timestamp", "session_id", *_PROPERTIES],
        events=[event],
        since=exposed.since,
        until=exposed.until,
    )
    events = exposed.after(found)
    described = [_describe(row) for row in events[list(_PROPERTIES)].to_dict("records")]
    events = events.assign(exception=[name for name, _ in described], what=[what for _, what in described])[
        ["person_id", "variant", "timestamp", "session_id", "exception", "what"]
    ]
    n_canary, n_control = exposed.count(exposed.canary), exposed.count(exposed.control)
    rows = []
    for name, part in events.groupby("exception", sort=True):
        canary = part.loc[part["variant"] == exposed.canary, "person_id"].nunique()
        control = part.loc[part["variant"] == exposed.control, "person_id"].nunique()
        share_t = canary / n_canary if n_canary else None
        share_c = control / n_control if n_control else None
        rows.append(
            {
                "exception": name,
                "canary_people": canary,
                "control_people": control,
                "canary_share": share_t,
                "control_share": share_c,
                "ratio": share_t / share_c if share_t is not None and share_c else None,
                "first_seen": part["timestamp"].min(),
                "what": part["what"].iloc[0],
            }
        )
    rows.sort(key=_order)
    groups = pd.DataFrame(rows, columns=[column.key for column in _COLUMNS])
    return ExceptionsByFlag(
        flag, exposed.control, exposed.canary, groups, events, n_canary, n_control, exposed.notes
    )


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    new = row["control_people"] == 0 and row["canary_people"] > 0
    return (not new, -(row["ratio"] or 0.0), -row["canary_people"], row["exception"])


def _describe(row: Mapping[Any, Any]) -> tuple[str, str]:
    """Name of the group, and what the error looks like."""
    kind, message = _outermost(row)
    what = f"{kind}: {message}" if message else kind
    fingerprint = row.get("$exception_fingerprint")
    name = f"{kind} {str(fingerprint)[:8]}" if isinstance(fingerprint, str) and fingerprint else what[:80]
    return name, what


def _outermost(row: Mapping[Any, Any]) -> tuple[str, str]:
    listed = _parsed(row.get("$exception_list"))
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        return str(listed[0].get("type") or "Error"), str(listed[0].get("value") or "")
    kinds, values = _parsed(row.get("$exception_types")), _parsed(row.get("$exception_values"))
    if isinstance(kinds, list) and kinds:
        return str(kinds[0]), str(values[0]) if isinstance(values, list) and values else ""
    kind, message = row.get("$exception_type"), row.get("$exception_message")
    return (
        kind if isinstance(kind, str) and kind else "unnamed exception",
        message if isinstance(message, str) else "",
    )


def _parsed(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(("[", "{")):
        return None
    try:
        return json.loads(value)
    except ValueError:
        return None
