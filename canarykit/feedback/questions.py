"""The questions of a survey: where their answers stand, what they ask, and how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from canarykit.documents import read_json
from canarykit.errors import PlanError, did_you_mean
from canarykit.flags.lossless import list_of, require_json, require_mapping

if TYPE_CHECKING:
    from canarykit.events import EventLog

QuestionKind = Literal["nps", "csat", "choice", "text"]
SENT = "survey sent"
RESPONSE = "$survey_response"


@dataclass(frozen=True)
class Question:
    """One question of a survey."""

    label: str  # how results call it: its text, with its place where another question has the same words
    kind: QuestionKind | None = None  # how its answers are read; None where the definition does not say
    scale: int | None = None  # points of a rating: 2 (thumbs, 1 is up), 3, 5, 7, or 10 (0 to 10)

    def satisfied(self, numbers: pd.Series) -> tuple[int, int]:
        """How many of the numbers are satisfied, and how many lie on the scale at all."""
        scale = self.scale or 5
        on_scale = numbers[numbers.between(1, scale)]
        if scale == 2:
            return int((on_scale == 1).sum()), len(on_scale)
        best = scale if scale == 3 else scale - 1  # the happy face of three, else the two best points
        return int((on_scale >= best).sum()), len(on_scale)


def survey_definition(survey: str | Mapping[str, Any]) -> tuple[str, str, dict[str, Question]]:
    """Id and name of a survey, and each question by the properties that may hold its answer."""
    if isinstance(survey, str):
        return survey, survey, {}
    if not isinstance(survey, Mapping):
        raise PlanError(f"survey is {survey!r}; expected its id, its name or its definition")
    require_json(survey, "the survey's definition")
    if not isinstance(survey.get("id"), str) or not survey["id"]:
        raise PlanError(f"the survey's definition has no 'id'; {did_you_mean('id', survey)}")
    listed = list_of(survey, "questions")
    for index, item in enumerate(listed):
        require_mapping(item, f"question {index + 1} of the survey")
    by_property: dict[str, Question] = {}
    for index, (item, label) in enumerate(zip(listed, _labels(listed), strict=True)):
        kind, scale = _defined_kind(item, label)
        names = _properties(index, item.get("id"))
        by_property |= dict.fromkeys(names, Question(label, kind, scale))
    return survey["id"], str(survey.get("name") or survey["id"]), by_property


def _defined_kind(item: Mapping[str, Any], label: str) -> tuple[QuestionKind | None, int | None]:
    kind, scale = str(item.get("type", "")), item.get("scale")
    if kind == "rating":
        if scale is not None and (isinstance(scale, bool) or not isinstance(scale, int) or scale < 2):
            raise PlanError(f"the scale of question {label!r} is {scale!r}; expected 2, 3, 5, 7 or 10 points")
        return (None if scale is None else "nps" if scale == 10 else "csat"), scale
    if kind == "open":
        return "text", None
    return ("choice" if kind.endswith("_choice") else None), None


def _labels(listed: Sequence[Mapping[str, Any]]) -> list[str]:
    """The text of each question, with its place where two have the same words."""
    texts = [
        str(item.get("question") or item.get("id") or f"question {index + 1}")
        for index, item in enumerate(listed)
    ]
    return [
        f"{text} (question {index + 1})" if texts.count(text) > 1 else text
        for index, text in enumerate(texts)
    ]


def _properties(index: int, identifier: Any) -> list[str]:
    """The properties that hold the answer to a question: by its place, and by its id."""
    names = [RESPONSE if index == 0 else f"{RESPONSE}_{index}"]
    return [*names, f"{RESPONSE}_{identifier}"] if identifier else names


def options_of(answer: str) -> tuple[str, ...]:
    """The options that an answer names: each of a list, else the answer itself.

    Examples
    --------
    >>> options_of('["A", "B", "A"]'), options_of("A")
    (('A', 'B'), ('A',))
    """
    if answer.startswith("["):
        try:
            listed = read_json(answer)
        except ValueError:
            return (answer,)
        if isinstance(listed, list):
            return tuple(dict.fromkeys(str(option) for option in listed))
    return (answer,)


def response_names(log: EventLog, defined: Mapping[str, Any], *, sample: int = 5000) -> list[str]:
    """Properties that hold answers: columns, keys in the JSON of answers, and those of the definition."""
    names = dict.fromkeys(name for name in log.columns if name.startswith(RESPONSE))
    if log.mapping["properties"] in log.columns:
        for part in log.batches(["properties"], events=[SENT]):
            for text in part.column("properties").slice(0, sample).to_pylist():
                names |= dict.fromkeys(key for key in _keys(text) if key.startswith(RESPONSE))
    return [*names, *(name for name in defined if name not in names)]


def question_texts(events: pd.DataFrame) -> dict[str, str]:
    """Label of each question by the property that holds its answer, as the events tell it."""
    texts: dict[str, str] = {}
    for value in events["$survey_questions"].dropna().unique():
        try:
            listed = read_json(value)
        except (AttributeError, TypeError, ValueError):
            continue
        listed = [item if isinstance(item, Mapping) else {} for item in listed or ()]
        for index, (item, label) in enumerate(zip(listed, _labels(listed), strict=True)):
            if item.get("question"):
                for name in _properties(index, item.get("id")):
                    texts.setdefault(name, label)
    return texts


def question_kinds(
    answers: pd.DataFrame,
    given: Mapping[str, QuestionKind],
    questions: Mapping[str, str],
    defined: Mapping[str, Question],
) -> dict[str, QuestionKind]:
    """Kind of each question: as given, as the survey defines it, or as the answers look."""
    asked = list(dict.fromkeys(answers["question"]))
    by_id = {key.removeprefix(f"{RESPONSE}_"): text for key, text in questions.items()}
    wanted = {by_id.get(key, key): kind for key, kind in given.items()}
    for question, kind in wanted.items():
        if question not in asked:
            raise PlanError(f"kinds names question {question!r}; {did_you_mean(question, asked)}")
        if kind not in ("nps", "csat", "choice", "text"):
            hint = did_you_mean(kind, ["nps", "csat", "choice", "text"])
            raise PlanError(f"kinds reads {question!r} as {kind!r}; {hint}")
    return {
        question: wanted.get(question)
        or (defined[question].kind if question in defined else None)
        or _guess(answers[answers["question"] == question])
        for question in asked
    }


def _guess(answers: pd.DataFrame) -> QuestionKind:
    if answers["answer"].str.startswith("[").all():
        return "choice"
    numbers = pd.to_numeric(answers["answer"], errors="coerce")
    if numbers.notna().all():
        return "csat" if numbers.between(1, 5).all() else "nps" if numbers.between(0, 10).all() else "text"
    distinct = answers["answer"].nunique()
    return "choice" if distinct <= 8 and len(answers) >= 3 * distinct else "text"


def _keys(text: Any) -> tuple[str, ...]:
    try:
        document = read_json(text or "{}")
    except (AttributeError, TypeError, ValueError):
        return ()
    return tuple(document) if isinstance(document, dict) else ()
