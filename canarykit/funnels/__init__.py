"""Funnels with PostHog's semantics: where people of each variant fall out."""
