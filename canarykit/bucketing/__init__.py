"""The bucket a flag system puts each id in, for a whole column at once, and the variant that follows from it.

Sixteen vendors and two generations of flagd, one row each in `vendors.VENDORS`; this module is the small
evaluator of those rows. `bucket` gives the number, `split` the variant. Both answer what the vendor's hash
says, no more: who is targeted at all is the vendor's SDK to say (PostHog's rules are in `evaluate_flag`).
"""

from canarykit.bucketing.buckets import admits, bucket, posthog_hash01, rollout_share
from canarykit.bucketing.splits import split
from canarykit.bucketing.vendors import VENDORS, VendorSpec, find_spec, vendor_names, vendor_table

__all__ = [
    "VENDORS",
    "VendorSpec",
    "admits",
    "bucket",
    "find_spec",
    "posthog_hash01",
    "rollout_share",
    "split",
    "vendor_names",
    "vendor_table",
]
