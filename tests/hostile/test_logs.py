"""Random hostile logs: what strangers write is data in every engine, and the same data in all of them.

Names of events, properties and flags, values and ids are made of what breaks SQL, paths, patterns, pages and
terminals. `HOSTILE_LOGS=2000` makes the long run of it, `HOSTILE_ENGINES=spark,ibis` chooses engines.
"""

import json
import os
import random
import re
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import canarykit as ck
from canarykit.errors import CanarykitError

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))
from logs_everywhere import log_of

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning")
LOGS = int(os.environ.get("HOSTILE_LOGS", "2"))
CHOSEN = [name for name in os.environ.get("HOSTILE_ENGINES", "").split(",") if name]
IN_PROCESS = (
    "pandas", "polars", "lazy", "reader", "dataset", "read parquet", "scan parquet", "relation",
    "read lines", "scan lines",
)  # fmt: skip
START = pd.Timestamp("2026-09-07T09:00Z")
PIECES = (
    "'", '"', "`", "\\", "\\'", ";--", "/*", "*", "?", "%", "%s", "{0}", "${env:PATH}", "$", "$$", "$.a", "@",
    "#", "~", "~1", "/", "..", ".", "[0]", "[*]", "(", "(a+)+$", "|", "^", ",", "\n", "\r", "\t", " ",
    "\u00a0", "\u202e", "\u200b", "\x00", "\x1b[31m", "\x1b]0;t\x07", "\ufeff", "\U0001f600", "e\u0301",
    "\u00e9", "\u0130", "\u00df", "::set-output name=a::b", "##vso[task]", "## PROMOTE",
    "<img src=x onerror=alert(1)>", "</style>", "&amp;", "| a |", "[x](javascript:1)", "=1+1", "-0", "1e400",
    "NaN", "null", "true", "Other", "", "a", "A", "x" * 300,
)  # fmt: skip
STRAY = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]")
TAG = re.compile(r"<(img|script|/style)[^>]*>", re.IGNORECASE)


def hostile(rng):
    """A text of one to three pieces."""
    return "".join(rng.choice(PIECES) for _ in range(rng.choice((1, 1, 2, 3))))


class HostileLog:
    """Events whose every name is hostile, and questions about them."""

    def __init__(self, seed):
        rng = self.rng = random.Random(seed)
        self.flag = hostile(rng).strip() or "f"
        self.values = ["true", "false"] if rng.random() < 0.5 else [hostile(rng) or "v" for _ in range(3)]
        self.names = [*dict.fromkeys(hostile(rng) or "a" for _ in range(4)), "$exception"]
        self.keys = [key for key in dict.fromkeys(hostile(rng) for _ in range(3)) if key] or ["k"]
        self.people = [
            f"{k}{hostile(rng)}" for k in range(6)
        ]  # nobody lacks an id: engines count those when asked
        self.texts = [hostile(rng) for _ in range(4)]
        self.column = f"c{hostile(rng)}".replace("\x00", "").replace("${", "")
        self.table = pa.table({name: pa.array(cells) for name, cells in self._columns().items()})

    def _columns(self):
        rng, rows = self.rng, []
        for k in range(rng.randrange(8, 40)):
            properties = {rng.choice(self.keys): rng.choice([*self.texts, 1.0, True, None, ["x", 1.0]])}
            event = rng.choice(self.names)
            if rng.random() < 0.4:
                event = "$feature_flag_called"
                properties |= {"$feature_flag": self.flag, "$feature_flag_response": rng.choice(self.values)}
            elif rng.random() < 0.5:
                properties[f"$feature/{self.flag}"] = rng.choice(self.values)
            if event == "$exception":
                properties |= {"$exception_type": rng.choice(self.texts), "$session_id": hostile(rng)}
            at = START + pd.Timedelta(minutes=k)
            text = json.dumps(properties, ensure_ascii=rng.random() < 0.5)
            who = rng.choice(self.people)
            rows.append((event, at, who, who, text, rng.choice([*self.texts, None])))
        names = ("event", "timestamp", "distinct_id", "person_id", "properties", self.column)
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        columns["timestamp"] = pa.array(columns["timestamp"], pa.timestamp("us", "UTC"))
        columns[self.column] = pa.array(columns[self.column], pa.string())
        return columns

    def questions(self):
        """Calls that take a log and give what can be compared."""
        rng, flag = self.rng, self.flag
        steps, key = [rng.choice(self.names) for _ in range(2)], rng.choice([*self.keys, self.column])
        filters = [
            {"key": key, "value": rng.choice(self.texts), "operator": rng.choice(("exact", "icontains"))}
        ]
        column = ["event", "timestamp", "person_id", *self.keys, self.column]
        yield lambda log: sorted(map(repr, log.select(column).astype(object).to_numpy().tolist()))
        yield lambda log: (log.event_names(), sorted(log.property_names()))
        yield lambda log: ck.exposures(log, flag)
        yield lambda log: ck.funnel_by_flag(log, steps, flag=flag)
        yield lambda log: ck.funnel_by_flag(log, steps, breakdown=key, filters=filters)
        yield lambda log: ck.trend_by_flag(log, steps[0], flag=flag)
        yield lambda log: ck.exceptions_by_flag(log, flag)


def views_of(ask, log):
    """What a call gives: text, Markdown and HTML of a result, or the kind of its refusal."""
    try:
        answer = ask(log)
    except CanarykitError as problem:
        return "refused", type(problem).__name__
    if not hasattr(answer, "to_markdown"):
        return answer
    return str(answer), answer.to_markdown(), answer._repr_html_()


@pytest.mark.parametrize("kind", [None, pytest.param("slow", marks=pytest.mark.slow)])
def test_what_strangers_write_is_data_and_the_same_data_in_every_engine(kind, tmp_path, request):
    engines = CHOSEN or (IN_PROCESS if kind is None else ("ibis", "spark"))
    spark = request.getfixturevalue("spark") if "spark" in engines else None
    first = int(os.environ.get("HOSTILE_FROM", "0"))
    logs = LOGS if kind is None or "HOSTILE_LOGS" in os.environ else 3
    for seed in range(first, first + logs):
        log = HostileLog(seed)
        questions = list(log.questions())
        here = log_of("arrow", log.table, tmp_path)
        expected = [views_of(ask, here) for ask in questions]
        for answer in expected:
            check_views(answer, seed)
        for engine in engines:
            there = log_of(engine, log.table, tmp_path, spark)
            for number, ask in enumerate(questions):
                assert views_of(ask, there) == expected[number], f"log {seed}, {engine}, question {number}"


def check_views(answer, seed):
    """No view of a result lets a stranger's text move the cursor, begin a line or open a tag."""
    if not (isinstance(answer, tuple) and len(answer) == 3):
        return
    text, markdown, page = answer
    assert not STRAY.search(text), f"log {seed}"
    assert not STRAY.search(markdown), f"log {seed}"
    assert not TAG.search(markdown), f"log {seed}"
    assert not TAG.search(page.replace("</style>", "", page.count("<style"))), f"log {seed}"
    assert not re.search(r"^(::|##vso|##\[)", text, re.MULTILINE), f"log {seed}"
    assert not re.search(r"^#", markdown, re.MULTILINE), f"log {seed}"
