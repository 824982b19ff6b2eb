"""How many events until harm is shown, beside a test that knows the effect, and rules of other products.

The oracle is the likelihood ratio of the true effect against no effect, stopped at the same e-value of 20:
nothing valid without that knowledge is quicker. Events come one by one, the canary's with the chance that
its share and the effect give; the median over the runs. Rules that count people are given as many as have
so many events at a rate of 1 %. Of LaunchDarkly no published formula is known to us.

A test that does not know the effect pays for it. How much at least, over a range of effects, is a linear
programme: along the mean path of the log likelihood ratios, the mixture of alternatives of smallest weight
that has reached 20 by a given multiple of the oracle's events, whatever the effect. Where that weight
exceeds one, no mixture can.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.tables.judged import judged
from canarykit.health.evidence import event_mixtures
from canarykit.stats.any_look.sequential import mixture_boundary
from canarykit.stats.others.published_sequences import tuned_k
from canarykit.stats.others.stopping_rules import growthbook_boundary, statsig_boundary, unpooled_z

__all__ = ["events_to_harm", "least_weight", "mixture_floor", "on_the_mean_path"]

MARGINS = (1.02, 1 / 0.95, 1.25, 2.0)
EFFECTS = (1.2, 1.5, 2.0, 3.0, 5.0)
SHARES = (0.5, 0.05)
RATE = 0.01
LOG_LEVEL = math.log(20)


def events_to_harm(rows: int, rng: int = 74) -> Iterator[dict[str, Any]]:
    """Median events of both arms, by rule, margin, share and effect; then the floor."""
    runs = min(rows, 1000)
    for share in SHARES:
        floor, weights, ratios = mixture_floor(share)
        table = f"events until harm is shown, canary {share:.0%}"
        for effect in EFFECTS:
            part = share * effect / (share * effect + 1 - share)
            gain = part * math.log(part / share) + (1 - part) * math.log((1 - part) / (1 - share))
            block = max(1, int(12 / gain) // 500)
            looks = (int(12 / gain) + 40) // block
            draw = np.random.default_rng([rng, round(100 * share), round(100 * effect)])
            x = draw.binomial(block, part, (runs, looks))
            n = np.full_like(x, block)
            known = np.cumsum(x * math.log(effect) - n * math.log1p(share * (effect - 1)), axis=1)
            best = _median(known >= LOG_LEVEL, block)
            yield judged(table, "oracle, knows the effect", effect, runs, None, events=(best, None))
            reached = {
                f"canarykit, margin {margin:.3g}": _mixed(x, n, share, margin) >= LOG_LEVEL
                for margin in MARGINS
            }
            reached["best mixture for 1.2 to 5"] = _weighed(x, n, share, ratios, weights) >= LOG_LEVEL
            reached |= _rivals(x, n, share, effect)
            for rule, shown in reached.items():
                events = _median(shown, block)
                finite = events if events < math.inf else None
                told = f"{rule}: never in half of the runs"
                if finite is not None:
                    told = f"{rule}: {finite / best:.2f} times the oracle's"
                yield judged(table, told, effect, runs, None, events=(finite, None))
        told = f"no mixture is within {floor:.2f} times the oracle's"
        yield judged(table, told, "1.2 to 5", runs, None)


def mixture_floor(
    share: float, lowest: float = 1.2, highest: float = 5.0
) -> tuple[float, np.ndarray, np.ndarray]:
    """Multiple of the oracle's events that the best mixture needs at worst, its weights and its ratios."""
    low, high = 1.0, 4.0
    for _ in range(20):
        middle = (low + high) / 2
        total = least_weight(middle, share, lowest, highest)[0]
        low, high = (low, middle) if total <= 1 else (middle, high)
    _, weights, ratios = least_weight(high, share, lowest, highest)
    return high, weights, ratios


def least_weight(
    multiple: float, share: float, lowest: float = 1.2, highest: float = 5.0
) -> tuple[float, np.ndarray, np.ndarray]:
    """Smallest weight of a mixture that has reached 20 by this multiple of the oracle's events."""
    from scipy.optimize import linprog

    effects = np.exp(np.linspace(math.log(lowest), math.log(highest), 41))
    ratios = np.exp(np.linspace(math.log(lowest) - 0.15, math.log(highest) + 0.4, 80))
    gains = _gains(share, effects, ratios)
    events = multiple * LOG_LEVEL / np.diag(_gains(share, effects, effects))
    reached = np.exp(events[:, None] * gains - LOG_LEVEL)
    found = linprog(np.ones(len(ratios)), A_ub=-reached, b_ub=-np.ones(len(effects)), method="highs")
    return float(found.fun), found.x, ratios


def on_the_mean_path(margin: float, share: float, effects: tuple[float, ...] = EFFECTS) -> np.ndarray:
    """The multiples that canarykit's mixture needs, along the same path as the floor."""
    grid = event_mixtures(margin, 1.0)[0].grid
    true = np.array(effects)
    known = LOG_LEVEL / np.diag(_gains(share, true, true))
    gains = _gains(share, true, grid.ratios)
    multiples = np.linspace(1, 5, 2001)
    state = multiples[:, None, None] * (known[:, None] * gains) + grid.log_weights
    reached = np.logaddexp.reduce(state, axis=2) >= LOG_LEVEL
    return np.where(reached.any(axis=0), multiples[reached.argmax(axis=0)], math.inf)


def _gains(share: float, effects: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Expected log likelihood ratio of one event: true effects in rows, alternatives in columns."""
    part = share * effects / (share * effects + 1 - share)
    return np.asarray(part[:, None] * np.log(ratios) - np.log(share * ratios + 1 - share))


def _mixed(x: np.ndarray, n: np.ndarray, share: float, margin: float) -> np.ndarray:
    harm = event_mixtures(margin, 1.0)[0]
    return harm.log_e(x, n, np.array([share]), np.array([1 - share]))


def _weighed(
    x: np.ndarray, n: np.ndarray, share: float, ratios: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    seen, total = np.cumsum(x, axis=1), np.cumsum(n, axis=1)
    log_e = np.full(x.shape, -np.inf)
    for ratio, weight in zip(ratios[weights > 0], weights[weights > 0], strict=True):
        gained = seen * math.log(ratio) - total * math.log1p(share * (ratio - 1))
        log_e = np.logaddexp(log_e, gained + math.log(weight))
    return log_e


def _rivals(x: np.ndarray, n: np.ndarray, share: float, effect: float) -> dict[str, np.ndarray]:
    """Looks at which the published boundaries of other products are passed."""
    seen, total = np.cumsum(x, axis=1), np.cumsum(n, axis=1)
    people = total / (RATE * (share * effect + 1 - share))
    z = unpooled_z(seen, total - seen, share * people, (1 - share) * people)
    eppo = mixture_boundary(np.maximum(people * tuned_k(1, tuned_at=10_000), 1e-9), 0.05, "two")
    return {
        "growthbook": z >= growthbook_boundary(people),
        "statsig": z >= statsig_boundary(np.full(people.shape, share)),
        "eppo": z >= eppo,
    }


def _median(shown: np.ndarray, block: int) -> float:
    events = np.where(shown.any(axis=1), (shown.argmax(axis=1) + 1.0) * block, np.inf)
    return float(np.median(events))
