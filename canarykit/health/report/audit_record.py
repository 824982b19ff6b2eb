"""The audit record: what went in, with fingerprints and versions, so that a verdict can be recomputed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np

from canarykit.display import to_jsonable
from canarykit.health.data.data_state import DataState
from canarykit.health.decision import Evidence, Row
from canarykit.health.evidence.event_evidence import EvidenceSeries
from canarykit.metrics.unit_outcomes import Outcomes

__all__ = ["audit_record", "fingerprint"]


def audit_record(
    data: DataState,
    row: Row,
    evidence: Evidence,
    *,
    series: EvidenceSeries | None = None,
    found: Outcomes | None = None,
) -> dict[str, Any]:
    """Everything the last decision read, as plain values; `recompute` reads it back."""
    import pandas as pd

    from canarykit import __version__

    question = data.question
    record: dict[str, Any] = {
        "verdict": row.verdict.value,
        "row": int(row),
        "flag": question.plan.flag,
        "stage": question.stage,
        "as_of": question.as_of,
        "window": [question.start, question.end],
        "evidence": {
            field.name: _last(getattr(evidence, field.name)) for field in dataclasses.fields(evidence)
        },
        "rules": dataclasses.asdict(question.rules),
        "parameters": {
            "looks_seconds": question.step / 1e6,
            "grace_seconds": question.grace,
            "freshness_seconds": question.freshness,
            "min_dwell_seconds": question.min_dwell,
            "cap_seconds": question.cap,
            "harm_budget": question.harm_budget,
            "use_limits": question.use_limits,
            "evidence": question.evidence,
            "stages_of_promise": max(question.rules.stages, question.sharing),
            "known_gaps": [list(gap) for gap in question.known_gaps],
            "judged_until": data.until,
            "max_unusable_share": question.max_unusable_share,
            "crossers": question.crossers,
        },
        "unusable_events": {**data.unusable.counts, "of": data.unusable.events},
        "guardrails": [
            {**g.to_dict(), "weight": w} for g, w in zip(question.guardrails, question.weights, strict=True)
        ],
        "fingerprints": {
            "flag": fingerprint(
                json.dumps(question.plan.flag_at(question.stage).to_posthog(), sort_keys=True, default=str)
            )
        },
        "versions": {"canarykit": __version__, "numpy": np.__version__, "pandas": pd.__version__},
        "engine": question.log.engine,
    }
    if series is not None:
        for entry, judged in zip(record["guardrails"], series.guardrails, strict=True):
            entry["margin_used"] = judged.margin
            entry["counts"] = judged.counts
        record["share"] = series.share
    if found is not None:
        record["fingerprints"]["units"] = _outcome_fingerprint(found)
    return to_jsonable(record)


def fingerprint(content: str | bytes) -> str:
    """SHA-256 of a text, shortened to 16 hexadecimal digits.

    Examples
    --------
    >>> fingerprint("canary")
    'e100fbce008c04ec'
    """
    data = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(data).hexdigest()[:16]


def _outcome_fingerprint(found: Outcomes) -> str:
    """Of who was judged and what happened to them, in any order of rows."""
    order = np.argsort(found.units["person_id"].astype(str).to_numpy(object), kind="stable")
    digest = hashlib.sha256(
        "\x00".join(found.units["person_id"].astype(str).to_numpy(object)[order]).encode()
    )
    digest.update(found.canary[order].tobytes())
    for column in found.first:
        if column is not None:
            digest.update(np.ascontiguousarray(column[order]).tobytes())
    past = [column for before in found.before if before for column in (before.sums, before.weights)]
    for sums in (*found.sums, *past):
        if sums is not None:  # engines add in their own order: the last digits are theirs
            digest.update(",".join(f"{value:.9g}" for value in sums[order]).encode())
    return digest.hexdigest()[:16]


def _last(value: Any) -> Any:
    """The last look of a field: guardrail arrays keep their first axis."""
    array = np.asarray(value)
    if array.ndim == 0:
        return array.item()
    last = array[..., -1]
    return last.item() if last.ndim == 0 else last.tolist()
