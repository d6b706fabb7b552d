"""Imports of what spreadsheets and web pages write: stamps at the close, rows without prices, a last price of 0."""

import io
import json
import os
import re
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl
import pytest

import quantd as quantd_python
from quantd.adapters.calendars import sessions
from tests.support.command_line import Done, environment, quantd, restored
from tests.support.yahoo_files import days

pytestmark = pytest.mark.long

ROWS: Final = [
    ",".join(field for k, field in enumerate(line.split(",")) if k != 5)
    for line in days("ACME", 120, date(2024, 1, 2)).rstrip().splitlines()
    if line < "3"
]
"""Days with open, high, low, close and volume."""

ENV: Final[dict[str, str]] = {}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> None:
    ENV["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("home"))


def run(folder: Path, *words: str) -> Done:
    return quantd(folder, "data", "import", *words, env=ENV)


def edges_of_sessions(zone: str, calendar: str, edge: str, count: int = 180) -> list[str]:
    """Days stamped with the local time of the open or close, half days included, as spreadsheets write them."""
    covered = sessions(calendar, date(2024, 5, 1), date(2025, 3, 1))
    instants = pl.Series((covered.closes if edge == "close" else covered.opens)[:count]).cast(pl.Datetime("ns", "UTC"))
    local = instants.dt.convert_time_zone(zone)
    lines = local.dt.strftime("%-m/%-d/%Y %H:%M:%S").to_list()
    return ["Date,Open,High,Low,Close,Volume",
            *(f"{day},{10 + k / 90:.3f},{12 + k / 90:.3f},{9 + k / 90:.3f},{11 + k / 90:.3f},{k + 900}"
              for k, day in enumerate(lines)), ""]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "zone", "calendar", "edge"),
    [
        ("GOOG", "America/New_York", "XNYS", "close"), ("VOD.L", "Europe/London", "XLON", "close"),
        ("0700.HK", "Asia/Hong_Kong", "XHKG", "close"), ("GOOG", "America/New_York", "XNYS", "open"),
        ("0700.HK", "Asia/Hong_Kong", "XHKG", "open"), ("BHP.AX", "Australia/Sydney", "XASX", "open"),
    ],
)  # fmt: skip
def test_days_stamped_at_an_edge_of_the_session_with_half_days_are_the_sessions(
    tmp_path: Path, name: str, zone: str, calendar: str, edge: str
) -> None:
    path = tmp_path / f"{name}.csv"
    path.write_text("\n".join(edges_of_sessions(zone, calendar, edge)))
    done = run(tmp_path, path.name)
    assert "180 bars of 1 symbols" in done.stdout
    assert "no fault" in done.stdout
    script = f"import quantd; quantd.backtest('equal_weight', bars=quantd.read_bars({path.name!r}), compare=False"
    settings: list[str] = []
    for _ in range(3):  # each setting that a refusal offers is taken, until the bars are read
        answered = python(tmp_path, f"{script}, settings={{{', '.join(f'**{one}' for one in settings)}}})")
        if answered.returncode == 0:
            return
        settings += re.findall(r"Python: settings=(\{[^}]*\})", answered.stderr)[:1]
    raise AssertionError(answered.stderr)


