"""A release as one timeline: when each stage ran, to how many, what was decided, and a way to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from canarykit.counting import counted
from canarykit.display import format_value
from canarykit.escaping import html_text
from canarykit.health.decision import Verdict
from canarykit.health.page.style import document, kind_of_verdict
from canarykit.health.report.stage_report import StageReport


def stage_line(report: StageReport, page: str) -> dict[str, Any]:
    """What the timeline needs of a report, as plain values that fit into JSON.

    `page` is where the report's page is, as seen from the timeline's.
    """
    return {
        "flag": report.flag,
        "stage": report.stage,
        "kind": report.kind,
        "share": None if report.share is None else float(report.share),
        "unit": report.unit,
        "n_canary": report.n_canary,
        "n_control": report.n_control,
        "starts_at": report.starts_at.isoformat(),
        "ends_at": (report.ends_at or max(report.as_of, report.starts_at)).isoformat(),
        "start": format_value(report.starts_at, "time"),
        "end": "open" if report.ends_at is None else format_value(report.ends_at, "time"),
        "as_of": format_value(report.as_of, "time"),
        "verdict": report.verdict.value,
        "reason": report._reason_in_brief,
        "page": page,
    }


def release_page(lines: Sequence[Mapping[str, Any]]) -> str:
    """The page of a release from what `stage_line` gives, in order; `notebook` may name a further page."""
    flags = " and ".join(dict.fromkeys(str(line["flag"]) for line in lines))
    counts = [(verdict, sum(line["verdict"] == verdict.value for line in lines)) for verdict in Verdict]
    said = ", ".join(f"{number} × {verdict.icon} {verdict.value}" for verdict, number in counts if number)
    times = [_moment(line[key]) for line in lines for key in ("starts_at", "ends_at")]
    items = "".join(_item(line, min(times), max(times)) for line in lines)
    words = f"{said or 'No stage was judged'}. Each bar is a stage in the time of the whole release."
    return document(
        f"{flags}: from stage to verdict",
        f"<h1>{html_text(flags)}: from stage to verdict</h1>",
        f'<p class="quiet">{html_text(words)}</p>',
        f'<ol class="timeline">{items}</ol>',
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _item(line: Mapping[str, Any], first: datetime, last: datetime) -> str:
    verdict = Verdict(line["verdict"])
    kind = kind_of_verdict(verdict.value)
    unit = line["unit"]
    who = f"{counted(line['n_canary'], unit)} with it, {line['n_control']:,} without"
    time = f"{line['start']} to {line['end']}; judged as of {line['as_of']}"
    bar = _bar(_moment(line["starts_at"]), _moment(line["ends_at"]), first, last, kind)
    return (
        f'<li><div><h2><a href="{escape(line["page"])}">{html_text(line["stage"])}</a></h2>'
        f'{_share(line)}<p class="quiet">{html_text(who)}</p></div>'
        f'<div><div class="track" aria-hidden="true">{bar}</div>'
        f'<p><span class="mark {kind}">{html_text(f"{verdict.icon} {verdict.value}")}</span> '
        f"{html_text(line['reason'])}</p>"
        f'<p class="quiet">{html_text(time)}{_notebook_link(line.get("notebook"))}</p></div></li>'
    )


def _share(line: Mapping[str, Any]) -> str:
    """To how many of all it was given by rule, in words and as a bar."""
    if line["share"] is None:
        said = {"targeted": f"chosen {line['unit']}", "full": "everybody"}
        return f"<p>{html_text(said.get(line['kind'], 'several variants'))}</p>"
    words = f"{format_value(line['share'], 'share')} of {line['unit']}"
    bar = f'<span class="share" aria-hidden="true"><i style="width:{100 * line["share"]:.1f}%"></i></span>'
    return f'<p class="number">{html_text(words)}</p>{bar}'


def _bar(start: datetime, end: datetime, first: datetime, last: datetime, kind: str) -> str:
    whole = (last - first).total_seconds() or 1.0
    left, width = (100 * part.total_seconds() / whole for part in (start - first, end - start))
    return f'<i class="{kind}" style="left:{min(left, 99):.2f}%;width:{width:.2f}%"></i>'


def _notebook_link(page: Any) -> str:
    return f' · <a href="{escape(str(page))}">notebook</a>' if page else ""
