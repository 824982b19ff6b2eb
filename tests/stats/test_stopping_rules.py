import numpy as np

from canarykit import stats
from canarykit.stats.others.stopping_rules import RIVALS, Counts


def test_a_rollout_under_growthbook_stops_where_the_limit_of_its_interval_passes_zero():
    rng = np.random.default_rng(3)
    looks = 60
    canary, control = rng.integers(20, 200, looks), rng.integers(20, 200, looks)
    counts = Counts(rng.binomial(canary, 0.08), rng.binomial(control, 0.05), canary, control, 0.05)
    stops = RIVALS["growthbook"](counts)
    assert stops.any()
    assert not stops.all()
    for look, (x, y, n, m) in enumerate(zip(*counts.so_far, strict=True)):
        p, q = x / n, y / m
        error = np.sqrt(p * (1 - p) / n + q * (1 - q) / m)
        interval = stats.growthbook_interval(p - q, error, int(n + m), sided="lower")
        assert stops[look] == (interval.low >= 0)


def test_a_rollout_under_statsig_stops_where_the_limit_of_its_interval_passes_zero():
    rng = np.random.default_rng(4)
    looks = 60
    canary, control = rng.integers(20, 60, looks), rng.integers(100, 200, looks)
    counts = Counts(rng.binomial(canary, 0.12), rng.binomial(control, 0.05), canary, control, 0.05)
    stops = RIVALS["statsig"](counts)
    assert stops.any()
    for look, (x, y, n, m) in enumerate(zip(*counts.so_far, strict=True)):
        p, q = x / n, y / m
        error = np.sqrt(p * (1 - p) / n + q * (1 - q) / m)
        interval = stats.statsig_interval(p - q, error, int(n + m), canary_share=n / (n + m), sided="lower")
        assert stops[look] == (interval.low >= 0)
