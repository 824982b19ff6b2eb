"""The widget: bars whose parts are buttons, and a table of the people behind the chosen part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canarykit.display import Result, to_jsonable
from canarykit.errors import DataError, did_you_mean

try:
    import anywidget
    import traitlets
except ImportError as problem:  # the rest of canarykit does without
    raise ImportError(
        'explore() needs the parts for notebooks: pip install "canarykit[lab]". Without them, people() lists '
        "the same people."
    ) from problem

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Bar", "Explorer", "Part"]

MOST_SHOWN = 200
"""People in the table beside the picture; `people` has all of them."""


@dataclass(frozen=True)
class Part:
    """A piece of a bar that can be chosen.

    Parameters
    ----------
    id
        Names it in `selection`.
    label, value
        What it is, and its number as people read it.
    width
        Its part of the bar's whole length, 0 to 1.
    tone
        "canary", "control", "other" or "lost".
    """

    id: str
    label: str
    value: str
    width: float
    tone: str


@dataclass(frozen=True)
class Bar:
    """One bar: its label, the group it belongs to, and its parts."""

    label: str
    group: str
    parts: tuple[Part, ...]


class Explorer(anywidget.AnyWidget):
    """A picture whose parts lead to the people behind them.

    Click a part, or walk to it with the tabulator key and press enter. What was chosen is in `selection`,
    who stands behind it in `people`. Where no widgets run (GitHub, an exported page, a mail), the result's
    own table stands instead.

    Attributes
    ----------
    selection
        The id of the chosen part; empty before anything is chosen.
    parts
        Ids that can be chosen.
    people
        The people behind the selection, as a frame; None before anything is chosen.
    """

    _esm: Path = Path(__file__).parent / "explorer.js"
    _css: Path = Path(__file__).parent / "explorer.css"

    title: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
    caption: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
    bars: traitlets.List[Any] = traitlets.List().tag(sync=True)
    groups: traitlets.List[Any] = traitlets.List().tag(sync=True)
    selection: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
    table: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        result: Result,
        bars: Sequence[Bar],
        behind: Callable[[str], Result | pd.DataFrame],
        caption: str,
    ) -> None:
        groups = list(dict.fromkeys(bar.group for bar in bars))
        super().__init__(
            title=result._headline(), caption=caption, bars=[asdict(bar) for bar in bars], groups=groups
        )
        self.parts: tuple[str, ...] = tuple(part.id for bar in bars for part in bar.parts)
        self._result = result
        self._behind = behind
        self._chosen: Result | pd.DataFrame | None = None
        self.observe(self._selected, names="selection")

    def choose(self, part: str) -> Explorer:
        """Choose a part by its id, as a click does.

        Raises
        ------
        DataError
            If the picture has no such part.
        """
        if part not in self.parts:
            raise DataError(f"the picture has no part {part!r}; {did_you_mean(part, self.parts)}")
        self.selection = part
        return self

    @property
    def people(self) -> pd.DataFrame | None:
        """Everybody behind the selection."""
        return self._chosen.to_frame() if isinstance(self._chosen, Result) else self._chosen

    def _selected(self, change: Mapping[str, Any]) -> None:
        part = change["new"]
        if part not in self.parts:  # set by a page that is older than the picture
            self._chosen, self.table = None, {}
            return
        self._chosen = self._behind(part)
        self.table = _shown(self._chosen)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and beside it what stands where no widget runs."""
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        still = {"text/plain": repr(self._result), "text/html": self._result._repr_html_()}
        return {**data, **still}, metadata


def _shown(behind: Result | pd.DataFrame) -> dict[str, Any]:
    """The first rows of a list of people as text, with its columns and how many there are."""
    if isinstance(behind, Result):
        table, title = behind._table(), behind._headline()
        columns = [{"label": c.label, "is_link": c.kind == "link"} for c in table.columns]
        return {
            "title": title,
            "columns": columns,
            "rows": type(table)(table.columns, table.rows[:MOST_SHOWN]).formatted(),
            "total": len(table.rows),
        }
    rows = to_jsonable([tuple(row) for row in behind.head(MOST_SHOWN).itertuples(index=False)])
    return {
        "title": f"{len(behind):,} people",
        "columns": [{"label": str(name), "is_link": False} for name in behind.columns],
        "rows": [["–" if cell is None else str(cell) for cell in row] for row in rows],
        "total": len(behind),
    }
