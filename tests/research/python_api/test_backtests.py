"""`quantd.backtest`: three lines from a frame to a verdict, with the code and the digest of the commands."""

import ast
import gc
import json
import random
import re
import sys
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

import quantd
from quantd.adapters.calendars import sessions
from tests.support.command_line import answer, write
from tests.support.command_line import quantd as command
from tests.support.market_frames import crashed_fund


def rising(view):
    return np.where(view.returns(20).sum(axis=0) > 0, 0.5, 0.0)


def test_a_policy_over_a_frame_gives_frames_figures_and_a_verdict(bars):
    result = quantd.backtest(rising, bars=bars)
    assert result.equity.columns == ["ts", "equity", "cash", "gross", "drawdown"]
    assert len(result.equity) == bars["ts"].n_unique() - 20, "it begins after its lookback"
    assert set(result.fills["symbol"]) == {"SPY", "IWM"}
    assert result.equity["equity"][-1] == pytest.approx(float(result.summary.equity))
    assert result.verdict.performance.samples == len(result.equity)
    assert "equal weight" in str(result)
    assert "Sharpe" in result._repr_html_()


def test_the_setting_that_a_refused_argument_names_works(bars):
    with pytest.raises(TypeError, match="no argument rebalance") as refused:
        quantd.backtest("equal_weight", bars, rebalance="monthly")
    named = re.search(r"write settings=({.*})", str(refused.value))
    monthly = quantd.backtest("equal_weight", bars, settings=ast.literal_eval(named[1]), compare=False).fills
    assert 1 < monthly["ts"].dt.month_start().n_unique() == len(monthly["ts"].dt.date().unique())


def half_hours(days):
    times = [
        datetime(day.year, day.month, day.day, 9, 30) + timedelta(minutes=30 * k) for day in days for k in range(13)
    ]
    draw = np.random.default_rng(5)
    frames = []
    for symbol in ("SPY", "IWM"):
        close = 100 * np.exp(np.cumsum(draw.normal(0, 0.002, len(times))))
        low, high = close * 0.995, close * 1.005
        bars = {"ts": times, "symbol": symbol, "open": close, "high": high, "low": low, "close": close, "volume": 1e6}
        frames.append(pl.DataFrame(bars).with_columns(pl.col("ts").dt.replace_time_zone("America/New_York")))
    return pl.concat(frames)


