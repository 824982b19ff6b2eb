"""The audit record: what went in, with fingerprints and versions, so that a verdict can be recomputed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.display import to_jsonable
from canarykit.documents import parse_document
from canarykit.errors import DataError
from canarykit.health.data.data_state import DataState
from canarykit.health.decision import Evidence, Row, Rules, Verdict, decide
from canarykit.health.evidence.event_evidence import EvidenceSeries
from canarykit.metrics.unit_outcomes import Outcomes


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


def _outcome_fingerprint(reduced: Outcomes) -> str:
    """Of who was judged and what happened to them, in any order of rows."""
    people = reduced.units["person_id"].astype(str).to_numpy(object)
    order = pc.sort_indices(pa.array(people, pa.string())).to_numpy()
    digest = hashlib.sha256("\x00".join(people[order]).encode())
    digest.update(reduced.canary[order].tobytes())
    for column in reduced.first:
        if column is not None:
            digest.update(np.ascontiguousarray(column[order]).tobytes())
    past = [column for before in reduced.before if before for column in (before.sums, before.weights)]
    for sums in (*reduced.sums, *past):
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


def recompute(audit: str | Mapping[str, Any]) -> tuple[Verdict, Row]:
    """The verdict from an audit record alone (a mapping or JSON text).

    Raises
    ------
    DataError
        If the record lacks the evidence or the rules.

    Examples
    --------
    >>> record = {"rules": {}, "evidence": {"units_canary": 9, "units_control": 9,
    ...           "harm_log_e": [0.0], "safe_log_e": [0.0]}}
    >>> recompute(record)
    (<Verdict.HOLD: 'hold'>, <Row.TOO_LITTLE_AFTER_GRACE: 20>)
    """
    record = parse_document(audit, "the audit record", error=DataError) if isinstance(audit, str) else audit
    if not isinstance(record, Mapping):
        raise DataError(f"the audit record is a {type(record).__name__}; expected an object")
    record = record.get("audit", record)
    if not isinstance(record, Mapping):
        raise DataError(f"the audit record is {record!r}; expected an object")
    if "variants" in record:  # several variants against one control
        return _recompute_release(record)
    for name in ("evidence", "rules"):
        if name not in record:
            raise DataError(f"the audit record has no {name!r}; it has {sorted(map(str, record))}")
    try:
        fields = {key: _numbers(value) for key, value in record["evidence"].items()}
        for name in ("harm_log_e", "safe_log_e"):
            fields[name] = [[value] for value in fields[name]]
        (code,) = decide(Evidence(**fields), Rules(**record["rules"])).reshape(-1)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as problem:
        raise DataError(f"the audit record does not hold what `to_json` writes: {problem}") from None
    row = Row(int(code))
    return row.verdict, row


def _recompute_release(record: Mapping[str, Any]) -> tuple[Verdict, Row]:
    """The verdict on several variants from an audit record alone, and the row that stands behind it."""
    from canarykit.health.report.release_report import release_verdict

    recomputed = {key: recompute(audit) for key, audit in record["variants"].items()}
    verdict = release_verdict(
        {key: verdict for key, (verdict, _) in recomputed.items()}, record["critical_harm"]
    )
    return verdict, next((row for one, row in recomputed.values() if one is verdict), Row.GO_ON)


def _numbers(value: Any) -> Any:
    """JSON keeps no NaN: a null is evidence that does not exist, and proves nothing."""
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float("nan") if value is None else value
