"""What would change: who enters, leaves or changes variant when one flag definition replaces another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from canarykit.arguments import checked
from canarykit.assign.evaluate import evaluate_flag
from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import PlanError, did_you_mean
from canarykit.flags import Condition, Flag, FlagSet

if TYPE_CHECKING:
    from canarykit.typing import Time

Change = Literal["enters", "leaves", "changes variant", "stays", "cannot be told"]
CHANGES: tuple[Change, ...] = ("enters", "leaves", "changes variant", "stays", "cannot be told")
_COLUMNS = (
    Column("change", "change"),
    Column("before", "from"),
    Column("after", "to"),
    Column("decided_by", "decided by"),
    Column("people", "people", "count"),
    Column("share", "of all", "share"),
)


@dataclass(frozen=True, repr=False, eq=False)
class FlagChange(Result):
    """Everyone's value before and after an edit.

    Attributes
    ----------
    key
        Key of the flag.
    people
        One row a person, on the index of `persons`: `before`, `after`, `change` and `decided_by` (the set
        that decides; for people who leave, the set that let them in).
    """

    key: str
    people: pd.DataFrame
    notes: tuple[Note, ...] = ()

    def who(self, change: Change) -> pd.DataFrame:
        """The people of one kind of change.

        Examples
        --------
        >>> persons = pd.DataFrame({"distinct_id": ["distinct_id_0", "distinct_id_1"]})
        >>> small, large = (Flag("simple-flag", (Condition(rollout_percentage=p),)) for p in (45, 100))
        >>> compare_flags(small, large, persons).who("enters").index.tolist()
        [0]
        """
        if change not in CHANGES:
            raise PlanError(f"no change {change!r}; {did_you_mean(change, CHANGES)}")
        return self.people[self.people["change"] == change]

    def count(self, change: Change) -> int:
        """How many people change in this way."""
        return len(self.who(change))

    @property
    def affected(self) -> int:
        """People whose value changes, each counted once."""
        return len(self.people) - self.count("stays") - self.count("cannot be told")

    def _headline(self) -> str:
        total, parts = len(self.people), []
        for change, words in (
            ("enters", "enter"),
            ("leaves", "leave"),
            ("changes variant", "change variant"),
        ):
            if count := self.count(change):  # type: ignore[arg-type]
                parts.append(f"{count:,} {words}")
        if not parts:
            return f"{self.key}: nothing changes for any of {counted(total, 'people')}."
        share = f"{100 * self.affected / total:.1f} %"
        return (
            f"{self.key}: {self.affected:,} of {counted(total, 'people')} ({share}) "
            f"{'is' if self.affected == 1 else 'are'} affected: {', '.join(parts)}."
        )

    def _table(self) -> Table:
        keys = ["change", "before", "after", "decided_by"]
        counts = self.people[keys].fillna("unknown").value_counts(sort=False).reset_index(name="people")
        order = {change: position for position, change in enumerate(CHANGES)}
        counts["order"] = counts["change"].map(order)
        counts = counts.sort_values(
            ["order", "people", *keys], ascending=[True, False, True, True, True, True]
        )
        total = max(len(self.people), 1)
        counts["share"] = counts["people"] / total
        rows = counts[[column.key for column in _COLUMNS]].itertuples(index=False)
        return Table.of(_COLUMNS, map(tuple, rows))


@checked
def compare_flags(
    before: Flag | None,
    after: Flag | None,
    persons: pd.DataFrame,
    *,
    groups: Mapping[str, pd.DataFrame] | None = None,
    flags: FlagSet | None = None,
    cohorts: Mapping[Any, Any] | None = None,
    group_type_mapping: Mapping[Any, str] | None = None,
    as_of: Time | None = None,
    timezone: str = "UTC",
    distinct_id: str = "distinct_id",
) -> FlagChange:
    """The blast radius of an edit before it is made: who enters, leaves, changes variant, and by which set.

    People are counted once, however many condition sets would let them in: the union of the sets, not
    their sum.

    Parameters
    ----------
    before, after
        The two definitions; None is a flag that does not exist (everyone off).
    persons, groups, flags, cohorts, group_type_mapping, as_of, timezone, distinct_id
        As for `evaluate_flag`.

    Returns
    -------
    FlagChange
        Counts by change and set; `.people` and `.who("enters")` name the people.

    Examples
    --------
    >>> persons = pd.DataFrame({"distinct_id": [f"distinct_id_{i}" for i in range(1000)]})
    >>> small, large = (Flag("simple-flag", (Condition(rollout_percentage=p),)) for p in (45, 50))
    >>> print(compare_flags(small, large, persons)._headline())
    simple-flag: 48 of 1,000 people (4.8 %) are affected: 48 enter.
    """
    if before is None and after is None:
        raise PlanError("before and after are both None; give at least one definition")
    options: dict[str, Any] = {
        "groups": groups, "flags": flags, "cohorts": cohorts, "group_type_mapping": group_type_mapping,
        "as_of": as_of, "timezone": timezone, "distinct_id": distinct_id,
    }  # fmt: skip
    answers_before, answers_after = (_answers(flag, persons, options) for flag in (before, after))
    old, new = answers_before["value"], answers_after["value"]
    unknown = old.isna() | new.isna()
    was_on, is_on = _is_on(old), _is_on(new)
    kinds = [unknown, ~was_on & is_on, was_on & ~is_on, was_on & is_on & (old != new)]
    names = ["cannot be told", "enters", "leaves", "changes variant"]
    change = np.select([kind.to_numpy(dtype=bool) for kind in kinds], names, default="stays")
    decided = np.where(was_on & ~is_on, _deciders(before, answers_before), _deciders(after, answers_after))
    people = pd.DataFrame(
        {"before": old, "after": new, "change": change, "decided_by": decided}, index=persons.index
    )
    if distinct_id in persons.columns:
        people.insert(0, "distinct_id", persons[distinct_id])
    key = (after or before).key  # type: ignore[union-attr]
    return FlagChange(key, people, _notes(before, after))


def condition_name(condition: Condition, index: int) -> str:
    """A condition set in a few words.

    Examples
    --------
    >>> condition_name(Condition(rollout_percentage=25), 2)
    'set 3 (everyone, 25 %)'
    """
    words = " and ".join(f"{item.key} {item.operator}" for item in condition.properties) or "everyone"
    share = 100.0 if condition.rollout_percentage is None else condition.rollout_percentage
    return f"set {index + 1} ({condition.description or words}, {share:g} %)"


def _answers(flag: Flag | None, persons: pd.DataFrame, options: dict[str, Any]) -> pd.DataFrame:
    if flag is not None:
        return evaluate_flag(flag, persons, **options)
    nothing = {"value": "false", "reason": "no flag", "condition": pd.NA}
    return pd.DataFrame(nothing, index=persons.index)


def _is_on(values: pd.Series) -> pd.Series:
    """Whoever has the feature or a variant of it; people in a holdout have not."""
    held_out = values.str.startswith("holdout-", na=False).astype(bool)
    return ~(values.isna() | (values == "false") | held_out)


def _deciders(flag: Flag | None, answers: pd.DataFrame) -> np.ndarray:
    """What decided each row: a condition set where one matched, else the reason."""
    words = {"super_condition_value": "early access", "holdout_condition_value": "the holdout"}
    reasons = answers["reason"].astype(object)
    decided = reasons.map(lambda reason: words.get(reason, "no set")).to_numpy(dtype=object)
    if flag is not None:
        names = np.array([condition_name(c, i) for i, c in enumerate(flag.conditions)], dtype=object)
        matched = (reasons == "condition_match").to_numpy()
        decided[matched] = names[answers["condition"].to_numpy(dtype="int64", na_value=0)[matched]]
    return decided


def _notes(before: Flag | None, after: Flag | None) -> tuple[Note, ...]:
    notes = []
    if before is not None and after is not None and before.key != after.key:
        text = f"the key changes from {before.key!r} to {after.key!r}: everyone is dealt anew"
        notes.append(Note("renamed", text))
    return tuple(notes)
