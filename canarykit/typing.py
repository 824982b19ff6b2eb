"""Names to write types with: what the functions take, and the results that they return.

Nobody makes one of these results by hand, so they are not under `canarykit` itself; whoever writes
`def summary(funnel: Funnel) -> str` imports the name from here. Loaded when first used.

Examples
--------
>>> from canarykit.typing import Funnel, Time
>>> Funnel.__name__
'Funnel'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, Union

from canarykit.lazy import lazy_names

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from canarykit.audit.result import Audit
    from canarykit.display import Column, Note, Result, Table
    from canarykit.exposure.result import Exposures
    from canarykit.feedback.exceptions import ExceptionsByFlag
    from canarykit.feedback.sessions import SessionsByFlag
    from canarykit.feedback.survey import SurveyByFlag
    from canarykit.funnels.answers.compare import FunnelComparison
    from canarykit.funnels.answers.correlate import FunnelCorrelations
    from canarykit.funnels.answers.funnel import Funnel
    from canarykit.funnels.answers.people import FunnelPeople
    from canarykit.funnels.answers.times import ConversionTimes, FunnelTrend
    from canarykit.health.checks.check import Check
    from canarykit.health.report.other_rules import RuleComparison
    from canarykit.health.report.replay import Replay
    from canarykit.insights.dashboard import Dashboard
    from canarykit.insights.trend import FlagTrend
    from canarykit.linting.edits import FlagChange
    from canarykit.linting.findings import Finding, LintReport
    from canarykit.metrics.sufficient_statistics import Reduced
    from canarykit.overview import FlagOverview
    from canarykit.simulate.decisions.blast_radius import BlastRadius
    from canarykit.simulate.decisions.operating import Decisions
    from canarykit.simulate.decisions.ramps import RampPlan
    from canarykit.simulate.decisions.sample_size import ExpectedDuration
    from canarykit.simulate.sample import Sample
    from canarykit.stats.estimate import ConfidenceSequence, Estimate, HypothesisTest, SequentialTest
    from canarykit.stats.planning.users_needed import PowerAnswer

__all__ = [
    "Audit",
    "BlastRadius",
    "Check",
    "Column",
    "ConfidenceSequence",
    "ConversionTimes",
    "Dashboard",
    "Day",
    "Decisions",
    "Duration",
    "Estimate",
    "ExceptionsByFlag",
    "ExpectedDuration",
    "Exposures",
    "Files",
    "Filters",
    "Finding",
    "FlagChange",
    "FlagOverview",
    "FlagTrend",
    "Frame",
    "Funnel",
    "FunnelComparison",
    "FunnelCorrelations",
    "FunnelPeople",
    "FunnelTrend",
    "HasColumns",
    "HasSchema",
    "HypothesisTest",
    "Ids",
    "LintReport",
    "Note",
    "PowerAnswer",
    "RampPlan",
    "Reduced",
    "Replay",
    "Result",
    "RuleComparison",
    "Sample",
    "Seed",
    "SequentialTest",
    "SessionsByFlag",
    "SupportsArrow",
    "SurveyByFlag",
    "Table",
    "Time",
    "Zone",
]


class HasColumns(Protocol):
    """A table that knows its columns: pandas, polars, pyarrow, DuckDB, Spark, ibis, narwhals, Dask."""

    @property
    def columns(self) -> Any:
        """Names of the columns, or the columns."""


class HasSchema(Protocol):
    """A table that knows its schema: a pyarrow dataset or reader, a Delta or Iceberg table."""

    @property
    def schema(self) -> Any:
        """The schema, or what returns it."""


class SupportsArrow(Protocol):
    """An Arrow array, or anything that hands one out."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The array as an Arrow stream."""


Frame: TypeAlias = HasColumns | HasSchema
"""Any table of rows and named columns."""

Time: TypeAlias = str | datetime
"""A moment: ISO text with its offset ("2026-09-07T09:00:00Z"), or a `datetime` with a zone."""

Day: TypeAlias = str | date
"""A moment, or a whole day: "2026-09-07", a `date`."""

Duration: TypeAlias = str | timedelta
"""Text with its unit, such as "14d" or "36 hours", or a `timedelta`; never a bare number."""

Zone: TypeAlias = str | tzinfo
"""A time zone: "Europe/Berlin", or a `tzinfo`."""

Ids: TypeAlias = Union[Sequence[Any], "np.ndarray", "pd.Series", "pd.Index", "SupportsArrow"]
"""A column of ids: a pandas Series, a numpy or Arrow array, a list."""

Files: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]
"""A file, a folder, a glob, or a list of these."""

Filters: TypeAlias = Mapping[str, Any] | Sequence[Any] | None
"""`{property: value}`, a list of filters that must all hold, or nested `{"type": "OR", "values": [...]}`."""

Seed: TypeAlias = Union[int, "np.random.Generator", "np.random.SeedSequence", None]
"""What randomness starts from: the same seed gives the same answer; None another one each time."""

_HOMES = {
    "canarykit.audit.result": ("Audit",),
    "canarykit.display": ("Column", "Note", "Result", "Table"),
    "canarykit.exposure.result": ("Exposures",),
    "canarykit.feedback.exceptions": ("ExceptionsByFlag",),
    "canarykit.feedback.sessions": ("SessionsByFlag",),
    "canarykit.feedback.survey": ("SurveyByFlag",),
    "canarykit.funnels.answers.compare": ("FunnelComparison",),
    "canarykit.funnels.answers.correlate": ("FunnelCorrelations",),
    "canarykit.funnels.answers.funnel": ("Funnel",),
    "canarykit.funnels.answers.people": ("FunnelPeople",),
    "canarykit.funnels.answers.times": ("ConversionTimes", "FunnelTrend"),
    "canarykit.health.checks.check": ("Check",),
    "canarykit.health.report.other_rules": ("RuleComparison",),
    "canarykit.health.report.replay": ("Replay",),
    "canarykit.insights.dashboard": ("Dashboard",),
    "canarykit.insights.trend": ("FlagTrend",),
    "canarykit.linting.edits": ("FlagChange",),
    "canarykit.linting.findings": ("Finding", "LintReport"),
    "canarykit.metrics.sufficient_statistics": ("Reduced",),
    "canarykit.overview": ("FlagOverview",),
    "canarykit.simulate.decisions.operating": ("Decisions",),
    "canarykit.simulate.decisions.ramps": ("RampPlan",),
    "canarykit.simulate.decisions.blast_radius": ("BlastRadius",),
    "canarykit.simulate.decisions.sample_size": ("ExpectedDuration",),
    "canarykit.simulate.sample": ("Sample",),
    "canarykit.stats.estimate": ("ConfidenceSequence", "Estimate", "HypothesisTest", "SequentialTest"),
    "canarykit.stats.planning.users_needed": ("PowerAnswer",),
}

if not TYPE_CHECKING:  # with a __getattr__ in sight, a type checker takes any name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
