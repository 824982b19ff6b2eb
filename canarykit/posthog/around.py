"""Around the flag: who joins the early access, its stage, and changes that PostHog makes later by itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from canarykit.errors import PlanError, did_you_mean
from canarykit.release.transport import Transport
from canarykit.times import to_utc

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan
    from canarykit.release.store import StoredFlag

EARLY_STAGES = ("draft", "concept", "alpha", "beta", "general-availability", "archived")


def enrol(transport: Transport, base: str, flag: str, people: Iterable[str], joined: bool) -> int:
    """Let people into the early access of a flag, or out of it; how many."""
    token = transport.get(f"{base}/")["api_token"]
    name = urlsplit(transport.host).netloc
    cloud = {"us.posthog.com": "us.i.posthog.com", "eu.posthog.com": "eu.i.posthog.com"}
    events = [
        {
            "event": "$feature_enrollment_update",
            "distinct_id": str(person),
            "properties": {
                "$feature_flag": flag,
                "$feature_enrollment": joined,
                "$set": {f"$feature_enrollment/{flag}": joined},
            },
            "timestamp": transport.now().isoformat(),
        }
        for person in people
    ]
    scheme = urlsplit(transport.host).scheme
    url = f"{scheme}://{cloud.get(name, name)}/batch/"
    transport.write_openly(url, {"api_key": token, "batch": events})
    return len(events)


def set_early_access(transport: Transport, base: str, flag: str, stage: str) -> dict[str, Any]:
    """Move the early access feature of a flag to another stage."""
    if stage not in EARLY_STAGES:
        raise PlanError(f"the early access has no stage {stage!r}; {did_you_mean(stage, EARLY_STAGES)}")
    features = list(transport.pages(f"{base}/early_access_feature/", {"limit": 100}))
    for feature in features:
        if (feature.get("feature_flag") or {}).get("key") == flag:
            answer = transport.write(
                "PATCH", f"{base}/early_access_feature/{feature['id']}/", {"stage": stage}
            )
            return dict(answer)
    names = [str((one.get("feature_flag") or {}).get("key")) for one in features]
    raise PlanError(f"no early access feature belongs to {flag!r}; {did_you_mean(flag, names)}")


def schedule_off(transport: Transport, base: str, stored: StoredFlag, at: Any) -> dict[str, Any]:
    """Turn a flag off later."""
    return _schedule(transport, base, stored, {"operation": "update_status", "value": False}, at)


def schedule(
    transport: Transport, base: str, stored: StoredFlag, plan: RolloutPlan, stage: str, at: Any
) -> dict[str, Any]:
    """Let in a percentage stage later.

    PostHog adds a condition set and replaces none, so only a rise can be scheduled; the next push tidies
    up. No verdict is asked for when the time comes.
    """
    wanted = plan.stage(stage)
    now = max((g.get("rollout_percentage") or 0 for g in _everyone(stored)), default=0)
    if wanted.share is None or wanted.share <= now:
        raise PlanError(
            f"only a rise of the share can be scheduled; {stage!r} is not above the {now:g} % of now"
        )
    groups = [wanted.conditions[-1].to_posthog()]
    payload = {"operation": "add_release_condition", "value": {"groups": groups}}
    return _schedule(transport, base, stored, payload, at)


def _everyone(stored: StoredFlag) -> list[dict[str, Any]]:
    return [group for group in stored.filters.get("groups") or () if not group.get("properties")]


def _schedule(
    transport: Transport, base: str, stored: StoredFlag, payload: dict[str, Any], at: Any
) -> dict[str, Any]:
    moment = to_utc(at, name="at")
    if moment <= transport.now():
        raise PlanError(f"at is {moment.isoformat()}, which is past")
    body: dict[str, Any] = {"record_id": str(stored.id), "model_name": "FeatureFlag", "payload": payload}
    body |= {"scheduled_at": moment.isoformat(), "is_recurring": False}
    return dict(transport.write("POST", f"{base}/scheduled_changes/", body))
