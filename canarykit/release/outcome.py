"""What came of a write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from canarykit.display import Column, Note, Result, Table
from canarykit.release.filters import Difference

Status = Literal[
    "applied", "nothing to do", "conflict", "awaiting approval", "refused", "unclear", "not applied"
]
_COLUMNS = (
    Column("side", "whose"),
    Column("what", "what"),
    Column("before", "before"),
    Column("after", "after"),
)
_WORDS = {
    "applied": "applied",
    "nothing to do": "nothing to do, the flag is as wanted",
    "conflict": "not applied: somebody else edited the flag meanwhile",
    "awaiting approval": "not applied yet: it waits for an approval",
    "refused": "refused",
    "unclear": "unclear: no answer came, and the server does not show the change",
    "not applied": "not applied",
}
EXIT_CODES = {"applied": 0, "nothing to do": 0, "awaiting approval": 10}


@dataclass(frozen=True, repr=False, eq=False)
class Outcome(Result):
    """What came of a push or a roll-back.

    Attributes
    ----------
    flag, stage
        Which flag, and the stage that was to be in force; None: switched off.
    status
        "applied", "nothing to do", "conflict", "awaiting approval", "refused" or "unclear".
    version_before, version_after
        Of the flag; None where not known.
    ours, theirs
        What the push changes, and what somebody else changed meanwhile.
    overwritten
        Whether `theirs` was lost to the write: the server let both in at once.
    why
        The server's or our reason, where it was not applied.
    """

    flag: str
    stage: str | None
    status: Status
    version_before: Any = None
    version_after: Any = None
    ours: tuple[Difference, ...] = ()
    theirs: tuple[Difference, ...] = ()
    overwritten: bool = False
    why: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 applied or nothing to do, 10 awaiting approval, 1 otherwise."""
        return EXIT_CODES.get(self.status, 1)

    def _headline(self) -> str:
        goal = "off" if self.stage is None else self.stage
        versions = ""
        if self.status == "applied" and self.version_after is not None:
            versions = f", version {self.version_before} to {self.version_after}"
        why = f": {self.why}" if self.why else ""
        lost = "; it overwrote somebody else's edit, shown below" if self.overwritten else ""
        return f"{self.flag} to {goal}: {_WORDS[self.status]}{versions}{lost}{why}"

    def _table(self) -> Table:
        rows = [("ours", d.what, d.before, d.after) for d in self.ours]
        rows += [("theirs", d.what, d.before, d.after) for d in self.theirs]
        return Table.of(_COLUMNS, rows)
