"""A project in PostHog: read it, judge it, move its flags."""
