"""What simulated events say, and the columns of an export file: properties as JSON text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.simulate.log.behaviour import (
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
from canarykit.simulate.log.streams import hash_uniform
from canarykit.simulate.people import identities
from canarykit.simulate.people.identities import glue
from canarykit.simulate.people.scenario import Scenario
from canarykit.times import duration, micros

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan
    from canarykit.simulate.people.population import People

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

    @classmethod
    def of(cls, people: People) -> Crowd:
        """Of some people; every other of the anonymous had an account already, so that two persons merge."""
        index, population = people.index, people.population
        anonymous = people.identifies > 0
        merged = anonymous & (index % 2 == 1)
        return cls(
            first=people.first,
            distinct_id=identities.distinct_ids(index),
            anonymous_id=_spread(identities.anonymous_ids(index[anonymous]), anonymous),
            person_id=identities.person_ids(index),
            anonymous_person_id=_spread(identities.person_ids(index[merged], salt=9), merged),
            browser=people.browser,
            browsers=tuple(population.browsers),
            organisation=identities.organisation_keys(population, people.organisation),
        )


def _spread(texts: pa.Array, chosen: np.ndarray) -> pa.Array:
    """The texts at the chosen places, null elsewhere."""
    return texts.take(pa.array(np.cumsum(chosen) - 1, mask=~chosen))


@dataclass(frozen=True)
class Layout:
    """Names shared by all columns of one log."""

    flag: str
    answers: tuple[str, ...]
    scenario: Scenario
    group_type: str

    @classmethod
    def of(cls, plan: RolloutPlan, scenario: Scenario, values: tuple[str, ...]) -> Layout:
        """The names of a plan and a scenario."""
        return cls(plan.flag, values, scenario, plan.group_types[0])

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
            if fault.variant is not None:
                late &= draft.value == layout.answers.index(fault.variant)
            if fault.since is not None:
                late &= draft.time >= micros(fault.since)
            if fault.until is not None:
                late &= draft.time < micros(fault.until)
            arrived = np.where(late, arrived + int(duration(fault.delay) * 1_000_000), arrived)
    return arrived


@dataclass(frozen=True)
class Ids:
    """Known ids, and after them those anonymous ids that are others."""

    names: pa.Array
    anonymous_place: np.ndarray | None
    """Code of each person's id while anonymous; None where no anonymous id is another."""

    @classmethod
    def of(cls, known_ids: pa.Array, anonymous: pa.Array) -> Ids:
        """Of ids by person; the anonymous ones are null where they are none or the same."""
        rows = np.flatnonzero(anonymous.is_valid().to_numpy(zero_copy_only=False))
        if not len(rows):
            return cls(known_ids, None)
        code = np.arange(len(anonymous), dtype=np.int32)
        code[rows] = len(known_ids) + np.arange(len(rows), dtype=np.int32)
        return cls(pa.concat_arrays([known_ids, anonymous.take(pa.array(rows))]), code)

    def codes(self, row: np.ndarray, anonymous: Any) -> np.ndarray:
        """Codes of the ids of these people, of whom some are anonymous yet."""
        if self.anonymous_place is None:
            return row
        return np.where(anonymous, self.anonymous_place[row], row)

    def texts(self, row: np.ndarray, anonymous: np.ndarray) -> pa.Array:
        """The ids themselves."""
        return self.names.take(pa.array(self.codes(row, anonymous)))


def exception_list(code: int) -> str:
    """The property of an exception, as JSON text."""
    kind, text = EXCEPTIONS[code]
    return json.dumps([{"type": kind, "value": text, "mechanism": {"handled": False, "type": "generic"}}])


class ExportColumns:
    """The columns of a PostHog batch export, properties as JSON text; `draft` has the sessions of all."""

    def __init__(self, crowd: Crowd, layout: Layout, draft: Draft) -> None:
        self._crowd, self._layout = crowd, layout
        self._distinct = Ids.of(crowd.distinct_id, crowd.anonymous_id)
        self._person = Ids.of(crowd.person_id, crowd.anonymous_person_id)
        self._whose, self._sessions = _whose(crowd, layout), _sessions(draft)

    def table(self, draft: Draft) -> pa.Table:
        """Some events."""
        crowd, layout = self._crowd, self._layout
        row = draft.person - np.int32(crowd.first)
        client = draft.session >= 0
        texts = (
            _what(draft, crowd, layout),
            _value(draft, layout),
            self._whose.take(pa.array(np.where(client, row, row + len(crowd.browser)))),
            self._sessions.take(pa.array(np.where(client, draft.session, len(self._sessions) - 1))),
        )
        events = pa.array(layout.events, pa.large_string())
        return pa.table(
            {
                "uuid": identities.event_ids(draft.time, draft.person, draft.kind),
                "event": events.take(pa.array(draft.kind)),
                "distinct_id": self._distinct.texts(row, draft.anonymous),
                "person_id": self._person.texts(row, draft.anonymous),
                "properties": glue(*texts),
                "timestamp": _moments(draft.time),
                "created_at": _moments(created_at(draft, layout)),
            }
        )


def _moments(time: np.ndarray) -> pa.Array:
    return pa.array(time).cast(pa.timestamp("us", tz="UTC"))


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
        say(rows, [f'{{"$exception_list":{exception_list(c)},' for c in range(len(EXCEPTIONS))], number[rows])
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


def _whose(crowd: Crowd, layout: Layout) -> pa.Array:
    """Browser and organisation of each person; after them, for server events, the organisation alone."""
    browser = pa.array([f'"$lib":"web","$browser":"{name}"' for name in crowd.browsers], pa.large_string())
    client = browser.take(pa.array(crowd.browser.astype(np.int32)))
    server = pa.array(['"$lib":"posthog-python"'] * len(crowd.browser), pa.large_string())
    firm = crowd.organisation.cast(pa.large_string())
    kind = json.dumps(layout.group_type)
    group = pc.fill_null(glue(f',"$groups":{{{kind}:"', firm, '"},"$group_0":"', firm, '"'), "")
    return pa.concat_arrays([glue(client, group), glue(server, group)])


def _sessions(draft: Draft) -> pa.Array:
    """The end of the JSON text by session; the last is that of events without one."""
    ids = identities.session_ids(draft.session_start, draft.session_person)
    return pa.concat_arrays([glue(',"$session_id":"', ids, '"}'), pa.array(["}"], pa.large_string())])
