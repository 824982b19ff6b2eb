"""Who got what: the sample ratio looked at every hour, and whole organisations that were assigned.

Sample ratio: the ramp of five days with an equal control, so the people come in slowly at first. Lost
people show as a canary share of 48 or 45 % of both arms; delays are medians.
Organisations: lognormal sizes (mean 35, shape 0.6), a value per person that varies between organisations as
much as the correlation within them says; ten looks while every organisation's people come in.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.calibrate.ramp import ALPHA, HOURS, SHARES
from benchmarks.tables.judged import judged
from canarykit.stats import (
    Moments,
    PairMoments,
    cluster_difference,
    mean_difference,
    mixture_test,
    sequential_srm,
    sequential_srm_tilt,
    srm_chi_square,
)

__all__ = ["organisations", "people_to_a_mismatch", "sample_ratio"]

BLOCK = 1000
LOOKS = 10
ORGANISATIONS = (10, 20, 50, 100)


def sample_ratio(rows: int, rng: int = 28) -> Iterator[dict[str, Any]]:
    """False alarms of a healthy split, and hours until a loss of people is found."""
    table = "sample ratio, hourly looks"
    rules: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float | None, float | None]] = {
        "chi-square p<.001": (lambda counts: _chi_square(counts, 0.001), 0.0246, None),
        "chi-square p<.01": (lambda counts: _chi_square(counts, 0.01), 0.167, None),
        "Dirichlet 100, a .001": (lambda counts: _dirichlet(counts, 100, 0.001), 0.0006, 0.001),
        "Dirichlet 10,000, a .001": (lambda counts: _dirichlet(counts, 10_000, 0.001), 0.0006, 0.001),
        "Dirichlet 100, a .01": (lambda counts: _dirichlet(counts, 100, 0.01), 0.005, 0.01),
        "Dirichlet 10,000, a .01": (lambda counts: _dirichlet(counts, 10_000, 0.01), 0.005, 0.01),
        "tilt, a .001": (lambda counts: _tilt(counts, 0.001), 0.0006, 0.001),
        "tilt, a .01": (lambda counts: _tilt(counts, 0.01), 0.005, 0.01),
    }
    healthy = _first_alarms(rows, 0.5, {name: rule[0] for name, rule in rules.items()}, rng)
    for name, (_, share, bound) in rules.items():
        found = float(np.isfinite(healthy[name]).mean())
        yield judged(
            table, name, "50/50", rows, found, share, bound=bound, near=bound is None, reference_rows=5000
        )
    for split, wanted in (("48/52", (49, 61, 72, 52.5)), ("45/55", (24, 28, 42, 26))):
        names = ("chi-square p<.001", "Dirichlet 100, a .001", "Dirichlet 10,000, a .001", "tilt, a .01")
        few = min(rows, 2000)
        lost = _first_alarms(few, int(split[:2]) / 100, {name: rules[name][0] for name in names}, rng)
        for name, hours in zip(names, wanted, strict=True):
            median = float(np.median(lost[name]))
            yield judged(
                table, name, split, few, float(np.isfinite(lost[name]).mean()), None, hours=(median, hours)
            )


def _first_alarms(
    rows: int, share: float, rules: dict[str, Callable[[np.ndarray], np.ndarray]], rng: int
) -> dict[str, np.ndarray]:
    """Hour of each rule's first alarm in each rollout; infinite where there is none."""
    expected = 2 * 2000 * np.repeat(SHARES, HOURS // len(SHARES))
    draw = np.random.default_rng(rng)
    found: dict[str, list[np.ndarray]] = {name: [] for name in rules}
    for begin in range(0, rows, BLOCK):
        people = draw.poisson(expected, (min(BLOCK, rows - begin), HOURS))
        canary = draw.binomial(people, share)
        counts = np.stack([canary, people - canary], axis=-1)
        for name, rule in rules.items():
            alarm = rule(counts)
            found[name].append(np.where(alarm.any(axis=1), alarm.argmax(axis=1) + 1.0, np.inf))
    return {name: np.concatenate(hours) for name, hours in found.items()}


def _chi_square(counts: np.ndarray, level: float) -> np.ndarray:
    """Looks with a p-value below the level, of which only those with a |z| that may have one are tested."""
    least = {0.001: 3.2, 0.01: 2.5}[level]
    so_far = np.cumsum(counts, axis=1)
    total = np.maximum(so_far.sum(axis=-1), 1)
    alarm = np.abs(so_far[..., 0] - so_far[..., 1]) > least * np.sqrt(total)
    for run in np.flatnonzero(alarm.any(axis=1)):
        for look in np.flatnonzero(alarm[run]):
            test = srm_chi_square(so_far[run, look], [0.5, 0.5])
            alarm[run, look] = test is not None and test.p_value < level
            if alarm[run, look]:
                break
    return alarm


def _dirichlet(counts: np.ndarray, concentration: float, level: float) -> np.ndarray:
    test = sequential_srm(counts, [0.5, 0.5], concentration=concentration)
    assert test is not None
    return test.log_e >= -np.log(level)


def _tilt(counts: np.ndarray, level: float) -> np.ndarray:
    test = sequential_srm_tilt(counts, [0.5, 0.5])
    assert test is not None
    return test.log_e >= -np.log(level)


def people_to_a_mismatch(rows: int, rng: int = 75) -> Iterator[dict[str, Any]]:
    """People seen until the evidence is 100, as a multiple of a sequential test that knows the odds."""
    runs, needed, pieces = min(rows, 400), np.log(100), 40
    for share in (0.5, 0.05):
        table = f"people until a wrong sample ratio is found, canary {share:.0%}"
        for place, odds in enumerate((1.05, 1.1, 1.2, 1.3, 1.5)):
            actual = share * odds / (share * odds + 1 - share)
            gain, loss = np.log(actual / share), np.log((1 - actual) / (1 - share))
            step = max(1, round(needed / (actual * gain + (1 - actual) * loss) / pieces))
            canary = np.random.default_rng([rng, place]).binomial(step, actual, (runs, 6 * pieces))
            counts = np.stack([canary, step - canary], axis=-1)
            test = sequential_srm_tilt(counts, [share, 1 - share])
            assert test is not None
            known = np.cumsum(counts @ np.array([gain, loss]), axis=-1)
            ours, theirs = (
                step
                * float(np.median(np.where((e >= needed).any(axis=1), (e >= needed).argmax(axis=1) + 1, 1e9)))
                for e in (test.log_e, known)
            )
            yield judged(table, "knows the odds", odds, runs, None, people=(theirs, None))
            rule = f"canarykit: {ours / theirs:.2f} times as many"
            yield judged(table, rule, odds, runs, None, people=(ours, None))


def organisations(rows: int, rng: int = 29) -> Iterator[dict[str, Any]]:
    """People compared as if they had been assigned one by one, and as the organisations they were in.

    The clustered t test is an approximation, worst with few organisations; its sequential form keeps its
    level from 20 an arm, the least that a verdict is given for.
    """
    table = "organisations assigned"
    runs = min(rows, 2000)
    for arm in ORGANISATIONS:
        once, often = _organised(runs, arm, 0.05, rng)
        each = f"{arm} organisations an arm"
        yield judged(table, f"people, one look: {each}", "ICC .05", runs, once[0], (0.17, 0.20))
        yield judged(table, f"clustered, one look: {each}", "ICC .05", runs, once[1], (0.053, 0.077))
        yield judged(table, f"people, ten looks: {each}", "ICC .05", runs, often[0], (0.068, 0.094))
        yield judged(
            table, f"clustered, ten looks: {each}", "ICC .05", runs, often[1], (0.010, 0.046),
            bound=ALPHA if arm >= 20 else None,
        )  # fmt: skip
    once, _ = _organised(runs, 50, 0.2, rng)
    yield judged(table, "people, one look: 50 organisations an arm", "ICC .2", runs, once[0], 0.284)


def _organised(
    runs: int, arm: int, correlation: float, rng: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """False alarms at one look and at ten, people first and clusters second."""
    draw = np.random.default_rng([rng, arm])
    false = np.zeros((2, runs), bool)
    estimate, variance = np.zeros((2, runs, LOOKS)), np.ones((2, runs, LOOKS))
    for run in range(runs):
        sizes = np.maximum(2, np.round(draw.lognormal(np.log(35) - 0.18, 0.6, 2 * arm))).astype(int)
        effect = np.sqrt(correlation) * draw.standard_normal(2 * arm)
        new = draw.multinomial(sizes, [1 / LOOKS] * LOOKS)
        noise = np.sqrt(new * (1 - correlation)) * draw.standard_normal(new.shape)
        sums, people = np.cumsum(new * effect[:, None] + noise, axis=1), np.cumsum(new, axis=1)
        for look in range(LOOKS):
            both = [(sums[part, look], people[part, look]) for part in (slice(arm), slice(arm, None))]
            # a person's variance is 1, so the squares of all people add up to about their number
            flat = [Moments(int(n.sum()), float(total.sum() / n.sum()), 1.0) for total, n in both]
            one = mean_difference(*flat, sided="lower")
            grouped = cluster_difference(*(PairMoments.of(total, n) for total, n in both), sided="lower")
            for place, found in enumerate((one, grouped)):
                assert found is not None
                estimate[place, run, look] = found.value
                variance[place, run, look] = found.standard_error**2
                if look == LOOKS - 1:
                    false[place, run] = found.p_value < ALPHA
    k = 6.3 * variance[..., -1:] / variance
    test = mixture_test(estimate, variance, k=k)
    assert test is not None
    crossed = (test.log_e >= -np.log(ALPHA)).any(axis=-1)
    one_look, ten_looks = false.mean(axis=-1), crossed.mean(axis=-1)
    return (float(one_look[0]), float(one_look[1])), (float(ten_looks[0]), float(ten_looks[1]))
