"""From a bar to the people behind it: who they are, the events that put them there, the recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from canarykit.counting import counted
from canarykit.display import QUIET, Column, Note, Result, Table
from canarykit.errors import PlanError, did_you_mean
from canarykit.escaping import html_text, one_line
from canarykit.funnels.answers.labels import blank_name, label_text
from canarykit.funnels.engine.runs import MISSING_TIME, ActorSelection, FunnelRun, Label
from canarykit.periods import moment

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.funnels.answers.funnel import Funnel

MOST_SHOWN = 20
_FIELDS = (
    "person_id",
    "actor_id",
    "variant",
    "furthest",
    "entered_at",
    "last_at",
    "session_id",
    "replay_url",
)


@dataclass(frozen=True, repr=False, eq=False)
class FunnelPeople(Result):
    """The people behind one bar of a funnel.

    Attributes
    ----------
    step, dropped, variant
        Which bar: the step's name, whether these are the people it lost, the breakdown value (None: all).
    rows
        One mapping per person and breakdown value: `person_id`, `actor_id` (the group, session or property
        where the funnel is aggregated by one), `variant`, `furthest` (name of the furthest step),
        `entered_at`, `last_at` (when the step, or for dropped people the one before, was done),
        `session_id` of that event and `replay_url` (None without host or session).
    events
        One mapping per matched event: `person_id`, `variant`, `step` (from 1), `name`, `rank` (0: the
        reported attempt; 1 to 9: other attempts that reached the step), `event`, `timestamp`,
        `session_id`, `distinct_id`, `uuid`, `replay_url`.
    """

    step: str
    dropped: bool
    variant: Label
    rows: tuple[Mapping[str, Any], ...]
    events: tuple[Mapping[str, Any], ...] = field(default=())
    notes: tuple[Note, ...] = ()
    blank: str = "(missing)"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> list[str]:
        """The person ids, each once, in order."""
        return list(dict.fromkeys(row["person_id"] for row in self.rows))

    @property
    def session_ids(self) -> list[str]:
        """Sessions of the events that reached the step (for dropped people: the one before), each once."""
        at = max((event["step"] for event in self.events), default=0)
        sessions = (event["session_id"] for event in self.events if event["step"] == at)
        return list(dict.fromkeys(session for session in sessions if session))

    def events_frame(self) -> pd.DataFrame:
        """Every matched event as a frame."""
        import pandas as pd

        return pd.DataFrame([dict(event) for event in self.events])

    def _headline(self) -> str:
        whom = "" if self.variant is None else f" of {label_text(self.variant, self.blank)}"
        did = "lost before" if self.dropped else "who did"
        recorded = sum(row["session_id"] is not None for row in self.rows)
        people = counted(len(self.rows), "people")
        return f"{people}{whom} {did} {self.step}, {recorded:,} with a session to watch"

    def _table(self) -> Table:
        columns = [
            Column("person_id", "person"),
            Column("variant", "variant"),
            Column("furthest", "furthest step"),
            Column("entered_at", "entered", "time"),
            Column("last_at", "last step", "time"),
            Column("session_id", "session"),
        ]
        if any(row["actor_id"] != row["person_id"] for row in self.rows):
            columns.insert(0, Column("actor_id", "counted as"))
        if any(row["replay_url"] for row in self.rows):
            columns.append(Column("replay_url", "recording", "link"))
        return Table.of(
            columns, [{**row, "variant": label_text(row["variant"], self.blank)} for row in self.rows]
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a person, all fields."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows], columns=list(_FIELDS))

    def _first(self) -> tuple[Table, str]:
        table = self._table()
        more = len(table.rows) - MOST_SHOWN
        shown = Table(table.columns, table.rows[:MOST_SHOWN])
        return shown, f"... and {more:,} more people: to_frame() has them all" if more > 0 else ""

    def __repr__(self) -> str:
        table, more = self._first()
        notes = "\n".join(f"note: {one_line(note)}" for note in self.notes)
        return "\n".join(part for part in (self._in_brief(), table.to_text(), more, notes) if part)

    def _repr_html_(self) -> str:
        table, more = self._first()
        items = "".join(f"<li>{html_text(line)}</li>" for line in (more, *self.notes) if line)
        listed = f'<ul style="{QUIET}">{items}</ul>' if items else ""
        head = f'<p style="font-weight:600;margin:4px 0">{html_text(self._in_brief())}</p>'
        return f"<div>{head}{table.to_html()}{listed}</div>"


def list_people(
    funnel: Funnel,
    step: int,
    *,
    dropped: bool,
    variant: Any,
    limit: int | None,
    host: str | None,
    project_id: int | str | None,
) -> FunnelPeople:
    """People behind one bar; see `Funnel.people`. `step` is 0-based here."""
    from canarykit.funnels.run import run_funnel

    if dropped and step == 0:
        raise PlanError(
            f"nobody drops before step 1 ({funnel.steps[0]}): people are counted from it; take a later step"
        )
    label = None if variant is ... else choose_label(funnel, variant)
    select = ActorSelection(step, dropped, label, variant is ...)
    log = funnel._need_log("people")
    run = run_funnel(log, funnel.query, select=select, exposed=funnel._exposed)
    spoken_for_by = funnel.query.last_required_before(step) if dropped else step
    rows, events = people_rows(funnel, run, spoken_for_by, limit)

    def linked(item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "replay_url": replay_url(item["session_id"], host=host, project_id=project_id)}

    return FunnelPeople(
        step=funnel.steps[step],
        dropped=dropped,
        variant=label,
        rows=tuple(linked(row) for row in rows),
        events=tuple(linked(event) for event in events),
        notes=(*run.notes, *why_no_links(rows, host)),
        blank=blank_name(funnel.query),
    )


def choose_label(funnel: Funnel, variant: Any) -> Label:
    """The breakdown value that is meant: itself, or a boolean, or a list of several properties' values."""
    wanted = variant
    if isinstance(variant, bool | np.bool_):
        wanted = str(bool(variant)).lower()
    elif isinstance(variant, list):
        wanted = tuple(variant)
    elif variant is None and funnel.query.breakdown is not None:
        wanted = ""
    if funnel.rest is not None and wanted == funnel.rest:
        raise PlanError(
            f"{label_text(wanted)!r} sums what is beyond the limit; ask for one value, or raise the limit"
        )
    if wanted not in funnel.variants:
        labels = [label_text(labels) for labels in funnel.variants]
        raise PlanError(f"the funnel has no variant {variant!r}; {did_you_mean(str(variant), labels)}")
    return wanted


