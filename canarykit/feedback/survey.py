"""Survey answers by flag variant: who was asked, who answered, and what they said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from canarykit.arguments import checked
from canarykit.counting import counted
from canarykit.display import Column, Note, Result, Table
from canarykit.errors import DataError, did_you_mean
from canarykit.events.log import as_log
from canarykit.exposure.compared import Compared, listened_units
from canarykit.feedback.questions import (
    SENT,
    Question,
    QuestionKind,
    options_of,
    question_kinds,
    question_texts,
    response_names,
    survey_definition,
)
from canarykit.flags.given import key_of
from canarykit.plan.given import as_plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from canarykit.events import EventLog
    from canarykit.flags import Flag
    from canarykit.plan import RolloutPlan
    from canarykit.stats.estimate import Estimate
    from canarykit.typing import Filters, Frame, Time

SHOWN, DISMISSED = "survey shown", "survey dismissed"
FEW_ANSWERS = 10

_COLUMNS = (
    Column("question", "question"),
    Column("kind", "kind"),
    Column("variant", "variant"),
    Column("answers", "answers", "count"),
    Column("score", "score"),
    Column("interval", "95 % interval"),
)


@dataclass(frozen=True, repr=False, eq=False)
class SurveyByFlag(Result):
    """Answers of one survey by variant of a flag.

    Parameters
    ----------
    survey, name, flag
        Id and name of the survey, key of the flag.
    response
        One row per variant: exposed, shown, answered, dismissed, response rate with Wilson limits.
    answers
        One row per person and question: person_id, variant, question, answer, answered_at, session_id.
    scores
        One row per question and variant: kind, answers, value, low, high (fractions for CSAT and choices,
        points from -100 to 100 for NPS).
    response_gap
        Difference of the response rates, canary minus control (Miettinen-Nurminen); None without both.
    kinds
        Kind of each question.
    """

    survey: str
    name: str
    flag: str
    response: pd.DataFrame
    answers: pd.DataFrame
    scores: pd.DataFrame
    response_gap: Estimate | None
    kinds: Mapping[str, QuestionKind]
    notes: tuple[Note, ...] = ()

    def _headline(self) -> str:
        asked = int(self.response["shown"].sum())
        answered = int(self.response["answered"].sum())
        gap = self.response_gap
        name = self.survey if self.name == self.survey else f"{self.name!r}"
        words = f"{answered:,} of {counted(asked, 'people who were asked')} answered {name}"
        if gap is None:
            return f"{words}; response rates cannot be compared"
        if gap.low > 0 or gap.high < 0:
            return f"{words}; the arms do not answer alike ({gap.value * 100:+.1f} pp), so scores mislead"
        return f"{words}; no difference in response rates shown ({gap.value * 100:+.1f} pp)"

    def _table(self) -> Table:
        rows: list[tuple[Any, ...]] = []
        for row in self.response.to_dict("records"):
            rows.append(
                (
                    "response",
                    "rate",
                    row["variant"],
                    row["answered"],
                    *_share_words(row["rate"], row["low"], row["high"]),
                )
            )
        for row in self.scores.to_dict("records"):
            rows.append((row["question"], row["kind"], row["variant"], row["answers"], *_score_words(row)))
        return Table.of(_COLUMNS, rows)

    def to_frame(self) -> pd.DataFrame:
        """Scores by question and variant, raw numbers."""
        return self.scores.copy()

    def quotes(self, variant: str | None = None, *, question: str | None = None) -> pd.DataFrame:
        """Free texts, newest first: variant, answer, question, answered_at, person_id, session_id."""
        texts = self.answers[[self.kinds[q] == "text" for q in self.answers["question"]]]
        for column, value in (("variant", variant), ("question", question)):
            if value is not None:
                if value not in set(self.answers[column]):
                    raise DataError(
                        f"no answer has {column} {value!r}; {did_you_mean(value, set(self.answers[column]))}"
                    )
                texts = texts[texts[column] == value]
        columns = ["variant", "answer", "question", "answered_at", "person_id", "session_id"]
        return texts.sort_values("answered_at", ascending=False, ignore_index=True)[columns]

    def _extra_json(self) -> dict[str, Any]:
        return {
            "survey": self.survey,
            "flag": self.flag,
            "response": self.response.to_dict("records"),
            "scores": self.scores.to_dict("records"),
        }

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Response rates by variant with their intervals."""
        from canarykit.plots.dashboard import plot_response

        return plot_response(self, ax=ax)


