"""Attribution by exposure: each actor belongs to the variant of the first exposure, and counts from then on.

First touch lets whichever fed event comes first decide: it passes over events that carry no value of the
flag, so people whose flag failed to load are credited to a variant they see later, and it attributes what
happened before the flag was ever evaluated. A release decision compares people as they were exposed: what
they did before does not count, and those who saw several variants are set apart and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.display import Note
from canarykit.errors import PlanError

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.funnels.engine.columns import Columns
    from canarykit.funnels.question.specs import FunnelQuery

__all__ = ["Exposed", "drawn_people", "exposed_units"]


@dataclass(frozen=True, eq=False)
class Exposed:
    """Units (people, or groups) exposed to exactly one variant; picklable, to be sent to the shards.

    Attributes
    ----------
    column
        The event log's column that names the unit.
    labels
        The variants.
    ids, code, since
        Per unit: its id, the position of its variant in `labels`, and its first exposure in microseconds.
    several_variants
        Units set apart because they were exposed to several variants.
    """

    column: str
    labels: tuple[str, ...]
    ids: pa.Array
    code: np.ndarray
    since: np.ndarray
    several_variants: int = 0
    notes: tuple[Note, ...] = ()

    def counts(self) -> np.ndarray:
        """Exposed units per label."""
        return np.bincount(self.code, minlength=len(self.labels))

    def lookup(self, columns: Columns, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows at or after their unit's first exposure, and the variant code of each row."""
        import pyarrow as pa
        import pyarrow.compute as pc

        codes, texts = columns.text(self.column)
        place = pc.fill_null(pc.index_in(pa.array(texts, pa.string()), value_set=self.ids), -1).to_numpy()
        place = np.append(place, -1)[codes]  # code -1, a missing id, reads the last
        variant = np.append(self.code, -1)[place]
        since = np.append(self.since, 0)[place]
        return (variant >= 0) & (time >= since), variant


def exposed_units(log: Any, query: FunnelQuery, *, plan: Any = None, stage: str | None = None) -> Exposed:
    """Who was exposed to the query's flag, up to its end; with `stage`, who was exposed in that stage.

    Over a whole ramp people move from control to canary and are set apart; within a stage they stay, each
    with the variant and the first exposure of the stage. A percentage stage counts the people whom a hash
    put into their arm; those who were chosen (the team, the beta) are set apart.

    Raises
    ------
    PlanError
        If the flag is assigned to groups and the funnel counts something else.
    """
    import pyarrow as pa

    from canarykit.exposure import exposures

    assert query.flag is not None
    kind, _, index = query.aggregate_by.partition(":")
    group = int(index or 0) if kind == "group" else None
    until = None if query.date_to_us is None else query.date_to_us + 1
    found = exposures(
        log, query.flag, plan=plan, as_of=None if until is None else _moment(until), group_type_index=group
    )
    unit = "person_id" if found.unit == "person" else f"$group_{group}"
    if found.unit != "person" and group is None:
        raise PlanError(
            f"flag {query.flag!r} is assigned to {found.unit} groups; "
            "count groups too: aggregate_by='group:<index of the group type>'"
        )
    people = found.people
    drawn: list[Note] = []
    if stage is not None:
        people, drawn = drawn_people(log, plan, stage, found)
    single = people[people["n_variants"] == 1]
    labels = tuple(sorted(single["variant"].unique().tolist()))
    several = int((people["n_variants"] > 1).sum())
    told = {"several_variants", "changed_variant"} | ({"outside_stages"} if stage is not None else set())
    notes = [note for note in found.notes if note.code not in told]
    if several:
        where = (
            "exposed to several variants over time" if stage is None else f"saw several variants in {stage}"
        )
        units = "people" if found.unit == "person" else f"{found.unit} groups"
        notes.append(Note("several_variants", f"{units} {where}: set apart", several))
    notes += drawn
    return Exposed(
        unit,
        labels,
        pa.array(single[found.unit_column].astype(object), pa.string()),
        single["variant"].map({label: i for i, label in enumerate(labels)}).to_numpy(np.int64),
        single["exposed_at"]
        .dt.tz_convert("UTC")
        .dt.tz_localize(None)
        .to_numpy("datetime64[us]")
        .astype(np.int64),
        several,
        tuple(notes),
    )


def drawn_people(log: Any, plan: Any, stage: str, found: Any) -> tuple[Any, list[Note]]:
    """The exposed people of a stage; of a percentage stage those whom a hash put into their arm.

    `found` is what `exposures` found; whoever somebody chose (the team, the beta) is left out and counted.
    """
    from canarykit.exposure.chosen import chosen_people

    people = found.of_stage(stage)
    if plan.stage(stage).kind != "percentage" or found.unit != "person":
        return people, []
    chosen, notes = chosen_people(log, plan, stage, found.by_stage)
    by_rule = people["person_id"].astype(str).isin(chosen)
    if by_rule.any():
        text = "people have it by choice (owner, team, beta, enrolled), not by the draw: set apart"
        notes = (*notes, Note("chosen", text, int(by_rule.sum())))
    return people[~by_rule], list(notes)


def _moment(micros: int) -> Any:
    import pandas as pd

    return pd.Timestamp(micros, unit="us", tz="UTC")
