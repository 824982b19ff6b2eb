"""The flag side of a PostHog project: read a flag, set it on the version that was read, look it up again.

A PATCH is last-write-wins unless it carries both the version and the flag as it was read; newer servers
have calls of their own for one percentage and for on and off, which are stricter. Both ways are here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from canarykit.errors import PlanError, did_you_mean
from canarykit.flags.normal_form import fingerprint, normal, stored_form
from canarykit.plan.history import read_states
from canarykit.release.filters import Difference, differences, merge, reached
from canarykit.release.refusals import AuthenticationError, FieldRefusedError, NotFoundError, ServerError
from canarykit.release.store import StoredFlag
from canarykit.release.transport import Transport

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan

_MOST_ACTIVITY = 1000


class PostHogFlags:
    """The flags of one PostHog project; a `FlagStore`."""

    system = "posthog"

    def __init__(self, transport: Transport, project: int, group_types: Sequence[str] = ()) -> None:
        self.project: str = str(project)
        self.group_types: tuple[str, ...] = tuple(group_types)
        self._transport = transport
        self._base = f"api/projects/{project}"
        self._ids: dict[str, int] = {}

    def now(self) -> datetime:
        """The server's time."""
        return self._transport.now()

    def read(self, key: str) -> StoredFlag:
        """The flag as it is now. The list is asked once for the id: PostHog bills it as an evaluation."""
        if key not in self._ids:
            self._ids[key] = self._find(key)
        flag = stored_flag(self._transport.get(self._path(key)))
        if flag.raw.get("deleted") or flag.key != key:
            del self._ids[key]
            raise NotFoundError(f"the flag {key!r} has been deleted or renamed to {flag.key!r}", status=404)
        return flag

    def _find(self, key: str) -> int:
        seen = []
        query = {"key": key, "search": key, "limit": 100}
        for item in self._transport.pages(f"{self._base}/feature_flags/", query):
            if item.get("key") == key and not item.get("deleted"):
                return int(item["id"])
            seen.append(str(item.get("key")))
        raise PlanError(f"the project {self.project} has no flag {key!r}; {did_you_mean(key, seen)}")

    def _path(self, key: str, *more: str) -> str:
        return "/".join([f"{self._base}/feature_flags/{self._ids[key]}", *more, ""])

    def merged(self, plan: RolloutPlan, stage: str, stored: StoredFlag) -> dict[str, Any]:
        """The filters that put a stage in force and keep what is not the plan's."""
        return merge(plan, stage, stored.filters)

    def reached(self, plan: RolloutPlan, stored: StoredFlag) -> int:
        """Index of the last stage that the flag lets in whole; -1 where there is none."""
        return reached(plan, stored.filters)

    def fingerprint(self, filters: Mapping[str, Any], active: bool) -> str:
        """A text that is the same for definitions that the server takes as the same."""
        return fingerprint(filters, active)

    def differences(
        self, before: StoredFlag, filters: Mapping[str, Any], active: bool
    ) -> tuple[Difference, ...]:
        """What would change."""
        states = (before.active, active)
        return differences(
            before.filters, filters, active=states, hidden=before.hidden, group_types=self.group_types
        )

    def write(self, before: StoredFlag, filters: Mapping[str, Any], active: bool) -> StoredFlag:
        """Set filters and state on the version that was read, by the strictest call the server has."""
        single = _single_percentage(before.filters, filters) if active == before.active else None
        if single is not None:
            index, share = single
            body = {"condition_index": index, "rollout_percentage": share, "version": before.version}
            try:
                path = self._path(before.key, "set_release_condition_rollout")
                return self._written(before, self._transport.write("POST", path, body))
            except ServerError as problem:
                if problem.status not in {404, 405}:
                    raise
        if before.hidden:
            raise FieldRefusedError(
                "the flag has encrypted payloads, which must not be read and sent back, and this server has "
                "no call that leaves them alone; set the stage in PostHog",
                status=400,
            )
        # Null for keys that go: right on servers that merge and that replace. With the whole flag as it was
        # read the server refuses the write if anything of it has changed.
        body = {"filters": {**dict.fromkeys(before.filters), **filters}, "version": before.version}
        body["original_flag"] = {**before.raw, "filters": before.filters}
        if active != before.active:
            body["active"] = active
        return self._written(before, self._transport.write("PATCH", self._path(before.key), body))

    def switch_off(self, before: StoredFlag) -> StoredFlag:
        """Turn the flag off, whatever its version."""
        self._ids.setdefault(before.key, before.id)
        try:
            return self._written(before, self._transport.write("POST", self._path(before.key, "disable")))
        except ServerError as problem:
            if problem.status not in {404, 405}:
                raise
        answer = self._transport.write("PATCH", self._path(before.key), {"active": False})
        return self._written(before, answer)

    def _written(self, before: StoredFlag, answer: Mapping[str, Any]) -> StoredFlag:
        return stored_flag(answer) if "version" in answer else self.read(before.key)

    def is_next(self, before: Any, version: Any) -> bool:
        """Whether one version follows directly upon another."""
        return (version or 0) == (before or 0) + 1

    def after(self, before: Any, newest: StoredFlag) -> StoredFlag | None:
        """The flag right after a version; None where neither versions nor the activity log say."""
        wanted = (before or 0) + 1
        if (newest.version or 0) == wanted:
            return newest
        if (newest.version or 0) < wanted:
            return None
        try:
            answer = self._transport.get(self._path(newest.key, "versions", str(wanted)))
            return stored_flag({"id": newest.id, "key": newest.key, **answer, "version": wanted})
        except ServerError:
            return self._undone(wanted, newest)

    def _undone(self, wanted: int, newest: StoredFlag) -> StoredFlag | None:
        """Older servers have no versions: take back the newest edits of the activity log, one a version."""
        try:
            items = self.activity(newest.key, most=(newest.version or 0) - wanted)
            if self.read(newest.key).version != newest.version:  # the log may be ahead of the flag
                return None
        except ServerError:
            return None
        if len(items) < (newest.version or 0) - wanted:
            return None
        raw = deepcopy(dict(newest.raw))
        for item in items:
            for change in (item.get("detail") or {}).get("changes") or ():
                if change.get("field"):
                    raw[change["field"]] = change.get("before")
        return stored_flag({**raw, "version": wanted})

    def activity(self, key: str, *, most: int = _MOST_ACTIVITY) -> list[dict[str, Any]]:
        """The flag's activity log, newest first. Needs the scope activity_log:read."""
        if key not in self._ids:
            self._ids[key] = self._find(key)
        items: list[dict[str, Any]] = []
        for item in self._transport.pages(self._path(key, "activity"), {"limit": min(most, 100)}):
            items.append(item)
            if len(items) >= most:
                break
        return items

    def entered_at(self, plan: RolloutPlan, stage: str, stored: StoredFlag) -> datetime | None:
        """Since when the flag has let in a stage, by its activity log; None where that does not say."""
        try:
            states, notes = read_states(self.activity(stored.key), stored.raw)
        except (AuthenticationError, NotFoundError):
            return None
        if any(note.code in {"jumps", "newer"} for note in notes):
            return None
        since: datetime | None = None
        for state in reversed(states):
            index = reached(plan, state.filters)
            if not state.active or index < 0 or plan.stage_names[index] != stage:
                break
            since = None if state.since is None else state.since.to_pydatetime()
        return None if since is None else since.astimezone(UTC)

    def annotate(self, text: str) -> None:
        """A note on the project's charts. Needs the scope annotation:write."""
        body = {"content": text[:8000], "date_marker": self.now().isoformat(), "scope": "project"}
        self._transport.write("POST", f"{self._base}/annotations/", body)

    def count_of(self, stored: StoredFlag, filters: Mapping[str, Any]) -> Iterator[str]:
        """PostHog's own count of the people behind each condition set that would change."""
        now = normal(stored.filters)["groups"]
        for group in normal(filters)["groups"]:
            if group in now:
                continue
            kind = group.get("aggregation_group_type_index")
            try:
                body = {"condition": group, "group_type_index": kind}
                answer = self._transport.ask(f"{self._base}/feature_flags/user_blast_radius/", body)
            except ServerError as problem:
                yield f"PostHog counts nobody: {problem}"
                return
            matched = answer.get("affected", answer.get("users_affected"))
            total = answer.get("total", answer.get("total_users"))
            share = group["rollout_percentage"]
            if matched is None or total is None:
                continue
            yield (
                f"by PostHog's count {matched:,} of {total:,} match a condition set that would change; "
                f"at {share:g} % about {matched * share / 100:,.0f}"
            )


