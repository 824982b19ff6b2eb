"""`lint`: what is wrong with a flag or a plan, before anybody sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from canarykit.arguments import checked
from canarykit.counting import counted
from canarykit.display import Note
from canarykit.errors import PlanError
from canarykit.flags import Flag, FlagSet
from canarykit.linting.audience import People, read_people
from canarykit.linting.change_checks import check_change, check_correlation, stand_in_people
from canarykit.linting.findings import Finding, LintReport
from canarykit.linting.flag_checks import check_definition
from canarykit.targeting.dates import Clock
from canarykit.times import to_utc

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.plan import RolloutPlan
    from canarykit.typing import Time

__all__ = ["Finding", "LintReport", "lint"]


@checked
def lint(
    flag_or_plan: Flag | RolloutPlan | FlagSet,
    *,
    persons: pd.DataFrame | None = None,
    flags: FlagSet | None = None,
    groups: Mapping[str, pd.DataFrame] | None = None,
    as_of: Time | None = None,
    timezone: str = "UTC",
    distinct_id: str = "distinct_id",
) -> LintReport:
    """Look for what a flag or plan does not do as it seems to.

    Parameters
    ----------
    flag_or_plan
        A flag, a `RolloutPlan` (each stage is checked, and each step to the next) or a `FlagSet`.
    persons, groups, distinct_id
        As for `evaluate_flag`: findings then say how many of these people they concern.
    flags
        The project's flags: dependencies are looked up there, a flag of the same key that differs is taken
        as the running definition the checked one would replace, and running flags are checked for values
        that go together.
    as_of, timezone
        Moment and zone of relative dates.

    Returns
    -------
    LintReport
        Findings, worst first; false where there is none.

    Examples
    --------
    >>> from canarykit.flags import Condition, PropertyFilter
    >>> team = Condition((PropertyFilter("email", "@acme.io", "icontains"),), 100)
    >>> lint(Flag("new-checkout", (team,))).codes
    ('unsafe domain match',)
    """
    flag_set = flags if flags is not None else FlagSet()
    clock = Clock(None if as_of is None else to_utc(as_of, name="as_of").to_pydatetime(warn=False), timezone)
    if isinstance(flag_or_plan, FlagSet):
        flag_set, checked = flag_or_plan, counted(len(flag_or_plan), "flags")
        people = read_people(persons, flag_set, groups=groups, clock=clock, distinct_id=distinct_id)
        findings = [
            finding for flag in flag_set.values() for finding in check_definition(flag, flag_set, people)
        ]
        findings += check_correlation(list(flag_set.values()), people or stand_in_people(flag_set))
    elif isinstance(flag_or_plan, Flag):
        checked = f"flag {flag_or_plan.key!r}"
        people = read_people(persons, flag_set, groups=groups, clock=clock, distinct_id=distinct_id)
        findings = list(_check_flag(flag_or_plan, flag_set, people))
    elif hasattr(flag_or_plan, "flag_at"):
        checked = f"plan of {flag_or_plan.flag!r}"
        types = {str(index): name for index, name in enumerate(flag_or_plan.group_types)}
        people = read_people(
            persons, flag_set, groups=groups, group_types=types, clock=clock, distinct_id=distinct_id
        )
        findings = list(_check_plan(flag_or_plan, flag_set, people))
    else:
        raise PlanError(f"lint takes a flag, a plan or a FlagSet; this is {type(flag_or_plan).__name__}")
    notes = []
    if people is None and findings:
        notes.append(Note("no_persons", "pass persons= to count the people each finding concerns"))
    rows = None if people is None else people.units.rows
    return LintReport(tuple(findings), checked, rows, tuple(notes))


def _check_flag(flag: Flag, flags: FlagSet, people: People | None) -> Iterator[Finding]:
    yield from check_definition(flag, flags, people)
    running = flags.get(flag.key)
    if running is not None and running != flag and running.config_version == 1:
        yield from check_change(running, flag, people)
    others = [other for key, other in flags.items() if key != flag.key]
    if others:
        findings = check_correlation([flag, *others], people or stand_in_people(flags))
        yield from (finding for finding in findings if finding.flag == flag.key)


def _check_plan(plan: RolloutPlan, flags: FlagSet, people: People | None) -> Iterator[Finding]:
    """The last stage holds every condition set; each step is checked as a change."""
    steps = [(name, plan.flag_at(name)) for name in plan.stage_names]
    yield from check_definition(steps[-1][1], flags, people)
    for (_, before), (name, after) in pairwise(steps):
        yield from check_change(before, after, people, where=f"on entering {name!r}")
