"""Who comes in when, and to whom it happens: hazards of every shape, and ramps with people who return."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

__all__ = ["HAZARDS", "HOUR", "Releases", "Stage", "draw_releases", "share_of"]

HOUR = 3_600_000_000
Floats = np.ndarray
Lag = Callable[[np.random.Generator, Floats, Floats | float], Floats]
"""From when people come in, and how many times as likely each one's event is, the hours until it."""


def share_of(rate: float, lag: float) -> Lag:
    """This share has the event, after an exponential lag of so many hours; the others never.

    With an effect the hazards are proportional: whoever is left has it so many times as often.
    """

    def hours(rng: np.random.Generator, entered: Floats, effect: Floats | float) -> Floats:
        by_then = (1 - rng.random(len(entered)) ** (1 / effect)) / rate
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(by_then < 1, -lag * np.log1p(-by_then), np.inf)

    return hours


def part_of(rate: float, lag: float) -> Lag:
    """The same; an effect multiplies the share of the people who ever have it."""
    return lambda rng, entered, effect: np.where(
        rng.random(len(entered)) < rate * effect, lag * rng.standard_exponential(len(entered)), np.inf
    )


def weibull(shape: float) -> Lag:
    """Hazards that fall (below 1) or rise (above 1) with the time since exposure."""
    return lambda rng, entered, effect: 12 * (rng.standard_exponential(len(entered)) / effect) ** (1 / shape)


def frail(rng: np.random.Generator, entered: Floats, effect: Floats | float) -> Floats:
    """People who differ: gamma frailty of variance 5."""
    frailty = 0.3 * rng.gamma(0.2, 5.0, len(entered)) * effect + 1e-12
    return rng.standard_exponential(len(entered)) / frailty


def swinging(rng: np.random.Generator, entered: Floats, effect: Floats | float) -> Floats:
    """By day most newcomers have it within minutes, by night nobody; some have it later."""
    n = len(entered)
    late = np.where(rng.random(n) < 0.3 * effect, 10 * rng.standard_exponential(n), np.inf)
    return np.where(entered % 24 > 8, np.where(rng.random(n) < 0.8 * effect, 0.05, late), late)


def outbreak(rng: np.random.Generator, entered: Floats, effect: Floats | float) -> Floats:
    """At hours 12 and 30 a third of everybody who is there has it within minutes; else it is rare."""
    n = len(entered)
    found = 200 * rng.standard_exponential(n) / effect
    for hour in (12.0, 30.0):
        then = np.where((entered < hour) & (rng.random(n) < 0.33 * effect), hour - entered, np.inf)
        found = np.minimum(found, then + 0.1 * rng.random(n))
    return found


HAZARDS: dict[str, Lag] = {
    **{
        f"{rate:.0%} after {lag:g} h": share_of(rate, lag)
        for rate, lag in product((0.1, 0.3, 0.6, 0.8, 0.95), (0.05, 1.0, 12.0))
    },
    **{
        f"{rate:.0%} in all after {lag:g} h": part_of(rate, lag)
        for rate, lag in product((0.1, 0.3, 0.6), (0.05, 12.0))
    },
    "hazard falls": weibull(0.4),
    "hazard rises": weibull(3.0),
    "people differ": frail,
    "day and night": swinging,
    "outbreaks": outbreak,
}


@dataclass(frozen=True)
class Stage:
    """A canary's part of the people, from one hour to another."""

    share: float
    since: float
    until: float


@dataclass(frozen=True)
class Releases:
    """People of many releases as columns, and where the people of each release, stage and kind are.

    `groups` and `columns` are what `kernels.crossed` takes; the last column is the arm, 0 for the control.
    `had` marks people who had the event before the stage began.
    """

    groups: np.ndarray
    columns: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    had: np.ndarray | None = None

    def labelled(self, rng: np.random.Generator, share: float) -> "Releases":
        """The same people of one stage with labels drawn anew: valid where the release changes nothing."""
        *times, arms = self.columns
        return Releases(self.groups, (*times, rng.random(len(arms)) < share))  # type: ignore[arg-type]

    def against_control(self, arm: int, *, swapped: bool = False, once: bool = False) -> "Releases":
        """One variant and the control, as a canary and a control; `swapped` changes them over.

        `once` leaves out people who had the event in an earlier stage, as pooled evidence does.
        """
        start, stop, first, arms = self.columns
        if arms.dtype != np.bool_ or (once and self.had is not None):
            kept = np.ones(len(arms), bool) if arms.dtype == np.bool_ else (arms == 0) | (arms == arm)
            if once and self.had is not None:
                kept &= ~self.had
            before = np.concatenate([[0], np.cumsum(kept)])
            groups = before[self.groups]
            start, stop, first, arms = (column[kept] for column in self.columns)
        else:
            groups = self.groups
        mine = arms if arms.dtype == np.bool_ else arms == arm
        return Releases(groups, (start, stop, first, ~mine if swapped else mine))


