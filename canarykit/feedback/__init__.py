"""Listening to the canary: what people answered, which sessions to watch, which exceptions are new."""

from canarykit.feedback.exceptions import ExceptionsByFlag, exceptions_by_flag
from canarykit.feedback.sessions import SessionsByFlag, sessions_by_flag
from canarykit.feedback.survey import SurveyByFlag, survey_by_flag

__all__ = [
    "ExceptionsByFlag",
    "SessionsByFlag",
    "SurveyByFlag",
    "exceptions_by_flag",
    "sessions_by_flag",
    "survey_by_flag",
]
