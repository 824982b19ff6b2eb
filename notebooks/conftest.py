"""nbval compares what a reader reads: the text form of a result. Its HTML form is tested in tests/."""

import pytest


def pytest_collectstart(collector: pytest.Collector) -> None:
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("text/html",)
