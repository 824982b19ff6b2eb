"""Break one rule of evaluation at a time and see which test notices.

    python tests/mutations.py            every rule, as the table in tests/README.md
    python tests/mutations.py holdout    the rules whose name holds a word

The tests are collected once. For each mutation a forked process puts the broken code into the loaded modules
and runs the tests, those about the file first, up to the first that fails; nothing on disk is touched.
"""

import os
import sys
import tomllib
import warnings
from functools import cached_property
from pathlib import Path
from types import FunctionType

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).parents[1]
TESTS = (
    "test_targeting.py", "conformance/test_conditions.py", "test_assign.py", "test_audit.py",
    "test_posthog_sdk.py",
)  # fmt: skip
UNITS = "targeting/units.py"


def read_mutations() -> list[tuple[str, str, str, str]]:
    """Rule, file, the code that keeps the rule, the code that breaks it."""
    listed = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["mutation"]
    return [(m["rule"], m["file"], m["keeps"], m["breaks"]) for m in listed]


def module_of(file: str):
    return sys.modules["canarykit." + file.removesuffix(".py").replace("/", ".")]


def break_rule(file: str, before: str, after: str) -> None:
    """Put the changed source of a module into its loaded functions, methods and constants."""
    module = module_of(file)
    source = Path(module.__file__).read_text(encoding="utf-8").replace(before, after, 1)
    fresh = {"__name__": module.__name__, "__file__": module.__file__, "__package__": module.__package__}
    exec(compile(source, module.__file__, "exec"), fresh)
    for name, new in fresh.items():
        old = module.__dict__.get(name)
        if isinstance(old, type) and old.__module__ == module.__name__:
            for attribute, changed in vars(new).items():
                graft(vars(old).get(attribute), changed)
        elif not graft(old, new) and not name.startswith("__") and type(old) is type(new):
            for other in [m for key, m in sys.modules.items() if key.startswith("canarykit")]:
                if other.__dict__.get(name) is old:
                    setattr(other, name, new)


def graft(old, new) -> bool:
    """Give a function, in whatever it is wrapped, the code of another."""
    if isinstance(old, classmethod | staticmethod):
        return graft(old.__func__, new.__func__)
    if isinstance(old, property):
        return graft(old.fget, new.fget)
    if isinstance(old, cached_property):
        return graft(old.func, new.func)
    if hasattr(old, "cache_clear"):
        old.cache_clear()
        return graft(old.__wrapped__, new.__wrapped__)
    if isinstance(old, FunctionType) and isinstance(new, FunctionType):
        if old.__module__ == new.__module__:
            for part in ("__code__", "__defaults__", "__kwdefaults__"):
                setattr(old, part, getattr(new, part))
        return True
    return False


def nearest_first(file: str, items: list) -> list:
    """The tests in the order in which they are likely to notice."""
    columns, cases, assign, audit, sdk = TESTS
    order = [assign, cases, audit, columns, sdk]
    if file.startswith("assign/sdk"):
        order = [cases, assign, sdk, columns, audit]
    elif file.startswith("audit/"):
        order = [audit, assign, cases, columns, sdk]
    elif file.startswith("targeting/") and file != UNITS:
        order = [columns, cases, assign, audit, sdk]
    rank = {name: position for position, name in enumerate(order)}

    def place(item) -> int:
        path = item.nodeid.split("::")[0]
        return next(position for name, position in rank.items() if path.endswith(name))

    return sorted(items, key=place)


def first_failure(items: list, file: str, before: str, after: str) -> str | None:
    """The first test that fails once the rule is broken, found in a process of its own."""
    read, write = os.pipe()
    if os.fork() == 0:
        failure = "the mutation could not be applied"
        try:
            break_rule(file, before, after)
            failure, ordered = "", nearest_first(file, items)
            for item, following in zip(ordered, [*ordered[1:], None], strict=True):
                reports = runtestprotocol(item, nextitem=following, log=False)
                if any(report.failed for report in reports):
                    failure = item.nodeid
                    break
        finally:
            os.write(write, failure.encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        failure = pipe.read()
    os.wait()
    return failure or None


class Mutator:
    """Runs every mutation instead of every test."""

    def __init__(self, words: list[str]) -> None:
        self.chosen = [m for m in read_mutations() if not words or any(word in m[0] for word in words)]
        self.rows: list[tuple[str, str, str | None]] = []

    def pytest_runtestloop(self, session):
        warnings.simplefilter("ignore")
        for rule, file, before, after in self.chosen:
            if before not in Path(module_of(file).__file__).read_text(encoding="utf-8"):
                raise SystemExit(f"{rule}: {file} no longer holds {before!r}")
            caught = first_failure(session.items, file, before, after)
            self.rows.append((rule, file, caught))
            test = "**not caught**" if caught is None else f"`{caught.removeprefix('tests/').split('[')[0]}`"
            os.write(2, f"| {rule} | `{file}` | {test} |\n".encode())
        return True


def main(words: list[str]) -> int:
    mutator = Mutator(words)
    options = ["-p", "no:cacheprovider", "-k", "not spark and not picture"]
    pytest.main([*options, *(str(ROOT / "tests" / name) for name in TESTS)], plugins=[mutator])
    caught = sum(test is not None for _, _, test in mutator.rows)
    os.write(2, f"{caught} of {len(mutator.rows)} mutations were caught\n".encode())
    return int(caught < len(mutator.chosen))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
