"""Who gets the feature at a stage, and how many of them a bad release would hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pandas as pd

from canarykit.arguments import checked
from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError, require_kind
from canarykit.metrics import Guardrail
from canarykit.metrics.guardrail import read_guardrails
from canarykit.plan.given import as_plan
from canarykit.simulate.decisions.truth import Rates, require_labels, require_variants, truth_of
from canarykit.simulate.people.population import Population
from canarykit.simulate.people.scenario import Scenario

if TYPE_CHECKING:
    from canarykit.assign.evaluate import EvaluateOptions
    from canarykit.plan import RolloutPlan


@dataclass(frozen=True, repr=False, eq=False)
class BlastRadius(Result):
    """Who gets the feature at a stage, and what a scenario would do to them.

    Parameters
    ----------
    stage
        The stage.
    people, new, total
        People with the canary, of them those who did not have it at the stage before, and everybody.
    harms
        One a guardrail: its label, the control's rate, the canary's, and the extra people hit.
    """

    stage: str
    people: int
    new: int
    total: int
    harms: tuple[tuple[Any, ...], ...] = field(default=())
    notes: tuple[Note, ...] = ()

    _COLUMNS = (
        Column("guardrail", "guardrail"),
        Column("control", "without", "share"),
        Column("canary", "with", "share"),
        Column("extra", "extra people hit", "count"),
    )

    @property
    def share(self) -> float:
        """Part of all people who have the canary."""
        return self.people / self.total

    def _headline(self) -> str:
        return (
            f"{self.stage}: {self.people:,} of {counted(self.total, 'people')} "
            f"{'has' if self.people == 1 else 'have'} it ({self.share:.1%}), {self.new:,} of them new"
        )

    def _table(self) -> Table:
        return Table.of(self._COLUMNS, self.harms)

    def _extra_json(self) -> dict[str, Any]:
        return {"people": self.people, "new": self.new, "total": self.total, "share": self.share}


@checked
def blast_radius(
    plan: RolloutPlan,
    stage: str,
    persons: pd.DataFrame,
    scenario: Scenario | None = None,
    guardrails: Sequence[Guardrail] | Guardrail | None = None,
    *,
    rates: Rates | None = None,
    **options: Unpack[EvaluateOptions],
) -> BlastRadius:
    """How many people a stage reaches, and how many a bad release would hit among them.

    Parameters
    ----------
    plan, stage
        The stage whose flag definition is evaluated.
    persons
        One row a person, as for `evaluate_flag`.
    scenario, guardrails, rates
        The bad release and what it harms, as for `simulate_decisions`; each person counts once. Effects
        that are confined to some people are left out, and said so. A rate of no guardrail is refused.
    **options
        For `evaluate_flag`, such as `groups`.

    Returns
    -------
    BlastRadius

    Examples
    --------
    >>> import canarykit as ck, pandas as pd
    >>> from canarykit.simulate import Effect
    >>> plan = ck.RolloutPlan.five_stages("new-checkout", owner="ada@acme.io", team_domain="acme.io")
    >>> ids = [f"user-{i}" for i in range(2000)]
    >>> persons = pd.DataFrame({"distinct_id": ids, "email": [f"{i}@mail.example" for i in ids]})
    >>> blast_radius(plan, "expanded beta 25%", persons, ck.Scenario(effects=[Effect("errors", 3)]))
    expanded beta 25%: 485 of 2,000 people have it (24.2%), 377 of them new
    guardrail               without    with  extra people hit
    ----------------------  -------  ------  ----------------
    people with $exception   1.00 %  3.00 %               9.7
    """
    from canarykit.assign import evaluate_flag

    plan = as_plan(plan)
    require_kind("persons", persons, pd.DataFrame, "a pandas frame with one row a person", error=DataError)
    if not len(persons):
        raise DataError("persons is empty: there is nobody to reach")
    if scenario is not None:
        require_variants(scenario, plan)
    position = plan.index(stage)
    has = (evaluate_flag(plan.flag_at(stage), persons, **options)["value"] == plan.canary).fillna(False)
    had = np.zeros(len(persons), bool)
    if position:
        before = plan.flag_at(plan.stage_names[position - 1])
        had = (evaluate_flag(before, persons, **options)["value"] == plan.canary).fillna(False).to_numpy(bool)
    people = int(has.sum())
    chosen = read_guardrails(guardrails)
    require_labels(rates, chosen)
    harms: list[tuple[Any, ...]] = []
    notes: list[Note] = []
    for guardrail in chosen if scenario is not None else ():
        assert scenario is not None
        truth = truth_of(guardrail, scenario, rates)
        if not truth.is_share:
            notes.append(Note("no_people", f"{guardrail.label} is not a share of people: nobody is counted"))
            continue
        effects = [effect for effect in scenario.effects if effect.quantity in truth.quantities]
        whole = [effect for effect in effects if _applies(effect, plan, stage)]
        high = truth.base * float(np.prod([1 + truth.strength(e, scenario, Population(1)) for e in whole]))
        extra = float(truth.extra(np.array([truth.base]), np.array([high]))[0]) * people
        harms.append((guardrail.label, truth.base, high, extra))
        if any(effect.where for effect in effects):
            text = f"{guardrail.label}: effects that are confined to some people are left out"
            notes.append(Note("confined_effects", text))
    new = int((has.to_numpy(bool) & ~had).sum())
    return BlastRadius(stage, people, new, len(persons), tuple(harms), tuple(notes))


def _applies(effect: Any, plan: RolloutPlan, stage: str) -> bool:
    here = effect.stage is None or effect.stage == stage
    return here and not effect.where and effect.variant == plan.canary
