"""500 instruments and 60 returns: the exponential covariance is singular, and every form decides."""

import numpy as np
import pytest

from quantd.strategies.allocators.estimates import covariance_of
from quantd.strategies.policies import POLICIES
from quantd.strategies.policies.allocator import Allocator, Case
from quantd.trading.covariance import DECAY
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Floats

SIZE, ROWS = 500, 60
BOXES: dict[str, dict[str, float]] = {
    "open": {}, "capped": {"max_weight": 0.02}, "floored": {"max_weight": 0.02, "min_weight": 0.001},
}  # fmt: skip
MARKETS = ("one factor", "noise", "eight sectors")
UNIVERSE = Universe(tuple(Instrument(f"S{k}") for k in range(SIZE)))


def drawn(market: str) -> Floats:
    draw = np.random.default_rng(3)
    noise: Floats = draw.normal(size=(ROWS, SIZE)) * 0.01
    if market == "one factor":
        return draw.normal(size=(ROWS, 1)) * 0.008 * draw.uniform(0.3, 1.7, SIZE) + noise * draw.uniform(0.5, 3.0, SIZE)
    if market == "eight sectors":
        return draw.normal(size=(ROWS, 8))[:, draw.integers(0, 8, SIZE)] * 0.01 + noise * draw.uniform(0.2, 1.2, SIZE)
    return noise


def decided(name: str, market: str, box: dict[str, float]) -> tuple[Floats, Floats]:
    """The weights of one decision, and the covariance."""
    policy = POLICIES[name]({"covariance": "ewma", "lookback": ROWS, **box})
    assert isinstance(policy, Allocator)
    returns = drawn(market)
    cov = covariance_of("ewma", returns, DECAY)
    held = np.full(SIZE, 1.0 / SIZE)
    weights = policy.form(
        Case(policy.params, returns, cov, lambda: held, np.ones(SIZE, dtype=np.bool_), UNIVERSE.symbols, UNIVERSE)
    )
    return weights, cov


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("name", ["min_variance", "max_diversification"])
def test_the_two_slowest_forms_keep_their_bounds_and_minimise(name: str, market: str, box: str) -> None:
    weights, cov = decided(name, market, BOXES[box])
    assert weights.sum() == pytest.approx(1.0)
    assert weights.min() >= BOXES[box].get("min_weight", 0.0) - 1e-12
    assert weights.max() <= BOXES[box].get("max_weight", 1.0) + 1e-12
    if name == "min_variance" and market != "noise":
        # no weight can move from one instrument to another for less variance
        slope = cov @ weights / (weights @ cov @ weights)
        low, high = BOXES[box].get("min_weight", 0.0), BOXES[box].get("max_weight", 1.0)
        assert slope[weights > low + 1e-9].max() - slope[weights < high - 1e-9].min() < 1e-3


FORMS = (
    "black_litterman", "grouped", "hrp", "kelly", "max_sharpe", "mean_variance", "merton", "min_cvar", "risk_parity",
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "market", "box"),
    [
        pytest.param(name, market, box, marks=[pytest.mark.slow] if (row + column + place) % 3 else [])
        for row, name in enumerate(FORMS)
        for column, market in enumerate(MARKETS)
        for place, box in enumerate(BOXES)
    ],
)
def test_every_other_form_decides(name: str, market: str, box: str) -> None:
    """Each form has each market and each box once; `pytest -m slow` has the other pairs."""
    try:
        weights, _ = decided(name, market, BOXES[box])
    except ValueError as error:
        assert "parameter" in str(error)  # noqa: PT017 - a form without bounds
        return
    assert np.isfinite(weights).all()
