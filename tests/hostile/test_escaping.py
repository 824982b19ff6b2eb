"""What a visitor wrote is shown as it is: never a command, a heading, a formula or a tag."""

import re
import sys
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest

from canarykit.display import Column, Note, Result, Table
from canarykit.escaping import html_text, markdown_text, one_line, workflow_text

COMMANDS = [
    "Firefox\n::set-output name=verdict::promote",
    "Firefox\r\n::error::x",
    "Firefox\x0b::stop-commands::t",
    "Firefox\u2028::add-mask::a",
    "Firefox\x85::debug::a",
    "  ::set-env name=PATH::x",
    "##[set-output name=verdict;]promote",
    "a ##vso[task.setvariable variable=x]y",
]


@pytest.mark.parametrize("text", COMMANDS)
@pytest.mark.parametrize("write", [one_line, markdown_text, workflow_text])
def test_no_line_of_a_log_becomes_a_command(text, write):
    shown = write(text)
    assert len(shown.splitlines()) == 1
    assert not shown.strip().startswith("::")
    assert not re.search(r"##\w*\[", shown)


@pytest.mark.parametrize("sign", [
    "\x1b", "\x00", "\x07", "\x08", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b", "\u200f", "\ufeff",
    "\U000e0041", "\udc80",
])  # fmt: skip
def test_signs_that_a_terminal_obeys_or_hides_are_written_out(sign):
    shown = one_line(f"a{sign}b")
    assert sign not in shown
    assert shown.startswith("a\\")
    assert shown.encode("utf-8")  # nothing is left that cannot be printed


@pytest.mark.parametrize("text", ["naïve café", "日本語", "עברית", "👩‍👩‍👧", "a — b", "5 % of $pageview"])
def test_writing_of_any_language_stays_as_it_is(text):
    assert one_line(text) == text


@pytest.mark.parametrize("text, raw", [
    ("<img src=x onerror=alert(1)>", "<img"), ("# PROMOTE", "# PROMOTE"), ("## PROMOTE", "## P"),
    ("[click](http://evil.example)", "[click]("), ("![x](y)", "![x]("), ("**bold**", "**bold**"),
    ("`code`", "`code`"), ("~~gone~~", "~~gone~~"), ("a | b", "a | b"), ("_it_", " _it_ "),
    ("$x^2$ and $y$", "$x^2$"), ("- item", "- item"), ("1. first", "1. first"),
    ("see https://evil.example", "https://"),
    ("www.evil.example", "www.e"), ("@everyone look", "@everyone"),
    ("\\[x\\]", "x\\]x"), ("===", "==="), ("---", "---"),
])  # fmt: skip
def test_markup_in_a_value_loses_its_meaning(text, raw):
    assert raw not in f" {markdown_text(text)} ".replace(f"\\{raw}", "")


@pytest.mark.parametrize("text", ["signup_started", "people with $exception", "-0.40 pp", "1,234", "3.12 %"])
def test_plain_words_and_numbers_are_markdown_already(text):
    assert markdown_text(text) == text


@pytest.mark.parametrize("text", ["$a$", "$$heatmap and $pageview", "\\(x\\)", "\\begin{x}", "\\[y\\]"])
def test_a_notebook_finds_no_formula_in_html(text):
    pieces = re.split(r"<[^>]*>", html_text(text))  # a formula never spans a tag
    assert not any(re.search(r"\$.*\$|\\[(\[]|\\begin", piece) for piece in pieces)
    assert "".join(pieces) == text


@dataclass(frozen=True, repr=False, eq=False)
class Hostile(Result):
    text: str
    notes: tuple[Note, ...] = ()

    def _headline(self):
        return self.text

    def _table(self):
        return Table.of([Column("a", self.text), Column("b", "b")], [(self.text, 1.0)])


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


@pytest.mark.parametrize("text", [*COMMANDS, "<img src=x onerror=alert(1)>", "x\n## PROMOTE\n", "a\x1b[2Jb"])
def test_every_view_of_a_result_is_safe_in_headline_cells_labels_and_notes(text):
    result = Hostile(text, (Note("n", text), Note("m", text, 3)))
    markdown, plain, html = result.to_markdown(), repr(result), result._repr_html_()
    assert "<img" not in markdown
    assert len(markdown.splitlines()) == 8  # headline, table and two notes, however many lines the text has
    assert len(plain.splitlines()) == 6
    assert "\x1b" not in markdown + plain + html
    for line in (*markdown.splitlines(), *plain.splitlines()):
        assert not line.strip().startswith(("::", "## "))
        assert not re.search(r"##\w*\[", line)
    tags = Tags()
    tags.feed(html)
    assert tags.seen <= {"div", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "span"}


def test_a_cut_emoji_prints_and_is_written_everywhere(tmp_path):
    result = Hostile("half \ud83d")
    for view in (repr(result), result.to_markdown(), result._repr_html_()):
        view.encode("utf-8")
    result.to_json(tmp_path / "result.json")
    assert "\\ud83d" in (tmp_path / "result.json").read_text()
    assert sys.getdefaultencoding() == "utf-8"