@pytest.mark.parametrize(
    ("name", "calendar", "clock"),
    [
        ("IBM", "XNYS", "Europe/London"), ("IBM", "XNYS", "America/Chicago"), ("IBM", "XNYS", "America/New_York"),
        ("7203.T", "XTKS", "Asia/Tokyo"), ("SAP.DE", "XETR", "Europe/London"),
    ],
)  # fmt: skip
def test_midnights_of_the_clock_of_another_exchange_are_the_dates_of_the_sessions(
    tmp_path: Path, name: str, calendar: str, clock: str
) -> None:
    dates = pl.Series(sessions(calendar, date(2024, 1, 2), date(2024, 12, 20)).days).cast(pl.Datetime("ns"))
    stamps = dates.dt.replace_time_zone(clock).dt.epoch("ms").to_list()
    rows = [
        f"{ts},{10 + k / 90:.3f},{12 + k / 90:.3f},{9 + k / 90:.3f},{11 + k / 90:.3f},9" for k, ts in enumerate(stamps)
    ]
    (tmp_path / f"{name}.csv").write_text("\n".join(["Date,Open,High,Low,Close,Volume", *rows, ""]))
    assert "no fault" in run(tmp_path, f"{name}.csv").stdout
    script = (
        f"import quantd; result = quantd.backtest('equal_weight', bars=quantd.read_bars('{name}.csv'), compare=False); "
        "print(result.rejected, result.equity['ts'].dt.date().to_list()[-1])"
    )
    assert python(tmp_path, script).stdout.split() == ["0", str(dates.dt.date()[-1])]


def python(folder: Path, script: str) -> Done:
    """A script in `folder`, in this process: a start of Python with its imports takes two seconds."""
    out, fault = io.StringIO(), ""
    with restored(), redirect_stdout(out):
        os.environ.clear()
        os.environ.update(environment() | ENV)
        os.chdir(folder)
        try:
            exec(script, {})
        except quantd_python.Error as error:
            fault = str(error)
    return Done(int(bool(fault)), out.getvalue(), fault)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("rows", "foreign", "plain"),
    [
        (["2025-01-02,,,,,6527"], 0, 1), (["2025-01-02,,,,,", "2025-01-03,,,,,"], 0, 2),
        (["2025-01-02,52,54,51,53,5", "2025-01-02,52,54,51,53,5", "2025-01-03,,,,,"], 1, 2),
    ],
)  # fmt: skip
def test_import_check_and_python_count_the_same_rejected_rows(
    tmp_path: Path, rows: list[str], foreign: int, plain: int, own: bool
) -> None:
    text = days("ATR", 250, date(2024, 1, 2)).rstrip().splitlines()
    bars = [",".join(field for k, field in enumerate(line.split(",")) if k != 5) for line in text if line < "2025"]
    if own:
        lines = ["ts,open,high,low,close,volume,symbol", *(f"{line},ATR" for line in (*bars, *rows))]
    else:
        lines = ["Date,Open,High,Low,Close,Volume", *bars, *rows]
    (tmp_path / "ATR.csv").write_text("\n".join([*lines, ""]))
    imported = json.loads(run(tmp_path, "ATR.csv", "--json").stdout)
    checked = json.loads(quantd(tmp_path, "data", "check", "ATR.csv", "--json", env=ENV).stdout)
    script = (
        "import quantd; result = quantd.backtest('equal_weight', bars=quantd.read_bars('ATR.csv'), compare=False); "
        "print(result.rejected)"
    )
    count = plain if own else foreign
    assert (imported["report"]["bad"], checked["bad"]) == (count, count)
    assert int(python(tmp_path, script).stdout) == count
    left_out = 0 if own else sum(",,,," in row for row in rows)
    assert (imported["report"]["left_out"], checked["left_out"]) == (left_out, left_out)
    assert f"line {len(lines) - left_out + 1} (without a price)" in imported["read_as"][0] or own


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("place", "rows"),
    [
        ("above", [""]), ("above", ["", ""]), ("first", [",,,,,,"]), ("first", [",,,,,,", ",,,,,,"]), ("middle", [""]),
        ("middle", [",,,,,,", ""]), ("last", [",,,,,,"]), ("last", ["Source: ACME Data Inc"]),
        ("last", ["", "Source: ACME", "# end of file"]), ("last", ["Average,,10,12,9,11,900"]),
        ("last", ["", "© ACME 2024, all rights reserved"]),
    ],
)  # fmt: skip
def test_rows_that_are_no_bars_are_counted_alike_at_every_door_and_named_with_their_lines(
    tmp_path: Path, place: str, rows: list[str], own: bool
) -> None:
    bars = [f"{line.split(',')[0]},ACME,{','.join(line.split(',')[1:])}" for line in ROWS]
    header = "ts,symbol,open,high,low,close,volume" if own else "Date,Ticker,Open,High,Low,Close,Volume"
    middle = len(bars) // 2
    lines = {
        "above": [*rows, header, *bars], "first": [header, *rows, *bars], "last": [header, *bars, *rows],
        "middle": [header, *bars[:middle], *rows, *bars[middle:]],
    }[place]  # fmt: skip
    path = tmp_path / "ACME.csv"
    path.write_text("\n".join([*lines, ""]))
    imported = json.loads(run(tmp_path, "ACME.csv", "--json").stdout)
    checked = json.loads(quantd(tmp_path, "data", "check", "ACME.csv", "--json", env=ENV).stdout)
    (statement,) = quantd_python.read_bars(path).statements
    assert {imported["report"]["left_out"], checked["left_out"], statement.left_out} == {len(rows)}
    assert {imported["report"]["bars"], checked["bars"]} == {len(bars)}
    first = lines.index(rows[0]) + 1
    assert all(f"line {first} (" in text for text in (imported["read_as"][0], checked["read_as"][0], statement.text()))


