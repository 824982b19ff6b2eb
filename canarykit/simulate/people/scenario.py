"""What happens in a simulated rollout: baseline behaviour, what each variant changes, and what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from canarykit.arguments import require_fields
from canarykit.display import Noun
from canarykit.errors import PlanError, did_you_mean
from canarykit.times import duration, micros

if TYPE_CHECKING:
    import pandas as pd

    from canarykit.events import EventLog
    from canarykit.typing import Frame

FaultKind = Literal[
    "lost exposures", "unknown values", "flip at login", "wrong share", "stuck on", "outage", "late data"
]
QUANTITIES = (
    "sessions",
    "errors",
    "server errors",
    "load time",
    "delay",
    "revenue",
    "survey answers",
    "survey score",
)


_EXAMPLES = {"steps": 'Step("paid", 0.6)', "effects": 'Effect("errors", 3)', "faults": 'Fault("late data")'}


def _require_kind(items: Sequence[object], name: str, kind: type) -> None:
    for item in items:
        if not isinstance(item, kind):
            raise PlanError(f"the {name} of the scenario have {item!r}; expected such as {_EXAMPLES[name]}")


def _require_share(value: float, what: str) -> None:
    if not 0 <= value <= 1:
        raise PlanError(f"{what} is {value}; expected a fraction between 0 and 1")


@dataclass(frozen=True)
class Step:
    """One step of the funnel: the share of those at the step before who take it, and after how long.

    `delay` is the median time since the step before; `spread` the standard deviation of its logarithm.
    The rate of the first step is per session.
    """

    event: str
    rate: float
    delay: str = "20s"
    spread: float = 0.8

    def __post_init__(self) -> None:
        require_fields(self)
        _require_share(self.rate, f"the rate of step {self.event!r}")
        duration(self.delay, name=f"the delay of step {self.event!r}")


@dataclass(frozen=True)
class Survey:
    """A survey shown once to a person, after a session that saw the flag.

    `shown` and `answered` are shares; `score` is the mean answer on a scale of 1 to `scale`.
    """

    id: str = "019a1c5e-0000-7000-8000-00000000c5a7"
    name: str = "How was the checkout?"
    question_id: str = "satisfaction"
    shown: float = 0.15
    answered: float = 0.4
    score: float = 4.1
    scale: int = 5


@dataclass(frozen=True)
class Effect:
    """A change of one quantity: for one variant, or (an incident) for everybody.

    Parameters
    ----------
    quantity
        A step's event name (its rate), or one of "sessions", "errors", "server errors", "load time",
        "delay", "revenue", "survey answers", "survey score".
    ratio
        What the quantity is multiplied by.
    variant
        Whose; the canary by default. None means everybody, whatever the flag says.
    where
        Only people with these properties: `{"browser": "Safari"}`, `{"organization": ("blueriver",)}`.
    since, until, stage
        Only in this time (half-open, UTC), or in this stage's window.
    fades_after, grows_over
        Days since a person first got the variant over which the effect fades, or grows to full size
        (both by a factor e).

    Examples
    --------
    >>> Effect("paid", 0.7, where={"browser": "Safari"})
    Effect('paid', 0.7, where={'browser': 'Safari'})
    """

    quantity: str
    ratio: float
    variant: str | None = "true"
    where: Mapping[str, Any] = field(default_factory=dict)
    since: str | None = None
    until: str | None = None
    stage: str | None = None
    fades_after: float | None = None
    grows_over: float | None = None

    def __post_init__(self) -> None:
        require_fields(self)
        if not self.ratio >= 0:
            raise PlanError(f"the effect on {self.quantity!r} has ratio {self.ratio}; expected 0 or more")
        if self.fades_after is not None and self.grows_over is not None:
            raise PlanError(f"the effect on {self.quantity!r} both fades and grows; choose one")
        _check_times(self, f"the effect on {self.quantity!r}")

    def __repr__(self) -> str:
        return _short_repr(self, ("quantity", "ratio"))


@dataclass(frozen=True)
class Fault:
    """Something wrong with the assignment or the data, not with the feature.

    Parameters
    ----------
    kind
        "lost exposures": `share` of the flag calls of `variant` never arrive. "unknown values": `share`
        of the calls answer null. "flip at login": the flag is already asked while a person is anonymous,
        with the anonymous id. "wrong share": the flag system lets `share` of the people in, whatever the
        plan says. "stuck on": who once got the canary keeps it when the flag is switched off.
        "outage": no event of the time arrives. "late data": `share` of the events arrive `delay` late.
    share, variant, since, until, delay
        How much, whose, when (UTC, half-open), how late.
    """

    kind: FaultKind
    share: float = 1.0
    variant: str | None = None
    since: str | None = None
    until: str | None = None
    delay: str = "6h"

    def __post_init__(self) -> None:
        require_fields(self)
        if self.kind not in get_args(FaultKind):
            raise PlanError(f"fault {self.kind!r} is unknown; {did_you_mean(self.kind, get_args(FaultKind))}")
        _require_share(self.share, f"the share of fault {self.kind!r}")
        duration(self.delay, name=f"the delay of fault {self.kind!r}")
        _check_times(self, f"fault {self.kind!r}")

    def __repr__(self) -> str:
        return _short_repr(self, ("kind",))


DEFAULT_STEPS = (
    Step("signup started", 0.35),
    Step("signup finished", 0.72, delay="4min"),
    Step("paid", 0.6, delay="25min", spread=1.2),
)


@dataclass(frozen=True, repr=False)
class Scenario(Noun):
    """The truth of a simulated rollout: what people do, and what each variant changes.

    Parameters
    ----------
    effects, faults
        What the variants change, and what is wrong with assignment or data.
    steps
        The funnel, in order. With `every_session` a person may go through it again in each session;
        else once, in the first session.
    every_session
        Whether people go through the steps in every session, or once.
    asked
        Share of the sessions in which the flag is asked (reaches the feature).
    pages
        Mean page views a session.
    error_rate, errors_per_hit, server_error_rate
        Share of the sessions with a client-side exception, how many it then has on average, and the
        share with a server-side exception (which carries no flag value).
    load_time, load_spread
        Median load time of the feature in milliseconds, and the standard deviation of its logarithm.
    amount, amount_spread
        Median amount paid, and the standard deviation of its logarithm.
    survey
        The survey shown, or None.
    switched_off
        Times `(from, until)` in which somebody switches the flag off.
    lead_in
        How long before the first stage the log begins.
    notes
        What was dropped, assumed or could not be told, one sentence each.

    Examples
    --------
    >>> worse = Scenario(effects=[Effect("paid", 0.8), Effect("errors", 3)])
    >>> worse.truth()[["paid", "errors"]].round(3).to_dict("index")
    {'false': {'paid': 0.6, 'errors': 0.01}, 'true': {'paid': 0.48, 'errors': 0.03}}
    """

    effects: Sequence[Effect] = ()
    faults: Sequence[Fault] = ()
    steps: Sequence[Step] = DEFAULT_STEPS
    every_session: bool = True
    asked: float = 1.0
    pages: float = 3.0
    error_rate: float = 0.01
    errors_per_hit: float = 1.0
    server_error_rate: float = 0.003
    load_time: float = 800.0
    load_spread: float = 0.4
    amount: float = 49.0
    amount_spread: float = 0.5
    survey: Survey | None = field(default_factory=Survey)
    switched_off: Sequence[tuple[str, str]] = ()
    lead_in: str = "7d"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_fields(self)
        for name in ("effects", "faults", "steps", "switched_off", "notes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, kind in (("steps", Step), ("effects", Effect), ("faults", Fault)):
            _require_kind(getattr(self, name), name, kind)
        for name in ("asked", "error_rate", "server_error_rate"):
            _require_share(getattr(self, name), name)
        for name in ("pages", "errors_per_hit"):
            if not getattr(self, name) >= 1:
                raise PlanError(f"{name} is {getattr(self, name)}; expected at least 1 on average")
        quantities = (*self.step_names, *QUANTITIES)
        for effect in self.effects:
            if effect.quantity not in quantities:
                hint = did_you_mean(effect.quantity, quantities)
                raise PlanError(f"the scenario has no quantity {effect.quantity!r}; {hint}")

    @property
    def step_names(self) -> tuple[str, ...]:
        """The events of the funnel, in order."""
        return tuple(step.event for step in self.steps)

    def with_effects(self, *effects: Effect) -> Scenario:
        """The same scenario with these effects instead of its own.

        Parameters
        ----------
        *effects
            What the variants change; none: nothing.

        Returns
        -------
        Scenario
        """
        return replace(self, effects=effects)

    def base(self, quantity: str) -> float:
        """A quantity before any effect: rates as fractions, `load time` in milliseconds.

        Parameters
        ----------
        quantity
            A step, "errors", "load time", "amount" and so on, as in `truth()`.

        Returns
        -------
        float
        """
        steps = {step.event: step.rate for step in self.steps}
        survey = self.survey
        other = {
            "sessions": 1.0,
            "errors": self.error_rate,
            "server errors": self.server_error_rate,
            "load time": self.load_time,
            "delay": 1.0,
            "revenue": self.amount,
            "survey answers": survey.answered if survey else 0.0,
            "survey score": survey.score if survey else 0.0,
        }
        rates = {**other, **steps}
        if quantity not in rates:
            raise PlanError(f"the scenario has no quantity {quantity!r}; {did_you_mean(quantity, rates)}")
        return rates[quantity]

    def truth(self, variants: tuple[str, ...] = ("false", "true")) -> pd.DataFrame:
        """The truth that was put in: one row a variant, one column a quantity.

        Effects confined to a segment, a stage or a time are left out: they have no single value.

        Parameters
        ----------
        variants
            Flag values, control first.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd

        rows = {}
        for variant in variants:
            row = {name: self.base(name) for name in (*self.step_names, *QUANTITIES)}
            for effect in self.effects:
                confined = effect.where or effect.since or effect.until or effect.stage
                if effect.variant in (None, variant) and not confined:
                    row[effect.quantity] *= effect.ratio
            rows[variant] = row
        return pd.DataFrame.from_dict(rows, orient="index")

    @classmethod
    def like(
        cls, log: EventLog | Frame, *, steps: tuple[str, ...] | list[str], flag: str | None = None
    ) -> Scenario:
        """Estimate steps, delays, errors and amounts from a real log; `notes` say what could not be told.

        With `flag`, only sessions without the canary count, so that the baseline is the old version's.

        Parameters
        ----------
        log
            The log to take the rates from.
        steps
            Events of the funnel, in order.
        flag
            Key of the flag; None counts all sessions.
        """
        from canarykit.simulate.people.estimate import scenario_like

        return scenario_like(log, tuple(steps), flag)


def _check_times(spec: Effect | Fault, what: str) -> None:
    since, until = (t and micros(t, name=f"the time of {what}") for t in (spec.since, spec.until))
    if since and until and not since < until:
        raise PlanError(f"{what} ends at {spec.until}, not after {spec.since}")


def _short_repr(spec: Any, positional: tuple[str, ...]) -> str:
    """The code that makes a spec: positional fields, then what differs from the defaults."""
    parts = [repr(getattr(spec, name)) for name in positional]
    for name, entry in type(spec).__dataclass_fields__.items():
        value = getattr(spec, name)
        default = {} if name == "where" else entry.default
        if name not in positional and value != default:
            parts.append(f"{name}={value!r}")
    return f"{type(spec).__name__}({', '.join(parts)})"
