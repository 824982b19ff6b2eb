"""Buckets and variants equal those of the vendors' own SDKs, run offline on the same ids."""

import json
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

import canarykit as ck
from canarykit.bucketing import admits, find_spec


def some_ids(count):
    """Short ids, numbers as text, UUID-like ids, accents, emoji, long ids."""
    rng = np.random.default_rng(20260907)
    shapes = ("user-{n}", "{n}", "{n:032x}", "Ünï-{n}", "😀{n}漢", "{n}" + "x" * 210)
    return pd.Series([shapes[n % len(shapes)].format(n=int(rng.integers(10**9))) for n in range(count)])


def answers(variants):
    return [None if pd.isna(variant) else variant for variant in variants]


# ---- GrowthBook -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("coverage", [1.0, 0.35])
@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.1, 0.2, 0.7], [0.4, 0.1]])
def test_growthbook_experiments_pick_the_same_variation(generation, coverage, weights):
    growthbook = import_module("growthbook")
    ids = some_ids(240)
    names = [f"variation {number}" for number in range(len(weights))]
    ours = ck.split(
        ids, vendor="growthbook", flag="checkout-test", generation=generation,
        weights=zip(names, weights, strict=True), rollout=coverage,
    )  # fmt: skip
    theirs = []
    for user in ids:
        experiment = growthbook.Experiment(
            key="checkout-test", variations=names, weights=weights, coverage=coverage, hashVersion=generation
        )
        result = growthbook.GrowthBook(attributes={"id": user}).run(experiment)
        theirs.append(result.value if result.inExperiment else None)
    assert answers(ours) == theirs
    assert len(set(theirs)) > len(weights) - (coverage == 1)


@pytest.mark.parametrize("generation", [1, 2])
def test_growthbook_force_rules_let_in_the_same_people_but_for_the_bucket_at_the_edge(generation):
    # the JavaScript SDK includes the edge, as does Python up to 3; Python 4 leaves that one bucket out
    growthbook = import_module("growthbook")
    ids = some_ids(300)
    rule = {"force": True, "coverage": 0.2, "hashVersion": generation, "seed": "ramp"}
    features = {"new-checkout": {"defaultValue": False, "rules": [rule]}}
    theirs = [
        growthbook.GrowthBook(attributes={"id": user}, features=features).is_on("new-checkout")
        for user in ids
    ]
    values = ck.bucket(ids, vendor="growthbook", seed="ramp", generation=generation)
    spec = find_spec("growthbook", "rollout", generation)
    inside, on_edge = admits(values.to_numpy(), 0.2, spec), (values == 0.2).to_numpy()
    assert inside[on_edge].all()
    assert (inside == theirs)[~on_edge].all()
    assert 0.1 < np.mean(theirs) < 0.3


# ---- Unleash --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rollout", [0, 1, 37, 100])
def test_unleash_enables_the_same_people_and_gives_them_the_same_variant(rollout):
    yggdrasil = import_module("yggdrasil_engine.engine")
    ids = some_ids(300)
    weights = {"control": 500, "loud": 120, "quiet": 380}
    engine = yggdrasil.UnleashEngine()
    strategy = {
        "name": "flexibleRollout",
        "parameters": {"rollout": str(rollout), "stickiness": "userId", "groupId": "checkout group"},
        "constraints": [],
        "variants": [],
    }
    variants = [
        {"name": name, "weight": weight, "stickiness": "userId", "payload": None}
        for name, weight in weights.items()
    ]
    feature = {"name": "new-checkout", "type": "release", "enabled": True, "strategies": [strategy]}
    engine.take_state(json.dumps({"version": 2, "features": [{**feature, "variants": variants}]}))
    theirs = []
    for user in ids:
        variant = engine.get_variant("new-checkout", {"userId": user})
        variant = getattr(variant, "variant", variant)  # wrapped since version 2
        theirs.append(variant.name if variant is not None and variant.enabled else None)
    ours = ck.split(
        ids, vendor="unleash", flag="new-checkout", weights=weights,
        rollout=rollout, gate={"flag": "checkout group"},
    )  # fmt: skip
    assert answers(ours) == theirs
    values = ck.bucket(ids, vendor="unleash", flag="checkout group")
    inside = admits(values.to_numpy(), rollout, find_spec("unleash"))
    assert inside.tolist() == [variant is not None for variant in theirs]


