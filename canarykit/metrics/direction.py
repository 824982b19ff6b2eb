"""Which direction of a metric is harm: what names alone can tell, and what they cannot.

A conversion that falls is harm, an error that rises is harm. Where only the name of an event stands there,
the direction is known for the names of errors and for nothing else: "paid" and "refunded" look alike.
"""

from __future__ import annotations

import re
from typing import Literal

Direction = Literal["higher", "lower"]

_ERROR_WORDS = frozenset({
    "error", "errors", "exception", "exceptions", "crash", "crashes", "crashed", "failure",
    "failures", "rageclick", "rageclicks", "deadclick", "deadclicks", "timeout", "timeouts",
})  # fmt: skip
_NEUTRAL_WORDS = frozenset({
    "api", "app", "application", "backend", "client", "frontend", "http", "js", "page", "server",
    "ui", "web",
})  # fmt: skip
_HARM_WORDS = _ERROR_WORDS | frozenset({
    "abandon", "abandoned", "blocked", "bounce", "bounced", "cancel", "canceled", "cancelled",
    "cancellation", "chargeback", "churn", "churned", "complaint", "cost", "costs", "declined",
    "deleted", "discount", "downgrade", "downgraded", "fail", "failed", "fee", "fees", "loss",
    "lost", "rage", "refund", "refunded", "refunds", "rejected", "returned", "ticket", "timed",
    "uninstall", "uninstalled", "unsubscribe", "unsubscribed",
})  # fmt: skip
_MONEY_WORDS = frozenset({
    "amount", "gmv", "income", "price", "revenue", "sales",
})  # fmt: skip
_TIME_WORDS = frozenset({
    "cls", "duration", "elapsed", "fcp", "fid", "inp", "latency", "lcp", "lag", "milliseconds",
    "ms", "seconds", "ttfb",
})  # fmt: skip


def event_direction(name: str) -> Direction | None:
    """The direction in which more people with an event are harm; None where its name does not tell.

    Examples
    --------
    >>> event_direction("$exception"), event_direction("Application Crashed"), event_direction("paid")
    ('higher', 'higher', None)
    """
    words = _words(name)
    errors = [word for word in words if word in _ERROR_WORDS]
    return "higher" if errors and all(word in _ERROR_WORDS | _NEUTRAL_WORDS for word in words) else None


def has_harm_word(name: str) -> bool:
    """Whether a name speaks of harm, so that more of it is not plainly good.

    Examples
    --------
    >>> has_harm_word("order refunded"), has_harm_word("order paid")
    (True, False)
    """
    return any(word in _HARM_WORDS for word in _words(name))


def number_direction(event: str, property_name: str | None) -> Direction | None:
    """The direction of a number that events carry: money should not fall, times should not grow.

    Examples
    --------
    >>> number_direction("paid", "amount"), number_direction("$web_vitals", "$web_vitals_LCP_value")
    ('lower', 'higher')
    >>> number_direction("refund", "amount") is None
    True
    """
    if property_name is None:
        return event_direction(event)
    words = _words(property_name)
    if any(word in _TIME_WORDS for word in words):
        return "higher"
    if any(word in _MONEY_WORDS for word in words):
        return None if has_harm_word(event) or has_harm_word(property_name) else "lower"
    return None


def _words(name: str) -> list[str]:
    """The words of a name, in lower case: `$web_vitals_LCP_value`, "Application Crashed", `loadTimeMs`."""
    joined = re.sub(r"(rage|dead)[\s_-]?clicks?", r"\1click", name, flags=re.IGNORECASE)
    parts = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", joined)
    return [word for word in re.split(r"[^a-z0-9]+", parts.lower()) if word]
