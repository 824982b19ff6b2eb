"""Whether the log has what a funnel names: events, properties, the flag. Slips are refused, absences noted.

Names are held against the log only where the answer gives reason to (nobody did a step, everybody lacks the
breakdown value) or cannot show a slip (exclusions, filters, one event of several), so that the usual funnel
costs no further pass over the events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarykit.display import Note
from canarykit.events.names import check_events, check_flag, check_properties
from canarykit.funnels.engine.breakdowns import breakdown_columns
from canarykit.funnels.engine.filters import columns_of

if TYPE_CHECKING:
    from canarykit.events import EventLog
    from canarykit.funnels.answers.funnel import Funnel
    from canarykit.funnels.question.specs import FunnelQuery


def recorded_notes(funnel: Funnel, log: EventLog) -> tuple[Note, ...]:
    """A note per name the log lacks; `DataError` where it looks like a misspelling of one it has."""
    query = funnel.query
    notes = check_events(log, _events_in_doubt(funnel))
    if filters := _filtered(query):
        notes += check_properties(log, filters)
    labels = [label for label in funnel.variants if label is not None]
    if query.breakdown is None or query.flag_exposure or any(_is_value(label) for label in labels):
        return notes
    if query.flag is None:
        return notes + check_properties(log, breakdown_columns(query.breakdown))
    check_flag(log, query.flag)
    if not labels:
        return notes
    text = f"no event of the funnel carries $feature/{query.flag}: attribution='exposure' goes by its calls"
    return (*notes, Note("flag_not_carried", text))


def _events_in_doubt(funnel: Funnel) -> list[str | None]:
    """Names that the counts do not vouch for."""
    query = funnel.query
    reached = [0] * query.n_steps
    for row in funnel.rows:
        reached[row["step"] - 1] += row["count"]
    entities = [exclusion.entity for exclusion in query.exclusions]
    for count, step in zip(reached, query.steps, strict=True):
        vouched = count > 0 and query.order != "unordered" and len(step.entities) == 1
        entities += () if vouched else step.entities
    return [entity.event for entity in entities]


def _filtered(query: FunnelQuery) -> list[str]:
    groups = [query.filters, *(exclusion.entity.filters for exclusion in query.exclusions)]
    for step in query.steps:
        groups += [step.filters, *(entity.filters for entity in step.entities)]
    return [name for group in groups for name in columns_of(group)]


def _is_value(label: str | tuple[str, ...]) -> bool:
    return any(label) if isinstance(label, tuple) else bool(label)