def draw_releases(
    rng: np.random.Generator,
    runs: int,
    lag: Lag,
    stages: tuple[Stage, ...],
    traffic: float,
    *,
    ratio: float = 1.0,
    arms: int = 1,
    window: float = np.inf,
    returning: float = 1.0,
    past: Lag | None = None,
) -> Releases:
    """Draw releases: people come in at random, and come back in each later stage.

    Parameters
    ----------
    lag
        Hours until the event.
    stages
        Each variant has `share / arms` of the people.
    traffic
        New people an hour.
    ratio
        How many times as likely the event is with the first variant (the canary).
    window
        Hours after exposure in which it counts.
    returning
        Part of the people of earlier stages who come back, within the first six hours of a stage. Whose
        hazard is raised follows from the stage of the first exposure: with an effect, nobody should return.
    past
        Hours until the event for the half of the people who had it before they came in, who are a kind of
        their own; None where nobody asks.
    """
    last = stages[-1].until
    several = len(stages) > 1
    expected = runs * last * traffic
    gaps = rng.standard_exponential(int(expected + 6 * expected**0.5 + 20)) / traffic
    at = np.cumsum(gaps)  # one long stream of people, cut into releases
    at = at[at < runs * last]
    run = (at / last).astype(np.int64)
    entered = np.clip(at - run * last, 0.0, last)
    bucket = rng.random(len(run))
    stage_of = np.searchsorted([stage.until for stage in stages[:-1]], entered, side="right")
    arm = _arm(bucket, np.array([stage.share for stage in stages])[stage_of], arms)
    effect = 1.0 if ratio == 1 else np.where(arm == 1, ratio, 1.0)
    happens = entered + lag(rng, entered, effect)
    kinds, kind = 2, np.zeros(len(run), np.int64)
    if past is not None:
        kinds, kind = 4, 2 * (rng.random(len(run)) < 0.5)
        happens = np.where(kind > 0, entered + past(rng, entered, effect), happens)
    parts, keys = [], []
    for place, stage in enumerate(stages):
        if not several:
            back, here, start, mine = np.zeros(1, bool), slice(None), entered, arm
        else:
            back = (entered < stage.since) & (rng.random(len(run)) < returning)
            here = np.flatnonzero(back | ((entered >= stage.since) & (entered < stage.until)))
            back = back[here]
            start = np.where(back, stage.since + 6 * rng.random(len(here)), entered[here])
            mine = _arm(bucket[here], stage.share, arms)
        start_us = (start * HOUR).astype(np.int64)
        stop_us = np.minimum(start_us + window * HOUR, stage.until * HOUR).astype(np.int64)
        first = (np.minimum(happens[here], last + 1) * HOUR).astype(np.int64)
        first[(first < start_us) | (first >= stop_us)] = -1
        parts.append((start_us, stop_us, first, mine, happens[here] < stage.since))
        if several or past is not None:
            keys.append((run[here] * len(stages) + place) * kinds + kind[here] + back)
    if keys:
        key = np.concatenate(keys)
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        order = np.lexsort((columns[0], key))
        key, columns = key[order], [column[order] for column in columns]
    else:
        key, columns = run * kinds, list(parts[0])
    edges = np.searchsorted(key, np.arange(runs * len(stages) * kinds + 1))
    groups = edges[:-1].reshape(runs, len(stages), kinds)
    groups = np.concatenate([groups, edges[kinds::kinds].reshape(runs, len(stages), 1)], axis=2)
    return Releases(groups, tuple(columns[:4]), columns[4] if several else None)  # type: ignore[arg-type]


def _arm(bucket: Floats, share: Floats | float, arms: int) -> np.ndarray:
    if arms == 1:
        return bucket < share
    return np.where(bucket < share, 1 + (bucket * arms / share).astype(np.int64), 0)
