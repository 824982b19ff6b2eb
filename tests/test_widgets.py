"""A picture one can click leads to the people that the result's own methods list."""

import pandas as pd
import pytest

import canarykit as ck

_DAY = pd.Timedelta(days=1)

pytest.importorskip("anywidget", reason="pictures one can click need canarykit[lab]")


@pytest.fixture(scope="module")
def stage():
    data = "sample_data"
    log = ck.read_posthog(f"{data}/events.parquet", persons=f"{data}/persons.parquet")
    return log, ck.RolloutPlan.from_json(f"{data}/plan.json"), "expanded beta 5%"


@pytest.fixture(scope="module")
def funnel(stage):
    log, plan, name = stage
    return ck.funnel_by_flag(
        log, ["signup started", "signup finished", "paid"], plan=plan, stage=name, within="1d",
        attribution="exposure",
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(stage):
    log, plan, name = stage
    return ck.evaluate_stage(
        log, plan, name, ck.Guardrail("$exception", margin_ratio=1.5), as_of=plan.window(name)[1]
    )


def test_every_part_of_a_funnel_leads_to_its_people(funnel):
    view = funnel.explore(host="https://us.posthog.com", project_id=1)
    for row in funnel.rows:
        name = funnel.variant_name(row["variant"])
        view.choose(f"{name}/{row['step']}/reached")
        expected = funnel.people(row["step"], variant=row["variant"])
        assert view.people["person_id"].tolist() == [person["person_id"] for person in expected.rows]
        assert view.table["total"] == row["count"]
    lost = view.choose("true/3/lost").people
    assert lost["person_id"].tolist() == funnel.people(3, dropped=True, variant="true").ids


def test_the_matched_events_of_the_people_are_at_hand(funnel):
    view = funnel.explore().choose("true/3/reached")
    expected = funnel.people(3, variant="true").events_frame()
    assert view.events["timestamp"].tolist() == expected["timestamp"].tolist()
    shown = view.table["events"]
    assert [len(events) for events in shown] == expected.groupby("person_id", sort=False).size().tolist()
    assert shown[0][0]["what"] == "signup started"


def test_a_funnel_narrowed_to_a_segment_is_the_funnel_of_its_people(stage, funnel):
    log, plan, name = stage
    view = funnel.explore(segment="$browser").narrow("Safari")
    alone = ck.funnel_by_flag(
        log, ["signup started", "signup finished", "paid"], plan=plan, stage=name, within="1d",
        attribution="exposure", people={"$browser": "Safari"},
    )  # fmt: skip
    assert view.title == alone._headline()
    ids = view.choose("true/1/reached").people["person_id"].tolist()
    assert ids == alone.people(1, variant="true").ids
    assert len(view.narrow("").people) == funnel.rows_of("true")[0]["count"]


def test_a_funnel_by_first_touch_is_narrowed_by_a_filter(stage):
    log, *_ = stage
    steps = ["signup started", "paid"]
    view = ck.funnel_by_flag(log, steps, flag="new-checkout").explore(segment="plan").narrow("pro")
    only = [{"key": "plan", "value": ["pro"], "type": "person", "operator": "exact"}]
    assert view.title == ck.funnel_by_flag(log, steps, flag="new-checkout", filters=only)._headline()


def test_every_arm_of_a_report_leads_to_the_people_it_happened_to(report):
    view = report.explore()
    arm = report.check("people with $exception").canary
    assert len(view.choose("people with $exception/canary").people) == arm.count
    assert view.table["total"] == arm.count


def test_where_lower_is_worse_the_people_who_did_not_are_listed_under_a_title_that_says_so(stage):
    log, plan, name = stage
    paid = ck.Guardrail(ck.metrics.Conversion("paid", within="1d"), margin_ratio=0.9)
    report = ck.evaluate_stage(log, plan, name, paid, as_of=plan.window(name)[1])
    arm = report.check("paid within 1d").canary
    view = report.explore().choose("paid within 1d/canary")
    assert (
        view.table["title"] == f"paid within 1d: people who did not, canary: {arm.total - arm.count} people"
    )
    lacking = report.people("paid within 1d", happened=False)
    assert view.people["person_id"].tolist() == lacking["person_id"].tolist()
    assert len(lacking) == arm.total - arm.count
    assert not set(lacking["person_id"]) & set(report.people("paid within 1d")["person_id"])
    assert f"{arm.total - arm.count} of {arm.total}" in view._repr_mimebundle_()[0]["text/html"]
    safari = report.explore(segment="$browser").narrow("Safari").choose("paid within 1d/canary").people
    assert 0 < len(safari) < len(lacking)
    assert set(safari["person_id"]) < set(lacking["person_id"])
    page = report.to_html()
    assert "paid within 1d: people who did not" in page
    assert "happened=False)" in page
    with pytest.raises(ck.DataError, match="they have not a time"):
        report.people("paid within 1d", happened=False, since="2026-09-14T09:00:00Z")


def test_the_intervals_of_a_check_hold_everybody_once(report):
    view = report.explore()
    name = "people with $exception"
    times = [part for part in view.parts if part.startswith(f"{name}/canary/")]
    assert 2 < len(times) <= 8
    ids = [i for part in times for i in view.choose(part).people["person_id"]]
    assert ids == report.people(name)["person_id"].tolist()


def test_a_report_narrowed_to_a_segment_lists_those_of_its_people_who_are_in_it(report):
    view = report.explore(segment="$browser").narrow("Safari").choose("people with $exception/canary")
    everybody = report.people("people with $exception")
    safari = set(report.found.units["person_id"][report.segments["$browser"] == "Safari"])
    expected = [person for person in everybody["person_id"] if person in safari]
    assert 0 < len(expected) < len(everybody)
    assert view.people["person_id"].tolist() == expected
    twin = report.people("people with $exception", segment={"$browser": "Safari"})
    assert twin["person_id"].tolist() == expected


def test_a_segment_that_is_not_there_is_refused_with_what_is(report, funnel):
    with pytest.raises(ck.DataError, match=r"no segments by 'browser'.*\$browser"):
        report.explore(segment="browser")
    with pytest.raises(ck.DataError, match=r"not a property of people.*plan"):
        funnel.explore(segment="plam")
    with pytest.raises(ck.DataError, match="offers no segments"):
        report.explore().narrow("Safari")
    with pytest.raises(ck.DataError, match=r"nobody has .browser 'safari'.*Safari"):
        report.people("people with $exception", segment={"$browser": "safari"})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"measure": "users", "per": "exposed user"},
        {"measure": "share"},
        {"measure": "users", "per": "exposure cohort", "within": "6h"},
    ],
    ids=["events", "users", "share so far", "cohorts"],
)
def test_the_people_of_an_interval_are_the_users_that_its_row_counts(stage, options):
    log, plan, name = stage
    trend = ck.trend_by_flag(
        log, "$exception", flag=plan.flag, plan=plan, stage=name, timezone="Europe/Berlin", **options
    )
    assert any(row["users"] for row in trend.rows)
    for row in trend.rows:
        people = trend.people(row["start"], variant=row["variant"])
        assert len(people) == row["users"]
        assert len(people) == len(set(people.ids))
        if options.get("measure") != "share":  # whose rows count the events of the interval alone
            assert sum(person["events"] for person in people.rows) == row["events"]


