"""Who is compared in a percentage stage: the people whom the randomisation put into their arm.

Who counts, and in which arm, is decided in `canarykit.exposure.compared`, for this room as for every other.
Here the people are sorted into the two arms that are compared. People who were in another arm in an earlier
stage, because the ramp grew over their bucket, are in their new arm by the randomisation too, but they have
seen both: they are counted apart and a sensitivity line leaves them out together with everybody else who
was there before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from canarykit.display import Note
from canarykit.events.text import among, frame_column
from canarykit.exposure.compared import units_of_stage
from canarykit.exposure.crossers import CAUSES
from canarykit.exposure.order import in_time_order
from canarykit.health.question import Question


@dataclass(frozen=True, eq=False)
class Cohort:
    """People of a stage, sorted by why they are where they are."""

    # randomised people in one of the two arms: person_id, variant, canary (bool), entered_at, leaves_at,
    # several (saw both variants within the stage), cause and changed_at (of that), returning (seen in an
    # earlier stage), crossed (in another arm in an earlier stage)
    units: pd.DataFrame
    counts: tuple[tuple[str, int], ...]  # people by class, in words, in the order of the report
    # who of the units is compared; the others are left out for a reason that a note names
    used: npt.NDArray[np.bool_]
    notes: tuple[Note, ...] = ()  # what was left out, guessed or could not be told


def stage_cohort(question: Question, stage: str, *, until: Any) -> Cohort:
    """The randomised people of a percentage stage, as far as they were exposed before `until`."""
    plan = question.plan
    counted = units_of_stage(
        question.log, plan, stage, question.exposures, until=until, crossers=question.crossers
    )
    left_out = counted.left_out
    assert left_out is not None
    chosen = left_out["reason"] == "chosen"
    rows = pd.concat([counted.units.assign(reason=""), left_out[~chosen]], ignore_index=True)
    exposed = rows["exposed_at"].astype("int64").to_numpy()
    rows = rows.take(in_time_order(exposed, frame_column(rows["person_id"]))).reset_index(drop=True)
    compared = rows["variant"].isin([plan.canary, plan.control]).to_numpy(bool)
    holdout = rows["variant"].astype("string").str.startswith("holdout-").fillna(False).to_numpy(bool)
    units = rows[compared].reset_index(drop=True)
    units = units.assign(
        canary=(units["variant"] == plan.canary).to_numpy(bool), entered_at=units["exposed_at"]
    )
    used = (units.pop("reason") == "").to_numpy(bool)
    causes = units["cause"].value_counts()
    counts = (
        ("compared: randomised into their arm", len(units)),
        ("of them seen in an earlier stage", int(units["returning"].sum())),
        ("of them in the other arm in an earlier stage", int(units["crossed"].sum())),
        ("of them seen with both variants within the stage", int(units["several"].sum())),
        *((f"of these, {words}", int(causes[cause])) for cause, words in CAUSES.items() if cause in causes),
        ("left out: have the canary by rule (owner, team, beta)", int(chosen.sum())),
        ("left out: holdout", int(holdout.sum())),
        ("left out: another variant, or a value nobody knows", int((~compared & ~holdout).sum())),
    )
    codes = ("several_variants", "chosen", "chosen_by_exposure", "returning_left_out")
    return Cohort(units, counts, used, tuple(note for note in counted.notes if note.code in codes))


def holdout_cohort(plan: Any, stage: str, by_stage: pd.DataFrame, *, until: Any) -> Cohort | None:
    """Everybody against the holdout, which was drawn before any condition; None without anybody in it."""
    if plan.holdout is None:
        return None
    value = plan.holdout.value
    people = by_stage[(by_stage["stage"] == stage) & (by_stage["exposed_at"] < until)]
    if not (people["variant"] == value).any():
        return None
    people = people[people["variant"].isin([plan.canary, value])].reset_index(drop=True)
    earlier = by_stage.loc[by_stage["stage"] != stage, "person_id"]
    units = people.assign(
        canary=(people["variant"] == plan.canary).to_numpy(bool),
        entered_at=people["exposed_at"],
        leaves_at=until,
        several=(people["n_variants"] > 1).to_numpy(bool),
        cause=(people["n_variants"] > 1).map({True: "flicker", False: None}),
        changed_at=pd.Series(pd.NaT, index=people.index, dtype="datetime64[us, UTC]"),
        returning=among(people["person_id"], earlier),
        crossed=False,
    )
    counts = (
        ("compared: everybody against the holdout", len(units)),
        ("of them in the holdout", int((~units["canary"]).sum())),
    )
    return Cohort(units, counts, np.ones(len(units), dtype=bool))
