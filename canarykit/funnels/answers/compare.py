"""Variants of a funnel against a baseline: how many of everybody who was in reached each step.

What is compared is reaching step k *from the start*: from exposure where the funnel was attributed by
exposure, else from the first step. Rates from one step to the next are shown and not tested: the people
who made the step before are no longer the ones that chance assigned, so a difference between them can
come from who got there and not from what the step did to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from canarykit.display import Column, Note, Result, Table, format_value
from canarykit.errors import PlanError, did_you_mean
from canarykit.funnels.answers.labels import label_text
from canarykit.times import micros

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from canarykit.funnels.answers.funnel import Funnel

WHY_NOT_TESTED = Note(
    "conditional_rates",
    "Rates from one step to the next are shown, not tested: who made the step before was no longer decided "
    "by chance, so such a difference may come from who got there.",
)
FROM_ENTRY = Note(
    "from_entry",
    "People are counted from their first step, which they did after they met the flag: if the variant "
    "changed who starts, this comparison cannot see it. For a release decision use "
    "attribution='exposure'.",
)
_BASELINES = ("control", "false")
_OVERLAPPING = ("all_events", "step")
FEWEST_FOR_ANY_LOOK = 25
"""People an arm needs before an always-valid interval is given."""
FEWEST_EITHER_WAY = 20
"""People who did it, and who did not, that each arm needs for the normal approximation; exact below."""


@dataclass(frozen=True, repr=False, eq=False)
class FunnelComparison(Result):
    """Each variant against the baseline, step by step.

    Attributes
    ----------
    baseline
        The variant compared with.
    start
        What people are counted from: "exposure" or "first step".
    rows
        One mapping per variant and step: `variant`, `step` (1-based), `name`, people counted from
        (`n`, `n_baseline`) and those who reached the step (`reached`, `reached_baseline`), `share` and
        `share_baseline`, `difference` with `low` and `high` (for one planned look), `always_low` and
        `always_high` (for people who look every day), `ratio` with `ratio_low` and `ratio_high`,
        `from_previous` and `from_previous_baseline` (shown, not tested).
    confidence
        Of every interval.
    """

    baseline: str
    start: str
    rows: tuple[Mapping[str, Any], ...]
    confidence: float = 0.95
    notes: tuple[Note, ...] = ()

    def finding(self) -> str:
        """What the comparison says about the last step, in one line."""
        ends = {row["variant"]: row for row in self.rows}  # the last step of each variant
        if not ends:
            return f"No variant to compare with {self.baseline}"
        parts = []
        for variant, row in ends.items():
            if row["difference"] is None:
                parts.append(f"{variant}: cannot tell, an arm is empty")
                continue
            low, high = row["always_low"], row["always_high"]
            if low is None:
                parts.append(f"{variant} {format_value(row['difference'], 'points')} (too few people yet)")
                continue
            sure = "higher" if low > 0 else "lower" if high < 0 else "no difference shown"
            span = f"{format_value(low, 'points')} to {format_value(high, 'points')} at any look"
            parts.append(f"{variant} {format_value(row['difference'], 'points')} ({span}; {sure})")
        last = next(reversed(ends.values()))
        return f"Reaching {last['name']} from {self.start}, against {self.baseline}: " + "; ".join(parts)

    def _headline(self) -> str:
        return self.finding()

    def _table(self) -> Table:
        columns = (
            Column("variant", "variant"),
            Column("name", "reached"),
            Column("share_baseline", self.baseline, "share"),
            Column("share", "share", "share"),
            Column("difference", "difference", "points"),
            Column("low", "low", "points"),
            Column("high", "high", "points"),
            Column("always_low", "low, any look", "points"),
            Column("always_high", "high, any look", "points"),
            Column("ratio", "ratio", "ratio"),
            Column("from_previous_baseline", f"{self.baseline}, from step before", "share"),
            Column("from_previous", "from step before", "share"),
        )
        return Table.of(columns, self.rows)

    def to_frame(self) -> pd.DataFrame:
        """The rows as a frame, with the counts and the ratio's interval that the printed table leaves out."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self.rows])

    def _extra_json(self) -> dict[str, Any]:
        settings = {"baseline": self.baseline, "start": self.start, "confidence": self.confidence}
        return {**settings, "steps": [dict(row) for row in self.rows]}

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """The difference at each step: the planned-look interval thick, the always-valid one thin."""
        from canarykit.plots.funnel import draw_comparison

        return draw_comparison(self, ax=ax)


