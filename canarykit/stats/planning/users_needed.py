"""How many people a question needs, and how surely a number of people would answer it.

An effect says what is true and what is to be ruled out; the null lies at its margin. With several looks the
boundary is the always-valid one, integrated look by look, so the answer includes what stopping early gains
and what watching costs. Shipping needs all guardrails at once, so each is planned with more power.

References
----------
Chow, Shao, Wang & Lokhnygina (2017), Sample Size Calculations in Clinical Research; Schultzberg, Ankargren &
Franberg (2024), Risk-aware product decisions in A/B tests with multiple metrics, arXiv:2402.11609.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Protocol

from canarykit.errors import DataError
from canarykit.stats.any_look.sequential import K_AT_GATE, mixture_boundary
from canarykit.stats.checks import require_count, require_number, require_share
from canarykit.stats.planned_looks import CrossingChance

_NORMAL = NormalDist()


class Effect(Protocol):
    """What is true, what is to be ruled out, and how widely it scatters."""

    @property
    def distance(self) -> float:
        """From the margin to the truth, on the scale of the test; above 0 it is harm that is shown."""

    def spread(self, canary_share: float) -> tuple[float, float]:
        """Standard deviation under the null and under the truth, of one unit of both arms together."""


@dataclass(frozen=True)
class ProportionEffect:
    """Two shares of people.

    Parameters
    ----------
    control, canary
        True shares, strictly between 0 and 1.
    margin
        Difference under the null. 0 asks for harm; a margin above the true difference asks how surely
        the release is shown to be no worse than that (non-inferiority).
    """

    control: float
    canary: float
    margin: float = 0.0

    @property
    def distance(self) -> float:
        """True difference minus the margin."""
        difference = require_share("canary", self.canary) - require_share("control", self.control)
        return difference - require_number("margin", self.margin)

    def spread(self, canary_share: float) -> tuple[float, float]:
        """Pooled under "no difference", otherwise as under the truth.

        Parameters
        ----------
        canary_share
            Share of the canary among both arms.

        Returns
        -------
        tuple of float
            Standard deviation of the estimate under the null and the truth, times the root of
            the people of both arms.
        """
        rest = 1 - canary_share
        true = self.canary * (1 - self.canary) / canary_share + self.control * (1 - self.control) / rest
        if self.margin != 0:
            return math.sqrt(true), math.sqrt(true)
        pooled = canary_share * self.canary + rest * self.control
        return math.sqrt(pooled * (1 - pooled) / (canary_share * rest)), math.sqrt(true)


@dataclass(frozen=True)
class MeanEffect:
    """Two means.

    Parameters
    ----------
    difference
        True difference, canary minus control, in the unit of the metric.
    sd, sd_canary
        Standard deviation over people in the control, and in the canary (the same by default).
    margin
        Difference under the null.
    """

    difference: float
    sd: float
    margin: float = 0.0
    sd_canary: float | None = None

    @property
    def distance(self) -> float:
        """True difference minus the margin."""
        return require_number("difference", self.difference) - require_number("margin", self.margin)

    def spread(self, canary_share: float) -> tuple[float, float]:
        """The same under the null and the truth.

        Parameters
        ----------
        canary_share
            Share of the canary among both arms.

        Returns
        -------
        tuple of float
            Standard deviation of the estimate under the null and the truth, times the root of
            the people of both arms.
        """
        sd = require_number("sd", self.sd, above=0.0)
        canary_sd = sd if self.sd_canary is None else require_number("sd_canary", self.sd_canary, above=0.0)
        both = math.sqrt(canary_sd**2 / canary_share + sd**2 / (1 - canary_share))
        return both, both


@dataclass(frozen=True)
class RateEffect:
    """Two event rates, compared by their ratio.

    Parameters
    ----------
    control
        Events per person in the control, over the time that is planned.
    ratio
        True ratio, canary over control.
    margin_ratio
        Ratio under the null: 1 asks for harm, a ratio above the true one for non-inferiority.
    """

    control: float
    ratio: float
    margin_ratio: float = 1.0

    @property
    def distance(self) -> float:
        """Log of the true ratio over the margin."""
        true = require_number("ratio", self.ratio, above=0.0)
        return math.log(true / require_number("margin_ratio", self.margin_ratio, above=0.0))

    def spread(self, canary_share: float) -> tuple[float, float]:
        """Of the log ratio, by the delta method, as under the truth.

        Parameters
        ----------
        canary_share
            Share of the canary among both arms.

        Returns
        -------
        tuple of float
            Standard deviation of the estimate under the null and the truth, times the root of
            the people of both arms.
        """
        rate = require_number("control", self.control, above=0.0)
        both = math.sqrt(1 / (rate * self.ratio * canary_share) + 1 / (rate * (1 - canary_share)))
        return both, both


@dataclass(frozen=True)
class PowerAnswer:
    """How many people, and how surely.

    Parameters
    ----------
    n_canary, n_control
        People of each arm.
    power
        Chance of showing it with them.
    alpha
        One-sided level, or two-sided when `sided` is "two".
    looks
        Planned looks; 1 is a single test at the end.
    total
        People of both arms before rounding up.
    inflation
        How many times the people of a single look the same power takes.
    each_power
        Power that every one of several guardrails is planned with.
    method, source
        What it was computed by, and where that is published.
    """

    n_canary: int
    n_control: int
    power: float
    alpha: float
    looks: int
    total: float
    inflation: float
    each_power: float
    method: str
    source: str = "Chow, Shao, Wang & Lokhnygina (2017)"

    @property
    def n(self) -> int:
        """People of both arms."""
        return self.n_canary + self.n_control


def guardrail_power(power: float, guardrails: int = 0, *, false_alarms: float = 0.0) -> float:
    """Power that each test needs so that all of them hold together.

    Parameters
    ----------
    power
        Wanted for the decision to ship.
    guardrails
        Number of guardrails beside the metric itself; all must pass.
    false_alarms
        Chance that harm or quality checks stop a good release by mistake, which also costs power.

    Returns
    -------
    float

    Examples
    --------
    >>> round(guardrail_power(0.8, 3), 4)
    0.95
    """
    wanted, count = require_share("power", power), require_count("guardrails", guardrails)
    missed = 1 - wanted - require_number("false_alarms", false_alarms, at_least=0.0)
    if not missed > 0:
        raise DataError(f"false_alarms is {false_alarms:g}: with power {wanted:g} nothing is left to miss")
    return 1 - missed / (count + 1)


def sample_size(
    effect: Effect,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    sided: str = "one",
    looks: int = 1,
    gate: float = 1.0,
    guardrails: int = 0,
    false_alarms: float = 0.0,
    canary_share: float = 0.5,
    design_effect: float = 1.0,
) -> PowerAnswer:
    """People needed to show an effect.

    Parameters
    ----------
    effect
        `ProportionEffect`, `MeanEffect` or `RateEffect`.
    power, alpha, sided
        Wanted chance to show it, level, and "one" or "two" sides.
    looks
        1: a test at the end. More: equally spaced looks at the always-valid boundary.
    gate
        Fraction of the people at which that boundary is tuned: the first planned gate.
    guardrails, false_alarms
        See `guardrail_power`. The level is not corrected: all guardrails must pass.
    canary_share
        Share of the canary among both arms.
    design_effect
        1 + (m - 1) ICC when clusters of m people are assigned.

    Returns
    -------
    PowerAnswer

    Raises
    ------
    DataError
        If the truth lies at the margin: no number of people shows a difference of nothing.

    Examples
    --------
    >>> answer = sample_size(ProportionEffect(control=0.02, canary=0.02, margin=0.002))
    >>> answer.n_canary, answer.n_control
    (60590, 60590)
    >>> round(sample_size(MeanEffect(0.1, sd=1.0), looks=14).inflation, 2)
    1.9
    """
    share, each = _share(canary_share), guardrail_power(power, guardrails, false_alarms=false_alarms)
    _require_sides(sided)
    distance = abs(effect.distance)
    if distance == 0:
        raise DataError("the truth is at the margin: no number of people shows a difference of nothing")
    null, true = effect.spread(share)
    level = require_share("alpha", alpha) / (2 if sided == "two" else 1)
    z_level, z_power = _NORMAL.inv_cdf(1 - level), _NORMAL.inv_cdf(each)
    if z_level * null + z_power * true <= 0:
        raise DataError(f"power {each:g} is below the level {level:g}; no data are needed for that")
    once = _people(z_level + z_power, z_level, null, true, distance)
    total = _people(_drift_needed(looks, gate, level, each), z_level, null, true, distance)
    inflation = total / once
    total *= require_number("design_effect", design_effect, above=0.0)
    return PowerAnswer(
        n_canary=math.ceil(total * share - 1e-9),
        n_control=math.ceil(total * (1 - share) - 1e-9),
        power=power,
        alpha=alpha,
        looks=looks,
        total=total,
        inflation=inflation,
        each_power=each,
        method=_method(looks),
    )


def power(
    effect: Effect,
    n_canary: int,
    n_control: int,
    *,
    alpha: float = 0.05,
    sided: str = "one",
    looks: int = 1,
    gate: float = 1.0,
    guardrails: int = 0,
    design_effect: float = 1.0,
) -> PowerAnswer:
    """Chance that these people show an effect; the arguments are those of `sample_size`.

    Parameters
    ----------
    effect
        `ProportionEffect`, `MeanEffect` or `RateEffect`.
    n_canary, n_control
        People of each arm.
    alpha, sided
        Level, and "one" or "two" sides.
    looks
        1: a test at the end. More: equally spaced looks at the always-valid boundary.
    gate
        Fraction of the people at which that boundary is tuned.
    guardrails
        Others that must pass as well.
    design_effect
        1 + (m - 1) ICC when clusters of m people are assigned.

    Returns
    -------
    PowerAnswer
        `each_power` is the chance for this metric alone, `power` a lower bound for it and all
        guardrails together (as if each had the same power).

    Examples
    --------
    >>> round(power(ProportionEffect(0.02, 0.025), 10_877, 10_877).power, 4)
    0.8
    """
    canary, control = require_count("n_canary", n_canary), require_count("n_control", n_control)
    if canary == 0 or control == 0:
        raise DataError(f"n_canary is {canary}, n_control {control}; both arms need people")
    _require_sides(sided)
    count = require_count("guardrails", guardrails)
    total = (canary + control) / require_number("design_effect", design_effect, above=0.0)
    null, true = effect.spread(canary / (canary + control))
    level = require_share("alpha", alpha) / (2 if sided == "two" else 1)
    z_level = _NORMAL.inv_cdf(1 - level)
    drift = abs(effect.distance) * math.sqrt(total) / true + z_level * (1 - null / true)
    each = _crossing(drift, looks, gate, level)
    reached = min(max(each, 2 * level, 0.01), 0.999)
    inflation = 1.0
    if looks > 1:
        inflation = (_drift_needed(looks, gate, level, reached) / (z_level + _NORMAL.inv_cdf(reached))) ** 2
    return PowerAnswer(
        n_canary=canary,
        n_control=control,
        power=max(1 - (count + 1) * (1 - each), 0.0),
        alpha=alpha,
        looks=looks,
        total=float(canary + control),
        inflation=inflation,
        each_power=each,
        method=_method(looks),
    )


def srm_detectable_share(n: int, *, share: float = 0.5, alpha: float = 0.001, power: float = 0.8) -> float:
    """Smallest share above the expected one that a chi-square test of n people finds.

    Parameters
    ----------
    n
        People of both arms together.
    share
        Share expected by the plan.
    alpha
        Level of the test.
    power
        Chance to find it.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(srm_detectable_share(n), 4) for n in (1000, 10_000, 100_000, 1_000_000)]
    [0.5653, 0.5207, 0.5065, 0.5021]
    """
    people, expected = require_count("n", n), require_share("share", share)
    if people == 0:
        raise DataError("n is 0; expected at least one person")
    reach = _NORMAL.inv_cdf(1 - require_share("alpha", alpha) / 2) + _NORMAL.inv_cdf(
        require_share("power", power)
    )
    return expected + reach * math.sqrt(expected * (1 - expected) / people)


def _people(drift: float, z_level: float, null: float, true: float, distance: float) -> float:
    """People at whom the expected statistic is `drift`, when null and truth scatter differently."""
    return ((true * (drift - z_level) + null * z_level) / distance) ** 2


@lru_cache(maxsize=256)
def _drift_needed(looks: int, gate: float, level: float, each: float) -> float:
    """Expected statistic at the last look with which any of the looks crosses with this chance."""
    if looks == 1:
        return _NORMAL.inv_cdf(1 - level) + _NORMAL.inv_cdf(each)
    from scipy.optimize import brentq

    chance = _any_look(looks, gate, level)
    return float(brentq(lambda drift: chance(drift) - each, 0.0, 12.0, xtol=1e-10))


def _crossing(drift: float, looks: int, gate: float, level: float) -> float:
    """Chance of showing the effect at any of the looks."""
    count = require_count("looks", looks)
    if count < 1:
        raise DataError(f"looks is {looks!r}; expected at least 1")
    if count == 1:
        return _NORMAL.cdf(drift - _NORMAL.inv_cdf(1 - level))
    return _any_look(count, gate, level)(drift)


@lru_cache(maxsize=32)
def _any_look(looks: int, gate: float, level: float) -> CrossingChance:
    """Chance of crossing the always-valid boundary at any of the looks, by drift."""
    tuned = require_number("gate", gate, above=0.0)
    times = [(look + 1) / looks for look in range(looks)]
    boundary = [float(mixture_boundary(K_AT_GATE * t / tuned, level, "one")) for t in times]
    return CrossingChance(times, boundary)


def _share(canary_share: float) -> float:
    return require_share("canary_share", canary_share)


def _require_sides(sided: str) -> None:
    if sided not in ("one", "two"):
        raise DataError(f"sided is {sided!r}; expected 'one' or 'two'")


def _method(looks: int) -> str:
    return "single look, normal" if looks == 1 else f"{looks} looks at the always-valid mixture boundary"
