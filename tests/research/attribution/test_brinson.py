"""Brinson attribution: a published example, linked periods, and a real run against a benchmark."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.research.attribution.brinson import (
    SectorReturns,
    benchmark_sectors,
    brinson,
    portfolio_sectors,
)
from quantd.research.attribution.linking import period_return
from quantd.research.attribution.profit import profit
from tests.support.book_histories import real_history, reordered, three_trades


def sector_returns(sectors: tuple[str, ...], weights: np.ndarray, returns: np.ndarray) -> SectorReturns:
    """Periods of float64[T, S] weights and returns of the sectors, without other costs."""
    return SectorReturns(sectors, weights, weights * returns, np.zeros(len(weights)))


MARKETS = ("UK equities", "Japanese equities", "US equities")

BACON = (
    sector_returns(MARKETS, np.array([[0.40, 0.30, 0.30]]), np.array([[0.20, -0.05, 0.06]])),
    sector_returns(MARKETS, np.array([[0.40, 0.20, 0.40]]), np.array([[0.10, -0.04, 0.08]])),
)
"""C. Bacon, Practical portfolio performance measurement and attribution (2nd ed. 2008), chapter 5: the portfolio
returns 8.3 %, its benchmark 6.4 %."""


def rows(attribution):
    return {
        name: (sector.allocation, sector.selection, sector.interaction)
        for name, sector in attribution.by_sector.items()
    }


def test_bacons_example_after_brinson_and_fachler() -> None:
    attribution = brinson(*BACON)
    assert attribution.portfolio == pytest.approx(0.083)
    assert attribution.benchmark == pytest.approx(0.064)
    # allocation (w - W)(R - B): 0 x 3.6 %, 0.1 x -10.4 %, -0.1 x 1.6 %
    expected = {
        "UK equities": (0.0, 0.04, 0.0),
        "Japanese equities": (-0.0104, -0.002, -0.001),
        "US equities": (-0.0016, -0.008, 0.002),
    }
    for name, effects in rows(attribution).items():
        assert effects == pytest.approx(expected[name], abs=1e-12), name
    assert (attribution.allocation, attribution.selection, attribution.interaction) == pytest.approx(
        (-0.012, 0.03, 0.001), abs=1e-12
    )
    assert attribution.active == pytest.approx(0.019)


def test_bacons_example_after_brinson_hood_and_beebower() -> None:
    attribution = brinson(*BACON, form="hood_beebower")
    # allocation (w - W) R: 0, 0.1 x -4 %, -0.1 x 8 %
    assert [rows(attribution)[name][0] for name in MARKETS] == pytest.approx([0.0, -0.004, -0.008], abs=1e-12)
    assert (attribution.allocation, attribution.selection, attribution.interaction) == pytest.approx(
        (-0.012, 0.03, 0.001), abs=1e-12
    )


def total(attribution) -> float:
    return sum(map(sum, rows(attribution).values())) + attribution.costs


@pytest.mark.long
@given(st.integers(0, 10_000), st.sampled_from(["fachler", "hood_beebower"]), st.integers(0, 40))
def test_effects_of_many_periods_add_up_to_the_active_return(seed, form, periods) -> None:
    rng = np.random.default_rng(seed)
    one, other = (
        sector_returns(("a", "b", "c", "d"), rng.dirichlet(np.ones(4), periods), rng.normal(0.0, 0.05, (periods, 4)))
        for _ in range(2)
    )
    one = replace(one, costs=rng.normal(-0.001, 0.001, periods))
    attribution = brinson(one, other, form)
    assert attribution.portfolio == period_return(one.returns)
    assert abs(total(attribution) - (attribution.portfolio - attribution.benchmark)) < 1e-9
    assert attribution.active == attribution.portfolio - attribution.benchmark


def test_sectors_are_matched_by_name() -> None:
    portfolio, benchmark = BACON
    turned = benchmark.ordered(("US equities", "UK equities", "Japanese equities"))
    assert rows(brinson(portfolio, turned)) == rows(brinson(portfolio, benchmark))


def test_a_sector_of_one_side_only_has_weight_0_on_the_other() -> None:
    one = sector_returns(("a", "b"), np.array([[0.5, 0.5]]), np.array([[0.1, 0.3]]))
    other = sector_returns(("a", "c"), np.array([[0.5, 0.5]]), np.array([[0.1, 0.2]]))
    effects = rows(brinson(one, other))
    # B = 15 %; b is 50 % over its weight of 0 and the benchmark has no return in it
    assert effects["b"] == pytest.approx((0.5 * (0.0 - 0.15), 0.0, 0.5 * 0.3), abs=1e-12)
    assert effects["c"] == pytest.approx((-0.5 * (0.2 - 0.15), 0.0, 0.0), abs=1e-12)
    assert effects["a"] == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)


def test_a_result_without_a_weight_is_interaction() -> None:
    one = sector_returns(("a", "b"), np.array([[0.0, 1.0]]), np.array([[0.0, 0.1]]))
    one = replace(one, contributions=np.array([[0.02, 0.1]]))  # bought and sold within the period
    effects = rows(brinson(one, sector_returns(("a", "b"), np.array([[0.0, 1.0]]), np.array([[0.5, 0.1]]))))
    assert effects["a"] == pytest.approx((0.0, 0.0, 0.02), abs=1e-12)


def test_weights_with_other_sums_and_other_periods_are_refused() -> None:
    portfolio, benchmark = BACON
    with pytest.raises(ValueError, match="do not have the same sums"):
        brinson(replace(portfolio, weights=portfolio.weights * 0.9), benchmark)
    with pytest.raises(ValueError, match="1 periods of the portfolio, 2"):
        brinson(portfolio, sector_returns(MARKETS, np.full((2, 3), 1 / 3), np.zeros((2, 3))))


def test_three_trades_by_hand() -> None:
    history = three_trades()
    portfolio = portfolio_sectors(history, profit(history))
    assert portfolio.sectors == ("energy", "unknown", "cash")
    # weights after each decision: 20 x 100 of 10,000; then 20 x 104 and -40 x 50 of 10,048; then AAA sold at 51
    np.testing.assert_allclose(
        portfolio.weights,
        [[0.2, 0.0, 0.8], [2_080 / 10_048, -2_000 / 10_048, 9_968 / 10_048], [0.0, -1_920 / 11_063, 12_983 / 11_063]],
        rtol=1e-12, atol=1e-15,
    )  # fmt: skip
    np.testing.assert_allclose(
        portfolio.contributions,
        [[80 / 10_000, 0.0, 0.0], [-20 / 10_048, 80 / 10_048, 0.0], [0.0, 40 / 11_063, 3 / 11_063]],
        rtol=1e-12, atol=1e-15,
    )  # fmt: skip
    np.testing.assert_allclose(portfolio.costs, [-32 / 10_000, -45 / 10_048, 37.5 / 11_063], rtol=1e-12)


@pytest.mark.requirement("R-259")
@pytest.mark.parametrize("form", ["fachler", "hood_beebower"])
def test_a_real_run_against_equal_weight_adds_up(form) -> None:
    history, _ = real_history()
    portfolio = portfolio_sectors(history, profit(history))
    np.testing.assert_allclose(portfolio.returns, history.returns(), rtol=0.0, atol=1e-12)
    weights = history.row_of(dict.fromkeys(history.symbols, 0.2))
    benchmark = benchmark_sectors(history, weights, np.full(history.intervals, 0.0001))
    np.testing.assert_allclose(benchmark.returns, history.asset_returns().mean(axis=1), rtol=0.0, atol=1e-12)
    attribution = brinson(portfolio, benchmark, form)
    assert abs(total(attribution) - attribution.active) < 1e-9
    assert attribution.portfolio == pytest.approx(period_return(history.returns()), abs=1e-12)
    assert set(attribution.by_sector) == {"technology", "finance", "unknown", "cash"}
    assert attribution.costs < 0.0
    other = reordered(history, ("SPY", "QQQ", "IWM", "BAC", "AAPL"))
    again = brinson(
        portfolio_sectors(other, profit(other)),
        benchmark_sectors(other, other.row_of(dict.fromkeys(history.symbols, 0.2)), np.full(history.intervals, 0.0001)),
        form,
    )
    for name, effects in rows(attribution).items():
        assert rows(again)[name] == pytest.approx(effects, abs=1e-12)
