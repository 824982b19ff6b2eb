"""A flag with several variants: each against the control, and one verdict for the release."""

from dataclasses import replace

import pytest

import canarykit as ck
from benchmarks.calibrate.arms import any_rolled_back
from canarykit.errors import PlanError
from canarykit.health import recompute
from canarykit.health.decision import Verdict
from canarykit.health.report.release_report import release_verdict
from canarykit.simulate import Effect

VARIANTS = [ck.Variant("control", 34), ck.Variant("a", 33), ck.Variant("b", 33)]
PLAN = ck.RolloutPlan(
    "f",
    (
        ck.Stage.for_share("most", 90, dwell="2d"),
        ck.Stage.for_everyone("still drawn", dwell="2d"),
    ),
    starts_at="2026-09-07T09:00:00Z",
    variants=VARIANTS,
)
ERRORS = ck.Guardrail("$exception", margin_ratio=2.0, roll_back_ratio=1.0)


@pytest.fixture(scope="module")
def log():
    scenario = ck.Scenario(effects=[Effect("errors", 3, variant="b")], error_rate=0.05)
    return ck.simulate_rollout(PLAN, ck.Population(6000), scenario, rng=7, progress=False)


def judge(log, stage="most", guardrails=ERRORS, *, plan=PLAN, **options):
    return ck.evaluate_stage(log, plan, stage, guardrails, as_of=plan.window(stage)[1], **options)


@pytest.fixture(scope="module")
def report(log):
    return judge(log)


def test_every_variant_is_judged_against_the_control_in_one_report(report):
    assert {key: one.verdict.value for key, one in report.by_variant.items()} == {
        "a": "promote",
        "b": "roll back",
    }
    assert report.verdict is Verdict.HOLD
    assert "take b out" in report.reason
    assert report.next_steps[0] == "Set b to 0 % of the flag's variants."
    text = str(report)
    for line in ("a  ", "b  ", "▼ roll back", "split over them", "none is called the best"):
        assert line in text
    assert report.check("b: people with $exception").status.value == "harm"
    people = report.people("b: people with $exception")
    assert set(people["variant"]) == {"b"}


def test_the_error_is_split_over_the_variants_served_even_where_only_one_is_asked_for(log, report):
    # two variants: twenty becomes forty
    needed = [one.series.thresholds["roll back"] for one in report.by_variant.values()]
    assert needed == pytest.approx([40, 40])
    alone = judge(log, variants="a")
    assert alone.verdict is Verdict.PROMOTE
    assert alone.series.thresholds["roll back"] == pytest.approx(40)
    assert alone.n_canary == report.by_variant["a"].n_canary
    with pytest.raises(PlanError, match=r"variants names 'c'; beside the control there is \['a', 'b'\]"):
        judge(log, variants=["a", "c"])


def test_a_critical_guardrail_harmed_by_one_variant_rolls_the_release_back(log):
    critical = judge(
        log, guardrails=ck.Guardrail("$exception", margin_ratio=2.0, roll_back_ratio=1, critical=True)
    )
    assert critical.verdict is Verdict.ROLL_BACK
    assert "so the whole release goes back" in critical.reason
    assert critical.exit_code == 20
    assert recompute(critical.to_json())[0] is Verdict.ROLL_BACK


def test_the_release_is_promoted_only_if_all_that_were_asked_for_are():
    promote, hold, back = Verdict.PROMOTE, Verdict.HOLD, Verdict.ROLL_BACK
    cases = [
        ((promote, promote), (False, False), promote),
        ((promote, hold), (False, False), hold),
        ((promote, back), (False, False), hold),
        ((promote, back), (False, True), back),
        ((back, back), (False, False), back),
        ((hold, hold), (False, False), hold),
    ]
    for verdicts, critical, expected in cases:
        pair = dict(zip("ab", verdicts, strict=True)), dict(zip("ab", critical, strict=True))
        assert release_verdict(*pair) is expected


def test_any_variant_can_be_the_control(log):
    against_b = judge(log, plan=replace(PLAN, control="b", canary="a"))
    assert list(against_b.by_variant) == ["control", "a"]
    assert against_b.by_variant["a"].check("people with $exception").effect < 0.7


def test_a_full_release_that_goes_on_drawing_variants_is_compared(log):
    report = judge(log, "still drawn")
    assert report.kind == "percentage"
    assert set(report.by_variant) == {"a", "b"}
    assert "still got another value" not in report.to_markdown()


def test_the_stage_says_which_variants_it_serves_and_to_how_many():
    assert PLAN.served("most") == ("a", "b")
    assert PLAN.shares("still drawn") == pytest.approx({"false": 0, "control": 0.34, "a": 0.33, "b": 0.33})
    plan = ck.RolloutPlan(
        "f",
        (ck.Stage.for_people("one", ["ada@acme.io"], variant="b"), ck.Stage.for_everyone(variant="b")),
        variants=VARIANTS,
    )
    assert plan.served("one") == plan.served("full release") == ("b",)
    assert plan.shares("full release") == {"b": 1.0}


def test_values_of_the_page_and_the_pictures_are_those_of_every_variant(report):
    page = report.to_html()
    assert page.count("Evidence of harm of") >= 2
    labels = [label.get_text() for label in report.plot().get_yticklabels()]
    assert [label.split(":")[0] for label in labels] == ["a", "b"]
    assert report.plot_evidence().get_title(loc="left").startswith("b: ")


@pytest.mark.parametrize("arms", [2, 4])
def test_a_harmless_release_of_several_variants_is_rarely_rolled_back(arms):
    assert any_rolled_back(arms, 500) <= 0.05
    assert any_rolled_back(arms, 500, ratio=2.0) > 0.8
