"""What the reader asks and never guesses, what it names, and large files beside small ones."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import quantd
from quantd.adapters.feeds.bars.rows import BARS
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import read_actions, read_bars
from quantd.adapters.feeds.table_files import large_text, reader
from quantd.adapters.feeds.table_files.file_symbol import symbol_of
from quantd.adapters.feeds.table_files.reader import ReadOptions, read_frame, read_tables
from quantd.trading.instruments import NANO, Instrument, Universe

HEADER = "Date,Open,High,Low,Close,Volume"
LINES = [f"2024-01-{day:02},{10 + day / 8:.3f},{11 + day / 8:.3f},{9 + day / 8:.3f},{10.5 + day / 8:.3f},{day}00"
         for day in range(2, 12)]  # fmt: skip


def csv(folder: Path, lines: list[str], header: str = HEADER, name: str = "SPY.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *lines, ""]))
    return path


def asks(path: Path, **said: str) -> str:
    with pytest.raises(FeedError) as error:
        read_tables(path, ReadOptions(**said))  # type: ignore[arg-type]
    return str(error.value)


# ---- day and month


def dated(*days: str) -> list[str]:
    return [f"{day},10,11,9,10.5,100" for day in days]


def test_one_day_beyond_the_twelfth_decides_and_two_orders_are_a_fault(tmp_path: Path) -> None:
    assert read_tables(csv(tmp_path, dated("01/02/2024", "01/31/2024"))).frame["ts"].dt.month().to_list() == [1, 1]
    assert read_tables(csv(tmp_path, dated("02/01/2024", "31/01/2024"))).frame["ts"].dt.month().to_list() == [1, 1]
    assert "has the day first and" in asks(csv(tmp_path, dated("31/01/2024", "01/31/2024")))


# ---- integers


@pytest.mark.parametrize(("price", "scale"), [(185_640_000_000, 9), (1_856_400_000_000_000_000, 16)])
def test_the_unit_of_a_price_beyond_every_price_has_one_reading(tmp_path: Path, price: int, scale: int) -> None:
    path = csv(tmp_path, [f"2024-01-0{k},{price},{price + 10 ** (scale - 2)},{price},{price},5" for k in range(2, 9)])
    assert read_tables(path).frame["close"].cast(pl.Float64)[0] == pytest.approx(price / 10**scale)


# ---- numbers


@pytest.mark.parametrize(
    ("fields", "close"),
    [
        ("1.850,5;1.860,25;1.840,0;1.855,75;12.345", 1855.75),
        ("$1,850.50;$1,860.25;$1,840.00;$1,855.75;12,345", 1855.75),
        ("1'850.5;1'860.25;1'840;1'855.75;12'345", 1855.75),
        ("1 850,5;1 860,25;1 840,0;1 855,75;12 345", 1855.75),
        ("1850.5 €;1860.25 €;1840.0 €;1855.75 €;12.3K", 1855.75),
    ],
)
def test_numbers_are_read_in_any_spelling_that_has_one_reading(tmp_path: Path, fields: str, close: float) -> None:
    path = csv(tmp_path, [f"2024-01-0{k};{fields}" for k in range(2, 9)], HEADER.replace(",", ";"))
    frame = read_tables(path).frame
    assert frame["close"].cast(pl.Float64).to_list() == [close] * 7
    assert frame["volume"].cast(pl.Float64)[0] == pytest.approx(12_345, rel=0.01)


@pytest.mark.parametrize("formula", ["=A1*2", "@SUM(A1)", "+cmd|' /C calc'!A0", "=HYPERLINK(1)"])
def test_a_formula_and_a_nul_byte_are_refused_with_their_line(tmp_path: Path, formula: str) -> None:
    lines = [*LINES[:3], f"2024-01-05,10,11,9,{formula},100", *LINES[4:]]
    assert asks(csv(tmp_path, lines)).startswith("SPY.csv:5: ")
    assert asks(csv(tmp_path, [*LINES[:3], "2024-01-05,10,11\0,9,10,100", *LINES[4:]])).startswith(
        "SPY.csv:5: it has a NUL"
    )


def test_the_headers_of_text_without_values_are_no_traceback(tmp_path: Path) -> None:
    for text in (
        "",
        "\n\n",
        HEADER,
        "x",
        "a,b\n1,2\n",
        "<html>",
        "[]",
        "{}",
        '{"a": [1, 2]}',
        "[[1,2],[3,4]]",
        "\0\0\0",
    ):
        path = tmp_path / "SPY.csv"
        path.write_text(text)
        with pytest.raises(FeedError):
            read_tables(path)


@pytest.mark.parametrize(
    ("header", "factor"),
    [
        ("Volume (000s)", 1_000), ("Volume (in thousands)", 1_000), ("Vol mio", 1e6), ("Volume", 1),
        ("Volume (M)", 1e6),
        ("Volume k", 1e3), ("Volume BTC", 1),
    ],
)  # fmt: skip
def test_volumes_are_units_whatever_unit_their_column_names(tmp_path: Path, header: str, factor: float) -> None:
    volume = read_tables(csv(tmp_path, LINES, HEADER.replace("Volume", header))).frame["volume"]
    assert volume.cast(pl.Float64).to_list() == [day * 100 * factor for day in range(2, 12)]


@pytest.mark.parametrize("header", ["Volume ($)", "Volume USDT", "Vol. in EUR", "Volume (USD)"])
def test_a_volume_in_money_is_divided_by_the_close(tmp_path: Path, header: str) -> None:
    frame = read_tables(csv(tmp_path, LINES, HEADER.replace("Volume", header))).frame
    units = frame["volume"] * frame["close"].cast(pl.Float64)
    assert units.to_list() == pytest.approx([day * 100 for day in range(2, 12)])


@pytest.mark.parametrize(
    "line",
    [
        "USD,USD,USD,USD,USD,USD",
        ",EUR,EUR,EUR,EUR,Stk",
        "(date),(USD),(USD),(USD),(USD),(shares)",
        "----,----,----,----,----,----",
        HEADER,
    ],
)
def test_a_line_of_units_beside_the_names_is_no_line_of_symbols(tmp_path: Path, line: str) -> None:
    for lines in ([line, *LINES], LINES):
        table = read_tables(csv(tmp_path, lines, HEADER if lines is not LINES else f"{line}\n{HEADER}"))
        assert table.frame["symbol"].unique().to_list() == ["SPY"]
        assert "not used: the line" in str(table.statements[0].notes)
    ticker = read_tables(csv(tmp_path, [",USD,USD,USD,USD,USD".replace(",", "Ticker,", 1), *LINES], HEADER))
    assert ticker.frame["symbol"].unique().to_list() == ["USD"]


def test_of_units_and_money_in_german_the_units_are_the_volume(tmp_path: Path) -> None:
    lines = [f"2024-01-0{k};10,1;10,2;10,0;10,1;500;5050" for k in range(2, 9)]
    header = "Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen"
    assert set(read_tables(csv(tmp_path, lines, header)).frame["volume"].cast(pl.Float64)) == {500.0}


def test_a_dividend_that_is_no_amount_is_refused_with_its_line(tmp_path: Path) -> None:
    lines = [f"{line},{'0.16%' if k == 3 else ''}" for k, line in enumerate(LINES)]
    assert 'SPY.csv:5: "0.16%" in column Dividends is no number' in asks(csv(tmp_path, lines, f"{HEADER},Dividends"))


@pytest.mark.parametrize("written", ["{} EUR", "EUR {}", "EUR{}", "{}eur"])
def test_a_number_with_the_code_of_a_currency_is_a_price_in_it(tmp_path: Path, written: str) -> None:
    rows = [line.split(",") for line in LINES]
    lines = [",".join((day, *map(written.format, prices), volume)) for day, *prices, volume in rows]
    table = read_tables(csv(tmp_path, lines, HEADER))
    assert (
        table.frame["close"].to_list() == read_tables(csv(tmp_path, LINES, HEADER, "QQQ.csv")).frame["close"].to_list()
    )
    assert table.statements[0].currency == "EUR"
    mixed = asks(csv(tmp_path, [*lines[1:], lines[0].replace("EUR", "USD").replace("eur", "usd")], HEADER))
    assert "and an account has one currency" in mixed


@pytest.mark.parametrize("name", ["{} (USD)", "{} Close (USD)", "Close_{} [USD]"])
def test_a_column_of_closes_may_have_its_currency_in_brackets(tmp_path: Path, name: str) -> None:
    lines = [f"2024-01-0{day},{100 + day},{50 + day}" for day in range(2, 9)]
    table = read_tables(csv(tmp_path, lines, f"Date,{name.format('AAPL')},{name.format('KO')}", "closes.csv"))
    assert table.frame["symbol"].unique(maintain_order=True).to_list() == ["AAPL", "KO"]
    assert {item.currency for item in table.statements} == {"USD"}
    two = f"Date,{name.format('AAPL')},{name.format('KO').replace('USD', 'EUR')}"
    assert "and an account has one currency" in asks(csv(tmp_path, lines, two, "two.csv"))


@pytest.mark.parametrize("large", [False, True])
def test_an_account_has_one_currency_and_names_coin_none(
    tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(large_text, "LARGE", 10)
    header, one = f"{HEADER},Currency", [f"{line},EUR" for line in LINES]
    euros = csv(tmp_path, one, header)
    assert [item.currency for item in read_tables(euros).statements] == ["EUR"]
    assert "column Currency has EUR, GBX, and an" in asks(csv(tmp_path, [*one[1:], f"{LINES[0]},GBp"], header, "A.csv"))
    coins = csv(tmp_path, [f"{line},Bitcoin" for line in LINES], header, "BTC.csv")
    assert "not used: Currency" in read_tables(coins).statements[0].text()
    (tmp_path / "A.csv").unlink()
    csv(tmp_path, [f"{line},USD" for line in LINES], header, "QQQ.csv")
    assert asks(tmp_path).partition("SPY.csv")[0].endswith("QQQ.csv: it is in USD, " + tmp_path.name + "/")


@pytest.mark.parametrize(
    ("header", "lines", "says"),
    [
        ("Date,SPY,QQQ", ["2024-01-02,1.2%,-0.8%", "2024-01-03,0.1%,0.4%"], "column SPY has numbers in per cent, so"),
        (f"Symbol,{HEADER}", [f"{'spy' if k % 2 else 'SPY'},{line}" for k, line in enumerate(LINES)], "SPY and spy"),
    ],
)
def test_returns_in_per_cent_and_a_symbol_in_two_cases_are_refused(
    tmp_path: Path, header: str, lines: list[str], says: str
) -> None:
    assert says in asks(csv(tmp_path, lines, header, "table.csv"))


# ---- symbols


@pytest.mark.parametrize(("stem", "symbol"), [("KO", "KO"), ("bars", "AAPL"), ("DATA", "AAPL"), ("aapl 1d", "AAPL")])
def test_a_file_of_another_ticker_is_not_of_the_only_symbol(stem: str, symbol: str) -> None:
    assert symbol_of(stem, ("AAPL",))[0] == symbol


@pytest.mark.parametrize(
    ("stem", "symbol"),
    [
        ("AAPL", "AAPL"), ("TSCO.L", "TSCO.L"), ("BRK-B", "BRK-B"), ("^GSPC", "^GSPC"), ("EURUSD=X", "EURUSD=X"),
        ("BTCUSDT-1h-2025-01", "BTCUSDT"), ("aapl_us_d", "AAPL"), ("AAPL (1)", "AAPL"), ("AAPL_1min_sample", "AAPL"),
        ("XBTUSD_1440", "XBTUSD"), ("daily_MSFT", "MSFT"), ("7203.T", "7203.T"), ("0005.HK", "0005.HK"), ("F", "F"),
        ("COIN_daily", "COIN"), ("ALL-1d", "ALL"), ("hist", ""), ("quotes", ""),
    ],
)  # fmt: skip
def test_the_symbol_is_the_one_word_of_a_name_that_can_be_one(stem: str, symbol: str) -> None:
    assert symbol_of(stem)[0] == symbol


def test_the_ticker_na_stays(tmp_path: Path) -> None:
    path = csv(tmp_path, [f"{line},NA" for line in LINES], f"{HEADER},Ticker", "bars.csv")
    assert read_tables(path).frame["symbol"].unique().to_list() == ["NA"]
    assert read_tables(csv(tmp_path, LINES, name="NA.csv")).frame["symbol"].unique().to_list() == ["NA"]
    lost = pd.read_csv(path)
    with pytest.raises(quantd.Error, match="keep_default_na=False"):
        quantd.backtest("equal_weight", bars=lost)


# ---- actions in columns


def with_splits(prices: list[float], splits: list[str]) -> list[str]:
    return [
        f"2024-01-{k + 2:02},{price},{price * 1.01},{price * 0.99},{price},100,{split}"
        for k, (price, split) in enumerate(zip(prices, splits, strict=True))
    ]


@pytest.mark.parametrize("split", ["4.0", "4", "4:1", "4/1"])
def test_a_split_that_the_prices_show_is_used_and_one_that_they_do_not_is_named(tmp_path: Path, split: str) -> None:
    splits = ["0.0"] * 6
    splits[3] = split
    raw = read_tables(csv(tmp_path, with_splits([400, 404, 400, 101, 100, 102], splits), f"{HEADER},Stock Splits"))
    assert raw.actions.rows() == [("2024-01-05", "SPY", "split", "4:1", "")]
    adjusted = read_tables(csv(tmp_path, with_splits([100, 101, 100, 101, 100, 102], splits), f"{HEADER},Stock Splits"))
    assert adjusted.actions.is_empty()
    assert "Stock Splits, 1, not used: the prices are adjusted" in adjusted.statements[0].actions


def test_the_splits_of_yfinance_are_a_file_of_actions(tmp_path: Path) -> None:
    universe = Universe((Instrument("AAPL"),))
    path = tmp_path / "AAPL.csv"
    path.write_text("Date,Stock Splits\n2014-06-09 00:00:00-04:00,7.0\n2020-08-31 00:00:00-04:00,4.0\n")
    assert [(a.kind, a.numerator, a.denominator) for a in read_actions(path, universe)] == [
        ("split", 7, 1),
        ("split", 4, 1),
    ]
    path.write_text(
        "Date,Dividends,Stock Splits\n2020-08-07 00:00:00-04:00,0.82,0.0\n2020-08-31 00:00:00-04:00,0.0,4.0\n"
    )
    assert [(a.kind, a.cash_nano) for a in read_actions(path, universe)] == [("dividend", 820_000_000), ("split", 0)]
    path.write_text("ts,symbol,kind,ratio,cash\n2020-08-31,AAPL,split,4.0,\n")
    assert [(a.numerator, a.denominator) for a in read_actions(path, universe)] == [(4, 1)]


# ---- large files


def walk(count: int, seed: int) -> list[str]:
    draw = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(draw.normal(0, 0.01, count)))
    days = pl.date_range(pl.date(1990, 1, 1), pl.date(2200, 1, 1), eager=True)[:count].to_list()
    return [
        f"{day},{c * 0.999:.4f},{c * 1.01:.4f},{c * 0.99:.4f},{c:.4f},{volume}"
        for day, c, volume in zip(days, close.tolist(), draw.integers(1, 10**6, count).tolist(), strict=True)
    ]


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("header", [HEADER, "date;o;h;l;c;v", ""])
def test_a_large_file_is_read_as_a_small_one_is(tmp_path: Path, header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = walk(30_000, 5)
    if ";" in header:
        lines = [line.replace(",", ";") for line in lines]
    path = tmp_path / "SPY.csv"
    path.write_text("\n".join([*([header] if header else []), *lines]))
    assert path.stat().st_size > large_text.LARGE
    large = read_tables(path)
    monkeypatch.setattr(reader, "large_table", lambda *_: None)
    small = read_tables(path)
    assert large.lines.to_list() == small.lines.to_list()
    assert large.statements == small.statements
    for name in BARS[2:]:
        assert large.frame[name].cast(pl.Float64).to_list() == small.frame[name].cast(pl.Float64).to_list()
    assert large.frame["ts"].to_list() == small.frame["ts"].to_list()
    assert large.frame["symbol"].cast(pl.String).to_list() == small.frame["symbol"].to_list()


FAULTS = {
    "cut": ("2024-01-05,10,11", ":20002: 3 fields"),
    "long": ("2024-01-05,10,11,9,10,798,339", ":20002: 7 fields"),
    "nul": ("2024-01-05,10,11,9,10\0,100", ":20002: it has a NUL"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_middle_of_a_large_file_has_its_line(tmp_path: Path, fault: str) -> None:
    lines = walk(30_000, 6)
    line, says = FAULTS[fault]
    lines[20_000] = line
    assert says in asks(csv(tmp_path, lines))


def test_a_short_line_that_a_long_one_makes_up_for_is_refused_too(tmp_path: Path) -> None:
    lines = walk(30_000, 6)
    lines[20_000], lines[21_000] = "2024-01-05,10,11,9,10", "2024-01-06,10,11,9,10,798,339"
    assert ":20002: 5 fields" in asks(csv(tmp_path, lines))


@pytest.mark.parametrize("word", ["null", "", '"10.5"', "$10.50"])
def test_a_field_in_the_middle_of_a_large_file_may_be_spelled_otherwise(tmp_path: Path, word: str) -> None:
    lines = walk(30_000, 7)
    fields = lines[20_000].split(",")
    lines[20_000] = ",".join([*fields[:4], word, fields[5]])
    frame = read_tables(csv(tmp_path, lines)).frame
    assert len(frame) == 30_000
    assert frame["close"].cast(pl.Float64)[20_000] in (None, 10.5)


@pytest.mark.long
def test_the_digits_of_a_large_file_of_quantd_stay(tmp_path: Path) -> None:
    draw = np.random.default_rng(8)
    numbers = [
        f"{draw.integers(0, 10**6)}.{draw.integers(0, 10**9):09}"[: draw.integers(3, 17)] for _ in range(200_000)
    ]
    days = pl.date_range(pl.date(1800, 1, 1), pl.date(2200, 1, 1), eager=True)[:40_000].to_list()
    rows = [f"{day},SPY,{','.join(numbers[5 * k : 5 * k + 5])}" for k, day in enumerate(days)]
    path = csv(tmp_path, rows, "ts,symbol,open,high,low,close,volume")
    universe = Universe((Instrument("SPY"),))
    fast = read_bars((path,), universe)
    assert fast.open_nano.tolist() == [_nano(text) for text in numbers[0::5]]
    assert fast.close_nano.tolist() == [_nano(text) for text in numbers[3::5]]


def _nano(text: str) -> int:
    units, _, part = text.partition(".")
    return int(units) * NANO + int(part.ljust(9, "0")[:9] or "0")


# ---- frames


def test_frames_by_symbol_and_paths_are_bars(tmp_path: Path) -> None:
    frame = pl.read_csv(csv(tmp_path, LINES))
    table = read_frame(frame, alone="SPY")
    assert table.frame["symbol"].unique().to_list() == ["SPY"]
    always = {"universe.calendar": "24/7"}
    both = quantd.backtest("equal_weight", bars={"SPY": frame, "QQQ": frame}, compare=False, settings=always)
    path = quantd.backtest("equal_weight", bars=tmp_path / "SPY.csv", compare=False, settings=always)
    assert both.config.universe.symbols == ("QQQ", "SPY")
    assert path.config.universe.symbols == ("SPY",)
    with pytest.raises(quantd.Error, match="the key SPY names a frame with the symbol QQQ"):
        quantd.backtest("equal_weight", bars={"SPY": frame.with_columns(symbol=pl.lit("QQQ"))}, settings=always)


def test_day_and_month_of_a_frame_have_a_remedy_in_python() -> None:
    frame = pl.DataFrame([line.split(",") for line in dated("01/02/2024", "02/02/2024", "03/02/2024")],
                         schema=HEADER.split(","), orient="row")  # fmt: skip
    with pytest.raises(quantd.Error, match=r'quantd\.read_bars\(bars, dates="day-first"\)'):
        quantd.backtest("equal_weight", bars=frame)
    assert quantd.read_bars(frame, dates="day-first").frame["ts"].dt.month().to_list() == [2, 2, 2]


# ---- spellings that no format of the corpus has

DAYS = pl.Series(quantd.example_bars()["ts"].unique().sort().head(20).dt.date())


@pytest.mark.parametrize(
    "form",
    [
        "%a, %b %d, %Y", "%A %d %B %Y", "%d-%B-%Y", "%d %b %Y", "%b %d, %Y", "%B %d, %Y", "%d.%m.%Y", "%Y/%m/%d",
        "%m/%d/%y", "%-m/%-d/%Y 0:00", "%d-%b-%y", "%Y%m%d", "%Y.%m.%d", "%Y-%m-%dT00:00:00", "%m/%d/%Y 12:00:00 AM",
        "%Y%m%d  00:00:00", "%Y-%m-%d 00:00:00+00:00", "%Y-%m-%dT00:00:00.000Z", "%Y%m%d000000", "%Y%m%d 000000",
        "%d.%m.%y", "%y-%m-%d", "%y/%m/%d", "%y.%m.%d",
    ],
)  # fmt: skip
def test_a_date_is_read_in_any_form(tmp_path: Path, form: str) -> None:
    lines = [f"{day:{form}}\t10\t11\t9\t10.5\t100" for day in DAYS]
    stamps = read_tables(csv(tmp_path, lines, HEADER.replace(",", "\t"))).frame["ts"]
    assert stamps.cast(pl.Date).to_list() == DAYS.to_list()


def test_two_spellings_of_numbers_are_asked(tmp_path: Path) -> None:
    lines = [f"{day};180,00;183,74;178,53;182,26;1,000,000" for day in DAYS]
    text = asks(csv(tmp_path, lines, HEADER.replace(",", ";")))
    assert '"180,00" has a decimal comma and "1,000,000" has none' in text


@pytest.mark.parametrize(
    "header",
    ["Datum;Eröffnung;Hoch;Tief;Schluss;Volumen", "Date;Ouverture;Plus haut;Plus bas;Clôture;Volume",
     "Fecha;Apertura;Máximo;Mínimo;Cierre;Volumen", "Data;Apertura;Massimo;Minimo;Chiusura;Volumi",
     "Data;Otwarcie;Najwyzszy;Najnizszy;Zamkniecie;Wolumen", "Date;1. open;2. high;3. low;4. close;5. volume"],
)  # fmt: skip
def test_names_of_other_languages_are_known(tmp_path: Path, header: str) -> None:
    frame = read_tables(csv(tmp_path, [f"{day};10,25;11,5;9,75;10,5;200" for day in DAYS], header)).frame
    assert frame["close"].cast(pl.Float64)[0] == 10.5
    assert frame["volume"].cast(pl.Float64)[0] == 200


@pytest.mark.parametrize(
    "text",
    [
        '{"candles": [%s], "symbol": "SPY"}', '{"data": {"bars": {"SPY": [%s]}}}', '[%s]', '{"SPY": [%s]}',
        '{"results": [%s], "ticker": "SPY", "status": "OK", "count": 3}',
    ],
)  # fmt: skip
def test_bars_of_json_are_found_below_any_keys(tmp_path: Path, text: str) -> None:
    rows = ",".join(f'{{"time": "{day}", "mid": {{"o": 10, "h": 11, "l": 9, "c": 10.5}}, "volume": 5}}' for day in DAYS)
    path = tmp_path / "SPY.json"
    path.write_text(text % rows)
    table = read_tables(path)
    assert table.frame["symbol"].unique().to_list() == ["SPY"]
    assert table.frame["ts"].to_list() == DAYS.to_list()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Date,Dividends\n2020-08-07,abc\n", r'dividend "abc" cannot be read'),
        ("Date,Dividends\n2020-08-07,0.82,1\n", "do not fit its header"),
        ("Date,Dividends,Dividends\n2020-08-07,0.82,1\n", "two columns have the same name"),
        ("Date,Stock Splits\n2020-08-31,four\n", r'split ratio "four" cannot be read'),
        ("Date,Stock Splits\nsoon,4.0\n", "not read as a time"),
    ],
)
def test_a_fault_in_a_vendors_file_of_actions_is_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "AAPL.csv"
    path.write_text(text)
    with pytest.raises(FeedError, match=says):
        read_actions(path, Universe((Instrument("AAPL"),)))


# raw or adjusted

STYLES = ("history", "history with Adj Close", "adjusted close beside it", "other names")


def paying(draw: np.random.Generator, style: str, adjusted: bool, years: int, cents: bool) -> pl.DataFrame:
    """Days with four dividends a year; the prices fall by each of them, or hold it."""
    count = 252 * years
    yields = np.where(np.arange(count) % 63 == 40, draw.uniform(0.002, 0.012), 0.0)
    night, day = draw.normal(0, 0.006, count), draw.normal(0, 0.01, count)
    held = 100 * np.exp(np.cumsum(night + day))
    factor = np.append(np.cumprod((1 - yields)[::-1])[::-1][1:], 1.0)  # takes the later dividends of each day out
    paid = yields * np.append(0.0, (held / factor)[:-1])
    close, opened = held / (1.0 if adjusted else factor), held / np.exp(day) / (1.0 if adjusted else factor)
    digits = 2 if cents else 9
    spelled = ("Dividends", "Stock Splits") if "history" in style else ("dividend", "split")
    columns = {
        "Date": pl.date_range(pl.date(2005, 1, 1), pl.date(2035, 1, 1), eager=True)[:count],
        "Open": opened.round(digits), "High": np.maximum(opened, close) * 1.001,
        "Low": np.minimum(opened, close) * 0.999, "Close": close.round(digits), "Volume": np.full(count, 1e6),
        spelled[0]: paid.round(4), spelled[1]: np.zeros(count),
    }  # fmt: skip
    if style in STYLES[1:3]:
        columns["Adj Close"] = held
    return pl.DataFrame(columns)


def is_read(frame: pl.DataFrame) -> bool:
    try:
        return bool(read_frame(frame, ReadOptions(), "X"))
    except FeedError:
        return False


@pytest.mark.one_of(2)
@pytest.mark.parametrize("seed", range(4))
def test_dividends_are_paid_once_or_their_table_asks_and_the_named_option_answers(seed: int) -> None:
    """200 tables of 1 to 12 years, raw and adjusted, in cents and not; only tables without a sign of it may ask."""
    draw, asked = np.random.default_rng(seed), 0
    for case in range(50):
        style = STYLES[case % 4]
        adjusted = style == "history" or (style == "other names" and bool(draw.integers(2)))
        frame = paying(draw, style, adjusted, int(draw.integers(1, 13)), bool(draw.integers(2)))
        dividends = int((frame.to_series(6) > 0).sum())
        options = ReadOptions()
        if style == "other names" and not is_read(frame):
            asked += 1
            with pytest.raises(FeedError, match=r"--prices raw .*--prices adjusted"):
                read_frame(frame, options, "X")
            options = ReadOptions(prices="adjusted" if adjusted else "raw")
        table = read_frame(frame, options, "X")
        assert len(table.actions) == (0 if adjusted else dividends), (style, adjusted, dividends)
    assert asked


# columns


@pytest.mark.parametrize("seed", range(20))
def test_of_several_columns_of_times_the_regular_one_that_begins_the_bars_is_read(tmp_path: Path, seed: int) -> None:
    """First and last trades lie at random seconds of each bar; names and order of the columns vary."""
    draw, step = np.random.default_rng(seed), int(np.random.default_rng(seed).choice([60, 300, 900, 3600]))
    begin = np.datetime64("2024-03-01", "s") + step * np.arange(300)
    first = begin + draw.integers(1, step // 2, 300).astype("m8[s]")
    names = [("time_open", "time_period_start"), ("timestamp", "candle_date_time_utc"), ("time", "bar_begins_at"),
             ("start", "period_begin")][seed % 4]  # fmt: skip
    columns = {names[0]: first, names[1]: begin, "time_close": begin + np.timedelta64(step - 1, "s")}
    order = draw.permutation(list(columns))
    lines = [
        ",".join([*(f"{columns[name][row]}Z" for name in order), "10", "11", "9", "10.5", "100"]) for row in range(300)
    ]
    table = read_tables(csv(tmp_path, lines, ",".join([*order, "open,high,low,close,volume"])))
    assert table.frame["ts"].dt.replace_time_zone(None).to_list() == begin.tolist()
    assert f"column {names[1]}" in table.statements[0].time


def test_if_only_the_ends_of_bars_are_regular_the_named_option_reads_them(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    end = np.datetime64("2024-03-01", "s") + 3600 * np.arange(1, 101)
    first = end - draw.integers(1, 3000, 100).astype("m8[s]")
    lines = [f"{first[row]}Z,{end[row]}Z,10,11,9,10.5,100" for row in range(100)]
    path = csv(tmp_path, lines, "time_open,time_period_end,open,high,low,close,volume")
    assert "Add --column time=time_period_end and --stamps close" in asks(path)
    table = read_tables(path, ReadOptions(columns={"time": "time_period_end"}))
    assert table.frame["ts"].dt.replace_time_zone(None).to_list() == end.tolist()


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_blocks_side_by_side_are_as_many_symbols_or_a_refusal(tmp_path: Path, count: int) -> None:
    names, block = ["AAPL", "MSFT", "KO", "PEP", "XOM", "SPY", "F", "T"][:count], "Open,High,Low,Close,Volume"
    lines = [
        ",".join([f"2024-01-{day:02}", *(f"{p},{p + 1},{p - 1},{p + 0.5},{p}00" for p in range(10, 10 + count))])
        for day in range(2, 12)
    ]
    heads = ",".join(["Date", *[block] * count])
    table = read_tables(csv(tmp_path, [heads, *lines], "," + ",,,,,".join(names) + ",,,,"))
    by_symbol = {name: frame for (name,), frame in table.frame.group_by("symbol")}
    assert set(by_symbol) == set(names)
    for number, name in enumerate(names):
        prices = [str(10 + number + extra) for extra in (0, 1, -1, 0.5)]
        assert by_symbol[name].select("open", "high", "low", "close").cast(pl.String).row(0) == tuple(prices)
    numbered = ",".join(["Date", block, *(block.replace(",", f".{k},") + f".{k}" for k in range(1, count))])
    for header in (heads, numbered):
        text = asks(csv(tmp_path, lines, header, "AAPL.csv"), symbol="MSFT")
        assert "it has several blocks of prices, side by side" in text


@pytest.mark.parametrize("gap", [0, 1])
@pytest.mark.parametrize("count", [2, 3])
def test_blocks_with_dates_of_their_own_keep_them(tmp_path: Path, count: int, gap: int) -> None:
    names, width = ["AAPL", "MSFT", "KO"][:count], 6 + gap
    blocks = [
        [[f"2024-0{1 + k}-{day:02}", *(str(p) for p in (10 + k, 11 + k, 9 + k, 10.5 + k, 100))] for day in range(2, 12)]
        for k in range(count)
    ]
    titles = [",".join([name, *[""] * (width - 1)]) for name in names]
    heads = [",".join(["Date,Open,High,Low,Close,Volume", *[""] * gap])] * count
    lines = [",".join(",".join([*row, *[""] * gap]) for row in rows) for rows in zip(*blocks, strict=True)]
    table = read_tables(csv(tmp_path, [",".join(heads), *lines], ",".join(titles)))
    for k, name in enumerate(names):
        frame = table.frame.filter(pl.col("symbol") == name)
        rows = frame.select(pl.all().exclude("symbol").cast(pl.String)).rows()
        assert [list(row) for row in rows] == blocks[k]


@pytest.mark.parametrize(
    ("name", "column", "value", "symbol"),
    [
        ("AAPL.csv", "Asset", "Equity", ""), ("AAPL.csv", "Market", "NASDAQ", ""), ("AAPL.csv", "Ticker", "MSFT", ""),
        ("MSFT.csv", "Security", "Microsoft Corp", ""), ("prices.csv", "Asset", "Common Stock", ""),
        ("AAPL.csv", "Ticker", "AAPL", "AAPL"), ("AAPL.csv", "Symbol", "AAPL.US", "AAPL.US"),
        ("BTCUSDT-1h.csv", "symbol", "BTC/USDT", "BTC/USDT"), ("prices.csv", "Security", "MSFT", "MSFT"),
        ("export.csv", "instrument", "EUR_USD", "EUR_USD"), ("nse.csv", "Symbol", "RELIANCE", "RELIANCE"),
    ],
)  # fmt: skip
def test_a_column_that_the_files_name_contradicts_is_asked_about(
    tmp_path: Path, name: str, column: str, value: str, symbol: str
) -> None:
    path = csv(tmp_path, [f"{line},{value}" for line in LINES], f"{HEADER},{column}", name)
    if symbol:
        assert read_tables(path).frame["symbol"].unique().to_list() == [symbol]
        return
    assert f"--column symbol={column}" in asks(path)
    assert read_tables(path, ReadOptions(symbol="AAPL")).frame["symbol"].unique().to_list() == ["AAPL"]
    by_column = read_tables(path, ReadOptions(columns={"symbol": column}))
    assert by_column.frame["symbol"].unique().to_list() == [value]


@pytest.mark.parametrize(
    ("stem", "symbol"),
    [("BRK_B", "BRK-B"), ("BF_A", "BF-A"), ("BRK-B", "BRK-B"), ("AAPL_D", "AAPL"), ("TSLA-2024", "TSLA"),
     ("k30_BTC-USD", "BTC-USD"), ("BTC-USD", "BTC-USD"), ("ETH-USD_2023", "ETH-USD")],
)  # fmt: skip
def test_classes_years_and_currencies_in_a_name(stem: str, symbol: str) -> None:
    assert symbol_of(stem) == (symbol, ())


@pytest.mark.parametrize(
    "header",
    [
        "date,bidopen,bidclose,bidhigh,bidlow,askopen,askclose,askhigh,asklow,tickqty",
        "Date,PX_OPEN,PX_LAST,PX_HIGH,PX_LOW,PX_VOLUME",
        "日期,开盘,收盘,最高,最低,成交量", "交易日期,开盘价,收盘价,最高价,最低价,成交量",
        "TIMESTAMP,OPEN,CLOSE,HIGH,LOW,TOTTRDQTY",
    ],
)  # fmt: skip
def test_names_of_bid_bloomberg_china_and_india_are_known(tmp_path: Path, header: str) -> None:
    more = header.count(",") - 5
    lines = [f"2024-01-{day:02},10,10.5,11,9{',8,8,8,8' if more else ''},{day}00" for day in range(2, 12)]
    frame = read_tables(csv(tmp_path, lines, header)).frame
    assert frame.select("open", "high", "low", "close", "volume").cast(pl.Float64).row(0) == (
        10.0,
        11.0,
        9.0,
        10.5,
        200.0,
    )


def test_a_column_of_symbols_that_is_not_known_is_an_option_in_the_refusal(tmp_path: Path) -> None:
    lines = [f"{line},{name}" for name in ("600519.SH", "000001.SZ") for line in LINES]
    assert set(read_tables(csv(tmp_path, lines, f"{HEADER},ts_code")).frame["symbol"]) == {"600519.SH", "000001.SZ"}
    path = csv(tmp_path, lines, f"{HEADER},wertpapier")
    assert "--column symbol=NAME" in asks(path)
    assert read_tables(path, ReadOptions(columns={"symbol": "wertpapier"})).frame["symbol"].n_unique() == 2


@pytest.mark.parametrize("names", ["Year,Month,Day", "year,month,day", "Jahr,Monat,Tag", "yyyy,mm,dd", "Ano,Mes,Dia"])
@pytest.mark.parametrize("months", ["{m}", "{m:02d}", "{name}"])
@pytest.mark.parametrize("large", [False, True])
def test_dates_in_three_columns_are_one_date(
    tmp_path: Path, names: str, months: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(large_text, "LARGE", 10)
    dates = pd.bdate_range("2024-01-02", periods=120)
    lines = [
        f"{ts.year},{months.format(m=ts.month, name=ts.strftime('%b'))},{ts.day},10,11,9,10.5,{k}"
        for k, ts in enumerate(dates)
    ]
    table = read_tables(csv(tmp_path, lines, f"{names},Open,High,Low,Close,Volume"))
    assert table.frame["ts"].to_list() == [ts.date() for ts in dates]
    assert table.statements[0].time.startswith("column Year, Month, Day")
    assert table.statements[0].unused == ()


def test_a_column_of_whole_dates_beside_year_month_and_day_is_read(tmp_path: Path) -> None:
    lines = [f"2023,1,1,{line}" for line in LINES]
    table = read_tables(csv(tmp_path, lines, f"Year,Month,Day,{HEADER}"))
    assert table.frame["ts"].dt.strftime("%Y-%m-%d").to_list() == [line[:10] for line in LINES]
    assert table.statements[0].unused == ("Year", "Month", "Day")


@pytest.mark.parametrize(
    ("header", "form"),
    [("Date,Hour", "{ts:%Y-%m-%d},{ts.hour}"), ("Datum,Stunde", "{ts:%d.%m.%Y},{ts.hour:02d}"),
     ("Year,Month,Day,Hour", "{ts.year},{ts.month},{ts.day},{ts.hour}"),
     ("Year,Month,Day,Hour,Minute", "{ts.year},{ts.month},{ts.day},{ts.hour},{ts.minute}"),
     ("Year,Month,Day,Time", "{ts.year},{ts.month},{ts.day},{ts:%H:%M}")],
)  # fmt: skip
def test_a_column_of_hours_is_hours(tmp_path: Path, header: str, form: str) -> None:
    """The hour 9 was the time 00:09, so that hours of a day were minutes."""
    hours = pd.date_range("2024-01-02", periods=100, freq="h")
    lines = [f"{form.format(ts=ts)},10,11,9,10.5,{k}" for k, ts in enumerate(hours)]
    read = read_tables(csv(tmp_path, lines, f"{header},Open,High,Low,Close,Volume", "BTC-USD.csv"))
    assert read.frame["ts"].to_list() == list(hours)


# ---- closes alone

CLOSES = [f"2024-01-{day:02},{10 + day / 8},{20 + day / 8},{30 + day / 8},{40 + day / 8}" for day in range(2, 12)]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("first", ["Date", ""])
def test_a_column_for_each_symbol_is_the_closes_of_a_bar(tmp_path: Path, count: int, first: str) -> None:
    symbols = ["BRK-B", "LOW", "BTC/USD", "T"][:count]
    lines = [",".join(line.split(",")[: count + 1]) for line in CLOSES]
    table = read_tables(csv(tmp_path, lines, ",".join([first, *symbols]), "mine.csv"))
    assert sorted(table.frame["symbol"].unique()) == sorted(symbols)
    of_one = table.frame.filter(pl.col("symbol") == symbols[-1])
    assert of_one["close"].cast(pl.Float64).to_list() == [float(line.split(",")[-1]) for line in lines]
    for price in ("open", "high", "low"):
        assert table.frame[price].to_list() == table.frame["close"].to_list()
    assert "alone, so that an order fills at the close of the bar after its decision" in table.statements[0].prices


JOINED = {
    "Date,Close_AAPL,Close_MSFT": CLOSES, "Date,AAPL Close,MSFT Close,AAPL Adj Close,MSFT Adj Close": CLOSES,
    "Date,AAPL.Close,MSFT.Close": CLOSES, ",Date,AAPL,MSFT": [f"{k},{line}" for k, line in enumerate(CLOSES)],
    ",Date,Close_AAPL,Close_MSFT": [f"{k},{line}" for k, line in enumerate(CLOSES)],
    "observation_date,AAPL,MSFT": CLOSES,
}  # fmt: skip


@pytest.mark.parametrize("header", JOINED)
def test_names_that_join_a_price_and_a_symbol_and_row_numbers_are_read(tmp_path: Path, header: str) -> None:
    lines = [",".join(line.split(",")[: header.count(",") + 1]) for line in JOINED[header]]
    frame = read_tables(csv(tmp_path, lines, header, "mine.csv")).frame
    assert frame.filter(pl.col("symbol") == "MSFT")["close"].cast(pl.Float64).to_list() == [
        float(line.split(",")[2]) for line in CLOSES
    ]
    assert sorted(frame["symbol"].unique()) == ["AAPL", "MSFT"]


WORKDAYS = pd.date_range("2024-01-02", periods=8, freq="B", tz="UTC")
OF_PANDAS = pd.DataFrame(
    {"Open": 10.0, "High": 12.0, "Low": 9.0, "Close": np.arange(10.0, 18.0) / 8 + 9}, index=WORKDAYS
)


@pytest.mark.parametrize("orient", ["columns", "index", "split", "records", "table"])
def test_json_of_pandas_is_read_in_each_of_its_forms(tmp_path: Path, orient: str) -> None:
    frame = OF_PANDAS.reset_index(names="Date") if orient in ("records", "table") else OF_PANDAS
    more = {"index": False} if orient == "table" else {"date_unit": "ms"}
    frame.to_json(tmp_path / "SPY.json", orient=orient, date_format="iso" if orient == "table" else "epoch", **more)
    if orient == "columns":  # and with the times as a column
        OF_PANDAS.reset_index(names="Date").to_json(tmp_path / "QQQ.json", date_format="epoch")
        assert len(read_tables(tmp_path / "QQQ.json").frame) == len(WORKDAYS)
    table = read_tables(tmp_path / "SPY.json").frame
    assert table["close"].to_list() == OF_PANDAS["Close"].to_list()
    assert table["ts"].dt.date().to_list() == [day.date() for day in WORKDAYS]


def test_pairs_of_a_time_and_a_price_are_closes(tmp_path: Path) -> None:
    pairs = [[int(day.timestamp() * 1000), 42_000 + k] for k, day in enumerate(WORKDAYS)]
    (tmp_path / "bitcoin.json").write_text(json.dumps({"prices": pairs, "market_caps": pairs, "total_volumes": []}))
    table = read_tables(tmp_path / "bitcoin.json", ReadOptions(symbol="BTC-USD"))
    assert table.frame["close"].to_list() == table.frame["open"].to_list() == [price for _, price in pairs]


@pytest.mark.parametrize(
    "header", ["Date,Close", "Date,Close,Volume", "ts,Last", "DATE,VALUE", "Datum,Kurs", "day,fund"]
)
def test_a_table_with_no_price_but_the_close_is_bars_of_closes(tmp_path: Path, header: str) -> None:
    lines = [",".join(line.split(",")[: header.count(",") + 1]) for line in CLOSES]
    columns = {"close": "fund"} if "fund" in header else {}
    table = read_tables(csv(tmp_path, lines, header), ReadOptions(columns=columns))
    assert table.frame["open"].to_list() == table.frame["close"].to_list()
    assert table.frame["symbol"].unique().to_list() == ["SPY"]


NO_CLOSES = {
    "Date,Close,rsi": "column open, high, low is missing",
    "Date,rsi,macd": "no line has a time and the prices of a bar",
    "Date,C,V,N": "column open, high, low is missing",
    "Date,rsi,macd,atr,sma": "no column is named as the prices of bars",
    "Date,CLOSE,RSI,ATR,SMA": "column open, high, low is missing",
}


@pytest.mark.parametrize("header", NO_CLOSES)
def test_columns_that_may_be_anything_are_no_closes(tmp_path: Path, header: str) -> None:
    lines = [",".join(line.split(",")[: header.count(",") + 1]) for line in CLOSES]
    assert NO_CLOSES[header] in asks(csv(tmp_path, lines, header))


def test_a_table_of_returns_is_refused(tmp_path: Path) -> None:
    lines = ["2024-01-02,0.01,0.02,0.03,0.04", "2024-01-03,0.01,-0.02,0.03,0.04"]
    text = asks(csv(tmp_path, lines, "Date,SPY,TLT,GLD,IEF"))
    assert "column TLT has numbers below 0" in text
    assert "(1 + returns).cumprod()" in text


def test_a_frame_whose_symbol_an_argument_changes_says_so() -> None:
    frame = quantd.example_bars().filter(pl.col("symbol") == "SPY")
    (statement,) = quantd.read_bars(frame, symbol="ABC").statements
    assert statement.symbol == "ABC, as told; the file has SPY"
    assert quantd.read_bars(frame).statements == ()