def choose_baseline(variants: Sequence[str], baseline: str | None) -> str:
    """The named baseline, or the one of the usual names that is there.

    Examples
    --------
    >>> choose_baseline(["false", "true"], None)
    'false'
    """
    if baseline is None:
        baselines = [name for name in _BASELINES if name in variants]
        if len(baselines) != 1:
            raise PlanError(f"which variant is the baseline? Name it: {did_you_mean('baseline', variants)}")
        return baselines[0]
    if baseline not in variants:
        raise PlanError(f"the funnel has no variant {baseline!r}; {did_you_mean(baseline, variants)}")
    return baseline


def compare_variants(
    funnel: Funnel, baseline: str | None, *, confidence: float | None = None, planned_people: int = 5000
) -> FunnelComparison:
    """Compare the variants of a funnel; see `Funnel.compare`."""
    breakdown = funnel.query.breakdown
    if breakdown is None:
        raise PlanError("nothing to compare: the funnel has no breakdown; give flag= or breakdown=")
    if breakdown.attribution in _OVERLAPPING:
        raise PlanError(
            f"attribution {breakdown.attribution!r} counts a person under several values, so the groups "
            "are not apart; compare with attribution='exposure' (or 'first_touch')"
        )
    arms = {label_text(v): v for v in funnel.variants if v not in ("", funnel.rest)}
    people = {name: funnel.rows_of(v)[0]["people"] for name, v in arms.items()}
    notes = list(funnel.notes)
    if "" in funnel.variants:
        unknown = funnel.rows_of("")[0]["people"]
        notes.append(Note("unknown_variant", "people without a known variant are not compared", unknown))
    if still_open := _window_open(funnel):
        window = format_value(funnel.query.window_us / 1e6, "seconds")
        text = (
            f"people came in less than {window} before the data ends: some may still go on, in every variant"
        )
        notes.append(Note("window_open", text, still_open))
    if people and min(people.values()) < FEWEST_FOR_ANY_LOOK:
        few = f"an arm has fewer than {FEWEST_FOR_ANY_LOOK} people: no always-valid interval yet"
        notes.append(Note("few_people", few))
    return compare_steps(
        {name: funnel.counts[v] for name, v in arms.items()},
        people,
        funnel.steps,
        baseline=choose_baseline(list(arms), baseline),
        start=funnel.start,
        confidence=funnel.confidence if confidence is None else confidence,
        planned_people=planned_people,
        notes=notes,
    )


def _window_open(funnel: Funnel) -> int:
    """People whose conversion window had not passed when the data ends."""
    exposed, run, query = funnel._exposed, funnel._run, funnel.query
    if exposed is not None:
        since = exposed.since
    elif run is not None:
        since = run.times[:, 0]
    else:
        return 0
    last = query.date_to_us
    if last is None and funnel._log is not None and funnel._log.time_range[1] is not None:
        last = micros(funnel._log.time_range[1])
    return 0 if last is None else int((since + query.window_us > last).sum())


