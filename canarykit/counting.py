"""What sentences are made of: a count and what is counted, names, and how a headline stays one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["MOST_OF_A_HEADLINE", "and_more", "counted", "first_named", "in_brief", "listed", "shortened"]

MOST_OF_A_HEADLINE = 160
"""Signs that a headline may have: what a phone shows in two or three lines, and one SMS carries."""

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
_COUNTS_OF_A_SHARE = re.compile(r"[\d,]+ of [\d,]+ \(([^()]* %)\)")
_INNER_INTERVAL = re.compile(r" \([^()]* to [^()]*\)(?=\))")
_LONG_WORD = re.compile(r"\S{29,}")
_WIDTHS = (72, 56, 44, 34, 28, 22)
_AND_MORE = re.compile(r" \(and [\d,]+ more\)\.?$")
_CLAUSE_ENDS = re.compile(r"[.;:,](?= )")
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


def first_named(names: Sequence[str]) -> str:
    """Names in a sentence; of more than two the first, and how many others.

    Examples
    --------
    >>> first_named(["errors", "payments"]), first_named(["errors", "payments", "speed"])
    ('errors and payments', 'errors and 2 others')
    """
    return listed(names if len(names) < 3 else [names[0], f"{len(names) - 1} others"])


def and_more(sentences: Sequence[str]) -> str:
    """The first sentence, and how many more there are.

    Examples
    --------
    >>> and_more(["Events are late.", "People are missing."])
    'Events are late (and 1 more).'
    """
    first, *others = sentences
    return f"{first.rstrip('.')} (and {len(others)} more)." if others else first


def shortened(name: str, room: int) -> str:
    """A name within `room` signs: both its ends, and an ellipsis for what stands between.

    Examples
    --------
    >>> shortened("checkout-with-one-click-and-a-coupon", 20)
    'checkout-w…-a-coupon'
    >>> shortened("errors", 20)
    'errors'
    """
    if len(name) <= room:
        return name
    end = (room - 1) // 2
    return f"{name[: room - 1 - end].rstrip()}…{name[len(name) - end :].lstrip()}"


def in_brief(text: str, names: Iterable[str] = (), *, room: int = MOST_OF_A_HEADLINE) -> str:
    """A sentence within `room` signs, for a headline above the table that has everything in full.

    What gives way, in this order and only as far as it must: the counts of a share and the interval of an
    effect; the middle of long names; whole clauses from the end, with an ellipsis in their place. How many
    more there are ("(and 2 more)", at the end) stays.

    Parameters
    ----------
    text
        The sentence. What decides stands first in it.
    names
        Names that occur in it and may have blanks; words without one are found.
    room
        The most signs it may have.

    Examples
    --------
    >>> in_brief("paid got worse (32 of 206 (15.5 %) with the canary, 9 of 90 (10.0 %) without).", room=64)
    'paid got worse (15.5 % with the canary, 10.0 % without).'
    >>> in_brief("half: errors of the new checkout got worse.", ["errors of the new checkout"], room=42)
    'half: errors of t…w checkout got worse.'
    >>> in_brief("half: paid got worse; speed too. Look at both of them, in this order.", room=40)
    'half: paid got worse; speed too …'
    """
    if len(text) <= room:
        return text
    text = plain = _INNER_INTERVAL.sub("", _COUNTS_OF_A_SHARE.sub(r"\1", text))
    longest_first = sorted({name for name in names if name in text}, key=lambda name: (-len(name), name))
    for width in _WIDTHS:
        if len(text) <= room:
            return text
        text = plain
        for name in longest_first:
            text = text.replace(name, shortened(name, width)) if len(name) > width else text
        text = _LONG_WORD.sub(lambda word: shortened(word[0], max(width, 28)), text)  # noqa: B023
    if len(text) <= room:
        return text
    more = rest[0] if (rest := _AND_MORE.search(text)) else ""
    left = room - len(more) - 2
    ends = [end.start() for end in _CLAUSE_ENDS.finditer(text[: left + 1]) if end.start() > left // 2]
    cut = ends[-1] if ends else text.rfind(" ", left // 2, left + 1)
    return f"{text[: cut if cut > 0 else left].rstrip()} …{more}"
