"""Who is in the canary: evaluate a flag, or every stage of a plan, for a whole table of persons at once."""

from canarykit.assign.cohorts import assign_cohorts
from canarykit.assign.evaluate import evaluate_flag

__all__ = ["assign_cohorts", "evaluate_flag"]
