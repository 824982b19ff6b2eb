"""What is asked of a stage: the log, the plan, the window, the guardrails and the rules, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from canarykit.errors import DataError, PlanError
from canarykit.health.decision import Rules
from canarykit.metrics.guardrail import Guardrail, guardrail_weights
from canarykit.metrics.share import ErrorShare
from canarykit.times import duration, to_utc

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.health.data.pulse import Pulse
    from canarykit.health.data.silences import Silence

__all__ = ["MIN_CLUSTERS", "Pool", "Question", "ask"]

Pool = Literal["stage", "ramp"]

MAX_LOOKS = 5000
MIN_CLUSTERS = 20
"""Groups below which their spread cannot be told."""


@dataclass(frozen=True, eq=False)
class Question:
    """Everything the judges of a stage share.

    Parameters
    ----------
    log, plan, stage, kind
        The events, the plan, the stage's name and its kind.
    guardrails, weights
        What must not get worse, and each one's part of the rollback error.
    as_of, start, end, stop
        Moment of the evaluation; the stage's window; until when events count: the earlier of both, or
        earlier still where the newest hours are not complete.
    rules
        Error rates and policies of the decision table.
    step
        Microseconds between looks.
    grace, freshness, min_dwell, cap
        Seconds: how long missing data is excused, how old the newest event may be, how long a stage
        lasts at least, and after how long it is called inconclusive (None: at its planned end).
    harm_budget
        Extra people harmed that the next stage may cost; sets the stage's margin. None: off.
    exposures
        `canarykit.exposures` of the plan's flag.
    use_limits
        Whether a breached absolute limit rolls back a randomised stage by itself.
    segments, survey
        Event properties to break down by, and a survey to quote.
    pool
        "stage" judges by this stage's evidence alone, "ramp" adds that of the ramp's earlier percentages.
    known_gaps
        Times without data whose cause is known.
    pulse, cohort
        What `with_pulse` read of the data themselves, and the people of both arms where there are two.
    """

    log: Any
    plan: Any
    stage: str
    kind: str
    guardrails: tuple[Guardrail, ...]
    weights: tuple[float, ...]
    as_of: pd.Timestamp
    start: pd.Timestamp
    end: pd.Timestamp | None
    stop: pd.Timestamp
    rules: Rules
    step: int
    grace: float
    freshness: float
    min_dwell: float
    cap: float | None
    harm_budget: float | None
    exposures: Any
    use_limits: bool
    segments: tuple[str, ...] = ()
    survey: Any = None
    pool: Pool = "stage"
    known_gaps: tuple[tuple[pd.Timestamp, pd.Timestamp], ...] = ()
    pulse: Pulse | None = None
    cohort: Any = None

    @property
    def actor(self) -> str:
        """Column of the events that names the assigned unit."""
        index = self.plan.aggregation_group_type_index
        return "person_id" if index is None else f"$group_{index}"

    @property
    def unit_words(self) -> str:
        """What the assigned units are called."""
        return "people" if self.exposures.unit == "person" else f"{self.exposures.unit} groups"

    @property
    def origin(self) -> int:
        """Start of the stage in microseconds."""
        return int(self.start.value // 1000)

    @property
    def looks(self) -> npt.NDArray[np.int64]:
        """End of each look in microseconds, the last one at `stop`."""
        last = int(self.stop.value // 1000)
        ends = np.arange(self.origin + self.step, last, self.step, dtype=np.int64)
        return np.append(ends, last)

    @property
    def asked_stop(self) -> pd.Timestamp:
        """Until when events would count if all of them were there."""
        return self.as_of if self.end is None else min(self.as_of, self.end)

    @property
    def newest_event(self) -> pd.Timestamp | None:
        """The newest event before the end of the evaluation."""
        if self.pulse is not None:
            return self.pulse.newest
        newest = self.log.time_range[1]
        return None if newest is None else min(newest, self.asked_stop)

    @property
    def is_complete(self) -> bool:
        """Whether any hour of the stage is complete, as far as the delays of the events tell."""
        found = None if self.pulse is None else self.pulse.delays
        return found is None or found.complete_until is None or found.complete_until > self.origin

    @property
    def is_fresh(self) -> bool:
        """Whether the events reach up to the end, give or take the freshness, and are complete at all."""
        newest = self.newest_event
        if newest is None or not self.is_complete:
            return False
        return (self.asked_stop - newest).total_seconds() <= self.freshness

    @property
    def open_gaps(self) -> tuple[Silence, ...]:
        """Times without any event, or without any call of a flag, that nobody has explained."""
        found = () if self.pulse is None else (*self.pulse.silences, *self.pulse.calls)
        return tuple(silence for silence in found if not self.is_explained(silence))

    @property
    def gaps(self) -> tuple[tuple[pd.Timestamp, pd.Timestamp], ...]:
        """All times without data that were found, in the whole log or in one arm, in order."""
        if self.pulse is None:
            return ()
        import pandas as pd

        found = (*self.pulse.silences, *self.pulse.calls, *(item.silence for item in self.pulse.arms))
        ends = sorted({(silence.since, silence.until) for silence in found})
        return tuple(
            (pd.Timestamp(since, unit="us", tz="UTC"), pd.Timestamp(until, unit="us", tz="UTC"))
            for since, until in ends
        )

    @property
    def one_sided(self) -> bool:
        """Whether one arm alone was silent for a time, so that nothing can be compared."""
        return self.pulse is not None and bool(self.pulse.arms)

    def is_explained(self, silence: Silence) -> bool:
        """Whether a silence lies within a known gap, give or take an hour at its ends."""
        slack = 3_600_000_000
        return any(
            int(since.value // 1000) - slack <= silence.since
            and silence.until <= int(until.value // 1000) + slack
            for since, until in self.known_gaps
        )

    @property
    def in_grace(self) -> bool:
        """Whether the stage is so young that missing data is excused."""
        return (self.as_of - self.start).total_seconds() < self.grace

    @property
    def dwell_left(self) -> float:
        """Seconds until the minimum stay is over; 0 when it is."""
        return max(0.0, self.min_dwell - (self.stop - self.start).total_seconds())

    @property
    def cap_reached(self) -> bool:
        """Whether the stage has used up its time."""
        if self.cap is not None:
            return (self.as_of - self.start).total_seconds() >= self.cap
        return self.end is not None and self.as_of >= self.end

    @property
    def next_stage(self) -> str | None:
        """The stage after this one, if any."""
        place = self.plan.index(self.stage) + 1
        return None if place >= len(self.plan.stages) else self.plan.stage_names[place]


def ask(
    log: Any,
    plan: Any,
    stage: str,
    guardrails: Sequence[Guardrail] | Guardrail | None,
    *,
    as_of: Any,
    rules: Rules,
    looks: str,
    grace: str,
    freshness: str,
    min_dwell: str,
    cap: str | None,
    harm_budget: float | None,
    use_limits: bool,
    segments: tuple[str, ...] = (),
    survey: Any = None,
    pool: Pool = "stage",
    known_gaps: Sequence[Sequence[Any]] = (),
) -> Question:
    """Check every argument of `evaluate_stage` and gather them.

    Raises
    ------
    PlanError
        For an unknown stage, one that has no window or has not begun, or unusable guardrails.
    DataError
        If the log is empty.
    """
    kind = plan.stage(stage).kind
    if plan.aggregation_group_type_index is not None:
        rules = replace(rules, min_units=max(rules.min_units, MIN_CLUSTERS))
    now = to_utc(as_of, name="as_of")
    start, end = plan.window(stage)
    if now <= start:
        raise PlanError(f"stage {stage!r} starts at {start.isoformat()}, after as_of {now.isoformat()}")
    chosen = (Guardrail(ErrorShare(), critical=True),) if guardrails is None else guardrails
    chosen = (chosen,) if isinstance(chosen, Guardrail) else tuple(chosen)
    if not chosen:
        raise PlanError("guardrails is empty; leave it out to watch the share of people with $exception")
    for item in chosen:
        if not isinstance(item, Guardrail):
            raise PlanError(f"guardrails holds {type(item).__name__}; expected Guardrail(metric, ...)")
    labels = [item.label for item in chosen]
    if len(set(labels)) < len(labels):
        raise PlanError(f"guardrails need different names; there is {labels}")
    if pool not in ("stage", "ramp"):
        raise PlanError(f"pool is {pool!r}; expected 'stage' or 'ramp'")
    if harm_budget is not None and not 0 < harm_budget < float("inf"):
        raise PlanError(f"harm_budget is {harm_budget}; expected a positive number of people")
    if log.time_range[1] is None:
        raise DataError("the log has no events: nothing can be said about any stage")
    step = round(duration(looks, name="looks") * 1e6)
    stop = now if end is None else min(now, end)
    n_looks = -(-int(stop.value // 1000 - start.value // 1000) // step)
    if n_looks > MAX_LOOKS:
        raise PlanError(
            f"looks={looks!r} over {stop - start} makes {n_looks:,} looks; expected at most {MAX_LOOKS:,}"
        )
    gaps = tuple(_gap(gap) for gap in known_gaps)
    from canarykit.exposure import exposures

    return Question(
        log=log,
        plan=plan,
        stage=stage,
        kind=kind,
        guardrails=chosen,
        weights=guardrail_weights(chosen),
        as_of=now,
        start=start,
        end=end,
        stop=stop,
        rules=rules,
        step=step,
        grace=duration(grace, name="grace"),
        freshness=duration(freshness, name="freshness"),
        min_dwell=duration(min_dwell, name="min_dwell"),
        cap=None if cap is None else duration(cap, name="cap"),
        harm_budget=harm_budget,
        exposures=exposures(log, plan.flag, plan=plan, as_of=now),
        use_limits=use_limits,
        segments=segments,
        survey=survey,
        pool=pool,
        known_gaps=gaps,
    )


def _gap(gap: Sequence[Any]) -> tuple[pd.Timestamp, pd.Timestamp]:
    if isinstance(gap, str) or len(gap) != 2:
        raise PlanError(f"known_gaps holds {gap!r}; expected pairs of times (since, until)")
    since, until = (to_utc(moment, name="a time of known_gaps") for moment in gap)
    if not since < until:
        raise PlanError(
            f"known_gaps has one from {since.isoformat()} until {until.isoformat()}, which is empty"
        )
    return since, until
