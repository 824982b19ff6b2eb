"""Events of an export that tell nothing: how many there are, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from canarykit.display import format_value

if TYPE_CHECKING:
    from canarykit.events import EventLog

_REASONS = {
    "no_time": "without a time that can be read",
    "no_id": "without any id",
    "no_event_name": "without a name",
    "bad_json": "whose properties are not JSON",
    "bad_lines": "on lines that are not JSON",
}


@dataclass(frozen=True)
class Unusable:
    """Events of an export that tell nothing, by reason, and all its events (replay data are none)."""

    counts: dict[str, int]  # how many events, by the code of the reason
    events: int  # all events
    # what the export itself says it lacks, such as further pages; empty where it says nothing
    missing: tuple[str, ...] = ()

    def is_too_much(self, most: float) -> bool:
        """Whether nothing may be promoted on what is left."""
        return not self.share <= most or bool(self.missing)

    @property
    def share(self) -> float:
        """Part of all events that tells nothing."""
        return sum(self.counts.values()) / self.events if self.events else 0.0

    def words(self, most: float) -> str:
        """Why it holds a promotion."""
        if self.missing:
            return f"The export is not complete ({'; '.join(self.missing)}), so nothing is promoted."
        reasons = ", ".join(f"{count:,} {_REASONS[code]}" for code, count in self.counts.items())
        return (
            f"{format_value(self.share, 'share')} of the export's events cannot be used ({reasons}; "
            f"{self.events:,} in all), where at most {format_value(most, 'share')} is let pass: what they "
            "would have shown is not known, so nothing is promoted."
        )


def unusable_events(log: EventLog) -> Unusable:
    """How many events of the whole export could not be used, and why; a log in files is read for it once."""
    return log.remember("unusable events", lambda: _counted(log))


def _counted(log: EventLog) -> Unusable:
    notes = log.count_dropped()
    counts = {code: sum(note.count or 0 for note in notes if note.code == code) for code in _REASONS}
    dropped = sum(count for code, count in counts.items() if code != "bad_json")  # those stay, unread
    events = sum(log.event_names().values()) + dropped
    missing = tuple(note.text for note in notes if note.code == "more_pages")
    return Unusable({code: count for code, count in counts.items() if count}, events, missing)
