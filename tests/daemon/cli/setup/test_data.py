"""`quantd data` as its users meet it: whole files or none, the network asked once, every fault of a file by name."""

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.recorded.bar_files import read_actions, read_bars
from quantd.trading.instruments import Instrument, Universe
from tests.support.command_line import CONFIG, ROOT, Done, answer, quantd, write
from tests.support.price_levels import day, level, scaled
from tests.support.venues import json_bars
from tests.support.venues.alpaca_data import KEY, SECRET, AlpacaData
from tests.support.venues.alpaca_days import ACTIONS, days
from tests.support.venues.json_bars import JsonBars
from tests.support.venues.served import served

SPY = Universe((Instrument("SPY"),))
PAIR = Universe((Instrument("SPY"), Instrument("AAPL")))
MAPPING = """
name = "my vendor"
url = "{base}/objects/{symbol}?from={start}&to={end}"
rows = "data.items"
ts = "when"
open = "price.o"
high = "price.h"
low = "price.l"
close = "price.c"
volume = "size"
next_token = "next"
next_parameter = "cursor"
key_header = "Authorization"
key_text = "Bearer {key}"
"""


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Calendars and credentials of this module."""
    folder = tmp_path_factory.mktemp("home")
    for name, value in {"alpaca_key": KEY, "alpaca_secret": SECRET, "http_key": json_bars.KEY}.items():
        (folder / name).write_text(value)
    ENV.update(XDG_CACHE_HOME=str(folder / "cache"), CREDENTIALS_DIRECTORY=str(folder))


ENV: dict[str, str] = {}


def data(folder: Path, *arguments: str) -> Done:
    return quantd(folder, "data", *arguments, env=ENV)


def fetch(folder: Path, *arguments: str, out: str = "bars.parquet") -> Done:
    return data(folder, "fetch", *arguments, "--out", out, "--cache", "kept")


def year(url: str, *symbols: str) -> tuple[str, ...]:
    return (*symbols, "--source", "alpaca", "--url", url, "--from", "2019-01-02", "--to", "2019-12-31")


@pytest.mark.long
def test_a_download_is_a_file_that_a_run_can_read_with_its_actions_beside_it(tmp_path: Path) -> None:
    venue = AlpacaData({"SPY": days("SPY"), "AAPL": days("AAPL")}, actions=ACTIONS, page=100)
    with served(venue.app()) as port:
        done = fetch(tmp_path, *year(f"http://127.0.0.1:{port}", "SPY", "AAPL"))
    assert done.returncode == 0, done.stderr
    truth = read_bars((ROOT / "data/us_daily.parquet",), PAIR)
    truth = truth.take((truth.ts >= _ns("2019-01-01")) & (truth.ts < _ns("2020-01-01")))
    rows = read_bars((tmp_path / "bars.parquet",), PAIR)
    for column in (0, 1):
        mine, theirs = rows.take(rows.column == column), truth.take(truth.column == column)
        assert mine.ts.tolist() == theirs.ts.tolist()
        assert mine.close_nano.tolist() == theirs.close_nano.tolist()
        assert mine.high.tolist() == theirs.high.tolist()
    (dividend,) = read_actions(tmp_path / "bars.actions.csv", PAIR)
    assert dividend.cash_nano == 1_233_000_000
    assert 'stamps = "session"\ninterval = "1d"' in done.stdout
    assert data(tmp_path, "check", "bars.parquet").returncode == 0


@pytest.mark.long
def test_the_second_download_asks_nothing_and_a_range_that_broke_off_goes_on_where_it_was(tmp_path: Path) -> None:
    venue = AlpacaData({"SPY": days("SPY", 2016, 2019)}, actions=ACTIONS, works_for=2)
    with served(venue.app()) as port:
        arguments = (*year(f"http://127.0.0.1:{port}", "SPY")[:-3], "2016-01-04", "--to", "2019-12-31")
        assert fetch(tmp_path, *arguments).returncode == 1
        begun = [query["start"] for query in venue.asked]
        venue.works_for = 1000
        first = answer(fetch(tmp_path, *arguments, "--json"))
        assert not first["from_cache"]
        went_on = [query["start"] for query in venue.asked[len(begun) :] if "timeframe" in query]
        assert went_on[0] == begun[-1], "what had come is not asked again"
        asked = len(venue.asked)
        again = answer(fetch(tmp_path, *arguments, "--json", out="again.parquet"))
        assert again["from_cache"]
        assert len(venue.asked) == asked
    assert (tmp_path / "bars.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    assert again["symbols"] == first["symbols"]
    kept = answer(data(tmp_path, "check", "--cache", "kept", "--json"))["series"]
    series = [(row["source"], row["series"], row["symbol"], row["bars"]) for row in kept]
    assert series == [("alpaca", "1d-raw", "SPY", 1006)]
    assert "1006" in data(tmp_path, "check", "--cache", "kept").stdout


@pytest.mark.requirement("R-021")
@pytest.mark.parametrize(
    ("status", "headers", "code", "words"),
    [
        (403, {}, 1, "Check the key"),
        (429, {"Retry-After": "3600"}, 75, "too many requests"),
        (400, {}, 1, "invalid symbol"),
    ],
)
def test_a_failed_download_writes_nothing_and_leaves_what_was_there(
    tmp_path: Path, status: int, headers: dict[str, str], code: int, words: str
) -> None:
    (tmp_path / "bars.parquet").write_bytes(b"as it was")
    venue = AlpacaData({"SPY": days("SPY")}, refuse=[(status, headers, "invalid symbol")])
    with served(venue.app()) as port:
        done = fetch(tmp_path, *year(f"http://127.0.0.1:{port}", "SPY"))
    assert done.returncode == code
    assert words in done.stderr
    assert "Nothing was written" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bars.parquet"]
    assert (tmp_path / "bars.parquet").read_bytes() == b"as it was"


@pytest.mark.requirement("R-021")
def test_a_symbol_without_bars_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with served(AlpacaData({"SPY": days("SPY")}).app()) as port:
        done = fetch(tmp_path, *year(f"http://127.0.0.1:{port}", "SPY", "LEH"))
    assert done.returncode == 1
    assert "no bar of LEH" in done.stderr
    assert not (tmp_path / "bars.parquet").exists()


def test_a_symbol_that_began_later_is_no_failure(tmp_path: Path) -> None:
    venue = AlpacaData({"SPY": days("SPY"), "AAPL": days("AAPL")[200:]})
    with served(venue.app()) as port:
        download = answer(fetch(tmp_path, *year(f"http://127.0.0.1:{port}", "SPY", "AAPL"), "--json"))
    assert {row["symbol"]: row["bars"] for row in download["symbols"]} == {"SPY": 252, "AAPL": 52}


def test_when_the_first_source_fails_the_second_gives_the_bars_and_the_file_says_so(tmp_path: Path) -> None:
    first = int(datetime(2024, 1, 3, 14, 30, tzinfo=UTC).timestamp())
    bars: list[json_bars.Bar] = [(first + 60 * k, "470.5", "471", "470", f"470.{k:02d}", "9") for k in range(60)]
    with (
        served(AlpacaData(refuse=[(403, {}, "no plan")] * 99).app()) as one,
        served(JsonBars({"SPY": bars}).app()) as two,
    ):
        (tmp_path / "vendor.toml").write_text(MAPPING.replace("{base}", f"http://127.0.0.1:{two}"))
        download = answer(
            fetch(
                tmp_path, "SPY", "-s", "alpaca", "-s", "http", "--mapping", "vendor.toml",
                "--url", f"http://127.0.0.1:{one}",
                "-i", "1m", "--from", "2024-01-03", "--to", "2024-01-03", "--json",
            )
        )  # fmt: skip
    assert download["symbols"] == [
        {
            "symbol": "SPY",
            "bars": 60,
            "from": "2024-01-03T14:30:00Z",
            "to": "2024-01-03T15:29:00Z",
            "source": "my vendor",
        }
    ]
    assert download["stamps"] == "open"
    assert pl.read_parquet(tmp_path / "bars.parquet")["source"].unique().to_list() == ["my vendor"]


@pytest.mark.long
def test_bad_bars_of_a_vendor_are_told_and_not_written(tmp_path: Path) -> None:
    bars = days("SPY")
    bars[100] = (*bars[100][:2], "1.0", *bars[100][3:])  # a high below the open
    with served(AlpacaData({"SPY": bars}).app()) as port:
        done = fetch(tmp_path, *year(f"http://127.0.0.1:{port}", "SPY"))
    assert "quarantined: 1 x crossed" in done.stdout
    assert bars[100][0][:10] in done.stdout
    assert len(read_bars((tmp_path / "bars.parquet",), SPY)) == 251


@pytest.mark.long
def test_check_lists_jumps_with_the_missing_action_and_holes(tmp_path: Path) -> None:
    frame = pl.read_parquet(ROOT / "data/us_daily.parquet").filter(pl.col("symbol").is_in(["AAPL", "QQQ"]))
    frame.filter(pl.col("ts").dt.year().is_between(2004, 2011)).write_parquet(tmp_path / "bars.parquet")
    done = data(tmp_path, "check", "bars.parquet", "--json")
    assert done.returncode == 1
    check = json.loads(done.stdout)
    assert [fault["fault"] for fault in check["faults"]] == ["spike"]
    (jump,) = check["jumps"]
    assert "AAPL opened at 44.67 on 2005-02-28, after 88.97: near a 2:1 split" in jump["text"]
    assert check["holes"] == ["QQQ has no good bar on 1,588 sessions in a row, 2004-12-01 to 2011-03-22"]
    (tmp_path / "actions.csv").write_text(f"ts,symbol,kind,ratio,cash\n{jump['action']}\n")
    frame.filter(pl.col("ts").dt.year().is_between(2005, 2008)).filter(pl.col("symbol") == "AAPL").write_parquet(
        tmp_path / "aapl.parquet"
    )
    assert data(tmp_path, "check", "aapl.parquet", "--actions", "actions.csv").returncode == 0
    plain = data(tmp_path, "check", "aapl.parquet")
    assert plain.returncode == 1
    assert "if it was a split, the actions lack 2005-02-28,AAPL,split,2:1," in plain.stdout
    assert "no fault" not in plain.stdout


def minutes(zone: str, calendar: str = "XNYS", symbol: str = "SPY") -> pl.DataFrame:
    """Bars of five minutes of three sessions, stamped by the clock of a zone without an offset."""
    market_sessions = sessions(calendar, date(2024, 7, 1), date(2024, 7, 3))
    ts = np.concatenate(
        [np.arange(a, b, 300 * 10**9) for a, b in zip(market_sessions.open_ns, market_sessions.close_ns, strict=True)]
    )
    clock = pl.Series(ts).cast(pl.Datetime("ns", "UTC"))
    local = clock.dt.convert_time_zone(zone).dt.replace_time_zone(None).dt.to_string("%Y-%m-%d %H:%M:%S")
    close = 50 + np.arange(len(ts)) / 1000
    return pl.DataFrame({
        "ts": local, "symbol": symbol, "open": close, "high": close + 0.1, "low": close - 0.1, "close": close,
        "volume": 1000.0 + np.arange(len(ts)),
    })  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(
    ("zone", "calendar", "symbol", "options"),
    [
        ("America/New_York", "XNYS", "SPY", "--interval 5m --zone America/New_York"),
        ("Europe/London", "XLON", "VOD", "--interval 5m --zone Europe/London --calendar XLON"),
        ("UTC", "XETR", "SAP.DE", "--interval 5m"),
        ("UTC", "24/7", "BTC-USD", "--interval 5m"),
    ],
)
def test_check_names_the_interval_the_zone_and_the_calendar_by_options_that_work_when_typed(
    tmp_path: Path, zone: str, calendar: str, symbol: str, options: str
) -> None:
    minutes(zone, calendar, symbol).write_csv(tmp_path / "bars.csv")
    typed: list[str] = []
    for _ in range(4):
        done = data(tmp_path, "check", "bars.csv", "--stamps", "open", *(typed or ("--interval", "1m")))
        if done.returncode == 0:
            break
        assert "a backtest over all of these bars stops" in done.stdout
        named = dict(re.findall(r"data check: --(\w+) ([^;]+);", done.stdout))
        kept = dict(zip(typed[::2], typed[1::2], strict=True)) | {f"--{key}": value for key, value in named.items()}
        typed = [word for pair in kept.items() for word in pair]
    assert done.returncode == 0, done.stdout
    assert sorted(typed) == sorted(options.split())
    assert "outside trading hours" not in done.stdout
    check = json.loads(data(tmp_path, "check", "bars.csv", "--stamps", "open", *typed, "--json").stdout)
    assert (check["misfits"], check["outside_hours"], check["bad"]) == ([], 0, 0)


@pytest.mark.long
def test_each_command_names_a_calendar_that_cannot_be_built_in_one_sentence(tmp_path: Path) -> None:
    name = "XTAE"
    write(tmp_path, CONFIG.replace("[universe]\n", f'[universe]\ncalendar = "{name}"\n'))
    minutes("UTC").write_csv(tmp_path / "bars.csv")
    for command in (
        ("config", "check"),
        ("backtest", "--no-compare"),
        ("data", "check", "bars.csv", "--calendar", name),
        ("data", "fetch", "SPY", "--calendar", name, "--from", "2024-01-02", "--out", "x.parquet"),
    ):
        done = quantd(tmp_path, *command)
        (line,) = done.stderr.splitlines()
        assert done.returncode == 78, command
        assert f'the calendar "{name}" cannot be built' in line
        assert '"24/7"' in line
    by_suffix = quantd(tmp_path, "data", "fetch", "TEVA.TA", "--from", "2024-01-02", "--out", "x.parquet")
    assert f'the calendar "{name}" cannot be built' in by_suffix.stderr


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{day},X,split,10:1,", "the prices do not show it, as if they were adjusted for it already"),
        ("{day},X,split,1:35,", "the prices do not show it"),
        ("{day},X,dividend,,75", "and the price does not show it"),
        ("{day},X,dividend,,175", "more than the price itself"),
    ],
)
def test_check_names_an_action_that_the_prices_do_not_show(tmp_path: Path, line: str, words: str) -> None:
    level().write_csv(tmp_path / "bars.csv", datetime_format="%Y-%m-%d")
    (tmp_path / "actions.csv").write_text("ts,symbol,kind,ratio,cash\n" + line.format(day=day(100)) + "\n")
    done = data(tmp_path, "check", "bars.csv", "--actions", "actions.csv")
    assert done.returncode == 1
    assert words in done.stdout
    assert line.format(day=day(100)) in done.stdout, "the line to mend"
    assert data(tmp_path, "check", "bars.csv").returncode == 0


def test_check_asks_about_a_suspicious_bar_until_the_file_of_exceptions_beside_it_answers(tmp_path: Path) -> None:
    scaled(level(), range(150, 151), 0.2, "low").write_csv(tmp_path / "bars.csv", datetime_format="%Y-%m-%d")
    asked = data(tmp_path, "check", "bars.csv")
    assert asked.returncode == 1
    assert f"answer it in a file of exceptions: {day(150)},X,real (or reject)" in asked.stdout
    (tmp_path / "exceptions.csv").write_text(f"date,symbol,answer\n{day(150)},X,real\n")
    done = data(tmp_path, "check", "bars.csv")
    assert (done.returncode, "no fault" in done.stdout) == (0, True)


def test_a_split_that_a_vendor_lists_and_its_prices_do_not_hold_ends_a_download_with_the_question(
    tmp_path: Path,
) -> None:
    """The server's bars of AAPL in 2020 are scaled as if the split of August were in them already."""
    bars = [
        (stamp, *(f"{float(price) / (4 if stamp < '2020-08-31' else 1):.4f}" for price in prices[:4]), *prices[4:])
        for stamp, *prices in days("AAPL", 2020, 2020)
    ]
    split = {"ex_date": "2020-08-31", "symbol": "AAPL", "new_rate": 4, "old_rate": 1}
    with served(AlpacaData({"AAPL": bars}, actions={"forward_splits": [split]}).app()) as port:
        url = f"http://127.0.0.1:{port}"
        done = fetch(tmp_path, "AAPL", "-s", "alpaca", "--url", url, "--from", "2020-01-02", "--to", "2020-12-31")
    assert done.returncode == 1, done.stdout
    assert "AAPL has a 4:1 split on 2020-08-31 in the actions, and the prices do not show it" in done.stdout
    assert "remove from the file of actions 2020-08-31,AAPL,split,4:1," in done.stdout
    assert len(pl.read_parquet(tmp_path / "bars.parquet")) == 253


