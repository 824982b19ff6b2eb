"""What an editor and a type checker see: every public name has a type, a slip of the pen is an error."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import canarykit as ck

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "canarykit"
LAZY_ROOMS = sorted(
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if "= lazy_names(__name__" in path.read_text(encoding="utf-8")
)

SLIPS = {
    "ck.no_such_name": "is not a known attribute",
    "ck.stats.no_such_statistic": "is not a known attribute",
    "health.evaluate_release": "is not a known attribute",
    "ck.evaluate_stage(log, plan, 'ramp', as_of=now, guard_rails=[])": 'No parameter named "guard_rails"',
    "ck.evaluate_stage('events.parquet', plan, 'ramp', as_of=now)": '"log"',
    "ck.evaluate_stage(log, 'new-checkout', 'ramp', as_of=now)": '"plan"',
    "ck.evaluate_stage(log, plan, 'ramp', as_of=20260907)": '"as_of"',
    "ck.funnel_by_flag(log, ['a', 'b'], flag='f', within=14)": '"within"',
    "ck.funnel_by_flag(log, ['a', 'b'], flag='f', order='orderd')": '"order"',
    "ck.EventLog('events.parquet')": '"frame"',
    "ck.bucket(['a'], vendr='posthog')": 'No overloads for "bucket"',
    "ck.Stage.for_share('ramp', 5, dwel='3d')": 'No parameter named "dwel"',
    "ck.sample_size(guardrail, rate=0.02, guardrail=3)": 'No parameter named "guardrail"',
    "ck.blast_radius(plan, 'ramp', frame, group={})": 'No parameter named "group"',
    "log.reduce(['event'], len, event=['paid'])": 'No overloads for "reduce"',
    "report.verdit": 'Cannot access attribute "verdit"',
    "funnel.peple('paid')": 'Cannot access attribute "peple"',
}
RIGHT = {
    "ck.evaluate_stage(log, plan, 'ramp', guardrail, as_of=now).verdict": "Verdict",
    "ck.evaluate_stage(log, plan, 'ramp', as_of='2026-09-07T09:00:00Z').to_frame()": "DataFrame",
    "ck.funnel_by_flag(frame, ['a', None, ['b', 'c'], {'event': 'd'}], flag='f')": "Funnel",
    "ck.EventLog(frame, persons=frame, tz='Europe/Berlin')": "EventLog",
    "ck.read_posthog(['a.parquet', 'b.parquet'])": "EventLog",
    "ck.bucket(frame['id'], flag='f')": "Series",
    "ck.bucket('ada', flag='f')": "float",
    "ck.bucket(['ada', 7], flag='f')": "ndarray",
    "ck.split(frame['id'], flag='f', weights={'a': 1})": "Series",
    "ck.read_flags('flags.json').get('new-checkout')": "Flag | None",
    "ck.read_flags('flags.json')['new-checkout']": "Flag",
    "log.reduce(['event'], len)": "list[int]",
    "log.reduce(['event'], len, finish=sum)": "int",
    "ck.RolloutPlan.from_json('plan.json')": "RolloutPlan",
    "ck.RolloutPlan('f', [ck.Stage.for_share('ramp', 5)], variants=[ck.Variant('a', 100)])": "RolloutPlan",
    "ck.Scenario(effects=[simulate.Effect('errors', 2.0)])": "Scenario",
    "ck.Stage.for_share('ramp', 5, dwell='3d')": "Stage",
    "ck.sample_size(guardrail, rate=0.02, guardrails=3).n_canary": "int",
    "ck.lint(ck.Flag('f'))": "LintReport",
    "ck.simulate_decisions(plan, ck.Scenario(), guardrail, traffic=500.0).to_markdown()": "str",
}


def _block(tree):
    """Names of the `if TYPE_CHECKING:` block of a module, with where they come from."""
    names = {}
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom):
                    names |= {alias.asname or alias.name: line.module for alias in line.names}
    return names


def _literal(tree, name):
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{name} is not a literal")


def test_the_rooms_that_load_late_are_these():
    assert LAZY_ROOMS == [
        "canarykit", "canarykit.health", "canarykit.metrics", "canarykit.simulate", "canarykit.typing",
    ]  # fmt: skip


@pytest.mark.parametrize("room", LAZY_ROOMS)
def test_names_that_load_late_are_also_there_for_type_checkers(room):
    module = importlib.import_module(room)
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    seen, homes = _block(tree), _literal(tree, "_HOMES")
    listed = _literal(tree, "__all__")
    for home, names in homes.items():
        for name in names:
            assert seen.get(name) == home, f"{name} is not imported from {home} under TYPE_CHECKING"
            assert name in listed, f"{name} is not in __all__"
    lazy = {name for names in homes.values() for name in names}
    for name in listed:
        assert getattr(module, name) is not None
        assert name in dir(module)
        assert name in lazy or name in seen or hasattr(module, name)
    assert len(set(listed)) == len(listed)


def test_a_mistyped_name_is_answered_with_the_likely_one():
    code = "import canarykit as ck; ck.evaluate_stag"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "module 'canarykit' has no attribute 'evaluate_stag'" in out.stderr
    with pytest.raises(AttributeError) as slip:
        _ = ck.evaluate_stag
    assert (slip.value.name, slip.value.obj) == ("evaluate_stag", ck)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What pyright says of a file that uses every public name, rightly and wrongly."""
    pytest.importorskip("basedpyright")
    lines = [
        "import canarykit as ck, pandas as pd",
        "from canarykit import health, metrics, simulate, stats, typing",
        "from datetime import datetime",
        "from canarykit.typing import Funnel",
        "def use(log: ck.EventLog, plan: ck.RolloutPlan, frame: pd.DataFrame, now: datetime,",
        "        guardrail: ck.Guardrail, report: ck.StageReport, funnel: Funnel) -> None:",
    ]
    asked = {}
    for room in ("", "health.", "metrics.", "simulate.", "stats.", "typing."):
        module = importlib.import_module(f"canarykit.{room}".rstrip("."))
        for name in module.__all__:
            asked[f"{room}{name}"] = len(lines)
            lines.append(f"    reveal_type({room or 'ck.'}{name})")
    for line in (*RIGHT, *SLIPS):
        asked[line] = len(lines)
        lines.append(f"    reveal_type({line})" if line in RIGHT else f"    {line}")
    file = tmp_path_factory.mktemp("types") / "use.py"
    file.write_text("\n".join(lines), encoding="utf-8")
    (file.parent / "pyrightconfig.json").write_text(
        json.dumps(
            {"extraPaths": [str(ROOT)], "typeCheckingMode": "standard", "reportUnusedExpression": False}
        )
    )
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        str(file),
    ]
    out = subprocess.run(command, capture_output=True, text=True, check=False, cwd=file.parent)
    said: dict[int, list[tuple[str, str]]] = {}
    for item in json.loads(out.stdout)["generalDiagnostics"]:
        said.setdefault(item["range"]["start"]["line"], []).append((item["severity"], item["message"]))
    return {name: said.get(line, []) for name, line in asked.items()}


