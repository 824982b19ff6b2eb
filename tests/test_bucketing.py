"""A bucket is the vendor's own: its grid, its edges, its rule for people without an id."""

import dataclasses
import hashlib
import math

import mmh3
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import canarykit as ck
import canarykit.hashing
from canarykit.bucketing import VENDORS, admits, find_spec, posthog_hash01, rollout_share, vendor_names
from canarykit.bucketing.splits import choose_by_range, choose_by_weight, growthbook_ranges

SIXTEEN = {
    "posthog", "launchdarkly", "growthbook", "unleash", "optimizely", "split", "amplitude", "statsig",
    "microsoft", "firebase", "configcat", "eppo", "flagsmith", "flipper", "goff", "harness",
}  # fmt: skip
# what each vendor needs to be told
FIELDS = {
    "posthog": {"flag": "new-checkout"},
    "launchdarkly": {"flag": "new-checkout", "salt": "3f9a"},
    "growthbook": {"flag": "new-checkout"},
    "unleash": {"flag": "new-checkout"},
    "optimizely": {"flag": "1886780721"},
    "split": {"seed": -978497560},
    "amplitude": {"salt": "s1"},
    "statsig": {"salt": "s1", "rule": "r1"},
    "microsoft": {"flag": "Beta"},
    "firebase": {"seed": "abc"},
    "configcat": {"flag": "newCheckout"},
    "eppo": {"salt": "s1"},
    "flagsmith": {"flag": "78986"},
    "flipper": {"flag": "search"},
    "goff": {"flag": "new-checkout"},
    "harness": {"by": "identifier"},
    "flagd": {"flag": "new-checkout", "generation": "v2"},
}
EVERY_VENDOR = pytest.mark.parametrize("vendor", sorted(FIELDS))


def people(count, start=0):
    return pd.Series([f"user-{row}" for row in range(start, start + count)])


def spec_of(vendor):
    return find_spec(vendor, generation=FIELDS[vendor].get("generation"))


# ---- the table -----------------------------------------------------------------------------------------


