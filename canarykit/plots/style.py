"""How a variant looks, the same in every picture, readable in colour, in grey and in print.

The colours are Okabe and Ito's, which people with the common kinds of colour blindness can tell apart
(https://jfly.uni-koeln.de/color/). Colour never stands alone: a variant also has its own marker, line
style and hatch. The control is grey-blue, the canary orange, what nobody knows grey.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from canarykit.counting import in_brief, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
Picture = TypeVar("Picture", bound="Axes | Figure")

ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
PALETTE = {
    "orange": ORANGE,
    "sky": SKY,
    "green": GREEN,
    "yellow": YELLOW,
    "blue": BLUE,
    "vermillion": VERMILLION,
    "purple": PURPLE,
}
"""Okabe and Ito's colours by name; green suits "go on", vermillion "roll back", sky "wait"."""
CONTROL, CANARY, UNKNOWN, INK = "#5F7C94", ORANGE, "#9E9E9E", "#333333"

_CONTROL = {"color": CONTROL, "marker": "o", "linestyle": "--", "hatch": ""}
_CANARY = {"color": CANARY, "marker": "^", "linestyle": "-", "hatch": "///"}
_UNKNOWN = {"color": UNKNOWN, "marker": "x", "linestyle": ":", "hatch": "..."}
_HOLDOUT = {"color": SKY, "marker": "P", "linestyle": (0, (8, 2)), "hatch": "--"}
_OTHERS = (
    {"color": BLUE, "marker": "s", "linestyle": "-.", "hatch": "\\\\\\"},
    {"color": GREEN, "marker": "D", "linestyle": (0, (5, 1, 1, 1)), "hatch": "xx"},
    {"color": PURPLE, "marker": "v", "linestyle": (0, (3, 1)), "hatch": "++"},
    {"color": VERMILLION, "marker": "P", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "hatch": "oo"},
    {"color": SKY, "marker": "*", "linestyle": (0, (1, 1)), "hatch": "--"},
    {"color": "#8C6D1F", "marker": "h", "linestyle": (0, (8, 2, 2, 2)), "hatch": "||"},
)
_CONTROL_NAMES = frozenset({"control", "false"})
_CANARY_NAMES = frozenset({"test", "true", "canary"})
_UNKNOWN_NAMES = frozenset({"", "unknown", "none", "null", "nan", "<na>", "missing"})


def variant_style(variant: Any, position: int | None = None) -> dict[str, Any]:
    """Colour, marker, line style and hatch of one variant, the same in every picture.

    Parameters
    ----------
    variant
        The value of the flag as text, a boolean, or None for a value nobody knows. `control` and
        `false` are drawn as the control, `test`, `true` and `canary` as the canary.
    position
        Which of the further looks a variant of another name takes (0, 1, 2, ...). Left out, the name
        decides, so that a variant keeps its look between pictures; `variant_styles` also makes sure that
        no two variants of one picture share a look.

    Examples
    --------
    >>> variant_style("control")["color"], variant_style(True)["color"], variant_style(None)["marker"]
    ('#5F7C94', '#E69F00', 'x')
    """
    name = _name(variant)
    if name in _CONTROL_NAMES:
        return dict(_CONTROL)
    if name in _CANARY_NAMES:
        return dict(_CANARY)
    if name in _UNKNOWN_NAMES:
        return dict(_UNKNOWN)
    if name.startswith("holdout-"):
        return dict(_HOLDOUT)
    slot = zlib.crc32(name.encode()) if position is None else position
    return dict(_OTHERS[slot % len(_OTHERS)])


