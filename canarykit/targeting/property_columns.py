"""Properties as columns: each distinct value is asked once, long columns of texts and numbers at once.

A table of persons or groups may hold properties as plain columns (a missing cell is an absent property) or
in one column of JSON objects or JSON text (where null and absent differ). Property columns win over keys
of the JSON column only where the JSON lacks the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from canarykit.compiler import can_compile
from canarykit.documents import read_json
from canarykit.errors import DataError, did_you_mean
from canarykit.lazy import held_back
from canarykit.parallel import as_interrupt
from canarykit.targeting.matcher import LONG, Matcher

_MOMENT = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$"


@dataclass(frozen=True)
class Column:
    """One property of every row."""

    values: Any  # distinct JSON values, an Arrow array of texts, or a float64 array (NaN is absent)
    # position in `values` of each row, -1 where absent; None where `values` is row by row
    codes: np.ndarray | None

    @cached_property
    def absent(self) -> np.ndarray:
        """Which rows lack the property."""
        if self.codes is not None:
            return self.codes < 0
        if isinstance(self.values, np.ndarray):
            return np.isnan(self.values)
        if self.values.null_count == 0:
            return np.zeros(len(self.values), dtype=bool)
        return self.values.is_null().to_numpy(zero_copy_only=False)

    @cached_property
    def distinct(self) -> Column:
        """The same with each distinct value once."""
        if self.codes is not None:
            return self
        if isinstance(self.values, np.ndarray):
            codes, values = pd.factorize(self.values)
            return Column([_plain_number(value) for value in values], codes)
        encoded = self.values.dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.intp)
        return Column(encoded.dictionary.to_pylist(), codes)

    @cached_property
    def _plain_texts(self) -> np.ndarray | None:
        """Which texts are ASCII; None where all are."""
        if len(self.values) >= LONG and can_compile():
            from canarykit.targeting.text_scan import all_ascii

            if all_ascii(self.values):
                return None
        return _booleans("string_is_ascii", self.values)

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Which texts are moments with an offset, and those as nanoseconds since 1970 UTC."""
        import pyarrow as pa

        fits = _booleans("match_substring_regex", self.values, _MOMENT)
        texts = self.values if fits.all() else self.values.filter(pa.array(fits))
        moments = pd.to_datetime(texts.to_pandas(), format="ISO8601", utc=True)
        return fits, moments.to_numpy(dtype="datetime64[ns]").astype(np.int64)

    def answers(self, matcher: Matcher) -> np.ndarray:
        """The answer for each row, as uint8."""
        if self.codes is not None:
            asked = [matcher.value(value) for value in self.values]
            return np.array([*asked, matcher.absent], dtype=np.uint8)[self.codes]
        if isinstance(self.values, np.ndarray):
            return self._numbers(matcher)
        if matcher.texts is not None:
            plain = None if matcher.texts.folds_ascii_only else self._plain_texts
            return self._filled(matcher, plain, matcher.texts(self.values).view(np.uint8))
        if matcher.moments is None or len(self.values) < LONG:
            return self.distinct.answers(matcher)
        fits, moments = self._moments
        codes = np.zeros(len(fits), dtype=np.uint8)
        codes[fits] = matcher.moments(moments)
        return self._filled(matcher, fits, codes)

    def _numbers(self, matcher: Matcher) -> np.ndarray:
        if matcher.numbers is None:
            return self.distinct.answers(matcher)
        with np.errstate(invalid="ignore"):
            answers = matcher.numbers(self.values).astype(np.uint8)
        if self.absent.any():
            answers[self.absent] = matcher.absent
        return answers

    def _filled(self, matcher: Matcher, fits: np.ndarray | None, answers: np.ndarray) -> np.ndarray:
        """Answers at once where they fit, value by value elsewhere, and for absent rows."""
        if self.values.null_count:
            answers[self.absent] = matcher.absent
        if fits is not None:
            others = np.flatnonzero(~(fits | self.absent))
            if others.size:
                answers[others] = Column(self.values.take(others), None).distinct.answers(matcher)
        return answers


