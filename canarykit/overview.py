"""All flags at a glance: status, stage, share, last call, findings, and who is in several rollouts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from canarykit.assign import evaluate_flag
from canarykit.audit.shares import expected_shares
from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError, PlanError, UnsupportedFlagError, did_you_mean
from canarykit.events.log import as_log
from canarykit.exposure.calls import tellings
from canarykit.exposure.shard import UNKNOWN
from canarykit.flags import Flag, FlagSet
from canarykit.flags.definition import STALE_AFTER_DAYS
from canarykit.linting import lint
from canarykit.times import to_utc

if TYPE_CHECKING:
    from canarykit.events import EventLog
    from canarykit.typing import Frame, Time

__all__ = ["FlagOverview", "bootstrap", "flag_overview", "stage_of", "status_of"]

Status = Literal["deleted", "disabled", "stale", "fully rolled out", "active"]
_COLUMNS = (
    Column("flag", "flag"),
    Column("status", "status"),
    Column("kind", "kind"),
    Column("stage", "stage"),
    Column("share_by_rule", "on by rule", "share"),
    Column("share_of_persons", "of persons", "share"),
    Column("share_observed", "observed", "share"),
    Column("people_observed", "people seen", "count"),
    Column("last_call", "last call (UTC)", "time"),
    Column("findings", "findings", "count"),
    Column("worst", "worst finding"),
    Column("next_step", "next step"),
)


@dataclass(frozen=True, repr=False, eq=False)
class FlagOverview(Result):
    """One row a flag, and the people who are in more than one running rollout.

    Attributes
    ----------
    rows
        One mapping a flag.
    overlaps
        People by pair of partly rolled out flags both of which they have; empty without persons.
    in_several
        People who have more than one of them; None without persons.
    """

    rows: tuple[dict[str, Any], ...]
    overlaps: pd.DataFrame
    in_several: int | None = None
    notes: tuple[Note, ...] = ()

    def _headline(self) -> str:
        counts: dict[str, int] = {}
        for row in self.rows:
            counts[row["status"]] = counts.get(row["status"], 0) + 1
        parts = ", ".join(f"{count} {status}" for status, count in counts.items())
        return f"{counted(len(self.rows), 'flags')}: {parts}." if self.rows else "There are no flags."

    def _table(self) -> Table:
        return Table.of(_COLUMNS, self.rows)

    def _extra_json(self) -> dict[str, Any]:
        return {"in_several": self.in_several, "overlaps": self.overlaps.to_dict("records")}


def flag_overview(
    flags: FlagSet,
    log: EventLog | Frame | None = None,
    persons: pd.DataFrame | None = None,
    *,
    as_of: Time,
    groups: Mapping[str, pd.DataFrame] | None = None,
    distinct_id: str = "distinct_id",
) -> FlagOverview:
    """Every flag with its status, stage, share by rule and as observed, last call and findings.

    Parameters
    ----------
    flags
        The project's flags.
    log
        Events up to `as_of`; without it the last call is what the flag API says.
    persons, groups, distinct_id
        As for `evaluate_flag`: shares and overlaps are then counted on these people.
    as_of
        The moment the overview is for.

    Returns
    -------
    FlagOverview
        Stale by PostHog's rule: active and not called for 30 days; or never called, older than 30 days,
        and 100 % for everyone (with variants: and one of them for everyone).

    Raises
    ------
    PlanError
        If `flags` is not a FlagSet.

    Examples
    --------
    >>> from canarykit.flags import Condition
    >>> running = Flag("new-checkout", (Condition(rollout_percentage=25),))
    >>> flags = FlagSet([running, Flag("old", active=False)])
    >>> print(flag_overview(flags, as_of="2026-09-28T09:00:00Z")._headline())
    2 flags: 1 active, 1 disabled.
    """
    log = None if log is None else as_log(log)
    if not isinstance(flags, FlagSet):
        raise PlanError(
            f"flag_overview takes a FlagSet first, and the events as log=; this is {type(flags).__name__}"
        )
    moment = to_utc(as_of, name="as_of")
    findings = lint(flags, persons=persons, groups=groups, as_of=moment, distinct_id=distinct_id)
    values = {} if persons is None else _values(flags, persons, groups, moment, distinct_id)
    rows = []
    for flag in flags.values():
        of_flag = [finding for finding in findings.findings if finding.flag == flag.key]
        seen, share, last_seen = (0, None, None) if log is None else _observed(log, flag.key, moment)
        last = last_seen or _moment(flag.last_called_at)
        status = status_of(flag, moment, last)
        on = values.get(flag.key)
        rows.append(
            {
                "flag": flag.key,
                "status": status,
                "kind": "multivariate" if flag.variants else "boolean",
                "stage": stage_of(flag),
                "share_by_rule": _share_by_rule(flag),
                "share_of_persons": None if on is None else float(on.mean()),
                "share_observed": share,
                "people_observed": None if log is None else seen,
                "last_call": last,
                "findings": len(of_flag),
                "worst": of_flag[0].code if of_flag else None,
                "next_step": _next_step(flag, status, flags),
            }
        )
    overlaps, several = _overlaps(flags, values)
    notes = () if not several else (Note("several", "people are in more than one running rollout", several),)
    return FlagOverview(tuple(rows), overlaps, None if persons is None else several, notes)


def status_of(flag: Flag, as_of: pd.Timestamp, last_call: pd.Timestamp | None = None) -> Status:
    """Where a flag is in its life; stale by PostHog's rule.

    Examples
    --------
    >>> now = to_utc("2026-09-28T09:00:00Z")
    >>> status_of(Flag("f"), now, to_utc("2026-08-01T00:00:00Z"))
    'stale'
    """
    if flag.deleted:
        return "deleted"
    if not flag.active:
        return "disabled"
    limit = as_of - pd.Timedelta(days=STALE_AFTER_DAYS)
    full = _is_full(flag)
    if last_call is not None:
        if last_call < limit:
            return "stale"
    else:
        created = _moment(flag.created_at)
        if full and created is not None and created < limit:
            return "stale"
    return "fully rolled out" if full else "active"


def stage_of(flag: Flag) -> str:
    """The stage of a release a definition looks like: its widest condition set says it.

    Examples
    --------
    >>> from canarykit.flags import Condition
    >>> stage_of(Flag("f", (Condition(rollout_percentage=25),)))
    'expanded beta 25%'
    """
    if flag.deleted or not flag.active:
        return "off"
    open_shares = [_share(c.rollout_percentage) for c in flag.conditions if not c.properties]
    widest = max(open_shares, default=0.0)
    if widest >= 100:
        return "full release"
    if widest > 0:
        return f"expanded beta {widest:g}%"
    filters = [item for c in flag.conditions if _share(c.rollout_percentage) > 0 for item in c.properties]
    by_group = any(isinstance(c.aggregation_group_type_index, int) for c in flag.conditions)
    wide = {"group", "cohort", "flag"} & {item.type for item in filters}
    if flag.feature_enrollment or flag.super_conditions or wide or by_group:
        return "beta"
    if not filters:
        return "nobody"
    named = [item for item in filters if item.operator == "exact" and item.key in ("email", "distinct_id")]
    if len(named) == len(filters):
        people = sum(len(item.value) if isinstance(item.value, list) else 1 for item in named)
        return "just yourself" if people == 1 else "named people"
    return "internal team" if all(item.key == "email" for item in filters) else "beta"


def bootstrap(
    flags: FlagSet | Mapping[str, Flag],
    person: Mapping[str, Any],
    *,
    identified: bool = True,
    groups: Mapping[str, pd.DataFrame] | None = None,
    cohorts: Mapping[Any, Any] | None = None,
    as_of: Time | None = None,
) -> dict[str, Any]:
    """The object a web SDK starts with, so that the first page already shows the right variant.

    Parameters
    ----------
    flags
        The project's flags. Disabled flags, and flags that cannot be recomputed (version 2, kept across
        login) are left out, as is a flag whose value cannot be told.
    person
        `distinct_id`, and properties beside it or under `properties`.
    identified
        Whether the distinct id is that of a known user.
    groups, cohorts, as_of
        As for `evaluate_flag`.

    Returns
    -------
    dict
        `distinctID`, `isIdentifiedID`, `featureFlags` and `featureFlagPayloads`, ready for JSON.

    Examples
    --------
    >>> from canarykit.flags import Condition
    >>> flags = FlagSet([Flag("new-checkout", (Condition(rollout_percentage=100),))])
    >>> bootstrap(flags, {"distinct_id": "ada"})["featureFlags"]
    {'new-checkout': True}
    """
    if "distinct_id" not in person:
        raise DataError(f"the person has no 'distinct_id'; {did_you_mean('distinct_id', person)}")
    flag_set = flags if isinstance(flags, FlagSet) else FlagSet(flags.values())
    properties = person.get("properties")
    if not isinstance(properties, Mapping):
        properties = {key: value for key, value in person.items() if key not in ("distinct_id", "$device_id")}
        properties = {key: value for key, value in properties.items() if not key.startswith("$group_")}
    row = {key: value for key, value in person.items() if key.startswith("$") or key == "distinct_id"}
    frame = pd.DataFrame([{**row, "properties": dict(properties)}])
    values: dict[str, bool | str] = {}
    payloads: dict[str, Any] = {}
    for flag in flag_set.values():
        if flag.deleted or not flag.active:
            continue
        try:
            answer = evaluate_flag(
                flag, frame, flags=flag_set, groups=groups, cohorts=cohorts, as_of=as_of, payload=True
            ).iloc[0]
        except UnsupportedFlagError:
            continue
        if pd.isna(answer["value"]):
            continue
        values[flag.key] = answer["value"] == "true" if pd.isna(answer["variant"]) else str(answer["variant"])
        if values[flag.key] is not False and answer["payload"] is not None:
            payloads[flag.key] = _decoded(answer["payload"])
    return {
        "distinctID": str(person["distinct_id"]),
        "isIdentifiedID": identified,
        "featureFlags": values,
        "featureFlagPayloads": payloads,
    }


def _decoded(payload: Any) -> Any:
    try:
        return json.loads(payload) if isinstance(payload, str) else payload
    except ValueError:
        return payload


def _share(percentage: float | None) -> float:
    return 100.0 if percentage is None else float(percentage)


def _is_full(flag: Flag) -> bool:
    """Everyone has it, by one set without filters at 100 %; with variants, all of them the same one."""
    wide = [c for c in flag.conditions if not c.properties and _share(c.rollout_percentage) >= 100]
    if not flag.variants:
        return bool(wide)
    return any(c.variant for c in wide) or (
        bool(wide) and any(variant.rollout_percentage >= 100 for variant in flag.variants)
    )


def _share_by_rule(flag: Flag) -> float | None:
    """Share of people without special properties who have the flag."""
    if flag.config_version == 2:
        return None
    if flag.deleted or not flag.active:
        return 0.0
    return round(1.0 - expected_shares(flag).get("false", 0.0), 12)


def _moment(value: Any) -> pd.Timestamp | None:
    return None if value is None else to_utc(value, name="a flag's time", tz="UTC")


def _observed(log: EventLog, key: str, until: pd.Timestamp) -> tuple[int, float | None, pd.Timestamp | None]:
    """People whose newest known value was seen, their share with the flag, and when it was last told."""

    def latest(table: Any, *, value: str) -> tuple[pd.Series, Any]:
        frame = table.to_pandas().sort_values("timestamp")
        answered = frame[frame["person_id"].notna() & frame[value].notna() & ~frame[value].isin(UNKNOWN)]
        return answered.drop_duplicates("person_id", keep="last")[value].value_counts(), frame[
            "timestamp"
        ].max()

    counts, last = pd.Series(dtype=int), None
    for telling in tellings(log, key):
        if not telling.are_calls and telling.value not in log.property_names():
            continue
        columns = ["person_id", "timestamp", telling.value]
        parts = log.reduce(columns, partial(latest, value=telling.value), until=until, **telling.narrow)
        moments = [at for _, at in parts if not pd.isna(at)]
        if moments:
            counts, last = pd.concat([part for part, _ in parts]), max(moments)
            break
    off = counts.index.isin(["false"]) | counts.index.astype(str).str.startswith("holdout-")
    total = int(counts.sum())
    return total, None if not total else float(counts[~off].sum() / total), last


def _values(
    flags: FlagSet,
    persons: pd.DataFrame,
    groups: Mapping[str, pd.DataFrame] | None,
    as_of: pd.Timestamp,
    distinct_id: str,
) -> dict[str, np.ndarray]:
    """Who has each flag that can be recomputed."""
    by_flag = {}
    for flag in flags.values():
        if flag.active and not flag.deleted:
            try:
                answers = evaluate_flag(
                    flag, persons, flags=flags, groups=groups, as_of=as_of, distinct_id=distinct_id
                )
            except UnsupportedFlagError:
                continue
            value = answers["value"].astype(object).where(answers["value"].notna(), "false").astype(str)
            by_flag[flag.key] = (~(value.eq("false") | value.str.startswith("holdout-"))).to_numpy(dtype=bool)
    return by_flag


def _overlaps(flags: FlagSet, values: Mapping[str, np.ndarray]) -> tuple[pd.DataFrame, int]:
    """People in several running rollouts: flags that some, but not all, have."""
    running = {key: on for key, on in values.items() if not _is_full(flags[key]) and on.any()}
    keys = list(running)
    rows = [
        (one, other, int((running[one] & running[other]).sum()))
        for position, one in enumerate(keys)
        for other in keys[position + 1 :]
    ]
    frame = pd.DataFrame(rows, columns=["flag", "with_flag", "people"])
    several = int((np.sum(list(running.values()), axis=0) > 1).sum()) if running else 0
    return frame[frame["people"] > 0].reset_index(drop=True), several


def _next_step(flag: Flag, status: Status, flags: FlagSet) -> str | None:
    """What to do about the flag, where its status says so."""
    users = [
        other.key
        for other in flags.values()
        if other.active and not other.deleted and other.key != flag.key
        for condition in other.conditions
        for item in condition.properties
        if item.type == "flag" and item.key in (flag.key, str(flag.id))
    ]
    if status in ("stale", "fully rolled out"):
        first = f"free {users} of it, then " if users else ""
        return f"{first}remove it from the code, disable it, delete it"
    if status == "disabled":
        return f"active flags depend on it: {users}" if users else "delete it once nothing asks for it"
    return None
