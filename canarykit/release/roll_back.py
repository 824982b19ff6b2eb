"""The way back: to the stage before, on whatever version is the newest, or off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from canarykit.display import Note
from canarykit.release.filters import Difference
from canarykit.release.gates import verdict_of
from canarykit.release.outcome import Outcome
from canarykit.release.push import write_once
from canarykit.release.record import Intent, Record
from canarykit.release.settle import settle
from canarykit.release.store import FlagStore, StoredFlag

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan

_TRIES = 5


def roll_back(
    store: FlagStore,
    record: Record,
    plan: RolloutPlan,
    *,
    to: str | None = None,
    off: bool = False,
    why: str = "",
    report: Any = None,
) -> Outcome:
    """Set an earlier stage on the newest version of the flag, or turn it off.

    It goes through even where the newest edit was somebody else's: what they changed outside the plan is
    kept, and what it overrules is shown. Where edits keep coming in, the flag is turned off. Called again
    after it broke off, it does not go back a second stage.

    Parameters
    ----------
    to
        Stage to go back to; the one before the running one where it is None.
    off
        Turn the flag off instead.
    why, report
        Reason and verdict, for the record.
    """
    newest = store.read(plan.flag)
    unanswered = {intent.id for intent in record.intents(plan.flag) if intent.is_open}
    open_now = settle(store, record, newest)
    if to is None and not off and (done := _just_settled(record, newest, unanswered)):
        before, after = done.version_before, done.version_after
        why = f"by the call of {done.at:%F %R} UTC, which broke off"
        return Outcome(plan.flag, done.stage, "applied", before, after, why=why)
    reached = store.reached(plan, newest)
    stage = to if to is not None else plan.stage_names[reached - 1] if reached > 0 and not off else None
    if stage is not None and plan.index(stage) > reached:
        said = "which the flag does not let in; a roll-back only lowers"
        return Outcome(plan.flag, stage, "refused", newest.version, why=f"{stage!r} comes after, {said}")
    further = {"verdict": verdict_of(report), "override": why}
    overruled = _overruled(store, record, newest)
    notes = tuple(Note("open", f"{i.action} of {i.at:%F %R} UTC was not settled") for i in open_now)
    for _ in range(_TRIES if stage is not None else 0):
        assert stage is not None
        outcome = _lower_once(store, record, plan, stage, newest, further)
        if outcome.status != "conflict":
            return _with(outcome, overruled, notes)
        overruled = (*overruled, *outcome.theirs)
        newest = store.read(plan.flag)
    if not newest.active:
        return Outcome(plan.flag, None, "nothing to do", newest.version, newest.version, notes=notes)
    outcome = write_once(store, record, newest, None, False, action="switch off", stage=None, further=further)
    return _with(outcome, overruled, notes)


def _just_settled(record: Record, newest: StoredFlag, unanswered: Collection[str]) -> Intent | None:
    """A roll-back of which only now is known that it went through, where nothing came after it."""
    for intent in record.intents(newest.key):
        is_newest = intent.status == "applied" and intent.version_after == newest.version
        if intent.id in unanswered and intent.action != "push" and is_newest:
            return intent
    return None


def _lower_once(
    store: FlagStore,
    record: Record,
    plan: RolloutPlan,
    stage: str,
    newest: StoredFlag,
    further: Mapping[str, Any],
) -> Outcome:
    filters = store.merged(plan, stage, newest)
    if not store.differences(newest, filters, newest.active):
        return Outcome(plan.flag, stage, "nothing to do", newest.version, newest.version)
    return write_once(
        store, record, newest, filters, newest.active, action="roll back", stage=stage, further=further
    )


def _overruled(store: FlagStore, record: Record, newest: StoredFlag) -> tuple[Difference, ...]:
    """What somebody else changed since the newest write on record."""
    applied = [item for item in record.intents(newest.key) if item.status == "applied"]
    if not applied or applied[-1].version_after in (None, newest.version):
        return ()
    written = next(
        entry
        for entry in record.entries(newest.key)
        if entry.get("what") == "intends" and entry["id"] == applied[-1].id
    )
    ours = replace(newest, filters=written["filters"], active=applied[-1].action != "switch off")
    return store.differences(ours, newest.filters, newest.active)


def _with(outcome: Outcome, overruled: tuple[Difference, ...], notes: tuple[Note, ...]) -> Outcome:
    theirs = [*outcome.theirs, *(item for item in overruled if item not in outcome.theirs)]
    return replace(outcome, theirs=tuple(theirs), notes=(*outcome.notes, *notes))
