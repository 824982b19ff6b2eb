"""Events that come later than the exposure: who came in before one look and has it before another.

The delay of a person who has the event is exponential. An effect multiplies the share of the people who have
it at each moment, so it may begin or end in between, and fade or grow with the time since the exposure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from canarykit.metrics.risk import FEWEST, LONGEST, MOST, PART
from canarykit.simulate.decisions.binomial_counts import binomial
from canarykit.simulate.decisions.schedule import HOUR_US
from canarykit.simulate.log.streams import Streams

if TYPE_CHECKING:
    from canarykit.simulate.decisions.truth import Ages

RARE = 0.02
"""Rates up to which events are drawn from their Poisson limit and take nobody out of those at risk."""
NEVER = 1e-12
"""Chance below which a cell of people and events is taken to be empty."""

Known = tuple[np.ndarray, np.ndarray, np.ndarray]
"""At a look, of all who came in before each look so far: sums of both arms, and the part that has come."""
Pair = tuple[np.ndarray, np.ndarray]
"""Of the canary and of the control."""
MOST_LOOKS = 200
"""Looks of a stage up to which what each of them knows of values is kept."""
Parts = Callable[..., np.ndarray]


def events_by_look(
    edges: np.ndarray, base: np.ndarray, ages: Ages, delay: float, *, within: float, by_age: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the people who came in before each look that have the event before each look, and ever.

    Parameters
    ----------
    edges
        Ends of the intervals between looks in hours, the beginning first.
    base
        Share of the people with the event, by the interval in which it comes.
    ages
        What it is multiplied by: terms of a factor by interval and the rate an hour at which it fades.
    delay
        Mean hours from exposure to the event.
    within
        Hours after the exposure in which events count, all of those of the base share; may be infinite.
    by_age
        Whether an event counts once the last of those who came in before the same look has been there as
        long (`TimeToEvent`).

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        (people's look, event's look), and the share of each people's look that has it ever.

    Examples
    --------
    >>> edges, always = np.array([0.0, 1.0, 2.0]), [(np.ones(2), 0.0)]
    >>> shares, ever = events_by_look(edges, np.full(2, 0.6), always, 1.0, within=np.inf, by_age=False)
    >>> shares.round(3).tolist(), ever.round(3).tolist()
    ([[0.221, 0.24], [0.0, 0.221]], [0.6, 0.6])
    """
    shares, ever = np.zeros((len(base), len(base))), np.zeros(len(base))
    for factor, fading in ages:
        by_then = _by_then(edges, delay, fading, within, by_age)
        each = np.diff(by_then, axis=1, prepend=0.0)
        all_of_it = _reached(np.array(math.inf), delay, fading, within)
        shares += each * (base * factor)
        ever += (each * (base * factor)).sum(axis=1) + (all_of_it - by_then[:, -1]) * base[-1] * factor[-1]
    return np.maximum(shares, 0.0), ever  # rounding


def _by_then(edges: np.ndarray, delay: float, fading: float, within: float, by_age: bool) -> np.ndarray:
    """Part of the events of those who came in before a look (rows) that has come by each look (columns)."""
    begins, ends = edges[:-1, None], edges[1:, None]
    looks = edges[None, 1:]
    if by_age:
        return _reached(looks - ends, delay, fading, within)
    total = _summed(looks - begins, delay, fading, within) - _summed(looks - ends, delay, fading, within)
    return np.asarray(total / (ends - begins))


def _reached(age: np.ndarray, delay: float, fading: float, within: float) -> np.ndarray:
    """Part of the events that has come by an age, each counted by what is left of its effect."""
    rate = 1 / delay + fading
    counted = np.minimum(np.maximum(age, 0.0), within)
    return np.asarray(-np.expm1(-rate * counted) / (rate * delay * -math.expm1(-within / delay)))


def _summed(age: np.ndarray, delay: float, fading: float, within: float) -> np.ndarray:
    """The same, summed over all ages up to one: people come in evenly between two looks."""
    rate = 1 / delay + fading
    age = np.maximum(age, 0.0)
    inside = np.minimum(age, within)
    level = 1 / (rate * delay * -math.expm1(-within / delay))
    beyond = (age - inside) * _reached(inside, delay, fading, within)
    return np.asarray(level * (inside + np.expm1(-rate * inside) / rate) + beyond)