class PropertyTable:
    """The properties of persons or groups, a row each, one column at a time, each prepared once.

    `properties` names the column of JSON objects or JSON text, if the frame has it.
    """

    def __init__(self, frame: pd.DataFrame, *, properties: str = "properties") -> None:
        self.frame = frame
        self.rows: int = len(frame)
        self._json = frame[properties] if properties in frame.columns else None
        self._json_name = properties
        self._parsed: list[dict[str, Any]] | None = None
        self._columns: dict[str, Column | None] = {}

    @cached_property
    def _texts(self) -> Any:
        """The JSON column as Arrow texts if it is long and every text in it is a JSON object; else None."""
        if self._json is None or self.rows < LONG or pd.api.types.is_object_dtype(self._json.dtype):
            return None
        with held_back():
            import duckdb
        import pyarrow as pa

        texts = pa.table({"text": pa.array(self._json, from_pandas=True)})  # read by the query
        is_object = "CASE WHEN json_valid(text) THEN json_type(text) = 'OBJECT' ELSE false END"
        query = f"SELECT count(*) FROM texts WHERE text IS NOT NULL AND NOT ({is_object})"
        with as_interrupt(), duckdb.connect() as connection:
            connection.register("texts", texts)
            others = connection.execute(query).fetchall()[0][0]
        return None if others else texts

    def column(self, key: str) -> Column | None:
        """A property by name; None where no row has it."""
        if key not in self._columns:
            self._columns[key] = self._read(key)
        return self._columns[key]

    def _read(self, key: str) -> Column | None:
        if self._json is not None:
            column = self._from_json(key)
            if column is not None:
                return column
        if key in self.frame.columns and key != self._json_name:
            series = self.frame[key]
            if isinstance(series, pd.DataFrame):
                raise DataError(f"two columns are named {key!r}; rename one")
            return column_of(series)
        return None

    def _from_json(self, key: str) -> Column | None:
        if self._texts is not None and '"' not in key and "\\" not in key:
            return _extracted(self._texts, key)
        if self._parsed is None:
            assert self._json is not None
            self._parsed = _parse_objects(self._json)
        column = column_of_values([item.get(key, _ABSENT) for item in self._parsed])
        return None if column.absent.all() else column


class _Absent:
    """Marks a key that a JSON object lacks."""


_ABSENT = _Absent()