@pytest.mark.requirement("R-017")
def test_check_names_every_kind_of_fault_how_often_and_where_first(tmp_path: Path) -> None:
    frame = pl.read_parquet(ROOT / "data/us_daily.parquet")
    frame = frame.filter((pl.col("symbol") == "SPY") & (pl.col("ts").dt.year() == 2019))
    lines = ["ts,symbol,open,high,low,close,volume"]
    for ts, symbol, *values in frame.iter_rows():
        lines.append(f"{ts:%Y-%m-%d},{symbol}," + ",".join(str(value) for value in values))
    path = tmp_path / "whole.csv"
    path.write_text("\n".join(lines))
    assert data(tmp_path, "check", "whole.csv").returncode == 0
    lines[10] = lines[10].replace(lines[10].split(",")[5], "nan")
    lines[20] = ",".join([*lines[20].split(",")[:2], "0", *lines[20].split(",")[3:]])
    lines[30] = f"{lines[29].rpartition(',')[0]},7"  # another volume
    lines.append(lines[-1])
    lines[40], lines[41] = lines[41], lines[40]
    lines[50] = "2019-13-77" + lines[50][10:]
    lines[60] = "2019-03-31" + lines[60][10:]  # a Sunday
    lines[200] = ",".join([*lines[200].split(",")[:3], "9999", *lines[200].split(",")[4:]])
    (tmp_path / "broken.csv").write_text("\n".join(lines))
    done = data(tmp_path, "check", "broken.csv", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["repeats"] == 1
    faults: dict[str, Any] = {entry["fault"]: entry for entry in json.loads(done.stdout)["faults"]}
    expected = {
        "nan": 11,
        "non_positive": 21,
        "duplicate": 31,
        "out_of_order": 41,
        "stamp": 51,
        "session": 61,
        "spike": 201,
    }
    assert {fault: entry["first_row"] for fault, entry in faults.items()} == expected
    assert all(entry["bars"] == 1 for entry in faults.values())
    people = data(tmp_path, "check", "broken.csv")
    assert people.returncode == 1
    for fault, row in expected.items():
        assert f"{fault}: 1 bars" in people.stdout
        assert f"(line {row})" in people.stdout
    assert "SPY: 3 sessions without a bar" in people.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("SPY", "--source", "yfinanc", "--from", "2019-01-02"), 2, "Did you mean yfinance?"),
        (("SPY", "--source", "alpaca", "--adjusted", "--from", "2019-01-02"), 2, "--adjusted is for yfinance"),
        (("SPY", "--source", "alpaca", "--feed", "sipp", "--from", "2019-01-02"), 2, "iex, sip"),
        (("SPY", "BTC/USD", "--source", "alpaca", "--from", "2019-01-02"), 2, "one after the other"),
        (("SPY", "--source", "http", "--from", "2019-01-02"), 2, "--mapping"),
        (("SPY", "--source", "ccxt", "--from", "2019-01-02"), 2, "--exchange"),
        (("SPY", "--exchange", "kraken", "--from", "2019-01-02"), 2, "leave it out, or name --source ccxt"),
        (("SPY", "--feed", "sip", "--from", "2019-01-02"), 2, "--feed has no effect with the source yfinance"),
        (("SPY", "-i", "1wk", "--from", "2019-01-02"), 2, "--adjusted"),
        (("SPY", "-i", "7q", "--from", "2019-01-02"), 2, "5m"),
        (("SPY", "--from", "2019-01-02", "--to", "2018-01-02"), 2, "before --from"),
        (("SPY", "--calendar", "XNYZ", "--from", "2019-01-02"), 78, "XNYS"),
        (("SPY", "--from", "tomorrow"), 2, "2019-01-02"),
        ((",", "--from", "2019-01-02"), 2, "no symbols"),
    ],
)
def test_a_wrong_command_line_is_told_with_its_remedy(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = fetch(tmp_path, *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_of_another_kind_is_not_written(tmp_path: Path) -> None:
    done = fetch(tmp_path, "SPY", "--from", "2019-01-02", out="bars.csv")
    assert done.returncode == 2
    assert "name it bars.parquet" in done.stderr


def test_missing_keys_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ENV, "CREDENTIALS_DIRECTORY")
    done = fetch(tmp_path, *year("http://127.0.0.1:9", "SPY"))
    assert done.returncode == 1
    assert "QUANTD_ALPACA_KEY" in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nme = 'x'", "Did you mean name?"),
        ("name = 'x'", "url is missing"),
        ("name = 'x'\nurl = 5", "Expected `str`, got `int`"),
        ("name = 'x'\nurl = 'u'\nrate = { calls = 0 }", "allows nothing"),
        ("name = 'x'\nurl = 'u'\nsignature = { txt = '' }", "signature.txt is not a key"),
        ("name = 'x'\nurl = 'u'\nstamps = 'noon'", "stamps"),
        ("name =", "is not TOML"),
    ],
)
def test_a_mistake_in_a_mapping_is_told_with_its_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    done = fetch(tmp_path, "SPY", "-s", "http", "--mapping", "m.toml", "--from", "2019-01-02")
    assert done.returncode == 78
    assert done.stderr.startswith("m.toml: ")
    assert words in done.stderr


