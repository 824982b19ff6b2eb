"""One self-contained HTML page per stage: its own styles, inline pictures with alternative texts, no scripts.

It opens anywhere, prints on paper, and is light enough to mail. Counts of people lead to the people. Every
text that came from a log or a plan is escaped.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from canarykit.display import format_value
from canarykit.errors import part
from canarykit.escaping import html_text

if TYPE_CHECKING:
    from canarykit.health.checks.check import Check
    from canarykit.health.report.stage_report import StageReport

__all__ = ["figure_html", "stage_page"]

_FONT = "font-family:-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;color:#222"
_BODY = "max-width:960px;margin:24px auto;padding:0 16px;line-height:1.45;font-size:14px"
_VERDICT = {"promote": "#00704F", "hold": "#5A5A5A", "roll back": "#B03A00"}
_CELL = "padding:5px 9px;border-bottom:1px solid #ddd;text-align:left;vertical-align:top"
_PAPER = (
    "a{color:inherit}"
    "@page{margin:14mm}"
    "@media print{body{max-width:none!important;margin:0!important;padding:0!important;"
    "font-size:11px!important;-webkit-print-color-adjust:exact;print-color-adjust:exact}"
    "a{text-decoration:none!important}h2{break-after:avoid}thead{display:table-header-group}"
    "tr,img,li{break-inside:avoid}img{width:auto!important;max-width:49%!important;max-height:75mm}table{font-size:10px!important}details{display:none}}"
)
"""Only what a page needs beyond inline styles: links in the text's colour, and a layout for paper."""
MOST_PEOPLE = 20
_STATUS = {
    "ok": "#00704F",
    "harm": "#B03A00",
    "limit breached": "#B03A00",
    "invalid": "#B03A00",
    "small harm": "#8A5A00",
    "hold": "#8A5A00",
    "to do": "#8A5A00",
}


def stage_page(report: StageReport) -> str:
    """The page of one stage report.

    Parameters
    ----------
    report
        The answer of `evaluate_stage`.
    """
    blocks = [_banner(report), _facts(report)]
    if report.next_steps:
        items = "".join(f'<li style="margin:3px 0">{html_text(step)}</li>' for step in report.next_steps)
        blocks.append(_titled("What next", f'<ol style="margin:4px 0;padding-left:22px">{items}</ol>'))
    blocks.append(_titled("Checks", _checks(report)))
    blocks.append(_pictures(report))
    blocks.append(_evidence_of_variants(report))
    for section in report.sections:
        text = f'<p style="margin:4px 0;color:#444">{html_text(section.text)}</p>'
        blocks.append(_titled(section.title.capitalize(), text + section.table.to_html()))
    blocks.append(_people(report))
    blocks.append(_titled("How it was decided", _method(report)))
    if report.notes:
        items = "".join(f"<li>{html_text(note)}</li>" for note in report.notes)
        blocks.append(_titled("Notes", f'<ul style="margin:4px 0;color:#444">{items}</ul>'))
    blocks.append(_audit(report))
    title = escape(f"{report.flag}: {report.stage}")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_PAPER}</style></head>"
        f'<body style="{_FONT};{_BODY}">' + "\n".join(block for block in blocks if block) + "</body></html>\n"
    )


def figure_html(draw: Callable[..., Any], alt: str, *, width: str = "7in", dpi: int = 110) -> str:
    """A picture as an `<img>` with its PNG inside and an alternative text.

    Parameters
    ----------
    draw
        Called without arguments; returns matplotlib axes on a figure of its own.
    alt
        What the picture shows, for those who cannot see it.
    width
        Width on the page, as CSS writes it.
    dpi
        Dots per inch of the PNG.
    """
    pyplot = part("matplotlib.pyplot", what="drawing", install="matplotlib")
    ax = draw()
    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    pyplot.close(ax.figure)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    style = f"max-width:100%;width:{width};height:auto;margin:8px 0;break-inside:avoid;vertical-align:top"
    return f'<img alt="{escape(alt)}" style="{style}" src="data:image/png;base64,{data}">'


def _banner(report: StageReport) -> str:
    colour = _VERDICT[report.verdict.value]
    word = f"{report.verdict.icon} {report.verdict.value.upper()}"
    return (
        f'<div style="border-left:10px solid {colour};padding:6px 16px;margin:0 0 14px">'
        f'<div style="color:#555">{html_text(report.flag)}</div>'
        f'<h1 style="margin:2px 0;font-size:26px;color:{colour}">{html_text(word)}</h1>'
        f'<p style="margin:4px 0;font-size:17px">{html_text(report.reason)}</p></div>'
    )


