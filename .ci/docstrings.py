"""Public docstrings name every parameter, and say what comes back: numpydoc's validation, for `make check`.

A method of at most one parameter may say in its one sentence what it takes (in backticks) and returns;
everything else needs the sections.
"""

import enum
import importlib
import inspect
import sys
from collections.abc import Iterator

from numpydoc.validate import validate

ROOMS = ("canarykit", "canarykit.metrics", "canarykit.stats")
WANTED = {
    "GL08": "no docstring", "SS03": "the first line is not a sentence",
    "PR01": "parameters without a word", "PR02": "parameters that are not there",
    "PR06": "a type that Python does not have", "PR07": "a parameter without a description",
    "RT01": "no Returns section", "YD01": "no Yields section",
}  # fmt: skip


def public() -> Iterator[tuple[str, object]]:
    """Names and objects: functions, classes, and the classes' own methods."""
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in module.__all__:
            member = getattr(module, name)
            if inspect.isclass(member) and not issubclass(member, enum.Enum):
                yield f"{room}.{name}", member
                for method, value in vars(member).items():
                    function = getattr(value, "__func__", value)
                    if not method.startswith("_") and inspect.isfunction(function):
                        yield f"{room}.{name}.{method}", function
            elif inspect.isfunction(member):
                yield f"{room}.{name}", member


def faults(name: str, member: object) -> list[str]:
    """What is missing from one docstring."""
    missing = dict(validate(name)["errors"])
    if "." in getattr(member, "__qualname__", "") and inspect.isfunction(member):
        own = set(inspect.signature(member).parameters) - {"self", "cls"}
        words = inspect.getdoc(member) or ""
        if len(own) <= 1 and all(f"`{name}`" in words for name in own):
            missing = {code: text for code, text in missing.items() if code not in ("PR01", "RT01")}
    if "Returns" in (inspect.getdoc(member) or ""):
        missing.pop("YD01", None)  # an iterator that is returned
    return [f"{name}: {WANTED[code]} ({words})" for code, words in missing.items() if code in WANTED]


def main() -> int:
    """Print the faults; 1 if there are any."""
    members = list(public())
    lines = [line for name, member in members for line in faults(name, member)]
    print("\n".join(lines) or f"{len(members)} public docstrings name all their parameters")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
