"""Many releases at once: people one by one into entry cohorts, and the evidence at every look, compiled.

What `canarykit.metrics.risk.risk_sets` and `EventMixture.log_e` do for one release, done here for thousands.
The steps of the evidence are the package's own compiled ones; the cohorts are written out again, and tests
hold both against `risk_sets`, `share_evidence` and `evaluate_stage`.
"""

import math

import numpy as np

from canarykit.compiler import njit
from canarykit.metrics.risk import FEWEST, LONGEST, MOST, PART
from canarykit.stats import EventMixture
from canarykit.stats.any_look.event_kernels import add_interval, interval_terms, log_mixture

__all__ = ["crossed", "log_e_paths"]


def crossed(
    groups: np.ndarray,
    columns: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    mixture: EventMixture,
    needed: float | np.ndarray,
    *,
    origins: np.ndarray,
    looks: np.ndarray,
    step: int,
    pieces: int = 1,
    pooled: bool = False,
    by_age: bool = False,
) -> np.ndarray:
    """Whether each release's evidence ever reaches `needed`, by stage.

    Parameters
    ----------
    groups
        (releases, stages, kinds + 1): where the people of each kind (new, returning; with the event before,
        or not) begin and end in the columns; within, they are ordered by when they come in.
    columns
        Start, end of the time at risk, first event (-1: none), all in microseconds, and who has the canary.
    mixture, needed
        Alternatives, and the log evidence that is looked for; one for every stage, or one each.
    origins, looks
        When each stage begins, and how many looks it has.
    step, pieces
        Microseconds of a look, and evaluations within it: at the moments in between, and at its end.
    pooled
        Whether the evidence goes on over the stages; then every stage after the crossing counts as crossed.
    by_age
        Whether people are compared at the same time since they came in, as a time to an event is.
    """
    grid = mixture.grid
    null = mixture.null_ratio
    needed = np.broadcast_to(np.asarray(needed, float), looks.shape).copy()
    return _crossed(
        groups, *columns, grid.ratios, grid.log_ratios, grid.log_weights, null, needed,
        origins, looks, step, pieces, pooled, by_age,
    )  # fmt: skip


def log_e_paths(
    groups: np.ndarray,
    columns: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    mixture: EventMixture,
    *,
    looks: int,
    step: int,
) -> np.ndarray:
    """Running log E of every release (first axis) at each look of a single stage that begins at 0."""
    grid = mixture.grid
    return _paths(
        groups, *columns, grid.ratios, grid.log_ratios, grid.log_weights, mixture.null_ratio, looks, step
    )


