"""One walk over each JSON document of a column: which top-level values are wanted, and where they stand.

The whole document is checked against RFC 8259 on the way, since a document that is cut short has no values at
all. What the walk does not decide by itself (escapes in a wanted value, numbers that are printed another way
than they are written, objects and lists) is left open.

Strings are most of a document's bytes. In a document without escapes their quotes take turns opening and
closing: all quotes of 64 bytes are found at once in the processor's vectors, and the walk steps from one to
the next. Documents with escapes, or with white space between their parts, are walked string by string.
"""

# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

import numpy as np

from canarykit.compiler import borrowing, njit
from canarykit.events.documents.grammar import (
    CLOSE_BRACE,
    COLON,
    COMMA,
    OPEN_BRACE,
    OPEN_BRACKET,
    PIECE,
    QUOTE,
    WIDTH,
    container_end,
    copy_sixteen,
    escapes_at,
    lowest_bit,
    name_end,
    quotes_at,
    same_sixteen,
    scalar_end,
    skip_blanks,
    string_end,
)

__all__ = [
    "MISSING",
    "MOST_NAMES",
    "NAME_SLOTS",
    "OPEN",
    "PIECE",
    "copy_texts",
    "find_values",
    "text_offsets",
]

MISSING, OPEN = -1, -2
"""Lengths of a value that is not there (or null), and of one that is left open (or less than that)."""

MOST_QUOTES = 4096
"""Quotes of a document that the quick walk has room for."""

WANTED, NOT_YET = 3, -2
"""Column of `names` with the wanted key that a name is (-1: none), and what stands there at first."""

MOST_NAMES, NAME_SLOTS = 4096, 16384
"""Different names of a stretch that are written down, and places to look for them: a power of two, sparse."""


