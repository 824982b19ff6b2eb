"""nbval compares what a reader reads: the text form of a result. Its HTML form is tested in tests/."""

from importlib.util import find_spec

import pytest

# The project on loopback needs what the `test` extra installs.
NEEDED = ("django", "rest_framework", "exceptions_hog", "hogql_parser", "chdb")
collect_ignore = [] if all(map(find_spec, NEEDED)) else ["40_a_release_in_posthog.ipynb"]


def pytest_collectstart(collector: pytest.Collector) -> None:
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("text/html",)
