"""One self-contained HTML page per stage: its own styles, inline pictures with alternative texts, no scripts.

It opens anywhere, at any width, by day and by night, prints on paper, and is light enough to mail. The first
screen answers; everything else is folded beneath it, and open on paper. Every text that came from a log or a
plan is escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarykit.health.page.details import folded
from canarykit.health.page.style import document
from canarykit.health.page.tiles import first_screen

if TYPE_CHECKING:
    from canarykit.health.report.stage_report import StageReport

__all__ = ["stage_page"]


def stage_page(report: StageReport) -> str:
    """The page of one stage report."""
    return document(f"{report.flag}: {report.stage}", first_screen(report), folded(report))
