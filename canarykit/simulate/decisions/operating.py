"""Operating characteristics: what many simulated rollouts came to, by rule and by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.display import Column, Note, Result, Table
from canarykit.errors import PlanError, did_you_mean
from canarykit.stats.estimate import Estimate
from canarykit.stats.one_look.proportions import wilson

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from canarykit.plan import RolloutPlan

ENDS = ("promote", "hold", "roll back")
NOT_REACHED = -1

_COLUMNS = (
    Column("rule", "rule"),
    Column("stage", "stage"),
    Column("reached", "rollouts that got there", "share"),
    Column("promote", "promote", "share"),
    Column("hold", "hold", "share"),
    Column("roll_back", "roll back", "share"),
    Column("hours", "median time to decide", "seconds"),
    Column("people", "mean canary people", "count"),
    Column("extra_events", "mean extra bad events", "number"),
)


@dataclass(frozen=True)
class RuleRuns:
    """Every run under one rule."""

    # (runs, stages): place in `ENDS` of each stage's verdict, -1 where the stage was not reached
    verdicts: np.ndarray
    hours: np.ndarray  # (runs, stages): hours from the stage's beginning to its verdict
    # (runs, stages): canary people exposed in the stage, and bad events among them beyond what the control's
    # rate would have given (expected), on the first guardrail
    people: np.ndarray
    extra: np.ndarray

    @classmethod
    def join(cls, parts: list[RuleRuns]) -> RuleRuns:
        """Blocks of runs one after another."""
        names = cls.__dataclass_fields__
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    @property
    def ends(self) -> np.ndarray:
        """How each rollout ended, as a place in `ENDS`; promoted means through every stage."""
        reached = np.sum(self.verdicts != NOT_REACHED, axis=1) - 1
        return self.verdicts[np.arange(len(self.verdicts)), reached]

    @property
    def total_hours(self) -> np.ndarray:
        """Hours from the first stage's beginning to the end of each rollout."""
        return np.where(self.verdicts == NOT_REACHED, 0.0, self.hours).sum(axis=1)


