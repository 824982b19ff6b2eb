"""Random schedules of one release: edits, lost answers, crashes, wrong clocks, two loops.

After each schedule what must hold: no edit of somebody else is lost silently, no push is applied twice,
no stage is skipped, nothing goes on without a PROMOTE on fresh data, and the record agrees with the server.
"""

import random
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pandas as pd

import canarykit as ck
from canarykit.errors import CanarykitError, DataError
from canarykit.posthog.flag_store import PostHogFlags
from canarykit.release.keys import Key
from canarykit.release.look import look
from canarykit.release.record import Record
from canarykit.release.roll_back import roll_back
from canarykit.release.settle import settle
from canarykit.release.transport import Transport
from tests.posthog_server.in_process import Pool
from tests.posthog_server.model import KEY, Project, RefusedError

START = datetime(2026, 9, 7, 9, tzinfo=UTC)
SHARES = (5, 25, 50)
PLAN = ck.RolloutPlan(
    "f",
    (
        ck.Stage.for_people("ada", ["ada@acme.io"], dwell="1h"),
        *(ck.Stage.for_share(f"{share} %", share, dwell="2h") for share in SHARES),
        ck.Stage.for_everyone(),
    ),
)
ROBOT = "robot@acme.io"


class Killed(BaseException):
    """kill -9: nothing of the process runs on."""


