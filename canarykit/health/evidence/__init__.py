"""Evidence at every look: of events, of values, of earlier stages, and what would settle an open question."""

from canarykit.health.evidence.event_evidence import event_mixtures

__all__ = ["event_mixtures"]
