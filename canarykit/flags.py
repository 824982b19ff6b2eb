"""Feature flags as frozen values, with PostHog's JSON in and out without losing a key.

A flag is a list of condition sets (OR, in stored order), each a list of property filters (AND) with a
rollout percentage, and optionally variants. Reading keeps the JSON a value came from, so that writing an
unchanged flag gives back the same JSON, and writing an edited one changes only what was edited.
Nothing is evaluated here: see `canarykit.assign`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from canarykit.errors import ExportFormatError, PlanError, did_you_mean
from canarykit.flag_json import UNSET, list_of, overlay, require_mapping, unknown_keys, unless
from canarykit.flag_parts import Condition, Holdout, PropertyFilter, Variant

__all__ = ["UNSET", "Condition", "Flag", "FlagSet", "Holdout", "PropertyFilter", "Variant", "read_flags"]


@dataclass(frozen=True)
class Flag:
    """A PostHog feature flag definition.

    Parameters
    ----------
    key
        The flag's key; it is part of what is hashed, so renaming a flag deals everyone anew.
    conditions
        Condition sets, tried in this order; the first that matches decides.
    variants
        Arms of a multivariate flag, in the order their ranges are laid out; none: a boolean flag.
    active
        A disabled flag answers false.
    payloads
        JSON text by variant key, or by "true" for a boolean flag.
    early_exit
        Stop at the first set whose filters hold but whose percentage leaves the id out.
    holdout
        `Holdout`, or a mapping with `id` and `exclusion_percentage`.
    super_conditions
        The older form of early access: only the first one counts.
    feature_enrollment
        Early access: the person property `$feature_enrollment/<key>` decides before anything else.
    bucketing_identifier
        "distinct_id" or "device_id": what is hashed for person flags.
    aggregation_group_type_index
        Hash the key of this group type instead of the person.
    ensure_experience_continuity
        The value is kept across login through a stored id; such a flag cannot be recomputed.
    name
        Free-text description.
    extra
        Further JSON keys, written back as they came; keys of `filters` stand under "filters".

    Examples
    --------
    >>> flag = Flag("new-checkout", (Condition(rollout_percentage=25),))
    >>> flag.to_posthog()["filters"]
    {'groups': [{'properties': [], 'rollout_percentage': 25}]}
    >>> Flag.from_posthog(flag.to_posthog()) == flag
    True
    """

    key: str
    conditions: tuple[Condition, ...] = ()
    variants: tuple[Variant, ...] = ()
    active: bool = True
    payloads: Mapping[str, Any] = field(default_factory=dict)
    early_exit: bool = False
    holdout: Holdout | None = None
    super_conditions: tuple[Condition, ...] = ()
    feature_enrollment: bool = False
    bucketing_identifier: str = "distinct_id"
    aggregation_group_type_index: int | None = None
    ensure_experience_continuity: bool = False
    name: str = ""
    id: int | None = None
    version: int | None = None
    deleted: bool = False
    created_at: str | None = None
    last_called_at: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("conditions", "variants", "super_conditions"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if isinstance(self.holdout, Mapping):
            object.__setattr__(
                self, "holdout", Holdout(self.holdout["id"], self.holdout["exclusion_percentage"])
            )
        if not isinstance(self.key, str) or not self.key:
            raise PlanError(f"a flag's key is {self.key!r}; expected a text that is not empty")

    @property
    def is_multivariate(self) -> bool:
        """Whether the flag has variants."""
        return bool(self.variants)

    @property
    def config_version(self) -> int:
        """1, or 2 for the newer configuration made of typed rules."""
        filters = self.extra.get("filters", {})
        marks = (filters.get("version"), filters.get("config_version"), self.extra.get("config_version"))
        return 2 if 2 in marks or "rules" in filters else 1

    @classmethod
    def from_posthog(cls, data: Mapping[str, Any]) -> Flag:
        """Read a flag as PostHog's API or its local-evaluation payload writes it."""
        require_mapping(data, "a flag")
        if "key" not in data:
            raise PlanError(f"a flag lacks 'key'; {did_you_mean('key', data)}")
        filters = require_mapping(data.get("filters") or {}, f"filters of flag {data['key']!r}")
        variants = list_of(require_mapping(filters.get("multivariate") or {}, "multivariate"), "variants")
        bucketing = data.get("bucketing_identifier") or filters.get("bucketing_identifier") or "distinct_id"
        extra = unknown_keys(data, cls._KEYS)
        if further := unknown_keys(filters, cls._FILTER_KEYS):
            extra["filters"] = further
        return cls(
            key=data["key"],
            conditions=tuple(map(Condition.from_posthog, _release_conditions(data, filters))),
            variants=tuple(map(Variant.from_posthog, variants)),
            active=bool(data.get("active", True)),
            payloads=require_mapping(filters.get("payloads") or {}, "payloads"),
            early_exit=bool(filters.get("early_exit")),
            holdout=Holdout.from_filters(filters),
            super_conditions=tuple(map(Condition.from_posthog, list_of(filters, "super_groups"))),
            feature_enrollment=filters.get("feature_enrollment") is True,
            bucketing_identifier=bucketing,
            aggregation_group_type_index=filters.get("aggregation_group_type_index"),
            ensure_experience_continuity=bool(data.get("ensure_experience_continuity")),
            name=data.get("name") or "",
            id=data.get("id"),
            version=data.get("version"),
            deleted=bool(data.get("deleted")),
            created_at=data.get("created_at"),
            last_called_at=data.get("last_called_at"),
            extra=extra,
            source=data,
        )

    def to_posthog(self) -> dict[str, Any]:
        """The JSON that PostHog's flag API takes."""
        if self.source is None:
            top, filters = self._written()
            known = overlay(None, top, {}, unknown_keys(self.extra, ("filters",)))
            return {**known, "filters": overlay(None, filters, {}, self.extra.get("filters", {}))}
        as_read = Flag.from_posthog(self.source)
        if self == as_read:
            return deepcopy(dict(self.source))
        (top, filters), (top_before, filters_before) = self._written(), as_read._written()
        known = overlay(
            self.source, {**top, "filters": UNSET}, top_before, unknown_keys(self.extra, ("filters",))
        )
        source = dict(self.source.get("filters") or {})
        if self.holdout != as_read.holdout:
            source.pop("holdout_groups", None)
        if "groups" not in source:  # the oldest form: one set, spread over two places
            known.pop("rollout_percentage", None)
            source.pop("properties", None)
        further = unknown_keys(
            self.extra.get("filters", {}), ("properties",) if "groups" not in source else ()
        )
        return {**known, "filters": overlay(source, filters, filters_before, further)}

    def _written(self) -> tuple[dict[str, Any], dict[str, Any]]:
        plain = "bucketing_identifier" not in self.extra.get("filters", {})
        top = {
            "id": unless(self.id, None),
            "key": self.key,
            "name": self.name,
            "active": self.active,
            "deleted": unless(self.deleted, False),
            "version": unless(self.version, None),
            "ensure_experience_continuity": unless(self.ensure_experience_continuity, False),
            "bucketing_identifier": unless(self.bucketing_identifier, "distinct_id" if plain else ""),
            "created_at": unless(self.created_at, None),
            "last_called_at": unless(self.last_called_at, None),
        }
        holdout = self.holdout
        filters = {
            "groups": [condition.to_posthog() for condition in self.conditions],
            "multivariate": {"variants": [v.to_posthog() for v in self.variants]} if self.variants else UNSET,
            "payloads": dict(self.payloads) if self.payloads else UNSET,
            "aggregation_group_type_index": unless(self.aggregation_group_type_index, None),
            "early_exit": unless(self.early_exit, False),
            "feature_enrollment": unless(self.feature_enrollment, False),
            "super_groups": [c.to_posthog() for c in self.super_conditions]
            if self.super_conditions
            else UNSET,
            "holdout": holdout.to_posthog() if holdout else UNSET,
            "holdout_groups": UNSET,
        }
        return top, filters

    _KEYS = (
        "id", "key", "name", "active", "deleted", "version", "filters", "ensure_experience_continuity",
        "bucketing_identifier", "created_at", "last_called_at",
    )  # fmt: skip
    _FILTER_KEYS = (
        "groups", "multivariate", "payloads", "aggregation_group_type_index", "early_exit",
        "feature_enrollment", "super_groups", "holdout", "holdout_groups",
    )  # fmt: skip


