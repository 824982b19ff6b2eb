"""The first screen: the verdict, one tile a guardrail, who is hit, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from canarykit.counting import counted
from canarykit.display import format_value
from canarykit.escaping import html_text
from canarykit.health.checks.check import Arm, Check, Status
from canarykit.health.page.small_pictures import effect_picture, evidence_picture, tone
from canarykit.health.page.style import kind_of_verdict

if TYPE_CHECKING:
    from canarykit.health.evidence.segment_harm import SegmentHarm
    from canarykit.health.report.stage_report import StageReport

_HIT = (Status.BREACH, Status.HARM, Status.TOLERATED)
_AGAINST_THE_DATA = (Status.HOLD, Status.INVALID, Status.UNCLEAR)


def first_screen(report: StageReport) -> str:
    """What answers before one reads."""
    return "".join(
        (
            _banner(report),
            _data_line(report),
            _tiles(report),
            f'<div class="pair">{_panel_of_hit(report)}{_next_steps(report)}</div>',
        )
    )


def anchors(report: StageReport) -> dict[str, str]:
    """Where on the page the people of each check are listed, by the check's name."""
    listed = set(report.listed)
    return {check.name: f"people-{k}" for k, check in enumerate(report.checks) if check.name in listed}


def by_variant(report: StageReport) -> Mapping[str, StageReport]:
    """The reports of several variants by key; of one variant its own, under an empty key."""
    return getattr(report, "by_variant", None) or {"": report}


def _banner(report: StageReport) -> str:
    share = "" if report.share is None else f", {format_value(report.share, 'share')} by rule"
    end = "open" if report.ends_at is None else format_value(report.ends_at, "time")
    window = f"{format_value(report.starts_at, 'time')} to {end}; as of {format_value(report.as_of, 'time')}"
    word = f"{report.verdict.icon} {report.verdict.value.upper()}"
    meaning = f'<p class="quiet">{html_text(_meaning_of_e(report))}</p>' if _speaks_of_e(report) else ""
    sentence = report._reason_in_brief
    sentence = sentence[:1].upper() + sentence[1:] if len(by_variant(report)) == 1 else sentence
    return (
        f'<header class="banner {kind_of_verdict(report.verdict.value)}">'
        f'<p class="quiet"><b>{html_text(report.flag)}</b> · {html_text(report.stage + share)}</p>'
        f"<h1>{html_text(word)}</h1><p>{html_text(sentence)}</p>{meaning}"
        f'<p class="quiet">{html_text(window)}</p></header>'
    )


def _data_line(report: StageReport) -> str:
    """Whether the data can be trusted, in one line; what speaks against them is spelt out."""
    checks = [check for check in report.checks if check.kind == "validity"]
    bad = [check for check in checks if check.status in _AGAINST_THE_DATA]
    if not checks:
        return ""
    if not bad:
        names = ", ".join(dict.fromkeys(check.name.rpartition(": ")[2] for check in checks))
        return f'<p class="quiet">✓ Nothing speaks against the data: {html_text(names)}.</p>'
    items = "".join(
        f'<p class="{tone(check.status)}"><b class="status">{check.status.mark} {html_text(check.name)}: '
        f"{html_text(check.status.value)}.</b> {html_text(check.meaning)}</p>"
        for check in bad
    )
    return f'<section class="panel"><h2>What stands in the way</h2>{items}</section>'


def _tiles(report: StageReport) -> str:
    """One tile a guardrail; of several variants those of each under its name and verdict."""
    links = anchors(report)
    groups = []
    for key, one in by_variant(report).items():
        tiles = [
            _tile(one, check, links.get(f"{key}: {check.name}" if key else check.name), key or "canary")
            for check in one.checks
            if check.kind in ("guardrail", "limit")
        ]
        if not tiles:
            continue
        head = f"<h2>{html_text(key)} {_mark(one)}</h2>" if key else ""
        wide = f"flex:{len(tiles)} 1 min(100%,{300 * len(tiles)}px)"
        groups.append(f'<section style="{wide}">{head}<div class="tiles">{"".join(tiles)}</div></section>')
    return f'{_legend(report)}<div class="groups">{"".join(groups)}</div>' if groups else ""


def _mark(report: StageReport) -> str:
    word = html_text(f"{report.verdict.icon} {report.verdict.value}")
    return f'<span class="mark {kind_of_verdict(report.verdict.value)}">{word}</span>'


def _meaning_of_e(report: StageReport) -> str:
    """What E is, in plain words; empty where nothing was compared."""
    compared = [one.series for one in by_variant(report).values() if one.series is not None]
    if not compared:
        return ""
    needed = format_value(compared[0].thresholds["roll back"], "number")
    return (
        "E is the evidence of harm: how many times likelier the data are with the harm than without, "
        "times the part of the error that its guardrail has. "
        f"From E = {needed} on a guardrail rolls back."
    )


def _speaks_of_e(report: StageReport) -> bool:
    return "E = " in report.reason


def _legend(report: StageReport) -> str:
    """What the pictures show, and what E is unless the sentence has already needed it."""
    meaning = _meaning_of_e(report)
    words = (
        "Each bar is where the effect may lie, its dot the estimate; a bar within the band never rolls back."
    )
    if not meaning:
        words = (
            "Each bar is where the share may lie, its dot what was counted. Nobody comparable is without the "
            "feature at the same time, so shares are held against a limit, where there is one."
        )
    elif not _speaks_of_e(report):
        words = f"{meaning} {words}"
    return f'<p class="quiet">{html_text(words)}</p>'


