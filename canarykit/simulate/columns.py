"""Arrays of simulated events as columns: flat ones for a log in memory, JSON text for an export file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.simulate import identities
from canarykit.simulate.behaviour import (
    CALLED,
    DISMISSED,
    ENROLL,
    EXCEPTION,
    FIRST_STEP,
    FIXED_EVENTS,
    IDENTIFY,
    PAGEVIEW,
    SENT,
    SERVER_EXCEPTION,
    SHOWN,
    Draft,
)
from canarykit.simulate.identities import glue
from canarykit.simulate.scenario import Scenario
from canarykit.simulate.streams import hash_uniform
from canarykit.times import duration

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan

__all__ = ["Crowd", "Layout", "export_table", "flat_frame", "json_value"]

PAGES = ("/", "/products", "/cart", "/account", "/help")
HOST = "https://shop.example"
EXCEPTIONS = (
    ("TypeError", "Failed to fetch"),
    ("TypeError", "cart.total is undefined"),
    ("ConnectionError", "upstream timed out"),
    ("CheckoutError", "payment was not captured"),
)


@dataclass(frozen=True)
class Crowd:
    """What columns need to know of the people, by position: text dictionaries and codes into them."""

    first: int
    distinct_id: pa.Array
    anonymous_id: pa.Array
    """Anonymous ids; null where a person never was."""
    person_id: pa.Array
    anonymous_person_id: pa.Array
    """The person an anonymous id first made, where it is another than the one that remained; else null."""
    browser: np.ndarray
    browsers: tuple[str, ...]
    organisation: pa.DictionaryArray


@dataclass(frozen=True)
class Layout:
    """Names shared by all columns of one log."""

    flag: str
    answers: tuple[str, ...]
    scenario: Scenario

    @classmethod
    def of(cls, plan: RolloutPlan, scenario: Scenario, values: tuple[str, ...]) -> Layout:
        """The names of a plan and a scenario."""
        return cls(plan.flag, values, scenario)

    @property
    def events(self) -> tuple[str, ...]:
        """Event names by kind."""
        return (*FIXED_EVENTS, *self.scenario.step_names)

    @property
    def last_step(self) -> int:
        """Kind of the step that carries the amount."""
        return FIRST_STEP + len(self.scenario.steps) - 1

    @property
    def answer_key(self) -> str:
        """Property that holds a survey's answer."""
        return (
            f"$survey_response_{self.scenario.survey.question_id}"
            if self.scenario.survey
            else "$survey_response"
        )


def json_value(name: str) -> str:
    """A flag value as JSON text: true and false bare, variants quoted."""
    return name if name in ("true", "false") else json.dumps(name)


def created_at(draft: Draft, layout: Layout) -> np.ndarray:
    """When each event reached the server: a second or two later, or hours where data is late."""
    arrived = draft.time // 1_000_000
    arrived += 2  # in place: at this size, fresh memory costs more than the sums
    arrived *= 1_000_000
    for fault in layout.scenario.faults:
        if fault.kind == "late data":
            late = hash_uniform(draft.time + draft.person, 11) < fault.share
            arrived = np.where(late, arrived + int(duration(fault.delay) * 1_000_000), arrived)
    return arrived


@dataclass(frozen=True)
class _Coded:
    """A text column as codes into its distinct texts; -1 is missing."""

    codes: np.ndarray
    names: pa.Array
    ids: bool = False
    """The texts are ids: many, and distinct by how they were made."""

    def text(self) -> pa.Array:
        """The texts themselves; nothing may be missing."""
        return self.names.take(pa.array(self.codes))

    def categories(self) -> pd.Categorical[Any]:
        """A pandas column, without another look at every code."""
        names = pd.Index(self.names.to_pandas())
        if self.ids:  # the public constructor would hash them all to see whether they are distinct
            dtype = pd.CategoricalDtype._from_fastpath(names, ordered=False)  # type: ignore[attr-defined]
        else:
            dtype = pd.CategoricalDtype(names)
        return pd.Categorical.from_codes(self.codes, dtype=dtype, validate=False)


def _coded(codes: np.ndarray, names: tuple[str, ...] | pa.Array, missing: np.ndarray | None = None) -> _Coded:
    known = names if isinstance(names, pa.Array) else pa.array(names, pa.large_string())
    return _Coded(codes if missing is None else np.where(missing, codes.dtype.type(-1), codes), known)


def _only(kind: np.ndarray, wanted: Any, codes: np.ndarray | int, names: Any) -> _Coded:
    """A coded column that exists only on some kinds of event."""
    there = np.zeros(len(kind), bool)
    for one in wanted if isinstance(wanted, tuple) else (wanted,):
        there |= kind == one
    kept = np.asarray(codes, np.int8)
    return _coded(np.broadcast_to(kept, kind.shape), names, ~there)


