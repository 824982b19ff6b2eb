"""The README's code runs and prints what the README says."""

import contextlib
import io
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\s*^```text\n(?P<printed>.*?)^```)?", re.S | re.M)


def test_the_code_of_the_readme_prints_what_stands_below_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    namespace: dict = {}
    blocks = list(BLOCK.finditer((ROOT / "README.md").read_text()))
    assert blocks
    for block in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block["code"], "README.md", "exec"), namespace)
        if block["printed"] is not None:
            assert printed.getvalue().strip() == block["printed"].strip()


def test_what_the_readme_links_to_exists():
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (ROOT / target).exists(), target
