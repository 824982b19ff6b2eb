"""People who saw several variants within a stage, by cause: a login, the ramp's growth, or a flicker.

Before somebody logs in, the flag answers for an anonymous id; afterwards for the person. The bucket of the
one says nothing of the bucket of the other, so some people change variant at their first login: an ordinary
thing. A ramp that grows moves people from the control to the canary at one moment. What is left are
answers that change for one and the same id under one and the same rule: a flag that flickers.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from canarykit.errors import PlanError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

CrosserRule = Literal["first exposure", "set apart"]
CAUSES: dict[str, str] = {
    "login": "changed id (a login or a merge)",
    "ramp": "were moved by the growing ramp",
    "flicker": "got another answer under the same id",
}


def require_rule(rule: str) -> None:
    """Refuse what is not a rule for crossers."""
    if rule not in ("first exposure", "set apart"):
        raise PlanError(f"crossers is {rule!r}; {did_you_mean(rule, ['first exposure', 'set apart'])}")


def flickers(units: pd.DataFrame) -> np.ndarray:
    """Which units count as crossers: those whose answer changed under one id and one rule."""
    return (units["cause"] == "flicker").to_numpy(bool)


def causes_of(changes: pd.DataFrame, first: pd.DataFrame, *, control: str, canary: str) -> np.ndarray:
    """Why each unit of several variants saw them.

    `changes` are rows of `Exposures.changes` of one stage; `first`, the exposures of its units (`variant`,
    `exposed_at`), shows when the share grew. "login": several ids, none of which ever got two answers.
    "ramp": the control and then the canary, with a step of the ramp in between. "flicker": all others.
    """
    switches = changes["switches"].to_numpy()
    causes = np.full(len(changes), "flicker", dtype=object)
    causes[switches == 0] = "login"
    up = (changes["variant"] == control) & (changes["next_variant"] == canary)
    waiting = np.flatnonzero((switches == 1) & up.to_numpy(bool))
    if len(waiting):
        last, changed = (changes[name].to_numpy()[waiting] for name in ("last_at", "changed_at"))
        for before, after in _growth(first, control, canary):
            causes[waiting[(last <= after) & (changed >= before)]] = "ramp"
    return causes


def _growth(first: pd.DataFrame, control: str, canary: str) -> list[tuple[np.datetime64, np.datetime64]]:
    """When the canary's share among first exposures grew: the two exposures around each growth."""
    from canarykit.exposure.observed import change_points

    both = first[first["variant"].isin([control, canary])].sort_values("exposed_at", kind="stable")
    inside = (both["variant"] == canary).to_numpy(bool)
    times = both["exposed_at"].to_numpy()
    cuts = change_points(inside, times)
    edges = [0, *cuts, len(inside)]
    shares = [float(inside[a:b].mean()) for a, b in pairwise(edges) if b > a]
    return [(times[cut - 1], times[cut]) for k, cut in enumerate(cuts) if shares[k + 1] > shares[k]]
