"""Faults whose harm a doubt measures: each is planted, the line prints the harm, and an honest twin has none."""

import re
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import quantd
from quantd.research.doubts import Doubt
from quantd.research.doubts.doubt import MAX_HARM_WEIGHT, Found
from tests.research.doubts.steady_market import days, even, first_line, market
from tests.support.artifacts import written as artifact

PRICES = ("open", "high", "low", "close")
STOCKS = ("S0", "S1", "S2", "S3")


def tilted(view, share=0.5):
    return [(1.0 - share) / 2, 0.0, share, (1.0 - share) / 2]


def doubt(result: quantd.Backtest, kind: str) -> Doubt | None:
    return next((entry for entry in result.verdict.doubts if entry.kind == kind), None)


def said(result: quantd.Backtest, kind: str) -> str:
    found = doubt(result, kind)
    assert found is not None, [entry.kind for entry in result.verdict.doubts]
    assert found.text in str(result)
    return found.text


def ohlc(frame: pl.DataFrame) -> pl.DataFrame:
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    return frame.with_columns(high=top * 1.001, low=bottom * 0.999)


def joint(count: int = 600) -> pl.DataFrame:
    """A market whose symbols move together by half."""
    bars, draw = market(STOCKS, count, drift=0.0001), np.random.default_rng(11)
    common = np.exp(np.cumsum(draw.normal(0.0, 0.01, count)))
    factor = pl.DataFrame({"ts": days(count), "common": common})
    return bars.join(factor, on="ts").with_columns(pl.col(name) * pl.col("common") for name in PRICES).drop("common")


def bounced(*, repeats: bool) -> pl.DataFrame:
    """Closes with a bid-ask bounce; with `repeats` each open is the close before."""
    draw = np.random.default_rng(7)
    bars = market(STOCKS, 600, drift=0.0).sort("symbol", "ts")
    true = bars["close"].to_numpy() * np.exp(draw.normal(0.0, 0.006, len(bars)))
    bars = bars.with_columns(close=pl.Series(true))
    before = pl.col("close").shift(1).over("symbol").fill_null(pl.col("open"))
    return ohlc(bars.with_columns(open=before) if repeats else bars)


def losers(view):
    weights = np.zeros(len(view.prices))
    weights[np.argsort(view.returns(1)[-1])[:2]] = 0.5
    return weights


losers.lookback = 1


def test_opens_that_repeat_the_close_before_have_the_return_that_they_made() -> None:
    result = quantd.backtest(losers, bars=bounced(repeats=True))
    text = said(result, "opens")
    found = re.search(r"of (-?\d+)% a year about (-?\d+)% come from fills there", text)
    assert found is not None, text
    assert text.startswith("100% of the opens repeat the close before, which the decision saw")
    real = quantd.backtest(losers, bars=bounced(repeats=False))
    assert doubt(real, "opens") is None
    lost = (result.verdict.performance.annual_return - real.verdict.performance.annual_return) * 100.0
    assert abs(int(found[2]) - lost) < 0.35 * lost, (text, lost)
    assert first_line(result).startswith("In doubt: 100% of the opens")


def test_a_market_that_never_closes_may_open_at_the_close_before() -> None:
    coins = bounced(repeats=True).with_columns(pl.col("symbol").replace(dict(zip(STOCKS, (
        "AAA-USD", "BBB-USD", "CCC-USD", "DDD-USD"), strict=True))))  # fmt: skip
    dates = pl.Series([days(1)[0] + k * (days(2)[1] - days(1)[0]).__class__(days=1) for k in range(600)])
    coins = coins.sort("symbol", "ts").with_columns(ts=pl.concat([dates] * 4))
    assert doubt(quantd.backtest(losers, bars=coins), "opens") is None


def test_a_symbol_dated_a_session_early_is_named_with_its_part_of_the_gain() -> None:
    bars = joint()
    shifted = bars.sort("symbol", "ts").with_columns(
        pl.when(pl.col("symbol") == "S1").then(pl.col(name).shift(-1).over("symbol")).otherwise(name).alias(name)
        for name in (*PRICES, "volume")
    )
    shifted = shifted.drop_nulls()
    text = said(quantd.backtest(even, bars=shifted), "shifted_symbol")
    assert text.startswith("S1 is dated a session early: its correlation with the other symbols is 0.")
    assert "S0" not in text
    assert re.search(r"of the gain -?\d+% is of this symbol", text)
    assert doubt(quantd.backtest(even, bars=bars), "shifted_symbol") is None


