"""The ramp of the simulated logs, and what is read of them."""

import canarykit as ck

FLAG = "new-checkout"
VALUE = f"$feature/{FLAG}"


def ramp(dwell="2d", **options):
    return ck.RolloutPlan.five_stages(
        FLAG,
        owner="ada@acme.io",
        team_domain="acme.io",
        beta_groups={"organization": ["blueriver"]},
        starts_at="2026-09-07T09:00:00Z",
        dwell=dwell,
        **options,
    )


def values(log, **options):
    return log.select(["person_id", "event", VALUE, "timestamp"], **options)