@borrowing(forceinline=True)
def slot_of(data, start, stop):
    """A number below 64 for a name: names in one document seldom share it."""
    size = stop - start
    if size == 0:
        return 0
    return (size * 5 + data[stop - 1] * 3 + data[start + size // 2] * 11) & 63


@njit()
def slots_of(keys, key_starts):
    """The wanted keys by slot: the first of each slot, then for each key the next one of its slot."""
    n_keys = key_starts.size - 1
    slots = np.full(64 + n_keys, -1, np.int64)
    for key in range(n_keys):
        slot = slot_of(keys, key_starts[key], key_starts[key + 1])
        slots[64 + key] = slots[slot]
        slots[slot] = key
    return slots


@borrowing(forceinline=True)
def wanted_key(data, start, stop, keys, key_starts, slots):
    """Which of the wanted keys stands between two positions; -1 for none."""
    key = slots[slot_of(data, start, stop)]
    while key >= 0:
        first = key_starts[key]
        if key_starts[key + 1] - first == stop - start:
            at = 0
            while at < stop - start and data[start + at] == keys[first + at]:
                at += 1
            if at == stop - start:
                return key
        key = slots[64 + key]
    return -1


@borrowing()
def note_name(data, start, stop, names, name_slots):
    """Write down where a name stands that none before it has; `names[-1, 0]` counts them. Its number.

    One name more than there is room for sets `names[-1, 1]`, and has -1.
    """
    size = stop - start
    slot = size
    for place in range(start, stop):
        slot = (slot * 31 + data[place]) & 0xFFFFFFFF
    slot = (slot ^ (slot >> 15)) & (NAME_SLOTS - 1)
    while name_slots[slot] >= 0:
        written = name_slots[slot]
        first = names[written, 0]
        if names[written, 1] - first == size:
            place = 0
            while place < size and data[first + place] == data[start + place]:
                place += 1
            if place == size:
                return written
        slot = (slot + 1) & (NAME_SLOTS - 1)
    many = names[MOST_NAMES, 0]
    if many == MOST_NAMES:
        names[MOST_NAMES, 1] = 1
        return -1
    name_slots[slot] = many
    names[many, 0], names[many, 1], names[many, 2] = start, stop, slot
    names[many, WANTED] = NOT_YET
    names[MOST_NAMES, 0] = many + 1
    return many


@borrowing(forceinline=True)
def next_name(data, address, start, stop, before, names, name_slots, follows):
    """The number of a name as `note_name` gives it; the one that followed the last name before comes first.

    Events of one kind have the same names in the same order, so that few have to be looked up.
    """
    guess = follows[before]
    if guess >= 0:
        first, size = names[guess, 0], stop - start
        if names[guess, 1] - first == size and same_bytes(data, address, first, start, size):
            return guess
    name = note_name(data, start, stop, names, name_slots)
    if name < 0:
        return -1
    follows[before] = name
    return name


@borrowing(forceinline=True)
def same_bytes(data, address, one, other, size):
    """Whether so many bytes at two positions are the same."""
    if max(one, other) + size + PIECE > data.size:
        offset = 0
        while offset < size and data[one + offset] == data[other + offset]:
            offset += 1
        return offset == size
    one, other = address + one, address + other
    while size > PIECE:
        if same_sixteen(one, other) != 0xFFFF:
            return False
        one, other, size = one + PIECE, other + PIECE, size - PIECE
    return lowest_bit(~same_sixteen(one, other)) >= size


@borrowing()
def forget_names(names, name_slots, many):
    """Take back the newest names down to a number: their document breaks the grammar further on."""
    while names[MOST_NAMES, 0] > many:
        names[MOST_NAMES, 0] -= 1
        name_slots[names[names[MOST_NAMES, 0], 2]] = -1


@njit()
def find_values(data, address, begins, ends, keys, key_starts, starts, lengths, outside, counted, names):
    """Fill `starts` and `lengths` (keys x rows) for the documents that begin and end at these positions.

    A value that is printed as it is written has its bytes as length, one that is not there MISSING, a text
    that is left open OPEN, and anything else left open OPEN less its bytes. `outside` marks documents that
    are not objects by RFC 8259. Where `counted` says so of a row, `names` gets the places of its names that
    no row before it has (see `note_name`).
    """
    slots = slots_of(keys, key_starts)
    name_slots = np.full(NAME_SLOTS if counted.size else 1, -1, np.int64)
    follows = np.full(MOST_NAMES + 1 if counted.size else 1, -1, np.int64)
    quotes = np.empty(MOST_QUOTES + WIDTH, np.int64)
    place = np.empty(key_starts.size - 1, np.int64)
    size = np.empty(key_starts.size - 1, np.int64)
    find_in_rows(
        data, address, begins, ends, keys, key_starts, starts, lengths, outside, counted, names,
        slots, name_slots, follows, quotes, place, size,
    )  # fmt: skip


@borrowing()
def find_in_rows(
    data, address, begins, ends, keys, key_starts, starts, lengths, outside, counted, names,
    slots, name_slots, follows, quotes, place, size,
):  # fmt: skip
    """What `find_values` does, with the room that it needs."""
    for row in range(begins.size):
        at, stop = begins[row], ends[row]
        for key in range(place.size):
            place[key] = -1
            size[key] = MISSING
        many = plain_quotes(data, address, at, stop, quotes)
        noted = counted.size > 0 and counted[row]
        before = names[MOST_NAMES, 0]
        if many >= 0 and walk_plain(
            data, address, at, stop, quotes, many, keys, key_starts, slots, place, size,
            noted, names, name_slots, follows,
        ):  # fmt: skip
            outside[row] = False
        else:
            forget_names(names, name_slots, before)
            for key in range(place.size):
                place[key] = -1
                size[key] = MISSING
            outside[row] = not walk(
                data, address, at, stop, keys, key_starts, slots, place, size, noted, names, name_slots
            )
            if outside[row]:
                forget_names(names, name_slots, before)
        for key in range(place.size):
            starts[key, row] = place[key]
            lengths[key, row] = MISSING if outside[row] else size[key]


@borrowing(forceinline=True)
def plain_quotes(data, address, at, stop, quotes):
    """Write down where the quotes of a document stand; their number, or -1 for escapes or too many quotes."""
    if stop + WIDTH > data.size:
        return -1
    many = 0
    for block in range(at, stop, WIDTH):
        bits, escapes = quotes_at(address + block), escapes_at(address + block)
        if block + WIDTH > stop:  # what follows is of the next document
            within = (np.uint64(1) << np.uint64(stop - block)) - np.uint64(1)
            bits &= within
            escapes &= within
        if escapes or many > MOST_QUOTES:
            return -1
        while bits:
            quotes[many] = block + lowest_bit(bits)
            bits &= bits - np.uint64(1)
            many += 1
    return many


@borrowing()
def walk_plain(
    data, address, at, stop, quotes, many, keys, key_starts, slots, starts, lengths, noted, names, name_slots,
    follows,
):  # fmt: skip
    """A document without escapes, and without white space between its parts; False for any other."""
    if at + 2 > stop or data[at] != OPEN_BRACE:
        return False
    at += 1
    if data[at] == CLOSE_BRACE:
        return at + 1 == stop
    quote = 0
    name = MOST_NAMES
    while True:
        if quote + 1 >= many or quotes[quote] != at:
            return False
        end = quotes[quote + 1]
        quote += 2
        if end + 2 >= stop or data[end + 1] != COLON:
            return False
        if noted:
            name = next_name(data, address, at + 1, end, name, names, name_slots, follows)
            key = NOT_YET if name < 0 else names[name, WANTED]
        else:
            key = NOT_YET
        if key == NOT_YET:
            key = wanted_key(data, at + 1, end, keys, key_starts, slots)
            if noted and name >= 0:
                names[name, WANTED] = key
        if key >= 0 and starts[key] >= 0:
            key = -1  # of a name that comes twice, the first counts
        at = end + 2
        byte = data[at]
        if byte == QUOTE:
            if quote + 1 >= many:
                return False
            end = quotes[quote + 1]
            quote += 2
            if key >= 0:
                starts[key] = at + 1
                lengths[key] = end - at - 1
            at = end + 1
        else:
            end, printed = value_end(data, address, at, stop)
            if end < 0:
                return False
            while quote < many and quotes[quote] < end:
                quote += 1
            if key >= 0:
                note_value(data, at, end, printed, key, starts, lengths)
            at = end
        if at >= stop:
            return False
        if data[at] != COMMA:
            return data[at] == CLOSE_BRACE and at + 1 == stop
        at += 1


@borrowing(forceinline=True)
def value_end(data, address, at, stop):
    """First position after what is not a string, and after what is printed of it; see `number_end`."""
    if data[at] == OPEN_BRACE or data[at] == OPEN_BRACKET:
        return container_end(data, address, at, stop), -1
    return scalar_end(data, at, stop)


@borrowing(forceinline=True)
def note_value(data, at, end, printed, key, starts, lengths):
    """Write down where a value that is not a string stands; null is not there."""
    starts[key] = at
    if data[at] == 110:
        lengths[key] = MISSING
    else:
        lengths[key] = printed - at if printed >= 0 else OPEN - (end - at)


@borrowing()
def walk(data, address, at, stop, keys, key_starts, slots, starts, lengths, noted, names, name_slots):
    """Any document; False where it is not an object by the grammar (DuckDB knows a wider one)."""
    at = skip_blanks(data, at, stop)
    if at >= stop or data[at] != OPEN_BRACE:
        return False
    at = skip_blanks(data, at + 1, stop)
    if at < stop and data[at] == CLOSE_BRACE:
        return skip_blanks(data, at + 1, stop) == stop
    while True:
        end, escaped = name_end(data, address, at, stop)
        if end < 0 or escaped:  # an escaped name may be one of the wanted
            return False
        if noted:
            note_name(data, at + 1, end, names, name_slots)
        key = wanted_key(data, at + 1, end, keys, key_starts, slots)
        if key >= 0 and starts[key] >= 0:
            key = -1
        at = skip_blanks(data, end + 1, stop)
        if at >= stop or data[at] != COLON:
            return False
        at = skip_blanks(data, at + 1, stop)
        if at >= stop:
            return False
        if data[at] == QUOTE:
            end, escaped = string_end(data, address, at + 1, stop)
            if end < 0:
                return False
            end += 1
            if key >= 0:
                starts[key] = at + 1
                lengths[key] = OPEN if escaped else end - at - 2
        else:
            end, printed = value_end(data, address, at, stop)
            if end < 0:
                return False
            if key >= 0:
                note_value(data, at, end, printed, key, starts, lengths)
        at = skip_blanks(data, end, stop)
        if at >= stop:
            return False
        if data[at] == CLOSE_BRACE:
            return skip_blanks(data, at + 1, stop) == stop
        if data[at] != COMMA:
            return False
        at = skip_blanks(data, at + 1, stop)


@borrowing()
def text_offsets(lengths, offsets, valid):
    """Where each text of one key begins among all its texts, and one bit a row for whether there is one."""
    at = 0
    for row in range(lengths.size):
        offsets[row] = at
        if lengths[row] >= 0:
            at += lengths[row]
            valid[row >> 3] |= np.uint8(1 << (row & 7))
    offsets[lengths.size] = at
    return at


@borrowing()
def copy_texts(data, address, starts, lengths, offsets, out, out_address):
    """Copy the texts of one key out of the documents, one after another; `out` has a PIECE to spare."""
    for row in range(lengths.size):
        size = lengths[row]
        if size <= 0:
            continue
        source, target = starts[row], offsets[row]
        if source + size + PIECE > data.size:
            for place in range(size):
                out[target + place] = data[source + place]
        else:
            for place in range(0, size, PIECE):
                copy_sixteen(address + source + place, out_address + target + place)
