"""Flags by key, and the files they are read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from os import PathLike
from typing import Any, TypeVar, overload

from canarykit.counting import counted
from canarykit.display import Column, Shown, Table
from canarykit.documents import read_document
from canarykit.errors import ExportFormatError, PlanError, did_you_mean, require_kind
from canarykit.flags.definition import Flag
from canarykit.flags.lossless import require_mapping

Other = TypeVar("Other")


class FlagSet(Shown, Mapping[str, Flag]):
    """Flags by key, with what their evaluation needs from the project.

    Parameters
    ----------
    flags
        Flags; keys must differ among those that are not deleted.
    group_type_mapping
        Name of each group type by its index as text, `{"0": "organization"}`.
    cohorts
        Cohort definitions by id as text: PostHog's nested `{"type": "AND", "values": [...]}`.
    property_matching_version
        How `exact` compares true and false: 1 by truth, 2 as text; None where the source does not say.
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
        property_matching_version: int | None = None,
        source: Mapping[str, Any] | Sequence[Any] | None = None,
    ) -> None:
        self._flags: dict[str, Flag] = {}
        for flag in flags:
            require_kind("one of the flags", flag, Flag, "a Flag")
            if flag.key in self._flags and not flag.deleted and not self._flags[flag.key].deleted:
                raise PlanError(f"two flags have the key {flag.key!r}; keys must differ")
            if flag.key not in self._flags or not flag.deleted:
                self._flags[flag.key] = flag
        for what, given in (("group_type_mapping", group_type_mapping), ("cohorts", cohorts)):
            require_mapping(given or {}, what)
        self.group_type_mapping: dict[str, str] = {str(k): v for k, v in (group_type_mapping or {}).items()}
        self.cohorts: dict[str, Any] = {str(k): v for k, v in (cohorts or {}).items()}
        self.property_matching_version = property_matching_version
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

    def _headline(self) -> str:
        active = sum(flag.active for flag in self.values())
        return f"{counted(len(self), 'flags')}, {active} of them active"

    def _table(self) -> Table:
        columns = (
            Column("key", "flag"), Column("active", "active"), Column("sets", "condition sets", "count"),
            Column("variants", "variants"),
        )  # fmt: skip
        rows = [
            (
                flag.key,
                "yes" if flag.active else "no",
                len(flag.conditions),
                ", ".join(variant.key for variant in flag.variants) or None,
            )
            for flag in self.values()
        ]
        return Table.of(columns, rows)

    @overload
    def get(self, key: str, default: None = None) -> Flag | None: ...
    @overload
    def get(self, key: str, default: Flag | Other) -> Flag | Other: ...
    def get(self, key: str, default: Any = None) -> Any:
        """The flag, or the default where there is none.

        Parameters
        ----------
        key
            Key of the flag.
        default
            Returned where there is no such flag.

        Returns
        -------
        Flag or the default
        """
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
        data = read_document(source, "the flags", error=ExportFormatError)
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
            property_matching_version=data.get("property_matching_version"),
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
