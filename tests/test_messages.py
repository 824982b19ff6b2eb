"""Messages that leave the notebook say what the report says, in words, in the form their place reads."""

import re

import pytest

import canarykit as ck
from canarykit import metrics
from canarykit.messages import Message

HOSTILE = "**PROMOTE** <script> `rm` @here\n::set-output x::"


@pytest.fixture(scope="module")
def sample():
    data = "sample_data"
    log = ck.read_posthog(f"{data}/events.parquet", persons=f"{data}/persons.parquet")
    return log, ck.RolloutPlan.from_json(f"{data}/plan.json")


@pytest.fixture(scope="module")
def bad_stage(sample):
    log, plan = sample
    stage = "expanded beta 5%"
    guardrails = [
        ck.Guardrail("$exception", margin_ratio=1.5),
        ck.Guardrail(metrics.Conversion("paid", within="1d"), margin_ratio=0.9),
    ]
    return ck.evaluate_stage(log, plan, stage, guardrails=guardrails, as_of=plan.window(stage)[1])


def every_stage(sample):
    """Reports of every stage of the release, young and at its end: all verdicts and kinds of stage."""
    log, plan = sample
    for stage in plan.stage_names:
        start, end = plan.window(stage)
        ends = [end] if end is not None else [log.time_range[1]]
        for as_of in (start + (ends[0] - start) / 50, *ends):
            yield ck.evaluate_stage(log, plan, stage, as_of=as_of)


def test_every_message_to_everybody_in_every_form_is_short_whole_and_plain(sample):
    verdicts = set()
    for report in every_stage(sample):
        verdicts.add(report.verdict.value)
        for audience in ("manager", "team", "release notes"):
            text = report.summary(audience)
            title, *lines = text.splitlines()
            assert len(title) <= 160
            assert len(lines) <= 4 or audience == "team"
            assert all(re.fullmatch(r"[^:]+: .+[.)]|(As of|Since): .+ \d{4}", line) for line in lines), text
            assert not re.search(r"\b(None|nan|NaN|inf)\b|  |\.\.|[,;] ?\.|\( *\)|\{|\}", text), text
            if audience != "team":
                assert not re.search(r"\bE =|\bp [<=]|±|\blog\b|e-value|\bmargin\b|confidence", text), text
            forms = {"markdown": r"\*\*.+\*\*", "slack": r"\*.+\*", "html": "<p><b>.+</b></p>"}
            for style, form in forms.items():
                shown = report.summary(audience, style=style)
                assert re.match(form, shown)
                assert len(re.findall(r"^- |^• |<li>", shown, re.MULTILINE)) == len(lines)
    assert verdicts == {"promote", "hold", "roll back"}


def test_a_managers_message_has_five_lines_and_no_symbol_of_statistics(bad_stage):
    message = bad_stage.summary()
    assert message.splitlines()[0] == "new-checkout: roll back"
    assert len(message.splitlines()) == 5
    assert not re.search(r"\bE =|p <|\bratio\b|±|log|margin", message)


def test_the_shares_of_a_message_are_those_of_the_report(bad_stage):
    worst = bad_stage.check("people with $exception")
    message = bad_stage.summary()
    assert f"{100 * worst.canary.value:.1f} % of {worst.canary.total:,} with the flag" in message
    assert f"{bad_stage.n_control:,} without" in message


def test_each_guardrail_that_got_worse_is_named_with_how_much(bad_stage):
    what = bad_stage.summary().splitlines()[1]
    assert re.search(r"people with \$exception: .* without, [\d.]+ times as many", what)
    assert re.search(r"paid within 1d: .* without, \d+ % fewer", what)


def test_a_message_says_how_often_its_rule_is_wrong(bad_stage):
    level = bad_stage.audit["rules"]["alpha_rollback"]
    assert (
        f"at most {100 * level:.3g} in 100 harmless releases are ever rolled back in this stage"
        in bad_stage.summary()
    )


def test_times_of_a_message_are_in_the_zone_asked_for(bad_stage):
    assert "2026-09-14 11:00 CEST" in bad_stage.summary(tz="Europe/Berlin")
    assert "2026-09-14 09:00 UTC" in bad_stage.summary()


def test_a_team_reads_every_guardrail(bad_stage):
    message = bad_stage.summary("team")
    assert all(c.name in message for c in bad_stage.checks if c.kind == "guardrail")


def test_a_release_that_was_taken_back_is_announced_as_such(bad_stage):
    assert bad_stage.summary("release notes").startswith("new-checkout is to be taken back")


def test_chosen_people_are_never_said_to_prove_anything(sample):
    log, plan = sample
    guardrail = ck.Guardrail("$exception", limit=0.9)
    report = ck.evaluate_stage(log, plan, "beta", guardrail, as_of=plan.window("beta")[1])
    assert "chosen, not randomised" in report.summary()


@pytest.mark.parametrize("argument, message", [
    ({"audience": "boss"}, "audience is 'boss'; there is .*manager"),
    ({"style": "word"}, "style is 'word'; there is .*slack"),
    ({"tz": "Europe/Berln"}, "Europe/Berln.*Europe/Berlin"),
])  # fmt: skip
def test_what_is_not_known_is_refused_with_what_is(bad_stage, argument, message):
    with pytest.raises(ck.CanarykitError, match=message):
        bad_stage.summary(**argument)


@pytest.mark.parametrize("style, forbidden", [
    ("text", "\n::"), ("markdown", "<script>"), ("markdown", " **PROMOTE**"), ("slack", "<script>"),
    ("slack", "`rm`"), ("html", "<script>"),
])  # fmt: skip
def test_what_a_visitor_wrote_stays_text(style, forbidden):
    assert forbidden not in Message("flag", (("What", HOSTILE),)).render(style)


def test_a_funnels_message_counts_what_the_funnel_counts(sample):
    log, plan = sample
    funnel = ck.funnel_by_flag(
        log, ["signup started", "signup finished", "paid"], plan=plan, stage="expanded beta 5%",
        within="1d", attribution="exposure",
    )  # fmt: skip
    message = funnel.summary()
    for row in funnel.rows:
        if row["step"] == 3:
            assert f"({row['count']:,} of {row['people']:,}" in message
    assert funnel.summary(style="markdown").startswith("**From exposure to paid by new-checkout**")


def test_the_message_that_a_stage_starts_says_who_gets_it_and_what_to_watch(sample):
    _, plan = sample
    text = plan.announcement("internal team", watch=["exceptions in Safari"])
    assert "acme.io" in text
    assert "Please watch: exceptions in Safari." in text


def test_a_flag_is_not_to_be_cleaned_up_while_not_everyone_has_it():
    half = ck.Stage.for_share("half", 50, dwell="2d")
    starts_at = "2026-09-07T09:00Z"
    plan = ck.RolloutPlan("f", (half,), starts_at=starts_at)
    scenario = ck.Scenario(error_rate=0.05)
    log = ck.simulate_rollout(plan, ck.Population(6000), scenario, rng=3, progress=False)
    guardrail = ck.Guardrail("$exception", margin_ratio=3)
    for stages, step in (
        ((half,), "Go on to a larger share: the plan ends here, and not everyone has the feature yet."),
        ((half, ck.Stage.for_everyone("all")), "Go on to 'all'."),
    ):
        plan = ck.RolloutPlan("f", stages, starts_at=starts_at)
        report = ck.evaluate_stage(log, plan, "half", guardrail, as_of="2026-09-09T09:00Z")
        assert report.verdict.value == "promote"
        assert report.summary().splitlines()[-1] == f"Next: {step}"