def _number_on(kind: np.ndarray, wanted: int, number: np.ndarray, digits: int | None = None) -> np.ndarray:
    """A number that exists only on one kind of event, rounded as a double if digits are given."""
    column = np.full(len(kind), np.nan, number.dtype if digits is None else np.float64)
    rows = np.flatnonzero(kind == wanted)
    column[rows] = number[rows] if digits is None else np.round(number[rows].astype(float), digits)
    return column


def _who(draft: Draft, crowd: Crowd, known: pa.Array, anonymous: pa.Array) -> _Coded:
    """One dictionary of known and anonymous ids; the anonymous ones stand after the known."""
    row = draft.person - np.int32(crowd.first)
    if not draft.anonymous.any():
        return _Coded(row, known, ids=True)
    rows = np.flatnonzero(np.asarray(pc.is_valid(anonymous)))
    place = np.arange(len(known), dtype=np.int32)
    place[rows] = len(known) + np.arange(len(rows), dtype=np.int32)
    names = pa.concat_arrays([known, anonymous.take(pa.array(rows))])
    return _Coded(np.where(draft.anonymous, place[row], row).astype(np.int32), names, ids=True)


def _identity_columns(draft: Draft, crowd: Crowd, layout: Layout) -> dict[str, Any]:
    return {
        "uuid": identities.event_ids(draft.time, draft.person, draft.kind),
        "event": _coded(*_event_codes(draft.kind, layout.events)),
        "distinct_id": _who(draft, crowd, crowd.distinct_id, crowd.anonymous_id),
        "person_id": _who(draft, crowd, crowd.person_id, crowd.anonymous_person_id),
        "timestamp": draft.time,
        "created_at": created_at(draft, layout),
    }