def stored_flag(answer: Mapping[str, Any]) -> StoredFlag:
    """A flag as PostHog's API answers it.

    `PlanError` if it has the newer configuration of typed rules, which this does not edit.
    """
    filters = stored_form(answer.get("filters") or {})
    if "rules" in filters or filters.get("version") == 2:
        raise PlanError(
            f"the flag {answer.get('key')!r} has the newer configuration of rules; edit it in PostHog"
        )
    editor = answer.get("last_modified_by") or {}
    return StoredFlag(
        str(answer.get("key")),
        answer.get("id"),
        answer.get("version"),
        bool(answer.get("active")),
        filters,
        editor.get("email") if isinstance(editor, Mapping) else None,
        answer.get("updated_at"),
        answer,
        ("payloads",) if answer.get("has_encrypted_payloads") else (),
    )


def _single_percentage(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[int, float] | None:
    """Index and new percentage, where one condition set's share is all that differs."""
    old, new = normal(before), normal(after)
    if {**old, "groups": None} != {**new, "groups": None} or len(old["groups"]) != len(new["groups"]):
        return None
    pairs = zip(old["groups"], new["groups"], strict=True)
    changed = [(i, a, b) for i, (a, b) in enumerate(pairs) if a != b]
    if len(changed) != 1:
        return None
    index, one, other = changed[0]
    same = {**one, "rollout_percentage": None} == {**other, "rollout_percentage": None}
    return (index, other["rollout_percentage"]) if same else None
