"""What is asked of a stage: the log, the plan, the window, the guardrails and the rules, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from canarykit.display import Note
from canarykit.errors import DataError, PlanError
from canarykit.events.names import check_properties, check_variants
from canarykit.exposure.crossers import CrosserRule, require_rule
from canarykit.health.decision import Rules
from canarykit.metrics.guardrail import Guardrail, guardrail_weights, read_guardrails
from canarykit.metrics.recorded import recorded_notes
from canarykit.metrics.share import ShareMetric
from canarykit.periods import moment
from canarykit.plan.values import value_names
from canarykit.times import check_zone, duration, to_utc

if TYPE_CHECKING:
    import pandas as pd

Pool = Literal["stage", "ramp"]

SEGMENTS = ("$browser", "$os", "$geoip_country_code")
"""Properties by which a stage is broken down unless it is said otherwise."""
EMAIL = "email"
"""Property by which people of one company are told, who may all have been given the canary."""
MAX_LOOKS = 5000
MIN_CLUSTERS = 20
"""Groups below which their spread cannot be told."""


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of a stage; it does not change, whatever the data say."""

    # the events, the plan, the stage's name and its kind
    log: Any
    plan: Any
    stage: str
    kind: str
    # what must not get worse, and each one's part of the rollback error
    guardrails: tuple[Guardrail, ...]
    weights: tuple[float, ...]
    # moment of the evaluation; the stage's window; the earlier of the evaluation and the stage's end. All are
    # in the zone in which the report shows times.
    as_of: pd.Timestamp
    start: pd.Timestamp
    end: pd.Timestamp | None
    stop: pd.Timestamp
    rules: Rules  # error rates and policies of the decision table
    step: int  # microseconds between looks
    # seconds: how long missing data is excused, how old the newest event may be, how long a stage lasts at
    # least, and after how long it is called inconclusive (None: at its planned end)
    grace: float
    freshness: float
    min_dwell: float
    cap: float | None
    # extra people harmed that the next stage may cost; sets the stage's margin. None: off.
    harm_budget: float | None
    exposures: Any  # `canarykit.exposures` of the plan's flag
    use_limits: bool  # whether a breached absolute limit rolls back a randomised stage by itself
    # event properties to break down by, and a survey to quote
    segments: tuple[str, ...] = ()
    survey: Any = None
    # "stage" judges by this stage's evidence alone, "ramp" adds harm in the ramp's earlier percentages
    evidence: Pool = "ramp"
    # stages of the rollout among which evidence of harm is divided; 1 where each stage has its own
    sharing: int = 1
    known_gaps: tuple[tuple[pd.Timestamp, pd.Timestamp], ...] = ()  # times without data whose cause is known
    max_unusable_share: float = 0.01  # share of the export's events that may be unusable in a promotion
    recorded: tuple[Note, ...] = ()  # notes on names that the guardrails or segments use and the log lacks
    crossers: CrosserRule = "first exposure"  # what becomes of people who saw both variants within the stage

    @property
    def actor(self) -> str:
        """Column of the events that names the assigned unit."""
        index = self.plan.aggregation_group_type_index
        return "person_id" if index is None else f"$group_{index}"

    @property
    def unit_words(self) -> str:
        """What the assigned units are called."""
        return "people" if self.exposures.unit == "person" else f"{self.exposures.unit} groups"

    def local(self, micros: int) -> pd.Timestamp:
        """A moment, from microseconds UTC, in the zone in which the report shows times."""
        return moment(micros).tz_convert(self.as_of.tz)

    @property
    def origin(self) -> int:
        """Start of the stage in microseconds."""
        return int(self.start.value // 1000)

    @cached_property
    def by_stage(self) -> pd.DataFrame:
        """`exposures.by_stage` with the assigned unit (person or group) in `person_id`, as text."""
        rows = self.exposures.by_stage
        return rows.assign(person_id=rows[self.exposures.unit_column].astype(str))

    @property
    def some_people(self) -> bool:
        """Whether only some people are asked about (`people=`)."""
        return any(note.code == "people_filter" for note in self.exposures.notes)

    @property
    def in_grace(self) -> bool:
        """Whether the stage is so young that missing data is excused."""
        return (self.as_of - self.start).total_seconds() < self.grace

    @property
    def cap_reached(self) -> bool:
        """Whether the stage has used up its time."""
        if self.cap is not None:
            return (self.as_of - self.start).total_seconds() >= self.cap
        return self.end is not None and self.as_of >= self.end

    @property
    def next_stage(self) -> str | None:
        """The stage after this one, if any."""
        position = self.plan.index(self.stage) + 1
        return None if position >= len(self.plan.stages) else self.plan.stage_names[position]


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
    evidence: Pool = "ramp",
    sharing: int = 1,
    known_gaps: Sequence[Sequence[Any]] = (),
    max_unusable_share: float = 0.01,
    timezone: str = "UTC",
    crossers: CrosserRule = "first exposure",
    people: Any = None,
) -> Question:
    """Check every argument of `evaluate_stage` and gather them.

    `PlanError` for an unknown stage, one that has no window or has not begun, or unusable guardrails.
    `DataError` if the log is empty.
    """
    kind = _kind(plan, stage)
    if plan.aggregation_group_type_index is not None:
        rules = replace(rules, min_units=max(rules.min_units, MIN_CLUSTERS))
    check_zone(timezone)
    now = to_utc(as_of, name="as_of").tz_convert(timezone)
    start, end = plan.window(stage)
    start, end = start.tz_convert(timezone), None if end is None else end.tz_convert(timezone)
    if now <= start:
        raise PlanError(f"stage {stage!r} starts at {start.isoformat()}, after as_of {now.isoformat()}")
    chosen = read_guardrails(guardrails)
    if evidence not in ("stage", "ramp"):
        raise PlanError(f"evidence is {evidence!r}; expected 'stage' or 'ramp'")
    if not 0 <= max_unusable_share <= 1:
        raise PlanError(f"max_unusable_share is {max_unusable_share}; expected a share in [0, 1]")
    require_rule(crossers)
    if harm_budget is not None and not 0 < harm_budget < float("inf"):
        raise PlanError(f"harm_budget is {harm_budget}; expected a positive number of people")
    emails = [EMAIL] if kind == "percentage" and EMAIL in _of_events(log, (EMAIL,)) else []
    log.expect([*_columns_of(plan, kind, chosen, segments), *emails])
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

    recorded = recorded_notes(log, chosen)
    if segments != SEGMENTS:
        recorded += check_properties(log, _of_events(log, segments))
    exposed = exposures(log, plan.flag, plan=plan, as_of=now, people=people)
    check_variants(plan.flag, [plan.control, *value_names(plan)[1:]], set(exposed.people["variant"].unique()))
    if exposed.unit != "person":
        chosen = tuple(_of_groups(item, f"{exposed.unit} groups") for item in chosen)
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
        exposures=exposed,
        use_limits=use_limits,
        segments=segments,
        survey=survey,
        evidence=evidence,
        sharing=sharing,
        known_gaps=gaps,
        max_unusable_share=max_unusable_share,
        recorded=recorded,
        crossers=crossers,
    )


