"""Text, HTML, Markdown, frame and JSON of a result come from the same rows."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from canarykit.display import Column, Note, Result, Table, format_value, to_jsonable


@dataclass(frozen=True, repr=False, eq=False)
class Shares(Result):
    rows: tuple
    notes: tuple = ()

    def _headline(self):
        return "Who is in"

    def _table(self):
        columns = (
            Column("variant", "variant"),
            Column("people", "people", "count"),
            Column("share", "share", "share"),
        )
        return Table.of(columns, self.rows)


EXAMPLE = Shares(
    (("false", 1234, 0.95), ("<b>true|x</b>", 65, None)), (Note("dropped", "duplicates removed", 1200),)
)


def test_every_view_shows_the_same_cells():
    text, html, markdown = repr(EXAMPLE), EXAMPLE._repr_html_(), EXAMPLE.to_markdown()
    for cell in ("Who is in", "1,234", "95.0 %", "1,200 duplicates removed"):
        assert cell in text
        assert cell in html
        assert cell in markdown
    assert EXAMPLE.to_frame()["people"].tolist() == [1234, 65]
    assert json.loads(EXAMPLE.to_json())["rows"][0] == {"variant": "false", "people": 1234, "share": 0.95}


def test_a_table_alone_reads_as_people_read_it():
    table = EXAMPLE._table()
    assert repr(table).splitlines()[0].split() == ["variant", "people", "share"]
    assert table._repr_html_() == table.to_html()


def test_names_from_other_peoples_exports_cannot_inject_markup():
    assert "<b>" not in EXAMPLE._repr_html_()
    assert "true\\|x" in EXAMPLE.to_markdown()
    assert "<b>" not in EXAMPLE.to_markdown()


def test_html_keeps_its_look_where_style_sheets_are_stripped():
    html = EXAMPLE._repr_html_()
    assert "<style" not in html
    assert "<script" not in html
    assert " id=" not in html


def test_a_result_equals_itself_recomputed_and_nothing_else():
    again = Shares(EXAMPLE.rows, EXAMPLE.notes)
    assert again == EXAMPLE
    assert hash(again) == hash(EXAMPLE)
    assert Shares(EXAMPLE.rows[:1]) != EXAMPLE
    assert EXAMPLE != "Who is in"


@pytest.mark.parametrize(
    "value,kind,text",
    [
        (None, "count", "–"),
        (float("nan"), "share", "–"),
        (pd.NaT, "time", "–"),
        (pd.NA, "text", "–"),
        (0.0004, "share", "0.040 %"),
        (0.0, "share", "0.00 %"),
        (1.25, "ratio", "1.25x"),
        (float("inf"), "ratio", "∞"),
        (0.5, "seconds", "0.5 s"),
        (90, "seconds", "2 min"),
        (3 * 86400 + 7200, "seconds", "3 d 2 h"),
        (datetime(2026, 9, 7, 9, tzinfo=UTC), "time", "2026-09-07 09:00 UTC"),
        (0.00001, "p", "1e-05"),
        (12345.6, "number", "12,346"),
        (True, "text", "True"),
    ],
)
def test_values_read_as_people_write_them(value, kind, text):
    assert format_value(value, kind) == text


def test_json_holds_plain_values_only():
    value = {
        "a": np.float64("nan"),
        "b": np.array([1, 2]),
        "c": (pd.Timestamp("2026-09-07", tz="UTC"),),
        "d": np.int64(3),
    }
    assert to_jsonable(value) == {"a": None, "b": [1, 2], "c": ["2026-09-07T00:00:00+00:00"], "d": 3}


def test_an_address_becomes_a_link_only_if_it_is_one_of_the_web():
    table = Table.of(
        [Column("url", "recording", "link")],
        [("https://us.posthog.com/replay/1?a=1&b=2",), ("javascript:alert(1)",), (None,)],
    )
    html = table.to_html()
    assert '<a href="https://us.posthog.com/replay/1?a=1&amp;b=2"' in html
    assert 'href="javascript' not in html
    assert html.count("<a ") == 1


def test_a_tables_csv_has_its_raw_values_and_no_cell_that_a_spreadsheet_would_run():
    table = Table.of([Column("who", "person"), Column("share", "share", "share")], [("=HYPERLINK(1)", 0.25)])
    assert table.to_csv() == "who,share\n'=HYPERLINK(1),0.25\n"


def test_what_stands_small_takes_the_colour_of_the_page():
    assert "color:#" not in EXAMPLE._repr_html_()
