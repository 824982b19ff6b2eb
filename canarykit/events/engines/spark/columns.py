"""The columns of a Spark frame as SQL, where Spark surely gives what the reading rule gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from canarykit.events.clock import AWARE, NAIVE
from canarykit.events.documents import UNSURE_VALUE

_WHOLE = ("bigint", "int", "smallint", "tinyint")
_BLANKS = r"' \t\r\n'"
_UNSAID = ("'", "?", "*", "${")
"""What Spark's path language cannot say in a key: such values are read in the worker."""
_TIMES = {
    "timestamp": "moment", "void": "moment", "timestamp_ntz": "local", "date": "local", "string": "text",
}  # fmt: skip
_AFTER_THE_END = r"[}]\s*\S|,\s*[}\]]"


@dataclass(frozen=True)
class Columns:
    """Columns by name, as texts, ids, times and documents."""

    types: Mapping[str, str]  # Spark's type of each column
    zone: str | None = None  # zone of times that carry none
    changes: tuple[tuple[int, int], ...] = ()  # local times that the zone skips or repeats, in microseconds

    def is_whole(self, column: str) -> bool:
        """Whether a column holds whole numbers, whose text is never blank."""
        return self.types[column] in _WHOLE

    def text(self, column: str) -> str:
        """A column as text, as far as Spark can write it."""
        name, kind = ticked(column), self.types[column]
        if kind == "string":
            return name
        if kind in {"double", "float"}:
            whole = f"{name} = floor({name}) AND abs({name}) < 1e15"
            digits = f"cast(cast({name} AS bigint) AS string)"
            return f"CASE WHEN {whole} THEN {digits} ELSE cast({name} AS string) END"
        if kind.startswith(("struct", "map", "array", "variant")):
            return f"to_json({name})"
        return f"cast({name} AS string)"

    def id_text(self, column: str) -> str:
        """A column of ids as text; blank is missing."""
        text = self.text(column)
        if self.is_whole(column):
            return text
        if self.types[column] in {"double", "float"}:
            name = ticked(column)
            return f"CASE WHEN NOT isnan({name}) AND abs({name}) < double('Infinity') THEN {text} END"
        return f"CASE WHEN btrim({text}, {_BLANKS}) <> '' THEN {text} END"

    def document(self, column: str) -> str | None:
        """A column of properties as JSON text; None where it is read in the worker."""
        kind = self.types[column]
        if kind == "string":
            return ticked(column)
        return f"to_json({ticked(column)})" if kind.startswith("variant") else None

    def time(self, column: str) -> str:
        """A column of times as moments; null where it cannot be read."""
        name, kind = ticked(column), self.types[column]
        if kind == "timestamp":
            return name
        if kind not in {"string", "timestamp_ntz", "date"}:
            return "cast(NULL AS timestamp)"
        zone = literal(" " + (self.zone or "UTC"))
        local = self.local_time(column)
        moment = f"try_cast(concat(cast({local} AS string), {zone}) AS timestamp)"
        if self.changes and column == "created_at":
            moment = f"CASE WHEN NOT ({self.in_changes(local)}) THEN {moment} END"
        if kind != "string":
            return moment
        text = self.time_text(column)
        plain = f"regexp_replace(regexp_replace(upper({text}), ' ?(Z|UTC)$', 'Z'), ' ([+-][0-9:]+)$', '$1')"
        plain = f"regexp_replace({plain}, '([+-][0-9][0-9]):?([0-9][0-9])$', '$1:$2')"
        plain = _with_seconds(f"regexp_replace({plain}, '([+-][0-9][0-9])$', '$1:00')")
        aware = f"{text} RLIKE {literal(AWARE)}"
        return f"CASE WHEN {aware} THEN try_cast({plain} AS timestamp) ELSE {moment} END"

    def name(self, column: str) -> str:
        """How SQL says it."""
        return ticked(column)

    def time_kind(self, column: str) -> str:
        """Whether it holds moments, local times, either as text, or anything else."""
        return _TIMES.get(self.types[column], "other")

    def time_text(self, column: str) -> str:
        """A column of texts without the blanks around them."""
        return rf"btrim({ticked(column)}, ' \t\r\n\f')"

    def local_time(self, column: str) -> str:
        """The times of a column that carry no zone, as they stand there."""
        name = ticked(column)
        if self.types[column] != "string":
            return f"cast({name} AS timestamp_ntz)"
        text = self.time_text(column)
        plain = _with_seconds(f"upper({text})")
        return f"CASE WHEN {text} RLIKE {literal(NAIVE)} THEN try_cast({plain} AS timestamp_ntz) END"

    def in_changes(self, local: str) -> str:
        """Whether a local time is one that the zone skips or repeats."""
        at = f"unix_micros(cast(concat(cast({local} AS string), ' UTC') AS timestamp))"
        return " OR ".join(f"({at} >= {low} AND {at} < {high})" for low, high in self.changes) or "false"


def json_value(document: str | None, path: Sequence[str]) -> str:
    """A value out of a document, by Spark's path language; null where that cannot say the key."""
    for key in path:
        if _is_unsaid(key):
            return "cast(NULL AS string)"
        document = f"get_json_object({document}, {literal(f'$[{chr(39)}{key}{chr(39)}]')})"
    return str(document)


def odd_document(document: str | None, values: Mapping[tuple[str, ...], str] | None = None) -> str:
    """Whether a document's values have to be read in the worker."""
    whole = f"startswith(ltrim({document}), '{{') AND endswith(rtrim({document}), '}}')"
    conditions = [
        f"NOT coalesce({whole} AND json_object_keys({document}) IS NOT NULL, false)",
        f"instr({document}, {literal(chr(92) + 'u')}) > 0",
        f"instr({document}, {literal(chr(39))}) > 0",  # Spark takes it for a quotation mark
        # Spark stops reading behind the first object, and gives nothing where a comma stands before the end:
        # whatever follows a brace, and such commas, are looked at in the worker.
        f"coalesce({document} RLIKE {literal(_AFTER_THE_END)}, false)",
    ]
    for path, value in (values or {}).items():
        conditions.append(f"coalesce({value} RLIKE {literal(UNSURE_VALUE)}, false)")
        if any(map(_is_unsaid, path)):
            conditions.append("true")
    return f"({' OR '.join(conditions)})"


def _is_unsaid(key: str) -> bool:
    """Whether Spark's path language cannot say a key; it passes over blanks before one."""
    return not key or key[0].isspace() or any(sign in key for sign in _UNSAID)


def ticked(name: str) -> str:
    """A name as Spark's SQL."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text as Spark's SQL; what looks like one of Spark's variables stays what it is."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\u0024{")
    return f"'{escaped}'"


def _with_seconds(text: str) -> str:
    clock = "^(.{10})[T ]([0-9][0-9]:[0-9][0-9])($|[Z+-])"
    return f"regexp_replace({text}, '{clock}', '$1 $2:00$3')"
