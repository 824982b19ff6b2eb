"""The loop: look, tell, wait, look again."""

from __future__ import annotations

import os
import socket
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, Unpack
from uuid import uuid4

import urllib3
from urllib3.exceptions import HTTPError

from canarykit.display import Note
from canarykit.errors import PlanError, did_you_mean
from canarykit.plan.given import as_plan
from canarykit.release.look import Allowed, Look, look
from canarykit.release.transport import check_host
from canarykit.times import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from canarykit.health import StageReport
    from canarykit.metrics import Guardrail
    from canarykit.plan import RolloutPlan
    from canarykit.release.options import JudgeOptions
    from canarykit.release.record import Record
    from canarykit.release.store import FlagStore
    from canarykit.typing import Time

_ALLOWED = (None, "rollback", "all")


class Project(Protocol):
    """What a loop needs of a project: its flags, its record, a verdict, and how far the clocks are apart."""

    @property
    def store(self) -> FlagStore:
        """The flag side."""
        ...

    @property
    def record(self) -> Record:
        """What was done."""
        ...

    def judge(
        self,
        plan: RolloutPlan,
        stage: str,
        guardrails: Sequence[Guardrail] | Guardrail | None = None,
        *,
        as_of: Time | None = None,
        looks: str = "1h",
        **options: Unpack[JudgeOptions],
    ) -> StageReport:
        """The verdict on the running stage, on what is new."""
        ...

    def skew(self) -> timedelta:
        """How far this machine's clock is from the server's."""
        ...


def watch(
    project: Project,
    plan: RolloutPlan,
    guardrails: Sequence[Guardrail] | Guardrail | None = None,
    *,
    every: str = "1h",
    apply: Allowed = None,
    notify: str | None = None,
    looks: int | None = None,
    judged_every: str = "1h",
    show: bool | None = None,
    **options: Unpack[JudgeOptions],
) -> Look:
    """Look at a running release again and again: judge it, and roll back or go on where that is allowed.

    Every look reads the flag, its history and the record anew and fetches only new events, so the loop
    can be stopped at any moment and started again, here or elsewhere.

    Parameters
    ----------
    project
        `PostHog`, or anything with its `store`, `record`, `judge` and `skew`.
    plan
        The stages; their true windows are read from the flag's history.
    guardrails
        As for `evaluate_stage`.
    every
        Time between two looks.
    apply
        None reports only. "rollback" rolls back when the verdict says so. "all" also goes on when a stage
        is promoted and its dwell is over; after a roll-back it waits for a person.
    notify
        Webhook that is told when the verdict changes or something was done, in the JSON that Slack, Teams
        and Mattermost take.
    looks
        How many; None: until it is stopped.
    judged_every
        `looks` of `evaluate_stage`: the rhythm in which the evidence is looked at.
    show
        Whether to show each look in the notebook's cell or on the terminal; by default where a person
        watches.
    **options
        As for `judge` and `evaluate_stage`.

    Returns
    -------
    Look
        The last one.
    """
    plan = as_plan(plan)
    if apply not in _ALLOWED:
        raise PlanError(f"apply is {apply!r}; {did_you_mean(str(apply), ('rollback', 'all'))}")
    pause = timedelta(seconds=duration(every, name="every"))
    loop = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
    rhythm = {} if judged_every == "1h" else {"looks": judged_every}
    number = 0
    while True:
        number += 1
        is_last = looks is not None and number >= looks
        before = _latest(project.record, plan.flag)
        seen = look(
            project.store,
            project.record,
            plan,
            lambda stage, at: project.judge(plan, stage, guardrails, as_of=at, **rhythm, **options),
            allowed=apply,
            loop=loop,
            every=pause,
            is_last=is_last,
            skew=project.skew,
        )
        if notify and (before != (seen.stage, seen.verdict) or seen.outcome is not None):
            seen = _told(seen, notify)
        _show(seen, show)
        if is_last:
            return seen
        time.sleep(pause.total_seconds())


def _latest(record: Record, flag: str) -> tuple[str | None, str | None] | None:
    looks = [entry for entry in record.entries(flag) if entry.get("what") == "look"]
    if not looks:
        return None
    return looks[-1].get("stage"), (looks[-1].get("verdict") or {}).get("verdict")


def message(seen: Look) -> dict[str, str]:
    """What a webhook is told: one key that Slack, Teams and Mattermost all read.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> message(Look("new-checkout", None, datetime(2026, 9, 7, tzinfo=UTC), why="the flag is off"))
    {'text': 'new-checkout, no stage: no verdict, nothing: the flag is off'}
    """
    lines = [seen._in_brief()]
    if seen.outcome is not None:
        lines.append(seen.outcome._in_brief())
    return {"text": "\n".join([*lines, *(str(note) for note in seen.notes)])}


def notify(seen: Look, url: str) -> str:
    """Tell a webhook; what went wrong, or nothing. Its address is a secret of its own and is not shown."""
    check_host(url.split("?", 1)[0])
    try:
        answer = urllib3.request("POST", url, json=message(seen), timeout=10.0, retries=False, redirect=False)
    except (HTTPError, OSError) as problem:
        return f"the webhook was not reached: {type(problem).__name__}"
    return "" if answer.status < 300 else f"the webhook answered {answer.status}"


def _told(seen: Look, url: str) -> Look:
    from dataclasses import replace

    problem = notify(seen, url)
    return replace(seen, notes=(*seen.notes, Note("not_told", problem))) if problem else seen


def _show(seen: Look, show: bool | None) -> None:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    in_notebook = getattr(shell, "kernel", None) is not None
    if show is None:
        live = "JPY_SESSION_NAME" in os.environ if in_notebook else sys.stderr and sys.stderr.isatty()
        show = bool(live)
    if not show:
        return
    if in_notebook:
        from IPython.display import clear_output, display

        clear_output(wait=True)
        display(seen)
    else:
        print(seen._in_brief(), file=sys.stderr, flush=True)
