"""The events of a release: one column contract, one narrow question, any engine."""

from canarykit.events.fields import PRESENT
from canarykit.events.log import EventLog
from canarykit.events.text import numeric

__all__ = ["PRESENT", "EventLog", "numeric"]
