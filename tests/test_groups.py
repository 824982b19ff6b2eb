"""Groups reach an evaluation as people hold them."""

import pandas as pd

from canarykit.assign import evaluate_flag
from canarykit.flags import Condition, Flag, PropertyFilter


def test_groups_may_come_in_one_table_of_all_types_as_exports_have_it():
    persons = pd.DataFrame({"distinct_id": ["a", "b"], "$group_0": ["g1", "g2"]})
    groups = pd.DataFrame(
        {"group_type_index": [0, 1, 0], "group_key": ["g1", "g1", "g2"], "name": ["acme", "other", "initech"]}
    )
    named = PropertyFilter("name", ["acme"], type="group", group_type_index=0)
    flag = Flag("f", (Condition((named,), 100, aggregation_group_type_index=0),))
    types = {0: "organization", 1: "project"}
    apart = {"organization": groups[groups["group_type_index"] == 0]}
    whole = evaluate_flag(flag, persons, groups=groups, group_type_mapping=types)
    assert whole["value"].tolist() == ["true", "false"]
    pd.testing.assert_frame_equal(whole, evaluate_flag(flag, persons, groups=apart, group_type_mapping=types))
