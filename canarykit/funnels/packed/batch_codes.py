"""What each row of a batch matches, and its breakdown value, as small codes.

Where a question asks for nothing but event names, codes come straight from the dictionary of the event
column; filters, weekdays and cleaned or combined values go through the general feed first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from canarykit.exposure.lookup import Exposed
from canarykit.funnels.engine.breakdowns import breakdown_columns, breakdown_values, clean
from canarykit.funnels.engine.columns import Columns
from canarykit.funnels.engine.feed import exclusion_bits, row_matches
from canarykit.funnels.engine.runs import Label
from canarykit.funnels.question.specs import FunnelQuery

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class BatchCodes:
    """Codes of one batch; the last of `masks` and `labels` is what code -1 means, or no `value` at all.

    `skipped` are the codes of rows that are not fed, `unlabelled` those of rows without a variant, or of no
    row at all. `most_masks` is how many different masks the whole log may have.
    """

    time: np.ndarray
    match: np.ndarray
    masks: list[int]
    skipped: set[int]
    most_masks: int
    value: np.ndarray | None
    labels: list[Label]
    unlabelled: set[int]


def batch_codes(batch: pa.RecordBatch, query: FunnelQuery, exposed: Exposed | None) -> BatchCodes:
    """Codes of one batch."""
    import pyarrow as pa

    columns = Columns(pa.Table.from_batches([batch]))
    time = columns.time()
    after, variant = (None, None) if exposed is None else exposed.lookup(columns, time)
    by_name = exposed is None and not query.days_of_week and not _any_filter(query)
    if by_name:
        match, names = columns.text("event")
        masks = [_name_mask(query, name) for name in [*names, None]]
        most = 2 + len({entity.event for entity in query.entities})
    else:
        mask, fed = row_matches(columns, query, time, after)
        match, masks = _distinct(np.where(fed, mask, -1))
        most = 1 << min(10, query.n_steps + len(query.exclusions))
    every = query.needs_every_event
    skipped = {i for i, mask in enumerate(masks) if mask < 0 or (mask == 0 and not every)}
    if by_name and match.size and not every:
        skipped.add(len(masks) - 1)
    if exposed is not None:
        return BatchCodes(
            time, match, masks, skipped, most, variant, [*exposed.labels, None], {len(exposed.labels)}
        )
    if query.breakdown is None:
        return BatchCodes(time, match, masks, skipped, most, None, [None], set())
    value, labels = _values(query, columns)
    missing = any(columns.misses(name) for name in breakdown_columns(query.breakdown))
    unlabelled = set() if missing else {len(labels) - 1}
    return BatchCodes(time, match, masks, skipped, most, value, labels, unlabelled)


def _any_filter(query: FunnelQuery) -> bool:
    steps = (step.filters for step in query.steps)
    groups = [query.filters, *steps, *(entity.filters for entity in query.entities)]
    return any(group.values for group in groups)


def _name_mask(query: FunnelQuery, name: str | None) -> int:
    """Matches of every event of a name; None is an event without name."""
    mask = 0
    for k, step in enumerate(query.steps):
        if any(entity.event is None or entity.event == name for entity in step.entities):
            mask |= 1 << k
    for exclusion in query.exclusions:
        if exclusion.entity.event is None or exclusion.entity.event == name:
            mask |= exclusion_bits(exclusion)
    return mask


def _distinct(mask: np.ndarray) -> tuple[np.ndarray, list[int]]:
    import pandas as pd

    codes, distinct = pd.factorize(mask)
    return codes, [*(int(item) for item in distinct), -1]


def _values(query: FunnelQuery, columns: Columns) -> tuple[np.ndarray, list[Label]]:
    breakdown = query.breakdown
    assert breakdown is not None
    names = breakdown_columns(breakdown)
    if len(names) == 1:
        codes, texts = columns.text(names[0])
        return codes, [clean(text, breakdown) for text in [*texts, ""]]
    values: Any = breakdown_values(breakdown, columns, np.arange(columns.size))
    return values.codes, [*values.labels, None]