def _event_codes(kind: np.ndarray, events: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Kinds as codes of distinct event names: both exceptions are one event."""
    names = tuple(dict.fromkeys(events))
    return np.array([names.index(event) for event in events], np.int8)[kind], names


def flat_frame(draft: Draft, crowd: Crowd, layout: Layout) -> pd.DataFrame:
    """One column a property; text columns are categories, so that memory stays small."""
    kind, number, scenario = draft.kind, draft.number, layout.scenario
    with np.errstate(invalid="ignore"):  # what is no small whole number is not looked at
        whole = number.astype(np.int8)
    row = draft.person - np.int32(crowd.first)
    answered = draft.value >= 0
    columns = _identity_columns(draft, crowd, layout)
    sessions = identities.session_ids(draft.session_start, draft.session_person)
    columns["$session_id"] = _Coded(draft.session, sessions, ids=True)
    columns[f"$feature/{layout.flag}"] = _coded(draft.value, layout.answers, ~answered)
    columns["$feature_flag"] = _only(kind, CALLED, 0, (layout.flag,))
    columns["$feature_flag_response"] = _coded(draft.value, layout.answers, ~(answered & (kind == CALLED)))
    columns["$browser"] = _coded(crowd.browser[row], crowd.browsers, draft.session < 0)
    groups = crowd.organisation
    codes = np.asarray(pc.fill_null(groups.indices, -1)).astype(np.int32)
    columns["$group_0"] = _coded(codes[row], groups.dictionary)
    columns["$current_url"] = _only(kind, PAGEVIEW, whole, tuple(HOST + page for page in PAGES))
    columns["load_ms"] = _number_on(kind, FIRST_STEP, number)
    columns["amount"] = _number_on(kind, layout.last_step, number, digits=2)
    texts = tuple(_exception_list(code) for code in range(len(EXCEPTIONS)))
    columns["$exception_list"] = _only(kind, (EXCEPTION, SERVER_EXCEPTION), whole, texts)
    if scenario.survey:
        columns["$survey_id"] = _only(kind, (SHOWN, SENT, DISMISSED), 0, (scenario.survey.id,))
        scores = tuple(str(score) for score in range(scenario.survey.scale + 1))
        columns[layout.answer_key] = _only(kind, SENT, whole, scores)
    if (kind == IDENTIFY).any():
        rows = np.flatnonzero(kind == IDENTIFY)
        place = np.zeros(len(kind), np.int32)
        place[rows] = np.arange(len(rows))
        before = crowd.anonymous_id.take(pa.array(row[rows]))
        columns["$anon_distinct_id"] = _coded(place, before, kind != IDENTIFY)
    if (kind == ENROLL).any():
        columns["$feature_enrollment"] = _only(kind, ENROLL, 0, ("true",))
    return pd.DataFrame({name: _pandas_column(column) for name, column in columns.items()}, copy=False)


def _pandas_column(column: Any) -> Any:
    if isinstance(column, _Coded):
        return column.categories()
    if isinstance(column, pa.Array):
        return column.to_pandas()
    if column.dtype == np.int64:  # times
        return pd.DatetimeIndex(column, dtype=pd.DatetimeTZDtype("us", "UTC"), copy=False)
    return column


def _arrow_column(column: Any) -> pa.Array:
    if isinstance(column, _Coded):
        return column.text()
    if isinstance(column, np.ndarray):  # times
        return pa.array(column).cast(pa.timestamp("us", tz="UTC"))
    return column


def _exception_list(code: int) -> str:
    kind, text = EXCEPTIONS[code]
    return json.dumps([{"type": kind, "value": text, "mechanism": {"handled": False, "type": "generic"}}])


def export_table(draft: Draft, crowd: Crowd, layout: Layout) -> pa.Table:
    """The columns of a PostHog batch export, properties as JSON text."""
    columns = _identity_columns(draft, crowd, layout)
    empty = pa.scalar("", pa.large_string())
    columns["properties"] = pc.binary_join_element_wise(
        _what(draft, crowd, layout), _value(draft, layout), _whose(draft, crowd), _session(draft), empty
    )
    order = ("uuid", "event", "distinct_id", "person_id", "properties", "timestamp", "created_at")
    return pa.table({name: _arrow_column(columns[name]) for name in order})


def _what(draft: Draft, crowd: Crowd, layout: Layout) -> pa.Array:
    """The opening of the JSON text: what belongs to the kind of event alone."""
    kind, number = draft.kind, draft.number
    fixed = ["{"]
    code = np.zeros(len(kind), np.int64)

    def say(rows: np.ndarray, texts: list[str], which: Any = 0) -> None:
        code[rows] = len(fixed) + (which if isinstance(which, int) else which.astype(np.int64))
        fixed.extend(texts)

    survey, flag = layout.scenario.survey, json.dumps(layout.flag)
    say(kind == PAGEVIEW, [f'{{"$current_url":"{HOST}{page}",' for page in PAGES], number[kind == PAGEVIEW])
    called = np.flatnonzero(kind == CALLED)
    texts = [f'{{"$feature_flag":{flag},"$feature_flag_response":{json_value(v)},' for v in layout.answers]
    texts.append(f'{{"$feature_flag":{flag},"$feature_flag_response":null,')
    say(called, texts, np.where(draft.value[called] >= 0, draft.value[called], len(layout.answers)))
    for which in (EXCEPTION, SERVER_EXCEPTION):
        rows = kind == which
        say(
            rows, [f'{{"$exception_list":{_exception_list(c)},' for c in range(len(EXCEPTIONS))], number[rows]
        )
    if survey:
        opening = f'{{"$survey_id":"{survey.id}",'
        say((kind == SHOWN) | (kind == DISMISSED), [opening])
        answers = [f'{opening}"{layout.answer_key}":"{score}",' for score in range(survey.scale + 1)]
        say(kind == SENT, answers, number[kind == SENT])
    say(
        kind == ENROLL,
        [
            f'{{"$feature_flag":{flag},"$feature_enrollment":true,"$set":{{"$feature_enrollment/{layout.flag}":true}},'
        ],
    )
    parts = [pa.array(fixed, pa.large_string())]
    size = len(fixed)
    for which, name in ((FIRST_STEP, "load_ms"), (layout.last_step, "amount")):
        rows = np.flatnonzero(kind == which)
        shown = pa.array(np.round(number[rows].astype(float), 2)).cast(pa.large_string())
        parts.append(glue(f'{{"{name}":', shown, ","))
        code[rows] = size + np.arange(len(rows))
        size += len(rows)
    rows = np.flatnonzero(kind == IDENTIFY)
    before = crowd.anonymous_id.take(pa.array(draft.person[rows] - crowd.first))
    parts.append(glue('{"$anon_distinct_id":"', before, '",'))
    code[rows] = size + np.arange(len(rows))
    return pa.concat_arrays(parts).take(pa.array(code))


def _value(draft: Draft, layout: Layout) -> pa.Array:
    texts = ["", *(f'"$feature/{layout.flag}":{json_value(value)},' for value in layout.answers)]
    code = np.where(draft.value >= 0, draft.value + 1, 0)
    return pa.array(texts, pa.large_string()).take(pa.array(code))


def _whose(draft: Draft, crowd: Crowd) -> pa.Array:
    """Browser and organisation; of server events, the organisation alone."""
    browser = pa.array([f'"$lib":"web","$browser":"{name}"' for name in crowd.browsers], pa.large_string())
    client = browser.take(pa.array(crowd.browser.astype(np.int32)))
    server = pa.array(['"$lib":"posthog-python"'] * len(crowd.browser), pa.large_string())
    firm = crowd.organisation.cast(pa.large_string())
    group = pc.fill_null(glue(',"$groups":{"organization":"', firm, '"},"$group_0":"', firm, '"'), "")
    texts = pa.concat_arrays([glue(client, group), glue(server, group)])
    row = draft.person - np.int32(crowd.first)
    return texts.take(pa.array(np.where(draft.session >= 0, row, row + len(crowd.browser))))


def _session(draft: Draft) -> pa.Array:
    ids = identities.session_ids(draft.session_start, draft.session_person)
    texts = pa.concat_arrays([glue(',"$session_id":"', ids, '"}'), pa.array(["}"], pa.large_string())])
    return texts.take(pa.array(np.where(draft.session >= 0, draft.session, len(ids))))
