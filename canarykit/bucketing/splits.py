"""From buckets to variants: running sums of weights, or explicit ranges, by each vendor's rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

import numpy as np

from canarykit.bucketing.buckets import admits, bucket_values, carry_spec
from canarykit.bucketing.vendors import VendorSpec, find_spec
from canarykit.errors import PlanError
from canarykit.hashing import read_ids

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.typing import Ids

Weights = Mapping[Any, float] | Iterable[tuple[Any, float]]
Ranges = Iterable[tuple[Any, float, float]]


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """What a vendor does with weights beyond its bucket's row."""

    each_scaled: bool = False  # sums scaled weights, not weights (the last bit differs)
    leftover: str = "nothing"  # of a bucket past the last edge: "nothing", "last variant" or a value
    descending: bool = False  # variants are walked by name, from the last
    gate: str | None = None  # "own hash": a rollout before the split; "coverage": a rollout inside it


RULES = {
    "posthog": SplitRule(each_scaled=True, leftover="true", gate="own hash"),
    "launchdarkly": SplitRule(each_scaled=True, leftover="last variant"),
    "growthbook": SplitRule(gate="coverage"),
    "unleash": SplitRule(gate="own hash"),
    "optimizely": SplitRule(),
    "split": SplitRule(leftover="control", gate="own hash"),
    "amplitude": SplitRule(gate="own hash"),
    "statsig": SplitRule(gate="own hash"),
    "microsoft": SplitRule(gate="own hash"),
    "firebase": SplitRule(),
    "configcat": SplitRule(),
    "eppo": SplitRule(gate="own hash"),
    "flagsmith": SplitRule(leftover="control"),
    "goff": SplitRule(descending=True),
    "harness": SplitRule(leftover="last variant"),
    "flagd": SplitRule(),
}
SUMMED = {"unleash", "goff", "flagd"}  # the sum of the weights is the number of buckets


class SplitOptions(TypedDict, total=False):
    """The keywords of `split`, for its overloads."""

    vendor: str
    weights: Weights | None
    ranges: Ranges | None
    rollout: float | None
    gate: Mapping[str, Any] | None
    flag: str | None
    salt: str | None
    seed: str | int | None
    by: str | None
    generation: str | int | None
    total: int | None
    otherwise: Any


