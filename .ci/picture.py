"""Draw the README's picture from the sample data: `make picture`."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

import canarykit as ck
from canarykit import metrics

ROOT = Path(__file__).parents[1]
DATA = ROOT / "sample_data"
STAGE = "expanded beta 5%"


def main() -> None:
    """Funnel by flag on the left, verdict on the right."""
    log = ck.read_posthog(
        DATA / "events.parquet", persons=DATA / "persons.parquet", groups=DATA / "groups.parquet"
    )
    plan = ck.RolloutPlan.from_json(DATA / "plan.json")
    _, end = plan.window(STAGE)
    steps = ["signup started", "signup finished", "paid"]
    funnel = ck.funnel_by_flag(log, steps, plan=plan, stage=STAGE, within="1d", attribution="exposure")
    guardrails = [
        ck.Guardrail("$exception", margin_ratio=1.5),
        ck.Guardrail(metrics.Conversion("paid", within="1d"), worse="lower", margin_ratio=0.9),
    ]
    report = ck.evaluate_stage(log, plan, STAGE, guardrails, as_of=end)
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.4), layout="constrained")
    funnel.plot(ax=left)
    report.plot(ax=right)
    figure.savefig(ROOT / ".ci" / "picture.png", dpi=110)


if __name__ == "__main__":
    main()
