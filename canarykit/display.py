"""One table behind every view of a result: text, HTML, Markdown, frame and JSON come from the same rows.

A result is a frozen dataclass that inherits `Result` and says three things: its `_headline()`, its
`_table()`, and its `notes`. Everything a person or a program sees is derived here, so that no two views
can disagree. HTML carries inline styles only: JupyterLab strips `<style>` from notebooks it did not run.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING as MISSING_DEFAULT
from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import Enum
from html import escape as html_escape
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from canarykit.counting import MOST_OF_A_HEADLINE, counted, in_brief
from canarykit.escaping import html_text, markdown_text, one_line
from canarykit.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["QUIET", "RULE", "Column", "Note", "Result", "Table", "format_value", "to_jsonable", "zone_name"]

Kind = Literal["text", "count", "number", "share", "points", "ratio", "seconds", "time", "p", "link"]
"""How a value reads: `share` 0.031 -> 3.1 %, `points` 0.004 -> +0.40 pp, `ratio` 1.25 -> 1.25x,
`seconds` 5400 -> 1 h 30 min, `time` -> 2026-09-07 09:00 UTC, `p` -> p-values and e-values, `link` -> an
address, which HTML makes a link."""

QUIET = "opacity:.75;font-size:12px;margin:4px 0"
"""What stands small under an answer: legible on light and on dark pages, whose colours it takes."""

RULE = "1px solid rgba(128,128,128,.4)"
"""A line between rows, seen on light and on dark pages."""

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """One column: the key that programs use, the label that people read, and how its values read."""

    key: str
    label: str
    kind: Kind = "text"


@dataclass(frozen=True, repr=False)
class Table:
    """Columns and rows of raw values; `None` is a value that does not exist and prints as a dash."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def of(cls, columns: Sequence[Column], rows: Iterable[Mapping[str, Any] | Sequence[Any]]) -> Table:
        """Build from mappings by column key, or from sequences in column order."""
        keys = [column.key for column in columns]
        cells = [
            tuple(row.get(key) for key in keys) if isinstance(row, Mapping) else tuple(row) for row in rows
        ]
        return cls(tuple(columns), tuple(cells))

    def formatted(self) -> list[list[str]]:
        """Every cell as the text that people read, on one line."""
        return [
            [one_line(format_value(v, c.kind)) for v, c in zip(row, self.columns, strict=True)]
            for row in self.rows
        ]

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary a row, raw values by column key."""
        keys = [column.key for column in self.columns]
        return [dict(zip(keys, row, strict=True)) for row in self.rows]

    def to_frame(self) -> pd.DataFrame:
        """Raw values as a pandas frame, one column per key."""
        import pandas as pd

        return pd.DataFrame(list(self.rows), columns=[column.key for column in self.columns])

    def to_text(self) -> str:
        """Aligned plain text, numbers to the right."""
        if not self.columns:
            return ""
        head = [one_line(column.label) for column in self.columns]
        body = self.formatted()
        widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
        left = [column.kind in ("text", "link") for column in self.columns]
        lines = [head, ["-" * width for width in widths], *body]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if is_text else cell.rjust(width)
                for cell, width, is_text in zip(line, widths, left, strict=True)
            ).rstrip()
            for line in lines
        )

    def to_markdown(self) -> str:
        """A GitHub-flavoured Markdown table."""
        if not self.columns:
            return ""
        head = [markdown_text(column.label) for column in self.columns]
        rule = [":---" if column.kind == "text" else "---:" for column in self.columns]
        body = [[markdown_text(cell) for cell in row] for row in self.formatted()]
        return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *body])

    def to_html(self) -> str:
        """A plain `<table>` with inline styles, every cell escaped."""
        if not self.columns:
            return ""
        cell_style = f"padding:3px 8px;border-bottom:{RULE};"
        align = ["left" if column.kind in ("text", "link") else "right" for column in self.columns]
        whole = ["" if column.kind == "text" else "white-space:nowrap;" for column in self.columns]
        head = "".join(
            f'<th scope="col" style="{cell_style}text-align:{a};font-weight:600">{html_text(c.label)}</th>'
            for c, a in zip(self.columns, align, strict=True)
        )
        body = "".join(
            "<tr>"
            + "".join(
                f'<td style="{cell_style}{w}text-align:{a};vertical-align:top">{_cell(cell, c.kind)}</td>'
                for cell, c, a, w in zip(row, self.columns, align, whole, strict=True)
            )
            + "</tr>"
            for row in self.formatted()
        )
        return (
            '<table style="border-collapse:collapse;font-size:13px;margin:6px 0">'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def to_csv(self, path: str | PathLike[str] | None = None) -> str:
        """Raw values as CSV with the keys as header, also written to `path` where one is given.

        A text that a spreadsheet would run as a formula is kept from it by a leading apostrophe.
        """
        keys, *rows = [[column.key for column in self.columns], *self.rows]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(keys)
        writer.writerows([_csv_cell(value) for value in row] for row in rows)
        if path is not None:
            write_whole(path, out.getvalue())
        return out.getvalue()

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return self.to_html()


@dataclass(frozen=True)
class Note:
    """Something the reader must know: what was dropped, guessed or could not be told, and how often."""

    code: str
    text: str
    count: int | None = None

    def __str__(self) -> str:
        return self.text if self.count is None else counted(self.count, self.text)


class Shown:
    """Mixin of what a notebook shows as a headline, a table and notes."""

    notes: Sequence[Any] = ()

    def _headline(self) -> str:
        """The one sentence that answers."""
        raise TypeError(f"{type(self).__name__} must define _headline()")

    def _long_names(self) -> Iterable[str]:
        """What a headline may shorten in the middle: everything that stands whole in the table."""
        return [cell for row in self._table().rows for cell in row if isinstance(cell, str)]

    def _in_brief(self) -> str:
        """The headline on one line, short enough to be read at a glance."""
        text = one_line(self._headline())
        return text if len(text) <= MOST_OF_A_HEADLINE else in_brief(text, self._long_names())

    def _table(self) -> Table:
        """The rows behind every view."""
        raise TypeError(f"{type(self).__name__} must define _table()")

    def _small_print(self) -> Sequence[Any]:
        """What stands below the table: how it was counted, and notes."""
        return self.notes

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html_text(note)}</li>" for note in self._small_print())
        listed = f'<ul style="{QUIET}">{notes}</ul>' if notes else ""
        return (
            f'<div><p style="font-weight:600;margin:4px 0">{html_text(self._in_brief())}</p>'
            f"{self._table().to_html()}{listed}</div>"
        )


class Noun(Shown):
    """Mixin of what people write down (a flag, a stage, a guardrail): the code that makes it, or a table.

    Subclasses are `@dataclass(frozen=True, repr=False)`. Only what differs from the defaults is said.
    """

    def _said(self) -> list[tuple[str, Any]]:
        said = []
        for number, item in enumerate(fields(self)):  # type: ignore[arg-type]
            if not item.repr or not item.init:
                continue
            usual = item.default if item.default_factory is MISSING_DEFAULT else item.default_factory()
            value = getattr(self, item.name)
            if number == 0 or type(value) is not type(usual) or value != usual:
                said.append((item.name, value))
        return said

    def __repr__(self) -> str:
        (_, first), *others = self._said()
        listed = [repr(first), *(f"{name}={_code(value)}" for name, value in others)]
        return f"{type(self).__name__}({', '.join(listed)})"

    def _headline(self) -> str:
        (_, first), *_ = self._said()
        return f"{type(self).__name__} {_words(first)}"

    def _table(self) -> Table:
        columns = (Column("field", "field"), Column("value", "value"))
        return Table.of(
            columns, [(name.replace("_", " "), _words(value)) for name, value in self._said()[1:]]
        )


def _code(value: Any) -> str:
    """A value as code; a time as the text that makes it."""
    return repr(value.isoformat()) if isinstance(value, datetime) else repr(value)


def _words(value: Any) -> str:
    """A value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return format_value(value, "time")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