@overload
def split(ids: pd.Series, **options: Unpack[SplitOptions]) -> pd.Series: ...  # type: ignore[overload-overlap]
@overload
def split(ids: str | float, **options: Unpack[SplitOptions]) -> Any: ...  # a variant, of whatever type it is
@overload
def split(ids: Ids, **options: Unpack[SplitOptions]) -> np.ndarray: ...
def split(
    ids: Ids | str | float,
    *,
    vendor: str = "posthog",
    weights: Weights | None = None,
    ranges: Ranges | None = None,
    rollout: float | None = None,
    gate: Mapping[str, Any] | None = None,
    flag: str | None = None,
    salt: str | None = None,
    seed: str | int | None = None,
    by: str | None = None,
    generation: str | int | None = None,
    total: int | None = None,
    otherwise: Any = None,
) -> Any:
    """The variant of every id, exactly as the vendor's SDK picks it.

    Parameters
    ----------
    ids, vendor, flag, salt, seed, by, generation, total
        As for `bucket`.
    weights
        `{variant: weight}` or `(variant, weight)` pairs, in the flag's order and the vendor's own unit:
        percent for PostHog, Split, ConfigCat, Flagsmith, Microsoft, Harness and GO Feature Flag; a fraction
        for GrowthBook; of 1,000 for Statsig, 10,000 for Optimizely and Eppo, 100,000 for LaunchDarkly,
        42,949,673 for Amplitude; micro-percent for Firebase; any numbers for Unleash and flagd.
    ranges
        Instead of weights: `(variant, start, end)` of the bucket, start included, end not (GrowthBook,
        Eppo, Amplitude, Microsoft, Statsig).
    rollout
        Who gets a variant at all, in the unit of the vendor's rollout: a second hash before the split, in
        GrowthBook the coverage of each variant's slice. None: everyone. Vendors with one hash for both have
        no such number; there the weights say it.
    gate
        Fields of the rollout's hash that differ from the split's: `{"flag": group_id}` for Unleash,
        `{"seed": traffic_seed}` for Split, `{"salt": ..., "rule": ...}` for Statsig, `{"salt": ...}` for
        Eppo.
    otherwise
        The value of a bucket that no variant takes. None: the vendor's own ("control" in Split and Flagsmith,
        "true" in PostHog, the last variant in LaunchDarkly and Harness), else no variant.

    Returns
    -------
    Series, array or value
        As the ids came in. A Series is categorical, missing where the id is outside the rollout, has no
        variant, or is left out for want of an id; its `attrs` are those of `bucket`.

    Raises
    ------
    PlanError
        If the vendor splits in another way than asked, or a weight is negative.

    Examples
    --------
    >>> split(["user-1", "user-2"], flag="new-checkout", weights={"control": 50, "test": 50}).tolist()
    ['control', 'test']
    """
    if vendor not in RULES:
        find_spec(vendor)
        raise PlanError(f"{vendor} has no variants, only in or out: use bucket()")
    if (weights is None) == (ranges is None):
        raise PlanError("say either weights= or ranges= of the variants")
    rule = RULES[vendor]
    spec = find_spec(vendor, "variant", generation)
    fields = {"flag": flag, "salt": salt, "seed": seed, "by": by}
    pairs = list(weights.items() if isinstance(weights, Mapping) else weights or ())
    if total is None and pairs and vendor in SUMMED and spec.total is not None:
        total = round(sum(max(weight, 0) for _, weight in pairs) * spec.edge[0])
        if not total and vendor == "unleash":  # no weight at all: on, without a variant
            total = None
    column = read_ids(ids, unusual=spec.unusual)
    values = bucket_values(column, spec, fields, total=total)
    if rule.gate == "coverage":
        slices = ranges or growthbook_ranges([weight for _, weight in pairs], coverage=rollout)
        codes, names = choose_by_range(values, slices, names=[name for name, _ in pairs] or None)
        return _restored(column, spec, codes, names)
    ours = fields if vendor == "posthog" else {**fields, "seed": None}  # a split's seed is not the gate's
    inside = _inside(column, vendor, rule, rollout, {**ours, **(gate or {})}, generation, total)
    values = np.where(inside, values, np.nan)
    if ranges is not None:
        codes, names = choose_by_range(values, ranges, closed_at=100 if vendor == "microsoft" else None)
        return _restored(column, spec, codes, names)
    codes, names = choose_by_weight(values, pairs, spec=spec, otherwise=otherwise, is_seeded=seed is not None)
    return _restored(column, spec, codes, names)


def choose_by_weight(
    values: np.ndarray,
    weights: Sequence[tuple[Any, float]],
    *,
    spec: VendorSpec,
    otherwise: Any = None,
    is_seeded: bool = False,
) -> tuple[np.ndarray, list[Any]]:
    """For every bucket the number of its variant and the variants; -1 where there is none (or no bucket).

    Running sums are taken from left to right in binary64, as the SDKs do: PostHog's 10 % + 20 % ends at
    0.30000000000000004. `is_seeded` marks PostHog's version 2 configurations, whose last variant takes what
    is left over.
    """
    rule = RULES[spec.vendor]
    pairs = sorted(weights, key=lambda pair: str(pair[0]), reverse=True) if rule.descending else list(weights)
    for name, weight in pairs:
        if not weight >= 0 and spec.vendor != "flagd":
            raise PlanError(f"variant {name!r} has weight {weight}, expected 0 or more")
    amounts = [max(weight, 0) for _, weight in pairs]
    times, over = spec.edge
    if spec.version == "fractional v1":
        amounts = [100 * amount / sum(amounts) if any(amounts) else 0 for amount in amounts]
    if rule.each_scaled:
        edges = list(accumulate(amount * times / over for amount in amounts))
    else:
        edges = [edge * times / over for edge in accumulate(amounts)]
    bounds = np.array(edges, dtype=np.float64)
    strict = spec.comparison == "<"
    codes = np.searchsorted(bounds, values, "right" if strict else "left").astype(np.int64)
    names = [name for name, _ in pairs]
    past = codes == len(names)
    codes[past] = -1
    left_over = past & ~np.isnan(values)
    if not left_over.any() or (not names and otherwise is None):
        return codes, names
    if otherwise is None and (rule.leftover == "last variant" or (spec.vendor == "posthog" and is_seeded)):
        codes[left_over] = len(names) - 1
    elif otherwise is not None or rule.leftover != "nothing":
        codes[left_over] = len(names)
        names.append(rule.leftover if otherwise is None else otherwise)
    return codes, names


