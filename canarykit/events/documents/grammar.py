"""The grammar of JSON (RFC 8259), piece by piece: where a string, a number, a word, an object ends.

Strings are most of a document's bytes; their ends are found 64 bytes at a time in the processor's vectors.
"""


# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from canarykit.compiler import borrowing

PIECE = 16
"""Bytes that are copied at a time: the target of a copy has so many to spare."""

WIDTH = 64
DEEPEST = 60
QUOTE, BACKSLASH, COMMA, COLON, MINUS, PLUS, DOT, ZERO, NINE = 34, 92, 44, 58, 45, 43, 46, 48, 57
OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET = 123, 125, 91, 93

_BYTES = ir.VectorType(ir.IntType(8), WIDTH)
_PIECE = ir.VectorType(ir.IntType(8), PIECE)
_MASK = ir.IntType(WIDTH)


def _load(builder, address, kind):
    loaded = builder.load(builder.inttoptr(address, kind.as_pointer()))
    loaded.align = 1
    return loaded


def _spread(value):
    return ir.Constant(_BYTES, [value] * WIDTH)


@intrinsic
def quotes_at(typingctx, address):
    """One bit for each of the 64 bytes at an address: whether it is a quote."""

    def codegen(context, builder, signature, arguments):
        loaded = _load(builder, arguments[0], _BYTES)
        return builder.bitcast(builder.icmp_unsigned("==", loaded, _spread(QUOTE)), _MASK)

    return types.uint64(types.int64), codegen


@intrinsic
def escapes_at(typingctx, address):
    """One bit for each of the 64 bytes at an address: whether it is a backslash or a control character."""

    def codegen(context, builder, signature, arguments):
        loaded = _load(builder, arguments[0], _BYTES)
        backslash = builder.icmp_unsigned("==", loaded, _spread(BACKSLASH))
        control = builder.icmp_unsigned("<", loaded, _spread(32))
        return builder.bitcast(builder.or_(backslash, control), _MASK)

    return types.uint64(types.int64), codegen