class Result(Shown):
    """Mixin of every public result: one headline, one table, notes; all views derived.

    Subclasses are `@dataclass(frozen=True, repr=False, eq=False)`; two results are equal when their
    types and their JSON are.
    """

    notes: tuple[Note, ...] = ()

    def _extra_json(self) -> dict[str, Any]:
        """Further fields of `to_json` beyond headline, rows and notes."""
        return {}

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas frame of raw values (fractions, seconds, UTC times)."""
        return self._table().to_frame()

    def to_csv(self, path: str | PathLike[str] | None = None) -> str:
        """The rows as CSV of raw values, also written to `path` where one is given."""
        return self._table().to_csv(path)

    def to_markdown(self) -> str:
        """Headline, table and notes as Markdown."""
        notes = "".join(f"\n- {markdown_text(note)}" for note in self._small_print())
        return (
            f"**{markdown_text(self._in_brief())}**\n\n{self._table().to_markdown()}\n{notes}".rstrip() + "\n"
        )

    def to_dict(self) -> dict[str, Any]:
        """Headline, rows, notes and further fields as plain JSON values."""
        notes = [{"code": n.code, "count": n.count, "text": n.text} for n in self.notes]
        content = {"headline": self._in_brief(), "rows": self._table().to_dicts(), "notes": notes}
        return to_jsonable({**content, **self._extra_json()})

    def to_json(self, path: str | PathLike[str] | None = None, *, indent: int | None = None) -> str:
        """`to_dict` as JSON text, also written to `path` where one is given; NaN and infinity become null."""
        text = json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)
        if path is not None:
            write_whole(path, text + "\n")
        return text

    def __repr__(self) -> str:
        notes = "\n".join(f"note: {one_line(note)}" for note in self._small_print())
        return "\n".join(part for part in (self._in_brief(), self._table().to_text(), notes) if part)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Result)
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((type(self).__name__, self._headline()))


def format_value(value: Any, kind: Kind = "text") -> str:
    """One value as people read it.

    Examples
    --------
    >>> format_value(0.0312, "share"), format_value(-0.004, "points"), format_value(5400, "seconds")
    ('3.12 %', '-0.40 pp', '1 h 30 min')
    >>> format_value(None, "count"), format_value(1234567, "count")
    ('–', '1,234,567')
    """
    if _is_missing(value):
        return MISSING
    if kind in ("text", "link"):
        return value.value if isinstance(value, Enum) else str(value)
    if kind == "time":
        return _format_time(value)
    number = float(value)
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    match kind:
        case "count":
            return f"{number:,.0f}" if number == int(number) else f"{number:,.1f}"
        case "share":
            return _format_share(number)
        case "points":
            return f"{number * 100:+.2f} pp"
        case "ratio":
            return f"{number:.3g}x" if abs(number) < 1000 else f"{number:,.0f}x"
        case "seconds":
            return _format_seconds(number)
        case "p":
            return f"{number:.3f}" if 0.001 <= abs(number) < 1000 else f"{number:.2g}"
    return f"{number:,.4g}" if abs(number) < 10_000 else f"{number:,.0f}"


def to_jsonable(value: Any) -> Any:
    """Plain JSON values: numpy scalars, times, enums and tuples unpacked; NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, datetime | date):
        return None if value != value else value.isoformat()  # NaT differs from itself
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return to_jsonable(value.tolist())
    return str(value)


