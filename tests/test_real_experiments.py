"""What peeking does on 78 real experiments, and what the always-valid rule does on the same checkpoints.

The ASOS Digital Experiments Dataset (Liu, Cardoso, Couturier & McCoy, NeurIPS 2021,
doi:10.17605/OSF.IO/64JSB, CC BY 4.0) is not part of this repository. Put `asos_digital_experiments.parquet`
into a folder and name the folder in CANARYKIT_DATA to run these tests. The decisions derived from it are in
`sample_data/asos_decisions.csv`.
"""

import os
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from canarykit import stats
from sample_data.asos_decisions import COMPARISON, FILE, TABLE, checkpoints, table

FOLDER = Path(os.environ.get("CANARYKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))

needs_the_data = pytest.mark.skipif(
    not (FOLDER / FILE).exists(),
    reason="the ASOS experiments are not here: name their folder in CANARYKIT_DATA",
)


@pytest.fixture(scope="module")
def committed():
    return pd.read_csv(TABLE, dtype={"experiment": str}).fillna({"fixed_days": ""})


def spells(text):
    """Spells of days, first and last of each."""
    return [tuple(map(float, spell.split("-"))) for spell in text.split()]


@needs_the_data
def test_the_committed_decisions_are_those_of_the_data(committed):
    pd.testing.assert_frame_equal(committed, table(FOLDER), check_dtype=False)


def test_a_fixed_rule_stops_nearly_half_of_all_comparisons_and_forgets_many_again(committed):
    ever = committed["fixed_days"] != ""
    last = committed["fixed_at_end"] == 1
    stopped = committed["always_valid_day"].notna()
    assert committed["experiment"].nunique() == 78
    assert (len(committed), ever.sum(), last.sum(), (ever & ~last).sum()) == (99, 46, 26, 20)
    assert (stopped.sum(), (stopped & ~last).sum()) == (21, 2)
    assert committed["turned"].sum() <= 1  # effects do change over months; a boundary cannot know


def test_the_decisions_over_time_are_whole(committed):
    assert TABLE.stat().st_size < 10_000
    for row in committed.itertuples():
        days = spells(row.fixed_days)
        assert all(row.first_day <= begin <= end <= row.last_day for begin, end in days)
        assert all(one[1] < other[0] for one, other in pairwise(days))
        assert bool(row.fixed_at_end) == bool(days and days[-1][1] == row.last_day)
        if not pd.isna(row.always_valid_day):
            assert any(begin <= row.always_valid_day <= end for begin, end in days)


@needs_the_data
@pytest.mark.parametrize("metric", [1, 2, 3, 4])
def test_every_metric_of_every_experiment_runs_through(metric):
    """Binary, two counts and revenue: no error, and fewer stops than by peeking."""
    rows = table(FOLDER, metric)
    ever, stopped = rows["fixed_days"] != "", rows["always_valid_day"].notna()
    assert len(rows) >= 99 - 5
    assert stopped.sum() <= ever.sum()
    assert (ever | ~stopped).all()  # the always-valid rule never stops where peeking would not


@needs_the_data
def test_splits_of_real_experiments_are_reported_whatever_they_were_designed_to_be():
    """Twelve differ from one half at chi-square 10.83; their design is unknown, so none is called wrong."""
    frame, _ = checkpoints(FOLDER)
    ends = frame[frame.metric_id == 1].groupby(COMPARISON).last()
    tests = [stats.srm_chi_square((row.count_t, row.count_c), (1, 1)) for row in ends.itertuples()]
    assert sum(test.statistic > 10.83 for test in tests) == 12
