"""What a check of a flag or plan found: what, where, who is affected, how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from canarykit.display import Column, Note, Result, Table

Severity = Literal["error", "warning", "note"]
_RANK = {"error": 0, "warning": 1, "note": 2}
_COLUMNS = (
    Column("severity", "how bad"),
    Column("code", "finding"),
    Column("flag", "flag"),
    Column("where", "where"),
    Column("what", "what"),
    Column("affected", "people", "count"),
    Column("mend", "how to mend"),
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or that will surprise.

    Parameters
    ----------
    code
        Short name of the rule, stable for programs.
    severity
        "error": the flag does not do what it says; "warning": it may not; "note": good to know.
    flag
        Key of the flag.
    where
        Condition set, filter or field.
    what
        What is wrong, in a sentence.
    mend
        What to do about it.
    affected
        People it changes something for, among those given; None where nobody was given.
    """

    code: str
    severity: Severity
    flag: str
    where: str
    what: str
    mend: str
    affected: int | None = None

    def as_row(self) -> dict[str, Any]:
        """The finding as a row of the report."""
        return {column.key: getattr(self, column.key) for column in _COLUMNS}


@dataclass(frozen=True, repr=False, eq=False)
class LintReport(Result):
    """Findings, worst first."""

    findings: tuple[Finding, ...]
    checked: str
    people: int | None = None
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        ordered = sorted(self.findings, key=lambda finding: _RANK[finding.severity])
        object.__setattr__(self, "findings", tuple(ordered))

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the findings, in the order of the report."""
        return tuple(finding.code for finding in self.findings)

    @property
    def worst(self) -> Severity | None:
        """The worst severity, None where nothing was found."""
        return self.findings[0].severity if self.findings else None

    def __bool__(self) -> bool:
        return bool(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def _headline(self) -> str:
        if not self.findings:
            return f"{self.checked}: nothing found."
        counts = []
        for severity in _RANK:
            count = sum(finding.severity == severity for finding in self.findings)
            if count:
                counts.append(f"{count} {severity}{'s' if count > 1 else ''}")
        return f"{self.checked}: {', '.join(counts)}."

    def _table(self) -> Table:
        return Table.of(_COLUMNS, [finding.as_row() for finding in self.findings])