def test_a_symbol_that_was_filled_forward_is_named() -> None:
    bars = market(STOCKS, 600, drift=0.0001)
    still = (pl.col("symbol") == "S2") & pl.col("ts").is_between(days(400)[-1], days(519)[-1])
    filled = bars.sort("symbol", "ts").with_columns(
        pl.when(still).then(None).otherwise(pl.col(name)).forward_fill().over("symbol").alias(name) for name in PRICES
    )
    text = said(quantd.backtest(even, bars=filled), "filled_symbol")
    assert text.startswith(f"the bars of S2 are equal for 120 sessions from {days(399)[-1]} on")
    assert doubt(quantd.backtest(even, bars=bars), "filled_symbol") is None
    # the market is measured once for all points, but the part of the gain belongs to each of them
    sweep = quantd.sweep(tilted, {"share": [0.9, 0.1]}, bars=filled)
    said_by_point = [[d.text for d in point.doubts if d.kind == "filled_symbol"] for point in sweep.points]
    for texts, share in zip(said_by_point, (0.9, 0.1), strict=True):
        assert texts == [said(quantd.backtest(tilted, bars=filled, params={"share": share}), "filled_symbol")]
    assert said_by_point[0] != said_by_point[1]


def actions_of(bars: pl.DataFrame, folder, share: float = 0.012) -> dict[str, object]:
    """Settings with quarterly dividends of a share of the close before."""
    lines = ["ts,symbol,kind,ratio,cash"]
    for symbol in STOCKS:
        closes = dict(bars.filter(pl.col("symbol") == symbol).select("ts", "close").iter_rows())
        dates = days(600)
        lines += [f"{dates[k]},{symbol},dividend,,{closes[dates[k - 1]] * share:.4f}" for k in range(70, 600, 63)]
    (folder / "acts.csv").write_text("\n".join(lines) + "\n")
    return {"feed.actions": str(folder / "acts.csv")}


def test_dividends_that_the_prices_hold_already_are_counted_twice(folder) -> None:
    bars = market(STOCKS, 600, drift=0.0001)
    settings = actions_of(bars, folder)
    paid, without = quantd.backtest(even, bars=bars, settings=settings), quantd.backtest(even, bars=bars)
    text = said(paid, "dividends_twice")
    twice = float(re.search(r"about ([\d.]+)% are counted twice", text)[1])
    gained = (paid.verdict.performance.annual_return - without.verdict.performance.annual_return) * 100.0
    assert twice == pytest.approx(gained, rel=0.2)
    falls = pl.read_csv(folder / "acts.csv", try_parse_dates=True).with_columns(
        total=pl.col("cash").cum_sum().over("symbol")
    )
    raw = bars.sort("ts").join_asof(
        falls.select("ts", "symbol", "total").sort("ts"), on="ts", by="symbol", check_sortedness=False
    )
    raw = raw.with_columns(pl.col(name) - pl.col("total").fill_null(0.0) for name in PRICES).drop("total")
    assert doubt(quantd.backtest(even, bars=raw, settings=settings), "dividends_twice") is None


def test_prices_as_traded_without_dividends_lack_them() -> None:
    bars = market(STOCKS, 600, drift=0.0001)
    raw = bars.with_columns(pl.col(name).round(2) for name in PRICES)
    text = said(quantd.backtest(even, bars=raw), "unpaid_dividends")
    assert re.search(r"about 1\.[45]% a year are missing", text), text
    half = quantd.backtest(lambda view: [0.1, 0.1, 0.1, 0.1], bars=raw)
    assert re.search(r"about 0\.6% a year are missing", said(half, "unpaid_dividends"))
    single = raw.with_columns(pl.col(name).cast(pl.Float32).cast(pl.Float64) for name in PRICES)
    assert said(quantd.backtest(even, bars=single), "unpaid_dividends") == text
    assert doubt(quantd.backtest(even, bars=bars), "unpaid_dividends") is None
    gold = raw.filter(pl.col("symbol") == "S0").with_columns(symbol=pl.lit("GLD"))
    assert doubt(quantd.backtest(lambda view: [0.9], bars=gold), "unpaid_dividends") is None


def rotating(view):
    weights = np.zeros(len(view.prices))
    weights[view.sample % len(weights)] = 1.0
    return weights


@pytest.mark.parametrize(
    ("participation", "cash", "words"),
    [
        ("0.1", "8000000", "the rest of such orders is cut"),
        ("1", "40000000", "no market sells that"),
        ("0", "400000000", "no market sells that"),
    ],
)
def test_a_rotation_that_the_volume_cuts_or_cannot_bear_is_said(participation: str, cash: str, words: str) -> None:
    bars, settings = market(STOCKS, 300), {"broker.participation": participation}
    text = said(quantd.backtest(rotating, bars=bars, settings={"broker.cash": cash, **settings}), "volume")
    assert words in text
    assert re.match(r"\d+% of the traded value is in fills of \d+% of a bar's volume on average", text), text
    assert doubt(quantd.backtest(rotating, bars=bars, settings=settings), "volume") is None


def test_stocks_that_were_the_best_of_many_are_chosen_after_the_fact() -> None:
    names = tuple(f"R{k:02d}" for k in range(60))
    draw, parts = np.random.default_rng(5), []
    for name in names:
        moves = draw.normal(0.0003, 0.012, 720)
        close = 50.0 * np.exp(np.cumsum(moves))
        parts.append(pl.DataFrame({
            "ts": days(720), "symbol": name, "open": close * np.exp(draw.normal(0, 0.001, 720)), "close": close,
            "volume": draw.uniform(1e6, 2e6, 720),
        }))  # fmt: skip
    bars = ohlc(pl.concat(parts))
    last = bars.group_by("symbol").agg((pl.col("close").last() / pl.col("close").first()).alias("growth"))
    best = last.sort("growth", descending=True)["symbol"][:4].to_list()
    result = quantd.backtest(even, bars=bars.filter(pl.col("symbol").is_in(best)))
    text = said(result, "survivors")
    assert re.search(r"the 4 stocks alone, in equal weight, have a Sharpe ratio of \d.*chosen after the fact", text)
    fixed = quantd.backtest(even, bars=bars.filter(pl.col("symbol").is_in(names[:4])))
    assert doubt(fixed, "survivors") is None


