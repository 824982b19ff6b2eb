"""The widget: bars whose parts are buttons, and a table of the people behind the chosen part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canarykit.counting import counted
from canarykit.display import Result, Table, format_value, to_jsonable
from canarykit.errors import DataError, did_you_mean
from canarykit.widgets.picture import Picture, Segments

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

MOST_SHOWN = 200
"""People in the table beside the picture; `people` has all of them."""
MOST_EVENTS = 20
"""Events shown of one person; `events` has all of them."""


class Explorer(anywidget.AnyWidget):
    """A picture whose parts lead to the people behind them.

    Click a part, or walk to it with the tabulator key and press enter. What was chosen is in `selection`,
    who stands behind it in `people`. Where no widgets run (GitHub, an exported page, a mail), the bars and
    the result's own table stand instead.

    Attributes
    ----------
    selection
        The id of the chosen part; empty before anything is chosen.
    segment
        Of whom the picture is: a value of `segment_name`, or empty for everybody.
    parts
        Ids that can be chosen.
    people, events
        The people behind the selection and their matched events, as frames; None before anything is chosen.
    """

    _esm: Path = Path(__file__).parent / "explorer.js"
    _css: Path = Path(__file__).parent / "explorer.css"

    title: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
    caption: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
    bars: traitlets.List[Any] = traitlets.List().tag(sync=True)
    groups: traitlets.List[Any] = traitlets.List().tag(sync=True)
    segment_name: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
    segments: traitlets.List[Any] = traitlets.List().tag(sync=True)
    segment: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
    selection: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
    table: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)

    def __init__(self, picture: Picture, segments: Segments | None = None) -> None:
        offered = {} if segments is None else {"segment_name": segments.name, "segments": segments.offered}
        super().__init__(**_drawn(picture), **offered)
        self._pictures = {"": picture}
        self._segments = segments
        self._picture = picture
        self._chosen: Result | pd.DataFrame | None = None
        self.observe(self._selected, names="selection")
        self.observe(self._narrowed, names="segment")

    @property
    def parts(self) -> tuple[str, ...]:
        """Ids that can be chosen."""
        return self._picture.parts

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

    def narrow(self, segment: str) -> Explorer:
        """Draw the people of one segment, as the list above the picture does; "" is everybody.

        Raises
        ------
        DataError
            If the picture offers no such segment.
        """
        if segment and segment not in self.segments:
            raise DataError(
                f"the picture has no segment {segment!r}; {did_you_mean(segment, self.segments)}"
                if self.segments
                else 'the picture offers no segments; name a property in explore(segment="...")'
            )
        self.segment = segment
        return self

    @property
    def people(self) -> pd.DataFrame | None:
        """Everybody behind the selection."""
        return self._chosen.to_frame() if isinstance(self._chosen, Result) else self._chosen

    @property
    def events(self) -> pd.DataFrame | None:
        """The matched events of everybody behind the selection; None where nobody's events are listed."""
        listed = getattr(self._chosen, "events_frame", None)
        return None if listed is None else listed()

    def _selected(self, change: Mapping[str, Any]) -> None:
        part = change["new"]
        if part not in self.parts:  # set by a page that is older than the picture
            self._chosen, self.table = None, {}
            return
        self._chosen = self._picture.behind(part)
        (label,) = (one.label for bar in self._picture.bars for one in bar.parts if one.id == part)
        self.table = _shown(self._chosen, label)

    def _narrowed(self, change: Mapping[str, Any]) -> None:
        value = change["new"]
        if value not in self._pictures and self._segments is not None and value in self._segments.offered:
            self._pictures[value] = self._segments.picture_of(value)
        self._picture = self._pictures.get(value, self._pictures[""])
        with self.hold_sync():
            for name, drawn in _drawn(self._picture).items():
                setattr(self, name, drawn)
            self._selected({"new": self.selection})

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and beside it what stands where no widget runs."""
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        result = self._picture.result
        html = f"<div>{self._picture.to_html()}{result._repr_html_()}</div>"
        return {**data, "text/plain": repr(result), "text/html": html}, metadata


def _drawn(picture: Picture) -> dict[str, Any]:
    """What the page is sent of a picture."""
    return {
        "title": picture.result._in_brief(),
        "caption": picture.caption,
        "bars": [asdict(bar) for bar in picture.bars],
        "groups": list(dict.fromkeys(bar.group for bar in picture.bars)),
    }


def _shown(behind: Result | pd.DataFrame, label: str) -> dict[str, Any]:
    """The first rows of the people behind a part as text, with the columns and how many there are."""
    if isinstance(behind, Result):
        table, title = behind._table(), behind._in_brief()
        columns = [{"label": c.label, "is_link": c.kind == "link"} for c in table.columns]
        return {
            "title": title,
            "columns": columns,
            "rows": Table(table.columns, table.rows[:MOST_SHOWN]).formatted(),
            "events": _events(behind),
            "total": len(table.rows),
        }
    rows = behind.head(MOST_SHOWN).itertuples(index=False)
    return {
        "title": f"{label}: {counted(len(behind), 'people')}",
        "columns": [{"label": str(name).replace("_", " "), "is_link": False} for name in behind.columns],
        "rows": [[_cell(value) for value in row] for row in rows],
        "events": [],
        "total": len(behind),
    }


def _cell(value: Any) -> str:
    """A value of a frame as people read it: a time with its zone, to the minute."""
    is_time = hasattr(value, "tz_convert") and value == value  # a missing time is not equal to itself
    if is_time:
        return format_value(value, "time")
    plain = to_jsonable(value)
    return "–" if plain is None else str(plain)


def _events(people: Any) -> list[list[dict[str, str]]]:
    """Per shown person the matched events in order: when, what, and where the recording is."""
    by_person: dict[Any, list[dict[str, str]]] = {}
    for event in sorted(getattr(people, "events", ()), key=lambda event: event["timestamp"]):
        listed = by_person.setdefault((event["person_id"], event["variant"]), [])
        if len(listed) < MOST_EVENTS:
            said = {"when": format_value(event["timestamp"], "time"), "what": str(event["name"])}
            listed.append({**said, "link": event.get("replay_url") or ""})
    if not by_person:
        return []
    return [by_person.get((row["person_id"], row["variant"]), []) for row in people.rows[:MOST_SHOWN]]
