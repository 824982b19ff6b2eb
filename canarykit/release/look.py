"""One look at a running release: judge it, and roll back or go on where that is allowed.

Everything a look rests on is read anew, from the server and the record: it can be stopped at any moment,
and the next look goes on from what is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from canarykit.display import Column, Note, Result, Table
from canarykit.errors import CanarykitError
from canarykit.release.gates import MOST_SKEW, verdict_of
from canarykit.release.outcome import Outcome
from canarykit.release.push import prepare
from canarykit.release.record import Record
from canarykit.release.roll_back import roll_back
from canarykit.release.settle import settle
from canarykit.release.store import FlagStore, StoredFlag

if TYPE_CHECKING:
    from canarykit.plan import RolloutPlan

Allowed = Literal["rollback", "all"] | None
"""What a look may do: nothing (report only), roll back, or roll back and go on."""

_COLUMNS = (
    Column("at", "looked at (UTC)", "time"),
    Column("stage", "stage"),
    Column("verdict", "verdict"),
    Column("action", "done"),
)


@dataclass(frozen=True, repr=False, eq=False)
class Look(Result):
    """What one look saw and did.

    Attributes
    ----------
    flag, stage
        Which flag, and the stage that runs; None: none of the plan's, or the flag is off.
    at
        The server's time.
    report
        The verdict on the stage; None where there is none, and `why` says so.
    action
        "nothing", "would roll back", "would go on", "rolled back", "went on" or "waits".
    outcome
        What came of a write.
    why
        The reason for the action, or against it.
    """

    flag: str
    stage: str | None
    at: datetime
    report: Any = None
    action: str = "nothing"
    outcome: Outcome | None = None
    why: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def verdict(self) -> str | None:
        """ "promote", "hold" or "roll back"; None where there is no verdict."""
        return None if self.report is None else self.report.verdict.value

    @property
    def exit_code(self) -> int:
        """0 promote, 10 hold, 20 roll back; 1 where there is no verdict or a write went wrong."""
        if self.outcome is not None and self.outcome.exit_code == 1:
            return 1
        return 1 if self.report is None else int(self.report.exit_code)

    def _headline(self) -> str:
        verdict = "no verdict" if self.verdict is None else self.verdict.upper()
        why = f": {self.why}" if self.why else ""
        return f"{self.flag}, {self.stage or 'no stage'}: {verdict}, {self.action}{why}"

    def _table(self) -> Table:
        return Table.of(_COLUMNS, [(self.at, self.stage, self.verdict, self.action)])


def look(
    store: FlagStore,
    record: Record,
    plan: RolloutPlan,
    judge: Callable[[str, datetime], Any],
    *,
    allowed: Allowed = None,
    loop: str = "",
    every: timedelta = timedelta(hours=1),
    is_last: bool = False,
    skew: Callable[[], timedelta] = timedelta,
) -> Look:
    """Look once, and do what is `allowed`.

    `judge` makes a `StageReport` from a stage and a moment, and fetches what is new; whatever it raises means
    that there is no verdict, and nothing is promoted. Name and rhythm of the `loop` are how two loops on one
    flag notice each other; it ends with a look that `is_last`, as one that is started again and again by cron
    does. `skew` is how far this machine's clock is from the server's.
    """
    noted = partial(_noted, record, loop=loop, is_last=is_last)
    newest = store.read(plan.flag)
    still_open = settle(store, record, newest)
    reached = store.reached(plan, newest)
    now = store.now()
    seen = Look(plan.flag, plan.stage_names[reached] if reached >= 0 and newest.active else None, now)
    if seen.stage is None:
        why = "the flag is off" if not newest.active else "the flag lets in no stage of the plan"
        return noted(replace(seen, why=why))
    try:
        report = judge(seen.stage, now)
    except CanarykitError as problem:
        return noted(replace(seen, why=str(problem)))
    seen = replace(seen, report=report, why=report.reason)
    others = tuple(_other_loops(record, plan.flag, loop, now, every))
    seen = replace(seen, notes=others)
    if report.verdict.value == "roll back":
        return noted(_back(store, record, plan, seen, reached, allowed))
    if report.verdict.value == "promote" and reached + 1 < len(plan.stages):
        against = [note.text for note in others]
        against += _against_going_on(store, record, plan, newest, reached, skew())
        against += [f"{item.action} of {item.at:%F %R} UTC is not settled yet" for item in still_open]
        return noted(_on(store, record, plan, seen, reached, allowed, against))
    return noted(seen)


def _back(
    store: FlagStore, record: Record, plan: RolloutPlan, seen: Look, reached: int, allowed: Allowed
) -> Look:
    if allowed is None:
        return replace(seen, action="would roll back")
    to = plan.stage_names[reached - 1] if reached > 0 else None
    outcome = roll_back(
        store, record, plan, to=to, off=to is None, why=seen.report.reason, report=seen.report
    )
    done = outcome.status in {"applied", "nothing to do"}
    return replace(seen, action="rolled back" if done else "waits", outcome=outcome)


def _on(
    store: FlagStore,
    record: Record,
    plan: RolloutPlan,
    seen: Look,
    reached: int,
    allowed: Allowed,
    against: list[str],
) -> Look:
    push = prepare(store, record, plan, plan.stage_names[reached + 1], report=seen.report)
    against += [gate.words for gate in push.gates]
    if push.running != seen.stage:
        against.append("somebody moved the flag during this look")
    if against:
        return replace(seen, action="waits", why="; ".join(against))
    if allowed != "all":
        return replace(seen, action="would go on", why=push._headline())
    outcome = push.apply()
    return replace(seen, action="went on" if outcome.status == "applied" else "waits", outcome=outcome)


def _against_going_on(
    store: FlagStore, record: Record, plan: RolloutPlan, newest: StoredFlag, reached: int, skew: timedelta
) -> Iterator[str]:
    """Why a person must decide: a roll-back, a lowering, an edit that was overwritten, a wrong clock."""
    if abs(skew) > MOST_SKEW:
        yield f"this machine's clock is {abs(skew).total_seconds() / 60:.0f} minutes from the server's"
    applied = [item for item in record.intents(plan.flag) if item.status == "applied"]
    if applied and applied[-1].action != "push":
        yield "it was rolled back; a person decides when to go on"
    pushed = [plan.index(item.stage) for item in applied if item.stage in plan.stage_names]
    if pushed and max(pushed) > reached and (not applied or applied[-1].action == "push"):
        yield f"somebody lowered it from {plan.stage_names[max(pushed)]!r}; a person decides when to go on"
    if any(entry.get("overwritten") for entry in record.entries(plan.flag)):
        yield "a write went in at the same time as somebody else's edit; a person must look at both"


def _other_loops(record: Record, flag: str, loop: str, now: datetime, every: timedelta) -> Iterator[Note]:
    """Loops that seem to run beside this one.

    One that has ended was started by cron, as this one may be: only a look from elsewhere that is out of
    rhythm tells of a second one.
    """
    latest: dict[str, dict[str, Any]] = {}
    for entry in record.entries(flag):
        if entry.get("what") == "look" and entry.get("loop") not in (None, "", loop):
            latest[entry["loop"]] = entry
    for name, entry in latest.items():
        at = datetime.fromisoformat(entry["at"])
        is_here = _host(name) == _host(loop)
        if entry.get("is_last"):
            runs = not is_here and now - at < every / 2
        else:
            runs = now - at < 2 * every and not (is_here and _has_ended(name))
        if runs:
            yield Note("other_loop", f"another loop ({name}) looked at this flag at {at:%F %R} UTC")


def _host(loop: str) -> str:
    return loop.rsplit("-", 2)[0]


def _has_ended(loop: str) -> bool:
    """Whether the process of a loop on this machine is gone; False where that cannot be told."""
    process = loop.rsplit("-", 2)[1:2]
    if os.name != "posix" or not process or not process[0].isdigit():
        return False
    try:
        os.kill(int(process[0]), 0)  # signal 0 only asks
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _noted(record: Record, seen: Look, loop: str, is_last: bool) -> Look:
    entry = {"what": "look", "at": seen.at, "flag": seen.flag, "loop": loop, "stage": seen.stage}
    entry |= {"is_last": True} if is_last else {}
    record.append({**entry, "action": seen.action, "why": seen.why, "verdict": verdict_of(seen.report)})
    return seen
