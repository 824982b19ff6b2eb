"""One line of a report: what was measured in both arms, how it compares, and what that means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from canarykit.display import Table, format_value, to_jsonable

if TYPE_CHECKING:
    import pandas as pd


class Status(StrEnum):
    """How one check stands; the mark reads without colour."""

    OK = "ok"
    WAIT = "wait"
    HARM = "harm"
    TOLERATED = "small harm"
    BREACH = "limit breached"
    HOLD = "hold"
    INVALID = "invalid"
    UNCLEAR = "cannot tell"
    INFO = "for information"
    OPEN = "to do"

    @property
    def mark(self) -> str:
        """One sign before the word."""
        return _MARKS[self]

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)


_MARKS = {
    Status.OK: "✓",
    Status.WAIT: "…",
    Status.HARM: "✗",
    Status.TOLERATED: "!",
    Status.BREACH: "✗",
    Status.HOLD: "■",
    Status.INVALID: "✗",
    Status.UNCLEAR: "?",
    Status.INFO: "·",
    Status.OPEN: "□",
}


@dataclass(frozen=True)
class Arm:
    """One arm of a check: how many it happened to, of how many, and the value with its interval."""

    # people (or sessions, groups) with the thing, and all; None where the metric is not a share
    count: int | None = None
    total: int | None = None
    # the metric in its own unit, with an interval where there is one
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = "share"  # "share", or the metric's unit

    def __str__(self) -> str:
        if self.value is None and self.total is None:
            return "–"
        kind = "share" if self.unit == "share" else "number"
        value = format_value(self.value, kind)  # type: ignore[arg-type]
        if self.value is None and self.count is None:
            return f"{self.total:,}"
        if self.count is not None and self.total is not None:
            return f"{self.count:,} of {self.total:,}" + ("" if self.value is None else f" ({value})")
        return value if self.total is None else f"{value} (n = {self.total:,})"


@dataclass(frozen=True)
class Check:
    """One line of the report, from what was measured to what it means.

    Parameters
    ----------
    name, kind
        What people call it; "validity", "guardrail", "limit", "descriptive", "sensitivity" or "clean-up".
    measured
        What was measured, in a sentence.
    status, meaning
        How it stands, and that in plain words.
    canary, control
        Both arms, where there are two.
    effect, effect_low, effect_high, effect_unit
        The comparison with its interval; "ratio", "points", "hours", or the metric's unit.
    margin
        What is tolerated, in the effect's unit.
    roll_back, hoped
        The line beyond which proven harm rolls back, and what is hoped for (no change), in its unit.
    evidence, needed
        E-value now and e-value needed (or other evidence and its threshold).
    crossed_at, crossed_with
        Look at which the evidence first reached what is needed, and its value then.
    method
        How the interval and the evidence were computed.
    against
        What the effect is relative to, where that is not what stands beside it.
    by_ramp
        Whether harm is shown by the whole ramp so far, and not by this stage alone.
    """

    name: str
    kind: str
    status: Status
    meaning: str
    measured: str = ""
    canary: Arm | None = None
    control: Arm | None = None
    effect: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    effect_unit: str = "ratio"
    margin: float | None = None
    evidence: float | None = None
    needed: float | None = None
    crossed_at: pd.Timestamp | None = None
    crossed_with: float | None = None
    roll_back: float | None = None
    hoped: float | None = None
    evidence_name: str = "E"
    method: str = ""
    against: str = ""
    by_ramp: bool = False

    @property
    def lower_is_worse(self) -> bool:
        """Whether what is tolerated lies below what is hoped for; False where either is unknown."""
        return self.margin is not None and self.hoped is not None and self.margin < self.hoped

    @property
    def looks_worse(self) -> bool:
        """Whether the effect and its whole interval lie on the harmful side of no change."""
        numbers = (self.effect, self.effect_low, self.effect_high)
        seen = [number for number in numbers if number is not None]
        if len(seen) < len(numbers) or self.hoped is None or self.margin is None:
            return False
        return max(seen) < self.hoped if self.lower_is_worse else min(seen) > self.hoped

    @property
    def effect_text(self) -> str:
        """The effect and its interval as people read them."""
        if self.effect is None and self.effect_low is None and self.effect_high is None:
            return "–"
        if self.effect_unit == "hours" and self.effect is not None:
            return format_value(self.effect * 3600, "seconds")
        kind = {"ratio": "ratio", "points": "points", "share": "share"}.get(self.effect_unit, "number")
        value, low, high = (
            format_value(number, kind)  # type: ignore[arg-type]
            for number in (self.effect, self.effect_low, self.effect_high)
        )
        if self.against and self.effect is not None:
            value += f" {self.against}"
        if self.effect_low is None and self.effect_high is None:
            return value
        if self.effect_low is None or self.effect_high is None:
            return f"{value} ({high} or less)" if self.effect_low is None else f"{value} ({low} or more)"
        return f"{value} ({low} to {high})"

    @property
    def margin_text(self) -> str:
        """The margin as people read it; of a guardrail with the line of rollback and what is hoped for."""
        kind = {"ratio": "ratio", "points": "points", "share": "share"}.get(self.effect_unit, "number")
        beyond, margin, hoped = (
            format_value(number, kind)  # type: ignore[arg-type]
            for number in (self.roll_back, self.margin, self.hoped)
        )
        if self.roll_back is None or self.hoped is None:
            return margin
        past, up_to = ("below", "down to") if self.lower_is_worse else ("beyond", "up to")
        return f"rolled back {past} {beyond}, tolerated {up_to} {margin}, hoped for {hoped}"

    @property
    def evidence_text(self) -> str:
        """Evidence against what is needed."""
        if self.evidence is None:
            return "–"
        reached = format_value(self.evidence, "p")
        if self.needed is None:
            return f"{self.evidence_name} = {reached}"
        now = f"{self.evidence_name} = {reached} of {self.needed:,.4g}"
        if self.crossed_at is None:
            return now
        moment, then = format_value(self.crossed_at, "time"), format_value(self.crossed_with, "p")
        return f"{now} now; crossed on {moment}, at {then}"


@dataclass(frozen=True)
class Section:
    """A further table of the report with its title and a sentence above it."""

    title: str
    text: str
    table: Table


def raw_check(check: Check) -> dict[str, Any]:
    """A check as plain numbers and words."""
    arms: dict[str, Any] = {}
    for name, arm in (("canary", check.canary), ("control", check.control)):
        counts = arm or Arm()
        arms |= {f"{name}_count": counts.count, f"{name}_total": counts.total, f"{name}_value": counts.value}
    names = (
        "effect", "effect_low", "effect_high", "effect_unit", "margin", "roll_back", "hoped", "evidence",
        "needed", "crossed_at", "crossed_with", "status", "meaning", "measured", "method",
    )  # fmt: skip
    fields = {name: getattr(check, name) for name in names}
    content = {"check": check.name, "kind": check.kind, **arms, **fields}
    return {key: to_jsonable(value) for key, value in content.items()}
