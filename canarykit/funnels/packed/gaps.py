"""Times between steps, label by label; this function only runs compiled."""

# mypy: ignore-errors
# (numba types it when it compiles it; mypy cannot)

from __future__ import annotations

from canarykit.funnels.packed.pack_kernels import spot

__all__ = ["KERNELS"]


def gaps_by_value(value, reached, early, late, step, filled, out):
    """Times from `early` to `late` of the entries that reached `step`, those of each value side by side.

    Value v's begin at `filled[v]`; afterwards that is where they end. Gaps of zero are left out. Every entry
    is written to the next place of its value, and only those that count move it on: each needs one more.
    """
    for i in range(len(value)):
        place = spot(filled[spot(value[i])])
        gap = late[i] - early[i]
        out[place] = gap
        filled[spot(value[i])] += (reached[i] >= step) & (gap > 0)


KERNELS = (gaps_by_value,)
"""For compilation."""
