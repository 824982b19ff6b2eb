"""What one block of people does in one week, as arrays of events: no loop over people, no frames.

Behaviour is drawn first and does not look at the flag; the flag's value then moves the thresholds the
draws are compared with. The same seed under two scenarios is therefore the same people on the same
days, and the difference between the two logs is the effect alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from canarykit.simulate.log.compiled_scenario import WEEK_US, Rules
from canarykit.simulate.log.streams import Streams
from canarykit.simulate.people.population import People
from canarykit.simulate.people.scenario import Scenario, Step
from canarykit.times import duration

PAGEVIEW, CALLED, EXCEPTION, SERVER_EXCEPTION, SHOWN, SENT, DISMISSED, IDENTIFY, ENROLL = range(9)
FIXED_EVENTS = (
    "$pageview",
    "$feature_flag_called",
    "$exception",
    "$exception",
    "survey shown",
    "survey sent",
    "survey dismissed",
    "$identify",
    "$feature_enrollment_update",
)
FIRST_STEP = len(FIXED_EVENTS)
NO_VALUE, UNKNOWN = -1, -2
SECOND, MILLISECOND = 1_000_000, 1_000


@dataclass
class Draft:
    """Events as parallel arrays, times in microseconds; `session` points into session arrays, or is -1."""

    EVENTS: ClassVar = ("time", "session", "person", "kind", "value", "number", "anonymous")

    time: np.ndarray
    session: np.ndarray
    person: np.ndarray
    kind: np.ndarray
    value: np.ndarray
    number: np.ndarray
    anonymous: np.ndarray
    session_person: np.ndarray
    session_start: np.ndarray

    @classmethod
    def join(cls, drafts: list[Draft]) -> Draft:
        """One draft of many; their sessions are numbered through."""
        return cls.together(cls.numbered_through(drafts))

    @classmethod
    def numbered_through(cls, drafts: list[Draft]) -> list[Draft]:
        """The same drafts, all with the sessions of all; session numbers are shifted in place."""
        people = np.concatenate([draft.session_person for draft in drafts])
        starts = np.concatenate([draft.session_start for draft in drafts])
        shift = 0
        for draft in drafts:
            np.add(draft.session, np.int32(shift), out=draft.session, where=draft.session >= 0)
            shift += len(draft.session_start)
            draft.session_person, draft.session_start = people, starts
        return drafts

    @classmethod
    def together(cls, drafts: list[Draft]) -> Draft:
        """The events of drafts that have their sessions in common."""
        joined = {name: np.concatenate([getattr(draft, name) for draft in drafts]) for name in cls.EVENTS}
        first = drafts[0]
        return cls(**joined, session_person=first.session_person, session_start=first.session_start)

    def take(self, rows: np.ndarray | slice, *, time: np.ndarray | None = None) -> Draft:
        """These events (and their times, where they are known already), sessions untouched."""
        picked = {name: getattr(self, name)[rows] for name in self.EVENTS[1:]}
        picked["time"] = self.time[rows] if time is None else time
        return Draft(**picked, session_person=self.session_person, session_start=self.session_start)


@dataclass
class Memory:
    """What must be remembered of a block's people from week to week."""

    canary_since: np.ndarray
    """Start of the first session with the canary; far future if none yet."""
    done: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, people: People) -> Memory:
        """Nothing has happened yet."""
        return cls(np.full(len(people), np.iinfo(np.int64).max))

    def first_rows(self, what: str, person: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Of the chosen sessions (ordered by person and time), the first of each person, once ever."""
        done = self.done.setdefault(what, np.zeros(len(self.canary_since), bool))
        rows = np.flatnonzero(chosen & ~done[person])
        rows = rows[np.r_[True, np.diff(person[rows]) != 0]] if len(rows) else rows
        done[person[rows]] = True
        return rows


class _Pieces:
    """Collects events of one week's sessions."""

    def __init__(self, person: np.ndarray) -> None:
        self.person = person
        self.parts: list[tuple[np.ndarray, ...]] = []

    def add(
        self, kind: int, rows: np.ndarray, time: np.ndarray, value: np.ndarray, number: Any = np.nan
    ) -> None:
        size = len(rows)
        numbers = np.broadcast_to(np.asarray(number, np.float32), size)
        self.parts.append((time, rows, np.full(size, kind, np.int8), value, numbers))

    def joined(self) -> tuple[np.ndarray, ...]:
        return tuple(np.concatenate([part[i] for part in self.parts]) for i in range(5))


def draw_week(people: People, rules: Rules, memory: Memory, draw: Streams, week: int) -> Draft:
    """All events of one block's sessions that start in one week."""
    scenario = rules.scenario
    person, start = _sessions(people, rules, draw, week)
    is_known = start >= rules.known_from[person]
    value = rules.value_at(person, start, is_known)
    asked = (value >= 0) & (is_known | rules.asks_anonymous)
    if scenario.asked < 1:
        asked &= draw("asked").random(len(person)) < scenario.asked
    value = np.where(asked, value, np.int8(NO_VALUE))
    _remember_canary(memory, person, start, value == rules.canary)
    if rules.has("sessions"):
        ratio = rules.ratio("sessions", person, start, value, memory.canary_since)
        keep = draw("thin").random(len(person)) * rules.most_sessions < ratio
        person, start, is_known, value, asked = (a[keep] for a in (person, start, is_known, value, asked))
    kept = start < rules.clock.end + 2 * SECOND  # what begins later leaves no event: it is drawn, no more
    if not kept.all():
        person, start, is_known, value, asked = (a[kept] for a in (person, start, is_known, value, asked))
        draw = draw.only(kept)
    seen = np.where(asked & rules.unknown(draw, person, start), np.int8(UNKNOWN), value)
    context = (person, start, value, memory.canary_since)
    pieces = _Pieces(person)
    length = _pages(pieces, people, scenario, draw, start, seen)
    sent = np.flatnonzero(asked & ~rules.lost(draw, start, value))
    pieces.add(CALLED, sent, start[sent] + 300_000, seen[sent])
    _steps(pieces, people, rules, memory, draw, context, is_known)
    _errors(pieces, rules, draw, context, length, seen)
    _survey(pieces, rules, memory, draw, context, asked, length, seen)
    for what, kind, chosen in (
        ("identify", IDENTIFY, is_known & (people.identifies > 0)[person]),
        ("enroll", ENROLL, people.enrolled[person] & (start >= rules.enrolment_from)),
    ):
        rows = memory.first_rows(what, person, chosen)
        pieces.add(kind, rows, start[rows] - SECOND, np.full(len(rows), NO_VALUE, np.int8))
    return _draft(pieces, people, rules, draw, person, start, is_known)


def _draft(
    pieces: _Pieces,
    people: People,
    rules: Rules,
    draw: Streams,
    person: np.ndarray,
    start: np.ndarray,
    is_known: np.ndarray,
) -> Draft:
    time, rows, kind, value, number = pieces.joined()
    time -= time % MILLISECOND  # clients send milliseconds
    keep = rules.arrives(time)
    if not keep.all():
        time, rows, kind, value, number = (a[keep] for a in (time, rows, kind, value, number))
    server = kind == SERVER_EXCEPTION
    return Draft(
        time=time,
        session=np.where(server, -1, rows).astype(np.int32),
        person=(person[rows] + people.first).astype(np.int32),
        kind=kind,
        value=np.where(server, np.int8(NO_VALUE), value),
        number=number,
        anonymous=~is_known[rows] & ~server,
        session_person=(person + people.first).astype(np.int32),
        session_start=start,
    )


def _sessions(people: People, rules: Rules, draw: Streams, week: int) -> tuple[np.ndarray, np.ndarray]:
    """Sessions that start in a week, ordered by person and time."""
    counts = draw("counts").poisson(people.rate * rules.most_sessions)
    person = np.repeat(np.arange(len(people), dtype=np.int64), counts)
    fraction = draw("places").random(len(person))
    offset = np.interp(fraction, rules.rhythm, rules.rhythm_us)
    restless = people.bot[person]
    if restless.any():
        offset[restless] = fraction[restless] * WEEK_US
    packed = (person << 40) | offset.astype(np.int64)  # a week is below 2**40 microseconds
    packed.sort()
    person = packed >> 40
    start = (packed & (2**40 - 1)) + rules.week_start(week)
    keep = start >= rules.begins_at[person]  # what comes after the log's end is drawn, and cut as events
    keep[1:] &= np.diff(packed) >= MILLISECOND  # a session's id is its person and millisecond
    return person[keep], start[keep]


def _remember_canary(memory: Memory, person: np.ndarray, start: np.ndarray, canary: np.ndarray) -> None:
    rows = memory.first_rows("canary", person, canary)
    memory.canary_since[person[rows]] = start[rows]


def _pages(
    pieces: _Pieces, people: People, scenario: Scenario, draw: Streams, start: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """Page views; returns how long each session lasts. The first view comes before the flags load."""
    size = len(start)
    views = np.ones(draw.size(size), np.int64)
    if scenario.pages > 1:
        views += (
            draw.all("views").standard_exponential(len(views)) / np.log(scenario.pages / (scenario.pages - 1))
        ).astype(int)
    gaps = draw.all("gaps").standard_exponential(int(views.sum()), dtype=np.float32)
    if draw.kept is not None:
        gaps, views = gaps[np.repeat(draw.kept, views)], views[draw.kept]
    rows = np.repeat(np.arange(size, dtype=np.int64), views)
    first = np.cumsum(views) - views
    gaps *= 39.0
    gaps += 1.0
    gaps[first] = 0.0
    elapsed = np.cumsum(gaps, dtype=np.float64)
    elapsed -= elapsed[first][rows]
    value = seen[rows]
    value[first] = NO_VALUE
    page = np.arange(len(rows)) - first[rows]
    url = (page * 3 + pieces.person[rows]) % 5
    pieces.add(PAGEVIEW, rows, start[rows] + (elapsed * SECOND).astype(np.int64), value, url)
    last = first + views - 1
    return elapsed[last] + 30.0


def _steps(
    pieces: _Pieces,
    people: People,
    rules: Rules,
    memory: Memory,
    draw: Streams,
    context: tuple,
    is_known: np.ndarray,
) -> None:
    """The funnel: each step for a share of those at the one before, after a lognormal delay."""
    scenario = rules.scenario
    person, start, _, _ = context
    size = len(person)
    rows = np.flatnonzero(is_known & ~people.bot[person])
    if not scenario.every_session:
        able = np.zeros(size, bool)
        able[rows] = True
        rows = memory.first_rows("funnel", person, able)
    time = start
    slower = rules.ratio("delay", *context)
    for number, step in enumerate(scenario.steps):
        rate = step.rate * rules.ratio(step.event, *context)
        chosen = draw(f"{number}step").random(size) < rate
        rows = rows[chosen[rows]]
        time = time + _delays(step, draw(f"{number}delay"), size, slower)
        value = rules.value_at(person[rows], time[rows], is_known[rows])
        what = _number(number, scenario, rules, draw, context)
        pieces.add(
            FIRST_STEP + number, rows, time[rows], value, what[rows] if isinstance(what, np.ndarray) else what
        )


def _delays(step: Step, stream: np.random.Generator, size: int, slower: Any) -> np.ndarray:
    median = duration(step.delay) * SECOND
    factor = np.exp(step.spread * stream.standard_normal(size, dtype=np.float32))
    return (median * slower * factor).astype(np.int64) + 50_000


def _number(number: int, scenario: Scenario, rules: Rules, draw: Streams, context: tuple) -> Any:
    """The first step carries the load time, the last the amount; the others nothing."""
    size = len(context[0])
    if number == len(scenario.steps) - 1:
        noise = np.exp(scenario.amount_spread * draw("amount").standard_normal(size, dtype=np.float32))
        return np.round(scenario.amount * rules.ratio("revenue", *context) * noise, 2)
    if number == 0:
        noise = np.exp(scenario.load_spread * draw("load").standard_normal(size, dtype=np.float32))
        return np.round(scenario.load_time * rules.ratio("load time", *context) * noise)
    return np.nan


def _errors(
    pieces: _Pieces, rules: Rules, draw: Streams, context: tuple, length: np.ndarray, seen: np.ndarray
) -> None:
    """Exceptions of the client, and of the server (those know neither session nor flag)."""
    scenario = rules.scenario
    person, start, _, _ = context
    size = len(person)
    when = start + (draw("errtime").random(size) * length * SECOND).astype(np.int64) + 400_000
    chance = draw("error").random(size)
    rows = np.flatnonzero(chance < scenario.error_rate * rules.ratio("errors", *context))
    caused = (chance[rows] >= scenario.error_rate).astype(np.float32)
    again = np.ones(len(rows), np.int64)
    if scenario.errors_per_hit > 1:
        odds = np.log(scenario.errors_per_hit / (scenario.errors_per_hit - 1))
        again += (draw("errmore").standard_exponential(size)[rows] / odds).astype(int)
    times = np.repeat(when[rows], again)
    first = np.repeat(np.cumsum(again) - again, again)
    times += (np.arange(len(times)) - first) * 2 * SECOND
    every = np.repeat(rows, again)
    pieces.add(EXCEPTION, every, times, seen[every], np.repeat(caused, again))
    chance = draw("server").random(size)
    rows = np.flatnonzero(chance < scenario.server_error_rate * rules.ratio("server errors", *context))
    caused = 2 + (chance[rows] >= scenario.server_error_rate).astype(np.float32)
    pieces.add(SERVER_EXCEPTION, rows, when[rows] + SECOND, seen[rows], caused)


def _survey(
    pieces: _Pieces,
    rules: Rules,
    memory: Memory,
    draw: Streams,
    context: tuple,
    asked: np.ndarray,
    length: np.ndarray,
    seen: np.ndarray,
) -> None:
    """A survey shown once to a person at the end of a session; answered on a scale from 1."""
    survey = rules.scenario.survey
    if survey is None:
        return
    person, start, _, _ = context
    size = len(person)
    rows = memory.first_rows("survey", person, asked & (draw("shown").random(size) < survey.shown))
    end = start + (length * SECOND).astype(np.int64)
    pieces.add(SHOWN, rows, end[rows], seen[rows])
    rate = np.broadcast_to(survey.answered * rules.ratio("survey answers", *context), size)
    answers = draw("answer").random(size)[rows] < rate[rows]
    mean = np.broadcast_to(survey.score * rules.ratio("survey score", *context), size)
    score = np.clip(np.round(mean + 0.9 * draw("score").standard_normal(size)), 1, survey.scale)
    after = (20 * SECOND * (1 + draw("think").standard_exponential(size))).astype(np.int64)
    sent, dismissed = rows[answers], rows[~answers]
    pieces.add(SENT, sent, end[sent] + after[sent], seen[sent], score[sent])
    pieces.add(DISMISSED, dismissed, end[dismissed] + after[dismissed] // 4, seen[dismissed])
