"""Moving a release forward and back, in whatever system its flag lives: one write at a time, on record."""

from canarykit.release.outcome import Outcome
from canarykit.release.push import Push
from canarykit.release.record import Record, Timeline
from canarykit.release.refusals import ServerError
from canarykit.release.store import FlagStore, StoredFlag

__all__ = ["FlagStore", "Outcome", "Push", "Record", "ServerError", "StoredFlag", "Timeline"]
