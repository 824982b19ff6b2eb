"""Values out of JSON text: 3 and 10 top-level keys of a column, against DuckDB, Polars, orjson and simdjson.

The documents are what PostHog's web client sends: some 25 properties, addresses, numbers, booleans, groups,
here and there an escape. DuckDB is asked with a call for each key, as people write it, and with one call for
all keys. Python readers (orjson, pysimdjson) run on a sample, as their lines say (`peer_rows`). Every
contender may use all processors; all give the texts of the values, and they are compared before anything is
timed.
"""

import importlib.util
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pyarrow as pa

from benchmarks.timing import Contender, compare
from canarykit.events.documents import json_values

ROWS = 500_000
SAMPLE = 50_000
KEYS = (
    "$browser", "$feature_flag", "$feature_flag_response", "$os", "$geoip_country_code", "plan", "amount",
    "$screen_width", "$session_id", "$device_type",
)  # fmt: skip


def run(rows: int) -> Iterator[dict[str, Any]]:
    text = pa.chunked_array([documents(rows)])
    for n in (3, 10):
        keys = KEYS[:n]
        ours = Contender(lambda keys=keys: json_values(text, [(key,) for key in keys]), answer=_texts)
        yield from compare(f"{n} keys of JSON text", rows, ours, _peers(text, keys), same=_same)


def documents(rows: int) -> pa.Array:
    """Properties as posthog-js writes them."""
    rng = random.Random(11)
    return pa.array((json.dumps(_properties(rng), separators=(",", ":")) for _ in range(rows)), pa.string())


def _properties(rng: random.Random) -> dict[str, Any]:
    page = rng.choice(["cart", "checkout", "account/settings", "search?q=blue+shoes&page=2", ""])
    found: dict[str, Any] = {
        "$os": rng.choice(["Windows", "Mac OS X", "Android", "iOS"]),
        "$os_version": f"10.{rng.randrange(20)}.0",
        "$browser": rng.choice(["Chrome", "Safari", "Firefox", "Edge"]),
        "$device_type": rng.choice(["Desktop", "Mobile"]),
        "$current_url": f"https://shop.example.com/{page}",
        "$host": "shop.example.com",
        "$pathname": f"/{page}",
        "$browser_version": rng.randrange(90, 140),
        "$browser_language": "en-GB",
        "$screen_height": rng.choice([1080, 900, 844]),
        "$screen_width": rng.choice([1920, 1440, 390]),
        "$viewport_height": rng.randrange(500, 1000),
        "$viewport_width": rng.randrange(300, 1900),
        "$lib": "web",
        "$lib_version": "1.160.3",
        "$insert_id": f"{rng.getrandbits(64):016x}",
        "$time": 1_788_000_000 + rng.randrange(10**6) / 1000,
        "distinct_id": f"01a0570c-05a4-7000-8000-{rng.getrandbits(48):012x}",
        "$session_id": f"01a0570c-05a4-7000-8000-{rng.getrandbits(48):012x}",
        "$groups": {"organization": f"org-{rng.randrange(900)}"},
        "$geoip_country_code": rng.choice(["DE", "US", "GB", "BR"]),
        "$is_identified": rng.random() < 0.5,
    }
    if rng.random() < 0.2:
        found |= {"$feature_flag": "new-checkout", "$feature_flag_response": rng.random() < 0.5}
    if rng.random() < 0.1:
        found |= {"plan": rng.choice(["pro", "free"]), "amount": round(rng.random() * 200, 2)}
    if rng.random() < 0.02:
        found["$el_text"] = 'Say "yes"\n'
    return found


def _peers(text: pa.ChunkedArray, keys: tuple[str, ...]) -> dict[str, Contender]:
    some = pa.chunked_array([text.chunk(0).slice(0, SAMPLE)])
    peers = {
        "duckdb, a call a key": Contender(_duckdb(text, _calls(keys)), answer=_texts),
        "duckdb, one call": Contender(_duckdb(text, _one_call(keys)), answer=_texts),
    }
    if importlib.util.find_spec("polars"):
        peers["polars"] = Contender(_polars(text, keys), answer=_texts)
    if importlib.util.find_spec("orjson"):
        peers["orjson"] = Contender(_orjson(some, keys), rows=len(some), answer=_texts)
    if importlib.util.find_spec("simdjson"):
        peers["pysimdjson"] = Contender(_simdjson(some, keys), rows=len(some), answer=_texts)
    return peers


def _calls(keys: tuple[str, ...]) -> str:
    listed = (f"json_extract_string(document, '$.\"{key}\"') AS k{at}" for at, key in enumerate(keys))
    return f"SELECT {', '.join(listed)} FROM documents"


def _one_call(keys: tuple[str, ...]) -> str:
    paths = ", ".join(f"'$.\"{key}\"'" for key in keys)
    listed = ", ".join(f"found[{at + 1}] AS k{at}" for at in range(len(keys)))
    return f"SELECT {listed} FROM (SELECT json_extract_string(document, [{paths}]) AS found FROM documents)"


def _duckdb(text: pa.ChunkedArray, sql: str) -> Callable[[], list[pa.ChunkedArray]]:
    def ask() -> list[pa.ChunkedArray]:
        with duckdb.connect() as connection:
            connection.register("documents", pa.table({"document": text}))
            return list(connection.sql(sql).to_arrow_table().columns)

    return ask


def _polars(text: pa.ChunkedArray, keys: tuple[str, ...]) -> Callable[[], list[pa.ChunkedArray]]:
    import polars as pl

    def ask() -> list[pa.ChunkedArray]:
        column = pl.from_arrow(text)
        paths = [pl.col("d").str.json_path_match(f'$["{key}"]').alias(key) for key in keys]
        found = pl.DataFrame({"d": column}).select(paths)
        return [found[key].to_arrow() for key in keys]

    return ask


def _orjson(text: pa.ChunkedArray, keys: tuple[str, ...]) -> Callable[[], list[list[Any]]]:
    import orjson

    def ask() -> list[list[Any]]:
        read = [orjson.loads(document) for document in text.to_pylist()]
        return [[document.get(key) for document in read] for key in keys]

    return ask


def _simdjson(text: pa.ChunkedArray, keys: tuple[str, ...]) -> Callable[[], list[list[Any]]]:
    import simdjson

    def ask() -> list[list[Any]]:
        parser = simdjson.Parser()
        found: list[list[Any]] = [[] for _ in keys]
        for document in text.cast(pa.binary()).to_pylist():
            read = parser.parse(document)
            for values, key in zip(found, keys, strict=True):
                values.append(read.get(key))
            del read
        return found

    return ask


def _texts(result: Any) -> list[list[str | None]]:
    """The first values of every key, as text."""
    columns = (
        column.cast(pa.string()).to_pylist() if hasattr(column, "cast") else column for column in result
    )
    return [[_text(value) for value in column[:SAMPLE]] for column in columns]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if value == int(value) else repr(value)


def _same(ours: list[list[str | None]], theirs: list[list[str | None]]) -> bool:
    return all(
        [_number(a) for a in one] == [_number(b) for b in other]
        for one, other in zip(ours, theirs, strict=True)
    )


def _number(text: str | None) -> str | None:
    """A text without the `.0` that some write after a whole number."""
    return text.removesuffix(".0") if text else text