def _cell(text: str, kind: Kind) -> str:
    """A cell between its tags; an address becomes a link if a browser may follow it safely."""
    if kind == "link" and text.startswith(("https://", "http://")):
        return f'<a href="{html_escape(text)}" target="_blank" rel="noopener">open</a>'
    return html_text(text)


def _csv_cell(value: Any) -> Any:
    plain = to_jsonable(value)
    if isinstance(plain, str) and plain[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{plain}"
    return plain


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        return type(value).__name__ in {"NAType", "NaTType"}


def _format_share(number: float) -> str:
    percent = number * 100
    if percent != 0 and abs(percent) < 0.1:
        return f"{percent:.3f} %"
    return f"{percent:.2f} %" if abs(percent) < 10 else f"{percent:.1f} %"


def _format_seconds(number: float) -> str:
    sign, rest = ("-", -number) if number < 0 else ("", number)
    if rest < 60:
        return f"{sign}{rest:.3g} s"
    minutes = round(rest / 60)
    if minutes < 60:
        return f"{sign}{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{sign}{hours} h {minutes} min" if minutes else f"{sign}{hours} h"
    days, hours = divmod(round(rest / 3600), 24)
    return f"{sign}{days} d {hours} h" if hours else f"{sign}{days} d"


def zone_name(moment: datetime) -> str:
    """What the zone of a moment is called: UTC, CEST, UTC-03; empty where it has none.

    Examples
    --------
    >>> from zoneinfo import ZoneInfo
    >>> zone_name(datetime(2026, 9, 7, tzinfo=ZoneInfo("America/Santiago")))
    'UTC-03'
    """
    name = moment.tzname() or ""
    return f"UTC{name}" if name[:1] in ("+", "-") else name


def _format_time(value: Any) -> str:
    if isinstance(value, datetime):
        zone = zone_name(value)
        return f"{value:%Y-%m-%d %H:%M} {zone}".rstrip()
    return str(value)
