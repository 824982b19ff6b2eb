"""A rollout in stages: the flag definition to set at each stage, its time window, and who decides.

Every stage keeps the condition sets of the stages before it, in the same order, and the percentage comes
last. One flag has one bucket per person, so a growing percentage nests: nobody who is in drops out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from canarykit.arguments import one_or_more
from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import PlanError, did_you_mean
from canarykit.flags import Flag, Holdout, Variant
from canarykit.plan.planfile import definition_of, read_definition
from canarykit.plan.rules import arms, check_stages, plan_notes, windows
from canarykit.plan.stage import Stage, condition_words, email_domain, people_named
from canarykit.plan.values import check_split, served_at, sets_of, shares_at, variants_of
from canarykit.times import to_utc

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

    from canarykit.events import EventLog
    from canarykit.typing import Time
    from canarykit.widgets.view import View

__all__ = ["RolloutPlan", "Stage"]

_COLUMNS = (
    Column("stage", "stage"),
    Column("condition", "who gets it, beside those before"),
    Column("share", "share", "share"),
    Column("starts_at", "from (UTC)", "time"),
    Column("ends_at", "until (UTC)", "time"),
    Column("decides", "who decides"),
)


@dataclass(frozen=True, repr=False, eq=False)
class RolloutPlan(Result):
    """The stages of one flag's release.

    Parameters
    ----------
    flag
        Key of the flag.
    stages
        In the order of the release. Names are unique; percentages do not fall.
    starts_at
        When the first stage starts, if the stage does not say so itself.
    owner
        Email of the person who decides where a stage names nobody.
    variants
        `Variant` items of a multivariate flag; none: a boolean flag.
    holdout
        `Holdout`, or a mapping with `id` and `exclusion_percentage`: people kept out for good.
    control, canary
        The two arms that are compared: "false" and "true" for a boolean flag, "control" and "test" for
        a multivariate one, unless told otherwise. Without variants they name the two values that the flag
        gives to everybody: the canary to a stage's share, the control to the rest.
    aggregation_group_type
        Name of the group type whose key is assigned, for a release by organisation.
    group_types
        Names of the group types in the order of their index.

    Examples
    --------
    >>> plan = RolloutPlan.five_stages(
    ...     "new-checkout", owner="ada@acme.io", team_domain="acme.io", starts_at="2026-09-07T09:00:00Z"
    ... )
    >>> plan.stage_names[:3]
    ('just yourself', 'internal team', 'beta')
    >>> [condition.rollout_percentage for condition in plan.flag_at("expanded beta 25%").conditions]
    [100, 100, 25]
    >>> plan.window("internal team")[0].isoformat()
    '2026-09-10T09:00:00+00:00'

    A flag that gives everybody "control" or "test", first 5 % of them "test", then 20 %:

    >>> ramp = [Stage.for_share("5 %", 5), Stage.for_share("20 %", 20)]
    >>> plan = RolloutPlan("new-checkout", ramp, control="control", canary="test")
    >>> [f"{item.key} {item.rollout_percentage} %" for item in plan.flag_at("20 %").variants]
    ['control 80 %', 'test 20 %']
    """

    flag: str
    stages: Sequence[Stage]
    starts_at: Time | None = field(default=None, kw_only=True)
    owner: str | None = field(default=None, kw_only=True)
    variants: Sequence[Variant] = field(default=(), kw_only=True)
    holdout: Holdout | None = field(default=None, kw_only=True)
    control: str = field(default="", kw_only=True)
    canary: str = field(default="", kw_only=True)
    aggregation_group_type: str | None = field(default=None, kw_only=True)
    group_types: Sequence[str] = field(default=("organization",), kw_only=True)
    notes: tuple[Note, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.flag, str) or not self.flag:
            raise PlanError(f"flag is {self.flag!r}; expected the key of a flag")
        for name in ("stages", "variants", "group_types"):
            object.__setattr__(self, name, one_or_more(getattr(self, name)))
        if not self.group_types:
            object.__setattr__(self, "group_types", ("organization",))
        if self.holdout is not None and not isinstance(self.holdout, Holdout):
            object.__setattr__(self, "holdout", Flag(self.flag, holdout=self.holdout).holdout)
        check_stages(self.stages)
        control, canary = arms(self.variants, self.control, self.canary)
        object.__setattr__(self, "control", control)
        object.__setattr__(self, "canary", canary)
        check_split(self)
        if self.aggregation_group_type is not None and self.aggregation_group_type not in self.group_types:
            raise PlanError(
                f"aggregation_group_type {self.aggregation_group_type!r} is not a group type; "
                + did_you_mean(self.aggregation_group_type, self.group_types)
            )
        if self.starts_at is not None:
            object.__setattr__(self, "starts_at", to_utc(self.starts_at, name="starts_at"))
        object.__setattr__(self, "_windows", windows(self.stages, self.starts_at))
        object.__setattr__(self, "notes", plan_notes(self.stages, self.variants))

    @classmethod
    def five_stages(
        cls,
        flag: str,
        *,
        owner: str,
        team_domain: str,
        beta_groups: Mapping[str, Sequence[str]] | None = None,
        beta_domains: Sequence[str] = (),
        beta_enrollment: bool = True,
        people: Sequence[str] = (),
        ramp: Sequence[float] = (5, 25, 50),
        starts_at: Time | None = None,
        dwell: str | Mapping[str, str] = "3d",
        decides: Mapping[str, str] | None = None,
        variants: Sequence[Variant] = (),
        holdout: Holdout | Mapping[str, Any] | None = None,
        control: str = "",
        canary: str = "",
        aggregation_group_type: str | None = None,
        group_types: Sequence[str] = ("organization",),
        domain_operator: Literal["ends_with", "regex"] = "ends_with",
    ) -> RolloutPlan:
        """Just yourself, the internal team, beta, a growing percentage, everyone.

        Parameters
        ----------
        flag
            Key of the flag.
        owner
            Email of the person who goes first and decides.
        team_domain
            The team's email domain, "acme.io".
        beta_groups
            Names of groups in the beta by group type: `{"organization": ["twitter"]}`.
        beta_domains
            Email domains of companies in the beta.
        beta_enrollment
            Whether people can join the beta themselves (early access; boolean person flags only).
        people
            Emails of people in the beta by name, such as those who reported the bug.
        ramp
            Percentages of the expanded beta, growing, one stage each.
        starts_at
            Start of the first stage; without it the stages have no windows.
        dwell
            How long each stage lasts: one duration, or one by stage name (the rest "3d").
        decides
            Who decides, by stage name; the owner where it names nobody.
        variants, holdout, control, canary, aggregation_group_type, group_types
            As for `RolloutPlan`. With variants, people of the targeted stages and everyone at full
            release get the canary by override; the percentage stages hash.
        domain_operator
            "ends_with", or "regex" for servers that do not know it.

        Examples
        --------
        >>> plan = RolloutPlan.five_stages(
        ...     "new-checkout", owner="ada@acme.io", team_domain="acme.io", ramp=(10, 50)
        ... )
        >>> plan.flag_at("internal team").conditions[1].properties[0].to_posthog()
        {'key': 'email', 'value': '@acme.io', 'operator': 'ends_with', 'type': 'person'}
        """
        names = one_or_more(group_types)
        arm = arms(tuple(variants), control, canary)[1] if variants else None
        by_group = aggregation_group_type is not None
        shared: dict[str, Any] = {"variant": arm, "for_person": by_group}
        beta = [email_domain(domain, domain_operator, **shared) for domain in one_or_more(beta_domains)]
        if people:
            beta.append(people_named(people, **shared))
        for group_type, members in (beta_groups or {}).items():
            if group_type not in names:
                raise PlanError(
                    f"beta_groups names {group_type!r}, no group type; {did_you_mean(group_type, names)}"
                )
            beta.append(Stage.for_groups("beta", names.index(group_type), members, variant=arm).conditions[0])
        enrollment = beta_enrollment and not variants and not by_group
        stages = [
            Stage("just yourself", (people_named([owner], **shared),)),
            Stage("internal team", (email_domain(team_domain, domain_operator, **shared),)),
        ]
        if beta or enrollment:
            stages.append(Stage("beta", tuple(beta), enrollment=enrollment))
        stages += [Stage.for_share(f"expanded beta {share:g}%", share) for share in ramp]
        stages.append(Stage.for_everyone("full release", variant=arm))
        order = [stage.name for stage in stages]
        lasts: Mapping[str, str] = dwell if isinstance(dwell, Mapping) else dict.fromkeys(order[:-1], dwell)
        for argument, given in (("dwell", lasts), ("decides", decides or {})):
            for name in set(given) - set(order):
                raise PlanError(f"{argument} names {name!r}, no stage; {did_you_mean(name, order)}")
        if isinstance(dwell, Mapping):
            lasts = {**dict.fromkeys(order[:-1], "3d"), **dwell}
        stages = [
            replace(stage, dwell=lasts.get(stage.name), decides=(decides or {}).get(stage.name, owner))
            for stage in stages
        ]
        return cls(
            flag,
            tuple(stages),
            starts_at=starts_at,
            owner=owner,
            variants=tuple(variants),
            holdout=holdout,  # type: ignore[arg-type]  # a mapping becomes a Holdout when the plan is made
            control=control,
            canary=canary,
            aggregation_group_type=aggregation_group_type,
            group_types=names,
        )

    @classmethod
    def from_json(cls, source: str | PathLike[str] | Mapping[str, Any]) -> RolloutPlan:
        """The plan in `source`: a JSON file, a JSON text, or a mapping, as `to_json` writes it.

        Raises
        ------
        PlanError
            If it is no JSON object, lacks the flag or the stages, or has keys that nothing reads.

        Examples
        --------
        >>> plan = RolloutPlan.from_json({"flag": "f", "stages": [{"name": "a tenth", "kind": "percentage",
        ...                                                       "share": 10}]})
        >>> RolloutPlan.from_json(plan.to_json()) == plan
        True
        """
        return cls(**read_definition(source))

    @classmethod
    def from_history(
        cls,
        activity: Any,
        *,
        flag: Mapping[str, Any] | None = None,
        like: RolloutPlan | None = None,
        run: int = -1,
        group_types: Sequence[str] = ("organization",),
    ) -> RolloutPlan:
        """The plan as it really ran, from the flag's activity log in PostHog.

        Parameters
        ----------
        activity
            Answer of `feature_flags/:id/activity/`, or its list of items.
        flag
            The flag as it is now; needed where the log does not reach back to its creation.
        like
            A plan whose names and deciders are taken for stages that let in the same people.
        run
            Which run, where the share was lowered in between: 0 the first, -1 the last.
        group_types
            Names of the group types in the order of their index.

        Returns
        -------
        RolloutPlan
            With true windows. Its notes tell of pauses, roll-backs, lowered shares and edits that were
            no stage, and of what the log does not say.

        Examples
        --------
        >>> groups = [{"properties": [], "rollout_percentage": 5}]
        >>> change = {"field": "filters", "before": {"groups": []}, "after": {"groups": groups}}
        >>> item = {"activity": "updated", "created_at": "2026-09-07T09:00:00Z",
        ...         "detail": {"name": "new-checkout", "changes": [change]}}
        >>> RolloutPlan.from_history([item]).stage_names
        ('5 %',)
        """
        from canarykit.plan.history import plan_from_history

        return plan_from_history(activity, flag=flag, like=like, run=run, group_types=group_types)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the stages in order."""
        return tuple(stage.name for stage in self.stages)

    @property
    def aggregation_group_type_index(self) -> int | None:
        """Index of the group type that is assigned; None when people are."""
        name = self.aggregation_group_type
        return None if name is None else self.group_types.index(name)

    def index(self, name: str) -> int:
        """Position of the stage `name`, from 0; a name that no stage has is a `PlanError`."""
        if name not in self.stage_names:
            raise PlanError(f"the plan has no stage {name!r}; {did_you_mean(name, self.stage_names)}")
        return self.stage_names.index(name)

    def stage(self, name: str) -> Stage:
        """The stage of that `name`; a name that no stage has is a `PlanError`."""
        return self.stages[self.index(name)]

    def flag_at(self, name: str) -> Flag:
        """The flag definition to set at the stage `name`; `flag_at(name).to_posthog()` is its JSON."""
        reached = self.stages[: self.index(name) + 1]
        return Flag(
            self.flag,
            sets_of(self, reached),
            variants_of(self, reached),
            holdout=self.holdout,
            feature_enrollment=any(stage.enrollment for stage in reached),
            aggregation_group_type_index=self.aggregation_group_type_index,
            name=f"{self.flag}: {name}",
        )

    def window(self, name: str) -> tuple[pd.Timestamp, pd.Timestamp | None]:
        """Half-open UTC window `[start, end)` of the stage `name`; the end is None while it is open."""
        start, end = self._windows[self.index(name)]  # type: ignore[attr-defined]
        if start is None:
            raise PlanError(
                f"stage {name!r} has no start; give the plan starts_at=, or with_windows({{{name!r}: ...}})"
            )
        return start, end

    @property
    def has_windows(self) -> bool:
        """Whether any stage has a start."""
        return bool(self.windows())

    def windows(self) -> dict[str, tuple[pd.Timestamp, pd.Timestamp | None]]:
        """Windows of all stages that have a start, by name, in order."""
        pairs = zip(self.stage_names, self._windows, strict=True)  # type: ignore[attr-defined]
        return {name: window for name, window in pairs if window[0] is not None}

    def stage_at(self, time: Time) -> Stage | None:
        """The stage running at `time` (UTC without a zone); None where no stage runs."""
        moment = to_utc(time, name="time")
        for name, (start, end) in self.windows().items():
            if start <= moment and (end is None or moment < end):
                return self.stage(name)
        return None

    def shares(self, name: str) -> dict[str, float]:
        """Share (0 to 1) of all units per flag value by rule at the stage `name`, targeted people aside.

        Examples
        --------
        >>> holdout = {"id": 7, "exclusion_percentage": 10}
        >>> plan = RolloutPlan("f", (Stage.for_share("ramp", 20),), holdout=holdout)
        >>> {value: round(share, 3) for value, share in plan.shares("ramp").items()}
        {'false': 0.72, 'true': 0.18, 'holdout-7': 0.1}
        """
        return shares_at(self, name)

    def served(self, name: str) -> tuple[str, ...]:
        """Values beside the control that the rules of the stage `name` give, in the order of the variants.

        Examples
        --------
        >>> variants = [Variant("control", 50), Variant("a", 25), Variant("b", 25)]
        >>> plan = RolloutPlan(
        ...     "f", (Stage.for_share("ramp", 20), Stage.for_everyone(variant="b")), variants=variants
        ... )
        >>> plan.served("ramp"), plan.served("full release")
        (('a', 'b'), ('b',))
        """
        return served_at(self, name)

    def share(self, name: str) -> float | None:
        """Share (0 to 1) of the canary among both arms at the stage `name`; None for targeted stages."""
        if self.stage(name).kind == "targeted":
            return None
        shares = self.shares(name)
        canary, control = shares.get(self.canary, 0.0), shares.get(self.control, 0.0)
        return canary / (canary + control) if canary + control > 0 else None

    def with_windows(self, windows: Mapping[str, Time | Sequence[Time | None]]) -> RolloutPlan:
        """The plan with the `windows` as they came to be: `{stage: start}` or `{stage: (start, end)}`.

        Stages that are not named keep what they said; later ones follow from the new times.
        """
        changed = {stage.name: stage for stage in self.stages}
        for name, window in windows.items():
            start, end = window if isinstance(window, tuple | list) else (window, None)
            changed[name] = replace(self.stage(name), starts_at=start, ends_at=end)
        return replace(self, stages=tuple(changed[name] for name in self.stage_names))

    def changes(self, name: str) -> tuple[str, ...]:
        """What is different at the stage `name` from the one before it, one sentence a change.

        Examples
        --------
        >>> plan = RolloutPlan.five_stages("new-checkout", owner="ada@acme.io", team_domain="acme.io")
        >>> plan.changes("expanded beta 25%")
        ('The share of everyone grows from 5 % to 25 %; the 5 % keep it.',)
        """
        position, stage = self.index(name), self.stage(name)
        before = [earlier.share for earlier in self.stages[:position] if earlier.share]
        said = []
        if stage.kind == "targeted":
            said += [f"New: {condition_words(item, self.group_types)}." for item in stage.conditions]
        elif before and before[-1] == stage.share:
            said.append(f"The share of everyone stays at {before[-1]:g} %.")
        elif before:
            growth = f"from {before[-1]:g} % to {stage.share:g} %; the {before[-1]:g} % keep it."
            said.append(f"The share of everyone grows {growth}")
        else:
            said.append(f"New: {stage.share:g} % of everyone.")
        joined = ("New: people who join the early access themselves.",) if stage.enrollment else ()
        return (*said, *joined)

    def announcement(self, name: str, *, watch: Sequence[str] = ()) -> str:
        """A short text that says what changes at a stage, when, what to watch, and who decides; Markdown.

        Parameters
        ----------
        name
            The stage.
        watch
            What people should look out for, in their words.

        Returns
        -------
        str
        """
        position, stage = self.index(name), self.stage(name)
        start, end = self._windows[position]  # type: ignore[attr-defined]
        when = "" if start is None else f", from {start:%Y-%m-%d %H:%M} UTC"
        until = "" if end is None else f" until {end:%Y-%m-%d %H:%M} UTC"
        kept = f"\nWho had it before keeps it ({', '.join(self.stage_names[:position])})." if position else ""
        lines = "\n".join(f"- {change}" for change in self.changes(name))
        closing = f"\nPlease watch: {', '.join(watch)}." if watch else ""
        if decides := stage.decides or self.owner:
            closing += f"\nNext step decided by {decides}."
        return f"**{self.flag}: {name}**{when}{until}\n\n{lines}\n{kept}{closing}".rstrip() + "\n"

    def explore(self, log: EventLog, *, segment: str | None = None, as_of: Time | None = None) -> View:
        """A picture one can click; `exposures(log, plan.flag, plan=plan).of_stage(stage)` lists its people.

        Parameters
        ----------
        log, segment, as_of
            Events; a property of people to narrow the picture by; when to stop counting.

        Returns
        -------
        View
        """
        from canarykit.widgets.views import explore_plan

        return explore_plan(self, log, segment=segment, as_of=as_of)

    def _headline(self) -> str:
        stages = counted(len(self.stages), "stages")
        return f"{self.flag}: {stages}, from {self.stages[0].name} to {self.stages[-1].name}"

    def _table(self) -> Table:
        rows = []
        for stage, (start, end) in zip(self.stages, self._windows, strict=True):  # type: ignore[attr-defined]
            said = "; ".join(stage.words(self.group_types))
            share = None if stage.share is None else stage.share / 100
            rows.append((stage.name, said, share, start, end, stage.decides or self.owner))
        return Table.of(_COLUMNS, rows)

    def _extra_json(self) -> dict[str, Any]:
        return {
            "flag": self.flag,
            "control": self.control,
            "canary": self.canary,
            "plan": definition_of(self),
            "flags": {name: self.flag_at(name).to_posthog() for name in self.stage_names},
        }
