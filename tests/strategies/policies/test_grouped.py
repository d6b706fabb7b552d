"""Allocation on two levels: what a group gets is what its members get together."""

import numpy as np
import pytest

from quantd.strategies.policies import POLICIES
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Floats
from quantd.trading.view import EMPTY_MEMORY, View

SYMBOLS = ("A", "B", "C", "D", "E", "F")
SECTORS = ("tech", "bank", "tech", "bank", "tech", "")
NAMED = (("first", ("A", "C", "E")), ("second", ("A", "B", "D")))
GROUPS = [[0, 2, 4], [1, 3], [5]]
"""The blocks of the market, the sectors, and the named groups (A is in the first that names it): all the same."""

LOOKBACK = 100


def blocks() -> Floats:
    """Returns float64[LOOKBACK, 6] of two blocks that move together, one three times as much, and one alone."""
    draw = np.random.default_rng(5)
    common = draw.normal(0.0, 0.01, (LOOKBACK, 3)) * [1.0, 3.0, 2.0]
    idiosyncratic = draw.normal(0.0, 0.003, (LOOKBACK, 6)) * [1.0, 2.0, 0.5, 1.5, 0.8, 1.0]
    return common[:, [0, 1, 0, 1, 0, 2]] + idiosyncratic


def weights_of(returns: Floats, **params: object) -> Floats:
    ring = Ring(len(SYMBOLS), LOOKBACK)
    prices = 100.0 * np.vstack([np.ones(len(SYMBOLS)), np.cumprod(1.0 + returns, axis=0)])
    for row in prices:
        ring.append(row)
    instruments = tuple(Instrument(s, sector=sector) for s, sector in zip(SYMBOLS, SECTORS, strict=True))
    view = View(
        universe=Universe(instruments, groups=NAMED), ring=ring, prices=prices[-1], weights=np.zeros(len(SYMBOLS)),
        cash=1.0, equity=1e5, time=LOOKBACK, sample_time=LOOKBACK,
    )  # fmt: skip
    policy = POLICIES["grouped"]({"lookback": LOOKBACK, "covariance": "sample", **params})
    weights, _ = policy.act(view, EMPTY_MEMORY)
    assert isinstance(weights, np.ndarray)
    return weights


@pytest.mark.requirement("R-078")
@pytest.mark.parametrize("by", ["correlation", "sector", "groups"])
def test_the_weights_of_groups_are_the_sums_of_their_members(by: str) -> None:
    returns = blocks()
    weights = weights_of(returns, by=by, between="inverse_volatility")
    inverse = 1.0 / returns.std(axis=0, ddof=1)
    # each group as a fund of its members, and the funds by the volatility of what they returned
    funds = np.column_stack([returns[:, g] @ (inverse[g] / inverse[g].sum()) for g in GROUPS])
    of_groups = 1.0 / funds.std(axis=0, ddof=1)
    of_groups /= of_groups.sum()
    np.testing.assert_allclose([weights[g].sum() for g in GROUPS], of_groups, rtol=1e-6)
    for group in GROUPS:
        np.testing.assert_allclose(
            weights[group] / weights[group].sum(), inverse[group] / inverse[group].sum(), rtol=1e-6
        )
    assert weights.sum() == pytest.approx(1.0)


def test_equal_risk_of_the_groups_is_no_equal_risk_of_the_instruments() -> None:
    returns = blocks()
    weights = weights_of(returns)
    parts = weights * (np.cov(returns, rowvar=False) @ weights)
    np.testing.assert_allclose([parts[g].sum() / parts.sum() for g in GROUPS], np.full(3, 1 / 3), rtol=1e-4)
    assert parts[5] > 2.0 * parts[0]


def test_where_each_is_its_own_group_it_is_risk_parity_of_all() -> None:
    returns = blocks()
    weights = weights_of(returns, threshold=1.0)
    parts = weights * (np.cov(returns, rowvar=False) @ weights)
    np.testing.assert_allclose(parts / parts.sum(), np.full(6, 1 / 6), rtol=1e-4)