def test_weights_are_a_policy_as_a_mapping_and_as_a_table_by_date(bars):
    mix = {"SPY": 0.6, "IWM": 0.4}
    constant = quantd.backtest(mix, bars=bars, compare=False)
    assert constant.digest == quantd.backtest("fixed_mix", bars, params={"weights": mix}, compare=False).digest
    dates = bars["ts"].unique().sort()
    days = dates.dt.date() if dates.dtype != pl.Date else dates
    table = pl.DataFrame({"date": [days[5], days[40]], "SPY": [1.0, 0.0], "IWM": [0.0, 1.0]})
    fills = quantd.backtest(table, bars=bars, compare=False).fills
    assert fills["ts"].dt.date().unique().sort().to_list() == [days[6], days[41]], "at the open after each row"
    assert fills.select("symbol", "side").unique().sort("symbol", "side").rows() == [
        ("IWM", "buy"), ("SPY", "buy"), ("SPY", "sell")]  # fmt: skip
    long = table.unpivot(index="date", variable_name="symbol", value_name="weight").sort(
        "date", "symbol", descending=True
    )
    assert quantd.backtest(long, bars=bars, compare=False).fills.equals(fills), "a row for each date and symbol"
    held = long.filter(pl.col("weight") > 0).to_pandas().set_index(["date", "symbol"])["weight"]
    for rotation in (held, held.rename_axis([None, None]), held.reset_index()):
        assert quantd.backtest(rotation, bars, compare=False).fills.equals(fills), "a symbol without a row has weight 0"
    for form in ("%Y%m%d", "%d.%m.%y", "%B %d, %Y"):
        dated = table.with_columns(pl.col("date").dt.strftime(form))
        assert quantd.backtest(dated, bars, compare=False).fills.equals(fills), form
    noon = pl.col("date").cast(pl.Datetime) + timedelta(hours=12)
    named = table.with_columns(noon.dt.replace_time_zone("America/New_York"))
    assert quantd.backtest(named, bars, compare=False).fills.equals(fills), "a time of a named clock"
    with pytest.raises(quantd.Error, match=r"the weights have dates .* bars are shorter; write the instants") as error:
        quantd.backtest(table, bars=half_hours(days[:44]), compare=False)
    instants = eval(str(error.value).partition("in polars ")[2], {"pl": pl})  # the remedy, as it is printed
    held = quantd.backtest(table.with_columns(instants.alias("date")), half_hours(days[:44]), compare=False).fills
    assert held["ts"].dt.date().unique().sort().to_list() == [days[6], days[41]], "after the close of each row's date"
    outside = [days[0] - timedelta(days=9), days[0] - timedelta(days=2), days[-1] + timedelta(days=9)]
    notes = str(quantd.backtest(pl.concat([table.head(1).with_columns(date=day) for day in outside]), bars=bars))
    assert re.search(rf"1 of 3 rows of the weights are before the bars.*, the first on {outside[0]}", notes)
    assert re.search(rf"1 of 3 rows of the weights are after the bars.*, the first on {outside[2]}", notes)
    assert "are the decision of the first bar" not in notes
    notes = str(quantd.backtest(table.head(1).with_columns(date=outside[0]), bars=bars, compare=False))
    assert re.search(rf"The weights of {outside[0]}.* are the decision of the first bar, {days[0]}", notes)
    for wrong, text in (
        (table.with_columns(SPY=pl.lit(None)), "the weight of SPY at .* is None; write a number, 0 for none"),
        (table.with_columns(SPY=pl.lit(True)), "the weight of SPY at .* is True; .*some of signals"),
        (pl.concat([table, table[:1]]), "has .* in more than one row; give one row a date and one column a symbol"),
        (
            table[:1].with_columns(date=pl.lit("03/02/2021")),
            "has two readings: .* Write it as 2024.*dayfirst=True",
        ),
        (
            long.with_columns(weight=pl.when(pl.col("weight") > 0).then("weight")),
            "the weight of .* is nan; write a num",
        ),
        (table.with_columns(noon), "12:00:00 of an unknown clock"),
        (pl.concat([long, long]), "has .* in more than one row; .* pivot"),
        (
            table.with_columns(pl.col("date").dt.offset_by("9y")),
            "all 2 rows of the weights are after the bars, .*later bars",
        ),
        (table.drop("date"), "a table of weights needs a column of dates"),
        ({"SPY": True}, "the weight of SPY is True"),
        ([0.5, 0.5], "weights have the names of their symbols"),
    ):
        with pytest.raises(quantd.Error, match=text):
            quantd.backtest(wrong, bars=bars)
    with pytest.raises(quantd.Error, match="params cannot go with weights"):
        quantd.backtest(mix, bars=bars, params={"lookback": 5})


def test_a_table_without_volumes_is_traded_without_a_cap_and_says_so(bars):
    wide = bars.pivot(on="symbol", index="ts", values="close")
    closes = quantd.backtest({"SPY": 1.0}, bars=wide, compare=False)
    assert closes.summary.fills > 0
    assert "fills need [broker] participation = 0, and are not cut then" in str(closes)
    first = closes.fills.row(0, named=True)
    day = bars.filter((pl.col("symbol") == "SPY") & (pl.col("ts").cast(pl.Date) == first["ts"].date()))
    assert first["price"] == pytest.approx(day["close"][0], rel=0.001), "at the close after the decision"


def test_the_order_of_rows_and_columns_changes_nothing(bars):
    shuffled = bars.sample(fraction=1.0, shuffle=True, seed=7).select(reversed(bars.columns))
    assert quantd.backtest(rising, bars=shuffled, compare=False).digest == quantd.backtest(rising, bars=bars).digest


@pytest.mark.long
def test_a_configuration_has_the_digest_of_the_command(folder):
    write(folder)
    document = answer(command(folder, "backtest", "--json", "--set", "broker.commission_bp=3"))
    result = quantd.backtest(quantd.load("config.toml", {"broker.commission_bp": 3}))
    assert result.digest == document["digest"]
    assert result.verdict.verdict == document["verdict"]
    assert result.summary.positions == document["positions"]
    assert quantd.backtest("config.toml", settings={"broker.commission_bp": 3}).digest == document["digest"]


