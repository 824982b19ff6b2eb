"""What the data say of themselves around a stage: fresh, complete, without holes, usable; read once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from canarykit.health.data.pulse import Pulse, read_pulse
from canarykit.health.data.silences import Silence
from canarykit.health.data.unusable import Unusable, unusable_events
from canarykit.health.people.cohort import Cohort, holdout_cohort, stage_cohort
from canarykit.health.question import Question
from canarykit.periods import moment

if TYPE_CHECKING:
    from canarykit.health.evidence.event_evidence import GuardrailEvidence

_HOUR = 3_600_000_000


@dataclass(frozen=True, eq=False)
class DataState:
    """The state of the data behind a question; everything that decides reads it, nothing changes it."""

    question: Question  # what was asked
    pulse: Pulse  # newest event, silences, delays and the busiest people around the stage
    cohort: Cohort | None  # people of both arms, where the stage has two
    unusable: Unusable  # events of the export that tell nothing
    # until when events count: the question's end, or earlier where the newest hours are not complete
    until: pd.Timestamp

    @classmethod
    def read(cls, question: Question) -> DataState:
        """Read the data around a stage: one pass for the pulse, and what the export could not use."""
        cohort = _cohort(question, question.stop)
        pulse = read_pulse(question, None if cohort is None else cohort.units[cohort.used])
        unusable = unusable_events(question.log)
        state = cls(question, pulse, cohort, unusable, question.stop)
        if pulse.complete_until is None or not state.is_complete:
            return state
        until = min(question.stop, moment(pulse.complete_until))
        return cls(question, pulse, _cohort(question, until), unusable, until)

    @property
    def looks(self) -> npt.NDArray[np.int64]:
        """End of each look in microseconds, the last one where events stop counting."""
        origin, step = self.question.origin, self.question.step
        last = int(self.until.value // 1000)
        return np.append(np.arange(origin + step, last, step, dtype=np.int64), last)

    @property
    def seconds(self) -> float:
        """Length of the stage so far, as far as events count."""
        return float((self.until - self.question.start).total_seconds())

    @property
    def dwell_left(self) -> float:
        """Seconds until the minimum stay is over; 0 when it is."""
        return max(0.0, self.question.min_dwell - self.seconds)

    @property
    def is_complete(self) -> bool:
        """Whether any hour of the stage is complete, as far as the delays of the events tell."""
        until = self.pulse.complete_until
        return until is None or until > self.question.origin

    @property
    def is_fresh(self) -> bool:
        """Whether the events reach up to the end, give or take the freshness, and are complete at all."""
        if self.pulse.newest is None or not self.is_complete:
            return False
        return bool((self.question.stop - self.pulse.newest).total_seconds() <= self.question.freshness)

    @property
    def too_many_unusable(self) -> bool:
        """Whether more events than are let pass could not be used, or the export says that it lacks some."""
        return self.unusable.is_too_much(self.question.max_unusable_share)

    @property
    def open_gaps(self) -> tuple[Silence, ...]:
        """Times without any event, or without any call of a flag, that nobody has explained."""
        return tuple(silence for silence in self.pulse.gaps if not self.is_explained(silence))

    @property
    def is_whole(self) -> bool:
        """Whether nothing that could have spoken against a promotion is missing from the data."""
        return not self.open_gaps and not self.too_many_unusable

    @property
    def gaps(self) -> tuple[tuple[pd.Timestamp, pd.Timestamp], ...]:
        """All times without data that were found, in the whole log or in one arm, in order."""
        silences = (*self.pulse.gaps, *(item.silence for item in self.pulse.arms))
        ends = sorted({(silence.since, silence.until) for silence in silences})
        return tuple((self.question.local(since), self.question.local(until)) for since, until in ends)

    @property
    def one_sided(self) -> bool:
        """Whether one arm alone was silent for a time, so that nothing can be compared."""
        return bool(self.pulse.arms)

    def proven_while_complete(self, i: int, evidence: GuardrailEvidence) -> GuardrailEvidence:
        """The evidence of a guardrail with its safety, and the limit that shows it, as of its complete hours.

        Crash reports that come a day late say nothing of the last day, whatever the other events say of it.
        Where the reports of one arm alone are late, and that makes the canary look worse, its harm too is
        judged as of the hours that are complete.
        """
        if i >= len(self.pulse.own_complete):
            return evidence
        complete = self.pulse.own_complete[i]
        lower = evidence.guardrail.worse == "lower"
        unproven = (math.inf, 0.0 if evidence.unit == "ratio" else -math.inf)
        if complete.until is not None:
            evidence = self._frozen(
                evidence, complete.until, "safe_log_e", "low" if lower else "high", unproven[lower]
            )
        # what one arm alone has still to report must not look like harm either
        late, other = (complete.canary, complete.control) if lower else (complete.control, complete.canary)
        if late is not None and (other is None or late < other):
            evidence = self._frozen(
                evidence, late, "harm_log_e", "high" if lower else "low", unproven[not lower]
            )
        return evidence

    def _frozen(
        self, evidence: GuardrailEvidence, until: int, name: str, limit: str, unproven: float
    ) -> GuardrailEvidence:
        """The evidence with one side, and the limit that shows it, as they stood at a moment."""
        complete = int(np.searchsorted(self.looks, until, side="right"))
        series = np.array(getattr(evidence, name), dtype=float)
        bound = np.array(getattr(evidence, limit), dtype=float)
        series[complete:] = series[complete - 1] if complete else 0.0
        bound[complete:] = bound[complete - 1] if complete else unproven
        changed: dict[str, Any] = {name: series, limit: bound}
        return replace(evidence, **changed)

    def is_explained(self, silence: Silence) -> bool:
        """Whether a silence lies within a known gap, give or take an hour at its ends."""
        return any(
            int(since.value // 1000) - _HOUR <= silence.since
            and silence.until <= int(until.value // 1000) + _HOUR
            for since, until in self.question.known_gaps
        )


def _cohort(question: Question, until: pd.Timestamp) -> Cohort | None:
    """People of both arms, where the stage has two."""
    if question.kind == "full":
        return holdout_cohort(question.plan, question.stage, question.by_stage, until=until)
    if question.kind == "percentage":
        return stage_cohort(question, question.stage, until=until)
    return None