FIELDS: Final = ("10'4.58", "10’4.58", "10 4.58", "10_4.58", '"10,4.58"', "1'04.58", "1'0458.1", "1''045.8", "'10'4")


@pytest.mark.one_of(5)
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("column", [2, 5, 6])
def test_a_separator_that_makes_no_groups_of_three_is_no_number_and_its_line_is_named(
    tmp_path: Path, field: str, column: int, own: bool
) -> None:
    rows = [f"{line.split(',')[0]},ACME,{','.join(line.split(',')[1:])}".split(",") for line in ROWS]
    rows[40][column] = field
    header = "ts,symbol,open,high,low,close,volume" if own else "Date,Ticker,Open,High,Low,Close,Volume"
    path = tmp_path / "ACME.csv"
    path.write_text("\n".join([header, *map(",".join, rows), ""]))
    bars = quantd_python.read_bars(path)
    name = header.split(",")[column]
    said = f'"{field.strip(chr(34))}" in column {name}, line 42, is no number, so that its bar is rejected'
    assert said in bars.statements[0].text()
    assert bars.frame[header.split(",")[column].lower()].to_list()[40] is None
    assert (
        "nan: 1 bars, first ACME 2024-02-29T00:00:00Z (line 42)"
        in quantd(tmp_path, "data", "check", path.name, env=ENV).stdout
    )


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("stamp", ["2024-13-45", "2024-02-30", "hello", "", "1", "03/2024"])
def test_a_bad_date_is_named_with_its_line(tmp_path: Path, stamp: str, own: bool) -> None:
    rows = [f"{line.split(',')[0]},ACME,{','.join(line.split(',')[1:])}".split(",") for line in ROWS]
    rows[40][0] = stamp
    header = "ts,symbol,open,high,low,close,volume" if own else "Date,Ticker,Open,High,Low,Close,Volume"
    (tmp_path / "ACME.csv").write_text("\n".join([header, *map(",".join, rows), ""]))
    checked = quantd(tmp_path, "data", "check", "ACME.csv", env=ENV).stdout
    assert "stamp: 1 bars, first ACME (line 42): its stamp cannot be read" in checked
    said = f'"{stamp}" in column {header.split(",")[0]}, line 42, is no time, so that its bar is rejected'
    assert said in run(tmp_path, "ACME.csv").stdout


