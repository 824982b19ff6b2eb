"""A report in a notebook cell: the page's first screen, and the rest folded, in inline styles alone.

JupyterLab strips styles and scripts from notebooks that it did not run, so nothing here needs them: the
ground and the ink are the notebook's own, by day and by night.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarykit.display import QUIET, RULE
from canarykit.escaping import html_text
from canarykit.health.checks.check import Check
from canarykit.health.page.small_pictures import tone
from canarykit.health.page.tiles import by_variant, who_is_hit

if TYPE_CHECKING:
    from canarykit.health.report.stage_report import StageReport

# White reads on each of them; as a line beside a tile each is seen on white and on black.
_GROUNDS = {"promote": "#00704f", "hold": "#5a5a5a", "roll back": "#b03a00"}
_EDGES = {"good": "#00875f", "bad": "#d0521b", "care": "#b87700", "": "rgba(128,128,128,.6)"}


def report_cell(report: StageReport) -> str:
    """The HTML of a report where a notebook shows it."""
    parts = [_banner(report), _tiles(report), _pair(report)]
    table = report._table().to_html()
    parts.append(_fold("Every check", table))
    facts = " · ".join(f"{html_text(name)}: {html_text(text)}" for name, text in report._facts())
    parts.append(_fold("The stage", f'<p style="{QUIET}">{facts}</p>'))
    for section in report.sections:
        text = f'<p style="{QUIET}">{html_text(section.text)}</p>'
        parts.append(_fold(section.title[:1].upper() + section.title[1:], text + section.table.to_html()))
    notes = "".join(f"<li>{html_text(note)}</li>" for note in report.notes)
    parts.append(_fold(f"Notes ({len(report.notes)})", f'<ul style="{QUIET}">{notes}</ul>' if notes else ""))
    return f'<div style="max-width:62rem">{"".join(parts)}</div>'


def _banner(report: StageReport) -> str:
    ground = _GROUNDS[report.verdict.value]
    where = html_text(f"{report.flag} · {report.stage}")
    said = html_text(report.headline)
    return (
        f'<div style="background:{ground};color:#fff;border-radius:6px;padding:8px 14px;margin:4px 0 8px">'
        f'<p style="margin:0;font-size:12px;color:#fff">{where}</p>'
        f'<p style="margin:2px 0;font-weight:600;font-size:15px;color:#fff">{said}</p>'
        "</div>"
    )


def _tiles(report: StageReport) -> str:
    """One tile a guardrail: both arms, the effect against what is tolerated, the evidence, the status."""
    tiles = [
        _tile(check, f"{key}: " if key else "")
        for key, one in by_variant(report).items()
        for check in one.checks
        if check.kind in ("guardrail", "limit")
    ]
    return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(tiles)}</div>' if tiles else ""


def _tile(check: Check, before: str) -> str:
    lines = [f"▲ with it: {check.canary}"] if check.canary is not None else []
    if check.control is not None:
        lines.append(f"● without: {check.control}")
    if check.effect_text != "–":
        word = "share" if check.effect_unit == "share" else "effect"
        lines.append(f"{word} {check.effect_text}")
    if check.margin_text != "–":
        alone = check.roll_back is not None and check.hoped is not None  # three lines, each with its word
        lines.append(check.margin_text if alone else f"tolerated: {check.margin_text}")
    if check.evidence_text != "–":
        lines.append(f"evidence: {check.evidence_text}")
    said = "".join(f'<div style="font-size:12.5px">{html_text(line)}</div>' for line in lines)
    edge = f"border:{RULE};border-left:5px solid {_EDGES[tone(check.status)]}"
    return (
        f'<div style="flex:1 1 260px;max-width:420px;{edge};padding:6px 10px">'
        f'<div style="font-weight:600">{html_text(before + check.name)}</div>'
        f'<div style="font-weight:600">{check.status.mark} {html_text(check.status.value)}</div>{said}</div>'
    )


def _pair(report: StageReport) -> str:
    """Who is hit, and what to do next."""
    hit = "".join(f'<div style="font-size:13px">{item}</div>' for item in who_is_hit(report, links=False))
    steps = "".join(f"<li>{html_text(step)}</li>" for step in report.next_steps) or "<li>Nothing more.</li>"
    head = '<p style="font-weight:600;margin:8px 0 2px">'
    advice = f'<ol style="font-size:13px;margin:2px 0">{steps}</ol>'
    return f"{head}Who is hit</p>{hit}{head}What to do next</p>{advice}"


def _fold(title: str, content: str) -> str:
    """A part that opens on a click; none where there is nothing in it."""
    if not content:
        return ""
    return (
        f'<details style="border-top:{RULE};padding:2px 0"><summary style="cursor:pointer">{html_text(title)}'
        f"</summary>{content}</details>"
    )