def _facts(report: StageReport) -> str:
    rows = "".join(
        f'<tr><td style="padding:2px 14px 2px 0;color:#555">{html_text(name)}</td>'
        f'<td style="padding:2px 0">{html_text(text)}</td></tr>'
        for name, text in report._facts()
    )
    return f'<table style="border-collapse:collapse;margin:0 0 8px">{rows}</table>'


def _titled(title: str, content: str) -> str:
    heading = (
        f'<h2 style="font-size:17px;margin:20px 0 6px;border-bottom:2px solid #eee">{html_text(title)}</h2>'
    )
    return f"<section>{heading}{content}</section>"


def _checks(report: StageReport) -> str:
    second = "others or before" if report.kind == "targeted" else "control"
    head = "".join(
        f'<th style="{_CELL};font-weight:600;background:#f6f6f6">{html_text(label)}</th>'
        for label in (
            "check",
            "status",
            "canary",
            second,
            "effect (interval)",
            "what is tolerated",
            "evidence",
        )
    )
    listed = set(report.listed)
    body = "".join(
        _check_rows(check, f"people-{k}" if check.name in listed else None)
        for k, check in enumerate(report.checks)
    )
    return (
        '<table style="border-collapse:collapse;width:100%;font-size:13px">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _check_rows(check: Check, anchor: str | None) -> str:
    colour = _STATUS.get(check.status.value, "#444")
    cells = [
        f'<td style="{_CELL};border-bottom:none;font-weight:600">{html_text(check.name)}</td>',
        f'<td style="{_CELL};border-bottom:none;color:{colour};font-weight:600;white-space:nowrap">'
        f"{check.status.mark} {html_text(check.status.value)}</td>",
    ]
    arms = [_unbroken(arm) for arm in (check.canary, check.control)]
    if anchor is not None:
        linked = zip(arms, (check.canary, check.control), strict=True)
        arms = [f'<a href="#{anchor}">{text}</a>' if arm is not None else text for text, arm in linked]
    rest = [_unbroken(text) for text in (check.effect_text, check.margin_text, check.evidence_text)]
    cells += [f'<td style="{_CELL};border-bottom:none">{text}</td>' for text in (*arms, *rest)]
    measured = f"{check.measured}. " if check.measured else ""
    small = html_text(f"{measured}{check.method}".strip())
    return (
        f'<tr style="break-inside:avoid;break-after:avoid">{"".join(cells)}</tr>'
        f'<tr style="break-inside:avoid"><td colspan="7" style="{_CELL};padding-top:0">'
        f'{html_text(check.meaning)}<br><span style="color:#777;font-size:11px">{small}</span></td></tr>'
    )


def _unbroken(text: Any) -> str:
    """Numbers stay on one line with their percent sign."""
    return "–" if text is None else html_text(text).replace(" %", "&nbsp;%")


def _evidence_of_variants(report: StageReport) -> str:
    """Where several variants are judged, the evidence of each."""
    from canarykit.plots.health import plot_evidence

    pictures = []
    for key, one in getattr(report, "by_variant", {}).items():
        if one.series is None or len(one.series.looks) < 2:
            continue
        reached = "; ".join(f"{c.name}: {c.evidence_text}" for c in one.checks if c.kind == "guardrail")
        picture = figure_html(partial(plot_evidence, one), f"Evidence of harm of {key}. {reached}")
        pictures.append(f'<p style="margin:8px 0 0;font-weight:600">{html_text(key)}</p>{picture}')
    return "".join(pictures)


def _pictures(report: StageReport) -> str:
    from canarykit.plots.health import (
        plot_effects,
        plot_evidence,
        plot_exposure,
        plot_rate,
        plot_sample_ratio,
    )

    pictures = []
    if any(c.kind in ("guardrail", "limit") for c in report.checks):
        said = "; ".join(
            f"{c.name}: {c.effect_text}, {c.margin_text}, {c.status.value}"
            for c in report.checks
            if c.kind in ("guardrail", "limit")
        )
        pictures.append(figure_html(lambda: plot_effects(report), f"Effects with intervals. {said}"))
    series = report.series
    if series is not None and len(series.looks) > 1:
        needed = series.thresholds["roll back"]
        reached = "; ".join(f"{c.name}: {c.evidence_text}" for c in report.checks if c.kind == "guardrail")
        pictures.append(
            figure_html(
                lambda: plot_evidence(report),
                f"Evidence of harm over time against {needed:g}. Largest so far: {reached}",
            )
        )
        for judged, sets in zip(series.guardrails, series.risk_sets, strict=True):
            if sets is not None and sets.events.sum():
                label, happened = judged.guardrail.label, sets.by_interval
                words = f"{label} by hour and variant: {int(happened.events_canary.sum())} people with it in "
                words += f"the canary, {int(happened.events_control.sum())} in the control"
                pictures.append(figure_html(lambda label=label: plot_rate(report, label), words, width="49%"))
        counts = f"{int(series.units_canary[-1]):,} canary and {int(series.units_control[-1]):,} control"
        pictures.append(
            figure_html(
                lambda: plot_exposure(report), f"People exposed over time, at the end {counts}", width="49%"
            )
        )
        ratio = report.check("sample ratio")
        pictures.append(
            figure_html(
                lambda: plot_sample_ratio(report),
                f"Evidence against the planned shares over time, {ratio.evidence_text}: {ratio.meaning}",
                width="49%",
            )
        )
    return _titled("Pictures", "".join(pictures)) if pictures else ""


def _people(report: StageReport) -> str:
    """The first people behind each count, so that a number can be followed to somebody's session."""
    from canarykit.display import Column, Table

    columns = (
        Column("person_id", "person"),
        Column("variant", "variant"),
        Column("exposed_at", "exposed", "time"),
        Column("happened_at", "when it happened", "time"),
    )
    blocks = []
    for k, check in enumerate(report.checks):
        if check.name not in report.listed:
            continue
        rows = report.people(check.name, canary=None).sort_values(
            ["canary", "happened_at", "person_id"], ascending=[False, True, True], kind="stable"
        )
        shown = rows.groupby("canary", sort=False).head(MOST_PEOPLE // 2)
        table = Table.of(columns, shown[[column.key for column in columns]].itertuples(index=False))
        more = len(rows) - len(shown)
        words = f"{len(rows):,} in all." if len(rows) else "Nobody."
        if more:
            call = f"report.people({check.name!r}, canary=None)"
            words = f"The first {len(shown):,} of {len(rows):,}; everybody: {call}"
        blocks.append(
            f'<h3 id="people-{k}" style="font-size:14px;margin:12px 0 2px">{html_text(check.name)}</h3>'
            f'<p style="margin:2px 0;color:#444">{html_text(words)}</p>{table.to_html() if len(rows) else ""}'
        )
    return _titled("People behind the numbers", "".join(blocks)) if blocks else ""


def _method(report: StageReport) -> str:
    words = {
        "targeted": (
            "The people of this stage were chosen, so nothing is compared as if by chance: shares have exact "
            "bounds, limits are judged by them, and before-and-after lines only describe."
        ),
        "percentage": (
            "Only people whom chance put into their arm are compared, within this stage, each by the first "
            "event after their exposure. Evidence is an e-process: P(it ever passes 20 without harm) is at "
            "most 1 in 20, however often one looks. The decision table goes from missing data over validity "
            "and harm to safety; what is inconclusive is held."
        ),
        "full": (
            "At 100 % nobody is without the feature, so nothing is compared unless a holdout was kept. "
            "Limits are judged by bounds that hold at every look; the picture by day is no comparison."
        ),
    }[report.kind]
    row = f"Row {int(report.row)} of the decision table: {report.row.name.lower().replace('_', ' ')}."
    return f'<p style="margin:4px 0">{html_text(words)} {html_text(row)}</p>'


def _audit(report: StageReport) -> str:
    record = json.dumps(report.audit, indent=1, ensure_ascii=False)
    moment = format_value(report.as_of, "time")
    return (
        '<details style="margin:16px 0"><summary style="cursor:pointer;color:#555">'
        f"Audit record as of {html_text(moment)}: inputs, parameters, counts; the verdict can be recomputed "
        'from it</summary><pre style="font-size:11px;white-space:pre-wrap;word-break:break-all">'
        f"{escape(record)}</pre></details>"
    )
