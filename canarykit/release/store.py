"""What a system of flags must be able to do so that a release can live in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from canarykit.release.filters import Difference

if TYPE_CHECKING:
    from canarykit.flags import Flag
    from canarykit.plan import RolloutPlan


@dataclass(frozen=True)
class StoredFlag:
    """A flag as a server holds it at one moment."""

    # the flag's key, and the server's own id of it
    key: str
    id: Any
    version: Any  # what changes with every edit: a number where the server counts, else a fingerprint
    active: bool  # whether the flag is on
    filters: Mapping[str, Any]  # who gets it, in the server's own form
    # the newest edit, where the server says
    changed_by: str | None = None
    changed_at: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)  # the whole answer
    hidden: tuple[str, ...] = ()  # keys of the filters that are secret: never shown, never written

    @property
    def flag(self) -> Flag:
        """The definition, to evaluate and to lint (PostHog's form only)."""
        from canarykit.flags import Flag

        return Flag.from_posthog(self.raw)


class FlagStore(Protocol):
    """The flag side of one project in one system.

    `write` and `switch_off` send one request each and never repeat it. They raise `ConflictError` where
    somebody else edited the flag since it was read, and `UnreachableError` where it is not known whether
    the write arrived.
    """

    system: str
    project: str

    def now(self) -> datetime:
        """The server's time."""
        ...

    def read(self, key: str) -> StoredFlag:
        """The flag as it is now."""
        ...

    def merged(self, plan: RolloutPlan, stage: str, stored: StoredFlag) -> dict[str, Any]:
        """The filters that put a stage in force and keep what is not the plan's."""
        ...

    def reached(self, plan: RolloutPlan, stored: StoredFlag) -> int:
        """Index of the last stage that the flag lets in whole; -1 where there is none."""
        ...

    def fingerprint(self, filters: Mapping[str, Any], active: bool) -> str:
        """A text that is the same for definitions that the server takes as the same."""
        ...

    def differences(
        self, before: StoredFlag, filters: Mapping[str, Any], active: bool
    ) -> tuple[Difference, ...]:
        """What would change."""
        ...

    def write(self, before: StoredFlag, filters: Mapping[str, Any], active: bool) -> StoredFlag:
        """Set filters and state on the version that was read."""
        ...

    def switch_off(self, before: StoredFlag) -> StoredFlag:
        """Turn the flag off, whatever its version."""
        ...

    def after(self, before: StoredFlag | Any, newest: StoredFlag) -> StoredFlag | None:
        """The flag right after a version: the first edit that came upon it. None where nothing says."""
        ...

    def is_next(self, before: Any, version: Any) -> bool:
        """Whether one version follows directly upon another; True where the server does not count."""
        ...

    def entered_at(self, plan: RolloutPlan, stage: str, stored: StoredFlag) -> datetime | None:
        """Since when the flag has let in a stage, by the server's own log; None where it does not say."""
        ...

    def annotate(self, text: str) -> None:
        """Leave a note where people look at charts."""
        ...