@njit()
def count_cohorts(
    start: np.ndarray,
    stop: np.ndarray,
    first: np.ndarray,
    canary: np.ndarray,
    origin: int,
    step: int,
    null_ratio: float,
    x: np.ndarray,
    n: np.ndarray,
    part: np.ndarray,
    by_age: bool,
) -> None:
    """Add people of one kind, ordered by start, to the counts of (looks, pieces).

    `x` and `n` get the events of the canary and of both arms, `part` the sum of the canary's parts under the
    null. An event of a cohort that was complete before its look counts at its piece of the look, the others
    at the end of the look that completes the cohort.
    """
    looks, pieces = x.shape
    arrivals = np.zeros(looks, np.int64)
    for i in range(start.size):
        arrivals[min(max((start[i] - origin) // step, 0), looks - 1)] += 1
    wait = max(1, LONGEST // step)
    seen = size = since = begin = end = 0
    for look in range(looks):
        seen += arrivals[look]
        size += arrivals[look]
        end += arrivals[look]
        if size == 0:
            since = look + 1
        elif size >= min(max(seen / PART, FEWEST), MOST) or look + 1 - since >= wait:
            leaves = np.empty(size, np.int64)
            ours = 0
            for i in range(size):
                leaves[i] = first[begin + i] if first[begin + i] >= 0 else stop[begin + i] - 1
                if by_age:  # every clock of the cohort is set to that of its last member
                    leaves[i] += start[end - 1] - start[begin + i]
                ours += canary[begin + i]
            order = np.argsort(leaves)
            left, left_ours, moment = size, ours, -1
            at_risk, at_risk_ours = size, ours
            for i in order:
                if leaves[i] != moment:
                    moment, at_risk, at_risk_ours = leaves[i], left, left_ours
                mine = canary[begin + i]
                left -= 1
                left_ours -= mine
                if first[begin + i] < 0:
                    continue
                at, piece = (moment - origin) // step, pieces - 1
                if at > look:
                    piece = ((moment - origin) - at * step) * pieces // step
                at = max(at, look)
                if at >= looks:
                    continue
                share = at_risk_ours / at_risk
                n[at, piece] += 1
                x[at, piece] += mine
                part[at, piece] += null_ratio * share / (null_ratio * share + 1 - share)
            begin, size, since = end, 0, look + 1


@njit()
def _crossed(
    groups: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
    first: np.ndarray,
    canary: np.ndarray,
    ratios: np.ndarray,
    log_ratios: np.ndarray,
    log_weights: np.ndarray,
    null_ratio: float,
    needed: np.ndarray,
    origins: np.ndarray,
    looks: np.ndarray,
    step: int,
    pieces: int,
    pooled: bool,
    by_age: bool,
) -> np.ndarray:
    runs, stages, _ = groups.shape
    found = np.zeros((runs, stages), np.bool_)
    state, trial, terms = np.zeros(ratios.size), np.zeros(ratios.size), np.zeros(ratios.size)
    for run in range(runs):
        state[:] = 0.0
        reached = False
        for stage in range(stages):
            if pooled and reached:
                found[run, stage] = True
                continue
            if not pooled:
                state[:] = 0.0
                reached = False
            x = np.zeros((looks[stage], pieces), np.int64)
            n = np.zeros((looks[stage], pieces), np.int64)
            part = np.zeros((looks[stage], pieces))
            for kind in range(groups.shape[2] - 1):
                a, b = groups[run, stage, kind], groups[run, stage, kind + 1]
                count_cohorts(
                    start[a:b],
                    stop[a:b],
                    first[a:b],
                    canary[a:b],
                    origins[stage],
                    step,
                    null_ratio,
                    x,
                    n,
                    part,
                    by_age,
                )
            for look in range(looks[stage]):
                ours, both, expected = 0, 0, 0.0
                for piece in range(pieces):
                    if n[look, piece] == 0:
                        continue
                    ours += x[look, piece]
                    both += n[look, piece]
                    expected += part[look, piece]
                    share = min(max(expected / both, 0.0), 1.0)
                    interval_terms(share / null_ratio, 1 - share, null_ratio, ratios, terms)
                    trial[:] = state
                    add_interval(trial, ours, both, log_ratios, terms)
                    if log_mixture(trial, log_weights, needed[stage], math.inf) >= needed[stage]:
                        reached = True
                        break
                if reached:
                    break
                if both:
                    state[:] = trial
            found[run, stage] = reached
    return found


@njit()
def _paths(
    groups: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
    first: np.ndarray,
    canary: np.ndarray,
    ratios: np.ndarray,
    log_ratios: np.ndarray,
    log_weights: np.ndarray,
    null_ratio: float,
    looks: int,
    step: int,
) -> np.ndarray:
    out = np.zeros((groups.shape[0], looks))
    state, terms = np.zeros(ratios.size), np.zeros(ratios.size)
    for run in range(groups.shape[0]):
        state[:] = 0.0
        x, n = np.zeros((looks, 1), np.int64), np.zeros((looks, 1), np.int64)
        part = np.zeros((looks, 1))
        a, b = groups[run, 0, 0], groups[run, 0, -1]
        count_cohorts(start[a:b], stop[a:b], first[a:b], canary[a:b], 0, step, null_ratio, x, n, part, False)
        current = 0.0
        for look in range(looks):
            both = n[look, 0]
            if both:
                share = min(max(part[look, 0] / both, 0.0), 1.0)
                interval_terms(share / null_ratio, 1 - share, null_ratio, ratios, terms)
                add_interval(state, x[look, 0], both, log_ratios, terms)
                current = log_mixture(state, log_weights, -math.inf, math.inf)
            out[run, look] = current
    return out
