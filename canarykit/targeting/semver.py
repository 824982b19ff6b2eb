"""Versions in filters: the server's strict semantic versions, and the SDK's three numbers.

The server pads and trims what phones really send ("3.08", "v2"), then compares by semantic versioning,
pre-releases included; the SDK drops pre-release and build and compares three numbers.
"""

from __future__ import annotations

import re
from typing import Any

from canarykit.targeting.value_text import value_text

Numbers = tuple[int, int, int]
Identifiers = tuple[tuple[Any, ...], ...]
ServerVersion = tuple[Numbers, tuple[int, Identifiers], Identifiers]

_LARGEST = 2**64 - 1
_CORE = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")
_SUFFIX = re.compile(r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?")
_PARTIAL = re.compile(r"(0|[1-9][0-9]*|[xX*])(?:\.(0|[1-9][0-9]*|[xX*]))?(?:\.(0|[1-9][0-9]*|[xX*]))?")


def server_version(value: Any) -> ServerVersion | None:
    """A version as the server compares it: numbers, then pre-release, then build; None if it is none.

    Examples
    --------
    >>> server_version("v3.08") == server_version("3.8.0")
    True
    >>> server_version("1.2.3-rc.1") < server_version("1.2.3")
    True
    """
    core, suffix = _canonical(value_text(value))
    numbers, suffixes = _CORE.fullmatch(core), _SUFFIX.fullmatch(suffix)
    if numbers is None or suffixes is None:
        return None
    parts = (int(numbers[1]), int(numbers[2]), int(numbers[3]))
    before = (suffixes[1] or "").split(".") if suffixes[1] else []
    if max(parts) > _LARGEST or any(p.isdigit() and len(p) > 1 and p[0] == "0" for p in before):
        return None
    after = (suffixes[2] or "").split(".") if suffixes[2] else []
    return parts, (0 if before else 1, _ordered(before)), _ordered(after)


def server_requirement(operator: str, value: Any) -> tuple[Numbers, Numbers, ServerVersion | None] | None:
    """A range as the server reads it: numbers from (inclusive), numbers to (exclusive), the base version.

    The base matters for pre-releases: they match only a range whose own base is a pre-release of the
    same three numbers.
    """
    text = _trim(value_text(value))
    if operator == "semver_wildcard":
        return _wildcard(text)
    base = server_version(text)
    if base is None:
        return None
    major, minor, patch = base[0]
    if operator == "semver_tilde":
        above = (major, minor + 1, 0)
    elif major:
        above = (major + 1, 0, 0)
    elif minor:
        above = (0, minor + 1, 0)
    else:
        above = (0, 0, patch + 1)
    return base[0], above, base


def in_requirement(
    version: ServerVersion, requirement: tuple[Numbers, Numbers, ServerVersion | None]
) -> bool:
    """Whether a version lies in a range, by the rules of pre-releases."""
    low, high, base = requirement
    if not low <= version[0] < high:
        return False
    is_release = version[1][0] == 1
    if base is not None and version[0] == base[0]:
        return version[1] >= base[1] and (is_release or base[1][0] == 0)
    return is_release


def sdk_version(value: Any) -> Numbers:
    """A version as the SDK compares it; ValueError where it is none."""
    text = str(value).strip().lstrip("vV").split("-")[0].split("+")[0]
    parts = [*text.split("."), "", ""][:3]
    return (_number(parts[0]), _number(parts[1] or "0"), _number(parts[2] or "0"))


def sdk_range(operator: str, value: Any) -> tuple[Numbers, Numbers]:
    """A range as the SDK reads it: from (inclusive), to (exclusive); ValueError where it is none."""
    if operator == "semver_wildcard":
        text = str(value).strip().lstrip("vV").replace("*", "").rstrip(".")
        numbers = [_number(part) for part in text.split(".") if part][:3]
        if not numbers:
            raise ValueError(f"{value!r} names no version")
        return _from_to(numbers)
    major, minor, patch = sdk_version(value)
    if operator == "semver_tilde":
        return (major, minor, patch), (major, minor + 1, 0)
    if major:
        return (major, minor, patch), (major + 1, 0, 0)
    return (0, minor, patch), ((0, minor + 1, 0) if minor else (0, 0, patch + 1))


def _canonical(text: str) -> tuple[str, str]:
    text = _trim(text)
    cut = re.search(r"[-+]", text)
    core, suffix = (text[: cut.start()], text[cut.start() :]) if cut else (text, "")
    parts = [_without_zeros(part) for part in core.split(".")]
    return ".".join(parts + ["0"] * (3 - len(parts))), suffix


def _trim(text: str) -> str:
    return text.removeprefix("v").strip()


def _without_zeros(part: str) -> str:
    return (part.lstrip("0") or "0") if part.isascii() and part.isdigit() else part


def _ordered(identifiers: list[str]) -> Identifiers:
    """Identifiers so that tuples compare as versions do: numbers before words, numbers by size."""
    return tuple((0, int(item), len(item), "") if item.isdigit() else (1, 0, 0, item) for item in identifiers)


def _wildcard(text: str) -> tuple[Numbers, Numbers, ServerVersion | None] | None:
    match = _PARTIAL.fullmatch(".".join(map(_without_zeros, text.split("."))))
    if match is None:
        return None
    parts = [part for part in match.groups() if part is not None]
    stars = [part in "xX*" for part in parts]
    if any(stars[i] and not stars[i + 1] for i in range(len(stars) - 1)):
        return None
    numbers = [int(part) for part, star in zip(parts, stars, strict=True) if not star]
    if not numbers:
        return (0, 0, 0), (_LARGEST + 1, 0, 0), None
    if any(stars):
        return (*_from_to(numbers), None)
    _, high = _from_to(numbers[: next((i + 1 for i, n in enumerate(numbers) if n), len(numbers))])
    return (*numbers, 0, 0)[:3], high, None  # type: ignore[return-value]


def _from_to(numbers: list[int]) -> tuple[Numbers, Numbers]:
    """All versions that begin with these numbers."""
    low, high = [*numbers, 0, 0][:3], [*numbers[:-1], numbers[-1] + 1, 0, 0][:3]
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _number(part: str) -> int:
    if not part.isdigit() or (len(part) > 1 and part[0] == "0"):
        raise ValueError(f"{part!r} is not a version number")
    return int(part)
