"""A flag assigned to organisations is judged by organisations, however many people they have."""

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit import metrics, stats
from canarykit.health.evidence.event_evidence import value_evidence
from canarykit.health.evidence.value_series import value_series
from canarykit.metrics import Guardrail, Outcomes

HOUR = 3_600_000_000
ALPHA = 0.05
TOTAL = metrics.Total("paid", "amount", cap_quantile=None)
GUARDRAIL = Guardrail(TOTAL, worse="higher", margin_ratio=1.25)


def people_of_groups(rng, n_groups, icc):
    """Half of the groups in the canary; a group's people are alike as far as `icc` says."""
    canary = np.zeros(n_groups, dtype=bool)
    canary[rng.permutation(n_groups)[: n_groups // 2]] = True
    group = np.repeat(np.arange(n_groups), rng.integers(15, 76, n_groups))
    of_person, shared = rng.normal(size=len(group)), rng.normal(size=n_groups)[group]
    return canary, group, 5 + np.sqrt(icc) * shared + np.sqrt(1 - icc) * of_person


def rows_of_groups(values, group, canary):
    n = len(canary)
    sums, sizes = np.bincount(group, values, minlength=n), np.bincount(group, minlength=n)
    return sums[canary], sizes[canary], sums[~canary], sizes[~canary]


def of_groups(values, group, canary):
    sums, sizes, others, other_sizes = rows_of_groups(values, group, canary)
    return stats.PairMoments.of(sums, sizes), stats.PairMoments.of(others, other_sizes)


@pytest.mark.parametrize("icc", [0.05, 0.2])
def test_at_one_look_the_form_by_group_keeps_its_level_and_the_form_by_person_does_not(icc):
    rng = np.random.default_rng(1)
    runs, by_group, by_person = 800, 0, 0
    for _ in range(runs):
        canary, group, values = people_of_groups(rng, 40, icc)
        difference = stats.cluster_difference(*of_groups(values, group, canary), sided="lower")
        by_group += difference.p_value < ALPHA
        arms = [stats.Moments.of(values[arm[group]]) for arm in (canary, ~canary)]
        by_person += stats.mean_difference(*arms, sided="lower").p_value < ALPHA
    tolerance = 3 * np.sqrt(ALPHA * (1 - ALPHA) / runs)  # three standard errors: 0.023
    assert abs(by_group / runs - ALPHA) <= tolerance
    assert by_person / runs > 0.15


def ever_harmful(values, at, canary, *, until, sizes=None, at_least=20):
    """Whether an evaluation at `until` says that harm was shown at some look."""
    entered = pd.to_datetime(at, unit="us", utc=True)
    units = pd.DataFrame({"entered_at": entered, "canary": canary})
    weights = np.ones(len(values)) if sizes is None else sizes
    reduced = Outcomes(units, (TOTAL,), (None,), (values,), (weights,), (0,))
    looks = np.arange(1, until // HOUR + 1) * HOUR
    series = value_series(reduced, 0, looks, until, at_least=at_least, by_group=sizes is not None)
    rows = None if sizes is None else (series.units(), series.units(1.25))
    contrasts = *series.contrast(1.0), *series.contrast(1.25)
    judged = value_evidence(*contrasts, GUARDRAIL, 1.0, margin=1.0, gate=3, units=rows)
    return bool(np.any(judged.harm_log_e >= np.log(1 / ALPHA)))


@pytest.mark.parametrize("icc, naive_breaks", [(0.05, False), (0.2, True)])
def test_at_ten_looks_the_form_by_group_keeps_its_level(icc, naive_breaks):
    rng = np.random.default_rng(2)
    runs, n_groups, by_group, by_person = 100, 60, 0, 0
    for _ in range(runs):
        canary, group, values = people_of_groups(rng, n_groups, icc)
        begins = rng.integers(0, 6 * HOUR, n_groups)[group]  # people of a group come in until the end
        at = begins + (rng.random(len(group)) * (10 * HOUR - begins)).astype(int)
        said = [False, False]
        for until in np.arange(1, 11) * HOUR:
            seen = at < until
            sizes = np.bincount(group[seen], minlength=n_groups).astype(float)
            first = np.full(n_groups, 2**60)
            np.minimum.at(first, group[seen], at[seen])
            there = sizes > 0
            sums = np.bincount(group[seen], values[seen], minlength=n_groups)
            said[0] |= ever_harmful(sums[there], first[there], canary[there], until=until, sizes=sizes[there])
            if naive_breaks:
                said[1] |= ever_harmful(values[seen], at[seen], canary[group[seen]], until=until, at_least=25)
        by_group, by_person = by_group + said[0], by_person + said[1]
    limit = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / runs)  # three standard errors: 0.115
    assert by_group / runs <= limit
    if naive_breaks:
        assert by_person / runs > limit


def groups_of_all_sizes(rng, n_groups, spread, icc=0.2):
    """Sums and sizes of groups of which, at a spread of 2, a few hold most of the people."""
    sizes = np.clip(np.round(30 * np.exp(spread * rng.normal(size=n_groups))), 1, 20_000)
    noise = np.sqrt(icc) * sizes * rng.normal(size=n_groups)
    noise += np.sqrt((1 - icc) * sizes) * rng.normal(size=n_groups)
    canary = np.zeros(n_groups, dtype=bool)
    canary[rng.permutation(n_groups)[: n_groups // 2]] = True
    return canary, sizes, 5 * sizes + noise


@pytest.mark.parametrize("spread, usual_breaks", [(0.5, False), (2.0, True)])
def test_the_level_holds_where_a_few_organisations_have_most_of_the_people(spread, usual_breaks):
    rng = np.random.default_rng(3)
    runs, jackknife, usual, ever = 500, 0, 0, 0
    for _ in range(runs):
        canary, sizes, sums = groups_of_all_sizes(rng, 100, spread)
        rows = sums[canary], sizes[canary], sums[~canary], sizes[~canary]
        jackknife += stats.cluster_jackknife(*rows, sided="lower").p_value < ALPHA
        arms = stats.PairMoments.of(*rows[:2]), stats.PairMoments.of(*rows[2:])
        usual += stats.cluster_difference(*arms, sided="lower").p_value < ALPHA
        ever += ever_harmful(sums, rng.integers(0, 10 * HOUR, 100), canary, until=10 * HOUR, sizes=sizes)
    limit = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / runs)  # three standard errors: 0.079
    assert jackknife / runs <= limit
    assert ever / runs <= limit
    assert (usual / runs > limit) == usual_breaks


# ---- reports ---------------------------------------------------------------------------------------

PLAN = ck.RolloutPlan(
    "new-checkout",
    (ck.Stage.for_share("half", 50, dwell="2d"),),
    starts_at="2026-09-07T09:00:00Z",
    aggregation_group_type="organization",
)
START = PLAN.window("half")[0]
AS_OF = START + pd.Timedelta(days=2)


def organisations(*, n_groups=60, harm=1.0, icc=0.2, past=False, seed=9):
    """Everybody of an organisation is exposed, and pays once; a week before too, with `past`."""
    rng = np.random.default_rng(seed)
    canary, group, values = people_of_groups(rng, n_groups, icc)
    values = values * np.where(canary[group], harm, 1.0)
    n = len(group)
    base = {"distinct_id": [f"p{i}" for i in range(n)], "$group_0": [f"org{g:03d}" for g in group]}
    at = START + pd.to_timedelta(rng.random(n) * 40, unit="h")
    parts = [
        pd.DataFrame({**base, "event": "$feature_flag_called", "timestamp": at}).assign(
            **{
                "$feature_flag": "new-checkout",
                "$feature_flag_response": np.where(canary[group], "true", "false"),
            }
        ),
        pd.DataFrame({**base, "event": "paid", "timestamp": at + pd.Timedelta(hours=1), "amount": values}),
    ]
    if past:
        shared = pd.Series(values).groupby(group).transform("mean").to_numpy()
        shared = shared / np.where(canary[group], harm, 1.0)
        was = shared + 0.2 * rng.normal(size=n_groups)[group]
        earlier = at - pd.Timedelta(days=7)
        parts.append(pd.DataFrame({**base, "event": "paid", "timestamp": earlier, "amount": was}))
    events = pd.concat(parts, ignore_index=True)
    events["timestamp"] = events["timestamp"].dt.as_unit("us")
    return events, (canary, group, values)


def judge(events, *guardrails, **options):
    return ck.evaluate_stage(
        ck.EventLog(events), PLAN, "half", guardrails, as_of=AS_OF, min_dwell="12h", min_units=20, **options
    )


def test_a_sum_per_person_of_organisations_is_the_cluster_robust_one():
    events, (canary, group, values) = organisations()
    report = judge(events, GUARDRAIL)
    check = report.check(TOTAL.label)
    textbook = stats.cluster_jackknife(*rows_of_groups(values, group, canary))
    assert check.effect == pytest.approx(textbook.value)
    assert (check.canary.total, check.control.total) == (30, 30)
    assert check.canary.value == pytest.approx(values[canary[group]].mean())
    assert "spread between groups (cluster jackknife)" in check.method
    assert "of every person of each group" in check.measured
    assert "organization groups saw both variants" in report.check("both variants seen").meaning
    arms = report.audit["guardrails"][0]["counts"]
    error = np.sqrt(arms["canary"][2] + arms["control"][2])
    assert error == pytest.approx(textbook.standard_error)
    usual = stats.cluster_difference(*of_groups(values, group, canary))
    assert error == pytest.approx(usual.standard_error, rel=0.05)
    (row,) = report.section("values at one planned look").to_dicts()
    assert row["method"] == "cluster jackknife, Welch t"
    assert (row["low"], row["high"]) == pytest.approx((textbook.low, textbook.high), rel=0.01)


def test_the_sums_by_group_are_enough_for_the_usual_comparison():
    events, (canary, group, values) = organisations(past=True)
    log = ck.EventLog(events)
    exposed = ck.exposures(log, "new-checkout", plan=PLAN)
    spec = metrics.Total("paid", "amount", cuped="14d")
    frame = metrics.reduce(log, spec, exposed, PLAN, interval="6h", as_of=AS_OF).to_frame()
    columns = ["events", "total", "weight", "total_squares", "weight_squares", "total_by_weight"]
    sums = frame.groupby("variant")[[*columns, "before_weight"]].sum()
    assert sums["before_weight"].sum() == len(values)
    arms = [stats.PairMoments.of_sums(int(row.iloc[0]), *row.iloc[1:6]) for _, row in sums.iterrows()]
    difference = stats.cluster_difference(arms[1], arms[0])
    expected = stats.cluster_difference(*of_groups(values, group, canary))
    assert (difference.value, difference.low) == pytest.approx((expected.value, expected.low))


@pytest.mark.parametrize(
    "metric",
    [
        metrics.Average("paid", "amount"),
        metrics.Ratio(metrics.Total("paid", "amount"), metrics.Total("paid"), name="ratio"),
    ],
    ids=["average", "ratio"],
)
def test_averages_and_ratios_of_organisations_are_cluster_robust_too(metric):
    events, (canary, group, values) = organisations()
    report = judge(events, Guardrail(metric, worse="higher"))
    textbook = stats.cluster_jackknife(*rows_of_groups(values, group, canary))
    arms = report.audit["guardrails"][0]["counts"]
    assert report.check(metric.label).effect == pytest.approx(textbook.value)
    assert np.sqrt(arms["canary"][2] + arms["control"][2]) == pytest.approx(textbook.standard_error)


def test_people_in_the_same_organisation_are_no_evidence_of_their_own():
    """Ten times as many people in the same organisations say hardly more."""
    events, _ = organisations(icc=0.9, harm=1.0)
    copies = [events.assign(distinct_id=events["distinct_id"] + f"-{k}") for k in range(10)]
    few, many = (judge(e, GUARDRAIL).check(TOTAL.label) for e in (events, pd.concat(copies)))
    widths = [check.effect_high - check.effect_low for check in (few, many)]
    assert widths[1] == pytest.approx(widths[0], rel=0.02)


def test_fewer_than_twenty_organisations_an_arm_cannot_tell():
    events, _ = organisations(n_groups=38, harm=3.0)
    report = judge(events, GUARDRAIL)
    assert report.verdict is ck.Verdict.HOLD
    assert report.check(TOTAL.label).status.value == "cannot tell"
    enough, _ = organisations(n_groups=40, harm=3.0)
    assert judge(enough, GUARDRAIL).verdict is ck.Verdict.ROLL_BACK


def test_the_past_of_organisations_narrows_what_is_said_of_them():
    events, _ = organisations(past=True)
    spec = metrics.Total("paid", "amount", cap_quantile=None, cuped="14d", name="adjusted")
    report = judge(events, GUARDRAIL, Guardrail(spec, worse="higher"))
    plain, adjusted = report.check(TOTAL.label), report.check("adjusted")
    correlation = report.audit["guardrails"][1]["counts"]["cuped"]["correlation"]
    assert 0.8 < correlation < 0.97
    assert f"correlation {correlation:.2f}" in adjusted.meaning
    widths = [check.effect_high - check.effect_low for check in (plain, adjusted)]
    assert widths[1] < 0.6 * widths[0]
    assert [row["method"][:5] for row in report.section("values at one planned look").to_dicts()] == [
        "clust",
        "CUPED",
    ]


def test_organisations_without_any_past_are_judged_as_they_are():
    events, _ = organisations(past=False)
    spec = metrics.Average("paid", "amount", cuped="14d", name="adjusted")
    report = judge(
        events, Guardrail(metrics.Average("paid", "amount"), worse="higher"), Guardrail(spec, worse="higher")
    )
    plain, adjusted = report.check("mean amount"), report.check("adjusted")
    assert (plain.effect, plain.effect_low) == (adjusted.effect, adjusted.effect_low)
    assert "Nothing was taken out" in adjusted.meaning


def test_organisations_in_which_nobody_was_seen_before_are_counted():
    events, _ = organisations(past=True)
    new = (events["timestamp"] < START) & (events["$group_0"] < "org007")
    report = judge(events[~new], Guardrail(metrics.Total("paid", "amount", cuped="14d"), worse="higher"))
    (note,) = [note for note in report.notes if note.code == "cuped_without"]
    assert str(note).startswith("7 organization groups without anybody seen in the 14d before exposure")
    assert "a past of average" in note.text


def test_an_organisation_that_is_a_whole_arm_cannot_tell():
    events, _ = organisations(n_groups=60)
    alone = events["event"].eq("$feature_flag_called") | events["$group_0"].isin(["org000", "org001"])
    report = judge(events[alone], Guardrail(metrics.Average("paid", "amount"), worse="higher"))
    assert report.check("mean amount").status.value == "cannot tell"


def test_organisations_on_disk_are_counted_the_same(tmp_path):
    events, _ = organisations(past=True)
    events.to_parquet(tmp_path / "events.parquet")
    spec = metrics.Total("paid", "amount", cuped="14d")
    logs = ck.EventLog(events), ck.scan_posthog(str(tmp_path / "events.parquet"), memory_limit="1MB")
    here, there = (
        ck.evaluate_stage(
            log, PLAN, "half", Guardrail(spec, worse="higher"), as_of=AS_OF, min_dwell="12h"
        ).to_dict()
        for log in logs
    )
    assert here["checks"] == there["checks"]
    assert here["audit"]["fingerprints"] == there["audit"]["fingerprints"]
