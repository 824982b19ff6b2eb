"""What a server of flags can answer instead of doing what it was asked, as exceptions that say what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from canarykit.errors import CanarykitError

_LONGEST_TEXT = 400
_SCOPE = re.compile(r"scope[s]?:? '?\"?([a-z_]+:[a-z]+)")


class ServerError(CanarykitError):
    """The server did not do what it was asked.

    Attributes
    ----------
    status
        HTTP status, None where no answer came.
    code
        The server's own name for the reason, where it gives one.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status: int | None = status
        self.code: str = code


class KeyRefusedError(CanarykitError, ValueError):
    """A key that cannot be used here: of the wrong kind, or for the wrong host."""


class AuthenticationError(ServerError):
    """The server does not accept the key."""


class MissingScopeError(AuthenticationError):
    """The key lacks a scope; `scope` names it."""

    scope: str = ""


class RateLimitError(ServerError):
    """Too many requests; `wait` says for how many seconds, None where the server does not."""

    wait: float | None = None


class FieldRefusedError(ServerError):
    """A value the server does not take; `field` names it."""

    field: str = ""


class NotFoundError(ServerError):
    """Nothing is there under this address, or the server is too old to have it."""


class ConflictError(ServerError):
    """Somebody else edited the flag since it was read; nothing was written."""


class ApprovalRequiredError(ServerError):
    """The change waits for an approval; `request` is the id of the change request."""

    request: str = ""


class QueryTooHeavyError(ServerError):
    """The query took too long or too much memory: ask for less at once."""


class UnreachableError(ServerError):
    """No answer came, or it broke off: whether a write arrived is not known."""


def refusal(status: int, body: bytes | str, *, asked: str, wait: float | None = None) -> ServerError:
    """The exception for an answer that is not a success.

    The body may be of any of the shapes the servers use; `asked` is what was asked, such as "PATCH
    /api/projects/1/feature_flags/7/"; `wait` the seconds of the Retry-After header.

    Examples
    --------
    >>> body = '{"code": "permission_denied", "detail": "API key missing required scope \\'query:read\\'"}'
    >>> problem = refusal(403, body, asked="POST /query/")
    >>> type(problem).__name__, problem.scope
    ('MissingScopeError', 'query:read')
    """
    content = _json(body)
    text, code = _text(content, body), str(content.get("code") or "")
    said = f"{asked} answered {status}: {text}"
    if code in {"approval_required", "change_request_pending"}:
        error = ApprovalRequiredError(f"{said}. Nothing has changed until it is approved.", status=status)
        error.request = str(content.get("change_request_id") or "")
        error.code = code
        return error
    if status in {401, 403}:
        return _not_allowed(said, text, status, code)
    if status == 429:
        return _too_many(said, wait, code)
    if status == 404:
        return NotFoundError(said, status=status, code=code)
    if status == 409 or (status == 412 and not code):
        advice = "Read the flag again, look at what changed, and decide anew."
        return ConflictError(f"{said}. {advice}", status=status, code=code)
    if status in {503, 504, 512} or "ClickHouse error" in text:
        return QueryTooHeavyError(
            f"{said}. Ask for a shorter time or fewer columns.", status=status, code=code
        )
    if status == 402:
        return RateLimitError(f"{said}. The project's quota is used up; see its billing page.", status=status)
    if status in {400, 422}:
        field = str(content.get("attr") or "")
        named = f" (field {field!r})" if field else ""
        refused = FieldRefusedError(f"{said}{named}{_field_advice(code)}", status=status, code=code)
        refused.field = field
        return refused
    return ServerError(said, status=status, code=code)


def _not_allowed(said: str, text: str, status: int, code: str) -> ServerError:
    if match := _SCOPE.search(text):
        advice = f"Give the key the scope {match[1]!r} in its settings, or use one that has it"
        missing = MissingScopeError(f"{said}. {advice}.", status=status, code=code)
        missing.scope = match[1]
        return missing
    advice = "Check that the key is a personal one of this project, and of this region (US or EU)"
    return AuthenticationError(f"{said}. {advice}.", status=status, code=code)


def _too_many(said: str, wait: float | None, code: str) -> RateLimitError:
    if wait is None:
        advice = "too many queries run at once; wait until the others are done"
    else:
        advice = f"wait {_spoken(wait)} before the next try"
    limited = RateLimitError(f"{said}. The limit is reached: {advice}.", status=429, code=code)
    limited.wait = wait
    return limited


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes"


def _field_advice(code: str) -> str:
    too_old = ". This server is too old for the operator; use icontains or regex in the plan."
    advice = {
        "invalid_operator": too_old,
        "unsupported_operator": too_old,
        "policy_conflict": ". Two approval policies apply; split the change.",
        "unsupported_config_version": ". The flag has the newer configuration of rules; edit it in PostHog.",
        "reserved_config_version": ". The flag has the newer configuration of rules; edit it in PostHog.",
    }
    return advice.get(code, "")


def _json(body: bytes | str) -> Mapping[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _text(content: Mapping[str, Any], body: bytes | str) -> str:
    for key in ("detail", "error", "message", "title"):
        if content.get(key):
            return str(content[key])[:_LONGEST_TEXT].rstrip(".")
    for item in content.get("details") or ():
        if isinstance(item, Mapping) and item.get("message"):
            return str(item["message"])[:_LONGEST_TEXT].rstrip(".")
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    return " ".join(text.split())[:_LONGEST_TEXT].rstrip(".") or "no reason given"
