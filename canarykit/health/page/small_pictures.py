"""Pictures as wide as a tile: inline SVG in the page's own colours, each with its numbers in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from canarykit.display import format_value
from canarykit.escaping import html_text, one_line
from canarykit.health.checks.check import Check, Status

if TYPE_CHECKING:
    from canarykit.health.evidence.event_evidence import EvidenceSeries, Floats, GuardrailEvidence

_WIDTH, _EDGE = 320.0, 12.0
_TONES = {
    Status.OK: "good",
    Status.HARM: "bad",
    Status.BREACH: "bad",
    Status.INVALID: "bad",
    Status.TOLERATED: "care",
    Status.HOLD: "care",
    Status.OPEN: "care",
}
_LEAST_RATIO, _MOST_RATIO = 0.05, 20.0
"""Ratios beyond these are drawn as an open end."""
_LEAST_LOG_E = math.log(0.01)
"""Evidence below this says no more than that there is none."""


def tone(status: Status) -> str:
    """Which colour a status has beside its sign and its word: "good", "bad", "care", or none."""
    return _TONES.get(status, "")


def effect_picture(check: Check) -> str:
    """The effect with its interval against no change, what is tolerated and the line of rollback.

    Ratios stand on a logarithmic axis, shares and differences on a plain one. Empty where nothing is known.
    """
    ends = (check.effect, check.effect_low, check.effect_high)
    if all(number is None for number in ends):
        return ""
    kind = {"ratio": "ratio", "points": "points", "share": "share"}.get(check.effect_unit, "number")

    def text(number: float | None) -> str:
        return format_value(number, kind)  # type: ignore[arg-type]

    is_ratio, is_share = check.effect_unit == "ratio", check.effect_unit == "share"
    lines = [check.margin, check.roll_back, check.hoped]
    left, right = _span([*ends, *lines], ratio=is_ratio, share=is_share)

    def at(number: float) -> float:
        low, high, here = (
            math.log(n) if is_ratio else n for n in (left, right, min(max(number, left), right))
        )
        return _EDGE + (here - low) / (high - low) * (_WIDTH - 2 * _EDGE)

    parts = []
    if check.hoped is not None and check.margin is not None:
        one, other = sorted((at(check.hoped), at(check.margin)))
        parts.append(f'<rect class="band" x="{one:.1f}" y="18" width="{other - one:.1f}" height="28"/>')
    parts.append(f'<line class="axis" x1="{_EDGE}" x2="{_WIDTH - _EDGE}" y1="46" y2="46"/>')
    if check.roll_back is not None:
        x = at(check.roll_back)
        parts.append(f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="15" y2="46"/>')
        past = "below" if check.lower_is_worse else "beyond"
        parts.append(_label(x, 11, f"roll back {past} {text(check.roll_back)}"))
    if check.margin is not None:
        x = at(check.margin)
        parts.append(f'<line class="line dashed" x1="{x:.1f}" x2="{x:.1f}" y1="18" y2="50"/>')
        word = "limit" if check.kind == "limit" else "tolerated"
        parts.append(_label(x, 60, f"{word} {text(check.margin)}"))
    elif is_share:
        parts += [_label(at(left), 60, text(left)), _label(at(right), 60, text(right))]
    start, stop = (
        (left if check.effect_low is None else check.effect_low),
        (right if check.effect_high is None else check.effect_high),
    )
    parts.append(
        f'<line class="bar {tone(check.status)}" x1="{at(start):.1f}" x2="{at(stop):.1f}" y1="32" y2="32"/>'
    )
    if check.effect_low is None or check.effect_low < left:
        parts.append(f'<path class="end" d="M{_EDGE - 8},32 l9,-6 v12 z"/>')
    if check.effect_high is None or check.effect_high > right:
        parts.append(f'<path class="end" d="M{_WIDTH - _EDGE + 8},32 l-9,-6 v12 z"/>')
    if check.effect is not None and left <= check.effect <= right:
        parts.append(f'<circle class="dot" cx="{at(check.effect):.1f}" cy="32" r="4.5"/>')
    words = f"{check.name}: effect {check.effect_text}"
    if check.margin is not None:
        words += f"; {check.margin_text if check.kind != 'limit' else 'limit ' + text(check.margin)}"
    return _svg(words, 66, parts)


def evidence_picture(check: Check, judged: GuardrailEvidence, series: EvidenceSeries) -> str:
    """Evidence of harm at every look, on a logarithmic axis, with the line that rolls back.

    Looks at which there is no evidence leave a gap. Empty where there are fewer than two looks.
    """
    line = math.log(series.thresholds["roll back"])
    log_e = judged.harm_log_e + math.log(judged.weight)
    there = np.isfinite(log_e)
    if there.sum() < 2:
        return ""
    drawn = np.where(there, np.clip(log_e, _LEAST_LOG_E, 700.0), np.nan)
    low, high = min(float(np.nanmin(drawn)), 0.0), max(float(np.nanmax(drawn)), line * 1.25)
    top, bottom = 6.0, 50.0

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    x = _EDGE + np.linspace(0, 1, len(drawn)) * (_WIDTH - 2 * _EDGE)
    if series.looks[-1] > series.looks[0]:
        passed = (series.looks - series.looks[0]) / (series.looks[-1] - series.looks[0])
        x = _EDGE + passed * (_WIDTH - 2 * _EDGE)
    parts = [f'<line class="axis" x1="{_EDGE}" x2="{_WIDTH - _EDGE}" y1="{bottom}" y2="{bottom}"/>']
    level = y(line)
    parts.append(
        f'<line class="line dashed" x1="{_EDGE}" x2="{_WIDTH - _EDGE}" y1="{level:.1f}" y2="{level:.1f}"/>'
    )
    curve = f"line {tone(check.status)}".strip()
    parts += [f'<polyline class="{curve}" points="{points}"/>' for points in _runs(x, drawn, y)]
    last = int(np.flatnonzero(there)[-1])
    parts.append(f'<circle class="dot" cx="{x[last]:.1f}" cy="{y(float(drawn[last])):.1f}" r="3.5"/>')
    reached = np.flatnonzero(judged.weighted_log_e >= line)
    if reached.size:
        first = int(reached[0])
        cross, height = x[first], y(float(drawn[first])) if there[first] else level
        parts.append(f'<path class="line" d="M{cross - 4:.1f},{height - 4:.1f} l8,8 m0,-8 l-8,8"/>')
    needed = format_value(series.thresholds["roll back"], "number")
    crossed = ", crossed at ×" if reached.size else ""
    parts.append(_label(_EDGE, 64, f"- - rolls back from E = {needed}{crossed}", "start"))
    words = f"{check.name}: evidence of harm at {len(drawn)} looks, {check.evidence_text}"
    return _svg(words, 68, parts)


def _span(numbers: Sequence[float | None], *, ratio: bool, share: bool) -> tuple[float, float]:
    """Ends of the axis: all that is to be seen with room around it, within what an axis can hold."""
    finite = [n for n in numbers if n is not None and math.isfinite(n)]
    if ratio:
        above = [n for n in finite if n > 0]
        left = max(min([*above, 0.8]) / 1.25, _LEAST_RATIO)
        return left, min(max([*above, 1.25]) * 1.25, _MOST_RATIO)
    if share:
        return 0.0, min(max([*finite, 0.01]) * 1.25, 1.0)
    low, high = min([*finite, 0.0]), max([*finite, 0.0])
    room = 0.12 * (high - low) or 1.0
    return low - room, high + room


def _label(x: float, y: float, text: str, anchor: str = "") -> str:
    """A text that stays inside the picture: it grows away from the nearer edge."""
    anchor = anchor or ("start" if x < _WIDTH / 3 else "end" if x > _WIDTH * 2 / 3 else "middle")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html_text(text)}</text>'


def _runs(x: Floats, values: Floats, y: Callable[[float], float]) -> list[str]:
    """Points of each unbroken run, in the form that a polyline takes."""
    runs: list[list[str]] = [[]]
    for here, value in zip(x, values, strict=True):
        if math.isnan(value):
            runs.append([])
        else:
            runs[-1].append(f"{here:.1f},{y(float(value)):.1f}")
    return [" ".join(run) for run in runs if len(run) > 1]


def _svg(words: str, height: float, parts: Sequence[str]) -> str:
    label = escape(one_line(words))
    return f'<svg role="img" aria-label="{label}" viewBox="0 0 {_WIDTH:g} {height:g}">{"".join(parts)}</svg>'
