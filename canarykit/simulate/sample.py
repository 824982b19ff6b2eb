"""The sample release: one flag, with an incident at every stage, made anew from a fixed seed.

`sample_data/` holds the same as files, and tells the story.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table
from canarykit.flags import FlagSet, read_flags
from canarykit.plan import RolloutPlan
from canarykit.simulate.log.rollout import simulate_rollout
from canarykit.simulate.people.population import Population
from canarykit.simulate.people.scenario import Effect, Fault, Scenario, Step, Survey

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.events import EventLog

SEED = 20260907
ROLLED_BACK = "2026-09-16T09:00:00Z"
ENDS = "2026-09-28T09:00:00Z"
BETA = ("lighthouse", "bluebird")

POPULATION = Population(
    12_000,
    team=40,
    organisation_names=("northwind", *BETA),
    sessions_per_week=1.8,
    activity_shape=1.2,
    anonymous=0.08,
    enrolled=0.006,
)
SURVEY = Survey(
    id="019920f2-7a00-7000-8000-0000c0ffee01", name="How was the checkout?", shown=0.25, answered=0.35
)
SAFARI = {"browser": "Safari"}


@dataclass(frozen=True, repr=False, eq=False)
class Sample(Result):
    """A release to try things on: the log, the plans, and what PostHog knows of the flag.

    Attributes
    ----------
    log
        Events of 12,000 people over 24 days, with persons and groups.
    plan
        The release as planned; its first percentage stage ended with a rollback.
    plan_after_rollback
        The ramp of the fixed version.
    flags
        The project's flags on the last day.
    survey
        Definition of the survey in the log.
    history
        The flag's activity log, as PostHog's API answers it.
    as_of
        The moment at which the log ends.
    """

    log: EventLog
    plan: RolloutPlan
    plan_after_rollback: RolloutPlan
    flags: FlagSet
    survey: Mapping[str, Any]
    history: Mapping[str, Any]
    as_of: str
    notes: tuple[Note, ...] = ()

    def _headline(self) -> str:
        people = counted(self.log.frame["person_id"].nunique(), "people")
        return f"A release of {self.plan.flag}: {counted(len(self.log), 'events')} of {people}"

    def _table(self) -> Table:
        columns = (
            Column("plan", "plan"), Column("stage", "stage"), Column("start", "from", "time"),
            Column("end", "until", "time"),
        )  # fmt: skip
        plans = {"plan": self.plan, "plan_after_rollback": self.plan_after_rollback}
        rows = [
            (name, stage, *window) for name, plan in plans.items() for stage, window in plan.windows().items()
        ]
        return Table.of(columns, rows)


def load_sample() -> Sample:
    """The sample release that README and notebooks walk through, wherever canarykit is installed.

    It is simulated in some seconds from a fixed seed, so that nothing is downloaded; the answers are those
    of the files in `sample_data/`.

    Returns
    -------
    Sample
        `log`, `plan` and what else the story needs.

    Examples
    --------
    >>> import canarykit as ck
    >>> sample = ck.load_sample()
    >>> len(sample.log), sample.plan.flag, list(sample.flags)[1]
    (232859, 'new-checkout', 'summer-banner')
    """
    import pyarrow.parquet as pq

    from canarykit.events.exports import read_posthog

    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.parquet" for name in ("events", "persons", "groups")]
        for file, table in zip(files, sample_tables(), strict=True):
            pq.write_table(table, file)
        events, persons, groups = files
        log = read_posthog(events, persons=persons, groups=groups)
    return Sample(
        log=log,
        plan=first_plan(),
        plan_after_rollback=second_plan(),
        flags=read_flags(flag_list()),
        survey=survey_definition(),
        history=flag_history(),
        as_of=ENDS,
    )


def first_plan() -> RolloutPlan:
    """The release as planned: the first percentage stage ended with a rollback."""
    return RolloutPlan.five_stages(
        "new-checkout",
        owner="ada@acme.io",
        team_domain="acme.io",
        beta_groups={"organization": list(BETA)},
        ramp=(5, 25, 50),
        starts_at="2026-09-07T09:00:00Z",
        dwell={
            "just yourself": "1d",
            "internal team": "2d",
            "beta": "4d",
            "expanded beta 5%": "2d",
            "expanded beta 25%": "2d",
            "expanded beta 50%": "2d",
        },
    )


def second_plan() -> RolloutPlan:
    """The ramp of the fixed version: 5 % again, for five days."""
    return first_plan().with_windows(
        {
            "beta": ("2026-09-10T09:00:00Z", "2026-09-14T09:00:00Z"),
            "expanded beta 5%": ("2026-09-17T09:00:00Z", "2026-09-22T09:00:00Z"),
        }
    )


def scenario(*effects: Effect) -> Scenario:
    """Baseline behaviour, the trouble of the early stages, and the effects of one version."""
    return Scenario(
        steps=(
            Step("signup started", 0.5, delay="40s"),
            Step("signup finished", 0.72, delay="4min"),
            Step("paid", 0.62, delay="12min", spread=1.0),
        ),
        pages=1.0,
        error_rate=0.03,
        server_error_rate=0.008,
        survey=SURVEY,
        lead_in="3d",
        # Ada switches the flag off to see whether that works; her value stays "true".
        switched_off=[("2026-09-07T15:00:00Z", "2026-09-07T21:00:00Z")],
        faults=(Fault("stuck on"),),
        effects=(
            # The team's Safari users run into an exception in the first build.
            Effect("errors", 27, where={**SAFARI, "team": True}, stage="internal team"),
            # The beta organisations have more errors and pay less than others, with or without the feature.
            Effect("errors", 4, variant=None, where={"organization": BETA}),
            Effect("paid", 0.7, variant=None, where={"organization": BETA}),
            *effects,
        ),
    )


def scenarios() -> tuple[Scenario, Scenario]:
    """The version that loses payments, and the fixed one that is a little better than the old checkout."""
    loses_payments = scenario(
        Effect("paid", 0.25, stage="expanded beta 5%"),
        Effect("server errors", 15, stage="expanded beta 5%"),
    )
    fixed = scenario(
        Effect("paid", 1.2, since=ROLLED_BACK),
        Effect("errors", 0.85, since=ROLLED_BACK),
        Effect("load time", 0.9, since=ROLLED_BACK),
        Effect("survey score", 1.05, since=ROLLED_BACK),
    )
    return loses_payments, fixed


def sample_tables() -> tuple[pa.Table, pa.Table, pa.Table]:
    """Events, persons and groups as a PostHog export holds them.

    Both versions are the same people on the same days; at the rollback one log gives way to the other.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    broken, fixed = scenarios()
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for plan, truth, early in ((first_plan(), broken, True), (second_plan(), fixed, False)):
            simulate_rollout(plan, POPULATION, truth, rng=SEED, until=ENDS, path=folder, progress=False)
            table = pq.read_table(Path(folder) / "events.parquet")
            moment = pd.Timestamp(ROLLED_BACK).to_pydatetime()
            change = pa.scalar(moment, table.schema.field("timestamp").type)
            before = pc.less(table["timestamp"], change)
            parts.append(table.filter(before if early else pc.invert(before)))
        persons, groups = (pq.read_table(Path(folder) / f"{name}.parquet") for name in ("persons", "groups"))
    return pa.concat_tables(parts), persons, groups


