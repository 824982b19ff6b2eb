"""How often an event happens to the people of each variant, over time."""

from canarykit.insights.trend import FlagTrend, trend_by_flag

__all__ = ["FlagTrend", "trend_by_flag"]
