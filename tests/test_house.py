"""The walls: who may import whom, what is public, what is light, what a file may hold."""

import ast
import re
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

import canarykit as ck

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "canarykit"

# A room may import from its own floor and from the floors above it (earlier in this list).
FLOORS = (
    {
        "errors",
        "arguments",
        "counting",
        "documents",
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
    {"plan"},
    {"assign"},
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
    {"posthog", "unleash"},
    {"commands"},
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
    "rates_like", "read_flags", "read_posthog", "replay", "sample_size", "scan_posthog", "sessions_by_flag",
    "simulate_decisions", "simulate_rollout", "split", "stats", "suggest_guardrails",
    "survey_by_flag", "trend_by_flag", "typing", "watch",
}  # fmt: skip


# Pairs that point back, each for a reason; everything else goes up. What draws or opens a widget of a result
# lies below the result, whose `.plot()` and `.explore()` reach down for it.
POINT_BACK = {
    "audit.result -> plots.assign",
    "exposure.find -> funnels.question.people",  # people= is read as the filters of a funnel are
    "exposure.lookup -> funnels.engine.breakdowns",
    "feedback.survey -> plots.dashboard",
    "funnels.answers.compare -> plots.funnel",
    "funnels.answers.funnel -> plots.funnel",
    "funnels.answers.funnel -> widgets.views",
    "funnels.answers.times -> plots.funnel",
    "funnels.answers.times -> plots.trends",
    "health.page.details -> plots.health",
    "health.report.release_report -> plots.health",
    "health.report.stage_report -> plots.health",
    "health.report.stage_report -> widgets.reports",
    "insights.dashboard -> plots.dashboard",
    "insights.trend -> plots.trends",
    "insights.trend -> widgets.views",
    "plan.rollout_plan -> widgets.views",
    "simulate.decisions.operating -> plots.simulate",
    "simulate.decisions.ramps -> plots.simulate",
}
# Files that know each other: a class and what makes one in another way.
CIRCLES = {
    frozenset({"plan.history", "plan.rollout_plan"}),  # RolloutPlan.from_history
    frozenset(
        {"simulate.people.estimate", "simulate.people.population", "simulate.people.scenario"}
    ),  # .like
}
# A name stands once in a room, but where the folder makes the difference plain.
SAME_NAME = {
    ("events", "columns"): {"engines/duckdb", "engines/spark"},
    ("events", "engine"): {"", "engines/duckdb", "engines/spark"},
    ("funnels", "people"): {"answers", "question"},
}
TOP_LEVEL = {
    "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "benchmarks",
    "canarykit", "docs", "notebooks", "pyproject.toml", "sample_data", "tests", ".ci", ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
}  # fmt: skip
MADE = {"build", "dist", "spark-warehouse", "metastore_db"}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


FILES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"}


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _imports(path: Path, *, lazy: bool) -> list[tuple[str, int]]:
    """Modules that a file imports with their lines: when loaded, or also inside its functions."""
    modules: list[tuple[str, int]] = []
    pending: list[ast.AST] = [_parsed(path)]
    while pending:
        node = pending.pop()
        if _for_types_only(node):
            pending += node.orelse
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            inside = [name for name in names if name.removeprefix("canarykit.") in FILES]
            modules += [(name, node.lineno) for name in (inside or [node.module])]
        elif isinstance(node, ast.Import):
            modules += [(alias.name, node.lineno) for alias in node.names]
        elif lazy or not isinstance(node, ast.FunctionDef | ast.Lambda):
            pending += ast.iter_child_nodes(node)
    return modules


def _ours(path: Path, *, lazy: bool) -> list[tuple[str, int]]:
    """The same of canarykit only, by name within the package."""
    imports = _imports(path, lazy=lazy)
    return [(m.removeprefix("canarykit."), line) for m, line in imports if m.startswith("canarykit.")]


def test_every_room_has_its_floor():
    assert {name.split(".")[0] for name in FILES} == set(LEVEL)


def test_rooms_import_only_from_the_floors_above_them():
    from_below = [
        f"{name}:{line} imports {module}"
        for name, path in FILES.items()
        for module, line in _ours(path, lazy=False)
        if LEVEL[module.split(".")[0]] > LEVEL[name.split(".")[0]]
    ]
    assert from_below == []


def test_imports_inside_functions_point_down_only_where_it_is_said_why():
    down = {
        f"{name} -> {module}"
        for name, path in FILES.items()
        for module, _ in _ours(path, lazy=True)
        if LEVEL[module.split(".")[0]] > LEVEL[name.split(".")[0]]
    }
    assert down == POINT_BACK


def test_files_do_not_know_each_other_in_circles():
    imported = {name: {m for m, _ in _ours(path, lazy=True) if m in FILES} for name, path in FILES.items()}
    reached = {name: set(mods) for name, mods in imported.items()}
    changed = True
    while changed:
        changed = False
        for mods in reached.values():
            more = set().union(*(reached[module] for module in mods)) - mods if mods else set()
            mods |= more
            changed = changed or bool(more)
    circles = {
        frozenset(m for m in mods if name in reached[m]) for name, mods in reached.items() if name in mods
    }
    assert circles == CIRCLES


def test_a_name_stands_once_in_a_room():
    places: dict[tuple[str, str], set[str]] = {}
    for path in FILES.values():
        if path.name != "__init__.py" and path.parent != PACKAGE:
            room, *folders = path.relative_to(PACKAGE).parent.parts
            places.setdefault((room, path.stem), set()).add("/".join(folders))
    assert {key: where for key, where in places.items() if len(where) > 1} == SAME_NAME


def test_a_function_longer_than_thirty_lines_says_what_it_does():
    silent = [
        f"{name}:{node.lineno} {node.name}"
        for name, path in FILES.items()
        for node in ast.walk(_parsed(path))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("__")  # the class says those
        if node.end_lineno - node.lineno + 1 > 30 and not ast.get_docstring(node)
    ]
    assert silent == []


def test_a_folder_can_be_taken_in_at_a_glance():
    for folder in {path.parent for path in FILES.values()}:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= (20 if folder == PACKAGE else 14), f"{folder.name} holds {len(files)} files"


def test_the_order_of_the_floors_is_that_of_the_documentation():
    text = (ROOT / "docs" / "how_it_works.md").read_text(encoding="utf-8")
    table = text[text.index("| floor | rooms |") :].split("\n\n")[0].splitlines()[2:]
    rows = [line.split("|")[2] for line in table]
    documented = [room for row in rows for room in re.findall(r"`(\w+)`", row)]
    assert {room for room in LEVEL if (PACKAGE / room).is_dir()} <= set(documented)
    assert set(documented) <= set(LEVEL)
    floors = [[LEVEL[room] for room in re.findall(r"`(\w+)`", row)] for row in rows]
    for above, below in pairwise(floors):
        assert max(above) <= max(below)
        assert min(above) <= min(below)


def test_nothing_lies_about_at_the_top():
    there = {path.name for path in ROOT.iterdir()}
    assert there >= TOP_LEVEL
    strays = {name for name in there - TOP_LEVEL - MADE if not name.startswith(".") and "." not in name[-5:]}
    assert not strays


def test_the_statistics_know_nothing_of_events_or_frames():
    for path in (PACKAGE / "stats").rglob("*.py"):
        for module, line in _imports(path, lazy=False):
            if module.startswith("canarykit."):
                assert module.split(".")[1] in {"stats", "errors", "display", "compiler", "counting"}, (
                    f"{path.name}:{line}: {module}"
                )
            assert not module.startswith("pandas"), f"{path.name}:{line} imports pandas"


def _names_in(tree):
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Name | ast.Attribute):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return names


