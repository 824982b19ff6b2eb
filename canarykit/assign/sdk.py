"""Evaluation as posthog-python 7.91 does it locally: true, false, a variant, or "cannot tell".

A set that cannot be decided is remembered while later sets are tried; only if none matches is the flag
inconclusive. What needs the server (a static cohort) ends the evaluation at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from canarykit.assign.outcome import (
    FIRST_VARIANT,
    NEEDS_SERVER,
    OFF,
    UNKNOWN,
    Outcome,
    arms_of,
    decide_matched,
    draw_variants,
    refuse_unsupported,
)
from canarykit.flags import UNSET, Condition, Flag, FlagSet, PropertyFilter
from canarykit.targeting.dates import Clock
from canarykit.targeting.matcher import INCONCLUSIVE, NO, SERVER, YES, Matcher, negate
from canarykit.targeting.sdk_operators import sdk_matcher
from canarykit.targeting.units import Ids, Units, View

_NOT_TRIED = -9


@dataclass(frozen=True)
class Scope:
    """What one call of the SDK's matcher is given."""

    view: View  # properties that filters are asked of
    distinct: Ids  # the id handed on to dependencies
    bucketing: Ids  # the id that is hashed
    # whether group types and groups are passed at all; they are not for dependencies
    with_groups: bool = True


