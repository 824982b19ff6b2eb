"""The compiled scan of documents reads what the slow reading, document by document, reads."""

import json
import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import canarykit as ck
from canarykit.events import people
from canarykit.events.documents import objects, reading, scan
from canarykit.events.engines import pandas as pandas_engine

PATHS = [
    ("a",),
    ("plan",),
    ("$browser",),
    ("a", "b"),
    ("b", "a"),
    ("x/y",),
    ("é",),
    ("",),
    ("amount",),
    ('a"q',),
]
KEYS = ["a", "b", "plan", "$browser", "$group_0", "x/y", "k~", "é", "", "long" * 20, 'a"q', "amount"]
SCALARS = [
    None, True, False, 0, -0.0, 1, -5, 3.5, 95.0, 12.5, 0.05, 0.0005, 1e-5, -0.25, 1e22, 100.10, 2**60 + 1,
    2**70, 123456789012345678, 1e300, "", "pro", "é漢", 'a"b', "\\", "\n", "\u2028", "😀", "x" * 40, "y" * 63,
    "z" * 64,
]  # fmt: skip
AWKWARD = [
    "", "null", "[]", "1", '"x"', "{", "{}", " {} ", '{"a":1,}', '{"a":NaN}', '{"a":Infinity}', '{"a":1e400}',
    '{"a":01}', '{"a":1}x', '{"a":"\\ud800","b":2}', '{"b":2,"c":"\\ude00"}', '{"a":tru}', '{"a":-}',
    '{"a":1.}', '{"a":.5}', '{"a" : 1 , "b":[1,2,]}', '{"a":1 "b":2}', '{"a":-0}',
    '{"a":-0.0,"b":0.0,"plan":-0.00}',
    '{"a":1.50,"b":95.00,"plan":-12.500}', '{"a":{"b":{"a":3}}}', '{"\\u0061":7}', '{"a":+1}', '{"a":1E5}',
    '{"a":"\t"}', '{"a":1,"a":2}', '{"a":null,"a":2}', '{"a":[[[{}]],"]"],"b":"}"}', '{"a":"\\x"}', '{"a":"b',
    '{"a":0.0001,"b":0.00001,"plan":0.00100}', '{"a":1234567890123456.5,"b":123456789012345.0}', '{"a":[}',
    '{"a":{"b":1]}', '{"":""}', "{" + '"k":{' * 70 + "}" * 71, json.dumps('{"a": 1}'), '{"a":true,"b":false}',
    *(text.replace("9", digits) for digits in ("9" * 308, "9" * 309, "9" * 310, "9" * 5000) for text in (
        '{"a":9,"b":2}', '{"b":2,"a":-9}', '{"a":"9"}', '{"a":[{"b":9}]}', '{"a":0.9,"b":2}', '{"a":9.5}',
        '"{\\"a\\":9}"', '{"a":9,', '{"b":"9","a":9e5}',
    )),
]  # fmt: skip


def value(rng, depth):
    kind = rng.random()
    if depth < 4 and kind < 0.15:
        return {rng.choice(KEYS): value(rng, depth + 1) for _ in range(rng.randrange(4))}
    if depth < 4 and kind < 0.25:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return rng.choice(SCALARS)


def document(rng):
    if rng.random() < 0.1:
        return rng.choice(AWKWARD)
    text = json.dumps(
        {rng.choice(KEYS): value(rng, 0) for _ in range(rng.randrange(9))},
        ensure_ascii=rng.random() < 0.3,
        separators=rng.choice([(",", ":"), (",", ":"), (", ", ": "), (" , ", " : ")]),
        indent=rng.choice([None, None, 2]),
    )
    if rng.random() < 0.05:
        text = text[: rng.randrange(len(text) + 1)]
    if rng.random() < 0.05 and text:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice('{}[]",:0e.\\x') + text[at + 1 :]
    return text


@pytest.mark.parametrize("seed, kind", [(0, pa.string()), (1, pa.large_string()), (2, pa.string())])
def test_the_scan_reads_what_the_slow_reading_reads(seed, kind, monkeypatch):
    rng = random.Random(seed)
    documents = [None if rng.random() < 0.02 else document(rng) for _ in range(3_000)]
    text = pa.chunked_array(
        [pa.array(documents[:1_000], kind), pa.array(["{}", *documents[1_000:]], kind).slice(1)]
    )
    monkeypatch.setattr(scan, "COMPILED_FROM", 0)
    monkeypatch.setattr(scan, "STRETCH", 700)
    expected = reading.json_values(text, PATHS)
    for path, ours, theirs in zip(PATHS, scan.json_values(text, PATHS), expected, strict=True):
        assert ours.cast(pa.string()).to_pylist() == theirs.cast(pa.string()).to_pylist(), path


def test_a_document_at_the_very_end_of_its_memory_is_read(monkeypatch):
    monkeypatch.setattr(scan, "COMPILED_FROM", 0)
    for size in range(1, 70):
        text = '{"a":"' + "x" * size + '"}'
        exact = pa.Array.from_buffers(
            pa.string(),
            1,
            [None, pa.array([0, len(text)], pa.int32()).buffers()[1], pa.py_buffer(text.encode())],
        )
        assert scan.json_values(pa.chunked_array([exact]), [("a",)])[0].to_pylist() == ["x" * size]


