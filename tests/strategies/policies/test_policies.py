"""What every registered policy owes: weights by name, room for what is unknown, nothing borrowed, nothing hidden."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantd.strategies.policies import POLICIES, RECORDS
from quantd.strategies.policies.record import PolicyRecord
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.ports import Policy
from quantd.trading.view import Hold, Noted, View
from tests.strategies.policies.policy_views import LOOKBACK, market, view_of
from tests.support.examples import examples

GIVEN: dict[str, Mapping[str, object]] = {
    "asked": {},
    "black_litterman": {"lookback": LOOKBACK, "views": [{"symbol": "A", "annual_return": 0.1}]},
    "buy_and_hold": {},
    "equal_weight": {},
    "fixed_mix": {"weights": {"A": 0.5, "C": 0.3}},
    "hold": {},
    "targets": {},
    "external": {},
    "grouped": {"lookback": LOOKBACK},
    "hrp": {"lookback": LOOKBACK},
    "inverse_volatility": {"lookback": LOOKBACK},
    "kelly": {"lookback": LOOKBACK},
    "linear_ranker": {"features": ("momentum_5", "volatility_10"), "history": 20, "ahead": 3, "top": 3},
    "max_diversification": {"lookback": LOOKBACK},
    "max_sharpe": {"lookback": LOOKBACK},
    "mean_variance": {"lookback": LOOKBACK},
    "merton": {"lookback": LOOKBACK},
    "min_cvar": {"lookback": LOOKBACK},
    "min_variance": {"lookback": LOOKBACK},
    "momentum": {"lookback": LOOKBACK - 5, "skip": 5, "size": "inverse_volatility"},
    "risk_parity": {"lookback": LOOKBACK},
    "signals": {"features": {"momentum_20": 1.0, "volatility_10.rank": -0.5}, "top": 3},
}
"""Parameters of the policies here. A policy without a row has its defaults, with a short lookback."""


def params_of(policy: PolicyRecord) -> Mapping[str, object]:
    short = {"lookback": LOOKBACK} if "lookback" in policy.params.__struct_fields__ else {}
    return GIVEN.get(policy.name, short)


PARAMS = {policy.name: params_of(policy) for policy in RECORDS if isinstance(policy, PolicyRecord)}


def weights_of(name: str, view: View) -> NDArray[np.float64]:
    given, memory = POLICIES[name](PARAMS[name]).act(view, {})
    assert memory == {}
    given = given.weights if isinstance(given, Noted) else given
    return view.weights if isinstance(given, Hold) else given


@pytest.mark.requirement("R-080")
def test_the_table_of_this_test_has_every_policy() -> None:
    assert set(PARAMS) == set(POLICIES)
    assert set(GIVEN) <= set(POLICIES)
    for name, params in PARAMS.items():
        assert POLICIES[name](params).lookback >= 0, "a policy whose parameters have no defaults needs a row of GIVEN"


@pytest.mark.requirement("R-013")
@pytest.mark.parametrize("name", sorted(POLICIES))
@settings(max_examples=examples(25), deadline=None)
@given(
    seed=st.integers(0, 10_000),
    order=st.permutations(range(5)),
    young=st.lists(st.integers(0, LOOKBACK + 10), min_size=5, max_size=5),
)
def test_permuting_the_columns_permutes_the_weights(name: str, seed: int, order: list[int], young: list[int]) -> None:
    prices = market(seed, 5)
    for column, bars in enumerate(young):
        prices[:bars, column] = np.nan
    straight = weights_of(name, view_of(prices, "ABCDE"))
    turned = weights_of(name, view_of(prices[:, order], "".join("ABCDE"[k] for k in order)))
    # an interior point stops near its optimum, the others at it
    near = 1e-5 if name in ("mean_variance", "min_cvar") else 1e-8
    np.testing.assert_allclose(turned, straight[order], rtol=0.0, atol=near)


@pytest.mark.requirement("R-080")
@pytest.mark.parametrize("name", sorted(POLICIES))
@settings(max_examples=examples(25), deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 9), unknown=st.sets(st.integers(0, 8)))
def test_weights_are_finite_long_only_unlevered_and_zero_where_nothing_is_known(
    name: str, seed: int, size: int, unknown: set[int]
) -> None:
    prices = market(seed, size)
    columns = [c for c in unknown if c < size]
    prices[:, columns] = np.nan
    symbols = "ABCDEFGHI"[:size] if size > 2 else "ACB"[:size]
    if name == "fixed_mix" and size < 3:
        return
    weights = weights_of(name, view_of(prices, symbols))
    assert weights.shape == (size,)
    assert np.isfinite(weights).all()
    assert (weights >= 0.0).all()
    assert weights.sum() <= 1.0 + 1e-12
    assert not weights[columns].any()


ALLOCATING = [
    "black_litterman",
    "grouped",
    "hrp",
    "max_diversification",
    "mean_variance",
    "min_cvar",
    "min_variance",
    "risk_parity",
]
"""Those that are always invested in full."""


@pytest.mark.parametrize("name", ["equal_weight", "buy_and_hold", "inverse_volatility", *ALLOCATING])
def test_what_an_unknown_instrument_does_not_get_the_others_share(name: str) -> None:
    prices = market(1, 4)
    prices[:, 2] = np.nan
    weights = weights_of(name, view_of(prices, "ABCD"))
    assert weights[2] == 0.0
    assert weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("name", sorted(POLICIES))
@pytest.mark.parametrize("rows", [0, 1, LOOKBACK - 1])
def test_an_empty_or_short_history_is_no_failure(name: str, rows: int) -> None:
    weights = weights_of(name, view_of(market(1, 3)[:rows], "ABC"))
    assert np.isfinite(weights).all()
    if POLICIES[name](PARAMS[name]).lookback > rows:
        assert not weights.any()


@pytest.mark.parametrize("name", ["inverse_volatility", "momentum", *ALLOCATING])
@pytest.mark.parametrize("still", [5, 9, 20])
def test_a_price_that_stands_still_of_late_gets_nothing_though_older_returns_are_in_the_window(
    name: str, still: int
) -> None:
    prices = market(1, 3)
    prices *= 1.003 ** np.arange(len(prices))[:, None]
    assert weights_of(name, view_of(prices, "ABC"))[1] > 0.0
    prices[-still:, 1] = prices[-still - 1, 1]
    assert weights_of(name, view_of(prices, "ABC"))[1] == 0.0


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_one_symbol_is_a_universe(name: str) -> None:
    params = {"weights": {"A": 0.5}} if name == "fixed_mix" else PARAMS[name]
    given, _ = POLICIES[name](params).act(view_of(market(1, 1), "A"), {})
    given = given.weights if isinstance(given, Noted) else given
    assert isinstance(given, Hold) or (given.shape == (1,) and 0.0 <= given[0] <= 1.0)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_policy_leaves_its_view_as_it_was(name: str) -> None:
    view = view_of(market(1, 4), "ABCD")
    before = (view.prices.copy(), view.weights.copy(), view.returns(LOOKBACK).copy())
    weights_of(name, view)
    for old, new in zip(before, (view.prices, view.weights, view.returns(LOOKBACK)), strict=True):
        np.testing.assert_array_equal(old, new)


def asked(name: str, params: Mapping[str, object], prices: NDArray[np.float64], symbols: str) -> NDArray[np.float64]:
    make: Callable[[Mapping[str, object]], Policy] = POLICIES[name]
    given, _ = make(params).act(view_of(prices, symbols), {})
    given = given.weights if isinstance(given, Noted) else given
    assert not isinstance(given, Hold)
    return given


def test_equal_weight_leaves_in_cash_what_it_is_told_to() -> None:
    np.testing.assert_allclose(asked("equal_weight", {"invested": 0.6}, market(1, 3), "ABC"), 0.2)


def test_momentum_holds_what_rose_and_leaves_the_place_of_what_fell_in_cash() -> None:
    steps = np.arange(50.0)[:, None]
    prices = 100.0 * np.array([1.01, 0.99, 1.02, 0.98]) ** steps
    np.testing.assert_array_equal(asked("momentum", {"lookback": 20}, prices, "ABCD"), [0.25, 0.0, 0.25, 0.0])


def test_momentum_does_not_look_at_the_skipped_samples() -> None:
    prices = 100.0 * np.array([1.01, 0.99]) ** np.arange(50.0)[:, None]
    prices[-5:] *= np.array([0.5, 2.0])
    np.testing.assert_array_equal(asked("momentum", {"lookback": 20, "skip": 5}, prices, "AB"), [0.5, 0.0])
    np.testing.assert_array_equal(asked("momentum", {"lookback": 20, "skip": 0}, prices, "AB"), [0.0, 0.5])


def test_fixed_mix_addresses_by_name_and_names_what_is_not_traded() -> None:
    mix = {"weights": {"SPY": 0.6, "TLT": 0.4}}
    policy = POLICIES["fixed_mix"](mix)
    ring = Ring(2, 5)
    for row in ([1.0, 2.0], [1.1, 2.1]):
        ring.append(np.array(row))

    def view(*symbols: str) -> View:
        return View(
            universe=Universe(tuple(Instrument(s) for s in symbols)), ring=ring, prices=np.array([1.1, 2.1]),
            weights=np.zeros(2), cash=1.0, equity=1.0, time=1, sample_time=1,
        )  # fmt: skip

    np.testing.assert_array_equal(policy.act(view("TLT", "SPY"), {})[0], [0.4, 0.6])
    with pytest.raises(ValueError, match=r"'TLT', which is not traded; did you mean 'TLTX'\?"):
        policy.act(view("TLTX", "SPY"), {})


def test_buy_and_hold_buys_once() -> None:
    policy = POLICIES["buy_and_hold"]({})
    held, _ = policy.act(view_of(market(1, 2), "AB", np.array([0.7, 0.3])), {})
    assert isinstance(held, Hold)
