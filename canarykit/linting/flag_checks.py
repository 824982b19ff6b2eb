"""Checks of one flag definition: sets that never decide, variants, early access, holdouts, dependencies."""

from __future__ import annotations

from collections.abc import Iterator

from canarykit.assign.outcome import CODE, ON
from canarykit.flags import Condition, Flag, FlagSet, PropertyFilter
from canarykit.flags.lossless import Unset
from canarykit.linting.audience import People
from canarykit.linting.filter_checks import check_filter
from canarykit.linting.findings import Finding


def check_definition(flag: Flag, flags: FlagSet, people: People | None) -> Iterator[Finding]:
    """Everything to say about a flag by itself."""
    if flag.config_version == 2:
        what = "the version 2 configuration (typed rules) cannot be recomputed or checked here"
        yield Finding("version 2 configuration", "note", flag.key, "filters", what, "use the observed values")
        return
    for index, condition in enumerate(flag.conditions):
        where = f"set {index + 1}"
        for number, item in enumerate(condition.properties):
            at = f"{where}, filter {number + 1}"
            if item.type in ("cohort", "flag"):
                yield from _reference(flag, item, at, flags)
            else:
                yield from check_filter(flag, item, at, people)
        yield from _set(flag, condition, where)
        yield from _hidden(flag, index, people)
    yield from _variants(flag, people)
    yield from _holdout(flag, people)
    yield from _modes(flag, people)


def _set(flag: Flag, condition: Condition, where: str) -> Iterator[Finding]:
    share = condition.rollout_percentage
    if share is not None and not 0 <= share <= 100:
        what = f"the rollout percentage is {share:g}"
        yield Finding(
            "percentage out of range", "error", flag.key, where, what, "write a number from 0 to 100"
        )
    keys = [variant.key for variant in flag.variants]
    if condition.variant and condition.variant not in keys:
        what = f"the override {condition.variant!r} is not a variant of the flag; the hash decides instead"
        mend = f"choose one of {keys}" if keys else "remove the override: the flag has no variants"
        yield Finding("unknown override", "error", flag.key, where, what, mend)


def _hidden(flag: Flag, index: int, people: People | None) -> Iterator[Finding]:
    """A set that an earlier, wider one decides for everyone it could match."""
    condition = flag.conditions[index]
    for before in range(index):
        wider = flag.conditions[before]
        if not _same_units(wider, condition, flag) or not _fewer_filters(wider, condition):
            continue
        first, later = _share(wider), _share(condition)
        covers, exits = first >= later, flag.early_exit and first < 100
        if not (covers or exits):
            continue
        affected = None
        if people is not None:
            affected = int(people.holds_all(condition, flag).sum())
        if covers:
            what = f"everyone it matches is already decided by set {before + 1}, which is as wide or wider"
            yield Finding(
                "hidden condition set", "warning", flag.key, f"set {index + 1}", what,
                f"put it before set {before + 1}, or remove it", affected,
            )  # fmt: skip
        else:
            what = f"early exit stops at set {before + 1} for everyone that its {first:g} % leave out"
            yield Finding(
                "early exit hides a set", "warning", flag.key, f"set {index + 1}", what,
                "raise the first percentage instead of adding a set, or switch early exit off", affected,
            )  # fmt: skip
        return


def _same_units(left: Condition, right: Condition, flag: Flag) -> bool:
    def unit(condition: Condition) -> int | None:
        group_type = condition.aggregation_group_type_index
        return flag.aggregation_group_type_index if isinstance(group_type, Unset) else group_type

    return unit(left) == unit(right)


def _fewer_filters(wider: Condition, narrower: Condition) -> bool:
    """Whether every filter of the first set is one of the second's, so that it matches at least as many."""
    return all(any(item == other for other in narrower.properties) for item in wider.properties)


def _share(condition: Condition) -> float:
    return 100.0 if condition.rollout_percentage is None else condition.rollout_percentage


