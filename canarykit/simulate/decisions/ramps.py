"""The fastest healthy ramp within a harm budget, found by simulating many, and the trade-off behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from canarykit.arguments import checked
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import PlanError
from canarykit.metrics import Guardrail
from canarykit.metrics.guardrail import read_guardrails
from canarykit.progress import Progress, watched
from canarykit.simulate.decisions.schedule import Control, Traffic
from canarykit.simulate.decisions.truth import Delays, Rates, require_labels, truth_of
from canarykit.simulate.log.streams import Seed, as_seed
from canarykit.simulate.people.scenario import Effect, Scenario

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from canarykit.plan import RolloutPlan
    from canarykit.typing import Time

RAMPS = ((5, 25, 50), (1, 10, 50), (5, 50), (1, 5, 25, 50), (2, 10, 25, 50), (1, 5, 10, 25, 50))
DWELLS = ("4h", "8h", "12h", "24h")
Ramp = tuple[tuple[float, ...], str]
"""Percentages, and how long each stays at least."""
FIXED_RAMP: Ramp = ((1.0, 5.0, 10.0, 25.0, 50.0), "24h")
"""The habit to compare with: 1, 5, 10, 25 and 50 %, a day each by the clock, unless it is rolled back."""
AS_PLANNED = "as planned"


@dataclass(frozen=True)
class RampChoice:
    """One ramp and what it came to."""

    # percentages, and how long each stays at least
    shares: tuple[float, ...]
    dwell: str
    # median hours until a healthy release is through, with a 95 % Monte-Carlo interval; infinite where fewer
    # than half are
    hours: float
    hours_low: float
    hours_high: float
    released: float  # share of the healthy releases that are through within the time allowed
    rolled_back: float  # share of the healthy releases that are rolled back
    harm: float  # extra bad events of the worst of the bad releases, on average
    worst: float  # which bad release that is: its ratio
    # whether stages follow by the clock, whatever is proven, unless the release is rolled back
    by_clock: bool = False

    @property
    def label(self) -> str:
        """Short text: "1/5/25/50 %, 4h each"."""
        shares = "/".join(f"{share:g}" for share in self.shares)
        if self.dwell == AS_PLANNED:
            return f"{shares} %, {AS_PLANNED}"
        return f"{shares} %, {self.dwell} each" + (" by the clock" if self.by_clock else "")


@dataclass(frozen=True, repr=False, eq=False)
class RampPlan(Result):
    """The ramp that was chosen, the usual one, and every other that was tried.

    Parameters
    ----------
    best
        The fastest for a healthy release among those within the budget; None if there is none.
    usual
        What to compare with, by the clock: the present plan if one was given, else a day a step.
    choices
        All, fastest first.
    harm_budget, max_days
        What was asked for.
    plan
        The best ramp as a plan; every stage's window is its least stay.
    """

    best: RampChoice | None
    usual: RampChoice
    choices: tuple[RampChoice, ...]
    harm_budget: float
    max_days: float
    plan: RolloutPlan | None
    notes: tuple[Note, ...] = ()

    _COLUMNS = (
        Column("ramp", "ramp"),
        Column("hours", "healthy release through (median)", "seconds"),
        Column("low", "from", "seconds"),
        Column("high", "to", "seconds"),
        Column("released", "through in time", "share"),
        Column("rolled_back", "healthy, rolled back", "share"),
        Column("harm", "extra bad events, worst release", "number"),
        Column("within", "within the budget"),
    )

    @property
    def beats_usual(self) -> bool:
        """Whether the best ramp is faster than the usual one beyond Monte-Carlo error."""
        return self.best is not None and self.best.hours_high < self.usual.hours_low

    @property
    def frontier(self) -> tuple[RampChoice, ...]:
        """Ramps that no other beats in both speed and harm, fastest first."""
        kept: list[RampChoice] = []
        for choice in self.choices:
            if np.isfinite(choice.hours) and all(choice.harm < other.harm for other in kept):
                kept.append(choice)
        return tuple(kept)

    def _headline(self) -> str:
        if self.best is None:
            return (
                f"no ramp keeps the harm below {self.harm_budget:g} extra bad events and gets a healthy "
                f"release through in {self.max_days:g} days; allow more of either, or watch more people"
            )
        compared = "faster than" if self.beats_usual else "not shown to be faster than"
        return (
            f"{self.best.label}: a healthy release is through in {self.best.hours:.0f} h (median), "
            f"{compared} {self.usual.label} with {self.usual.hours:.0f} h"
        )

    def _table(self) -> Table:
        rows = []
        for choice in (*self.choices, self.usual):
            times = [
                value * 3600 if np.isfinite(value) else None
                for value in (choice.hours, choice.hours_low, choice.hours_high)
            ]
            within = "yes" if choice.harm <= self.harm_budget else "no"
            rows.append((choice.label, *times, choice.released, choice.rolled_back, choice.harm, within))
        return Table.of(self._COLUMNS, rows)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Harm against speed: every ramp, the frontier, the budget, the usual ramp and the best."""
        from canarykit.plots.simulate import plot_trade_off

        return plot_trade_off(self, ax=ax)


