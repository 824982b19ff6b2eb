"""A headline is read at a glance: at most 160 signs, whatever flags, stages and guardrails are called."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.counting import in_brief
from canarykit.display import Column, Result, Table
from canarykit.health.checks.check import Arm, Check, Status
from canarykit.health.decision import Row
from canarykit.health.evidence.segment_harm import SegmentHarm
from canarykit.health.page.timeline import stage_line
from canarykit.health.report.reasons import comparison_reason
from canarykit.health.report.release_report import release_report
from canarykit.health.report.stage_report import StageReport
from tests.release import FLAG, STAGE, judge, make_release

WORDS = (
    "checkout",
    "paid",
    "with",
    "coupon",
    "$exception",
    "within 7d",
    "Überweisung",
    "of-the-new-one",
    "x",
)
ROWS = [row for row in Row if row is not Row.CRITICAL_MISSING]
START = pd.Timestamp("2026-09-07T09:00:00Z")


def some_name(rng, most=120):
    """A name of up to `most` signs, of words or without a blank."""
    length, glue = rng.integers(1, most + 1), rng.choice([" ", "-", ""])
    name = glue.join(rng.choice(WORDS, size=40))[:length].strip()
    return name or "a"


def some_check(rng, kind, status):
    total = int(rng.integers(1, 10**7))
    arms = [Arm(k, total, k / total) for k in rng.integers(0, total, 2)]
    ratio = float(rng.uniform(0.2, 5))
    meaning = " ".join(
        some_name(rng, 60) + rng.choice([".", ":", ",", ""]) for _ in range(rng.integers(1, 8))
    )
    return Check(
        some_name(rng), kind, status, meaning, canary=arms[0], control=arms[1], effect=ratio,
        effect_low=ratio * 0.9, effect_high=ratio * 1.2, margin=1.25, hoped=1.0, roll_back=1.0,
        evidence=float(rng.uniform(0, 1e9)), needed=20.0, by_ramp=bool(rng.random() < 0.2),
        crossed_at=START if rng.random() < 0.5 else None,
    )  # fmt: skip


def some_report(rng, flag, stage):
    """A report of random checks, whose row and reason fit them."""
    row = ROWS[rng.integers(len(ROWS))]
    status = {Row.HARM: Status.HARM, Row.TOLERATED_HARM: Status.TOLERATED, Row.SAFE: Status.OK,
              Row.LIMIT_BREACHED: Status.BREACH}.get(row, Status.WAIT)  # fmt: skip
    bad = row in (Row.NOT_VALID_YET, Row.INVALID) or (row is Row.GO_ON and rng.random() < 0.3)
    data = replace(some_check(rng, "validity", Status.OK), name="data")
    validity = [
        some_check(rng, "validity", Status.HOLD if bad else Status.OK) for _ in range(rng.integers(1, 5))
    ]
    judged = [some_check(rng, "guardrail", status) for _ in range(rng.integers(1, 9))]
    checks = (data, *validity, *judged)
    named = SegmentHarm(judged[0].name, some_name(rng), some_name(rng), 3.0, 1.1, 1e4, 400.0, 20, 0.001)
    segments = (named,) if rng.random() < 0.4 else ()
    known = SimpleNamespace(
        question=SimpleNamespace(stage=stage), dwell_left=0.0, too_many_unusable=False, open_gaps=False
    )
    return StageReport(
        flag=flag, stage=stage, kind="percentage", share=0.25, starts_at=START, ends_at=None,
        as_of=START + pd.Timedelta(days=2), verdict=row.verdict, row=row,
        reason=comparison_reason(known, row, checks, segments), n_canary=100, n_control=300, checks=checks,
        harmed_segments=segments,
        audit={"guardrails": [{"critical": bool(rng.random() < 0.5)} for _ in judged]},
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_no_headline_of_any_report_is_longer_than_160_signs(seed):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        flag, stage = some_name(rng), some_name(rng)
        one = some_report(rng, flag, stage)
        variants = {some_name(rng): some_report(rng, flag, stage) for _ in range(rng.integers(1, 6))}
        together = release_report(variants, control="control", arms=len(variants))
        for report in (one, together):
            assert len(report.headline) <= 160
            assert report.headline.startswith(f"{report.verdict.icon} {report.verdict.value.upper()}: ")
            assert report.to_dict()["headline"] == str(report).split("\n")[0] == report.headline
            assert len(stage_line(report, "report.html")["reason"]) <= 160
            assert len(report.summary().split("\n")[0]) <= 160
            assert report.to_dict()["reason"] == report.reason  # all of it


def test_the_worst_guardrail_is_named_and_the_others_counted():
    rng = np.random.default_rng(1)
    names = [f"{k}: {some_name(rng)}" for k in range(4)]
    checks = [replace(some_check(rng, "guardrail", Status.HARM), name=name, evidence=10.0**k, by_ramp=False,
                      effect=2.0, canary=Arm(2, 4, 0.5), control=Arm(1, 4, 0.25))
              for k, name in enumerate(names)]  # fmt: skip
    known = SimpleNamespace(question=SimpleNamespace(stage="half"))
    reason = comparison_reason(known, Row.HARM, checks)
    assert reason.startswith(f"half: {names[3]} got worse")
    assert reason.endswith("; 3 others too.")


def test_a_long_name_is_shortened_in_the_middle_above_and_whole_below():
    name = "people who saw the confirmation of a payment with one click and without a coupon within a day"
    log = make_release(n=1500, harm=4.0, seed=3)
    report = judge(log, guardrails=ck.Guardrail("$exception", name=name))
    assert report.verdict.value == "roll back"
    assert name not in report.headline
    assert "people who saw" in report.headline
    assert "within a day got worse" in report.headline
    assert STAGE in report.headline
    for whole in (str(report).split("\n", 1)[1], report.to_html(), report._repr_html_(), report.summary()):
        assert name in whole
    assert FLAG in report.summary().split("\n")[0]


def test_what_decides_stays_and_what_explains_gives_way():
    text = "stage: paid got worse (3 of 20 (15.0 %) with the canary, 9 of 90 (10.0 %) without); speed too."
    assert in_brief(text) == text
    assert (
        in_brief(text, room=80)
        == "stage: paid got worse (15.0 % with the canary, 10.0 % without); speed too."
    )
    assert in_brief(text, room=70) == "stage: paid got worse (15.0 % with the canary, 10.0 % without) …"
    held = "stage: people are missing from one arm: no comparison can be trusted (and 2 more)."
    assert in_brief(held, room=64) == "stage: people are missing from one arm … (and 2 more)."


def test_any_result_shortens_what_its_table_has_whole():
    from dataclasses import dataclass

    name = "signed up with the new form after a visit of the pricing page " * 2

    @dataclass(frozen=True, repr=False, eq=False)
    class Answer(Result):
        def _headline(self):
            return f"{name.strip()} fell from 20 % to 10 %, most of all in the first hour after the visit"

        def _table(self):
            return Table.of((Column("step", "step"),), [(name.strip(),)])

    answer = Answer()
    first, rest = str(answer).split("\n", 1)
    assert len(first) <= 160
    assert first.endswith("in the first hour after the visit")
    assert name.strip() in rest
    assert answer.to_dict()["headline"] == first
