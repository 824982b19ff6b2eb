"""Shares of the arms by rule arithmetic, for the sample-ratio check of an audit.

Only the randomised part is compared: people whom no filter, override, enrolment or holdout decided. Edges
are inclusive on a grid of 2**-60, so a rollout of 0 % still admits one hash value, and variants that do not
sum to 100 leave some people with plain true.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from canarykit.flags import Condition, Flag

if TYPE_CHECKING:
    from canarykit.stats.estimate import Estimate

_GRID = float(1 << 60)


@dataclass(frozen=True)
class ShareCheck:
    """Expected and observed shares of the arms among the randomised people of one stage."""

    stage: str | None  # name of the stage; None without a plan
    arms: tuple[str, ...]  # flag values
    # shares by rule, people seen
    expected: tuple[float, ...]
    observed: tuple[int, ...]
    p_value: float | None  # of the sample-ratio check; None where fewer than two arms can occur

    @property
    def shares(self) -> tuple[Estimate, ...]:
        """Observed share of each arm with its Wilson interval."""
        from canarykit.stats.one_look.proportions import wilson

        estimates = (wilson(count, sum(self.observed)) for count in self.observed)
        return tuple(estimate for estimate in estimates if estimate is not None)

    def to_row(self) -> dict[str, Any]:
        """The check as plain values."""
        return {
            "stage": self.stage,
            "expected": dict(zip(self.arms, self.expected, strict=True)),
            "observed": dict(zip(self.arms, self.observed, strict=True)),
            "p_value": self.p_value,
        }


def expected_shares(flag: Flag) -> dict[str, float]:
    """Share of each flag value among people whom no filter decides, by the rules alone; sums to 1.

    Examples
    --------
    >>> from canarykit.flags import Variant
    >>> flag = Flag("f", (Condition(rollout_percentage=40),), (Variant("control", 50), Variant("test", 50)))
    >>> expected_shares(flag)
    {'false': 0.6, 'control': 0.2, 'test': 0.2}
    """
    everyone = [c for c in flag.conditions if not c.properties]
    if flag.early_exit:
        everyone = everyone[:1]
    shares = {"false": 1.0}
    reached = 0.0
    for condition in everyone:  # sets share one bucket: each adds what it has beyond the widest before it
        share = 100.0 if condition.rollout_percentage is None else condition.rollout_percentage
        admitted = 1.0 if share >= 100 else (np.floor(max(share, 0.0) / 100 * _GRID) + 1) / _GRID
        if admitted > reached:
            for arm, part in _split(flag, condition).items():
                shares[arm] = shares.get(arm, 0.0) + part * (admitted - reached)
            shares["false"] -= admitted - reached
            reached = admitted
    rounded = {arm: round(float(share), 15) for arm, share in shares.items()}
    return {arm: share for arm, share in rounded.items() if share > 0}


def _split(flag: Flag, condition: Condition) -> dict[str, float]:
    keys = [variant.key for variant in flag.variants]
    if not keys:
        return {"true": 1.0}
    if condition.variant in keys:
        return {str(condition.variant): 1.0}
    parts, edge = {}, 0.0
    for variant in flag.variants:
        above = min(edge + variant.rollout_percentage / 100, 1.0)
        parts[variant.key] = max(above - edge, 0.0)
        edge = max(edge, above)
    return {**parts, **({"true": 1.0 - edge} if edge < 1 - 1e-12 else {})}


def check_shares(stage: str | None, flag: Flag, people: pd.DataFrame) -> list[ShareCheck]:
    """Expected against observed shares of one definition; nothing where nobody was randomised.

    `people` are rows of an audit: `person_id`, `stage`, `observed`, `rule`, `condition`, `first_at`.
    """
    from canarykit.stats.one_look.srm import srm_chi_square

    shares = expected_shares(flag)
    if len(shares) < 2:
        return []
    rows = people if stage is None else people[people["stage"] == stage]
    open_sets = [index for index, c in enumerate(flag.conditions) if not c.properties and not c.variant]
    drawn = rows["rule"].isin(["condition_match", "out_of_rollout_bound"]) & rows["condition"].isin(open_sets)
    drawn |= (rows["rule"] == "no_condition_match") & ("false" in shares)
    first_values = rows[drawn & rows["observed"].notna()].sort_values("first_at").drop_duplicates("person_id")
    if first_values.empty:
        return []
    counts = first_values["observed"].value_counts()
    arms = tuple(shares)
    observed = tuple(int(counts.get(arm, 0)) for arm in arms)
    test = srm_chi_square(observed, list(shares.values())) if sum(observed) else None
    p_value = None if test is None else float(test.p_value)
    return [ShareCheck(stage, arms, tuple(shares.values()), observed, p_value)]
