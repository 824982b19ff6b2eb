"""Hand-made releases with a known truth, in the shape of a PostHog export; small enough to reason about."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

import canarykit as ck

FLAG = "new-checkout"
STAGE = "expanded beta 25%"
AS_OF = "2026-09-20T12:00:00Z"
ERRORS = ck.Guardrail("$exception", critical=True)


def ramp_plan(**options):
    """Five stages from 7 September 2026, three days each."""
    return ck.RolloutPlan.five_stages(
        FLAG,
        owner="ada@acme.io",
        team_domain="acme.io",
        beta_domains=["twitter.com"],
        starts_at="2026-09-07T09:00:00Z",
        **options,
    )


@dataclass
class Release:
    events: pd.DataFrame
    persons: pd.DataFrame

    @property
    def log(self):
        return ck.EventLog(self.events, persons=self.persons)


def make_release(
    stage="expanded beta 25%",
    *,
    n=3000,
    harm=1.0,
    base=0.04,
    paid=0.3,
    paid_ratio=1.0,
    share=None,
    lost=0.0,
    flicker=0.0,
    team=0,
    days=1.0,
    plan=None,
    canary="true",
    control="false",
    seed=11,
):
    """People who come in evenly over `days` from the stage's start, and what happens to them.

    `harm` multiplies the canary's error share, `paid_ratio` its payments; `lost` canary people are never
    recorded, `flicker` of the people see both variants, `team` people have the canary by rule.
    """
    rng = np.random.default_rng(seed)
    plan = plan or ramp_plan()
    start = plan.window(stage)[0]
    share = plan.share(stage) if share is None else share
    ids = np.array([f"u{i}" for i in range(n)])
    on = rng.random(n) < share
    at = start + pd.to_timedelta(rng.random(n) * days * 86_400, unit="s")
    kept = ~(on & (rng.random(n) < lost))

    def events(name, who, times, **columns):
        return pd.DataFrame({"event": name, "timestamp": times[who], "distinct_id": ids[who], **columns})

    called = {"$feature_flag": FLAG}
    parts = [events("$feature_flag_called", kept, at, **called)]
    parts[0]["$feature_flag_response"] = np.where(on, canary, control)[kept]
    both = kept & (rng.random(n) < flicker)
    parts.append(events("$feature_flag_called", both, at + pd.Timedelta(minutes=1), **called))
    parts[1]["$feature_flag_response"] = np.where(on, control, canary)[both]
    failed = kept & (rng.random(n) < np.where(on, base * harm, base))
    parts.append(events("$exception", failed, at + pd.Timedelta(minutes=5)))
    bought = kept & (rng.random(n) < np.where(on, paid * paid_ratio, paid))
    later = at + pd.to_timedelta(rng.exponential(3600, n), unit="s")
    parts.append(events("paid", bought, later, amount=rng.lognormal(3, 1, int(bought.sum())).round(2)))
    parts.append(events("$pageview", kept, at + pd.Timedelta(minutes=2)))
    if team:
        members = np.array([f"t{i}" for i in range(team)])
        parts.append(
            pd.DataFrame(
                {
                    "event": "$feature_flag_called",
                    "timestamp": start + pd.Timedelta(hours=1),
                    "distinct_id": members,
                    "$feature_flag": FLAG,
                    "$feature_flag_response": canary,
                }
            )
        )
        ids = np.concatenate([ids, members])
    emails = [f"{i}@acme.io" if i.startswith("t") else f"{i}@example.com" for i in ids]
    frame = pd.concat([part for part in parts if len(part)], ignore_index=True)
    frame["timestamp"] = frame["timestamp"].dt.as_unit("us")
    frame["uuid"] = [f"e{i}" for i in range(len(frame))]
    frame["person_id"] = frame["distinct_id"]
    persons = pd.DataFrame({"person_id": ids, "distinct_id": ids, "email": emails})
    return Release(frame, persons)


def judge(release, stage=STAGE, guardrails=ERRORS, *, plan=None, as_of=AS_OF, **options):
    log = release if isinstance(release, ck.EventLog) else release.log
    return ck.evaluate_stage(log, plan or ramp_plan(), stage, guardrails, as_of=as_of, **options)
