"""DuckDB: files on disk, datasets, and relations of the user's."""

from canarykit.events.engines.duckdb.engine import DuckDBEngine, open_duckdb, open_relation

__all__ = ["DuckDBEngine", "open_duckdb", "open_relation"]
