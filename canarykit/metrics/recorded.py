"""Whether the log has what guardrails name: their events and the properties these are read by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from canarykit.display import Note
from canarykit.events.names import check_events, check_properties
from canarykit.metrics.guardrail import Guardrail
from canarykit.metrics.share import SurveyAnswers

if TYPE_CHECKING:
    from canarykit.events import EventLog


def recorded_notes(log: EventLog, guardrails: Sequence[Guardrail]) -> tuple[Note, ...]:
    """A note per name the log lacks; `DataError` where it looks like a misspelling of one it has."""
    specs = [guardrail.metric for guardrail in guardrails]
    events = check_events(log, [name for spec in specs for name in spec.events])
    recorded = log.event_names()
    properties = [
        name
        for spec in specs
        if not isinstance(spec, SurveyAnswers) and any(name in recorded for name in spec.events)
        for name in spec.properties
    ]
    return events + check_properties(log, properties)
