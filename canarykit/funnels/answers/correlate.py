"""What the people who converted did, or are, that the others did not: PostHog's correlation analysis.

Between a person's first step and the end of that person's attempt, which other events happened? Each is
counted once a person, among those who converted and those who did not, and rated by its odds ratio.
PostHog reports the ratio alone; here it has an interval, an exact test and a correction for the number of
things looked at. It finds things to look into: nobody was randomised to do them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError, PlanError, did_you_mean
from canarykit.funnels.answers.labels import blank_name, label_text

if TYPE_CHECKING:
    import pyarrow as pa

    from canarykit.exposure.lookup import Exposed
    from canarykit.funnels.answers.funnel import Funnel
    from canarykit.funnels.engine.runs import FunnelRun, Label
    from canarykit.funnels.question.specs import FunnelQuery

Kind = Literal["events", "properties", "event properties"]
_SINGULAR = {"events": "event", "properties": "property", "event properties": "event property"}


WHAT_IT_IS = Note(
    "descriptive",
    "Nobody was assigned to do these things: they are places to look, not causes. People are watched until "
    "they convert, the others for the whole window, so what everybody does sooner or later goes with not "
    "converting.",
)


@dataclass(frozen=True, repr=False, eq=False)
class FunnelCorrelations(Result):
    """Events or properties that go with converting, strongest first.

    Attributes
    ----------
    kind
        "events", "properties" (of the person) or "event properties".
    variant
        The variant looked at; None for everybody.
    successes, failures
        People who did every step, and people who entered and did not.
    rows
        One mapping per name: `name`, `success_count` and `failure_count` (distinct people with it),
        `odds_ratio` as PostHog computes it (one added to every cell), `low` and `high`, `p` (Fisher's
        exact test), `p_holm` (corrected for every name tested), `direction` ("success" or "failure").
    skewed
        One side is more than ten times the other: ratios say little.
    n_tested, confidence
        Names that were frequent enough to test; coverage of each interval.
    """

    kind: Kind
    variant: Label
    successes: int
    failures: int
    rows: tuple[Mapping[str, Any], ...]
    skewed: bool
    n_tested: int
    confidence: float = 0.95
    notes: tuple[Note, ...] = ()
    blank: str = "(missing)"

    def _headline(self) -> str:
        whom = "" if self.variant is None else f" of {label_text(self.variant, self.blank)}"
        base = f"{counted(self.successes, 'people')}{whom} converted and {self.failures:,} did not"
        sure = [row for row in self.rows if row["p_holm"] < 1 - self.confidence]
        if not self.rows:
            return f"{base}: nothing to tell them apart by"
        if not sure:
            return f"{base}: none of {self.n_tested:,} {self.kind} tells them apart after correction"
        strongest = ", ".join(str(row["name"]) for row in sorted(sure, key=lambda row: row["p_holm"])[:3])
        return f"{base}: {len(sure)} of {self.n_tested:,} {self.kind} tell them apart, first {strongest}"

    def _table(self) -> Table:
        columns = (
            Column("name", _SINGULAR[self.kind]),
            Column("direction", "goes with"),
            Column("success_count", "converted", "count"),
            Column("failure_count", "did not", "count"),
            Column("odds_ratio", "odds ratio", "ratio"),
            Column("low", "low", "ratio"),
            Column("high", "high", "ratio"),
            Column("p", "p (Fisher)", "p"),
            Column("p_holm", "p (Holm)", "p"),
        )
        return Table.of(columns, self.rows)

    def _extra_json(self) -> dict[str, Any]:
        names = ("kind", "variant", "successes", "failures", "skewed", "n_tested", "confidence")
        return {name: getattr(self, name) for name in names}


def correlate(
    funnel: Funnel, kind: Kind, *, variant: Any, names: Sequence[str], exclude: Sequence[str]
) -> FunnelCorrelations:
    """Count and rate; see `Funnel.correlates`."""
    from canarykit.funnels.answers.people import choose_label
    from canarykit.funnels.engine.feed import columns_needed, read_bounds

    if kind not in _SINGULAR:
        raise PlanError(f"correlates {kind!r} does not exist; {did_you_mean(str(kind), _SINGULAR)}")
    log, query = funnel._need_log("correlates"), funnel.query
    label = None if variant is ... else choose_label(funnel, variant)
    columns = _columns(log, kind, names, exclude)
    shard = Shard(query, kind, columns, tuple(names), tuple(exclude), label, variant is ..., funnel._exposed)
    needed = list(dict.fromkeys([*columns_needed(query), *columns]))
    bounds = read_bounds(query)
    parts = log.reduce(needed, shard, since=bounds["since"], until=bounds["until"])
    successes, failures = sum(part[0] for part in parts), sum(part[1] for part in parts)
    good: Counter[str] = sum((part[2] for part in parts), Counter())
    bad: Counter[str] = sum((part[3] for part in parts), Counter())
    seen = sorted({*good, *bad})
    rows, tested = correlation_rows(
        seen,
        [good[name] for name in seen],
        [bad[name] for name in seen],
        successes,
        failures,
        least=3 if kind == "event properties" else None,
        confidence=funnel.confidence,
    )
    skewed = is_skewed(successes, failures)
    notes = [WHAT_IT_IS]
    if skewed:
        notes.append(
            Note("skewed", "One side has more than ten times the people of the other: ratios say little.")
        )
    return FunnelCorrelations(
        kind,
        label,
        successes,
        failures,
        tuple(rows),
        skewed,
        tested,
        funnel.confidence,
        tuple(notes),
        blank_name(query),
    )


@dataclass(frozen=True)
class Shard:
    """What a shard counts; picklable, so that it runs wherever the shard is."""

    query: FunnelQuery
    kind: Kind
    columns: tuple[str, ...]
    names: tuple[str, ...]
    exclude: tuple[str, ...]
    label: Label
    any_label: bool
    exposed: Exposed | None = None

    def __call__(self, table: pa.Table) -> tuple[int, int, Counter[str], Counter[str]]:
        """Successes, failures, and people per name among either."""
        from canarykit.funnels.run import shard_run

        return count_shard(table, shard_run(table, self.query, None, self.exposed), self)


def count_shard(table: pa.Table, run: FunnelRun, shard: Shard) -> tuple[int, int, Counter[str], Counter[str]]:
    """Distinct actors per name, between their first step and the end of their attempt.

    The end is the last step for those who converted, and for the others the end of the window.
    """
    assert run.actor_code is not None
    assert run.row_actor is not None
    from canarykit.funnels.engine.columns import Columns

    query, columns = shard.query, Columns(table)
    entry_of, chosen = _one_entry_each(run, shard)
    won = (run.bits[chosen] >> (query.n_steps - 1)) & 1 == 1
    entry = np.append(entry_of, -1)[run.row_actor]  # position in `chosen`; code -1 reads the last
    if shard.kind == "properties":
        rows = np.flatnonzero(entry >= 0)
        labels = [("", *columns.text(name), name.removeprefix("person.")) for name in shard.columns]
    else:
        first = run.times[chosen, 0]
        end = np.where(won, run.times[chosen].max(axis=1, initial=-1), first + query.window_us)
        time = columns.time()
        rows = np.flatnonzero(entry >= 0)
        rows = rows[(time[rows] > first[entry[rows]]) & (time[rows] < end[entry[rows]])]
        codes, texts = columns.text("event")
        step_events = {entity.event for step in query.steps for entity in step.entities}
        wanted = shard.names if shard.kind == "event properties" else ()
        keep = [
            text not in step_events and text not in shard.exclude and (not wanted or text in wanted)
            for text in texts
        ]
        rows = rows[np.array([*keep, False], dtype=bool)[codes[rows]]]
        labels = [("", codes, texts, "")]
        if shard.kind == "event properties":
            labels = []
            for event in shard.names:
                for name in shard.columns[1:]:
                    of_event, values = columns.text(name)
                    is_event = np.array([*(text == event for text in texts), False])[codes]
                    labels.append((event, np.where(is_event, of_event, -1), values, name))
    good: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    for event, codes, texts, name in labels:
        named = rows[codes[rows] >= 0]
        pairs = np.unique(entry[named].astype(np.int64) * len(texts) + codes[named]) if len(texts) else named
        person, code = np.divmod(pairs, max(len(texts), 1))
        for counter, side in ((good, won), (bad, ~won)):
            counts = np.bincount(code[side[person]], minlength=len(texts))
            parts = [[part for part in (event, name) if part]] * len(texts)
            for i in np.flatnonzero(counts):
                counter["::".join([*parts[i], texts[i]])] += int(counts[i])
    return int(won.sum()), int((~won).sum()), good, bad


def _one_entry_each(run: FunnelRun, shard: Shard) -> tuple[np.ndarray, np.ndarray]:
    """Position of each actor code among the entries looked at, and those entries: one an actor, its best."""
    assert run.actor_code is not None
    assert run.row_actor is not None
    mine = np.arange(len(run))
    if not shard.any_label:
        code = run.labels.index(shard.label) if shard.label in run.labels else -1
        mine = mine[run.value == code]
    best_last = mine[np.lexsort((run.reached[mine], run.actor_code[mine]))]
    actors = run.actor_code[best_last]
    chosen = best_last[np.diff(actors, append=-2) != 0]
    size = max(int(run.row_actor.max(initial=-1)), int(run.actor_code.max(initial=-1))) + 1
    entry_of = np.full(size, -1, dtype=np.int64)
    entry_of[run.actor_code[chosen]] = np.arange(len(chosen))
    return entry_of, chosen


def _columns(log: Any, kind: Kind, names: Sequence[str], exclude: Sequence[str]) -> tuple[str, ...]:
    if kind == "events":
        return ("event",)
    if kind == "event properties":
        if not names:
            raise PlanError(
                "correlates('event properties') needs names=: the events whose properties to look at"
            )
        return ("event", *(name for name in log.property_names() if name not in exclude))
    if not names:
        if log.persons is None:
            raise DataError("the log has no persons; name the person properties to look at with names=")
        names = [name for name in log.persons.columns if name not in ("person_id", "distinct_id")]
    return tuple(f"person.{name.removeprefix('person.')}" for name in names if name not in exclude)


def is_skewed(successes: int, failures: int) -> bool:
    """Whether one side is empty or more than ten times the other.

    Examples
    --------
    >>> is_skewed(50, 5), is_skewed(51, 5), is_skewed(0, 7)
    (False, True, True)
    """
    few, many = sorted((successes, failures))
    return few == 0 or many / few > 10


def correlation_rows(
    names: Sequence[str],
    success_counts: Iterable[int],
    failure_counts: Iterable[int],
    successes: int,
    failures: int,
    *,
    least: float | None = None,
    most: int = 10,
    confidence: float = 0.95,
) -> tuple[list[dict[str, Any]], int]:
    """Odds ratios of names, strongest first, with intervals and Holm's correction.

    Counts are distinct people with each name among the `successes` who converted, and among the `failures`.
    Names are tested from `least` people on: by default PostHog's 25, or 2 % of everybody where that is less.
    `most` are kept of each direction. Intervals are Wald's on the log of the same smoothed table. Comes back
    with the number of names that were tested; for the rows see `FunnelCorrelations.rows`.

    References
    ----------
    Haldane (1940) and Anscombe (1956) for adding to every cell; Fisher (1935); Holm (1979),
    doi:10.2307/4615733.

    Examples
    --------
    >>> rows, tested = correlation_rows(["help opened"], [3], [30], 60, 40)
    >>> rows[0]["direction"], round(rows[0]["odds_ratio"], 3), tested
    ('failure', 0.024, 1)
    """
    if successes == 0 or failures == 0:
        return [], 0
    from scipy.stats import fisher_exact, norm

    from canarykit.stats.multiplicity import adjust_p_values

    least = min(25, 0.02 * (successes + failures)) if least is None else least
    z = float(norm.ppf((1 + confidence) / 2))
    rows: list[dict[str, Any]] = []
    for name, s, f in zip(names, success_counts, failure_counts, strict=True):
        s, f = int(s), int(f)
        if s + f < least:
            continue
        cells = (s + 1, failures - f + 1, successes - s + 1, f + 1)
        log_ratio = math.log(cells[0] * cells[1] / (cells[2] * cells[3]))
        half = z * math.sqrt(sum(1 / cell for cell in cells))
        table = [[s, f], [successes - s, failures - f]]
        rows.append(
            {
                "name": name,
                "direction": "success" if log_ratio > 0 else "failure",
                "success_count": s,
                "failure_count": f,
                "odds_ratio": cells[0] * cells[1] / (cells[2] * cells[3]),
                "low": math.exp(log_ratio - half),
                "high": math.exp(log_ratio + half),
                "p": min(float(fisher_exact(table).pvalue), 1.0),
            }
        )
    if not rows:
        return [], 0
    corrected = adjust_p_values([row["p"] for row in rows], method="holm")
    for row, p in zip(rows, corrected, strict=True):
        row["p_holm"] = float(p)
    good = sorted(
        (r for r in rows if r["direction"] == "success"), key=lambda r: (-r["odds_ratio"], r["name"])
    )
    bad = sorted((r for r in rows if r["direction"] == "failure"), key=lambda r: (r["odds_ratio"], r["name"]))
    return [*good[:most], *bad[:most]], len(rows)
