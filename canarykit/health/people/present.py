"""People without the canary, whose behaviour is taken as the present one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from canarykit.display import Note
from canarykit.errors import DataError
from canarykit.exposure import exposures
from canarykit.times import DAY

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from canarykit.events import EventLog
    from canarykit.flags import Flag
    from canarykit.plan import RolloutPlan

CONTROLS = ("false", "control")


def present_units(
    log: EventLog,
    flag: str | Flag,
    plan: RolloutPlan | None,
    seconds: float,
    end: Any,
    *,
    group: int | None = None,
) -> tuple[pd.DataFrame, float, list[Note]]:
    """Whom the present rates are taken from, how many come in a day, and what that assumes.

    Who called the flag without getting the canary counts, or before any call everybody; each is followed for
    `seconds` from the exposure on, and the log ends at `end`. `group` is the index of the group type, if
    groups are counted, whose keys then stand in `person_id`.
    """
    import pandas as pd

    notes: list[Note] = []
    column, actor = ("person_id", "person_id") if group is None else ("group", f"$group_{group}")
    who = "people" if group is None else "groups"
    try:
        people = exposures(log, flag, plan=plan).people
    except DataError as problem:  # before the release nothing carries the flag yet
        people = pd.DataFrame()
        notes.append(Note("no_flag", str(problem).rstrip(".")))
    if people.empty or column not in people:
        parts = log.reduce([actor, "timestamp"], partial(_first_seen, actor=actor, column=column))
        people = pd.concat(parts).groupby(column, observed=True)[["exposed_at"]].min().reset_index()
        notes.append(
            Note("nobody_exposed", "nobody called the flag: everybody counts from their first event")
        )
    else:
        controls = {*CONTROLS, plan.control} if plan is not None else set(CONTROLS)
        control = people["variant"].astype(str).isin(controls)
        notes.append(
            Note(
                "control",
                f"{who} without the canary, whose rates are taken as the present ones",
                int(control.sum()),
            )
        )
    first, last = people["exposed_at"].min(), people["exposed_at"].max()
    per_day = len(people) / max((last - first).total_seconds() / DAY, 1.0)
    base = people if "variant" not in people else people[control] if control.any() else people
    span = pd.Timedelta(seconds=seconds)
    whole = base["exposed_at"] + span <= end
    if whole.any():
        base = base[whole]
    else:
        notes.append(
            Note("not_whole", "nobody was seen for as long as the stage lasts: rates are those so far")
        )
    leaves = (base["exposed_at"] + span).clip(upper=end + pd.Timedelta(microseconds=1))
    units = pd.DataFrame({
        "person_id": base[column].astype(str), "canary": False, "entered_at": base["exposed_at"],
        "leaves_at": leaves,
    })  # fmt: skip
    return units.reset_index(drop=True), per_day, notes


def _first_seen(events: pa.Table, *, actor: str, column: str) -> pd.DataFrame:
    frame = events.select([actor, "timestamp"]).to_pandas()
    first = frame.groupby(actor, observed=True)["timestamp"].min()
    return first.rename("exposed_at").rename_axis(column).reset_index()
