"""Simulated events as a frame, one column a property: allocated once, and filled a slice at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.simulate.log.behaviour import (
    CALLED,
    DISMISSED,
    ENROLL,
    EXCEPTION,
    FIRST_STEP,
    IDENTIFY,
    PAGEVIEW,
    SENT,
    SERVER_EXCEPTION,
    SHOWN,
    Draft,
)
from canarykit.simulate.log.export_columns import (
    EXCEPTIONS,
    HOST,
    PAGES,
    Crowd,
    Ids,
    Layout,
    created_at,
    exception_list,
)
from canarykit.simulate.people import identities

Names = tuple[str, ...]
_UNCHECKED: Any = getattr(pd.CategoricalDtype, "_from_fastpath", None)
"""Makes a type of categories as they are. The public way hashes each to see whether they are distinct: it is
taken, and only slower, where a version of pandas lacks this one."""


class FlatColumns:
    """The columns of a log in memory; text columns are categories, so that memory stays small.

    `size` is the number of events of the whole log, `sessions` are its ids, `kinds` the kinds of event that
    occur.
    """

    def __init__(
        self, size: int, crowd: Crowd, layout: Layout, sessions: pa.Array, kinds: frozenset[int]
    ) -> None:
        self._crowd, self._layout = crowd, layout
        self._distinct = Ids.of(crowd.distinct_id, crowd.anonymous_id)
        self._person = Ids.of(crowd.person_id, crowd.anonymous_person_id)
        self._identified = Ids.of(crowd.distinct_id[:0], crowd.anonymous_id)
        self._texts: dict[str, pa.Array] = {}
        self._columns: dict[str, np.ndarray] = {}
        self._uuids = identities.EventIds(size)
        events = tuple(dict.fromkeys(layout.events))
        self._event_of_kind = np.array([events.index(event) for event in layout.events], np.int8)
        survey = layout.scenario.survey

        def text(name: str, names: Names | pa.Array) -> None:
            self._texts[name] = names if isinstance(names, pa.Array) else pa.array(names, pa.large_string())
            self._columns[name] = np.empty(size, _code_type(len(names)))

        text("event", events)
        text("distinct_id", self._distinct.names)
        text("person_id", self._person.names)
        self._columns["timestamp"] = np.empty(size, np.int64)
        self._columns["created_at"] = np.empty(size, np.int64)
        text("$session_id", sessions)
        text(f"$feature/{layout.flag}", layout.answers)
        text("$feature_flag", (layout.flag,))
        text("$feature_flag_response", layout.answers)
        text("$browser", crowd.browsers)
        text("$group_0", crowd.organisation.dictionary)
        groups = pc.fill_null(crowd.organisation.indices, -1).to_numpy(zero_copy_only=False)
        self._group = groups.astype(self._columns["$group_0"].dtype)
        text("$current_url", tuple(HOST + page for page in PAGES))
        self._columns["load_ms"] = np.empty(size, np.float32)
        self._columns["amount"] = np.empty(size, np.float64)
        text("$exception_list", tuple(exception_list(code) for code in range(len(EXCEPTIONS))))
        if survey:
            text("$survey_id", (survey.id,))
            text(layout.answer_key, tuple(str(score) for score in range(survey.scale + 1)))
        if IDENTIFY in kinds:
            text("$anon_distinct_id", self._identified.names)
        if ENROLL in kinds:
            text("$feature_enrollment", ("true",))

    def write(self, start: int, draft: Draft) -> None:
        """Write events from row `start` on; slices may be written in any order and at the same time."""
        rows = slice(start, start + len(draft.time))
        self._uuids.write(start, draft.time, draft.person, draft.kind)
        self._write_amounts(draft, self._columns["amount"][rows])
        for name, values in self._values(draft).items():
            self._columns[name][rows] = values

    def _values(self, draft: Draft) -> dict[str, np.ndarray]:
        """Everything but ids and amounts: times, numbers, and codes of texts (-1: missing)."""
        kind, crowd, layout = draft.kind, self._crowd, self._layout
        row = draft.person - np.int32(crowd.first)
        none = np.int8(-1)
        answer = np.maximum(draft.value, none)
        called = kind == CALLED
        with np.errstate(invalid="ignore"):  # what is no small whole number is not looked at
            whole = draft.number.astype(np.int8)
        values = {
            "event": self._event_of_kind[kind],
            "distinct_id": self._distinct.codes(row, draft.anonymous),
            "person_id": self._person.codes(row, draft.anonymous),
            "timestamp": draft.time,
            "created_at": created_at(draft, layout),
            "$session_id": draft.session,
            f"$feature/{layout.flag}": answer,
            "$feature_flag": called.view(np.int8) - np.int8(1),
            "$feature_flag_response": np.where(called, answer, none),
            "$browser": np.where(draft.session < 0, none, crowd.browser[row]),
            "$group_0": self._group[row],
            "$current_url": np.where(kind == PAGEVIEW, whole, none),
            "load_ms": np.where(kind == FIRST_STEP, draft.number, np.float32(np.nan)),
            "$exception_list": np.where((kind == EXCEPTION) | (kind == SERVER_EXCEPTION), whole, none),
        }
        if layout.scenario.survey:
            asked = (kind == SHOWN) | (kind == SENT) | (kind == DISMISSED)
            values["$survey_id"] = asked.view(np.int8) - np.int8(1)
            values[layout.answer_key] = np.where(kind == SENT, whole, none)
        if "$anon_distinct_id" in self._columns:
            values["$anon_distinct_id"] = np.where(
                kind == IDENTIFY, self._identified.codes(row, np.True_), np.int32(-1)
            )
        if "$feature_enrollment" in self._columns:
            values["$feature_enrollment"] = (kind == ENROLL).view(np.int8) - np.int8(1)
        return values

    def _write_amounts(self, draft: Draft, column: np.ndarray) -> None:
        """Amounts in cents as doubles, on the last step alone."""
        column.fill(np.nan)
        rows = np.flatnonzero(draft.kind == self._layout.last_step)
        column[rows] = np.round(draft.number[rows].astype(float), 2)

    def frame(self) -> pd.DataFrame:
        """The columns as a frame, without a copy."""
        made: dict[str, Any] = {"uuid": self._uuids.column().to_pandas()}
        for name, column in self._columns.items():
            if name in self._texts:
                made[name] = _categories(column, self._texts[name])
            elif column.dtype == np.int64:
                made[name] = pd.DatetimeIndex(column, dtype=pd.DatetimeTZDtype("us", "UTC"), copy=False)
            else:
                made[name] = column
        return pd.DataFrame(made, copy=False)


def _code_type(size: int) -> Any:
    """The smallest type that holds the codes of so many texts, and -1."""
    return np.min_scalar_type(-max(size, 1))


def _categories(codes: np.ndarray, texts: pa.Array) -> pd.Categorical[Any]:
    """A column of texts that are distinct by how they were made."""
    names = pd.Index(texts.to_pandas())
    dtype = pd.CategoricalDtype(names) if _UNCHECKED is None else _UNCHECKED(names, ordered=False)
    return pd.Categorical.from_codes(codes, dtype=dtype, validate=False)