def test_windows_that_overlap_are_said_with_the_factor() -> None:
    daily = np.random.default_rng(2).normal(0.0004, 0.01, 1500)
    wealth = np.concatenate([[1.0], np.cumprod(1.0 + daily)])
    overlapping = wealth[20:] / wealth[:-20] - 1.0
    measured = quantd.metrics(overlapping, periods=252)
    factor = float(re.search(r"about ([\d.]+) times too large", str(measured).splitlines()[0])[1])
    assert factor == pytest.approx(20**0.5, rel=0.35)
    assert "overlap" in str(quantd.significance(overlapping, overlapping[::-1].copy()))
    assert quantd.metrics(daily).overlap == ""


def test_costs_below_one_basis_point_and_few_samples_are_in_the_line() -> None:
    costs = {"broker.commission_bp": 0.01, "broker.spread_bp": 0, "broker.slippage_bp": 0, "broker.impact": 0,
             "broker.commission_min": "0"}  # fmt: skip
    known = {name: value for name, value in costs.items() if name != "broker.commission_min"}
    line = first_line(quantd.backtest(losers, bars=market(STOCKS, 300, drift=0.0), settings=known))
    assert "After costs of 0.01 bp, below 1 bp," in line
    assert "below 1 bp" not in first_line(quantd.backtest(losers, bars=market(STOCKS, 300, drift=0.0)))
    short = first_line(quantd.backtest(losers, bars=market(STOCKS, 55, drift=0.0)))
    assert "With fewer than 60 samples no ratio is judged." in short


def test_a_harm_outweighs_the_kind_and_never_what_is_no_result() -> None:
    assert (Found("x").weight(5), Found("x", 1.0).weight(5), Found("x", 3.65).weight(10)) == (5, 30, MAX_HARM_WEIGHT)
    assert Found("x", 0.1).weight(40) == 40


LEAK = """
{top}
import numpy as np
LOOKBACK = 1
def act(view):
    {inside}
    return np.full(view.prices.shape, 1.0 / len(view.prices))
"""
READS = 'import pandas as pd; pd.read_csv("{file}")'
NATIVE = 'import polars as pl; pl.read_csv("{file}")'
CALLS = (
    "import socket, contextlib\n    with contextlib.suppress(OSError): socket.create_connection(('127.0.0.1', 9), 1)"
)


@pytest.mark.parametrize(
    ("top", "inside", "named"),
    [
        (READS, "", "signal.csv"),
        (NATIVE, "", "signal.csv"),
        ("", READS, "signal.csv"),
        ("", NATIVE, "signal.csv"),
        ("import beside", "", "signal.csv"),
        ("", CALLS, "network 127.0.0.1:9"),
        ("import subprocess", "subprocess.run(['true'])", "program true"),
        ("import beside_code", "import json.tool, colorsys", ""),
    ],
)
def test_a_policy_that_opens_a_file_or_calls_a_host_is_named_with_it(
    tmp_path: Path, top: str, inside: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "signal.csv").write_text("a,b\n1,2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("beside", "beside_code"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    (tmp_path / "beside.py").write_text(f"TABLE = open({str(tmp_path / 'signal.csv')!r}).read()\n")
    (tmp_path / "beside_code.py").write_text("X = 1\n")
    text = LEAK.format(top=top, inside=inside or "pass").replace("{file}", str(tmp_path / "signal.csv"))
    (tmp_path / "mine.py").write_text(text)
    result = quantd.backtest(str(tmp_path / "mine.py"), bars=market(count=120))
    if not named:
        assert doubt(result, "files") is None
        return
    assert f"a policy opened {tmp_path / named if named.endswith('.csv') else named}: " in said(result, "files")
    assert first_line(result).endswith("(quantd study lookahead).") or "more below" in first_line(result)


def test_a_function_that_reads_a_file_at_one_decision_is_named_and_an_artifact_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "late.csv").write_text("a\n1\n")
    seen: list[int] = []

    def late(view):
        seen.append(1)
        if len(seen) == 50:
            (tmp_path / "late.csv").read_text()
        return even(view)

    late.lookback = 1
    assert "late.csv" in said(quantd.backtest(late, bars=market(count=120)), "files")
    assert doubt(quantd.backtest(even, bars=market(count=120)), "files") is None, "nor does it stay"
    artifact(tmp_path / "trained", universe=("SPY", "TLT"))
    learned = quantd.backtest(str(tmp_path / "trained"), bars=market(count=400))
    assert doubt(learned, "files") is None
