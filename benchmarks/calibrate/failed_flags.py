"""Harmless releases some of whose flags fail to load: how often those people hold what would be promoted.

The people whose flag has no value are put into arms by the rule and compared; so are those who are hit and
made no call. Who is in which arm is chance. People are drawn one by one, the evidence is that of the attack
grid, the comparisons are the functions that `evaluate_stage` calls.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from benchmarks.attacks.events import mixtures_of
from benchmarks.attacks.kernels import log_e_paths
from benchmarks.attacks.people import HOUR, Releases, Stage, draw_releases, part_of
from benchmarks.tables.judged import judged
from canarykit.health.evidence.doubts import (
    ALPHA_DIFFERENCE,
    canary_is_hit_more,
    is_worse_among,
    split_is_off,
)
from canarykit.health.evidence.event_evidence import standing_safety
from canarykit.metrics import ErrorShare, Guardrail

__all__ = ["Held", "doubts_at", "flags_that_failed", "held"]

HOURS, DWELL, PEOPLE, RATE = 48, 24, 150, 0.1
"""Hours of the stage and of its dwell, people an hour, and share of them with an error."""
GUARDRAIL = Guardrail(ErrorShare(), margin_ratio=1.5)
LEVEL = -np.log(0.05)
BLOCK, MOST = 50, 4000


@dataclass(frozen=True)
class Held:
    """Of the releases that would have been promoted, at the first look that would: parts held, and why.

    Parameters
    ----------
    promoted
        Releases that would have been promoted.
    split, worse, unproven
        Parts held because the flag failed in one arm more often, because those people did worse with the
        canary, and because with them safety is not shown yet.
    later
        Part that no look of the next 12 hours promotes either.
    uncalled
        Part held because of people hit without a call, as many as failed flags.
    """

    promoted: int
    split: float
    worse: float
    unproven: float
    later: float
    uncalled: float


def held(failing: float, share: float, rows: int, rng: int = 45) -> Held:
    """Harmless releases of which this part of the flags fails, whoever asks."""
    draw = np.random.default_rng(rng)
    reasons: list[tuple[bool, bool, bool, bool, bool]] = []
    for begin in range(0, rows, BLOCK):
        some = min(BLOCK, rows - begin)
        people = draw_releases(draw, some, part_of(RATE, 0.5), (Stage(share, 0, HOURS),), PEOPLE)
        failed = draw.random(len(people.columns[0])) < failing
        paths = [_evidence(_only(people, kept)) for kept in (~failed, np.ones(len(failed), bool))]
        for run in range(some):
            a, b = people.groups[run, 0, 0], people.groups[run, 0, -1]
            mine = [column[a:b][failed[a:b]] for column in people.columns]
            (harm, safe), (_, joined) = ((each[0][run], each[1][run]) for each in paths)
            may = (safe >= LEVEL) & (np.maximum.accumulate(harm) < LEVEL) & (np.arange(HOURS) >= DWELL - 1)
            if may.any():
                looks = np.flatnonzero(may[: int(np.argmax(may)) + 13])
                found = [
                    doubts_at(mine, share, int(look), proven=bool(joined[look] >= LEVEL)) for look in looks
                ]
                reasons.append((*found[0], all(any(each[:3]) for each in found)))
    split, worse, unproven, uncalled, later = np.mean(reasons, axis=0) if reasons else np.zeros(5)
    return Held(len(reasons), *map(float, (split, worse, unproven, later, uncalled)))


def _only(people: Releases, kept: np.ndarray) -> Releases:
    before = np.concatenate([[0], np.cumsum(kept)])
    start, stop, first, arms = (column[kept] for column in people.columns)
    return Releases(before[people.groups], (start, stop, first, arms == 1))


def _evidence(people: Releases) -> tuple[np.ndarray, np.ndarray]:
    """Evidence of harm, and of safety as it stands, at every look of each release."""
    harm, safe = (
        log_e_paths(people.groups, people.columns, mixture, looks=HOURS, step=HOUR)
        for mixture in mixtures_of(GUARDRAIL)
    )
    return harm, standing_safety(safe, np.maximum.accumulate(harm, axis=1) >= LEVEL)


def doubts_at(
    failed: list[np.ndarray], share: float, look: int, *, proven: bool
) -> tuple[bool, bool, bool, bool]:
    """What is found among people whose flag failed, by a look: split, worse, not proven; had they not called.

    `failed` has their entry, end, first event (-1: none) and arm; `proven` says whether safety is shown with
    them.
    """
    start, _, first, arms = failed
    now = (look + 1) * HOUR
    here, canary = start < now, arms == 1
    had = here & (first >= 0) & (first < now)
    n, m = int((here & canary).sum()), int((here & ~canary).sum())
    x, y = int((had & canary).sum()), int((had & ~canary).sum())
    split = split_is_off(n, m, share)
    worse = not split and n > 0 and m > 0 and is_worse_among((x, n), (y, m), "higher", 1)
    unproven = not split and not worse and n + m > 0 and not proven
    return split, worse, unproven, canary_is_hit_more(x, x + y, share, 1)


def flags_that_failed(rows: int, rng: int = 45) -> Iterator[dict[str, Any]]:
    """How often a harmless release that would be promoted is held, at the look that would promote it."""
    table = "harmless releases held for people whose flag failed, at the look that would promote"
    rows = min(rows, MOST)
    for failing, share in product((0.01, 0.05, 0.2), (0.5, 0.1)):
        found = held(failing, share, rows, rng)
        who = f"{failing:.0%} of the flags fail, canary {share:.0%}"
        n = max(found.promoted, 1)
        yield judged(table, f"{who}: the arms fail unequally", 1, n, found.split, bound=ALPHA_DIFFERENCE / 10)
        yield judged(table, f"{who}: worse with the canary", 1, n, found.worse, bound=ALPHA_DIFFERENCE)
        yield judged(table, f"{who}: with them not shown to be safe", 1, n, found.unproven)
        yield judged(table, f"{who}: still held 12 hours later", 1, n, found.later)
        name = f"{who}, calls that never came: hit more often"
        yield judged(table, name, 1, n, found.uncalled, bound=ALPHA_DIFFERENCE / 10)
