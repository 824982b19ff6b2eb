"""What a committed notebook must be, so that running it again can be compared with what readers see."""

import json
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
ids = [path.stem for path in NOTEBOOKS]

EXPECTED = {
    "00_start_here", "01_plan_the_rollout", "02_assign_cohorts", "03_simulate_a_rollout",
    "10_stage_1_just_yourself", "11_stage_2_internal_team", "12_stage_3_beta",
    "13_stage_4_expanded_beta", "14_stage_5_full_release", "20_funnels_by_flag", "21_release_health",
    "22_listening_to_the_canary", "30_other_flag_systems", "31_when_one_machine_is_not_enough",
    "40_a_release_in_posthog", "41_a_real_trial", "90_your_release",
}  # fmt: skip


@pytest.fixture(params=NOTEBOOKS, ids=ids, scope="module")
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_walk_is_complete():
    assert set(ids) == EXPECTED


def test_every_cell_was_run_in_order(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_nothing_was_printed_to_stderr_and_errors_are_announced(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.get("name") != "stderr", cell.source
            if output.output_type == "error":
                assert "raises-exception" in cell.metadata.get("tags", []), cell.source


def test_no_clock_widget_or_machine_is_stored(notebook):
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert "execution" not in cell.metadata
    text = json.dumps(notebook)
    assert not re.search(r"(/home/|/Users/|/root/|/work/|/tmp/|[A-Z]:\\\\Users)", text)


def test_a_notebook_asks_one_question(notebook):
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert len(re.findall(r"^# ", prose, flags=re.MULTILINE)) == 1


def test_cells_are_short_and_hold_no_magic(notebook):
    for cell in code_cells(notebook):
        lines = cell.source.splitlines()
        assert len(lines) <= 12, cell.source
        assert not any(line.lstrip().startswith(("!", "%")) for line in lines), cell.source
        assert not cell.source.rstrip().endswith(";"), cell.source
        assert not re.search(r"^class ", cell.source, flags=re.MULTILINE), "classes belong to the library"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_a_notebook_can_be_mailed(path):
    assert path.stat().st_size <= 500 * 1024


@pytest.mark.slow
def test_a_notebook_of_the_walk_starts_with_nothing_of_the_one_before(tmp_path):
    import nbclient

    from canarykit import walk

    with walk._kernel(tmp_path) as kernel:
        for source in ("left = 1\nleft", "'left' in globals()"):
            last = "from canarykit.walk import forget\nforget()"
            cells = [nbformat.v4.new_code_cell(text) for text in (source, last)]
            notebook = nbformat.v4.new_notebook(cells=cells)
            client = nbclient.NotebookClient(notebook, km=kernel.km)
            client.kc = kernel.kc
            client.execute()
            (shown,) = notebook.cells[0].outputs
            assert shown.execution_count == 1
    assert shown.data["text/plain"] == "False"
