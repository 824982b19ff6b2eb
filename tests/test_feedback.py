"""What people of each variant say, which sessions to watch, which exceptions are new."""

import json

import pandas as pd
import pytest

import canarykit as ck
from canarykit.errors import DataError, PlanError
from tests.release import FLAG, ramp_plan

SURVEY = "018f-checkout"
START = pd.Timestamp("2026-09-19T10:00:00Z")
QUESTIONS = json.dumps([{"id": "q1", "question": "How was it?"}, {"id": "q2", "question": "What else?"}])


def call(who, value, minute=0):
    return event(
        who, "$feature_flag_called", minute, **{"$feature_flag": FLAG, "$feature_flag_response": value}
    )


def event(who, name, minute, **properties):
    at = START + pd.Timedelta(minutes=minute)
    return {"event": name, "timestamp": at, "distinct_id": who, "$session_id": f"s-{who}", **properties}


def sent(who, minute, **answers):
    named = {f"$survey_response_{key}": value for key, value in answers.items()}
    submission = {"$survey_submission_id": f"sub-{who}", "$survey_questions": QUESTIONS}
    return event(who, "survey sent", minute, **{"$survey_id": SURVEY}, **submission, **named)


def shown(who, minute):
    return event(who, "survey shown", minute, **{"$survey_id": SURVEY})


def log_of(rows):
    return ck.EventLog(pd.DataFrame(rows))


@pytest.fixture
def answered():
    rows = []
    for i in range(40):
        who, value = f"p{i}", "true" if i < 20 else "false"
        rows += [call(who, value), shown(who, 5)]
        if i % 20 < 10:
            score = "5" if i >= 20 or i < 4 else "2"
            rows.append(sent(who, 10, q1=score))
            rows.append(sent(who, 11, q2=f"text of {who}"))  # the second part of the same submission
    return rows


def test_parts_of_one_submission_are_merged_and_a_person_counts_once(answered):
    survey = ck.survey_by_flag(log_of(answered), SURVEY, flag=FLAG)
    response = survey.response.set_index("variant")
    assert response.loc["true", ["exposed", "shown", "answered"]].tolist() == [20, 20, 10]
    scores = survey.scores[survey.scores["question"] == "How was it?"].set_index("variant")
    assert scores.loc["true", "value"] == pytest.approx(0.4)
    assert scores.loc["false", "value"] == pytest.approx(1.0)
    assert survey.kinds == {"How was it?": "csat", "What else?": "text"}


def test_a_changed_answer_replaces_the_first_one(answered):
    survey = ck.survey_by_flag(log_of([*answered, sent("p0", 30, q1="1")]), SURVEY, flag=FLAG)
    scores = survey.scores[survey.scores["question"] == "How was it?"].set_index("variant")
    assert scores.loc["true", "value"] == pytest.approx(0.3)


def test_answers_before_the_exposure_and_of_strangers_are_left_out(answered):
    early, stranger = sent("p39", -60, q1="1"), sent("nobody", 10, q1="1")
    survey = ck.survey_by_flag(log_of([*answered, early, stranger]), SURVEY, flag=FLAG)
    assert {note.code: note.count for note in survey.notes}["not_exposed"] == 2
    assert survey.response["answered"].sum() == 20


def test_arms_that_do_not_answer_alike_are_called_out(answered):
    silent = {f"p{i}" for i in range(1, 20)}
    rows = [r for r in answered if not (r["event"] == "survey sent" and r["distinct_id"] in silent)]
    survey = ck.survey_by_flag(log_of(rows), SURVEY, flag=FLAG)
    assert survey.response_gap.high < 0
    assert "do not answer alike" in repr(survey)


def test_nps_is_read_from_zero_to_ten_and_can_be_asked_for():
    rows = [call(f"p{i}", "true" if i % 2 else "false") for i in range(20)]
    rows += [sent(f"p{i}", 5, q1=str(10 if i < 12 else 0)) for i in range(20)]
    scores = ck.survey_by_flag(log_of(rows), SURVEY, flag=FLAG).scores
    assert scores["kind"].unique().tolist() == ["nps"]
    assert scores["value"].tolist() == pytest.approx([20.0, 20.0])
    as_text = ck.survey_by_flag(log_of(rows), SURVEY, flag=FLAG, kinds={"q1": "text"})
    assert as_text.kinds == {"How was it?": "text"}
    with pytest.raises(PlanError, match=r"kinds names question 'q9'"):
        ck.survey_by_flag(log_of(rows), SURVEY, flag=FLAG, kinds={"q9": "text"})


