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


def test_without_a_scrape_the_counts_go_on_and_the_queues_stay_bounded() -> None:
    predictions = Predictions()
    for _ in range(LATEST + 10):
        predictions.add(ask(0, 0), Decided(1, 0, weights=packed(1.0)), 0.1, "decision", "own")
    assert predictions.counts[0, "decision", "weights"] == LATEST + 10
    assert len(predictions.durations) == len(predictions.confidences) == LATEST
