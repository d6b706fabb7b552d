"""Stress scenarios: whose move is whose, what is unknown stays unknown, and the shipped moves against recorded
prices."""

import math

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.risk.measures.stress import ALIASES, REST, SHIPPED, Shock, shock_returns, stress_losses, worst_stress
from quantd.trading.instruments import Instrument, Universe
from tests.support.checkout import DATA

GICS = {
    "energy", "materials", "industrials", "consumer discretionary", "consumer staples", "health care", "financials",
    "information technology", "communication services", "utilities", "real estate",
}  # fmt: skip
NAMES = Universe(
    (
        Instrument("XOM", sector="Energy"),
        Instrument("AAPL", sector="Technology"),
        Instrument("BTC-USD", sector="CRYPTO"),
        Instrument("ABC"),
    )
)


def test_a_move_is_taken_by_symbol_then_by_sector_then_from_the_rest() -> None:
    shock = Shock("mine", moves={"energy": -0.1, "information_technology": -0.2, "*": -0.3}, symbols={"XOM": 0.05})
    assert shock_returns([shock], NAMES).tolist() == [[0.05, -0.2, -0.3, -0.3]]


def test_without_a_move_for_the_rest_what_is_not_named_is_unknown() -> None:
    moves = shock_returns([Shock("mine", moves={"energy": -0.1})], NAMES)[0]
    assert moves[0] == -0.1
    assert np.isnan(moves[1:]).all()


def test_a_move_that_is_said_to_be_unknown_is_not_taken_from_the_rest() -> None:
    shock = Shock("mine", moves={"crypto": None, "*": -0.3}, symbols={"ABC": None, "not traded": -0.9})
    moves = shock_returns([shock], NAMES)[0]
    assert moves.tolist()[:2] == [-0.3, -0.3]
    assert np.isnan(moves[2:]).all()


@given(st.permutations(range(4)))
def test_moves_belong_to_instruments_and_not_to_places(order: list[int]) -> None:
    shuffled = Universe(tuple(NAMES.instruments[k] for k in order))
    moves = shock_returns(list(SHIPPED.values()), NAMES)
    np.testing.assert_array_equal(shock_returns(list(SHIPPED.values()), shuffled), moves[:, order])


def test_losses_are_of_what_is_held_and_a_short_gains_from_a_fall() -> None:
    moves = np.array([[-0.5, 0.1, math.nan], [math.nan, 0.2, 0.3]])
    losses = stress_losses(moves, np.array([0.4, -0.5, 0.0]))
    assert losses[0] == pytest.approx(0.4 * 0.5 + 0.5 * 0.1)
    assert math.isnan(losses[1])
    assert stress_losses(moves, np.array([-1.0, 0.0, 0.0]))[0] == pytest.approx(-0.5)
    assert stress_losses(moves, np.zeros(3)).tolist() == [0.0, 0.0]


def test_the_worst_is_the_largest_known_loss() -> None:
    shocks = [Shock(name, moves={"*": -0.1}) for name in ("one", "two", "three")]
    assert worst_stress(shocks, np.array([0.1, math.nan, 0.2])) == ("three", 0.2)
    assert worst_stress(shocks, np.array([-0.1, -0.1, -0.2])) == ("one", -0.1)
    assert worst_stress(shocks, np.full(3, math.nan)) is None
    assert worst_stress([], np.zeros(0)) is None


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"moves": {"energy": -45.0}}, "energy = -45.0"),
        ({"moves": {"energy": -1.01}}, "write a fall of 45 % as -0.45"),
        ({"moves": {"energy": 10.01}}, "energy = 10.01"),
        ({"symbols": {"XOM": math.nan}}, "symbols XOM = nan"),
        ({"moves": {"*": math.inf}}, "moves * = inf"),
        ({}, "no move is given"),
        ({"moves": {"Energy": -0.1, "energy": -0.2}}, "energy twice"),
        ({"moves": {"technology": -0.1, "it": -0.2}}, "information technology twice"),
    ],
)
def test_a_move_that_cannot_be_is_refused_by_name(given_: dict[str, dict[str, float]], said: str) -> None:
    with pytest.raises(ValueError, match=r"stress scenario mine") as caught:
        Shock("mine", **given_)
    assert said in str(caught.value)


