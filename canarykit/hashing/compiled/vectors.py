"""SHA-1, MD5, SHA-256 and murmur3 of sixteen messages at once, in the processor's vectors.

One hash of a short id is a chain of dependent 32-bit steps that leaves most of a processor idle. Here
each step works on sixteen messages, one per lane of a `<16 x i32>` vector; LLVM splits the vector where
the hardware is narrower. A message block is 64 bytes, exactly one such vector, so sixteen blocks are read
row by row and transposed in registers.

The building blocks are numba intrinsics at module level: a function that closes over an intrinsic would
never be found again in numba's cache on disk. They take addresses rather than arrays, which keeps
reference counting out of the loops; whoever passes an address keeps its array alive.

References
----------
FIPS 180-4 (SHA-1, SHA-256), RFC 1321 (MD5), Appleby's MurmurHash3_x86_32.
"""

# mypy: ignore-errors
# (numba types these functions when it compiles them; mypy cannot)

from collections.abc import Callable
from math import isqrt, sin
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import alloca_once_value, get_or_insert_function
from numba.extending import intrinsic

LANES = 16
BLOCK = 64
INITIAL = {
    "sha1": (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0),
    "md5": (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476),
    "sha256": (
        *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
        *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
    ),
}

BYTE, WORD, LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
ROW = ir.VectorType(WORD, LANES)  # the same word of sixteen messages, or one block of one message
BYTES = ir.VectorType(BYTE, BLOCK)
LONGS = ir.VectorType(LONG, BLOCK // 8)


def _constant(kind: ir.VectorType, value: int) -> ir.Constant:
    return ir.Constant(kind, [value] * kind.count)


def _spread(builder: Any, scalar: Any, kind: ir.VectorType) -> Any:
    """`scalar` in every lane."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(WORD, 0))
    return builder.shuffle_vector(first, nothing, _constant(ir.VectorType(WORD, kind.count), 0))


def _load(builder: Any, address: Any, kind: Any, *, offset: int = 0, align: int = 1) -> Any:
    target = builder.add(address, ir.Constant(LONG, offset)) if offset else address
    loaded = builder.load(builder.inttoptr(target, kind.as_pointer()))
    loaded.align = align
    return loaded


def _store(builder: Any, value: Any, address: Any, *, offset: int = 0, align: int = 64) -> None:
    target = builder.add(address, ir.Constant(LONG, offset)) if offset else address
    stored = builder.store(value, builder.inttoptr(target, value.type.as_pointer()))
    stored.align = align


@intrinsic
def pack_block(typingctx, prefix, key, suffix, key_start, key_end, length, row):
    """Write one 64-byte block: prefix before `key_start`, key before `key_end`, then the suffix.

    Both positions are 0 to 64. Each of the three addresses points at the byte that would stand first in
    the block, 64 readable bytes long; the suffix ends with the padding byte and zeros. `length` (0 but in
    the last block) fills the last eight bytes.
    """

    def codegen(context, builder, signature, arguments):
        prefix, key, suffix, key_start, key_end, length, row = arguments
        positions = ir.Constant(BYTES, list(range(BLOCK)))

        def before(limit: Any) -> Any:
            return builder.icmp_unsigned("<", positions, _spread(builder, builder.trunc(limit, BYTE), BYTES))

        block = builder.select(before(key_end), _load(builder, key, BYTES), _load(builder, suffix, BYTES))
        block = builder.select(before(key_start), _load(builder, prefix, BYTES), block)
        last = builder.insert_element(_constant(LONGS, 0), length, ir.Constant(WORD, LONGS.count - 1))
        _store(builder, builder.or_(builder.bitcast(block, LONGS), last), row)
        return context.get_dummy_value()

    long = types.int64
    return types.void(long, long, long, long, long, types.uint64, long), codegen


@intrinsic
def pack_key(typingctx, key, key_end, row):
    """`pack_block` of a key alone, zeros after its end."""

    def codegen(context, builder, signature, arguments):
        key, key_end, row = arguments
        positions = ir.Constant(BYTES, list(range(BLOCK)))
        end = _spread(builder, builder.trunc(key_end, BYTE), BYTES)
        kept = builder.icmp_unsigned("<", positions, end)
        block = builder.select(kept, _load(builder, key, BYTES), _constant(BYTES, 0))
        _store(builder, block, row)
        return context.get_dummy_value()

    long = types.int64
    return types.void(long, long, long), codegen


@intrinsic
def swap_bytes(typingctx, value):
    """A 64-bit integer with its bytes in the other order."""

    def codegen(context, builder, signature, arguments):
        return builder.bswap(arguments[0])

    return types.uint64(types.uint64), codegen


class _Vectors:
    """32-bit arithmetic on rows, in the notation of the standards."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self._funnel = get_or_insert_function(
            builder.module, ir.FunctionType(ROW, [ROW] * 3), f"llvm.fshl.v{LANES}i32"
        )
        self._swap = get_or_insert_function(
            builder.module, ir.FunctionType(ROW, [ROW]), f"llvm.bswap.v{LANES}i32"
        )

    def word(self, value: int) -> Any:
        return _constant(ROW, value & 0xFFFFFFFF)

    def add(self, *terms: Any) -> Any:
        total = terms[0]
        for term in terms[1:]:
            total = self.builder.add(total, term)
        return total

    def xor(self, *terms: Any) -> Any:
        total = terms[0]
        for term in terms[1:]:
            total = self.builder.xor(total, term)
        return total

    def times(self, x: Any, factor: int) -> Any:
        return self.builder.mul(x, self.word(factor))

    def left(self, x: Any, bits: int) -> Any:
        return self.builder.call(self._funnel, [x, x, self.word(bits)])

    def right(self, x: Any, bits: int) -> Any:
        return self.left(x, 32 - bits)

    def shift(self, x: Any, bits: int) -> Any:
        return self.builder.lshr(x, self.word(bits))

    def swapped(self, x: Any) -> Any:
        return self.builder.call(self._swap, [x])

    def choose(self, x: Any, y: Any, z: Any) -> Any:
        return self.builder.xor(z, self.builder.and_(x, self.builder.xor(y, z)))

    def majority(self, x: Any, y: Any, z: Any) -> Any:
        return self.builder.or_(self.builder.and_(x, y), self.builder.and_(z, self.builder.or_(x, y)))

    def or_not(self, x: Any, y: Any) -> Any:
        return self.builder.or_(x, self.builder.not_(y))

    def transposed(self, rows: list[Any]) -> list[Any]:
        """Sixteen blocks as sixteen words of sixteen messages: a butterfly of four exchanges."""
        rows = list(rows)
        shape = ir.VectorType(WORD, LANES)
        for step in (1, 2, 4, 8):
            upper = [lane if not lane & step else LANES + lane - step for lane in range(LANES)]
            lower = [lane + step if not lane & step else LANES + lane for lane in range(LANES)]
            for i in range(LANES):
                if not i & step:
                    a, b = rows[i], rows[i + step]
                    rows[i] = self.builder.shuffle_vector(a, b, ir.Constant(shape, upper))
                    rows[i + step] = self.builder.shuffle_vector(a, b, ir.Constant(shape, lower))
        return rows


