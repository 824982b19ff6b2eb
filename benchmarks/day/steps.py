"""The analyst's day: every public question once, on a log that `open_log` opened."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import canarykit as ck
from benchmarks.day.export import FLAG, PLAN, STAGE, STEPS, Export
from canarykit import metrics

__all__ = ["ALL", "SOURCES", "START", "STOP", "Numbers", "Step", "open_log", "size_of"]

SOURCES = ("parquet", "pandas", "ibis")
START, STOP = PLAN.window(STAGE)
SURVEY = ck.Scenario().survey.id
GUARDRAILS = (
    ck.Guardrail(metrics.ErrorShare(), critical=True, margin_ratio=1.5),
    ck.Guardrail(metrics.Conversion("paid", within="1d"), worse="lower", margin_pp=3),
)
OF_STAGE: dict[str, Any] = {"plan": PLAN, "stage": STAGE}
UNTIL: dict[str, Any] = {**OF_STAGE, "as_of": STOP}

Numbers = dict[str, int]
"""What can be compared with hand-written queries: counts by a name that says what is counted."""


@dataclass(frozen=True)
class Step:
    """One question: `run` asks it, `numbers` (outside the clock) says its counts."""

    run: Callable[[ck.EventLog], Any]
    numbers: Callable[[Any], Numbers] = lambda result: {}


def open_log(source: str, export: Export) -> ck.EventLog:
    """The export as a log, from where `source` says the events are."""
    if source == "parquet":
        return ck.scan_posthog(export.events, **export.tables)
    tables = {name: pd.read_parquet(path) for name, path in export.tables.items()}
    if source == "pandas":
        return ck.EventLog(pd.read_parquet(export.events), **tables)
    import ibis

    return ck.EventLog(ibis.duckdb.connect().read_parquet(export.events), **tables)


def _verdict(looks: int) -> Callable[[ck.EventLog], Any]:
    as_of = START + pd.Timedelta(hours=looks)
    return lambda log: ck.evaluate_stage(log, PLAN, STAGE, GUARDRAILS, as_of=as_of)


def _first_touch(log: ck.EventLog) -> Any:
    return ck.funnel_by_flag(log, STEPS, flag=FLAG, within="1d")


def _exposed(log: ck.EventLog) -> Any:
    return ck.funnel_by_flag(log, STEPS, flag=FLAG, within="1d", attribution="exposure", **OF_STAGE)


def _overview(log: ck.EventLog) -> Any:
    document = PLAN.flag_at(STAGE).to_posthog()
    return ck.flag_overview(ck.read_flags([document]), log, as_of=STOP)


ALL: dict[str, Step] = {
    "names": Step(lambda log: log.event_names(), dict),
    "exposures": Step(
        lambda log: ck.exposures(log, FLAG, plan=PLAN),
        lambda found: dict(Counter(found.people["variant"].astype(str))),
    ),
    "funnel, first touch": Step(_first_touch, lambda funnel: _of_funnel(funnel)),
    "funnel, exposure in stage": Step(_exposed, lambda funnel: _of_funnel(funnel)),
    "people of a step": Step(lambda log: _exposed(log).people(2).to_frame()),
    "funnel's trend": Step(lambda log: _exposed(log).trend()),
    "correlations": Step(lambda log: _exposed(log).correlates()),
    "compare": Step(lambda log: _exposed(log).compare()),
    "trend": Step(
        lambda log: ck.trend_by_flag(log, "paid", flag=FLAG, measure="users", **UNTIL),
        lambda trend: {
            f"{row.start:%Y-%m-%d} {row.variant}": int(row.users)
            for row in trend.to_frame().itertuples()
            if row.users
        },
    ),
    "dashboard": Step(
        lambda log: ck.dashboard(log, PLAN, STAGE, as_of=STOP, key_events=STEPS),
        lambda board: {f"{row[0]} {row[1]}": int(row[3]) for row in board.rows if row[3]},
    ),
    "sessions": Step(
        lambda log: ck.sessions_by_flag(log, FLAG, **UNTIL),
        lambda sessions: {
            f"{row.variant} {what}": int(getattr(row, what))
            for row in sessions.to_frame().itertuples()
            for what in ("sessions", "with_errors")
        },
    ),
    "exceptions": Step(lambda log: ck.exceptions_by_flag(log, FLAG, **UNTIL)),
    "survey": Step(lambda log: ck.survey_by_flag(log, SURVEY, flag=FLAG, **UNTIL)),
    "audit": Step(lambda log: ck.audit_assignment(log, PLAN)),
    "overview": Step(_overview),
    "verdict, 1 look": Step(_verdict(1)),
    "verdict, 24 looks": Step(_verdict(24)),
    "verdict, 48 looks": Step(_verdict(48), lambda report: _of_report(report)),
    "report to HTML": Step(lambda log: _verdict(48)(log).to_html()),
}


def _of_funnel(funnel: Any) -> Numbers:
    return {
        f"{variant or 'none'} step {step}": count
        for variant, counts in funnel.counts.items()
        for step, count in enumerate(counts, start=1)
    }


def _of_report(report: Any) -> Numbers:
    rows = report.to_frame().set_index("check")
    numbers = {"true people": report.n_canary, "false people": report.n_control}
    for check, word in (("people with $exception", "exception"), ("paid within 1d", "paid")):
        for arm, variant in (("canary", "true"), ("control", "false")):
            for what in ("count", "total"):
                numbers[f"{variant} {word} {what}"] = int(rows.loc[check, f"{arm}_{what}"])
    return numbers


def size_of(path: Path) -> int:
    """Events of a Parquet file."""
    import pyarrow.parquet as pq

    return int(pq.ParquetFile(path).metadata.num_rows)
