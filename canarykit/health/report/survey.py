"""Survey answers in a stage report: response rates first, then scores, then words."""

from __future__ import annotations

from canarykit.display import Column, Table
from canarykit.errors import DataError
from canarykit.events.names import check_survey
from canarykit.health.checks.check import Section
from canarykit.health.question import Question

MOST_QUOTES = 5


def answer_sections(question: Question) -> tuple[Section, ...]:
    """The stage's answers to the question's survey; nothing when no survey was named."""
    if question.survey is None:
        return ()
    from canarykit.feedback import survey_by_flag

    plan = question.plan
    try:
        survey = survey_by_flag(
            question.log,
            question.survey,
            flag=plan.flag,
            plan=plan,
            stage=question.stage,
            as_of=question.as_of,
        )
    except DataError as problem:  # a survey that nobody saw yet is no reason to judge nothing
        if isinstance(question.survey, str):
            check_survey(question.log, question.survey)
        nothing = Table.of((Column("answers", "answers", "count"),), [(0,)])
        return (Section("survey", f"Nobody was asked in this stage: {problem}.", nothing),)
    sections = [Section("survey", survey._headline() + ".", survey._table())]
    quotes = survey.quotes()
    if len(quotes):
        rows = [
            tuple(row)
            for variant in (plan.canary, plan.control)
            for row in quotes[quotes["variant"] == variant]
            .head(MOST_QUOTES)[["variant", "question", "answer", "session_id"]]
            .itertuples(index=False)
        ]
        columns = (
            Column("variant", "variant"),
            Column("question", "question"),
            Column("answer", "answer"),
            Column("session_id", "session to watch"),
        )
        text = f"The {MOST_QUOTES} newest answers of each arm, as they were written."
        sections.append(Section("in their words", text, Table.of(columns, rows)))
    return tuple(sections)