def test_a_cache_of_nothing_says_how_to_fill_it(tmp_path: Path) -> None:
    done = data(tmp_path, "check", "--cache", "none")
    assert done.returncode == 0
    assert "quantd data fetch" in done.stdout


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def findings(report: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {Path(file["file"]).name: file["findings"] for file in report["files"]}


@pytest.mark.long
def test_the_bundled_folder_has_no_finding_but_those_that_its_page_names(tmp_path: Path) -> None:
    done = data(tmp_path, "check", str(ROOT / "data"), "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert findings(report) == {
        "crypto_daily.parquet": {}, "seed4_daily.parquet": {}, "us20_daily.parquet": {},
        "us_daily.parquet": {"holes": 1}, "vix_daily.parquet": {"crossed": 47, "session": 20},
    }  # fmt: skip
    assert report["findings"] == 69
    assert "us_daily.parquet: both have SPY at" in report["overlap"]
    assert report["unread"] == {}, "files of actions and exceptions are no bars"


@pytest.mark.long
def test_each_file_of_a_folder_is_read_with_the_interval_and_the_calendar_of_its_stamps(tmp_path: Path) -> None:
    folder = tmp_path / "bars"
    folder.mkdir()
    hours = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 1, 20), "1h", eager=True)
    close = 100 + np.sin(np.arange(len(hours)))
    table = pl.DataFrame({
        "ts": hours, "symbol": "BTCUSDT", "open": close, "high": close + 1, "low": close - 1, "close": close,
        "volume": 5.0 + np.arange(len(hours)) % 7,
    })  # fmt: skip
    table.write_csv(folder / "hours.csv")
    scaled(level(), range(100, 260), 1 / 35).write_parquet(folder / "jump.parquet")
    (folder / "notes.txt").write_text("no bars")
    done = data(tmp_path, "check", "bars", "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert findings(report) == {"hours.csv": {}, "jump.parquet": {"jumps": 1}}
    assert [(file["interval"], file["calendars"]) for file in report["files"]] == [("1h", ["24/7"]), ("1d", ["XNYS"])]
    assert list(report["unread"]) == ["notes.txt"]
    (folder / "jump.parquet").unlink()
    assert data(tmp_path, "check", "bars").returncode == 0


def test_a_folder_without_a_table_is_a_mistake_of_the_call(tmp_path: Path) -> None:
    done = data(tmp_path, "check", str(tmp_path))
    assert done.returncode == 2
    assert ".parquet" in done.stderr
