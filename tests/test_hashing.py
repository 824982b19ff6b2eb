"""Columns hash as the standard libraries do, whatever the text, its place and the kind of column."""

import decimal
import hashlib
import uuid
import zlib
from importlib import import_module

import mmh3
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canarykit.errors import DataError, PlanError
from canarykit.hashing import COMPILED_FROM, FAMILIES, hash_column, hash_ids, read_ids

BLOCK_FAMILIES = ("sha1", "md5", "sha256")
WHOLE_DIGESTS = ("md5", "sha256")


def texts(ids, **options):
    """What `read_ids` made of a column, one text (or None) a row."""
    column = read_ids(ids, **options)
    return column.texts(np.arange(len(column)))


def both(ids, family, **options):
    reference = hash_ids(ids, family, engine="reference", **options)
    compiled = hash_ids(ids, family, engine="compiled", **options)
    return reference, compiled


# ---- the reference is the published hash ------------------------------------------------------------------


@pytest.mark.parametrize(
    "family, text, published",
    [
        ("sha1", "abc", 0xA9993E364706816A),  # FIPS 180-4, examples
        ("sha256", "abc", 0xBA7816BF8F01CFEA),  # FIPS 180-4, examples
        ("md5", "abc", 0x900150983CD24FB0),  # RFC 1321, appendix A.5
        ("fnv1a", "foobar", 0xBF9CF968),  # Fowler, Noll & Vo, test vectors
        ("crc32", "123456789", 0xCBF43926),  # the check value of CRC-32
        ("java31", "hello", 99162322),  # "hello".hashCode() in Java
        ("murmur3", "hello", 0x248BFA47),  # SMHasher, seed 0
    ],
)
def test_each_family_is_the_published_hash(family, text, published):
    assert [result[0] for result in both([text], family)] == [published, published]


def test_java_and_growthbook_hash_the_two_halves_of_an_emoji_one_after_the_other():
    expected = 0
    for unit in (0xD83D, 0xDE00):
        expected = 31 * expected + unit
    assert [result[0] for result in both(["😀"], "java31")] == [expected & 0xFFFFFFFF] * 2


# ---- columns equal the reference ---------------------------------------------------------------------------

ALPHABET = st.sampled_from("abcXYZ0189 .-_\n\0éß漢字😀𝔘")
AROUND = st.text(ALPHABET, max_size=70)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    ids=st.lists(st.none() | st.text(max_size=90), max_size=40),
    prefix=AROUND,
    suffix=AROUND,
    seed=st.integers(-(2**31), 2**32 - 1),
    cut=st.integers(0, 3),
    wide=st.booleans(),
)
def test_columns_equal_the_reference_on_any_text(family, ids, prefix, suffix, seed, cut, wide):
    ids = [None if text is None else text.encode("utf-8", "ignore").decode() for text in ids]
    column = pa.array(ids, pa.large_string() if wide else pa.string())
    column = column[cut : len(ids) - cut]
    reference, compiled = both(column, family, prefix=prefix, suffix=suffix, seed=seed)
    assert reference.tolist() == compiled.tolist()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("around", [("", ""), ("flag.", "variant"), ("z" * 55, ""), ("y" * 64, "x" * 64)])
def test_every_length_around_a_block_boundary_hashes_alike(family, around):
    rng = np.random.default_rng(11)
    ids = ["".join(rng.choice(list("ab0é漢😀"), size=length)) for length in range(200)]
    for column in (ids, ids[::-1], rng.permutation(ids).tolist()):
        reference, compiled = both(column, family, prefix=around[0], suffix=around[1])
        assert (reference == compiled).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 33])
