"""Predictions are counted by outcome, and the confidence of an allocation is its concentration."""

import math
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from quantd.daemon.policies.predictions import LATEST, Predictions, confidence
from quantd.trading.effects import Ask
from quantd.trading.events import Decided
from quantd.trading.view import View
from tests.support.examples import examples


def packed(*weights: float) -> bytes:
    return np.array(weights, dtype="<f8").tobytes()


def ask(agent: int, policy: int) -> Ask:
    return Ask(0, agent, cast(View, None), {}, policy)


@settings(max_examples=examples(100))
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=12))
def test_confidence_is_one_minus_the_normalised_entropy_of_weights_and_cash(weights: list[float]) -> None:
    sizes = [abs(weight) for weight in weights]
    shares = [*sizes, max(0.0, 1.0 - sum(sizes))]
    expected = 1.0 - float(entropy(shares)) / math.log(len(shares))
    assert confidence(packed(*weights)) == pytest.approx(expected, abs=1e-9)


def test_confidence_is_1_for_one_asset_or_cash_and_0_for_equal_shares() -> None:
    assert confidence(packed(1.0, 0.0)) == 1.0
    assert confidence(packed(0.0, 0.0)) == 1.0
    assert confidence(packed(1 / 3, -1 / 3)) == pytest.approx(0.0, abs=1e-12)


def test_each_answer_is_counted_by_who_asked_and_by_its_outcome() -> None:
    predictions = Predictions()
    predictions.add(ask(0, 2), Decided(1, 0, weights=packed(0.5, 0.5)), 0.25, "decision", "first")
    predictions.add(ask(0, 2), Decided(2, 0), 0.5, "decision", "first")
    predictions.add(ask(1, 1), Decided(2, 1, failed="no answer"), 5.0, "decision", "own")
    predictions.add(ask(1, 1), Decided(0, 1, weights=packed(1.0, 0.0)), 0.125, "request", "own")
    assert predictions.counts == {
        (0, "decision", "weights"): 1,
        (0, "decision", "hold"): 1,
        (1, "decision", "failed"): 1,
        (1, "request", "weights"): 1,
    }
    assert list(predictions.durations) == [
        (0, "decision", 0.25),
        (0, "decision", 0.5),
        (1, "decision", 5.0),
        (1, "request", 0.125),
    ]
    predictions.add(ask(0, 2), Decided(3, 0, weights=packed(0.0, 1.0)), 0.5, "decision", "second")
    assert predictions.allocations == {(0, "first"): 1, (1, "own"): 1, (0, "second"): 1}
    assert [pair[:2] for pair in predictions.confidences] == [(0, "first"), (1, "own"), (0, "second")]


def test_without_a_scrape_the_counts_go_on_and_the_queues_stay_bounded() -> None:
    predictions = Predictions()
    for _ in range(LATEST + 10):
        predictions.add(ask(0, 0), Decided(1, 0, weights=packed(1.0)), 0.1, "decision", "own")
    assert predictions.counts[0, "decision", "weights"] == LATEST + 10
    assert len(predictions.durations) == len(predictions.confidences) == LATEST
