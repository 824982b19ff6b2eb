"""A count and what is counted ("1 person has it by choice", "2 people have it"), and names in a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["counted", "listed"]

_ONE = {"people": "person", "persons": "person"} | {
    f"{name}s": name
    for name in (
        "line", "row", "event", "unit", "group", "session", "call", "exposure", "time", "evaluation", "merge",
        "edit", "score", "result", "flag", "item", "step", "stage", "metric", "file",
    )
}  # fmt: skip
_OF = re.compile(r"^(older |exception |distinct |clean-up )?([a-z]+)\b")
_GROUPS = re.compile(r"^([^:,;]*?\bgroup)s\b")
_VERB = re.compile(r"(?<!properties )(?<!properties that )\b(were|are|have|lie|hold|carry|rest|do)\b")
_SINGULAR = {"were": "was", "are": "is", "have": "has", "carry": "carries", "do": "does"} | {
    verb: f"{verb}s" for verb in ("lie", "hold", "rest")
}


def counted(count: int, text: str) -> str:
    """A count before what is counted, in the singular where it is one.

    Parameters
    ----------
    count
        How many.
    text
        What, in the plural: "people have it by choice". Verbs up to a colon go with it.

    Examples
    --------
    >>> counted(2, "people have it by choice"), counted(1, "people have it by choice")
    ('2 people have it by choice', '1 person has it by choice')
    >>> counted(1, "lines that hold no JSON object were dropped")
    '1 line that holds no JSON object was dropped'
    >>> counted(1, "of 5 exposed units are asked about")
    '1 of 5 exposed units is asked about'
    """
    if count != 1:
        return f"{count:,} {text}"
    head, colon, rest = text.partition(":")
    singular = _OF.sub(lambda match: (match[1] or "") + _ONE.get(match[2], match[2]), head)
    if singular == head:
        singular = _GROUPS.sub(r"\1", head)
    if singular != head or head.startswith(("of ", "have ")):
        singular = _VERB.sub(lambda match: _SINGULAR[match[1]], singular)
    return f"1 {singular}{colon}{rest}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    Examples
    --------
    >>> listed(["errors"]), listed(["errors", "payments", "speed"])
    ('errors', 'errors, payments and speed')
    """
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + f" and {names[-1]}"