@pytest.mark.slow
@pytest.mark.parametrize("room", ["", "health.", "metrics.", "simulate.", "stats.", "typing."])
def test_every_public_name_has_a_type(seen, room):
    module = importlib.import_module(f"canarykit.{room}".rstrip("."))
    for name in module.__all__:
        (severity, message), *others = seen[f"{room}{name}"]
        assert severity == "information", f"{room}{name}: {message}"
        assert not others
        kind = message.split(' is "', 1)[1]
        assert kind not in {'Any"', 'Unknown"'}, f"{room}{name} is {kind}"


@pytest.mark.slow
def test_no_public_function_takes_anything_at_all_without_saying_so(seen):
    for name in ck.__all__:
        message = seen[name][0][1]
        if not message.split(' is "', 1)[1].startswith("("):
            continue
        parameters = [part.strip() for part in message.split(' is "(', 1)[1].split(", ")]
        loose = [part for part in parameters if part.split(" = ")[0].endswith((": Any", ": Any | None"))]
        assert not loose, f"{name} takes {loose}"


@pytest.mark.slow
@pytest.mark.parametrize("line", RIGHT)
def test_a_call_is_answered_by_its_type(seen, line):
    ((severity, message),) = seen[line]
    assert severity == "information", message
    assert RIGHT[line] in message


@pytest.mark.slow
@pytest.mark.parametrize("line", SLIPS)
def test_a_slip_is_an_error_before_anything_runs(seen, line):
    errors = [message for severity, message in seen[line] if severity == "error"]
    assert any(SLIPS[line] in message for message in errors), errors
