"""Funnels with PostHog's semantics: where people of each variant fall out."""

from canarykit.funnels.api import funnel_by_flag

__all__ = ["funnel_by_flag"]
