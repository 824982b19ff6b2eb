"""People of one e-mail domain who are all in one arm: a group that somebody chose, not the draw."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from canarykit.display import Note
from canarykit.events.text import places_among
from canarykit.exposure.first_values import first_values
from canarykit.health.question import EMAIL

if TYPE_CHECKING:
    from canarykit.health.question import Question

SMALLEST = 20
"""People from which a domain is looked at."""
CHANCE = 0.001
"""P(any domain is named) where all were drawn: Bonferroni over large enough domains and both arms."""


def targeted_group_notes(
    question: Question, units: pd.DataFrame, share: float, *, until: pd.Timestamp
) -> tuple[Note, ...]:
    """A note per e-mail domain of which nobody is in one of the arms, beyond chance.

    `units` are the people compared: `person_id`, `canary`; `share` is the planned part of the canary.
    """
    if question.actor != "person_id" or len(units) < SMALLEST or not 0 < share < 1:
        return ()
    domains = _domains(question, units, until)
    if domains is None:
        return ()
    told = pd.DataFrame({"domain": domains, "canary": units["canary"].to_numpy(bool)}).dropna()
    counts = told.groupby("domain")["canary"].agg(["size", "sum"])
    counts = counts[counts["size"] >= SMALLEST]
    notes = []
    for domain, n, in_canary in counts.sort_values("size", ascending=False).itertuples(name=None):
        log_chance = n * math.log(share if in_canary == n else 1 - share)
        if in_canary not in (0, n) or log_chance + math.log(2 * len(counts)) > math.log(CHANCE):
            continue
        arm = "canary" if in_canary else "control"
        condition = {"key": EMAIL, "value": f"@{domain}", "operator": "not_icontains"}
        without = f"[*those you gave, {condition}]" if question.some_people else f"[{condition}]"
        text = (
            f"people with an e-mail at {domain} are all in the {arm}: chosen, it seems, and not drawn; "
            f"people={without} leaves them out"
        )
        notes.append(Note("targeted_group", text, int(n)))
    return tuple(notes)


def _domains(question: Question, units: pd.DataFrame, until: pd.Timestamp) -> npt.NDArray[Any] | None:
    """The domain of each unit's e-mail, of persons, else of events; None where there are no e-mails."""
    persons = question.log.persons
    who = units["person_id"].astype(str)
    emails: Any
    if persons is not None and EMAIL in persons.columns:
        of_person = persons.dropna(subset=EMAIL).drop_duplicates("person_id", keep="last")
        place = places_among(who, of_person["person_id"].astype(str))
        emails = np.array([*of_person[EMAIL].to_numpy(object), None], dtype=object)[place]
    elif question.log.has_property(EMAIL):
        read = (EMAIL,)
        emails = first_values(question.log, who, read, actor="person_id", since=question.start, until=until)[
            EMAIL
        ]
    else:
        return None
    return np.array([_domain(email) for email in emails], dtype=object)


def _domain(email: Any) -> str | None:
    name, at, domain = email.rpartition("@") if isinstance(email, str) else ("", "", "")
    return domain.strip().lower() or None if name and at else None