def variant_styles(
    variants: Iterable[Any], *, control: str | None = None, canary: str | None = None
) -> dict[Any, dict[str, Any]]:
    """The look of each variant in one picture, no two alike while six further looks last, in any order.

    `control` and `canary` are what this rollout calls its two arms, when not the usual names.

    Examples
    --------
    >>> styles = variant_styles(["blue-button", "old-button"], control="old-button", canary="blue-button")
    >>> styles["old-button"]["color"] == variant_style("control")["color"]
    True
    """
    names = list(dict.fromkeys(variants))
    styles: dict[Any, dict[str, Any]] = {}
    taken: set[int] = set()
    for variant in sorted(names, key=str):
        if variant is not None and variant == control:
            styles[variant] = dict(_CONTROL)
        elif variant is not None and variant == canary:
            styles[variant] = dict(_CANARY)
        elif variant_style(variant) not in _OTHERS:
            styles[variant] = variant_style(variant)
        else:
            slot = zlib.crc32(_name(variant).encode()) % len(_OTHERS)
            if len(taken) < len(_OTHERS):
                while slot in taken:
                    slot = (slot + 1) % len(_OTHERS)
            taken.add(slot)
            styles[variant] = variant_style(variant, slot)
    return {variant: styles[variant] for variant in names}


def variant_label(variant: Any) -> str:
    """How a variant is called in a legend: the arm behind a bare `true` or `false` is spelt out.

    Examples
    --------
    >>> variant_label("true"), variant_label("control"), variant_label(None)
    ('canary (true)', 'control', 'unknown')
    """
    name = _name(variant)
    if name in _UNKNOWN_NAMES:
        return "unknown"
    return {"true": "canary (true)", "false": "control (false)"}.get(name, shortened(str(variant), 32))


def name_lines(name: str, width: int, lines: int) -> str:
    """A name on an axis: at most so many lines of so many signs, shortened in the middle where it must.

    Examples
    --------
    >>> print(name_lines("people who paid with a coupon", 18, 2))
    people who paid
    with a coupon
    >>> print(name_lines("people who paid with a coupon on the new page of the shop", 18, 2))
    people who paid
    w…page of the shop
    """
    from textwrap import wrap

    for room in range(len(name), 2, -1):
        if len(parts := wrap(shortened(name, room), width)) <= lines:
            return "\n".join(parts)
    return name


def line_style(style: dict[str, Any]) -> dict[str, Any]:
    """The keys of a variant's style that `Axes.plot` takes.

    Examples
    --------
    >>> sorted(line_style(variant_style("control")))
    ['color', 'linestyle', 'marker']
    """
    return {key: style[key] for key in ("color", "marker", "linestyle")}


def bar_style(style: dict[str, Any]) -> dict[str, Any]:
    """The keys of a variant's style that `Axes.bar` takes, with a hatch that stays light.

    Examples
    --------
    >>> bar_style(variant_style("true"))["hatch"]
    '///'
    """
    return {"color": style["color"], "hatch": style["hatch"], "edgecolor": "white", "linewidth": 0.5}


