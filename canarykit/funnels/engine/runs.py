"""What passes between the funnel engine and the results: plain frozen containers, no behaviour.

The engine (`run.run_funnel`, `run.run_trend`) turns an event log and a `FunnelQuery` into one of these;
`numbers` turns them into the numbers of a chart (counts, times, bins, periods); results print, draw,
compare and list people. Nothing here knows where the events came from: pandas, Parquet and Spark give
the same containers, equal to the last digit.

Who calls what:

* `run.run_funnel(log, query) -> FunnelRun`; with `select=ActorSelection(...)` a people run: ids and events.
* `run.run_trend(log, query, TrendSpec(...)) -> TrendRun`; `select=True` for the people behind it.
* `numbers.step_table(run, query) -> StepTable`: counts, average and median seconds per label and step, total
  median. `numbers.time_to_convert(run, query, from_step, to_step, bin_count) -> TimeToConvert`: samples in
  seconds, bins, average, median.

Units and conventions
---------------------
* Times are microseconds since 1970 UTC (`int64`), gaps are microseconds; `MISSING_TIME` (-1) is "none".
* Steps are 0-based everywhere a person or a program sees them.
* An **entry** is one actor under one breakdown value. Without breakdown, and under first-touch, last-touch
  or exposure attribution, an actor has at most one entry; under `all_events` and `step` it may have several,
  one per value, and is counted once in each.
* Only entries that reached at least the first step exist; an actor in no step (never entered, or removed
  by an exclusion) has none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from canarykit.display import Note
from canarykit.errors import PlanError
from canarykit.funnels.question.specs import (
    Breakdown,
    Entity,
    Exclusion,
    Filter,
    FilterGroup,
    FunnelQuery,
    Step,
    TrendSpec,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "MISSING_TIME",
    "OTHER",
    "ActorSelection",
    "Breakdown",
    "Entity",
    "Exclusion",
    "Filter",
    "FilterGroup",
    "FunnelQuery",
    "FunnelRun",
    "Label",
    "Step",
    "TrendRun",
    "TrendSpec",
]

MISSING_TIME = -1
OTHER = "Other"
"""Label of the row that sums the breakdown values beyond the limit; its people cannot be listed."""

PIECE = 1 << 16

Label = str | tuple[str, ...] | None
"""A breakdown value: text for one property (`""` = missing), a tuple for several, None without breakdown."""


@dataclass(frozen=True)
class ActorSelection:
    """Which entries a people list asks for; the engine returns only these, with ids and matched events.

    `step` is 0-based. With `dropped=False`: entries whose step bit is set. With `dropped=True`: entries that
    did the last required step before `step` and not `step` itself (`step` >= 1). `label` keeps one breakdown
    value. `step=None` keeps every entry.
    """

    step: int | None = None
    dropped: bool = False
    label: Label = None
    any_label: bool = True
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.step is not None and self.step < (1 if self.dropped else 0):
            what = "nobody drops before the first step" if self.dropped else f"there is no step {self.step}"
            raise PlanError(f"{what}: steps are counted from 0, drop-offs from step 1")


@dataclass(frozen=True, eq=False)
class FunnelRun:
    """One steps funnel, actor by actor; `summary` has its numbers."""

    # breakdown values in the order of the chart; `(None,)` without breakdown. Empty when nobody entered.
    labels: tuple[Label, ...]
    value: np.ndarray  # int32 per entry: index into `labels`
    # int8 per entry: the furthest step, 0-based, as the engine reports it. With optional steps the number of
    # optional steps at or below the furthest one is subtracted, as PostHog does; use `bits` for counts.
    reached: np.ndarray
    # integer per entry: bit k set = step k done in the reported attempt (unordered: k steps done)
    bits: np.ndarray
    # int64 (entries x steps): times of the reported attempt. Position j is the j-th *recorded* time: optional
    # steps record none, so later times move forward. `MISSING_TIME` where there is none. Gap j (from position
    # j-1 to j) is what PostHog averages for step j.
    times: np.ndarray
    # int64 per label, only for `attribution="exposure"`: people exposed to the variant (one variant each),
    # whether they entered the funnel or not; else None
    exposed: np.ndarray | None = None
    # people set apart because they were exposed to several variants (exposure attribution)
    several_variants: int = 0
    # actors and events that the engine was fed
    n_actors: int = 0
    n_events: int = 0
    other: int | None = None  # index of the `OTHER` row in `labels`, or None
    # Arrow array of ids (text) per entry; only in people runs (`run_funnel(..., select=...)`), else None
    actor_ids: pa.Array | None = None
    # Arrow array: one person of each entry (for aggregations other than person); only in people runs
    person_ids: pa.Array | None = None
    # Arrow table of matched events; only in people runs. Columns: `entry` (int64, position in the arrays
    # above), `step` (int8), `rank` (int8; 0 = event of the reported attempt, 1..9 = further events that
    # reached the step cleanly in other attempts), `event`, `timestamp`, `uuid`, `distinct_id`, `session_id`.
    matched: pa.Table | None = None
    # only in shard runs (`run.shard_run`): int64 actor code per entry and per row of the shard's table (-1 =
    # row without actor), so that other events of the same actor can be looked up (correlation)
    actor_code: np.ndarray | None = None
    row_actor: np.ndarray | None = None
    notes: tuple[Note, ...] = ()  # what was dropped, guessed or set apart, and how often

    def __len__(self) -> int:
        return len(self.value)

    @cached_property
    def furthest(self) -> np.ndarray:
        """Entries by label (rows) and furthest step (columns), counted a cache's worth at a time."""
        n = self.times.shape[1]
        counts = np.zeros(len(self.labels) * n, np.int64)
        for at in range(0, len(self), PIECE):
            piece = slice(at, at + PIECE)
            cell = self.value[piece] * np.int32(n) + self.reached[piece]
            counts += np.bincount(cell, minlength=len(counts))
        return counts.reshape(-1, n)

    def relabelled(
        self, labels: tuple[Label, ...], new_code: np.ndarray, *, other: int | None = None
    ) -> FunnelRun:
        """The same entries under other labels; `place[code]` is where a code's new label stands."""
        furthest = np.zeros((len(labels), self.times.shape[1]), np.int64)
        np.add.at(furthest, new_code, self.furthest)
        return replace(self, labels=labels, value=new_code[self.value], other=other).counted(furthest)

    def counted(self, furthest: np.ndarray) -> FunnelRun:
        """This run with `furthest` known already."""
        self.__dict__["furthest"] = furthest
        return self


@dataclass(frozen=True, eq=False)
class TrendRun:
    """Conversion from `from_step` to `to_step` per period of the first-step event."""

    labels: tuple[Label, ...]  # breakdown values, most entered first; `(None,)` without breakdown
    # int64 per period: its start (UTC microseconds; local midnight and so on in the query's time zone). Every
    # period of the date range is listed, empty ones too.
    periods: np.ndarray
    # bool per period: its window was still open at the end of the data (`TrendSpec.as_of`)
    incomplete: np.ndarray
    # int64 (labels x periods): actors that entered, and of those that reached `to_step`
    entered: np.ndarray
    reached: np.ndarray
    # one element per actor and period; only in people runs, else None. `actor_session` is the session of the
    # latest step event with a session id at or before the deciding event (None where there is none).
    actor_ids: pa.Array | None = None
    actor_label: np.ndarray | None = None
    actor_period: np.ndarray | None = None
    actor_converted: np.ndarray | None = None
    actor_session: pa.Array | None = None
    notes: tuple[Note, ...] = ()
