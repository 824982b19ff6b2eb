"""Who is listened to: exposed people with their variant, and only what they did after the exposure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canarykit.display import Note
from canarykit.errors import PlanError
from canarykit.times import to_utc

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Exposed", "exposed_people"]


@dataclass(frozen=True, eq=False)
class Exposed:
    """Exposed people: person_id, variant, exposed_at; the window in which they are listened to.

    Parameters
    ----------
    people
        One row per person.
    control, canary
        Names of the two arms that are compared.
    since, until
        Events count from the exposure on, and within these (UTC; None is open).
    notes
        Notes of the log and of the exposures.
    """

    people: pd.DataFrame
    control: str
    canary: str
    since: Any
    until: Any
    notes: tuple[Note, ...]

    @property
    def variants(self) -> tuple[str, ...]:
        """Variants seen: the control, the canary, then the others by name."""
        seen = set(self.people["variant"].astype(str))
        others = sorted(seen - {self.control, self.canary})
        return (*(name for name in (self.control, self.canary) if name in seen), *others)

    def count(self, variant: str) -> int:
        """Number of exposed people of a variant."""
        return int((self.people["variant"] == variant).sum())

    def after(self, events: pd.DataFrame) -> pd.DataFrame:
        """Events of exposed people from their exposure on, with `variant`; in order of time."""
        joined = events.assign(person_id=events["person_id"].astype(str)).merge(
            self.people[["person_id", "variant", "exposed_at"]], on="person_id"
        )
        joined = joined[joined["timestamp"] >= joined["exposed_at"]]
        return joined.sort_values(["timestamp", "person_id"], kind="stable", ignore_index=True)


def exposed_people(
    log: Any, flag: str, *, plan: Any = None, stage: str | None = None, as_of: Any = None
) -> Exposed:
    """The exposed people of a flag, or of one stage of its plan.

    Of a percentage stage only those whom the draw put into their arm; who has the canary by choice is set
    apart and counted in a note. A targeted stage keeps its people.

    Raises
    ------
    PlanError
        If a stage is named without a plan, or the plan is another flag's.
    """
    from canarykit.exposure import exposures
    from canarykit.exposure.compared import drawn_people

    if stage is not None and plan is None:
        raise PlanError(f"stage {stage!r} needs plan=: only a plan knows when its stages were")
    found = exposures(log, flag, plan=plan, as_of=as_of)
    until = None if as_of is None else to_utc(as_of, name="as_of")
    since = None
    rows, drawn = found.people, list[Note]()
    if stage is not None:
        since, end = plan.window(stage)
        until = end if until is None else until if end is None else min(end, until)
        rows, drawn = drawn_people(log, plan, stage, found)
    people = rows.assign(person_id=rows["person_id"].astype(str))
    people = people[["person_id", "variant", "exposed_at"]].drop_duplicates("person_id", ignore_index=True)
    control, canary = ("false", "true") if plan is None else (plan.control, plan.canary)
    if plan is None and not {"true", "false"} & set(people["variant"]):
        control, canary = "control", "test"
    return Exposed(people, control, canary, since, until, (*log.notes, *found.notes, *drawn))
