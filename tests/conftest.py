import os
import sys
import warnings
from importlib.util import find_spec

import pytest

# Files whose tests simulate, start servers, processes or other systems, or read millions of rows: `make
# quick` leaves them out. A single slow test among quick ones carries `@pytest.mark.slow` itself, and of a
# test over several seeds all but the first (0) are slow.
SLOW_FILES = {
    "test_attacks.py", "test_bucketing_vectors.py", "test_calibration.py", "test_cli_project.py",
    "test_conditions.py", "test_conformance_runner.py", "test_cuped.py", "test_delays_of_decisions.py",
    "test_error_rates.py", "test_first_verdict.py", "test_frozen_results.py", "test_funnel_large.py",
    "test_group_comparisons.py", "test_health_error_rates.py", "test_key_stays_hidden.py",
    "test_late_arm.py", "test_logs.py", "test_messy_logs.py", "test_mutations.py", "test_no_verdict.py",
    "test_notebooks.py", "test_object_stores.py", "test_own_traffic.py", "test_patterns.py",
    "test_pictures_read.py", "test_planned_and_judged.py", "test_planning.py", "test_posthog_events.py",
    "test_posthog_funnels.py", "test_posthog_reading.py", "test_posthog_roads.py", "test_posthog_sdk.py",
    "test_pushed_flag.py", "test_readme.py", "test_real_experiments.py", "test_release_kills.py",
    "test_release_schedules.py", "test_release_timeline.py", "test_remembered.py", "test_replay.py",
    "test_results_on_engines.py", "test_sample_data.py", "test_simulate.py", "test_simulate_decisions.py",
    "test_simulate_truths.py", "test_spark.py", "test_suggestions.py", "test_validity.py",
    "test_variants.py", "test_vendor_sdks.py", "test_watch.py", "test_without.py",
}  # fmt: skip
SLOW_ENGINES = {"ibis", "spark"}  # seconds before the first answer

# What other people's software answers can only be asked where it is installed: the `test` extra.
NEEDS = {
    "test_posthog_sdk.py": "posthog",
    "test_vendor_sdks.py": "growthbook",
    "stats/test_oracles.py": "tea_tasting",
    "test_spark.py": "pyspark",
}
collect_ignore = [file for file, package in NEEDS.items() if find_spec(package) is None]
collect_ignore += ["posthog_server"]  # imported by tests; collected for doctests too, it would load twice


os.environ.setdefault("CANARYKIT_CACHE", "off")  # tests of the cache name a folder of their own


def pytest_ignore_collect(collection_path, config):
    """`-m "not slow"` need not even import what slow files import: other people's SDKs, servers, Spark."""
    if config.option.markexpr == "not slow" and collection_path.name in SLOW_FILES:
        return True
    return None


def in_cell_order(cells):
    """Cells of notebooks, each notebook's together and in their order: a random order would break it."""
    notebooks = list(dict.fromkeys(cell.path for cell in cells))
    return iter(sorted(cells, key=lambda cell: (notebooks.index(cell.path), cell.cell_num)))


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items):
    """Slow tests are marked before `-m` chooses, cells are put in order after whatever shuffles the tests."""
    for item in items:
        values = getattr(getattr(item, "callspec", None), "params", {})
        asked = {*getattr(item, "fixturenames", ()), *(v for v in values.values() if isinstance(v, str))}
        further_seed = values.get("seed")
        slow_file = item.path.name in SLOW_FILES or item.path.suffix == ".ipynb"
        simulates = "simulate" in item.path.parts  # the examples in its docstrings
        if asked & SLOW_ENGINES or further_seed or slow_file or simulates:
            item.add_marker(pytest.mark.slow)
    yield
    in_order = in_cell_order([item for item in items if item.path.suffix == ".ipynb"])
    items[:] = [next(in_order) if item.path.suffix == ".ipynb" else item for item in items]


@pytest.fixture(scope="session")
def loopback():
    """One PostHog on loopback for all tests; `loopback.begin(project)` serves another project."""
    from tests.posthog_server.serve import serving

    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """One real local Spark session for all tests that need one: it takes seconds to start."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PySpark warns of pandas 3 at every turn
        SparkSession = pytest.importorskip("pyspark.sql").SparkSession  # noqa: N806

        home = tmp_path_factory.mktemp("spark")
        session = (
            SparkSession.builder.master("local[2]")
            .appName("canarykit tests")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.shuffle.partitions", "4")
            .config("spark.sql.warehouse.dir", str(home))
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.memory", "1g")
            .config("spark.log.level", "ERROR")
            .getOrCreate()
        )
    yield session
    session.stop()
