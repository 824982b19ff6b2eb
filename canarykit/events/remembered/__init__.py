"""A log that remembers: what was once taken out of an export's files is not read there again."""

from canarykit.events.remembered.folder import CACHE_ENV, CacheFolder, cache_folder
from canarykit.events.remembered.layout import Layout, layout_of
from canarykit.events.remembered.log_columns import LogColumns

__all__ = ["CACHE_ENV", "CacheFolder", "Layout", "LogColumns", "cache_folder", "layout_of"]
