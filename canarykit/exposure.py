"""Who saw which variant, from when on: the first exposure of every unit, as the log observed it.

What a flag answered is trusted as it was observed. A value that is missing or failed is unknown, never
control; people who saw several variants are kept apart and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError, PlanError, did_you_mean
from canarykit.times import micros

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from canarykit.events import EventLog
    from canarykit.flags import Flag
    from canarykit.plan import RolloutPlan

__all__ = ["Exposures", "exposures"]

CALLED = "$feature_flag_called"
UNKNOWN = ("", "null", "None", "undefined")
_OPEN_END = np.iinfo(np.int64).max
_COLUMNS = (
    Column("stage", "stage"),
    Column("variant", "variant"),
    Column("people", "people", "count"),
    Column("several_variants", "saw several", "count"),
    Column("changed", "changed since the stage before", "count"),
    Column("first_exposure", "first exposure", "time"),
    Column("last_exposure", "last first exposure", "time"),
)


@dataclass(frozen=True, repr=False, eq=False)
class Exposures(Result):
    """First exposures to one flag.

    Attributes
    ----------
    flag
        Key of the flag.
    unit
        What was assigned: "person", or the name of the group type.
    source
        The event or property that marks an exposure.
    people
        One row per unit: `person_id`, `variant` (first known), `exposed_at` (UTC), `stage`, `n_variants`
        (distinct known values ever), `distinct_id` (at first exposure); for a group flag also `group`, and
        the person is the one who was exposed first.
    by_stage
        One row per unit and stage in which it was exposed: `person_id`, `stage`, `variant` (first within
        the stage), `exposed_at`, `n_variants` (within the stage), `previous_variant` (in the latest
        earlier stage it was seen in, else missing); for a group flag also `group`.
    stages
        Names of the plan's stages that have a window.
    """

    flag: str
    unit: str
    source: str
    people: pd.DataFrame
    by_stage: pd.DataFrame
    stages: tuple[str, ...]
    notes: tuple[Note, ...] = ()

    @property
    def unit_column(self) -> str:
        """Column of the frames that identifies a unit: "person_id" or "group"."""
        return "person_id" if self.unit == "person" else "group"

    @property
    def variants(self) -> tuple[str, ...]:
        """Flag values that were seen, in alphabetical order."""
        return tuple(sorted(self.people["variant"].unique()))

    def of_stage(self, stage: str) -> pd.DataFrame:
        """Rows of `by_stage` for one stage; a name that is no stage's is a `PlanError`."""
        if stage not in self.stages:
            raise PlanError(f"no exposures for stage {stage!r}; {did_you_mean(stage, self.stages)}")
        return self.by_stage[self.by_stage["stage"] == stage].reset_index(drop=True)

    def observed_plan(self) -> RolloutPlan:
        """One stage for a release whose plan nobody wrote down, with the shares that were seen.

        Shares are read off the exposures and rounded to whole percents, since flags are set in whole
        percents: a sample-ratio check against them is weaker than one against a written plan.

        Raises
        ------
        DataError
            If fewer than two values of the flag were seen: there is nothing to compare.
        """
        from canarykit.flags import Variant
        from canarykit.plan import RolloutPlan, Stage

        counts = self.people["variant"].value_counts()
        arms = sorted(value for value in counts.index if not value.startswith("holdout-"))
        if len(arms) < 2:
            raise DataError(f"only {arms} was seen of {self.flag}; two values are needed to compare")
        outside = int(counts.get("false", 0))
        inside = int(counts[arms].sum()) - outside
        keys = [arm for arm in arms if arm not in ("false", "true")]
        variants = [Variant(key, round(100 * int(counts[key]) / inside)) for key in keys]
        percent = min(max(round(100 * inside / (inside + outside)), 1), 100 if variants else 99)
        starts_at = self.people["exposed_at"].min()
        stage = Stage.for_share(f"observed {percent}%", percent, starts_at=starts_at)
        return RolloutPlan(self.flag, (stage,), variants=tuple(variants))

    def _headline(self) -> str:
        units = "people" if self.unit == "person" else f"{self.unit} groups"
        counts = self.people["variant"].value_counts().sort_index()
        split = ", ".join(f"{count:,} {variant}" for variant, count in counts.items())
        if not split:
            return f"Nobody was exposed to {self.flag}"
        return f"{len(self.people):,} {units} were exposed to {self.flag}: {split}"

    def _table(self) -> Table:
        frame = self.by_stage
        order = {name: position for position, name in enumerate(self.stages)}
        rows = []
        for (stage, variant), part in frame.groupby(["stage", "variant"], dropna=False, sort=False):
            named = stage if isinstance(stage, str) else None
            before = part["previous_variant"]
            rows.append(
                (
                    named,
                    variant,
                    len(part),
                    int((part["n_variants"] > 1).sum()),
                    int((before.notna() & (before != part["variant"])).sum()),
                    part["exposed_at"].min(),
                    part["exposed_at"].max(),
                )
            )
        rows.sort(key=lambda row: (order.get(str(row[0]), len(order)), str(row[1])))
        return Table.of(_COLUMNS, rows)

    def _extra_json(self) -> dict[str, Any]:
        return {"flag": self.flag, "unit": self.unit, "source": self.source}