@checked
def survey_by_flag(
    log: EventLog | Frame,
    survey: str | Mapping[str, Any],
    *,
    flag: str | Flag,
    plan: RolloutPlan | None = None,
    stage: str | None = None,
    as_of: Time | None = None,
    people: Filters = None,
    kinds: Mapping[str, QuestionKind] | None = None,
) -> SurveyByFlag:
    """Response rates and scores of a survey by variant, from the exposure on.

    Parts of one submission that were sent one after the other are merged (the last answer to each question
    stands), and a person counts once. Surveys are answered by whoever chooses to: compare the response
    rates before any score.

    Parameters
    ----------
    log
        `EventLog` over any engine, or a table of events with its default columns.
    survey
        Id or name of the survey, or its definition as PostHog's API gives it: then the texts and kinds
        of its questions are known even where the events do not carry them.
    flag
        Key of the flag, or the flag itself.
    plan, stage
        Only people exposed within a stage of this plan, and their answers within it. Of a percentage
        stage whoever has the flag by choice (owner, team, beta, enrolled) is set apart, with a note. With
        a plan and no stage, an answer counts for the arm that its person had in that stage. Without a plan
        people who saw several variants are set apart and counted in a note.
    as_of
        Later events are not looked at.
    people
        Only these people: a filter of their properties (`{"plan": "pro"}`, or mappings in PostHog's words),
        or a list of ids.
    kinds
        How to read a question, by its text or id: "nps" (0 to 10), "csat" (the two best points of the
        question's scale are satisfied, of three the best, of thumbs the first), "choice" (each option of an
        answer counts) or "text". Left out, the definition tells; else numbers are read as the scale they
        fit, 1 to 5 or 0 to 10.

    Returns
    -------
    SurveyByFlag

    Raises
    ------
    DataError
        If the log has no event of that survey.

    Examples
    --------
    >>> import pandas as pd
    >>> from canarykit.events import EventLog
    >>> who = {"timestamp": "2026-09-07T09:00:00Z", "distinct_id": "ada", "$survey_id": "s"}
    >>> rows = [
    ...     {**who, "event": "$feature_flag_called", "$feature_flag": "f", "$feature_flag_response": "true"},
    ...     {**who, "event": "survey shown"},
    ...     {**who, "event": "survey sent", "$survey_response": "5"},
    ... ]
    >>> found = survey_by_flag(EventLog(pd.DataFrame(rows)), "s", flag="f")
    >>> found.response[["variant", "shown", "answered"]].to_dict("records")
    [{'variant': 'true', 'shown': 1, 'answered': 1}]
    """
    log, flag, plan = as_log(log), key_of(flag), None if plan is None else as_plan(plan)
    exposed = listened_units(log, flag, plan=plan, stage=stage, as_of=as_of, people=people)
    survey, name, defined = survey_definition(survey)
    names = response_names(log, defined)
    extra = ["$survey_id", "$survey_name", "$survey_submission_id", "$survey_questions"]
    events = log.select(
        list(
            dict.fromkeys(
                ["person_id", exposed.unit_column, "event", "timestamp", "session_id", *extra, *names]
            )
        ),
        events=[SHOWN, SENT, DISMISSED],
        since=exposed.since,
        until=exposed.until,
    )
    mine = events[(events["$survey_id"] == survey) | (events["$survey_name"] == survey)]
    if mine.empty:
        surveys = sorted({str(v) for c in ("$survey_id", "$survey_name") for v in events[c].dropna()})
        raise DataError(f"no event belongs to survey {survey!r}; {did_you_mean(survey, surveys)}")
    after = exposed.after(mine)
    notes = [*log.notes, *exposed.notes]
    if len(after) < len(mine):
        text = "survey events of people not exposed or set apart, or before the exposure, are left out"
        notes.append(Note("not_exposed", text, len(mine) - len(after)))
    response = _response(after, exposed)
    questions = {**question_texts(mine), **{name: question.label for name, question in defined.items()}}
    answers = _answers(after, names, questions)
    by_label = {question.label: question for question in defined.values()}
    chosen = question_kinds(answers, kinds or {}, questions, by_label)
    scores = _scores(answers, chosen, by_label, exposed)
    gap = _response_gap(response, exposed)
    if gap is not None and (gap.low > 0 or gap.high < 0):
        notes.append(
            Note("response_gap", "the arms do not answer alike: scores compare different kinds of people")
        )
    few = scores[scores["answers"] < FEW_ANSWERS]
    if len(few):
        notes.append(Note("few_answers", f"scores rest on fewer than {FEW_ANSWERS} answers", len(few)))
    return SurveyByFlag(survey, name, flag, response, answers, scores, gap, chosen, tuple(notes))


