"""Percentage rollouts and variant splits of sixteen vendors, from their own suites and engines.

Each op is answered by the public `bucket` and `split`, or by the rule behind them where a case starts from a
bucket instead of an id.
"""

import math

import numpy as np
import pytest

import canarykit as ck
from canarykit.bucketing import admits, find_spec, posthog_hash01
from canarykit.bucketing.splits import choose_by_range, choose_by_weight, growthbook_ranges
from canarykit.hashing import hash_ids, read_ids

CASE_FILE = "bucketing_vectors.jsonl"
ANSWERS = {}


def answers(vendor, *ops):
    def register(function):
        for op in ops:
            ANSWERS[vendor, op] = function
        return function

    return register


def test_the_vendor_answers_the_same(case, agrees):
    inputs = dict(case["inputs"])
    key = case["vendor"], inputs.pop("op")
    if key not in ANSWERS:
        pytest.fail(f"unknown op {key[1]!r} of vendor {key[0]!r}")
    got = ANSWERS[key](**inputs)
    expect = case["expect"]
    if key == ("posthog", "hash01"):
        assert_same_bits(got, expect)
    elif key in {("growthbook", "bucket_ranges"), ("growthbook", "equal_weights")}:
        assert np.allclose(np.ravel(got), np.ravel(expect), rtol=0, atol=1e-6)
        assert len(got) == len(expect)
    else:
        assert agrees(got, expect), f"got {got!r}, expected {expect!r}"


def assert_same_bits(got, expect):
    assert expect.keys() <= {"n", "binary64_hex", "value"}
    assert expect.keys()
    if "n" in expect:
        assert float(int(expect["n"])) / 2.0**60 == got
    if "binary64_hex" in expect:
        assert np.float64(got).view(np.uint64) == int(expect["binary64_hex"], 16)
    if "value" in expect:
        assert got == expect["value"]


def only(answer):
    """The answer for a column of one id; None where it is missing."""
    (value,) = answer.tolist() if hasattr(answer, "tolist") else answer
    return None if value is None or value != value else value


def number(value):
    """A bucket on a whole-number grid as the integer it is."""
    return None if value is None else int(value)


def chosen(codes, names):
    return None if codes[0] < 0 else names[codes[0]]


def inside(values, amount, vendor, **which):
    return bool(admits(np.atleast_1d(np.asarray(values, dtype=float)), amount, find_spec(vendor, **which))[0])


# ---- PostHog --------------------------------------------------------------------------------------------


@answers("posthog", "flag_split")
def _(flag_key, rollout_percentage, variants, id):
    if variants:
        variant = only(
            ck.split([id], flag=flag_key, generation="sdk", weights=variants, rollout=rollout_percentage)
        )
        return False if variant is None else True if variant == "true" else variant
    return inside(ck.bucket([id], flag=flag_key, generation="sdk"), rollout_percentage, "posthog")


@answers("posthog", "hash01")
def _(prefix, id, salt):
    return only(posthog_hash01([id], prefix=prefix, suffix=salt))


@answers("posthog", "truncate_id")
def _(id):
    return read_ids([id]).cut(find_spec("posthog").longest).chunks[0].texts[0].as_py()


@answers("posthog", "in_rollout")
def _(prefix, id, percentage):
    return inside(posthog_hash01([id], prefix=prefix), percentage, "posthog")


@answers("posthog", "threshold")
def _(hash01, percentage):
    return inside(hash01, percentage, "posthog")


@answers("posthog", "pick_variant")
def _(hash01, variants, config_version):
    codes, names = choose_by_weight(
        np.array([hash01]), variants, spec=find_spec("posthog", "variant"), is_seeded=config_version == 2
    )
    variant = chosen(codes, names)
    return None if variant == "true" else variant


# ---- LaunchDarkly, ConfigCat ----------------------------------------------------------------------------


@answers("launchdarkly", "bucket_value")
def launchdarkly(key, salt, seed, value):
    return only(ck.bucket([value], vendor="launchdarkly", **launchdarkly_fields(key, salt, seed)))


def launchdarkly_fields(key, salt, seed):
    return {"flag": key, "salt": salt} if seed is None else {"flag": key, "seed": seed}


@answers("launchdarkly", "bucket_int")
def _(key, salt, seed, value):
    return math.floor(launchdarkly(key, salt, seed, value) * 100_000)


@answers("launchdarkly", "segment_weight")
def _(segment_key, salt, weight, value):
    return inside(launchdarkly(segment_key, salt, None, value), weight, "launchdarkly")


@answers("configcat", "bucket")
def _(setting_key, id):
    return number(only(ck.bucket([id], vendor="configcat", flag=setting_key)))


@answers("configcat", "pick")
def _(setting_key, id, options):
    return only(ck.split([id], vendor="configcat", flag=setting_key, weights=options))


# ---- GrowthBook -----------------------------------------------------------------------------------------


@answers("growthbook", "unit")
def _(seed, id, hash_version):
    try:
        return only(ck.bucket([id], vendor="growthbook", seed=seed, flag="", generation=hash_version))
    except ck.PlanError:  # an unknown hash version excludes everyone
        return None


@answers("growthbook", "bucket_ranges")
def _(variations, coverage, weights):
    return growthbook_ranges(weights, coverage=coverage, variations=variations)


@answers("growthbook", "equal_weights")
def _(variations):
    return [end - start for start, end in growthbook_ranges(None, variations=variations)]


@answers("growthbook", "choose")
def _(n, ranges):
    return int(choose_by_range(np.array([n]), ranges)[0][0])


