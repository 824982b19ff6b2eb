"""What is not installed, or has no place to write, takes only itself away: the rest answers the same."""

import os
import shutil
import subprocess
import sys
import textwrap
from functools import cache

import pytest

ROLLOUT = """
    import numpy as np, pandas as pd, canarykit as ck
    from canarykit.simulate import Effect, Scenario
    plan = ck.RolloutPlan("new-checkout", (ck.Stage.for_share("ramp", 30, dwell="4d"),),
                          starts_at="2026-09-07T09:00:00Z")
    log = ck.simulate_rollout(plan, ck.Population(30_000), Scenario(effects=[Effect("errors", 1.5)]), rng=7,
                              progress=False)
    assert len(log) > 150_000
    steps = ["$pageview", "signup started", "signup finished"]
    funnel = ck.funnel_by_flag(log, steps, flag="new-checkout", within="3d")
    print(funnel.to_json())
    print(funnel.compare().to_json())
    print(ck.evaluate_stage(log, plan, "ramp", as_of="2026-09-11T09:00:00Z").to_frame().to_json())
    ids = [f"user-{i}" for i in range(60_000)]
    print(ck.bucket(ids, flag="f").sum(), ck.bucket(ids, vendor="unleash", flag="f").sum())
    persons = pd.DataFrame({"distinct_id": ids, "email": [f"{i}@Acme.io" for i in ids]})
    flag = ck.Flag("f", (ck.Condition((ck.PropertyFilter("email", "acme", "icontains"),), 40),))
    print(ck.evaluate_flag(flag, persons)["value"].value_counts().to_json())
    watch = ck.Guardrail("$exception", margin_ratio=1.5)
    found = ck.simulate_decisions(plan, Scenario(), watch, traffic=200.0, n_runs=1_000, rng=3, progress=False)
    print(found.to_json())
"""
BLOCK = """
    import sys
    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {blocked!r}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    sys.meta_path.insert(0, Blocked())
"""
NO_PLACE = """
    from numba.core import caching
    usual = caching._CacheLocator.ensure_cache_path
    def denied(self):
        if {allowed!r} and {allowed!r} in self.get_cache_path():
            return usual(self)
        raise PermissionError("read-only file system")
    for locator in caching._CacheLocator.__subclasses__():
        locator.ensure_cache_path = denied
"""
SMALL = """
    import numpy as np
    from canarykit.stats.any_look.event_kernels import interval_terms
    out = np.zeros(2)
    interval_terms(1.0, 3.0, 1.0, np.array([2.0, 3.0]), out)
    print(out.round(6).tolist())
"""


def run(*parts, **environment):
    code = "\n".join(textwrap.dedent(part) for part in parts)
    options = {"capture_output": True, "text": True, "check": False, "env": os.environ | environment}
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], **options)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def blocked(*names):
    return BLOCK.format(blocked=set(names))


@cache
def everything_installed():
    return run(ROLLOUT).stdout


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder with the compiled form of SMALL, and what it prints."""
    folder = tmp_path_factory.mktemp("compiled")
    return folder, run(SMALL, NUMBA_CACHE_DIR=str(folder)).stdout


KERNELS = {
    "inner.py": """
        from canarykit.compiler import njit
        STEP = {step}
        @njit()
        def moved(x):
            return x + {more}
    """,
    "outer.py": """
        from canarykit.compiler import njit
        from inner import STEP, moved
        @njit()
        def answer(x):
            return moved(x) * STEP
    """,
}


def test_compiled_code_is_made_anew_when_a_kernel_or_a_constant_of_another_file_changes(tmp_path):
    def answer(step, more):
        for name, text in KERNELS.items():
            (tmp_path / name).write_text(textwrap.dedent(text.format(step=step, more=more)))
            os.utime(tmp_path / name, (1, 1))
        # as after an update that wrote this file alone
        os.utime(tmp_path / "inner.py", (step * 10 + more, step * 10 + more))
        return run(
            "from outer import answer; print(answer(1))", PYTHONPATH=os.pathsep.join([str(tmp_path), "."])
        ).stdout

    assert [answer(2, 1), answer(2, 5), answer(3, 5), answer(3, 5)] == ["4\n", "12\n", "18\n", "18\n"]


@pytest.mark.slow
def test_without_numba_every_answer_is_the_same_and_the_reader_is_told_once():
    done = run(blocked("numba", "llvmlite"), ROLLOUT)
    assert done.stdout == everything_installed()
    assert done.stderr.count("RuntimeWarning: canarykit:") == 1
    assert "numba cannot be used" in done.stderr


@pytest.mark.slow
def test_without_what_one_part_needs_the_others_answer_the_same():
    names = ("statsmodels", "patsy", "matplotlib", "tqdm", "narwhals")
    assert run(blocked(*names), ROLLOUT).stdout == everything_installed()


@pytest.mark.parametrize(
    "names, call, said",
    [
        (
            "matplotlib",
            "ck.funnel_by_flag(ck.EventLog(pd.DataFrame({'event': ['a', 'b'], 'distinct_id': ['u', 'u'],"
            " 'timestamp': pd.to_datetime(['2026-09-07 09:00Z', '2026-09-07 10:00Z'])})), ['a', 'b']).plot()",
            "drawing needs matplotlib, which is not installed: pip install matplotlib",
        ),
        (
            "statsmodels",
            "ck.stats.rate_ratio(3, 10.0, 4, 10.0)",
            "this statistic needs statsmodels, which is not installed: pip install statsmodels",
        ),
        (
            "nbformat",
            "__import__('canarykit.walk').walk.main(['--notebooks', 'notebooks', '--build', 'build/x'])",
            "the walk needs nbformat, which is not installed: pip install 'canarykit[walk]'",
        ),
    ],
)
def test_a_part_that_is_missing_says_what_to_install(names, call, said):
    code = f"""
    import canarykit as ck, pandas as pd
    try:
        {call}
    except ImportError as problem:
        print(type(problem).__name__, problem)
    """
    done = run(blocked(names), code)
    assert said in done.stdout + done.stderr


@pytest.mark.slow
def test_without_a_place_of_its_own_compiled_code_stays_in_a_temporary_folder(compiled):
    done = run(NO_PLACE.format(allowed="canarykit-"), SMALL)
    assert done.stdout == compiled[1]
    assert done.stderr.count("until this process ends") == 1


def test_without_any_place_to_write_the_plain_form_answers(compiled):
    done = run(NO_PLACE.format(allowed=""), SMALL)
    assert done.stdout == compiled[1]
    assert done.stderr.count("which is slower") == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind, left", [("nbi", 0), ("nbi", 20), ("nbc", 20)])
def test_a_broken_file_of_compiled_code_is_made_anew(compiled, tmp_path, kind, left):
    shutil.copytree(compiled[0], tmp_path, dirs_exist_ok=True)
    files = list(tmp_path.rglob(f"*interval_terms*.{kind}"))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:left])
    again = run(SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    assert again.stdout == compiled[1]
    assert again.stderr.count("RuntimeWarning: canarykit: a file of compiled code is broken") == 1
    assert run(SMALL, NUMBA_CACHE_DIR=str(tmp_path)).stderr == ""


@pytest.mark.slow
def test_on_a_full_disk_what_was_compiled_is_used_and_not_kept(compiled, tmp_path):
    full = """
    from numba.core import caching
    def full(*_, **__):
        raise OSError(28, "No space left on device")
    caching.IndexDataCacheFile.save = full
    """
    done = run(full, SMALL, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.stdout == compiled[1]
    assert done.stderr.count("RuntimeWarning: canarykit: compiled code could not be kept") == 1
