"""Operating characteristics, small: every table of `python -m benchmarks calibrate`, with few rollouts.

The tolerance is that of the tables: a null rate at most its bound plus three standard errors of so few
rollouts, other rates within three standard errors of theirs and of their reference's, delays and people
within 10 %. Of the tables with dozens of lines one in thirty may miss that by chance.
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import canarykit as ck  # noqa: E402
from benchmarks import __main__ as command  # noqa: E402
from benchmarks import calibrate  # noqa: E402
from benchmarks.calibrate import failed_flags, oracle, simulated_and_judged  # noqa: E402
from benchmarks.tables.judged import judged  # noqa: E402
from canarykit.compiler import can_compile  # noqa: E402

START = pd.Timestamp("2026-09-07T00:00:00Z")
HOUR = 3_600_000_000
RUNS = {
    "brownian": 1000,
    "harm_budget": 1500,
    "organisations": 100,
    "looks": 200,
    "heavy_tails": 100,
    "amounts_that_fell": 20,
    "several_arms": 200,
    "logins": 20,
    "flags_that_failed": 50,
    "events_to_harm": 40,
    "agreement": 24,
    "late_arms": 1,
    "people_to_a_mismatch": 40,
}
SEEDS = {"brownian": 34, "ramp": 33}


@pytest.fixture(scope="module")
def tables():
    by_name = {}
    for part in calibrate.PARTS:
        name = part.__name__
        seed = {"rng": SEEDS[name]} if name in SEEDS else {}
        by_name[name] = list(part(RUNS.get(name, 400), **seed))
    return by_name


@pytest.mark.parametrize("name", [part.__name__ for part in calibrate.PARTS])
def test_operating_characteristics_are_where_they_should_be(tables, name):
    off = [line for line in tables[name] if not line["ok"]]
    assert len(off) <= len(tables[name]) // 30, off


def test_every_null_rate_keeps_its_bound(tables):
    lines = [line for table in tables.values() for line in table if "bound" in line]
    assert len(lines) > 60
    for line in lines:
        error = (line["bound"] * (1 - line["bound"]) / line["size"]) ** 0.5
        assert line["share"] <= line["bound"] + 3 * error, line


def test_rules_without_the_promise_break_it(tables):
    shares = {
        (line["table"], line["rule"], line["effect"]): line.get("share")
        for f in tables.values()
        for line in f
    }
    assert shares["ramp", "fixed p<.05", 1] > 0.3
    assert shares["ramp", "threshold", 1] > 0.5
    assert shares["baseline rising by 40 %", "p<.05, pooled, one look", 1] > 0.95
    assert shares["events instead of people", "events counted", 1] > 0.5
    assert shares["five guardrails", "each at 5 %", 1] > 0.08
    assert shares["promotion, base 1%, margin 1.25", "no harm seen by day 5", 1.25] > 0.1
    losses = "tuned at 5,000 people: losses, a canary of 5% of 500 an hour"
    assert shares["revenue with heavy tails", losses, 1] > 0.2
    assert shares["organisations assigned", "people, one look: 50 organisations an arm", "ICC .05"] > 0.08


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="plain loops over people take minutes")
@pytest.mark.parametrize("base", [0.3, 0.6])
def test_harmless_common_conversions_are_rolled_back_as_often_in_simulated_decisions_as_in_fact(base):
    release = simulated_and_judged.Release(simulated_and_judged.PAID, base, 1.0)
    runs, simulated = 2_000, 8_000
    theirs = simulated_and_judged.by_people(release, runs, 5)["roll back"]
    mine = simulated_and_judged.simulated(release, simulated, 6)["roll back"]
    pooled = (mine * simulated + theirs * runs) / (simulated + runs)
    error = (pooled * (1 - pooled) * (1 / simulated + 1 / runs)) ** 0.5
    assert abs(mine - theirs) <= 3 * error
    assert 0.005 < mine < 0.025  # a simulator that never rolled back, or often, would be seen


def test_a_wrong_sample_ratio_takes_few_more_people_than_who_knows_the_odds(tables):
    """One mixture for odds of 1.05 to 1.5 times: about twice as many at the far end, never three times."""
    lines = tables["people_to_a_mismatch"]
    for knowing, ours in zip(lines[::2], lines[1::2], strict=True):
        assert knowing["people"] < ours["people"] < 3 * knowing["people"]


def test_a_line_outside_its_tolerance_is_called_off():
    assert judged("t", "r", 1, 400, 0.07, bound=0.05)["ok"]
    assert not judged("t", "r", 1, 400, 0.09, bound=0.05)["ok"]
    assert judged("t", "r", 2, 400, 1.0, 1.0, hours=(39.0, 36))["ok"]
    assert not judged("t", "r", 2, 400, 1.0, 1.0, hours=(41.0, 36))["ok"]
    assert not judged("t", "r", 2, 400, 1.0, 1.0, hours=(None, 36))["ok"]
    assert judged("t", "r", 1, 4000, 0.19, (0.17, 0.2))["ok"]
    assert not judged("t", "r", 1, 4000, 0.25, (0.17, 0.2))["ok"]


def test_the_table_is_written_as_markdown(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(calibrate, "PARTS", (calibrate.chatty, calibrate.spreads))
    path = tmp_path / "calibration.md"
    assert command.main(["calibrate", "--rows", "50", "--table", str(path)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    text = path.read_text()
    assert f"{lines[-1]['lines']} lines" in text
    rows = [row for row in text.splitlines() if row.startswith("| ") and "---" not in row]
    assert len(rows) == lines[-1]["lines"] + 2
    assert command.main(["calibrate", "--rows", "50", "--table", "-"]) == 0
    assert capsys.readouterr().out.strip() == text.strip()
    with pytest.raises(SystemExit):
        command.main(["simulate", "--table", "-"])
    assert "no table to write" in capsys.readouterr().err


RULES = {
    "canarykit": "canarykit",
    "GrowthBook's published boundary": "growthbook",
    "Statsig's published formula": "statsig",
    "p < 0.05 at every look": "fixed p<.05",
    "twice the usual rate, five times": "threshold",
}


def test_what_the_readme_says_of_the_rules_stands_in_the_table_it_links_to():
    """From the link on: share of healthy releases stopped, then hours and people at 1.5, 2 and 5 times."""
    _, _, after = (ROOT / "README.md").read_text().partition("(benchmarks/calibration.md)")
    said = {cells[0]: cells[1:] for cells in _rows(after) if cells[0] in RULES}
    assert set(said) in (set(), set(RULES))  # a README without the link says nothing of it
    table = (ROOT / "benchmarks" / "calibration.md").read_text().split("## ")
    (ramp,) = (part for part in table if part.startswith("A ramp of"))
    lines = {(cells[0], cells[1]): cells for cells in _rows(ramp)}
    for name, cells in said.items():
        stopped = lines[RULES[name], "1"][3]
        assert f"{float(stopped.removesuffix(' %')):.1f} %" == cells[0].strip("*"), name
        for ratio, cell in zip(("1.5", "2", "5"), cells[1:], strict=True):
            line = lines[RULES[name], ratio]
            wanted = [part for part in cell.split(" h") if part]
            if wanted:
                assert line[6] == wanted[0], (name, ratio)
            if len(wanted) > 1:
                assert line[8] == wanted[1].removeprefix(", "), (name, ratio)


def _rows(text: str) -> list[list[str]]:
    lines = (line for line in text.splitlines() if line.startswith("| "))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_no_mixture_is_within_1_25_times_the_oracle_and_ours_is_near_the_best(share):
    assert oracle.least_weight(1.25, share)[0] > 1
    assert oracle.least_weight(1.4, share)[0] < 1
    assert (
        oracle.least_weight(1.55, share, lowest=1.05)[0]
        < 1
        < oracle.least_weight(1.45, share, lowest=1.05)[0]
    )
    for margin, most in ((1.02, 1.7), (1.25, 1.62), (2.0, 1.62)):
        assert oracle.on_the_mean_path(margin, share).max() < most


def test_the_best_mixture_reaches_its_threshold_as_the_programme_says():
    multiple, weights, ratios = oracle.mixture_floor(0.5)
    assert weights.sum() == pytest.approx(1, abs=0.01)
    part = ratios * 0.5 / (ratios * 0.5 + 0.5)
    for effect in (1.2, 2.0, 5.0):  # one effect after the other, without the programme's matrices
        p = effect / (1 + effect)
        expected_people = np.log(20) / (p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p)))
        gained = p * np.log(2 * part) + (1 - p) * np.log(2 * (1 - part))
        assert weights @ np.exp(multiple * expected_people * gained) >= 20 * 0.99


@pytest.mark.parametrize("seed", range(4))
def test_a_release_is_held_for_failed_flags_where_evaluate_stage_holds_it(seed):
    rng = np.random.default_rng(seed)
    plan = ck.RolloutPlan(
        "f", (ck.Stage.for_share("half", 50, dwell="24h"),), starts_at="2026-09-07T00:00:00Z"
    )
    n = 24 * 60
    start = np.sort((rng.random(n) * 24 * HOUR).astype(np.int64))
    names = np.array([f"user-{seed}-{k}" for k in range(n)])
    answers = ck.evaluate_flag(plan.flag_at("half"), pd.DataFrame({"distinct_id": names}))["value"]
    canary, failed = (answers == "true").to_numpy(bool), rng.random(n) < 0.1
    rate = np.where(failed & canary, (0.1, 0.1, 0.35, 0.6)[seed], 0.1)
    first = np.where(rng.random(n) < rate, np.minimum(start + HOUR // 60, 24 * HOUR - 1), -1)
    hit = first >= 0
    frame = pd.DataFrame(
        {
            "event": ["$feature_flag_called"] * n + ["$exception"] * int(hit.sum()),
            "distinct_id": np.concatenate([names, names[hit]]),
            "timestamp": START + pd.to_timedelta(np.concatenate([start, first[hit]]), unit="us"),
            "$feature_flag": ["f"] * n + [None] * int(hit.sum()),
            "$feature_flag_response": [
                *np.where(failed, None, np.where(canary, "true", "false")),
                *[None] * int(hit.sum()),
            ],
        }
    )
    wide = ck.Guardrail("$exception", margin_ratio=3.0)
    report = ck.evaluate_stage(
        ck.EventLog(frame), plan, "half", wide, as_of=START + pd.Timedelta("24h"), segments=()
    )
    columns = [column[failed] for column in (start, start, first, canary.astype(int))]
    split, worse, _, _ = failed_flags.doubts_at(columns, 0.5, 23, proven=True)
    meaning = report.check("flag without a value").meaning
    assert ("went worse with the canary" in meaning) == worse == (seed >= 2)
    assert ("fails in one arm more often" in meaning) == split
    assert (report.verdict is ck.Verdict.PROMOTE) == (seed < 2)


@pytest.mark.parametrize("seed", range(3))
def test_a_promotion_is_held_for_people_who_log_in_where_evaluate_stage_holds_it(seed):
    hours, draw = 26, np.random.default_rng(seed)
    wide = ck.Guardrail("$exception", margin_ratio=2.0)
    release = simulated_and_judged.Release(wide, hours=hours, logins=(0.0, 0.15, 0.6)[seed])
    n = hours * 100
    start = np.sort((draw.random(n) * hours * HOUR).astype(np.int64))
    canary = draw.random(n) < 0.5
    changed_at = simulated_and_judged.logins_of(release, draw, start, canary)
    first = np.where(draw.random(n) < 0.2, start + (draw.exponential(2.0, n) * HOUR).astype(np.int64), -1)
    first[first >= hours * HOUR] = -1
    changes, hit = changed_at < hours * HOUR, first >= 0
    people = np.array([f"person-{k}" for k in range(n)])
    who = np.concatenate([np.arange(n), np.flatnonzero(changes), np.flatnonzero(hit)])
    when = np.concatenate([start, changed_at[changes], first[hit]])
    anonymous = np.arange(len(who)) < n
    anonymous[n + changes.sum() :] = (first < changed_at)[hit]
    value = np.where(np.where(np.arange(len(who)) < n, canary[who], ~canary[who]), "true", "false")
    is_call = np.arange(len(who)) < n + changes.sum()
    frame = pd.DataFrame(
        {
            "event": np.where(is_call, "$feature_flag_called", "$exception"),
            "distinct_id": np.char.add(np.where(anonymous, "anonymous-", ""), people[who]),
            "person_id": people[who],
            "timestamp": START + pd.to_timedelta(when, unit="us"),
            "$feature_flag": np.where(is_call, "new-checkout", None),
            "$feature_flag_response": np.where(is_call, value, None),
        }
    )
    report = ck.evaluate_stage(
        ck.EventLog(frame), release.plan, "half", wide, as_of=START + pd.Timedelta(hours=hours), segments=()
    )
    groups, end = np.array([[[0, n]]]), np.full(n, hours * HOUR)
    rows = np.full((1, hours), 90)
    rows[0, -1] = 70
    harmed = np.zeros((1, hours), bool)
    people_of = (groups, (start, end, first, canary))
    simulated_and_judged.hold_what_is_hidden(release, rows, *people_of, (canary, changed_at), harmed, HOUR)
    assert (report.verdict is ck.Verdict.PROMOTE) == (rows[0, -1] == 70) == (seed < 2)
    if seed:
        assert "which can only hide an effect" in report.check("changed variant").meaning


def test_simulated_logins_hold_as_often_as_those_of_people():
    release = simulated_and_judged.Release(base=0.2, traffic=120.0, logins=0.3, delay=4.0)
    expected = simulated_and_judged.by_people(release, 200, 5)["promote"]
    found = simulated_and_judged.simulated(release, 1000, 6)["promote"]
    assert found == pytest.approx(expected, abs=3 * (0.25 / 200 + 0.25 / 1000) ** 0.5)
    without = simulated_and_judged.simulated(dataclasses.replace(release, logins=0.0), 1000, 6)
    assert found < without["promote"] - 0.2