@checked
def plan_ramp(
    *,
    harm_budget: float,
    traffic: Traffic,
    guardrails: Sequence[Guardrail] | Guardrail | None = None,
    max_days: float = 14.0,
    min_released: float = 0.8,
    scenario: Scenario | None = None,
    rates: Rates | None = None,
    delays: Delays | None = None,
    logins: tuple[float, str] | None = None,
    bad_ratios: Sequence[float] = (1.5, 2.0, 5.0),
    ramps: Sequence[Sequence[float]] = RAMPS,
    dwells: Sequence[str] = DWELLS,
    flag: str = "release",
    starts_at: Time = "2026-01-05T00:00:00Z",
    present: RolloutPlan | None = None,
    looks: str = "hourly",
    evidence: Literal["stage", "ramp"] = "ramp",
    control: Control = "rest",
    n_runs: int = 300,
    rng: Seed = None,
    workers: int = 1,
    progress: Progress = None,
) -> RampPlan:
    """Search shares and stays for the fastest healthy release within a harm budget.

    Parameters
    ----------
    harm_budget
        Extra bad events (on the first guardrail) that a bad release may cost on average before it is
        rolled back. It also sets the gates: a stage is left once the next one cannot cost more.
    traffic, guardrails, scenario, rates, delays, logins, looks, evidence, control
        As for `simulate_decisions`; the scenario says the baseline, its own effects are left out. Harm that
        comes with a delay is told later, when more people have it.
    max_days
        A healthy release must be through by then.
    min_released
        Share of the healthy releases of which that must hold; the others are held or rolled back.
    bad_ratios
        How many times worse the bad releases are, on the first guardrail; the worst of them counts.
    ramps, dwells
        What is tried: percentages, and how long each stays at least.
    flag, starts_at
        Of the plan that comes back.
    present
        A plan with times to compare with, as it stands and by the clock; a day at each of 1, 5, 10, 25 and
        50 % if left out.
    n_runs, rng, workers, progress
        Rollouts simulated for each ramp and release; all ramps see the same seed.

    Returns
    -------
    RampPlan

    Examples
    --------
    >>> import canarykit as ck
    >>> found = ck.plan_ramp(
    ...     harm_budget=60, traffic=2000, guardrails=ck.Guardrail("$exception", margin_ratio=2),
    ...     ramps=[(5, 25, 50), (10, 50)], dwells=["4h"], bad_ratios=[5], n_runs=60, rng=7)
    >>> found.best.hours < found.usual.hours
    True
    """
    if not harm_budget > 0 or not max_days > 0:
        raise PlanError(f"harm_budget is {harm_budget}, max_days {max_days}; expected both above 0")
    from canarykit.simulate.decisions.simulate import simulate_decisions

    healthy = replace(scenario or Scenario(), effects=())
    chosen = read_guardrails(guardrails)
    require_labels(rates, chosen, delays)
    first = truth_of(chosen[0], healthy, rates, delays)
    quantity, worse = first.quantities[-1], chosen[0].worse
    factors = {1.0: 1.0}
    for ratio in bad_ratios:
        if not ratio > 1:
            raise PlanError(f"bad_ratios holds {ratio}; expected numbers above 1")
        factors[float(ratio)] = ratio if worse == "higher" else 1 / ratio
    seed = as_seed(rng)
    tried = [(tuple(float(s) for s in ramp), dwell) for ramp in ramps for dwell in dwells]
    shared: dict[str, Any] = {
        "traffic": traffic,
        "looks": looks,
        "rates": rates,
        "delays": delays,
        "logins": logins,
        "evidence": evidence,
        "control": control,
        "rng": seed,
        "workers": workers,
        "progress": False,
    }

    left_out: dict[Note, None] = {}

    def judged(ramp: Ramp, plan: RolloutPlan, by_clock: bool, **options: Any) -> RampChoice:
        by_ratio = {}
        for ratio, factor in factors.items():
            effects = [] if ratio == 1 else [Effect(quantity, factor, variant=plan.canary)]
            release = healthy.with_effects(*effects)
            by_ratio[ratio] = simulate_decisions(plan, release, chosen, n_runs, **shared, **options)
        left_out.update(dict.fromkeys(by_ratio[1.0].notes))
        return _choice(ramp, by_ratio, max_days, by_clock)

    before = present if present is not None else _plan_of(flag, FIXED_RAMP, starts_at)
    percent = tuple(
        100 * (before.share(stage.name) or 0.0) for stage in before.stages if stage.kind == "percentage"
    )
    usual = (percent, FIXED_RAMP[1] if present is None else AS_PLANNED)
    fixed = judged(usual, before, True, on_hold="go on")
    budgeted = {"harm_budget": harm_budget, "cap": f"{max_days:g}d"}
    choices = [
        judged(ramp, _plan_of(flag, ramp, starts_at), False, min_dwell=ramp[1], **budgeted)
        for ramp in watched(tried, progress, total=len(tried), unit="ramps")
    ]
    choices.sort(key=lambda choice: (choice.hours, choice.harm))
    fine = [c for c in choices if c.harm <= harm_budget and c.released >= min_released]
    best = fine[0] if fine else None
    plan = None if best is None else _plan_of(flag, (best.shares, best.dwell), starts_at)
    notes = (
        Note("gates", "a stage is left when its numbers prove that the next one stays within the budget"),
        Note("bad_releases", f"bad releases tried: {', '.join(f'{ratio:g}x' for ratio in bad_ratios)}"),
        *left_out,
    )
    return RampPlan(best, fixed, tuple(choices), harm_budget, max_days, plan, notes)