def test_a_share_that_ends_at_zero_asks_for_its_delisting_and_the_offered_line_works(tmp_path: Path) -> None:
    text = days("ZERO", 150).rstrip()
    (tmp_path / "ZERO.csv").write_text(f"{text}\n2022-08-09,0,0,0,0,0,0\n2022-08-10,0,0,0,0,0,0\n")
    done = run(tmp_path, "ZERO.csv", "--into", "config.toml")
    assert done.returncode == 1
    line = "2022-08-08,ZERO,delisting,,0"
    assert f"if it became worthless, add to the file of [feed] actions: {line}" in done.stdout
    stopped = quantd(tmp_path, "backtest", "equal_weight", "--no-compare", env=ENV)
    assert stopped.returncode == 1
    assert line in stopped.stderr
    (tmp_path / "ZERO.actions.csv").write_text(f"ts,symbol,kind,ratio,cash\n{line}\n")
    run_on = quantd(
        tmp_path, "backtest", "equal_weight", "--no-compare", "--json", "--set", "feed.actions=ZERO.actions.csv",
        env=ENV,
    )  # fmt: skip
    assert run_on.returncode == 0, run_on.stderr
    assert json.loads(run_on.stdout)["performance"]["total_return"] < -0.2


@pytest.mark.one_of(2)
@pytest.mark.parametrize(("bad", "code"), [(0, 0), (1, 0), (2, 1)])
@pytest.mark.parametrize("fault", ["nan", "crossed", "duplicate"])
def test_import_and_check_exit_with_1_where_a_backtest_would_stop_and_else_with_0(
    tmp_path: Path, fault: str, bad: int, code: int
) -> None:
    """One bar of 119 is below 1 %, so that a backtest leaves it out; two are not."""
    rows = [line.split(",") for line in ROWS]
    for k in range(bad):
        row = rows[30 + 9 * k]
        row[:] = {"nan": [*row[:4], "word", "900"], "crossed": [*row[:2], "1", *row[3:]],
                  "duplicate": rows[29 + 9 * k]}[fault]  # fmt: skip
    (tmp_path / "ACME.csv").write_text("\n".join(["Date,Open,High,Low,Close,Volume", *map(",".join, rows), ""]))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "ACME.csv").write_text((tmp_path / "ACME.csv").read_text())
    imported = run(tmp_path, "ACME.csv", "--into", "config.toml")
    assert imported.returncode == code, imported.stdout
    assert quantd(tmp_path, "data", "check", "ACME.csv", env=ENV).returncode == code
    assert quantd(tmp_path, "data", "check", "folder", env=ENV).returncode == code
    assert quantd(tmp_path, "backtest", "equal_weight", "--no-compare", env=ENV).returncode == code


def blocks(names: list[str]) -> str:
    head = ["Price," + ",".join(f"{price},{price}" for price in ("Close", "High", "Low", "Open", "Volume"))]
    head += ["Ticker," + ",".join(names * 5), "Date" + "," * 10]
    return "\n".join([*head, *(f"{line[:10]},{11 + k},{31 + k},{12 + k},{32 + k},{9 + k},{29 + k},{10 + k},{30 + k},5,5"
                               for k, line in enumerate(ROWS)), ""])  # fmt: skip


@pytest.mark.one_of(2)
@pytest.mark.parametrize("symbol", ["AAPL", "MSFT", "KO"])
@pytest.mark.parametrize("kind", ["blocks", "column", "folder", "files"])
def test_a_symbol_that_names_one_of_several_is_refused_by_name(tmp_path: Path, kind: str, symbol: str) -> None:
    names = ["AAPL", "MSFT"]
    plain = "\n".join(["Date,Open,High,Low,Close,Volume", *ROWS, ""])
    long = "\n".join(["Date,Ticker,Open,High,Low,Close,Volume",
                      *(f"{line[:10]},{name}{line[10:]}" for name in names for line in ROWS), ""])  # fmt: skip
    (tmp_path / "bars").mkdir()
    for name in names:
        (tmp_path / "bars" / f"{name}.csv").write_text(plain)
    (tmp_path / "table.csv").write_text(blocks(names) if kind == "blocks" else long)
    files = {"folder": ["bars"], "files": ["bars/AAPL.csv", "bars/MSFT.csv"]}.get(kind, ["table.csv"])
    done = run(tmp_path, *files, "--symbol", symbol)
    assert done.returncode == 78 if kind != "files" else 2, done.stdout
    assert symbol in done.stderr
    assert next(name for name in names if name != symbol) in done.stderr
    assert not list(tmp_path.glob("*.parquet"))
    if kind != "files":
        with pytest.raises(quantd_python.Error, match=f"the option symbol names {symbol} for all of its bars"):
            quantd_python.read_bars(tmp_path / files[0], symbol=symbol)
    assert run(tmp_path, *files).returncode == 0


