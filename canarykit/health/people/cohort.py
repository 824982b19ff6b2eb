"""Who is compared in a percentage stage: the people whom only chance put into their arm.

The owner, the team and the beta always have the canary; they were chosen, not drawn, and so is a holdout.
What is left is compared by the arm in which each person was first seen within the stage (intent to treat).
People who were in another arm in an earlier stage, because the ramp grew over their bucket, are in their
new arm by chance too, but they have seen both: they are counted apart and a sensitivity line leaves them
out together with everybody else who was there before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canarykit.display import Note
from canarykit.exposure.chosen import chosen_people

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cohort", "holdout_cohort", "stage_cohort"]


@dataclass(frozen=True, eq=False)
class Cohort:
    """People of a stage, sorted by why they are where they are.

    Parameters
    ----------
    units
        Randomised people in one of the two arms: person_id, variant, canary (bool), entered_at,
        leaves_at, several (saw both variants within the stage), returning (seen in an earlier stage),
        crossed (in another arm in an earlier stage).
    counts
        People by class, in words, in the order of the report.
    notes
        What was left out, guessed or could not be told.
    """

    units: pd.DataFrame
    counts: tuple[tuple[str, int], ...]
    notes: tuple[Note, ...] = ()

    @property
    def crosser_share(self) -> float:
        """Share of the compared people who saw both variants within the stage; NaN without anybody."""
        return float(self.units["several"].mean()) if len(self.units) else float("nan")


def stage_cohort(log: Any, plan: Any, stage: str, by_stage: pd.DataFrame, *, stop: Any) -> Cohort:
    """The randomised people of a percentage stage.

    Parameters
    ----------
    log, plan, stage
        As in `evaluate_stage`.
    by_stage
        `exposures(...).by_stage`.
    stop
        Moment until which people are followed (UTC): the stage's end, or the evaluation.
    """
    people = by_stage[(by_stage["stage"] == stage) & (by_stage["exposed_at"] < stop)].copy()
    people["person_id"] = people["person_id"].astype(str)
    chosen, notes = chosen_people(log, plan, stage, by_stage)
    held = people["variant"].astype("string").str.startswith("holdout-").fillna(False).to_numpy(bool)
    by_rule = people["person_id"].isin(chosen).to_numpy(bool) & ~held
    compared = people["variant"].isin([plan.canary, plan.control]).to_numpy(bool) & ~held & ~by_rule
    other = ~(held | by_rule | compared)
    units = people[compared].reset_index(drop=True)
    earlier = plan.stage_names[: plan.index(stage)]
    before = by_stage[by_stage["stage"].isin(earlier)]
    units = units.assign(
        canary=(units["variant"] == plan.canary).to_numpy(bool),
        entered_at=units["exposed_at"],
        leaves_at=stop,
        several=(units["n_variants"] > 1).to_numpy(bool),
        returning=units["person_id"].isin(set(before["person_id"].astype(str))).to_numpy(bool),
        crossed=(
            units["previous_variant"].notna() & (units["previous_variant"] != units["variant"])
        ).to_numpy(bool),
    )
    counts = (
        ("compared: put into their arm by chance", len(units)),
        ("of them seen in an earlier stage", int(units["returning"].sum())),
        ("of them in the other arm in an earlier stage", int(units["crossed"].sum())),
        ("of them seen with both variants within the stage", int(units["several"].sum())),
        ("left out: have the canary by rule (owner, team, beta)", int(by_rule.sum())),
        ("left out: holdout", int(held.sum())),
        ("left out: another variant, or a value nobody knows", int(other.sum())),
    )
    return Cohort(units, counts, notes)


def holdout_cohort(plan: Any, stage: str, by_stage: pd.DataFrame, *, until: Any) -> Cohort | None:
    """Everybody against the holdout, which was drawn before any condition; None without anybody in it."""
    if plan.holdout is None:
        return None
    value = plan.holdout.value
    people = by_stage[(by_stage["stage"] == stage) & (by_stage["exposed_at"] < until)]
    if not (people["variant"] == value).any():
        return None
    people = people[people["variant"].isin([plan.canary, value])].reset_index(drop=True)
    earlier = set(by_stage.loc[by_stage["stage"] != stage, "person_id"])
    units = people.assign(
        canary=(people["variant"] == plan.canary).to_numpy(bool),
        entered_at=people["exposed_at"],
        leaves_at=until,
        several=(people["n_variants"] > 1).to_numpy(bool),
        returning=people["person_id"].isin(earlier).to_numpy(bool),
        crossed=False,
    )
    counts = (
        ("compared: everybody against the holdout", len(units)),
        ("of them in the holdout", int((~units["canary"]).sum())),
    )
    return Cohort(units, counts)
