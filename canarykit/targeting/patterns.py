"""Regular expressions of filters: written for Rust, which the SDK's Python must read alike.

The server runs `fancy-regex`; the SDK evaluates only what Rust and Python are known to read alike and
leaves the rest to the server. `portable` draws that line. Both are matched by `canarykit.regex`, in time
that grows with the text alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from canarykit.regex import RustPattern, rust_pattern

_CLASS_ESCAPES = "dDsSwWbfnrt"
_SHORTHANDS = {"\\d", "\\D", "\\s", "\\S", "\\w", "\\W"}
_REPETITION = re.compile(r"\{([0-9]+)(?:,([0-9]*))?\}")
_NOTHING_TO_REPEAT = {"", "|", "(", "^", "$", "empty group", "quantifier"}


class NotPortableError(ValueError):
    """A pattern, or a text under it, that Rust and Python might read differently."""


@dataclass(frozen=True)
class Portable:
    """A pattern both engines read alike, with what its texts must be checked for."""

    pattern: RustPattern
    source: str
    words: bool
    spaces: bool
    ends: bool
    branches: bool


@lru_cache(maxsize=256)
def portable(pattern: str) -> Portable | None:
    """The pattern as Python runs it, None where it is invalid.

    Raises
    ------
    NotPortableError
        Where the two engines may disagree: look-around, word boundaries, nested repetition, exotic escapes.
    """
    scanner = _Scanner(pattern)
    translated = scanner.run()
    compiled = rust_pattern(pattern, translated)
    if compiled is None:
        return None
    return Portable(compiled, translated, scanner.words, scanner.spaces, scanner.ends, scanner.branches)


def search_portable(compiled: Portable, text: str) -> bool:
    """Whether the pattern occurs in the text; `NotPortableError` where the engines may disagree on it."""
    if compiled.ends and compiled.branches and text.endswith("\n"):
        raise NotPortableError("an end anchor after a choice, before a final line feed")
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise NotPortableError("a lone surrogate")
    if compiled.words and any(not (c.isascii() or c.isalpha() or c.isdecimal()) for c in text):
        raise NotPortableError("the engines differ on which characters make a word")
    if compiled.spaces and any(c in text for c in "\x1c\x1d\x1e\x1f"):
        raise NotPortableError("the engines differ on which characters are spaces")
    answer = compiled.pattern.search(text)
    if answer is None:
        raise NotPortableError("a pattern that needs too many steps on a text this long")
    return answer


@lru_cache(maxsize=256)
def server_pattern(pattern: str) -> RustPattern | None:
    """The pattern as the server reads it; None where it is invalid."""
    try:
        compiled = portable(pattern)
        return None if compiled is None else compiled.pattern
    except NotPortableError:
        named = pattern.replace("(?<", "(?P<").replace("(?P<=", "(?<=").replace("(?P<!", "(?<!")
        return rust_pattern(pattern, _strict_end(named))


def _strict_end(pattern: str) -> str:
    """`$` and `\\z` as the very end of the text, outside classes and escapes."""
    written, inside = [], False
    for token in re.findall(r"\\.|.", pattern, flags=re.DOTALL):
        if token == "[":
            inside = True
        elif token == "]":
            inside = False
        plain = token in ("$", "\\z") and not inside
        written.append("\\Z" if plain else token)
    return "".join(written)


class _Scanner:
    """Reads a pattern once, from left to right, and stops where the engines part ways."""

    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self.out: list[str] = []
        self.class_from: int | None = None
        self.last = ""
        self.repeats: list[bool] = []  # per open group: does it hold a repetition
        self.closed_repeats = False
        self.words = self.spaces = self.ends = self.branches = False

    def run(self) -> str:
        while self.at < len(self.text):
            sign = self.text[self.at]
            if "\ud800" <= sign <= "\udfff":
                raise NotPortableError("a lone surrogate")
            if self.class_from is None:
                self._groups(sign)
            self._one(sign)
            self.at += 1
        return "".join(self.out)

    def _next(self, count: int = 1) -> str:
        return self.text[self.at + 1 : self.at + 1 + count]

    def _groups(self, sign: str) -> None:
        self.ends |= sign == "$"
        self.branches |= sign in "*+?{|"
        if sign == "(":
            self.repeats.append(False)
        elif sign == ")":
            self.closed_repeats = self.repeats.pop() if self.repeats else False
            if self.repeats:
                self.repeats[-1] |= self.closed_repeats
        elif sign in "*+?{":
            if self.last == ")" and self.closed_repeats:
                raise NotPortableError("a repetition of a repetition")
            if self.repeats:
                self.repeats[-1] = True

    def _one(self, sign: str) -> None:
        if sign == "\\":
            self._escape()
        elif sign == "[":
            if self.class_from is not None:
                raise NotPortableError("a class in a class")
            self.class_from = self.at
            self.out.append(sign)
        elif sign == "]" and self.class_from is not None:
            negated = self.text[self.class_from + 1 : self.class_from + 2] == "^"
            if self.at == self.class_from + (2 if negated else 1):
                raise NotPortableError("an empty class")
            self.class_from, self.last = None, "literal"
            self.out.append(sign)
        elif self.class_from is not None:
            self._in_class(sign)
        elif sign == "(" and self._next() == "?":
            if self._next(2) != "?:":
                raise NotPortableError("look-around, flags or a named group")
            self.out.append("(?:")
            self.at += 2
            self.last = "("
        elif sign == "{":
            self._counted()
        else:
            self._plain(sign)

    def _escape(self) -> None:
        self.at += 1
        sign = self.text[self.at : self.at + 1]
        self.last = "literal"
        if sign == "":
            self.out.append("\\")
        elif sign == "x":
            digits = self._next(2)
            if not re.fullmatch(r"[0-9a-fA-F]{2}", digits):
                raise NotPortableError("an unusual hexadecimal escape")
            self.out.append("\\x" + digits)
            self.at += 2
        else:
            inside = self.class_from is not None
            if sign in "bB<>" and not inside:
                raise NotPortableError("a word boundary")
            if sign not in _CLASS_ESCAPES:
                punctuation = " " <= sign <= "~" and not sign.isalnum()
                if not punctuation or (inside and sign not in r"\-[]^.$*+?(){}|"):
                    raise NotPortableError(f"the escape \\{sign}")
            self.words |= sign in "wW"
            self.spaces |= sign in "sS"
            self.out.append("\\" + sign)

    def _in_class(self, sign: str) -> None:
        if self.text[self.at : self.at + 2] in ("&&", "--", "~~"):
            raise NotPortableError("set operations in a class")
        if sign == "-" and self._next() not in ("", "]"):
            before = self.text[max(self.at - 2, 0) : self.at]
            if self._next(2) in _SHORTHANDS or before in _SHORTHANDS:
                raise NotPortableError("a range that ends in a shorthand")
        self.out.append(sign)

    def _counted(self) -> None:
        match = _REPETITION.match(self.text, self.at)
        if match is None or self.last in _NOTHING_TO_REPEAT:
            raise NotPortableError("a brace that counts nothing")
        if any(len(n) > 10 or int(n) > 0xFFFFFFFF for n in match.groups() if n):
            raise NotPortableError("a very large repetition")
        self.out.append(match[0])
        self.at += len(match[0]) - 1
        if self._next() in ("+", "{"):
            raise NotPortableError("a possessive repetition")
        self.last = "quantifier"

    def _plain(self, sign: str) -> None:
        if sign in "*+?":
            if self.last in ("^", "$", "empty group") or self._next() in ("+", "{"):
                raise NotPortableError("a repetition of an anchor, or a possessive one")
            self.last = "quantifier"
        else:
            empty = sign == ")" and self.last in ("(", "empty group")
            self.last = "empty group" if empty else sign
        self.out.append("\\Z" if sign == "$" else sign)
