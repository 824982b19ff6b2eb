"""The columns of a DuckDB source as SQL, where DuckDB surely gives what the reading rule gives.

For other types (nested ones, moments as properties, bytes, short floats) the column comes as it is and is
read here: `text()` then has no SQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from canarykit.events.clock import AWARE, NAIVE
from canarykit.events.sql import quoted
from canarykit.events.text import BLANKS

NOTHING = '"NULL"'
"""The type of a column without any value."""
_WHOLE = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?")
_PLAIN = ("BOOLEAN", "UUID")
_NESTED = ("STRUCT", "MAP", "UNION")
_UNSURE = re.compile(r"TIME|DATE|BLOB|INTERVAL|DECIMAL|FLOAT|BIT|UUID|HUGEINT|ENUM|VARIANT")
_BLANKS = "E' \\t\\r\\n'"
assert BLANKS == " \t\r\n"


@dataclass(frozen=True)
class Columns:
    """Columns by name, as texts, ids, times and documents."""

    types: Mapping[str, str]  # DuckDB's type of each column
    zone: str | None = None  # zone of times that carry none; None if they all carry one
    # local times that the zone skips or repeats, in microseconds: as times of arrival they are missing
    changes: tuple[tuple[int, int], ...] = ()

    def text(self, column: str, prefix: str = "") -> str | None:
        """A column as text; None where only Arrow's way is sure."""
        name, kind = prefix + quoted(column), self.types[column]
        if kind == "VARCHAR":
            return name
        if kind in _PLAIN or _WHOLE.fullmatch(kind) or kind.startswith("ENUM"):
            return f"{name}::VARCHAR"
        if kind == NOTHING:
            return "NULL::VARCHAR"
        if kind == "JSON":
            return scalar_text(name)
        if kind == "DOUBLE":
            return _double_text(name)
        if kind.startswith("DECIMAL"):
            short = f"regexp_replace({name}::VARCHAR, '(\\.[0-9]*[1-9])0+$|\\.0+$', '\\1')"
            return f"CASE WHEN {name} = 0 THEN '0' ELSE {short} END"
        return None

    def id_text(self, column: str, prefix: str = "") -> str:
        """A column of ids as text; blank is missing."""
        name, kind = prefix + quoted(column), self.types[column]
        if kind == "FLOAT":
            text = f"CASE WHEN isfinite({name}) THEN regexp_replace({name}::DOUBLE::VARCHAR, '\\.0$', '') END"
        else:
            text = self.text(column, prefix) or f"{name}::VARCHAR"
        if kind in _PLAIN or _WHOLE.fullmatch(kind) or kind == "DOUBLE":
            return text
        return f"CASE WHEN trim({text}, {_BLANKS}) <> '' THEN {text} END"

    def time(self, column: str, prefix: str = "") -> str:
        """A column of times as moments; null where it cannot be read."""
        name, kind = prefix + quoted(column), self.types[column]
        if kind == NOTHING or not is_time_type(kind):
            return "NULL::TIMESTAMPTZ"
        if carries_zone(kind):
            return name if kind == "TIMESTAMP WITH TIME ZONE" else f"{name}::TIMESTAMPTZ"
        local = self.local_time(column, prefix)
        moment = f"({local} AT TIME ZONE {quoted(self.zone or 'UTC', chr(39))})"
        if self.changes and column == "created_at":
            moment = f"CASE WHEN NOT ({self.in_changes(local)}) THEN {moment} END"
        if kind != "VARCHAR":
            return moment
        text = self.time_text(column, prefix)
        plain = f"regexp_replace(regexp_replace(upper({text}), ' ?(Z|UTC)$', 'Z'), ' ([+-][0-9:]+)$', '\\1')"
        return (
            f"CASE WHEN regexp_matches({text}, {quoted(AWARE, chr(39))}) "
            f"THEN TRY_CAST({_with_seconds(plain)} AS TIMESTAMPTZ) ELSE {moment} END"
        )

    def local_time(self, column: str, prefix: str = "") -> str:
        """The times of a column that carry no zone, as they stand there."""
        if self.types[column] != "VARCHAR":
            return f"{prefix}{quoted(column)}::TIMESTAMP"
        text = self.time_text(column, prefix)
        naive = f"regexp_matches({text}, {quoted(NAIVE, chr(39))})"
        return f"CASE WHEN {naive} THEN TRY_CAST(upper({text}) AS TIMESTAMP) END"

    def in_changes(self, local: str) -> str:
        """Whether a local time is one that the zone skips or repeats."""
        ranges = (
            f"({local} >= make_timestamp({low}) AND {local} < make_timestamp({high}))"
            for low, high in self.changes
        )
        return " OR ".join(ranges) or "false"

    def document(self, column: str, prefix: str = "") -> str | None:
        """A column of properties as JSON text; None where only Arrow's way is sure."""
        name, kind = prefix + quoted(column), self.types[column]
        if kind.startswith(_NESTED):
            return None if _UNSURE.search(kind) else f"to_json({name})::VARCHAR"
        if kind in {"VARCHAR", "JSON"}:
            return f"{name}::VARCHAR"
        return None

    def name(self, column: str) -> str:
        """How SQL says it."""
        return quoted(column)

    def time_kind(self, column: str) -> str:
        """Whether it holds moments, local times, either as text, or anything else."""
        kind = self.types[column]
        if not is_time_type(kind):
            return "other"
        if kind == NOTHING or carries_zone(kind):
            return "moment"
        return "text" if kind == "VARCHAR" else "local"

    def time_text(self, column: str, prefix: str = "") -> str:
        """A column of texts without the blanks around them."""
        return f"trim({prefix}{quoted(column)}, E' \\t\\r\\n\\f')"


def scalar_text(value: str) -> str:
    """SQL: a text, number or word of JSON as text; numbers by the rule, not as DuckDB writes them."""
    digits = f"regexp_full_match({value}::VARCHAR, '-?[0-9]{{1,309}}')"
    double = _double_text(f"TRY_CAST({value} AS DOUBLE)")
    number = f"CASE WHEN {digits} THEN {value}::VARCHAR ELSE {double} END"
    return f"CASE json_type({value}) WHEN 'DOUBLE' THEN {number} ELSE json_extract_string({value}, '$') END"


def _double_text(number: str) -> str:
    """SQL: a double in its shortest form, whole numbers without `.0`; NaN and infinities are missing."""
    short = f"regexp_replace(regexp_replace({number}::VARCHAR, '\\.0$', ''), '^-0$', '0')"
    return f"CASE WHEN isfinite({number}) THEN {short} END"


def _with_seconds(time: str) -> str:
    """SQL: a time with its seconds, which DuckDB 1 asks for before a zone."""
    return f"CASE WHEN {time}[17] = ':' THEN {time} ELSE {time}[:16] || ':00' || {time}[17:] END"


def carries_zone(kind: str) -> bool:
    """Whether times of a type are moments."""
    return kind == "TIMESTAMP WITH TIME ZONE" or kind.startswith("TIMESTAMPTZ")  # nanoseconds have their own


def is_time_type(kind: str) -> bool:
    """Whether a type can hold times."""
    return kind.startswith(("TIMESTAMP", "DATE", "VARCHAR", NOTHING))
