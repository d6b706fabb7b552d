"""`quantd data import` as its users meet it: any table into bars, with a statement, or a refusal whose remedy works."""

import json
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.recorded.bar_files import BarFrame, nanoseconds
from quantd.adapters.feeds.table_files.reader import NOTHING_ASKED, ReadOptions, Table, read_tables
from quantd.adapters.feeds.table_files.statement import Statement
from quantd.daemon.cli.setup import bar_report
from quantd.daemon.cli.setup.bar_report import Reading, fitting
from quantd.daemon.cli.setup.data_import import written
from tests.adapters.feeds.table_files.reading import differences
from tests.adapters.feeds.table_files.recorded_tables import FORMATS, Format, formats
from tests.support.command_line import Done, answer, quantd
from tests.support.venues.yahoo import home
from tests.support.yahoo_files import days, three

ENTRIES: Final = {entry.name: entry for entry in formats()}
ENV: Final = home()


def run(folder: Path, *words: str) -> Done:
    return quantd(folder, "data", "import", *words, env=ENV)


def stored(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path)


# all formats


def answered(entry: Format, done: Done, typed: tuple[str, ...]) -> tuple[str, ...]:
    """The option that an import names, with the answer of a person who knows the file; none where it names none."""
    answers = dict(zip(entry.options[::2], entry.options[1::2], strict=True)) | {"--symbol": entry.names[0]}
    named = re.findall(r"--(?:symbol|dates|unit|scale|decimal|zone)\b", done.stderr or done.stdout)
    if not done.stderr and "from the file's name" in done.stdout:
        named.append("--symbol")  # a person sees in the statement that the name of the file is another one
    option = next((word for word in named if word in answers and word not in typed), "")
    return (option, answers[option]) if option else ()


def wrong(entry: Format, folder: Path, report: dict[str, Any]) -> list[str]:
    """What the written files have otherwise than the expected bars and actions."""
    frame = stored(folder / "bars.parquet").drop("source")
    file = folder / "bars.actions.csv"
    actions = pl.read_csv(file, infer_schema=False) if file.exists() else pl.DataFrame()
    said = [part for part in report["read_as"][0].split("; ") if part.startswith(("splits:", "dividends:"))]
    statement = Statement("", "", "", "", "", actions="; ".join(said))
    return differences(entry, Table(frame, actions, (statement,), pl.Series(dtype=pl.Int64)))


UNSAID: Final = {"nautilus-bars": ("--stamps", "close"), "bitmex-json": ("--stamps", "close")}
"""Files whose stamps are closes, which nothing in them shows: two sessions, and a market without a pause."""


@pytest.mark.one_of(4)
@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("name", ENTRIES)
def test_each_format_of_the_corpus_is_imported_at_once_or_after_the_remedy_that_is_named(
    name: str, tmp_path: Path
) -> None:
    entry, typed = ENTRIES[name], UNSAID.get(name, ())
    for _ in range(4):
        done = run(tmp_path, str(FORMATS / entry.path), "--out", "bars.parquet", "--json", *typed)
        report = json.loads(done.stdout) if done.stdout else None
        if report is not None and wrong(entry, tmp_path, report) == []:
            break
        more = answered(entry, done, typed)
        assert more, done.stderr or (report and wrong(entry, tmp_path, report))
        if report is None:
            assert list(tmp_path.glob("*.parquet")) == [], "a refusal writes nothing"
        typed += more
    assert report is not None
    assert wrong(entry, tmp_path, report) == []
    assert report["report"]["faults"] == []
    assert done.returncode == 0


# the statement, the files and the lines


