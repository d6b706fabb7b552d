"""Features mean what their names say, by a second, slower way of computing each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.models.observation.return_features import (
    CLIP,
    LOOKBACK,
    USUAL_VOLATILITY,
    measure,
)
from tests.support.examples import examples


def moves(seed: int, size: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(0.0003, draw.uniform(0.003, 0.03, size), (LOOKBACK, size))


def by_hand(r: np.ndarray) -> np.ndarray:
    sd = r.std(axis=0, ddof=1)
    path = np.array([r[: t + 1].sum(axis=0) for t in range(LOOKBACK)])
    market = (r - r.mean(axis=0)).mean(axis=1)
    rows = [r[-h:].sum(axis=0) / (sd * np.sqrt(h)) for h in (5, 21, 63, 126)]
    rows.append(np.log(sd / USUAL_VOLATILITY))
    rows.append(np.log(np.sqrt((r[-21:] ** 2).mean(axis=0)) / sd))
    rows.append(np.log(sd) - np.log(sd).mean())
    rows.append((path[-1] - path.max(axis=0)) / (sd * np.sqrt(LOOKBACK)))
    rows.append(np.array([np.corrcoef(market, column)[0, 1] for column in r.T]))
    return np.clip(np.array(rows).T, -CLIP, CLIP)


@pytest.mark.long
@pytest.mark.requirement("R-029")
@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 12))
def test_each_feature_is_its_definition(seed: int, size: int) -> None:
    returns = moves(seed, size)
    features, mask = measure(returns)
    assert mask.tolist() == [1.0] * size
    np.testing.assert_allclose(features, by_hand(returns), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.001, np.nan])
def test_a_market_that_cannot_be_measured_gives_zeros(value: float) -> None:
    features, mask = measure(np.full((LOOKBACK, 3), value))
    assert not mask.any()
    assert not features.any()


def test_a_crash_is_cut_not_passed_on() -> None:
    returns = moves(1, 2)
    returns[-1] = -0.9
    features, _ = measure(returns)
    assert np.abs(features).max() <= CLIP