def exposures(
    log: EventLog,
    flag: str | Flag,
    *,
    plan: RolloutPlan | None = None,
    as_of: Any = None,
    group_type_index: int | None = None,
) -> Exposures:
    """First exposure of every person (or group): variant, time, stage, and who saw several variants.

    An exposure is a `$feature_flag_called` event of the flag; in a log without any, the first event that
    carries `$feature/<flag>`.

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
    key = flag if isinstance(flag, str) else flag.key
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
    carried = f"$feature/{key}"
    source = CALLED
    for value, narrow in (
        ("$feature_flag_response", {"events": [CALLED], "where": {"$feature_flag": key}}),
        (carried, {"where": {carried: _present()}}),
    ):
        columns = list(dict.fromkeys([unit, "person_id", "distinct_id", "timestamp", value]))
        fn = partial(reduce_shard, unit=unit, value=value, starts=starts, ends=ends)
        found = _merge(log.reduce(columns, fn, until=as_of, actor=unit, **narrow))
        if found.calls:
            source = CALLED if value != carried else carried
            break
    else:
        _refuse_unknown(log, key)
    names = tuple(windows)
    people, by_stage = _frames(found, names, index)
    notes = _notes(found, key, source, people, by_stage, plan)
    group = next((name for name, at in log.group_types.items() if at == index), f"group {index}")
    return Exposures(key, "person" if index is None else group, source, people, by_stage, names, notes)


@dataclass(frozen=True, eq=False)
class _Found:
    """What a shard found: two tables, and what was left out."""

    people: pa.Table
    by_stage: pa.Table
    calls: int
    unknown: int
    only_unknown: int
    without_unit: int


def reduce_shard(table: pa.Table, *, unit: str, value: str, starts: np.ndarray, ends: np.ndarray) -> _Found:
    """First exposures of one shard. Ties in time go by the variant's name, so that every engine agrees."""
    import pyarrow as pa
    import pyarrow.compute as pc

    calls = table.num_rows
    table = table.filter(pc.is_valid(table.column(unit)))
    without_unit = calls - table.num_rows
    value_text = table.column(value).cast(pa.string())
    known = pc.and_(
        pc.is_valid(value_text), pc.invert(pc.is_in(value_text, value_set=pa.array(UNKNOWN, pa.string())))
    )
    everybody = pc.count_distinct(table.column(unit).cast(pa.string())).as_py()
    unknown = table.num_rows - int(pc.sum(known).as_py() or 0)
    table = table.filter(known)
    names, units = _codes(table.column(unit))
    variants, variant = _codes(table.column(value))
    _, distinct = _codes(table.column("distinct_id"))
    at = table.column("timestamp").cast(pa.int64()).to_numpy()
    stage = _stage_of(at, starts, ends)
    order = np.lexsort((distinct, variant, at, units))
    units, variant, at, stage = units[order], variant[order], at[order], stage[order]
    first = _first(units)
    n_ever = _distinct(units, variant, len(first))
    ids = {name: table.column(name).cast(pa.string()) for name in ("person_id", "distinct_id")}
    people = {
        "unit": names.take(pa.array(units[first])),
        "person_id": ids["person_id"].take(pa.array(order[first])),
        "variant": variants.take(pa.array(variant[first])),
        "at": pa.array(at[first]),
        "stage": pa.array(stage[first]),
        "n_variants": pa.array(n_ever),
        "distinct_id": ids["distinct_id"].take(pa.array(order[first])),
    }
    inside = np.flatnonzero(stage >= 0) if len(starts) else np.arange(len(stage))
    cell = units[inside] * max(len(starts), 1) + np.maximum(stage[inside], 0)
    ordered = np.argsort(cell, kind="stable")  # within a unit and stage, time order stays
    inside, cell = inside[ordered], cell[ordered]
    begin = _first(cell)
    rows = inside[begin]
    same = np.concatenate([[False], units[rows][1:] == units[rows][:-1]]) if len(rows) else np.zeros(0, bool)
    before = np.concatenate([[0], variant[rows][:-1]]) if len(rows) else np.zeros(0, np.int64)
    by_stage = {
        "unit": names.take(pa.array(units[rows])),
        "person_id": ids["person_id"].take(pa.array(order[rows])),
        "stage": pa.array(stage[rows]),
        "variant": variants.take(pa.array(variant[rows])),
        "at": pa.array(at[rows]),
        "n_variants": pa.array(_distinct(cell, variant[inside], len(begin))),
        "previous_variant": variants.take(pa.array(before, mask=~same)),
    }
    left_out = everybody - len(first)
    return _Found(pa.table(people), pa.table(by_stage), calls, unknown, left_out, without_unit)