def compare_steps(
    reached: Mapping[str, Sequence[int]],
    people: Mapping[str, int],
    steps: Sequence[str],
    *,
    baseline: str,
    start: str,
    confidence: float = 0.95,
    planned_people: int = 5000,
    notes: Sequence[Note] = (),
) -> FunnelComparison:
    """Compare counts: people of each variant who reached each step, out of those counted from the start.

    Parameters
    ----------
    reached
        Per variant, distinct people who reached each step.
    people
        Per variant, distinct people at the start.
    steps
        Names of the steps.
    baseline
        The variant to compare with.
    start
        "exposure" or "first step"; from the first step, step 1 itself is not compared.
    confidence
        Of every interval.
    planned_people
        People of both arms together at which the always-valid interval is to be tightest: about where a
        decision is expected. It is valid at any number; choose it before looking.
    notes
        What the reader must also know.

    Examples
    --------
    >>> result = compare_steps(
    ...     {"control": [80, 48], "test": [70, 56]}, {"control": 80, "test": 70}, ["cart", "paid"],
    ...     baseline="control", start="first step")
    >>> row = result.rows[-1]
    >>> round(row["difference"], 3), round(row["low"], 4), round(row["high"], 4)
    (0.2, 0.0528, 0.3382)
    """
    first = 0 if start == "exposure" else 1
    base, base_n = reached[baseline], people[baseline]
    rows = []
    for variant in reached:
        if variant == baseline:
            continue
        for k in range(first, len(steps)):
            counts = (reached[variant][k], people[variant], base[k], base_n)
            rows.append(
                {
                    "variant": variant,
                    "step": k + 1,
                    "name": steps[k],
                    "n": people[variant],
                    "n_baseline": base_n,
                    "reached": reached[variant][k],
                    "reached_baseline": base[k],
                    "share": _share(counts[0], counts[1]),
                    "share_baseline": _share(counts[2], counts[3]),
                    **_effects(*counts, confidence=confidence, planned_people=planned_people),
                    "from_previous": _share(reached[variant][k], reached[variant][k - 1]) if k else None,
                    "from_previous_baseline": _share(base[k], base[k - 1]) if k else None,
                }
            )
    extra = (WHY_NOT_TESTED,) if start == "exposure" else (WHY_NOT_TESTED, FROM_ENTRY)
    return FunnelComparison(baseline, start, tuple(rows), confidence, (*notes, *extra))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _effects(
    x: int, n: int, x0: int, n0: int, *, confidence: float, planned_people: int
) -> dict[str, float | None]:
    from canarykit.stats.one_look.proportions import risk_difference
    from canarykit.stats.one_look.ratio_scores import risk_ratio

    names = ("difference", "low", "high", "always_low", "always_high", "ratio", "ratio_low", "ratio_high")
    difference = risk_difference(x, n, x0, n0, confidence=confidence)
    if difference is None:
        return dict.fromkeys(names)
    ratio = risk_ratio(x, n, x0, n0, confidence=confidence)
    always = _any_look(x, n, x0, n0, confidence=confidence, planned_people=planned_people)
    spans = (difference.value, difference.low, difference.high, *always)
    ratios = (None, None, None) if ratio is None else (ratio.value, ratio.low, ratio.high)
    return dict(zip(names, (*spans, *ratios), strict=True))


def _any_look(
    x: int, n: int, x0: int, n0: int, *, confidence: float, planned_people: int
) -> tuple[float | None, float | None]:
    """Limits of the difference that hold at every look.

    Where few did it, or few did not, the limits of both shares are exact, at a quarter of the error each.
    Elsewhere they are a normal approximation, whose k depends on people only and never on outcomes.
    """
    from canarykit.stats.any_look.sequential import confidence_sequence
    from canarykit.stats.any_look.share_limits import share_limit_at_any_look

    if min(n, n0) < FEWEST_FOR_ANY_LOOK:
        return None, None
    if min(x, n - x, x0, n0 - x0) < FEWEST_EITHER_WAY:
        level = 1 - (1 - confidence) / 4
        (low, high), (low0, high0) = (
            tuple(share_limit_at_any_look(*arm, confidence=level, side=side) or 0.0 for side in _SIDES)
            for arm in ((x, n), (x0, n0))
        )
        return low - high0, high - low0
    k = _best_k(confidence) * (n + n0) / planned_people
    # one success and one failure more an arm (Agresti & Caffo), so that no arm claims to have no spread
    p, p0 = (x + 1) / (n + 2), (x0 + 1) / (n0 + 2)
    variance = p * (1 - p) / (n + 2) + p0 * (1 - p0) / (n0 + 2)
    last = confidence_sequence([x / n - x0 / n0], [variance], k=[k], confidence=confidence).last
    if last is None:
        return None, None
    return max(last.low, -1.0), min(last.high, 1.0)


_SIDES: tuple[Literal["lower"], Literal["upper"]] = ("lower", "upper")


@lru_cache(maxsize=16)
def _best_k(confidence: float) -> float:
    from canarykit.stats.any_look.sequential import best_k

    return best_k(1 - confidence, "two")
