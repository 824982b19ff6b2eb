"""From ids to buckets by one row of the vendor table, and from buckets to in or out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

import numpy as np

from canarykit.bucketing.scales import SCALES, WHOLE
from canarykit.bucketing.vendors import Purpose, VendorSpec, find_spec
from canarykit.errors import PlanError
from canarykit.hashing import IdColumn, hash_column, read_ids

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.typing import Ids


class BucketOptions(TypedDict, total=False):
    """The keywords of `bucket`, for its overloads."""

    vendor: str
    flag: str | None
    salt: str | None
    seed: str | int | None
    rule: str | None
    group: str | None
    by: str | None
    purpose: Purpose
    generation: str | int | None
    total: int | None


@overload
def bucket(ids: pd.Series, **options: Unpack[BucketOptions]) -> pd.Series: ...  # type: ignore[overload-overlap]
@overload
def bucket(ids: str | float, **options: Unpack[BucketOptions]) -> float: ...
@overload
def bucket(ids: Ids, **options: Unpack[BucketOptions]) -> np.ndarray: ...
def bucket(
    ids: Ids | str | float,
    *,
    vendor: str = "posthog",
    flag: str | None = None,
    salt: str | None = None,
    seed: str | int | None = None,
    rule: str | None = None,
    group: str | None = None,
    by: str | None = None,
    purpose: Purpose = "rollout",
    generation: str | int | None = None,
    total: int | None = None,
) -> Any:
    """The bucket of every id, exactly as the vendor's SDK computes it.

    Parameters
    ----------
    ids
        pandas Series, numpy or Arrow array, list, or one id. Text and whole numbers. A float is read as the
        integer it is (an integer column with a gap becomes floats in pandas), any other float is refused.
    vendor
        "posthog", "launchdarkly", "growthbook", "unleash", "optimizely", "split", "amplitude", "statsig",
        "microsoft", "firebase", "configcat", "eppo", "flagsmith", "flipper", "goff", "harness" or "flagd".
    flag
        The flag's key. Optimizely: the experiment's or group's id. Unleash: the group id, by default the
        flag's name. Flagsmith: the feature's or segment's key. GrowthBook: the experiment's or feature's
        key, where no seed is set (for `purpose="namespace"` the namespace). flagd: the flag's key, or ""
        where the ids are the values of a custom hash expression.
    salt, rule, group, by
        Salt of LaunchDarkly, Amplitude, Eppo and Statsig; rule salt of a Statsig gate; group of a Microsoft
        audience; name of the bucketing attribute of Harness.
    seed
        Replaces the flag's key in LaunchDarkly (key and salt), GrowthBook, PostHog's version 2 flags and
        Microsoft's allocations; optional in Firebase; a number in Split.
    purpose
        "rollout", "variant", "holdout", "namespace" or "group": vendors with a hash for each give another
        bucket for each.
    generation
        Which of the vendor's hashes: GrowthBook "1" (default) or "2", flagd "v1" or "v2" (must be said),
        Eppo "rac" and Split "legacy" for the older ones, PostHog "sdk" for local evaluation, which neither
        cuts ids at 200 characters nor lets empty ones in.
    total
        The number of buckets where the flag decides it: the sum of the variants' weights (Unleash, flagd v2),
        1,000 times the sum of percentages (GO Feature Flag), shards (Eppo).

    Returns
    -------
    Series, array or number
        As the ids came in, a Series on the same index. On the vendor's own grid: [0, 1] for PostHog,
        LaunchDarkly and GrowthBook, [0, 100] for Microsoft and Flagsmith, 1 to 100 for Unleash, Split and
        Harness, whole numbers from 0 elsewhere. NaN where the vendor leaves a missing id out. A Series
        carries `attrs["spec"]` (vendor, purpose and version of the hash) and `attrs["missing"]` (a count).

    Raises
    ------
    PlanError
        If the vendor, purpose or generation is unknown, or a field that is hashed is not given.
    DataError
        If an id is neither text nor a whole number.

    Examples
    --------
    >>> bucket(["user-1", "user-2", None], vendor="unleash", flag="new-checkout").tolist()
    [32.0, 90.0, nan]
    >>> bucket("user-17", flag="beta-search")
    0.009101217133290002
    """
    spec = find_spec(vendor, purpose, generation)
    column = read_ids(ids, unusual=spec.unusual)
    fields = {"flag": flag, "salt": salt, "seed": seed, "rule": rule, "group": group, "by": by}
    values = bucket_values(column, spec, fields, total=total)
    return carry_spec(column.restore(values, "bucket"), spec, column)


def carry_spec(result: Any, spec: VendorSpec, column: IdColumn) -> Any:
    """Note on a Series which rule made it, and how many ids were missing."""
    if hasattr(result, "attrs"):
        result.attrs["spec"] = spec.name
        result.attrs["missing"] = int(column.missing.sum())
    return result


def bucket_values(
    column: IdColumn, spec: VendorSpec, fields: Mapping[str, Any], *, total: int | None = None
) -> np.ndarray:
    """Buckets of a column already read, float64; NaN where the vendor leaves the id out."""
    prefix, suffix = spec.around(fields)
    seed = _number(fields.get("seed"), spec) if spec.hash_seed is None else 0
    if total is not None and spec.total is None:
        raise PlanError(
            f"{spec.vendor} ({spec.purpose}) has no number of buckets to choose, total is {total}"
        )
    buckets = spec.total if total is None else total
    if buckets is not None and not 1 <= buckets < 2**31:
        raise PlanError(f"total is {buckets}, expected a number of buckets from 1 to 2147483647")
    if spec.longest is not None:
        column = column.cut(spec.longest)

    def of(ids: IdColumn, before: str, after: str) -> np.ndarray:
        hashed = hash_column(
            ids,
            spec.family,
            prefix=before,
            suffix=after,
            # Java's legacy hash takes the seed afterwards, in its scale
            seed=None if spec.family != "murmur3" else seed if spec.hash_seed is None else spec.hash_seed,
            whole_digest=spec.scale in WHOLE,
        )
        return SCALES[spec.scale](hashed, buckets or 0, seed)

    values = of(column, prefix, suffix)
    if spec.scale == "whole percent of 9998":
        _hash_hundreds_again(values, column, prefix, of)
    if spec.missing == "hashed as empty" and column.missing.any():
        values[column.missing] = of(read_ids([""]), prefix, suffix)[0]
    else:
        values[column.missing] = np.nan if spec.missing == "excluded" else 0.0
    if spec.empty != "hashed":
        values[column.empty] = np.nan if spec.empty == "as missing" else 0.0
    values[column.marked] = 0.0
    return values


def _hash_hundreds_again(values: np.ndarray, column: IdColumn, prefix: str, of: Any) -> None:
    """Flagsmith: an id that comes out at exactly 100 is hashed again, its text repeated once more."""
    repeats = 1
    rows = np.flatnonzero((values == 100) & ~column.missing)
    texts = column.texts(rows)
    while len(rows):
        again = of(read_ids([f"{text}{f',{prefix}{text}' * repeats}" for text in texts]), prefix, "")
        values[rows] = again
        repeats += 1
        still = again == 100
        rows, texts = rows[still], [text for text, keep in zip(texts, still, strict=True) if keep]


def _number(seed: Any, spec: VendorSpec) -> int:
    try:
        return int(seed)
    except (TypeError, ValueError):
        raise PlanError(f"{spec.vendor} takes a whole number as seed, not {seed!r}") from None


def admits(values: np.ndarray, amount: float | None, spec: VendorSpec) -> np.ndarray:
    """Whether buckets are inside a rollout of `amount`, in the vendor's own unit; None means everyone.

    A bucket of NaN (no id) is never inside.

    Examples
    --------
    >>> admits(np.array([0.0, 0.25, 0.5, np.nan]), 25, find_spec("posthog"))
    array([ True,  True, False, False])
    """
    has_value = ~np.isnan(values)
    if amount is None or (spec.everyone_at_full and amount >= spec.full):
        return has_value
    if spec.nobody_at_zero and amount <= 0:
        return np.zeros(len(values), dtype=bool)
    edge = amount * spec.edge[0] / spec.edge[1]
    return has_value & ((values < edge) if spec.comparison == "<" else (values <= edge))


def rollout_share(amount: float, *, vendor: str, generation: str | int | None = None) -> float:
    """The share of ids that a rollout of `amount` lets in, by the arithmetic of the vendor's buckets.

    It differs from the amount asked for where the grid is coarse or the edge inclusive; a sample-ratio check
    must expect this share.

    Parameters
    ----------
    amount
        In the vendor's own unit (`find_spec(vendor).unit`, mostly percent).

    Returns
    -------
    float
        A fraction in [0, 1].

    Examples
    --------
    >>> rollout_share(0.05, vendor="growthbook")  # 0 to 50 of 1,000 buckets
    0.051
    >>> rollout_share(12.5, vendor="unleash")  # 1 to 12 of 100
    0.12
    """
    spec = find_spec(vendor, "rollout", generation)
    if spec.total is None or spec.total > 10**6:
        return min(max(float(amount) / spec.full, 0.0), 1.0)
    grid = np.arange(spec.total, dtype=np.float64)
    if spec.scale == "modulo as fraction":
        grid /= spec.total
    elif spec.scale.endswith("from 1"):
        grid += 1
    return float(admits(grid, amount, spec).mean())


def posthog_hash01(ids: Any, *, prefix: str, suffix: str = "") -> np.ndarray:
    """PostHog's hash of `prefix + id + suffix`, a float64 in [0, 1] per id; NaN where the id is missing.

    The first 15 hex digits of the SHA-1 digest over 2**60, bit for bit as PostHog's server computes it
    (integer and scale converted to binary64 separately, one division). An empty id is hashed, not missing:
    what an empty id means is the caller's rule.

    Parameters
    ----------
    ids
        pandas Series or Index, numpy or Arrow array, or list. Text and integers; floats only when integral
        (they are hashed as integers); None, NaN and pd.NA are missing.
    prefix, suffix
        Text before and after the id: `"<flag>."` and `""` for the rollout, `"<flag>."` and `"variant"` for
        the variant, `"holdout-"` and `""` for a holdout.

    Examples
    --------
    >>> posthog_hash01(["test-identifier", None], prefix="holdout-")
    array([0.44938817,        nan])
    """
    column = read_ids(ids)
    values = SCALES["60 bits"](hash_column(column, "sha1", prefix=prefix, suffix=suffix), 0, 0)
    values[column.missing] = np.nan
    return values
