"""`Unleash`: the flag side of a project in Unleash, with the verbs of `PostHog`; events come from elsewhere.

A stage is one strategy of an environment: "flexibleRollout", whose constraints name the people of a
targeted stage and whose rollout is the share. Unleash has no versions to write on, so a fingerprint of the
environment stands for one: it is read again just before a write and checked after it. An edit in the
moment between cannot be refused; it is seen afterwards only where it changed what was set.

Checked against a running Unleash 7.5.1, which validates requests by its own OpenAPI definition, and against
its engine (yggdrasil) for who is let in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any, NoReturn

from canarykit.errors import PlanError
from canarykit.flags import Condition
from canarykit.plan import condition_words
from canarykit.plan.values import value_names
from canarykit.release.filters import Difference
from canarykit.release.keys import Key, find_key, hidden
from canarykit.release.outcome import Outcome
from canarykit.release.push import Push, prepare
from canarykit.release.record import Record, Timeline
from canarykit.release.refusals import ConflictError
from canarykit.release.roll_back import roll_back
from canarykit.release.store import StoredFlag
from canarykit.release.transport import Transport

if TYPE_CHECKING:
    from canarykit.health import StageReport
    from canarykit.plan import RolloutPlan

__all__ = ["Unleash"]

_TITLE = "canarykit: "
_OPERATORS = {
    "exact": "IN", "is_not": "NOT_IN", "icontains": "STR_CONTAINS", "starts_with": "STR_STARTS_WITH",
    "ends_with": "STR_ENDS_WITH",
}  # fmt: skip
_CONTEXT = {"distinct_id": "userId"}


class Unleash:
    """One environment of one project in Unleash.

    Parameters
    ----------
    host
        Address of the server.
    project, environment
        Names, as in the address of the project.
    key
        Token of a service account or a person that may update strategies. None: the environment variable
        UNLEASH_TOKEN, else a prompt.
    stickiness
        What is hashed: "userId", "sessionId" or a field of the context.
    record
        File that keeps what was done.
    """

    system = "unleash"

    def __init__(
        self,
        host: str,
        project: str = "default",
        environment: str = "production",
        key: str | Key | None = None,
        *,
        stickiness: str = "userId",
        record: str | PathLike[str] = "release.jsonl",
        transport: Transport | None = None,
    ) -> None:
        key = hidden(key)  # what is printed of this frame does not show it
        if transport is None:
            token = find_key(key, variable="UNLEASH_TOKEN", what="token of Unleash")
            transport = Transport(host, token, authorization="{}")
        self._transport, self.stickiness = transport, stickiness
        self.project, self.environment = project, environment
        self.record: Record = Record(record)

    def __repr__(self) -> str:
        return f"Unleash({self._transport.host!r}, {self.project!r}, {self.environment!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a connection is not pickled, for its key's sake: make it anew where it is needed")

    # ---- the verbs --------------------------------------------------------------------------------

    def flag(self, key: str) -> StoredFlag:
        """One flag as it is now."""
        return self.read(key)

    def prepare(
        self, plan: RolloutPlan, stage: str, *, report: StageReport | None = None, override: str = ""
    ) -> Push:
        """A dry run of letting in a stage; as `PostHog.prepare`."""
        return prepare(self, self.record, plan, stage, report=report, override=override)

    def roll_back(
        self,
        plan: RolloutPlan,
        *,
        to: str | None = None,
        off: bool = False,
        why: str = "",
        report: Any = None,
    ) -> Outcome:
        """Set the stage before, or turn the flag off; as `PostHog.roll_back`."""
        return roll_back(self, self.record, plan, to=to, off=off, why=why, report=report)

    def timeline(self, flag: str | None = None) -> Timeline:
        """What was done, from the record."""
        return self.record.timeline(flag)

    # ---- the flag side (`FlagStore`) --------------------------------------------------------------

    @property
    def store(self) -> Unleash:
        """Itself, for `ck.watch`."""
        return self

    def skew(self) -> timedelta:
        """How far this machine's clock is from the server's."""
        return self._transport.skew or timedelta()

    def now(self) -> datetime:
        """The server's time."""
        return self._transport.now()

    def _path(self, key: str, *more: str) -> str:
        base = f"api/admin/projects/{self.project}/features/{key}/environments/{self.environment}"
        return "/".join([base, *more])

    def read(self, key: str) -> StoredFlag:
        """The environment of the flag as it is now."""
        answer = self._transport.get(self._path(key))
        filters = {"strategies": answer.get("strategies") or []}
        active = bool(answer.get("enabled"))
        return StoredFlag(key, key, self.fingerprint(filters, active), active, filters, raw=answer)

    def merged(self, plan: RolloutPlan, stage: str, stored: StoredFlag) -> dict[str, Any]:
        """The strategies that put a stage in force; those that are not the plan's are kept."""
        wanted = [self._strategy(plan, condition) for condition in plan.flag_at(stage).conditions]
        owned = {_people(one) for name in plan.stage_names for one in self._strategies(plan, name)}
        kept: list[dict[str, Any]] = []
        for one in stored.filters["strategies"]:
            twin = next((w for w in wanted if _people(w) == _people(one)), None)
            if twin is not None:
                wanted.remove(twin)
                parameters = {**one.get("parameters", {}), "rollout": twin["parameters"]["rollout"]}
                kept.append({**one, "parameters": parameters})
            elif _people(one) not in owned:
                kept.append(dict(one))
        return {"strategies": [*kept, *wanted]}

    def _strategies(self, plan: RolloutPlan, stage: str) -> list[dict[str, Any]]:
        return [self._strategy(plan, condition) for condition in plan.flag_at(stage).conditions]

    def _strategy(self, plan: RolloutPlan, condition: Condition) -> dict[str, Any]:
        """One condition set as a strategy; stickiness and group keep people in as the share grows."""
        share = 100 if condition.rollout_percentage is None else condition.rollout_percentage
        if share != int(share) or condition.variant or value_names(plan) != ("false", "true"):
            raise PlanError("Unleash takes whole percentages, and variants are set in Unleash itself")
        constraints = []
        for item in condition.properties:
            if item.type != "person" or item.operator not in _OPERATORS:
                raise PlanError(f"Unleash has no constraint for {condition_words(condition)!r}")
            values = item.value if isinstance(item.value, list | tuple) else [item.value]
            constraints.append(
                {
                    "contextName": _CONTEXT.get(item.key, item.key),
                    "operator": _OPERATORS[item.operator],
                    "values": [str(value) for value in values],
                    "caseInsensitive": item.operator == "ends_with",
                    "inverted": False,
                }
            )
        parameters = {"rollout": str(int(share)), "stickiness": self.stickiness, "groupId": plan.flag}
        title = f"{_TITLE}{condition_words(replace(condition, rollout_percentage=100))}"
        return {
            "name": "flexibleRollout",
            "title": title,
            "parameters": parameters,
            "constraints": constraints,
        }

    def reached(self, plan: RolloutPlan, stored: StoredFlag) -> int:
        """Index of the last stage that the flag lets in whole; -1 where there is none."""
        shares: dict[str, int] = {}
        for one in stored.filters["strategies"]:
            if not one.get("disabled"):
                shares[_people(one)] = max(shares.get(_people(one), 0), _rollout(one))
        for index in reversed(range(len(plan.stages))):
            wanted = self._strategies(plan, plan.stage_names[index])
            if all(shares.get(_people(one), 0) >= _rollout(one) for one in wanted):
                return index
        return -1

    def fingerprint(self, filters: Mapping[str, Any], active: bool) -> str:
        """A text that is the same for environments that let in the same people."""
        listed = [_normal(one) for one in filters["strategies"]]
        text = json.dumps({"active": active, "strategies": listed}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differences(
        self, before: StoredFlag, filters: Mapping[str, Any], active: bool
    ) -> tuple[Difference, ...]:
        """What would change, a strategy a line."""
        changes = []
        if before.active != active:
            changes.append(Difference("the flag", *("on" if s else "off" for s in (before.active, active))))
        left = list(filters["strategies"])
        for one in before.filters["strategies"]:
            twin = next((other for other in left if _people(other) == _people(one)), None)
            if twin is not None:
                left.remove(twin)
            if twin is None or _normal(twin) != _normal(one):
                changes.append(Difference("strategy", _words(one), None if twin is None else _words(twin)))
        return (*changes, *(Difference("strategy", None, _words(one)) for one in left))

    def write(self, before: StoredFlag, filters: Mapping[str, Any], active: bool) -> StoredFlag:
        """Set one strategy after another, each once; those that let more people in come last.

        Raises
        ------
        ConflictError
            If the environment is not as it was read.
        """
        if self.read(before.key).version != before.version:
            raise ConflictError(f"the flag {before.key!r} was edited since it was read", status=409)
        old = {_people(one): one for one in before.filters["strategies"]}
        new = {_people(one): one for one in filters["strategies"]}
        base = self._path(before.key, "strategies")
        for people, one in old.items():
            if people not in new:
                self._transport.write("DELETE", f"{base}/{one['id']}")
        for people, one in new.items():
            if people not in old:
                self._transport.write("POST", base, one)
            elif _normal(old[people]) != _normal(one):
                self._transport.write("PUT", f"{base}/{old[people]['id']}", one)
        if active != before.active:
            self._transport.write("POST", self._path(before.key, "on" if active else "off"))
        return self.read(before.key)

    def switch_off(self, before: StoredFlag) -> StoredFlag:
        """Turn the environment off."""
        self._transport.write("POST", self._path(before.key, "off"))
        return self.read(before.key)

    def after(self, before: Any, newest: StoredFlag) -> StoredFlag | None:
        """The flag as it is now, where it is not as it was: Unleash keeps no versions to look up."""
        return None if newest.version == before else newest

    def is_next(self, before: Any, version: Any) -> bool:
        """Always: fingerprints do not count."""
        return True

    def entered_at(self, plan: RolloutPlan, stage: str, stored: StoredFlag) -> datetime | None:
        """Since when a stage has been let in, by our own record."""
        applied = [intent for intent in self.record.intents(stored.key) if intent.status == "applied"]
        return applied[-1].at if applied and applied[-1].stage == stage else None

    def annotate(self, text: str) -> None:
        """Unleash keeps its own log of events; nothing is added to it."""


def _rollout(strategy: Mapping[str, Any]) -> int:
    return int(float(strategy.get("parameters", {}).get("rollout", 100)))


def _people(strategy: Mapping[str, Any]) -> str:
    """Whom a strategy names, whatever share of them it lets in."""
    keys = ("contextName", "operator", "values", "caseInsensitive", "inverted", "value")
    named = [{key: one.get(key) for key in keys if one.get(key)} for one in strategy.get("constraints") or ()]
    content = {"name": strategy.get("name"), "constraints": named, "segments": strategy.get("segments") or []}
    return json.dumps(content, sort_keys=True)


def _normal(strategy: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {key: str(value) for key, value in (strategy.get("parameters") or {}).items()}
    off, variants = bool(strategy.get("disabled")), strategy.get("variants") or []
    return {"people": _people(strategy), "parameters": parameters, "disabled": off, "variants": variants}


def _words(strategy: Mapping[str, Any]) -> str:
    who = " and ".join(
        f"{one.get('contextName')} {str(one.get('operator')).lower()} {', '.join(one.get('values') or ())}"
        for one in strategy.get("constraints") or ()
    )
    return f"{_rollout(strategy)} % of {who or 'everyone'}"