@pytest.mark.long
def test_the_journal_of_a_backtest_repeats_its_account(bars):
    result = quantd.backtest(rising, bars=bars, settings={"risk.max_position_weight": 0.3}, compare=False)
    assert result.run.equity.equals(result.equity)
    assert result.run.books.equals(result.books)
    assert result.run.fills.equals(result.fills)
    assert set(result.orders["order"]) >= set(result.fills["order"])
    assert result.orders.filter(pl.col("state") == "filled")["filled"].sum() == result.fills["quantity"].sum()
    cut = result.decisions.filter(pl.col("reason") == "position_weight")
    assert len(cut)
    assert (cut["allowed"].abs() < cut["requested"].abs()).all()


@pytest.mark.long
def test_why_explains_an_order_and_a_refusal(bars):
    result = quantd.backtest(rising, bars=bars, settings={"risk.max_position_weight": 0.3}, compare=False)
    order = result.orders["order"][0]
    assert "position weight" in str(result.why(order))
    assert result.why(order).explanation.order == order
    assert "no limit price: " in str(result.why(order))  # the profile `research` has no collar
    assert "no order" in str(result.why(result.decisions["decision"][-1] + ":IWM")) or "IWM" in str(result.why("IWM"))
    with pytest.raises(quantd.Error, match="nearest"):
        result.why("q-nothing")


def test_a_policy_that_draws_has_no_second_run(bars):
    def dice(view):
        return [random.random() / 2, 0.1]

    result = quantd.backtest(dice, bars=bars, compare=False)
    with pytest.raises(quantd.Error, match="draws random numbers"):
        _ = result.orders


