"""Adding up shards: one set of labels, entries side by side, values ranked and the rest summed as Other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from canarykit.funnels.engine.runs import OTHER, FunnelRun, Label
from canarykit.funnels.question.specs import FunnelQuery


def label_key(label: Label) -> tuple[str, ...]:
    """What labels sort by."""
    return () if label is None else (label,) if isinstance(label, str) else label


def common_labels(
    labels: Sequence[Sequence[Label]], values: Sequence[np.ndarray]
) -> tuple[tuple[Label, ...], list[np.ndarray]]:
    """The labels in use over all shards, sorted, and every shard's values in their codes."""
    used = {
        shard_labels[code]
        for shard_labels, value in zip(labels, values, strict=True)
        for code in np.flatnonzero(np.bincount(value, minlength=len(shard_labels))).tolist()
    }
    together = tuple(sorted(used, key=label_key))
    code_of = {label: i for i, label in enumerate(together)}
    recoded = [
        np.array([code_of.get(label, -1) for label in shard_labels], dtype=np.int32)[value]
        if len(shard_labels)
        else value
        for shard_labels, value in zip(labels, values, strict=True)
    ]
    return together, recoded


def merge_runs(runs: Sequence[FunnelRun], n_steps: int) -> FunnelRun:
    """Shards of different actors as one run."""
    if not runs:
        none = np.empty(0, dtype=np.int64)
        return FunnelRun((), none.astype(np.int32), none.astype(np.int8), none, none.reshape(0, n_steps))
    if len(runs) == 1 and _is_merged(runs[0]):
        return runs[0]
    labels, values = common_labels([run.labels for run in runs], [run.value for run in runs])
    if len(runs) == 1:
        return replace(runs[0], labels=labels, value=values[0])
    return FunnelRun(
        labels=labels,
        value=np.concatenate(values),
        reached=np.concatenate([run.reached for run in runs]),
        bits=np.concatenate([run.bits for run in runs]),
        times=np.concatenate([run.times for run in runs]),
        n_actors=sum(run.n_actors for run in runs),
        n_events=sum(run.n_events for run in runs),
        actor_ids=_chained([run.actor_ids for run in runs]),
        person_ids=_chained([run.person_ids for run in runs]),
        matched=_matched(runs),
    )


def _is_merged(run: FunnelRun) -> bool:
    """Whether the labels of a run are sorted already, and all in use."""
    return bool(run.furthest.any(axis=1).all()) and list(run.labels) == sorted(run.labels, key=label_key)


def step_counts(run: FunnelRun, query: FunnelQuery) -> np.ndarray:
    """Entries per label (rows) that did each step (columns)."""
    n, n_labels = query.n_steps, len(run.labels)
    if not query.optional:  # then who reached a step did all before it
        return run.furthest[:, ::-1].cumsum(axis=1)[:, ::-1]
    counts = [np.bincount(run.value[(run.bits >> k) & 1 == 1], minlength=n_labels) for k in range(n)]
    return np.stack(counts, axis=1)


def limit_labels(run: FunnelRun, query: FunnelQuery) -> FunnelRun:
    """Values by their last step's count, then the step before, ...; those beyond the limit become Other."""
    n_labels = len(run.labels)
    if n_labels < 2 or query.breakdown is None:
        return run
    ranked = np.lexsort([np.arange(n_labels), *(-step_counts(run, query).T)])
    limit = query.breakdown.limit
    shown = ranked if limit is None else ranked[:limit]
    new_code = np.full(n_labels, len(shown), dtype=np.int32)
    new_code[shown] = np.arange(len(shown))
    labels = tuple(run.labels[i] for i in shown)
    if labels == run.labels:
        return run
    if len(shown) == n_labels:
        return run.relabelled(labels, new_code)
    several = isinstance(run.labels[0], tuple)
    name = OTHER if OTHER not in labels else f"{OTHER} (the rest)"  # a value may be called "Other" itself
    other: Label = (name,) if several else name
    return run.relabelled((*labels, other), new_code, other=len(labels))


def _chained(arrays: Sequence[Any]) -> Any:
    import pyarrow as pa

    if any(array is None for array in arrays):
        return None
    return pa.concat_arrays(list(arrays))


def _matched(runs: Sequence[FunnelRun]) -> Any:
    import pyarrow as pa

    tables, offset = [], 0
    for run in runs:
        if run.matched is None:
            return None
        entry = pa.array(run.matched.column("entry").to_numpy() + offset)
        tables.append(run.matched.set_column(0, "entry", entry))
        offset += len(run)
    return pa.concat_tables(tables)
