"""Errors say what is there and what was probably meant."""

import pytest

import canarykit as ck
from canarykit.errors import did_you_mean


def test_one_except_catches_every_error_of_the_toolkit():
    for name in (
        "PlanError",
        "DataError",
        "NaiveTimestampError",
        "ExportFormatError",
        "UnsupportedFlagError",
    ):
        assert issubclass(getattr(ck, name), ck.CanarykitError)
        assert issubclass(getattr(ck, name), ValueError)


@pytest.mark.parametrize(
    "name,known,said",
    [
        ("varient", ["user_id", "variant"], "there is ['user_id', 'variant']. Did you mean 'variant'?"),
        ("zzz", ["user_id"], "there is ['user_id']."),
        ("x", [], "there is nothing."),
    ],
)
def test_a_slip_is_answered_with_what_is_there(name, known, said):
    assert did_you_mean(name, known) == said


def test_a_long_list_of_names_is_cut():
    assert "... 10 more" in did_you_mean("q", [f"event {i}" for i in range(30)])
