"""Checks of a change: percentages that fall, variants that flip, splits of two flags that go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from math import erfc, sqrt

import numpy as np
import pandas as pd

from canarykit.assign.outcome import FIRST_VARIANT, ON, Outcome, arms_of
from canarykit.flags import Condition, Flag, FlagSet
from canarykit.linting.audience import People, read_people
from canarykit.linting.findings import Finding

STAND_INS = 4_000


def stand_in_people(flags: FlagSet) -> People:
    """Made-up ids without properties, on which hashes can be compared where no persons are given."""
    ids = pd.DataFrame({"distinct_id": [f"stand-in-{number}" for number in range(STAND_INS)]})
    people = read_people(ids, flags)
    assert people is not None
    return people


def check_change(before: Flag, after: Flag, people: People | None, where: str = "") -> Iterator[Finding]:
    """What goes wrong when the first definition is replaced by the second."""
    at = where or "against the running definition"
    for index, (old, new) in enumerate(_paired(before, after)):
        first, then = _share(old), _share(new)
        if then < first:
            left = None
            if people is not None:
                arm_before, arm_after = people.outcome(before).arm, people.outcome(after).arm
                left = int(((arm_before >= ON) & (arm_after == 0)).sum())
            what = f"set {index + 1} falls from {first:g} % to {then:g} %: people lose what they had"
            mend = "raise percentages only; to stop, disable the flag"
            yield Finding("lowered percentage", "warning", after.key, at, what, mend, left)
    yield from _flips(before, after, people, at)


def _paired(before: Flag, after: Flag) -> list[tuple[Condition, Condition]]:
    """Sets with the same filters and override, in the order of the second definition."""
    pairs, left = [], list(before.conditions)
    for new in after.conditions:
        match = next((old for old in left if old.properties == new.properties), None)
        if match is not None:
            left.remove(match)
            pairs.append((match, new))
    return pairs


def _flips(before: Flag, after: Flag, people: People | None, at: str) -> Iterator[Finding]:
    """Variants are laid out one after the other: a share that grows pushes every later edge."""
    if not before.variants or not after.variants:
        return
    shares = [[(v.key, v.rollout_percentage) for v in flag.variants] for flag in (before, after)]
    if shares[0] == shares[1]:
        return
    moved = _moved_share(*shares)
    if moved <= 0:
        return
    affected = None
    if people is not None:
        affected = int(changed_variant(before, people.outcome(before), after, people.outcome(after)).sum())
    what = f"the new shares move the edges between variants: {moved:.1f} % of those in change variant"
    mend = "leave the variants as they are and grow the rollout percentage; or start a new flag"
    yield Finding("ramp flips variants", "error", after.key, at, what, mend, affected)


def _moved_share(before: Sequence[tuple[str, float]], after: Sequence[tuple[str, float]]) -> float:
    """Percent of the hash range whose variant differs, apart from what the control gives up."""
    edges = {0.0, 100.0}
    for layout in (before, after):
        edges |= set(np.cumsum([share for _, share in layout]).tolist())
    ordered = sorted(edge for edge in edges if 0 <= edge <= 100)
    middles = [(low + high) / 2 for low, high in pairwise(ordered)]
    widths = np.diff(ordered)
    changed = [_variant_at(before, middle) != _variant_at(after, middle) for middle in middles]
    return float(widths[np.array(changed, dtype=bool)].sum())


def _variant_at(layout: Sequence[tuple[str, float]], percent: float) -> str | None:
    edge = 0.0
    for key, share in layout:
        edge += share
        if percent < edge:
            return key
    return None


def changed_variant(before: Flag, old: Outcome, after: Flag, new: Outcome) -> np.ndarray:
    """Who had one variant and gets another."""
    names = (np.array(arms_of(before), dtype=object), np.array(arms_of(after), dtype=object))
    both = (old.arm >= FIRST_VARIANT) & (new.arm >= FIRST_VARIANT)
    return both & (names[0][old.arm] != names[1][new.arm])


def check_correlation(flags: Sequence[Flag], people: People) -> Iterator[Finding]:
    """Running flags whose values go together: the effect of one is then measured as the other's."""
    running = {}
    for flag in flags:
        if not flag.active or flag.deleted or flag.config_version == 2 or flag.ensure_experience_continuity:
            continue
        arm = people.outcome(flag).arm
        counts = np.bincount(np.clip(arm, 0, None))
        if (arm >= 0).all() and (counts > 0).sum() > 1:
            running[flag.key] = arm
    for (one, left), (other, right) in combinations(running.items(), 2):
        strength, p_value = _association(left, right)
        if strength < 0.1 or p_value > 1e-6:
            continue
        together = int((left == right).sum())
        what = f"its values go together with those of {other!r} (Cramér's V {strength:.2f})"
        mend = "keep the audiences apart, make one depend on the other on purpose, or measure them jointly"
        yield Finding("correlated flags", "warning", one, f"with {other}", what, mend, together)


def _association(left: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Cramér's V of two columns of arms, and a p-value of independence (Wilson-Hilferty)."""
    table = np.zeros((left.max() + 1, right.max() + 1))
    np.add.at(table, (left, right), 1)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    total = table.sum()
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / total
    chi2 = float(((table - expected) ** 2 / expected).sum())
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    normal = ((chi2 / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / sqrt(2 / (9 * freedom))
    return sqrt(chi2 / (total * (min(table.shape) - 1))), erfc(normal / sqrt(2)) / 2


def _share(condition: Condition) -> float:
    return 100.0 if condition.rollout_percentage is None else condition.rollout_percentage
