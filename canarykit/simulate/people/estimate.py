"""A population and a scenario estimated from a real log, so that a plan is tried on one's own traffic.

Everything is counted where the events are, one shard of people at a time; what could not be estimated is
said in `notes` and left at its default.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from canarykit.errors import DataError, did_you_mean
from canarykit.events.log import as_log
from canarykit.events.names import call_events
from canarykit.simulate.people.population import Population
from canarykit.simulate.people.scenario import Scenario, Step, Survey

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.events import EventLog
    from canarykit.typing import Frame

WEEK = pd.Timedelta(days=7)
CONTROLS = ("false", "control")
_BASE = ("person_id", "timestamp", "session_id")


def population_like(log: EventLog | Frame, n: int | None) -> Population:
    """Rhythm, activity, browsers and organisations of a log's people."""
    log = as_log(log)
    start, end = _range(log)
    columns = [*_BASE, "$browser", "$group_0"]
    parts = log.reduce(columns, _habits)
    sessions = np.concatenate([part["sessions"] for part in parts])
    hours = sum((part["hours"] for part in parts), np.zeros((7, 24)))
    browsers: Counter[str] = sum((part["browsers"] for part in parts), Counter())
    groups: Counter[str] = sum((part["groups"] for part in parts), Counter())
    notes = []
    seen = len(sessions)
    people = seen if log.persons is None else max(int(log.persons["person_id"].nunique()), seen)
    if log.persons is None:
        notes.append("people who never came are not in the log: activity is that of the people seen")
    weeks = max((end - start) / WEEK, 1e-9)
    counts = np.concatenate([sessions, np.zeros(people - seen)])
    mean, variance = float(counts.mean()), float(counts.var())
    shape = mean**2 / (variance - mean) if variance > mean else 50.0
    if weeks < 1:
        notes.append("less than a week of events: the weekly rhythm is a guess")
    weekly = hours.sum(axis=1) / _coverage(start, end)
    shares: dict[str, Any] = {}
    if browsers:
        shares["browsers"] = dict(browsers.most_common(8))
    else:
        notes.append("no $browser on the events: the default browsers")
    members = sum(groups.values())
    if members:
        shares["organisations"] = min(members / seen, 1.0)
        shares["largest_organisation"] = min(max(groups.most_common(1)[0][1] / members, 1e-4), 0.99)
    else:
        shares["organisations"] = 0.0
        notes.append("no $group_0 on the events: nobody belongs to an organisation")
    notes.append("countries, plans, anonymous people, arrivals, the team and bots are the defaults")
    return Population(
        people if n is None else n,
        sessions_per_week=max(mean / weeks, 1e-6),
        activity_shape=float(np.clip(shape, 0.05, 50.0)),
        weekly=tuple(np.round(weekly / max(weekly.mean(), 1e-12), 4).tolist()),
        daily=tuple(np.round(hours.sum(axis=0) / max(hours.sum(), 1e-12) * 24, 4).tolist()),
        notes=tuple(notes),
        **shares,
    )


def scenario_like(log: EventLog | Frame, steps: tuple[str, ...], flag: str | None) -> Scenario:
    """Step rates, delays, errors and amounts of a log's sessions."""
    log = as_log(log)
    all_names = log.event_names()
    for step in steps:
        if step not in all_names:
            raise DataError(f"the log has no event {step!r}; {did_you_mean(step, all_names)}")
    if not steps:
        raise DataError("steps is empty; name the events of the funnel in order")
    value = [f"$feature/{flag}"] if flag is not None else []
    wanted = [*_BASE, "event", "amount", "load_ms", *value]
    names = [*steps, "$exception", "$pageview", "survey shown", "survey sent"]
    names += call_events(log) if value else []  # a session may tell its value nowhere else
    columns = [*dict.fromkeys(wanted)]
    parts = log.reduce(
        columns, partial(_behaviour, steps=steps, value=value), events=list(dict.fromkeys(names))
    )
    total = {key: sum(part[key] for part in parts) for key in parts[0] if not isinstance(parts[0][key], list)}
    lists = {
        key: [np.concatenate([part[key][i] for part in parts]) for i in range(len(parts[0][key]))]
        for key in parts[0]
        if isinstance(parts[0][key], list)
    }
    sessions = max(int(total["sessions"]), 1)
    counts, notes = total["steps"], []
    made = []
    for position, event in enumerate(steps):
        before = sessions if position == 0 else max(counts[position - 1], 1)
        rate = min(counts[position] / before, 1.0)
        if counts[position] > before:
            notes.append(f"{event!r} is more frequent than the step before it: its rate is taken as 1")
        options: dict[str, Any] = {}
        gaps = lists["gaps"][position - 1] if position else np.array([])
        if len(gaps) >= 10:
            middle = float(np.median(gaps))
            options = {
                "delay": f"{max(middle, 0.1):.1f}s",
                "spread": float(np.std(np.log(np.maximum(gaps, 0.1)))),
            }
        elif position:
            notes.append(
                f"fewer than ten times from {steps[position - 1]!r} to {event!r}: its delay is the default"
            )
        made.append(Step(event, float(rate), **options))
    fields: dict[str, Any] = {
        "pages": max(total["pages"] / sessions, 1.0),
        "error_rate": min(total["with_errors"] / sessions, 1.0),
        "errors_per_hit": max(total["client_errors"] / max(total["with_errors"], 1), 1.0),
        "server_error_rate": min(total["server_errors"] / max(total["every_session"], 1), 1.0),
    }
    for name, noise, numbers, what in (
        ("amount", "amount_spread", lists["numbers"][0], "amount"),
        ("load_time", "load_spread", lists["numbers"][1], "load_ms"),
    ):
        if len(numbers) >= 10:
            fields |= {name: float(np.median(numbers)), noise: float(np.std(np.log(numbers)))}
        else:
            notes.append(f"no property {what!r} on the steps: the default {name.replace('_', ' ')}")
    shown = total["shown"]
    fields["survey"] = Survey(answered=min(total["sent"] / shown, 1.0)) if shown else None
    if flag is not None and total["server_errors"]:
        notes.append("exceptions of the server carry no flag value: their rate is that of both versions")
    notes.append("effects, faults and the survey's answers are not estimated")
    return Scenario(steps=tuple(made), notes=tuple(notes), **fields)


