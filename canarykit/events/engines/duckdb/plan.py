"""One question to DuckDB: what its SQL answers, and what is finished here by the reading rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from canarykit.events.clock import UTC_TIME
from canarykit.events.documents import odd_document, patched, pointer
from canarykit.events.engine import matches
from canarykit.events.engines.answer import IDS, taken
from canarykit.events.fields import PRESENT, Column, Field, Json, Query
from canarykit.events.sql import quoted
from canarykit.events.text import as_text, coalesce, id_text

if TYPE_CHECKING:
    from canarykit.events.engines.duckdb.columns import Columns
    from canarykit.events.engines.duckdb.engine import DuckDBEngine


class Plan:
    """How a question is split: what DuckDB answers, and what is finished here."""

    def __init__(self, engine: DuckDBEngine, query: Query) -> None:
        self.engine: DuckDBEngine = engine
        self.query: Query = query
        self.columns: Columns = engine.sql_columns
        read: dict[str, None] = {}
        self.paths: dict[str, list[Json]] = {}
        for field in query.stored():
            for part in field.parts:
                if isinstance(part, Column) or self.columns.document(part.column) is None:
                    read[part.name if isinstance(part, Column) else part.column] = None
                elif part not in self.paths.setdefault(part.column, []):
                    self.paths[part.column].append(part)
        if engine.joins:
            read[engine.mapping["distinct_id"]] = None
        self.inner: list[str] = [quoted(name) for name in read]
        for number, (column, parts) in enumerate(self.paths.items()):
            listed = ", ".join(quoted(pointer(part.path), "'") for part in parts)
            document = self.columns.document(column)
            values = f"TRY(json_extract_string({document}, [{listed}]))"
            self.inner += [f"{values} AS taken_{number}", f"{document} AS document_{number}"]
        self.expressions: dict[str, str | None] = {
            field.name: self._expression(field) for field in query.stored()
        }
        self.outer: list[str] = self._outer()

    def place(self, part: Column | Json) -> str:
        """A part of a field as text in the outer SELECT, raw where only Arrow's way is sure."""
        if isinstance(part, Column):
            return self.columns.text(part.name, "events.") or f"events.{quoted(part.name)}::VARCHAR"
        if part.column in self.paths:
            number = list(self.paths).index(part.column)
            return f"taken_{number}[{self.paths[part.column].index(part) + 1}]"
        return f"events.{quoted(part.column)}::VARCHAR"

    def filters(self) -> list[str]:
        """Filters that DuckDB can apply; a row whose document has to be read here passes for now."""
        kept = []
        for field, allowed in self.query.where:
            text = self.expressions[field.name]
            if text is None and all(isinstance(p, Json) and p.column in self.paths for p in field.parts):
                text = f"coalesce({', '.join(self.place(part) for part in field.parts)})"
            if field.lookup or text is None or not field.parts or field.name in IDS:
                continue
            kept.append(_matches(text, allowed))
            odd = {self._odd(part.column) for part in field.parts if isinstance(part, Json)}
            if odd:
                kept[-1] = f"({kept[-1]} OR {' OR '.join(f'{text} IS NOT NULL' for text in sorted(odd))})"
        return kept

    def finish(self, table: pa.Table) -> pa.Table:
        """The fields of the question from what DuckDB handed out."""
        extracted = self._documents(table)
        values: dict[str, pa.ChunkedArray] = {}
        for field in self.query.stored():
            if self.expressions[field.name] is not None:
                column = table.column(field.name)
                native = field.name in self.query.native
                stored = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
                if pa.types.is_timestamp(column.type):
                    values[field.name] = column.cast(UTC_TIME)
                else:
                    values[field.name] = column if native and stored else as_text(column)
            else:
                texts = [
                    extracted[part]
                    if isinstance(part, Json)
                    else as_text(table.column(f"canarykit_raw.{part.name}"))
                    for part in field.parts
                ]
                texts = [id_text(text, field.name) for text in texts] if field.name in IDS else texts
                values[field.name] = coalesce(texts)
        for field, allowed in self.query.where:
            if field.lookup is None:
                kept = matches(values[field.name], allowed)
                values = {name: column.filter(kept) for name, column in values.items()}
        return pa.table(values)

    def _documents(self, table: pa.Table) -> dict[Json, pa.ChunkedArray]:
        """Values out of JSON: those DuckDB took, odd documents read again, and all of raw columns."""
        extracted: dict[Json, pa.ChunkedArray] = {}
        for number, parts in enumerate(self.paths.values()):
            values = [table.column(f"canarykit_value_{number}_{at}") for at in range(len(parts))]
            odd = table.column(f"canarykit_odd_{number}")
            extracted |= zip(parts, patched(values, odd, [part.path for part in parts]), strict=True)
        raw = {name: table.column(f"canarykit_raw.{name}") for name in self._raw()}
        return taken(self.query, raw, extracted)

    def _raw(self) -> list[str]:
        """Columns that are handed out as they are stored."""
        names: dict[str, None] = {}
        for field in self.query.stored():
            if self.expressions[field.name] is not None:
                continue
            for part in field.parts:
                if isinstance(part, Column):
                    names[part.name] = None
                elif part.column not in self.paths:
                    names[part.column] = None
        return list(names)

    def _outer(self) -> list[str]:
        chosen = [f"{text} AS {quoted(name)}" for name, text in self.expressions.items() if text is not None]
        chosen += [f"events.{quoted(name)} AS {quoted('canarykit_raw.' + name)}" for name in self._raw()]
        for number, (column, parts) in enumerate(self.paths.items()):
            chosen += [
                f"taken_{number}[{at + 1}] AS canarykit_value_{number}_{at}" for at in range(len(parts))
            ]
            chosen.append(f"{self._odd(column)} AS canarykit_odd_{number}")
        return chosen

    def _odd(self, column: str) -> str:
        number = list(self.paths).index(column)
        return odd_document(f"document_{number}", f"taken_{number}", len(self.paths[column]))

    def _expression(self, field: Field) -> str | None:
        """A field that DuckDB answers alone; None where its parts are finished here."""
        engine = self.engine
        if field.is_time:
            return self.columns.time(field.parts[0].name, "events.") if field.parts else "NULL::TIMESTAMPTZ"  # type: ignore[union-attr]
        if field.is_person:
            first = engine.id_columns()[0]
            native = engine.identities is None and field.name in self.query.native
            if native and engine.is_complete(first):
                return f"events.{quoted(first)}"
            return engine.person("events.")
        if field.name == "event" and self.query.events:
            names = ", ".join(quoted(name, "'") for name in self.query.events)
            return f"{engine.event('events.')}::ENUM({names})"
        if not field.parts:
            return "NULL::VARCHAR"
        if any(isinstance(part, Json) for part in field.parts):
            return None
        if field.name in self.query.native and len(field.parts) == 1:
            return f"events.{quoted(field.parts[0].name)}"  # type: ignore[union-attr]
        columns = [part.name for part in field.parts if isinstance(part, Column)]
        if any(self.columns.text(name) is None for name in columns):
            return None
        read = self.columns.id_text if field.name in IDS else self.columns.text
        texts = [str(read(name, "events.")) for name in columns]
        return f"coalesce({', '.join(texts)})" if len(texts) > 1 else texts[0]


def _matches(text: str, allowed: Any) -> str:
    if allowed is PRESENT:
        return f"{text} IS NOT NULL"
    texts = [quoted(item, "'") for item in allowed if item is not None]
    alternatives = [f"{text} IN ({', '.join(texts)})"] if texts else []
    return f"({' OR '.join([*alternatives, *([f'{text} IS NULL'] if None in allowed else [])])})"
