"""Keys of properties as strangers write them: every engine finds what stands under just this key."""

import json

import pandas as pd
import pyarrow as pa
import pytest

from tests.engines.logs_everywhere import CHEAP, LINES, SLOW, log_of

KEYS = {  # asked together: an engine that cannot say one of them may read all of the question otherwise
    "blank": (" a", "\na", "\ta", "\u00a0a", "\u2003a", "\x0ba", "\x1fa", "\n|%"),
    "quoted": ("'a", "a'", "['a']", "*", "?(@)", "${a}"),
    "other": (
        "a ", '"a', 'a"', "`a`", "\\a", "a\\", "\\n|%", "a.b", "$.a", "$", "@", "[0]", "a[0]", "..", "#",
        "/a", "~1", "a,b", "(a", "%s", "ä", "e\u0301", "\U0001f600", "A", "0", "-1", "null", "{a}", "a|b",
        "^a$",
    ),
}  # fmt: skip
ENGINES = [*CHEAP, *LINES, "csv", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_key_is_itself_and_not_what_it_looks_like(engine, kind, tmp_path, request):
    """Each document has one key beside the plain `a`, for which it might be taken."""
    keys = KEYS[kind]
    documents = [{"a": "plain", key: number} for number, key in enumerate(keys)]
    rows = len(keys)
    table = pa.table({
        "event": ["view"] * rows, "distinct_id": [f"u{number:02}" for number in range(rows)],
        "timestamp": pd.date_range("2026-09-07T09:00Z", periods=rows, freq="h").as_unit("us"),
        "properties": [json.dumps(document, ensure_ascii=False) for document in documents],
    })  # fmt: skip
    spark = request.getfixturevalue("spark") if engine == "spark" else None
    log = log_of(engine, table, tmp_path, spark)
    found = log.select(["distinct_id", *keys]).set_index("distinct_id").sort_index()
    there = {(who, key): value for key in keys for who, value in found[key].dropna().items()}
    assert there == {(f"u{number:02}", key): str(number) for number, key in enumerate(keys)}
