"""Comparison of two definitions: the union of the people an edit touches, by change and by set."""

import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import PlanError
from canarykit.flags import Condition, Flag, Holdout, PropertyFilter, Variant

PERSONS = pd.DataFrame({"distinct_id": [f"user-{i}" for i in range(1000)], "plan": ["pro", "free"] * 500})
HALVES = (Variant("control", 50), Variant("test", 50))
PRO = PropertyFilter("plan", "pro")


def flag(*conditions, **rest):
    return Flag("f", conditions, **rest)


def share(percent, *filters, **rest):
    return Condition(filters, percent, **rest)


def test_the_people_of_each_change_are_those_whose_value_differs_so():
    before, after = flag(share(30)), flag(share(10), share(60, PRO))
    change = ck.compare_flags(before, after, PERSONS)
    old, new = (ck.evaluate_flag(one, PERSONS)["value"] for one in (before, after))
    assert change.who("enters").index.tolist() == PERSONS.index[(old == "false") & (new == "true")].tolist()
    assert change.who("leaves").index.tolist() == PERSONS.index[(old == "true") & (new == "false")].tolist()
    assert change.affected == (old != new).sum()
    assert sum(change.count(kind) for kind in ("enters", "leaves", "stays")) == len(PERSONS)


def test_overlapping_sets_are_counted_once_not_added_up():
    before, after = flag(), flag(share(40), share(70, PRO), share(20))
    change = ck.compare_flags(before, after, PERSONS)
    alone = sum((ck.evaluate_flag(flag(c), PERSONS)["value"] == "true").sum() for c in after.conditions)
    assert change.affected == (ck.evaluate_flag(after, PERSONS)["value"] == "true").sum() < alone


def test_every_change_names_the_set_that_decides():
    change = ck.compare_flags(flag(share(100, PRO)), flag(share(0, PRO), share(10)), PERSONS)
    assert set(change.who("leaves")["decided_by"]) == {"set 1 (plan exact, 100 %)"}
    assert set(change.who("enters")["decided_by"]) == {"set 2 (everyone, 10 %)"}
    rows = change.to_frame()
    assert rows["people"].sum() == len(PERSONS)
    assert rows["share"].sum() == pytest.approx(1)


def test_a_changed_variant_is_neither_entering_nor_leaving():
    before = flag(share(100), variants=HALVES)
    after = flag(share(100, PRO, variant="test"), share(100), variants=HALVES)
    change = ck.compare_flags(before, after, PERSONS)
    moved = change.who("changes variant")
    assert len(moved) == change.affected > 0
    assert set(moved["before"]) == {"control"}
    assert set(moved["after"]) == {"test"}
    assert set(PERSONS.loc[moved.index, "plan"]) == {"pro"}


def test_people_put_into_a_holdout_leave():
    change = ck.compare_flags(flag(share(100)), flag(share(100), holdout=Holdout(1, 20)), PERSONS)
    assert set(change.who("leaves")["after"]) == {"holdout-1"}
    assert change.count("leaves") == change.affected > 0


def test_a_new_flag_lets_people_in_and_a_removed_one_takes_it_from_them():
    new, gone = (
        ck.compare_flags(*pair, PERSONS) for pair in ((None, flag(share(30))), (flag(share(30)), None))
    )
    assert new.count("enters") == gone.count("leaves") == new.affected > 0
    assert gone.key == "f"


def test_values_that_cannot_be_told_are_kept_apart():
    unknown = flag(share(100, PropertyFilter("id", 9, type="cohort")))
    change = ck.compare_flags(flag(share(0)), unknown, PERSONS)
    assert change.count("cannot be told") == len(PERSONS)
    assert change.affected == 0


def test_renaming_a_flag_is_noted():
    change = ck.compare_flags(flag(share(50)), Flag("g", (share(50),)), PERSONS)
    assert change.affected > 0
    assert "everyone is dealt anew" in repr(change)


def test_nothing_changes_where_nothing_is_edited():
    change = ck.compare_flags(flag(share(50)), flag(share(50)), PERSONS)
    assert change.affected == 0
    assert repr(change).startswith("f: nothing changes for any of 1,000 people.")


def test_two_nothings_and_a_mistyped_change_are_refused():
    with pytest.raises(PlanError, match="both None"):
        ck.compare_flags(None, None, PERSONS)
    with pytest.raises(PlanError, match=r"no change 'enter'; .*Did you mean 'enters'"):
        ck.compare_flags(flag(), flag(), PERSONS).who("enter")
