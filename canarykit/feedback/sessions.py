"""Sessions worth watching, by flag variant: with errors, with many errors in a row, or ended halfway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from canarykit.arguments import checked, names_of
from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError, did_you_mean
from canarykit.events.clock import as_micros
from canarykit.events.log import as_log
from canarykit.events.names import check_events
from canarykit.events.sql import answer
from canarykit.exposure.compared import listened_units
from canarykit.flags.given import key_of
from canarykit.plan.given import as_plan
from canarykit.times import duration

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.events import EventLog
    from canarykit.flags import Flag
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Filters, Frame, Time

_COLUMNS = (
    Column("variant", "variant"),
    Column("people", "people", "count"),
    Column("sessions", "sessions", "count"),
    Column("with_errors", "with errors", "count"),
    Column("error_share", "share with errors", "share"),
    Column("rage", "with a burst of errors", "count"),
    Column("dropped", "dropped off", "count"),
)
_SHOWN = ["session_id", "person_id", "variant", "started_at", "errors", "burst", "dropped_at", "last_event"]


@dataclass(frozen=True, repr=False, eq=False)
class SessionsByFlag(Result):
    """Sessions after the exposure, by variant.

    Parameters
    ----------
    flag
        Key of the flag.
    sessions
        One row per session: session_id, person_id, variant, started_at, ended_at, events, errors, burst
        (most errors within a minute), dropped_at (last funnel step reached, if not the last), last_event.
    rage_from
        Errors within a minute from which a session counts as a burst.
    """

    flag: str
    sessions: pd.DataFrame
    rage_from: int
    notes: tuple[Note, ...] = ()

    def worst(self, variant: str | None = None, *, n: int = 10) -> pd.DataFrame:
        """Sessions to watch first: bursts, then errors, then those that dropped off; `n` of them."""
        rows = self._of(variant)
        rows = rows[(rows["errors"] > 0) | rows["dropped_at"].notna()]
        order = rows.sort_values(
            ["burst", "errors", "started_at", "session_id"],
            ascending=[False, False, True, True],
            kind="stable",
        )
        return order.head(n)[_SHOWN].reset_index(drop=True)

    def with_errors(self, variant: str | None = None) -> pd.DataFrame:
        """Sessions with at least one error."""
        rows = self._of(variant)
        return rows[rows["errors"] > 0].reset_index(drop=True)

    def _of(self, variant: str | None) -> pd.DataFrame:
        if variant is None:
            return self.sessions
        variants = sorted(self.sessions["variant"].unique())
        if variant not in variants:
            raise DataError(f"no session has variant {variant!r}; {did_you_mean(variant, variants)}")
        return self.sessions[self.sessions["variant"] == variant]

    def _headline(self) -> str:
        errors = int((self.sessions["errors"] > 0).sum())
        sessions = counted(len(self.sessions), "sessions")
        return f"{errors:,} of {sessions} after the exposure to {self.flag} had errors"

    def _table(self) -> Table:
        rows = []
        for variant, part in self.sessions.groupby("variant", sort=True):
            errors = int((part["errors"] > 0).sum())
            rows.append(
                (
                    variant,
                    part["person_id"].nunique(),
                    len(part),
                    errors,
                    errors / len(part),
                    int((part["burst"] >= self.rage_from).sum()),
                    int(part["dropped_at"].notna().sum()),
                )
            )
        return Table.of(_COLUMNS, rows)


@checked
def sessions_by_flag(
    log: EventLog | Frame,
    flag: str | Flag,
    *,
    plan: RolloutPlan | None = None,
    stage: str | None = None,
    as_of: Time | None = None,
    people: Filters = None,
    errors: Sequence[str] = ("$exception",),
    steps: Sequence[str] = (),
    within: str = "1d",
    rage_from: int = 3,
) -> SessionsByFlag:
    """Sessions of exposed people from their exposure on, with what went wrong in them.

    Parameters
    ----------
    log
        `EventLog` over any engine, or a table of events with its default columns.
    flag
        Key of the flag, or the flag itself.
    plan, stage
        Only people exposed within a stage of this plan, and sessions within it. Of a percentage
        stage whoever has the flag by choice (owner, team, beta, enrolled) is set apart, with a note. With
        a plan and no stage, a session counts for the arm that its person had in the stage it began in.
        Without a plan people who saw several variants are set apart and counted in a note.
    as_of
        Later events are not looked at.
    people
        Only these people: a filter of their properties (`{"plan": "pro"}`, or mappings in PostHog's words),
        or a list of ids.
    errors
        Events that are errors.
    steps
        Funnel steps in order: a session that reached one of them but not the last has dropped off there. A
        step without a session, such as a payment that the server reports, counts for the session of the
        same person whose step came before it.
    within
        How soon after the session's step such a step counts.
    rage_from
        Errors within a minute that make a burst.

    Returns
    -------
    SessionsByFlag

    Examples
    --------
    >>> import pandas as pd
    >>> from canarykit.events import EventLog
    >>> who = {"timestamp": "2026-09-07T09:00:00Z", "distinct_id": "ada", "$session_id": "s1"}
    >>> rows = [
    ...     {**who, "event": "$feature_flag_called", "$feature_flag": "f", "$feature_flag_response": "true"},
    ...     {**who, "event": "$exception", "timestamp": "2026-09-07T09:05:00Z"},
    ... ]
    >>> sessions_by_flag(EventLog(pd.DataFrame(rows)), "f").with_errors("true")["session_id"].tolist()
    ['s1']
    """
    import pyarrow as pa

    log, flag, plan = as_log(log), key_of(flag), None if plan is None else as_plan(plan)
    errors, steps = names_of(errors, "errors"), names_of(steps, "steps")
    exposed = listened_units(log, flag, plan=plan, stage=stage, as_of=as_of, people=people)
    units = exposed.units.reset_index(drop=True)
    entered, leaves = (units[name].dt.as_unit("us") for name in ("exposed_at", "leaves_at"))
    stays = leaves.isna().to_numpy(bool)
    table = pa.table(
        {
            "unit": pa.array(units.index.to_numpy()),
            "name": pa.array(units["person_id"].to_numpy(object), pa.string()),
            "exposed": pa.array(entered.astype("int64").to_numpy()),
            "leaves": pa.array(np.where(stays, np.iinfo(np.int64).max, leaves.astype("int64").to_numpy())),
        }
    )
    window_us = round(duration(within, name="within") * 1e6)
    shards = log.reduce(
        list(dict.fromkeys(["person_id", exposed.unit_column, "event", "timestamp", "session_id"])),
        partial(
            _sessions,
            column=exposed.unit_column,
            units=table,
            errors=tuple(errors),
            steps=tuple(steps),
            window_us=window_us,
        ),
        since=exposed.since,
        until=exposed.until,
    )
    frame = pd.concat(shards, ignore_index=True)
    for column in ("started_at", "ended_at"):
        frame[column] = pd.to_datetime(frame[column], unit="us", utc=True)
    frame["variant"] = units["variant"].to_numpy(object)[frame.pop("unit").to_numpy(np.int64)]
    last = len(steps)
    seen, later = frame.pop("reached"), frame.pop("reached_without_session")
    reached = np.maximum(seen, later)
    frame["dropped_at"] = [steps[k - 1] if 0 < k < last else None for k in reached]
    columns = ["session_id", "person_id", "variant", "started_at", "ended_at", "events", "errors", "burst"]
    frame = frame[[*columns, "dropped_at", "last_event"]]
    notes = [*log.notes, *exposed.notes]
    further = int((later > seen).sum())
    if further:
        text = (
            "sessions got further by events without a session, of the same person and within "
            f"{within} of the session's step"
        )
        notes.append(Note("steps_without_session", text, further))
    frame = frame.sort_values(["started_at", "session_id"], ignore_index=True)
    notes += check_events(log, [*errors, *steps])
    if frame.empty:
        notes.append(Note("no_sessions", "no event after an exposure carries a session id"))
    return SessionsByFlag(flag, frame, rage_from, tuple(notes))


def _sessions(
    table: pa.Table,
    *,
    column: str,
    units: pa.Table,
    errors: tuple[str, ...],
    steps: tuple[str, ...],
    window_us: int,
) -> pd.DataFrame:
    """One row per session of a shard; the largest number of errors within any minute from one to the next.

    A session belongs to the unit (a person's part of a stage) within whose time it begins, and keeps what
    happens in it afterwards.
    """
    import pyarrow as pa

    at = table.schema.get_field_index("timestamp")
    events = table.set_column(at, "micros", as_micros(table.column("timestamp")))
    events = events.append_column("unit_name", table.column(column).cast(pa.string()))
    kinds = ", ".join("?" for _ in errors) or "NULL"
    reached = "".join(f" WHEN e.event = ? THEN {k}" for k in range(1, len(steps) + 1))
    step = f"CASE{reached} ELSE 0 END" if steps else "0"
    return answer(
        f"""
        WITH begins AS (
            SELECT e.person_id, e.session_id, arg_min(u.unit, e.micros) AS unit
            FROM arrow_events e JOIN units u ON e.unit_name = u.name
            WHERE e.micros >= u.exposed AND e.micros < u.leaves AND e.session_id IS NOT NULL
            GROUP BY e.person_id, e.session_id
        ),
        mine AS (
            SELECT e.person_id, e.session_id, u.unit, e.event, e.micros,
                   CASE WHEN e.event IN ({kinds}) THEN 1 ELSE 0 END AS is_error, {step} AS step
            FROM arrow_events e
            JOIN begins b ON e.person_id = b.person_id AND e.session_id = b.session_id
            JOIN units u ON u.unit = b.unit
            WHERE e.micros >= u.exposed
        ),
        bursts AS (
            SELECT *, sum(is_error) OVER (
                PARTITION BY person_id, session_id ORDER BY micros
                RANGE BETWEEN 60000000 PRECEDING AND CURRENT ROW) AS within_minute
            FROM mine
        ),
        sessions AS (
            SELECT session_id, person_id, unit, min(micros) AS started_at, max(micros) AS ended_at,
                   count(*) AS events, CAST(sum(is_error) AS BIGINT) AS errors,
                   CAST(max(within_minute) AS BIGINT) AS burst, max(step) AS reached,
                   arg_max(CAST(event AS VARCHAR), micros) AS last_event,
                   arg_max(micros, (step, -micros)) AS reached_at
            FROM bursts GROUP BY session_id, person_id, unit
        ),
        server AS (
            SELECT person_id, micros, step FROM (
                SELECT e.person_id, e.micros, {step} AS step FROM arrow_events e
                WHERE e.session_id IS NULL
            ) WHERE step > 0
        )
        SELECT s.* EXCLUDE (reached_at), (
            SELECT coalesce(max(v.step), 0) FROM server v
            WHERE v.person_id = s.person_id AND v.micros >= s.reached_at AND s.reached > 0
              AND v.micros <= s.reached_at + {window_us}
        ) AS reached_without_session
        FROM sessions s
        """,
        [*errors, *steps, *steps],
        fetch="df",
        arrow_events=events,
        units=units,
    )