@answers("growthbook", "in_namespace")
def _(id, namespace):
    name, start, end = namespace
    values = ck.bucket(np.array([id]), vendor="growthbook", purpose="namespace", flag=name)
    return bool(choose_by_range(values, [(start, end)])[0][0] == 0)


# ---- murmur3: Unleash, Optimizely, Split, Amplitude, Harness ---------------------------------------------


@answers("unleash", "rollout_and_variant")
def _(group_id, rollout, id, variant_group_id, variants):
    enabled = inside(ck.bucket([id], vendor="unleash", flag=group_id), rollout, "unleash")
    variant = ck.split(
        [id],
        vendor="unleash",
        flag=variant_group_id,
        weights=variants,
        rollout=rollout,
        gate={"flag": group_id},
    )
    return {"enabled": enabled, "variant": only(variant)}


@answers("optimizely", "bucket")
def _(bucketing_id, parent_id):
    return number(only(ck.bucket([bucketing_id], vendor="optimizely", flag=parent_id)))


@answers("optimizely", "pick")
def _(bucket, traffic_allocation):
    starts = [0, *(end for _, end in traffic_allocation)]
    ranges = [(entity, start, end) for start, (entity, end) in zip(starts, traffic_allocation, strict=False)]
    return chosen(*choose_by_range(np.array([float(bucket)]), ranges)) or None


@answers("split", "bucket")
def _(algo, seed, key):
    generation = None if algo == 2 else "legacy"
    family = "murmur3" if algo == 2 else "java31"
    hashed = int(hash_ids([key], family, seed=seed if algo == 2 else 0)[0])
    if algo != 2:
        hashed ^= seed & 0xFFFFFFFF
        hashed -= (hashed >> 31) << 32
    return {
        "hash": hashed,
        "bucket": number(only(ck.bucket([key], vendor="split", seed=seed, generation=generation))),
    }


@answers("amplitude", "murmur3_x86_32")
def _(text, seed):
    return int(hash_ids([text], "murmur3", seed=seed)[0])


@answers("amplitude", "assign")
def _(salt, id, default, allocations):
    allocated = ck.bucket(np.array([id], dtype=object), vendor="amplitude", salt=salt)
    for allocation in allocations:
        if choose_by_range(allocated, [allocation["range"]])[0][0] == 0:
            ranges = [(name, *bounds) for name, bounds in allocation["distributions"]]
            variant = only(ck.split([id], vendor="amplitude", salt=salt, ranges=ranges))
            if variant is not None:
                return variant
    return default


@answers("harness", "bucket")
def _(bucket_by, value):
    return number(only(ck.bucket([value], vendor="harness", by=bucket_by)))


# ---- MD5: Eppo, Flagsmith -------------------------------------------------------------------------------


@answers("eppo", "rac_assign")
def _(flag_key, shards, percent_exposure, ranges, subject):
    return only(
        ck.split(
            [subject], vendor="eppo", generation="rac", flag=flag_key, total=shards,
            ranges=ranges, rollout=percent_exposure,
        )
    )  # fmt: skip


@answers("flagsmith", "percentage_split")
def _(segment_key, identity_key, percentage):
    return inside(ck.bucket([identity_key], vendor="flagsmith", flag=segment_key), percentage, "flagsmith")


@answers("flagsmith", "multivariate")
def _(feature_key, identity_key, control, variants):
    by_priority = sorted(variants, key=lambda variant: variant[2])
    places = [(place, weight) for place, (_, weight, _) in enumerate(by_priority)]
    place = only(
        ck.split([identity_key], vendor="flagsmith", flag=feature_key, weights=places, otherwise="control")
    )
    if place == "control":
        return {"value": control, "control": True}
    return {"value": by_priority[place][0], "control": False}


# ---- SHA-256: Statsig, Microsoft, Firebase --------------------------------------------------------------


@answers("statsig", "pass_percentage")
def _(config_salt, rule_salt, unit, percentage):
    values = ck.bucket([unit], vendor="statsig", salt=config_salt, rule=rule_salt)
    return inside(values, percentage, "statsig")


@answers("statsig", "experiment_group")
def _(experiment_salt, unit, groups):
    starts = [0, *(edge for _, edge in groups)]
    ranges = [(name, start, edge) for start, (name, edge) in zip(starts, groups, strict=False)]
    return only(ck.split([unit], vendor="statsig", salt=experiment_salt, ranges=ranges))


@answers("microsoft", "percentile")
def _(flag, user, percentile, seed):
    return only(ck.split([user], vendor="microsoft", flag=flag, seed=seed, ranges=percentile))


@answers("firebase", "percent")
def _(operator, seed, id, micro=None, lo=None, hi=None):
    bucket = only(ck.bucket([id], vendor="firebase", seed=seed))
    if bucket is None:
        return False
    match operator:  # an amount that is not given is 0; an unknown operator matches nobody
        case "LESS_OR_EQUAL":
            return bucket <= (micro or 0)
        case "GREATER_THAN":
            return bucket > (micro or 0)
        case "BETWEEN":
            return (lo or 0) < bucket <= (hi or 0)
    return False


# ---- FNV-1a and CRC-32: GO Feature Flag, Flipper --------------------------------------------------------


@answers("goff", "fnv1a_32")
def _(text):
    return int(hash_ids([text], "fnv1a")[0])


@answers("flipper", "open")
def _(feature, actors, percentage):
    return inside(
        ck.bucket(["".join(sorted(map(str, actors)))], vendor="flipper", flag=feature), percentage, "flipper"
    )
