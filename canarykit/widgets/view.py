"""What `explore()` answers, for whoever writes code around it; the widget itself is its framework's class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd


class View(Protocol):
    """A picture whose parts lead to the people behind them.

    Attributes
    ----------
    selection
        The id of the chosen part; empty before anything is chosen.
    segment
        Of whom the picture is: a value of the property named in `explore(segment=...)`; empty: everybody.
    """

    selection: str
    segment: str

    @property
    def parts(self) -> tuple[str, ...]:
        """Ids that can be chosen."""

    @property
    def people(self) -> pd.DataFrame | None:
        """Everybody behind the selection; None before anything is chosen."""

    @property
    def events(self) -> pd.DataFrame | None:
        """Their matched events; None where none are listed."""

    def choose(self, part: str) -> View:
        """Choose a part by its id, as a click does."""

    def narrow(self, segment: str) -> View:
        """Draw the people of one segment; "" is everybody."""