def test_a_definition_names_and_reads_questions_that_events_do_not():
    rows = [call("a", "true"), call("b", "false"), sent("a", 5, rating="5"), sent("b", 5, rating="3")]
    bare = [{k: v for k, v in row.items() if k != "$survey_questions"} for row in rows]
    question = {"id": "rating", "question": "How was it?", "type": "rating", "scale": 5}
    survey = ck.survey_by_flag(log_of(bare), {"id": SURVEY, "questions": [question]}, flag=FLAG)
    assert survey.kinds == {"How was it?": "csat"}
    assert survey.scores.set_index("variant")["value"].to_dict() == {"true": 1.0, "false": 0.0}
    with pytest.raises(PlanError, match="has no 'id'"):
        ck.survey_by_flag(log_of(bare), {"name": SURVEY}, flag=FLAG)


def test_free_texts_are_quoted_newest_first_with_the_session_to_watch(answered):
    survey = ck.survey_by_flag(log_of(answered), SURVEY, flag=FLAG)
    quotes = survey.quotes("true")
    assert len(quotes) == 10
    assert quotes.loc[0, "session_id"].startswith("s-p")
    with pytest.raises(DataError, match="Did you mean 'true'"):
        survey.quotes("tru")


def test_an_unknown_survey_names_the_ones_that_are_there(answered):
    with pytest.raises(DataError, match=r"Did you mean '018f-checkout'"):
        ck.survey_by_flag(log_of(answered), "018f-checkuot", flag=FLAG)


def failing(who, minute, kind="TypeError", **more):
    details = json.dumps([{"type": kind, "value": "x is undefined"}, {"type": "Inner", "value": "deep"}])
    return event(who, "$exception", minute, **{"$exception_list": details}, **more)


@pytest.fixture
def broken():
    rows = [call(f"p{i}", "true" if i < 10 else "false") for i in range(30)]
    rows += [failing(f"p{i}", 5 + k, "TypeError") for i in range(3) for k in range(6)]
    rows += [failing(f"p{i}", 5, "NetworkError") for i in (1, 12, 13)]
    rows += [failing("p15", 5, "OldError"), failing("p16", -30, "TypeError")]
    return rows


def test_exceptions_new_in_the_canary_come_first_and_people_count_once(broken):
    exceptions = ck.exceptions_by_flag(log_of(broken), FLAG)
    assert exceptions.groups["exception"].tolist()[0] == "TypeError: x is undefined"
    first = exceptions.groups.iloc[0]
    assert (first["canary_people"], first["control_people"]) == (3, 0)
    assert len(exceptions.new_in_canary) == 1
    network = exceptions.groups.set_index("exception").loc["NetworkError: x is undefined"]
    assert network["ratio"] == pytest.approx((1 / 10) / (2 / 20))
    assert exceptions.people("OldError: x is undefined")["session_id"].tolist() == ["s-p15"]
    with pytest.raises(DataError, match="Did you mean"):
        exceptions.people("OldErr: x is undefined")


def by_system(android_share):
    """200 people an arm, half of them on Android, where that share of the canary meets the error."""
    rows, spoilt = [], int(100 * android_share)
    for arm, value in (("c", "false"), ("t", "true")):
        for k in range(200):
            who, system = f"{arm}{k}", {"$os": "Android" if k < 100 else "iOS"}
            rows.append({**call(who, value), **system})
            hit = spoilt if (arm, k < 100) == ("t", True) else 10
            rows += [failing(who, 5, **system)] * 2 if k % 100 < hit else []
    return log_of(rows)