def _codes(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Texts in order, and for every row the position of its text; missing texts come first, as -1."""
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = column.cast(pa.string()).dictionary_encode().combine_chunks()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    order = pc.sort_indices(coded.dictionary).to_numpy()
    rank = np.append(np.argsort(order), -1).astype(np.int64)
    return coded.dictionary.take(pa.array(order)), rank[pc.fill_null(coded.indices, len(order)).to_numpy()]


def _stage_of(at: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Position of the stage that holds each time; -1 outside all."""
    if not len(starts):
        return np.full(len(at), -1, dtype=np.int64)
    stage = np.searchsorted(starts, at, side="right").astype(np.int64) - 1
    return np.where((stage >= 0) & (at < ends[stage]), stage, -1)


def _first(keys: np.ndarray) -> np.ndarray:
    """Positions where a new key begins in a sorted column."""
    if not len(keys):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))


def _distinct(keys: np.ndarray, variant: np.ndarray, n: int) -> np.ndarray:
    """Number of distinct variants per key, for sorted keys."""
    if not n:
        return np.zeros(0, dtype=np.int64)
    width = int(variant.max()) + 1
    dense = np.cumsum(np.concatenate([[0], keys[1:] != keys[:-1]]))
    return np.bincount(np.unique(dense * width + variant) // width, minlength=n)


def _merge(parts: Sequence[_Found]) -> _Found:
    import pyarrow as pa

    return _Found(
        pa.concat_tables([part.people for part in parts]),
        pa.concat_tables([part.by_stage for part in parts]),
        *(sum(getattr(part, name) for part in parts) for name in _COUNTS),
    )


_COUNTS = ("calls", "unknown", "only_unknown", "without_unit")


def _frames(found: _Found, names: tuple[str, ...], index: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two frames, in order of time, then unit."""
    import pyarrow as pa

    frames = []
    for table in (found.people, found.by_stage):
        table = table.sort_by([("at", "ascending"), ("unit", "ascending")])
        stage = table.column("stage").to_numpy()
        texts = pa.array(names, pa.string()).take(pa.array(np.maximum(stage, 0), mask=stage < 0))
        table = table.set_column(table.schema.get_field_index("stage"), "stage", texts)
        at = table.column("at").cast(pa.timestamp("us", "UTC"))
        table = table.set_column(table.schema.get_field_index("at"), "exposed_at", at)
        if index is None:
            table = table.drop_columns("unit")
        else:
            table = table.rename_columns(["group" if name == "unit" else name for name in table.column_names])
        frames.append(table.to_pandas())
    return frames[0], frames[1]


def _notes(
    found: _Found,
    key: str,
    source: str,
    people: pd.DataFrame,
    by_stage: pd.DataFrame,
    plan: RolloutPlan | None,
) -> tuple[Note, ...]:
    several = by_stage[by_stage["n_variants"] > 1]
    before = by_stage["previous_variant"]
    changed = by_stage[before.notna() & (before != by_stage["variant"])]
    unit = "group" if "group" in people.columns else "person_id"
    counted = [
        ("unknown_values", "exposures with a missing or failed value are unknown: in no arm", found.unknown),
        ("unknown_only", "units had unknown values only and are in no arm", found.only_unknown),
        ("no_group", "calls without the group's key were dropped", found.without_unit),
        ("several_variants", "units saw several variants within one stage", several[unit].nunique()),
        ("changed_variant", "units changed variant from one stage to another", changed[unit].nunique()),
    ]
    if plan is not None and plan.has_windows:
        outside = int(people["stage"].isna().sum())
        counted.append(("outside_stages", "units were first exposed outside every stage", outside))
        expected = {plan.control, plan.canary, *(item.key for item in plan.variants)}
        expected |= {"false"} | ({plan.holdout.value} if plan.holdout else set())
        strange = people[~people["variant"].isin(expected)]
        listed = ", ".join(sorted(strange["variant"].unique())[:5])
        counted.append(("other_values", f"units have values the plan does not name: {listed}", len(strange)))
    notes = [Note(code, text, int(count)) for code, text, count in counted if count]
    if source != CALLED and found.calls:
        text = f"no {CALLED} events: exposure is the first event that carries {source}"
        notes.insert(0, Note("source", text))
    return tuple(notes)


def _present() -> Any:
    from canarykit.events import PRESENT

    return PRESENT


def _refuse_unknown(log: EventLog, key: str) -> None:
    """Nothing was found: fine for a log without events or before its first call, a slip otherwise."""
    names = log.event_names()
    if not names:
        return
    called = log.select(["$feature_flag"], events=[CALLED])["$feature_flag"].dropna().unique()
    carried = [
        name.removeprefix("$feature/") for name in log.property_names() if name.startswith("$feature/")
    ]
    known = sorted({*map(str, called), *carried})
    if key not in known:
        raise DataError(f"no event carries flag {key!r}; of flags {did_you_mean(key, known)}")
