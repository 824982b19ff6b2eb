"""One feature flag: condition sets, variants, early access and holdout, read from and written to JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from canarykit.display import Noun
from canarykit.errors import PlanError, did_you_mean
from canarykit.flags.lossless import (
    UNSET,
    group_type,
    list_of,
    overlay,
    require_json,
    require_mapping,
    text,
    truth,
    unknown_keys,
    unless,
)
from canarykit.flags.parts import Condition, Holdout, Variant

STALE_AFTER_DAYS = 30
"""PostHog calls an active flag stale when it was not called, or has been at 100 %, for 30 days."""


@dataclass(frozen=True, repr=False)
class Flag(Noun):
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
    id
        PostHog's number of the flag.
    version
        Counts the edits; PostHog refuses to write over a newer one.
    deleted
        A deleted flag is kept by PostHog and answers nothing.
    last_called_at, created_at
        Times from PostHog; None where it did not say.
    extra
        Further JSON keys, written back as they came; keys of `filters` stand under "filters".
    source
        The JSON it was read from, None if written by hand; not compared, and not written back.

    Examples
    --------
    >>> flag = Flag("new-checkout", (Condition(rollout_percentage=25),))
    >>> flag.to_posthog()["filters"]
    {'groups': [{'properties': [], 'rollout_percentage': 25}]}
    >>> Flag.from_posthog(flag.to_posthog()) == flag
    True
    """

    key: str
    conditions: Sequence[Condition] = ()
    variants: Sequence[Variant] = ()
    active: bool = True
    payloads: Mapping[str, Any] = field(default_factory=dict, hash=False)
    early_exit: bool = False
    holdout: Holdout | None = None
    super_conditions: Sequence[Condition] = ()
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
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("conditions", "variants", "super_conditions"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        given = self.holdout
        if isinstance(given, Mapping):
            object.__setattr__(self, "holdout", Holdout.from_filters({"holdout": self.holdout}))
        if given is not None and not isinstance(self.holdout, Holdout):
            raise PlanError(
                f"holdout of flag {self.key!r} is {given!r}; "
                "expected a mapping with id and exclusion_percentage"
            )
        if not isinstance(self.key, str) or not self.key:
            raise PlanError(f"a flag's key is {self.key!r}; expected a text that is not empty")
        require_json(self.key, "a flag's key")

    @property
    def is_multivariate(self) -> bool:
        """Whether the flag has variants."""
        return bool(self.variants)

    @property
    def is_oldest_form(self) -> bool:
        """Whether it was read from the form before condition sets, which SDKs do not know."""
        filters = (self.source or {}).get("filters") or {}
        return self.source is not None and filters.get("groups") is None

    @property
    def config_version(self) -> int:
        """1, or 2 for the newer configuration made of typed rules."""
        filters = self.extra.get("filters", {})
        marks = (filters.get("version"), filters.get("config_version"), self.extra.get("config_version"))
        return 2 if 2 in marks or "rules" in filters else 1

    @classmethod
    def from_posthog(cls, data: Mapping[str, Any]) -> Flag:
        """Read a flag as PostHog's API or its local-evaluation payload writes it.

        Parameters
        ----------
        data
            The flag, as parsed JSON.
        """
        require_mapping(data, "a flag")
        if "key" not in data:
            raise PlanError(f"a flag lacks 'key'; {did_you_mean('key', data)}")
        filters = require_mapping(data.get("filters") or {}, f"filters of flag {data['key']!r}")
        variants = list_of(require_mapping(filters.get("multivariate") or {}, "multivariate"), "variants")
        where = f"flag {data['key']!r}"
        bucketing = text(filters, "bucketing_identifier", where, "distinct_id")
        bucketing = text(data, "bucketing_identifier", where, bucketing)
        extra = unknown_keys(data, cls._KEYS)
        if further := unknown_keys(filters, cls._FILTER_KEYS):
            extra["filters"] = further
        return cls(
            key=data["key"],
            conditions=tuple(map(Condition.from_posthog, _release_conditions(data, filters))),
            variants=tuple(map(Variant.from_posthog, variants)),
            active=truth(data, "active", where, True),
            payloads=require_mapping(filters.get("payloads") or {}, "payloads"),
            early_exit=truth(filters, "early_exit", where),
            holdout=Holdout.from_filters(filters),
            super_conditions=tuple(map(Condition.from_posthog, list_of(filters, "super_groups"))),
            feature_enrollment=filters.get("feature_enrollment") is True,
            bucketing_identifier=bucketing,
            aggregation_group_type_index=group_type(filters, "aggregation_group_type_index", where, None),
            ensure_experience_continuity=truth(data, "ensure_experience_continuity", where),
            name=text(data, "name", where, ""),
            id=data.get("id"),
            version=data.get("version"),
            deleted=truth(data, "deleted", where),
            created_at=text(data, "created_at", where, None),
            last_called_at=text(data, "last_called_at", where, None),
            extra=extra,
            source=data,
        )

    def to_posthog(self) -> dict[str, Any]:
        """The JSON that PostHog's flag API takes."""
        if self.source is None:
            top, filters = self._written()
            content = overlay(None, top, {}, unknown_keys(self.extra, ("filters",)))
            return {**content, "filters": overlay(None, filters, {}, self.extra.get("filters", {}))}
        as_read = Flag.from_posthog(self.source)
        if self == as_read:
            return deepcopy(dict(self.source))
        (top, filters), (top_before, filters_before) = self._written(), as_read._written()
        content = overlay(
            self.source, {**top, "filters": UNSET}, top_before, unknown_keys(self.extra, ("filters",))
        )
        source = dict(self.source.get("filters") or {})
        if self.holdout != as_read.holdout:
            source.pop("holdout_groups", None)
        if "groups" not in source:  # the oldest form: one set, spread over two places
            content.pop("rollout_percentage", None)
            source.pop("properties", None)
        further = unknown_keys(
            self.extra.get("filters", {}), ("properties",) if "groups" not in source else ()
        )
        return {**content, "filters": overlay(source, filters, filters_before, further)}

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


def _release_conditions(data: Mapping[str, Any], filters: Mapping[str, Any]) -> list[Any]:
    """The stored condition sets; the oldest flags spread one set over two places."""
    if "groups" in filters or not ("properties" in filters or data.get("rollout_percentage") is not None):
        return list_of(filters, "groups")
    share = data.get("rollout_percentage")
    return [{"properties": list_of(filters, "properties"), "rollout_percentage": share}]
