"""Feature flags as frozen values, with PostHog's JSON in and out without losing a key.

A flag is a list of condition sets (OR, in stored order), each a list of property filters (AND) with a
rollout percentage, and optionally variants. Reading keeps the JSON a value came from, so that writing an
unchanged flag gives back the same JSON, and writing an edited one changes only what was edited.
Nothing is evaluated here: see `canarykit.assign`.
"""

from canarykit.flags.collection import FlagSet, read_flags
from canarykit.flags.definition import Flag
from canarykit.flags.lossless import UNSET
from canarykit.flags.parts import Condition, Holdout, PropertyFilter, Variant

__all__ = ["UNSET", "Condition", "Flag", "FlagSet", "Holdout", "PropertyFilter", "Variant", "read_flags"]