def test_a_file_that_keeps_its_month_in_its_module_or_beside_it_has_a_second_run(bars, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    (folder / "calendar_memory.py").write_text("months = []\n")
    (folder / "monthly.py").write_text(
        "import numpy as np\n\nimport calendar_memory\n\nlast = None\n\n\n"
        "def act(view):\n    global last\n    month = np.datetime64(view.time, 'ns').astype('M8[M]')\n"
        "    if month == last or month in calendar_memory.months:\n        return 'hold'\n"
        "    last = month\n    calendar_memory.months.append(month)\n"
        "    return np.where(view.returns(20).sum(axis=0) > 0, 0.5, 0.0)\n"
    )
    result = quantd.backtest(f"{folder}/monthly.py:act", bars=bars, compare=False)
    run = result.run
    decided = run.decisions["ts"].n_unique()
    assert 0 < decided < len(result.equity) // 10
    assert not isinstance(result._history, str)
    del result
    gc.collect()
    assert len(run.orders) > 0, "a run outlives its result"


def test_metrics_agree_with_the_verdict_and_with_the_frames(bars):
    result = quantd.backtest(rising, bars=bars)
    metrics, figures = result.metrics, result.verdict.performance
    assert metrics["sharpe"] == pytest.approx(figures.sharpe, rel=1e-12)
    assert metrics["turnover"] == pytest.approx(figures.turnover_annual, rel=1e-12)
    assert metrics["max_drawdown"] == pytest.approx(result.equity["drawdown"].max(), rel=1e-12)
    assert metrics["trips"] > 0
    assert metrics["beta"] is not None
    assert quantd.backtest(rising, bars=bars, compare=False).metrics["beta"] is None
    months = result.monthly
    assert (months["return"] + 1).product() == pytest.approx(1 + figures.total_return, rel=1e-12)
    assert len(result.rolling) == len(result.equity) - 1
    assert result.rolling["sharpe"][-1] == pytest.approx(result.rolling["sharpe"].drop_nans()[-1])


def test_attribution_prints_tables_and_names_what_is_missing(bars):
    result = quantd.backtest(rising, bars=bars, compare=False)
    spy = result.attribution.by_asset["SPY"]
    assert re.search(rf"^SPY +{re.escape(f'{spy:+.2%}')}$", repr(result.attribution), re.MULTILINE)
    assert "sectors are unknown" in str(result.attribution)
    assert "sectors are unknown" in str(result.brinson({"SPY": 1.0}))
    days = result.equity.select(pl.col("ts").dt.date().alias("date"))
    factors = days.with_columns(market=pl.Series(np.random.default_rng(3).normal(0.0, 0.1, len(days))))[1:]
    assert re.search(r"^market +-?0\.\d{3} +0\.\d{3} ", str(result.factors(factors)), re.MULTILINE)
    lost = factors["date"][7]
    with pytest.raises(
        ValueError, match=f"market has no return on 1 of {len(factors)} dates of the period, first {lost}"
    ):
        result.factors(factors.filter(pl.col("date") != lost))
    french = factors.with_columns(pl.col("date").dt.strftime("%Y%m%d").cast(pl.Int64))
    assert str(result.factors(french)) == str(result.factors(factors)), "the dates of French's library"
    with pytest.raises(quantd.Error, match=r"column note has text\. Leave it out"):
        result.factors(factors.with_columns(note=pl.lit("x")))


@pytest.mark.long
def test_frames_become_pandas_frames_without_pyarrow(bars, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = quantd.backtest(rising, bars=bars, compare=False)
    for name in ("equity", "books", "fills", "orders", "decisions", "alerts", "rolling", "monthly"):
        frame = getattr(result, name)
        table = frame.to_pandas()
        assert (list(table.columns), len(table)) == (frame.columns, len(frame))
    table = result.fills.to_pandas()
    assert str(table["ts"].dtype) == "datetime64[ns, UTC]"
    assert table["ts"].iloc[0] == result.fills["ts"][0]
    assert table["price"].tolist() == result.fills["price"].to_list()
    assert table["symbol"].tolist() == result.fills["symbol"].to_list()


def test_the_return_beyond_a_benchmark_and_on_factors_adds_up(bars):
    result = quantd.backtest(rising, bars=bars, compare=False)
    active = result.brinson({"SPY": 0.5, "IWM": 0.5})
    parts = sum(sector.allocation + sector.selection + sector.interaction for sector in active.by_sector.values())
    assert parts + active.costs == pytest.approx(active.active, abs=1e-9)
    assert active.portfolio == pytest.approx(result.metrics["total_return"], rel=1e-9)
    with pytest.raises(ValueError, match="not in the universe of this run"):
        result.brinson({"NONE": 1.0})
    close = bars.pivot(on="symbol", index="ts", values="close").sort("ts")
    factors = close.select(pl.col("ts").dt.date().alias("date"), *(pl.col(s).pct_change() for s in ("SPY", "IWM")))
    for frame in (factors, factors.to_pandas()):
        regression = result.factors(frame[1:])
        assert set(regression.betas) == {"SPY", "IWM"}
        assert sum(regression.contributions.values()) == pytest.approx(result.metrics["total_return"], abs=1e-9)
    with pytest.raises(ValueError, match=r"no return on \d+ of"):
        result.factors(factors[25:])
    with pytest.raises(quantd.Error, match="no column of dates"):
        result.factors(factors.drop("date"))


def test_progress_reaches_one(bars):
    shares = []
    quantd.backtest("equal_weight", bars=bars, compare=False, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_rejected_bars_are_part_of_the_verdict(bars):
    broken = bars.with_columns(
        pl.when((pl.col("symbol") == "IWM") & (pl.col("ts").dt.year() == 2013)).then(-1.0).otherwise("low").alias("low")
    )
    why = (
        r"IWM: 252 of 502 bars \(50\.2%\) are rejected, 2013-01-02 to 2013-12-31; most often, a price is zero, negative"
    )
    with pytest.raises(quantd.Error, match=why):
        quantd.backtest("equal_weight", bars=broken, compare=False)
    result = quantd.backtest("equal_weight", bars=broken, compare=False, settings={"feed.holes": "known"})
    assert result.rejected == 252
    assert str(result).startswith("In doubt: 252 bars rejected and left out: IWM 2013-01-02 (non_positive), ")


def test_a_report_has_the_format_of_its_suffix(bars, folder):
    result = quantd.backtest("equal_weight", bars=bars, compare=False)
    document = json.loads(result.report(folder / "r.json").read_text())
    assert [account["name"] for account in document["accounts"]][:2] == ["house", "equal_weight"]
    assert document["header"]["digest"] == result.digest
    assert document["attribution"]["total"] == pytest.approx(result.verdict.performance.total_return)
    with pytest.raises(quantd.Error, match=r"\.html, \.json"):
        result.report(folder / "r.pdf")


def test_a_report_of_a_policy_that_draws_numbers_has_no_attribution_and_says_why(bars, folder):
    draw = np.random.default_rng()

    def drawn(view):
        return draw.dirichlet(np.ones(view.universe.size))

    document = json.loads(quantd.backtest(drawn, bars=bars, compare=False).report(folder / "r.json").read_text())
    assert document["attribution"] is None
    assert any("another result when it is repeated" in note for note in document["notes"])


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda bars: quantd.backtest("equal_weight"), "needs bars"),
        (lambda bars: quantd.backtest("momentun", bars=bars), "momentum"),
        (lambda bars: quantd.backtest("nowhere.toml"), "nowhere.toml"),
        (lambda bars: quantd.backtest(quantd.load, settings={"a": 1}), "needs bars"),
        (lambda bars: quantd.backtest(lambda: None, bars=bars), "no parameter for the view"),
        (lambda bars: quantd.backtest(rising, bars=bars, params={"lookbak": 1}), "lookbak"),
        (lambda bars: quantd.backtest(rising, bars=bars, settings={"risk.max_drawdwon": 0.2}), "max_drawdown?"),
        (lambda bars: quantd.backtest(rising, bars=bars.drop("open")), "column open"),
        (lambda bars: quantd.backtest(rising, bars=[1, 2]), "list is not a frame"),
        (lambda bars: quantd.backtest(rising, bars=bars.head(0)), "no readable stamp|no bar|at least one symbol"),
        (lambda bars: quantd.open_run("nowhere"), "no store here"),
    ],
)
def test_a_mistake_is_an_exception_with_a_remedy(bars, capsys, call, text):
    with pytest.raises(quantd.Error, match=text):
        call(bars)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("seed", [1, 2])
