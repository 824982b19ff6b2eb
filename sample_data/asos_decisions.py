"""What two rules decide over time on 78 real experiments: `python sample_data/asos_decisions.py FOLDER`.

FOLDER holds `asos_digital_experiments.parquet`, the ASOS Digital Experiments Dataset (Liu, Cardoso,
Couturier & McCoy, NeurIPS 2021, doi:10.17605/OSF.IO/64JSB, CC BY 4.0), which is not part of this repository.
Written is `asos_decisions.csv` beside this file: per comparison of the binary metric the days on which
|z| > 1.96, and the day on which the always-valid rule stops. Of the dataset itself it holds the names of
experiments and variants, and the days of their first and last checkpoint.
"""

import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from canarykit import stats

FILE = "asos_digital_experiments.parquet"
TABLE = Path(__file__).with_name("asos_decisions.csv")
COMPARISON = ["experiment_id", "variant_id"]
NUMBERS = ["count_c", "count_t", "mean_c", "mean_t", "variance_c", "variance_t"]
FIXED = 1.959964
GATE = 7.0
"""Days after which a first decision is wanted: the always-valid rule is sharpest there."""


def checkpoints(folder: Path) -> tuple[pd.DataFrame, int]:
    """Cumulative moments of both arms at each checkpoint; unusable checkpoints are counted, not judged."""
    frame = pd.read_parquet(Path(folder) / FILE)
    frame = frame.sort_values(["metric_id", *COMPARISON, "time_since_start"])
    known = frame[NUMBERS].notna().all(axis=1)
    spread = (frame[["variance_c", "variance_t"]] > 0).all(axis=1)
    people = (frame[["count_c", "count_t"]] >= 2).all(axis=1)
    usable = known & spread & people
    return frame[usable], int((~usable).sum())


def decisions(looks: pd.DataFrame) -> dict[str, object]:
    """One comparison: spells of days with |z| > 1.96, and the first day beyond the always-valid boundary."""
    day = looks["time_since_start"].to_numpy()
    effect = (looks["mean_t"] - looks["mean_c"]).to_numpy()
    variance = (looks["variance_t"] / looks["count_t"] + looks["variance_c"] / looks["count_c"]).to_numpy()
    z = effect / np.sqrt(variance)
    # tuned to the first checkpoint after a week, by its sample size only
    per_unit = 1 / looks["count_t"].to_numpy() + 1 / looks["count_c"].to_numpy()
    week = min(int(np.searchsorted(day, GATE)), len(looks) - 1)
    found = stats.confidence_sequence(
        effect, variance, k=stats.best_k(0.05, "two") * per_unit[week] / per_unit
    )
    stopped = (found.low > 0) | (found.high < 0)
    significant = np.abs(z) > FIXED
    spells = []
    for is_significant, run in groupby(range(len(z)), key=lambda i: bool(significant[i])):
        if is_significant:
            held = list(run)
            spells.append(f"{day[held[0]]:g}-{day[held[-1]]:g}")
    return {
        "looks": len(looks),
        "first_day": round(float(day[0]), 2),
        "last_day": round(float(day[-1]), 2),
        "fixed_days": " ".join(spells),
        "fixed_at_end": int(significant[-1]),
        "always_valid_day": round(float(day[stopped.argmax()]), 2) if stopped.any() else None,
        "turned": int(stopped.any() and z[stopped.argmax()] * z[-1] < 0),
    }


def table(folder: Path, metric: int = 1) -> pd.DataFrame:
    """Decisions of every comparison; metric 1 is binary, 2 and 3 are counts, 4 is revenue."""
    frame, _ = checkpoints(folder)
    rows = [
        {"experiment": experiment, "variant": int(variant), **decisions(looks)}
        for (experiment, variant), looks in frame[frame["metric_id"] == metric].groupby(COMPARISON)
    ]
    return pd.DataFrame(rows)


def main(folder: str) -> None:
    """Write the table."""
    table(Path(folder)).to_csv(TABLE, index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