@dataclass(frozen=True, repr=False, eq=False)
class Decisions(Result):
    """What the rules decided in many simulated rollouts.

    Parameters
    ----------
    plan
        The plan.
    stage_names
        The percentage stages that were simulated.
    runs
        Every run, by rule.
    harmful
        Whether the truth is worse than the control on any guardrail.
    beyond_margin
        Whether it is as bad as the margin or worse on any guardrail.
    settings
        What was asked.
    """

    plan: RolloutPlan
    stage_names: tuple[str, ...]
    runs: Mapping[str, RuleRuns]
    harmful: bool
    beyond_margin: bool
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules."""
        return tuple(self.runs)

    def runs_of(self, rule: str | None = None) -> RuleRuns:
        """The runs under a rule; the first rule if none is named."""
        name = self.rules[0] if rule is None else rule
        if name not in self.runs:
            raise PlanError(f"rule {name!r} was not simulated; {did_you_mean(name, self.runs)}")
        return self.runs[name]

    def estimate(self, end: str, rule: str | None = None, *, confidence: float = 0.95) -> Estimate:
        """Share of the rollouts that end so ("promote": through every stage), with a Monte-Carlo interval."""
        if end not in ENDS:
            raise PlanError(f"no rollout ends in {end!r}; {did_you_mean(end, ENDS)}")
        ends = self.runs_of(rule).ends
        share = wilson(int(np.sum(ends == ENDS.index(end))), len(ends), confidence=confidence)
        assert share is not None
        return share

    def probability(self, end: str, rule: str | None = None) -> float:
        """Share of the rollouts that end so."""
        return self.estimate(end, rule).value

    def false_rollback(self, rule: str | None = None, *, confidence: float = 0.95) -> Estimate | None:
        """How often the release is rolled back although nothing is wrong; None where something is."""
        return None if self.harmful else self.estimate("roll back", rule, confidence=confidence)

    def false_promotion(self, rule: str | None = None, *, confidence: float = 0.95) -> Estimate | None:
        """How often it gets through although it is as bad as a margin; None where it is not."""
        return self.estimate("promote", rule, confidence=confidence) if self.beyond_margin else None

    def hours_to(self, end: str, rule: str | None = None) -> float | None:
        """Median hours from the start of the ramp to this end, over the rollouts that end so."""
        runs = self.runs_of(rule)
        chosen = runs.ends == ENDS.index(end)
        return float(np.median(runs.total_hours[chosen])) if chosen.any() else None

    def hours_quantile(self, end: str, share: float = 0.5, rule: str | None = None) -> float | None:
        """Hours by which this share of ALL rollouts has ended so; None if fewer ever do."""
        runs = self.runs_of(rule)
        hours = np.sort(np.where(runs.ends == ENDS.index(end), runs.total_hours, np.inf))
        reached = float(hours[min(int(np.ceil(share * len(hours))), len(hours)) - 1])
        return reached if np.isfinite(reached) else None

    def people(self, rule: str | None = None) -> float:
        """Mean canary people exposed in a rollout."""
        return float(self.runs_of(rule).people.sum(axis=1).mean())

    def extra_events(self, rule: str | None = None) -> float:
        """Mean extra bad events in a rollout, on the first guardrail."""
        return float(self.runs_of(rule).extra.sum(axis=1).mean())

    def summary(self) -> pd.DataFrame:
        """One row a rule: how rollouts end, how soon, and at what cost, with 95 % Monte-Carlo intervals."""
        import pandas as pd

        rows = []
        for rule in self.rules:
            row: dict[str, Any] = {"rule": rule}
            for end in ENDS:
                estimate = self.estimate(end, rule)
                name = end.replace(" ", "_")
                row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            row["hours_to_promote"] = self.hours_to("promote", rule)
            row["hours_to_roll_back"] = self.hours_to("roll back", rule)
            for name in ("people", "extra"):
                amounts = getattr(self.runs_of(rule), name).sum(axis=1)
                mean, half = amounts.mean(), 1.96 * amounts.std() / np.sqrt(len(amounts))
                name = "extra_events" if name == "extra" else name
                row |= {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
            rows.append(row)
        return pd.DataFrame(rows).set_index("rule")

    def _headline(self) -> str:
        rule = self.rules[0]
        back, go = self.estimate("roll back", rule), self.estimate("promote", rule)
        wrong = (
            "a release as bad as its margin or worse" if self.beyond_margin else "a slightly worse release"
        )
        kind = wrong if self.harmful else "a healthy release"
        return (
            f"{kind} under {rule}: rolled back in {back.value:.1%} ({back.low:.1%} to {back.high:.1%}), "
            f"promoted through every stage in {go.value:.1%} ({go.low:.1%} to {go.high:.1%}) "
            f"of {back.n:,} rollouts"
        )

    def _table(self) -> Table:
        rows = []
        for rule, runs in self.runs.items():
            total = len(runs.verdicts)
            for position, stage in enumerate(self.stage_names):
                verdict = runs.verdicts[:, position]
                reached = verdict != NOT_REACHED
                count = int(reached.sum())
                shares = [float(np.mean(verdict[reached] == end)) if count else None for end in range(3)]
                decided = reached & (verdict != ENDS.index("hold"))
                hours = float(np.median(runs.hours[decided, position])) * 3600 if decided.any() else None
                people = float(runs.people[reached, position].mean()) if count else None
                extra = float(runs.extra[reached, position].mean()) if count else None
                rows.append((rule, stage, count / total, *shares, hours, people, extra))
        return Table.of(_COLUMNS, rows)

    def _extra_json(self) -> dict[str, Any]:
        summary = self.summary().reset_index().to_dict("records")
        return {"summary": summary, "harmful": self.harmful, **self.settings}

    def plot(self, *, ax: Axes | None = None, rule: str | None = None) -> Axes:
        """The ramp over time, and the share of the runs that were promoted, held or rolled back by then."""
        from canarykit.plots.simulate import plot_decisions

        return plot_decisions(self, rule=rule, ax=ax)
