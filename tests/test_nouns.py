"""What people write down shows itself: as the code that makes it, and as a table in a notebook."""

from enum import Enum
from inspect import isclass

import pandas as pd
import pytest

import canarykit as ck
from canarykit.simulate import Effect

HOSTILE = "<img src=x>"
FRAME = pd.DataFrame(
    {"event": ["paid"], "distinct_id": ["ada"], "timestamp": pd.to_datetime(["2026-09-07 09:00Z"])}
)
WHO = ck.PropertyFilter("plan", HOSTILE)
NOUNS = {
    "Condition": ck.Condition((WHO,), 25),
    "EventLog": ck.EventLog(FRAME.assign(**{HOSTILE: 1})),
    "Flag": ck.Flag("new-checkout", (ck.Condition((WHO,), 25),), (ck.Variant("a", 50), ck.Variant("b", 50))),
    "FlagSet": ck.FlagSet([ck.Flag(HOSTILE), ck.Flag("b", active=False)]),
    "Guardrail": ck.Guardrail("$exception", margin_ratio=1.25, name=HOSTILE),
    "Population": ck.Population(1_000, bots=0.01),
    "PropertyFilter": WHO,
    "RolloutPlan": ck.RolloutPlan("f", (ck.Stage.for_share(HOSTILE, 5),)),
    "Scenario": ck.Scenario(effects=[Effect("errors", 2.0)], error_rate=0.02),
    "Stage": ck.Stage.for_people("reporters", ["grace@navy.mil"], starts_at="2026-09-07T09:00:00Z"),
    "Variant": ck.Variant(HOSTILE, 50),
}
ELSEWHERE = {"StageReport", "PostHog"}  # a report has tests of its own; a connection shows no data


def test_every_public_noun_is_shown_here():
    nouns = {name for name in ck.__all__ if isclass(getattr(ck, name))}
    nouns -= {name for name in nouns if issubclass(getattr(ck, name), Exception | Enum)}
    assert nouns - ELSEWHERE == set(NOUNS)


@pytest.mark.parametrize("name", NOUNS)
def test_a_noun_is_a_table_in_a_notebook_and_nothing_in_it_runs(name):
    html = NOUNS[name]._repr_html_()
    assert html.startswith("<div>")
    assert "<img" not in html
    assert "<table" in html or name == "PropertyFilter"


@pytest.mark.parametrize("name", ["Condition", "Flag", "PropertyFilter", "Scenario", "Variant"])
def test_a_noun_prints_as_the_code_that_makes_it(name):
    made = eval(repr(NOUNS[name]), {**vars(ck), "Effect": Effect, **{n: getattr(ck, n) for n in ck.__all__}})
    assert made == NOUNS[name]


def test_only_what_differs_from_the_defaults_is_said():
    assert repr(ck.Flag("f")) == "Flag('f')"
    assert repr(ck.Flag("f", active=False)) == "Flag('f', active=False)"
    assert repr(NOUNS["Stage"]).count("starts_at='2026-09-07T09:00:00+00:00'") == 1
    assert "2026-09-07 09:00 UTC" in NOUNS["Stage"]._repr_html_()


def test_a_flag_set_lists_its_flags_and_a_log_says_where_its_events_are():
    assert "2 flags, 1 of them active" in NOUNS["FlagSet"]._repr_html_()
    assert "1 event in pandas" in NOUNS["EventLog"]._repr_html_()
