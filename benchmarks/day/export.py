"""The release that the day is spent on: made once for each number of people, and kept."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import canarykit as ck

__all__ = ["EVENTS_PER_PERSON", "FLAG", "PLAN", "STAGE", "STEPS", "Export", "export_of"]

FLAG = "new-checkout"
STAGE = "expanded beta 25%"
STEPS = ["signup started", "signup finished", "paid"]
EVENTS_PER_PERSON = 37
PLAN = ck.RolloutPlan.five_stages(
    FLAG,
    owner="ada@acme.io",
    team_domain="acme.io",
    beta_groups={"organization": ["blueriver"]},
    ramp=(5, 25, 50),
    starts_at="2026-09-07T09:00:00Z",
)


@dataclass(frozen=True)
class Export:
    """A folder as PostHog's export fills it: events with JSON properties, persons and groups, in Parquet."""

    folder: Path

    @property
    def events(self) -> Path:
        return self.folder / "events.parquet"

    @property
    def tables(self) -> dict[str, Path]:
        """The smaller files, by the argument that takes them."""
        return {"persons": self.folder / "persons.parquet", "groups": self.folder / "groups.parquet"}


def export_of(people: int) -> Export:
    """The export of so many people: from the folder of an earlier run, else simulated."""
    base = Path(os.environ.get("CANARYKIT_BENCH_DIR") or tempfile.gettempdir())
    export = Export(base / f"canarykit-day-{ck.__version__}-{people}-people")
    if not all(path.exists() for path in (export.events, *export.tables.values())):
        ck.simulate_rollout(PLAN, ck.Population(people), rng=7, path=export.folder, progress=False)
    return export
