"""Each reason for doubt is planted once, and the first line of the result has it; clean runs have none."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import quantd
from quantd.adapters.calendars import sessions
from quantd.research.doubts import KINDS
from quantd.research.verdict import headline, judge
from tests.research.doubts.steady_market import CALENDAR, FIRST, changed, days, even, first_line, market
from tests.support.checkout import DATA, ROOT
from tests.support.command_line import one_agent


def only(result: quantd.Backtest) -> str:
    """The text of the only doubt, which the first line has."""
    (doubt,) = result.verdict.doubts
    assert f"In doubt: {doubt.text}." in first_line(result)
    assert doubt.weight >= next(kind.weight for kind in KINDS if kind.kind == doubt.kind)
    return f"{doubt.kind}: {doubt.text}"


def test_a_clean_run_has_no_doubt() -> None:
    result = quantd.backtest(even, bars=market())
    assert result.verdict.doubts == ()
    assert "doubt" not in str(result)


def test_samples_in_the_training_window_of_an_artifact_begin_the_first_line() -> None:
    bars = pl.read_parquet(DATA / "us_daily.parquet").filter(
        pl.col("ts").dt.year().is_between(2012, 2014) & pl.col("symbol").is_in(["SPY", "QQQ", "IWM", "AAPL", "BAC"])
    )
    settings = {"feed.start": "2014-01-02", "feed.actions": str(DATA / "us_actions.csv")}
    result = quantd.backtest(str(ROOT / "models" / "shipped" / "ppo"), bars=bars, settings=settings, compare=False)
    doubt = result.verdict.doubts[0]
    assert (doubt.kind, doubt.weight) == ("in_sample", 100)
    assert first_line(result).startswith("In doubt: in-sample: 252 of 252 samples, until 2016-12-31, lie in the ")


def test_an_agent_that_knows_the_future_begins_the_first_line_and_those_of_later_results(tmp_path: Path) -> None:
    bars = market()
    result = quantd.backtest(even, bars=bars, compare=False, settings={"quantd.state": str(tmp_path)})
    marked = judge(result.assembly, result.record, tmp_path, None, knows="agent guest: gains from names (p = 0.001)")
    later = judge(result.assembly, result.record, tmp_path, None)
    for verdict in (marked, later):
        doubt = next(entry for entry in verdict.doubts if entry.kind == "foresight")
        assert (doubt.text, doubt.weight) == ("agent guest: gains from names (p = 0.001)", 95)
        assert headline(verdict).startswith("In doubt: agent guest: gains from names (p = 0.001)")
    assert "foresight" not in [entry.kind for entry in result.verdict.doubts]


@pytest.mark.parametrize("short", [False, True])
def test_a_leak_with_a_ratio_beyond_belief_begins_the_first_line(short: bool) -> None:
    bars = market()
    ahead = bars.pivot("symbol", index="ts", values="open").sort("ts")
    moves = np.log(ahead.select("SPY", "TLT").to_numpy())
    moves = moves[2:] - moves[1:-1]
    at: dict[str, int] = {"row": -1}

    def leaks(view):
        row = view.sample - 1
        at["row"] = row
        if row >= len(moves):
            return [0.0, 0.0]
        up = moves[row] > 0.0
        return np.where(up, 0.5, -0.3 if short else 0.0)

    result = quantd.backtest(leaks, bars=bars)
    assert at["row"] == len(ahead) - 1
    assert (result.verdict.doubts[0].kind, result.verdict.performance.sharpe > 6.0) == ("ratio", True)
    text = only(result) if not result.verdict.doubts[1:] else first_line(result)
    assert f"a Sharpe ratio of {result.verdict.performance.sharpe:.2f}" in text
    assert f"with {'short' if short else 'long'} positions" in text
    assert "look for look-ahead" in text
    assert first_line(result).startswith("In doubt: a Sharpe ratio of")


def test_a_high_ratio_of_a_few_weeks_is_luck_and_no_doubt() -> None:
    result = quantd.backtest(even, bars=market(count=80, drift=0.0025))
    assert result.verdict.performance.sharpe > 4.0
    assert [doubt.kind for doubt in result.verdict.doubts] == []


@pytest.mark.long
def test_rejected_and_suspicious_bars_are_named_with_symbol_and_date() -> None:
    bars = market()
    spoilt = changed(bars, "SPY", days(200)[-1], open=5.0, high=5.0, low=5.0, close=5.0)
    spoilt = changed(spoilt, "TLT", days(220)[-1], high=float("nan"))
    with pytest.raises(quantd.Error, match=f"SPY on {days(200)[-1]} is out of all proportion"):
        quantd.backtest(even, bars=spoilt)
    text = only(quantd.backtest(even, bars=spoilt, settings={"feed.spikes": "reject"}))
    assert text == (f"bars: 2 bars rejected and left out: SPY {days(200)[-1]} (spike), TLT {days(220)[-1]} (nan)")
    crash = changed(bars, "SPY", days(200)[-1], low=0.2)
    result = quantd.backtest(even, bars=crash, settings={"feed.spikes": "real"})
    assert result.rejected == 0
    assert only(result) == f"bars: 1 out of all proportion and traded as real: SPY {days(200)[-1]} (spike)"
    later = (pl.col("symbol") == "SPY") & (pl.col("ts") >= days(200)[-1])
    split = bars.with_columns(
        pl.when(later).then(pl.col(name) / 2).otherwise(pl.col(name)).alias(name)
        for name in ("open", "high", "low", "close")
    )
    text = only(quantd.backtest(even, bars=split, settings={"feed.jumps": "real"}))
    assert text == f"bars: 1 near a split ratio and traded as real: SPY {days(200)[-1]} (2:1)"
    absent = (pl.col("symbol") == "SPY") & pl.col("ts").is_in(days(130)[100:])
    text = only(quantd.backtest(even, bars=bars.filter(~absent), settings={"feed.holes": "known"}))
    assert "SPY has no good bar on 30 sessions in a row" in text


@pytest.mark.parametrize(("last", "said"), [(300, True), (100, False)])
def test_bars_after_a_delisting_are_named(tmp_path: Path, last: int, said: bool) -> None:
    bars, day = market(), days(101)[-1]
    (tmp_path / "actions.csv").write_text(f"ts,symbol,kind,ratio,cash\n{day},TLT,delisting,,50\n")
    bars = bars.filter((pl.col("symbol") == "SPY") | (pl.col("ts") < days(last + 1)[-1]))
    delisted = {"feed.actions": str(tmp_path / "actions.csv")}
    text = str(quantd.backtest(even, bars=bars, settings=delisted, compare=False))
    assert (f"TLT is delisted on {day} by the actions, and its bars go on to {days(300)[-1]}" in text) is said


@pytest.mark.long
def test_suspicious_prices_before_those_that_a_run_can_use_are_no_doubt_about_it() -> None:
    """A policy without a longer lookback reads at most 252 samples before the first one."""
    bars, early = market(count=700), days(150)[-1]
    spoilt = changed(bars, "TLT", early, high=float("nan"))
    crash = changed(bars, "SPY", early, low=0.2)
    later = (pl.col("symbol") == "SPY") & (pl.col("ts") >= early)
    split = bars.with_columns(
        pl.when(later).then(pl.col(name) / 2).otherwise(pl.col(name)).alias(name)
        for name in ("open", "high", "low", "close")
    )
    absent = bars.filter(~((pl.col("symbol") == "SPY") & pl.col("ts").is_in(days(150)[120:])))
    holes: dict[str, object] = {"feed.holes": "known"}
    for frame, settings in (
        (spoilt, {}), (spoilt, holes), (crash, {"feed.spikes": "real"}), (split, {"feed.jumps": "real"}),
        (absent, holes),
    ):  # fmt: skip
        kinds = {}
        for place in (390, 420):
            window = {"feed.start": days(place)[-1].isoformat(), "feed.warmup": 400}
            result = quantd.backtest(even, bars=frame, settings={**settings, **window})
            kinds[place] = [doubt.kind for doubt in result.verdict.doubts], "The checks of the feed" in str(result)
        noted = frame is spoilt and settings is holes
        assert kinds == {390: ([] if noted else ["bars"], noted), 420: ([], False)}


def test_a_bar_without_a_readable_date_counts_wherever_the_run_begins() -> None:
    bars = market(count=700).with_columns(pl.col("ts").cast(pl.String))
    there = (pl.col("symbol") == "TLT") & (pl.col("ts") == str(days(150)[-1]))
    bars = bars.with_columns(ts=pl.when(there).then(pl.lit("soon")).otherwise(pl.col("ts")))
    settings = {"feed.start": days(600)[-1].isoformat(), "feed.stamps": "session"}
    result = quantd.backtest(even, bars=bars, settings=settings)
    assert "1 bar rejected and left out: TLT without a date" in only(result)


def test_a_few_rejected_bars_that_a_person_knows_are_a_note() -> None:
    spoilt = changed(market(), "TLT", days(220)[-1], high=float("nan"))
    result = quantd.backtest(even, bars=spoilt, settings={"feed.holes": "known"})
    assert result.verdict.doubts == ()
    assert f"rejected 1 bar: TLT {days(220)[-1]} (nan)." in str(result)


@pytest.mark.long
def test_a_dead_symbol_that_is_held_begins_the_first_line() -> None:
    bars = market().filter((pl.col("symbol") == "SPY") | (pl.col("ts") <= days(150)[-1]))
    result = quantd.backtest(even, bars=bars)
    text = only(result)
    assert text.startswith(
        f"dead_symbol: TLT has no bar since {days(150)[-1]} and is held at its last price to the end, and by equal "
    )
    held = result.summary.positions["TLT"] if isinstance(result.summary.positions, dict) else ""
    assert "% of equity" in text
    assert str(held).replace(",", "") in text.replace(",", "")

    def never(view):
        return [1.0, 0.0]

    beside = only(quantd.backtest(never, bars=bars))
    assert f"TLT has no bar since {days(150)[-1]}, held at its last price to the end by equal weight" in beside


def test_a_dead_symbol_that_left_the_universe_is_held_too_and_its_purchases_were_on_debit(folder) -> None:
    """Its sale finds no bar, while the other symbols are bought with its proceeds."""
    last = days(150)[-1]
    (folder / "members.csv").write_text(f"symbol,joined,left\nSPY,{FIRST},\nGLD,{FIRST},\nTLT,{FIRST},{last}\n")
    bars = market(("SPY", "TLT", "GLD")).filter((pl.col("symbol") != "TLT") | (pl.col("ts") <= last))
    result = quantd.backtest("equal_weight", bars=bars, settings={"universe.members": str(folder / "members.csv")})
    texts = [f"{doubt.kind}: {doubt.text}" for doubt in result.verdict.doubts]
    assert texts[0].startswith(f"dead_symbol: TLT has no bar since {last} and is held at its last price to the end")
    assert "purchases counted on sales that did not fill" in next(text for text in texts if text.startswith("debit: "))


def test_a_last_day_that_lacks_symbols_is_not_complete() -> None:
    bars = market(("SPY", "TLT", "GLD"))
    last = days(300)[-1]
    text = only(quantd.backtest(even, bars=bars.filter((pl.col("symbol") == "SPY") | (pl.col("ts") < last))))
    before = days(299)[-1]
    assert text == (
        f"last_day: the last day, {last}, is not complete: it lacks 2 of 3 symbols: GLD (since {before}), "
        f"TLT (since {before})"
    )


def test_a_last_day_with_a_part_of_its_volume_is_not_complete() -> None:
    bars = market()
    for symbol in ("SPY", "TLT"):
        bars = changed(bars, symbol, days(300)[-1], volume=0.2)
    text = only(quantd.backtest(even, bars=bars))
    assert "of the usual, the least of 63 sessions" in text


@pytest.mark.long
def test_shorter_bars_that_end_before_the_close_make_the_last_day_partial() -> None:
    draw, rows = np.random.default_rng(5), []
    for day in days(25):
        row = CALENDAR.row_of_day[int(np.datetime64(day, "ns").astype(np.int64))]
        rows += list(range(CALENDAR.open_ns[row], CALENDAR.close_ns[row], 1_800_000_000_000))
    close = 50.0 * np.exp(np.cumsum(draw.normal(0.0, 0.002, len(rows))))
    frame = pl.DataFrame({
        "ts": pl.from_epoch(pl.Series(rows), "ns"), "symbol": "SPY", "open": close, "high": close * 1.001,
        "low": close * 0.999, "close": close, "volume": draw.uniform(1e6, 2e6, len(rows)),
    })  # fmt: skip
    assert quantd.backtest(lambda view: [0.9], bars=frame).verdict.doubts == ()
    text = only(quantd.backtest(lambda view: [0.9], bars=frame[:-6]))
    assert text == f"last_day: the last day, {days(25)[-1]}, is not complete: its bars end 3.0 hours before the close"


def test_a_last_bar_of_a_session_that_has_not_ended_is_no_complete_day() -> None:
    ahead = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=3)
    stamps = [ahead - dt.timedelta(days=k) for k in range(200)][::-1]
    close = 50.0 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, 200)))
    frame = pl.DataFrame({
        "ts": stamps, "symbol": "BTC-USD", "open": close, "high": close * 1.01, "low": close * 0.99, "close": close,
        "volume": np.full(200, 1e6) + np.arange(200),
    })  # fmt: skip
    result = quantd.backtest(lambda view: [0.9], bars=frame)
    assert f"the last day, {ahead}, is not complete: it has not ended yet" in only(result)


@pytest.mark.long
def test_leverage_that_cash_does_not_allow_and_orders_filled_in_part_are_said() -> None:
    levered = quantd.backtest(lambda view: [1.1, 1.1], bars=market())
    assert only(levered).startswith("size: 55% of what the policies asked for was not held")
    assert "asked 2.20, held 1.00 on average: limits 1.20" in str(levered)
    vast = quantd.backtest(even, bars=market(), settings={"broker.cash": "3000000000"})
    assert only(vast).startswith("size: ")
    assert "orders without a fill" in str(vast)
    small = quantd.backtest(even, bars=market(), settings={"broker.cash": "60"})
    assert small.verdict.doubts[0].kind == "size"
    rarely = quantd.backtest(lambda view: [1.1, 1.1] if view.sample % 20 == 1 else "hold", bars=market())
    assert only(rarely).startswith("size: 5")


@pytest.mark.long
def test_an_instrument_whose_bars_are_too_old_for_orders_is_named() -> None:
    """A Japanese share has no bar for ten days of holidays in 2019, while New York trades."""
    first, session_days = dt.date(2018, 6, 1), sessions("XTKS", dt.date(2018, 6, 1), dt.date(2019, 8, 9)).days
    dates = pl.from_epoch(pl.Series(session_days), "ns").dt.date()
    tokyo = market(("7203.T",), len(dates), first=first, seed=5).with_columns(ts=dates)
    bars = pl.concat([market(("SPY",), days(300, first).index(dt.date(2019, 8, 9)) + 1, first=first), tokyo])
    abroad = {"universe.instruments": [{"symbol": "7203.T", "calendar": "XTKS"}]}
    currencies, late = quantd.backtest(even, bars=bars, settings=abroad).verdict.doubts
    assert currencies.text.endswith("of several currencies, added as one: 7203.T in JPY, SPY in USD")
    assert late.text == (
        "at 18 of 300 samples the newest bar of 7203.T was older than orders allow (max_price_age), and "
        "the targets of policies for it were left out there"
    )


@pytest.mark.parametrize(
    ("symbols", "listed"),
    [(("AAPL", "VOD.L"), "AAPL in USD, VOD.L in GBX"), (("BTC-EUR", "ETH-USD"), "BTC-EUR in EUR, ETH-USD in USD")],
)
def test_prices_of_several_currencies_begin_the_first_line(symbols: tuple[str, str], listed: str) -> None:
    known = {"universe.calendar": "24/7" if "BTC-EUR" in symbols else "XNYS", "feed.holes": "known"}
    text = str(quantd.backtest(even, bars=market(symbols), settings=known, compare=False))
    assert text.startswith("In doubt: by their symbols the prices are of several currencies")
    assert listed in text


@pytest.mark.long
def test_prices_called_adjusted_whose_dividends_are_absent(folder) -> None:
    bars = market(count=600)
    text = only(quantd.backtest(even, bars=bars, adjusted=True))
    assert text.startswith(
        "dividends: the prices are called adjusted, which is for splits; whether they hold dividends"
    )
    prices = ("open", "high", "low", "close")
    raw = bars.with_columns(pl.col(name).round(2) for name in prices)
    assert "100% of the closes are whole cents" in only(quantd.backtest(even, bars=raw, adjusted=True))
    raw.with_columns(pl.lit(1.0) * pl.col("close") * 0.97).write_csv("bars.csv")
    frame = bars.with_columns((pl.col("close") * 0.97).alias("Adj Close"))
    frame.write_parquet("bars.parquet")
    (folder / "mine.toml").write_text(CONFIG)
    text = only(quantd.backtest(str(folder / "mine.toml")))
    assert "and the column Adj Close of the file differs from close by up to 3.0%: dividends are absent" in text
    (folder / "mine.toml").write_text(CONFIG.replace("adjusted = true", ""))
    text = only(quantd.backtest(str(folder / "mine.toml")))
    assert text.startswith("unpaid_dividends: the closes are traded and the column Adj Close of the file differs")
    assert text.endswith("(`quantd data import` reads them from that column)")
    (folder / "mine.toml").write_text(CONFIG)
    bars.write_parquet("bars.parquet", metadata={"quantd": '{"source":"alpaca","interval":"1d","stamps":"session"}'})
    assert "their file has raw prices of alpaca" in only(quantd.backtest(str(folder / "mine.toml")))
    metadata = '{"source":"yfinance","interval":"1d","stamps":"session","adjusted":true}'
    bars.write_parquet("bars.parquet", metadata={"quantd": metadata})
    assert quantd.backtest(str(folder / "mine.toml")).verdict.doubts == ()


@pytest.mark.long
def test_prices_that_fall_on_the_dates_of_listed_dividends_are_not_adjusted(folder) -> None:
    bars, lines = market(count=600), ["ts,symbol,kind,ratio,cash"]
    for day in days(600)[60::63]:
        lines.append(f"{day},SPY,dividend,,1.0")
        paid = (pl.col("symbol") == "SPY") & (pl.col("ts") >= day)
        bars = bars.with_columns(
            pl.when(paid).then(pl.col(name) - 1.0).otherwise(pl.col(name)).alias(name)
            for name in ("open", "high", "low", "close")
        )
    bars.write_parquet("bars.parquet")
    (folder / "bars.actions.csv").write_text("\n".join(lines) + "\n")
    (folder / "mine.toml").write_text(CONFIG)
    text = only(quantd.backtest(str(folder / "mine.toml")))
    assert "and they fall on the 9 ex-dividend dates of bars.actions.csv: dividends are absent" in text


CONFIG = one_agent(["SPY", "TLT"], feed="adjusted = true")


@pytest.mark.long
def test_a_ruinous_benchmark_is_said() -> None:
    text = only(
        quantd.backtest(lambda view: [0.0, -0.9], bars=market(drift=-0.0012), settings={"account.cash_rate": 0.02})
    )
    assert text.startswith("benchmark: equal weight is a ruinous benchmark here (-")


@pytest.mark.long
def test_stocks_that_all_lived_are_survivors_and_funds_or_dated_members_are_not(folder) -> None:
    stocks = tuple(f"S{k:02d}" for k in range(8))
    bars = market(stocks, 1000)
    dull = market(stocks, 1000, drift=0.0001)
    text = only(quantd.backtest(even, bars=dull))
    assert text.startswith("survivors: all 8 stocks live to the end of 4 years, and the universe has no dates")
    (folder / "members.csv").write_text("symbol,joined,left\n" + "".join(f"{symbol},{FIRST},\n" for symbol in stocks))
    dated = quantd.backtest("equal_weight", bars=bars, settings={"universe.members": "members.csv"})
    assert dated.verdict.doubts == ()
    funds = market(("SPY", "TLT", "GLD", "QQQ", "IWM", "XLE"), 1000)
    assert quantd.backtest(even, bars=funds).verdict.doubts == ()
    assert quantd.backtest(even, bars=market(stocks, 500, drift=0.0001)).verdict.doubts == ()


@pytest.mark.long
def test_the_rate_that_is_charged_while_cash_earns_none_ends_the_first_line() -> None:
    result = quantd.backtest(lambda view: [0.05, 0.0], bars=market())
    text = only(result)
    charged = "the Sharpe ratio is charged 2% a year, while cash earns no interest"
    assert text.startswith(f"cash_rate: {charged} and is 95% of ")
    assert first_line(result).startswith("In doubt: the Sharpe ratio is charged")  # 2.41 of the ratio
    paid = quantd.backtest(lambda view: [0.05, 0.0], bars=market(), settings={"account.cash_rate": 0.02})
    assert paid.verdict.doubts == ()
    assert quantd.backtest(lambda view: [0.6, 0.0], bars=market()).verdict.doubts == ()


@pytest.mark.parametrize("flattens", [False, True])
def test_a_drawdown_beyond_its_limit_is_named_with_what_the_limit_does(flattens: bool) -> None:
    settings: dict[str, object] = {"risk.max_drawdown": 0.1} | ({"risk.flatten_on": ["drawdown"]} if flattens else {})
    falling = market(drift=-0.002)
    (note,) = quantd.backtest(even, bars=falling, compare=False, settings=settings).verdict.notes
    assert note.startswith("max_drawdown = 0.1 did not bound the largest drawdown")
    assert ("flatten_on sold at the next prices" if flattens else 'flatten_on = ["drawdown"] does') in note
    assert quantd.backtest(even, bars=market(), compare=False, settings=settings).verdict.notes == ()
