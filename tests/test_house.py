"""The walls: who may import whom, what is public, what is light, what a file may hold."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import canarykit as ck

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "canarykit"

# A room may import from its own floor and from the floors above it (earlier in this list).
FLOORS = (
    {
        "errors",
        "documents",
        "names",
        "escaping",
        "files",
        "compiler",
        "lazy",
        "typing",
        "display",
        "times",
        "periods",
        "parallel",
        "progress",
        "messages",
        "regex",
    },
    {"hashing", "bucketing"},
    {"flags"},
    {"targeting"},
    {"assign"},
    {"plan"},
    {"linting"},
    {"stats"},
    {"events"},
    {"exposure"},
    {"audit", "overview"},
    {"funnels"},
    {"metrics"},
    {"insights", "feedback"},
    {"health"},
    {"simulate"},
    {"plots", "widgets"},
    {"release"},
    {"posthog"},
    {"walk", "__main__"},
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}

PUBLIC = {
    "CanarykitError", "Condition", "DataError", "EventLog", "ExportFormatError", "Flag", "FlagSet",
    "Guardrail", "NaiveTimestampError", "PlanError", "Population", "PostHog", "PropertyFilter", "RolloutPlan",
    "Scenario", "Stage", "StageReport", "UnsupportedFlagError", "Variant", "Verdict", "__version__",
    "assign_cohorts", "audit_assignment", "blast_radius", "bootstrap", "bucket", "compare_flags",
    "dashboard", "evaluate_flag", "evaluate_stage", "exceptions_by_flag", "expected_duration",
    "exposures", "flag_overview", "funnel_by_flag", "lint", "load_sample", "metrics", "plan_ramp", "power",
    "read_flags", "read_posthog", "sample_size", "scan_posthog", "sessions_by_flag",
    "simulate_decisions", "simulate_rollout", "split", "stats", "survey_by_flag", "trend_by_flag", "typing",
    "watch",
}  # fmt: skip


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports_when_loaded(tree: ast.Module) -> list[tuple[str, int]]:
    """canarykit modules imported by a module body; imports inside functions are lazy and drawn apart."""
    found = []
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if node.module == "canarykit":
                found += [(f"canarykit.{alias.name}", node.lineno) for alias in node.names]
            else:
                found.append((node.module, node.lineno))
        elif isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.append((f"relative:{node.level}:{node.module or ''}", node.lineno))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            pending += node.body + node.orelse
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_import_only_from_the_floors_above_them(path):
    if path == PACKAGE / "__init__.py":
        return
    room = _room(path)
    assert room in LEVEL, f"{room} has no floor: place it in FLOORS"
    for module, line in _imports_when_loaded(ast.parse(path.read_text())):
        if not module.startswith("canarykit."):
            continue
        other = module.split(".")[1]
        if other == room:
            continue
        assert LEVEL[other] <= LEVEL[room], f"{path.name}:{line} imports {module}, which lives further down"


def test_the_statistics_know_nothing_of_events_or_frames():
    for path in (PACKAGE / "stats").rglob("*.py"):
        for module, line in _imports_when_loaded(ast.parse(path.read_text())):
            if module.startswith("canarykit."):
                assert module.split(".")[1] in {"stats", "errors", "display", "compiler"}, (
                    f"{path.name}:{line}: {module}"
                )
            assert not module.startswith("pandas"), f"{path.name}:{line} imports pandas"


def test_the_public_names_are_these_and_every_one_can_be_used():
    assert set(ck.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(ck, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'evaluate_stages'"):
        _ = ck.evaluate_stages


def test_importing_canarykit_pulls_in_none_of_the_heavy_packages():
    heavy = ["pandas", "numba", "duckdb", "statsmodels", "matplotlib", "scipy", "pyarrow", "narwhals"]
    heavy += ["urllib3", "click"]
    code = f"import sys, canarykit; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_can_be_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 500


def test_the_versions_file_carries_no_address():
    text = (ROOT / ".ci" / "constraints.txt").read_text()
    assert not re.search(r"://|--(index|extra-index|find-links)|@ file", text)
    assert len(re.findall(r"^[a-z0-9_.-]+==", text, flags=re.MULTILINE)) > 100
