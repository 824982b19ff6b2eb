"""Whom a rollout reaches and what it does to them: population, scenario, assignment."""
