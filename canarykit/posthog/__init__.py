"""A project in PostHog: read its flags and events, judge a release, move the flag, keep a record."""

from canarykit.posthog.project import PostHog

__all__ = ["PostHog"]
