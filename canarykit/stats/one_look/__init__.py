"""Estimates and tests for one planned look."""
