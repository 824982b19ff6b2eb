"""The questions of a survey: where their answers stand, what they ask, and how to read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from canarykit.errors import PlanError, did_you_mean

if TYPE_CHECKING:
    from canarykit.events import EventLog

__all__ = [
    "RESPONSE",
    "SENT",
    "QuestionKind",
    "question_kinds",
    "question_texts",
    "response_names",
    "survey_definition",
]

QuestionKind = Literal["nps", "csat", "choice", "text"]
SENT = "survey sent"
RESPONSE = "$survey_response"


def survey_definition(
    survey: str | Mapping[str, Any],
) -> tuple[str, str, dict[str, tuple[str, QuestionKind | None]]]:
    """Id and name of a survey, and text and kind of each question by the property that holds its answer."""
    if isinstance(survey, str):
        return survey, survey, {}
    if "id" not in survey:
        raise PlanError(f"the survey's definition has no 'id'; {did_you_mean('id', survey)}")
    found: dict[str, tuple[str, QuestionKind | None]] = {}
    listed = survey.get("questions") or []
    if not isinstance(listed, list | tuple):
        raise PlanError(f"the survey's 'questions' are {listed!r}; expected a list")
    for place, item in enumerate(listed):
        if not isinstance(item, Mapping):
            raise PlanError(f"question {place + 1} of the survey is {item!r}; expected an object")
        kind: QuestionKind | None = None
        if item.get("type") == "rating":
            kind = {10: "nps", 5: "csat"}.get(item.get("scale"))  # type: ignore[assignment,arg-type]
        elif item.get("type") == "open":
            kind = "text"
        elif str(item.get("type", "")).endswith("_choice"):
            kind = "choice"
        text = str(item.get("question") or item.get("id") or f"question {place + 1}")
        names = [RESPONSE if place == 0 else f"{RESPONSE}_{place}"]
        names += [f"{RESPONSE}_{item['id']}"] if item.get("id") else []
        found |= dict.fromkeys(names, (text, kind))
    return str(survey["id"]), str(survey.get("name") or survey["id"]), found


def response_names(log: EventLog, defined: Mapping[str, Any], *, sample: int = 5000) -> list[str]:
    """Properties that hold answers: columns, keys in the JSON of answers, and those of the definition."""
    names = dict.fromkeys(name for name in log.columns if name.startswith(RESPONSE))
    if log.mapping["properties"] in log.columns:
        for part in log.batches(["properties"], events=[SENT]):
            for text in part.column("properties").slice(0, sample).to_pylist():
                names |= dict.fromkeys(key for key in _keys(text) if key.startswith(RESPONSE))
    return [*names, *(name for name in defined if name not in names)]


def question_texts(events: pd.DataFrame) -> dict[str, str]:
    """Text of each question by the property that holds its answer."""
    texts: dict[str, str] = {}
    for value in events["$survey_questions"].dropna().unique():
        try:
            listed = json.loads(value)
        except (TypeError, ValueError):
            continue
        for place, item in enumerate(listed if isinstance(listed, list) else []):
            if isinstance(item, Mapping) and item.get("question"):
                words = str(item["question"])
                texts.setdefault(f"{RESPONSE}_{item.get('id')}", words)
                texts.setdefault(RESPONSE if place == 0 else f"{RESPONSE}_{place}", words)
    return texts


def question_kinds(
    answers: pd.DataFrame,
    given: Mapping[str, QuestionKind],
    questions: Mapping[str, str],
    defined: Mapping[str, QuestionKind],
) -> dict[str, QuestionKind]:
    """Kind of each question: as given, as the survey defines it, or as the answers look."""
    known = list(dict.fromkeys(answers["question"]))
    by_id = {key.removeprefix(f"{RESPONSE}_"): text for key, text in questions.items()}
    wanted = {by_id.get(key, key): kind for key, kind in given.items()}
    for question, kind in wanted.items():
        if question not in known:
            raise PlanError(f"kinds names question {question!r}; {did_you_mean(question, known)}")
        if kind not in ("nps", "csat", "choice", "text"):
            hint = did_you_mean(kind, ["nps", "csat", "choice", "text"])
            raise PlanError(f"kinds reads {question!r} as {kind!r}; {hint}")
    return {
        question: wanted.get(question)
        or defined.get(question)
        or _guess(answers[answers["question"] == question])
        for question in known
    }


def _guess(answers: pd.DataFrame) -> QuestionKind:
    numbers = pd.to_numeric(answers["answer"], errors="coerce")
    if numbers.notna().all():
        return "csat" if numbers.between(1, 5).all() else "nps" if numbers.between(0, 10).all() else "text"
    distinct = answers["answer"].nunique()
    return "choice" if distinct <= 8 and len(answers) >= 3 * distinct else "text"


def _keys(text: Any) -> tuple[str, ...]:
    try:
        found = json.loads(text or "{}")
    except (TypeError, ValueError):
        return ()
    return tuple(found) if isinstance(found, dict) else ()
