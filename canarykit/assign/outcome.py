"""What an evaluation answers for every row: an arm, a reason, the condition set that decided."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from canarykit.errors import UnsupportedFlagError
from canarykit.flags import Condition, Flag
from canarykit.targeting.matcher import INCONCLUSIVE, SERVER
from canarykit.targeting.units import Ids

OFF, ON, FIRST_VARIANT = 0, 1, 2
UNKNOWN, NEEDS_SERVER = -1, -2

Reason: tuple[str, ...] = (
    "missing_dependency", "flag_disabled", "no_group_type", "no_condition_match", "out_of_rollout_bound",
    "condition_match", "holdout_condition_value", "super_condition_value", "inconclusive", "needs_server",
    "missing_id",
)  # fmt: skip
"""Reason codes by number; of the first eight the higher is the more telling, and is the one reported."""
CODE = {name: number for number, name in enumerate(Reason)}


@dataclass
class Outcome:
    """Answers row by row."""

    arm: np.ndarray  # 0 off, 1 on, 2 + i the i-th variant, then the holdout; negative where it cannot be told
    reason: np.ndarray  # number in `Reason`
    # index of the condition set that decided, or that came nearest; -1 where there is none
    condition: np.ndarray
    bucket: np.ndarray  # the rollout hash of the id that was bucketed; NaN where there is none
    open: np.ndarray = field(repr=False)  # rows that are not decided yet
    # rows that wait for a hashed variant, with the ids it is hashed from
    to_draw: list[tuple[np.ndarray, Ids]] = field(default_factory=list, repr=False)

    @classmethod
    def start(cls, rows: int, flag: Flag) -> Outcome:
        """Nothing decided: every row is off, for want of a set that applies."""
        few = max(len(flag.conditions), len(flag.variants)) < 120
        kind = np.int8 if few else np.int16
        return cls(
            arm=np.zeros(rows, dtype=kind),
            reason=np.full(rows, CODE["no_group_type"], dtype=np.int8),
            condition=np.full(rows, -1, dtype=kind),
            bucket=np.full(rows, np.nan),
            open=np.ones(rows, dtype=bool),
        )

    def close(self, rows: np.ndarray, reason: str, arm: int | np.ndarray, condition: int = -1) -> None:
        """Decide some of the open rows."""
        rows = rows & self.open
        _put(self.arm, rows, arm)
        _put(self.reason, rows, CODE[reason])
        _put(self.condition, rows, condition)
        self.open = self.open & ~rows

    def note(self, rows: np.ndarray, reason: str, condition: int) -> None:
        """Remember why a set did not match, if that tells more than what is remembered."""
        rows = rows & self.open & (self.reason <= CODE[reason])
        _put(self.reason, rows, CODE[reason])
        _put(self.condition, rows, condition)

    def give_up(self, rows: np.ndarray, answer: int) -> None:
        """Close rows whose value cannot be told here."""
        if answer == SERVER:
            self.close(rows, "needs_server", NEEDS_SERVER)
        elif answer == INCONCLUSIVE:
            self.close(rows, "inconclusive", UNKNOWN)


def _put(values: np.ndarray, rows: np.ndarray, new: int | np.ndarray) -> None:
    """`values[rows] = new[rows]` without branches, which is several times as fast on scattered rows."""
    mask = rows.view(np.int8) if values.dtype == np.int8 else rows.astype(values.dtype)
    changed = values ^ np.asarray(new, dtype=values.dtype)
    changed &= -mask
    values ^= changed


def arms_of(flag: Flag) -> list[str]:
    """The text of each arm code."""
    variants = [variant.key for variant in flag.variants]
    return ["false", "true", *variants, *([flag.holdout.value] if flag.holdout else [])]


def decide_matched(
    outcome: Outcome, rows: np.ndarray, flag: Flag, condition: Condition, position: int, ids: Ids
) -> None:
    """Close the rows that match a set: with its override if that names a variant, else a hashed variant."""
    keys = [variant.key for variant in flag.variants]
    if condition.variant in keys:
        outcome.close(rows, "condition_match", FIRST_VARIANT + keys.index(condition.variant), position)
        return
    if keys:
        outcome.to_draw.append((rows & outcome.open, ids))
    outcome.close(rows, "condition_match", ON, position)


def draw_variants(outcome: Outcome, flag: Flag) -> None:
    """Give every row that waits for it its hashed variant; nothing is hashed where it decides nothing."""
    edges, edge = [], 0.0
    for variant in flag.variants:
        edge += variant.rollout_percentage / 100
        edges.append(edge)
    by_ids = {id(ids): ids for _, ids in outcome.to_draw}
    for key, ids in by_ids.items():
        rows = np.logical_or.reduce([waiting for waiting, theirs in outcome.to_draw if id(theirs) == key])
        few = rows.mean() < 0.5 if len(rows) else False
        numbers = (ids.only(rows) if few else ids).hash01(f"{flag.key}.", "variant")
        arm = np.full(len(numbers), FIRST_VARIANT, dtype=outcome.arm.dtype)
        for edge in edges:  # the first edge above the number; edges never fall
            arm += numbers >= edge
        _put(arm, arm == FIRST_VARIANT + len(edges), ON)
        if few:
            outcome.arm[rows] = arm
        else:
            _put(outcome.arm, rows, arm)


def refuse_unsupported(flag: Flag, *, continuity: bool = True) -> None:
    """Raise where a flag cannot be recomputed from its definition, saying what to do instead."""
    if flag.config_version == 2:
        raise UnsupportedFlagError(
            f"flag {flag.key!r} uses the version 2 configuration (typed rules with their own seeds), which "
            "cannot be recomputed here; use the observed values ($feature/"
            f"{flag.key}, $feature_flag_response), for example with exposures(log, {flag.key!r})"
        )
    if continuity and flag.active and flag.ensure_experience_continuity:
        raise UnsupportedFlagError(
            f"flag {flag.key!r} keeps its value across login (ensure_experience_continuity): the stored ids "
            "it hashes are not exported, so it cannot be recomputed; use the observed values, for "
            f"example with exposures(log, {flag.key!r}), or turn the option off and bucket by device id"
        )
