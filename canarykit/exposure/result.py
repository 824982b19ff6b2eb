"""What is known of who saw which variant: frames by person and by stage, and one table of both."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from canarykit.arguments import checked
from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import PlanError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.exposure.observed import ObservedSteps
    from canarykit.plan import RolloutPlan

_COLUMNS = (
    Column("stage", "stage"),
    Column("variant", "variant"),
    Column("people", "people", "count"),
    Column("several_variants", "saw several", "count"),
    Column("changed", "changed since the stage before", "count"),
    Column("first_exposure", "first exposure", "time"),
    Column("last_exposure", "last first exposure", "time"),
)


def _no_rows() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame()


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
    changes
        One row per unit and stage in which it saw several variants: the unit, `stage`, `variant` and
        `exposed_at` (the first), `next_variant` and `changed_at` (the first other one), `last_at` (the last
        time before that), `ids` (distinct ids it was seen under), `switches` (changes from one call to the
        next of the same id). Without a plan, one row per unit.
    without_value
        One row per unit and stage whose calls all came back without a known value: the unit, `stage`,
        `exposed_at` (the first call), `distinct_id`.
    """

    flag: str
    unit: str
    source: str
    people: pd.DataFrame
    by_stage: pd.DataFrame
    stages: tuple[str, ...]
    changes: pd.DataFrame = field(default_factory=_no_rows)
    without_value: pd.DataFrame = field(default_factory=_no_rows)
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
        """Rows of `by_stage` for one stage; a name that is not a stage is a `PlanError`."""
        if stage not in self.stages:
            raise PlanError(f"no exposures for stage {stage!r}; {did_you_mean(stage, self.stages)}")
        return self.by_stage[self.by_stage["stage"] == stage].reset_index(drop=True)

    @checked
    def only(self, units: Collection[str]) -> Exposures:
        """The same for some of the units, named by their id."""
        wanted, column = set(units), self.unit_column

        def kept(frame: pd.DataFrame) -> pd.DataFrame:
            if column not in frame:
                return frame
            return frame[frame[column].astype(str).isin(wanted)].reset_index(drop=True)

        frames = (self.people, self.by_stage, self.changes, self.without_value)
        people, by_stage, changes, without_value = map(kept, frames)
        return replace(self, people=people, by_stage=by_stage, changes=changes, without_value=without_value)

    def observed_steps(self) -> ObservedSteps:
        """The steps of the release as the first exposures show them: when its share changed, and to what."""
        from canarykit.exposure.observed import observed_steps

        return observed_steps(self)

    def observed_plan(self) -> RolloutPlan:
        """The plan of a release that nobody wrote down: one stage per step of the observed share.

        Shares are what was seen, not rounded, so that a sample-ratio check against them is weaker than one
        against a written plan. A release that was set back starts anew: its plan begins after the last fall
        of the share, and `observed_steps` shows what came before.

        Raises
        ------
        DataError
            If fewer than two values of the flag were seen: there is nothing to compare.
        """
        from canarykit.exposure.observed import observed_plan

        return observed_plan(self)

    def _headline(self) -> str:
        units = "people" if self.unit == "person" else f"{self.unit} groups"
        counts = self.people["variant"].value_counts().sort_index()
        split = ", ".join(f"{count:,} {variant}" for variant, count in counts.items())
        if not split:
            return f"Nobody was exposed to {self.flag}"
        return counted(len(self.people), f"{units} were exposed to {self.flag}: {split}")

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
