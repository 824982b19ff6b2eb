"""Columns in short cuts (codes for texts, compiled passes) say what the long way says, on random input."""

import json
import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from canarykit.compiler import can_compile
from canarykit.events.documents.objects import object_columns
from canarykit.events.documents.scan import COMPILED_FROM
from canarykit.events.engine import Lookups
from canarykit.events.fields import Column, Field, Lookup
from canarykit.events.remembered.layout import Layout
from canarykit.events.remembered.people_codes import PeopleCodes
from canarykit.events.text import coalesce, codes_of, places_among
from canarykit.exposure import first_values
from canarykit.exposure.order import in_time_order
from canarykit.health.data import delays, pulse
from canarykit.health.data.delays import HOUR, Arrivals

SEEDS = range(8)


def a_column(rng, rows, texts, *, chunks=3):
    """Texts with gaps, in several pieces, as codes with a list of texts of their own each."""
    cuts = sorted(rng.randrange(rows + 1) for _ in range(chunks - 1))
    values = [rng.choice([*texts, None]) for _ in range(rows)]
    pieces = [values[a:b] for a, b in zip([0, *cuts], [*cuts, rows], strict=True)]
    return pa.chunked_array([pa.array(piece, pa.string()).dictionary_encode() for piece in pieces]), values


@pytest.mark.parametrize("seed", SEEDS)
def test_codes_stand_for_the_texts_they_were(seed):
    rng = random.Random(seed)
    column, values = a_column(rng, rng.randrange(40), ["a", "b", "", "ä"])
    for given in (column, column.cast(pa.string())):
        texts, codes = codes_of(given)
        assert [None if code < 0 else texts[int(code)].as_py() for code in codes] == values
        assert len(set(texts.to_pylist())) == len(texts)
        after = codes_of(given, missing=None)[1]
        assert (after[codes < 0] == len(texts)).all()
        assert (after[codes >= 0] == codes[codes >= 0]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_value_that_is_there_is_the_same_by_codes_and_by_texts(seed):
    rng = random.Random(seed)
    rows = rng.randrange(1, 40)
    columns = [a_column(rng, rows, texts)[0] for texts in (["a", "b"], ["b", "c"], ["d"])]
    by_text = coalesce([column.cast(pa.string()) for column in columns])
    assert coalesce(columns).cast(pa.string()).to_pylist() == by_text.to_pylist()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_property_looked_up_by_codes_is_the_one_looked_up_by_texts(seed):
    rng = random.Random(seed)
    by, values = a_column(rng, 60, ["ada", "bob", "eve"])
    known = {"ada": "Linux", "bob": None, "zoe": "iOS"}
    ids, found = pa.array(list(known)), pa.array(list(known.values()), pa.string())
    lookups = Lookups({("person", None): (ids, {"$os": found})})
    wanted = Field("person.$os", (), lookup=Lookup("person", "person_id", "$os"))
    for given in (by, by.cast(pa.string())):
        answer = lookups.find(wanted, given).cast(pa.string()).to_pylist()
        assert answer == [known.get(value) for value in values]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_person_has_one_code_by_whichever_column_they_are_known(seed):
    rng = random.Random(seed)
    merged = {f"d{k}": f"p{k % 7}" for k in range(20)}
    identities = pa.array(list(merged)), pa.array(list(merged.values()))
    layout = Layout("event", "timestamp", ("person_id", "distinct_id"), "distinct_id", "")
    people = PeopleCodes(layout, identities)
    for _ in range(4):  # stretches of row groups, one after the other
        rows = [
            (rng.choice(["p1", "q1", "q2", None]), rng.choice(["d1", "d8", "d15", "e1", "p3", None]))
            for _ in range(30)
        ]
        block = {
            Column(name): pa.array([row[at] for row in rows], pa.string()).dictionary_encode()
            for at, name in enumerate(layout.ids)
        }
        (codes,) = people.codes([block])
        told = [None if code < 0 else people.texts[int(code)].as_py() for code in codes]
        assert told == [merged.get(own) or person or own for person, own in rows]
    assert len(set(people.texts.to_pylist())) == len(people.texts)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_least_value_is_the_same_compiled_and_plain(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    codes, values = rng.integers(-1, 20, 500), rng.integers(-(10**15), 10**15, 500)
    plain = first_values.least_of_each(codes, values, 25, none=10**16)
    assert plain.tolist() == [min(values[codes == code], default=10**16) for code in range(25)]
    monkeypatch.setattr(first_values, "COMPILED_FROM", 1)
    assert first_values.least_of_each(codes, values, 25, none=10**16).tolist() == plain.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_hours_of_arrival_are_counted_the_same_compiled_and_plain(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    origin = 1_700_000_000_000_000
    happened = origin + rng.integers(0, 50 * HOUR, 400)
    arrived = happened + rng.integers(-3 * HOUR, 30 * HOUR, 400)  # some clocks are wrong
    monkeypatch.setattr(delays, "COMPILED_FROM", 1)
    compiled = Arrivals.at(happened, arrived, origin)
    plain = Arrivals.of((happened - origin) // HOUR, (arrived - origin) // HOUR)
    for name in ("happened", "arrived", "count"):
        assert getattr(compiled, name).tolist() == getattr(plain, name).tolist()
    assert compiled.count.sum() == 400


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("again", [False, True])
def test_people_and_visits_a_quarter_are_counted_the_same_compiled_and_plain(seed, again, monkeypatch):
    rng = np.random.default_rng(seed)
    codes, bins = rng.integers(0, 9, 200), rng.integers(0, 60, 200)
    plain = pulse._per_quarter(codes, bins, 60, again=again)
    monkeypatch.setattr(pulse, "COMPILED_FROM", 1)
    compiled = pulse._per_quarter(codes, bins, 60, again=again)
    assert [part.tolist() for part in compiled] == [part.tolist() for part in plain]
    people, begun = [0] * 60, [0] * 60
    for code in range(9):
        quarters = sorted(set(bins[codes == code].tolist()))
        for last, quarter in zip([None, *quarters], quarters, strict=False):
            people[quarter] += 1
            begun[quarter] += (not again) if last is None else quarter - last > 2
    assert [part.tolist() for part in plain] == [people, begun]


def test_rows_of_one_time_stand_in_order_of_their_unit():
    rng = random.Random(5)
    at = np.array([rng.randrange(6) for _ in range(50)])
    units = [f"u{rng.randrange(1000)}" for _ in range(50)]
    order = in_time_order(at, pa.array(units))
    expected = sorted(range(50), key=lambda row: (at[row], units[row]))
    assert [(at[row], units[row]) for row in order] == [(at[row], units[row]) for row in expected]


def test_the_place_of_a_text_among_others_is_its_first():
    column = pd.Series(["b", None, "a", "x"])
    assert places_among(column, pd.Series(["a", "b", "a", None])).tolist() == [1, -1, 0, -1]


@pytest.mark.skipif(not can_compile(), reason="documents are read one by one without numba")
def test_a_key_that_only_late_documents_have_is_not_overlooked():
    documents = [json.dumps({"plan": "pro", "n": k}) for k in range(COMPILED_FROM + 50)]
    documents[-3] = '{"late": true, "plan": "free"}'
    columns, lost = object_columns(pd.Series(documents), json.loads)
    assert (list(columns), lost) == (["plan", "n", "late"], 0)
    assert columns["late"][-3] is True
    assert columns["late"][:-3].astype(str).tolist() == ["nan"] * (COMPILED_FROM + 47)
    assert columns["plan"][-3:].tolist() == ["free", "pro", "pro"]
