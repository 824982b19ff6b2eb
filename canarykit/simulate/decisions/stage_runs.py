"""Many runs of one stage at once: counts drawn per interval, and the rows that each rule reads from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from canarykit.compiler import can_compile
from canarykit.errors import PlanError
from canarykit.health.decision import Evidence, Row, Rules, decide, log_thresholds
from canarykit.health.evidence.doubts import diluted_ratio
from canarykit.health.evidence.event_evidence import LOST, event_mixtures, standing_safety
from canarykit.health.evidence.over_ramp import ramp_parts
from canarykit.simulate.decisions.binomial_counts import binomial
from canarykit.simulate.decisions.delayed import (
    RARE,
    Cohorts,
    Known,
    draw_delayed,
    draw_delayed_values,
    draw_values,
    hit,
    parts_in_cohort,
    value_comes,
)
from canarykit.simulate.decisions.late_data import LateLooks, Paths, arrived, fewer, late_evidence, parts_left
from canarykit.simulate.decisions.logins import Arms, hidden_parts
from canarykit.simulate.decisions.stage_rates import StageRates
from canarykit.simulate.decisions.truth import Truth
from canarykit.simulate.log.streams import Streams
from canarykit.stats.any_look.event_process import EventMixture, event_intervals
from canarykit.stats.one_look.srm import SRM_MIXTURE
from canarykit.stats.others.stopping_rules import RIVALS, Counts

MARGINS_TRIED = 9
"""Margins at which safety is looked at where people who changed variant may hide a harm."""


@dataclass(frozen=True)
class Drawn:
    """Counts of a block of runs, shaped (runs, looks); events once more per guardrail in front.

    For a value guardrail, `events_*` hold the sums of its values. `parts` hold the canary's expected part of
    each look's events among the people they are compared with; None where events are so rare that it is the
    planned share. `hidden` holds by guardrail what people who changed variant may hide of each arm at each
    look of the stage; None where nobody changes. `arrived` is what is there before the delay of late data is
    over; None where all arrives at once. `known` holds of values that come later what each look knows.
    """

    canary: np.ndarray
    control: np.ndarray
    events_canary: tuple[np.ndarray, ...]
    events_control: tuple[np.ndarray, ...]
    parts: tuple[np.ndarray | None, ...]
    hidden: tuple[Arms, ...] | None = None
    arrived: Drawn | None = None
    known: tuple[list[Known] | None, ...] = ()

    @classmethod
    def join(cls, parts: list[Drawn]) -> Drawn:
        """Stage after stage, along the looks."""
        many = range(len(parts[0].events_canary))
        return cls(
            np.concatenate([part.canary for part in parts], axis=1),
            np.concatenate([part.control for part in parts], axis=1),
            tuple(np.concatenate([part.events_canary[g] for part in parts], axis=1) for g in many),
            tuple(np.concatenate([part.events_control[g] for part in parts], axis=1) for g in many),
            tuple(np.concatenate(columns, axis=1) if (columns := _columns(parts, g)) else None for g in many),
        )

    @classmethod
    def before(cls, runs: int, guardrails: int) -> Drawn:
        """Nothing yet: no column."""
        none = np.zeros((runs, 0), np.int64)
        return cls(none, none, (none,) * guardrails, (none,) * guardrails, (None,) * guardrails)

    def of_runs(self, runs: np.ndarray) -> Drawn:
        """Some of the runs."""
        some = self._each(lambda counts: counts[runs])
        if self.hidden is None:
            return some
        return replace(some, hidden=tuple((a[runs], b[runs]) for a, b in self.hidden))

    def columns(self, since: int, until: int) -> Drawn:
        """Some of the looks, half-open."""
        return self._each(lambda counts: counts[:, since:until])

    def _each(self, change: Callable[[np.ndarray], np.ndarray]) -> Drawn:
        """The same of all counts, and of the expected parts."""
        return Drawn(
            change(self.canary),
            change(self.control),
            tuple(map(change, self.events_canary)),
            tuple(map(change, self.events_control)),
            tuple(None if part is None else change(part) for part in self.parts),
        )

    def total(self, last: np.ndarray) -> Drawn:
        """What each run has seen up to and with a look of its own, as one column."""
        so_far = np.arange(self.canary.shape[1]) <= last[:, None]

        def added(counts: np.ndarray) -> np.ndarray:
            return np.asarray(np.sum(counts, axis=1, where=so_far, keepdims=True))

        def averaged(g: int) -> np.ndarray | None:
            part = self.parts[g]
            if part is None:
                return None
            events = self.events_canary[g] + self.events_control[g]
            return np.asarray(added(events * part) / np.maximum(added(events), 1))

        return Drawn(
            added(self.canary),
            added(self.control),
            tuple(added(counts) for counts in self.events_canary),
            tuple(added(counts) for counts in self.events_control),
            tuple(averaged(g) for g in range(len(self.parts))),
        )


def _columns(parts: list[Drawn], g: int) -> list[np.ndarray]:
    """A guardrail's expected parts, stage after stage; nothing where they are the planned shares."""
    columns = [part.parts[g] for part in parts if part.canary.shape[1]]
    kept = [column for column in columns if column is not None]
    return kept if len(kept) == len(columns) else []


