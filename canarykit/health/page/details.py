"""What is folded beneath the first screen: every check, picture, table and person, and how it was decided."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from canarykit.counting import counted
from canarykit.display import format_value
from canarykit.errors import part
from canarykit.escaping import html_text, one_line
from canarykit.health.page.small_pictures import tone
from canarykit.health.page.tiles import anchors, by_variant

if TYPE_CHECKING:
    from canarykit.health.checks.check import Check
    from canarykit.health.report.stage_report import StageReport

MOST_PEOPLE = 20


def folded(report: StageReport) -> str:
    """Everything that stands behind the first screen, each part folded under its title."""
    blocks = [_fold("The stage", _facts(report)), _fold("Checks", _checks(report))]
    pictures = _pictures(report) + _evidence_of_variants(report)
    blocks.append(_fold("Pictures", f'<div class="figures">{pictures}</div>' if pictures else ""))
    several = len(by_variant(report)) > 1
    for section in report.sections:
        title = section.title if several else section.title[:1].upper() + section.title[1:]
        text = f'<p class="quiet">{html_text(section.text)}</p>'
        blocks.append(_fold(title, text + _wide(section.title, section.table.to_html())))
    blocks.append(_fold(f"{report.unit.capitalize()} behind the numbers", _people(report)))
    blocks.append(_fold("How it was decided", _method(report)))
    items = "".join(f"<li>{html_text(note)}</li>" for note in report.notes)
    blocks.append(_fold("Notes", f"<ul>{items}</ul>" if items else ""))
    blocks.append(_audit(report))
    return "".join(blocks)


def _fold(title: str, content: str) -> str:
    """A part that opens on a click, and on paper; none where there is nothing in it."""
    if not content:
        return ""
    return f"<details><summary>{html_text(title)}</summary><div>{content}</div></details>"


def _wide(title: str, table: str) -> str:
    """A table that scrolls by itself where the page is narrower."""
    label = escape(one_line(title))
    return f'<div class="wide" role="region" aria-label="{label}" tabindex="0">{table}</div>' if table else ""


def figure_html(draw: Callable[..., Any], alt: str, *, dpi: int = 100) -> str:
    """A picture as an `<img>` with its PNG inside, and `alt`, what it shows for those who cannot see it.

    `draw` gives matplotlib axes on a figure of its own. The PNG has 64 colours: lines and letters need no
    more, and the page stays light.
    """
    pyplot = part("matplotlib.pyplot", what="drawing", install="matplotlib")
    image = part("PIL.Image", what="drawing", install="matplotlib")
    ax = draw()
    drawn, light = io.BytesIO(), io.BytesIO()
    ax.figure.savefig(drawn, format="png", dpi=dpi, metadata={"Software": None})
    pyplot.close(ax.figure)
    picture = image.open(drawn).convert("RGB")
    picture.quantize(64).save(light, format="png", optimize=True)
    data = base64.b64encode(light.getvalue()).decode("ascii")
    width, height = picture.size
    size = f'width="{width}" height="{height}"'
    return f'<img alt="{escape(one_line(alt))}" {size} src="data:image/png;base64,{data}">'


def _facts(report: StageReport) -> str:
    rows = "".join(
        f'<tr><td class="quiet">{html_text(name)}</td><td>{html_text(text)}</td></tr>'
        for name, text in report._facts()
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>'


def _checks(report: StageReport) -> str:
    second = "others or before" if report.kind == "targeted" else "control"
    names = ("check", "status", "canary", second, "effect (interval)", "what is tolerated", "evidence")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    places = anchors(report)
    body = "".join(_check_rows(check, names, places.get(check.name)) for check in report.checks)
    return f'<table class="checks"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _check_rows(check: Check, names: tuple[str, ...], anchor: str | None) -> str:
    arms = [_unbroken(arm) for arm in (check.canary, check.control)]
    if anchor is not None:
        linked = zip(arms, (check.canary, check.control), strict=True)
        arms = [f'<a href="#{anchor}">{text}</a>' if arm is not None else text for text, arm in linked]
    rest = [_unbroken(text) for text in (check.effect_text, check.margin_text, check.evidence_text)]
    cells = "".join(
        f'<td data-name="{name}">{text}</td>' for name, text in zip(names[2:], (*arms, *rest), strict=True)
    )
    measured = f"{check.measured}. " if check.measured else ""
    small = html_text(f"{measured}{check.method}".strip())
    return (
        f'<tr><td><b>{html_text(check.name)}</b></td><td class="{tone(check.status)}">'
        f"<b>{check.status.mark} {html_text(check.status.value)}</b></td>{cells}</tr>"
        f'<tr class="said"><td colspan="7">{html_text(check.meaning)}<br>'
        f'<span class="quiet">{small}</span></td></tr>'
    )


def _unbroken(text: Any) -> str:
    """Numbers stay on one line with their percent sign."""
    return "–" if text is None else html_text(text).replace(" %", "&nbsp;%")


def _evidence_of_variants(report: StageReport) -> str:
    """Where several variants are judged, the evidence of each."""
    from canarykit.plots.health import plot_evidence

    pictures = []
    for key, one in by_variant(report).items():
        if not key or one.series is None or len(one.series.looks) < 2:
            continue
        reached = "; ".join(f"{c.name}: {c.evidence_text}" for c in one.checks if c.kind == "guardrail")
        picture = figure_html(partial(plot_evidence, one), f"Evidence of harm of {key}. {reached}")
        pictures.append(f"<div><h3>{html_text(key)}</h3>{picture}</div>")
    return "".join(pictures)


def _pictures(report: StageReport) -> str:
    """The report's plots, each with an alternative text that carries its numbers."""
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
                with_it = counted(int(happened.events_canary.sum()), "people with it")
                words = f"{label} by hour and variant: {with_it} in the canary,"
                words += f" {int(happened.events_control.sum())} in the control"
                pictures.append(figure_html(lambda label=label: plot_rate(report, label), words))
        counts = f"{int(series.units_canary[-1]):,} canary and {int(series.units_control[-1]):,} control"
        pictures.append(
            figure_html(lambda: plot_exposure(report), f"People exposed over time, at the end {counts}")
        )
        ratio = report.check("sample ratio")
        pictures.append(
            figure_html(
                lambda: plot_sample_ratio(report),
                f"Evidence against the planned shares over time, {ratio.evidence_text}: {ratio.meaning}",
            )
        )
    return "".join(pictures)


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
    for name, anchor in anchors(report).items():
        lacking = report.is_lower_worse(name)
        rows = report.people(name, canary=None, happened=not lacking).sort_values(
            ["canary", "exposed_at" if lacking else "happened_at", "person_id"],
            ascending=[False, True, True],
            kind="stable",
        )
        shown = rows.groupby("canary", sort=False).head(MOST_PEOPLE // 2)
        for moment in ("exposed_at", "happened_at"):
            if getattr(shown[moment].dtype, "tz", None) is not None:
                shown = shown.assign(**{moment: shown[moment].dt.tz_convert(report.as_of.tz)})
        title = f"{name}: people who did not" if lacking else name
        these = columns[:3] if lacking else columns
        table = Table.of(these, shown[[column.key for column in these]].itertuples(index=False))
        more = len(rows) - len(shown)
        words = f"{len(rows):,} in all." if len(rows) else "Nobody."
        if more:
            which = ", happened=False" if lacking else ""
            call = f"report.people({name!r}, canary=None{which})"
            words = f"The first {len(shown):,} of {len(rows):,}; everybody: {call}"
        blocks.append(
            f'<h3 id="{anchor}">{html_text(title)}</h3><p class="quiet">{html_text(words)}</p>'
            + (_wide(name, table.to_html()) if len(rows) else "")
        )
    return "".join(blocks)


def _method(report: StageReport) -> str:
    words = {
        "targeted": (
            "The people of this stage were chosen, so nothing is compared as if randomised: shares have "
            "exact bounds, limits are judged by them, and before-and-after lines only describe."
        ),
        "percentage": (
            "Only randomised people are compared, within this stage, each by the first "
            "event after their exposure. Evidence is an e-process: P(it ever passes 20 without harm) is at "
            "most 1 in 20, however often one looks. The decision table goes from missing data over validity "
            "and harm to safety; what is inconclusive is held."
        ),
        "full": (
            "At 100 % nobody is without the feature, so nothing is compared unless a holdout was kept. "
            "Limits are judged by bounds that hold at every look; the picture by day is not a comparison."
        ),
    }[report.kind]
    row = f"Row {int(report.row)} of the decision table: {report.row.name.lower().replace('_', ' ')}."
    return f"<p>{html_text(words)} {html_text(row)}</p>"


def _audit(report: StageReport) -> str:
    record = json.dumps(report.audit, indent=1, ensure_ascii=False)
    moment = format_value(report.as_of, "time")
    title = f"Audit record as of {moment}: inputs, parameters, counts; the verdict can be recomputed from it"
    return (
        f'<details class="audit"><summary>{html_text(title)}</summary><pre>{escape(record)}</pre></details>'
    )
