"""Flags, versions, activity and approvals of one project, as PostHog's older and newer servers keep them."""

import json
import re
from copy import deepcopy
from datetime import UTC, datetime

KEY = "phx_loopback_secret_0123456789"
SCOPES = {
    "feature_flag:read", "feature_flag:write", "activity_log:read", "cohort:read", "person:read",
    "group:read", "survey:read", "early_access_feature:read", "early_access_feature:write",
    "experiment_holdout:read",
    "annotation:read", "annotation:write", "session_recording:read", "query:read", "batch_export:read",
    "batch_export:write", "approvals:read",
}  # fmt: skip


class RefusedError(Exception):
    """An answer that is not a success; `app` turns it into an exception of Django REST framework."""

    def __init__(self, status, code, detail, attr=None, body=None, headers=None):
        super().__init__(detail)
        self.status, self.code, self.detail, self.attr = status, code, detail, attr
        self.body, self.headers = body, headers or {}

    def plain(self):
        kinds = {401: "authentication_error", 403: "authentication_error", 409: "server_error"}
        kinds |= {404: "invalid_request", 405: "invalid_request", 429: "throttled_error"}
        kind = kinds.get(self.status, "validation_error")
        return self.body or {"type": kind, "code": self.code, "detail": self.detail, "attr": self.attr}


