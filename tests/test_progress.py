"""A bar where a person watches, and nowhere else; never as something red in a notebook."""

import pytest

from canarykit.progress import watched

CELL = """
import os, sys
os.environ["JPY_SESSION_NAME"] = "a live notebook"
os.environ.pop("PYTEST_CURRENT_TEST", None)
{without}
from canarykit.progress import watched
list(watched(range(3), None, total=3, unit="files"))
"""


def test_a_test_or_a_batch_run_sees_no_bar(capsys):
    assert list(watched(range(3), None, total=3, unit="files")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_bar_counts_what_each_item_brings(capsys):
    sizes = [1_000_000, 2_000_000]
    assert list(watched("ab", True, total=3_000_000, unit="events", sizes=sizes)) == ["a", "b"]
    said = capsys.readouterr().err
    assert "0.00/3.00M" in said
    assert " events" in said


@pytest.mark.slow
@pytest.mark.parametrize("widgets", [True, False])
def test_a_bar_in_a_live_notebook_is_no_red_box(widgets):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    without = "" if widgets else "sys.modules['ipywidgets'] = None"
    cell = nbformat.v4.new_code_cell(CELL.format(without=without))
    nbclient.NotebookClient(nbformat.v4.new_notebook(cells=[cell]), kernel_name="python3").execute()
    assert [output for output in cell.outputs if output.get("name") == "stderr"] == []
    kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
    assert ("application/vnd.jupyter.widget-view+json" in kinds) == widgets
    assert widgets or any("3.00/3.00" in output.get("text", "") for output in cell.outputs)