def test_every_piece_of_the_statistics_is_public_or_has_a_user_in_another_room():
    pieces, names = {}, set(ck.stats.__all__)
    for path in FILES.values():
        tree = _parsed(path)
        if PACKAGE / "stats" not in path.parents:
            names |= _names_in(tree)
            continue
        for node in tree.body:
            targets = getattr(node, "targets", [getattr(node, "target", node)])
            for name in (getattr(target, "name", getattr(target, "id", None)) for target in targets):
                if name is not None and name != "__all__" and not isinstance(node, ast.If):
                    pieces.setdefault(name, set()).update(_names_in(node))
    used, new = set(), names & set(pieces)
    while new:
        used |= new
        new = set().union(*(pieces[name] for name in new)) & set(pieces) - used
    assert sorted(set(pieces) - used) == []
    assert len(used) > 200


def test_only_a_door_lists_its_names():
    """Doors are a package, a file of the root, and a file that passes on names of another."""
    for path in FILES.values():
        tree = _parsed(path)
        listed = [node for node in tree.body if isinstance(node, ast.Assign) and "__all__" in _names_in(node)]
        if path.name == "__init__.py" or path.parent == PACKAGE or not listed:
            continue
        passed_on = {
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert passed_on & set(ast.literal_eval(listed[0].value)), f"{path} lists only names of its own"


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


def test_a_file_can_be_read_in_one_sitting():
    lines = {str(path): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path: number for path, number in lines.items() if number > 500} == {}


def test_the_versions_file_carries_no_address():
    text = (ROOT / ".ci" / "constraints.txt").read_text()
    assert not re.search(r"://|--(index|extra-index|find-links)|@ file", text)
    assert len(re.findall(r"^[a-z0-9_.-]+==", text, flags=re.MULTILINE)) > 100
