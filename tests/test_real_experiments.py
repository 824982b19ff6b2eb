"""What peeking does on 78 real experiments, and what the always-valid rule does on the same checkpoints.

The ASOS Digital Experiments Dataset (Liu, Cardoso, Couturier & McCoy, NeurIPS 2021,
doi:10.17605/OSF.IO/64JSB, CC BY 4.0) is not part of this repository. Put `asos_digital_experiments.parquet`
into a folder and name the folder in CANARYKIT_DATA to run these tests.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from canarykit import stats

FOLDER = Path(os.environ.get("CANARYKIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
FILE = FOLDER / "asos_digital_experiments.parquet"
ARMS = ["experiment_id", "variant_id"]
NUMBERS = ["count_c", "count_t", "mean_c", "mean_t", "variance_c", "variance_t"]

pytestmark = pytest.mark.skipif(
    not FILE.exists(), reason="the ASOS experiments are not here: name their folder in CANARYKIT_DATA"
)


@pytest.fixture(scope="module")
def checkpoints():
    """Cumulative moments of both arms at each checkpoint; unusable checkpoints are counted, not judged."""
    frame = pd.read_parquet(FILE).sort_values([*ARMS, "metric_id", "time_since_start"])
    known = frame[NUMBERS].notna().all(axis=1)
    spread = (frame[["variance_c", "variance_t"]] > 0).all(axis=1)
    people = (frame[["count_c", "count_t"]] >= 2).all(axis=1)
    return frame[known & spread & people], int((~(known & spread & people)).sum())


def decisions(frame):
    """Per comparison: crossed 1.96 at some checkpoint, at the last one, and the always-valid boundary."""
    rows = []
    for key, looks in frame.groupby(ARMS):
        effect = (looks.mean_t - looks.mean_c).to_numpy()
        variance = (looks.variance_t / looks.count_t + looks.variance_c / looks.count_c).to_numpy()
        z = effect / np.sqrt(variance)
        # tuned to the first checkpoint after a week, by its sample size only
        per_unit = 1 / looks.count_t.to_numpy() + 1 / looks.count_c.to_numpy()
        week = min(int(np.searchsorted(looks.time_since_start.to_numpy(), 7.0)), len(looks) - 1)
        k = stats.best_k(0.05, "two") * per_unit[week] / per_unit
        found = stats.confidence_sequence(effect, variance, k=k)
        stopped = (found.low > 0) | (found.high < 0)
        assert found.last.always_valid
        at_stop = z[stopped.argmax()] if stopped.any() else 0.0
        rows.append(
            {
                "key": key,
                "ever": bool((np.abs(z) > 1.96).any()),
                "last": bool(abs(z[-1]) > 1.96),
                "sequential": bool(stopped.any()),
                "reversed": bool(stopped.any() and at_stop * z[-1] < 0),
                "looks": len(looks),
            }
        )
    return pd.DataFrame(rows)


def test_a_fixed_rule_stops_nearly_half_of_all_comparisons_and_forgets_many_again(checkpoints, capsys):
    frame, dropped = checkpoints
    found = decisions(frame[frame.metric_id == 1])
    ever, last, sequential = (int(found[column].sum()) for column in ("ever", "last", "sequential"))
    faded = int((found.ever & ~found["last"]).sum())
    calmed = int((found.sequential & ~found["last"]).sum())
    turned = int(found.reversed.sum())
    with capsys.disabled():
        print(
            f"\n78 experiments, {len(found)} comparisons of the binary metric, {found.looks.sum():,} looks "
            f"({dropped} checkpoints of all metrics without usable numbers): |z| > 1.96 at some look in "
            f"{ever}, at the end in {last}, so {faded} faded; the always-valid rule stops {sequential}, of "
            f"which {calmed} are not significant at the end and {turned} point the other way by then"
        )
    assert found.key.str[0].nunique() == 78
    assert (len(found), ever, last) == (99, 46, 26)
    assert faded == 20
    assert sequential < ever
    assert calmed < faded
    assert sequential == 21
    assert turned <= 1  # effects do change over months; a boundary cannot know


@pytest.mark.parametrize("metric", [1, 2, 3, 4])
def test_every_metric_of_every_experiment_runs_through(checkpoints, metric):
    """Binary, two counts and revenue: no error, no infinite evidence, fewer stops than by peeking."""
    frame, _ = checkpoints
    found = decisions(frame[frame.metric_id == metric])
    assert len(found) >= 99 - 5
    assert found.sequential.sum() <= found.ever.sum()
    assert (found.ever | ~found.sequential).all()  # the always-valid rule never stops where peeking would not


def test_splits_of_real_experiments_are_reported_whatever_they_were_designed_to_be(checkpoints):
    """Twelve differ from one half at chi-square 10.83; their design is unknown, so none is called wrong."""
    frame, _ = checkpoints
    ends = frame[frame.metric_id == 1].groupby(ARMS).last()
    tests = [stats.srm_chi_square((row.count_t, row.count_c), (1, 1)) for row in ends.itertuples()]
    assert sum(test.statistic > 10.83 for test in tests) == 12