def people_rows(
    funnel: Funnel, run: FunnelRun, step: int, limit: int | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """People and matched events of a people run, first come first.

    `step` is the one whose event speaks for the person. The order does not depend on the engine or on how
    the log was cut into shards, so a limit takes the same people everywhere.
    """
    import pyarrow as pa

    if run.actor_ids is None or run.matched is None:
        raise PlanError("the engine run lists no people; run it with select=")
    order = np.lexsort((run.value, run.actor_ids.to_numpy(zero_copy_only=False), run.times[:, 0]))[:limit]
    actors = run.actor_ids.take(order).to_pylist()
    people = actors if run.person_ids is None else run.person_ids.take(order).to_pylist()
    rank = np.full(len(run), -1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    of_entry = rank[run.matched.column("entry").to_numpy()]
    kept = of_entry >= 0
    matched = run.matched.filter(pa.array(kept)).set_column(0, "entry", pa.array(of_entry[kept]))
    value, bits, times = run.value[order], run.bits[order], run.times[order]
    done_at: dict[int, Any] = {}
    session: dict[int, str] = {}
    events = []
    listed = matched.to_pylist()
    for event in listed:
        if event["rank"] == 0:  # of the reported attempt: counted among the required steps
            event["step"] = funnel.query.required[event["step"]]
    for event in sorted(listed, key=lambda event: (event["entry"], event["step"], event["rank"])):
        entry, k = event.pop("entry"), event.pop("step")
        if k == step:
            done_at.setdefault(entry, event["timestamp"])
            if event["session_id"]:
                session.setdefault(entry, event["session_id"])
        entered = {"person_id": people[entry], "variant": run.labels[value[entry]], "step": k + 1}
        events.append({**entered, "name": funnel.steps[k], **event})
    rows = []
    for i, actor in enumerate(actors):
        furthest = int(bits[i]).bit_length() - 1
        first = int(times[i, 0])
        rows.append(
            {
                "person_id": people[i],
                "actor_id": actor,
                "variant": run.labels[value[i]],
                "furthest": funnel.steps[furthest],
                "entered_at": None if first == MISSING_TIME else moment(first),
                "last_at": done_at.get(i),
                "session_id": session.get(i),
            }
        )
    return rows, events


def replay_url(
    session_id: str | None, *, host: str | None, project_id: int | str | None = None
) -> str | None:
    """Where a session's recording is, on a host you name; None without host or session.

    Examples
    --------
    >>> replay_url("0190-ab", host="eu.posthog.com", project_id=7)
    'https://eu.posthog.com/project/7/replay/0190-ab'
    >>> replay_url("0190-ab", host=None) is None
    True
    """
    if not host or not session_id:
        return None
    base = host.rstrip("/") if "://" in host else f"https://{host.strip('/')}"
    project = "" if project_id is None else f"/project/{quote(str(project_id), safe='')}"
    return f"{base}{project}/replay/{quote(session_id, safe='')}"


def why_no_links(rows: Sequence[Mapping[str, Any]], host: str | None) -> tuple[Note, ...]:
    """Why the people listed have no links to recordings, where none of them has.

    Examples
    --------
    >>> why_no_links([{"session_id": None}], "eu.posthog.com")[0].text
    'no links to recordings: none of the events listed has a $session_id'
    """
    if not rows or (host and any(row["session_id"] for row in rows)):
        return ()
    if not any(row["session_id"] for row in rows):
        reason = "none of the events listed has a $session_id"
    else:
        reason = "say where they are, as in people(..., host=, project_id=)"
    return (Note("no_links", f"no links to recordings: {reason}"),)
