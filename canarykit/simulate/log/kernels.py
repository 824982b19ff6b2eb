"""Compiled forms for large logs: UUIDs written as text, and a sort of packed words."""

# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

import numpy as np

from canarykit.compiler import njit

u64 = np.uint64
HALF, BYTES, NIBBLES = u64(0x0000FFFF0000FFFF), u64(0x00FF00FF00FF00FF), u64(0x000F000F000F000F)
SIX, ONE, ZERO_DIGIT = u64(0x0606060606060606), u64(0x0101010101010101), u64(0x3030303030303030)
LETTERS = u64(ord("a") - ord("9") - 1)
DASH = u64(ord("-"))
RADIX_BITS = 11
RADIX = 1 << RADIX_BITS


@njit(inline="always")
def _eight_digits(word):
    """The lower 32 bits of a word as eight hexadecimal digits, the first digit in the lowest byte."""
    word = ((word >> u64(24)) & u64(0xFF)) | ((word >> u64(8)) & u64(0xFF00)) | (
        (word << u64(8)) & u64(0xFF0000)
    ) | ((word & u64(0xFF)) << u64(24))  # fmt: skip
    word = (word | (word << u64(16))) & HALF
    word = (word | (word << u64(8))) & BYTES
    word = ((word >> u64(4)) & NIBBLES) | ((word & NIBBLES) << u64(8))
    return word + ZERO_DIGIT + (((word + SIX) >> u64(4)) & ONE) * LETTERS


@njit()
def write_uuids(high, low, words):
    """Write 36 characters a row as nine little-endian 32-bit words: `8-4-4-4-12` hexadecimal digits."""
    for row in range(len(high)):
        a, b = _eight_digits(high[row] >> u64(32)), _eight_digits(high[row])
        c, d = _eight_digits(low[row] >> u64(32)), _eight_digits(low[row])
        first = 9 * row
        words[first] = a
        words[first + 1] = a >> u64(32)
        words[first + 2] = DASH | (b << u64(8))
        words[first + 3] = ((b >> u64(24)) & u64(0xFF)) | (DASH << u64(8)) | ((b >> u64(32)) << u64(16))
        words[first + 4] = (b >> u64(48)) | (DASH << u64(16)) | (c << u64(24))
        words[first + 5] = ((c >> u64(8)) & u64(0xFFFFFF)) | (DASH << u64(24))
        words[first + 6] = c >> u64(32)
        words[first + 7] = d
        words[first + 8] = d >> u64(32)


@njit()
def sort_words(words, low, high):
    """Sort 64-bit words by their bits `low` to `high`, equal ones in the order they stand (radix sort)."""
    spare, mask = np.empty_like(words), u64(RADIX - 1)
    for shift in range(low, high, RADIX_BITS):
        places = np.zeros(RADIX, np.int64)
        for word in words:
            places[(word >> u64(shift)) & mask] += 1
        before = 0
        for digit in range(RADIX):
            before, places[digit] = before + places[digit], before
        for word in words:
            digit = (word >> u64(shift)) & mask
            spare[places[digit]] = word
            places[digit] += 1
        words, spare = spare, words
    return words
