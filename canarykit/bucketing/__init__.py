"""The number a flag system gives each id, for a whole column of ids at once."""

from typing import Any

import numpy as np

from canarykit.hashing import hash_column, read_ids

__all__ = ["posthog_hash01"]


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
    values = (hash_column(column, "sha1", prefix=prefix, suffix=suffix) >> np.uint64(4)).astype(np.float64)
    values /= float(1 << 60)
    values[column.missing] = np.nan
    return values
