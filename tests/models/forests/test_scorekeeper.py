"""A forest's record while it runs: what is worse than the plain estimate is not listened to until it is better
again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.models.forests.scorekeeper import LEAST, RETURN, WINDOW, Track, begin, every, follow, freeze, thaw
from tests.support.examples import examples
from tests.support.forests import size_of

WIDTH, HORIZON = 3, 8


def through(track: Track, samples: range, error: float, plain_error: float, horizon: int = HORIZON) -> Track:
    """Asked at each of `samples`; what comes true is 0, and the two are wrong by that much."""
    for now in samples:
        outcome = np.zeros(WIDTH)
        track = follow(
            track, now, horizon, lambda ago, o=outcome: o, np.full(WIDTH, error), np.full(WIDTH, plain_error)
        )
    return track


def fresh(*, on: bool = True) -> Track:
    return begin(7, WIDTH, HORIZON, on=on)


def test_a_prediction_is_scored_once_its_horizon_has_passed_and_not_before() -> None:
    track = through(fresh(), range(HORIZON), 2.0, 1.0)
    assert track.rounds == 0
    track = through(track, range(HORIZON, HORIZON + 1), 2.0, 1.0)
    assert track.rounds == 1
    assert track.running == (4.0, 1.0)


@pytest.mark.requirement("R-097")
def test_what_is_worse_is_switched_off_and_what_is_better_again_is_switched_on_later() -> None:
    step = every(HORIZON)
    track = through(fresh(), range(HORIZON + step * (LEAST - 1)), 2.0, 1.0)
    assert track.on
    assert track.rounds == LEAST - 1
    now = HORIZON + step * (LEAST - 1)
    track = through(track, range(now, now + 1), 2.0, 1.0)
    assert not track.on  # at the least number of rounds, not before
    # better from here on: the running error is still worse for a while, then better for RETURN rounds
    rounds_back = 0
    for start in range(now + 1, now + 400 * step, step):
        track = through(track, range(start, start + step), 0.5, 1.0)
        running = track.running
        assert running is not None
        rounds_back = rounds_back + 1 if running[0] < running[1] else 0
        assert track.on == (rounds_back >= RETURN)
        if track.on:
            break
    assert track.on


def test_what_starts_off_is_switched_on_only_by_evidence() -> None:
    track = through(fresh(on=False), range(200), 0.5, 1.0)
    assert track.on
    track = through(fresh(on=False), range(200), 1.0, 1.0)
    assert not track.on  # as good is not better


def test_only_what_both_said_and_what_came_true_is_scored() -> None:
    track = follow(fresh(), 0, HORIZON, lambda ago: None, np.array([1.0, np.nan, 5.0]), np.array([2.0, 2.0, np.nan]))
    scored = follow(track, HORIZON, HORIZON, lambda ago: np.zeros(WIDTH), np.ones(WIDTH), np.ones(WIDTH))
    assert scored.running == (1.0, 4.0)
    for nothing in (None, np.full(WIDTH, np.nan)):
        unscored = follow(track, HORIZON, HORIZON, lambda ago, n=nothing: n, np.ones(WIDTH), np.ones(WIDTH))
        assert unscored.rounds == 0


@settings(max_examples=examples(60), deadline=None)
@given(
    horizon=st.integers(1, 63),
    gaps=st.lists(st.integers(0, 200), max_size=120),
    errors=st.lists(st.floats(0.0, 10.0), min_size=2, max_size=2),
)
def test_whenever_it_is_asked_its_size_is_bounded_and_a_restart_changes_nothing(
    horizon: int, gaps: list[int], errors: list[float]
) -> None:
    track = again = begin(9, WIDTH, horizon, on=True)
    now = 0
    for gap in gaps:
        now += gap

        def outcome(ago: int, h: int = horizon) -> np.ndarray | None:
            assert ago >= h
            return None if ago > 126 else np.zeros(WIDTH)

        track = follow(track, now, horizon, outcome, np.full(WIDTH, errors[0]), np.full(WIDTH, errors[1]))
        again = thaw("x", freeze("x", again), begin(9, WIDTH, horizon, on=False))
        again = follow(again, now, horizon, outcome, np.full(WIDTH, errors[0]), np.full(WIDTH, errors[1]))
        for mine, theirs in zip(freeze("x", track).values(), freeze("x", again).values(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        # nothing that is still open was pushed out: a prediction lost would be an error not counted
        assert np.isfinite(track.said[track.at >= 0]).all()
    assert size_of(freeze("x", track)) < 8 * (8 * WIDTH * 2 + 8 + 2 * WINDOW + 40)


def test_predictions_at_every_sample_are_kept_four_to_a_horizon_and_none_is_lost() -> None:
    track = begin(1, WIDTH, 21, on=True)
    asked: list[int] = []

    def outcome(ago: int) -> np.ndarray:
        asked.append(ago)
        return np.zeros(WIDTH)

    for now in range(200):
        track = follow(track, now, 21, outcome, np.ones(WIDTH), np.ones(WIDTH))
    assert asked == [21] * len(range(0, 200 - 21, 5))


@pytest.mark.parametrize("other", [begin(8, WIDTH, HORIZON, on=True), begin(7, WIDTH + 1, HORIZON, on=True),
    begin(7, WIDTH, 1, on=True)])  # fmt: skip
def test_the_record_of_another_forest_or_universe_is_not_taken_over(other: Track) -> None:
    memory = freeze("risk", through(fresh(), range(300), 2.0, 1.0))
    kept = thaw("risk", memory, fresh())
    assert not kept.on
    assert thaw("risk", memory, other) is other
    assert thaw("correlation", memory, other) is other


def test_a_count_that_begins_again_leaves_the_errors_and_drops_what_is_open() -> None:
    track = through(fresh(), range(500), 2.0, 1.0)
    again = through(track, range(HORIZON + 1), 2.0, 1.0)
    assert again.rounds == WINDOW
    assert again.at.max() == HORIZON
    assert (again.at >= 0).sum() == HORIZON // every(HORIZON)