def draw_stage(rates: StageRates, truths: list[Truth], draw: Streams, runs: int) -> Drawn:
    """Draw people and events; what the canary adds to the baseline comes from streams of its own."""
    looks = rates.looks
    shape = (runs, len(looks.people))
    canary = _people(draw("canary"), looks.canary_people, shape)
    control = _people(draw("control"), looks.control_people, shape)
    pairs = []
    parts: list[np.ndarray | None] = []
    known: list[list[Known] | None] = [None] * len(truths)
    # of a late arm looks see no whole cohorts
    cohorts = None if rates.late else Cohorts.of(looks.canary_people + looks.control_people, looks.hours)
    for place, truth in enumerate(truths):
        low, high = rates.control[place], rates.canary[place]
        later = rates.later[place] if rates.later else None
        if not truth.is_share:
            streams, arms = (draw(f"{place}ours"), draw(f"{place}theirs")), (canary, control)
            spreads = rates.spreads[place], np.full(shape[1], truth.spread)
            parts.append(None)
            if later is None:
                pairs.append(draw_values(spreads, arms, (high, low), streams))
                continue
            come = value_comes(looks.hours, truth.delay)
            known[place] = knows = draw_delayed_values(later[::-1], come, spreads, arms, streams)
            pairs.append(knows[-1][:2])
            continue
        common = truth.base > RARE
        ours_came, theirs_came = canary, control
        if common and cohorts is not None:
            ours_came, theirs_came = cohorts.counts(canary), cohorts.counts(control)
            low, high = cohorts.rates(low), cohorts.rates(high)
            later = None if later is None else (cohorts.chances(later[0]), cohorts.chances(later[1]))
        if later is not None:
            ordered = _parts if common else None
            ours, theirs, part = draw_delayed(*later, ours_came, theirs_came, draw, place, ordered)
            pairs.append((ours, theirs))
            parts.append(part)
            continue
        theirs = hit(draw(f"{place}theirs"), theirs_came, low)
        ours = hit(draw(f"{place}ours"), ours_came, low)
        if np.any(high > low):
            more = np.clip((high - low) / (1 - low), 0.0, 1.0)
            ours = ours + hit(draw(f"{place}more"), ours_came - ours, more)
        if np.any(high < low):
            less = np.clip(high / np.maximum(low, 1e-300), 0.0, 1.0)
            ours = binomial(draw(f"{place}less"), ours, less)
        pairs.append((ours, theirs))
        order = draw(f"{place}order")
        parts.append(_parts(order, ours, theirs, ours_came, theirs_came) if common else None)
    ours_all, theirs_all = (tuple(pair[arm] for pair in pairs) for arm in (0, 1))
    hidden = None
    if rates.changed is not None:
        hidden = hidden_parts(rates.changed, (canary, control), tuple(pairs), rates.later, draw)
    drawn = Drawn(canary, control, ours_all, theirs_all, tuple(parts), hidden, known=tuple(known))
    if rates.late is None:
        return drawn
    arm = rates.late.arm
    people: list[Sequence[np.ndarray]] = [[canary] * len(truths), [control] * len(truths)]
    events = [ours_all, theirs_all]
    late = 0 if arm.is_canary else 1
    people[late], events[late] = arrived(arm, looks, people[late][0], events[late], rates.later, draw)
    for place, part in enumerate(parts):
        later = rates.later[place]
        if part is not None and later is not None:
            parts[place] = parts_left(part, looks, later[arm.is_canary], arm)
        elif part is not None:  # who is left is another, as fewer events are seen
            columns = [each[place] for each in (*events, *people)]
            parts[place] = _parts(draw(f"late {place}order"), *columns)
    there = Drawn(people[0][0], people[1][0], events[0], events[1], tuple(parts))
    return replace(drawn, arrived=there)


