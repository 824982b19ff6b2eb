"""What `evaluate_stage` answers: a verdict, the checks behind it, and what would settle a hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from canarykit.arguments import checked
from canarykit.counting import MOST_OF_A_HEADLINE, in_brief
from canarykit.display import Column, Note, Result, Table, format_value
from canarykit.errors import DataError, did_you_mean
from canarykit.escaping import markdown_text, one_line
from canarykit.files import write_whole
from canarykit.health.checks.check import Check, Section, raw_check
from canarykit.health.decision import Row, Verdict

if TYPE_CHECKING:
    from os import PathLike

    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes

    from canarykit.health.evidence.event_evidence import EvidenceSeries
    from canarykit.health.evidence.segment_harm import SegmentHarm
    from canarykit.health.report.other_rules import RuleComparison
    from canarykit.health.report.summary import Audience
    from canarykit.messages import Style
    from canarykit.metrics.unit_outcomes import Outcomes
    from canarykit.typing import Time
    from canarykit.widgets.view import View

SEVERAL = "both variants seen"
COLUMNS = (
    Column("check", "check"),
    Column("canary", "canary"),
    Column("control", "control"),
    Column("effect", "effect (interval)"),
    Column("margin", "what is tolerated"),
    Column("evidence", "evidence"),
    Column("status", "status"),
)


_IN_JSON = (
    "flag", "stage", "kind", "share", "starts_at", "ends_at", "as_of", "verdict", "exit_code", "row",
    "reason", "unit", "n_canary", "n_control",
)  # fmt: skip


@dataclass(frozen=True, repr=False, eq=False)
class StageReport(Result):
    """The verdict on one stage, with everything a person needs to check it.

    Parameters
    ----------
    flag, stage, kind, share
        Which release, which stage, "targeted", "percentage" or "full", and the canary's share by rule.
    starts_at, ends_at, as_of
        Window of the stage and the moment of the evaluation; the end is None while it is open.
    verdict, row
        What to do, and the row of the decision table that says so.
    reason
        One sentence a manager understands.
    n_canary, n_control
        People (or groups) per arm that the verdict rests on.
    checks
        Every line, validity first.
    next_steps
        What to do now, and what would settle a hold.
    sections
        Further tables: people by class, before and after, segments, days since exposure.
    series
        Evidence at each look, for the pictures; None where nothing was compared.
    audit
        Inputs' fingerprints, versions, parameters and counts; `recompute` gives the verdict from it.
    unit
        What was assigned: "people", or the groups' name.
    found
        What happened to each unit; `people` reads it.
    gaps
        Times (since, until) without data, in the whole log or in one arm; the pictures shade them.
    notes
        What was dropped, assumed or could not be told, one sentence each.
    harmed_segments
        Segments that are shown to carry the harm, worst first.
    segments
        By property (of the browser, the country, ...) the value of each unit of `found`.
    """

    flag: str
    stage: str
    kind: str
    share: float | None
    starts_at: pd.Timestamp
    ends_at: pd.Timestamp | None
    as_of: pd.Timestamp
    verdict: Verdict
    row: Row
    reason: str
    n_canary: int
    n_control: int
    checks: tuple[Check, ...]
    next_steps: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    series: EvidenceSeries | None = None
    audit: dict[str, Any] = field(default_factory=dict)
    unit: str = "people"
    found: Outcomes | None = None
    gaps: tuple[tuple[pd.Timestamp, pd.Timestamp], ...] = ()
    notes: tuple[Note, ...] = ()
    harmed_segments: tuple[SegmentHarm, ...] = ()
    segments: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", one_line(self.reason))
        object.__setattr__(self, "next_steps", tuple(map(one_line, self.next_steps)))

    @property
    def exit_code(self) -> int:
        """0 promote, 10 hold, 20 roll back."""
        return self.verdict.exit_code

    @property
    def timezone(self) -> str:
        """Zone in which the report and its pictures show times."""
        return str(self.as_of.tz)

    @property
    def headline(self) -> str:
        """Verdict and reason in one line of at most 160 signs; `reason` and `checks` have all of it."""
        return self._in_brief()

    def check(self, name: str) -> Check:
        """The check of that name.

        Parameters
        ----------
        name
            Name of the check, as in `checks`; another is a `DataError` that says which there are.

        Returns
        -------
        Check
        """
        for item in self.checks:
            if item.name == name:
                return item
        raise DataError(
            f"the report has no check {name!r}; {did_you_mean(name, [c.name for c in self.checks])}"
        )

    @property
    def listed(self) -> tuple[str, ...]:
        """Names of the checks whose people can be listed."""
        if self.found is None:
            return ()
        shares = [
            name for name, first in zip(self._judged, self.found.first, strict=True) if first is not None
        ]
        known = {check.name for check in self.checks}
        several = [SEVERAL] if SEVERAL in known and "several" in self.found.units else []
        return (*several, *shares)

    @property
    def _judged(self) -> list[str]:
        return [c.name for c in self.checks if c.kind in ("guardrail", "limit")]

    @checked
    def people(
        self,
        name: str,
        *,
        canary: bool | None = True,
        segment: Mapping[str, str] | None = None,
        since: Time | None = None,
        until: Time | None = None,
        happened: bool = True,
    ) -> pd.DataFrame:
        """The people to whom it happened, and when, earliest first; or those to whom it did not.

        Where lower is worse, such as with payments, the harm is with those to whom it did not happen
        (`happened=False`); who was lost at which step, `funnel_by_flag(...).people(dropped=True)` tells.

        Parameters
        ----------
        name
            Name of a guardrail that is a share of people, or "both variants seen".
        canary
            People of the canary (True), of the control or the others (False), or all (None).
        segment
            Only people with these values, by property: `{"$browser": "Safari"}`.
        since, until
            Only those to whom it first happened in this time (half-open).
        happened
            False: those to whom it has not happened, of those whose time for it is over (all, where it has
            no end, or is over for nobody in an arm).

        Returns
        -------
        pandas.DataFrame
            person_id, variant, canary, exposed_at, happened_at (missing where there is no such moment), and a
            column per property of the report's segments, such as `$browser`.

        Raises
        ------
        DataError
            If the report has no such list, or those to whom it did not happen are asked for a time of it.
        """
        from canarykit.health.people.listed import listed_people

        one, name = self._whose(name)
        if one.found is None or name not in one.listed:
            raise DataError(f"the report has no people for {name!r}; {did_you_mean(name, one.listed)}")
        metric = None if name == SEVERAL else one._judged.index(name)
        return listed_people(
            one.found, metric, canary, one.segments, segment or {},
            since=since, until=until, happened=happened,
        )  # fmt: skip

    def is_lower_worse(self, name: str) -> bool:
        """Whether the harm of a listed check is with those to whom it did not happen.

        Parameters
        ----------
        name
            Name of a check, as in `listed`.

        Returns
        -------
        bool
        """
        one, name = self._whose(name)
        specs = dict(zip(one._judged, one.audit.get("guardrails", ()), strict=False))
        return bool(specs.get(name, {}).get("worse") == "lower")

    def _whose(self, name: str) -> tuple[StageReport, str]:
        """The report that has a listed check, and the check's name there."""
        return self, name

    def _headline(self) -> str:
        return f"{self._verdict_word}: {self.reason}"

    @property
    def _verdict_word(self) -> str:
        return f"{self.verdict.icon} {self.verdict.value.upper()}"

    @property
    def _reason_in_brief(self) -> str:
        """The reason as the headline has it, without the stage's name, which stands beside it."""
        alone = self.reason.removeprefix(f"{self.stage}: ")
        room = MOST_OF_A_HEADLINE - len(self._verdict_word) - 2
        return self._shortened(alone, room)

    def _in_brief(self) -> str:
        return self._shortened(one_line(self._headline()), MOST_OF_A_HEADLINE)

    def _shortened(self, text: str, room: int) -> str:
        """The text within `room` signs; of several guardrails that harm a segment none is cut off first."""
        brief = in_brief(text, self._long_names(), room=room)
        if brief.endswith("…") and len({harm.label for harm in self.harmed_segments}) > 1:
            text = text.replace(" with the canary, ", " against ").replace(" without);", ");")
            brief = in_brief(text, self._long_names(), room=room)
        return brief

    def _long_names(self) -> Iterable[str]:
        harmed = [name for harm in self.harmed_segments for name in (harm.name, harm.segment, harm.label)]
        return [self.flag, self.stage, *(check.name for check in self.checks), *harmed]

    def _facts(self) -> tuple[tuple[str, str], ...]:
        share = "–" if self.share is None else format_value(self.share, "share")
        others = "without it, not a control" if self.kind == "targeted" else "control"
        end = "open" if self.ends_at is None else format_value(self.ends_at, "time")
        return (
            ("flag", self.flag),
            ("stage", f"{self.stage} ({self.kind}; canary share {share})"),
            ("window", f"{format_value(self.starts_at, 'time')} to {end}"),
            ("evaluated as of", format_value(self.as_of, "time")),
            (self.unit, f"{self.n_canary:,} canary, {self.n_control:,} {others}"),
        )

    def _table(self) -> Table:
        rows = [
            (
                c.name,
                str(c.canary or "–"),
                str(c.control or "–"),
                c.effect_text,
                c.margin_text,
                c.evidence_text,
                f"{c.status.mark} {c.status.value}",
            )
            for c in self.checks
        ]
        if self.kind == "targeted":  # chosen people have no control; the second column is somebody else
            renamed = Column("control", "others or before")
            return Table.of([renamed if c.key == "control" else c for c in COLUMNS], rows)
        return Table.of(COLUMNS, rows)

    def to_frame(self) -> pd.DataFrame:
        """One row per check with raw numbers (fractions, ratios, e-values)."""
        import pandas as pd

        return pd.DataFrame([raw_check(c) for c in self.checks])

    def to_markdown(self) -> str:
        """The report for a pull request: verdict, facts, checks with their meaning, next steps."""

        facts = "\n".join(f"- {name}: {markdown_text(text)}" for name, text in self._facts())
        meanings = "\n".join(
            f"- {c.status.mark} **{markdown_text(c.name)}**: {markdown_text(c.meaning)}" for c in self.checks
        )
        steps = "\n".join(f"1. {markdown_text(step)}" for step in self.next_steps)
        notes = "\n".join(f"- {markdown_text(note)}" for note in self.notes)
        parts = [f"## {markdown_text(self.headline)}", facts, self._table().to_markdown(), meanings]
        parts += [f"**Next**\n\n{steps}"] if steps else []
        parts += [f"**Notes**\n\n{notes}"] if notes else []
        return "\n\n".join(parts) + "\n"

    def _extra_json(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in _IN_JSON},
            "row": int(self.row),
            "checks": [raw_check(c) for c in self.checks],
            "next_steps": list(self.next_steps),
            "gaps": [list(gap) for gap in self.gaps],
            "sections": [
                {"title": s.title, "text": s.text, "rows": s.table.to_dicts()} for s in self.sections
            ],
            "audit": self.audit,
        }

    def __repr__(self) -> str:
        width = max(len(name) for name, _ in self._facts())
        facts = "\n".join(f"{name.ljust(width)}  {one_line(text)}" for name, text in self._facts())
        steps = "\n".join(f"next: {step}" for step in self.next_steps)
        notes = "\n".join(f"note: {one_line(note)}" for note in self.notes)
        blocks = (self.headline, facts, "", self._table().to_text(), "", steps, notes)
        return "\n".join(block for i, block in enumerate(blocks) if block or (i in (2, 4)))

    def _repr_html_(self) -> str:
        from canarykit.health.page.cell import report_cell

        return report_cell(self)

    def explain(self) -> Table:
        """Every check with what was measured, how, and what it means in plain words."""
        columns = (
            Column("check", "check"),
            Column("status", "status"),
            Column("meaning", "what it means"),
            Column("measured", "what was measured"),
            Column("method", "method"),
        )
        rows = [
            (c.name, f"{c.status.mark} {c.status.value}", c.meaning, c.measured, c.method)
            for c in self.checks
        ]
        return Table.of(columns, rows)

    def summary(self, audience: Audience = "manager", *, tz: str | None = None, style: Style = "text") -> str:
        """The report as a message one can send: what, where, how sure, what is next.

        Parameters
        ----------
        audience
            "manager" (five lines without a symbol of statistics), "team" (every guardrail, and what speaks
            against the data), or "release notes" (who has the feature now, for those who use it).
        tz
            Zone of the times, such as "Europe/Berlin"; None is the report's own.
        style
            "text", "markdown", "slack" or "html".

        Returns
        -------
        str

        Raises
        ------
        PlanError
            If there is no such audience, zone or style.
        """
        from canarykit.health.report.summary import stage_message

        return stage_message(self, audience, tz).render(style)

    def section(self, title: str) -> Table:
        """The table of a section by its title.

        Parameters
        ----------
        title
            Title of a section, as in `sections`; another is a `DataError`.

        Returns
        -------
        Table
        """
        for item in self.sections:
            if item.title == title:
                return item.table
        known = [s.title for s in self.sections]
        raise DataError(f"the report has no section {title!r}; {did_you_mean(title, known)}")

    def to_html(self, path: str | PathLike[str] | None = None) -> str:
        """One self-contained HTML page; written to `path` when given, returned as text always.

        Parameters
        ----------
        path
            File to write as well; None writes none.

        Returns
        -------
        str
        """
        from canarykit.health.page.details import folded
        from canarykit.health.page.style import document
        from canarykit.health.page.tiles import first_screen

        page = document(f"{self.flag}: {self.stage}", first_screen(self), folded(self))
        if path is not None:
            write_whole(path, page)
        return page

    def explore(self, *, segment: str | None = None) -> View:
        """The report as a picture one can click: to whom it happened, in which arm, and when first.

        `people` lists the same people without a widget.

        Parameters
        ----------
        segment
            A property of `segments` by whose values the picture can be narrowed.

        Returns
        -------
        View

        Raises
        ------
        ImportError
            Without the parts for notebooks (`canarykit[lab]`).
        """
        from canarykit.widgets.reports import explore_report

        return explore_report(self, segment=segment)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Effects with their intervals and margins (a forest), or counts with exact bounds.

        Parameters
        ----------
        ax
            Axes to draw on; None makes a figure.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from canarykit.plots.health import plot_effects

        return plot_effects(self, ax=ax)

    def plot_evidence(self, *, ax: Axes | None = None) -> Axes:
        """Evidence of harm at every look against its threshold.

        Parameters
        ----------
        ax
            Axes to draw on; None makes a figure.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from canarykit.plots.health import plot_evidence

        return plot_evidence(self, ax=ax)

    def compare_rules(self) -> RuleComparison:
        """What other systems' published rules would have said on the same counts."""
        from canarykit.health.report.other_rules import compare_rules

        return compare_rules(self)
