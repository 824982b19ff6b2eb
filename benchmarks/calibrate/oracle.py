"""How many events until harm is shown, beside a test that knows the effect.

The oracle is the likelihood ratio of the true effect against no effect, stopped at the same e-value of 20:
nothing valid without that knowledge is quicker. Events come one by one, the canary's with the chance that
its share and the effect give; the median over the runs.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.calibrate.judged import judged
from canarykit.health.evidence import event_mixtures

__all__ = ["events_to_harm"]

MARGINS = (1.02, 1 / 0.95, 1.25, 2.0)
EFFECTS = (1.2, 1.5, 2.0, 3.0, 5.0)


def events_to_harm(rows: int, rng: int = 74) -> Iterator[dict[str, Any]]:
    """Median events of both arms, by margin, share and effect."""
    runs = min(rows, 1000)
    for share in (0.5, 0.05):
        for effect in EFFECTS:
            part = share * effect / (share * effect + 1 - share)
            gain = part * math.log(part / share) + (1 - part) * math.log((1 - part) / (1 - share))
            block = max(1, int(12 / gain) // 500)
            looks = (int(12 / gain) + 40) // block
            draw = np.random.default_rng([rng, round(100 * share), round(100 * effect)])
            x = draw.binomial(block, part, (runs, looks))
            n = np.full_like(x, block)
            known = np.cumsum(x * math.log(effect) - n * math.log1p(share * (effect - 1)), axis=1)
            best = _median(known, block)
            table = f"events until harm is shown, canary {share:.0%}"
            yield judged(table, "oracle, knows the effect", effect, runs, None, events=(best, None))
            for margin in MARGINS:
                harm = event_mixtures(margin, 1.0)[0]
                log_e = harm.log_e(x, n, np.array([share]), np.array([1 - share]))
                mine = _median(log_e, block)
                rule = f"canarykit, margin {margin:.3g}: {mine / best:.2f} times the oracle's"
                yield judged(table, rule, effect, runs, None, events=(mine, None))


def _median(log_e: np.ndarray, block: int) -> float:
    reached = log_e >= math.log(20)
    events = np.where(reached.any(axis=1), (reached.argmax(axis=1) + 1.0) * block, np.inf)
    return float(np.median(events))