@dataclass
class SdkEvaluation:
    """One evaluation of one flag; parameters as in `ServerEvaluation`."""

    units: Units
    flags: FlagSet
    cohorts: Mapping[str, Any]
    clock: Clock
    matching_version: int = 1
    _cache: dict[str, np.ndarray] = field(default_factory=dict)
    _running: list[str] = field(default_factory=list)

    def evaluate(self, flag: Flag) -> Outcome:
        """Every row's answer for a flag."""
        refuse_unsupported(flag, continuity=False)
        units, everyone = self.units, np.ones(self.units.rows, dtype=bool)
        outcome = Outcome.start(units.rows, flag)
        person = Scope(units.persons, units.ids, units.ids)
        index = flag.aggregation_group_type_index
        if not flag.active:
            outcome.close(everyone, "flag_disabled", OFF)
        elif flag.ensure_experience_continuity:
            outcome.give_up(everyone, INCONCLUSIVE)
        elif index is not None:
            self._group_flag(flag, index, outcome)
        else:
            outcome.close(units.ids.missing, "missing_id", UNKNOWN)
            bucketing = self._bucketing(flag, units.ids)
            if bucketing is not units.ids:
                outcome.give_up(bucketing.empty, INCONCLUSIVE)
            self.match(flag, replace(person, bucketing=bucketing), outcome)
        return outcome

    def _group_flag(self, flag: Flag, index: int, outcome: Outcome) -> None:
        groups = self.units.groups_of(index)
        if str(index) not in self.units.group_types:
            outcome.give_up(outcome.open, INCONCLUSIVE)
        elif groups is None:
            outcome.close(outcome.open, "no_group_type", OFF)
        else:
            outcome.close(groups.ids.missing, "no_group_type", OFF)
            if groups.table is None:
                outcome.give_up(outcome.open, INCONCLUSIVE)
            self.match(flag, Scope(groups, groups.ids, groups.ids), outcome)

    def _bucketing(self, flag: Flag, distinct: Ids) -> Ids:
        if flag.bucketing_identifier != "device_id":
            return distinct
        import pyarrow as pa

        return self.units.devices or Ids(pa.nulls(self.units.rows, pa.large_string()))

    def match(self, flag: Flag, scope: Scope, outcome: Outcome) -> None:
        """Decide the open rows of `outcome`: early access, holdout, then condition sets in stored order."""
        outcome.bucket = scope.bucketing.hash01(f"{flag.key}.")
        if flag.feature_enrollment:
            self._enrollment(flag, scope, outcome)
        elif flag.holdout is not None and not flag.holdout.legacy:
            share = min(max(float(flag.holdout.exclusion_percentage), 0.0), 100.0)
            held_out = outcome.open.copy()
            if share != 100:
                held_out &= scope.bucketing.hash01("holdout-", of_flag=False) <= share / 100
            outcome.close(held_out, "holdout_condition_value", FIRST_VARIANT + len(flag.variants))
        doubtful = np.zeros(self.units.rows, dtype=bool)
        conditions = () if flag.is_oldest_form else flag.conditions
        for position, condition in enumerate(conditions):
            if not outcome.open.any():
                break
            doubtful |= self._condition(flag, condition, position, scope, outcome, doubtful)
        outcome.give_up(doubtful, INCONCLUSIVE)
        draw_variants(outcome, flag)
        outcome.open = np.zeros_like(outcome.open)

    def _enrollment(self, flag: Flag, scope: Scope, outcome: Outcome) -> None:
        if flag.aggregation_group_type_index is not None:
            outcome.give_up(outcome.open, INCONCLUSIVE)
            return
        enrolled = Matcher(INCONCLUSIVE, lambda value: int(value is True or value == "true"))
        answers = scope.view.answers(f"$feature_enrollment/{flag.key}", enrolled)
        outcome.give_up(answers == INCONCLUSIVE, INCONCLUSIVE)
        outcome.close(outcome.open, "super_condition_value", answers, condition=0)

    def _condition(
        self,
        flag: Flag,
        condition: Condition,
        position: int,
        scope: Scope,
        outcome: Outcome,
        doubtful: np.ndarray,
    ) -> np.ndarray:
        """Apply one set to the open rows; the rows it leaves in doubt."""
        view, ids, applies, unsure = self._context(flag, condition, scope)
        asked = outcome.open & applies & ~unsure
        holds = self._filters(condition, replace(scope, view=view), asked)
        share = condition.rollout_percentage
        rolled = np.ones(self.units.rows, dtype=bool)
        if share is not None and share < 100:
            rolled = ~(ids.hash01(f"{flag.key}.") > share / 100)
        outcome.give_up(asked & (holds == SERVER), SERVER)
        doubt = outcome.open & ((applies & unsure) | (asked & (holds == INCONCLUSIVE)))
        outcome.note(asked & (holds == NO), "no_condition_match", position)
        excluded = asked & (holds == YES) & ~rolled
        outcome.note(excluded, "out_of_rollout_bound", position)
        if flag.early_exit:
            outcome.give_up(excluded & doubtful, INCONCLUSIVE)
            outcome.close(excluded, "out_of_rollout_bound", OFF, position)
        matched = outcome.open & asked & (holds == YES) & rolled
        if matched.any():
            if ids is not scope.bucketing:
                outcome.bucket = np.where(matched, ids.hash01(f"{flag.key}."), outcome.bucket)
            decide_matched(outcome, matched, flag, condition, position, ids)
        return doubt

    def _context(
        self, flag: Flag, condition: Condition, scope: Scope
    ) -> tuple[View, Ids, np.ndarray, np.ndarray]:
        """Properties and ids a set works on, the rows it applies to, the rows it cannot be told for."""
        everyone = np.ones(self.units.rows, dtype=bool)
        group_type = condition.aggregation_group_type_index
        if group_type is UNSET or group_type is None or group_type == flag.aggregation_group_type_index:
            return scope.view, scope.bucketing, everyone, ~everyone
        assert isinstance(group_type, int)
        groups = self.units.groups_of(group_type) if scope.with_groups else None
        if groups is None:
            return scope.view, scope.bucketing, ~everyone, ~everyone
        unsure = everyone if groups.table is None else ~everyone
        return groups, groups.ids, ~groups.ids.missing, unsure

    def _filters(self, condition: Condition, scope: Scope, asked: np.ndarray) -> np.ndarray:
        """All filters of a set, in no particular order: a no decides even after one that cannot be told."""
        alive, doubt = asked.copy(), np.zeros(len(asked), dtype=bool)
        server = np.zeros(len(asked), dtype=bool)
        for item in condition.properties:
            answers = self._filter(item, scope, alive)
            server |= alive & (answers == SERVER) & ~doubt
            doubt |= alive & (answers >= INCONCLUSIVE)
            alive &= answers != NO
        if not doubt.any():
            return (alive | ~asked).view(np.uint8)
        holds = np.where(doubt, np.where(server, SERVER, INCONCLUSIVE), YES)
        return np.where(alive | ~asked, holds, NO).astype(np.uint8)

    def _filter(self, item: PropertyFilter, scope: Scope, alive: np.ndarray) -> np.ndarray:
        if item.type == "cohort":
            return self._cohort(item, scope, alive)
        if item.type == "flag":
            return self._dependency(item, scope, alive)
        return scope.view.answers(
            item.key, sdk_matcher(item, self.clock, matching_version=self.matching_version)
        )

    def _cohort(self, item: PropertyFilter, scope: Scope, alive: np.ndarray) -> np.ndarray:
        cohort_id = str(item.value)
        if cohort_id not in self.cohorts or f"cohort {cohort_id}" in self._running:
            return self._all(SERVER)
        if item.operator not in ("exact", "in", "not_in"):
            return self._all(INCONCLUSIVE)
        self._running.append(f"cohort {cohort_id}")
        members = self.group(self.cohorts[cohort_id], scope, alive)
        self._running.pop()
        return negate(members) if item.operator == "not_in" else members

    def group(self, definition: Any, scope: Scope, alive: np.ndarray) -> np.ndarray:
        """A cohort's nested AND and OR; a definition that cannot be read needs the server."""
        if definition == {}:
            return self._all(YES)
        entries = definition.get("values") if isinstance(definition, Mapping) else None
        if not isinstance(entries, list) or definition.get("type") not in ("AND", "OR"):
            return self._all(SERVER)
        every = definition["type"] == "AND"
        decided, doubt, server = (np.zeros(self.units.rows, dtype=bool) for _ in range(3))
        for entry in entries:
            answers = self._entry(entry, scope, alive & ~server)
            server |= answers == SERVER
            doubt |= answers == INCONCLUSIVE
            decided |= answers == (NO if every else YES)
        if not entries:
            return self._all(YES)
        combined = np.where(
            decided, NO if every else YES, np.where(doubt, INCONCLUSIVE, YES if every else NO)
        )
        return np.where(server, SERVER, combined).astype(np.uint8)

    def _entry(self, entry: Any, scope: Scope, alive: np.ndarray) -> np.ndarray:
        if not isinstance(entry, Mapping):
            return self._all(SERVER)
        if entry == {} or "values" in entry or entry.get("type") in ("AND", "OR"):
            return self.group(entry, scope, alive)
        item = PropertyFilter.from_posthog(entry)
        answers = self._filter(item, scope, alive)
        return negate(answers) if item.negation else answers

    def _dependency(self, item: PropertyFilter, scope: Scope, alive: np.ndarray) -> np.ndarray:
        if item.operator != "flag_evaluates_to" or not item.key or item.value is None:
            return self._all(NO)
        chain = item.extra.get("dependency_chain")
        if not isinstance(chain, list) or not chain:
            return self._all(INCONCLUSIVE)
        answers, left = self._all(YES), alive.copy()

        def stop(rows: np.ndarray, answer: int) -> None:
            answers[rows] = answer
            left[rows] = False

        for key in chain:
            if key not in self.flags:
                unheard = left & (self._cached(key) == _NOT_TRIED)
                self._cached(key)[unheard] = UNKNOWN
                stop(unheard, INCONCLUSIVE)
        for key in chain:
            untried = left & (self._cached(key) == _NOT_TRIED)
            if key in self.flags and untried.any():
                values = self._evaluate_dependency(self.flags[key], scope, untried)
                answered = untried & (values != NEEDS_SERVER)
                self._cached(key)[answered] = values[answered]
                stop(untried & (values == NEEDS_SERVER), SERVER)
                stop(untried & (values == UNKNOWN), INCONCLUSIVE)
        value = self._cached(item.key)
        stop(left & (value < 0), INCONCLUSIVE)
        if item.key in self.flags:
            stop(left & ~_evaluates_to(self.flags[item.key], value, item.value), NO)
        return answers

    def _evaluate_dependency(self, flag: Flag, scope: Scope, rows: np.ndarray) -> np.ndarray:
        """The arms of another flag for some rows, in the scope of the filter that asks."""
        if not flag.active:
            return np.full(self.units.rows, OFF)
        if flag.ensure_experience_continuity:
            return np.full(self.units.rows, UNKNOWN)
        if flag.key in self._running:
            return np.full(self.units.rows, NEEDS_SERVER)
        outcome = Outcome.start(self.units.rows, flag)
        outcome.open = rows.copy()
        bucketing = scope.distinct
        if flag.aggregation_group_type_index is None:
            bucketing = self._bucketing(flag, scope.distinct)
            if bucketing is not scope.distinct:
                outcome.give_up(bucketing.empty, INCONCLUSIVE)
        self._running.append(flag.key)
        self.match(flag, replace(scope, bucketing=bucketing, with_groups=False), outcome)
        self._running.pop()
        return outcome.arm

    def _cached(self, key: str) -> np.ndarray:
        if key not in self._cache:
            self._cache[key] = np.full(self.units.rows, _NOT_TRIED, dtype=np.int32)
        return self._cache[key]

    def _all(self, answer: int) -> np.ndarray:
        return np.full(self.units.rows, answer, dtype=np.uint8)


def _evaluates_to(flag: Flag, value: np.ndarray, expected: Any) -> np.ndarray:
    """Whether a flag's value is the one expected: true means any variant, a text the very variant."""
    names = arms_of(flag)
    values = [bool(code) if code < FIRST_VARIANT else name for code, name in enumerate(names)]
    fits = [dependency_matches(expected, value) for value in values]
    return np.array(fits, dtype=bool)[np.clip(value, 0, None)]


def dependency_matches(expected: Any, actual: Any) -> bool:
    """Whether a flag's value satisfies what a dependency expects.

    Examples
    --------
    >>> dependency_matches(True, "test"), dependency_matches("control", "Control")
    (True, False)
    """
    if isinstance(actual, str) and actual:
        return expected if isinstance(expected, bool) else isinstance(expected, str) and actual == expected
    return isinstance(actual, bool) and isinstance(expected, bool) and actual == expected