def _habits(table: pa.Table) -> dict[str, Any]:
    """Of one shard of people: sessions a person, starts by weekday and hour, browsers, organisations."""
    frame = table.to_pandas()
    first = _sessions(frame)
    at = first["timestamp"].dt
    hours = np.zeros((7, 24))
    np.add.at(hours, (at.day_of_week.to_numpy(), at.hour.to_numpy()), 1)
    people = frame.groupby("person_id", observed=True)[["$browser", "$group_0"]].first()
    return {
        "sessions": first.groupby("person_id", observed=True).size().to_numpy(),
        "hours": hours,
        "browsers": Counter(people["$browser"].dropna().astype(str)),
        "groups": Counter(people["$group_0"].dropna().astype(str)),
    }


def _sessions(frame: pd.DataFrame) -> pd.DataFrame:
    """First event of each session; people without session ids get one for every half hour's silence."""
    frame = frame.sort_values("timestamp", kind="stable")
    named = frame[frame["session_id"].notna()]
    if len(named):
        return named.drop_duplicates(["person_id", "session_id"])
    gap = frame.groupby("person_id", observed=True)["timestamp"].diff()
    return frame[gap.isna() | (gap > pd.Timedelta(minutes=30))]


def _behaviour(table: pa.Table, *, steps: tuple[str, ...], value: list[str]) -> dict[str, Any]:
    """Of one shard of people: counts of steps and errors, gaps between steps, numbers on them."""
    frame = table.to_pandas().sort_values("timestamp", kind="stable")
    frame["event"] = frame["event"].astype(str)
    every_session, server_errors = len(_sessions(frame)), _without_session(frame)
    if value:  # the whole session goes: its first page view, before the flags load, has no value either
        seen = frame[value[0]].notna() & ~frame[value[0]].isin(CONTROLS)
        theirs = frame["session_id"].isin(frame.loc[seen, "session_id"].dropna().unique())
        frame = frame[~seen & ~theirs]
    error = frame["event"] == "$exception"
    named = frame["session_id"].notna()
    gaps = []
    for before, after in pairwise(steps):
        pair = frame[frame["event"].isin([before, after])]
        same = pair["person_id"].eq(pair.groupby("person_id", observed=True)["person_id"].shift())
        previous = pair.groupby("person_id", observed=True)["event"].shift()
        gap = pair.groupby("person_id", observed=True)["timestamp"].diff()
        hit = same & (pair["event"] == after) & (previous == before)
        gaps.append(gap[hit].dt.total_seconds().to_numpy())
    numbers = [pd.to_numeric(frame[name], errors="coerce").to_numpy(float) for name in ("amount", "load_ms")]
    return {
        "sessions": int(_sessions(frame).shape[0]),
        "steps": np.array([(frame["event"] == step).sum() for step in steps]),
        "pages": int((frame["event"] == "$pageview").sum()),
        "with_errors": int(frame.loc[error & named, "session_id"].nunique()),
        "client_errors": int((error & named).sum()),
        "every_session": every_session,
        "server_errors": server_errors,
        "shown": int((frame["event"] == "survey shown").sum()),
        "sent": int((frame["event"] == "survey sent").sum()),
        "gaps": gaps,
        "numbers": [values[values > 0] for values in numbers],
    }


def _without_session(frame: pd.DataFrame) -> int:
    """Exceptions of the server: they know neither session nor flag."""
    return int(((frame["event"] == "$exception") & frame["session_id"].isna()).sum())


def _coverage(start: pd.Timestamp, end: pd.Timestamp) -> np.ndarray:
    """How many times each weekday is in the log's range, in days."""
    hours = pd.date_range(start.floor("h"), end, freq="h")
    counted = np.bincount(hours.day_of_week, minlength=7) / 24
    return np.where(counted > 0, counted, np.inf)


def _range(log: EventLog) -> tuple[pd.Timestamp, pd.Timestamp]:
    start, end = log.time_range
    if start is None or end is None:
        raise DataError("the log has no events: there is nothing to be like")
    return start, end