def _parts(
    stream: np.random.Generator, ours: np.ndarray, theirs: np.ndarray, canary: np.ndarray, control: np.ndarray
) -> np.ndarray:
    """Canary's expected part of the events of each look, among the people who came in with them.

    Its mean over all orders in which the events may come is known; how far an order strays from it is drawn.
    """
    mean, spread = parts_in_cohort(ours, theirs, canary, control)
    noise = stream.standard_normal(spread.shape) * spread
    return np.where(ours + theirs > 0, np.clip(mean + noise, 1e-9, 1 - 1e-9), 0.5)


def _people(stream: np.random.Generator, expected: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """People who come in, Poisson; many of them by the normal law, which is five times as quick."""
    if expected.min() < 200:
        return stream.poisson(expected, shape)
    noise = stream.standard_normal(shape, dtype=np.float32)
    return np.rint(expected + np.sqrt(expected) * noise).astype(np.int64)


@dataclass(frozen=True)
class Judge:
    """Reads rows of the decision table from drawn counts, for canarykit and for the rivals."""

    truths: list[Truth]
    weights: tuple[float, ...]
    rules: Rules
    mixture: EventMixture | None
    srm: bool
    sharing: int
    compiled: bool

    def rows(
        self, rule: str, drawn: Drawn, stage: StageRates, earlier: Drawn, passed: Sequence[StageRates]
    ) -> np.ndarray:
        """Row codes at every look of a stage; the rivals' harm is row 50, their go-ahead row 70.

        `earlier` holds one column of counts for each stage that was `passed`: evidence carried over.
        """
        if rule == "canarykit":
            return self._table(drawn, stage, earlier, passed)
        seen = drawn if rule == "threshold" else Drawn.join([earlier, drawn])
        harm = RIVALS[rule](self._first(seen))[:, earlier.canary.shape[1] * (rule != "threshold") :]
        may_go = np.where(stage.looks.dwell_met, Row.SAFE, Row.GO_ON)
        rows = np.where(harm, Row.HARM, may_go).astype(np.int8)
        if stage.late is None:
            return rows
        complete = stage.late.complete  # the formulas wait for what is late
        return np.where(complete > 0, rows[:, np.maximum(complete - 1, 0)], np.int8(Row.GO_ON))

    def _first(self, drawn: Drawn) -> Counts:
        truth = self.truths[0]
        if not truth.is_share:
            raise PlanError(f"{truth.guardrail.label}: the other rules are written for shares of people")
        ours, theirs, canary, control = self._oriented(0, drawn)
        return Counts(ours, theirs, canary, control, truth.base)

    def _oriented(self, place: int, drawn: Drawn) -> tuple[Any, Any, Any, Any]:
        """Events and people of both arms, swapped where lower is worse, so that more is harm."""
        ours, theirs = drawn.events_canary[place], drawn.events_control[place]
        if self.truths[place].guardrail.worse == "lower":
            return theirs, ours, drawn.control, drawn.canary
        return ours, theirs, drawn.canary, drawn.control

    def _table(
        self, drawn: Drawn, stage: StageRates, earlier: Drawn, passed: Sequence[StageRates]
    ) -> np.ndarray:
        """Row of the decision table for each run and look, by evidence of the stage and of the ramp."""
        roll_back, promote, *_ = log_thresholds(self.rules)
        looks = stage.looks
        shares = _shares([stage], [len(looks.people)])
        harm, safe, watched = self._paths(drawn, stage, shares, earlier, passed, promote)
        if stage.late is not None:
            return self._late(drawn, stage, stage.late, earlier, passed, (harm, safe, watched))
        harm = np.maximum.accumulate(harm, axis=-1)  # once shown, harm stays shown; safety must stand
        rows = decide(
            Evidence(
                units_canary=np.cumsum(drawn.canary, axis=-1),
                units_control=np.cumsum(drawn.control, axis=-1),
                harm_log_e=harm,
                safe_log_e=standing_safety(safe, harm >= roll_back),
                srm_log_e=np.maximum.accumulate(watched, axis=-1),
                in_grace=True,
                dwell_met=looks.dwell_met,
            ),
            self.rules,
        )
        waiting = rows == Row.SAFE
        if drawn.hidden is not None and waiting.any():
            runs = waiting.any(axis=1)
            harmed = harm[:, runs] >= roll_back
            waiting[runs] &= ~self._safe_although_hidden(drawn.of_runs(runs), stage, shares, harmed, promote)
            rows = np.where(waiting, np.int8(Row.GO_ON), rows)
        return rows

    def _paths(
        self,
        drawn: Drawn,
        stage: StageRates,
        shares: np.ndarray,
        earlier: Drawn,
        passed: Sequence[StageRates],
        wanted: float = -math.inf,
    ) -> Paths:
        """Evidence of harm and of safety by guardrail, and of a split that is off, at each look for itself.

        `shares` are the parts of the people behind each look; safety is exact from where it is `wanted` on.
        """
        roll_back, promote, *srm = log_thresholds(self.rules)
        shape = drawn.canary.shape
        harm, safe = np.empty((len(self.truths), *shape)), np.empty((len(self.truths), *shape))
        parts = ramp_parts(len(passed), self.sharing)
        joined = np.concatenate([_shares(passed, [1] * len(passed)), shares]) if passed else shares
        for place, truth in enumerate(self.truths):
            weight = math.log(self.weights[place])
            margin = stage.margins[place]
            if not truth.is_share:
                harm[place], safe[place] = self._value(place, drawn, stage, margin)
                harm[place] += weight - math.log(self.sharing)
                continue
            against, within = self._mixtures(place, margin)
            safe[place] = self._share(place, within, drawn, shares, (promote - LOST, math.inf), wanted)
            before = earlier.events_canary[place] + earlier.events_control[place]
            alone = ~before.any(axis=1)  # nothing was carried along: the stage's own sequence is all there is
            own = np.where(alone, ramp_parts(0, self.sharing).whole, parts.own)
            needed = roll_back - weight
            exact = needed - float(np.log(own.max())), needed - float(np.log(own.min()))
            harm[place] = self._share(place, against, drawn, shares, exact) + weight + np.log(own)[:, None]
            if not alone.all():
                whole, seen = math.log(parts.whole), Drawn.join([earlier, drawn])
                over = self._share(place, against, seen, joined, (needed - whole, needed - whole))
                np.maximum(harm[place], over[:, len(passed) :] + weight + whole, out=harm[place])
        watched = np.zeros(shape)
        if self.srm:
            people = drawn.canary + drawn.control
            planned = _shares([stage], [shape[1]])
            watched = self._log_e(SRM_MIXTURE, drawn.canary, people, planned, (min(srm), max(srm)))
        return harm, safe, watched

    def _late(
        self,
        drawn: Drawn,
        stage: StageRates,
        late: LateLooks,
        earlier: Drawn,
        passed: Sequence[StageRates],
        whole: Paths,
    ) -> np.ndarray:
        """The rows where one arm is late: complete looks, then what has arrived of those since."""
        there = drawn.arrived
        assert there is not None
        planned = _shares([stage], [len(stage.looks.people)])

        def more(done: int, until: int) -> Paths:
            some = there.columns(done, until)
            first = drawn.columns(0, done)
            rows = fewer(planned[done:until], late.arm)
            if done:
                some = Drawn.join([first.total(np.full(len(first.canary), done - 1)), some])
                rows = np.concatenate([planned[:1], rows])
            return self._paths(some, stage, rows, earlier, passed)

        events = np.stack(drawn.events_canary if late.arm.is_canary else drawn.events_control)
        lower = np.array([truth.guardrail.worse == "lower" for truth in self.truths])
        roll_back = log_thresholds(self.rules)[0]
        harm, safe, split = late_evidence(late, whole, more, events, lower, roll_back)
        return decide(
            Evidence(
                units_canary=late.people(drawn.canary, there.canary),
                units_control=late.people(drawn.control, there.control),
                harm_log_e=harm,
                safe_log_e=safe,
                srm_log_e=split,
                in_grace=True,
                dwell_met=stage.looks.dwell_met[late.open - 1],
            ),
            self.rules,
        )

    def _safe_although_hidden(
        self, drawn: Drawn, stage: StageRates, shares: np.ndarray, harmed: np.ndarray, promote: float
    ) -> np.ndarray:
        """Where safety is shown against what is left of each margin, if all who changed variant hide a harm.

        What is left differs by run and look; the evidence is taken at `MARGINS_TRIED` margins and between
        them in proportion.
        """
        assert drawn.hidden is not None
        safe = np.ones(drawn.canary.shape, bool)
        for place, truth in enumerate(self.truths):
            points = truth.guardrail.margin  # in the metric's unit: of these a part is left, else of a ratio
            whole = 1.0 if points is not None else math.log(stage.margins[place])
            canary, control = drawn.hidden[place]
            left = 1 - canary - control
            if points is None:
                left = np.log(diluted_ratio(stage.margins[place], canary, control)) / whole
            levels = np.linspace(max(float(left.min()), 1e-3), 1.0, MARGINS_TRIED)
            paths = []
            for level in levels:
                if truth.is_share:
                    within, exact = (
                        self._mixtures(place, math.exp(whole * level))[1],
                        (promote - LOST, math.inf),
                    )
                    path = self._share(place, within, drawn, shares, exact)
                else:
                    path = self._value(place, drawn, stage, math.exp(whole * level), level)[1]
                paths.append(standing_safety(path, harmed[place]))
            step = max(levels[1] - levels[0], 1e-12)
            at = np.clip((left - levels[0]) / step, 0, MARGINS_TRIED - 1)
            below = np.minimum(at.astype(np.int64), MARGINS_TRIED - 2)
            low, high = (np.take_along_axis(np.stack(paths), (below + i)[None], axis=0)[0] for i in (0, 1))
            safe &= low + (at - below) * (high - low) >= promote
        return safe

    def _mixtures(self, place: int, margin: float) -> tuple[EventMixture, EventMixture]:
        """What harm and safety of a share are measured against, the arms swapped where lower is worse."""
        guardrail, own = self.truths[place].guardrail, self.truths[place].margin_ratio
        lower, roll_back = guardrail.worse == "lower", guardrail.roll_back_beyond(own)
        harm, safe = event_mixtures(*((1 / own, 1 / roll_back) if lower else (own, roll_back)))
        if self.mixture is not None:
            harm, safe = self.mixture, replace(self.mixture, side="safe")
        return harm, replace(safe, null_ratio=1 / margin if lower else margin)

    def _share(
        self,
        place: int,
        mixture: EventMixture,
        drawn: Drawn,
        shares: np.ndarray,
        exact: tuple[float, float],
        wanted: float = -math.inf,
    ) -> np.ndarray:
        """Running log E of a share guardrail, exact between two thresholds from where it is `wanted` on."""
        ours, theirs, _, _ = self._oriented(place, drawn)
        part = drawn.parts[place]
        exposure = shares if part is None else np.stack([part, 1 - part], axis=-1)
        if self.truths[place].guardrail.worse == "lower":
            exposure = exposure[..., ::-1]
        return self._log_e(mixture, ours, ours + theirs, exposure, exact, wanted)

    def _value(
        self, place: int, drawn: Drawn, stage: StageRates, margin: float, left: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Evidence of harm and of safety of a mean; of a margin in its unit a part may be `left`."""
        truth, gate = self.truths[place], int(np.argmax(stage.looks.dwell_met))
        canary = stage.canary_so_far(place)
        n = np.maximum(np.cumsum(drawn.canary, axis=-1), 1)
        m = np.maximum(np.cumsum(drawn.control, axis=-1), 1)
        known = drawn.known[place] if drawn.known else None
        if known is None:
            ours = np.cumsum(drawn.events_canary[place], axis=-1) / n
            theirs = np.cumsum(drawn.events_control[place], axis=-1) / m
            means, sharpest = (ours, theirs), slice(gate, gate + 1)
            return truth.mean_evidence(means, (n, m), margin, sharpest, canary=canary, left=left)
        harm, safe = np.empty(n.shape), np.empty(n.shape)
        needed = log_thresholds(self.rules)[0] - math.log(self.weights[place] / self.sharing)
        for look, (ours, theirs, come) in enumerate(
            known
        ):  # all of the people so far, by what has come of them
            people, at = (n[:, : look + 1], m[:, : look + 1]), min(gate, look)
            means, so_far = (
                (ours / people[0], theirs / people[1]),
                (canary[0][: look + 1], canary[1][: look + 1]),
            )
            options: Any = {"left": left, "come": come, "progress": min(1.0, (look + 1) / (gate + 1))}
            paths = truth.mean_evidence(means, people, margin, slice(at, at + 1), canary=so_far, **options)
            harmed = np.maximum.accumulate(paths[0], axis=-1)
            harm[:, look], safe[:, look] = harmed[:, -1], standing_safety(paths[1], harmed >= needed)[:, -1]
        return harm, safe

    def _log_e(
        self,
        mixture: EventMixture,
        x: np.ndarray,
        n: np.ndarray,
        exposure: np.ndarray,
        thresholds: tuple[float, float],
        wanted: float = -math.inf,
    ) -> np.ndarray:
        """Running log E; the compiled form gives bounds where its value does not matter, see `run_paths`."""
        canary, control = exposure[..., 0], exposure[..., 1]
        if not (self.compiled and can_compile()):
            return mixture.log_e(x, n, canary, control)
        from canarykit.stats.any_look.event_kernels import bounded_log_e, running_log_e

        if exposure.ndim > 2:
            return running_log_e(mixture, *event_intervals(x, n, canary, control))
        return bounded_log_e(mixture, x, n, canary, control, thresholds, wanted)


def _shares(stages: Sequence[StageRates], looks: list[int]) -> np.ndarray:
    """Parts of the people in the canary and in the control, one row a look."""
    return np.repeat([[stage.looks.share, stage.looks.control_share] for stage in stages], looks, axis=0)