def _variants(flag: Flag, people: People | None) -> Iterator[Finding]:
    """Findings about variants: repeated keys, shares that do not sum to 100, nobody's variant."""
    if not flag.variants:
        return
    total = sum(variant.rollout_percentage for variant in flag.variants)
    keys = [variant.key for variant in flag.variants]
    if len(set(keys)) < len(keys):
        what = f"two variants have the same key: {keys}"
        yield Finding("repeated variant", "error", flag.key, "variants", what, "rename one")
    if abs(total - 100) > 1e-9:
        plain = None if people is None else int((people.outcome(flag).arm == ON).sum())
        left = "get no variant, only true" if total < 100 else "never see the last variants as announced"
        what = f"the shares of the variants sum to {total:g} %, not 100 %: some {left}"
        yield Finding(
            "variants do not sum to 100",
            "error",
            flag.key,
            "variants",
            what,
            "make the shares sum to 100",
            plain,
        )
    if len(flag.variants) > 2 and len({v.rollout_percentage for v in flag.variants}) > 1:
        what = (
            "variants lie one after the other: a share that grows moves everyone behind it to another variant"
        )
        mend = "grow the rollout percentage instead, or put the growing variant last"
        yield Finding("contiguous variant ranges", "note", flag.key, "variants", what, mend)
    unknown = sorted(set(flag.payloads) - set(keys))
    if unknown:
        what = f"payloads name {unknown}, which are no variants"
        yield Finding("unknown payload", "warning", flag.key, "payloads", what, f"use {keys}")


def _holdout(flag: Flag, people: People | None) -> Iterator[Finding]:
    if flag.holdout is None:
        return
    held_out = min(max(float(flag.holdout.exclusion_percentage), 0.0), 100.0)
    smallest = 100.0
    if flag.variants:
        smallest = min(variant.rollout_percentage for variant in flag.variants)
    elif flag.conditions:
        smallest = 100 - max((_share(c) for c in flag.conditions if not c.properties), default=0.0)
    if held_out < 100 and held_out < max(smallest, 1e-9):
        return
    affected = None
    if people is not None:
        affected = int((people.outcome(flag).reason == CODE["holdout_condition_value"]).sum())
    what = (
        f"the holdout keeps out {held_out:g} % of everyone; the smallest arm is meant to have {smallest:g} %"
    )
    if held_out == 100:
        what = "the holdout keeps out everyone"
    yield Finding(
        "holdout eats the control", "error" if held_out == 100 else "warning", flag.key, "holdout", what,
        f"lower the holdout; people in it are {flag.holdout.value!r}, never control", affected,
    )  # fmt: skip


def _modes(flag: Flag, people: People | None) -> Iterator[Finding]:
    if flag.ensure_experience_continuity:
        what = "the value is kept across login through ids that are not exported: it cannot be recomputed"
        mend = "bucket by device id, or evaluate only after login; until then use the observed values"
        yield Finding("experience continuity", "warning", flag.key, "flag", what, mend)
    if flag.bucketing_identifier == "device_id":
        missing = None
        if people is not None:
            devices = people.units.devices
            missing = people.units.rows if devices is None else int(devices.empty.sum())
        what = "devices are bucketed: a person may see both arms, and nobody is in without a device id"
        yield Finding(
            "device bucketing", "note", flag.key, "flag", what, "analyse by device, or bucket people", missing
        )
    if (flag.feature_enrollment or flag.super_conditions) and flag.variants:
        what = "people who enrol get true, not a variant"
        yield Finding(
            "early access with variants", "warning", flag.key, "early access", what, "use a boolean flag"
        )
    for condition in (*flag.conditions, *flag.super_conditions):
        for item in condition.properties:
            room, slash, other = item.key.partition("/")
            if room == "$feature_enrollment" and slash and other != flag.key:
                what = f"reads who enrolled in {other!r}: joining {flag.key!r} changes nothing"
                mend = f"ask for $feature_enrollment/{flag.key}"
                yield Finding("enrolment of another flag", "warning", flag.key, "early access", what, mend)
    if flag.active and not flag.conditions:
        yield Finding("no condition set", "note", flag.key, "filters", "nobody is in", "add a condition set")


def _reference(flag: Flag, item: PropertyFilter, where: str, flags: FlagSet) -> Iterator[Finding]:
    if item.type == "cohort":
        if item.operator not in ("in", "not_in"):
            what = f"a cohort is compared by {item.operator!r}; the server matches nobody"
            yield Finding("cohort operator", "error", flag.key, where, what, "use in or not_in")
        if flags.cohorts and str(item.value) not in flags.cohorts:
            what = (
                f"cohort {item.value} is not defined here; if it is static, only the server knows who is in"
            )
            yield Finding(
                "unknown cohort", "note", flag.key, where, what, "pass its members as cohorts={id: ids}"
            )
        return
    if not len(flags):
        return
    named = [other for other in flags.values() if item.key in (other.key, str(other.id))]
    if not named:
        what = f"it depends on flag {item.key!r}, which does not exist: the flag is off for everyone"
        yield Finding(
            "missing dependency", "error", flag.key, where, what, "remove the filter or restore the flag"
        )
    elif not named[0].active and item.value is not False:
        what = f"it depends on flag {named[0].key!r}, which is disabled: the set never matches"
        yield Finding(
            "disabled dependency", "error", flag.key, where, what, "enable that flag or remove the filter"
        )
