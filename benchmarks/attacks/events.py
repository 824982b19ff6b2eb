"""Share guardrails: releases that change nothing, or lie exactly at the margin, whatever the hazards."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import Any

import numpy as np

from benchmarks.attacks.kernels import crossed
from benchmarks.attacks.people import HAZARDS, HOUR, Releases, Stage, draw_releases
from benchmarks.tables.judged import judged
from canarykit.health.decision import Rules, log_thresholds
from canarykit.health.evidence import event_mixtures
from canarykit.health.evidence.over_ramp import ramp_parts, rules_in_scope
from canarykit.metrics import ErrorShare, Guardrail
from canarykit.stats import EventMixture

__all__ = [
    "Cell",
    "at_the_margin",
    "compared_by_the_past",
    "events_of_all_kinds",
    "looks_of_all_kinds",
    "mixtures_of",
    "ramps",
    "share_of_cell",
    "times_to_events",
    "variants",
]

ALPHA = 0.05
PEOPLE_AT_ONCE = 200_000
DAYS_2 = 48.0
RAMP = (Stage(0.05, 0, 12), Stage(0.25, 12, 24), Stage(0.5, 24, 36))
LONG_RAMP = tuple(Stage(share, 8.0 * i, 8.0 * i + 8) for i, share in enumerate((0.01, 0.05, 0.1, 0.25, 0.5)))


@dataclass(frozen=True)
class Cell:
    """One kind of release, and how it is looked at.

    Parameters
    ----------
    hazard
        Name in `HAZARDS`.
    stages
        The ramp, or a single stage.
    traffic
        New people an hour.
    margin
        Tolerated ratio: below 1 a conversion that must not fall, above 1 an error that must not rise.
    ratio
        The truth, canary over control.
    side
        "harm": rolled back; "safe": promoted.
    step, pieces
        Microseconds between looks, and evaluations within each (a moving `as_of`).
    scope
        "stage" or "rollout" as `alpha_scope` has it, each also "alone": with `evidence="stage"`; or "pooled",
        one sequence over the stages with all of the evidence.
    arms, window
        Variants beside the control, and hours in which an event counts.
    by_age
        Whether it is the time to the event that is judged.
    past
        Name in `HAZARDS` for the half of the people who had the event before, compared among themselves;
        empty where the past is not asked for.
    """

    hazard: str
    stages: tuple[Stage, ...]
    traffic: float
    margin: float
    ratio: float = 1.0
    side: str = "harm"
    step: int = HOUR
    pieces: int = 1
    scope: str = "stage alone"
    arms: int = 1
    window: float = math.inf
    by_age: bool = False
    past: str = ""

    @property
    def people(self) -> tuple[Any, ...]:
        """What decides who comes in and what happens to them; labels only where no effect hangs on them."""
        free = len(self.stages) == 1 and self.ratio == 1 and self.arms == 1
        stages = self.stages[0].until if free else self.stages
        return self.hazard, self.past, stages, self.traffic, self.ratio, self.arms, self.window

    @property
    def words(self) -> str:
        """What a table calls it."""
        shares = "/".join(f"{100 * stage.share:g}" for stage in self.stages)
        what = f"time to {self.hazard}" if self.by_age else self.hazard
        what += f"; who had it before: {self.past}" if self.past else ""
        parts = [what, f"{self.traffic:g} an hour", f"canary {shares} %", f"margin {self.margin:g}"]
        if self.arms > 1:
            parts.append(f"{self.arms} variants")
        if math.isfinite(self.window):
            parts.append(f"within {self.window:g} h")
        if self.step != HOUR:
            parts.append(f"a look every {self.step * 60 // HOUR} min")
        if self.pieces > 1:
            parts.append(f"called every {self.step * 60 // HOUR // self.pieces} min")
        if len(self.stages) > 1:
            words = {"stage": "worst stage", "stage alone": "worst stage, evidence of the stage"}
            words |= {"rollout": "any stage", "rollout alone": "any stage, evidence of the stage"}
            parts.append(words.get(self.scope, self.scope))
        return ", ".join(parts)


def mixtures_of(guardrail: Guardrail) -> tuple[EventMixture, EventMixture]:
    """Mixtures for harm and safety as `share_evidence` takes them, arms swapped where lower is worse."""
    sign = -1 if guardrail.worse == "lower" else 1
    own = guardrail.tolerated_ratio
    harm, safe = event_mixtures(own**sign, guardrail.roll_back_beyond(own) ** sign)
    return harm, replace(safe, null_ratio=own**sign)


def share_of_cell(cell: Cell, runs: int, seed: list[int]) -> float:
    """Share of the releases whose evidence ever crosses; by the worst stage where each stands by itself."""
    return shares_of_cells([cell], runs, seed)[0]


def shares_of_cells(cells: list[Cell], runs: int, seed: list[int]) -> list[float]:
    """The same for cells about the same people: labels and judgements differ, what happens does not."""
    cell, rng = cells[0], np.random.default_rng(seed)
    block = max(1, int(PEOPLE_AT_ONCE / cell.traffic / cell.stages[-1].until))
    reached: list[list[np.ndarray]] = [[] for _ in cells]
    for begin in range(0, runs, block):
        drawn = draw_releases(
            rng,
            min(block, runs - begin),
            HAZARDS[cell.hazard],
            cell.stages,
            cell.traffic,
            ratio=cell.ratio,
            arms=cell.arms,
            window=cell.window,
            returning=1.0 if cell.ratio == 1 else 0.0,
            past=HAZARDS[cell.past] if cell.past else None,
        )
        for place, one in enumerate(cells):
            if place and one.stages != cell.stages:
                drawn = drawn.labelled(rng, one.stages[0].share)
            reached[place].append(_reached(one, drawn))
    found = [np.concatenate(parts) for parts in reached]
    return [
        float(each.mean(axis=0).max() if one.scope.startswith("stage") else each.any(axis=1).mean())
        for one, each in zip(cells, found, strict=True)
    ]


def _reached(cell: Cell, drawn: Releases) -> np.ndarray:
    """Whether the evidence of each release and stage crosses, for any of its variants.

    Evidence over the ramp that crossed in an earlier stage counts in the later ones too: they are called
    harmful at least as often as `evaluate_stage` calls them.
    """
    worse = "lower" if cell.margin < 1 else "higher"
    guardrail = Guardrail(ErrorShare("it"), worse=worse, margin_ratio=cell.margin)
    safe, stages = cell.side == "safe", len(cell.stages)
    mixture = mixtures_of(guardrail)[safe]
    alone = cell.scope.endswith("alone") or safe or stages == 1
    scope: Any = "rollout" if cell.scope.startswith("rollout") else "stage"
    rules, sharing = rules_in_scope(Rules().split(cell.arms), stages, "stage" if alone else "ramp", scope)
    needed = log_thresholds(rules)[safe]
    looks = np.array([round((stage.until - stage.since) * HOUR) // cell.step for stage in cell.stages])
    origins = np.array([round(stage.since * HOUR) for stage in cell.stages])
    options: dict[str, Any] = {"origins": origins, "looks": looks, "step": cell.step, "pieces": cell.pieces}
    options["by_age"] = cell.by_age
    any_arm: Any = False
    for arm in range(1, cell.arms + 1):
        both = [drawn.against_control(arm, swapped=worse == "lower", once=once) for once in (False, True)]
        if cell.scope == "pooled" or alone:
            pooled = cell.scope == "pooled"
            one = both[pooled]
            some = crossed(one.groups, one.columns, mixture, needed, pooled=pooled, **options)
        else:
            parts = [ramp_parts(place, sharing) for place in range(stages)]
            with np.errstate(divide="ignore"):  # nothing is left for a first stage of its own
                own = needed - np.log([part.own for part in parts])
                whole = needed - np.log([part.whole for part in parts])
            some = crossed(both[0].groups, both[0].columns, mixture, own, **options)
            some |= crossed(both[1].groups, both[1].columns, mixture, whole, pooled=True, **options)
        any_arm = any_arm | some
    return any_arm


def _lines(table: str, cells: list[Cell], rows: int, rng: int) -> Iterator[dict[str, Any]]:
    """A line a cell; cells that follow each other and differ in labels or judgement share their people."""
    for place, (_, group) in enumerate(groupby(cells, key=lambda cell: cell.people)):
        some = list(group)
        for cell, share in zip(some, shares_of_cells(some, rows, [rng, place]), strict=True):
            yield judged(table, cell.words, cell.ratio, rows, share, bound=ALPHA)


def event_cells() -> list[Cell]:
    """Every hazard at every share, two traffics, errors and conversions in turn."""
    found = []
    names = [name for name in HAZARDS if "in all" not in name]
    people = product(names, ((20, 48.0), (80, 18.0)), (0.01, 0.05, 0.5, 0.95, 0.99))
    for i, (hazard, (traffic, hours), share) in enumerate(people):
        found.append(Cell(hazard, (Stage(share, 0, hours),), traffic, (1.25, 0.95, 1.02)[i % 3]))
    return found


def events_of_all_kinds(rows: int, rng: int = 71) -> Iterator[dict[str, Any]]:
    """False rollbacks of one stage, hourly looks over two days."""
    yield from _lines("rolled back though nothing changed", event_cells(), rows, rng)


def looking_cells() -> list[Cell]:
    """Much traffic, windows, wide margins, looks of five minutes to a day, calls between the looks."""
    half = (Stage(0.5, 0, DAYS_2),)
    common = ("60% after 0.05 h", "95% after 0.05 h", "30% after 12 h", "outbreaks")
    found = [
        Cell(hazard, (Stage(share, 0, 24),), 500, margin)
        for hazard, (share, margin) in product(common, ((0.01, 1.25), (0.5, 0.95), (0.95, 1.25)))
    ]
    found += [
        Cell(hazard, half, 50, 0.95, step=m * HOUR // 60) for hazard, m in product(common, (5, 15, 1440))
    ]
    found += [
        Cell(hazard, (Stage(share, 0, DAYS_2),), 50, 0.95, pieces=12)
        for hazard, share in product((*common, "day and night"), (0.1, 0.5))
    ]
    found += [Cell(hazard, half, 50, 0.95, window=w) for hazard, w in product(common, (0.5, 24))]
    found += [Cell(hazard, half, 80, 3.0, ratio=2.4) for hazard in ("10% after 0.05 h", "30% after 12 h")]
    found += [Cell(hazard, half, 80, 0.5, ratio=0.625) for hazard in ("60% after 0.05 h", "hazard falls")]
    return found


def looks_of_all_kinds(rows: int, rng: int = 75) -> Iterator[dict[str, Any]]:
    """False rollbacks of one stage under other looks, windows, traffics and lines of rollback."""
    yield from _lines("rolled back at the line or below it, other looks", looking_cells(), rows, rng)


def ramp_cells() -> list[Cell]:
    """Ramps on which everybody returns: each stage, the whole rollout, and pooled evidence."""
    names = ("60% after 0.05 h", "95% after 0.05 h", "30% after 12 h", "95% after 12 h", "10% after 1 h")
    names += ("people differ", "hazard falls", "hazard rises", "day and night", "outbreaks")
    scopes = ("stage", "rollout", "stage alone", "rollout alone", "pooled")
    found = [Cell(name, RAMP, 40, 0.95, scope=scope) for name, scope in product(names, scopes)]
    long = ("60% after 0.05 h", "30% after 12 h", "outbreaks")
    pairs = product(long, ("stage", "rollout", "rollout alone"))
    return found + [Cell(name, LONG_RAMP, 60, 1.25, scope=scope) for name, scope in pairs]


def ramps(rows: int, rng: int = 76) -> Iterator[dict[str, Any]]:
    """False rollbacks on ramps, where people of earlier stages come back within six hours."""
    yield from _lines("rolled back on a ramp though nothing changed", ramp_cells(), rows, rng)


def variant_cells() -> list[Cell]:
    """Two to five variants against one control, each judged at its part of the error."""
    names = ("60% after 0.05 h", "95% after 12 h", "10% after 1 h")
    return [
        Cell(name, (Stage(arms / (arms + 1), 0, 24.0),), 25 * (arms + 1), 0.95, arms=arms)
        for name, arms in product(names, (2, 3, 4, 5))
    ]


def variants(rows: int, rng: int = 77) -> Iterator[dict[str, Any]]:
    """Any of several variants that change nothing is rolled back."""
    yield from _lines("any of several variants rolled back", variant_cells(), rows, rng)


def margin_cells() -> list[Cell]:
    """Hazards that are proportional within a cohort, or shares that are, exactly at the margin."""
    rates = ("10%", "30%", "60%")
    names = [name for name in HAZARDS if name.startswith(rates)] + ["hazard falls", "hazard rises"]
    found = [
        Cell(name, (Stage(share, 0, 36.0),), 60, margin, ratio=margin, side="safe")
        for name, (share, margin) in product(names, ((0.5, 1.25), (0.1, 0.95), (0.9, 0.95)))
    ]
    found += [
        Cell(name, (Stage(0.5, 0, 36.0),), 60, margin, ratio=margin, side="safe", pieces=pieces)
        for name, (margin, pieces) in product(names[:4], ((2.0, 1), (0.95, 12)))
    ]
    return found + [Cell(name, RAMP, 80, 1.25, ratio=1.25, side="safe", scope="pooled") for name in names[:6]]


def at_the_margin(rows: int, rng: int = 78) -> Iterator[dict[str, Any]]:
    """False promotions: safety is ever shown of a release that lies exactly at the margin."""
    yield from _lines("promoted though exactly at the margin", margin_cells(), rows, rng)


def time_cells() -> list[Cell]:
    """How soon an event comes: every hazard, windows, moving calls, ramps; hazards exactly at the margin."""
    names = [name for name in HAZARDS if "in all" not in name]
    found = [
        Cell(
            name,
            (Stage((0.05, 0.5, 0.95)[i % 3], 0, 36.0),),
            (20, 80)[i % 2],
            (0.8, 1.25)[i % 2],
            by_age=True,
        )
        for i, name in enumerate(names)
    ]
    common = ("60% after 0.05 h", "95% after 1 h", "30% after 12 h", "outbreaks")
    half = (Stage(0.5, 0, 36.0),)
    found += [
        Cell(name, half, 50, 0.8, window=hours, by_age=True) for name, hours in product(common, (1, 12))
    ]
    found += [Cell(name, half, 50, 0.9, pieces=12, by_age=True) for name in common]
    found += [
        Cell(name, RAMP, 40, 0.9, scope=scope, by_age=True)
        for name, scope in product(common, ("stage", "rollout"))
    ]
    proportional = [name for name in names if "%" in name] + ["hazard falls", "hazard rises"]
    for i, name in enumerate(proportional):
        for share, margin in ((0.5, (0.8, 1.25)[i % 2]), (0.1, 2.0), (0.9, 0.8)):
            stage = (Stage(share, 0, 36.0),)
            found.append(Cell(name, stage, 60, margin, ratio=margin, side="safe", by_age=True))
    return found


def times_to_events(rows: int, rng: int = 84) -> Iterator[dict[str, Any]]:
    """A time to an event that did not change, rolled back, and one exactly at the margin, promoted."""
    yield from _two_tables("time to an event", time_cells(), rows, rng)


def past_cells() -> list[Cell]:
    """Half of the people had the event before, and have it more or less often, or sooner, than the others."""
    pairs = (
        ("10% after 0.05 h", "95% after 0.05 h"), ("30% after 1 h", "80% after 1 h"),
        ("10% after 12 h", "60% after 0.05 h"), ("95% after 12 h", "95% after 0.05 h"),
        ("hazard falls", "hazard rises"), ("30% after 12 h", "30% after 12 h"),
    )  # fmt: skip
    found = [
        Cell(name, (Stage(share, 0, 36.0),), traffic, (0.95, 1.25)[i % 2], past=past)
        for i, ((name, past), share, traffic) in enumerate(product(pairs, (0.05, 0.5, 0.95), (20, 80)))
    ]
    found += [
        Cell(name, RAMP, 40, 0.95, scope=scope, past=past)
        for (name, past), scope in product(pairs[:3], ("stage", "rollout"))
    ]
    found += [Cell(name, (Stage(0.5, 0, 36.0),), 50, 0.95, pieces=12, past=past) for name, past in pairs[:3]]
    shares = (
        ("10% in all after 0.05 h", "60% in all after 0.05 h"),
        ("30% in all after 12 h", "60% in all after 12 h"),
    )
    margins = ((0.5, 1.25), (0.1, 0.9), (0.9, 0.9))
    return found + [
        Cell(name, (Stage(share, 0, 36.0),), 60, margin, ratio=margin, side="safe", past=past)
        for (name, past), (share, margin) in product(shares, margins)
    ]


def compared_by_the_past(rows: int, rng: int = 85) -> Iterator[dict[str, Any]]:
    """Shares with `cuped` that did not change, rolled back, and those exactly at the margin, promoted."""
    yield from _two_tables("compared by the past", past_cells(), rows, rng)


def _two_tables(what: str, cells: list[Cell], rows: int, rng: int) -> Iterator[dict[str, Any]]:
    for side, words in (
        ("harm", "rolled back though nothing changed"),
        ("safe", "promoted exactly at the margin"),
    ):
        yield from _lines(f"{what}, {words}", [cell for cell in cells if cell.side == side], rows, rng)
