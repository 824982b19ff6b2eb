"""Evaluation as PostHog's flags service does it: early access, holdout, then condition sets in stored order.

Within a set the filters must all hold, then the rollout; the first set that matches decides. The only
thing the service knows and we may not is who is in a static cohort: rows for which that matters are unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from canarykit.assign.outcome import (
    FIRST_VARIANT,
    OFF,
    ON,
    UNKNOWN,
    Outcome,
    arms_of,
    decide_matched,
    draw_variants,
    refuse_unsupported,
)
from canarykit.errors import PlanError
from canarykit.flags import Condition, Flag, FlagSet, PropertyFilter
from canarykit.flags.lossless import Unset
from canarykit.targeting.dates import Clock
from canarykit.targeting.matcher import INCONCLUSIVE, NO, YES, Matcher, negate
from canarykit.targeting.server_operators import server_matcher
from canarykit.targeting.units import Ids, Units, View


@dataclass
class ServerEvaluation:
    """One evaluation of flags for the same rows; dependencies and cohorts are worked out once."""

    units: Units  # the rows
    flags: FlagSet  # flags that others depend on
    # cohort definitions, or collections of the distinct ids of static cohorts, by id as text
    cohorts: Mapping[str, Any]
    clock: Clock  # moment and team zone
    matching_version: int = 1  # how `exact` compares true and false
    _values: dict[str, Outcome] = field(default_factory=dict)
    _cohort_answers: dict[str, np.ndarray] = field(default_factory=dict)

    def evaluate(self, flag: Flag) -> Outcome:
        """Every row's answer for a flag."""
        refuse_unsupported(flag)
        outcome = Outcome.start(self.units.rows, flag)
        outcome.bucket = self._ids(flag, flag.aggregation_group_type_index).hash01(f"{flag.key}.")
        everyone = np.ones(self.units.rows, dtype=bool)
        if flag.deleted or not flag.active:
            outcome.close(everyone, "flag_disabled", OFF)
        elif self._broken(flag, ()):
            outcome.close(everyone, "missing_dependency", OFF)
        else:
            outcome.close(self.units.ids.missing, "missing_id", UNKNOWN)
            self._early_access(flag, outcome)
            self._holdout(flag, outcome)
            for index, condition in enumerate(flag.conditions):
                self._condition(flag, condition, index, outcome)
            draw_variants(outcome, flag)
            outcome.open = np.zeros_like(outcome.open)
        return outcome

    def _early_access(self, flag: Flag, outcome: Outcome) -> None:
        persons = self.units.persons
        if flag.feature_enrollment:
            enrolled = Matcher(INCONCLUSIVE, lambda value: int(value is True or value == "true"))
            answers = persons.answers(f"$feature_enrollment/{flag.key}", enrolled)
            outcome.close(answers <= YES, "super_condition_value", answers, condition=0)
            return
        if not flag.super_conditions or not flag.super_conditions[0].properties:
            return
        first = flag.super_conditions[0]
        enrolled_or_not = np.zeros(self.units.rows, dtype=bool)
        for item in first.properties:
            enrolled_or_not |= persons.answers(item.key, Matcher(NO, lambda value: YES)) == YES
        holds = self._filters(first, None)
        rolled = self._in_rollout(flag, first, self._ids(flag, None))
        outcome.give_up(enrolled_or_not & (holds > YES) & rolled, INCONCLUSIVE)
        outcome.close(
            enrolled_or_not, "super_condition_value", np.where((holds == YES) & rolled, ON, OFF), condition=0
        )

    def _holdout(self, flag: Flag, outcome: Outcome) -> None:
        if flag.holdout is None:
            return
        share = min(max(float(flag.holdout.exclusion_percentage), 0.0), 100.0)
        ids = self._ids(flag, flag.aggregation_group_type_index)
        held_out = outcome.open.copy()
        if share < 100:
            held_out &= ids.hash01("holdout-", of_flag=False) <= share / 100
        outcome.close(held_out, "holdout_condition_value", FIRST_VARIANT + len(flag.variants))

    def _condition(self, flag: Flag, condition: Condition, index: int, outcome: Outcome) -> None:
        group_type = condition.aggregation_group_type_index
        aggregation = flag.aggregation_group_type_index if isinstance(group_type, Unset) else group_type
        ids = self._ids(flag, aggregation)
        if aggregation is not None:
            applies = ~ids.empty
            outcome.note(~applies, "no_group_type", index)
        elif flag.bucketing_identifier == "device_id":
            applies = ~self._devices().empty
            outcome.note(~applies, "out_of_rollout_bound", index)
        else:
            applies = outcome.open
        if not (applies & outcome.open).any():
            return
        holds = np.where(applies, self._filters(condition, aggregation), NO)
        outcome.note(applies & (holds == NO), "no_condition_match", index)
        rolled = self._in_rollout(flag, condition, ids)
        excluded = applies & (holds != NO) & ~rolled
        if flag.early_exit:
            outcome.give_up(excluded & (holds > YES), INCONCLUSIVE)
            outcome.close(excluded, "out_of_rollout_bound", OFF, index)
        outcome.note(excluded, "out_of_rollout_bound", index)
        outcome.give_up(rolled & (holds > YES), INCONCLUSIVE)
        matched = outcome.open & (holds == YES) & rolled
        if matched.any():
            if ids is not self._ids(flag, flag.aggregation_group_type_index):
                outcome.bucket = np.where(matched, ids.hash01(f"{flag.key}."), outcome.bucket)
            decide_matched(outcome, matched, flag, condition, index, ids)

    def _in_rollout(self, flag: Flag, condition: Condition, ids: Ids) -> np.ndarray:
        share = 100.0 if condition.rollout_percentage is None else condition.rollout_percentage
        if share == 100:
            return np.ones(self.units.rows, dtype=bool)
        return ids.hash01(f"{flag.key}.") <= share / 100

    def _ids(self, flag: Flag, aggregation: int | None) -> Ids:
        """What is hashed: the group's key, the device where the flag says so and there is one, the person."""
        if aggregation is not None:
            groups = self.units.groups_of(aggregation)
            return self._no_ids() if groups is None else groups.ids
        return self.units.devices_or_persons if flag.bucketing_identifier == "device_id" else self.units.ids

    def _devices(self) -> Ids:
        return self._no_ids() if self.units.devices is None else self.units.devices

    def _no_ids(self) -> Ids:
        import pyarrow as pa

        return Ids(pa.nulls(self.units.rows, pa.large_string()), empty_is_zero=True)

    def _filters(self, condition: Condition, aggregation: int | None) -> np.ndarray:
        """Whether all filters of a set hold."""
        holds = np.full(self.units.rows, YES, dtype=np.uint8)
        for item in condition.properties:
            holds = _both(holds, self._filter(item, aggregation))
        return holds

    def _filter(self, item: PropertyFilter, aggregation: int | None) -> np.ndarray:
        if item.type == "flag":
            return self._dependency(item)
        if item.type == "cohort":
            return self._cohort(item)
        view: View | None = self.units.persons
        if item.type == "group":
            index = item.group_type_index if item.group_type_index is not None else aggregation
            view = self.units.groups_of(index)
        matcher = server_matcher(item, self.clock, matching_version=self.matching_version)
        if view is None:
            return np.full(self.units.rows, matcher.absent, dtype=np.uint8)
        return view.answers(item.key, matcher)

    def _dependency(self, item: PropertyFilter) -> np.ndarray:
        target = self._referenced(item)
        if item.operator != "flag_evaluates_to" or target is None:
            return np.full(self.units.rows, NO, dtype=np.uint8)
        if target.key not in self._values:
            self._values[target.key] = self.evaluate(target)
        arm = self._values[target.key].arm
        if isinstance(item.value, bool):
            matches = (arm != OFF) == item.value
        elif isinstance(item.value, str):
            names = arms_of(target)
            wanted = [code for code in range(FIRST_VARIANT, len(names)) if names[code] == item.value]
            matches = np.isin(arm, wanted)
        else:
            matches = np.zeros(len(arm), dtype=bool)
        return np.where(arm < 0, INCONCLUSIVE, matches.astype(np.uint8)).astype(np.uint8)

    def _referenced(self, item: PropertyFilter) -> Flag | None:
        """The flag a filter names: by key in the local-evaluation form, by id in the stored form."""
        if "dependency_chain" in item.extra and item.key in self.flags:
            return self.flags[item.key]
        by_id = (flag for flag in self.flags.values() if flag.id is not None and str(flag.id) == item.key)
        return next(by_id, None) or self.flags.get(item.key)

    def _broken(self, flag: Flag, path: Sequence[str]) -> bool:
        """Whether a flag depends, at any depth, on a flag that is not there or on itself."""
        if flag.key in path:
            return True
        if not flag.active or flag.deleted:
            return False
        items = [item for c in (*flag.conditions, *flag.super_conditions[:1]) for item in c.properties]
        for item in items:
            if item.type == "flag":
                target = self._referenced(item)
                if target is None or self._broken(target, (*path, flag.key)):
                    return True
        return False

    def _cohort(self, item: PropertyFilter) -> np.ndarray:
        if item.operator not in ("in", "not_in"):
            return np.full(self.units.rows, NO, dtype=np.uint8)
        members = self._members(str(item.value), ())
        return negate(members) if item.operator == "not_in" else members

    def _members(self, cohort_id: str, path: tuple[str, ...]) -> np.ndarray:
        if cohort_id not in self._cohort_answers:
            definition = self.cohorts.get(cohort_id)
            if definition is None or cohort_id in path:
                answers = np.full(self.units.rows, INCONCLUSIVE, dtype=np.uint8)
            elif isinstance(definition, str | bytes) or not isinstance(definition, Iterable):
                raise PlanError(
                    f"cohort {cohort_id} is {definition!r}; expected its definition or a list of distinct ids"
                )
            elif isinstance(definition, Mapping):
                answers = self._group(definition, (*path, cohort_id))
            else:
                import pyarrow as pa
                import pyarrow.compute as pc

                texts = self.units.ids.texts
                listed = pc.is_in(texts, value_set=pa.array([str(v) for v in definition], type=texts.type))
                answers = listed.to_numpy(zero_copy_only=False).astype(np.uint8)
            self._cohort_answers[cohort_id] = answers
        return self._cohort_answers[cohort_id]

    def _group(self, definition: Mapping[str, Any], path: tuple[str, ...]) -> np.ndarray:
        """A cohort's nested AND and OR; what cannot be read matches nobody."""
        entries = definition.get("values") or []
        if not isinstance(entries, list):
            return np.full(self.units.rows, NO, dtype=np.uint8)
        every = definition.get("type", "AND") != "OR"
        combined = np.full(self.units.rows, YES if every or not definition else NO, dtype=np.uint8)
        for entry in entries:
            answers = self._entry(entry, path)
            combined = _both(combined, answers) if every else negate(_both(negate(combined), negate(answers)))
        return combined

    def _entry(self, entry: Any, path: tuple[str, ...]) -> np.ndarray:
        if not isinstance(entry, Mapping):
            return np.full(self.units.rows, NO, dtype=np.uint8)
        if not entry or "values" in entry or entry.get("type") in ("AND", "OR"):
            return self._group(entry, path)
        item = PropertyFilter.from_posthog(entry)
        if item.type == "cohort":
            answers = np.full(self.units.rows, NO, dtype=np.uint8)
            if item.operator in ("in", "not_in"):
                members = self._members(str(item.value), path)
                answers = negate(members) if item.operator == "not_in" else members
        else:
            answers = self._filter(item, None)
        return negate(answers) if item.negation else answers


def _both(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Three-valued AND: a no decides, else what cannot be told stays so."""
    either_no = (left == NO) | (right == NO)
    return np.maximum(left, right) * ~either_no