@dataclass(frozen=True, eq=False)
class Cohorts:
    """Looks put together until enough people came in to be compared: their events count from then on."""

    # by the look before which people came in; as many as there are looks where it is never complete
    closes: np.ndarray
    people: np.ndarray  # expected before each look

    @classmethod
    def of(cls, people: np.ndarray, hours: np.ndarray) -> Cohorts | None:
        """Those of the expected people, as `risk_sets` has them; None where each look is one."""
        target = np.clip(np.cumsum(people) / PART, FEWEST, MOST)
        closes = np.full(len(people), len(people))
        since, size, begin = 0, 0.0, 0.0
        for look, (came, end) in enumerate(zip(people, hours, strict=True)):
            size += came
            if size >= target[look] or end - begin >= LONGEST / HOUR_US - 1e-9:
                closes[since : look + 1] = look
                since, size, begin = look + 1, 0.0, end
        return None if (closes == np.arange(len(people))).all() else cls(closes, people)

    def counts(self, came: np.ndarray) -> np.ndarray:
        """People by the look at which their cohort is complete, (runs, looks)."""
        whole = np.zeros_like(came)
        kept = self.closes < len(self.closes)
        np.add.at(whole.T, self.closes[kept], came.T[kept])
        return whole

    def rates(self, rate: np.ndarray) -> np.ndarray:
        """Shares of those people with an event that comes at once."""
        return self._averaged(rate[:, None])[:, 0]

    def chances(self, later: np.ndarray) -> np.ndarray:
        """Chances of events that come later, by people's and event's look; what came before counts then."""
        found = self._averaged(later)
        looks = np.arange(len(found))
        early = np.cumsum(found, axis=1)[looks, looks]
        found[looks[:, None] > looks[None, :]] = 0.0
        found[looks, looks] = early
        return found

    def _averaged(self, of_look: np.ndarray) -> np.ndarray:
        kept = self.closes < len(self.closes)
        weight = np.maximum(self.people, 1e-12)
        total, weights = np.zeros(of_look.shape), np.zeros(len(self.closes))
        np.add.at(total, self.closes[kept], weight[kept, None] * of_look[kept])
        np.add.at(weights, self.closes[kept], weight[kept])
        return np.asarray(total / np.maximum(weights, 1e-12)[:, None])


