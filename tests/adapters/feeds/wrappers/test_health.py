"""Scores fall with failures, rise with answers, and decide whom to ask."""

from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.feeds.wrappers.health import Health, order


@given(st.lists(st.booleans(), max_size=60))
def test_a_score_stays_between_0_and_1_and_enough_answers_always_heal(story: list[bool]) -> None:
    health = Health()
    for now, good in enumerate(story):
        if good:
            health.answered()
        else:
            health.failed(float(now))
        assert 0.0 <= health.score <= 1.0
    for _ in range(3):
        health.answered()
    assert health.well


def test_one_failure_is_passed_over_and_one_answer_forgives_it() -> None:
    health = Health()
    health.failed(0.0)
    assert not health.well
    health.answered()
    assert health.well


def test_a_hopeless_failure_needs_more_than_one_answer() -> None:
    health = Health()
    health.failed(0.0, hopeless=True)
    health.answered()
    assert not health.well
    health.answered()
    assert health.well


def test_rests_double_up_to_a_quarter_of_an_hour_and_honour_what_the_vendor_asked() -> None:
    health = Health()
    rests = []
    for _ in range(9):
        health.failed(100.0)
        rests.append(health.rests_until_s - 100.0)
    assert rests == [15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]
    health.failed(100.0, after_s=3000.0)
    assert not health.may_be_tried(3099.9)
    assert health.may_be_tried(3100.0)


def test_those_who_are_well_come_in_their_order_and_the_others_after_by_score() -> None:
    healths = [Health(0.1), Health(0.9), Health(0.3), Health(0.6)]
    assert order(healths) == [1, 3, 2, 0]