def test_the_people_of_an_interval_can_be_counted_by_hand(stage):
    log, plan, name = stage
    trend = ck.trend_by_flag(log, "$exception", flag=plan.flag, plan=plan, stage=name)
    counted = ck.exposures(log, plan.flag, plan=plan).of_stage(name).set_index("person_id")["exposed_at"]
    day = trend.rows[0]["start"]
    events = log.select(["person_id", "timestamp"], events=["$exception"], since=day, until=day + _DAY)
    after = [
        person
        for person, at in events.itertuples(index=False)
        if person in counted.index and at >= max(counted[person], plan.window(name)[0])
    ]
    assert set(trend.people(0).ids) <= set(after)
    assert trend.people(0).ids == trend.people(day.isoformat()).ids


def test_every_bar_of_a_trend_leads_to_its_people(stage):
    log, plan, name = stage
    trend = ck.trend_by_flag(log, "$exception", flag=plan.flag, plan=plan, stage=name, interval="day")
    view = trend.explore(segment="$browser", host="https://eu.posthog.com")
    assert len(view.parts) == len(trend.rows)
    last = trend.people(0, variant="true", host="https://eu.posthog.com")
    when = trend.rows[0]["start"].strftime("%Y-%m-%d %H:%M UTC")
    assert view.choose(f"true/{when}").people["person_id"].tolist() == last.ids
    assert view.table["columns"][-1]["is_link"]
    alone = ck.trend_by_flag(
        log, "$exception", flag=plan.flag, plan=plan, stage=name, people={"$browser": "Safari"}
    )
    assert view.narrow("Safari").people["person_id"].tolist() == alone.people(0, variant="true").ids


