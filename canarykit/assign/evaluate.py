"""`evaluate_flag`: a flag's value, reason, deciding set and bucket for every row of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
import pandas as pd

from canarykit.arguments import checked
from canarykit.assign.outcome import CODE, FIRST_VARIANT, Outcome, Reason, arms_of
from canarykit.assign.sdk import SdkEvaluation
from canarykit.assign.server import ServerEvaluation
from canarykit.assign.shards import evaluate_shards
from canarykit.errors import PlanError, did_you_mean, require_kind
from canarykit.flags import Flag, FlagSet
from canarykit.targeting.dates import Clock
from canarykit.targeting.units import INITIAL_OF, Units, read_units
from canarykit.times import to_utc

if TYPE_CHECKING:
    from canarykit.typing import Files, Frame, Time

Semantics = Literal["server", "sdk"]


class EvaluateOptions(TypedDict, total=False):
    """The keywords of `evaluate_flag` but `payload`, for functions that hand them on."""

    groups: pd.DataFrame | Mapping[str, pd.DataFrame] | None
    flags: FlagSet | Mapping[str, Flag] | None
    cohorts: Mapping[Any, Any] | None
    group_type_mapping: Mapping[Any, str] | None
    semantics: Semantics
    as_of: Time | None
    timezone: str
    distinct_id: str
    device_id: str
    properties: str
    group_columns: Mapping[str, str] | None
    property_matching_version: int | None


@checked
def evaluate_flag(
    flag: Flag | str,
    persons: pd.DataFrame | Frame | Files | Iterable[Any],
    *,
    groups: pd.DataFrame | Mapping[str, pd.DataFrame] | None = None,
    flags: FlagSet | Mapping[str, Flag] | None = None,
    cohorts: Mapping[Any, Any] | None = None,
    group_type_mapping: Mapping[Any, str] | None = None,
    semantics: Semantics = "server",
    as_of: Time | None = None,
    timezone: str = "UTC",
    distinct_id: str = "distinct_id",
    device_id: str = "$device_id",
    properties: str = "properties",
    group_columns: Mapping[str, str] | None = None,
    property_matching_version: int | None = None,
    payload: bool = False,
) -> pd.DataFrame:
    """A flag's value for every person, as PostHog's server or its Python SDK would answer.

    Parameters
    ----------
    flag
        The flag, or its key in `flags`.
    persons
        One row a person: a distinct id (column or index) and properties, as columns (a missing cell is an
        absent property) or as one column of JSON objects or JSON text (where null and absent differ).
        A Parquet path, Arrow batches or a Spark frame are evaluated shard by shard.
    groups
        Tables of groups by group type: key in a column `group_key` (or the index), properties as above. Or
        one table of all types with a column `group_type_index`, as exports have it (`log.groups`).
        The group of a person is read from `$group_<index>` or a column named like the type.
    flags
        Flags that this one may depend on; a `FlagSet` also brings its cohorts and group types.
    cohorts
        By cohort id: the definition, or the distinct ids of a static cohort.
    group_type_mapping
        Name of each group type by index.
    semantics
        "server": two-valued, absent properties count; "sdk": local evaluation of posthog-python 7.91,
        which may be unable to tell.
    as_of
        The moment of evaluation, for relative dates.
    timezone
        The team's time zone, for dates without an offset (server).
    distinct_id, device_id, properties, group_columns
        Where these stand in `persons`; `group_columns` by group type.
    property_matching_version
        How `exact` compares true and false: 1 by truth (default), 2 as text.
    payload
        Also return the payload.

    Returns
    -------
    DataFrame
        On the same index: `value` ("true", "false", a variant, "holdout-<id>"; missing where it cannot be
        told), `variant` (missing for boolean values), `reason` (a categorical), `condition` (index of the
        deciding or nearest set), `bucket` (hash of the bucketed id in [0, 1]) and, if asked for, `payload`.
        From other sources than pandas the distinct id stands beside them.

    Raises
    ------
    UnsupportedFlagError
        If the flag has a version 2 configuration, or keeps its value across login.
    DataError
        If `persons` has no distinct id, or properties that are not JSON objects.

    Examples
    --------
    >>> from canarykit.flags import Condition
    >>> flag = Flag("simple-flag", (Condition(rollout_percentage=45),))
    >>> persons = pd.DataFrame({"distinct_id": ["distinct_id_0", "distinct_id_1"]})
    >>> evaluate_flag(flag, persons)[["value", "reason", "condition"]]
       value                reason  condition
    0  false  out_of_rollout_bound          0
    1   true       condition_match          0
    """
    flag_set = flags if isinstance(flags, FlagSet) else FlagSet((flags or {}).values())
    if isinstance(flag, str):
        flag = flag_set[flag]
    require_kind("flag", flag, Flag, "a Flag, or the key of one in flags=")
    if semantics not in ("server", "sdk"):
        raise PlanError(f"semantics is {semantics!r}; {did_you_mean(semantics, ['server', 'sdk'])}")
    clock = evaluation_clock(as_of, timezone)
    version = property_matching_version or flag_set.property_matching_version or 1
    group_types = {**flag_set.group_type_mapping, **_by_text(group_type_mapping)}
    every_cohort = {**flag_set.cohorts, **_by_text(cohorts)}

    def evaluate(frame: pd.DataFrame) -> pd.DataFrame:
        units = read_units(
            frame,
            groups=groups,
            group_types=group_types,
            distinct_id=distinct_id,
            device_id=device_id,
            properties=properties,
            group_columns=group_columns or {},
            server=semantics == "server",
        )
        outcome = evaluate_units(flag, units, flag_set, every_cohort, clock, semantics, version)
        answers = outcome_frame(flag, outcome, frame.index)
        if payload:
            answers["payload"] = pd.Series(_payloads(flag, outcome, semantics), frame.index, dtype=object)
        return answers

    if isinstance(persons, pd.DataFrame):
        return evaluate(persons)

    def needed(columns: Iterable[str]) -> list[str]:
        wanted = {distinct_id, device_id, properties, *(group_columns or {}).values()}
        wanted |= property_keys([flag, *flag_set.values()], every_cohort)
        wanted |= {f"$group_{index}" for index in group_types} | set(group_types.values())
        return [column for column in columns if column in wanted]

    return evaluate_shards(persons, evaluate, needed, distinct_id)


def property_keys(flags: Iterable[Flag], cohorts: Mapping[str, Any]) -> set[str]:
    """Every property that some filter of the flags or cohorts may read."""
    keys = set()
    for flag in flags:
        keys |= {item.key for c in (*flag.conditions, *flag.super_conditions) for item in c.properties}
        keys.add(f"$feature_enrollment/{flag.key}")
    pending = list(cohorts.values())
    while pending:
        entry = pending.pop()
        if isinstance(entry, Mapping):
            keys.add(str(entry.get("key")))
            entries = entry.get("values")
            pending += [v for v in entries if isinstance(v, Mapping)] if isinstance(entries, list) else []
    return keys | {INITIAL_OF[key] for key in keys if key in INITIAL_OF}


def evaluation_clock(as_of: Time | None, timezone: str) -> Clock:
    """The moment and zone of an evaluation from what the caller gave."""
    moment = None if as_of is None else to_utc(as_of, name="as_of").to_pydatetime(warn=False)
    return Clock(moment, timezone)


def evaluate_units(
    flag: Flag,
    units: Units,
    flags: FlagSet,
    cohorts: Mapping[str, Any],
    clock: Clock,
    semantics: Semantics,
    matching_version: int = 1,
) -> Outcome:
    """The same on rows that are already read."""
    engine = ServerEvaluation if semantics == "server" else SdkEvaluation
    return engine(units, flags, cohorts, clock, matching_version).evaluate(flag)


def outcome_frame(flag: Flag, outcome: Outcome, index: pd.Index) -> pd.DataFrame:
    """The public columns of an outcome."""
    names = arms_of(flag)
    values = _spelled(outcome.arm, names)
    return pd.DataFrame(
        {
            "value": _as_pandas(_only(values, outcome.arm >= 0)),
            "variant": _as_pandas(_only(values, outcome.arm >= FIRST_VARIANT)),
            "reason": pd.Categorical.from_codes(outcome.reason, pd.Index(Reason)),
            "condition": pd.arrays.IntegerArray(outcome.condition.astype(np.int16), outcome.condition < 0),
            "bucket": outcome.bucket,
        },
        index=index,
        copy=False,
    )


def text_column(codes: np.ndarray, names: Sequence[str]) -> Any:
    """Texts by code as a pandas column, missing where the code is negative."""
    return _as_pandas(_only(_spelled(codes, names), codes >= 0))


def _spelled(codes: np.ndarray, names: Sequence[str]) -> Any:
    """Texts by code, without a Python object a row; a negative code spells the first."""
    import pyarrow as pa

    words = pa.array(list(names), type=pa.large_string())
    return words.take(pa.array(np.maximum(codes, 0)))


def _only(texts: Any, shown: np.ndarray) -> Any:
    """The same texts, missing where not known; the text itself is shared, not copied."""
    import pyarrow as pa

    if shown.all():
        return texts
    if not shown.any():
        return pa.nulls(len(texts), pa.large_string())
    _, offsets, data = texts.buffers()
    bits = pa.py_buffer(np.packbits(shown, bitorder="little"))
    return pa.LargeStringArray.from_buffers(len(texts), offsets, data, bits, int((~shown).sum()))


def _as_pandas(texts: Any) -> Any:
    """Texts as an array: a Series has labels of its own, by which pandas would align it with the persons."""
    return texts.to_pandas().array


def _payloads(flag: Flag, outcome: Outcome, semantics: Semantics) -> list[Any]:
    """The payload of each row: by variant or "true"; the SDK also looks up "false"."""
    names = arms_of(flag)
    by_arm = [flag.payloads.get(name) for name in names]
    if semantics == "server":
        by_arm[0] = None
    answers = [None if arm < 0 else by_arm[arm] for arm in outcome.arm]
    if semantics == "server":  # whoever opted out of early access still gets the payload of "true"
        opted_out = (outcome.arm == 0) & (outcome.reason == CODE["super_condition_value"])
        for row in np.flatnonzero(opted_out):
            answers[row] = flag.payloads.get("true")
    return answers


def _by_text(mapping: Mapping[Any, Any] | None) -> dict[str, Any]:
    return {str(key): value for key, value in (mapping or {}).items()}
