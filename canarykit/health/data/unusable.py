"""Events of an export that tell nothing: how many there are, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from canarykit.display import format_value

__all__ = ["Unusable", "unusable_events"]

_REASONS = {
    "no_time": "without a time that can be read",
    "no_id": "without any id",
    "no_event_name": "without a name",
    "bad_json": "whose properties are no JSON",
}


@dataclass(frozen=True)
class Unusable:
    """Events of an export that tell nothing, by reason, and all its events (replay data are none)."""

    counts: dict[str, int]
    events: int

    @property
    def share(self) -> float:
        """Part of all events that tells nothing."""
        return sum(self.counts.values()) / self.events if self.events else 0.0

    def words(self, most: float) -> str:
        """Why it holds a promotion."""
        reasons = ", ".join(f"{count:,} {_REASONS[code]}" for code, count in self.counts.items())
        return (
            f"{format_value(self.share, 'share')} of the export's events cannot be used ({reasons}; "
            f"{self.events:,} in all), where at most {format_value(most, 'share')} is let pass: what they "
            "would have shown is not known, so nothing is promoted."
        )


_COUNTED: WeakKeyDictionary[Any, Unusable] = WeakKeyDictionary()
"""A log in files is read for it once."""


def unusable_events(log: Any) -> Unusable:
    """How many events of the whole export could not be used, and why."""
    if log not in _COUNTED:
        notes = log.count_dropped()
        counts = {code: sum(note.count or 0 for note in notes if note.code == code) for code in _REASONS}
        dropped = sum(count for code, count in counts.items() if code != "bad_json")  # those stay, unread
        events = sum(log.event_names().values()) + dropped
        _COUNTED[log] = Unusable({code: count for code, count in counts.items() if count}, events)
    return _COUNTED[log]