def test_an_old_exception_that_rose_in_one_segment_is_named_with_its_ratio_and_interval():
    from canarykit.stats.one_look.ratio_scores import risk_ratio

    found = ck.exceptions_by_flag(by_system(0.4), FLAG, by="$os")
    assert len(found.new_in_canary) == 0
    first, second = found.segments.to_dict("records")
    assert first["segment"] == "Android"
    assert (first["canary_people"], first["canary_of"]) == (40, 100)
    assert (first["control_people"], first["control_of"]) == (10, 100)
    wide = risk_ratio(40, 100, 10, 100, confidence=0.975)  # two rows share 5 %
    assert (first["ratio"], first["low"], first["high"]) == (4.0, wide.low, wide.high)
    assert second["segment"] == "iOS"
    assert "TypeError: x is undefined rose most where $os is Android: 4x (" in repr(found)
    assert set(found.people("TypeError: x is undefined")["$os"]) == {"Android", "iOS"}


def test_no_segment_is_named_where_exceptions_rose_by_chance_alone():
    assert "none rose beyond chance" in repr(ck.exceptions_by_flag(by_system(0.14), FLAG, by="$os"))


def test_exceptions_by_a_property_that_nobody_has_are_refused():
    with pytest.raises(DataError, match=r"nobody has the property '\$oss'; .* Did you mean '\$os'\?"):
        ck.exceptions_by_flag(by_system(0.1), FLAG, by="$oss")


def test_fingerprints_group_what_types_and_messages_would_split():
    rows = [call("a", "true"), call("b", "true")]
    rows.append(failing("a", 5, "TypeError", **{"$exception_fingerprint": "abcdef0123456789"}))
    rows.append(failing("b", 5, "TypeError", **{"$exception_fingerprint": "abcdef0123456789"}))
    exceptions = ck.exceptions_by_flag(log_of(rows), FLAG)
    assert exceptions.groups["exception"].tolist() == ["TypeError abcdef01"]
    assert exceptions.groups["canary_people"].tolist() == [2]


def test_a_release_without_exceptions_has_none_and_not_an_error():
    exceptions = ck.exceptions_by_flag(log_of([call("a", "true"), call("b", "false")]), FLAG)
    assert exceptions.groups.empty
    assert "No exceptions" in repr(exceptions)


def test_bursts_of_errors_and_drop_offs_are_the_sessions_to_watch(broken):
    rows = [*broken, event("p20", "signup", 3), event("p21", "signup", 3), event("p21", "paid", 4)]
    sessions = ck.sessions_by_flag(log_of(rows), FLAG, steps=["signup", "paid"])
    worst = sessions.worst()
    assert worst.loc[0, "variant"] == "true"
    assert (worst.loc[0, "errors"], worst.loc[0, "burst"]) == (7, 3)  # p1: six a minute apart, two at once
    dropped = sessions.sessions.set_index("session_id")["dropped_at"]
    assert dropped["s-p20"] == "signup"
    assert pd.isna(dropped["s-p21"])
    counts = sessions.to_frame().set_index("variant")
    assert counts.loc["true", "with_errors"] == 3
    assert "s-p16" not in set(sessions.with_errors()["session_id"])  # that error came before the exposure


def test_a_stage_needs_its_plan_and_listens_within_its_window(broken):
    with pytest.raises(PlanError, match="needs plan="):
        ck.sessions_by_flag(log_of(broken), FLAG, stage="expanded beta 25%")
    later = [*broken, failing("p1", 60 * 24 * 5, "LateError")]
    options = {"plan": ramp_plan(), "stage": "expanded beta 25%"}
    exceptions = ck.exceptions_by_flag(log_of(later), FLAG, **options)
    assert not exceptions.groups["exception"].str.startswith("LateError").any()


def test_who_has_it_by_choice_is_set_apart_in_a_percentage_stage(answered, broken):
    emails = {"p0": "ada@acme.io", "p1": "bob@acme.io"}
    ids = [f"p{i}" for i in range(40)]
    persons = pd.DataFrame({"person_id": ids, "distinct_id": ids, "email": [emails.get(i) for i in ids]})
    log = ck.EventLog(pd.DataFrame([*answered, *broken[30:]]), persons=persons)
    plan = ck.RolloutPlan.five_stages(
        FLAG, owner="ada@acme.io", team_domain="acme.io", ramp=(50,), starts_at="2026-09-01T00:00:00Z"
    )
    name = "expanded beta 50%"
    plan = plan.with_windows({name: (START - pd.Timedelta(hours=2), START + pd.Timedelta(days=1))})
    where = {"plan": plan, "stage": name}
    survey = ck.survey_by_flag(log, SURVEY, flag=FLAG, **where)
    errors = ck.exceptions_by_flag(log, FLAG, **where)
    sessions = ck.sessions_by_flag(log, FLAG, **where)
    board = ck.dashboard(log, plan, name, as_of=START + pd.Timedelta(hours=3))
    for answer in (survey, errors, sessions, board):
        assert "2 people have it by choice (owner, team, beta, enrolled)" in repr(answer)
    assert survey.response.set_index("variant").loc["true", "exposed"] == 18
    assert errors.n_canary == 18
    assert not {"p0", "p1"} & set(sessions.sessions["person_id"])
    assert {row[1]: row[2] for row in board.rows}["true"] == 18


