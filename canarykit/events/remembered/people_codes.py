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
        self._persons: tuple[np.ndarray, pa.Array] | None = None  # of each known id, and their texts
        self._codes = np.empty(0, np.int64)  # of each of these persons

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
        codes = self._codes_of_ids(texts) if identified else self._codes_of(texts)
        answer: list[np.ndarray | None] = []
        for column, before, size, first in zip(coded, so_far, sizes, np.cumsum([0, *sizes]), strict=False):
            mine = np.append(codes[first : first + size], -1)
            rows = mine[pc.fill_null(column.indices, size).to_numpy()].astype(np.int32)
            answer.append(rows if before is None else np.where(before >= 0, before, rows))
        return answer

    def _codes_of_ids(self, ids: pa.Array) -> np.ndarray:
        """The code of the person that each distinct id is; -1 for an id that nobody is known to have."""
        assert self.identities is not None
        if self._persons is None:
            persons = self.identities[1].dictionary_encode()
            nobody = len(persons.dictionary)
            person_of = np.append(pc.fill_null(persons.indices, nobody).to_numpy(), nobody)
            self._persons = person_of, persons.dictionary
            self._codes = np.full(nobody + 1, -1)  # the last is nobody's
        person_of, persons = self._persons
        found = pc.index_in(ids, value_set=self.identities[0], skip_nulls=True)
        person = person_of[pc.fill_null(found, -1).to_numpy()]
        met = np.zeros(len(self._codes), bool)
        met[person] = True
        new = np.flatnonzero(met[:-1] & (self._codes[:-1] < 0))
        self._codes[new] = self._codes_of(persons.take(new))
        return self._codes[person]

    def _codes_of(self, texts: pa.Array) -> np.ndarray:
        """The code of each text, new ones given where needed; -1 for null."""
        coded = texts.dictionary_encode()
        places = pc.index_in(coded.dictionary, value_set=self.texts)
        codes = pc.fill_null(places, -1).to_numpy().copy()
        strange = np.flatnonzero(codes < 0)
        codes[strange] = len(self.texts) + np.arange(len(strange))
        if len(strange):
            self.texts = pa.concat_arrays([self.texts, coded.dictionary.take(strange)])
        return np.append(codes, -1)[pc.fill_null(coded.indices, -1).to_numpy()]


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
