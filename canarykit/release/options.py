"""What a loop hands on to the verdict: what is fetched for it, and how it is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from canarykit.exposure.crossers import CrosserRule
    from canarykit.health.evidence.over_ramp import AlphaScope
    from canarykit.health.question import Pool
    from canarykit.progress import Progress
    from canarykit.typing import Filters, Time


class FetchOptions(TypedDict, total=False):
    """As for `PostHog.events`."""

    since: Time | None
    into: str | PathLike[str]
    names: Sequence[str] | None
    properties: Sequence[str] | None
    road: Literal["auto", "file download", "hogql"]
    late: str
    persons_every: str
    progress: Progress


class JudgeOptions(FetchOptions, total=False):
    """As for `PostHog.events` and `evaluate_stage`."""

    alpha_rollback: float
    alpha_promote: float
    alpha_srm_hold: float
    alpha_srm_invalid: float
    max_crosser_share: float
    max_unusable_share: float
    min_units: int
    grace: str
    freshness: str
    min_dwell: str
    cap: str | None
    harm_budget: float | None
    use_limits: bool
    evidence: Pool
    alpha_scope: AlphaScope
    survey: str | Mapping[str, Any] | None
    segments: Sequence[str]
    known_gaps: Sequence[Sequence[Time]]
    timezone: str
    people: Filters
    crossers: CrosserRule
    variants: str | Sequence[str] | None
