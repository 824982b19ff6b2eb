"""Random streams that do not move: person i has the same fate among 20,000 people and among 30,000.

People are drawn in blocks, behaviour in calendar weeks, and every quantity of a block and week has a
stream of its own. Within a stream the people stand in order, so more people, a longer rollout or
further stages only append draws; none is shifted.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from canarykit.errors import PlanError, what_is

BLOCK = 65_536
"""People per block. Part of the streams: changing it changes every simulated log."""

Seed = int | np.random.Generator | np.random.SeedSequence | None


def as_seed(rng: Seed) -> np.random.SeedSequence:
    """The seed sequence behind an `rng` argument; a Generator gives a fresh child at each call."""
    if isinstance(rng, np.random.SeedSequence):
        return rng
    if isinstance(rng, np.random.Generator):
        return rng.bit_generator.seed_seq.spawn(1)[0]  # type: ignore[attr-defined]
    if not (rng is None or (isinstance(rng, int | np.integer) and rng >= 0)):
        raise PlanError(
            f"rng is {what_is(rng)}; expected a whole number of at least 0, a numpy Generator or None"
        )
    return np.random.SeedSequence(rng)


class Streams:
    """One generator per purpose under one address (block, week, ...), made when first asked for."""

    def __init__(self, seed: np.random.SeedSequence, *address: int) -> None:
        self._entropy = seed.entropy
        self._key = (*seed.spawn_key, *address)

    kept: np.ndarray | None = None
    """Of the sessions that are drawn, those whose numbers are handed out; None for all."""

    def __call__(self, purpose: str) -> Any:
        """Draws of one purpose; the same name always names the same stream."""
        generator = self.all(purpose)
        return generator if self.kept is None else _KeptDraws(generator, self.kept)

    def only(self, kept: np.ndarray) -> Streams:
        """The same streams, of which only some of the numbers are asked for."""
        other = copy(self)
        other.kept = kept
        return other

    def size(self, asked: int) -> int:
        """How many numbers are drawn where so many are handed out."""
        return asked if self.kept is None else len(self.kept)

    def all(self, purpose: str) -> np.random.Generator:
        """The generator of one purpose, whatever is kept."""
        number = int.from_bytes(purpose.encode()[:8].ljust(8, b"\0"), "little")
        key = (*self._key, number & 0xFFFFFFFF, number >> 32)
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(self._entropy, spawn_key=key)))


class _KeptDraws:
    """A generator's methods: each draws for all sessions, and returns the numbers of the kept ones."""

    def __init__(self, generator: np.random.Generator, kept: np.ndarray) -> None:
        self._generator, self._kept = generator, kept

    def __getattr__(self, name: str) -> Any:
        draw = getattr(self._generator, name)

        def drawn(size: int, **options: Any) -> np.ndarray:
            return draw(len(self._kept), **options)[self._kept]

        return drawn


def hash_uniform(keys: np.ndarray, salt: int) -> np.ndarray:
    """A fixed number in [0, 1) for each integer key (splitmix64): facts that no draw may move."""
    return (mix64(keys, salt) >> np.uint64(11)) * 2.0**-53


def mix64(keys: np.ndarray, salt: int) -> np.ndarray:
    """Splitmix64 of integer keys: 64 well-mixed bits each."""
    with np.errstate(over="ignore"):
        z = keys.astype(np.uint64) + np.uint64((0x9E3779B97F4A7C15 * (salt + 1)) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
