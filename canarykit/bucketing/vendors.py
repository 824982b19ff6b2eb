"""One frozen row per vendor, purpose and generation: what is hashed, how, and who is in.

Each row was checked against the vendor's own test vectors or engine; `tests/conformance` runs them. Only the
percentage rollout and the variant split are here. The full targeting rules of other vendors (segments,
prerequisites, sticky stores) are out of scope: their SDKs evaluate flags, canarykit buckets ids and audits
what was logged. PostHog's rules are evaluated in full, by `evaluate_flag`.

Where a vendor's own SDKs differ, the row follows the vendor's specification. GrowthBook's rollouts include
the edge (its Python SDK, from version 4, leaves that one bucket out). Texts are hashed as UTF-8 but for
GrowthBook and Split's legacy hash, which take UTF-16 units (Unleash's Node SDK takes their low bytes only, so
it disagrees with Unleash's other SDKs beyond ASCII).

Stored assignments cannot be derived from a hash: Optimizely's user profiles, GrowthBook's sticky buckets,
PostHog's "persist across authentication", Unleash's random stickiness.

References
----------
Public repositories: PostHog/posthog and posthog-python; launchdarkly/python-server-sdk and sdk-test-harness;
growthbook/growthbook; Unleash/client-specification and yggdrasil; optimizely/python-sdk;
splitio/python-client; amplitude/experiment-js-client; statsig-io/python-sdk;
microsoft/FeatureManagement-Python; firebase/firebase-admin-python; configcat/python-sdk;
Eppo-exp/sdk-test-data; Flagsmith/engine-test-data; flippercloud/flipper; thomaspoignant/go-feature-flag;
harness/ff-python-server-sdk; open-feature/flagd.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Literal

from canarykit.errors import PlanError, did_you_mean
from canarykit.hashing.arrow_texts import Unusual

if TYPE_CHECKING:
    import pandas as pd

Purpose = Literal["rollout", "variant", "holdout", "namespace", "group"]
Absent = Literal["excluded", "hashed as empty", "bucket 0"]
Empty = Literal["hashed", "as missing", "bucket 0"]


@dataclass(frozen=True, kw_only=True)
class VendorSpec:
    """How one vendor turns an id into a bucket, and a bucket into in or out.

    `edge` and `comparison` say who is in at an amount `p`, given in the vendor's own `unit`: those whose
    bucket is `comparison` `p * edge[0] / edge[1]`.
    """

    vendor: str
    version: str  # of the hash: carried in every result
    template: str  # the text that is hashed; {id} and the fields it needs
    family: str  # see canarykit.hashing
    scale: str  # from the hash to the bucket, see canarykit.bucketing.scales
    comparison: Literal["<", "<="]
    purpose: Purpose = "rollout"
    generation: str | None = None  # where a vendor has changed its hash: asked for by name
    seeded: str | None = None  # the template where a seed is given
    hash_seed: int | None = 0  # of the hash itself; None: the caller's seed
    total: int | None = None  # number of equally likely buckets; None: a fine grid of its own
    edge: tuple[float, float] = (1, 1)
    full: float = 100  # the amount that means everyone ...
    everyone_at_full: bool = True  # ... whatever the bucket
    nobody_at_zero: bool = False  # an amount of 0 admits nobody, even in bucket 0 of an inclusive edge
    unit: str = "percent"
    missing: Absent = "excluded"
    empty: Empty = "hashed"
    unusual: Unusual = "refuse"  # booleans and fractional floats as ids, see canarykit.hashing
    longest: int | None = None  # ids are cut to so many characters

    @property
    def name(self) -> str:
        """Vendor, purpose and version, as results carry it."""
        return f"{self.vendor} {self.purpose} {self.version}"

    def around(self, values: Mapping[str, object]) -> tuple[str, str]:
        """The text before and after the id, from the named fields; `seeded` where a seed is given.

        Raises
        ------
        PlanError
            If a field that is hashed is not given, or one is given that is not hashed.
        """
        has_seed = self.seeded is not None and values.get("seed") not in {None, ""}
        template = self.seeded if has_seed and self.seeded is not None else self.template
        needed = {field for _, field, _, _ in Formatter().parse(template) if field} - {"id"}
        if self.hash_seed is None:
            needed.add("seed")
        for field in sorted(needed):
            if values.get(field) is None:
                raise PlanError(f"{self.vendor} hashes {template!r}: say {field}=...")
        # the flag's name may always be said; a seed may be the empty text, which is none
        for field, value in values.items():
            if value not in {None, ""} and field != "flag" and field not in needed:
                raise PlanError(
                    f"{self.vendor} ({self.purpose}) hashes {template!r}, in which {field} has no place"
                )
        before, after = template.split("{id}")
        return before.format(**values), after.format(**values)


def _rows() -> Iterable[VendorSpec]:
    yield from _sha1_vendors()
    yield from _other_digest_vendors()
    yield from _murmur_vendors()
    yield from _small_hash_vendors()


_TWO_PURPOSES: tuple[Purpose, ...] = ("rollout", "variant")
_POSTHOG: tuple[tuple[Purpose, str, str], ...] = (
    ("rollout", "{flag}.{id}", "{seed}.{id}"),
    ("variant", "{flag}.{id}variant", "{seed}.{id}variant"),
    ("holdout", "holdout-{id}", "{seed}{id}"),
)
_MICROSOFT: tuple[tuple[Purpose, str, str | None], ...] = (
    ("rollout", "{id}\n{flag}", None),
    ("group", "{id}\n{flag}\n{group}", None),
    ("variant", "{id}\nallocation\n{flag}", "{id}\n{seed}"),
)
_EPPO_RAC: tuple[tuple[Purpose, str], ...] = (
    ("rollout", "exposure-{id}-{flag}"),
    ("variant", "assignment-{id}-{flag}"),
    ("holdout", "holdout-{id}"),
)


def _sha1_vendors() -> Iterable[VendorSpec]:
    for generation in (None, "sdk"):  # the server cuts long ids and lets empty ones in; SDKs hash both
        server = generation is None
        for purpose, template, seeded in _POSTHOG:
            yield VendorSpec(
                vendor="posthog", version="sha1_60_v1", generation=generation, purpose=purpose,
                template=template, seeded=seeded, family="sha1", scale="60 bits",
                comparison="<" if purpose == "variant" else "<=", edge=(1, 100),
                empty="bucket 0" if server else "hashed", longest=200 if server else None,
            )  # fmt: skip
    yield VendorSpec(
        vendor="launchdarkly", version="sha1_60", template="{flag}.{salt}.{id}", seeded="{seed}.{id}",
        family="sha1", scale="60 bits", comparison="<", edge=(1, 100_000), full=100_000,
        everyone_at_full=False, unit="of 100,000", missing="bucket 0", unusual="mark",
    )  # fmt: skip
    yield VendorSpec(
        vendor="configcat", version="sha1_28", template="{flag}{id}", family="sha1", scale="28 bits",
        comparison="<", total=100,
    )  # fmt: skip


def _other_digest_vendors() -> Iterable[VendorSpec]:
    """Systems that hash with SHA-256 or MD5."""
    yield VendorSpec(
        vendor="statsig", version="sha256_64", template="{salt}.{rule}.{id}", family="sha256", scale="modulo",
        comparison="<", total=10_000, edge=(100, 1), missing="hashed as empty",
    )  # fmt: skip
    yield VendorSpec(
        vendor="statsig", version="sha256_64", purpose="variant", template="{salt}.{id}", family="sha256",
        scale="modulo", comparison="<", total=1000, full=1000, unit="of 1,000", missing="hashed as empty",
    )  # fmt: skip
    for purpose, template, seeded in _MICROSOFT:
        yield VendorSpec(
            vendor="microsoft", version="sha256_32le", purpose=purpose, template=template, seeded=seeded,
            family="sha256", scale="32 bits little-endian percent", comparison="<",
            missing="excluded" if purpose == "rollout" else "hashed as empty",
        )  # fmt: skip
    yield VendorSpec(
        vendor="firebase", version="sha256_256", template="{id}", seeded="{seed}.{id}", family="sha256",
        scale="whole modulo", comparison="<=", total=10**8, full=10**8, everyone_at_full=False,
        unit="micro-percent",
    )  # fmt: skip
    for purpose in _TWO_PURPOSES:
        yield VendorSpec(
            vendor="eppo", version="md5_32 ufc", purpose=purpose, template="{salt}-{id}", family="md5",
            scale="32 bits modulo", comparison="<", total=10_000, full=10_000, everyone_at_full=False,
            unit="shards", empty="as missing",
        )  # fmt: skip
    for purpose, template in _EPPO_RAC:
        is_gate = purpose != "variant"
        yield VendorSpec(
            vendor="eppo", version="md5_32 rac", generation="rac", purpose=purpose, template=template,
            family="md5", scale="32 bits modulo", comparison="<=" if is_gate else "<", total=10_000,
            edge=(10_000, 1) if is_gate else (1, 1), full=1 if is_gate else 10_000, everyone_at_full=False,
            unit="fraction" if is_gate else "shards", empty="as missing",
        )  # fmt: skip
    for purpose in _TWO_PURPOSES:
        yield VendorSpec(
            vendor="flagsmith", version="md5_128", purpose=purpose, template="{flag},{id}", family="md5",
            scale="whole percent of 9998", comparison="<=" if purpose == "rollout" else "<",
            everyone_at_full=False,
        )  # fmt: skip


def _murmur_vendors() -> Iterable[VendorSpec]:
    """Systems that hash with MurmurHash3 (one formerly as Java does), each with its seed and scale."""
    yield VendorSpec(
        vendor="unleash", version="murmur3", template="{flag}:{id}", family="murmur3", scale="modulo from 1",
        comparison="<=", total=100,
    )  # fmt: skip
    yield VendorSpec(
        vendor="unleash", version="murmur3", purpose="variant", template="{flag}:{id}", family="murmur3",
        scale="modulo from 1", hash_seed=86028157, comparison="<=", total=1000, full=1000, unit="weight",
    )  # fmt: skip
    yield VendorSpec(
        vendor="optimizely", version="murmur3", template="{id}{flag}", family="murmur3", scale="share",
        hash_seed=1, comparison="<", total=10_000, full=10_000, unit="of 10,000",
    )  # fmt: skip
    for generation, family, scale in (
        (None, "murmur3", "modulo from 1"),
        ("legacy", "java31", "signed xor seed, modulo from 1"),
    ):
        yield VendorSpec(
            vendor="split", version="murmur3" if generation is None else "java31", generation=generation,
            template="{id}", family=family, scale=scale, hash_seed=None, comparison="<=",
            total=100,
        )  # fmt: skip
    yield VendorSpec(
        vendor="amplitude", version="murmur3", template="{salt}/{id}", family="murmur3", scale="modulo",
        comparison="<", total=100, empty="as missing",
    )  # fmt: skip
    yield VendorSpec(
        vendor="amplitude", version="murmur3", purpose="variant", template="{salt}/{id}", family="murmur3",
        scale="quotient of 100", comparison="<", total=42_949_673, full=42_949_673, everyone_at_full=False,
        unit="of 42,949,673", empty="as missing",
    )  # fmt: skip
    yield VendorSpec(
        vendor="harness", version="murmur3", template="{by}:{id}", family="murmur3", scale="modulo from 1",
        comparison="<=", total=100,
    )  # fmt: skip
    yield VendorSpec(
        vendor="flagd", version="fractional v1", generation="v1", purpose="variant", template="{flag}{id}",
        family="murmur3", scale="31 bits percent", comparison="<", unit="weight",
        everyone_at_full=False,
    )  # fmt: skip
    yield VendorSpec(
        vendor="flagd", version="fractional v2", generation="v2", purpose="variant", template="{flag}{id}",
        family="murmur3", scale="share", comparison="<", total=100, unit="weight",
    )  # fmt: skip


def _small_hash_vendors() -> Iterable[VendorSpec]:
    for generation, template, seeded in (
        ("1", "{id}{flag}", "{id}{seed}"),
        ("2", "{flag}{id}", "{seed}{id}"),
    ):
        for purpose in _TWO_PURPOSES:
            yield VendorSpec(
                vendor="growthbook", version=f"hash v{generation}", generation=generation, purpose=purpose,
                template=template, seeded=seeded, full=1, unit="fraction", empty="as missing",
                unusual="javascript", family="fnv1a_utf16" if generation == "1" else "fnv1a_utf16_twice",
                scale="modulo as fraction", comparison="<=" if purpose == "rollout" else "<",
                total=1000 if generation == "1" else 10_000, nobody_at_zero=True,
                everyone_at_full=purpose == "rollout",
            )  # fmt: skip
    yield VendorSpec(
        vendor="growthbook", version="hash v1", generation="1", purpose="namespace", template="{id}__{flag}",
        family="fnv1a_utf16", scale="modulo as fraction", comparison="<", total=1000, full=1,
        unit="fraction", empty="as missing", unusual="javascript", everyone_at_full=False,
    )  # fmt: skip
    yield VendorSpec(
        vendor="goff", version="fnv1a_32", purpose="variant", template="{flag}{id}", family="fnv1a",
        scale="modulo", comparison="<", total=100_000, edge=(1000, 1), empty="as missing",
    )  # fmt: skip
    yield VendorSpec(
        vendor="flipper", version="crc32", template="{flag}{id}", family="crc32", scale="modulo",
        comparison="<", total=100_000, edge=(1000, 1),
    )  # fmt: skip


VENDORS: tuple[VendorSpec, ...] = tuple(_rows())

DEFAULT_GENERATION = {"growthbook": "1", "flagd": None}  # flagd: none, each generation re-buckets everyone


def vendor_names() -> list[str]:
    """The vendors of the table, in its order.

    Examples
    --------
    >>> len(vendor_names())
    17
    """
    return list(dict.fromkeys(spec.vendor for spec in VENDORS))


def vendor_table() -> "pd.DataFrame":
    """The rows as a frame to read: what is hashed, with what, and who is in.

    Examples
    --------
    >>> vendor_table().loc["optimizely", ["text hashed", "hash", "buckets"]].values.tolist()
    [['{id}{flag}', 'murmur3', '10,000']]
    """
    import pandas as pd

    rows = [
        {
            "vendor": spec.vendor,
            "purpose": spec.purpose,
            "generation": spec.generation or "",
            "text hashed": spec.template.replace("\n", "\\n"),
            "hash": spec.version,
            "buckets": f"{spec.total:,}" if spec.total else "fine grid",
            "in if": f"{spec.comparison} amount",
            "amount in": spec.unit,
            "missing id": spec.missing,
        }
        for spec in VENDORS
    ]
    return pd.DataFrame(rows).set_index(["vendor", "purpose"]).sort_index(kind="stable")


def find_spec(vendor: str, purpose: str = "rollout", generation: str | int | None = None) -> VendorSpec:
    """The row of a vendor.

    A vendor with one hash for rollout and variants has one row; either purpose finds it.

    Raises
    ------
    PlanError
        If there is no such vendor, generation or purpose.

    Examples
    --------
    >>> find_spec("unleash").name
    'unleash rollout murmur3'
    """
    rows = [spec for spec in VENDORS if spec.vendor == vendor]
    if not rows:
        raise PlanError(f"no vendor {vendor!r}; {did_you_mean(vendor, vendor_names())}")
    generations = list(dict.fromkeys(spec.generation for spec in rows))
    wanted = DEFAULT_GENERATION.get(vendor) if generation is None else str(generation)
    if wanted not in generations:
        named = [repr(item) for item in generations if item is not None]
        if generation is None:
            raise PlanError(
                f"{vendor} has several generations that put people in different buckets; "
                f"say generation={' or '.join(named)}"
            )
        raise PlanError(f"{vendor} has no generation {wanted!r}; known are {', '.join(named) or 'none'}")
    rows = [spec for spec in rows if spec.generation == wanted]
    matching = [spec for spec in rows if spec.purpose == purpose]
    if matching:
        return matching[0]
    if len(rows) == 1 and purpose in {"rollout", "variant"}:
        return rows[0]
    raise PlanError(f"{vendor} has no {purpose!r} hash; {did_you_mean(purpose, [s.purpose for s in rows])}")
