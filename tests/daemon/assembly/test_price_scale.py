"""The unit of a price changes nothing: prices times k and volumes over k give the same orders and the same result."""

from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest

import quantd
from tests.support.command_line import quantd as command
from tests.support.market_frames import random_frame

SETTINGS = {
    "agents.policy.profile": "balanced", "agents.policy.min_trade": 0.01, "risk.profile": "balanced",
    "agents.policy.limits": {"max_position_weight": 0.6, "max_volatility": 2.0, "min_diversification": 0.0},
    "risk.max_position_weight": 0.6, "risk.max_volatility": 2.0, "risk.min_diversification": 0.0,
}  # fmt: skip
PRICES = ["open", "high", "low", "close"]


def market(names: tuple[str, ...], seed: int = 3) -> pl.DataFrame:
    """Two symbols over 150 days, each at a first price of 100."""
    frame = random_frame(seed, 2, 150)
    days = np.datetime64("2023-01-01", "us") + np.arange(150) * np.timedelta64(1, "D")
    parts = []
    for name, (_, part) in zip(names, frame.group_by("symbol", maintain_order=True), strict=True):
        base = part["open"][0] / 100.0
        parts.append(
            part.with_columns(
                pl.Series("ts", days), *(pl.col(price) / base for price in PRICES), symbol=pl.lit(name),
                volume=pl.lit(3_000.0),
            )
        )  # fmt: skip
    return pl.concat(parts)


def scaled(frame: pl.DataFrame, k: float) -> pl.DataFrame:
    return frame.with_columns(*(pl.col(price) * k for price in PRICES), volume=pl.col("volume") / k)


def run(frame: pl.DataFrame, **settings: object):
    return quantd.backtest(
        "momentum", params={"lookback": 20}, bars=frame, compare=False, settings={**SETTINGS, **settings}
    )


def same(run_at_base, run_at_k, k: float, within: float) -> None:
    """Fills of both runs: the same symbols, instants and sides, quantities over k, prices times k; equal equity."""
    base, other = run_at_base.fills, run_at_k.fills
    assert base.height > 30
    assert base.select("ts", "symbol", "side").equals(other.select("ts", "symbol", "side"))
    np.testing.assert_allclose(other["price"] / k, base["price"], rtol=within)
    moved = np.abs((other["quantity"] * k - base["quantity"]).to_numpy()) * base["price"].to_numpy()
    assert moved.max() < within * 100_000, "of the account's equity"
    np.testing.assert_allclose(run_at_k.equity["equity"], run_at_base.equity["equity"], rtol=within)


@pytest.fixture(scope="module")
def coins_at_100():
    return run(market(("AAA-USD", "BBB-USD")))


DRAWN = [round(10.0 ** Random(11 + n).uniform(-6.0, 6.0), 9) for n in range(4)]


@pytest.mark.one_of(3)
@pytest.mark.parametrize("k", [1e-6, 1e-4, 1e-2, 0.0008, 10.0, 1e3, 1e6, *DRAWN])
def test_coins_at_k_times_the_price_have_the_same_orders_and_result(coins_at_100, k: float) -> None:
    # a base price of 100 times 1e-6 is 1e-4, of which a nano is 0.1 bp
    same(coins_at_100, run(scaled(market(("AAA-USD", "BBB-USD")), k)), k, 2e-4)


@pytest.mark.parametrize("k", [1e-6, 1e-3, 1e3, 1e6])
def test_shares_have_the_same_orders_where_lot_and_tick_are_scaled_too(k: float) -> None:
    def at(k: float):
        rows = [
            {"symbol": symbol, "lot": f"{0.001 / k:.9f}", "tick": f"{0.01 * k:.9f}", "calendar": "24/7"}
            for symbol in ("AAA", "BBB")
        ]
        return run(scaled(market(("AAA", "BBB")), k), **{"universe.instruments": rows})

    same(at(1.0), at(k), k, 2e-4)


@pytest.mark.one_of(3)
@pytest.mark.parametrize("price", [1e7, 100.0, 1e-2, 1e-5])
@pytest.mark.parametrize("cash", ["1", "100000", "1000000000000"])
def test_capital_over_price_from_1e_minus_7_to_1e17_runs(cash: str, price: float) -> None:
    frame = scaled(market(("AAA-USD", "BBB-USD")), price / 100.0)
    result = quantd.backtest("equal_weight", bars=frame, compare=False, settings={"broker.cash": cash})
    assert result.fills.height > 0
    assert result.equity["equity"].is_finite().all()


def test_lots_that_cannot_be_counted_are_refused_before_the_run_with_a_lot_that_can(tmp_path: Path) -> None:
    frame = scaled(market(("AAA-USD", "BBB-USD")), 1e-6)

    def attempt(lot: str):
        rows = [{"symbol": symbol, "lot": lot} for symbol in ("AAA-USD", "BBB-USD")]
        settings = {"broker.cash": "1000000000", "universe.instruments": rows}
        return quantd.backtest("equal_weight", bars=frame, compare=False, settings=settings)

    with pytest.raises(quantd.Error, match=r"lots of 0\.00000001 AAA-USD at 0\.0000.* lot = \"") as refused:
        attempt("0.00000001")
    assert attempt(str(refused.value).split('lot = "')[1].split('"')[0]).fills.height > 0


def test_a_price_that_a_nano_cannot_hold_is_refused_and_the_remedy_gives_the_result_of_a_high_price(
    tmp_path: Path, coins_at_100
) -> None:
    frame = scaled(market(("AAA-USD", "BBB-USD")), 1.2e-10)
    with pytest.raises(quantd.Error, match=r"AAA-USD: 150 prices below 5e-06, down to .*e-0") as refused:
        run(frame)
    units = float(str(refused.value).split("prices times ")[1].split(" ")[0])
    same(coins_at_100, run(scaled(frame, units)), 1.2e-10 * units, 3e-4)
    frame.filter(pl.col("symbol") == "AAA-USD").write_csv(tmp_path / "AAA-USD.csv")
    done = command(tmp_path, "data", "check", "AAA-USD.csv")
    assert done.returncode == 1
    assert "prices are rounded to 1e-9" in done.stdout


def test_bars_that_are_too_cheap_at_first_may_be_left_out() -> None:
    frame = scaled(market(("AAA-USD", "BBB-USD")), 3e-7)
    early = pl.col("ts") < pl.col("ts").min() + pl.duration(days=3)
    cheap = frame.with_columns(*(pl.when(early).then(4e-6).otherwise(pl.col(price)).alias(price) for price in PRICES))
    with pytest.raises(quantd.Error, match=r"leave out its bars up to 2023-01-03"):
        run(cheap, **{"feed.jumps": "real"})
    assert run(cheap.filter(~early)).fills.height