# ---- Optimizely -----------------------------------------------------------------------------------------


def test_optimizely_puts_people_in_the_same_variation():
    optimizely = import_module("optimizely.optimizely")
    ids = some_ids(300)
    sizes = {"v1": 2500, "": 1000, "v2": 4500}
    ends = np.cumsum(list(sizes.values())).tolist()
    variations = [{"id": key, "key": key, "featureEnabled": True, "variables": []} for key in ("v1", "v2")]
    experiment = {
        "id": "1886780721", "key": "checkout-test", "layerId": "1", "status": "Running", "audienceIds": [],
        "forcedVariations": {}, "variations": variations,
        "trafficAllocation": [
            {"entityId": entity, "endOfRange": end} for entity, end in zip(sizes, ends, strict=True)
        ],
    }  # fmt: skip
    datafile = {
        "version": "4", "revision": "1", "accountId": "1", "projectId": "1", "anonymizeIP": True,
        "botFiltering": False, "groups": [], "audiences": [], "typedAudiences": [], "attributes": [],
        "events": [], "variables": [], "rollouts": [], "experiments": [experiment],
        "featureFlags": [
            {"id": "9", "key": "new-checkout", "rolloutId": "", "experimentIds": ["1886780721"],
             "variables": []}
        ],
    }  # fmt: skip
    client = optimizely.Optimizely(datafile=json.dumps(datafile))
    theirs = [
        client.create_user_context(user).decide("new-checkout", ["DISABLE_DECISION_EVENT"]).variation_key
        for user in ids
    ]
    ours = ck.split(ids, vendor="optimizely", flag="1886780721", weights=sizes)
    assert [variant or None for variant in answers(ours)] == theirs
    assert set(theirs) == {"v1", "v2", None}


# ---- LaunchDarkly ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 61])
def test_launchdarkly_serves_the_same_variation(seed, tmp_path):
    ldclient = import_module("ldclient")
    from ldclient.integrations import Files

    ids = some_ids(300)
    weights = {"control": 20_000, "loud": 30_000, "quiet": 49_000}  # what is left goes to the last
    rollout = {
        "variations": [{"variation": n, "weight": weight} for n, weight in enumerate(weights.values())]
    }
    flag = {
        "key": "new-checkout", "version": 1, "on": True, "salt": "3f9a", "variations": list(weights),
        "offVariation": 0, "fallthrough": {"rollout": rollout if seed is None else {**rollout, "seed": seed}},
        "targets": [], "rules": [], "prerequisites": [], "trackEvents": False,
    }  # fmt: skip
    file = tmp_path / "flags.json"
    file.write_text(json.dumps({"flags": {"new-checkout": flag}}))
    config = ldclient.Config(
        "offline", update_processor_class=Files.new_data_source(paths=[str(file)]), send_events=False
    )
    client = ldclient.LDClient(config)
    try:
        theirs = [client.variation("new-checkout", ldclient.Context.create(user), None) for user in ids]
    finally:
        client.close()
    fields = {"salt": "3f9a"} if seed is None else {"seed": seed}
    ours = ck.split(ids, vendor="launchdarkly", flag="new-checkout", weights=weights, **fields)
    assert answers(ours) == theirs
    assert set(theirs) == set(weights)


# ---- PostHog --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rollout", [10, 45, 100])
def test_posthogs_sdk_gives_the_same_variant_to_ids_it_does_not_cut(rollout):
    feature_flags = import_module("posthog.feature_flags")
    ids = some_ids(300)
    weights = {"first": 10, "second": 20, "third": 33.33, "fourth": 36.67}
    definition = {
        "key": "new-checkout",
        "active": True,
        "filters": {
            "groups": [{"properties": [], "rollout_percentage": rollout}],
            "multivariate": {
                "variants": [{"key": key, "rollout_percentage": share} for key, share in weights.items()]
            },
        },
    }
    theirs = [
        feature_flags.match_feature_flag_properties(definition, user, {}, bucketing_value=user) or None
        for user in ids
    ]
    ours = ck.split(ids, flag="new-checkout", weights=weights, rollout=rollout, generation="sdk")
    assert answers(ours) == theirs