class FlagSet(Mapping[str, Flag]):
    """Flags by key, with what their evaluation needs from the project.

    Parameters
    ----------
    flags
        Flags; keys must differ among those that are not deleted.
    group_type_mapping
        Name of each group type by its index as text, `{"0": "organization"}`.
    cohorts
        Cohort definitions by id as text: PostHog's nested `{"type": "AND", "values": [...]}`.
    source
        The JSON they were read from.

    Examples
    --------
    >>> flags = FlagSet([Flag("a"), Flag("b", active=False)])
    >>> flags
    FlagSet(['a', 'b'])
    >>> flags["a"].active
    True
    """

    def __init__(
        self,
        flags: Iterable[Flag] = (),
        *,
        group_type_mapping: Mapping[str, str] | None = None,
        cohorts: Mapping[str, Any] | None = None,
        source: Any = None,
    ) -> None:
        self._flags: dict[str, Flag] = {}
        for flag in flags:
            if flag.key in self._flags and not flag.deleted and not self._flags[flag.key].deleted:
                raise PlanError(f"two flags have the key {flag.key!r}; keys must differ")
            if flag.key not in self._flags or not flag.deleted:
                self._flags[flag.key] = flag
        self.group_type_mapping = {str(k): v for k, v in (group_type_mapping or {}).items()}
        self.cohorts = {str(k): v for k, v in (cohorts or {}).items()}
        self.source = source

    def __getitem__(self, key: str) -> Flag:
        if key not in self._flags:
            raise PlanError(f"no flag {key!r}; {did_you_mean(key, self._flags)}")
        return self._flags[key]

    def __contains__(self, key: object) -> bool:
        return key in self._flags

    def __iter__(self) -> Iterator[str]:
        return iter(self._flags)

    def __len__(self) -> int:
        return len(self._flags)

    def __repr__(self) -> str:
        return f"FlagSet({list(self._flags)})"

    def get(self, key: str, default: Any = None) -> Any:
        """The flag, or the default where there is none."""
        return self._flags.get(key, default)

    def to_posthog(self) -> dict[str, Any]:
        """The local-evaluation form: flags, group types and cohorts."""
        return {
            "flags": [flag.to_posthog() for flag in self.values()],
            "group_type_mapping": dict(self.group_type_mapping),
            "cohorts": deepcopy(self.cohorts),
        }


