"""Exports of other systems, read into an `EventLog`."""

from canarykit.events.exports.posthog import read_posthog, scan_posthog

__all__ = ["read_posthog", "scan_posthog"]