@pytest.mark.parametrize("seed", range(3))
def test_one_walk_tells_values_keys_and_unreadable_documents(seed, monkeypatch):
    rng = random.Random(seed)
    documents = [None if rng.random() < 0.02 else document(rng) for _ in range(2_000)]
    text = pa.chunked_array([pa.array(documents[:700]), pa.array(documents[700:])])
    counted = np.array([rng.random() < 0.8 for _ in documents])
    slow = scan.scan_documents(text, PATHS, counted, of=0)
    monkeypatch.setattr(scan, "STRETCH", 300)
    quick = scan.scan_documents(text, PATHS, counted, of=10**6)
    some = text.filter(pa.array(counted))
    assert quick.names == slow.names == set(reading.document_keys(some))
    assert quick.n_unreadable == slow.n_unreadable == pc.sum(reading.unreadable(some)).as_py() > 0
    for ours, theirs in zip(quick.values, slow.values, strict=True):
        assert ours.to_pylist() == theirs.to_pylist()


def test_keys_of_documents_that_are_cut_short_or_do_not_count_are_not_told():
    documents = pa.chunked_array(
        [['{"a":1,"cut":', '{"b":"\\n","c":2}', '{"not counted":1}', '{"d" : [ ] }']]
    )
    scanned = scan.scan_documents(documents, [], np.array([True, True, False, True]), of=10**6)
    assert scanned.names == {"b", "c", "d"}
    assert scanned.n_unreadable == 1


def test_more_different_keys_than_there_is_room_for_are_all_told():
    documents = [json.dumps({f"key {row} {k}": 1 for k in range(50)}) for row in range(200)]
    scanned = scan.scan_documents(pa.chunked_array([documents]), [], np.ones(200, bool), of=10**6)
    assert len(scanned.names) == 10_000


def test_names_of_one_length_that_differ_in_one_byte_are_told_apart():
    rng = random.Random(5)
    names = []
    for size in (1, 2, 15, 16, 17, 31, 32, 33, 48, 70):
        usual = "n" * size
        names += dict.fromkeys(
            [usual, *(usual[:at] + "x" + usual[at + 1 :] for at in (0, size // 2, size - 1))]
        )
    objects = [dict.fromkeys(rng.sample(names, 6), row) for row in range(2_000)]
    text = pa.chunked_array([[json.dumps(item, separators=(",", ":")) for item in objects]])
    scanned = scan.scan_documents(text, [(name,) for name in names], np.ones(2_000, bool), of=10**6)
    assert scanned.names == set(names)
    for name, column in zip(names, scanned.values, strict=True):
        expected = [str(item[name]) if name in item else None for item in objects]
        assert column.to_pylist() == expected, name


@pytest.mark.parametrize("seed", range(4))
def test_properties_of_many_persons_are_those_that_are_read_one_by_one(seed, monkeypatch):
    rng = random.Random(seed)
    documents = [
        rng.choice([None, "", float("nan")]) if rng.random() < 0.02 else document(rng) for _ in range(3_000)
    ]
    documents += [
        '{"a":12.0,"b":12.50,"plan":-0.0,"seats":1e3}',
        '{"a":007}',
        '{"":1,"é":"ü"}',
        '"{\\"a\\":1}"',
    ]
    frame = pd.DataFrame(
        {"distinct_id": map(str, range(len(documents))), "properties": pd.Series(documents, dtype=object)}
    )
    slow, lost = people._properties(frame, ("properties",), ("distinct_id", "properties"))
    monkeypatch.setattr(objects, "COMPILED_FROM", 0)
    monkeypatch.setattr(objects, "STRETCH", 700)
    quick, lost_too = people._properties(frame, ("properties",), ("distinct_id", "properties"))
    assert lost == lost_too > 0
    assert list(slow.columns) == list(quick.columns)
    assert slow.dtypes.tolist() == quick.dtypes.tolist()
    for name in slow.columns:
        assert list(map(repr, slow[name].tolist())) == list(map(repr, quick[name].tolist())), name


def test_half_a_character_in_a_person_property_is_replaced_as_in_events():
    frame = pd.DataFrame(
        {"distinct_id": ["1", "2"], "properties": ['{"a":"x\\ud800"}', '{"a":"\\ud83d\\ude00"}']}
    )
    nested, _ = people._properties(frame, ("properties",), ("distinct_id", "properties"))
    assert nested["a"].tolist() == ["x\ufffd", "😀"]


@pytest.mark.parametrize("seed", range(3))
def test_a_long_frame_tells_names_and_unreadable_documents_by_one_walk(seed, monkeypatch):
    rng = random.Random(seed)
    documents = [None if rng.random() < 0.02 else document(rng) for _ in range(2_000)]
    frame = pd.DataFrame(
        {
            "event": rng.choices(["paid", "seen"], k=2_000),
            "timestamp": pd.date_range("2026-09-07", periods=2_000, freq="min", tz="UTC"),
            "distinct_id": [f"person {rng.randrange(9)}" for _ in range(2_000)],
            "properties": documents,
        }
    )
    slow = ck.EventLog(frame)
    monkeypatch.setattr(scan, "COMPILED_FROM", 0)
    monkeypatch.setattr(pandas_engine, "WALKED_FROM", 0)
    quick = ck.EventLog(frame)
    assert quick._engine._walked is not None
    assert slow._engine._walked is None
    assert quick.property_names() == slow.property_names() != ()
    assert quick.notes == slow.notes
    assert any(note.code == "bad_json" for note in quick.notes)
