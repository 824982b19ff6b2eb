"""After a crash or a lost answer: what came of the writes that were about to be sent."""

from __future__ import annotations

from datetime import timedelta

from canarykit.release.record import Intent, Record
from canarykit.release.store import FlagStore, StoredFlag

__all__ = ["settle"]

# How long a request may still be on its way after the process that sent it is gone.
_ON_ITS_WAY = timedelta(minutes=10)


def settle(store: FlagStore, record: Record, newest: StoredFlag) -> list[Intent]:
    """Look each open write up on the server and write down what came of it; those still open.

    A write is ours where the first edit upon the version that it was meant for has just what it would
    have set. One that the server does not show is given up after ten minutes, not before: it may still
    be on its way.
    """
    open_now = []
    for intent in record.intents(newest.key):
        if not intent.is_open:
            continue
        status, version = _what_came_of(store, intent, newest)
        if status is None:
            open_now.append(intent)
        else:
            record.settle(intent, status, store.now(), version_after=version, found="by looking it up")
    return open_now


def _what_came_of(store: FlagStore, intent: Intent, newest: StoredFlag) -> tuple[str | None, object]:
    now_print = store.fingerprint(newest.filters, newest.active)
    if newest.version == intent.version_before and now_print == intent.fingerprint_before:
        if store.now() - intent.at < _ON_ITS_WAY:
            return None, None
        return "not applied", None
    following = store.after(intent.version_before, newest)
    if following is None:
        return None, None
    if store.fingerprint(following.filters, following.active) == intent.fingerprint_after:
        return "applied", following.version
    return "not applied", None