def test_a_real_crash_of_adjusted_prices_loses_no_bar_and_the_drawdown_is_that_of_numpy(seed):
    """One asset is bought with all the money at a price that stays flat until then, without costs, in lots of 1e-8."""
    free = dict.fromkeys(("commission_bp", "spread_bp", "slippage_bp", "participation"), 0)
    settings = {f"broker.{key}": value for key, value in free.items()}
    settings["universe.instruments"] = [{"symbol": "FUND", "lot": "0.00000001"}]
    fund = crashed_fund(seed)
    result = quantd.backtest(lambda view: [1.0], bars=fund, settings=settings, compare=False, adjusted=True)
    assert (result.rejected, len(result.equity), len(result.fills)) == (0, 4061, 1)
    close = fund["close"].to_numpy()
    drawdown = 1 - np.min(close / np.maximum.accumulate(close))
    assert result.metrics["max_drawdown"] == pytest.approx(drawdown, rel=1e-9)


@pytest.mark.long
def test_a_jump_near_a_split_ratio_stops_python_and_names_prices_and_remedies():
    fund = crashed_fund(3)
    with pytest.raises(quantd.Error) as refused:
        quantd.backtest("equal_weight", bars=fund, compare=False)
    message = str(refused.value)
    assert "FUND opened at 5.79 on 2013-01-28, after 8.38: near a 3:2 split" in message
    for remedy in ("adjusted=True", "2013-01-28,FUND,split,3:2,", '[feed] jumps = "real"'):
        assert remedy in message
    for ask in (
        lambda **more: quantd.sweep("momentum", {"lookback": [63]}, bars=fund, **more),
        lambda **more: quantd.study_signal("momentum_21", fund, horizons=(1,), cuts=2, **more),
    ):
        with pytest.raises(quantd.Error, match="near a 3:2 split"):
            ask()
        ask(adjusted=True)
    real = quantd.backtest("equal_weight", bars=fund, settings={"feed.jumps": "real"}, compare=False)
    assert real.digest == quantd.backtest("equal_weight", bars=fund, adjusted=True, compare=False).digest


@pytest.mark.parametrize("line", ["2012-06-01,XOM,dividend,,0.5", "2031-06-02,SPY,dividend,,0.5"])
def test_a_file_of_actions_of_which_none_is_used_is_named(bars, folder, line):
    """With the symbol of no bar, or a date beyond the bars."""
    (folder / "mine.csv").write_text(f"{line}\n")
    settings = {"feed.actions": str(folder / "mine.csv")}
    unused = quantd.backtest("equal_weight", bars, settings, compare=False)
    assert "No action of mine.csv is used: none is of " in str(unused)


def test_actions_of_a_file_and_of_the_bars_are_all_booked_or_named(bars, folder):
    spy = bars.filter(pl.col("symbol") == "SPY")
    paid = spy.with_columns(Dividends=pl.when(pl.col("ts") == spy["ts"][50]).then(0.5).otherwise(0.0))
    raw = quantd.read_bars(paid, prices="raw")
    days = [str(spy["ts"][k].date()) for k in (50, 70)]
    (folder / "both.csv").write_text("".join(f"{day},SPY,dividend,,0.5\n" for day in days))

    def cash(*args, **more):
        hold = lambda view: [0.9] if view.sample < 2 else "hold"  # noqa: E731
        result = quantd.backtest(hold, *args, compare=False, **more)
        return result.equity["cash"][-1], result

    none, one = cash(spy)[0], cash(raw)[0]
    for path in (folder / "both.csv", folder / "second.csv"):
        path.write_text("\n".join((folder / "both.csv").read_text().splitlines()[path.name == "second.csv" :]))
        both = cash(raw, settings={"feed.actions": str(path)})[0]
        assert both - none == pytest.approx(2 * (one - none)) != 0
    left, result = cash(raw, adjusted=True)
    assert left == none
    assert "adjusted = true: no split or dividend of the columns of the bars is booked." in str(result)


