"""Several variants against one control: a report each, and one verdict for the release."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from canarykit.counting import first_named, listed
from canarykit.display import Column, Note, Table
from canarykit.errors import DataError, did_you_mean
from canarykit.health.checks.check import Status
from canarykit.health.decision import Row, Verdict
from canarykit.health.report.stage_report import COLUMNS, StageReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False, eq=False)
class ReleaseReport(StageReport):
    """A stage whose flag has several variants: each against the control, and the release as a whole.

    Parameters
    ----------
    by_variant
        The report of each variant against the control, by its key.

    Notes
    -----
    The checks are those of all variants, each named "variant: check". No variant is ever compared with
    another one, and none is called the best: each is only held against the control.
    """

    by_variant: Mapping[str, StageReport] = field(default_factory=dict)

    @property
    def listed(self) -> tuple[str, ...]:
        """Names of the checks whose people can be listed."""
        return tuple(f"{key}: {name}" for key, one in self.by_variant.items() for name in one.listed)

    def _whose(self, name: str) -> tuple[StageReport, str]:
        for key, one in self.by_variant.items():
            if name.startswith(f"{key}: "):
                return one, name.removeprefix(f"{key}: ")
        raise DataError(f"the report has no people for {name!r}; {did_you_mean(name, self.listed)}")

    def plot_evidence(self, *, ax: Axes | None = None) -> Axes:
        """Evidence of harm at every look: of the variant with the most of it."""
        from canarykit.plots.health import plot_evidence

        compared = {key: one for key, one in self.by_variant.items() if one.series is not None}
        if not compared:
            return plot_evidence(self, ax=ax)
        most = max(compared, key=lambda key: _evidence(compared[key]))
        drawn = plot_evidence(compared[most], ax=ax)
        drawn.set_title(f"{most}: {drawn.get_title(loc='left')}", loc="left")
        return drawn

    def _long_names(self) -> Iterable[str]:
        of_variants = [name for one in self.by_variant.values() for name in one._long_names()]
        return [*self.by_variant, *of_variants]

    def _facts(self) -> tuple[tuple[str, str], ...]:
        said = [(key, f"{one.verdict.icon} {one.verdict.value}") for key, one in self.by_variant.items()]
        arms = ", ".join(f"{one.n_canary:,} {key}" for key, one in self.by_variant.items())
        kept = [fact for fact in super()._facts() if fact[0] != self.unit]
        return (*kept, (self.unit, f"{arms}, {self.n_control:,} control"), *said)

    def _table(self) -> Table:
        """Every guardrail of every variant, and whatever else does not stand well."""
        rows = [
            (key, *row)
            for key, one in self.by_variant.items()
            for check, row in zip(one.checks, one._table().rows, strict=True)
            if check.kind in ("guardrail", "limit") or check.status not in (Status.OK, Status.INFO)
        ]
        return Table.of((Column("variant", "variant"), *COLUMNS), rows)


def release_verdict(verdicts: Mapping[str, Verdict], critical: Mapping[str, bool]) -> Verdict:
    """One verdict for the release: the worst that binds all of it.

    A variant that harms a critical guardrail (or breaks a limit) rolls the release back, and so do all
    variants rolled back together. The release is promoted when every variant asked for is. Anything else
    holds, and the reason says which variant to take out.
    """
    if any(verdicts[key] is Verdict.ROLL_BACK and critical[key] for key in verdicts):
        return Verdict.ROLL_BACK
    kinds = set(verdicts.values())
    return kinds.pop() if len(kinds) == 1 else Verdict.HOLD


def release_report(reports: Mapping[str, StageReport], *, control: str, arms: int) -> ReleaseReport:
    """Gather the reports of several variants, each judged at its part of the error rates.

    These were split over so many `arms`; `control` is the key of the control.
    """
    critical = {key: _critical_harm(one) for key, one in reports.items()}
    verdict = release_verdict({key: one.verdict for key, one in reports.items()}, critical)
    first = next(iter(reports.values()))
    leading = next((one for one in reports.values() if one.verdict is verdict), first)
    split = Note(
        "several_variants_split",
        f"{arms} variants against {control}: each error rate is split over them, so each statement holds for "
        "all variants together; no variant is compared with another, and none is called the best",
    )
    kept = {item.name: getattr(leading, item.name) for item in fields(StageReport)}
    notes = dict.fromkeys(note for one in reports.values() for note in one.notes)
    own = {
        "verdict": verdict,
        "row": leading.row if leading.verdict is verdict else Row.GO_ON,
        "reason": f"{first.stage}: {_reason(reports, verdict, critical)}",
        "share": None,
        "n_canary": sum(one.n_canary for one in reports.values()),
        "n_control": max(one.n_control for one in reports.values()),
        "checks": tuple(
            replace(check, name=f"{key}: {check.name}")
            for key, one in reports.items()
            for check in one.checks
        ),
        "next_steps": _steps(reports, verdict),
        "sections": tuple(
            replace(section, title=f"{key}: {section.title}")
            for key, one in reports.items()
            for section in one.sections
        ),
        "series": None,
        "found": None,
        "segments": {},
        "audit": {
            "variants": {key: one.audit for key, one in reports.items()},
            "critical_harm": critical,
            "verdict": verdict.value,
        },
        "notes": (*notes, split),
        "harmed_segments": tuple(segment for one in reports.values() for segment in one.harmed_segments),
    }
    return ReleaseReport(**{**kept, **own}, by_variant=dict(reports))


def _critical_harm(report: StageReport) -> bool:
    """Whether a critical guardrail, or a limit, is what rolls the variant back."""
    names = {check.name for check in report.checks if check.status in (Status.HARM, Status.BREACH)}
    specs = report.audit.get("guardrails", [])
    labels = [check.name for check in report.checks if check.kind in ("guardrail", "limit")]
    critical = {name for name, spec in zip(labels, specs, strict=True) if spec.get("critical")}
    return report.row in (Row.LIMIT_BREACHED, Row.CRITICAL_MISSING) or bool(names & critical)


def _reason(reports: Mapping[str, StageReport], verdict: Verdict, critical: Mapping[str, bool]) -> str:
    by_verdict = {kind: [key for key, one in reports.items() if one.verdict is kind] for kind in Verdict}
    bad, good = by_verdict[Verdict.ROLL_BACK], by_verdict[Verdict.PROMOTE]
    if verdict is Verdict.PROMOTE:
        return f"{first_named(good)} are all shown to be within what is tolerated"
    waiting = by_verdict[Verdict.HOLD]
    first, *others = sorted(bad, key=lambda key: -_evidence(reports[key])) or waiting
    parts = [f"{first}: {_own_reason(reports[first])}"]
    if others:
        parts.append(f"{first_named(others)} {'rolled back' if bad else 'on hold'} too")
    if verdict is Verdict.HOLD and bad:
        parts.append(f"take {first_named(bad)} out and go on without")
    if verdict is Verdict.ROLL_BACK and len(bad) < len(reports):
        named = first_named([key for key in bad if critical[key]])
        parts.append(f"{named} harms what is critical, so the whole release goes back")
    if bad and waiting:
        parts.append(f"{first_named(waiting)} on hold")
    if good:
        parts.append(f"{first_named(good)} shown to be within what is tolerated")
    return "; ".join(part.rstrip(".") for part in parts) + "."


def _own_reason(report: StageReport) -> str:
    return report.reason.removeprefix(f"{report.stage}: ").rstrip(".")


def _steps(reports: Mapping[str, StageReport], verdict: Verdict) -> tuple[str, ...]:
    bad = [key for key, one in reports.items() if one.verdict is Verdict.ROLL_BACK]
    steps = [f"Set {listed(bad)} to 0 % of the flag's variants."] if bad and verdict is Verdict.HOLD else []
    for key, one in reports.items():
        if one.verdict is verdict or one.verdict is Verdict.HOLD:
            steps += [step if verdict is Verdict.PROMOTE else f"{key}: {step}" for step in one.next_steps]
    return tuple(dict.fromkeys(steps))


def _evidence(report: StageReport) -> float:
    if report.series is None:
        return -math.inf
    return max((float(judged.weighted_log_e[-1]) for judged in report.series.guardrails), default=0.0)
