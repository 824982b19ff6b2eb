"""Who takes part in a simulated rollout: people, their organisations, browsers, and how active they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.arguments import require_fields
from canarykit.display import Noun
from canarykit.errors import PlanError, did_you_mean
from canarykit.simulate.log.streams import BLOCK, Streams, hash_uniform

if TYPE_CHECKING:
    from canarykit.events import EventLog
    from canarykit.typing import Frame

WEEKLY = (1.1, 1.15, 1.15, 1.1, 1.0, 0.75, 0.75)
DAILY = (2, 1, 1, 1, 1, 2, 3, 5, 7, 9, 10, 10, 10, 11, 11, 11, 10, 9, 9, 8, 7, 6, 5, 3)
FIRST = (
    "blue",
    "north",
    "silver",
    "green",
    "bright",
    "iron",
    "quiet",
    "golden",
    "red",
    "clear",
    "stone",
    "swift",
)
SECOND = (
    "river",
    "wind",
    "field",
    "harbor",
    "peak",
    "lantern",
    "forest",
    "bridge",
    "meadow",
    "anchor",
    "cloud",
)


@dataclass(frozen=True, repr=False)
class Population(Noun):
    """People and their habits; person i is the same person in any population of the same seed.

    Parameters
    ----------
    n
        People, the team and the owner included.
    owner, team_domain, team
        The owner's email, the team's email domain, and how many are in the team. They come first.
    organisations
        Share of the people who belong to an organisation; sizes are skewed (Lomax), the largest holding
        the share `largest_organisation` of all members.
    largest_organisation
        Share of all members who belong to the largest organisation.
    organisation_names
        Names for the largest organisations, in order; the others get made-up ones.
    plans, browsers, countries
        Shares by name. An organisation's members share its plan.
    sessions_per_week, activity_shape
        Mean sessions a person and week, and the shape of the gamma distribution over people: the
        smaller, the heavier its tail.
    weekly, daily
        Weights of the weekdays (Monday first) and of the hours (UTC).
    new_per_week
        Share of the people who arrive in each week of the log, instead of being there from its start.
    anonymous
        Share of the people who are anonymous at first and identify later (median 3 days).
    enrolled
        Share of the people who enrol in the beta themselves.
    bots
        Share of the people who are programs: many page views day and night, no purchases.
    notes
        What was dropped, assumed or could not be told, one sentence each.

    Examples
    --------
    >>> Population(20_000, browsers={"Chrome": 3, "Safari": 1}).browsers
    {'Chrome': 0.75, 'Safari': 0.25}
    """

    n: int
    owner: str = "ada@acme.io"
    team_domain: str = "acme.io"
    team: int = 24
    organisations: float = 0.6
    largest_organisation: float = 0.02
    organisation_names: tuple[str, ...] = ()
    plans: Mapping[str, float] = field(default_factory=lambda: {"free": 0.6, "pro": 0.3, "enterprise": 0.1})
    browsers: Mapping[str, float] = field(
        default_factory=lambda: {"Chrome": 0.6, "Safari": 0.22, "Firefox": 0.1, "Edge": 0.08}
    )
    countries: Mapping[str, float] = field(
        default_factory=lambda: {"US": 0.4, "DE": 0.2, "GB": 0.15, "IN": 0.15, "BR": 0.1}
    )
    sessions_per_week: float = 2.0
    activity_shape: float = 1.0
    weekly: tuple[float, ...] = WEEKLY
    daily: tuple[float, ...] = DAILY
    new_per_week: float = 0.0
    anonymous: float = 0.0
    enrolled: float = 0.02
    bots: float = 0.0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_fields(self)
        if not (isinstance(self.n, int | np.integer) and self.n >= 1):
            raise PlanError(f"a population of {self.n!r} people; expected a whole number of at least 1")
        for name in ("organisations", "new_per_week", "anonymous", "enrolled", "bots"):
            if not 0 <= getattr(self, name) <= 1:
                raise PlanError(f"{name} is {getattr(self, name)}; expected a fraction between 0 and 1")
        if not 0 < self.largest_organisation < 1:
            raise PlanError(f"largest_organisation is {self.largest_organisation}; expected between 0 and 1")
        for name, length in (("weekly", 7), ("daily", 24)):
            if len(getattr(self, name)) != length:
                raise PlanError(f"{name} has {len(getattr(self, name))} weights; expected {length}")
        for name in ("plans", "browsers", "countries"):
            weights = dict(getattr(self, name))
            total = sum(weights.values())
            if not total > 0:
                raise PlanError(f"{name} is {weights}; expected positive shares by name")
            object.__setattr__(self, name, {key: value / total for key, value in weights.items()})
        object.__setattr__(self, "organisation_names", tuple(self.organisation_names))

    @property
    def blocks(self) -> int:
        """Blocks of people that are drawn one after another."""
        return -(-self.n // BLOCK)

    def organisation_key(self, number: int) -> str:
        """The group key of an organisation by its rank of size.

        Parameters
        ----------
        number
            Rank of size, 0 for the largest.

        Returns
        -------
        str
        """
        return _organisation_name(number, self.organisation_names)

    def plan_of(self, ranks: np.ndarray) -> np.ndarray:
        """Place in `plans` of organisations by rank: fixed by the rank alone.

        Parameters
        ----------
        ranks
            Ranks of size, 0 for the largest.

        Returns
        -------
        numpy.ndarray
            Position in `plans` of each.
        """
        edges = np.cumsum(list(self.plans.values()))[:-1]
        return np.searchsorted(edges, hash_uniform(ranks + 1, 7), side="right")

    @classmethod
    def like(cls, log: EventLog | Frame, *, n: int | None = None) -> Population:
        """Estimate rhythm, activity, browsers and organisations from a real log; `notes` say what was not.

        Parameters
        ----------
        log
            The log to take the habits from.
        n
            People of the new population; None: as many as the log has.
        """
        from canarykit.simulate.people.estimate import population_like

        return population_like(log, n)


@lru_cache(maxsize=1 << 16)
def _organisation_name(number: int, given: tuple[str, ...]) -> str:
    if number < len(given):
        return given[number]
    name = FIRST[number % len(FIRST)] + SECOND[number // len(FIRST) % len(SECOND)]
    again = number // (len(FIRST) * len(SECOND))
    if name in given:
        return f"{name}-{number}"
    return f"{name}{again}" if again else name


@dataclass(frozen=True)
class People:
    """One block of people as arrays; codes point into the population's names."""

    population: Population
    first: int
    browser: np.ndarray
    country: np.ndarray
    plan: np.ndarray
    organisation: np.ndarray
    """Rank of the organisation, -1 for none."""
    rate: np.ndarray
    """Sessions a week."""
    arrives: np.ndarray
    """Weeks after the start of the log; 0 = there from the start."""
    identifies: np.ndarray
    """Weeks after arrival until the person identifies; 0 = known from the start."""
    enrolled: np.ndarray
    bot: np.ndarray

    def __len__(self) -> int:
        return len(self.browser)

    @classmethod
    def join(cls, blocks: list[People]) -> People:
        """Neighbouring blocks as one."""
        arrays = [name for name in cls.__dataclass_fields__ if name not in ("population", "first")]
        joined = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in arrays}
        return cls(population=blocks[0].population, first=blocks[0].first, **joined)

    @property
    def index(self) -> np.ndarray:
        """Numbers of these people in the whole population."""
        return np.arange(self.first, self.first + len(self))

    @property
    def in_team(self) -> np.ndarray:
        """Who belongs to the team (the owner too)."""
        return self.index < self.population.team

    def matches(self, where: Mapping[str, Any]) -> np.ndarray:
        """Who has all these properties; a value may be one name or several."""
        chosen = np.ones(len(self), bool)
        for key, wanted in where.items():
            if key == "team":
                chosen &= self.in_team == bool(wanted)
                continue
            chosen &= self._matches_one(key, {wanted} if isinstance(wanted, str) else set(wanted))
        return chosen

    def _matches_one(self, key: str, names: set[str]) -> np.ndarray:
        population = self.population
        columns = {
            "browser": (self.browser, population.browsers),
            "country": (self.country, population.countries),
        }
        columns["plan"] = (self.plan, population.plans)
        if key in columns:
            codes, values = columns[key]
            unknown = names - set(values)
            if unknown:
                raise PlanError(
                    f"no {key} {sorted(unknown)[0]!r}; {did_you_mean(sorted(unknown)[0], values)}"
                )
            return np.isin(codes, [number for number, name in enumerate(values) if name in names])
        if key == "organization":
            ranks = np.unique(self.organisation[self.organisation >= 0])
            return np.isin(
                self.organisation, [r for r in ranks if population.organisation_key(int(r)) in names]
            )
        hint = did_you_mean(key, [*columns, "organization", "team"])
        raise PlanError(f"people have no property {key!r} to confine an effect to; {hint}")