def test_the_statement_the_evidence_and_the_lines_are_printed(tmp_path: Path) -> None:
    done = run(tmp_path, str(FORMATS / "alphavantage-intraday-csv"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "time: column timestamp, times of a clock that it does not name; prices: close" in lines[0]
    assert "tried and corrected: AAPL: its stamps are 5m apart, and they are read as bars of 1d" in lines
    assert "clock: America/New_York, as the sessions show" in lines
    assert "no fault" in lines
    document = tomllib.loads(done.stdout.split("writes them there:\n")[1])
    assert document["feed"]["interval"] == "5m"
    assert document["universe"]["calendar"] == "XNYS"


@pytest.mark.long
def test_symbols_of_several_calendars_get_tables_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "ACME.csv").write_text(days("ACME"))
    (tmp_path / "VOD.L.csv").write_text(days("VOD.L", calendar="XLON"))
    (tmp_path / "BTC-USD.csv").write_text(days("BTC-USD", calendar="24/7"))
    done = run(tmp_path, "ACME.csv", "VOD.L.csv", "BTC-USD.csv", "--into", "config.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    document = tomllib.loads((tmp_path / "config.toml").read_text())
    tables = {table["symbol"]: table["calendar"] for table in document["universe"]["instruments"]}
    calendars = {name: tables.get(name, document["universe"]["calendar"]) for name in document["universe"]["symbols"]}
    assert calendars == {"ACME": "XNYS", "BTC-USD": "24/7", "VOD.L": "XLON"}
    assert document["universe"]["calendar"] == "XNYS"
    assert quantd(tmp_path, "config", "check", env=ENV).returncode == 0


def test_an_index_beside_a_share_is_the_benchmark_and_alone_is_refused_with_the_lines_that_use_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "ACME.csv").write_text(days("ACME"))
    (tmp_path / "^GSPC.csv").write_text(days("^GSPC"))
    alone = run(tmp_path, "^GSPC.csv", "--into", "config.toml")
    assert alone.returncode == 2
    assert 'benchmark = "^GSPC"\nbenchmark_path = "-GSPC.parquet"' in alone.stderr
    assert not (tmp_path / "config.toml").exists()
    done = run(tmp_path, "ACME.csv", "^GSPC.csv", "--into", "config.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    universe = tomllib.loads((tmp_path / "config.toml").read_text())["universe"]
    assert (universe["symbols"], universe["benchmark"]) == (["ACME"], "^GSPC")
    assert "^GSPC: an index cannot trade; ^GSPC is the benchmark" in done.stdout
    assert quantd(tmp_path, "backtest", env=ENV).returncode == 0


def test_the_currency_is_that_of_the_column_or_of_the_spelling_and_two_are_named(tmp_path: Path) -> None:
    lines = [f"2024-01-{day:02},10,11,9,10.{day},100" for day in (2, 3, 4, 5, 8, 9)]
    head = "Date,Open,High,Low,Close,Volume"
    for name in ("SPY.csv", "SAP.DE.csv"):
        (tmp_path / name).write_text("\n".join([head, *lines]))
    (tmp_path / "QQQ.csv").write_text("\n".join([f"{head},Currency", *(f"{line},CHF" for line in lines)]))
    assert 'currency = "EUR"' in run(tmp_path, "SAP.DE.csv").stdout
    assert 'currency = "CHF"' in run(tmp_path, "QQQ.csv").stdout
    both = run(tmp_path, "SPY.csv", "SAP.DE.csv", "--out", "both.parquet").stdout
    assert "SAP.DE in EUR, SPY in USD, as spelled: an account has one currency" in both


def test_a_pair_of_currencies_trades_from_monday_to_friday(tmp_path: Path) -> None:
    (tmp_path / "EURUSD.csv").write_text(days("EURUSD", calendar="24/5"))
    assert 'calendar = "24/5"' in run(tmp_path, "EURUSD.csv").stdout


def test_json_has_the_files_the_statement_the_report_and_the_lines(tmp_path: Path) -> None:
    report = answer(run(tmp_path, str(FORMATS / "tiingo-csv/AAPL.csv"), "--json"))
    assert (report["file"], report["actions_file"], report["into"]) == ("AAPL.parquet", "AAPL.actions.csv", None)
    assert report["report"]["bars"] == 29
    assert report["read_as"][0].startswith("AAPL.csv: time: column date")
    assert tomllib.loads(report["config"])["feed"]["actions"] == "AAPL.actions.csv"


# config.toml


@pytest.mark.long
def test_lines_are_written_into_a_configuration_and_its_comments_stay(tmp_path: Path) -> None:
    quantd(tmp_path, "init", env=ENV)
    before = (tmp_path / "config.toml").read_text()
    done = run(tmp_path, *three(tmp_path), "--into", "config.toml")
    assert done.returncode == 0, done.stderr
    assert "removed: universe.benchmark, feed.exceptions, feed.start, feed.actions" in done.stdout
    assert "Next: quantd backtest, quantd run, or quantd train --bars bars.parquet --into config.toml" in done.stdout
    after = (tmp_path / "config.toml").read_text()
    gone = set(before.splitlines()) - set(after.splitlines())
    keys = sorted(line.split(" = ")[0] for line in gone)
    assert keys == ["actions", "benchmark", "exceptions", "path", "start", "symbols"]
    assert "# beside this file, else bundled; columns: data/README.md" in after


@pytest.mark.long
def test_a_second_import_into_a_configuration_keeps_answers_about_its_bars(tmp_path: Path) -> None:
    names = three(tmp_path)
    run(tmp_path, *names, "--into", "config.toml")
    config = tmp_path / "config.toml"
    config.write_text(
        config.read_text().replace('interval = "1d"', 'interval = "1d"\njumps = "real"\nstart = 2022-06-01')
    )
    assert run(tmp_path, *names, "--into", "config.toml").returncode == 0
    assert tomllib.loads(config.read_text())["feed"]["jumps"] == "real"
    assert tomllib.loads(config.read_text())["feed"]["start"] == date(2022, 6, 1)
    (tmp_path / "DATE.csv").write_text(days("DATE"))
    assert run(tmp_path, "DATE.csv", "--into", "config.toml").returncode == 0
    assert "jumps" not in tomllib.loads(config.read_text())["feed"]


GROUP: Final = '[[universe.groups]]\nname = "large"\nsymbols = ["SPY"]\n#'


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "replay"', 'kind = "yfinance"', "it trades live bars"),
        ("[feed]", "[feed", "is not TOML"),
        ("# [[universe.groups]]", GROUP, "it would have mistakes"),
    ],
)  # fmt: skip
def test_a_configuration_that_would_be_wrong_stays_as_it_was(tmp_path: Path, old: str, new: str, words: str) -> None:
    quantd(tmp_path, "init", env=ENV)
    config = tmp_path / "config.toml"
    config.write_text(config.read_text().replace(old, new, 1))
    before = config.read_text()
    done = run(tmp_path, *three(tmp_path), "--into", "config.toml")
    assert done.returncode != 0
    assert words in done.stderr
    assert "unchanged" in done.stderr
    assert config.read_text() == before