def _response(after: pd.DataFrame, exposed: Compared) -> pd.DataFrame:
    from canarykit.stats.one_look.proportions import wilson

    rows = []
    for variant in exposed.variants:
        part = after[after["variant"] == variant]
        people = {name: set(part.loc[part["event"] == name, "unit"]) for name in (SHOWN, SENT, DISMISSED)}
        asked = people[SHOWN] | people[SENT] | people[DISMISSED]
        rate = wilson(len(people[SENT]), len(asked))
        rows.append(
            {
                "variant": variant,
                "exposed": exposed.count(variant),
                "shown": len(asked),
                "answered": len(people[SENT]),
                "dismissed": len(people[DISMISSED] - people[SENT]),
                "rate": None if rate is None else rate.value,
                "low": None if rate is None else rate.low,
                "high": None if rate is None else rate.high,
            }
        )
    return pd.DataFrame(rows)


def _response_gap(response: pd.DataFrame, exposed: Compared) -> Estimate | None:
    from canarykit.stats.one_look.proportions import risk_difference

    counts = {
        row.variant: (int(row.answered), int(row.shown))  # type: ignore[arg-type]
        for row in response.itertuples()
        if row.shown
    }
    if exposed.canary not in counts or exposed.control not in counts:
        return None
    return risk_difference(*counts[exposed.canary], *counts[exposed.control])


def _answers(after: pd.DataFrame, names: list[str], questions: Mapping[str, str]) -> pd.DataFrame:
    sent = after[after["event"] == SENT]
    parts = []
    for name in names:
        given = sent[sent[name].notna()]
        if given.empty:
            continue
        parts.append(
            pd.DataFrame(
                {
                    "person_id": given["person_id"],
                    "variant": given["variant"],
                    "question": questions.get(name, name),
                    "answer": given[name].astype(str),
                    "answered_at": given["timestamp"],
                    "session_id": given["session_id"],
                    "submission": given["$survey_submission_id"],
                }
            )
        )
    columns = ["person_id", "variant", "question", "answer", "answered_at", "session_id"]
    if not parts:
        return pd.DataFrame({name: pd.Series([], dtype="object") for name in columns})
    answers = pd.concat(parts, ignore_index=True).sort_values(["answered_at", "person_id"], kind="stable")
    return answers.drop_duplicates(["person_id", "question"], keep="last")[columns].reset_index(drop=True)


def _scores(
    answers: pd.DataFrame,
    kinds: Mapping[str, QuestionKind],
    defined: Mapping[str, Question],
    exposed: Compared,
) -> pd.DataFrame:
    """A row for each question and variant: NPS, satisfaction or the shares of options; else a count."""
    from canarykit.stats.one_look.proportions import wilson
    from canarykit.stats.one_look.surveys import net_promoter_score, satisfaction

    rows: list[dict[str, Any]] = []
    for question, kind in kinds.items():
        asked = answers[answers["question"] == question]
        options = sorted({option for answer in asked["answer"] for option in options_of(answer)})
        for variant in exposed.variants:
            chosen = asked[asked["variant"] == variant]
            base = {"question": question, "kind": kind, "variant": variant, "answers": len(chosen)}
            numbers = pd.to_numeric(chosen["answer"], errors="coerce")
            estimate = None
            if kind == "nps":
                numbers = numbers.where(numbers.between(0, 10))
                promoters, detractors = int((numbers >= 9).sum()), int((numbers <= 6).sum())
                estimate = net_promoter_score(
                    promoters, int(numbers.notna().sum()) - promoters - detractors, detractors
                )
            elif kind == "csat":
                estimate = satisfaction(*defined.get(question, Question(question)).satisfied(numbers))
            elif kind == "choice":
                picked = [options_of(answer) for answer in chosen["answer"]]
                for option in options:
                    share = wilson(sum(option in one for one in picked), len(chosen))
                    rows.append({**base, "question": f"{question}: {option}", **_limits(share)})
                continue
            rows.append({**base, **_limits(estimate)})
    columns = ["question", "kind", "variant", "answers", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _limits(estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {"value": None, "low": None, "high": None}
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _score_words(row: Mapping[Any, Any]) -> tuple[str, str]:
    if row["value"] is None or pd.isna(row["value"]):
        return ("texts" if row["kind"] == "text" else "–"), "–"
    if row["kind"] == "nps":
        return f"NPS {row['value']:+.0f}", f"{row['low']:+.0f} to {row['high']:+.0f}"
    return _share_words(row["value"], row["low"], row["high"])


def _share_words(value: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    if value is None or pd.isna(value):
        return "–", "–"
    return f"{value:.1%}", f"{low:.1%} to {high:.1%}"
