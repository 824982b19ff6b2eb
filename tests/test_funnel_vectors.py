"""The subtle rules of PostHog's funnels, one small vector each.

Window 10 s. `AB` is one event that matches steps A and B, `X` an exclusion through the whole funnel, `z` an
unrelated event; `A@4=x` happens at 4 s and carries the breakdown value x.
"""

import numpy as np
import pyarrow as pa
import pytest

from canarykit.errors import PlanError
from canarykit.events import EventLog
from canarykit.funnels.answers.numbers import step_table, time_to_convert
from canarykit.funnels.engine.runs import ActorSelection
from canarykit.funnels.question.specs import Breakdown, Entity, Exclusion, FunnelQuery, Step, TrendSpec
from canarykit.funnels.run import run_trend
from tests.funnel_runs import run_table


def table_of(events: str) -> pa.Table:
    rows = [event.replace("=", "@").split("@") for event in events.split()]
    return pa.table(
        {
            "event": pa.array([row[0] for row in rows]),
            "timestamp": pa.array(
                [round(1e6 * (1_000_000 + float(row[1]))) for row in rows], pa.timestamp("us", "UTC")
            ),
            "person_id": pa.array(["p"] * len(rows)),
            "v": pa.array([row[2] if len(row) > 2 and row[2] != "-" else None for row in rows], pa.string()),
        }
    )


def question(steps, *, excluded=False, attribution=None, step=0, **settings) -> FunnelQuery:
    """Steps `"A B? C"`: each is matched by its own letter and by any event name that contains it."""
    names = steps.replace("?", "").split()
    exclusions = (Exclusion(Entity("X"), 0, len(names) - 1),) if excluded else ()
    return FunnelQuery(
        steps=tuple(
            Step(tuple(Entity(e) for e in dict.fromkeys((name, "AB")) if name in e)) for name in names
        ),
        window_us=10_000_000,
        exclusions=exclusions,
        optional=tuple(k for k, name in enumerate(steps.split()) if name.endswith("?")),
        breakdown=None if attribution is None else Breakdown(("v",), "event", attribution, step),
        **settings,
    )


def answer(query, events):
    """{label: (counts, averages after the first step)}; averages None where there is none."""
    run = run_table(table_of(events), query)
    table = step_table(run, query)
    return {
        label: (
            table.counts[i].tolist(),
            [None if np.isnan(t) else t for t in table.average_seconds[i, 1:].tolist()],
        )
        for i, label in enumerate(run.labels)
    }


def alone(query, events):
    return answer(query, events).get(None, ([0] * query.n_steps, [None] * (query.n_steps - 1)))


def test_01_the_window_is_inclusive_and_covers_the_whole_funnel():
    assert alone(question("A B"), "A@0 B@10") == ([1, 1], [10])
    assert alone(question("A B C"), "A@0 B@6 C@11") == ([1, 1, 0], [6, None])


def test_02_a_repeated_middle_step_keeps_its_first_occurrence():
    assert alone(question("A B C"), "A@0 B@3 B@5 C@8") == ([1, 1, 1], [3, 5])


def test_03_a_later_first_step_leaves_attempts_under_way_alone():
    assert alone(question("A B C"), "A@0 B@3 A@4 C@8") == ([1, 1, 1], [3, 5])


def test_04_a_second_attempt_that_overtakes_gives_its_own_times():
    assert alone(question("A B C"), "A@0 B@3 A@4 B@6 C@8") == ([1, 1, 1], [2, 2])


def test_05_one_event_advances_an_attempt_by_one_step_only():
    assert alone(question("A B"), "AB@0") == ([1, 0], [None])
    assert alone(question("A B"), "AB@0 AB@4") == ([1, 1], [4])


def test_06_simultaneous_steps_convert_in_either_order_with_a_gap_of_zero():
    assert alone(question("A B"), "B@5 A@5") == ([1, 1], [None])
    query = question("A B")
    assert step_table(run_table(table_of("B@5 A@5"), query), query).total_median_seconds == 0


def test_07_three_simultaneous_steps_in_reverse_convert():
    assert alone(question("A B C"), "C@5 B@5 A@5") == ([1, 1, 1], [None, None])


def test_08_in_a_tie_an_event_serves_an_attempt_once():
    assert alone(question("A B"), "AB@2 A@2") == ([1, 0], [None])


@pytest.mark.parametrize(
    "events, counts", [("A@0 X@2", [0, 0]), ("A@0 X@11", [1, 0]), ("A@0 X@1 B@12", [0, 0])]
)
def test_09_an_exclusion_in_the_window_removes_the_actor_from_every_step(events, counts):
    assert alone(question("A B", excluded=True), events)[0] == counts


@pytest.mark.parametrize(
    "events, expected",
    [
        ("A@0 X@2 A@3 B@4", ([1, 1], [1])),
        ("A@0 X@1 A@20", ([1, 0], [None])),
        ("A@0 X@3 B@3", ([1, 1], [3])),
    ],
)
def test_10_a_clean_attempt_or_a_simultaneous_step_survives_an_exclusion(events, expected):
    assert alone(question("A B", excluded=True), events) == expected


