"""Regular expressions on what a visitor wrote, in time that grows with the text and no faster.

PostHog runs patterns in linear time: ClickHouse with RE2, the flag server with Rust's regex, which reads
patterns as RE2 does but for Unicode classes. Both are answered here by RE2. What RE2 lacks (looking
around, back references) the flag server runs by backtracking with a limit on its steps; here Python
does, on texts short enough that it must end soon.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

__all__ = ["LinearPattern", "RustPattern", "linear_pattern", "rust_pattern"]

MOST_STEPS = 10_000_000
"""Steps of backtracking (a tenth of a second or so) that one text may take at worst."""
LONGEST_NESTED = 20
"""Longest text for a repetition of a repetition, whose steps double with every letter."""

# Rust's classes hold every script; RE2's own hold ASCII alone.
_WORD = r"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}"
_SPACE = r"\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}"
_CLASSES = {"d": r"\p{Nd}", "w": _WORD, "s": _SPACE}
_NEGATED = {"D": r"\P{Nd}", "W": f"[^{_WORD}]", "S": f"[^{_SPACE}]"}
_TOKEN = re.compile(r"\\x\{[0-9A-Fa-f]+\}|\\[pP]\{\^?\w+\}|\\.|\[:\^?\w+:\]|.", re.DOTALL)
_REPEAT = re.compile(r"[*+]|\{\d*,\d*\}|\{\d{3,}\}")


@dataclass(frozen=True)
class LinearPattern:
    """A pattern that RE2 runs."""

    source: str  # the pattern as RE2 reads it
    engine: Any  # the compiled pattern

    def search(self, text: str) -> bool:
        """Whether the pattern occurs in the text."""
        return self.engine.search(_printable(text)) is not None

    def replace(self, text: str, by: str) -> str:
        """The text with every occurrence replaced by a text that stands as it is."""
        return str(self.engine.sub(lambda _: by, _printable(text)))


@dataclass(frozen=True)
class RustPattern:
    """A pattern as the flag server reads it."""

    linear: LinearPattern | None  # the pattern for RE2; None where it looks around or refers back
    # the pattern for Python where RE2 cannot answer, and the longest text it is asked about
    backtracking: re.Pattern[str] | None = None
    longest: int = 0
    ascii_only: bool = False  # RE2 answers for ASCII texts alone (word boundaries)

    def search(self, text: str) -> bool | None:
        """Whether the pattern occurs in the text; None where that would take too many steps."""
        if self.linear is not None and not (self.ascii_only and not text.isascii()):
            return self.linear.search(text)
        if self.backtracking is None or len(text) > self.longest:
            return None
        return self.backtracking.search(text) is not None


@lru_cache(maxsize=256)
def linear_pattern(pattern: str) -> LinearPattern:
    """The pattern as a query of PostHog reads it: RE2, with `.` for line ends too.

    `ValueError` if RE2 cannot read it; the message says why.

    Examples
    --------
    >>> linear_pattern(r"(a+)+$").search("a" * 50_000 + "b")
    False
    >>> linear_pattern("/home/.*").replace("/home/7", "/home/:id")
    '/home/:id'
    """
    return _re2(pattern, dot_newline=True)


@lru_cache(maxsize=256)
def rust_pattern(pattern: str, python: str | None = None) -> RustPattern | None:
    """The pattern as the flag server reads it; None where it is not a pattern.

    Parameters
    ----------
    pattern
        As written, for Rust's engine.
    python
        The same for Python, where it is written differently.

    Examples
    --------
    >>> rust_pattern(r"^\\w+@acme\\.io$").search("žofie@acme.io")
    True
    >>> rust_pattern(r"(?=(a+)+$)b").search("a" * 50) is None
    True
    """
    compiled = _compile(pattern if python is None else python)
    boundary = "\\b" in pattern.lower()
    try:
        linear = _re2(_for_re2(pattern))
    except ValueError:
        return None if compiled is None else RustPattern(None, compiled, _longest(pattern))
    if compiled is None or not boundary:
        return RustPattern(linear)
    return RustPattern(linear, compiled, _longest(pattern), ascii_only=True)


def _re2(pattern: str, *, dot_newline: bool = False) -> LinearPattern:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.dot_nl = dot_newline
    try:
        return LinearPattern(pattern, re2.compile(_printable(pattern), options))
    except re2.error as problem:
        said = problem.args[0] if problem.args else ""
        raise ValueError(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)) from None


def _for_re2(pattern: str) -> str:
    """Rust's syntax as RE2 reads it: classes of every script, escapes of code points.

    `ValueError` where RE2 would read something else into it: set operations and classes in a class.
    """
    written: list[str] = []
    first = -1  # where the members of the open class begin; -1 outside of classes
    for token in _TOKEN.findall(re.sub(r"\\u\{?([0-9A-Fa-f]{4,6})\}?", r"\\x{\1}", pattern)):
        inside, name = first >= 0, token[1:] if token[0] == "\\" else ""
        if inside and (token in ("[", "&", "~") or (token == "-" and written[-1] == "-")):
            raise ValueError("a class in a class, or a set operation")
        if name in ("<", ">", "C", "Q", "E") or (name in ("W", "S") and inside):
            raise ValueError(f"the escape {token}")
        if name in _CLASSES:
            token = _CLASSES[name] if inside else f"[{_CLASSES[name]}]"
        elif name in _NEGATED:
            token = _NEGATED[name]
        elif token == "]" and inside and len(written) > first:
            first = -1
        elif token == "[" or (token == "^" and inside and len(written) == first):
            first = len(written) + 1
        written.append(token)
    return "".join(written)


def _longest(pattern: str) -> int:
    """The longest text on which backtracking ends within `MOST_STEPS`.

    With k repetitions side by side, a text of n letters can be split among them in about n^k / k! ways,
    from each of n starts. A repetition within a repetition, or of a choice, doubles with every letter.
    """
    k, depths, nested = 0, [False], False
    tokens = re.findall(r"\\.|\[(?:\\.|[^\]\\])*\]|\{[\d,]*\}|.", pattern, re.DOTALL)
    closed = False
    for token in tokens:
        if token == "(":
            depths.append(False)
        elif token == ")":
            closed = depths.pop() if len(depths) > 1 else False
            depths[-1] |= closed
            continue
        elif token == "|" or (token[0] == "\\" and token[1:].isdigit()):
            depths[-1] = True
        elif _REPEAT.fullmatch(token):
            nested |= closed
            k += 1
            depths[-1] = True
        closed = False
    if nested:
        return LONGEST_NESTED
    ways, letters = 1, 1
    for factor in range(2, k + 2):
        ways *= factor
    while letters ** (k + 1) / ways < MOST_STEPS and letters < 1_000_000:
        letters = letters * 9 // 8 + 1
    return letters


def _compile(pattern: str) -> re.Pattern[str] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return re.compile(pattern)
        except (re.error, RecursionError, OverflowError):
            return None


def _printable(text: str) -> str:
    """The text with halves of a pair replaced, which UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
