"""One line of a table: what was simulated, what the reference says, and whether that agrees."""

from typing import Any

import numpy as np

__all__ = ["Expected", "judged"]

Expected = float | tuple[float, float] | None
"""A reference value, or the range of several; None where there is none."""

ROUNDING = {"days": 0.05, "hours": 0.5}
LEAST = {"days": 0.1, "hours": 1.0, "people": 1.0, "extra": 1.0}


def judged(
    table: str,
    rule: str,
    effect: Any,
    rows: int,
    share: float | None,
    expected: Expected = None,
    *,
    bound: float | None = None,
    near: bool = True,
    reference_rows: int = 1500,
    why: str = "",
    **measured: tuple[float | None, float | None],
) -> dict[str, Any]:
    """A null rate keeps its bound, other rates lie near the reference, delays and people within 10 %.

    `rows` rollouts are behind `share`, `reference_rows` behind what is expected. `near=False` shows the
    reference without holding the share to it: for null rates of rules that promise no more than their
    bound. `why` says what a reader should know about a line.
    """
    line: dict[str, Any] = {"bench": "calibrate", "table": table, "rule": rule, "effect": effect}
    line["size"] = rows
    checks = []
    if share is not None:
        line["share"] = round(share, 4)
        if bound is not None:
            line["bound"] = bound
            checks.append(share <= bound + 3 * np.sqrt(bound * (1 - bound) / rows))
        if expected is not None:
            line["share_expected"] = list(expected) if isinstance(expected, tuple) else expected
            if near:
                checks.append(_is_near(share, expected, rows, reference_rows))
    for name, (value, wanted) in measured.items():
        if value is not None:
            line[name] = round(value, 2)
        if wanted is None:
            continue
        line[f"{name}_expected"] = wanted
        allowed = max(0.1 * wanted, LEAST[name]) + ROUNDING.get(name, 0.0)
        checks.append(value is not None and abs(value - wanted) <= allowed)
    if why:
        line["why"] = why
    return line | {"ok": bool(all(checks))}


def _is_near(share: float, expected: float | tuple[float, float], rows: int, reference_rows: int) -> bool:
    low, high = expected if isinstance(expected, tuple) else (expected, expected)
    wanted = min(max(share, low), high)
    slack = 3 * np.sqrt(wanted * (1 - wanted) * (1 / rows + 1 / reference_rows))
    return bool(abs(share - wanted) <= max(0.1 * wanted, slack, 0.012))
