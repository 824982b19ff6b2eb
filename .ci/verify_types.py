"""How much of what other people import has a known type; below the floor this fails.

What is missing are arguments of compiled kernels, whose types are those of the arrays that come in.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

FLOOR = 0.975


def main() -> int:
    """Run pyright's check of a published package, say the score, name what is missing below the floor."""
    command = [sys.executable, "-m", "basedpyright", "--verifytypes", "canarykit", "--ignoreexternal"]
    answer = subprocess.run(
        [*command, "--pythonpath", sys.executable, "--outputjson"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    report = json.loads(answer.stdout)["typeCompleteness"]
    score = report["completenessScore"]
    print(f"types: {score:.1%} of {sum(report['exportedSymbolCounts'].values()):,} public symbols are known")
    if score >= FLOOR:
        return 0
    for symbol in report["symbols"]:
        if symbol["isExported"] and not symbol["isTypeKnown"] and symbol["diagnostics"]:
            print(f"  {symbol['name']}: {symbol['diagnostics'][0]['message'].splitlines()[0]}")
    print(f"expected at least {FLOOR:.1%}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
