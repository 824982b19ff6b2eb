"""What is known of who saw which variant: frames by person and by stage, and one table of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError, PlanError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.plan import RolloutPlan

__all__ = ["Exposures"]

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