@pytest.mark.long
@pytest.mark.requirement("R-017")
def test_three_symbols_of_ones_own_come_to_a_backtest_and_a_paper_run(tmp_path: Path) -> None:
    assert run(tmp_path, *three(tmp_path), "--into", "config.toml").returncode == 0
    assert answer(quantd(tmp_path, "backtest", "--json", env=ENV))["fills"] > 0
    done = quantd(tmp_path, "run", *("--set", "feed.pace=fast", "--set", "feed.at_end=stop"), *PORTS, env=ENV)
    assert done.returncode == 0, done.stderr
    assert "replay of 3 symbols" in done.stdout
    fills = re.search(r"(\d+) fills", done.stdout)
    assert fills is not None
    assert int(fills[1]) > 0


PORTS: Final = ("--set", "api.port=0", "--set", "bus.port=0")


CLOCKS: Final = (
    "America/New_York", "UTC", "Europe/London", "Europe/Berlin", "Asia/Singapore", "America/Chicago",
    "America/Los_Angeles", "Etc/GMT+5",
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_bars_of_new_york_on_any_clock_keep_its_calendar_and_their_instants(seed: int) -> None:
    """Ten windows of 2 to 60 sessions for each of eight clocks, every second one padded to 16:00 on a half day.

    The import either reads each bar at its instant or has a finding that stops it; its calendar is New York's.
    """
    draw, home = np.random.default_rng(seed), sessions("XNYS", date(2022, 1, 1), date(2025, 6, 30))
    half_days = np.flatnonzero(home.closes - home.opens < 6 * 3_600_000_000_000)
    for case in range(80):
        padded, count = bool(draw.integers(2)), int(draw.integers(2, 61))
        step = int(draw.choice([5, 15, 30, 60])) * 60_000_000_000
        first = int(draw.integers(0, len(home.opens) - count))
        if padded:
            first = max(0, int(draw.choice(half_days)) - int(draw.integers(count)))
        ends = home.opens + 390 * 60_000_000_000 if padded else home.closes
        rows = range(first, min(first + count, len(ends)))
        ts = np.concatenate([np.arange(home.opens[row], ends[row], step) for row in rows])
        clock = pl.from_epoch(pl.Series(ts), "ns").dt.replace_time_zone("UTC").dt.convert_time_zone(CLOCKS[case % 8])
        close = 50 * np.exp(np.cumsum(draw.normal(0, 0.0005, len(ts))))
        frame = pl.DataFrame({
            "ts": clock.dt.replace_time_zone(None), "symbol": f"US{case}", "open": close, "high": close * 1.001,
            "low": close * 0.999, "close": close, "volume": 1e6,
        })  # fmt: skip
        asked = Reading(None, None, None, None, None, "", ReadOptions())
        report, fitted = fitting(Path("x.csv"), BarFrame(frame), asked)
        assert report["calendars"] == ["XNYS"]
        opens = nanoseconds(frame["ts"], fitted.zone) - (step if fitted.stamps == "close" else 0)
        assert report["misfits"] or report["holes"] or np.array_equal(opens, ts), (CLOCKS[case % 8], first, count)


# refusals


def test_a_second_import_of_a_file_updates_and_another_origin_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ACME.csv"
    file.write_text(days("ACME", 200))
    assert run(tmp_path, "ACME.csv").returncode == 0
    file.write_text(days("ACME", 220))
    assert run(tmp_path, "ACME.csv").returncode == 0
    assert len(stored(tmp_path / "ACME.parquet")) == 220
    file.rename(tmp_path / "other.csv")
    refused = run(tmp_path, "other.csv", "--symbol", "ACME")
    assert refused.returncode == 2
    assert "another origin" in refused.stderr
    assert run(tmp_path, "other.csv", "--symbol", "ACME", "--out", "other.parquet").returncode == 0
    assert len(stored(tmp_path / "ACME.parquet")) == 220


def test_actions_that_a_person_wrote_beside_the_bars_stay_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "ACME.csv").write_text(days("ACME", 200))
    run(tmp_path, "ACME.csv")
    actions = tmp_path / "ACME.actions.csv"
    actions.write_text("ts,symbol,kind,ratio,cash\n2022-03-01,ACME,dividend,,0.25\n")
    done = run(tmp_path, "ACME.csv")
    assert 'actions = "ACME.actions.csv"' in done.stdout
    assert "0.25" in actions.read_text()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "name a file of bars"),
        (("gone.csv",), "gone.csv: no such file or directory"),
        (("a.csv", "--stamps", "noon"), "write open, close or session"),
        (("a.csv", "--zone", "America/NewYork"), "Did you mean America/New_York?"),
        (("a.csv", "--column", "price=X"), "write one of these roles"),
        (("a.csv", "--out", "a.csv"), "name it a.parquet"),
    ],
)
def test_a_wrong_call_is_refused_with_its_remedy(tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    (tmp_path / "a.csv").write_text(days("ACME", 30))
    done = run(tmp_path, *words)
    assert done.returncode != 0
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("*.parquet")) == []