class Project:
    """One project. `mode` is "old" or "new"; `clock` says the server's time."""

    def __init__(self, mode="new", *, clock=None, number=7):
        self.mode, self.number = mode, number
        self.clock = clock or (lambda: datetime.now(UTC))
        self.flags, self.versions, self.activity = {}, {}, []
        self.annotations, self.early_access, self.lists = [], [], {}
        self.scheduled = []
        self.group_types = {"0": "organization"}
        self.scopes = {KEY: set(SCOPES)}
        self.gated = set()  # actions that need an approval: "update", "disable"
        self.requests = {}
        self.between_load_and_lock = lambda: None
        self.count_people = lambda condition: (0, 0)

    # ---- flags ------------------------------------------------------------------------------------

    def add_flag(self, flag, by="ada@acme.io"):
        number = flag.get("id") or 101 + len(self.flags)
        stored = {
            "name": "", "active": True, "deleted": False, "version": 1, "ensure_experience_continuity": False,
            "has_encrypted_payloads": False, "tags": [], **deepcopy(flag), "id": number,
            "filters": self._stored(flag.get("filters") or {"groups": []}),
            "created_at": flag.get("created_at") or self.now(), "updated_at": self.now(),
            "last_modified_by": {"id": 1, "email": by},
        }  # fmt: skip
        self.flags[number] = stored
        self.versions[number] = [deepcopy(stored)]
        self._log(stored, by, "created", [])
        return stored

    def now(self):
        return self.clock().isoformat()

    def _stored(self, filters):
        """What the server adds on write."""
        filters = {key: value for key, value in deepcopy(filters).items() if value is not None}
        level = filters.setdefault("aggregation_group_type_index", None)
        for group in filters.get("groups") or ():
            group.setdefault("aggregation_group_type_index", level)
            for item in group.get("properties") or ():
                item["operator"] = {"min": "gte", "max": "lte"}.get(
                    item.get("operator"), item.get("operator")
                )
        if filters.get("payloads"):
            filters["payloads"] = {
                key: value if isinstance(value, str) else json.dumps(value)
                for key, value in filters["payloads"].items()
            }
        return filters

    def shown(self, flag):
        """What the server injects on read."""
        shown = deepcopy(flag)
        for group in shown["filters"].get("groups") or ():
            for item in group.get("properties") or ():
                if item.get("type") == "cohort":
                    item["cohort_name"] = f"cohort {item.get('value')}"
        return shown

    def get(self, number):
        if number not in self.flags:
            raise RefusedError(404, "not_found", "Not found.")
        return self.flags[number]

    def patch(self, number, body, by):
        instance = deepcopy(self.get(number))
        action = "disable" if body.get("active") is False and instance["active"] else "update"
        self._approval(number, action, body)
        self.between_load_and_lock()
        locked = self.flags[number]
        sent = {key: value for key, value in body.items() if key not in {"version", "original_flag"}}
        if "filters" in sent:
            sent["filters"] = self._merged(instance["filters"], sent["filters"])
            if sent["filters"] is None:
                return self.shown(locked)
            self._check(sent["filters"])
        self._clash(sent, body, instance, locked["version"], by)
        before = deepcopy(locked)
        # Every column of the instance that was loaded before the lock is saved.
        new = {**instance, **sent, "version": locked["version"] + 1}
        return self._save(number, new, before, by)

    def _merged(self, stored, sent):
        if self.mode == "old":
            return None if "groups" not in sent else self._stored(sent)
        return self._stored({**stored, **sent})

    def _check(self, filters):
        for position, group in enumerate(filters.get("groups") or ()):
            share = group.get("rollout_percentage")
            if share is not None and not 0 <= share <= 100:
                words = f"groups[{position}].rollout_percentage must be between 0 and 100, got {share}"
                raise RefusedError(400, "invalid_input", words, "filters")
            for item in group.get("properties") or ():
                if self.mode == "old" and item.get("operator") in {"ends_with", "starts_with"}:
                    raise RefusedError(
                        400, "invalid_operator", f"operator {item['operator']} is unknown", "filters"
                    )

    def _clash(self, sent, body, instance, version, by):
        """Own words, from reading what `FeatureFlagSerializer.update` compares."""
        given, original = body.get("version", -1), body.get("original_flag")
        if given in (-1, version) or not original:
            return
        mine = {**sent, "last_modified_by": {"email": by}}
        stored = instance  # what was loaded before the lock is what is compared
        lost = [
            key
            for key, value in mine.items()
            if key in original
            and _bare(value) != _bare(original[key])
            and _bare(original[key]) != _bare(stored[key])
            and _bare(value) != _bare(stored[key])
        ]
        if lost:
            who = self.flags[instance["id"]]["last_modified_by"]["email"]
            words = f"The feature flag was updated by {who} since you started editing it. Please refresh"
            raise RefusedError(409, "conflict", words)

    def _save(self, number, new, before, by):
        new = {**new, "last_modified_by": {"id": sum(map(ord, by)), "email": by}, "updated_at": self.now()}
        self.flags[number] = new
        self.versions[number].append(deepcopy(new))
        fields = ("filters", "active", "name", "deleted")
        changes = [
            {
                "type": "FeatureFlag",
                "action": "changed",
                "field": key,
                "before": before[key],
                "after": new[key],
            }
            for key in fields
            if before[key] != new[key]
        ]
        self._log(new, by, "updated", deepcopy(changes))
        return self.shown(new)

    def _log(self, flag, by, activity, changes):
        detail = {"name": flag["key"], "changes": changes}
        item = {
            "user": {"email": by},
            "activity": activity,
            "scope": "FeatureFlag",
            "item_id": str(flag["id"]),
        }
        self.activity.append({**item, "created_at": self.now(), "detail": detail})

    def set_rollout(self, number, body, by):
        flag = self.get(number)
        if body["version"] != flag["version"]:
            raise RefusedError(409, "conflict", f"The flag changed since version {body['version']}")
        self._approval(number, "update", body)
        groups = flag["filters"]["groups"]
        index, share = body["condition_index"], body["rollout_percentage"]
        if not 0 <= index < len(groups):
            raise RefusedError(400, "invalid_input", "no such condition", "condition_index")
        if groups[index].get("rollout_percentage") == share:
            return self.shown(flag)
        before, new = deepcopy(flag), deepcopy(flag)
        new["filters"]["groups"][index]["rollout_percentage"] = share
        self._check(new["filters"])
        return self._save(number, {**new, "version": flag["version"] + 1}, before, by)

    def switch(self, number, active, by):
        flag = self.get(number)
        if flag["active"] == active:
            return self.shown(flag)
        self._approval(number, "enable" if active else "disable", {})
        new = {**deepcopy(flag), "active": active, "version": flag["version"] + 1}
        return self._save(number, new, deepcopy(flag), by)

    def _approval(self, number, action, body):
        if action not in self.gated:
            return
        pending = number in self.requests
        self.requests.setdefault(number, {"id": f"request-{number}", "state": "pending", "intent": body})
        code = "change_request_pending" if pending else "approval_required"
        words = "This change needs an approval"
        raise RefusedError(
            409, code, words, body={"code": code, "status": "pending", "message": words,
                                    "change_request_id": f"request-{number}", "resource_id": number}
        )  # fmt: skip

    def version(self, number, wanted):
        for one in self.versions[number]:
            if one["version"] == wanted:
                return {
                    "version": wanted,
                    "filters": one["filters"],
                    "active": one["active"],
                    "key": one["key"],
                }
        raise RefusedError(404, "not_found", "Not found.")

    # ---- the address of everything ----------------------------------------------------------------

    def handle(self, method, path, query, body, token):
        """The answer to one request below /api/projects/:id/, or `RefusedError`."""
        by = self._who(token)
        match = re.fullmatch(r"feature_flags/(\d+)/(?:(\w+)/(?:(\d+)/)?)?", path)
        if match:
            return self._flag_call(method, int(match[1]), match[2], match[3], query, body, token, by)
        if path == "feature_flags/user_blast_radius/":
            self._scope(token, "feature_flag:read")
            affected, total = self.count_people(body["condition"])
            keys = ("affected", "total") if self.mode == "new" else ("users_affected", "total_users")
            return dict(zip(keys, (affected, total), strict=True))
        if path == "feature_flags/":
            self._scope(token, "feature_flag:read")
            return self._page([self.shown(flag) for flag in self._listed(query)], query)
        if path == "annotations/" and method == "POST":
            self._scope(token, "annotation:write")
            self.annotations.append({"id": len(self.annotations) + 1, **body})
            return self.annotations[-1]
        if path == "":
            return {"id": self.number, "api_token": "phc_public", "name": "Shop"}
        if path == "scheduled_changes/" and method == "POST":
            self._scope(token, "feature_flag:write")
            self.scheduled.append({"id": len(self.scheduled) + 1, **body})
            return self.scheduled[-1]
        if path == "groups_types/":
            self._scope(token, "group:read")
            return [{"group_type_index": int(i), "group_type": name} for i, name in self.group_types.items()]
        match = re.fullmatch(r"early_access_feature/(\d+)/", path)
        if match and method == "PATCH":
            self._scope(token, "early_access_feature:write")
            item = next((one for one in self.early_access if one["id"] == int(match[1])), None)
            if item is None:
                raise RefusedError(404, "not_found", "Not found.")
            item.update(body)
            return item
        return self._list(path, query, token)

    def _flag_call(self, method, number, call, argument, query, body, token, by):
        if call == "activity":
            self._scope(token, "activity_log:read")
            self.get(number)
            items = [item for item in self.activity if item["item_id"] == str(number)][::-1]
            return self._numbered(items, query, f"feature_flags/{number}/activity/")
        if method == "GET" and call is None:
            self._scope(token, "feature_flag:read")
            return self.shown(self.get(number))
        if call == "versions" and self.mode == "new":
            self._scope(token, "feature_flag:read")
            return self.version(number, int(argument))
        self._scope(token, "feature_flag:write")
        if method == "PATCH" and call is None:
            return self.patch(number, body, by)
        if method == "DELETE":
            raise RefusedError(405, "method_not_allowed", 'Method "DELETE" not allowed.')
        if self.mode == "new" and method == "POST":
            if call == "set_release_condition_rollout":
                return self.set_rollout(number, body, by)
            if call in {"enable", "disable"}:
                return self.switch(number, call == "enable", by)
        raise RefusedError(404, "not_found", "Not found.")

    def _listed(self, query):
        flags = [flag for flag in self.flags.values() if not flag["deleted"]]
        if self.mode == "new" and query.get("key"):
            flags = [flag for flag in flags if flag["key"].lower() == query["key"].lower()]
        if query.get("search"):
            text = query["search"].lower()
            flags = [f for f in flags if text in f["key"].lower() or text in f["name"].lower()]
        return flags

    def _list(self, path, query, token):
        scopes = {
            "cohorts/": "cohort:read", "persons/": "person:read", "groups/": "group:read",
            "surveys/": "survey:read", "early_access_feature/": "early_access_feature:read",
            "experiment_holdouts/": "experiment_holdout:read", "annotations/": "annotation:read",
            "session_recordings/": "session_recording:read",
        }  # fmt: skip
        if path not in scopes:
            raise RefusedError(404, "not_found", "Endpoint not found.")
        self._scope(token, scopes[path])
        lists = {"annotations/": self.annotations, "early_access_feature/": self.early_access}
        items = lists.get(path, self.lists.get(path, []))
        if path == "persons/":
            items = [p for p in items if _is_asked(p, query)]
        if path == "groups/":
            items = [g for g in items if str(g["group_type_index"]) == query.get("group_type_index")]
        return self._page(items, query, path)

    def _page(self, items, query, path="feature_flags/"):
        limit, offset = int(query.get("limit", 100)), int(query.get("offset", 0))
        more = offset + limit < len(items)
        further = {key: value for key, value in query.items() if key not in {"limit", "offset"}}
        listed = "".join(f"&{key}={value}" for key, value in further.items())
        url = f"{{host}}/api/projects/{self.number}/{path}?limit={limit}&offset={offset + limit}{listed}"
        return {
            "count": len(items), "next": url if more else None, "previous": None,
            "results": items[offset : offset + limit],
        }  # fmt: skip

    def _numbered(self, items, query, path):
        limit, page = int(query.get("limit", 10)), int(query.get("page", 1))
        more = page * limit < len(items)
        url = f"{{host}}/api/projects/{self.number}/{path}?page={page + 1}&limit={limit}"
        results = deepcopy(items[(page - 1) * limit : page * limit])
        return {
            "results": results,
            "next": url if more else None,
            "previous": None,
            "total_count": len(items),
        }

    def _who(self, token):
        if token not in self.scopes:
            raise RefusedError(
                401,
                "authentication_failed",
                "Personal API key found in request Authorization header is invalid.",
            )
        return "robot@acme.io" if token == KEY else f"{token}@acme.io"

    def _scope(self, token, scope):
        if scope not in self.scopes[token]:
            raise RefusedError(403, "permission_denied", f"API key missing required scope '{scope}'")


def _bare(value):
    """Without the ids that only the server has."""
    if isinstance(value, dict) and "email" in value:
        return value["email"]
    return value


def _is_asked(person, query):
    if query.get("email"):
        return person["properties"].get("email") == query["email"]
    if query.get("distinct_id"):
        return query["distinct_id"] in person["distinct_ids"]
    return True
