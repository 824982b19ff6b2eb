"""After a crash or a lost answer: what came of the writes that were about to be sent."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from canarykit.release.record import Intent, Record
from canarykit.release.store import FlagStore, StoredFlag

# How long a request may still be on its way after the process that sent it is gone.
_ON_ITS_WAY = timedelta(minutes=10)
_MOST_EDITS = 100


def settle(store: FlagStore, record: Record, newest: StoredFlag) -> list[Intent]:
    """Look each open write up on the server and write down what came of it; those still open."""
    open_now: list[Intent] = []
    intents = record.intents(newest.key)
    taken = {intent.version_after for intent in intents if intent.status == "applied"}
    for intent in reversed(intents):
        if not intent.is_open:
            continue
        version, certain = what_came_of(store, intent, newest, taken)
        if version is not None:
            taken.add(version)
            lost, theirs = _overwritten(store, intent, version, newest)
            evidence = {"version_after": version, "overwritten": lost, "theirs": theirs}
            record.settle(intent, "applied", store.now(), found="by looking it up", **evidence)
        elif certain and store.now() - intent.at >= _ON_ITS_WAY:
            record.settle(intent, "not applied", store.now(), found="by looking it up")
        else:
            open_now.insert(0, intent)
    return open_now


def _overwritten(
    store: FlagStore, intent: Intent, version: Any, newest: StoredFlag
) -> tuple[bool, list[str]]:
    """Whether somebody else's edit went in between and was lost, and what it was."""
    if store.is_next(intent.version_before, version):
        return False, []
    at = [store.after(number - 1, newest) for number in (intent.version_before, version - 1, version)]
    before, theirs, ours = at
    if before is None or theirs is None or ours is None:
        return True, ["nothing says what it was"]
    changes = store.differences(before, theirs.filters, theirs.active)
    is_kept = intent.action == "switch off" and not store.differences(theirs, ours.filters, theirs.active)
    return bool(changes) and not is_kept, [change.words() for change in changes]


def what_came_of(
    store: FlagStore, intent: Intent, newest: StoredFlag, taken: Collection[object]
) -> tuple[Any, bool]:
    """The version that a write made, and whether the server's answer is certain.

    `taken` are the versions that other writes on record made.

    It is the first one after the version that the write was meant for which has just what it would have
    set: somebody else's edits may have come in before it. That the server does not show it is certain only
    after ten minutes: until then it may still be on its way.
    """
    version = intent.version_before
    if newest.version == version:
        return None, True
    for _ in range(_MOST_EDITS):
        following = store.after(version, newest)
        if following is None:
            return None, False
        if _is_ours(store, intent, following) and following.version not in taken:
            return following.version, True
        if following.version == newest.version:
            return None, True
        version = following.version
    return None, False


def _is_ours(store: FlagStore, intent: Intent, following: StoredFlag) -> bool:
    if intent.action == "switch off":  # leaves the filters as they are
        return not following.active
    prints = [
        store.fingerprint(following.filters, active) for active in (following.active, not following.active)
    ]
    if intent.fingerprint_before in prints:  # the filters were not to change: it turned the flag on
        return prints[0] == intent.fingerprint_after
    return intent.fingerprint_after in prints  # somebody may have turned it off or on meanwhile
