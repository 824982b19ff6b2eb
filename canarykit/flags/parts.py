"""The parts of a feature flag: property filters, condition sets, variants, holdouts.

Each is a frozen value that keeps the JSON it was read from, so that writing it unchanged gives back the
same JSON, and writing an edited one changes only what was edited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from canarykit.display import Noun
from canarykit.errors import PlanError
from canarykit.flags.lossless import (
    UNSET,
    Unset,
    group_type,
    list_of,
    overlay,
    percentage,
    require_json,
    require_mapping,
    text,
    truth,
    unknown_keys,
    unless,
)

_DEFAULT_OPERATORS = {"cohort": "in", "flag": "flag_evaluates_to"}


@dataclass(frozen=True, repr=False)
class PropertyFilter(Noun):
    """One filter of a condition set: a property of a person or group, a cohort, or another flag's value.

    Parameters
    ----------
    key
        Property name; "id" for a cohort; the key (or id) of the flag for `type="flag"`.
    value
        JSON value compared with: a scalar, a list, or None. The cohort's id for a cohort.
    operator
        PostHog's operator name. Empty: "exact" for properties, "in" for cohorts, "flag_evaluates_to"
        for flags.
    type
        "person", "group", "cohort" or "flag".
    group_type_index
        Which group type the property belongs to, for `type="group"`.
    negation
        Invert the answer (used inside cohorts).
    extra
        Further JSON keys, written back as they came.
    source
        The JSON it was read from, None if written by hand; not compared, and not written back.

    Examples
    --------
    >>> PropertyFilter("email", "@acme.io", "ends_with").to_posthog()
    {'key': 'email', 'value': '@acme.io', 'operator': 'ends_with', 'type': 'person'}
    """

    key: str
    value: Any = field(default=None, hash=False)
    operator: str = ""
    type: str = "person"
    group_type_index: int | None = None
    negation: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.operator:
            object.__setattr__(self, "operator", _DEFAULT_OPERATORS.get(self.type, "exact"))
        require_json([self.key, self.value], f"the filter on {self.key!r}")

    @classmethod
    def from_posthog(cls, data: Mapping[str, Any]) -> PropertyFilter:
        """Read one item of `properties`.

        Parameters
        ----------
        data
            The item, as parsed JSON.
        """
        require_mapping(data, "a property filter")
        key = data.get("key", "")
        if isinstance(key, Mapping | list | tuple):
            raise PlanError(f"'key' of a property filter is {key!r}; expected the name of a property")
        where = f"the filter on {key!r}"
        kind = text(data, "type", where, "person")
        return cls(
            key=str(key),
            value=data.get("value"),
            operator=text(data, "operator", where, "in" if kind == "cohort" else "exact"),
            type=kind,
            group_type_index=group_type(data, "group_type_index", where, None),
            negation=truth(data, "negation", where),
            extra=unknown_keys(data, cls._KEYS),
            source=data,
        )

    def to_posthog(self) -> dict[str, Any]:
        """The JSON form."""
        return write(self, PropertyFilter.from_posthog)

    def _written(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "value": UNSET if self.value is None and self.type != "flag" else self.value,
            "operator": self.operator,
            "type": self.type,
            "group_type_index": unless(self.group_type_index, None),
            "negation": unless(self.negation, False),
        }

    _KEYS = ("key", "value", "operator", "type", "group_type_index", "negation")


@dataclass(frozen=True, repr=False)
class Condition(Noun):
    """One condition set: filters that must all hold, then a rollout percentage.

    Parameters
    ----------
    properties
        Filters, all of which must hold; none means everyone.
    rollout_percentage
        0 to 100; None is 100.
    variant
        Variant given to everyone who matches this set, instead of the hashed one.
    aggregation_group_type_index
        `UNSET` follows the flag, None hashes the person, a number hashes the key of that group type.
    description
        A note for people.
    extra
        Keys of PostHog's JSON that canarykit does not know; kept, and written back.
    source
        The JSON it was read from, None if written by hand; not compared, and not written back.

    Examples
    --------
    >>> Condition(rollout_percentage=25).to_posthog()
    {'properties': [], 'rollout_percentage': 25}
    """

    properties: Sequence[PropertyFilter] = ()
    rollout_percentage: float | None = None
    variant: str | None = None
    aggregation_group_type_index: int | Unset | None = UNSET
    description: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "properties", tuple(self.properties))

    @classmethod
    def from_posthog(cls, data: Mapping[str, Any]) -> Condition:
        """Read one item of `filters.groups`.

        Parameters
        ----------
        data
            The item, as parsed JSON.
        """
        require_mapping(data, "a condition set")
        return cls(
            properties=tuple(map(PropertyFilter.from_posthog, list_of(data, "properties"))),
            rollout_percentage=percentage(data.get("rollout_percentage"), "a condition set"),
            variant=text(data, "variant", "a condition set", None),
            aggregation_group_type_index=group_type(
                data, "aggregation_group_type_index", "a condition set", UNSET
            ),
            description=data.get("description"),
            extra=unknown_keys(data, cls._KEYS),
            source=data,
        )

    def to_posthog(self) -> dict[str, Any]:
        """The JSON form."""
        return write(self, Condition.from_posthog)

    def _written(self) -> dict[str, Any]:
        return {
            "properties": [item.to_posthog() for item in self.properties],
            "rollout_percentage": self.rollout_percentage,
            "variant": unless(self.variant, None),
            "aggregation_group_type_index": self.aggregation_group_type_index,
            "description": unless(self.description, None),
        }

    _KEYS = ("properties", "rollout_percentage", "variant", "aggregation_group_type_index", "description")


@dataclass(frozen=True, repr=False)
class Variant(Noun):
    """One arm of a multivariate flag.

    Parameters
    ----------
    key
        What `$feature/<flag>` carries.
    rollout_percentage
        Share in percent; the shares of a flag should sum to 100.
    name
        A note for people.
    extra
        Keys of PostHog's JSON that canarykit does not know; kept, and written back.
    source
        The JSON it was read from, None if written by hand; not compared, and not written back.
    """

    key: str
    rollout_percentage: float
    name: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_posthog(cls, data: Mapping[str, Any]) -> Variant:
        """Read one item of `filters.multivariate.variants`.

        Parameters
        ----------
        data
            The item, as parsed JSON.
        """
        require_mapping(data, "a variant")
        if "key" not in data:
            raise PlanError(f"a variant lacks 'key'; it has {sorted(map(str, data))}")
        require_json(data["key"], "the key of a variant")
        if not isinstance(data["key"], str) or not data["key"]:
            raise PlanError(f"a variant's key is {data['key']!r}; expected a text that is not empty")
        share = percentage(data.get("rollout_percentage"), f"variant {data['key']!r}")
        name, extra = data.get("name"), unknown_keys(data, cls._KEYS)
        return cls(data["key"], 0 if share is None else share, name, extra, data)

    def to_posthog(self) -> dict[str, Any]:
        """The JSON form."""
        return write(self, Variant.from_posthog)

    def _written(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "name": unless(self.name, None),
            "rollout_percentage": self.rollout_percentage,
        }

    _KEYS = ("key", "rollout_percentage", "name")


@dataclass(frozen=True)
class Holdout:
    """A share of everyone kept out of the release, the same people for every flag of the holdout.

    Parameters
    ----------
    id
        The holdout's number; people in it get the value `holdout-<id>`.
    exclusion_percentage
        Share in percent, clamped to 0..100.
    legacy
        Whether it was read from the older `holdout_groups`, which SDKs do not know.
    """

    id: int | str
    exclusion_percentage: float
    legacy: bool = False

    @property
    def value(self) -> str:
        """The flag value people in the holdout get."""
        return f"holdout-{self.id}"

    @classmethod
    def from_filters(cls, filters: Mapping[str, Any]) -> Holdout | None:
        """Read `filters.holdout`, or the older `filters.holdout_groups`."""
        new = filters.get("holdout")
        if new:
            require_mapping(new, "a holdout")
            holdout_id, share = new.get("id"), percentage(new.get("exclusion_percentage"), "a holdout")
            return None if holdout_id is None or share is None else cls(holdout_id, share)
        for group in list_of(filters, "holdout_groups")[:1]:
            require_mapping(group, "a holdout group")
            share = percentage(group.get("rollout_percentage"), "a holdout")
            variant = str(group.get("variant") or "holdout-")
            return cls(variant.removeprefix("holdout-"), 100 if share is None else share, legacy=True)
        return None

    def to_posthog(self) -> dict[str, Any]:
        """The JSON form."""
        return {"id": self.id, "exclusion_percentage": self.exclusion_percentage}


def write(item: Any, read: Callable[[Mapping[str, Any]], Any]) -> dict[str, Any]:
    """The JSON of one part of a flag: as it came where nothing changed."""
    if item.source is None:
        return overlay(None, item._written(), {}, item.extra)
    as_read = read(item.source)
    if item == as_read:
        return deepcopy(dict(item.source))
    return overlay(item.source, item._written(), as_read._written(), item.extra)
