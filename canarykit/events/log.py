"""The event log: one column contract over a pandas frame, Parquet files, Spark, or a warehouse table."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

import pandas as pd

from canarykit.arguments import require_names
from canarykit.counting import counted
from canarykit.display import Column, Note, Shown, Table
from canarykit.errors import DataError, did_you_mean, require_kind
from canarykit.events.engine import Engine, Lookups, empty_table, finish
from canarykit.events.fields import Query, Resolver, wanted_values
from canarykit.events.mapping import ColumnNames, check_names, unmapped
from canarykit.events.people import identities_of, lookups_of, read_groups, read_persons
from canarykit.events.text import plain_texts
from canarykit.times import micros

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.events.engines.parquet import ExportFiles
    from canarykit.events.engines.rows import Rows
    from canarykit.typing import Frame, Time, Zone

_MOST_REMEMBERED = 16

Part = TypeVar("Part")
Whole = TypeVar("Whole")


class QueryOptions(TypedDict, total=False):
    """The keywords of `EventLog.reduce`, for its overloads."""

    events: Sequence[str] | None
    since: Time | None
    until: Time | None
    where: Mapping[str, Any] | None
    actor: str
    native: Sequence[str]


class EventLog(Shown):
    """Events with one column contract, wherever they are.

    Parameters
    ----------
    frame
        Events, one row each: a pandas frame, or anything that becomes one (polars, pyarrow), or a DuckDB
        relation, Spark data frame, ibis table or any other table narwhals reads, which stays where it is.
    event, timestamp, distinct_id, person_id, session_id, properties, uuid
        Columns that hold them. Properties are columns of their own, or sit in one column of JSON text
        (or objects); `session_id` may be a property. Without a person id the distinct id is used. Rows with
        one uuid are one event.
    persons
        One row per distinct id with `person_id`, `distinct_id` and `properties` or a column each. It says
        who each distinct id is now, over the person id that the events carry. Where they carry none, ids
        that it does not list are joined by `$identify` and alias events, also to the persons that it lists.
    groups
        One row per group with `group_type_index` (or `group_type`), `group_key` and properties.
    group_types
        Index of each group type by name.
    tz
        Zone of times that carry none; without it such times are refused.
    notes
        What is already known about how the frame was made.

    Examples
    --------
    >>> frame = pd.DataFrame(
    ...     {
    ...         "event": ["signup", "paid", "signup"],
    ...         "timestamp": pd.to_datetime(["2026-09-07 09:00Z", "2026-09-07 10:00Z", "2026-09-08 09:00Z"]),
    ...         "distinct_id": ["ada", "ada", "bob"],
    ...         "properties": ['{"amount": 95}', '{"amount": 1.5}', "{}"],
    ...     }
    ... )
    >>> log = EventLog(frame)
    >>> log.select(["person_id", "amount"], events=["paid"]).to_dict("records")
    [{'person_id': 'ada', 'amount': '1.5'}]
    >>> log.reduce(["person_id"], lambda table: len(set(table["person_id"].to_pylist())))
    [2]
    """

    def __init__(
        self,
        frame: Frame | ExportFiles | Rows,
        *,
        event: str = "event",
        timestamp: str = "timestamp",
        distinct_id: str = "distinct_id",
        person_id: str = "person_id",
        session_id: str = "$session_id",
        properties: str = "properties",
        uuid: str = "uuid",
        persons: Frame | None = None,
        groups: Frame | None = None,
        group_types: Mapping[str, int] | None = None,
        tz: Zone | None = None,
        notes: Sequence[Note] = (),
    ) -> None:
        from canarykit.events.open import open_engine, rows_of

        names = ColumnNames(
            event=event, timestamp=timestamp, distinct_id=distinct_id, person_id=person_id,
            session_id=session_id, properties=properties, uuid=uuid,
        )  # fmt: skip
        self.mapping: dict[str, str] = check_names(names)
        require_kind(
            "group_types", group_types, (Mapping, type(None)), "a mapping such as {'organization': 0}"
        )
        self.group_types: dict[str, int] = dict({"organization": 0} if group_types is None else group_types)
        found = list(notes)
        self.persons: pd.DataFrame | None = None
        if persons is not None:
            self.persons, more = read_persons(rows_of(persons))
            found += more
        self.groups: pd.DataFrame | None = None
        if groups is not None:
            self.groups, more = read_groups(rows_of(groups), self.group_types)
            found += more
        self._lookups: Lookups = lookups_of(self.persons, self.groups)
        opened = open_engine(frame, self.mapping, identities_of(self.persons), tz=tz)
        self._engine: Engine = opened.engine
        self._remembered: dict[Hashable, Any] = {}
        found += unmapped(self._engine.columns, self.mapping, deduplicate=getattr(frame, "deduplicate", True))
        self.notes: tuple[Note, ...] = (*found, *opened.notes)

    @property
    def engine(self) -> str:
        """Where the events are: "pandas", "duckdb", "spark" or "narwhals"."""
        return self._engine.name

    @property
    def frame(self) -> pd.DataFrame:
        """The pandas frame behind the log: unusable rows gone, columns as they came."""
        if self.engine != "pandas":
            raise DataError(f"the events are in {self.engine}, not in a frame; use reduce() or select()")
        frame: pd.DataFrame = self._engine.frame  # type: ignore[attr-defined]
        return frame

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of what the log reads; properties inside JSON are not among them."""
        return self._engine.columns

    @property
    def identities(self) -> pd.Series | None:
        """Person id by distinct id, where persons or merges say more than the events; None otherwise."""
        known = getattr(self._engine, "identities", None)
        if known is None:
            return None
        ids, persons = (array.to_pandas() for array in known)
        return pd.Series(persons.to_numpy(), index=pd.Index(ids, name="distinct_id"), name="person_id")

    @overload
    def reduce(
        self, columns: Sequence[str], fn: Callable[[pa.Table], Part], **options: Unpack[QueryOptions]
    ) -> list[Part]: ...
    @overload
    def reduce(
        self,
        columns: Sequence[str],
        fn: Callable[[pa.Table], Part],
        *,
        finish: Callable[[list[Part]], Whole],
        **options: Unpack[QueryOptions],
    ) -> Whole: ...
    def reduce(
        self,
        columns: Sequence[str],
        fn: Callable[[pa.Table], Part],
        *,
        events: Sequence[str] | None = None,
        since: Time | None = None,
        until: Time | None = None,
        where: Mapping[str, Any] | None = None,
        actor: str = "person_id",
        native: Sequence[str] = (),
        finish: Callable[[list[Part]], Any] | None = None,
    ) -> Any:
        """Reduce the events where they are, one actor shard at a time.

        Parameters
        ----------
        columns
            What `fn` needs: canonical columns, event properties by name, `person.<name>`,
            `group<i>.<name>`, `$group_<i>`.
        fn
            Called with a narrow Arrow table of exactly these columns; what it returns should be small,
            and able to be pickled for engines that call it elsewhere. It is called at least once.
            Times are UTC microseconds, all else is text. The rows of a table are in no particular order.
        events
            Event names to keep; None keeps all.
        since, until
            Half-open window.
        where
            Value, list of values, None (missing) or `PRESENT` by column; all must hold.
        actor
            All events with the same value of this column come in one table.
        native
            Columns that may come in their stored type (numbers, dictionaries) where the engine has one.
        finish
            Called with the list of results; its answer is returned instead of the list.

        Returns
        -------
        object
            What `finish` makes of the shards' answers, or their list.
        """
        for name, called in (("fn", fn), ("finish", finish or fn)):
            require_kind(name, called, Callable, "a function", error=DataError)  # type: ignore[arg-type]
        query = self._query(columns, events, since, until, where, actor, native)
        results = self._engine.map(query, self._lookups.only(query), fn)
        return results if finish is None else finish(results)

    def select(
        self,
        columns: Sequence[str],
        *,
        events: Sequence[str] | None = None,
        since: Time | None = None,
        until: Time | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """The same narrow rows, collected in pandas: for small answers such as lists of people.

        Parameters
        ----------
        columns
            Canonical columns, event properties by name, `person.<name>`, `group<i>.<name>`,
            `$group_<i>`.
        events
            Event names to keep; None keeps all.
        since, until
            Half-open window of time; None leaves that end open.
        where
            Exact matches on event properties by name; None keeps all.

        Returns
        -------
        pandas.DataFrame
            One row an event; times are UTC.
        """
        import pyarrow as pa

        parts = list(self.batches(columns, events=events, since=since, until=until, where=where))
        return pa.concat_tables([plain_texts(part) for part in parts]).to_pandas()

    def batches(
        self,
        columns: Sequence[str],
        *,
        events: Sequence[str] | None = None,
        since: Time | None = None,
        until: Time | None = None,
        where: Mapping[str, Any] | None = None,
        native: Sequence[str] = (),
        exact: bool = True,
    ) -> Iterator[pa.Table]:
        """The same narrow rows as a stream of tables, an actor's rows in any of them; at least one table.

        With `exact=False`, rows outside `events`, `since` and `until` may come along, wherever leaving them
        out costs more than reading them.

        Parameters
        ----------
        columns
            Canonical columns, event properties by name, `person.<name>`, `group<i>.<name>`,
            `$group_<i>`.
        events
            Event names to keep; None keeps all.
        since, until
            Half-open window of time; None leaves that end open.
        where
            Exact matches on event properties by name; None keeps all.
        native
            Columns to leave as they are typed where the events are, instead of as text.
        exact
            False: rows outside of the window and the names may come along, wherever that is
            cheaper.

        Returns
        -------
        iterator of pyarrow.Table
        """
        query = self._query(columns, events, since, until, where, "person_id", native, sharded=False)
        query = query if exact else replace(query, exact=False)
        lookups = self._lookups.only(query)
        none = True
        for part in self._engine.batches(query):
            none = False
            yield finish(part, query, lookups)
        if none:
            yield finish(empty_table(query.stored()), query, lookups)

    def explain(
        self,
        columns: Sequence[str],
        *,
        events: Sequence[str] | None = None,
        since: Time | None = None,
        until: Time | None = None,
        where: Mapping[str, Any] | None = None,
        dialect: str | None = None,
    ) -> str:
        """The query that is sent to where the events are, in a warehouse's dialect if asked for.

        Parameters
        ----------
        columns
            Canonical columns, event properties by name, `person.<name>`, `group<i>.<name>`,
            `$group_<i>`.
        events
            Event names to keep; None keeps all.
        since, until
            Half-open window of time; None leaves that end open.
        where
            Exact matches on event properties by name; None keeps all.
        dialect
            Of the warehouse, such as "bigquery"; None is that of the engine.

        Returns
        -------
        str
            SQL, or the engine's own description of the plan.
        """
        query = self._query(columns, events, since, until, where, "person_id", (), sharded=False)
        return self._engine.explain(query, dialect)

    def remember(self, key: Hashable, make: Callable[[], Whole]) -> Whole:
        """What `make` said of the log when it was first asked by this key; the newest few are kept.

        For facts that hang on the log and the key alone. A key that cannot be hashed is asked anew.

        Parameters
        ----------
        key
            What the fact depends on beside the log.
        make
            Finds the fact where it is not yet remembered.

        Returns
        -------
        object
            What `make` returned.
        """
        try:
            known = key in self._remembered
        except TypeError:
            return make()
        answer: Whole = self._remembered.pop(key) if known else make()
        self._remembered[key] = answer
        if len(self._remembered) > _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        return answer

    def event_names(self) -> dict[str, int]:
        """How many events there are of each name, most frequent first."""
        return dict(self._event_names)

    @cached_property
    def _event_names(self) -> dict[str, int]:
        return self._engine.event_names()

    @cached_property
    def time_range(self) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
        """First and last time of any event; None where there are no events."""
        return self._engine.time_range()

    def count_dropped(self) -> tuple[Note, ...]:
        """The notes, with everything counted that answers leave out: for files one more pass over them."""
        return (*self.notes, *self._engine.dropped())

    def count_lost(self) -> tuple[Note, ...]:
        """Counts of rows that no answer can use, where opening the log did not count them."""
        return tuple(self._engine.lost())

    def expect(self, columns: Sequence[str]) -> None:
        """Say which columns will be asked for soon: a log on disk is then read once for all of them.

        Parameters
        ----------
        columns
            As for `reduce`.
        """
        self._engine.expect([self._query(columns, None, None, None, None, "person_id", ())])

    def has_property(self, name: str) -> bool:
        """Whether any event has a property: a column of its own, or a key in its JSON.

        Parameters
        ----------
        name
            The property's name.

        Returns
        -------
        bool
            True from the first event that has it: a log on disk is read no further.
        """
        return name in self.columns or self._engine.has_property(name)

    def property_names(self) -> tuple[str, ...]:
        """Names of event properties: columns, and the keys of the JSON of all events."""
        return self._property_names

    @cached_property
    def _property_names(self) -> tuple[str, ...]:
        canonical = {*self.mapping.values(), "created_at", "person_properties", "_inserted_at"}
        columns = [name for name in self.columns if name not in canonical]
        return tuple(dict.fromkeys([*columns, *self._engine.event_properties()]))

    def __len__(self) -> int:
        if self.engine != "pandas":
            raise DataError(f"the events are in {self.engine}, not in a frame; count them with event_names()")
        return len(self._engine.rows)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return "\n".join(
            [
                f"EventLog: {self._in_brief()}",
                *(f"note: {note}" for note in (*self.notes, *self._engine.notes())),
            ]
        )

    def _headline(self) -> str:
        size = counted(len(self), "events") if self.engine == "pandas" else "events"
        known = "" if self.persons is None else f", {counted(self.persons['person_id'].nunique(), 'persons')}"
        return f"{size} in {self.engine}{known}"

    def _table(self) -> Table:
        groups = None if self.groups is None else f"{len(self.groups):,} of {', '.join(self.group_types)}"
        rows = {"columns": ", ".join(self.columns), "groups": groups}
        columns = (Column("what", "what"), Column("there", "there is"))
        return Table.of(columns, [(name, value) for name, value in rows.items() if value])

    def _query(
        self,
        columns: Sequence[str],
        events: Sequence[str] | None,
        since: Time | None,
        until: Time | None,
        where: Mapping[str, Any] | None,
        actor: str,
        native: Sequence[str],
        *,
        sharded: bool = True,
    ) -> Query:
        """What an engine is asked: names as stored fields, times in microseconds, filters as values."""
        require_names("columns", columns)
        require_names("events", () if events is None else events)
        require_names("native", native)
        filters = {} if where is None else where
        require_kind("where", filters, Mapping, "a mapping of properties to values", error=DataError)
        require_kind("actor", actor, str, "the name of a column", error=DataError)
        if unknown := set(native) - {*columns, actor}:
            name = min(unknown)
            raise DataError(f"native names {name!r}, no column asked for; {did_you_mean(name, columns)}")
        resolver = Resolver(
            self._engine.columns,
            self.mapping,
            self.persons is not None,
            () if self.groups is None else set(self.groups["group_type_index"]),
            self.group_types,
        )
        fields = tuple(resolver.field(name) for name in dict.fromkeys(columns))
        wanted = tuple((resolver.field(name), wanted_values(name, value)) for name, value in filters.items())
        used = (*fields, *(field for field, _ in wanted))
        actors = (resolver.field(actor),) if sharded else ()
        return Query(
            fields,
            None if events is None else tuple(dict.fromkeys(events)),
            None if since is None else micros(since, name="since"),
            None if until is None else micros(until, name="until"),
            wanted,
            resolver.field(actor),
            (*resolver.lookup_keys((*used, *actors)), *actors),
            frozenset(native),
        )


def as_log(log: EventLog | Frame) -> EventLog:
    """The log, or one over a table of events."""
    return log if isinstance(log, EventLog) else EventLog(log)
