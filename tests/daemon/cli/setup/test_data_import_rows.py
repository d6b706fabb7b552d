"""Imports of what spreadsheets and web pages write: rows without prices, faulty fields, a last price of 0."""

import io
import json
import os
import re
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path
from typing import Final

import pytest

import quantd as quantd_python
from tests.support.command_line import Done, environment, quantd, restored
from tests.support.venues.yahoo import home
from tests.support.yahoo_files import days

pytestmark = pytest.mark.long

ROWS: Final = [
    ",".join(field for k, field in enumerate(line.split(",")) if k != 5)
    for line in days("ACME", 120, date(2024, 1, 2)).rstrip().splitlines()
    if line < "3"
]
"""Days with open, high, low, close and volume."""

NAMED: Final = [f"{line.split(',')[0]},ACME,{','.join(line.split(',')[1:])}" for line in ROWS]
"""The same with a symbol behind the date."""

HEADERS: Final = {
    True: "ts,symbol,open,high,low,close,volume", False: "Date,Ticker,Open,High,Low,Close,Volume",
}  # fmt: skip
"""The header of NAMED in the columns of quantd, and in others."""

ENV: Final = home()


def run(folder: Path, *words: str) -> Done:
    return quantd(folder, "data", "import", *words, env=ENV)


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
        (["2025-01-02,52,54,51,53,5", "2025-01-02,52,54,51,52,5", "2025-01-03,,,,,"], 1, 2),
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


FIELDS: Final = ("10'4.58", "10’4.58", "10 4.58", "10_4.58", '"10,4.58"', "1'04.58", "1'0458.1", "1''045.8", "'10'4")


@pytest.mark.one_of(5)
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("column", [2, 5, 6])
def test_a_separator_that_makes_no_groups_of_three_is_no_number_and_its_line_is_named(
    tmp_path: Path, field: str, column: int, own: bool
) -> None:
    rows, header = [line.split(",") for line in NAMED], HEADERS[own]
    rows[40][column] = field
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
    rows, header = [line.split(",") for line in NAMED], HEADERS[own]
    rows[40][0] = stamp
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
                  "duplicate": [rows[29 + 9 * k][0], *row[1:]]}[fault]  # fmt: skip
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
    long = "\n".join([HEADERS[False],
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
    assert "KO.parquet: 100 bars of 1 symbol" in done.stdout


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