def test_the_first_and_last_ids_of_a_buffer_are_read_within_its_bounds(family, rows):
    ids = [f"{row}" * (row % 3) for row in range(rows)]
    column = pa.array(ids)
    tight = pa.Array.from_buffers(  # no padding after the data
        pa.string(), rows, [None, column.buffers()[1], pa.py_buffer("".join(ids).encode())]
    )
    reference, compiled = both(tight, family, prefix="longer than the first id")
    assert (
        reference.tolist()
        == compiled.tolist()
        == hash_ids(ids, family, prefix="longer than the first id").tolist()
    )


@pytest.mark.parametrize("family", BLOCK_FAMILIES)
def test_block_hashes_give_the_first_eight_bytes_of_the_digest(family):
    ids = [f"user-{row}" for row in range(100)]
    expected = [
        int.from_bytes(hashlib.new(family, f"f.{i}variant".encode()).digest()[:8], "big") for i in ids
    ]
    for result in both(ids, family, prefix="f.", suffix="variant"):
        assert result.dtype == np.uint64
        assert result.tolist() == expected


@pytest.mark.parametrize("family", WHOLE_DIGESTS)
@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_a_whole_digest_comes_in_64_bit_parts(family, engine):
    ids = pa.chunked_array([[f"user-{row}" for row in range(20)], ["a", None], []])
    parts = hash_column(read_ids(ids), family, whole_digest=True, engine=engine)
    for row, text in enumerate(ids.to_pylist()):
        whole = b"".join(int(part).to_bytes(8, "big") for part in parts[:, row])
        assert whole == (hashlib.new(family, text.encode()).digest() if text else bytes(len(whole)))


def test_a_column_large_enough_is_compiled_and_answers_the_same():
    ids = pd.Series([f"user-{row}" for row in range(COMPILED_FROM + 5)])
    got = hash_ids(ids, "murmur3", prefix="flag:", seed=7)
    rows = [0, 1, COMPILED_FROM // 2, COMPILED_FROM + 4]
    assert got[rows].tolist() == [mmh3.hash(f"flag:user-{row}", 7, signed=False) for row in rows]
    crc = hash_ids(ids, "crc32", prefix="flag")
    assert crc[rows].tolist() == [zlib.crc32(f"flaguser-{row}".encode()) for row in rows]


def test_an_unknown_family_is_named_with_the_likely_one():
    with pytest.raises(PlanError, match=r"no hash family 'murmur'.*Did you mean 'murmur3'"):
        hash_ids(["a"], "murmur")


# ---- what is an id ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [
        pytest.param([7, 8, None], id="list"),
        pytest.param(pd.Series([7, 8, None]), id="float column with a gap"),
        pytest.param(pd.Series([7, 8, None], dtype="Int64"), id="nullable integers"),
        pytest.param(pd.Series(["7", "8", None]), id="pandas text"),
        pytest.param(pd.Series(["7", 8.0, pd.NA], dtype=object), id="mixed objects"),
        pytest.param(pd.Series([7, 8, None], dtype="category"), id="categorical numbers"),
        pytest.param(pd.Series(["7", "8", None], dtype="category"), id="categorical text"),
        pytest.param(pd.Index(["7", "8", None]), id="index"),
        pytest.param(np.array(["7", "8", None], dtype=object), id="objects"),
        pytest.param(np.array([7, 8, np.nan], dtype=np.float32), id="single precision"),
        pytest.param(pa.array([7, 8, None]), id="Arrow integers"),
        pytest.param(pa.array(["7", "8", None]).dictionary_encode(), id="Arrow dictionary"),
        pytest.param(pa.chunked_array([["7"], [], ["8", None]]), id="Arrow chunks"),
        pytest.param(pa.array([b"7", b"8", None]), id="Arrow bytes"),
        pytest.param(pa.array(["7", "8", None], pa.string_view()), id="Arrow views"),
        pytest.param([decimal.Decimal(7), decimal.Decimal("8.00"), None], id="decimals"),
        pytest.param([np.int64(7), np.str_("8"), float("nan")], id="numpy scalars"),
    ],
)
def test_an_integer_id_is_hashed_as_its_digits_in_every_kind_of_column(ids):
    assert texts(ids) == ["7", "8", None]
    assert read_ids(ids).missing.tolist() == [False, False, True]
    for family in ("sha1", "murmur3"):
        expected = hash_ids(["7", "8"], family).tolist()
        for result in both(ids, family):
            assert result.tolist() == [*expected, 0]


