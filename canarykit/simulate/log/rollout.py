"""A simulated rollout as an event log: blocks of people, week by week, in memory or straight to Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from canarykit.arguments import checked
from canarykit.display import Note
from canarykit.errors import PlanError, require_kind
from canarykit.parallel import ahead
from canarykit.plan.given import as_plan
from canarykit.progress import Progress, watched
from canarykit.simulate.log.behaviour import Draft, Memory, draw_week
from canarykit.simulate.log.compiled_scenario import Clock, Rules
from canarykit.simulate.log.export_columns import Crowd, Layout
from canarykit.simulate.log.export_folder import to_folder
from canarykit.simulate.log.frame_columns import FlatColumns
from canarykit.simulate.log.streams import Seed, Streams, as_seed
from canarykit.simulate.log.time_order import Slices, in_own_pages, in_time_order
from canarykit.simulate.people import identities
from canarykit.simulate.people.assignment import (
    as_anonymous,
    groups_frame,
    people_frame,
    possible_values,
    values_by_stage,
)
from canarykit.simulate.people.identities import COMPILED_FROM
from canarykit.simulate.people.population import People, Population, draw_people
from canarykit.simulate.people.scenario import Scenario

if TYPE_CHECKING:
    from canarykit.events import EventLog
    from canarykit.plan import RolloutPlan
    from canarykit.typing import Time

_WEEKS = 2
_Block = tuple[People, pd.DataFrame, list[Draft]]
"""Some people, their rows of the persons export, and their events week by week."""


@checked
def simulate_rollout(
    plan: RolloutPlan,
    population: Population | int,
    scenario: Scenario | None = None,
    *,
    rng: Seed = None,
    until: Time | None = None,
    path: str | PathLike[str] | None = None,
    workers: int | None = None,
    progress: Progress = None,
) -> EventLog:
    """Simulate a rollout: the log that the plan, these people and this truth would leave behind.

    Parameters
    ----------
    plan
        A plan with times. The flag's values come from evaluating `plan.flag_at(stage)` for every person. A
        plan that assigns by organisation gives all its people one value, and people without one "false".
    population
        The people, or how many.
    scenario
        What they do and what the variants change; nothing, if left out.
    rng
        Seed. The same seed gives the same log; with more people, stages or days, the people and days that
        were there before keep their fate. Two scenarios under one seed differ by their effects alone.
    until
        End of the log; by default the end of the last stage (three days into it if it stays open).
    path
        Write a PostHog export instead of holding the log in memory: a folder for `events.parquet`,
        `persons.parquet` and `groups.parquet`. The log that comes back reads from there.
    workers
        Threads; by default one a processor core. The log does not depend on them.
    progress
        `True`, `False`, or a wrapper of an iterable; by default a bar where a person is watching.

    Returns
    -------
    EventLog
        With persons and organisations attached. Without `path`, times are in order.

    Examples
    --------
    >>> import canarykit as ck
    >>> plan = ck.RolloutPlan.five_stages(
    ...     "new-checkout", owner="ada@acme.io", team_domain="acme.io", starts_at="2026-09-07T09:00:00Z"
    ... )
    >>> log = ck.simulate_rollout(plan, ck.Population(200), rng=7)
    >>> sorted(log.event_names())[:3]
    ['$exception', '$feature_enrollment_update', '$feature_flag_called']
    """
    plan = as_plan(plan)
    population = Population(int(population)) if isinstance(population, int | np.integer) else population
    scenario = Scenario() if scenario is None else scenario
    require_kind("population", population, Population, "a number of people or Population(...)")
    require_kind("scenario", scenario, Scenario, "Scenario(...)")
    if plan.aggregation_group_type_index not in (None, 0):
        raise PlanError(
            f"the plan assigns by {plan.aggregation_group_type}; simulated people belong to the first group "
            f"type, {plan.group_types[0]}, alone"
        )
    clock = Clock(plan, scenario, until)
    layout = Layout.of(plan, scenario, possible_values(plan))
    reached = np.zeros(len(clock.stages), np.int64)
    blocks = _blocks(plan, population, scenario, clock, as_seed(rng), layout.answers, workers, reached)
    shown = watched(blocks, progress, total=population.blocks, unit="blocks of people")
    if path is None:
        log = _in_memory(shown, layout, workers)
    else:
        exported = ((people, listed, Crowd.of(people), weeks) for people, listed, weeks in shown)
        log = to_folder(exported, layout, Path(path), workers)
    log.notes += _unreached(plan, clock.stages, reached)
    return log


def _unreached(plan: RolloutPlan, stages: tuple[str, ...], reached: np.ndarray) -> tuple[Note, ...]:
    """Says which targeted stages let in nobody of the simulated people."""
    empty = [
        name
        for name, count in zip(stages, reached, strict=True)
        if not count and plan.stage(name).kind == "targeted"
    ]
    if not empty:
        return ()
    text = (
        f"the rules of {', '.join(map(repr, empty))} let in nobody of the simulated people whom the stage "
        "before had not: do the plan's emails, domains and groups fit the population's?"
    )
    return (Note("nobody_reached", text),)


def _blocks(
    plan: RolloutPlan,
    population: Population,
    scenario: Scenario,
    clock: Clock,
    seed: np.random.SeedSequence,
    names: tuple[str, ...],
    workers: int | None,
    reached: np.ndarray,
) -> Iterator[_Block]:
    """One block of people at a time, with all its events; `reached` counts whom each stage lets in."""
    flips = any(fault.kind == "flip at login" for fault in scenario.faults)

    def make(block: int) -> tuple[_Block, np.ndarray]:
        people = draw_people(population, seed, block)
        frame = people_frame(people, plan)
        values = values_by_stage(people, frame, plan, scenario, clock.stages)
        before = None
        if flips:
            before = values_by_stage(people, as_anonymous(frame, people), plan, scenario, clock.stages)
        rules = Rules(people, scenario, clock, plan, names, values, before)
        memory = Memory.of(people)
        weeks = [
            draw_week(people, rules, memory, Streams(seed, _WEEKS, block, week), week)
            for week in range(clock.weeks)
        ]
        compiled = population.blocks > 1 or sum(len(week.time) for week in weeks) >= COMPILED_FROM
        weeks = [in_own_pages(in_time_order(week, compiled=compiled)) for week in weeks]
        has = values == names.index(plan.canary)
        entered = np.concatenate([has[:1], has[1:] & ~has[:-1]]).sum(axis=1)
        return (people, _persons(people, frame, clock), weeks), entered

    for made, entered in ahead(make, population.blocks, workers):
        reached += entered
        yield made


def _in_memory(blocks: Iterator[_Block], layout: Layout, workers: int | None) -> EventLog:
    from canarykit.events import EventLog

    crowds, drafts, persons = [], [], []
    for people, listed, weeks in blocks:
        crowds.append(people)
        drafts.extend(weeks)
        persons.append(listed)
    everyone = People.join(crowds)
    crowds.clear()
    frame = _frame(drafts, Crowd.of(everyone), layout, workers)
    return EventLog(
        frame,
        persons=pd.concat(persons, ignore_index=True),
        groups=groups_frame(everyone.population, everyone.organisation),
        group_types={layout.group_type: 0},
    )


def _frame(drafts: list[Draft], crowd: Crowd, layout: Layout, workers: int | None) -> pd.DataFrame:
    """The events of all blocks in order of time."""
    drafts = Draft.numbered_through(drafts)
    kinds = frozenset(
        int(kind) for kind in np.flatnonzero(sum(np.bincount(d.kind, minlength=16) for d in drafts))
    )
    sessions = identities.session_ids(drafts[0].session_start, drafts[0].session_person)
    slices = Slices(drafts)
    drafts.clear()
    columns = FlatColumns(int(slices.starts[-1]), crowd, layout, sessions, kinds)
    done = ahead(lambda n: columns.write(slices.starts[n], slices[n]), len(slices), workers)
    for number, _ in enumerate(done):
        slices.forget(number)  # what held the drafts of a past week will hold columns of the next
    return columns.frame()


def _persons(people: People, frame: pd.DataFrame, clock: Clock) -> pd.DataFrame:
    """One row a distinct id: who was anonymous has two, both of the person that remained."""
    frame = frame.drop(columns="$group_0")
    frame.insert(0, "person_id", identities.person_ids(people.index).to_pandas())
    arrived = clock.begin + np.round(people.arrives * 7 * 86_400_000_000).astype(np.int64)
    frame["created_at"] = pd.to_datetime(np.minimum(arrived, clock.end), unit="us", utc=True)
    rows = np.flatnonzero(people.identifies > 0)
    if not len(rows):
        return frame
    twice = frame.iloc[rows].copy()
    twice["distinct_id"] = identities.anonymous_ids(people.index[rows]).to_pandas().to_numpy()
    return pd.concat([frame, twice], ignore_index=True)