class Schedule:
    """One random schedule, from its seed alone."""

    def __init__(self, seed, folder):
        self.random = random.Random(seed)
        self.mode = self.random.choice(["old", "new"])
        self.time = START
        self.project = Project(self.mode, clock=lambda: self.time, number=7)
        flag = {"key": "f", "filters": {"groups": PLAN.flag_at("ada").to_posthog()["filters"]["groups"]}}
        self.project.add_flag(flag)
        self.record = Record(folder / f"{seed}.jsonl")
        self.edits = []  # descriptions that others set, by condition set
        self.judged = []  # (stage, verdict, fresh)
        self.late = []  # writes on their way after their sender gave up
        self.shown = []
        self.steps = Counter()
        self.chance = self.random.choice([0.0, 0.03, 0.06, 0.15])

    def client(self):
        skewed = self.random.choice([*[timedelta()] * 8, timedelta(hours=3), timedelta(minutes=-40)])
        transport = Transport(
            "http://localhost:1",
            Key(KEY),
            pool=Pool(self.project, self.around),
            clock=lambda: self.time + skewed,
        )
        return PostHogFlags(transport, 7), transport

    # ---- the world ------------------------------------------------------------------------------

    def around(self, method, path, act):
        self.time += timedelta(seconds=self.random.choice([1, 1, 1, 20]))
        write = method in {"PATCH", "POST"} and "annotations" not in path
        if self.random.random() < self.chance:
            self.edit()
        chance = self.random.random()
        if chance < self.chance / 4:
            raise Killed
        if chance < self.chance / 2:
            if write and self.random.random() < 0.7:
                self.late.append((self.time, act))
            raise ConnectionError("lost before it arrived")
        if write and chance < self.chance * 3 / 4:
            self.project.between_load_and_lock = self.edit
        try:
            answer = act()
        finally:
            self.project.between_load_and_lock = lambda: None
        if self.random.random() < self.chance / 4:
            raise Killed
        if self.random.random() < self.chance / 3:
            raise ConnectionError("the answer was lost")
        return answer

    def edit(self):
        """Somebody adds a condition set of their own, or renames the flag."""
        flag = self.project.flags[101]
        self.project.between_load_and_lock = lambda: None
        self.steps["edits"] += 1
        if self.random.random() < 0.3:
            self.project.patch(101, {"name": f"name {len(self.edits)}"}, "bob@acme.io")
            return
        mark = f"edit {len(self.edits)}"
        condition = {"properties": [{"key": "plan", "value": [mark], "operator": "exact", "type": "person"}]}
        groups = [{**condition, "rollout_percentage": 10, "description": mark}, *flag["filters"]["groups"]]
        self.project.patch(101, {"filters": {**flag["filters"], "groups": groups}}, "bob@acme.io")
        self.edits.append(mark)

    def judge(self, stage, at):
        """A verdict of the world: often none, often stale."""
        kind = self.random.random()
        if kind < 0.1:
            self.judged.append((stage, None))
            raise DataError("no events")
        verdict = self.random.choice([*["promote"] * 8, "hold", "roll back"])
        as_of = pd.Timestamp(at) - (timedelta(days=3) if kind < 0.2 else timedelta())
        self.judged.append((stage, verdict if kind >= 0.2 or verdict != "promote" else "stale"))
        return SimpleNamespace(
            flag="f", stage=stage, verdict=ck.Verdict(verdict), reason="the world", as_of=as_of, audit={},
            exit_code=0,
        )  # fmt: skip

    # ---- a life -----------------------------------------------------------------------------------

    def run(self):
        for _ in range(self.random.randint(4, 14)):
            pause = self.random.choice([timedelta(minutes=5), timedelta(hours=1), timedelta(hours=3)])
            if any(self.time + pause - sent > timedelta(minutes=9) for sent, _ in self.late):
                self.arrive()  # a request is on its way for minutes, not for hours
            self.time += pause
            self.one_step()
        self.arrive()
        self.time += timedelta(hours=1)
        self.chance = 0.0
        store, _ = self.client()
        assert settle(store, self.record, store.read("f")) == []
        self.check()

    def arrive(self):
        """Writes that were still on their way reach the server, or do not."""
        for _, act in self.late:
            self.steps["late writes"] += 1
            with suppress(RefusedError):  # the server refuses what is out of date
                act()
        self.late.clear()

    def one_step(self):
        before = self.reached()
        count, judged = len(self.project.versions[101]), len(self.judged)
        by_hand = self.random.random() < 0.05
        try:
            self.shown += self.take_step(by_hand)
            self.steps["looks"] += 1
        except Killed:
            self.steps["crashes"] += 1
        except CanarykitError:
            self.steps["errors said"] += 1
        ours = [one for one in self.project.versions[101][count:] if by_robot(one)]
        for one in ours:
            after = stage_of(one)
            assert after <= before + 1, "a stage was skipped"
            if after > before:
                fresh = [verdict for _, verdict in self.judged[judged:]]
                assert fresh == ["promote"], f"promoted on {fresh}"
        assert len(ours) <= 1 or by_hand or self.judged[-1][1] == "roll back", "one look wrote twice"

    def take_step(self, by_hand):
        """One look, or a roll-back by a person; what it showed of others' edits."""
        store, transport = self.client()
        if by_hand:
            outcome = roll_back(store, self.record, PLAN, why="a person says so")
        else:
            outcome = look(
                store, self.record, PLAN, self.judge, allowed="all", loop=self.random.choice("ab"),
                every=timedelta(seconds=1), skew=lambda: transport.skew or timedelta(),
            ).outcome  # fmt: skip
        return shown_by(outcome)

    def reached(self):
        return stage_of(self.project.flags[101])

    def check(self):
        versions = {one["version"]: one for one in self.project.versions[101]}
        assert sorted(versions) == list(range(1, len(versions) + 1))
        ours = {number for number, one in versions.items() if by_robot(one)}
        applied = [i for i in self.record.intents("f") if i.status == "applied"]
        numbers = [intent.version_after for intent in applied]
        assert len(numbers) == len(set(numbers)), "one write is on record twice"
        store, _ = self.client()
        for intent in applied:
            one = versions[intent.version_after]
            if intent.action == "switch off":  # asks for no version, and leaves the filters as they are
                assert not one["active"]
            else:
                prints = [store.fingerprint(one["filters"], active) for active in (True, False)]
                assert intent.fingerprint_after in prints
        assert ours <= set(numbers), "the server has a write that is not on record"
        lines = self.record.path.read_text() if self.record.path.exists() else ""
        assert KEY not in lines
        for before, after in zip(sorted(versions), sorted(versions)[1:], strict=False):
            lost = marks(versions[before]) - marks(versions[after])
            if lost:
                shown = lines + " ".join(self.shown)
                assert all(mark in shown for mark in lost) or '"overwritten": true' in lines, f"{lost} lost"
        self.steps["pushes"] += sum(intent.action == "push" for intent in applied)
        self.steps["roll-backs"] += sum(intent.action != "push" for intent in applied)
        self.steps["overwritten and shown"] += "overwritten" in self.shown


def shown_by(outcome):
    """What an outcome tells of others' edits, as texts."""
    if outcome is None:
        return []
    words = [difference.words() for difference in outcome.theirs]
    return [*words, "overwritten"] if outcome.overwritten else words


def by_robot(version):
    return version["last_modified_by"]["email"] == ROBOT


def stage_of(flag):
    """Index of the stage by the widest share of everyone; the slow and obvious way."""
    everyone = [g["rollout_percentage"] for g in flag["filters"]["groups"] if not g["properties"]]
    widest = max(everyone, default=0)
    return [0, *SHARES, 100].index(widest) if flag["active"] else -1


def marks(flag):
    return {g["description"] for g in flag["filters"]["groups"] if g.get("description")}


def run_schedules(seeds, make):
    """What happened in all of them together; the first promise that is broken names its seed."""
    total = Counter()
    for seed in seeds:
        schedule = make(seed)
        try:
            schedule.run()
        except AssertionError as broken:
            raise AssertionError(f"schedule {seed} ({schedule.mode} server): {broken}") from broken
        total += schedule.steps
    return total