def read_flags(source: str | PathLike[str] | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> FlagSet:
    """Read PostHog flag definitions: the management list, one flag, or a local-evaluation payload.

    Parameters
    ----------
    source
        Path of a JSON file, or the parsed JSON: `{"results": [...]}`, a list of flags, one flag, or
        `{"flags": [...], "group_type_mapping": {...}, "cohorts": {...}}`.

    Returns
    -------
    FlagSet
        Flags by key, with group types and cohorts where the source has them.

    Raises
    ------
    ExportFormatError
        If the file is not JSON, is one page of several, or holds evaluated values instead of definitions.

    Examples
    --------
    >>> flags = read_flags({"flags": [{"key": "new-checkout", "filters": {"groups": []}}]})
    >>> flags["new-checkot"]
    Traceback (most recent call last):
    ...
    canarykit.errors.PlanError: no flag 'new-checkot'; there is ['new-checkout']. Did you mean 'new-checkout'?
    """
    where = "the flags"
    data: Any = source
    if isinstance(source, str | PathLike):
        where = str(source)
        try:
            data = json.loads(Path(source).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ExportFormatError(f"{where} is not JSON: {error}") from error
    if isinstance(data, Sequence) and not isinstance(data, str):
        return FlagSet(map(Flag.from_posthog, data), source=data)
    if not isinstance(data, Mapping):
        raise ExportFormatError(f"{where} holds {type(data).__name__}; expected flag definitions")
    if isinstance(data.get("results"), list):
        if data.get("next"):
            raise ExportFormatError(f"{where} is one page of several; ask for the rest at {data['next']}")
        return FlagSet(map(Flag.from_posthog, data["results"]), source=data)
    if isinstance(data.get("flags"), list):
        return FlagSet(
            map(Flag.from_posthog, data["flags"]),
            group_type_mapping=data.get("group_type_mapping"),
            cohorts=data.get("cohorts"),
            source=data,
        )
    if "flags" in data or "featureFlags" in data:
        raise ExportFormatError(
            f"{where} holds one person's evaluated flags; expected definitions "
            "(the management API's list, or the local-evaluation payload)"
        )
    if "key" in data:
        return FlagSet([Flag.from_posthog(data)], source=data)
    raise ExportFormatError(f"{where} holds no flags; {did_you_mean('flags', data)}")


def _release_conditions(data: Mapping[str, Any], filters: Mapping[str, Any]) -> list[Any]:
    """The stored condition sets; the oldest flags spread one set over two places."""
    if "groups" in filters or not ("properties" in filters or data.get("rollout_percentage") is not None):
        return list_of(filters, "groups")
    share = data.get("rollout_percentage")
    return [{"properties": list_of(filters, "properties"), "rollout_percentage": share}]