def draw_delayed(
    low: np.ndarray,
    high: np.ndarray,
    canary: np.ndarray,
    control: np.ndarray,
    draw: Streams,
    place: int,
    parts: Parts | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Events of both arms at each look, and the canary's part of those they are compared with.

    `low` and `high` are the chances of the control and of the canary, (people's look, event's look); people
    are those who came in before each look, (runs, looks). `place` of the guardrail is in the names of its
    streams. `parts` draws the canary's part among those left; None where events are so rare that it is the
    planned share.
    """
    shape, n_looks = canary.shape, canary.shape[1]
    names = ("theirs", "ours", "more", "less", "order")
    theirs_of, ours_of, more_of, less_of, order_of = (draw(f"{place}{name}") for name in names)
    common = np.minimum(low, high)
    if parts is None:
        ours = ours_of.poisson(canary @ low)
        if (high < low).any():
            expected = canary @ low
            ours = binomial(
                less_of, ours, np.where(expected > 0, canary @ common / np.maximum(expected, 1e-300), 0)
            )
        if (high > low).any():
            ours = ours + more_of.poisson(canary @ (high - common))
        return ours, theirs_of.poisson(control @ low), None
    ours, theirs, weighed = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape)
    may, at_risk, others = canary.astype(np.int64), canary.astype(np.int64), control.astype(np.int64)
    gone, gone_ours = np.zeros(n_looks), np.zeros(n_looks)
    for lag in range(n_looks):
        who = np.arange(n_looks - lag)
        p, q, both = (chances[who, who + lag] for chances in (low, high, common))
        if not np.any(np.maximum(p, q) > NEVER):
            continue
        here = slice(0, n_looks - lag)
        they = binomial(theirs_of, others[:, here], _left(p, gone[here]))
        base = binomial(ours_of, may[:, here], _left(p, gone_ours[here]))
        may[:, here] -= base
        we = (
            binomial(less_of, base, np.where(p > 0, both / np.maximum(p, 1e-300), 0.0))
            if np.any(q < p)
            else base
        )
        gone[here] += p
        gone_ours[here] += p
        if np.any(q > p):
            extra = binomial(more_of, may[:, here], _left(q - both, gone_ours[here]))
            may[:, here] -= extra
            we = we + extra
            gone_ours[here] += q - both
        happened = we + they
        some = happened > 0
        part = parts(order_of, we[some], they[some], at_risk[:, here][some], others[:, here][some])
        weight = np.zeros(happened.shape)
        weight[some] = part * happened[some]
        ours[:, lag:] += we
        theirs[:, lag:] += they
        weighed[:, lag:] += weight
        at_risk[:, here] -= we
        others[:, here] -= they
    both_arms = ours + theirs
    return ours, theirs, np.where(both_arms > 0, weighed / np.maximum(both_arms, 1), 0.5)


def hit(stream: np.random.Generator, people: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """How many of them have the event: binomial, where it is rare its Poisson limit."""
    if rate.max() > RARE:
        return binomial(stream, people, rate)
    return np.minimum(stream.poisson(people * rate), people)


def draw_values(
    spreads: Pair, people: Pair, means: Pair, streams: tuple[np.random.Generator, np.random.Generator]
) -> Pair:
    """Sums of a value over the people of each interval, by the normal law of large numbers."""
    ours, theirs = (
        came * mean + np.sqrt(came) * spread * stream.standard_normal(came.shape)
        for came, mean, spread, stream in zip(people, means, spreads, streams, strict=True)
    )
    return ours, theirs


def value_comes(hours: np.ndarray, delay: float) -> np.ndarray:
    """Chance that a person's value comes before a look, by the look before which the person came in."""
    edges, ones = np.concatenate([[0.0], hours]), np.ones(len(hours))
    return events_by_look(edges, ones, [(ones, 0.0)], delay, within=np.inf, by_age=False)[0]


def draw_delayed_values(
    means: tuple[np.ndarray, np.ndarray],
    comes: np.ndarray,
    spreads: tuple[np.ndarray, np.ndarray],
    people: tuple[np.ndarray, np.ndarray],
    streams: tuple[np.random.Generator, np.random.Generator],
) -> list[Known]:
    """What each look knows of a value that comes some time after the exposure.

    `means` is what comes of a person of the canary, and of the control, by the looks before which people came
    in and it comes, and `comes` the chance of that; `spreads` the standard deviation of what comes before a
    look. Each arm's people, (runs, looks), have a stream of their own.
    """
    n_looks = len(comes)
    everybody = np.cumsum(people[0] + people[1], axis=1)
    left = [came.astype(np.int64) for came in people]
    sums, gone = [np.zeros(came.shape) for came in people], np.zeros(n_looks)
    known: list[Known] = []
    for look in range(n_looks):
        so_far = slice(0, look + 1)
        chance = comes[so_far, look]
        share = _left(chance, gone[so_far])
        gone[so_far] += chance
        for arm in range(2):
            now = binomial(streams[arm], left[arm][:, so_far], share)
            each = means[arm][so_far, look] / np.maximum(chance, NEVER)
            noise = streams[arm].standard_normal(now.shape) * spreads[arm][look]
            left[arm][:, so_far] -= now
            sums[arm][:, so_far] += now * each + np.sqrt(now) * noise
        ours, theirs, open_ = (np.cumsum(each[:, so_far], axis=1) for each in (*sums, left[0] + left[1]))
        come = 1 - open_ / np.maximum(everybody[:, so_far], 1)
        known.append((ours.astype(np.float32), theirs.astype(np.float32), come.astype(np.float32)))
    return known


def parts_in_cohort(
    ours: np.ndarray, theirs: np.ndarray, canary: np.ndarray, control: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Canary's expected part of a cohort's events, over all orders in which they may come, and its spread.

    Each event takes somebody out of the cohort, so the part moves as the labels come.

    Parameters
    ----------
    ours, theirs
        Events of the canary and of the control.
    canary, control
        People of both before.
    """
    from scipy.special import digamma

    n, people = ours + theirs, np.maximum(canary + control, 1)
    some = np.maximum(n, 1)
    share, rate = canary / people, n / people
    harmonic = digamma(people + 1) - digamma(people - n + 1)
    mean = (canary * harmonic - ours / some * (people * harmonic - n)) / some
    hazard = -np.log1p(-np.minimum(rate, 1 - 1 / (2 * people))) / np.maximum(rate, 1e-12)
    left = np.maximum(1 - hazard**2 * (1 - rate), 0.0)  # of the variance of one label after another
    return np.clip(mean, 1e-9, 1 - 1e-9), np.sqrt(share * (1 - share) * left / some)


def _left(chance: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """The chance among those who have not had it before."""
    return np.clip(chance / np.maximum(1 - gone, 1e-12), 0.0, 1.0)
