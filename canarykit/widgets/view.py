"""What `explore()` answers, for whoever writes code around it; the widget itself is its framework's class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["View"]


class View(Protocol):
    """A picture whose parts lead to the people behind them.

    Attributes
    ----------
    selection
        The id of the chosen part; empty before anything is chosen.
    parts
        Ids that can be chosen.
    """

    selection: str
    parts: tuple[str, ...]

    @property
    def people(self) -> pd.DataFrame | None:
        """Everybody behind the selection; None before anything is chosen."""

    def choose(self, part: str) -> View:
        """Choose a part by its id, as a click does."""
