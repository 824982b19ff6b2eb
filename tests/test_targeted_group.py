"""People of one company who all have the canary were chosen: a report of a random stage says so."""

import numpy as np
import pandas as pd
import pytest

import canarykit as ck

STAGE = ck.Stage.for_share("half", 50, dwell="2d")
PLAN = ck.RolloutPlan("f", (STAGE,), starts_at="2026-09-07T09:00:00Z")


@pytest.fixture(scope="module")
def released():
    log = ck.simulate_rollout(PLAN, ck.Population(2000), ck.Scenario(), rng=7, progress=False)
    return log.frame, ck.exposures(log, "f", plan=PLAN).people[["person_id", "distinct_id", "variant"]]


def emails(people, chosen):
    """Everybody at one of three public domains but the `chosen`."""
    domains = np.random.default_rng(3).choice(["mail.io", "post.io", "home.io"], len(people))
    domains = np.where(people["person_id"].isin(chosen), "Acme.io", domains)
    return people.assign(email="someone@" + pd.Series(domains, index=people.index))


def report(log, **options):
    return ck.evaluate_stage(log, PLAN, "half", as_of="2026-09-08T09:00:00Z", **options)


def named(judged):
    return [note for note in judged.notes if note.code == "targeted_group"]


def log_with(released, chosen, where):
    frame, people = released
    told = emails(people, chosen)[["person_id", "distinct_id", "email"]]
    if where == "persons":
        return ck.EventLog(frame, persons=told)
    by_id = told.set_index("distinct_id")["email"]
    column = frame["distinct_id"].map(by_id).where(frame["event"] != "$feature_flag_called")
    return ck.EventLog(frame.assign(email=column))


@pytest.mark.parametrize("where", ["persons", "events"])
def test_a_domain_whose_people_all_have_the_canary_is_named_with_what_leaves_it_out(released, where):
    people = released[1]
    chosen = people.loc[people["variant"] == "true", "person_id"].head(40)
    log = log_with(released, chosen, where)
    (note,) = named(report(log))
    assert note.count <= 40
    assert note.count >= 20
    line = "people=[{'key': 'email', 'value': '@acme.io', 'operator': 'not_icontains'}]"
    assert "people with an e-mail at acme.io are all in the canary: " in str(note)
    assert line in str(note)
    wanted = [{"key": "email", "value": "@acme.io", "operator": "not_icontains"}]
    without = report(log, people=wanted)
    assert not named(without)
    assert without.n_canary == report(log).n_canary - note.count


@pytest.mark.parametrize("where", ["persons", "events"])
def test_domains_that_were_drawn_and_few_people_of_one_arm_are_not_named(released, where):
    people = released[1]
    assert not named(report(log_with(released, people["person_id"].sample(60, random_state=1), where)))
    few = people.loc[people["variant"] == "false", "person_id"].head(19)
    assert not named(report(log_with(released, few, where)))


def test_without_emails_nothing_is_said(released):
    assert not named(report(ck.EventLog(released[0])))
