"""The sample release as a project on loopback, at one moment of its history."""

import json
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from tests.posthog_server.model import KEY, Project, RefusedError
from tests.posthog_server.serve import serving
from tests.posthog_server.warehouse import Warehouse

_OPEN = ExitStack()


def sample_project(folder, *, at, mode="new"):
    """A running server; it ends with the process. `server.key` opens it."""
    server = _OPEN.enter_context(serving(*sample_state(folder, at=at, mode=mode)))
    server.key = KEY
    return server


def sample_state(folder, *, at, mode="new"):
    """The project and its warehouse at one moment."""
    folder, moment = Path(folder).resolve(), _moment(at)
    project = Project(mode, clock=lambda: project.time)
    history = json.loads((folder / "history.json").read_text(encoding="utf-8"))["results"][::-1]
    for item in history:
        project.time = _moment(item["created_at"])
        if project.time > moment:
            break
        by = item["user"]["email"]
        changes = {change["field"]: change["after"] for change in item["detail"]["changes"]}
        if item["activity"] == "created":
            first = {"groups": [{"properties": [], "rollout_percentage": 0}]}
            project.add_flag({"id": 101, "key": "new-checkout", "filters": first}, by)
        else:
            if "filters" in changes:  # what an edit of the whole form sends
                stored = project.flags[101]["filters"]
                changes["filters"] = {**dict.fromkeys(stored), **changes["filters"]}
            project.patch(101, changes, by)
    project.time = moment
    warehouse = Warehouse()
    warehouse.load(*(folder / f"{name}.parquet" for name in ("events", "persons", "groups")))
    people = warehouse.count("stored_persons")

    def count_people(condition):
        if condition["properties"]:
            raise RefusedError(503, "error", "only conditions for everyone are counted here")
        return people, people

    project.count_people = count_people
    return project, warehouse


def _moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
