"""The rollout plan: stages as flag definitions and time windows, and its form as a file."""

from canarykit.plan.rollout_plan import RolloutPlan
from canarykit.plan.stage import Stage, condition_words, email_domain, people_named

__all__ = ["RolloutPlan", "Stage", "condition_words", "email_domain", "people_named"]
