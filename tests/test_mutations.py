"""The list of broken rules stays in step with the code and with the table in README.md."""

import tomllib
from pathlib import Path

HERE = Path(__file__).parent
LISTED = tomllib.loads((HERE / "mutations.toml").read_text(encoding="utf-8"))["mutation"]


def test_every_rule_to_be_broken_is_still_written_as_listed():
    gone = [
        m["rule"]
        for m in LISTED
        if m["keeps"] not in (HERE.parent / "canarykit" / m["file"]).read_text(encoding="utf-8")
    ]
    assert gone == []


def test_every_broken_rule_has_a_test_that_notices():
    table = (HERE / "README.md").read_text(encoding="utf-8")
    assert [m["rule"] for m in LISTED if f"| {m['rule']} |" not in table] == []
    assert "not caught" not in table.split("## Broken rules", 1)[1]