def test_11_a_shorter_clean_attempt_does_not_replace_an_excluded_best():
    query = question("A B C", excluded=True)
    assert alone(query, "A@0 X@1 B@2 A@20")[0] == [0, 0, 0]
    assert alone(query, "A@0 B@1 A@20 X@21") == ([1, 1, 0], [1, None])


def test_12_thinning_changes_the_times_of_unordered_funnels():
    assert alone(question("A B", order="unordered"), "A@0 A@5 A@7 B@12") == ([1, 1], [5])


def test_13_unordered_steps_take_the_queue_whose_newest_event_is_oldest():
    assert alone(question("A B", order="unordered"), "B@2 B@3 A@4") == ([1, 1], [2])
    assert alone(question("A B", order="unordered"), "A@0 AB@2") == ([1, 1], [2])


def test_14_strict_funnels_break_on_unrelated_events_but_not_on_repeats_or_ties():
    query = question("A B C", order="strict")
    assert alone(query, "A@0 B@1 z@2 C@3")[0] == [1, 1, 0]
    assert alone(query, "A@0 B@1 B@2 C@3") == ([1, 1, 1], [1, 2])
    assert alone(question("A B", order="strict"), "A@0 z@1 B@1") == ([1, 1], [1])


def test_15_all_events_wants_every_step_to_carry_the_value():
    query = question("A B", attribution="all_events")
    assert answer(query, "A@0=x B@1=y A@2=y B@3=y") == {"y": ([1, 1], [1]), "x": ([1, 0], [None])}


def test_16_attribution_by_step_evaluates_each_value_of_that_step():
    second = question("A B", attribution="step", step=1)
    assert answer(second, "A@0=x B@1=y B@2=z") == {"y": ([1, 1], [1]), "z": ([1, 1], [2])}
    first = question("A B", attribution="step", step=0)
    assert answer(first, "A@0=x A@1=y B@2=z") == {"x": ([1, 1], [2]), "y": ([1, 1], [1])}


def test_17_first_and_last_touch_pass_over_blanks_and_may_lie_after_the_conversion():
    assert answer(question("A B", attribution="first_touch"), "A@0=- B@1=y") == {"y": ([1, 1], [1])}
    last = question("A B", attribution="last_touch")
    assert answer(last, "A@0=x B@1=y A@5=z") == {"z": ([1, 1], [1])}


def test_18_optional_steps_leave_no_time_behind():
    assert alone(question("A B? C"), "A@0 C@4") == ([1, 0, 1], [4, None])
    assert alone(question("A B? C"), "A@0 B@1 C@4") == ([1, 1, 1], [4, None])


def test_19_unordered_attribution_checks_the_value_only_while_nothing_is_queued():
    query = question("A B", order="unordered", attribution="step")
    assert answer(query, "A@0=x B@1=y") == {"x": ([1, 1], [1]), "y": ([1, 0], [None])}


@pytest.mark.parametrize(
    "events, bins, average",
    [("A@0 B@4.5", [[4, 1], [5, 0]], 4.5), ("A@4 B@4", [[0, 1], [60, 0]], 0)],
)
def test_20_times_to_convert_have_a_bin_more_and_sixty_seconds_without_spread(events, bins, average):
    query = question("A B")
    times = time_to_convert(run_table(table_of(events), query), query)
    assert np.stack([times.bin_starts, times.bin_counts], axis=1).tolist() == bins
    assert times.average_seconds == average


@pytest.mark.parametrize(
    "events, entered, reached",
    [
        ("A@0 C@1", 1, 1),  # any two of the three
        ("A@0 B@1 X@2 C@3", 1, 0),  # what was queued is lost unless all three steps were done
        ("A@0 B@1 C@2 X@3", 1, 1),
    ],
)
def test_21_unordered_trends_to_an_earlier_step_count_how_many_of_all_steps_were_done(
    events, entered, reached
):
    query = question("A B C", excluded=True, order="unordered")
    trend = run_trend(EventLog(table_of(events).to_pandas()), query, TrendSpec(to_step=1))
    assert (trend.entered.sum(), trend.reached.sum()) == (entered, reached)


def test_22_trends_to_an_earlier_step_may_be_attributed_by_a_later_one():
    query = question("A B C", attribution="step", step=2)
    trend = run_trend(EventLog(table_of("A@0=x B@1=x C@2=y").to_pandas()), query, TrendSpec(to_step=1))
    assert (trend.labels, trend.reached.sum()) == (("y",), 1)


@pytest.mark.parametrize("step, dropped", [(-1, False), (0, True)])
def test_23_nobody_is_at_a_step_before_the_first_or_drops_before_it(step, dropped):
    with pytest.raises(PlanError, match=r"first step|no step"):
        ActorSelection(step, dropped)
