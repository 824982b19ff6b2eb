"""A harm that only some people have: named in the headline, by evidence split over all segments."""

import pytest

import canarykit as ck
from benchmarks.calibrate.segments import named_share
from canarykit import metrics
from canarykit.health.decision import Verdict
from canarykit.simulate import Effect, Step

PLAN = ck.RolloutPlan("f", (ck.Stage.for_share("half", 50, dwell="2d"),), starts_at="2026-09-07T09:00:00Z")
END = "2026-09-09T09:00:00Z"


def released(where, *, ratio=6.0):
    effects = [Effect("errors", ratio, where=where)]
    scenario = ck.Scenario(effects=effects, error_rate=0.05)
    return ck.simulate_rollout(PLAN, ck.Population(6000), scenario, rng=7, progress=False)


def judge(log, margin, *, roll_back_ratio=None, **options):
    guardrail = ck.Guardrail("$exception", margin_ratio=margin, roll_back_ratio=roll_back_ratio)
    return ck.evaluate_stage(log, PLAN, "half", guardrail, as_of=END, **options)


@pytest.fixture(scope="module")
def safari():
    return released({"browser": "Safari"})


def test_the_headline_names_the_segment_that_carries_the_harm_and_what_is_elsewhere(safari):
    report = judge(safari, 1.25)
    assert report.verdict is Verdict.ROLL_BACK
    assert "where $browser is Safari " in report.headline
    assert "x, elsewhere 1" in report.headline
    assert "(of 20 segments)." in report.headline
    (note,) = (note for note in report.notes if note.code == "segment")
    assert "split over 20 segments; E = " in str(note)
    assert "they differ, p < 0.001, Holm)" in str(note)
    assert ", above all where browser is Safari (" in report.summary()
    assert report.next_steps[-1] == (
        "Judge that segment alone with people={'$browser': 'Safari'}, and look at its sessions."
    )


def test_a_filter_that_no_event_passes_is_no_reassurance(safari):
    for value, is_told in (("Safari ", True), ("Safari", False)):
        guardrail = ck.Guardrail(metrics.ErrorShare("$exception", where={"$browser": value}))
        report = ck.evaluate_stage(safari, PLAN, "half", guardrail, as_of=END)
        told = [str(note) for note in report.notes if note.code == "nothing_passes"]
        assert bool(told) == is_told
        assert all("is each value written as the log has it" in text for text in told)


def test_the_step_to_a_segment_keeps_who_was_left_out_already(safari):
    given = [{"key": "$browser", "value": "Lynx", "operator": "is_not"}]
    step = judge(safari, 1.25, people=given).next_steps[-1]
    assert "people=[*those you gave, {'key': '$browser', 'value': 'Safari'}]," in step
    alone = judge(safari, 1.25, people=[*given, {"key": "$browser", "value": "Safari"}])
    assert alone.verdict is Verdict.ROLL_BACK


@pytest.mark.parametrize("stage, margin", [("half", 0.9), ("expanded beta 50 % of everyone", 0.5)])
def test_every_guardrail_that_harms_a_segment_is_named_in_the_headline_and_for_the_manager(stage, margin):
    plan = ck.RolloutPlan("f", (ck.Stage.for_share(stage, 50, dwell="2d"),), starts_at=PLAN.starts_at)
    safari = {"browser": "Safari"}
    effects = [Effect("errors", 6.0, where=safari), Effect("paid", 0.2, where=safari)]
    scenario = ck.Scenario(effects=effects, error_rate=0.05, steps=[Step("paid", 0.6)])
    log = ck.simulate_rollout(plan, ck.Population(6000), scenario, rng=7, progress=False)
    guardrails = [
        ck.Guardrail("$exception", margin_ratio=1.25),
        ck.Guardrail("paid", worse="lower", margin_ratio=margin),
    ]
    report = ck.evaluate_stage(log, plan, stage, guardrails, as_of=END)
    errors, payments = sorted(report.harmed_segments, key=lambda harm: harm.label)
    assert {errors.segment, payments.segment} == {"Safari"}
    assert len(report.headline) <= 160
    assert "people with $exception got worse (" in report.headline
    ratios = f"Safari {errors.here:.3g}x, people with paid {payments.here:.3g}x."
    assert report.headline.endswith(f"; where $browser is {ratios}")
    said = report.summary("manager")
    assert f", above all {in_words(errors)}" in said
    there = f"people with paid {in_words(payments)}"
    assert f"Also worse: {there}" in said or f"above all{there.removeprefix('people with paid')}" in said


