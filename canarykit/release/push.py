"""A push: what would change, what stands against it, and the write itself, once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from canarykit.display import Column, Note, Result, Table
from canarykit.errors import PlanError
from canarykit.release.filters import Difference
from canarykit.release.gates import Gate, gates_against, verdict_of
from canarykit.release.outcome import Outcome
from canarykit.release.record import Intent, Record
from canarykit.release.refusals import (
    ApprovalRequiredError,
    ConflictError,
    QueryTooHeavyError,
    ServerError,
    UnreachableError,
)
from canarykit.release.settle import settle, what_came_of
from canarykit.release.store import FlagStore, StoredFlag

if TYPE_CHECKING:
    from canarykit.linting import LintReport
    from canarykit.plan import RolloutPlan

_COLUMNS = (Column("what", "what"), Column("before", "before"), Column("after", "after"))
_LOOKS_AFTER_SILENCE = 3
_PAUSE_SECONDS = 1.0
_OTHER_FIELDS = (
    "name",
    "tags",
    "ensure_experience_continuity",
    "bucketing_identifier",
    "evaluation_contexts",
)


@dataclass(frozen=True, repr=False, eq=False)
class Push(Result):
    """A dry run that can be carried out.

    Attributes
    ----------
    flag, stage, running
        Which flag, the stage to let in, and the one it lets in now (None: none of the plan's).
    before
        The flag as it was read.
    filters, active
        What would be set.
    changes
        What would change, one line a thing.
    gates
        What stands against it; `override` gives the reason to go on nevertheless.
    findings
        What `lint` says of the flag as it would be; None where it cannot be linted.
    reach
        For whom it would change, in words: ours and the server's own count.
    """

    flag: str
    stage: str
    running: str | None
    before: StoredFlag
    filters: Mapping[str, Any]
    active: bool
    changes: tuple[Difference, ...]
    gates: tuple[Gate, ...] = ()
    override: str = ""
    findings: LintReport | None = None
    reach: tuple[str, ...] = ()
    verdict: Mapping[str, Any] | None = None
    store: FlagStore | None = field(default=None, repr=False)
    record: Record | None = field(default=None, repr=False)
    notes: tuple[Note, ...] = ()

    @property
    def is_blocked(self) -> bool:
        """Whether something stands against it and nobody gave a reason."""
        return bool(self.gates) and not self.override

    def apply(self) -> Outcome:
        """Carry it out: one write, on the version that was read, checked afterwards, and recorded.

        Returns
        -------
        Outcome
            `status` is "applied", "nothing to do", "conflict" (somebody else edited the flag since it was
            read; nothing was written), "awaiting approval", "refused" or "unclear". Never repeats a write.
        """
        if self.store is None or self.record is None:
            raise PlanError("this push was read from a file; prepare it again to apply it")
        return _apply(self, self.store, self.record)

    def _headline(self) -> str:
        running = self.running or "no stage of the plan"
        if not self.changes:
            return f"{self.flag}: {self.stage} is in force, nothing to change"
        said = f"{self.flag}: from {running} to {self.stage}, {len(self.changes)} change"
        said += "s" if len(self.changes) > 1 else ""
        if self.is_blocked:
            return f"{said}; blocked: {'; '.join(gate.words for gate in self.gates)}"
        return f"{said}; against the rules, because {self.override!r}" if self.gates else said

    def _table(self) -> Table:
        return Table.of(_COLUMNS, [(d.what, d.before, d.after) for d in self.changes])

    def _extra_json(self) -> dict[str, Any]:
        return {
            "flag": self.flag,
            "stage": self.stage,
            "running": self.running,
            "version": self.before.version,
            "blocked": self.is_blocked,
            "gates": [{"code": gate.code, "words": gate.words} for gate in self.gates],
            "findings": [] if self.findings is None else self.findings.to_dict()["rows"],
            "reach": list(self.reach),
        }


def prepare(
    store: FlagStore,
    record: Record,
    plan: RolloutPlan,
    stage: str,
    *,
    report: Any = None,
    override: str = "",
    findings: Any = None,
    reach: Any = None,
) -> Push:
    """What letting in a stage would change, and what stands against it. Nothing is written to the server.

    `report` is on the running stage; `override` is the reason to go on against what stands in the way, and is
    recorded. `findings` of `lint`, and `reach`, who is affected, are functions of the flag before and the
    filters after.
    """
    plan.index(stage)
    before = store.read(plan.flag)
    still_open = settle(store, record, before)
    reached = store.reached(plan, before)
    filters = store.merged(plan, stage, before)
    running = plan.stage_names[reached] if reached >= 0 else None
    entered = None if running is None else store.entered_at(plan, running, before)
    gates = gates_against(
        plan,
        stage,
        reached=reached,
        active=before.active,
        report=report,
        entered_at=entered,
        now=store.now(),
    )
    changes = store.differences(before, filters, True)
    reaches = () if reach is None or not changes else tuple(reach(before, filters))
    notes = [Note("kept", "what the plan does not own is kept as it is")] if changes else []
    if running is not None and store.differences(before, store.merged(plan, running, before), before.active):
        notes.append(Note("off_plan", f"the flag lets in more than {running!r}, by an edit outside the plan"))
    notes += [Note("open", f"{item.action} of {item.at:%F %R} UTC is not settled yet") for item in still_open]
    return Push(
        plan.flag,
        stage,
        running,
        before,
        filters,
        True,
        changes,
        gates,
        override.strip(),
        None if findings is None else findings(before, filters),
        reaches,
        verdict_of(report),
        store,
        record,
        tuple(notes)
        + tuple(Note("reach", line) for line in (() if reach is None else reach(before, filters))),
    )


def _apply(push: Push, store: FlagStore, record: Record) -> Outcome:
    start = Outcome(push.flag, push.stage, "refused", push.before.version, ours=push.changes)
    if push.is_blocked:
        return _refuse(push, store, record, start, "; ".join(gate.words for gate in push.gates))
    newest = store.read(push.flag)
    if open_now := settle(store, record, newest):
        why = f"{open_now[-1].action} of {open_now[-1].at:%F %R} UTC may still be on its way; try again later"
        return replace(start, why=why)
    if not store.differences(newest, push.filters, push.active):
        return replace(start, status="nothing to do", version_after=newest.version, ours=())
    if newest.version != push.before.version:
        theirs = store.differences(push.before, newest.filters, newest.active)
        return replace(start, status="conflict", theirs=theirs, version_after=newest.version)
    further = {"verdict": push.verdict, "override": push.override, "gates": [g.code for g in push.gates]}
    return write_once(
        store, record, newest, push.filters, push.active, action="push", stage=push.stage, further=further
    )


def _refuse(push: Push, store: FlagStore, record: Record, start: Outcome, why: str) -> Outcome:
    codes = [gate.code for gate in push.gates]
    entry = {"what": "refused", "at": store.now(), "flag": push.flag, "stage": push.stage, "gates": codes}
    record.append({**entry, "why": why, "verdict": push.verdict})
    return replace(start, why=f"{why}. Give override='reason' to go on nevertheless")


def write_once(
    store: FlagStore,
    record: Record,
    before: StoredFlag,
    filters: Mapping[str, Any] | None,
    active: bool,
    *,
    action: str,
    stage: str | None,
    further: Mapping[str, Any],
) -> Outcome:
    """Write down the intent, send one write, look what came of it, and write that down."""
    wanted = before.filters if filters is None else filters
    ours = store.differences(before, wanted, active)
    intent = record.intend(
        at=store.now(),
        flag=before.key,
        action=action,
        stage=stage,
        version_before=before.version,
        fingerprint_before=store.fingerprint(before.filters, before.active),
        fingerprint_after=store.fingerprint(wanted, active),
        system=store.system,
        project=store.project,
        changes=[difference.words() for difference in ours],
        filters={key: value for key, value in wanted.items() if key not in before.hidden},
        **further,
    )
    start = Outcome(before.key, stage, "unclear", before.version, ours=ours)
    try:
        after = store.switch_off(before) if filters is None else store.write(before, wanted, active)
        outcome = _checked(store, before, after, start, only_off=filters is None)
    except ConflictError as problem:
        outcome = replace(start, status="conflict", why=str(problem), **_theirs(store, before))
    except ApprovalRequiredError as problem:
        outcome = replace(start, status="awaiting approval", why=str(problem))
    except (UnreachableError, QueryTooHeavyError) as problem:
        outcome = _after_silence(store, record, intent, before, start, str(problem))
    except ServerError as problem:
        if problem.status is None or problem.status >= 500:
            outcome = _after_silence(store, record, intent, before, start, str(problem))
        else:
            outcome = replace(start, status="refused", why=str(problem))
    lost = [difference.words() for difference in outcome.theirs]
    record.settle(
        intent,
        outcome.status,
        store.now(),
        version_after=outcome.version_after,
        why=outcome.why,
        theirs=lost,
        overwritten=outcome.overwritten,
    )
    if outcome.status != "applied":
        return outcome
    return _annotated(store, outcome, further)


def _checked(
    store: FlagStore, before: StoredFlag, after: StoredFlag, start: Outcome, *, only_off: bool
) -> Outcome:
    """Applied; where the version jumped, an edit came in between and is shown."""
    applied = replace(start, status="applied", version_after=after.version)
    if after.version == before.version:  # the server saw nothing to change
        return applied
    if store.is_next(before.version, after.version):
        return applied
    why = f"an edit between version {before.version} and {after.version} went in at the same time"
    theirs = store.after(after.version - 2, after)  # the flag just before our write
    if theirs is None:
        return replace(applied, overwritten=True, why=f"{why}, and nothing says what it was")
    shown = store.differences(before, theirs.filters, theirs.active)
    kept = only_off and not store.differences(theirs, after.filters, theirs.active)
    lost = (bool(shown) and not kept) or any(
        key in theirs.raw and theirs.raw[key] != before.raw.get(key) and after.raw.get(key) != theirs.raw[key]
        for key in _OTHER_FIELDS
    )
    return replace(applied, theirs=shown, overwritten=lost, why=why if lost else f"{why} and is kept")


def _after_silence(
    store: FlagStore, record: Record, intent: Intent, before: StoredFlag, start: Outcome, why: str
) -> Outcome:
    """No answer to the write: look, never write again."""
    taken = {item.version_after for item in record.intents(before.key) if item.status == "applied"}
    for look in range(_LOOKS_AFTER_SILENCE):
        if look:
            time.sleep(_PAUSE_SECONDS)
        try:
            newest = store.read(before.key)
        except ServerError:
            continue
        version, _ = what_came_of(store, intent, newest, taken)
        if version is not None:
            made = newest if newest.version == version else store.after(version - 1, newest)
            only_off = intent.action == "switch off"
            return _checked(store, before, made or newest, replace(start, theirs=()), only_off=only_off)
        theirs = store.differences(before, newest.filters, newest.active)
        start = replace(start, theirs=theirs)
    return replace(start, why=why)


def _theirs(store: FlagStore, before: StoredFlag) -> dict[str, Any]:
    try:
        newest = store.read(before.key)
    except ServerError:
        return {}
    theirs = store.differences(before, newest.filters, newest.active)
    return {"theirs": theirs, "version_after": newest.version}


def _annotated(store: FlagStore, outcome: Outcome, further: Mapping[str, Any]) -> Outcome:
    """A note beside the charts; a push does not fail because of it."""
    verdict = (further.get("verdict") or {}).get("verdict")
    said = f", verdict {verdict}" if verdict else ""
    said += f", override: {further['override']}" if further.get("override") else ""
    changes = "; ".join(difference.words() for difference in outcome.ours)
    goal = f"{outcome.flag} to {outcome.stage or 'off'}, version {outcome.version_after}"
    text = f"canarykit: {goal}: {changes}{said}"
    try:
        store.annotate(text)
    except ServerError as problem:
        return replace(outcome, notes=(*outcome.notes, Note("no_annotation", f"no annotation: {problem}")))
    return outcome