def _tile(report: StageReport, check: Check, anchor: str | None, name: str) -> str:
    other = "control"
    if report.kind == "targeted" or (check.kind == "limit" and report.series is None):
        name, other = ("with it" if name == "canary" else name), "others, no control"
    rows = _arm_row("▲", name, check.canary, anchor)
    if check.control is not None:
        rows += _arm_row("●", other, check.control, anchor)
    judged = None
    if report.series is not None:
        evidence = {judged.guardrail.label: judged for judged in report.series.guardrails}
        judged = evidence.get(check.name)
    sparkline = said = ""
    if judged is not None and report.series is not None:
        sparkline = evidence_picture(check, judged, report.series)
    if check.evidence is not None:
        said = f'<p class="quiet number">Evidence: {html_text(check.evidence_text)}</p>'
    effect = ""
    if check.effect_text != "–":
        word = "Share" if check.effect_unit == "share" else "Effect"
        effect = f'<p class="number">{word} <b>{html_text(check.effect_text)}</b></p>'
    return (
        f'<article class="tile {tone(check.status)}"><h3>{html_text(check.name)}</h3>'
        f'<p class="status">{check.status.mark} {html_text(check.status.value)}</p>'
        f'<table class="arms number"><tbody>{rows}</tbody></table>'
        f"{effect}{effect_picture(check)}{sparkline}{said}</article>"
    )


def _arm_row(sign: str, name: str, arm: Arm | None, anchor: str | None) -> str:
    text = "–" if arm is None else html_text(arm).replace(" %", "&nbsp;%")
    if anchor is not None and arm is not None:
        text = f'<a href="#{anchor}">{text}</a>'
    colour = "canary" if sign == "▲" else "control"
    return (
        f'<tr><th scope="row"><span style="color:var(--{colour})" aria-hidden="true">{sign}</span> '
        f"{html_text(name)}</th><td>{text}</td></tr>"
    )


def who_is_hit(report: StageReport, *, links: bool = True) -> list[str]:
    """A line of HTML for each guardrail that hits people; with links to where the page lists them."""
    places = anchors(report) if links else {}
    items = []
    for key, one in by_variant(report).items():
        uncompared = one.series is None
        before = f"{key}: " if key else ""
        judged = [check.name for check in one.checks if check.kind in ("guardrail", "limit")]
        specs = dict(zip(judged, one.audit.get("guardrails", []), strict=False))
        for check in one.checks:
            arm = check.canary
            if check.kind not in ("guardrail", "limit") or arm is None:
                continue
            worse = specs.get(check.name, {}).get("worse")
            if check.status in _HIT or (uncompared and arm.count and worse == "higher"):
                place = places.get(before + check.name)
                items.append(_hit_words(check, one.unit, before, place, lacking=worse == "lower"))
        items += [_segment_words(segment, before) for segment in one.harmed_segments]
        items += [html_text(f"{before}{note}.") for note in one.notes if note.code == "segment_unproven"]
    if not items:
        without = "without" if report.kind == "percentage" else "without it"
        counts = counted(report.n_canary, f"{report.unit} have it")
        counts += f", {report.n_control:,} {'is' if report.n_control == 1 else 'are'} {without}."
        known = report.checks and not any(check.status in _AGAINST_THE_DATA for check in report.checks)
        said = "Nobody is shown to be hit." if known else "It cannot be told from these data."
        items = [f"{said} {html_text(counts)}"]
    return items


def _panel_of_hit(report: StageReport) -> str:
    body = "".join(f"<p>{item}</p>" for item in who_is_hit(report))
    return f'<section class="panel"><h2>Who is hit</h2>{body}</section>'


def _hit_words(check: Check, unit: str, before: str, anchor: str | None, *, lacking: bool) -> str:
    """How many are hit, to whom it happened or (`lacking`) did not; and how many more than in the control."""
    arm, other = check.canary, check.control
    assert arm is not None
    text = html_text(f"{before}{check.name}: {arm}")
    if arm.count is not None and arm.total is not None:
        hit = arm.total - arm.count if lacking else arm.count
        did = " did not" if lacking else ""
        text = f"<b>{hit:,} of {html_text(counted(arm.total, unit))}</b> with it{did}: "
        text += html_text(before + check.name)
        if other is not None and other.value is not None and check.kind == "guardrail":
            share = 1 - other.value if lacking else other.value
            apart = hit - share * arm.total
            word = "more" if apart > 0 else "fewer"
            text += f"; some {abs(apart):,.0f} {word} than at the control's share"
    return f'{text} (<a href="#{anchor}">list them</a>).' if anchor else f"{text}."


def _segment_words(segment: SegmentHarm, before: str) -> str:
    here, elsewhere = (format_value(ratio, "ratio") for ratio in (segment.here, segment.elsewhere))
    where = f"{segment.name} is {segment.segment}"
    return (
        f"{html_text(before)}Most of all where <b>{html_text(where)}</b>: {html_text(segment.label)} "
        f"{here} the control's there, {elsewhere} elsewhere."
    )


def _next_steps(report: StageReport) -> str:
    items = "".join(f"<li>{html_text(step)}</li>" for step in report.next_steps)
    body = f"<ol>{items}</ol>" if items else "<p>Nothing more.</p>"
    return f'<section class="panel"><h2>What to do next</h2>{body}</section>'