def test_the_table_holds_sixteen_vendors_and_flagd_by_generation():
    assert set(vendor_names()) == SIXTEEN | {"flagd"}
    assert len({(spec.vendor, spec.purpose, spec.generation) for spec in VENDORS}) == len(VENDORS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        VENDORS[0].template = "{id}"


@EVERY_VENDOR
def test_a_series_keeps_its_index_and_carries_the_rule_that_made_it(vendor):
    ids = pd.Series(["a", None, "c"], index=[30, 10, 20], name="distinct_id")
    buckets = ck.bucket(ids, vendor=vendor, **FIELDS[vendor])
    assert buckets.index.tolist() == [30, 10, 20]
    assert buckets.name == "bucket"
    assert buckets.attrs == {"spec": spec_of(vendor).name, "missing": 1}
    assert buckets.dtype == np.float64


@EVERY_VENDOR
def test_every_kind_of_column_gives_the_same_buckets(vendor):
    expected = ck.bucket(["7", "8", None], vendor=vendor, **FIELDS[vendor])
    for ids in (
        pd.Series([7, 8, None]),  # pandas makes floats of integers with a gap
        pd.Series(["7", "8", None], dtype="category"),
        pd.Series([7, "8", None], dtype=object),
        pa.array(["7", "8", None]).dictionary_encode(),
    ):
        np.testing.assert_array_equal(ck.bucket(ids, vendor=vendor, **FIELDS[vendor]), expected)
    assert isinstance(ck.bucket(pa.array(["7"]), vendor=vendor, **FIELDS[vendor]), pa.Array)
    assert ck.bucket("7", vendor=vendor, **FIELDS[vendor]) == expected[0]


@EVERY_VENDOR
def test_the_compiled_form_gives_the_same_buckets(vendor, monkeypatch):
    ids = pd.Series([*people(300), "é", "😀", "", None, "x" * 300])
    expected = ck.bucket(ids, vendor=vendor, **FIELDS[vendor])
    monkeypatch.setattr(canarykit.hashing, "COMPILED_FROM", 1)
    pd.testing.assert_series_equal(ck.bucket(ids, vendor=vendor, **FIELDS[vendor]), expected)


# ---- people without an id ------------------------------------------------------------------------------


@EVERY_VENDOR
def test_a_missing_id_follows_the_vendors_rule(vendor):
    missing, empty = ck.bucket(pd.Series([None, ""], dtype=object), vendor=vendor, **FIELDS[vendor])
    match spec_of(vendor).missing:
        case "excluded":
            assert math.isnan(missing)
        case "bucket 0":
            assert missing == 0
        case "hashed as empty":
            assert missing == empty
    assert (vendor in {"statsig", "launchdarkly"}) == (not math.isnan(missing))


def test_microsoft_hashes_people_without_an_id_in_groups_and_variants_but_not_in_rollouts():
    for purpose, fields in (("group", {"group": "beta"}), ("variant", {})):
        missing, empty = ck.bucket([None, ""], vendor="microsoft", flag="Beta", purpose=purpose, **fields)
        assert missing == empty
    assert math.isnan(ck.bucket([None], vendor="microsoft", flag="Beta")[0])


def test_an_empty_id_is_in_posthogs_every_rollout_on_the_server_and_hashed_by_the_sdk():
    assert ck.bucket("", flag="new-checkout") == 0.0
    expected = int(hashlib.sha1(b"new-checkout.").hexdigest()[:15], 16) / 2**60
    assert ck.bucket("", flag="new-checkout", generation="sdk") == expected


def test_falsy_ids_are_missing_in_growthbook_and_numbers_read_as_javascript_writes_them():
    values = ck.bucket([0, "", False, None, "0", True, 3.0], vendor="growthbook", flag="f")
    assert np.isnan(values).tolist() == [True, True, True, True, False, False, False]
    assert values[5:].tolist() == ck.bucket(["true", "3"], vendor="growthbook", flag="f").tolist()


def test_launchdarkly_puts_what_is_no_text_or_whole_number_into_bucket_0():
    values = ck.bucket([True, 1.5, ["a"], None, 33333], vendor="launchdarkly", flag="hashKey", salt="saltyA")
    assert values[:4].tolist() == [0, 0, 0, 0]
    assert values[4] == ck.bucket("33333", vendor="launchdarkly", flag="hashKey", salt="saltyA")


def test_posthogs_server_cuts_long_ids_and_its_sdk_does_not():
    long, cut = "é" * 205, "é" * 200
    assert ck.bucket(long, flag="f") == ck.bucket(cut, flag="f")
    assert ck.bucket(long, flag="f", generation="sdk") != ck.bucket(cut, flag="f", generation="sdk")


def test_posthogs_hash_of_a_column_folds_in_prefix_and_suffix():
    ids = pd.Series(["user-17", None, 5, ""], dtype=object)
    values = posthog_hash01(ids, prefix="beta-search.", suffix="variant")
    expected = [
        int(hashlib.sha1(f"beta-search.{text}variant".encode()).hexdigest()[:15], 16) / 2**60
        for text in ("user-17", "5", "")
    ]
    assert values[[0, 2, 3]].tolist() == expected
    assert math.isnan(values[1])


# ---- edges ---------------------------------------------------------------------------------------------


def test_a_bucket_exactly_on_the_edge_is_in_where_the_vendor_says_so():
    half = np.array([0.5])
    assert admits(half, 50, find_spec("posthog")).tolist() == [True]
    assert admits(half, 50_000, find_spec("launchdarkly")).tolist() == [False]
    assert admits(half, 0.5, find_spec("growthbook")).tolist() == [True]
    assert admits(np.array([50.0]), 50, find_spec("unleash")).tolist() == [True]
    assert admits(np.array([50.0]), 50, find_spec("configcat")).tolist() == [False]


def test_nothing_and_everything():
    zero = np.array([0.0, np.nan])
    assert admits(zero, 0, find_spec("posthog")).tolist() == [True, False]  # inclusive: bucket 0 is in at 0 %
    assert admits(zero, 0, find_spec("growthbook")).tolist() == [False, False]
    assert admits(zero, None, find_spec("configcat")).tolist() == [True, False]
    top = np.array([100.0])
    assert admits(top, 100, find_spec("microsoft")).tolist() == [True]
    assert admits(top, 99.99, find_spec("microsoft")).tolist() == [False]


def test_weights_are_summed_from_left_to_right_in_binary64():
    spec = find_spec("posthog", "variant")
    codes, names = choose_by_weight(np.array([0.3]), [("ten", 10), ("twenty", 20), ("rest", 70)], spec=spec)
    assert names[codes[0]] == "twenty"  # 0.1 + 0.2 ends above 0.3


@pytest.mark.parametrize(
    "vendor, weights, expected",
    [
        ("posthog", {"a": 1}, "true"),
        ("launchdarkly", {"a": 1, "b": 1}, "b"),
        ("harness", {"a": 1, "b": 1}, "b"),
        ("split", {"a": 1}, "control"),
        ("flagsmith", {"a": 1}, "control"),
        ("configcat", {"a": 1}, None),
        ("optimizely", {"a": 1}, None),
    ],
)
def test_what_no_variant_takes_goes_where_the_vendor_sends_it(vendor, weights, expected):
    variants = ck.split(people(200), vendor=vendor, weights=weights, **FIELDS[vendor])
    others = variants[variants != "a"]
    assert {None if pd.isna(variant) else variant for variant in others} == {expected}


def test_posthogs_version_2_gives_the_rest_to_the_last_variant():
    assert set(ck.split(people(50), seed="x", weights={"a": 1, "b": 1})) <= {"a", "b"}


def test_a_negative_weight_is_refused_by_name():
    with pytest.raises(ck.PlanError, match="variant 'b' has weight -1, expected 0 or more"):
        ck.split(people(2), flag="f", weights={"a": 101, "b": -1})


def test_a_variant_of_weight_zero_never_wins():
    for vendor in ("posthog", "unleash", "configcat", "goff", "split"):
        variants = ck.split(
            people(500), vendor=vendor, weights={"none": 0, "all": 100, "never": 0}, **FIELDS[vendor]
        )
        assert set(variants) == {"all"}


def test_a_range_holds_its_start_and_not_its_end_but_for_the_last():
    values = np.array([0.0, 50.0, 99.9, 100.0, np.nan])
    ranges = [("On", 0, 50), ("Off", 50, 100)]
    codes, names = choose_by_range(values, ranges, closed_at=100)
    assert [None if code < 0 else names[code] for code in codes] == ["On", "Off", "Off", "Off", None]
    assert choose_by_range(values, ranges)[0].tolist() == [0, 1, 1, -1, -1]


def test_growthbook_shrinks_each_slice_in_place_and_mends_wrong_weights():
    assert growthbook_ranges([0.5, 0.5], coverage=0.5) == [(0.0, 0.25), (0.5, 0.75)]
    assert growthbook_ranges([0.4, 0.1]) == [(0.0, 0.5), (0.5, 1.0)]
    assert growthbook_ranges([0.4, 0.4, 0.2], variations=2) == [(0.0, 0.5), (0.5, 1.0)]
    assert growthbook_ranges([], variations=0) == []


# ---- against the vendors' formulas, written once more by hand ------------------------------------------


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_flagd_picks_by_the_formula_of_its_generation(generation):
    weights = {"red": 5, "green": 100, "blue": 20}
    total = sum(weights.values())

    def by_hand(key):
        if generation == "v1":
            bucket, unit = abs(mmh3.hash(key)) / (2**31 - 1) * 100, 100 / total
        else:
            bucket, unit = (mmh3.hash(key, signed=False) * total) >> 32, 1
        edge = 0
        for name, weight in weights.items():
            edge += weight * unit
            if bucket < edge:
                return name
        return None

    ids = people(2000)
    variants = ck.split(ids, vendor="flagd", generation=generation, flag="f", weights=weights)
    assert variants.tolist() == [by_hand(f"f{user}") for user in ids]
    custom = ck.split(ids, vendor="flagd", generation=generation, flag="", weights=weights)
    assert custom.tolist() == [by_hand(user) for user in ids]


def test_go_feature_flag_walks_its_variants_by_name_from_the_last():
    weights = {"alpha": 10, "zeta": 30, "mid": 20}

    def by_hand(key):
        state = 0x811C9DC5
        for byte in key.encode():
            state = (state ^ byte) * 0x01000193 & 0xFFFFFFFF
        bucket, edge = state % (60 * 1000), 0
        for name in ("zeta", "mid", "alpha"):
            edge += weights[name] * 1000
            if bucket < edge:
                return name
        return None

    ids = people(500)
    assert ck.split(ids, vendor="goff", flag="f", weights=weights).tolist() == [
        by_hand(f"f{user}") for user in ids
    ]


def test_flagsmith_hashes_again_what_comes_out_at_exactly_100():
    def whole(text):
        return int(hashlib.md5(text.encode()).hexdigest(), 16) % 9999 / 9998 * 100

    ids = people(60_000)
    hundreds = [user for user in ids if whole(f"55,{user}") == 100]
    assert hundreds
    values = ck.bucket(pd.Series([*hundreds, *ids[:100]]), vendor="flagsmith", flag="55")
    assert values.tolist() == [
        *(whole(f"55,{user},55,{user}") for user in hundreds),
        *(whole(f"55,{user}") for user in ids[:100]),
    ]


def test_firebase_takes_the_whole_digest():
    expected = [int(hashlib.sha256(f"abc.{user}".encode()).hexdigest(), 16) % 10**8 for user in people(50)]
    assert ck.bucket(people(50), vendor="firebase", seed="abc").tolist() == expected
    unseeded = [int(hashlib.sha256(user.encode()).hexdigest(), 16) % 10**8 for user in people(50)]
    assert ck.bucket(people(50), vendor="firebase", seed="").tolist() == unseeded


def test_eppo_asks_its_exposure_hash_before_its_assignment_hash():
    def shard(text, shards=1000):
        return int(hashlib.md5(text.encode()).hexdigest()[:8], 16) % shards

    ids = people(300)
    variants = ck.split(
        ids, vendor="eppo", generation="rac", flag="f", total=1000, rollout=0.4,
        ranges=[("control", 0, 500), ("test", 500, 1000)],
    )  # fmt: skip
    for user, variant in zip(ids, variants, strict=True):
        exposed = shard(f"exposure-{user}-f") <= 400
        expected = ("control" if shard(f"assignment-{user}-f") < 500 else "test") if exposed else None
        assert (None if pd.isna(variant) else variant) == expected


# ---- ramps and shares ----------------------------------------------------------------------------------


def amount(vendor, share):
    """A share in the unit of the vendor's rollout."""
    return spec_of(vendor).full * share


@EVERY_VENDOR
def test_a_ramp_only_adds_people(vendor):
    buckets = ck.bucket(people(5000), vendor=vendor, **FIELDS[vendor]).to_numpy()
    small, large = (admits(buckets, amount(vendor, share), spec_of(vendor)) for share in (0.05, 0.2))
    assert not (small & ~large).any()
    assert 0.035 < small.mean() < 0.07
    assert 0.17 < large.mean() < 0.23


def test_two_hashes_or_slices_in_place_keep_everyone_in_their_variant_as_a_rollout_grows():
    for vendor, rollouts, weight in (
        ("posthog", (10, 20), 50),
        ("growthbook", (0.1, 0.2), 0.5),
        ("unleash", (10, 20), 500),
    ):
        before, after = (
            ck.split(
                people(3000),
                vendor=vendor,
                rollout=rollout,
                weights={"a": weight, "b": weight},
                **FIELDS[vendor],
            )
            for rollout in rollouts
        )
        enrolled = before.notna()
        assert enrolled.sum() > 200
        assert (before[enrolled] == after[enrolled]).all()


def test_one_hash_with_contiguous_ranges_flips_half_of_those_enrolled():
    before, after = (
        ck.split(people(5000), vendor="configcat", flag="f", weights={"a": share, "b": share})
        for share in (5, 10)
    )
    enrolled = before.notna()
    flipped = (before[enrolled].astype(object) != after[enrolled].astype(object)).mean()
    assert 0.45 < flipped < 0.56


@pytest.mark.parametrize(
    "vendor, asked, share",
    [
        ("growthbook", 0.05, 0.051),  # 0 to 50 of 1,000 buckets
        ("unleash", 12.5, 0.12),  # whole buckets of a hundred
        ("configcat", 5, 0.05),
        ("flipper", 0.5, 0.005),
        ("posthog", 5, 0.05),
        ("statsig", 0.015, 0.0002),
    ],
)
def test_the_share_to_expect_follows_from_the_grid_not_from_the_number_asked_for(vendor, asked, share):
    assert rollout_share(asked, vendor=vendor) == pytest.approx(share, abs=1e-12)


def test_growthbooks_second_version_has_finer_buckets():
    assert rollout_share(0.05, vendor="growthbook", generation=2) == pytest.approx(0.0501)
    buckets = ck.bucket(people(20_000), vendor="growthbook", flag="f", generation=2)
    assert abs((buckets <= 0.05).mean() - 0.0501) < 0.006


# ---- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"vendor": "postog", "flag": "f"}, r"no vendor 'postog'.*Did you mean 'posthog'"),
        (
            {"vendor": "launchdarkly", "flag": "f"},
            r"launchdarkly hashes '\{flag\}.\{salt\}.\{id\}': say salt=",
        ),
        ({"vendor": "flagd", "flag": "f"}, "different buckets; say generation='v1' or 'v2'"),
        ({"vendor": "flagd", "flag": "f", "generation": "v7"}, "no generation 'v7'; known are 'v1', 'v2'"),
        ({"vendor": "configcat", "flag": "f", "salt": "x"}, "in which salt has no place"),
        ({"vendor": "split", "flag": "f"}, "say seed="),
        ({"vendor": "split", "seed": "abc"}, "split takes a whole number as seed, not 'abc'"),
        ({"flag": "f", "purpose": "namespace"}, "posthog has no 'namespace' hash"),
        ({"flag": "f", "total": 5}, "has no number of buckets to choose, total is 5"),
        ({"vendor": "eppo", "salt": "s", "total": 0}, "total is 0, expected a number of buckets"),
    ],
)
def test_a_bucket_that_cannot_be_told_says_what_is_missing(fields, message):
    with pytest.raises(ck.PlanError, match=message):
        ck.bucket(["a"], **fields)


def test_a_split_that_cannot_be_told_says_why():
    with pytest.raises(ck.PlanError, match="flipper has no variants"):
        ck.split(["a"], vendor="flipper", flag="f", weights={"a": 1})
    with pytest.raises(ck.PlanError, match="either weights= or ranges="):
        ck.split(["a"], flag="f")
    with pytest.raises(ck.PlanError, match="one hash for rollout and variants"):
        ck.split(["a"], vendor="configcat", flag="f", weights={"a": 1}, rollout=5)


def test_a_flags_key_may_hold_dots_braces_spaces_and_newlines():
    for key in ("a.b", "{id}", "a b\nc", "{flag}"):
        expected = int(hashlib.sha1(f"{key}.u".encode()).hexdigest()[:15], 16) / 2**60
        assert ck.bucket("u", flag=key) == expected


def test_variants_without_any_weight_and_no_variants_at_all_leave_only_the_fallback():
    assert ck.split(["u"], vendor="unleash", flag="f", weights=[("a", 0), ("b", 0)]).tolist() == [None]
    for weights in ([], [("a", 0)]):
        assert ck.split(
            ["u"], vendor="flagsmith", flag="f", weights=weights, otherwise="control"
        ).tolist() == ["control"]