def flag_list() -> dict[str, Any]:
    """The project's flags on the day the log ends, as PostHog's flag API lists them."""
    released = second_plan().flag_at("full release").to_posthog()
    everyone = [{"properties": [], "rollout_percentage": 100}]
    pro = {"key": "plan", "type": "person", "operator": "exact", "value": ["pro", "enterprise"]}
    thirds = [{"key": key, "rollout_percentage": 50} for key in ("control", "one-page")]
    listed = [
        {**released, "name": "New checkout", "created_at": "2026-09-04T12:00:00Z", "last_called_at": ENDS},
        {
            "key": "summer-banner",
            "name": "Summer sale banner",
            "active": True,
            "filters": {"groups": everyone},
            "created_at": "2026-05-28T08:00:00Z",
            "last_called_at": "2026-08-20T17:03:11Z",
        },
        {
            "key": "checkout-layout",
            "name": "Layout of the checkout",
            "active": True,
            "filters": {
                "groups": [{"properties": [pro], "rollout_percentage": 20}],
                "multivariate": {"variants": thirds},
            },
            "created_at": "2026-09-01T10:00:00Z",
            "last_called_at": "2026-09-28T08:55:41Z",
        },
        {
            "key": "express-shipping",
            "name": "Express shipping, needs the new checkout",
            "active": True,
            "filters": {
                "groups": [
                    {
                        "properties": [
                            {"key": "101", "type": "flag", "operator": "flag_evaluates_to", "value": True}
                        ],
                        "rollout_percentage": 10,
                    }
                ]
            },
            "created_at": "2026-09-24T10:00:00Z",
            "last_called_at": "2026-09-28T08:59:02Z",
        },
    ]
    for number, flag in enumerate(listed):
        flag.update(id=101 + number, deleted=False, version=1 + 6 * (number == 0))
    return {"count": len(listed), "next": None, "previous": None, "results": listed}