def test_polars_columns_speak_arrow():
    polars = import_module("polars")
    assert texts(polars.Series(["a", None, "é"])) == ["a", None, "é"]


def test_no_missing_value_is_ever_hashed_as_a_word():
    for nothing in (None, float("nan"), np.nan, pd.NA, pd.NaT):
        assert texts(pd.Series(["a", nothing], dtype=object)) == ["a", None]
    assert texts(pd.Series([None, None])) == [None, None]
    assert texts(["nan", "None"]) == ["nan", "None"]  # but these may be somebody's ids


@pytest.mark.parametrize(
    "ids, message",
    [
        (pd.Series([1.5, 2.0]), "an id is the float 1.5"),
        ([1, 2.25], "an id is the float 2.25"),
        (pd.Series([2.0**60]), "so large a float has lost digits"),
        ([float("inf")], "an id is the float inf"),
        (pd.Series([True, False]), "an id is True"),
        (["a", False], "an id is False"),
        (pd.Series(pd.to_datetime(["2026-01-01"])), "an id is Timestamp"),
        (pa.array([0], pa.timestamp("us")), "is this the id column"),
        ([["a"]], "an id is .*'a'"),
        (pa.array([{"a": 1}]), "ids are of type struct"),
        (pa.array([b"\xff"]), "not UTF-8"),
    ],
)
def test_what_cannot_be_an_id_is_refused_by_name(ids, message):
    with pytest.raises(DataError, match=message):
        read_ids(ids)


def test_ids_are_kept_to_the_letter():
    kept = ["007", " a ", "A", "é", "e\u0301", "a\x00b", "123.0", "1" * 300, ""]
    assert texts(kept) == kept
    assert texts([uuid.UUID(int=5)]) == ["00000000-0000-0000-0000-000000000005"]
    assert texts([2**70, -3]) == [str(2**70), "-3"]


def test_a_lone_surrogate_is_hashed_as_its_unit_or_as_the_replacement_character():
    ids = pd.Series(["a\ud800", "\ud83d\ude00", None, 5], dtype=object)
    utf16 = hash_ids(["a", "😀", None, "5"], "java31").tolist()
    utf16[0] = 31 * ord("a") + 0xD800
    for result in both(ids, "java31"):
        assert result.tolist() == utf16
    for family in ("sha1", "murmur3", "fnv1a", "crc32"):
        expected = hash_ids(["a\ufffd", "😀", None, "5"], family).tolist()
        for result in both(ids, family):
            assert result.tolist() == expected


def test_ids_are_cut_by_characters_not_bytes():
    ids = read_ids(pa.array(["é" * 205, "😀" * 201, "a" * 200, None]))
    assert ids.cut(200).texts(np.arange(4)) == ["é" * 200, "😀" * 200, "a" * 200, None]


def test_an_answer_comes_back_as_the_ids_came_in():
    values = np.array([0.5, np.nan])
    series = pd.Series(["a", None], index=[10, 20], name="distinct_id")
    restored = read_ids(series).restore(values, "bucket")
    assert restored.index.tolist() == [10, 20]
    assert restored.name == "bucket"
    assert read_ids(pa.array(["a", None])).restore(values, "bucket").to_pylist() == [0.5, None]
    assert isinstance(read_ids(["a", None]).restore(values, "bucket"), np.ndarray)
    assert read_ids("a").restore(values[:1], "bucket") == 0.5
    empty = read_ids(pd.Series([], dtype=str))
    assert len(empty.restore(hash_column(empty, "sha1"), "bucket")) == 0
