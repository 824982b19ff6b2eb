"""Spark: projection, filters and JSON run there, reductions in its workers."""

from canarykit.events.engines.spark.engine import SparkEngine, open_spark

__all__ = ["SparkEngine", "open_spark"]