def label_ends(ax: Axes, ends: Sequence[tuple[float, str, dict[str, Any]]]) -> None:
    """Name each line where it ends, right of the axes, instead of in a legend over the curves.

    The limits of the axes are final. Per line its last value, its name, and its look; names that would
    collide are moved apart.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> ax = new_axes()
    >>> label_ends(ax, [(0.5, "control", variant_style("control")), (0.5, "canary", variant_style("true"))])
    >>> [text.get_text() for text in ax.texts]
    ['control', 'canary']
    """
    low, high = ax.get_ylim()
    named = [(value, name_lines(name, 24, 3), look) for value, name, look in ends]
    floor = 0.0
    for value, name, look in sorted(named, key=lambda end: end[0]):
        half = 0.032 * (1 + name.count("\n"))
        height = max((value - low) / (high - low or 1.0), floor + half)
        floor = height + half
        ax.plot(
            [1.025], [height], transform=ax.transAxes, clip_on=False, linestyle="none", markersize=6,
            color=look["color"], marker=look["marker"],
        )  # fmt: skip
        ax.annotate(
            name, (1.025, height), xycoords="axes fraction", xytext=(7, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=INK, annotation_clip=False,
        )  # fmt: skip


def plain_text(draw: Callable[P, Picture]) -> Callable[P, Picture]:
    """A drawing function whose texts are text: `$a$` is never typeset as mathematics.

    Names of events, properties and values come from other people, and matplotlib refuses a picture whose
    dollar signs hold no formula. Labels of a logarithmic axis are matplotlib's own and stay typeset.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> @plain_text
    ... def draw():
    ...     ax = new_axes()
    ...     ax.set_title("from $a__b to $c")
    ...     return ax
    >>> draw().title.get_parse_math()
    False
    """

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Picture:
        from matplotlib import rcParams
        from matplotlib.text import Text

        # not rc_context: it would also undo the interactive mode that a notebook's first figure turns on
        before: Any = {name: rcParams[name] for name in ("text.parse_math", "text.usetex")}
        rcParams.update(dict.fromkeys(before, False))
        try:
            picture = draw(*args, **kwargs)
        finally:
            rcParams.update(before)
        for text in picture.findobj(Text):
            text.set_parse_math(False)
            text.set_usetex(False)
        for axis in picture.findobj(_numbers_are_typeset):
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):  # type: ignore[attr-defined]
                tick.label1.set_parse_math(True)
        return picture

    return drawn


def _numbers_are_typeset(artist: Any) -> bool:
    from matplotlib.axis import Axis
    from matplotlib.ticker import LogFormatter

    return isinstance(artist, Axis) and isinstance(artist.get_major_formatter(), LogFormatter)


def new_axes(ax: Axes | None = None, figsize: tuple[float, float] = (7, 4)) -> Axes:
    """The caller's axes, or those of a new figure (in inches), with a light grid behind the data.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> ax = new_axes()
    >>> [float(side) for side in ax.figure.get_size_inches()]
    [7.0, 4.0]
    """
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=figsize, layout="constrained")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.grid(visible=True, axis="y", color="#E3E3E3", linewidth=0.8)
    ax.set_axisbelow(True)
    return ax


def percent_axis(ax: Axes, which: Literal["x", "y"] = "y", *, signed: bool = False) -> None:
    """Write fractions on an axis as percentages, or with `signed` as percentage points with their sign."""
    from matplotlib.ticker import FuncFormatter

    def text(value: float, _position: int | None = None) -> str:
        number = round(value * 100, 10)
        unit = " pp" if signed else " %"
        return (f"{number:+g}" if signed and number else f"{number:g}") + unit

    (ax.xaxis if which == "x" else ax.yaxis).set_major_formatter(FuncFormatter(text))


def title_finding(ax: Axes, text: str, names: Iterable[str] = (), *, width: int = 66) -> None:
    """The picture's finding as its title, left-aligned, in lines of at most `width` letters; long `names`
    in it are shortened in the middle."""
    from textwrap import wrap

    whole = (
        in_brief(text, names).replace(" %", "\u00a0%").replace(" pp", "\u00a0pp")
    )  # a number stays with its unit
    lines = wrap(whole, width)
    even = (wrap(whole, narrower) for narrower in range(len(whole) // max(len(lines), 1), width))
    lines = next((parts for parts in even if len(parts) == len(lines)), lines)  # no word stands alone
    ax.set_title("\n".join(lines), loc="left", fontsize=10.5, color=INK)


def time_axis(ax: Axes, which: Literal["x", "y"] = "x", *, timezone: str = "UTC") -> None:
    """Write times on an axis in a zone, each part of a date only where it changes."""
    from zoneinfo import ZoneInfo

    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    axis = ax.xaxis if which == "x" else ax.yaxis
    zone = ZoneInfo(timezone)
    locator = AutoDateLocator(tz=zone, minticks=3, maxticks=8)
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))


def _name(variant: Any) -> str:
    return "" if variant is None else str(variant).strip().lower()