def test_a_folder_is_imported_again_when_a_file_has_come(tmp_path: Path) -> None:
    head, *rows = days("ACME", 12).splitlines()
    (tmp_path / "in").mkdir()
    words = ("in", "--symbol", "ACME", "--overlap", "last", "--out", "b.parquet", "--json")
    (tmp_path / "in/day-1.csv").write_text("\n".join([head, *rows[:8], ""]))
    assert answer(run(tmp_path, *words))["report"]["bars"] == 8
    corrected = rows[7].replace(",100007", ",777777")
    (tmp_path / "in/day-2.csv").write_text("\n".join([head, corrected, rows[8], ""]))
    assert answer(run(tmp_path, *words))["report"]["bars"] == 9
    assert stored(tmp_path / "b.parquet").sort("ts")["volume"].to_list()[7] == 777_777


def test_a_table_judged_by_groups_of_symbols_has_the_report_of_one_judged_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of finding is in another symbol: a jump, a hole, a bad bar, a duplicate, a calendar, a missing day."""
    names = ["ACME", "BOLT", "CRUX", "DUNE", "VOD.L", "ECHO", "FLUX"]
    lines = {name: days(name, 260).rstrip().splitlines()[1:] for name in names}
    lines["BOLT"] = [line if k < 130 else by_three(line) for k, line in enumerate(lines["BOLT"])]
    del lines["CRUX"][60:90], lines["FLUX"][40]
    lines["DUNE"][50] = lines["DUNE"][50].replace(",", ",x", 1)
    lines["ECHO"].insert(71, f"{lines['ECHO'][70]}0")
    rows = [f"{line},{name}" for name in names for line in lines[name]]
    path = tmp_path / "bars.csv"
    path.write_text("\n".join(["Date,Open,High,Low,Close,Adj Close,Volume,Ticker", *rows, ""]))
    table = read_tables(path)
    reading = Reading(None, None, None, None, None, "", NOTHING_ASKED)
    file = source = tmp_path / "own.parquet"
    written(table, file, "bars.csv", reading)
    whole = fitting(file, source, reading)[0]
    monkeypatch.setattr(bar_report, "MOST_AT_ONCE", 300)
    parts = fitting(file, source, reading)[0]
    assert {fault["fault"] for fault in whole["faults"]} >= {"nan", "duplicate"}
    assert whole["jumps"] and whole["holes"] and whole["missing_sessions"]  # noqa: PT018
    for name in whole:
        same = (lambda value: sorted(map(str, value))) if isinstance(whole[name], list) else (lambda value: value)
        assert same(parts[name]) == same(whole[name]), name


def by_three(line: str) -> str:
    day, *prices, volume = line.split(",")
    return ",".join([day, *(f"{float(price) / 3:.2f}" for price in prices), volume])