def _plan_of(flag: str, ramp: Ramp, starts_at: Any) -> RolloutPlan:
    from canarykit.plan import RolloutPlan, Stage

    shares, dwell = ramp
    stages = [replace(Stage.for_share(f"{share:g}%", share), dwell=dwell) for share in shares]
    return RolloutPlan(flag, (*stages, Stage.for_everyone("full release")), starts_at=starts_at)


def _choice(ramp: Ramp, by_ratio: Mapping[float, Any], max_days: float, by_clock: bool) -> RampChoice:
    runs = by_ratio[1.0].runs_of()
    hours = np.sort(np.where(runs.ends == 0, runs.total_hours, np.inf))
    n = len(hours)
    half = 0.98 * np.sqrt(n)  # order statistics around the median: n/2 -+ 1.96 sqrt(n)/2
    places = [int(np.clip(position, 0, n - 1)) for position in (n / 2 - half, n / 2, n / 2 + half)]
    low, median, high = (float(hours[position]) for position in places)
    harm = {ratio: decisions.extra_events() for ratio, decisions in by_ratio.items() if ratio != 1.0}
    worst = max(harm, key=lambda ratio: harm[ratio]) if harm else 1.0
    return RampChoice(
        shares=ramp[0],
        dwell=ramp[1],
        hours=median,
        hours_low=low,
        hours_high=high,
        released=float(np.mean(hours <= max_days * 24)),
        rolled_back=by_ratio[1.0].probability("roll back"),
        harm=harm.get(worst, 0.0),
        worst=worst,
        by_clock=by_clock,
    )
