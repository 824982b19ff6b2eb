"""Whom a push concerns, and what is wrong with what it would set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from canarykit.errors import CanarykitError
from canarykit.flags import Flag
from canarykit.release.store import StoredFlag

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.linting import LintReport


def findings_of(before: StoredFlag, filters: Mapping[str, Any], persons: pd.DataFrame | None) -> LintReport:
    """Findings on the flag as it would be."""
    from canarykit.linting import lint

    return lint(Flag.from_posthog({**before.raw, "filters": dict(filters)}), persons=persons)


def reach_of(
    before: StoredFlag,
    filters: Mapping[str, Any],
    persons: pd.DataFrame | None,
    group_types: Mapping[str, str],
) -> Iterator[str]:
    """Who enters and leaves among the people that were given, by our own evaluation."""
    if persons is None:
        return
    from canarykit.linting.edits import compare_flags

    after = Flag.from_posthog({**before.raw, "filters": dict(filters), "active": True})
    try:
        change = compare_flags(before.flag, after, _flat(persons), group_type_mapping=group_types)
    except CanarykitError as problem:
        yield f"who is affected cannot be told: {problem}"
        return
    yield f"by our own evaluation, {change._headline()}"


def _flat(persons: pd.DataFrame) -> pd.DataFrame:
    """Persons with a column per property, where they come with the properties as JSON."""
    if "properties" not in persons.columns:
        return persons
    import json

    import pandas as pd

    texts = persons["properties"]
    loaded = [json.loads(text) if isinstance(text, str) and text else {} for text in texts]
    flat = pd.DataFrame(loaded, index=persons.index)
    return persons.drop(columns="properties").join(flat[flat.columns.difference(persons.columns)])