def choose_by_range(
    values: np.ndarray,
    ranges: Ranges | Iterable[tuple[float, float]],
    *,
    names: Sequence[Any] | None = None,
    closed_at: float | None = None,
) -> tuple[np.ndarray, list[Any]]:
    """For every bucket the number of the first range `[start, end)` that holds it, and the ranges' names.

    A range that ends at `closed_at` includes its end.
    """
    listed = [tuple(item) for item in ranges]
    bounds = [(item[-2], item[-1]) for item in listed]
    codes = np.full(len(values), -1, dtype=np.int64)
    for number, (start, end) in reversed(list(enumerate(bounds))):
        holds = (values >= start) & ((values < end) | ((values == end) & (end == closed_at)))
        codes[holds] = number
    if names is None:
        names = [item[0] if len(item) == 3 else number for number, item in enumerate(listed)]
    return codes, list(names)


def growthbook_ranges(
    weights: Sequence[float] | None, *, coverage: float | None = None, variations: int | None = None
) -> list[tuple[float, float]]:
    """GrowthBook's slices: each starts at the sum of the weights before it, coverage shrinks it in place.

    So a growing coverage never moves anyone between variants. Weights of the wrong number, or whose sum is
    not within 0.99 to 1.01, are replaced by equal ones.

    Examples
    --------
    >>> growthbook_ranges([0.5, 0.5], coverage=0.1)
    [(0.0, 0.05), (0.5, 0.55)]
    """
    count = len(weights or ()) if variations is None else max(variations, 0)
    share = 1.0 if coverage is None else min(max(float(coverage), 0.0), 1.0)
    used = list(weights or ())
    if len(used) != count or not 0.99 <= sum(used) <= 1.01:
        used = [1 / count for _ in range(count)]
    starts = [0.0, *accumulate(used)][:count]
    return [(start, start + share * weight) for start, weight in zip(starts, used, strict=True)]


def _inside(
    column: Any,
    vendor: str,
    rule: SplitRule,
    rollout: float | None,
    fields: Mapping[str, Any],
    generation: str | int | None,
    total: int | None,
) -> np.ndarray:
    """Whether each id passes the rollout that comes before the split."""
    if rollout is None:
        return np.ones(len(column), dtype=bool)
    if rule.gate is None:
        raise PlanError(f"{vendor} has one hash for rollout and variants: say the rollout in the weights")
    spec = find_spec(vendor, "rollout", generation)
    if vendor == "eppo" and total is not None:  # the flag's shards divide both
        spec = replace(spec, total=total, edge=(total, 1) if spec.unit == "fraction" else (1, 1))
    return admits(bucket_values(column, spec, fields), rollout, spec)


def _restored(column: Any, spec: VendorSpec, codes: np.ndarray, names: list[Any]) -> Any:
    """The variants by their numbers, as the ids came in."""
    import pandas as pd

    if column.index is not None and all(isinstance(name, str) for name in names):
        distinct = list(dict.fromkeys(names))
        code_of = np.array([*map(distinct.index, names), -1])  # code -1 finds the last place
        kind = pd.CategoricalDtype(pd.Index(distinct))
        answer = pd.Series(
            pd.Categorical.from_codes(code_of[codes], dtype=kind), column.index, name="variant"
        )
        return carry_spec(answer, spec, column)
    values = np.empty(len(names) + 1, dtype=object)
    values[: len(names)] = names
    return carry_spec(column.restore(values[codes], "variant"), spec, column)