def in_words(harm):
    """A segment with both arms' shares, as a message tells it."""
    with_it, without = (f"{100 * x / n:.3g} % of {n:,}" for x, n in harm.counts)
    return f"where browser is Safari ({with_it} with the flag, {without} without)"


def test_what_the_others_thin_out_is_not_promoted(safari):
    # as a whole within what is tolerated; in Safari alone far beyond
    report = judge(safari, 3.5, roll_back_ratio=1.5)
    assert report.check("people with $exception").status.value in ("ok", "small harm")
    assert report.verdict is Verdict.HOLD
    assert "got worse where $browser is Safari" in report.reason
    assert "it is not promoted while that stands" in report.reason
    (harm,) = report.harmed_segments
    assert report.summary("manager").splitlines() == [
        f"f: wait at {report.stage}",
        f"What: people with $exception got worse {in_words(harm)}. For all others nothing is proven.",
        *[line for line in report.summary("manager").splitlines() if line.startswith("Where: ")],
        "How sure: Sure that these people are worse off; not yet whether all others are well.",
        "Next: Turn it off where browser is Safari, or find out what is wrong there; until then nobody else "
        "gets it.",
    ]


def test_the_worst_segment_is_shown_where_harm_in_it_is_not_proven():
    report = judge(released({"browser": "Safari"}, ratio=3.0), 1.25)
    assert not report.harmed_segments
    assert "Safari" not in report.headline
    (note,) = (note for note in report.notes if note.code == "segment_unproven")
    table = report.section("by $browser").to_frame().set_index("segment")
    here = table.loc["Safari", "people with $exception, ratio"]
    assert here == table["people with $exception, ratio"].max()
    assert f"worst where $browser is Safari, {here:.3g}x, elsewhere " in str(note)
    for view in (repr(report), report.to_markdown(), report._repr_html_(), report.to_html()):
        assert "browser is Safari" in view.replace("\\", "")


def test_no_segment_is_singled_out_where_nothing_looks_worse():
    report = judge(released({}, ratio=1.0), 1.25)
    assert not [note for note in report.notes if note.code.startswith("segment")]


def test_a_segment_is_judged_alone_where_only_events_have_the_property(safari):
    log = ck.EventLog(safari.frame)
    whole = judge(log, 1.25).section("by $browser").to_frame().set_index("segment").loc["Safari"]
    alone = judge(log, 1.25, people={"$browser": "Safari"})
    assert (alone.n_canary, alone.n_control) == (whole["canary"], whole["control"])
    assert alone.verdict is Verdict.ROLL_BACK


def test_a_report_on_nobody_says_that_people_let_nobody_through(safari):
    report = judge(ck.EventLog(safari.frame), 1.25, people={"$browser": "Netscape"})
    assert report.next_steps == ("Nobody who was exposed passes people=: check its properties and values.",)


def test_people_behind_a_number_come_with_their_segments(safari):
    report = judge(safari, 1.25)
    hit = report.people("people with $exception")
    assert {"$browser", "$geoip_country_code"} <= set(hit)
    alone = report.people("people with $exception", segment={"$browser": "Safari"})
    assert set(alone["$browser"]) == {"Safari"}
    assert hit["$browser"].value_counts()["Safari"] == len(alone)
    assert "$browser" in report.people("people with $exception", happened=False)


def test_judging_one_segment_is_one_argument(safari):
    alone = judge(safari, 1.25, people={"$browser": "Safari"})
    others = judge(safari, 1.25, people=[{"key": "$browser", "value": "Safari", "operator": "is_not"}])
    assert alone.verdict is Verdict.ROLL_BACK
    assert alone.check("people with $exception").effect > 3
    assert others.check("people with $exception").effect < 1.6
    assert alone.n_canary + others.n_canary == judge(safari, 1.25).n_canary


def test_harm_that_everybody_has_names_no_segment():
    report = judge(released({}, ratio=3.0), 1.25)
    assert report.verdict is Verdict.ROLL_BACK
    assert "elsewhere" not in report.headline


def test_ratios_by_segment_are_columns_with_names(safari):
    frame = judge(safari, 1.25).section("by $browser").to_frame()
    assert list(frame.columns) == [
        "segment", "canary", "control", "share", "people with $exception, ratio",
    ]  # fmt: skip
    assert frame.loc[frame["segment"] == "Safari", "people with $exception, ratio"].item() > 3


@pytest.mark.slow
def test_a_segment_of_a_harmless_release_is_rarely_named():
    assert named_share(500, None) <= 0.05
    assert named_share(250, 1) > 0.9
