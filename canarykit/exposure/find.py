"""The exposures of a log: which events mark them, and what the reader must know about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.arguments import checked
from canarykit.display import Note
from canarykit.errors import PlanError
from canarykit.events.log import as_log
from canarykit.events.names import check_flag
from canarykit.exposure.calls import CALLED, tellings
from canarykit.exposure.result import Exposures
from canarykit.flags.given import key_of
from canarykit.plan.given import as_plan
from canarykit.plan.values import value_names
from canarykit.times import micros

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from canarykit.events import EventLog
    from canarykit.exposure.shard import Found
    from canarykit.flags import Flag
    from canarykit.funnels.question.people import PeopleFilter
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Filters, Frame, Time

_OPEN_END = np.iinfo(np.int64).max


@checked
def exposures(
    log: EventLog | Frame,
    flag: str | Flag,
    *,
    plan: RolloutPlan | None = None,
    as_of: Time | None = None,
    group_type_index: int | None = None,
    people: Filters | PeopleFilter = None,
    properties: Sequence[str] = (),
) -> Exposures:
    """First exposure of every person (or group): variant, time, stage, and who saw several variants.

    An exposure is a `$feature_flag_called` event of the flag, or `$experiment_exposure`, to which PostHog's
    experiments move: where both tell the same call, it counts once. In a log without any it is the first
    event that carries `$feature/<flag>`.

    Parameters
    ----------
    log
        The events.
    flag
        Key of the flag, or the flag itself.
    plan
        Whose stage windows to use; without it there are no stages.
    as_of
        Events from this moment on are not looked at.
    group_type_index
        The group type that is assigned, where neither flag nor plan says so. Calls without the group's
        key are dropped and counted.
    people
        Only these people: a filter of their properties (`{"plan": "pro"}`, or a list of mappings in
        PostHog's words), judged at their newest exposure; None takes everybody. A property that persons
        lack and events have is taken from each one's first event with it since the plan began, as the
        segments of a report are; the notes say so.
    properties
        Columns to add: the value at the first exposure of an event property, or of a person's as
        `person.<name>`.

    Returns
    -------
    Exposures

    Raises
    ------
    DataError
        If no event carries the flag; the message names the flags that are there.

    Examples
    --------
    >>> import pandas as pd
    >>> from canarykit.events import EventLog
    >>> log = EventLog(
    ...     pd.DataFrame(
    ...         {
    ...             "event": "$feature_flag_called",
    ...             "timestamp": pd.to_datetime(["2026-09-07 09:00Z", "2026-09-07 10:00Z"]),
    ...             "distinct_id": ["ada", "bob"],
    ...             "$feature_flag": "new-checkout",
    ...             "$feature_flag_response": [True, False],
    ...         }
    ...     )
    ... )
    >>> exposures(log, "new-checkout").people[["person_id", "variant"]].to_dict("records")
    [{'person_id': 'ada', 'variant': 'true'}, {'person_id': 'bob', 'variant': 'false'}]
    """
    from canarykit.exposure.shard import reduce_shard

    log, plan = as_log(log), None if plan is None else as_plan(plan)
    key = key_of(flag)
    if plan is not None and plan.flag != key:
        raise PlanError(f"the plan is for flag {plan.flag!r}, not for {key!r}")
    index = group_type_index
    if index is None and plan is not None:
        index = plan.aggregation_group_type_index
    if index is None and not isinstance(flag, str):
        index = flag.aggregation_group_type_index
    windows = {} if plan is None else plan.windows()
    starts = np.array([micros(start) for start, _ in windows.values()], dtype=np.int64)
    ends = np.array(
        [_OPEN_END if end is None else micros(end) for _, end in windows.values()], dtype=np.int64
    )
    unit = "person_id" if index is None else f"$group_{index}"
    listed = tellings(log, key)
    for telling in listed:
        value, narrow, source = telling.value, telling.narrow, telling.source
        event_column = ["event"] if len(listed) > 2 else []  # calls may stand there twice
        wanted = [unit, "person_id", "distinct_id", "timestamp", value, *properties, *event_column]
        columns = list(dict.fromkeys(wanted))
        fn = partial(
            reduce_shard, unit=unit, value=value, starts=starts, ends=ends, properties=tuple(properties)
        )
        names = tuple(windows)
        read = partial(_read, log, columns, fn, names, index, until=as_of, actor=unit, **narrow)
        rows = (value, tuple(narrow))
        asked = ("exposures", key, unit, rows, tuple(windows.items()), as_of, tuple(properties), index)
        parts, frames = log.remember(asked, read)
        if parts.calls:
            break
    else:
        check_flag(log, key)
    units, by_stage, changes, without_value = (frame.copy() for frame in frames)
    group = next((name for name, at in log.group_types.items() if at == index), f"group {index}")
    kind = "person" if index is None else group
    answer = Exposures(key, kind, source, units, by_stage, names, changes, without_value)
    left_out: list[Note] = []
    if people is not None:
        from canarykit.funnels.question.people import read_people

        chosen = read_people(people).located(log)
        recorded = chosen.recorded(log)
        everybody = len(answer.people)
        begins = min((start for start, _ in windows.values()), default=None)
        answer = answer.only(chosen.passing(log, unit=unit, begins=begins, until=as_of, **narrow))
        why = chosen.nobody(log) if answer.people.empty and everybody else ""
        text = f"of {everybody:,} exposed units are asked about ({chosen.words()})"
        left_out = [*recorded, Note("people_filter", f"{text}; {why}" if why else text, len(answer.people))]
    notes = _notes(parts, key, source, answer.people, answer.by_stage, plan)
    return replace(answer, notes=(*left_out, *notes))


def _read(
    log: EventLog,
    columns: list[str],
    fn: Callable[[pa.Table], Found],
    names: tuple[str, ...],
    index: int | None,
    **narrow: Any,
) -> tuple[Found, list[pd.DataFrame]]:
    """The counts of what was found, and its rows as frames."""
    from canarykit.exposure.shard import merge

    found = merge(log.reduce(columns, fn, **narrow))
    return found.counts(), _frames(found, names, index)


def _frames(parts: Found, names: tuple[str, ...], index: int | None) -> list[pd.DataFrame]:
    """The frames of what was found, in order of time, then unit."""
    import pyarrow as pa

    from canarykit.exposure.order import in_time_order

    frames = []
    for table in (parts.people, parts.by_stage, parts.changes, parts.without_value):
        table = table.take(in_time_order(table.column("at").to_numpy(), table.column("unit")))
        stage = table.column("stage").to_numpy()
        texts = pa.array(names, pa.string()).take(pa.array(np.maximum(stage, 0), mask=stage < 0))
        table = table.set_column(table.schema.get_field_index("stage"), "stage", texts)
        at = table.column("at").cast(pa.timestamp("us", "UTC"))
        table = table.set_column(table.schema.get_field_index("at"), "exposed_at", at)
        for name in ("changed_at", "last_at"):
            if name in table.column_names:
                moment = table.column(name).cast(pa.timestamp("us", "UTC"))
                table = table.set_column(table.schema.get_field_index(name), name, moment)
        if index is None and "person_id" in table.column_names:
            table = table.drop_columns("unit")
        elif index is None:
            table = table.rename_columns(
                ["person_id" if name == "unit" else name for name in table.column_names]
            )
        else:
            table = table.rename_columns(["group" if name == "unit" else name for name in table.column_names])
        frames.append(table.to_pandas())
    return frames


def _notes(
    parts: Found,
    key: str,
    source: str,
    people: pd.DataFrame,
    by_stage: pd.DataFrame,
    plan: RolloutPlan | None,
) -> tuple[Note, ...]:
    """What was set apart, or is unknown or unusual, each with a count; nothing that counts zero."""
    several = by_stage[by_stage["n_variants"] > 1]
    before = by_stage["previous_variant"]
    changed = by_stage[before.notna() & (before != by_stage["variant"])]
    unit = "group" if "group" in people.columns else "person_id"
    counted = [
        ("unknown_values", "exposures with a missing or failed value are unknown: in no arm", parts.unknown),
        ("unknown_only", "units had unknown values only and are in no arm", parts.only_unknown),
        ("no_group", "calls without the group's key were dropped", parts.without_unit),
        ("several_variants", "units saw several variants within one stage", several[unit].nunique()),
        ("changed_variant", "units changed variant from one stage to another", changed[unit].nunique()),
    ]
    if plan is not None and plan.has_windows:
        outside = int(people["stage"].isna().sum())
        counted.append(("outside_stages", "units were first exposed outside every stage", outside))
        expected = {plan.control, *value_names(plan)} | ({plan.holdout.value} if plan.holdout else set())
        strange = people[~people["variant"].isin(expected)]
        listed = ", ".join(sorted(strange["variant"].unique())[:5])
        counted.append(("other_values", f"units have values the plan does not name: {listed}", len(strange)))
    notes = [Note(code, text, int(count)) for code, text, count in counted if count]
    if source != CALLED and parts.calls:
        text = f"no {CALLED} events: exposure is the first event that carries {source}"
        notes.insert(0, Note("source", text))
    return tuple(notes)
