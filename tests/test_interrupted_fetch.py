"""Ctrl-C while events are fetched: no half file is taken for a whole one, and the next fetch goes on."""

import pytest

from tests.posthog_server import MISSING
from tests.test_interrupts import seen

if MISSING:
    pytest.skip(f"the loopback server needs {MISSING}", allow_module_level=True)

from tests.posthog_server.model import KEY
from tests.test_posthog_events import sample, server, warehouse

__all__ = ["sample", "server", "warehouse"]


@pytest.mark.slow
def test_a_fetch_that_is_interrupted_goes_on_where_it_was(server, tmp_path):
    left = seen("fetch", tmp_path / "broken", "0.1,0.3,0.5,0.8,1.2,1.6", server.url, KEY)
    assert [wait for wait in left["waits"] if wait is not None]
    assert left["threads"] == []
    whole = seen("fetch", tmp_path / "whole", "120", server.url, KEY)
    assert left["answer"] == whole["answer"]
