"""What can be read from a project beside its events."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from canarykit.errors import PlanError, did_you_mean
from canarykit.posthog.flag_store import PostHogFlags
from canarykit.release.refusals import ServerError
from canarykit.release.store import StoredFlag
from canarykit.release.transport import Transport

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.flags import FlagSet


class Reading:
    """The reading side of a project: flags and lists, each with the scope that it needs."""

    _transport: Transport
    _base: str
    host: str = ""
    project: int = 0

    @cached_property
    def group_types(self) -> dict[str, str]:
        """Name of each group type by its index as text. Scope group:read; empty where that lacks."""
        from canarykit.posthog.lists import group_types

        try:
            return group_types(self._transport, self._base)
        except ServerError:
            return {}

    @cached_property
    def _flags(self) -> PostHogFlags:
        return PostHogFlags(self._transport, self.project, tuple(self.group_types.values()))

    @cached_property
    def _hogql(self) -> Any:
        from canarykit.posthog.hogql import HogQL

        return HogQL(self._transport, self.project)

    def flags(self) -> FlagSet:
        """Every flag, with cohorts and group types. Scopes feature_flag:read, cohort:read.

        PostHog bills this list as an evaluation: do not ask for it in a loop.
        """
        from canarykit.flags import Flag, FlagSet

        items = list(self._transport.pages(f"{self._base}/feature_flags/", {"limit": 100}))
        return FlagSet(
            map(Flag.from_posthog, items), group_type_mapping=self.group_types, cohorts=self.cohorts()
        )

    def flag(self, key: str) -> StoredFlag:
        """One flag as it is now: `.id`, `.version`, `.raw`, and `.flag` to evaluate.

        Scope feature_flag:read.
        """
        return self._flags.read(key)

    def cohorts(self) -> dict[str, Any]:
        """Definitions of the cohorts by id, as `evaluate_flag` takes them. Scope cohort:read."""
        from canarykit.posthog.lists import cohorts

        return cohorts(self._transport, self._base)

    def persons(self, **query: Any) -> pd.DataFrame:
        """Persons, one row per distinct id, by `email=`, `distinct_id=`, `search=` or `properties=`.

        Scope person:read. For all of them, `events` brings a file.
        """
        from canarykit.posthog.lists import persons

        return persons(self._transport, self._base, query)

    def groups(self, group_type: str | int = 0, **query: Any) -> pd.DataFrame:
        """Groups of one type with their properties. Scope group:read."""
        from canarykit.posthog.lists import groups

        names = {name: int(index) for index, name in self.group_types.items()}
        if isinstance(group_type, str) and group_type not in names:
            raise PlanError(f"no group type {group_type!r}; {did_you_mean(group_type, names)}")
        index = names[group_type] if isinstance(group_type, str) else group_type
        return groups(self._transport, self._base, index, query)

    def surveys(self) -> pd.DataFrame:
        """Surveys with their questions. Scope survey:read."""
        return self._listed("surveys")

    def early_access(self) -> pd.DataFrame:
        """Early access features and their stages. Scope early_access_feature:read."""
        return self._listed("early_access_feature")

    def holdouts(self) -> pd.DataFrame:
        """Holdouts of experiments. Scope experiment_holdout:read."""
        return self._listed("experiment_holdouts")

    def annotations(self) -> pd.DataFrame:
        """Notes on charts. Scope annotation:read."""
        return self._listed("annotations")

    def recordings(self, **query: Any) -> pd.DataFrame:
        """Session recordings: who, when, how long, and a link; not what is in them.

        Scope session_recording:read. Limits such as `date_from="-3d"` and `person_uuid=` go to PostHog.
        """
        frame = self._listed("session_recordings", query)
        links = [f"{self.host}/project/{self.project}/replay/{one}" for one in frame.get("id", ())]
        return frame.assign(link=links)

    def _listed(self, name: str, query: Mapping[str, Any] | None = None) -> pd.DataFrame:
        from canarykit.posthog.lists import listed

        return listed(self._transport, f"{self._base}/{name}/", query)
