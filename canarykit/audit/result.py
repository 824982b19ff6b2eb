"""What an audit found: agreement, disagreements by reason, flips, shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from canarykit.audit.shares import ShareCheck
from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

AGREES = "agrees"
REASONS = (
    AGREES,
    "unknown value",
    "cannot be recomputed",
    "evaluated before the id was known",
    "kept from an earlier definition",
    "given by a later definition",
    "held out",
    "enrolled or opted out",
    "overridden or targeted",
    "no properties known",
    "other bucket than the rules say",
)
_COLUMNS = (
    Column("reason", "observed against rules"),
    Column("people", "people", "count"),
    Column("calls", "evaluations", "count"),
    Column("share", "of evaluations", "share"),
)


@dataclass(frozen=True, repr=False, eq=False)
class Audit(Result):
    """Observed values against recomputed ones.

    Attributes
    ----------
    flag
        Key of the flag.
    people
        One row a person, distinct id, stage and observed value: `person_id`, `distinct_id`, `stage`,
        `observed`, `expected`, `reason`, `rule` (reason code of the recomputation), `condition`, `calls`,
        `first_at`, `last_at`.
    shares
        Expected shares by rule arithmetic against the people seen, per stage, with a sample-ratio check.
    flips
        People whose value changed over time, of whom some changed it together with their id.
    """

    flag: str
    people: pd.DataFrame
    shares: tuple[ShareCheck, ...]
    flips: int
    flips_at_login: int
    notes: tuple[Note, ...] = ()

    @property
    def agreement(self) -> float | None:
        """Share of evaluations with a known value that the rules give too; None where there are none."""
        recomputed = self.people[~self.people["reason"].isin(["unknown value", "cannot be recomputed"])]
        calls = int(recomputed["calls"].sum())
        return (
            None
            if not calls
            else float(recomputed.loc[recomputed["reason"] == AGREES, "calls"].sum() / calls)
        )

    @property
    def mismatches(self) -> pd.DataFrame:
        """Rows where log and rules disagree."""
        return self.people[self.people["reason"] != AGREES]

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Expected against observed shares, one pair of bars an arm and stage."""
        from canarykit.plots.assign import plot_audit

        return plot_audit(self, ax=ax)

    def _headline(self) -> str:
        people = self.people["person_id"].nunique()
        if self.agreement is None:
            return f"{self.flag}: none of the values of {counted(people, 'people')} can be checked."
        shown = f"{100 * self.agreement:.2f}".rstrip("0").rstrip(".")
        return (
            f"{self.flag}: {shown} % of the evaluations of {counted(people, 'people')} agree with the rules."
        )

    def _table(self) -> Table:
        total = max(int(self.people["calls"].sum()), 1)
        rows = []
        for reason in REASONS:
            part = self.people[self.people["reason"] == reason]
            if len(part):
                calls = int(part["calls"].sum())
                rows.append((reason, int(part["person_id"].nunique()), calls, calls / total))
        return Table.of(_COLUMNS, rows)

    def _extra_json(self) -> dict[str, Any]:
        shares = [check.to_row() for check in self.shares]
        return {"flag": self.flag, "agreement": self.agreement, "shares": shares, "flips": self.flips}