def test_a_symbol_is_of_all_files_of_a_folder_whose_names_have_none(tmp_path: Path) -> None:
    (tmp_path / "bars").mkdir()
    for k in range(4):
        text = "\n".join(["Date,Open,High,Low,Close,Volume", *ROWS[k * 25 : k * 25 + 25], ""])
        (tmp_path / "bars" / f"2024-0{k + 1}.csv").write_text(text)
    assert run(tmp_path, "bars").returncode == 78
    done = run(tmp_path, "bars", "--symbol", "KO")
    assert "KO.parquet: 100 bars of 1 symbols" in done.stdout


@pytest.mark.parametrize("option", ["", "first", "last"])
def test_check_of_a_folder_says_which_of_differing_bars_counts(tmp_path: Path, option: str) -> None:
    (tmp_path / "bars").mkdir()
    for name, part, shift in (("AAPL_2024a", ROWS[:80], ""), ("AAPL_2024b", ROWS[60:], "9")):
        lines = [line.replace(line.split(",")[4], line.split(",")[4] + shift, 1) for line in part]
        (tmp_path / "bars" / f"{name}.csv").write_text("\n".join(["Date,Open,High,Low,Close,Volume", *lines, ""]))
    words = ["--overlap", option] if option else []
    done = quantd(tmp_path, "data", "check", "bars", *words, env=ENV)
    document = json.loads(quantd(tmp_path, "data", "check", "bars", *words, "--json", env=ENV).stdout)
    assert done.returncode == (0 if option else 1)
    assert document["findings"] == (0 if option else 1)
    said = f"those of the {option} file are taken" if option else "19 more bars of several files differ. Add --overlap"
    assert said in done.stdout
    assert said in document["overlap"]


def test_the_setting_that_stamps_at_closes_offer_in_python_is_enough(tmp_path: Path) -> None:
    (tmp_path / "GOOG.csv").write_text("\n".join(edges_of_sessions("America/New_York", "XNYS", "close")))
    script = "import quantd; quantd.backtest('equal_weight', bars=quantd.read_bars('GOOG.csv'), compare=False"
    stopped = python(tmp_path, f"{script})").stderr
    (offered,) = re.findall(r"Python: settings=(\{[^}]*\})", stopped)
    done = python(tmp_path, f"{script}, settings={offered})")
    assert done.returncode == 0, done.stderr


def test_each_setting_that_a_last_price_of_zero_offers_in_python_runs(tmp_path: Path) -> None:
    (tmp_path / "ZERO.csv").write_text(f"{days('ZERO', 150).rstrip()}\n2022-08-09,0,0,0,0,0,0\n")
    script = "import quantd; quantd.backtest('equal_weight', bars=quantd.read_bars('ZERO.csv'), compare=False"
    stopped = python(tmp_path, f"{script})").stderr
    (line,) = re.findall(r"actions: (\S+)", stopped)
    (tmp_path / "FILE").write_text(f"ts,symbol,kind,ratio,cash\n{line}\n")
    (tmp_path / "FILE").rename(tmp_path / "FILE.csv")
    offered = re.findall(r"Python: settings=(\{[^}]*\})", stopped)
    assert [next(iter(json.loads(one))) for one in offered] == ["feed.actions", "feed.holes"]
    for one in offered:
        done = python(tmp_path, f"{script}, settings={one.replace('FILE', 'FILE.csv')})")
        assert done.returncode == 0, done.stderr