def flag_history() -> dict[str, Any]:
    """The activity log of the flag, newest first, as PostHog's flag API answers it."""
    planned, fixed = first_plan(), second_plan()
    steps: list[tuple[str, str, RolloutPlan | None, str | bool]] = [
        ("2026-09-07T09:00:00Z", "ada", planned, "just yourself"),
        ("2026-09-07T15:00:00Z", "ada", None, False),
        ("2026-09-07T21:00:00Z", "ada", None, True),
        ("2026-09-08T09:00:00Z", "ada", planned, "internal team"),
        ("2026-09-10T09:00:00Z", "ada", planned, "beta"),
        ("2026-09-11T13:20:00Z", "grace", None, "payload set"),
        ("2026-09-14T09:00:00Z", "ada", planned, "expanded beta 5%"),
        (ROLLED_BACK, "grace", planned, "beta"),
        ("2026-09-17T09:00:00Z", "ada", fixed, "expanded beta 5%"),
        ("2026-09-18T08:05:00Z", "grace", None, "New checkout"),
        ("2026-09-18T08:06:00Z", "grace", None, "payload removed"),
        ("2026-09-22T09:00:00Z", "ada", fixed, "expanded beta 25%"),
        ("2026-09-24T09:00:00Z", "ada", fixed, "expanded beta 50%"),
        ("2026-09-26T09:00:00Z", "ada", fixed, "full release"),
    ]
    items = [_activity("2026-09-04T12:00:00Z", "ada", [], "created")]
    filters: dict[str, Any] = {"groups": [{"properties": [], "rollout_percentage": 0}]}
    name = "new-checkout"
    for at, who, plan, change in steps:
        before = filters
        if plan is not None:
            kept = {key: value for key, value in filters.items() if key == "payloads"}
            filters = {**kept, **plan.flag_at(str(change)).to_posthog()["filters"]}
            changes: list[dict[str, Any]] = [
                {"field": "filters", "action": "changed", "before": before, "after": filters}
            ]
        elif isinstance(change, bool):
            changes = [{"field": "active", "action": "changed", "before": not change, "after": change}]
        elif str(change).startswith("payload"):
            payload = {"true": '{"layout": "one page"}'} if change == "payload set" else {}
            filters = {**filters, "payloads": payload}
            changes = [{"field": "filters", "action": "changed", "before": before, "after": filters}]
        else:
            changes = [{"field": "name", "action": "changed", "before": name, "after": change}]
        items.append(_activity(at, who, changes))
    return {"results": items[::-1], "next": None, "previous": None, "total_count": len(items)}


def _activity(at: str, who: str, changes: list[dict[str, Any]], activity: str = "updated") -> dict[str, Any]:
    typed = [{"type": "FeatureFlag", **change} for change in changes]
    return {
        "user": {"first_name": who.title(), "email": f"{who}@acme.io"},
        "activity": activity,
        "scope": "FeatureFlag",
        "item_id": "101",
        "created_at": at,
        "detail": {"name": "new-checkout", "short_id": None, "trigger": None, "changes": typed},
    }


def survey_definition() -> dict[str, Any]:
    """The survey's definition."""
    question = {
        "id": SURVEY.question_id,
        "type": "rating",
        "question": "How satisfied are you with the checkout?",
        "display": "number",
        "scale": SURVEY.scale,
    }
    return {"id": SURVEY.id, "name": SURVEY.name, "type": "popover", "questions": [question]}
