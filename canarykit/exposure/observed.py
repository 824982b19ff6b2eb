"""The steps of a release that nobody wrote down, found in the log: when its share changed, and to what.

Each unit's first exposure is one draw: inside the release or not. Their order in time is cut where the share
changes (optimal partitioning of the binomial likelihood), every cut paid for by a penalty that grows with
the number of units, so that chance alone does not make a step. Where everybody has a named variant, the draw
is whether it is the control: a release may grow by the split of its variants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.exposure.result import Exposures
    from canarykit.plan import RolloutPlan

MOST_BINS = 500
"""Parts of equal size between which cuts are looked for, before each is placed to the unit."""
WORTH_OF_ROUND = ((10.0, 0.0), (5.0, 1.0), (100 / 3, 1.5), (1.0, 2.0), (0.1, 5.0))
"""Steps of per cent, and the log odds against a multiple of each: people set round percentages."""
SMALL_FALL = 0.8
"""A share that keeps more than this part of the one before has not been set back."""
EVERYBODY = 0.99
"""Part of the units with a variant from which everybody is taken to have one."""
FIRST = 200
"""Units that tell which variant most people had first."""
FEWEST_INSIDE = 5
"""Units in the release below which a step is rather its owner or the team than a percentage."""

_COLUMNS = (
    Column("step", "step", "count"),
    Column("starts_at", "from (UTC)", "time"),
    Column("ends_at", "until (UTC)", "time"),
    Column("units", "first exposed", "count"),
    Column("inside", "inside the release", "count"),
    Column("share", "share", "share"),
    Column("low", "low", "share"),
    Column("high", "high", "share"),
)


@dataclass(frozen=True)
class ObservedStep:
    """A time in which the release had one share.

    Parameters
    ----------
    starts_at, ends_at
        Its first exposure, and that of the next step (UTC; None for the last).
    units, inside
        Units first exposed in it, and those of them that were in the release; where the release grows by the
        split of its variants, those that were not in the control.
    """

    starts_at: pd.Timestamp
    ends_at: pd.Timestamp | None
    units: int
    inside: int

    @property
    def share(self) -> float:
        """Part of the units that was in the release."""
        return self.inside / self.units

    @property
    def percentage(self) -> float:
        """The percentage that was probably set: a round one that the units do not contradict, or their own.

        A round percentage is taken for likelier beforehand (`WORTH_OF_ROUND`), so few units do not make an
        odd one that the returning people of the step then seem to contradict, and many do.
        """
        seen = 100 * self.share
        error = 100 * (max(self.share * (1 - self.share), 1e-9) / self.units) ** 0.5
        best, best_cost = seen, 8.0
        for step, cost in WORTH_OF_ROUND:
            near = step * round(seen / step)
            if 0 < near < 100:
                cost += ((seen - near) / error) ** 2 / 2
                if cost < best_cost:
                    best, best_cost = near, cost
        return round(best, 4)


@dataclass(frozen=True, repr=False, eq=False)
class ObservedSteps(Result):
    """The steps of a release as the first exposures show them.

    Parameters
    ----------
    flag
        Key of the flag.
    steps
        In order of time.
    begins
        Position of the step with which `observed_plan` begins: after the last time the share fell, and
        after the time in which nobody was in.
    arms
        The variants between which the shares of the steps split everybody, the control first; empty where
        the release grows by how many people it lets in.
    """

    flag: str
    steps: tuple[ObservedStep, ...]
    begins: int
    arms: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()

    def _headline(self) -> str:
        shares = ", ".join(_percent(step.share) for step in self.steps)
        return f"{self.flag}: the share among first exposures was {shares or 'not seen'}"

    def _table(self) -> Table:
        from canarykit.stats.one_look.proportions import wilson

        rows: list[tuple[Any, ...]] = []
        for k, step in enumerate(self.steps):
            share = wilson(step.inside, step.units)
            limits = (None, None) if share is None else (share.low, share.high)
            rows.append((k + 1, step.starts_at, step.ends_at, step.units, step.inside, step.share, *limits))
        return Table.of(_COLUMNS, rows)


def observed_steps(exposed: Exposures) -> ObservedSteps:
    """The steps behind first exposures; holdouts are left out."""
    people = exposed.people[~exposed.people["variant"].str.startswith("holdout-")]
    people = people.sort_values(["exposed_at", "variant"], kind="stable")
    steps = _steps(people, people["variant"] != "false")
    arms = _variants_of_everybody(people, steps)
    if arms:
        named = people[people["exposed_at"] >= steps[-1].starts_at]
        split = _steps(named, named["variant"] != arms[0])
        steps, arms = (split, arms) if len(split) > 1 else (steps, ())
    falls = [k for k in range(1, len(steps)) if steps[k].share < steps[k - 1].share]
    begins = falls[-1] if falls else 0
    while begins < len(steps) - 1 and steps[begins].inside == 0:
        begins += 1
    notes = []
    if falls:
        text = (
            "times the share fell: the release was set back (or people chosen by hand came first), and its "
            "plan begins after the last one"
        )
        notes.append(Note("set_back", text, len(falls)))
    if len(arms) > 2:
        begins = len(steps) - 1
        text = (
            "times the split of the variants changed: a plan has one, and the observed one begins after them"
        )
        notes.append(Note("split_changed", text, begins))
    if arms:
        text = f"everybody has {' or '.join(arms)}: the shares are those of who is not in {arms[0]}"
        notes.append(Note("grows_by_split", text))
    few = [k for k, step in enumerate(steps, start=1) if 0 < step.inside < FEWEST_INSIDE]
    if few:
        numbers = ", ".join(map(str, few))
        text = (
            f"steps with fewer than {FEWEST_INSIDE} units inside the release ({numbers}): probably its owner "
            "or the team, not a percentage"
        )
        notes.append(Note("few_inside", text, len(few)))
    return ObservedSteps(exposed.flag, steps, begins, arms, tuple(notes))


def _steps(people: pd.DataFrame, inside: pd.Series) -> tuple[ObservedStep, ...]:
    """The steps of people in the order of their first exposures."""
    from canarykit.times import to_utc

    drawn, times = inside.to_numpy(bool), people["exposed_at"].to_numpy()
    cuts = [0, *change_points(drawn, times), len(drawn)]
    parts = [(a, b, int(drawn[a:b].sum())) for a, b in pairwise(cuts) if b > a]
    parts = _without_small_falls(parts)
    starts = [to_utc(people["exposed_at"].iloc[a], name="exposed_at") for a, _, _ in parts]
    return tuple(
        ObservedStep(start, end, b - a, k)
        for start, end, (a, b, k) in zip(starts, [*starts[1:], None], parts, strict=True)
    )


def _variants_of_everybody(people: pd.DataFrame, steps: Sequence[ObservedStep]) -> tuple[str, ...]:
    """The variants where the last step lets everybody in, the control first; else none.

    The control is the one called so, or the one that most people had first.
    """
    if not steps or steps[-1].inside < EVERYBODY * steps[-1].units:
        return ()
    counts = people["variant"][people["exposed_at"] >= steps[-1].starts_at].value_counts()
    named = [value for value in counts.index if value not in ("false", "true")]
    first = people["variant"][people["variant"].isin(named)].iloc[:FIRST].value_counts() if named else counts
    control = "control" if "control" in named else str(first.index[0])
    return (control, *sorted(value for value in named if value != control)) if len(named) > 1 else ()


def observed_plan(exposed: Exposures) -> RolloutPlan:
    """One stage per observed step, from the last beginning of the release on; see `Exposures`."""
    from canarykit.flags import Variant
    from canarykit.plan import RolloutPlan, Stage

    observed = observed_steps(exposed)
    since = observed.steps[observed.begins].starts_at if observed.steps else None
    people = exposed.people if since is None else exposed.people[exposed.people["exposed_at"] >= since]
    counts = people["variant"].value_counts()
    arms = sorted(value for value in counts.index if not value.startswith("holdout-"))
    if len(arms) < 2:
        raise DataError(f"only {arms} was seen of {exposed.flag}; two values are needed to compare")
    named: dict[str, Any] = {}
    keys = [arm for arm in arms if arm not in ("false", "true")]
    if len(observed.arms) == 2:
        named = dict(zip(("control", "canary"), observed.arms, strict=True))
    elif keys:
        of_variants = int(counts[keys].sum())
        named["variants"] = tuple(Variant(key, 100 * int(counts[key]) / of_variants) for key in keys)
    stages: list[Stage] = []
    for step in observed.steps[observed.begins :]:
        percent = 100.0 if len(observed.arms) > 2 else step.percentage
        name = f"observed {_percent(percent / 100).replace(' %', '%')}"
        same = sum(stage.name.split(" (")[0] == name for stage in stages)
        name = f"{name} ({same + 1})" if same else name
        window: dict[str, Any] = {"starts_at": step.starts_at, "ends_at": step.ends_at}
        if step.inside == step.units and not keys:
            stages.append(Stage.for_everyone(name, **window))
        else:
            stages.append(Stage.for_share(name, percent, **window))
    return RolloutPlan(exposed.flag, tuple(stages), **named)


def change_points(inside: npt.NDArray[np.bool_], times: npt.NDArray[Any] | None = None) -> list[int]:
    """Positions at which the share of a sequence of draws changes.

    `inside`: the draws in order of time. `times`: their times; a cut does not part draws of one moment. None:
    every position may be cut.

    References
    ----------
    Jackson et al. (2005), doi:10.1109/LSP.2001.838216 (optimal partitioning); Yao (1988),
    doi:10.1016/0167-7152(88)90118-6 (the penalty's growth with the number of draws).

    Examples
    --------
    >>> draws = np.r_[np.arange(1000) % 100 == 0, np.arange(1000) % 2 == 0]
    >>> [round(cut, -1) for cut in change_points(draws)]
    [1000]
    """
    n = len(inside)
    if n < 2:
        return []
    before = np.concatenate([[0], np.cumsum(inside)])
    penalty = 5.0 + 1.5 * np.log(n)
    edges = np.unique(np.linspace(0, n, min(n, MOST_BINS) + 1).round().astype(np.int64))
    cuts = _partition(edges, before, penalty)
    for _ in range(3):  # each cut to the unit, given its neighbours; then those that do not pay their way go
        for k in range(1, len(cuts) - 1):
            cuts[k] = _best_cut(cuts[k - 1], cuts[k + 1], before, times)
        gains = [
            _cost(a, c, before) - _cost(a, b, before) - _cost(b, c, before)
            for a, b, c in zip(cuts[:-2], cuts[1:-1], cuts[2:], strict=True)
        ]
        weak = int(np.argmin(gains)) if gains else -1
        if weak >= 0 and gains[weak] < penalty:
            del cuts[weak + 1]
    return cuts[1:-1]


def _partition(edges: npt.NDArray[np.int64], before: npt.NDArray[np.int64], penalty: float) -> list[int]:
    """The cuts among `edges` with the least cost: minus the log likelihood, and a penalty for each part."""
    best = np.zeros(len(edges))
    last = np.zeros(len(edges), dtype=np.int64)
    for j in range(1, len(edges)):
        total = best[:j] + _cost(edges[:j], edges[j], before) + penalty
        last[j] = int(np.argmin(total))
        best[j] = total[last[j]]
    cuts = [len(edges) - 1]
    while cuts[-1] > 0:
        cuts.append(int(last[cuts[-1]]))
    return [int(edges[k]) for k in reversed(cuts)]


def _best_cut(a: int, c: int, before: npt.NDArray[np.int64], times: npt.NDArray[Any] | None) -> int:
    """The position between two cuts that explains what lies between them best."""
    positions = np.arange(a + 1, c)
    if times is not None:
        apart = positions[times[positions] != times[positions - 1]]
        positions = apart if len(apart) else positions
    cost = _cost(a, positions, before) + _cost(positions, c, before)
    return int(positions[np.argmin(cost)])


def _cost(a: Any, b: Any, before: npt.NDArray[np.int64]) -> Any:
    """Minus the binomial log likelihood of the draws from `a` to `b` at their own share."""
    n = np.asarray(b - a, dtype=float)
    k = np.asarray(before[b] - before[a], dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(k > 0, k * np.log(k / n), 0.0)
        miss = np.where(k < n, (n - k) * np.log1p(-k / n), 0.0)
    return -(hit + miss)


def _without_small_falls(parts: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Parts joined where the share falls a little: people lost from the log, not a release set back."""
    joined: list[tuple[int, int, int]] = []
    for part in parts:
        joined.append(part)
        while len(joined) > 1:
            (a, b, k), (_, c, more) = joined[-2:]
            earlier, later = k / (b - a), more / (c - b)
            if not SMALL_FALL * earlier <= later < earlier:
                break
            joined[-2:] = [(a, c, k + more)]
    return joined


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
