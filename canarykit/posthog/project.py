"""`PostHog`: one project, from its events to a verdict, and from a verdict to the flag."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Unpack
from urllib.parse import urlsplit

from canarykit.display import Note
from canarykit.errors import PlanError
from canarykit.plan.given import as_plan
from canarykit.posthog.flag_store import PostHogFlags
from canarykit.posthog.reading import Reading
from canarykit.release.keys import Key, find_key, hidden
from canarykit.release.outcome import Outcome
from canarykit.release.push import Push, prepare
from canarykit.release.record import Record, Timeline
from canarykit.release.refusals import KeyRefusedError
from canarykit.release.roll_back import roll_back
from canarykit.release.transport import Transport

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.events import EventLog
    from canarykit.health import StageReport
    from canarykit.metrics import Guardrail
    from canarykit.plan import RolloutPlan
    from canarykit.posthog.fetch import Fetched
    from canarykit.progress import Progress
    from canarykit.release.options import JudgeOptions
    from canarykit.typing import Time

_INGESTION = {"us.i.posthog.com": "us.posthog.com", "eu.i.posthog.com": "eu.posthog.com"}
_INGESTION |= {"app.posthog.com": "us.posthog.com", "app.i.posthog.com": "us.posthog.com"}
_WRONG_KINDS = {
    "phc_": "a project key (phc_), which is public and can only send events",
    "phs_": "a secure flags key (phs_), which can neither query nor change flags",
}
VARIABLE = "POSTHOG_PERSONAL_API_KEY"


class PostHog(Reading):
    """One project in PostHog.

    Parameters
    ----------
    host
        Address of the app, not of ingestion: "https://us.posthog.com", "https://eu.posthog.com", or your
        own. The addresses of ingestion are mended.
    project
        Number of the project. None: the project the key's owner looked at last, resolved once.
    key
        Personal API key; it begins with `phx_`. None: the environment variable POSTHOG_PERSONAL_API_KEY, else
        a prompt. It is never shown, logged or pickled, and goes to this host only.
    record
        File that keeps what was done, one JSON object a line.
    patience
        Longest time, in seconds, that is waited where the server asks to wait.
    transport
        For tests: a connection made elsewhere.

    Raises
    ------
    KeyRefusedError
        For a key of the wrong kind, no key, or a host to which a key would travel in the clear.

    Examples
    --------
    >>> PostHog("https://us.posthog.com", 12345, "phc_a_public_key")
    Traceback (most recent call last):
    ...
    canarykit.release.refusals.KeyRefusedError: this is a project key (phc_), which is public and can only
    send events; make a personal API key (phx_) in PostHog under Settings, Personal API keys
    >>> PostHog("https://us.i.posthog.com", 12345, "phx_a_personal_key")
    PostHog('https://us.posthog.com', project=12345)
    """

    def __init__(
        self,
        host: str = "https://us.posthog.com",
        project: int | None = None,
        key: str | Key | None = None,
        *,
        record: str | PathLike[str] = "release.jsonl",
        patience: float = 60.0,
        transport: Transport | None = None,
    ) -> None:
        self.notes: tuple[Note, ...] = ()
        key = hidden(key)  # what is printed of this frame does not show it
        if transport is None:
            transport = Transport(self._app_host(host), _personal_key(key), patience=patience)
        self._transport = transport
        self.host = transport.host
        self.project = self._pinned(project)
        self.record: Record = Record(record)
        self._base = f"api/projects/{self.project}"

    def __repr__(self) -> str:
        return f"PostHog({self.host!r}, project={self.project})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a connection is not pickled, for its key's sake: make it anew where it is needed")

    def _app_host(self, host: str) -> str:
        name = (urlsplit(host if "://" in host else f"https://{host}").hostname or "").lower()
        if name not in _INGESTION:
            return host
        mended = f"https://{_INGESTION[name]}"
        self.notes += (Note("host", f"{name} is not where projects are read; {mended} is used"),)
        return mended

    def _pinned(self, project: int | None) -> int:
        """The project's number; `@current` would move with the key owner's last click."""
        if project is not None:
            if isinstance(project, bool) or not str(project).isdigit():
                raise PlanError(
                    f"project is {project!r}; expected its number, as in the address of the project"
                )
            return int(project)
        number = int(self._transport.get("api/projects/@current/")["id"])
        self.notes += (Note("project", f"the project is number {number}, the one its owner used last"),)
        return number

    # ---- events ---------------------------------------------------------------------------------------

    def events(
        self,
        *,
        into: str | PathLike[str],
        since: Any,
        until: Any = None,
        names: Sequence[str] | None = None,
        flag: str | None = None,
        properties: Sequence[str] | None = None,
        road: Literal["auto", "file download", "hogql"] = "auto",
        late: str = "1d",
        persons_every: str = "6h",
        progress: Progress = None,
    ) -> Fetched:
        """Events into a folder, and persons and groups beside them; a second run fetches what is new.

        Parameters
        ----------
        into
            Folder; `read_posthog(f"{into}/events", persons=f"{into}/persons.parquet")` reads it, as does
            `.log()` of the answer.
        since, until
            Half-open UTC time; without `until`, up to now.
        names
            Events to fetch; those that say who had the flag are fetched in any case. None: all.
        flag
            Key of the flag, whose property is fetched where `properties` names others.
        properties
            Properties to fetch, by HogQL only; None: all.
        road
            "file download" (Parquet from PostHog's storage; scopes batch_export:write and :read), "hogql"
            (pages of a query; scope query:read), or the first that works.
        late
            How long events may arrive after they happened; times younger than that are fetched again.
        persons_every
            How old the persons file may become before it is fetched again.
        progress
            A bar by default on a terminal and in a notebook; False is silent, a callable gets
            (done, total).

        Returns
        -------
        Fetched
        """
        from canarykit.posthog.events import fetch_project

        return fetch_project(
            self._transport, self.project, self._hogql, self.group_types, self.host,
            into=into, since=since, until=until, names=names, flag=flag, properties=properties, road=road,
            late=late, persons_every=persons_every, progress=progress,
        )  # fmt: skip

    def log(self, flag: str, *, since: Any, until: Any = None, **options: Any) -> EventLog:
        """The events of a release as an `EventLog`; kept in a cache folder, which the log's notes name.

        Parameters
        ----------
        flag
            Key of the flag.
        since, until
            As for `events`.
        **options
            As for `events`: `names`, `properties`, `road`, `into`.

        Returns
        -------
        EventLog
        """
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        name = f"{urlsplit(self.host).netloc.replace(':', '-')}-{self.project}-{flag}"
        folder = home / "canarykit" / name
        fetched = self.events(into=folder, since=since, until=until, flag=flag, **options)
        log = fetched.log()
        log.notes = (*log.notes, Note("folder", f"events are kept in {folder}"))
        return log

    # ---- the release ----------------------------------------------------------------------------------

    def plan(self, flag: str, *, like: RolloutPlan | None = None, run: int = -1) -> RolloutPlan:
        """The release as it really ran, from the flag's activity log. Scope activity_log:read.

        Parameters
        ----------
        flag
            Key of the flag.
        like
            A plan whose names are taken for stages that let in the same people.
        run
            Which run, where the share was lowered in between.

        Returns
        -------
        RolloutPlan
            Stages with their true windows.
        """
        from canarykit.plan import RolloutPlan

        stored = self.flag(flag)
        types = tuple(self.group_types.values()) or ("organization",)
        activity = self._flags.activity(flag)
        return RolloutPlan.from_history(activity, flag=stored.raw, like=like, run=run, group_types=types)

    def prepare(
        self,
        plan: RolloutPlan,
        stage: str,
        *,
        report: StageReport | None = None,
        override: str = "",
        persons: pd.DataFrame | None = None,
    ) -> Push:
        """A dry run: what letting in a stage would change, for whom, and what stands against it.

        Writes nothing. Scopes feature_flag:read, and activity_log:read for the time a stage has run.

        Parameters
        ----------
        plan
            The release.
        stage
            Name of the stage to let in.
        report
            `evaluate_stage` of the stage that runs now. Without a PROMOTE, a push needs `override`.
        override
            Reason to go on against the verdict, the dwell or the order of stages; it is recorded.
        persons
            People to count those affected among, beside PostHog's own count.

        Returns
        -------
        Push
            Nothing is written until its `.apply()`.
        """
        from canarykit.posthog.reach import findings_of, reach_of

        plan = as_plan(plan)
        return prepare(
            self._flags,
            self.record,
            plan,
            stage,
            report=report,
            override=override,
            findings=lambda before, filters: findings_of(before, filters, persons),
            reach=lambda before, filters: [
                *reach_of(before, filters, persons, self.group_types),
                *self._flags.count_of(before, filters),
            ],
        )

    def roll_back(
        self,
        plan: RolloutPlan,
        *,
        to: str | None = None,
        off: bool = False,
        why: str = "",
        report: StageReport | None = None,
    ) -> Outcome:
        """Set the stage before on the newest version of the flag, or turn it off. Scope feature_flag:write.

        It goes through even where the newest edit was somebody else's, and shows what it overrules.

        Parameters
        ----------
        plan
            The release.
        to
            Stage to go back to; None: the one before.
        off
            Turn the flag off instead.
        why, report
            Reason and verdict, for the record.

        Returns
        -------
        Outcome
            Applied, nothing to do, or why not.
        """
        plan = as_plan(plan)
        return roll_back(self._flags, self.record, plan, to=to, off=off, why=why, report=report)

    @property
    def store(self) -> PostHogFlags:
        """The flag side, for `ck.watch`."""
        return self._flags

    def skew(self) -> timedelta:
        """How far this machine's clock is from the server's, by its last answer."""
        return self._transport.skew or timedelta()

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
        """The verdict on the running stage: new events fetched, true windows from the flag's history.

        Parameters
        ----------
        plan, stage, guardrails, as_of, looks
            As for `evaluate_stage`; `as_of` is the server's time where it is None.
        **options
            `since=` (a week before the release where it is not given), `into=`, `names=`, `road=` as for
            `events`; the rest as for `evaluate_stage`.

        Returns
        -------
        StageReport
        """
        from canarykit.posthog.judge import judge

        plan = as_plan(plan)
        moment = self._transport.now() if as_of is None else as_of
        return judge(self, plan, stage, guardrails, as_of=moment, looks=looks, **options)

    def enrol(self, flag: str, people: Sequence[str], *, joined: bool = True) -> int:
        """Let people (distinct ids) into the early access of a flag, or out of it; how many.

        Sent as an event, as PostHog's own button does. Scope project:read, for the project's token.

        Parameters
        ----------
        flag
            Key of the flag.
        people
            Distinct ids.
        joined
            False lets them out instead.

        Returns
        -------
        int
            People sent.
        """
        from canarykit.posthog.around import enrol

        return enrol(self._transport, self._base, flag, people, joined)

    def set_early_access(self, flag: str, stage: str) -> dict[str, Any]:
        """Move the early access feature of a flag to "alpha", "beta", "general-availability" ...

        Scopes early_access_feature:read and :write, feature_flag:write.

        Parameters
        ----------
        flag
            Key of the flag.
        stage
            "concept", "alpha", "beta", "general-availability" or "archived".

        Returns
        -------
        dict
            The feature as PostHog answers it.
        """
        from canarykit.posthog.around import set_early_access

        return set_early_access(self._transport, self._base, flag, stage)

    def schedule(self, plan: RolloutPlan, stage: str, *, at: Any, override: str) -> dict[str, Any]:
        """Let in a percentage stage later, by PostHog itself; only a rise can be.

        No verdict is asked for when the time comes, so it needs a reason, which is recorded; `watch` with
        `apply="all"` does the same by the verdicts. Scope feature_flag:write.

        Parameters
        ----------
        plan
            The release.
        stage
            Name of a percentage stage.
        at
            When; a time without a zone is UTC.
        override
            Reason to go on without a verdict; it is recorded.

        Returns
        -------
        dict
            The scheduled change as PostHog answers it.
        """
        from canarykit.posthog.around import schedule

        plan = as_plan(plan)
        if not override.strip():
            raise PlanError("a scheduled stage passes no verdict; give override='reason'")
        made = schedule(self._transport, self._base, self.flag(plan.flag), plan, stage, at)
        entry = {"what": "scheduled", "at": self._transport.now(), "flag": plan.flag, "stage": stage}
        self.record.append({**entry, "for": str(at), "override": override, "id": made.get("id")})
        return made

    def schedule_off(self, flag: str, *, at: Any) -> dict[str, Any]:
        """Turn a flag off later, by PostHog itself. Scope feature_flag:write.

        Parameters
        ----------
        flag
            Key of the flag.
        at
            When; a time without a zone is UTC.

        Returns
        -------
        dict
            The scheduled change as PostHog answers it.
        """
        from canarykit.posthog.around import schedule_off

        made = schedule_off(self._transport, self._base, self.flag(flag), at)
        entry = {"what": "scheduled", "at": self._transport.now(), "flag": flag, "stage": None}
        self.record.append({**entry, "for": str(at), "id": made.get("id")})
        return made

    def timeline(self, flag: str | None = None) -> Timeline:
        """What was done, from the record: a table, and a picture by `.plot()`.

        Parameters
        ----------
        flag
            Key of the flag; None: of all flags.

        Returns
        -------
        Timeline
        """
        return self.record.timeline(flag)


def _personal_key(key: str | Key | None) -> Key:
    secret = find_key(key, variable=VARIABLE, what="personal API key of PostHog")
    for prefix, words in _WRONG_KINDS.items():
        if secret.starts_with(prefix):
            raise KeyRefusedError(
                f"this is {words}; make a personal API key (phx_) in PostHog under Settings, "
                "Personal API keys"
            )
    return secret
