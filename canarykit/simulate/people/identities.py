"""The names of simulated things: ids, emails and UUIDs, whole columns at once.

Everything here is a pure function of the person's number: an id never depends on how many people there are.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.compiler import can_compile
from canarykit.simulate.log.streams import mix64
from canarykit.simulate.people.population import People, Population

NAMES = (
    "mia",
    "noah",
    "lena",
    "omar",
    "ines",
    "paul",
    "yuki",
    "sara",
    "luca",
    "nina",
    "tom",
    "eva",
    "ravi",
    "zoe",
)
_HEX = np.frombuffer(b"".join(b"%04x" % i for i in range(1 << 16)), np.uint32)
_PLACES = (0, 4, 9, 14, 19, 24, 28, 32)
COMPILED_FROM = 200_000
_WORDS = 9
"""32-bit words of the text of a UUID: 36 characters."""
_PIECE = 1 << 20
CHUNK = 1 << 16
"""Rows worked on at once, so that what lies between stays in the cache."""


def uuid_text(high: np.ndarray, low: np.ndarray) -> pa.Array:
    """UUIDs as text from their upper and lower 64 bits; the caller sets version and variant bits."""
    size = len(high)
    words = np.empty(_WORDS * size, np.uint32)
    for start in range(0, size, CHUNK):
        rows = slice(start, start + CHUNK)
        part = words[_WORDS * start : _WORDS * (start + CHUNK)]
        _write_text(high[rows], low[rows], part, size >= COMPILED_FROM)
    offsets = np.arange(0, 36 * size + 1, 36, dtype=np.int64)
    return pa.LargeStringArray.from_buffers(size, pa.py_buffer(offsets), pa.py_buffer(words))


def _write_text(high: np.ndarray, low: np.ndarray, words: np.ndarray, compiled: bool) -> None:
    """Write UUIDs as text, four characters a word."""
    if not (compiled and can_compile()):
        words[:] = _plain_text(high, low).view(np.uint32)
        return
    from canarykit.simulate.log.kernels import write_uuids

    write_uuids(high, low, words)


def _plain_text(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    size = len(high)
    text = np.full((size, 36), ord("-"), np.uint8)
    for word, places in ((high, _PLACES[:4]), (low, _PLACES[4:])):
        for shift, column in zip((48, 32, 16, 0), places, strict=True):
            part = _HEX[(word >> np.uint64(shift)) & np.uint64(0xFFFF)]
            text[:, column : column + 4] = part.view(np.uint8).reshape(size, 4)
    return text.ravel()


class EventIds:
    """UUIDv7 of events: the time, then whose and what, so that no draw is needed and none collides."""

    def __init__(self, size: int) -> None:
        self._words = np.empty(_WORDS * size, np.uint32)
        self._compiled = size >= COMPILED_FROM

    def write(self, start: int, time_us: np.ndarray, person: np.ndarray, kind: np.ndarray) -> None:
        """Write the ids of some events, from row `start` on."""
        low = person.astype(np.uint64)
        low <<= np.uint64(16)
        low |= kind.astype(np.uint64)
        low |= np.uint64(1 << 63)
        words = self._words[_WORDS * start : _WORDS * (start + len(low))]
        _write_text(_seventh_version(time_us), low, words, self._compiled)

    def column(self) -> pa.ChunkedArray:
        """The ids; as all are equally long, long pieces of the column have their offsets in common."""
        size = len(self._words) // _WORDS
        offsets = pa.py_buffer(np.arange(0, 36 * min(size, _PIECE) + 1, 36, dtype=np.int64))
        pieces = [
            pa.LargeStringArray.from_buffers(
                min(size - start, _PIECE),
                offsets,
                pa.py_buffer(self._words[_WORDS * start : _WORDS * (start + _PIECE)]),
            )
            for start in range(0, size, _PIECE)
        ]
        return pa.chunked_array(pieces, pa.large_string())


def event_ids(time_us: np.ndarray, person: np.ndarray, kind: np.ndarray) -> pa.ChunkedArray:
    """The ids of all events of a table."""
    ids = EventIds(len(time_us))
    for start in range(0, len(time_us), CHUNK):
        rows = slice(start, start + CHUNK)
        ids.write(start, time_us[rows], person[rows], kind[rows])
    return ids.column()


def session_ids(start_us: np.ndarray, person: np.ndarray) -> pa.Array:
    """UUIDv7 of sessions: when they start, and whose they are."""
    return uuid_text(_seventh_version(start_us), np.uint64(1 << 63) | person.astype(np.uint64))


def _seventh_version(time_us: np.ndarray) -> np.ndarray:
    """The upper half of a UUIDv7."""
    return ((time_us // 1000).astype(np.uint64) << np.uint64(16)) | np.uint64(0x7000)


def person_ids(index: np.ndarray, salt: int = 1) -> pa.Array:
    """UUIDv4-shaped ids of people, mixed so that neighbours look nothing alike."""
    high = (mix64(index, 2 * salt) & ~np.uint64(0xF000)) | np.uint64(0x4000)
    low = (mix64(index, 2 * salt + 1) >> np.uint64(2)) | np.uint64(1 << 63)
    return uuid_text(high, low)


def anonymous_ids(index: np.ndarray) -> pa.Array:
    """Device ids that people have before they identify."""
    return person_ids(index, salt=3)


def distinct_ids(index: np.ndarray) -> pa.Array:
    """Ids of identified people: "user-17"."""
    return glue("user-", pc.cast(pa.array(index), pa.large_string()))


def organisation_keys(population: Population, ranks: np.ndarray) -> pa.Array:
    """Group keys of organisations by rank; null below 0. Returned as a dictionary array."""
    codes, unique = pd.factorize(ranks)  # by hash: ranks repeat, and there are far fewer of them than people
    places = np.argsort(unique)
    in_order, codes = unique[places], np.argsort(places)[codes]
    names = [None if rank < 0 else population.organisation_key(int(rank)) for rank in in_order]
    null = bool(len(in_order)) and in_order[0] < 0
    indices = pa.array((codes - null).astype(np.int32), mask=ranks < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names[1:] if null else names, pa.large_string()))


def emails(people: People) -> pa.Array:
    """Email addresses: the team's domain, the organisation's, or a mail provider's."""
    index, population = people.index, people.population
    numbers = pc.cast(pa.array(index), pa.large_string())
    local = glue(pa.array(NAMES, pa.large_string()).take(pa.array(index % len(NAMES))), ".", numbers)
    firm = organisation_keys(population, people.organisation).cast(pa.large_string())
    domain = pc.fill_null(glue(firm, ".example"), "mail.example")
    if people.first < population.team:
        domain = pc.if_else(pa.array(people.in_team), population.team_domain, domain)
    address = glue(local, "@", domain)
    if people.first == 0:
        address = pa.concat_arrays([pa.array([population.owner], pa.large_string()), address[1:]])
    return address


def glue(*parts: pa.Array | str) -> pa.Array:
    """Text columns joined row by row; null where any part is."""
    scalars = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*scalars, pa.scalar("", pa.large_string()))