def _kind(plan: Any, stage: str) -> str:
    """The stage's kind; a full release that goes on drawing variants, the control among them, compares."""
    kind = str(plan.stage(stage).kind)
    draws = bool(plan.variants) and plan.stage(stage).conditions[-1].variant is None
    if kind == "full" and draws and plan.shares(stage).get(plan.control, 0.0) > 0:
        return "percentage"
    return kind


def _of_groups(guardrail: Guardrail, words: str) -> Guardrail:
    """The guardrail under a name that says what it counts: groups with at least one event, not people."""
    label = guardrail.label
    if guardrail.name or not isinstance(guardrail.metric, ShareMetric) or not label.startswith("people "):
        return guardrail
    return replace(guardrail, name=label.replace("people", words, 1))


def _of_events(log: Any, segments: tuple[str, ...]) -> list[str]:
    """Segments that no property of the persons answers."""
    on_persons = set() if log.persons is None else set(map(str, log.persons.columns))
    return [name for name in segments if name not in on_persons]


def _columns_of(plan: Any, kind: str, guardrails: Sequence[Guardrail], segments: Sequence[str]) -> list[str]:
    """What judging a stage reads of the events."""
    columns = ["event", "timestamp", "person_id", "distinct_id", "$feature_flag", "$feature_flag_response"]
    index = plan.aggregation_group_type_index
    columns += [f"$group_{at}" for at in (0, index) if at is not None]
    columns += [name for guardrail in guardrails for name in guardrail.metric.properties]
    columns += [*segments, *(["session_id"] if kind == "targeted" else [])]
    return list(dict.fromkeys(columns))


def _gap(gap: Sequence[Any]) -> tuple[pd.Timestamp, pd.Timestamp]:
    if isinstance(gap, str) or len(gap) != 2:
        raise PlanError(f"known_gaps holds {gap!r}; expected pairs of times (since, until)")
    since, until = (to_utc(moment, name="a time of known_gaps") for moment in gap)
    if not since < until:
        raise PlanError(
            f"known_gaps has one from {since.isoformat()} until {until.isoformat()}, which is empty"
        )
    return since, until
