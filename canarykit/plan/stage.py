"""One stage of a rollout, and the condition sets that name people, organisations, pages or machines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from canarykit.arguments import one_or_more
from canarykit.display import Noun
from canarykit.errors import PlanError
from canarykit.flags import Condition, PropertyFilter
from canarykit.flags.lossless import require_json
from canarykit.times import duration, to_utc

if TYPE_CHECKING:
    from canarykit.typing import Time

StageKind = Literal["targeted", "percentage", "full"]


class StageOptions(TypedDict, total=False):
    """What every kind of stage may say besides who is in it."""

    starts_at: Time | None
    ends_at: Time | None
    decides: str
    dwell: str | None
    enrollment: bool


_WORDS = {
    "exact": "is",
    "is_not": "is not",
    "icontains": "contains",
    "not_icontains": "does not contain",
    "starts_with": "starts with",
    "ends_with": "ends with",
    "regex": "matches",
    "not_regex": "does not match",
    "is_set": "is set",
    "is_not_set": "is not set",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "in": "is in",
    "not_in": "is not in",
}


@dataclass(frozen=True, repr=False)
class Stage(Noun):
    """One stage: the condition sets it adds, when it runs, and who decides to leave it.

    Parameters
    ----------
    name
        Unique within the plan.
    conditions
        Condition sets added at this stage. A percentage or full stage without any gets one for everyone
        at its share.
    starts_at, ends_at
        Half-open window; times carry an offset.
    decides
        Who decides; the plan's owner if empty.
    kind
        "targeted" (named people, teams, organisations: not randomised), "percentage" or "full".
    share
        Percent of everyone, for percentage stages; 100 for full ones.
    dwell
        How long the stage lasts ("3d"), where `ends_at` does not say.
    enrollment
        Whether people can join by early access from this stage on.

    Examples
    --------
    >>> Stage("ramp", kind="percentage", share=10).conditions[0].rollout_percentage
    10
    >>> Stage.for_people("reporters", ["grace@navy.mil"]).words()
    ('email is grace@navy.mil',)
    """

    name: str
    conditions: Sequence[Condition] = ()
    starts_at: Time | None = None
    ends_at: Time | None = None
    decides: str = ""
    kind: StageKind = "targeted"
    share: float | None = None
    dwell: str | None = None
    enrollment: bool = False

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise PlanError(f"a stage is called {self.name!r}; expected a text that is not empty")
        require_json(self.name, "the name of a stage")
        if not isinstance(self.enrollment, bool):
            raise PlanError(
                f"enrollment of stage {self.name!r} is {self.enrollment!r}; expected True or False"
            )
        if isinstance(self.conditions, Condition):
            object.__setattr__(self, "conditions", (self.conditions,))
        object.__setattr__(self, "conditions", tuple(self.conditions))
        if self.kind not in ("targeted", "percentage", "full"):
            raise PlanError(
                f"stage {self.name!r} has kind {self.kind!r}; expected targeted, percentage or full"
            )
        for name in ("starts_at", "ends_at"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, to_utc(value, name=f"{name} of stage {self.name!r}"))
        if self.dwell is not None:
            duration(self.dwell, name=f"dwell of stage {self.name!r}")
        self._settle_share()

    def _settle_share(self) -> None:
        if self.kind == "targeted":
            if self.share is not None:
                raise PlanError(f"stage {self.name!r} is targeted and has a share; use kind='percentage'")
            if not self.conditions and not self.enrollment:
                raise PlanError(f"stage {self.name!r} lets nobody in: it has no conditions and no enrollment")
            return
        share = 100 if self.kind == "full" and self.share is None else self.share
        if share is None and self.conditions:
            share = self.conditions[-1].rollout_percentage
        if isinstance(share, bool) or not (isinstance(share, Real) and 0 < share <= 100):
            raise PlanError(f"stage {self.name!r} has share {share!r}; expected a percentage in (0, 100]")
        if self.kind == "full" and share != 100:
            raise PlanError(f"stage {self.name!r} is full but has share {share!r}; expected 100")
        object.__setattr__(self, "share", share)
        if not self.conditions:
            object.__setattr__(self, "conditions", (Condition(rollout_percentage=share),))
        if self.conditions[-1].rollout_percentage not in {share, None if share == 100 else share}:
            raise PlanError(
                f"stage {self.name!r} has share {share!r} but its condition set says "
                f"{self.conditions[-1].rollout_percentage!r}"
            )

    @classmethod
    def for_people(
        cls, name: str, emails: Sequence[str], *, variant: str | None = None, **rest: Unpack[StageOptions]
    ) -> Stage:
        """A stage for people by email: those who reported the bug get the fix first.

        Parameters
        ----------
        name
            Name of the stage.
        emails
            Their emails.
        variant
            Variant they get; None: as the hash has it, or true for a boolean flag.
        **rest
            `title`, `starts_at`, `ends_at` and what else `Stage` takes by name.
        """
        return cls(name, (people_named(emails, variant=variant),), **rest)

    @classmethod
    def for_groups(
        cls,
        name: str,
        group_type_index: int,
        names: Sequence[str],
        *,
        property: str = "name",
        variant: str | None = None,
        **rest: Unpack[StageOptions],
    ) -> Stage:
        """A stage for whole organisations (or any group type), by a property of the group.

        Parameters
        ----------
        name
            Name of the stage.
        group_type_index
            PostHog's number of the group type, from 0.
        names
            Values of the property that are let in.
        property
            Property of the group.
        variant
            Variant they get; None: as the hash has it, or true for a boolean flag.
        **rest
            `title`, `starts_at`, `ends_at` and what else `Stage` takes by name.
        """
        listed = _listed(names, "the groups")
        item = PropertyFilter(property, listed, type="group", group_type_index=group_type_index)
        condition = Condition((item,), 100, variant, group_type_index)
        return cls(name, (condition,), **rest)

    @classmethod
    def for_ids(
        cls, name: str, ids: Sequence[str], *, variant: str | None = None, **rest: Unpack[StageOptions]
    ) -> Stage:
        """A stage for pages or machines: whatever the flag is evaluated for under its own distinct_id.

        Parameters
        ----------
        name
            Name of the stage.
        ids
            Distinct ids.
        variant
            Variant they get; None: as the hash has it, or true for a boolean flag.
        **rest
            `title`, `starts_at`, `ends_at` and what else `Stage` takes by name.

        Examples
        --------
        >>> Stage.for_ids("two servers", ["web-1", "web-2"]).conditions[0].properties[0].value
        ['web-1', 'web-2']
        """
        condition = Condition((PropertyFilter("distinct_id", _listed(ids, "the ids")),), 100, variant)
        return cls(name, (condition,), **rest)

    @classmethod
    def for_share(cls, name: str, share: float, **rest: Unpack[StageOptions]) -> Stage:
        """A stage for a percentage of everyone.

        Parameters
        ----------
        name
            Name of the stage.
        share
            Per cent of everyone, 0 to 100.
        **rest
            `title`, `starts_at`, `ends_at` and what else `Stage` takes by name.
        """
        return cls(name, kind="percentage", share=share, **rest)

    @classmethod
    def for_everyone(
        cls, name: str = "full release", *, variant: str | None = None, **rest: Unpack[StageOptions]
    ) -> Stage:
        """The full release.

        Parameters
        ----------
        name
            Name of the stage.
        variant
            Variant everyone gets; None: as the hash has it, or true for a boolean flag.
        **rest
            `title`, `starts_at`, `ends_at` and what else `Stage` takes by name.
        """
        return cls(name, (Condition((), 100, variant),), kind="full", share=100, **rest)

    @property
    def randomised(self) -> bool:
        """Whether a hash decides who is in, so that both arms can be compared."""
        return self.kind == "percentage"

    def words(self, group_types: Sequence[str] = ()) -> tuple[str, ...]:
        """Who the stage adds, one text per condition set.

        Parameters
        ----------
        group_types
            Names of the group types, in PostHog's order; without them they are numbered.

        Returns
        -------
        tuple of str
        """
        said = tuple(condition_words(item, group_types) for item in self.conditions)
        return (*said, "who joins early access") if self.enrollment else said


def people_named(emails: Sequence[str], *, variant: str | None = None, for_person: bool = False) -> Condition:
    """The condition set of people by email; ids without an @ are taken as distinct ids."""
    listed = _listed(emails, "the people")
    kinds = {"email" if "@" in item else "distinct_id" for item in listed}
    if len(kinds) > 1:
        raise PlanError(f"the people are {listed}: emails and ids mixed; name them in two condition sets")
    return _person_set(PropertyFilter(kinds.pop(), listed), variant, for_person)


def email_domain(
    domain: str,
    operator: Literal["ends_with", "regex"] = "ends_with",
    *,
    variant: str | None = None,
    for_person: bool = False,
) -> Condition:
    """The condition set of an email domain, by an operator that ends where the domain ends.

    Examples
    --------
    >>> email_domain("acme.io", "regex").properties[0].value
    '(?i)@acme\\\\.io$'
    """
    bare = domain.removeprefix("@").strip()
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)+", bare):
        raise PlanError(f"{domain!r} is not an email domain; expected one such as 'acme.io'")
    if operator not in {"ends_with", "regex"}:
        raise PlanError(f"domain_operator is {operator!r}; expected 'ends_with' or 'regex'")
    value = f"@{bare}" if operator == "ends_with" else f"(?i)@{re.escape(bare)}$"
    return _person_set(PropertyFilter("email", value, operator), variant, for_person)


def condition_words(condition: Condition, group_types: Sequence[str] = ()) -> str:
    """A condition set as people read it.

    Examples
    --------
    >>> condition_words(Condition((PropertyFilter("plan", ["pro", "team"]),), 25))
    '25 % of plan is pro or team'
    """
    said = " and ".join(_filter_words(item, group_types) for item in condition.properties) or "everyone"
    share = condition.rollout_percentage
    return said if share in {None, 100} else f"{share:g} % of {said}"


def _filter_words(item: PropertyFilter, group_types: Sequence[str]) -> str:
    owner = ""
    if item.type == "group" and item.group_type_index is not None:
        index = item.group_type_index
        owner = f"{group_types[index] if index < len(group_types) else f'group {index}'} "
    key = {"cohort": "cohort", "flag": f"flag {item.key}"}.get(item.type, item.key)
    if item.type == "flag":
        return f"{key} is {item.value}"
    verb = _WORDS.get(item.operator, item.operator.replace("_", " "))
    if item.operator in {"is_set", "is_not_set"}:
        return f"{owner}{key} {verb}"
    values = item.value if isinstance(item.value, list | tuple) else [item.value]
    return f"{owner}{key} {verb} {' or '.join(map(str, values))}"


def _person_set(item: PropertyFilter, variant: str | None, for_person: bool) -> Condition:
    """`for_person` hashes the person within a flag that is otherwise assigned by group."""
    if for_person:
        return Condition((item,), 100, variant, None)
    return Condition((item,), 100, variant)


def _listed(values: Sequence[str], what: str) -> list[str]:
    listed = list(one_or_more(values))
    if not listed or any(not isinstance(item, str) or not item.strip() for item in listed):
        raise PlanError(f"{what} are {listed!r}; a blank value would let nobody, or everybody, in")
    return listed
