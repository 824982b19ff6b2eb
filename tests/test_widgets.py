"""A picture one can click leads to the people that the result's own methods list."""

import pytest

import canarykit as ck

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


def test_every_arm_of_a_report_leads_to_the_people_it_happened_to(report):
    view = report.explore()
    arm = report.check("people with $exception").canary
    assert len(view.choose("people with $exception/canary").people) == arm.count
    assert view.table["total"] == arm.count


def test_the_lengths_of_the_bars_are_the_shares_of_the_funnel(funnel):
    view = funnel.explore()
    widths = {part["id"]: part["width"] for bar in view.bars for part in bar["parts"]}
    for row in funnel.rows:
        name = f"{funnel.variant_name(row['variant'])}/{row['step']}/reached"
        assert widths[name] == pytest.approx(row["share"])


def test_where_no_widget_runs_the_results_own_table_stands(funnel):
    data, _ = funnel.explore()._repr_mimebundle_()
    assert data["text/html"] == funnel._repr_html_()
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
