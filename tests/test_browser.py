"""In a real browser: a click in JupyterLab leads to the people that `people()` lists, by day and by night."""

from importlib.util import find_spec

import pytest

from tests.lab import CHROMIUM, ROOT, WAIT, chromium, kernel_of, lab

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium or another Chromium on the PATH"),
    *(
        pytest.mark.skipif(find_spec(package) is None, reason=f"needs {package}, part of canarykit[test]")
        for package in ("playwright", "axe_playwright_python", "jupyterlab", "anywidget")
    ),
]

CELLS = (
    f"""import canarykit as ck
data = {str(ROOT / "sample_data")!r}
log = ck.read_posthog(f"{{data}}/events.parquet", persons=f"{{data}}/persons.parquet")
plan = ck.RolloutPlan.from_json(f"{{data}}/plan.json")
stage = "expanded beta 5%"
funnel = ck.funnel_by_flag(
    log, ["signup started", "signup finished", "paid"], plan=plan, stage=stage, within="1d",
    attribution="exposure",
)
guardrail = ck.Guardrail("$exception", margin_ratio=1.5)
report = ck.evaluate_stage(log, plan, stage, guardrail, as_of=plan.window(stage)[1])""",
    'view = funnel.explore(host="https://eu.posthog.com", project_id=1)\nview',
    'checks = report.explore(segment="$browser")\nchecks',
    """trend = ck.trend_by_flag(log, "$exception", flag=plan.flag, plan=plan, stage=stage)
days = trend.explore()
days""",
    "stages = plan.explore(log)\nstages",
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The notebook, run in a browser, and its kernel."""
    with lab(tmp_path_factory.mktemp("lab"), CELLS) as (address, runtime), chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(WAIT * 1000)
        strangers = []
        page.on("request", lambda asked: strangers.append(asked.url) if address not in asked.url else None)
        page.goto(f"{address}lab/tree/clicks.ipynb")
        ready = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        page.wait_for_function(ready)
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_function(f"document.querySelectorAll('.ck-explorer').length === {len(CELLS) - 1}")
        with kernel_of(runtime) as ask:
            yield page, ask, strangers


@pytest.fixture
def page(opened):
    return opened[0]


@pytest.fixture
def ask(opened):
    return opened[1]


def part(page, name):
    return page.locator(f'.ck-explorer button[data-part="{name}"]')


def people_shown(page, widget):
    """The first column of the table beside the picture, once the kernel has answered."""
    box = page.locator(".ck-explorer").nth(widget).locator(".ck-people")
    box.locator("tbody tr").first.wait_for()
    return box.locator("tbody tr td:first-child").all_inner_texts()


def choose(page, widget, name):
    """Click a part, and wait until the table is that of the part."""
    before = page.locator(".ck-explorer").nth(widget).locator(".ck-people").inner_text()
    part(page, name).click()
    page.wait_for_function(
        "([place, old]) => document.querySelectorAll('.ck-explorer .ck-people')[place].innerText !== old",
        arg=[widget, before],
    )
    return people_shown(page, widget)


@pytest.mark.parametrize(
    "name, people",
    [
        ("true/3/lost", "funnel.people(3, dropped=True, variant='true')"),
        ("true/2/reached", "funnel.people(2, variant='true')"),
        ("false/3/lost", "funnel.people(3, dropped=True, variant='false')"),
    ],
)
def test_a_click_on_a_bar_of_a_funnel_shows_the_people_behind_it(page, ask, name, people):
    shown = choose(page, 0, name)
    assert ask("view.selection") == name
    expected = ask(f"{people}.to_frame()['person_id'].tolist()")
    assert shown == expected[:200]
    assert ask("view.people['person_id'].tolist()") == expected


def test_each_person_behind_a_bar_has_a_link_to_the_recording(page, ask):
    choose(page, 0, "true/3/reached")
    links = [
        a.get_attribute("href") for a in page.locator(".ck-people").first.locator("td:last-child a").all()
    ]
    host = "host='https://eu.posthog.com', project_id=1"
    assert links == ask(f"[r['replay_url'] for r in funnel.people(3, variant='true', {host}).rows]")


@pytest.mark.parametrize("arm, canary", [("canary", True), ("control", False)])
def test_a_click_on_a_check_shows_to_whom_it_happened(page, ask, arm, canary):
    shown = choose(page, 1, f"people with $exception/{arm}")
    expected = ask(f"report.people('people with $exception', canary={canary})['person_id'].tolist()")
    assert shown == expected[:200]
    assert ask("checks.people['person_id'].tolist()") == expected


def test_a_click_on_a_day_shows_to_whom_it_happened(page, ask):
    name = ask("days.parts")[0]
    shown = choose(page, 2, name)
    assert shown == ask("trend.people(0, variant='false').ids")[:200]
    assert ask("days.selection") == name


def test_a_click_on_a_stage_shows_who_was_exposed_in_it(page, ask):
    shown = choose(page, 3, "beta/true")
    rows = "ck.exposures(log, plan.flag, plan=plan).of_stage('beta').query('variant == \"true\"')"
    assert shown == ask(f"{rows}['person_id'].tolist()")[:200]


def test_a_persons_matched_events_unfold(page, ask):
    choose(page, 0, "true/2/reached")
    first = page.locator(".ck-people").first.locator("tbody tr").first
    assert first.locator("li").first.is_hidden()
    first.locator("summary").click()
    events = first.locator("li").all_inner_texts()
    expected = ask("[[e['person_id'], e['name']] for e in funnel.people(2, variant='true').events]")
    mine = [name for person, name in expected if person == expected[0][0]]
    assert [name in text for name, text in zip(mine, events, strict=True)] == [True] * len(mine)


def test_a_report_is_narrowed_to_a_segment_by_its_list(page, ask):
    chosen = page.locator(".ck-explorer").nth(1).locator("label", has_text="$browser").locator("select")
    chosen.select_option("Safari")
    page.wait_for_function(
        "[...document.querySelectorAll('.ck-quiet')].some(p => p.innerText.match('Safari'))"
    )
    assert ask("checks.segment") == "Safari"
    shown = choose(page, 1, "people with $exception/canary")
    twin = "report.people('people with $exception', segment={'$browser': 'Safari'})['person_id'].tolist()"
    assert shown == ask(twin)
    chosen.select_option("")
    page.wait_for_function(
        "![...document.querySelectorAll('.ck-quiet')].some(p => p.innerText.match('Safari'))"
    )


def test_the_picture_can_be_walked_and_chosen_by_keyboard(page, ask):
    first = part(page, "false/1/reached")
    first.focus()
    page.keyboard.press("Tab")
    reached = page.evaluate("document.activeElement.dataset.part")
    assert reached == "false/2/reached"
    page.keyboard.press("Enter")
    page.wait_for_function(
        "name => document.querySelector(`[data-part='${name}']`).getAttribute('aria-pressed') === 'true'",
        arg=reached,
    )
    assert page.evaluate("document.activeElement.dataset.part") == reached  # the focus stays
    people_shown(page, 0)
    assert ask("view.selection") == reached


def test_one_variant_can_be_shown_alone(page):
    chosen = page.locator(".ck-explorer").first.locator("select").first
    chosen.select_option("true")
    assert part(page, "false/3/reached").count() == 0
    assert part(page, "true/3/reached").count() == 1
    chosen.select_option("")
    assert part(page, "false/3/reached").count() == 1


def test_python_chooses_a_part_in_the_picture_too(page, ask):
    ask("view.choose('true/1/reached').selection")
    page.wait_for_selector('[data-part="true/1/reached"][aria-pressed="true"]')


CONTRAST = """() => {
  const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length && (colour.length < 4 || colour[3] > 0.5)) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('.ck-explorer p, .ck-explorer span, .ck-explorer td, .ck-explorer th')]
    .filter(node => node.innerText.trim())
    .map(node => {
      const back = behind(node), ink = parse(getComputedStyle(node).color);
      const alpha = Number(getComputedStyle(node).opacity);
      const mixed = ink.slice(0, 3).map((c, i) => alpha * c + (1 - alpha) * back[i]);
      const [a, b] = [light(mixed), light(back)].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), node.innerText.slice(0, 40)];
    });
}"""


def faults(page, within=None):
    """What axe-core calls a serious or critical fault of accessibility, and where."""
    from axe_playwright_python.sync_playwright import Axe

    answer = Axe().run(page, context=within).response
    assert answer["passes"]
    return [
        (fault["id"], [node["html"][:120] for node in fault["nodes"]])
        for fault in answer["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_every_word_of_the_picture_can_be_read_by_day_and_by_night(page, ask, theme):
    ask("view.choose('true/3/reached').selection + checks.choose(checks.parts[-1]).selection")  # short lists
    ask("days.choose(days.parts[-1]).selection + stages.choose(stages.parts[0]).selection")
    change = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
    page.evaluate(change, theme)
    page.wait_for_selector(f'body[data-jp-theme-name="{theme}"]', state="attached")
    page.wait_for_timeout(500)  # the sheet of the theme comes after its name
    contrasts = page.evaluate(CONTRAST)
    assert len(contrasts) > 20
    assert min(contrasts)[0] >= 4.5, min(contrasts)
    assert faults(page, ".ck-explorer") == []


@pytest.fixture(scope="module")
def pages(opened):
    """A report's page and the timeline of a release, as they are written."""
    _, ask, _ = opened
    timeline = "__import__('canarykit.health.page.timeline', fromlist=['timeline'])"
    lines = f"[{timeline}.stage_line(report, 'stage.html')]"
    return {"report": ask("report.to_html()"), "timeline": ask(f"{timeline}.release_page({lines})")}


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 390)])
@pytest.mark.parametrize("kind", ["report", "timeline"])
def test_a_page_has_no_serious_fault_of_accessibility(opened, pages, kind, scheme, width):
    page = opened[0].context.browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    page.set_content(pages[kind])
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_nothing_is_fetched_from_elsewhere(opened):
    strangers = [url for url in opened[2] if not url.startswith(("data:", "blob:", "ws://127.0.0.1"))]
    assert strangers == []
