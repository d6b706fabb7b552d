"""Risk parity against its definition and against the case that has a closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.policies.risk_parity import RIDGE, equal_risk


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 100_000), size=st.integers(1, 40), rows=st.integers(2, 80), common=st.floats(0.0, 30.0))
def test_every_asset_carries_the_same_risk_whatever_the_correlation(
    seed: int, size: int, rows: int, common: float
) -> None:
    draw = np.random.default_rng(seed)
    # few rows: singular; a large common part: all but singular; signs: negative correlations
    returns = draw.normal(size=(rows, size)) + common * draw.normal(size=(rows, 1)) * draw.choice([-1, 1], size)
    returns -= returns.mean(axis=0)
    standard = returns / np.sqrt((returns**2).sum(axis=0))
    correlation = standard.T @ standard
    x = equal_risk(correlation)
    assert (x > 0.0).all()
    np.testing.assert_allclose(x * ((correlation + RIDGE * np.eye(size)) @ x), 1.0 / size, rtol=1e-4)


@pytest.mark.parametrize("size", [2, 7, 100])
def test_without_correlation_all_are_equal(size: int) -> None:
    np.testing.assert_allclose(equal_risk(np.eye(size)), (size * (1.0 + RIDGE)) ** -0.5)
