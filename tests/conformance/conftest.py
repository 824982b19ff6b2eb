"""Run other systems' own expectations, one test per line of a case file.

A test module names its file in `CASE_FILE` and takes the fixture `case` (one parsed line) and, where it
wants the shared comparison, `agrees`. `pytest tests/conformance --cases DIR` runs any other directory that
holds files of the same names and schemas; a file that is absent there is simply not run.
A kind or op that a module does not know must fail, so a skip counts as a failure here.
The last line of a run says how many cases of each file passed and failed.
"""

import json
from pathlib import Path

import pytest

SHIPPED = tuple(Path(__file__).parent / name for name in ("cases", "more_cases"))
FILES = ("bucketing_vectors.jsonl", "conditions_cases.jsonl", "posthog_funnel_cases.jsonl")
ABSENT = "no-such-file"
TALLY = pytest.StashKey[dict]()


def pytest_addoption(parser):
    parser.addoption("--cases", metavar="DIR", help="directory of case files (default: the shipped ones)")


def pytest_configure(config):
    config.stash[TALLY] = {}


def case_directories(config) -> tuple[Path, ...]:
    chosen = config.getoption("cases", default=None)
    if chosen is None:
        return SHIPPED
    directory = Path(chosen)
    if not any((directory / name).is_file() for name in FILES):
        raise pytest.UsageError(f"--cases {chosen}: that directory holds none of {', '.join(FILES)}")
    return (directory,)


def read_cases(path: Path) -> list[dict]:
    cases = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            cases.append(json.loads(line))
        except ValueError as error:
            raise pytest.UsageError(f"{path.name}, line {number}: not JSON ({error})") from None
    return cases


def pytest_generate_tests(metafunc):
    if "case" not in metafunc.fixturenames:
        return
    paths = [directory / metafunc.module.CASE_FILE for directory in case_directories(metafunc.config)]
    cases = [case for path in paths if path.is_file() for case in read_cases(path)] or [{"id": ABSENT}]
    metafunc.parametrize("case", cases, ids=[str(case.get("id", n)) for n, case in enumerate(cases)])


def pytest_collection_modifyitems(config, items):
    kept, absent = [], []
    for item in items:
        case = getattr(item, "callspec", None) and item.callspec.params.get("case")
        if isinstance(case, dict) and hasattr(item.module, "CASE_FILE"):
            item.user_properties.append(("case_file", item.module.CASE_FILE))
        (absent if isinstance(case, dict) and case == {"id": ABSENT} else kept).append(item)
    if absent:
        config.hook.pytest_deselected(items=absent)
        items[:] = kept


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    file = dict(item.user_properties).get("case_file")
    if file is None:
        return
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"a case may not be skipped: {report.longrepr}"
    counts = item.config.stash[TALLY].setdefault(file, {"passed": 0, "failed": 0})
    if report.failed:
        counts["failed"] += 1
    elif report.when == "call":
        counts["passed"] += 1


def pytest_unconfigure(config):
    tally = config.stash.get(TALLY, {})
    if tally:
        parts = [f"{name} {n['passed']} passed, {n['failed']} failed" for name, n in sorted(tally.items())]
        config.get_terminal_writer().line("cases: " + "; ".join(parts))


@pytest.fixture
def agrees():
    """`agrees(got, expect)`: equal, or within the tolerance an {"approx", "tolerance"} expectation names."""

    def compare(got, expect) -> bool:
        if isinstance(expect, dict) and set(expect) == {"approx", "tolerance"}:
            return got is not None and abs(got - expect["approx"]) <= expect["tolerance"]
        return isinstance(got, bool) == isinstance(expect, bool) and got == expect

    return compare
