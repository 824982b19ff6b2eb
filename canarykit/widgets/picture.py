"""What an explorer draws, and who stands behind each part of it: plain values, without a widget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from canarykit.display import QUIET, Result
from canarykit.escaping import html_text

if TYPE_CHECKING:
    import pandas as pd

_TONES = {"canary": "#e69f00", "control": "#5f7c94", "other": "#0072b2"}
"""The colours of the pictures; what was lost is hatched in the page's own grey."""
_LOST = "repeating-linear-gradient(45deg,rgba(128,128,128,.75) 0 3px,transparent 3px 7px)"


@dataclass(frozen=True)
class Part:
    """A piece of a bar that can be chosen."""

    id: str  # names it in `selection`
    # what it is, and its number as people read it
    label: str
    value: str
    width: float  # its part of the bar's whole length, 0 to 1
    tone: str  # "canary", "control", "other" or "lost"


@dataclass(frozen=True)
class Bar:
    """One bar: its label, the heading it stands under, the variant it belongs to, and its parts."""

    label: str
    heading: str
    group: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Picture:
    """A result as bars."""

    result: Result  # what is drawn; its own table stands where no widget runs
    bars: tuple[Bar, ...]  # from top to bottom
    # the people behind a part, by its id: the same list that the result's own method gives
    behind: Callable[[str], Result | pd.DataFrame]
    caption: str  # what the lengths mean

    @property
    def parts(self) -> tuple[str, ...]:
        """Ids that can be chosen."""
        return tuple(part.id for bar in self.bars for part in bar.parts)

    def to_html(self) -> str:
        """The bars as they stand where no widget runs: inline styles only, every text escaped."""
        lines, heading = [], None
        for bar in self.bars:
            if bar.heading != heading and bar.heading:
                lines.append(f'<tr><td colspan="3"><b>{html_text(bar.heading)}</b></td></tr>')
            heading = bar.heading
            pieces = "".join(
                f'<span style="display:inline-block;height:14px;width:{100 * part.width:.1f}%;'
                f'background:{_TONES.get(part.tone, _LOST)}"></span>'
                for part in bar.parts
            )
            said = html_text("; ".join(part.value for part in bar.parts))
            lines.append(
                f'<tr><td style="padding:1px 8px 1px 0">{html_text(bar.label)}</td>'
                f'<td style="width:50%;white-space:nowrap;font-size:0">{pieces}</td>'
                f'<td style="padding-left:8px;white-space:nowrap">{said}</td></tr>'
            )
        return (
            f'<table style="border-collapse:collapse;font-size:13px;width:100%;max-width:60rem">'
            f"<tbody>{''.join(lines)}</tbody></table>"
            f'<p style="{QUIET}">{html_text(self.caption)}</p>'
        )


@dataclass(frozen=True)
class Segments:
    """Values of a property by which a picture can be narrowed."""

    # the property, and its values in the order in which they are offered
    name: str
    offered: tuple[str, ...]
    picture_of: Callable[[str], Picture]  # the picture of the people with one of the values