def _scored(answers, **question):
    rows = [call(f"u{k}", "true") for k in range(len(answers))]
    rows += [
        {key: value for key, value in sent(f"u{k}", 5, rating=answer).items() if key != "$survey_questions"}
        for k, answer in enumerate(answers)
    ]
    definition = {"id": SURVEY, "questions": [{"id": "rating", "question": "Q", **question}]}
    survey = ck.survey_by_flag(log_of(rows), definition, flag=FLAG)
    return survey.scores[["question", "kind", "value"]].values.tolist()


@pytest.mark.parametrize(
    "scale, answers, share",
    [
        (2, ["1", "1", "2", "1"], 0.75),
        (3, ["3", "3", "3", "2"], 0.75),
        (5, ["5", "4", "3", "1"], 0.5),
        (7, ["7", "6", "5", "1"], 0.5),
        (5, ["5", "9", "0", "1"], 0.5),
    ],
)
def test_a_rating_is_read_on_the_scale_of_its_question(scale, answers, share):
    assert _scored(answers, type="rating", scale=scale) == [["Q", "csat", share]]


def test_ten_points_are_a_net_promoter_score():
    assert _scored(["10", "9", "8", "0"], type="rating", scale=10) == [["Q", "nps", 25.0]]


def test_each_option_of_a_multiple_choice_counts_once_for_everyone_who_picked_it():
    scores = _scored(['["A","B"]', '["B","A"]', '["A"]', "C"], type="multiple_choice")
    assert scores == [["Q: A", "choice", 0.75], ["Q: B", "choice", 0.5], ["Q: C", "choice", 0.25]]


def test_two_questions_with_the_same_words_are_two_questions():
    definition = {
        "id": SURVEY,
        "questions": [
            {"id": "one", "question": "Why?", "type": "open"},
            {"id": "two", "question": "Why?", "type": "open"},
        ],
    }
    answered = {"$survey_response_one": "first", "$survey_response_two": "second"}
    plain = {key: value for key, value in sent("a", 5).items() if not key.startswith("$survey_q")}
    survey = ck.survey_by_flag(log_of([call("a", "true"), {**plain, **answered}]), definition, flag=FLAG)
    assert dict(zip(survey.answers["question"], survey.answers["answer"], strict=True)) == {
        "Why? (question 1)": "first",
        "Why? (question 2)": "second",
    }


def test_a_whole_fingerprint_is_one_issue_whatever_it_begins_with_and_whatever_types_it_has():
    mark = "$exception_fingerprint"
    rows = [call("a", "true"), call("b", "false")]
    rows.append(failing("a", 5, "TypeError", **{mark: "checkout-payment"}))
    rows.append(failing("b", 6, "TypeError", **{mark: "checkout-cart"}))
    rows.append(failing("b", 7, "RangeError", **{mark: "checkout-cart"}))
    groups = ck.exceptions_by_flag(log_of(rows), FLAG).groups.set_index("exception")
    assert groups["canary_people"].to_dict() == {
        "TypeError checkout-payment": 1,
        "TypeError checkout-cart": 0,
    }


def test_long_messages_are_compared_whole_and_cut_for_show_alone():
    rows = [call("a", "true"), call("b", "false")]
    long = "x" * 100
    rows.append(event("a", "$exception", 5, **{"$exception_message": f"{long} one"}))
    rows.append(event("b", "$exception", 5, **{"$exception_message": f"{long} two"}))
    exceptions = ck.exceptions_by_flag(log_of(rows), FLAG)
    assert len(exceptions.groups) == 2
    assert [len(exceptions.people(name)) for name in exceptions.groups["exception"]] == [1, 1]