def test_adjusted_prices_with_actions_are_refused(folder):
    write(folder)
    with pytest.raises(quantd.Error, match="adjusted prices hold their splits"):
        quantd.backtest("config.toml", adjusted=True)
    with pytest.raises(quantd.Error, match=r"feed\.adjusted"):
        quantd.backtest(quantd.load("config.toml"), settings={"feed.start": "2020-01-02"}, adjusted=True)
    with pytest.raises(quantd.Error, match=r"feed\.adjusted"):
        quantd.backtest(quantd.load("config.toml"), adjusted=True)


def by_the_clock_of(zone, step="5m"):
    """Bars of three sessions in New York as a user has them: times of a place, without an offset."""
    calendar = sessions("XNYS", date(2024, 7, 8), date(2024, 7, 10))
    length = {"5m": 300, "15m": 900, "1h": 3600}[step] * 10**9
    ts = np.concatenate([np.arange(a, b, length) for a, b in zip(calendar.open_ns, calendar.close_ns, strict=True)])
    close = 50 + np.arange(len(ts)) / 1000
    local = pl.Series(ts).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return pl.DataFrame({
        "ts": local, "symbol": "SPY", "open": close, "high": close + 0.1, "low": close - 0.1, "close": close,
        "volume": 1e6,
    })  # fmt: skip


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("step", ["5m", "1h"])
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Asia/Tokyo"])
def test_times_of_a_place_stop_and_the_named_setting_gives_the_run_of_utc(zone, step):
    local = by_the_clock_of(zone, step)
    with pytest.raises(quantd.Error, match="fit XNYS as") as refused:
        quantd.backtest("buy_and_hold", bars=local, compare=False)
    named = json.loads(re.search(r"Python: settings=(\{.*?\})", str(refused.value)).group(1))
    assert named == {"feed.zone": zone}
    mine = quantd.backtest("buy_and_hold", bars=local, compare=False, settings=named)
    right = quantd.backtest("buy_and_hold", bars=by_the_clock_of("UTC", step), compare=False)
    assert mine.equity.equals(right.equity)
    assert mine.summary.equity == right.summary.equity
    assert len(mine.equity) == len(local)


@pytest.mark.parametrize("zone", ["America/New_York", "UTC"])
def test_days_of_pandas_at_midnight_of_the_exchange_are_those_dates(bars, zone):
    dated = quantd.backtest("equal_weight", bars=bars, compare=False)
    frame = bars.to_pandas()
    frame["ts"] = frame["ts"].dt.tz_localize(None).dt.tz_localize(zone)
    stamped = quantd.backtest("equal_weight", bars=frame, compare=False)
    assert stamped.equity.equals(dated.equity)
    assert stamped.rejected == dated.rejected


def test_a_coin_without_a_bar_on_a_weekend_trades_day_and_night():
    ts = pl.Series([datetime(2024, 12, 3) + timedelta(minutes=5 * k) for k in range(576)])
    close = 42_000 + np.arange(576) / 10
    frame = pl.DataFrame({
        "ts": ts, "symbol": "BTC-USD", "open": close, "high": close + 1, "low": close - 1, "close": close,
        "volume": 1e6,
    })  # fmt: skip
    result = quantd.backtest("buy_and_hold", bars=frame, compare=False)
    assert (len(result.equity), result.rejected) == (576, 0)


def test_a_function_declares_its_lookback_as_an_object_does(bars):
    def act(view):
        return np.full(len(view.prices), 0.1)

    without = quantd.backtest(act, bars, compare=False).equity["ts"][0]
    act.lookback = 50
    assert quantd.backtest(act, bars, compare=False).equity["ts"][0] > without
    with pytest.raises(ValueError, match="act has no parameter 'lookback'"):
        quantd.backtest(act, bars, compare=False, params={"lookback": 50})
