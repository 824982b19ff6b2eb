"""Hashing and assigning whole columns: against hashlib and mmh3 loops, ClickHouse (chdb) and polars-hash.

One thread for everybody. The ids stand in an Arrow column, in a pandas column of text, and in a pandas column
of Python objects; every line names its id kind and column. Python loops run on a sample, as their lines say
(`peer_rows`); chdb and Polars get the whole column. Answers are compared before anything is timed.

Lines end with the processor and the width of its vectors: the three block hashes work on sixteen ids at a
time and gain with every doubling of that width.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # read once, when polars is loaded

import mmh3
import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.timing import Contender, compare
from canarykit.hashing import hash_ids

ROWS = 5_000_000
SAMPLE = 500_000
FLAG = "new-checkout."
BLOCK_HASHES = ("sha1", "md5", "sha256")


def _property(key: str, value: Any, operator: str) -> dict[str, Any]:
    return {"key": key, "value": value, "operator": operator, "type": "person"}


def run(rows: int) -> Iterator[dict[str, Any]]:
    for kind, ids in (("short ids", short_ids(rows)), ("uuids", uuids(rows))):
        for family in (*BLOCK_HASHES, "murmur3", "fnv1a"):
            yield from _from_arrow(f"{family}, {kind}, arrow", family, ids)
        yield from _with_prefix(f"murmur3 with flag, {kind}, arrow", ids)
        series = pd.Series(pd.arrays.ArrowExtensionArray(ids)).astype("str")
        yield from _from_pandas(kind, "pandas str", series)
        yield from _from_pandas(kind, "object", series.astype(object))
        del series
    yield from _evaluate_flag(rows)


def short_ids(rows: int) -> pa.Array:
    """`user-0000000`, `user-0000001`, ... in another order."""
    shuffled = np.random.default_rng(5).permutation(rows)
    return pa.array(np.char.add("user-", np.char.zfill(shuffled.astype(str), 7)).astype(object), pa.string())


def uuids(rows: int) -> pa.Array:
    digits = np.random.default_rng(6).bytes(16 * rows).hex()
    cuts = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
    texts = ("-".join(digits[32 * row + a : 32 * row + b] for a, b in cuts) for row in range(rows))
    return pa.array(texts, pa.string(), size=rows)


def _from_arrow(bench: str, family: str, ids: pa.Array) -> Iterator[dict[str, Any]]:
    peers = {LOOP_NAMES[family]: _loop(family, ids.slice(0, SAMPLE).to_pylist())}
    if family != "fnv1a":  # neither has it
        peers["chdb"] = _chdb(family, ids)
        peers["polars-hash"] = _polars_hash(family, ids)
    yield from compare(bench, len(ids), lambda: hash_ids(ids, family), peers, same=_same)


def _with_prefix(bench: str, ids: pa.Array) -> Iterator[dict[str, Any]]:
    import polars as pl
    import polars_hash  # noqa: F401  (adds the namespace `nchash`)

    def concat_and_hash() -> Any:
        text = pl.concat_str(pl.lit(FLAG), pl.col("id"))
        return pl.DataFrame({"id": pl.from_arrow(ids)}).select(text.nchash.murmur32())

    peers = {"polars concat + polars-hash": Contender(concat_and_hash, answer=_polars_answer)}
    yield from compare(bench, len(ids), lambda: hash_ids(ids, "murmur3", prefix=FLAG), peers, same=_same)


def _from_pandas(kind: str, column: str, ids: pd.Series) -> Iterator[dict[str, Any]]:
    for family in ("sha1", "murmur3"):
        peers = {LOOP_NAMES[family]: _loop(family, ids.iloc[:SAMPLE])}
        bench = f"{family}, {kind}, {column}"
        yield from compare(bench, len(ids), lambda family=family: hash_ids(ids, family), peers, same=_same)


# ---- a whole flag ---------------------------------------------------------------------------------------

PERSONS = 1_000_000
SDK_SAMPLE = 2_000
THREE_SETS = {
    "key": "new-checkout",
    "active": True,
    "filters": {
        "groups": [
            {"properties": [_property("email", "@acme.io", "icontains")], "rollout_percentage": 100},
            {
                "properties": [
                    _property("plan", ["pro", "team"], "exact"),
                    _property("country", "DE", "exact"),
                ],
                "rollout_percentage": 50,
            },
            {"properties": [], "rollout_percentage": 25},
        ],
        "multivariate": {
            "variants": [
                {"key": "control", "rollout_percentage": 50},
                {"key": "test", "rollout_percentage": 50},
            ]
        },
    },
}


def people(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    names = short_ids(rows).to_pandas()
    return pd.DataFrame(
        {
            "distinct_id": names,
            "email": names + np.where(rng.random(rows) < 0.01, "@acme.io", "@example.org"),
            "plan": rng.choice(["free", "pro", "team"], rows),
            "country": rng.choice(["DE", "FR", "US", "IN"], rows),
        }
    )


def _evaluate_flag(rows: int) -> Iterator[dict[str, Any]]:
    import canarykit as ck

    persons = people(min(rows, PERSONS))
    sample = persons.head(SDK_SAMPLE).to_dict("records")
    flag = ck.Flag.from_posthog(THREE_SETS)
    client = _sdk_client()

    def ask_sdk() -> list[Any]:
        return [
            client.evaluate_flags(
                person["distinct_id"], person_properties=person, only_evaluate_locally=True
            ).get_flag("new-checkout")
            for person in sample
        ]

    yield from compare(
        "evaluate_flag, 3 condition sets, pandas str",
        len(persons),
        Contender(
            lambda: ck.evaluate_flag(flag, persons, semantics="sdk"),
            answer=lambda result: result["value"].astype(object).to_numpy(),
        ),
        {
            "posthog SDK, local evaluation": Contender(
                ask_sdk,
                rows=len(sample),
                answer=lambda result: np.array([str(v).lower() if v in (True, False) else v for v in result]),
            )
        },
        same=lambda ours, theirs: (ours[: len(theirs)] == theirs).all(),
    )


def _sdk_client() -> Any:
    """The SDK with the flag already fetched; it sends nothing."""
    from posthog import Posthog

    client = Posthog("key", host="http://localhost:9", sync_mode=True, send=False, disable_geoip=True)
    client.feature_flags = [THREE_SETS]
    return client


# ---- peers ------------------------------------------------------------------------------------------------

LOOP_NAMES = {**dict.fromkeys(BLOCK_HASHES, "hashlib loop"), "murmur3": "mmh3 loop", "fnv1a": "python loop"}


def _loop(family: str, ids: Any) -> Contender:
    """The loop people write, over a list or a Series."""

    def digest_loop() -> list[int]:
        new = getattr(hashlib, family)
        return [int.from_bytes(new(text.encode()).digest()[:8], "big") for text in ids]

    def fnv1a_loop() -> list[int]:
        out = []
        for text in ids:
            state = 0x811C9DC5
            for byte in text.encode():
                state = (state ^ byte) * 0x01000193 & 0xFFFFFFFF
            out.append(state)
        return out

    def murmur3_loop() -> list[int]:
        return [mmh3.hash(text, 0, False) for text in ids]

    run: Callable[[], list[int]] = {"murmur3": murmur3_loop, "fnv1a": fnv1a_loop}.get(family, digest_loop)
    return Contender(run, rows=len(ids), answer=lambda result: np.array(result, dtype=np.uint64))


def _chdb(family: str, ids: pa.Array) -> Contender:
    """ClickHouse reads the Arrow column and gives numbers back as Arrow, on one thread."""
    import chdb

    table = pa.table({"id": ids})
    hashed = "murmurHash3_32(id)" if family == "murmur3" else f"reinterpretAsUInt64({family.upper()}(id))"
    query = f"SELECT {hashed} AS h FROM Python(table) SETTINGS max_threads=1"

    def run() -> Any:
        assert len(table) == len(ids)  # names the table where chdb looks for it
        return chdb.query(query, "ArrowTable")

    def answer(result: Any) -> np.ndarray:
        numbers = result.column("h").to_numpy()
        return numbers if family == "murmur3" else numbers.byteswap()  # it reads the digest little-endian

    return Contender(run, answer=answer)


def _polars_hash(family: str, ids: pa.Array) -> Contender:
    """polars-hash from the Arrow column; its digests stay hexadecimal text, its murmur3 is a number."""
    import polars as pl
    import polars_hash  # noqa: F401  (adds the namespaces `chash` and `nchash`)

    column = pl.col("id")
    hashed = {
        "sha1": lambda: column.nchash.sha1(),
        "md5": lambda: column.nchash.md5(),
        "sha256": lambda: column.chash.sha2_256(),
        "murmur3": lambda: column.nchash.murmur32(),
    }[family]
    return Contender(lambda: pl.DataFrame({"id": pl.from_arrow(ids)}).select(hashed()), answer=_polars_answer)


def _polars_answer(result: Any) -> np.ndarray:
    hashed = result.to_series()
    if hashed.dtype.is_integer():
        return hashed.to_numpy()
    return np.array([int(text[:16], 16) for text in hashed.head(SAMPLE)], dtype=np.uint64)


def _same(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal as far as theirs goes (a loop, or digests read back from hexadecimal, give a sample)."""
    return len(theirs) > 0 and bool((ours[: len(theirs)].astype(np.uint64) == theirs.astype(np.uint64)).all())
