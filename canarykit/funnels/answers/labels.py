"""What the groups of a funnel are called."""

from __future__ import annotations

from canarykit.funnels.engine.runs import Label
from canarykit.funnels.question.specs import FunnelQuery


def label_text(label: Label, blank: str = "(missing)") -> str:
    """A breakdown value as people read it; `blank` stands for a value that is not there.

    Examples
    --------
    >>> label_text(None), label_text(""), label_text(("Chrome", "95"))
    ('everybody', '(missing)', 'Chrome · 95')
    """
    if label is None:
        return "everybody"
    if isinstance(label, tuple):
        return " · ".join(part or blank for part in label)
    return label or blank


def blank_name(query: FunnelQuery) -> str:
    """What a missing breakdown value is called: of a flag it is unknown, never control."""
    return "(missing)" if query.flag is None else "unknown"
