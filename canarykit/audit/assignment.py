"""The audit: what the flag answered in the log against what its rules say, person by person.

What was observed is never replaced. Where log and rules disagree the audit says why that may be: the value
is unknown, it was given before the id was known, it was kept from an earlier definition, the person was
targeted, enrolled or held out by properties that have changed since, or the bucket simply differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from canarykit.arguments import checked
from canarykit.assign import evaluate_flag
from canarykit.audit.reasons import count_flips, reasons_of, with_properties
from canarykit.audit.result import Audit
from canarykit.audit.shares import check_shares
from canarykit.display import Note
from canarykit.errors import DataError, did_you_mean, require_kind
from canarykit.events.log import as_log
from canarykit.events.names import check_flag
from canarykit.exposure.calls import tellings, without_copies
from canarykit.flags import Flag, FlagSet
from canarykit.plan import RolloutPlan
from canarykit.times import micros, to_utc

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.assign.evaluate import Semantics
    from canarykit.events import EventLog
    from canarykit.typing import Frame, Time

_MISSING = ("", "null", "None", "undefined")


@checked
def audit_assignment(
    log: EventLog | Frame,
    flag: Flag | RolloutPlan,
    persons: pd.DataFrame | None = None,
    *,
    groups: Mapping[str, pd.DataFrame] | None = None,
    flags: FlagSet | None = None,
    cohorts: Mapping[Any, Any] | None = None,
    semantics: Semantics = "server",
    since: Time | None = None,
    as_of: Time | None = None,
    timezone: str = "UTC",
) -> Audit:
    """Compare what a flag answered in the log with what its definition says.

    Parameters
    ----------
    log
        Events; the flag's answers are read as `exposures` reads them.
    flag
        The definition that was in force, or the plan: then each evaluation is held against the definition
        of the stage in whose window it happened, and evaluations outside every window are left out.
    persons
        Properties by `distinct_id`; the log's own persons by default. They are as of the export, so a
        property that changed since an evaluation shows as a disagreement.
    groups
        Groups by type; the log's own by default.
    flags, cohorts, semantics, timezone
        As for `evaluate_flag`.
    since, as_of
        Evaluations in the half-open window between these; `as_of` is also the moment of relative dates.

    Returns
    -------
    Audit
        Agreement, disagreements by reason, flips, and expected against observed shares.

    Raises
    ------
    DataError
        If no event carries the flag.

    Examples
    --------
    >>> from canarykit.events import EventLog
    >>> from canarykit.flags import Condition
    >>> log = EventLog(
    ...     pd.DataFrame(
    ...         {
    ...             "event": "$feature_flag_called",
    ...             "timestamp": pd.to_datetime(["2026-09-07 09:00Z", "2026-09-07 10:00Z"]),
    ...             "distinct_id": ["distinct_id_0", "distinct_id_1"],
    ...             "$feature_flag": "simple-flag",
    ...             "$feature_flag_response": [False, True],
    ...         }
    ...     )
    ... )
    >>> audit_assignment(log, Flag("simple-flag", (Condition(rollout_percentage=45),))).agreement
    1.0
    """
    log = as_log(log)
    require_kind("flag", flag, (Flag, RolloutPlan), "a Flag or a RolloutPlan")
    plan = None if isinstance(flag, Flag) else flag
    key = flag.key if isinstance(flag, Flag) else flag.flag
    definitions = _definitions(flag)
    types = {str(index): name for name, index in log.group_types.items()}
    if flags is not None:
        types |= flags.group_type_mapping
    calls, outside = _observed(log, key, plan, types, since, as_of)
    table = _persons(log, persons)
    tables = log.groups if groups is None else groups
    options: dict[str, Any] = {
        "groups": tables, "flags": flags, "cohorts": cohorts, "group_type_mapping": types,
        "semantics": semantics, "timezone": timezone,
        "as_of": as_of if as_of is not None else log.time_range[1],
    }  # fmt: skip
    people = _recomputed(calls, definitions, table, options)
    people["reason"] = reasons_of(people, definitions, table, options)
    flips, at_login = count_flips(people)
    notes = _notes(people, outside, flips, at_login)
    shares = tuple(check for name, one in definitions for check in check_shares(name, one, people))
    return Audit(key, people, shares, flips, at_login, notes)


def _definitions(flag: Flag | RolloutPlan) -> list[tuple[str | None, Flag]]:
    if isinstance(flag, Flag):
        return [(None, flag)]
    return [(name, flag.flag_at(name)) for name in flag.windows()]


def _observed(
    log: EventLog, key: str, plan: RolloutPlan | None, types: Mapping[str, str], since: Any, as_of: Any
) -> tuple[pd.DataFrame, int]:
    """Evaluations by person, id, groups, stage and value; and how many lay outside every window."""
    windows = {} if plan is None else plan.windows()
    edges = [(name, micros(a), None if b is None else micros(b)) for name, (a, b) in windows.items()]
    group_columns = [f"$group_{index}" for index in types]
    until = None if as_of is None else to_utc(as_of, name="as_of")
    listed = tellings(log, key)
    for telling in listed:
        event_column = ["event"] if len(listed) > 2 else []  # calls may stand there twice
        columns = ["person_id", "distinct_id", "timestamp", telling.value, *group_columns, *event_column]
        fn = partial(_reduce_shard, value=telling.value, group_columns=group_columns, edges=edges)
        parts = log.reduce(columns, fn, since=since, until=until, **telling.narrow)
        calls = pd.concat([part for part, _ in parts], ignore_index=True)
        outside = sum(count for _, count in parts)
        if len(calls) or outside:
            return calls.sort_values(["person_id", "first_at", "distinct_id"], ignore_index=True), outside
    check_flag(log, key)
    raise DataError(f"no event carries flag {key!r} between {since} and {as_of}")


def _reduce_shard(
    table: pa.Table, *, value: str, group_columns: list[str], edges: list[Any]
) -> tuple[pd.DataFrame, int]:
    if "event" in table.column_names:
        table = without_copies(table, "distinct_id", value)
    frame = table.to_pandas(types_mapper=None).rename(columns={value: "observed"})
    at = frame["timestamp"].astype("datetime64[us, UTC]").astype("int64").to_numpy()
    stage = np.full(len(frame), None, dtype=object)
    for name, start, end in edges:
        stage[(at >= start) & (at < (np.iinfo(np.int64).max if end is None else end))] = name
    inside = np.ones(len(frame), dtype=bool) if not edges else np.array([name is not None for name in stage])
    frame["stage"] = stage
    frame["observed"] = frame["observed"].astype(object).where(~frame["observed"].isin(_MISSING), None)
    keys = ["person_id", "distinct_id", "stage", "observed", *group_columns]
    frame = frame[inside].astype(dict.fromkeys(keys, object))
    grouped = frame.groupby(keys, dropna=False, sort=False, observed=True)["timestamp"]
    counted = grouped.agg(["size", "min", "max"]).reset_index()
    return counted.rename(columns={"size": "calls", "min": "first_at", "max": "last_at"}), int(
        (~inside).sum()
    )


def _persons(log: EventLog, persons: pd.DataFrame | None) -> pd.DataFrame | None:
    table = log.persons if persons is None else persons
    if table is None:
        return None
    require_kind("persons", table, pd.DataFrame, "a pandas frame with one row a person", error=DataError)
    if "distinct_id" not in table.columns:
        raise DataError(f"persons lacks 'distinct_id'; {did_you_mean('distinct_id', table.columns)}")
    table = table.drop(columns=[c for c in ("person_id",) if c in table.columns])
    return table.drop_duplicates("distinct_id")


def _recomputed(
    calls: pd.DataFrame,
    definitions: list[tuple[str | None, Flag]],
    table: pd.DataFrame | None,
    options: dict[str, Any],
) -> pd.DataFrame:
    people = calls.copy()
    people["expected"], people["rule"] = None, None
    people["condition"] = pd.array([pd.NA] * len(people), dtype="Int64")
    described = set() if table is None else set(table["distinct_id"].astype(str))
    people["has_properties"] = people["distinct_id"].astype(str).isin(described)
    for name, flag in definitions:
        rows = people["stage"].isna() if name is None else people["stage"] == name
        if not rows.any():
            continue
        frame = with_properties(calls[rows.to_numpy()], table)
        answers = evaluate_flag(flag, frame, **options)
        people.loc[rows, "expected"] = (
            answers["value"].astype(object).where(answers["value"].notna(), None).to_numpy()
        )
        people.loc[rows, "rule"] = answers["reason"].astype(object).to_numpy()
        people.loc[rows, "condition"] = answers["condition"].to_numpy()
    return people


def _notes(people: pd.DataFrame, outside: int, flips: int, at_login: int) -> tuple[Note, ...]:
    unknown = int(people.loc[people["reason"] == "unknown value", "calls"].sum())
    texts = (
        ("unknown", "evaluations have a missing or failed value: unknown, never control", unknown),
        ("outside", "evaluations lie outside every stage's window and are left out", outside),
        ("flips", "people saw several values under one definition", flips),
        ("flips_at_login", "of these did so under several ids (login or merge)", at_login),
    )
    return tuple(Note(code, text, count) for code, text, count in texts if count)
