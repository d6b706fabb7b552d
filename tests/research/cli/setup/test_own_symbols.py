"""From names of symbols to a first backtest: by a vendor, by files, and what each failure says to do next."""

import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from quantd.daemon.assembly.feeds import vendors
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.setup.config_lines import BarLines
from quantd.research.cli.setup import own_symbols
from quantd.research.cli.setup.own_symbols import _write, free_ports, portfolio
from quantd.trading.instruments import Instrument, Universe
from tests.support.command_line import CONFIG, ROOT, Done, environment, quantd
from tests.support.market_frames import price_files
from tests.support.venues.random_listing import listing
from tests.support.venues.served import served
from tests.support.venues.yahoo import Yahoo, home

VENUE = Yahoo({"MSFT": listing("MSFT"), "NVDA": listing("NVDA"), "^GSPC": listing("^GSPC", 4000.0)})


def fetched(folder: Path, *arguments: str) -> Done:
    with served(VENUE.app()) as port:
        return quantd(folder, "init", *arguments, "--url", f"http://127.0.0.1:{port}", env=home())


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file in the columns of a page for each of three symbols."""
    return price_files(tmp_path_factory.mktemp("prices"), ("BAC", "SPY", "IWM"), 2017)


@pytest.mark.long
def test_symbols_of_a_vendor_are_fetched_checked_and_backtested(tmp_path: Path) -> None:
    done = fetched(tmp_path, "--symbols", "MSFT,NVDA", "--from", "2023")
    assert done.returncode == 0, done.stderr + done.stdout
    document = tomllib.loads((tmp_path / "config.toml").read_text())
    assert document["universe"]["symbols"] == ["MSFT", "NVDA"]
    assert "benchmark" not in document["universe"]
    assert document["feed"]["path"] == "msft_nvda_1d.parquet"
    assert "start" not in document["feed"]
    assert "slices" in done.stdout
    assert done.stdout.index("wrote config.toml") < done.stdout.index("equal weight")
    assert document["agents"] == [
        {"name": "even", "policy": "equal_weight", "capital": 1.0, "rebalance": {"when": "calendar", "every": "month"}}
    ]
    assert "schedules" not in document
    assert "Next: quantd run trades it on paper" in done.stdout
    assert "quantd why MSFT then explains" in done.stdout
    assert quantd(tmp_path, "backtest", "--no-compare").returncode == 0


@pytest.mark.long
def test_an_index_among_the_symbols_is_the_benchmark(tmp_path: Path) -> None:
    done = fetched(tmp_path, "mine", "--symbols", "MSFT,NVDA", "--symbols", "^GSPC", "--from", "2023-01-03")
    assert done.returncode == 0, done.stderr + done.stdout
    universe = tomllib.loads((tmp_path / "mine/config.toml").read_text())["universe"]
    assert (universe["symbols"], universe["benchmark"]) == (["MSFT", "NVDA"], "^GSPC")
    assert "Benchmark ^GSPC, which is not traded" in done.stdout
    assert "Next: quantd run -c mine/config.toml" in done.stdout
    assert "quantd connect alpaca --into mine/config.toml makes" in done.stdout


@pytest.mark.long
def test_coins_are_sent_to_an_exchange_of_coins_and_not_to_a_broker_of_shares(tmp_path: Path) -> None:
    file = str(ROOT / "data/crypto_daily.parquet")
    done = quantd(tmp_path, "init", "--symbols", "BTC-USD,ETH-USD", "--from", "2022", "--data", file)
    assert done.returncode == 0, done.stderr + done.stdout
    assert '[broker] kind = "ccxt" in config.toml' in done.stdout
    assert "alpaca" not in done.stdout


@pytest.mark.long
def test_symbols_of_a_folder_of_files_are_imported_and_backtested(tmp_path: Path, prices: Path) -> None:
    done = quantd(tmp_path, "init", "--symbols", "BAC,SPY", "--from", "2018", "--data", str(prices))
    assert done.returncode == 0, done.stderr + done.stdout
    bars = pl.read_parquet(tmp_path / "bars.parquet")
    assert sorted(bars["symbol"].unique()) == ["BAC", "SPY"]
    assert bars["ts"].min().date() == date(2018, 1, 2)  # type: ignore[union-attr]
    assert tomllib.loads((tmp_path / "config.toml").read_text())["universe"]["symbols"] == ["BAC", "SPY"]
    assert "this run" in done.stdout
    assert "Next: quantd run" in done.stdout


@pytest.mark.long
def test_without_an_answer_the_message_ends_with_the_commands_that_take_a_file(tmp_path: Path) -> None:
    done = quantd(tmp_path, "init", "mine", "--symbols", "KO", "--url", "http://127.0.0.1:9", env=home())
    assert done.returncode == 75
    *_, file, vendor = done.stderr.strip().splitlines()
    assert file == "Next, with a file or a folder of their bars: quantd init mine --symbols KO --data FILE"
    assert vendor.endswith("quantd init mine --symbols KO --source alpaca")
    assert not (tmp_path / "mine").exists()


@pytest.mark.long
def test_the_coins_of_an_exchange_begin_with_its_name(tmp_path: Path) -> None:
    coins = ["init", "coins", "--weights", "BTC/USD=50,ETH/USD=50", "--source", "ccxt"]
    nameless = quantd(tmp_path, *coins, env=home())
    away = quantd(tmp_path, *coins, "--exchange", "kraken", "--url", "http://127.0.0.1:9", env=home())
    assert (nameless.returncode, away.returncode) == (2, 75)
    assert "ccxt needs --exchange kraken" in nameless.stderr
    assert "kraken" in away.stderr
    assert "127.0.0.1:9" in away.stderr


@pytest.mark.long
def test_a_portfolio_without_an_answer_is_named_whole_in_the_command_that_takes_a_file(tmp_path: Path) -> None:
    words = ["init", "mine", "--weights", "SPY=60,TLT=40", "--every", "quarter"]
    done = quantd(tmp_path, *words, "--url", "http://127.0.0.1:9", env=home())
    assert "quantd init mine --weights SPY=60,TLT=40 --every quarter --data FILE" in done.stderr


@pytest.mark.long
def test_a_person_at_a_terminal_is_asked_for_a_file(tmp_path: Path, prices: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "quantd.daemon.cli", "init", "--symbols", "BAC", "--url", "http://127.0.0.1:9"]
    begun = subprocess.Popen(
        command, cwd=tmp_path, env=environment() | home(), stdin=theirs, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.write(ours, f"{prices / 'BAC.csv'}\n".encode())
    out, error = begun.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    assert begun.returncode == 0, error
    assert "A file or a folder of bars of BAC (Enter ends): " in out
    assert tomllib.loads((tmp_path / "config.toml").read_text())["universe"]["symbols"] == ["BAC"]


@pytest.mark.long
def test_ctrl_c_at_the_question_for_a_file_ends_the_command(tmp_path: Path) -> None:
    # polars, which the download uses, sets a handler of SIGINT that lets a read of the terminal go on
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "quantd.daemon.cli", "init", "--symbols", "BAC", "--url", "http://127.0.0.1:9"]
    begun = subprocess.Popen(
        command, cwd=tmp_path, env=environment() | home(), stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert begun.stdout is not None
    shown = b""
    while not shown.endswith(b"(Enter ends): ") and (byte := begun.stdout.read(1)):
        shown += byte
    time.sleep(0.5)  # the read of the terminal begins
    begun.send_signal(signal.SIGINT)
    try:
        begun.communicate(timeout=20)
    finally:
        begun.kill()
        os.close(ours)
        os.close(theirs)
    assert begun.returncode == 130


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ("--symbols", "spy,BAC", "--data", "{prices}"),
            1,
            "no bar of spy (it has BAC, IWM, SPY). Next: write SPY, as",
        ),
        (("--symbols", "KO", "--data", "{prices}"), 1, "no bar of KO (it has BAC, IWM, SPY). Next: add the file of KO"),
        (("--symbols", "KO", "--data", "absent"), 64, "absent: there is no such file. Next: name the file"),
        (("--symbols", ","), 64, "Next: quantd init --symbols MSFT,NVDA,KO"),
        (("--symbols", "BAC", "--data", "{prices}", "--from", "2040"), 1, "no bar from 2040-01-01 on"),
        (("--from", "2015"), 64, "name the symbols with --symbols A,B"),
        (("--symbols", "KO", "--json"), 64, "quantd backtest --json"),
        (("--symbols", "KO", "--policy", "mine"), 64, "`quantd init --symbols A,B` first"),
    ],
)
def test_each_mistake_names_the_next_command_and_writes_nothing(
    tmp_path: Path, prices: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = quantd(tmp_path, "init", *(word.format(prices=prices) for word in arguments))
    assert done.returncode == (2 if code == 64 else code), done.stderr
    assert words in done.stderr
    assert not list(tmp_path.glob("*.toml"))
    assert not list(tmp_path.glob("*.parquet"))


def test_a_table_with_two_readings_leads_to_the_import_that_asks(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("Date,Open,High,Low,Close,Volume\n2024-03-08,1,2,1,2,3\n2024-03-11,1,2,1,2,3\n")
    done = quantd(tmp_path, "init", "--symbols", "AB,CD", "--data", "table.csv")
    assert done.returncode == 1
    assert "Next: " in done.stderr


def test_a_split_that_no_action_announces_stops_before_the_backtest(tmp_path: Path) -> None:
    bars = pl.read_parquet(ROOT / "data/us_daily.parquet").filter(pl.col("symbol") == "AAPL")
    bars.with_columns(pl.col("ts").dt.date()).write_csv(tmp_path / "AAPL.csv")
    first = bars["ts"].dt.date().min()
    early = quantd(tmp_path, "init", "early", "--symbols", "AAPL", "--from", "1990", "--data", "AAPL.csv")
    assert f"The bars begin on {first}, later than --from 1990-01-01" in early.stdout
    done = quantd(tmp_path, "init", "--symbols", "AAPL", "--from", "2020", "--data", "AAPL.csv")
    assert done.returncode == 1
    assert "later than --from" not in done.stdout
    assert "jump: AAPL opened at 127.67 on 2020-08-31" in done.stdout
    assert done.stdout.rstrip().endswith("Next: quantd backtest names the lines that answer what stops it")
    assert "2020-08-31" in quantd(tmp_path, "backtest").stderr


def test_a_configuration_that_is_there_stays(tmp_path: Path, prices: Path) -> None:
    (tmp_path / "config.toml").write_text("# mine\n")
    done = quantd(tmp_path, "init", "--symbols", "BAC", "--data", str(prices))
    assert done.returncode == 1
    assert f"Next: quantd data import {prices} --into config.toml" in done.stderr
    assert (tmp_path / "config.toml").read_text() == "# mine\n"


def test_a_portfolio_is_held_in_its_weights_within_limits_that_it_fits(tmp_path: Path, prices: Path) -> None:
    weights = ("--weights", "BAC=50,SPY=30", "--weights", "IWM=10", "--every", "quarterly", "--cash", "1500")
    done = quantd(tmp_path, "init", "mine", *weights, "--data", str(prices))
    assert done.returncode == 0, done.stderr + done.stdout
    document = tomllib.loads((tmp_path / "mine/config.toml").read_text())
    (agent,) = document["agents"]
    assert agent["params"] == {"weights": {"BAC": 0.5, "SPY": 0.3, "IWM": 0.1}}
    assert agent["rebalance"] == {"when": "calendar", "every": "quarter"}
    assert (agent["capital"], document["broker"]["cash"]) == (1.0, "1500.00")
    assert "schedules" not in document
    assert not document["risk"].keys() & {"var", "correlation"}
    assert document["risk"]["max_position_weight"] == 0.65  # 1.25 x 0.5, in steps of 0.05
    assert document["risk"]["max_drawdown"] > 0.35  # the spring of 2020
    lots = {table["symbol"]: table["lot"] for table in document["universe"]["instruments"]}
    assert lots == {"BAC": "0.01", "SPY": "0.001", "IWM": "0.0001"}
    assert "cash 10 %; it rebalances each quarter" in done.stdout
    assert "SPY: lot = 0.001, because 450.00 USD buy only 1.1 lots at" in done.stdout
    assert "the gate cut 0 orders and refused 0" in done.stdout
    assert "the switch tripped 0 times" in done.stdout


def test_a_split_in_raw_bars_is_no_loss_of_the_portfolio(tmp_path: Path) -> None:
    raw, actions = tmp_path / "raw.parquet", tmp_path / "raw_actions.csv"
    bars = pl.read_parquet(ROOT / "data/us_daily.parquet").filter(pl.col("symbol") == "AAPL")
    bars.filter(pl.col("ts").dt.year() == 2020).write_parquet(raw)  # 4:1 on 2020-08-31
    actions.write_text((ROOT / "data/us_actions.csv").read_text())
    lines = BarLines(Universe((Instrument("AAPL"),), "USD"), raw, actions, "session", "1d", "2020-01-02", "2020-12-31")
    _write(tmp_path / "config.toml", lines, portfolio(["AAPL=60"], "month", "100000"))
    risk = tomllib.loads((tmp_path / "config.toml").read_text())["risk"]
    assert risk["max_daily_loss"] == 0.1  # 7.7 % on 2020-03-16
    _write(tmp_path / "none.toml", lines._replace(actions=None), portfolio(["AAPL=60"], "month", "100000"))
    assert tomllib.loads((tmp_path / "none.toml").read_text())["risk"]["max_daily_loss"] > 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--weights", "AAPL=40,KO=61"), "--weights add up to 101 per cent; write at most 100; what is left is cash"),
        (("--weights", "AAPL=-5,KO=5"), "--weights AAPL=-5: a weight is above 0 and at most 100; weights are per cent"),
        (
            ("--weights", "AAPL=0.4,KO=0.3"),
            "add up to 0.7 per cent of the capital; weights are per cent of the capital",
        ),
        (("--weights", "AAPL"), "--weights 'AAPL' is not SYMBOL=NUMBER"),
        (("--weights", "AAPL=nan"), "--weights 'AAPL=nan' is not SYMBOL=NUMBER"),
        (("--weights", "AAPL=33,3"), "--weights '3' is not SYMBOL=NUMBER"),
        (("--weights", "AAPL=40", "--weights", "AAPL=20%"), "--weights: AAPL is there twice (40 and 20)"),
        (
            ("--weights", "AAPL=40", "--every", "fortnight"),
            "--every 'fortnight': there are day, week, two_weeks, month",
        ),
        (("--weights", "AAPL=40", "--cash", "-3"), "--cash '-3' is not an amount of money; write --cash 1500"),
        (("--weights", "AAPL=40", "--symbols", "KO"), "--weights names the symbols already: remove --symbols"),
        (("--weights", "AAPL=40", "--limits", "max_drawdown=0.2"), "max_drawdown=0.2 is 0.2 per cent of the account"),
        (("--weights", "AAPL=40", "--source", "alpaca"), "are of a download, and --data has the bars: remove them"),
        (("--weights", "AAPL=40", "--notebook", "all"), "--notebook takes only FOLDER"),
        (("--notebook", "all", "--cash", "5"), "--notebook takes only FOLDER"),
        (("--every", "week"), "name the symbols with --symbols A,B or --weights A=40,B=60"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_weights_that_cannot_be_held_are_refused_in_words(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    done = quantd(tmp_path, "init", "mine", *options, "--data", "no.csv")
    if "--weights" not in options:
        done = quantd(tmp_path, "init", "mine", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert not (tmp_path / "mine").exists()


def test_a_weight_of_a_symbol_without_bars_is_refused(tmp_path: Path, prices: Path) -> None:
    done = quantd(tmp_path, "init", "mine", "--weights", "BAC=50,XXX=50", "--data", str(prices))
    assert done.returncode == 1
    assert "no bar of XXX (it has BAC, IWM, SPY)" in done.stderr
    assert not (tmp_path / "mine/config.toml").exists()
    done = quantd(tmp_path, "init", "mine", "--weights", "BAC=50,CASH=50", "--data", str(prices))
    assert "leave CASH out: what is left of 100 is cash" in done.stderr


def test_a_file_of_another_symbol_is_refused_and_a_symbol_too_many_is_named(tmp_path: Path, prices: Path) -> None:
    done = quantd(tmp_path, "init", "mine", "--weights", "BAC=100", "--data", str(prices / "IWM.csv"))
    assert (done.returncode, "no bar of BAC (it has IWM)" in done.stderr) == (1, True)
    done = quantd(tmp_path, "init", "mine", "--weights", "BAC=50,IWM=50", "--data", str(prices))
    assert "not held, because they were not named: SPY" in done.stdout


@pytest.mark.parametrize(("answer", "code", "ran"), [("y", 0, True), ("", 0, False), ("yes", 3, True)])
def test_a_missing_extra_is_installed_after_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, ran: bool
) -> None:
    lacking = replace(vendors()["yfinance"], module="no_such_module")
    script = f"import pathlib, sys; pathlib.Path({str(tmp_path / 'ran')!r}).touch(); sys.exit({code})"
    questions: list[str] = []
    monkeypatch.setattr("quantd.daemon.assembly.feeds.vendors", lambda: {"yfinance": lacking})
    monkeypatch.setattr(own_symbols, "install_command", lambda extra: shlex.join([sys.executable, "-c", script]))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or answer)
    if code:
        with pytest.raises(Failure, match="the installation failed"):
            own_symbols._install("yfinance")
    else:
        own_symbols._install("yfinance")
    assert (tmp_path / "ran").exists() is ran
    assert questions[0].startswith("the source yfinance needs no_such_module: install quantd with its extra `yahoo`: ")
    assert questions[0].endswith("[y/N] ")


def test_the_next_run_takes_free_ports_beside_a_program_that_has_those_of_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    with socket.create_server(("127.0.0.1", 0)) as server:
        for port, options in ((server.getsockname()[1], ["--set", "bus.port=0", "--set", "api.port=0"]), (0, [])):
            config.write_text(CONFIG.replace("[api]\nport = 0", f"[api]\nport = {port}"))
            assert free_ports(config) == options