@intrinsic
def lowest_bit(typingctx, mask):
    """Position of the lowest bit that is set; 64 if none is."""

    def codegen(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


@intrinsic
def copy_sixteen(typingctx, source, target):
    """Copy the 16 bytes at one address to another."""

    def codegen(context, builder, signature, arguments):
        stored = builder.store(
            _load(builder, arguments[0], _PIECE), builder.inttoptr(arguments[1], _PIECE.as_pointer())
        )
        stored.align = 1
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def same_sixteen(typingctx, one, other):
    """One bit for each of the 16 bytes at two addresses: whether they are the same."""

    def codegen(context, builder, signature, arguments):
        same = builder.icmp_unsigned("==", *(_load(builder, at, _PIECE) for at in arguments))
        return builder.zext(builder.bitcast(same, ir.IntType(PIECE)), _MASK)

    return types.uint64(types.int64, types.int64), codegen


@borrowing(forceinline=True)
def skip_blanks(data, at, stop):
    """First position that is not white space."""
    while at < stop and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@borrowing()
def string_end(data, address, at, stop):
    """Position of the closing quote of a string whose first byte is `at`, and whether it holds escapes.

    -1 where the string is not closed, holds a control character, or an escape that JSON does not have.
    """
    escaped = False
    while at < stop:
        if at + WIDTH <= data.size:
            at += lowest_bit(quotes_at(address + at) | escapes_at(address + at))
            if at >= stop:
                break
        byte = data[at]
        if byte == QUOTE:
            return at, escaped
        if byte < 32:
            break
        if byte != BACKSLASH:
            at += 1
            continue
        escaped = True
        if at + 1 >= stop:
            break
        letter = data[at + 1]
        if letter == 117:  # u, and four hexadecimal digits
            if at + 6 > stop:
                break
            digits = 0
            for place in range(at + 2, at + 6):
                low = data[place] | 32
                digits += ZERO <= data[place] <= NINE or 97 <= low <= 102
            if digits < 4:
                break
            at += 6
        elif letter in (QUOTE, BACKSLASH, 47, 98, 102, 110, 114, 116):
            at += 2
        else:
            break
    return -1, escaped


@borrowing(forceinline=True)
def digits_end(data, at, stop):
    """First position that is not a digit."""
    while at < stop and ZERO <= data[at] <= NINE:
        at += 1
    return at


@borrowing()
def number_end(data, at, stop):
    """First position after a number, and after what is printed of it: -1 where that is not for sure.

    (-1, -1) for no number, and for one of hundreds of digits, whose document is looked at again. `12.50` is
    printed `12.5`, and `12.0` is printed `12`.
    """
    start = at
    if data[at] == MINUS:
        at += 1
    first = at
    at = digits_end(data, at, stop)
    digits = at - first
    if digits == 0 or (digits > 1 and data[first] == ZERO):
        return -1, -1
    is_zero = data[first] == ZERO
    printed = at if digits <= 18 else -1
    if at < stop and data[at] == DOT:
        fraction = at + 1
        at = digits_end(data, fraction, stop)
        if at == fraction:
            return -1, -1
        last = at
        while data[last - 1] == ZERO:
            last -= 1
        places = last - fraction
        if places == 0:
            last -= 1  # nor the point
        # A decimal of up to 15 digits is the shortest text of its own float, unless it is so small that it
        # would be printed with an exponent.
        tiny = is_zero and places > 3 and data[fraction] == ZERO and data[fraction + 1] == ZERO
        printed = last if digits + places <= 15 and not tiny else -1
    if is_zero and first > start:
        printed = -1 if printed < 0 or printed - first == 1 else printed  # -0 is printed without its sign
    if at < stop and (data[at] | 32) == 101:  # e
        at += 1
        if at < stop and (data[at] == PLUS or data[at] == MINUS):
            at += 1
        power = at
        at = digits_end(data, at, stop)
        if at == power:
            return -1, -1
        printed = -1
    if at - start > 309:
        return -1, -1
    return at, printed


@borrowing(forceinline=True)
def literal_end(data, at, stop):
    """First position after `true`, `false` or `null`; -1 for another word."""
    letter = data[at]
    size = 5 if letter == 102 else 4
    if at + size > stop:
        return -1
    b, c, d = data[at + 1], data[at + 2], data[at + 3]
    if letter == 116 and b == 114 and c == 117 and d == 101:
        return at + 4
    if letter == 110 and b == 117 and c == 108 and d == 108:
        return at + 4
    if letter == 102 and b == 97 and c == 108 and d == 115 and data[at + 4] == 101:
        return at + 5
    return -1


@borrowing(forceinline=True)
def scalar_end(data, at, stop):
    """First position after a number or a word, and after what is printed of it; see `number_end`."""
    if data[at] == MINUS or ZERO <= data[at] <= NINE:
        return number_end(data, at, stop)
    end = literal_end(data, at, stop)
    return end, end


@borrowing()
def container_end(data, address, at, stop):
    """First position after the object or list that opens at `at`; -1 where it breaks the grammar."""
    objects = np.uint64(0)  # one bit a level, the innermost lowest: whether it is an object
    depth = 0
    while True:  # here a value begins
        byte = data[at]
        awaits_element = False
        if byte in (OPEN_BRACE, OPEN_BRACKET):
            if depth == DEEPEST:
                return -1
            depth += 1
            objects = objects << np.uint64(1) | np.uint64(byte == OPEN_BRACE)
            at = skip_blanks(data, at + 1, stop)
            awaits_element = at < stop and data[at] != closing(objects)
        else:
            if byte == QUOTE:
                at, _ = string_end(data, address, at + 1, stop)
                after = at + 1
            else:
                at, _ = scalar_end(data, at, stop)
                after = at
            if at < 0:
                return -1
            at = skip_blanks(data, after, stop)
        if not awaits_element:
            while at < stop and data[at] == closing(objects):
                at += 1
                depth -= 1
                objects >>= np.uint64(1)
                if depth == 0:
                    return at
                at = skip_blanks(data, at, stop)
            if at >= stop or data[at] != COMMA:
                return -1
            at = skip_blanks(data, at + 1, stop)
        if objects & np.uint64(1):
            at, _ = name_end(data, address, at, stop)
            if at < 0:
                return -1
            at = skip_blanks(data, at + 1, stop)
            if at >= stop or data[at] != COLON:
                return -1
            at = skip_blanks(data, at + 1, stop)
        if at >= stop:
            return -1


@borrowing(forceinline=True)
def closing(objects):
    """What closes the innermost container."""
    return CLOSE_BRACE if objects & np.uint64(1) else CLOSE_BRACKET


@borrowing(forceinline=True)
def name_end(data, address, at, stop):
    """Position of the quote that closes the name which opens at `at`, and whether it holds escapes; or -1."""
    if at >= stop or data[at] != QUOTE:
        return -1, False
    return string_end(data, address, at + 1, stop)
