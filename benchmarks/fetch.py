"""Events of a project fetched over both roads into files: how long, and how much memory the client needs.

The project is the tests' loopback server with a made-up million events a day; the client is a process of its
own, whose peak is asked of Linux.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROWS = 5_000_000
DAY = 1_000_000
CLIENT = """
import json, re, sys, time
from pathlib import Path
import canarykit as ck
url, folder, until, road = sys.argv[1:]
peak_mb = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
project = ck.PostHog(url, 7, record=f"{folder}/release.jsonl")
project.events(into=f"{folder}/empty", since="2026-09-01T00:00:00Z", until="2026-09-01T00:01:00Z", road=road)
loaded = peak_mb()
begun = time.perf_counter()
fetched = project.events(into=f"{folder}/{road}", since="2026-09-01T00:00:00Z", until=until, road=road)
took, peak = time.perf_counter() - begun, peak_mb()
print(json.dumps([fetched.events, took, peak, peak - loaded]))
"""


def run(rows: int) -> Iterator[dict[str, Any]]:
    """One line a road; `peak_mb` is the whole client, `beyond_mb` what the events added to an idle one."""
    from tests.posthog_server.model import KEY, Project
    from tests.posthog_server.serve import serving
    from tests.posthog_server.warehouse import Warehouse

    warehouse = Warehouse()
    warehouse.run(
        "insert into stored_events select generateUUIDv4(number), 'paid', "
        "concat('user-', toString(number % 500000)), toUUID(substring(toString(generateUUIDv4(1)), 1, 36)), "
        'concat(\'{"amount": \', toString(number % 1000), \', "$current_url": "https://shop.example/\', '
        "repeat('x', 800), '\"}'), "
        f"toDateTime64('2026-09-01 00:02:00', 6, 'UTC') + toIntervalSecond(intDiv(number * 86400, {DAY})), "
        f"toDateTime64('2026-09-01 00:02:00', 6, 'UTC') from numbers({rows})"
    )
    days = rows // DAY + 1
    with serving(Project("new"), warehouse) as server, TemporaryDirectory() as folder:
        for road in ("file download", "hogql"):
            done = subprocess.run(
                [sys.executable, "-c", CLIENT, server.url, folder, f"2026-09-{1 + days:02d}T01:00:00Z", road],
                check=True, stdout=subprocess.PIPE, text=True,
                env={**os.environ, "POSTHOG_PERSONAL_API_KEY": KEY}, cwd=Path(__file__).parents[1],
            )  # fmt: skip
            events, took, peak, beyond = json.loads(done.stdout)
            assert events == rows, f"{events} of {rows} arrived over {road}"
            measured = {"ours_s": round(took, 1), "peak_mb": round(peak), "beyond_mb": round(beyond)}
            peer = {"peer": None, "peer_s": None, "ratio": None}
            yield {"bench": f"fetch, {road}", "size": rows, **measured, **peer}