def _sha1(v: _Vectors, words: list[Any], state: list[Any]) -> list[Any]:
    a, b, c, d, e = state
    for t in range(80):
        i = t % 16
        if t >= 16:
            words[i] = v.left(v.xor(words[i - 3], words[i - 8], words[i - 14], words[i]), 1)
        mixed, constant = (
            (v.choose(b, c, d), 0x5A827999) if t < 20
            else (v.xor(b, c, d), 0x6ED9EBA1) if t < 40
            else (v.majority(b, c, d), 0x8F1BBCDC) if t < 60
            else (v.xor(b, c, d), 0xCA62C1D6)
        )  # fmt: skip
        # what does not wait for `a` is added first: the chain through `a` sets the pace
        ready = v.add(v.add(e, words[i]), v.add(v.word(constant), mixed))
        a, b, c, d, e = v.add(ready, v.left(a, 5)), a, v.left(b, 30), c, d
    return [a, b, c, d, e]


_MD5_SHIFTS = ((7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21))


def _md5(v: _Vectors, words: list[Any], state: list[Any]) -> list[Any]:
    a, b, c, d = state
    for t in range(64):
        mixed, i = (
            (v.choose(b, c, d), t) if t < 16
            else (v.choose(d, b, c), 5 * t + 1) if t < 32
            else (v.xor(b, c, d), 3 * t + 5) if t < 48
            else (v.xor(c, v.or_not(b, d)), 7 * t)
        )  # fmt: skip
        constant = int(abs(sin(t + 1)) * 2**32)
        ready = v.add(v.add(a, words[i % 16], v.word(constant)), mixed)
        a, b, c, d = d, v.add(b, v.left(ready, _MD5_SHIFTS[t // 16][t % 4])), b, c
    return [a, b, c, d]


def _cube_root_bits(count: int) -> list[int]:
    """The first 32 bits after the point of the cube roots of the first `count` primes, exactly."""
    primes = [n for n in range(2, 400) if all(n % p for p in range(2, isqrt(n) + 1))][:count]
    bits = []
    for prime in primes:
        root = round(prime ** (1 / 3) * 2**32)
        while root**3 > prime << 96:
            root -= 1
        while (root + 1) ** 3 <= prime << 96:
            root += 1
        bits.append(root & 0xFFFFFFFF)
    return bits


def _sha256(v: _Vectors, words: list[Any], state: list[Any]) -> list[Any]:
    a, b, c, d, e, f, g, h = state
    for t, constant in enumerate(_cube_root_bits(64)):
        i = t % 16
        if t >= 16:
            x, y = words[i - 15], words[i - 2]
            older = v.xor(v.right(x, 7), v.right(x, 18), v.shift(x, 3))
            newer = v.xor(v.right(y, 17), v.right(y, 19), v.shift(y, 10))
            words[i] = v.add(words[i], older, words[i - 7], newer)
        first = v.add(
            v.add(h, words[i], v.word(constant)),
            v.choose(e, f, g),
            v.xor(v.right(e, 6), v.right(e, 11), v.right(e, 25)),
        )
        second = v.add(v.xor(v.right(a, 2), v.right(a, 13), v.right(a, 22)), v.majority(a, b, c))
        a, b, c, d, e, f, g, h = v.add(first, second), a, b, c, v.add(d, first), e, f, g
    return [a, b, c, d, e, f, g, h]


def _compressor(rounds: Callable[..., list[Any]], start: tuple[int, ...], big_endian: bool) -> Any:
    """The intrinsic `compress(rows, state, blocks, number)`, all arguments addresses but the last.

    Feeds block `number` of sixteen messages into their states; block 0 starts from the standard's state.
    A message of fewer blocks keeps its state.
    """

    @intrinsic
    def compress(typingctx, rows, state, blocks, number):
        def codegen(context, builder, signature, arguments):
            rows, state, blocks, number = arguments
            v = _Vectors(builder)
            number = _spread(builder, builder.trunc(number, WORD), ROW)
            is_first = builder.icmp_signed("==", number, v.word(0))
            before = [
                builder.select(is_first, v.word(word), _load(builder, state, ROW, offset=BLOCK * k, align=64))
                for k, word in enumerate(start)
            ]
            packed = [_load(builder, rows, ROW, offset=BLOCK * lane, align=64) for lane in range(LANES)]
            words = v.transposed(packed)
            if big_endian:
                words = [v.swapped(word) for word in words]
            alive = builder.icmp_signed(">", _load(builder, blocks, ROW, align=64), number)
            for k, after in enumerate(rounds(v, words, before)):
                kept = builder.select(alive, v.add(after, before[k]), before[k])
                _store(builder, kept, state, offset=BLOCK * k)
            return context.get_dummy_value()

        long = types.int64
        return types.void(long, long, long, long), codegen

    return compress


@intrinsic
def mix_murmur3(typingctx, rows, lengths, start, count, out):
    """MurmurHash3_x86_32 of sixteen texts of at most 64 bytes, from `start`, the state after the seed.

    `rows` are the texts, zeros after their ends, `lengths` their bytes (32-bit), `count` the words of the
    longest, `out` where the sixteen hashes go. A word beyond the end of a text is zero and scrambles to
    zero, so the last, unfilled word and those after it need no case of their own.
    """

    def codegen(context, builder, signature, arguments):
        rows, lengths, start, count, out = arguments
        v = _Vectors(builder)
        packed = [_load(builder, rows, ROW, offset=BLOCK * lane, align=64) for lane in range(LANES)]
        length = _load(builder, lengths, ROW, align=64)
        whole = v.shift(length, 2)
        state = alloca_once_value(builder, _spread(builder, start, ROW))
        for number, word in enumerate(v.transposed(packed)):
            more = builder.icmp_signed(">", count, ir.Constant(LONG, number))
            with builder.if_then(more):
                scrambled = v.times(v.left(v.times(word, 0xCC9E2D51), 15), 0x1B873593)
                mixed = v.xor(builder.load(state), scrambled)
                fed = v.add(v.times(v.left(mixed, 13), 5), v.word(0xE6546B64))
                is_whole = builder.icmp_unsigned(">", whole, v.word(number))
                builder.store(builder.select(is_whole, fed, mixed), state)
        h = v.xor(builder.load(state), length)
        h = v.times(v.xor(h, v.shift(h, 16)), 0x85EBCA6B)
        h = v.times(v.xor(h, v.shift(h, 13)), 0xC2B2AE35)
        _store(builder, v.xor(h, v.shift(h, 16)), out, align=4)
        return context.get_dummy_value()

    long = types.int64
    return types.void(long, long, types.uint32, long, long), codegen


compress_sha1 = _compressor(_sha1, INITIAL["sha1"], big_endian=True)
compress_md5 = _compressor(_md5, INITIAL["md5"], big_endian=False)
compress_sha256 = _compressor(_sha256, INITIAL["sha256"], big_endian=True)
