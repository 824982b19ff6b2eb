"""The pages: every public name has its place, every link leads somewhere, every cell is Python."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import canarykit as ck

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = {"notebooks", "generated", "_build"}  # made by the build, from what is elsewhere
PAGES = sorted(page for page in DOCS.rglob("*.md") if not BUILT & set(page.relative_to(DOCS).parts))
GUIDES = sorted(page for page in (DOCS / "guides").glob("*.md") if page.stem != "index")
AT_THE_TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?!https?://|mailto:|#)([^)#\s]+)(?:#[^)\s]*)?\)")
CELL = re.compile(r"^```\{code-cell\} python\n(.*?)^```", re.M | re.S)
FENCED = re.compile(r"^```.*?^```", re.M | re.S)


def name(page):
    return page.relative_to(ROOT).as_posix()


def listed():
    """Names with their module, as the pages of the reference list them."""
    names = set()
    for page in (DOCS / "api").glob("*.rst"):
        module = "canarykit"
        for line in page.read_text(encoding="utf-8").splitlines():
            if at := re.match(r"\.\. (?:currentmodule|automodule):: (\S+)", line):
                module = at[1]
                names.add(module)
            elif at := re.match(r"(?:\.\. autoclass:: |   )(\w[\w.]*)$", line):
                names.add(f"{module}.{at[1]}")
    return names


def test_every_public_name_is_in_the_reference():
    wanted = {f"canarykit.{one}" for one in ck.__all__ if one != "__version__"}
    assert wanted - listed() == set()


@pytest.mark.parametrize("module", ["canarykit.stats", "canarykit.typing"])
def test_every_name_of_a_public_module_is_in_the_reference(module):
    public = importlib.import_module(module).__all__
    wanted = {f"{module}.{one}" for one in public if not one.isupper()}
    assert wanted - listed() == set()


def test_what_the_reference_lists_can_be_imported():
    missing = []
    for path in sorted(listed()):
        try:
            pkgutil.resolve_name(path)
        except (ImportError, AttributeError):
            missing.append(path)
    assert missing == []


@pytest.mark.parametrize("page", [*AT_THE_TOP, *PAGES], ids=name)
def test_links_lead_to_files(page):
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for target in LINK.findall(text):
        path = (page.parent / target).resolve()
        from_notebook = re.sub(r"^(\.\./)*notebooks/", "notebooks/", target)
        is_notebook = DOCS in page.parents and (ROOT / from_notebook).with_suffix(".ipynb").exists()
        if not (path.exists() or is_notebook):
            broken.append(target)
    assert broken == []


def test_every_page_is_in_a_table_of_contents():
    named = {DOCS / "index.md"}
    for page in PAGES:
        for toc in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            for line in toc.splitlines():
                line = re.sub(r"^.*<(.+)>$", r"\1", line)  # a page under a title of its own
                if line and not line.startswith(":"):
                    named |= {path for end in (".md", ".rst") for path in page.parent.glob(line + end)}
    assert {name(page) for page in PAGES} - {name(path) for path in named} == set()


@pytest.mark.parametrize("guide", GUIDES, ids=name)
def test_cells_of_a_guide_are_python(guide):
    text = guide.read_text(encoding="utf-8")
    assert text.startswith("---\nfile_format: mystnb\n"), "the build runs a page by this head"
    cells = CELL.findall(text)
    assert cells
    for cell in cells:
        ast.parse(re.sub(r"^:.*\n", "", cell))


@pytest.fixture(scope="module")
def sample():
    return ck.load_sample()


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES, ids=name)
def test_cells_of_a_guide_run(guide, sample, monkeypatch, capsys):
    monkeypatch.chdir(guide.parent)
    monkeypatch.setattr(ck, "load_sample", lambda: sample)
    namespace: dict = {}
    for cell in CELL.findall(guide.read_text(encoding="utf-8")):
        exec(compile(cell, guide.name, "exec"), namespace)


def test_a_broken_link_would_be_noticed():
    assert LINK.findall("see [it](no/such.md#part), ![not](a.png), [nor](https://example.org)") == [
        "no/such.md"
    ]