def test_an_interval_that_is_not_there_is_refused_with_those_that_are(stage):
    log, plan, name = stage
    trend = ck.trend_by_flag(log, "$exception", flag=plan.flag, plan=plan, stage=name)
    with pytest.raises(ck.DataError, match="no day of the trend starts at 2026-09-14 05:00 UTC"):
        trend.people("2026-09-14 05:00")
    with pytest.raises(ck.DataError, match="start is 99; the trend has"):
        trend.people(99)
    with pytest.raises(ck.DataError, match=r"'True'.*true"):
        trend.people(0, variant="True")


def test_every_stage_of_a_plan_leads_to_those_who_were_exposed_in_it(stage):
    log, plan, _ = stage
    view = plan.explore(log, segment="$browser")
    exposed = ck.exposures(log, plan.flag, plan=plan)
    for name in exposed.stages:
        rows = exposed.of_stage(name)
        for variant in exposed.variants:
            expected = rows.loc[rows["variant"] == variant, "person_id"].tolist()
            assert view.choose(f"{name}/{variant}").people["person_id"].tolist() == expected
    view.choose("beta/true").narrow("Safari")
    safari = ck.exposures(log, plan.flag, plan=plan, people={"$browser": "Safari"}).of_stage("beta")
    assert len(view.people) == (safari["variant"] == "true").sum()


def test_a_plan_without_times_says_what_it_lacks(stage):
    log, plan, _ = stage
    timeless = ck.RolloutPlan(plan.flag, (ck.Stage.for_share("a tenth", 10),))
    with pytest.raises(ck.PlanError, match="does not say when its stages were"):
        timeless.explore(log)


def test_the_lengths_of_the_bars_are_the_shares_of_the_funnel(funnel):
    view = funnel.explore()
    widths = {part["id"]: part["width"] for bar in view.bars for part in bar["parts"]}
    for row in funnel.rows:
        name = f"{funnel.variant_name(row['variant'])}/{row['step']}/reached"
        assert widths[name] == pytest.approx(row["share"])


def test_where_no_widget_runs_the_bars_and_the_results_own_table_stand(funnel):
    data, _ = funnel.explore()._repr_mimebundle_()
    assert funnel._repr_html_() in data["text/html"]
    last = funnel.rows[-1]
    assert f"width:{100 * last['share']:.1f}%" in data["text/html"]
    assert "<script" not in data["text/html"]
    assert "<style" not in data["text/html"]
    assert data["text/plain"] == repr(funnel)


def test_a_part_that_is_not_there_is_refused_with_what_is(funnel):
    with pytest.raises(ck.DataError, match=r"no part 'true/3/reach'.*true/3/reached"):
        funnel.explore().choose("true/3/reach")


def test_a_stale_selection_of_a_page_shows_nobody(funnel):
    view = funnel.explore().choose("true/3/reached")
    view.selection = "gone/1/reached"
    assert view.people is None
    assert view.table == {}


def test_what_is_drawn_is_set_as_text_never_as_markup():
    from canarykit.widgets.explorer import Explorer

    source = Explorer._esm
    text = source.read_text() if hasattr(source, "read_text") else str(source)
    assert "innerHTML" not in text
    assert "http" not in text.replace("https?:", "")  # nothing is fetched


def test_a_report_in_a_cell_answers_first_and_folds_the_rest(report):
    html = report._repr_html_()
    first, _, folded = html.partition("<details")
    assert report.verdict.value.upper() in first
    check = report.check("people with $exception")
    for text in (check.name, str(check.canary), str(check.control), check.effect_text, check.evidence_text):
        assert text in first
    assert "Who is hit" in first
    assert all(step in first for step in report.next_steps)
    assert all(c.name in folded for c in report.checks)
    assert not any(tag in html for tag in ("<style", "<script", " class=", " id="))