def column_of(series: pd.Series) -> Column:
    """A pandas column as property values; a missing cell is an absent property.

    Floats that are whole numbers count as integers: pandas turns an integer column with gaps into floats.
    """
    import pyarrow as pa

    if isinstance(series.dtype, pd.CategoricalDtype):
        return Column([_plain(v) for v in series.cat.categories], series.cat.codes.to_numpy().astype(np.intp))
    if pd.api.types.is_bool_dtype(series.dtype):
        codes, values = pd.factorize(series)
        return Column([bool(v) for v in values], codes)
    if pd.api.types.is_integer_dtype(series.dtype) and not series.hasnans:
        numbers = series.to_numpy()
        if not numbers.size or np.abs(numbers).max() < 2**53:
            return Column(numbers.astype(np.float64), None)
    if pd.api.types.is_float_dtype(series.dtype):
        return Column(series.to_numpy(dtype=np.float64, na_value=np.nan), None)
    if series.dtype == object or pd.api.types.is_string_dtype(series.dtype):
        try:
            texts = pa.array(series, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeError):
            texts = None
        if texts is not None and (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
            return _texts_column(texts)
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return _texts_column(_iso_texts(series))
    missing = series.isna().to_numpy() if series.dtype != object else [_is_missing(v) for v in series]
    cells = zip(series, missing, strict=True)
    return column_of_values([_ABSENT if gone else _plain(value) for value, gone in cells])


def column_of_values(values: Sequence[Any]) -> Column:
    """JSON values, told apart by type as well as by value (1, 1.0 and true are three values)."""
    codes = np.empty(len(values), dtype=np.intp)
    seen: dict[Any, int] = {}
    distinct: list[Any] = []
    for row, value in enumerate(values):
        if value is _ABSENT:
            codes[row] = -1
            continue
        try:
            mark: Any = (type(value), value)
            code = seen.get(mark)
        except TypeError:
            mark = (type(value), repr(value))
            code = seen.get(mark)
        if code is None:
            code = seen[mark] = len(distinct)
            distinct.append(value)
        codes[row] = code
    return Column(distinct, codes)


def _extracted(texts: Any, key: str) -> Column | None:
    """One property of JSON texts, without reading them in Python; None where no text has it."""
    with held_back():
        import duckdb
    import pyarrow.compute as pc

    with as_interrupt(), duckdb.connect() as connection:
        connection.register("texts", texts)
        query = "SELECT json_extract(text, ?)::VARCHAR AS value FROM texts"
        extracted = connection.sql(query, params=[f'$."{key}"']).to_arrow_table()
    written = extracted.column("value").combine_chunks()
    if written.null_count == len(written):
        return None
    coded = written.dictionary_encode()
    spelled = coded.dictionary
    if len(spelled) > len(written) // 2:
        plain = pc.and_(pc.starts_with(written, '"'), pc.invert(pc.match_substring(written, "\\")))
        if pc.all(pc.fill_null(plain, True)).as_py():
            return Column(pc.utf8_trim(written, '"'), None)
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.intp)
    return Column(read_json(f"[{','.join(spelled.to_pylist())}]"), codes)


def _booleans(function: str, texts: Any, *arguments: Any) -> np.ndarray:
    """An Arrow test of texts as booleans; false under nulls."""
    import pyarrow.compute as pc

    holds = getattr(pc, function)(texts, *arguments)
    return pc.fill_null(holds, False).to_numpy(zero_copy_only=False)


def _texts_column(texts: Any) -> Column:
    import pyarrow as pa

    if isinstance(texts, pa.ChunkedArray):
        texts = texts.chunk(0) if texts.num_chunks == 1 else texts.combine_chunks()
    return Column(texts, None)


def _iso_texts(series: pd.Series) -> Any:
    import pyarrow as pa

    aware = getattr(series.dtype, "tz", None) is not None
    moments = (series.dt.tz_convert("UTC").dt.tz_localize(None) if aware else series).to_numpy(
        "datetime64[us]"
    )
    texts = np.datetime_as_string(moments, unit="us").astype(object)
    return pa.array(texts + "+00:00" if aware else texts, mask=np.isnat(moments))


def _parse_objects(series: pd.Series) -> list[dict[str, Any]]:
    parsed: list[dict[str, Any]] = []
    for row, value in enumerate(series):
        document: Any = value
        if isinstance(value, str):
            try:
                document = read_json(value)
            except ValueError as problem:
                raise DataError(f"properties of row {row} are not JSON: {problem}") from None
        elif _is_missing(value):
            document = {}
        if not isinstance(document, dict):
            raise DataError(f"properties of row {row} are {value!r}; expected a JSON object")
        parsed.append(document)
    return parsed


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def _plain(value: Any) -> Any:
    """numpy scalars and timestamps as plain Python; whole floats as integers."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime(warn=False)
    return _plain_number(value) if isinstance(value, float) else value


def _plain_number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else float(value)


def require_column(frame: pd.DataFrame, name: str, what: str) -> pd.Series:
    """A column by name, or a `DataError` that says what was looked for and what is there."""
    if name in frame.columns:
        return frame[name]
    if frame.index.name == name:
        return frame.index.to_series()
    raise DataError(f"{what} is read from {name!r}; {did_you_mean(name, _names(frame))}")


def _names(frame: pd.DataFrame) -> Iterable[str]:
    return [str(name) for name in frame.columns]
