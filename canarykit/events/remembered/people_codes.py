"""Who each event belongs to, as a number: every person of a log once in one list of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from canarykit.events.engine import Identities
from canarykit.events.fields import Column
from canarykit.events.remembered.layout import Layout, Part
from canarykit.events.text import as_text, id_text

_TEXT = pa.string()


class PeopleCodes:
    """Codes of persons; a code once given stays, new persons come after the others."""

    def __init__(self, layout: Layout, identities: Identities) -> None:
        self.layout = layout
        self.identities: Identities = identities if layout.distinct_id in layout.ids else None
        self.texts: pa.Array = pa.array([], _TEXT)

    def codes(self, blocks: Sequence[Mapping[Part, pa.Array]]) -> list[np.ndarray]:
        """The code of every row of several row groups; -1 for events of nobody."""
        coded: list[np.ndarray | None] = [None] * len(blocks)
        if self.identities is not None:
            coded = self._coded(blocks, coded, self.layout.distinct_id, identified=True)
        for name in self.layout.ids:
            if any(codes is None or (codes < 0).any() for codes in coded):
                coded = self._coded(blocks, coded, name, identified=False)
        return [codes for codes in coded if codes is not None]

    def column(self, codes: np.ndarray) -> pa.Array:
        """Persons as a column: codes into the list of all."""
        missing = codes < 0
        indices = pa.array(codes, pa.int32(), mask=missing) if missing.any() else pa.array(codes, pa.int32())
        return pa.DictionaryArray.from_arrays(indices, self.texts, safe=False)

    def _coded(
        self,
        blocks: Sequence[Mapping[Part, pa.Array]],
        so_far: list[np.ndarray | None],
        name: str,
        *,
        identified: bool,
    ) -> list[np.ndarray | None]:
        """Codes, filled in from one column of ids where there is none yet."""
        coded = [_dictionary(block[Column(name)], name) for block in blocks]
        sizes = [len(column.dictionary) for column in coded]
        texts = pa.concat_arrays([column.dictionary for column in coded]) if coded else pa.array([], _TEXT)
        if identified and self.identities is not None:
            texts = self.identities[1].take(pc.index_in(texts, value_set=self.identities[0]))
        codes = self._codes_of(texts)
        answer: list[np.ndarray | None] = []
        for column, before, size, first in zip(coded, so_far, sizes, np.cumsum([0, *sizes]), strict=False):
            mine = np.append(codes[first : first + size], -1)
            rows = mine[pc.fill_null(column.indices, size).to_numpy()].astype(np.int32)
            answer.append(rows if before is None else np.where(before >= 0, before, rows))
        return answer

    def _codes_of(self, texts: pa.Array) -> np.ndarray:
        """The code of each text, new ones given where needed; -1 for null."""
        unique = texts.unique().drop_null()
        strange = unique.filter(pc.invert(pc.is_in(unique, value_set=self.texts)))
        if len(strange):
            self.texts = pa.concat_arrays([self.texts, strange])
        return pc.fill_null(pc.index_in(texts, value_set=self.texts, skip_nulls=True), -1).to_numpy()


def _dictionary(column: pa.Array, name: str) -> pa.DictionaryArray:
    """Ids by the reading rule (blank is missing) as codes into a list of texts."""
    text = as_text(column)
    coded = text if pa.types.is_dictionary(text.type) else id_text(text, name).dictionary_encode()
    whole = coded.chunk(0) if coded.num_chunks == 1 else coded.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], pa.dictionary(pa.int32(), _TEXT))
    values = id_text(whole.dictionary, name).cast(_TEXT)
    values = values.chunk(0) if values.num_chunks == 1 else pa.concat_arrays(values.chunks)
    return pa.DictionaryArray.from_arrays(whole.indices, values, safe=False)