def draw_people(population: Population, seed: np.random.SeedSequence, block: int) -> People:
    """Draw one block of people."""
    first = block * BLOCK
    size = min(BLOCK, population.n - first)
    draw = Streams(seed, 1, block)
    index = np.arange(first, first + size)
    in_team = index < population.team

    def choose(purpose: str, shares: Mapping[str, float]) -> np.ndarray:
        edges = np.cumsum(list(shares.values()))[:-1]
        return np.searchsorted(edges, draw(purpose).random(size), side="right").astype(np.int8)

    organisation = _organisations(population, draw("org").random(size), draw("member").random(size))
    organisation[in_team] = -1
    plan = choose("plan", population.plans)
    plan = np.where(organisation >= 0, population.plan_of(organisation), plan).astype(np.int8)
    bot = (draw("bot").random(size) < population.bots) & ~in_team
    rate = draw("activity").standard_gamma(population.activity_shape, size)
    rate *= population.sessions_per_week / population.activity_shape
    rate[in_team] = np.maximum(rate[in_team], 5.0)  # people who work on it use it,
    rate[index == 0] = 100.0  # and its owner all day
    rate[bot] = 40 * population.sessions_per_week
    arrives = _arrivals(population.new_per_week, draw("arrival").random(size))
    anonymous = draw("anonym").random(size) < population.anonymous
    wait = draw("login").standard_exponential(size) * (3 / 7 / np.log(2))
    return People(
        population=population,
        first=first,
        browser=choose("browser", population.browsers),
        country=choose("country", population.countries),
        plan=plan,
        organisation=organisation,
        rate=rate,
        arrives=np.where(in_team, 0.0, arrives),
        identifies=np.where(anonymous & ~in_team & ~bot, wait, 0.0),
        enrolled=(draw("enrol").random(size) < population.enrolled) & ~in_team & ~bot,
        bot=bot,
    )


def _arrivals(new_per_week: float, rank: np.ndarray) -> np.ndarray:
    """Weeks until each person comes: a steady stream, of whom the longest waiting were there at the start.

    The stream runs for at most 12 weeks, so that a small share a week leaves most people settled.
    """
    if new_per_week == 0:
        return np.zeros(len(rank))
    settled = max(1.0 - 12.0 * new_per_week, 0.0)
    return np.maximum((rank - settled) / new_per_week, 0.0)


def _organisations(population: Population, size_draw: np.ndarray, member_draw: np.ndarray) -> np.ndarray:
    """Ranks of organisations: Lomax with index 1.2, scaled so that rank 0 holds its share of the members."""
    scale = 1.0 / ((1 - population.largest_organisation) ** (-1 / 1.2) - 1)
    rank = np.floor(scale * ((1 - size_draw) ** (-1 / 1.2) - 1)).astype(np.int64)
    return np.where(member_draw < population.organisations, np.minimum(rank, 2**40), -1)