def test_a_scenario_without_a_name_or_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match="name"):
        Shock("", moves={"*": -0.1})
    with pytest.raises(msgspec.ValidationError, match="move"):
        msgspec.convert({"name": "mine", "move": {"*": -0.1}}, Shock)


def test_a_total_loss_and_a_tenfold_rise_can_be_meant() -> None:
    assert Shock("mine", moves={"*": -1.0, "crypto": 10.0}).by_key == {"*": -1.0, "crypto": 10.0}


def test_the_shipped_scenarios_name_the_same_sectors_and_all_of_gics() -> None:
    assert set(SHIPPED) == {"2008", "2020", "2022", "rates+200bp"}
    keys = {frozenset(shock.moves) for shock in SHIPPED.values()}
    assert len(keys) == 1
    assert GICS | {REST, "gold", "crypto"} <= next(iter(keys))
    assert set(ALIASES.values()) <= next(iter(keys))
    assert all(shock.source and shock.horizon and name == shock.name for name, shock in SHIPPED.items())
    assert SHIPPED["2008"].moves["crypto"] is None


def closes(path: str) -> dict[tuple[str, str], float]:
    bars = pl.read_parquet(DATA / path)
    return {(s, str(t)[:10]): c for s, t, c in bars.select("symbol", "ts", "close").iter_rows()}


@pytest.mark.parametrize(
    ("name", "sector", "path", "symbol", "first", "last"),
    [
        ("2008", "equity", "us_daily.parquet", "SPY", "2007-10-09", "2009-03-09"),
        ("2008", "small cap", "us_daily.parquet", "IWM", "2007-10-09", "2009-03-09"),
        ("2020", "equity", "us_daily.parquet", "SPY", "2020-02-19", "2020-03-23"),
        ("2020", "small cap", "us_daily.parquet", "IWM", "2020-02-19", "2020-03-23"),
        ("2020", "crypto", "crypto_daily.parquet", "BTC-USD", "2020-02-19", "2020-03-23"),
        ("2022", "crypto", "crypto_daily.parquet", "BTC-USD", "2021-12-31", "2022-12-31"),
    ],
)
def test_a_shipped_move_is_what_the_recorded_prices_did(
    name: str, sector: str, path: str, symbol: str, first: str, last: str
) -> None:
    close = closes(path)
    assert SHIPPED[name].moves[sector] == pytest.approx(close[symbol, last] / close[symbol, first] - 1.0, abs=0.01)


@pytest.mark.parametrize(
    ("sector", "duration", "convexity"),
    [
        ("treasury 1-3y", 1.9, 5.0), ("treasury 7-10y", 7.5, 66.0), ("treasury 20y+", 16.5, 360.0),
        ("bonds", 6.2, 55.0),
        ("inflation-linked bonds", 6.5, 60.0), ("corporate bonds", 8.3, 100.0), ("high yield bonds", 3.5, 18.0),
    ],
)  # fmt: skip
def test_the_bonds_of_the_rate_scenario_move_by_duration_and_convexity(
    sector: str, duration: float, convexity: float
) -> None:
    move = SHIPPED["rates+200bp"].moves[sector]
    assert move == pytest.approx(-duration * 0.02 + convexity * 0.02**2 / 2.0, abs=0.0055)


def test_moves_by_key_are_numbers_and_what_is_unknown_is_none() -> None:
    shock = Shock("mine", moves={"crypto": None, "tech": 0.1}, symbols={"ABC": None, "XOM": 0.2})
    assert math.isnan(shock.by_key["crypto"])
    assert shock.by_key["information technology"] == 0.1
    assert math.isnan(shock.by_symbol["ABC"])
    assert shock.by_symbol["XOM"] == 0.2


def test_names_and_losses_of_different_length_are_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        worst_stress([Shock("mine", moves={"*": -0.1})], np.zeros(2))
