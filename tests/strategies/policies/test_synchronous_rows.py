"""What relates instruments reads rows by session date, not last known prices."""

import numpy as np
import pytest

from quantd.daemon.policies.loading import PolicyError
from quantd.strategies.allocators.allocation import allocation
from quantd.strategies.policies import POLICIES
from quantd.strategies.policies.allocator import Allocator
from quantd.strategies.policies.rebalancing import CostAware, Rebalanced, RebalanceRules
from quantd.strategies.policies.sizing import Sized, SizingRules
from quantd.strategies.regimes import RegimeParams, market_of
from quantd.trading.history import Ring
from quantd.trading.market import Floats
from quantd.trading.ports import Policy
from quantd.trading.view import EMPTY_MEMORY, Hold, Noted, View
from tests.support.policies import made, market, universe_of

ROWS, SIZE = 600, 4


def ring_of(prices: Floats) -> Ring:
    ring = Ring(SIZE, 520)
    for row in prices:
        ring.append(row)
    return ring


def view_of(ring_seed: int, by_date: int, weights: Floats | None = None) -> View:
    prices = market(ring_seed, SIZE, ROWS)
    held = np.zeros(SIZE) if weights is None else weights
    return View(
        universe=universe_of(SIZE), ring=ring_of(prices), by_date=ring_of(market(by_date, SIZE, ROWS)),
        prices=prices[-1], weights=held, cash=1.0 - float(held.sum()), equity=1e5, time=1, sample_time=1,
    )  # fmt: skip


def answer(policy: Policy, view: View) -> list[float] | None:
    given, _ = policy.act(view, EMPTY_MEMORY)
    given = given.weights if isinstance(given, Noted) else given
    return None if isinstance(given, Hold) else given.tolist()


def allocators() -> list[str]:
    names = []
    for name in POLICIES:
        try:
            names += [name] if isinstance(made(name, {}), Allocator) else []
        except PolicyError:
            continue
    return names


@pytest.mark.parametrize("name", allocators())
def test_an_allocator_relates_instruments_by_date(name: str) -> None:
    policy = made(name, {})
    first = answer(policy, view_of(1, 2))
    assert first == answer(policy, view_of(3, 2))
    assert first != answer(policy, view_of(1, 3))


EVEN = made("equal_weight", {})

SIZES = [
    SizingRules(volatility_target=0.1),
    SizingRules(kelly=0.5),
    SizingRules(risk_budget=(("A", 0.4), ("B", 0.3), ("C", 0.2), ("D", 0.1))),
]


@pytest.mark.parametrize("rules", SIZES, ids=("volatility", "kelly", "budget"))
def test_a_book_is_sized_by_date(rules: SizingRules) -> None:
    policy = Sized(EVEN, rules)
    first = answer(policy, view_of(1, 2))
    assert first == answer(policy, view_of(3, 2))
    assert first != answer(policy, view_of(1, 3))


def test_what_pays_to_trade_is_weighed_by_date() -> None:
    held = np.array([0.4, 0.2, 0.2, 0.2])
    policy = Rebalanced(EVEN, RebalanceRules(cost_aware=CostAware(cost_bp=5.0)))
    first = answer(policy, view_of(1, 2, held))
    assert first == answer(policy, view_of(3, 2, held))
    assert first != answer(policy, view_of(1, 3, held))


def test_the_market_of_all_instruments_is_theirs_by_date_and_one_is_its_own() -> None:
    view = view_of(1, 2)
    np.testing.assert_array_equal(market_of(view, RegimeParams(), 60), view.synchronous(60).mean(axis=1))
    np.testing.assert_array_equal(market_of(view, RegimeParams(of="B"), 60), view.returns(60)[:, 1])


def test_what_an_allocation_is_expected_to_do_is_measured_by_date() -> None:
    weights = np.full(SIZE, 0.25)
    one, same, other = (
        allocation(view_of(*seeds), weights, strategy="s", method="m", lookback=252)
        for seeds in ((1, 2), (3, 2), (1, 3))
    )
    assert one.expected_risk == same.expected_risk
    assert one.expected_risk != other.expected_risk


def test_one_instruments_own_signal_reads_last_known_prices() -> None:
    for name in ("momentum", "inverse_volatility"):
        policy = made(name, {})
        assert answer(policy, view_of(1, 2)) == answer(policy, view_of(1, 3)), name
