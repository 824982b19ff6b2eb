"""Which column of a table is which: the names of the contract, what others call them, and what to write."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypedDict, cast

from canarykit.display import Note
from canarykit.errors import DataError, ExportFormatError, close_name, did_you_mean, require_kind


class ColumnNames(TypedDict, total=False):
    """The columns that hold what the contract names."""

    event: str
    timestamp: str
    distinct_id: str
    person_id: str
    session_id: str
    properties: str
    uuid: str


DEFAULTS = ColumnNames(
    event="event",
    timestamp="timestamp",
    distinct_id="distinct_id",
    person_id="person_id",
    session_id="$session_id",
    properties="properties",
    uuid="uuid",
)

_CALLED: Mapping[str, Sequence[str]] = {
    # What Amplitude, GA4, Mixpanel, PostHog, Segment and Snowplow call it, without case and punctuation;
    # the names of a second line count where there is none of the first.
    "event": ("event eventname", "eventtype eventtext eventaction action name"),
    "timestamp": (
        "timestamp ts time eventtime eventtimestamp eventts occurredat derivedtstamp",
        "createdat originaltimestamp clienteventtime dvcecreatedtstamp collectortstamp datetime sentat "
        "receivedat",
    ),
    "distinct_id": (
        "distinctid user userid uid anonymousid userpseudoid domainuserid visitorid deviceid amplitudeid",
        "customerid clientid memberid",
    ),
    "person_id": ("personid",),
    "session_id": ("sessionid gasessionid domainsessionid",),
    "properties": (
        "properties props params eventproperties eventprops eventparams",
        "payload attributes eventdata data",
    ),
    "uuid": ("uuid eventid insertid messageid eventuuid", "id"),
}
_OPTIONAL = ("properties", "uuid", "person_id", "distinct_id")


class MissingColumnsError(ExportFormatError):
    """A table without columns that are needed; it says which others look like them."""

    def __init__(self, message: str, said: str = "", columns: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.said: str = said  # what is lacking and what is there
        # what to write for each name of the contract: the column that looks like it, or "..." where none or
        # several do
        self.columns: dict[str, str] = dict(columns or {})

    @classmethod
    def of(cls, said: str, columns: Mapping[str, str], call: str = "ck.EventLog") -> MissingColumnsError:
        """With the line to write, as a call of some function."""
        values = {name: "..." if column == "..." else _literal(column) for name, column in columns.items()}
        listed = ", ".join(f"{name}={value}" for name, value in values.items())
        line = f"{call}(..., {listed})"
        meant = f"Did you mean {line}?" if set(columns.values()) - {"..."} else f"Say which is which: {line}"
        return cls(f"{said} {meant}", said, columns)


@contextmanager
def written_as(call: str) -> Iterator[None]:
    """Within it, an error about lacking columns gives the line to write as a call of this function."""
    try:
        yield
    except MissingColumnsError as problem:
        raise MissingColumnsError.of(problem.said, problem.columns, call) from None


def check_names(names: Mapping[str, object]) -> dict[str, str]:
    """The same, if every one is the name of a column."""
    for name, column in names.items():
        require_kind(name, column, str, "the name of a column", error=DataError)
    return {name: str(column) for name, column in names.items()}


def columns_of(texts: Iterable[str]) -> ColumnNames:
    """What `name=column` says, one text each, as keywords of a reader.

    Examples
    --------
    >>> columns_of(["event=event_name", "timestamp=ts"])
    {'event': 'event_name', 'timestamp': 'ts'}
    """
    named: dict[str, str] = {}
    for text in texts:
        name, equals, column = text.partition("=")
        name, column = name.strip(), column.strip()
        if not equals or not column:
            raise DataError(f"a column is given as {text!r}; expected name=column, such as event=event_name")
        if name not in DEFAULTS:
            raise DataError(f"a column is given for {name!r}; {did_you_mean(name, DEFAULTS)}")
        if name in named:
            raise DataError(f"{name!r} is given two columns, {named[name]!r} and {column!r}")
        named[name] = column
    return cast(ColumnNames, named)


def missing_columns(
    columns: Collection[str], mapping: Mapping[str, str], what: str = "the events"
) -> MissingColumnsError | None:
    """What to raise of a table that lacks event, time, any id, or a column that was named; else None.

    Examples
    --------
    >>> print(missing_columns(["event_name", "ts", "user_id", "anonymous_id"], dict(DEFAULTS)).said)
    the events lack 'event', 'timestamp' and 'distinct_id' (or 'person_id'); there is ['event_name', 'ts', \
'user_id', 'anonymous_id']. 'distinct_id' may be 'user_id' or 'anonymous_id': choose.
    """
    lacking = [name for name in ("event", "timestamp") if mapping[name] not in columns]
    lacking += [name for name in _OPTIONAL if mapping[name] not in columns and _is_given(name, mapping)]
    nobody = mapping["distinct_id"] not in columns and mapping["person_id"] not in columns
    if nobody and not {"distinct_id", "person_id"} & set(lacking):
        lacking.append("distinct_id")
    if not lacking:
        return None
    guesses = {name: _candidates(name, columns, mapping) for name in mapping if mapping[name] not in columns}
    guesses |= {name: _near(name, columns, mapping) for name in lacking if not guesses[name]}
    shown = [repr(mapping[name]) for name in lacking]
    if nobody and "person_id" not in lacking:
        at = lacking.index("distinct_id")
        shown[at] += f" (or {mapping['person_id']!r})"
    *most, last = shown
    listed = f"{', '.join(most)} and {last}" if most else last
    said = f"{what} lack {listed}; {did_you_mean('', columns)}"
    for name, names in guesses.items():
        if len(names) > 1:
            *most, last = map(repr, names)
            said += f" {name!r} may be {', '.join(most)} or {last}: choose."
    write = {
        name: mapping[name]
        if mapping[name] in columns
        else guesses[name][0]
        if len(guesses[name]) == 1
        else "..."
        for name in mapping
        if name in lacking or guesses.get(name) or (_is_given(name, mapping) and mapping[name] in columns)
    }
    return MissingColumnsError.of(said, write)


def lacks_columns(
    file: str, lacking: str, columns: Collection[str], mapping: Mapping[str, str]
) -> ExportFormatError:
    """What to raise of one file among several that lacks a column of the events."""
    said = f"{file} lacks {lacking!r}, which every file of events has; "
    problem = missing_columns(columns, mapping)
    if problem is None or set(problem.columns.values()) == {"..."}:
        return ExportFormatError(said + did_you_mean(lacking, columns))
    return MissingColumnsError.of(said + did_you_mean("", columns), problem.columns)


def persons_ids(columns: Collection[str]) -> list[str]:
    """Columns of a table of persons that by their names hold the ids that events have.

    Examples
    --------
    >>> persons_ids(["User ID", "E-mail"])
    ['User ID']
    """
    return _candidates("distinct_id", columns, DEFAULTS)  # type: ignore[arg-type]


def given(mapping: Mapping[str, str]) -> list[str]:
    """The columns that somebody named, beyond those of the contract."""
    return [mapping[name] for name in mapping if _is_given(name, mapping)]


def unmapped(columns: Collection[str], mapping: Mapping[str, str], *, deduplicate: bool = True) -> list[Note]:
    """Notes on columns that by their names are an event's id or its properties, and are not read as such."""
    notes = []
    for name, text in (
        ("uuid", "rows are not checked for repeats: no uuid column"),
        ("properties", "no properties are read out of JSON: no properties column"),
    ):
        names = _candidates(name, columns, mapping, tiers=1) if mapping[name] not in columns else []
        if names and (deduplicate or name != "uuid"):
            write = " or ".join(f"{name}={_literal(column)}" for column in names)
            notes.append(Note(f"no_{name}", f"{text} (write {write} if that is one)"))
    return notes


def _candidates(
    name: str, columns: Collection[str], mapping: Mapping[str, str], *, tiers: int = 2
) -> list[str]:
    """Columns that are called as others call it, and are not taken for something else."""
    free = [column for column in columns if column not in mapping.values()]
    for tier in _CALLED[name][:tiers]:
        found = [column for column in free if _bare(column) in tier.split()]
        if found:
            return found
    return []


def _near(name: str, columns: Collection[str], mapping: Mapping[str, str]) -> list[str]:
    """The column that was probably misspelt, of those that are not called as something else is."""
    known = {word for other, tiers in _CALLED.items() if other != name for t in tiers for word in t.split()}
    free = [c for c in columns if c not in mapping.values() and _bare(c) not in known]
    close = close_name(mapping[name], free)
    return [] if close is None else [close]


def _is_given(name: str, mapping: Mapping[str, str]) -> bool:
    return mapping[name] != DEFAULTS[name]  # type: ignore[literal-required]


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _literal(text: str) -> str:
    return f'"{text}"' if text.isprintable() and not set(text) & {'"', "\\"} else repr(text)
