"""What every answer leaves out or does not know, and the words for it: the same codes from every engine."""

from __future__ import annotations

from collections.abc import Mapping

from canarykit.display import Note

DROPPED = {
    "no_event_name": "events without a name were dropped",
    "snapshots": "$snapshot events were dropped: replay data",
    "no_time": "events without a time that can be read were dropped",
    "no_id": "events without any id were dropped",
}
"""Reasons why a row is not an event that can be counted, in the order in which they are asked."""

UNREADABLE = (
    "events with properties that are not JSON objects, or with a number of hundreds of digits: "
    "what cannot be read is treated as missing"
)

LOST = ("no_event_name", "no_time", "no_id", "bad_json", "bad_lines")
"""Codes of notes that count events of which something is lost; replay data and duplicates lose nothing."""


def dropping_notes(counts: Mapping[str, int]) -> list[Note]:
    """A note for every reason that some row had."""
    return [Note(code, text, counts[code]) for code, text in DROPPED.items() if counts.get(code)]
